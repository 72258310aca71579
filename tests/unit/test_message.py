"""DNS messages: octets that dig, kdig and BIND sent, and what a hostile peer might."""

import time

import dns.message
import dns.rdatatype
import pytest

from enumtest.dns.message import (
    Answer,
    Edns,
    Query,
    encode_answer,
    encode_query,
    encode_refusal,
    number_from_qname,
    parse_answer,
    parse_query,
    rcode_value,
)
from enumtest.dns.source_uri import Framing, SourceOption
from enumtest.dns.wire import parse_header
from enumtest.naptr.naptr import NaptrRecord
from harness.errors import InputError, WireError
from harness.number import PhoneNumber

QNAME = "2.1.1.0.5.5.5.0.5.6.1.e164.arpa"
LABELS = tuple(label.encode() for label in QNAME.split("."))
CALLER = "sip:+12125550166@a.example;user=phone"

# dig 9.18.49 +noedns; the answers are of BIND 9.18.49 (named) to the same octets.
DIG_PLAIN = bytes.fromhex(
    "12340120000100000000000001320131013101300135013501350130013501360131046531363404617270610000"
    "230001"
)
NAMED_PLAIN = bytes.fromhex(
    "12348500000100020000000001320131013101300135013501350130013501360131046531363404617270610000"
    "230001c00c002300010000003c00290014000a01750c4532552b7073746e3a74656c14215e5c2b31282e2a292421"
    "74656c3a2b315c312100c00c002300010000003c002f000a00640175074532552b7369701f215e282e2a29242173"
    "69703a5c31407362632e6578616d706c652e6e65742100"
)
# dig +nocookie +bufsize=1220 +ednsopt=4:HEX of CALLER, the name in capitals.
DIG_SOURCE = bytes.fromhex(
    "12350120000100000000000101320131013101300135013501350130013501360131044531363404415250410000"
    "23000100002904c4000000000029000400257369703a2b313231323535353031363640612e6578616d706c653b75"
    "7365723d70686f6e65"
)
NAMED_SOURCE = bytes.fromhex(
    "12358500000100020000000101320131013101300135013501350130013501360131044531363404415250410000"
    "2300010132013101310130013501350135013001350136013104653136340461727061000023"
    "00010000003c00290014000a01750c4532552b7073746e3a74656c14215e5c2b31282e2a29242174656c3a2b315c"
    "312100c031002300010000003c002f000a00640175074532552b7369701f215e282e2a2924217369703a5c314073"
    "62632e6578616d706c652e6e6574210000002904d0000000000000"
)
# kdig 3.2.6 +bufsize=4096 +ednsopt=4:HEX of CALLER.
KDIG_SOURCE = bytes.fromhex(
    "366b0120000100000000000101320131013101300135013501350130013501360131046531363404617270610000"
    "2300010000291000000000000029000400257369703a2b313231323535353031363640612e6578616d706c653b75"
    "7365723d70686f6e65"
)
NAMED_CNAME = bytes.fromhex(
    "12368500000100030000000001330131013101300135013501350130013501360131046531363404617270610000"
    "230001c00c000500010000003c00040132c00ec03d002300010000003c002f000a00640175074532552b7369701f"
    "215e282e2a2924217369703a5c31407362632e6578616d706c652e6e65742100c03d002300010000003c00290014"
    "000a01750c4532552b7073746e3a74656c14215e5c2b31282e2a29242174656c3a2b315c312100"
)
NAMED_NXDOMAIN = bytes.fromhex(
    "12378503000100000001000001390131013101300135013501350130013501360131046531363404617270610000"
    "2300010465313634046172706100000600010000003c0028026e73076578616d706c65036e6574000168c0490000"
    "000100000e1000000258000151800000003c"
)
NAMED_NON_TERMINAL = bytes.fromhex(
    "12388500000100010000000001340131013101300135013501350130013501360131046531363404617270610000"
    "230001c00c002300010000003c0019000a0064000000046e657874076578616d706c65036e657400"
)
NAMED_COOKIE = bytes.fromhex(
    "12398500000100020000000101320131013101300135013501350130013501360131046531363404617270610000"
    "230001c00c002300010000003c002f000a00640175074532552b7369701f215e282e2a2924217369703a5c314073"
    "62632e6578616d706c652e6e65742100c00c002300010000003c00290014000a01750c4532552b7073746e3a7465"
    "6c14215e5c2b31282e2a29242174656c3a2b315c31210000002904d000000000001c000a0018b5730ac86621416c"
    "010000006b031231a904024dad8706f5"
)
SIP = NaptrRecord(10, 100, "u", "E2U+sip", r"!^(.*)$!sip:\1@sbc.example.net!")
TEL = NaptrRecord(20, 10, "u", "E2U+pstn:tel", r"!^\+1(.*)$!tel:+1\1!")


