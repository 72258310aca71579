"""The calling party in an EDNS option."""

import pytest

from enumtest.dns.message import encode_query, parse_query
from enumtest.dns.source_uri import Framing, SourceOption, decode, encode, party, source_uri
from harness.errors import InputError

URI = "sip:+12125550166@a.example;user=phone"


def test_the_whole_opt_record_of_miekg_dns_is_read_and_written() -> None:
    """The octets of TestEDNS0_ESU, header and OPT: read as a source, and written the same."""
    head = bytes.fromhex("000000000000000000000001")
    opt = bytes.fromhex("00002904c4000000000028 00040024".replace(" ", ""))
    uri = b"sip:+123456789@test.com;user=cgrates"
    with pytest.raises(InputError, match="0 questions"):
        parse_query(head + opt + uri)

    option = SourceOption(uri.decode())
    written = encode_query(0, "1.e164.arpa", source=option, recursion_desired=False)
    question = b"\x011\x04e164\x04arpa\x00\x00\x23\x00\x01"
    assert written == bytes.fromhex("000000000001000000000001") + question + opt + uri
    assert source_uri(parse_query(written)) == uri.decode()


def test_the_raw_vector_of_miekg_dns_is_read() -> None:
    """Option 4 with 36 octets, from miekg/dns edns_test.go (TestEDNS0_ESU)."""
    option = decode([(4, b"sip:+123456789@test.com;user=cgrates")])

    assert option == SourceOption("sip:+123456789@test.com;user=cgrates", Framing.RAW, 4)
    assert option.party == "+123456789"


@pytest.mark.parametrize(
    ("framing", "code", "octets"),
    [
        (Framing.RAW, 4, URI.encode()),
        (Framing.VERSION_NUL, 4, b"\x00\x00" + URI.encode() + b"\x00"),
        (Framing.VERSION_NUL, 65001, b"\x00\x00" + URI.encode() + b"\x00"),
        (Framing.UTF8, 65001, URI.encode()),
    ],
)
def test_each_framing_is_written_and_recognised(framing: Framing, code: int, octets: bytes) -> None:
    """A reader needs no setting to tell the framings apart."""
    option = SourceOption(URI, framing, code)

    assert encode(option) == octets
    assert decode([(code, octets)]) == option


@pytest.mark.parametrize(
    "options",
    [
        [],
        [(10, bytes.fromhex("b5730ac86621416c"))],  # a cookie
        [(8, bytes.fromhex("000118000a0000"))],  # a client subnet
        [(12, b"\x00" * 40)],  # padding
        [(65001, b"hello")],
        [(65001, b"")],
    ],
)
def test_an_option_of_other_purpose_is_no_caller(options: list[tuple[int, bytes]]) -> None:
    """Cookies, subnets, padding and private options without a URI name nobody."""
    assert decode(options) is None


def test_the_caller_is_found_behind_other_options() -> None:
    """A cookie first, then the caller."""
    option = decode([(10, b"\x01" * 8), (4, URI.encode())])

    assert option == SourceOption(URI)


@pytest.mark.parametrize("octets", [b"", b"\xff\xfe", b"+12125550166", b"sip:a b", b"\x00\x00\x00"])
def test_option_4_without_a_uri_is_an_error(octets: bytes) -> None:
    """An SBC that fills option 4 wrongly is not the same as one that sends none."""
    with pytest.raises(InputError, match="holds no calling URI"):
        decode([(4, octets)])


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "empty"),
        (b"\x00\x00sip:a@b", "version 0 without a NUL"),
        (b"\x00\x00", "no text"),
        (b"sip:a@b\x00", "a NUL at the end without version 0"),
        (b"\x00\x01sip:a@b\x00", "a NUL at the end without version 0"),
        (b"\x00\x01sip:a@b", "version 1, which no draft has"),
        (bytes.fromhex("0001020000000001"), "MAC addresses"),
        (b"+12125550166", "not a sip:"),
        (b'"Bob" <sip:+12125550166@a>', "not a sip:"),
        (b"\xff\xfe", "not a sip:"),
    ],
)
def test_an_option_4_without_a_uri_says_what_it_looks_like(octets: bytes, why: str) -> None:
    """Half of a framing, another draft's content, a display name: each has its words."""
    with pytest.raises(InputError, match=f"holds no calling URI: {why}"):
        decode([(4, octets)])


def test_two_callers_in_one_query_are_an_error() -> None:
    """Nobody could say which of them calls; the same one twice is no harm."""
    other = b"sip:+12125550167@a.example"
    with pytest.raises(InputError, match="two callers"):
        decode([(4, URI.encode()), (65001, other)])

    twice = decode([(4, URI.encode()), (65001, b"\x00\x00" + URI.encode() + b"\x00")])
    assert twice == SourceOption(URI)


def test_how_a_caller_is_carried_is_told_in_words() -> None:
    """Code and framing, for the log."""
    assert SourceOption(URI, Framing.UTF8, 65001).how == "option 65001, utf8"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:+12125550166@a.example;user=phone", "+12125550166"),
        ("sips:+1-212-555-0166@a.example", "+12125550166"),
        ("tel:+1(212)555.0166;tgrp=t;trunk-context=a.example", "+12125550166"),
        ("sip:2125550166@a.example", "2125550166"),
        ("sip:+12125550166;tgrp=t;trunk-context=x@a.example", "+12125550166"),
        ("sip:+12125550166:secret@a.example", "+12125550166"),
        ("sip:alice-b@a.example", "alice-b"),
        ("sip:a.example", "anonymous"),
        ("sip:Anonymous@a.example", "anonymous"),
        ("sip:x@anonymous.invalid;user=phone", "anonymous"),
        ("sip:unavailable@a.example", "anonymous"),
    ],
)
def test_the_party_is_the_user_part(uri: str, expected: str) -> None:
    """Parameters and separators go, a plus sign stays and none is added."""
    assert party(uri) == expected


@pytest.mark.parametrize("uri", ["", "+12125550166", "mailto:a@a.example", "sip:", "sip:a\r\nb@c"])
def test_what_is_no_uri_is_not_sent(uri: str) -> None:
    """A calling party is a sip, sips, tel or h323 URI."""
    with pytest.raises(InputError, match="not a sip:"):
        SourceOption(uri)


def test_a_code_is_a_16_bit_number() -> None:
    """65536 is no option code."""
    with pytest.raises(InputError, match="0 to 65535"):
        SourceOption(URI, code=65536)


def test_the_uri_of_a_query_is_empty_when_there_is_none() -> None:
    """No OPT record, no such option, or one that cannot be read."""
    name = "1.e164.arpa"
    plain = parse_query(encode_query(1, name))
    sized = parse_query(encode_query(1, name, udp_payload_bytes=1232))
    carried = parse_query(encode_query(1, name, source=SourceOption(URI)))

    assert [source_uri(query) for query in (plain, sized, carried)] == ["", "", URI]