def test_a_query_of_dig_is_read_whole() -> None:
    """Id, name, type and the wish for recursion of dig's plain query."""
    assert parse_query(DIG_PLAIN) == Query(
        id=0x1234,
        qname=QNAME,
        labels=LABELS,
        qtype="NAPTR",
        qclass="IN",
        recursion_desired=True,
        edns=None,
        trailing_bytes=0,
    )


@pytest.mark.parametrize(
    ("data", "size"), [(DIG_SOURCE, 1220), (KDIG_SOURCE, 4096)], ids=["dig", "kdig"]
)
def test_options_of_a_query_are_kept_as_octets(data: bytes, size: int) -> None:
    """The OPT record of dig and kdig: size, version 0 and option 4, octet for octet."""
    assert parse_query(data).edns == Edns(size, 0, ((4, CALLER.encode()),))


def test_letter_case_of_the_question_is_kept_beside_the_lower_case_name() -> None:
    """A client that mixes case to detect forgery (0x20) gets its own letters back."""
    query = parse_query(DIG_SOURCE)

    assert query.qname == QNAME
    assert query.labels[-2:] == (b"E164", b"ARPA")
    assert b"\x04E164\x04ARPA" in encode_answer(query)


def test_an_answer_of_named_is_read_whole() -> None:
    """Both records of BIND, in the order they were sent, with their times to live."""
    answer = parse_answer(NAMED_PLAIN)

    assert (answer.id, answer.rcode, answer.qname, answer.qtype) == (
        0x1234,
        "NOERROR",
        QNAME,
        "NAPTR",
    )
    assert answer.naptr == (TEL, SIP)
    assert [record.ttl_s for record in answer.records] == [60, 60]
    assert (answer.authoritative, answer.truncated, answer.others) == (True, False, 0)
    assert answer.is_for(parse_query(DIG_PLAIN))


def test_an_owner_in_other_letters_is_the_same_owner() -> None:
    """BIND repeats the zone's own case; names compare without it (RFC 4343)."""
    assert parse_answer(NAMED_SOURCE).naptr == (TEL, SIP)


def test_an_alias_is_followed_within_the_answer() -> None:
    """CNAME and the NAPTR it leads to, in one answer."""
    answer = parse_answer(NAMED_CNAME)

    assert answer.aliases == (("3.1.1.0.5.5.5.0.5.6.1.e164.arpa", QNAME),)
    assert answer.naptr == (SIP, TEL)


def test_an_unknown_name_is_nxdomain_without_records() -> None:
    """The SOA of a negative answer is counted as another record."""
    answer = parse_answer(NAMED_NXDOMAIN)

    assert (answer.rcode, answer.naptr, answer.others) == ("NXDOMAIN", (), 1)


def test_a_non_terminal_record_keeps_its_replacement() -> None:
    """The name of an empty-flag record, absolute."""
    [record] = parse_answer(NAMED_NON_TERMINAL).naptr

    assert record == NaptrRecord(10, 100, "", "", "", "next.example.net.")


def test_the_cookie_of_a_server_is_an_option_like_any_other() -> None:
    """Option 10 is kept and not interpreted."""
    edns = parse_answer(NAMED_COOKIE).edns

    assert edns is not None
    assert [code for code, _ in edns.options] == [10]


def test_a_loop_of_aliases_ends() -> None:
    """Two names that are aliases of each other lead to no record."""
    answer = parse_answer(NAMED_CNAME)
    looping = Answer(
        **{name: getattr(answer, name) for name in Answer.__slots__ if name != "aliases"},
        aliases=((answer.qname, "x.example"), ("x.example", answer.qname)),
    )

    assert looping.naptr == ()


@pytest.mark.parametrize("rcode", ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "REFUSED"])
def test_our_answer_reads_the_same_in_dnspython(rcode: str) -> None:
    """A second implementation sees the rcode and records that were meant."""
    data = encode_answer(parse_query(DIG_SOURCE), rcode, (SIP, TEL), ttl_s=7)
    theirs = dns.message.from_wire(data)

    assert dns.rcode.to_text(theirs.rcode()) == rcode
    assert theirs.id == 0x1235
    assert [(rdata.order, rdata.regexp) for rdata in theirs.answer[0]] == [
        (10, SIP.regexp.encode()),
        (20, TEL.regexp.encode()),
    ]
    assert theirs.answer[0].ttl == 7
    assert theirs.edns == 0


def test_our_answer_reads_back_as_it_was_meant() -> None:
    """What is encoded is parsed again, record for record."""
    query = parse_query(DIG_PLAIN)
    answer = parse_answer(encode_answer(query, "NOERROR", (SIP, TEL), ttl_s=5, truncated=True))

    assert (answer.naptr, answer.truncated, answer.edns) == ((SIP, TEL), True, None)
    assert answer.is_for(query)


def test_our_query_is_what_dig_sends() -> None:
    """The same octets as dig's, but for its AD flag."""
    assert encode_query(0x1234, QNAME) == DIG_PLAIN[:3] + b"\x00" + DIG_PLAIN[4:]


def test_our_query_with_a_source_is_what_dig_sends() -> None:
    """The OPT record with option 4, octet for octet, but for dig's AD flag and capitals."""
    source = SourceOption(CALLER, Framing.RAW)

    ours = encode_query(0x1235, QNAME.upper(), source=source, udp_payload_bytes=1220)

    assert ours == DIG_SOURCE[:3] + b"\x00" + DIG_SOURCE[4:]


def test_an_extended_return_code_is_split_over_header_and_opt() -> None:
    """BADVERS is 16: it does not fit in the header (RFC 6891 section 6.1.3)."""
    answer = parse_answer(encode_answer(parse_query(DIG_SOURCE), "BADVERS"))

    assert answer.rcode == "BADVERS"


def test_an_extended_return_code_needs_a_client_with_edns() -> None:
    """Without OPT there is nowhere to put BADVERS."""
    with pytest.raises(InputError, match="needs EDNS"):
        encode_answer(parse_query(DIG_PLAIN), "BADVERS")


@pytest.mark.parametrize("name", ["servfail", "3", "RCODE3", "", "NOSUCH"])
def test_a_return_code_has_one_spelling(name: str) -> None:
    """Capitals, as RFC 9499 writes it; numbers are not names."""
    with pytest.raises(InputError, match="no such DNS return code"):
        rcode_value(name)


@pytest.mark.parametrize(
    ("data", "why", "offset_bytes"),
    [
        (b"", "0 bytes are no DNS header", 0),
        (DIG_PLAIN[:11], "11 bytes are no DNS header", 11),
        (NAMED_PLAIN, "a response", 2),
        (DIG_PLAIN[:2] + b"\x28\x00" + DIG_PLAIN[4:], "operation UPDATE", 2),
        (DIG_PLAIN[:4] + b"\x00\x02" + DIG_PLAIN[6:], "2 questions", 4),
        (DIG_PLAIN[:4] + b"\x00\x00" + DIG_PLAIN[6:], "0 questions", 4),
        (DIG_PLAIN[:-1], "ends 1 bytes early", len(DIG_PLAIN) - 2),
        (DIG_PLAIN[:12] + b"\xc0\x0c\x00\x23\x00\x01", "pointer loops", 12),
        (DIG_PLAIN[:12] + b"\x80\x00\x00\x23\x00\x01", "label type 0x80", 12),
        (DIG_PLAIN[:11] + b"\x01" + DIG_PLAIN[12:], "ends 1 bytes early", len(DIG_PLAIN)),
        (DIG_SOURCE[:-1], "ends 1 bytes early", 60),
        (DIG_SOURCE[:11] + b"\x02" + DIG_SOURCE[12:] + DIG_SOURCE[49:], "a second OPT", 101),
        (DIG_SOURCE[:63] + b"\x26" + DIG_SOURCE[64:], "ends 1 bytes early", 64),
    ],
)
def test_a_query_that_is_none_names_where_reading_stopped(
    data: bytes, why: str, offset_bytes: int
) -> None:
    """Each broken rule gives its words and its offset."""
    with pytest.raises(WireError, match=why) as caught:
        parse_query(data)

    assert caught.value.offset_bytes == offset_bytes


@pytest.mark.parametrize("cut", range(len(NAMED_PLAIN)))
def test_an_answer_cut_anywhere_is_an_error(cut: int) -> None:
    """No prefix of an answer is an answer."""
    with pytest.raises(WireError):
        parse_answer(NAMED_PLAIN[:cut])


def test_what_follows_a_message_is_counted() -> None:
    """Trailing octets are noted, not hidden."""
    assert parse_query(DIG_PLAIN + b"xyz").trailing_bytes == 3
    assert parse_answer(NAMED_PLAIN + b"xyz").trailing_bytes == 3


def test_a_truncated_answer_may_break_off() -> None:
    """With TC set the records up to the break are there, and the client asks again over TCP."""
    cut = NAMED_PLAIN[:2] + b"\x87\x00" + NAMED_PLAIN[4:-5]

    answer = parse_answer(cut)

    assert (answer.truncated, answer.naptr) == (True, (TEL,))


def test_a_malformed_record_harms_no_other() -> None:
    """A string longer than its record is counted with its place; the next record is used."""
    at = NAMED_PLAIN.index(b"\x01u\x0cE2U+pstn")
    bad = NAMED_PLAIN[:at] + b"\xff" + NAMED_PLAIN[at + 1 :]

    answer = parse_answer(bad)

    assert (answer.naptr, answer.malformed) == ((SIP,), (at - 4,))


def test_a_record_with_more_content_than_fields_is_malformed() -> None:
    """One octet after the replacement."""
    data = NAMED_NON_TERMINAL[:-1] + b"\x00\x00"
    longer = data.replace(b"\x00\x19\x00\x0a\x00\x64", b"\x00\x1a\x00\x0a\x00\x64")

    assert parse_answer(longer).malformed != ()


def test_a_chain_of_pointers_costs_no_time() -> None:
    """8000 pointers to pointers, used by 3000 records, are refused within a second of work."""
    chain = b"\x00" + b"".join((0xC000 | at).to_bytes(2) for at in (12, *range(13, 8000, 2)))
    head = bytes.fromhex("123485000000 0bb8 0000 0000".replace(" ", ""))
    last = (0xC000 | 12 + len(chain) - 2).to_bytes(2)
    data = head + chain + (last + bytes.fromhex("00230001000000000000")) * 3000

    start_ns = time.process_time_ns()
    with pytest.raises(WireError):
        parse_answer(data)

    assert time.process_time_ns() - start_ns < 1_000_000_000


def test_many_long_names_cost_no_time() -> None:
    """Records that each point to a name of 120 labels end at the limit, within a second of work."""
    name = b"\x01a" * 120 + b"\x00"
    record = b"\xc0\x0c" + bytes.fromhex("00010001000000000000")
    data = bytes.fromhex("12348500000113880000000000")[:12]
    data += name + b"\x00\x23\x00\x01" + record * 5000

    start_ns = time.process_time_ns()
    with pytest.raises(WireError, match="labels"):
        parse_answer(data)

    assert time.process_time_ns() - start_ns < 1_000_000_000


def test_a_refusal_repeats_id_operation_and_recursion() -> None:
    """The 12 octets of FORMERR to a message that could not be read."""
    refusal = encode_refusal(parse_header(DIG_PLAIN), "FORMERR")
    answer = parse_answer(refusal)

    assert refusal == bytes.fromhex("123481010000000000000000")
    assert (answer.id, answer.rcode, answer.qname) == (0x1234, "FORMERR", "")


@pytest.mark.parametrize("qname", ["a..b", "x" * 64, "\u0660.e164.arpa"])
def test_a_name_that_is_none_is_not_asked(qname: str) -> None:
    """An empty label, one too long, a digit that is not ASCII."""
    with pytest.raises(InputError, match="no question"):
        encode_query(1, qname)


@pytest.mark.parametrize(
    ("qname", "why"),
    [
        ("2.1.1.example.net", "not under"),
        ("e164.arpa", "not under"),
        ("xe164.arpa", "not under"),
        ("21.1.e164.arpa", "not one digit"),
        (".e164.arpa", "not one digit"),
        ("a.1.e164.arpa", "unexpected 'a'"),
        ("1.0.e164.arpa", "country code"),
        ("1." * 16 + "e164.arpa", "16 digits"),
    ],
)
def test_a_name_without_a_number_is_refused(qname: str, why: str) -> None:
    """Each way in which an owner name is no ENUM name."""
    with pytest.raises(InputError, match=why):
        number_from_qname(qname, "e164.arpa")


def test_a_number_is_its_own_name_read_backwards() -> None:
    """Any apex, any letter case, with a final dot or without."""
    number = PhoneNumber("16505550112")

    assert number_from_qname(number.enum_domain("Private.Example"), "private.example") == number
    assert number_from_qname(number.enum_domain() + ".", "E164.ARPA.") == number


def test_an_unusual_type_and_class_come_back_in_the_answer() -> None:
    """A question of type 65280 and class CH is repeated as it was."""
    data = encode_query(1, QNAME, qtype="TYPE65280")[:-1] + b"\x03"
    query = parse_query(data)

    assert (query.qtype, query.qclass) == ("TYPE65280", "CH")
    assert encode_answer(query, "REFUSED")[12:] == data[12:]
