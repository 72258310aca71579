"""SIP messages: what a reader relies on, and what is refused."""

import pytest

from harness.errors import InputError, WireError
from probetest.sip.message import (
    MAX_HEADERS,
    MAX_MESSAGE_BYTES,
    SipMessage,
    canonical,
    encode_request,
    encode_response,
    looks_like_sip,
    parse,
    uri_host,
    uri_params,
    uri_user,
)

HEADERS = (
    ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1"),
    ("From", '"Bob > \\"B\\"" <sip:+16505550112@192.0.2.1;user=phone>;tag=a'),
    ("To", "<sip:+16505550113@192.0.2.2>"),
    ("Call-ID", "1@192.0.2.1"),
    ("CSeq", "7 INVITE"),
)
INVITE = encode_request("INVITE", "sip:+16505550113@192.0.2.2", HEADERS, b"v=0\r\n")


def with_line(line: str) -> bytes:
    """Return the INVITE with one more header line."""
    return INVITE.replace(b"\r\nVia", f"\r\n{line}\r\nVia".encode("utf-8", "surrogateescape"), 1)


def test_encoded_request_is_these_bytes() -> None:
    """Lines end in CRLF, Content-Length counts the body, nothing is added."""
    assert encode_request("ACK", "sip:192.0.2.2", [("l", "9"), ("Subject", "x")], b"12") == (
        b"ACK sip:192.0.2.2 SIP/2.0\r\nSubject: x\r\nContent-Length: 2\r\n\r\n12"
    )


def test_encoded_response_is_read_back() -> None:
    """Status and reason survive."""
    message = parse(encode_response(302, "Moved Temporarily", HEADERS))

    assert (message.status, message.reason, message.method) == (302, "Moved Temporarily", None)


def test_fields_of_an_invite() -> None:
    """A display name may hold ">" and quotes; the URI's parameters are not the header's."""
    message = parse(INVITE)

    assert message.from_uri == "sip:+16505550112@192.0.2.1;user=phone"
    assert (message.from_tag, message.to_tag) == ("a", "")
    assert (message.call_id, message.cseq) == ("1@192.0.2.1", (7, "INVITE"))
    assert (message.top_via_branch, message.body) == ("z9hG4bK1", b"v=0\r\n")


def test_lines_may_end_in_lf_alone() -> None:
    """Some peers send no CR."""
    plain = parse(INVITE.replace(b"\r\n", b"\n").replace(b"Length: 5", b"Length: 4"))

    assert plain.headers[:-1] == parse(INVITE).headers[:-1]


def test_empty_lines_before_the_start_are_skipped() -> None:
    """RFC 3261 section 7.5."""
    assert parse(b"\r\n\r\n" + INVITE) == parse(INVITE)


def test_without_content_length_the_body_is_the_rest() -> None:
    """RFC 3261 section 18.3, for a datagram."""
    assert parse(INVITE.replace(b"Content-Length: 5", b"X: 5") + b"tail").body == b"v=0\r\ntail"


def test_a_tail_after_the_body_is_left() -> None:
    """What follows Content-Length bytes belongs to nobody."""
    assert parse(INVITE + b"tail") == parse(INVITE)


@pytest.mark.parametrize("size", range(len(INVITE)))
def test_a_cut_message_is_refused(size: int) -> None:
    """A snap length or a lost segment never gives half a message."""
    with pytest.raises(WireError):
        parse(INVITE[:size])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        INVITE.replace(b"From", b"Fram"),
        INVITE.replace(b"From", b"To"),
        INVITE.replace(b"Via", b"Vie"),
        INVITE.replace(b"1@192.0.2.1", b""),
        INVITE.replace(b"7 INVITE", b"2147483648 INVITE"),
        INVITE.replace(b"7 INVITE", b"7"),
        INVITE.replace(b";tag=a", b" tag=a"),
        INVITE.replace(b"\r\nVia", b"\r\n: x\r\nVia"),
        INVITE.replace(b"\r\nVia", b"\r\nno colon\r\nVia"),
        INVITE.replace(b"\r\nVia", b"\r\nSubject: a\rFrom: b\r\nVia"),
        INVITE.replace(b"\r\nVia", b"\r\n folded\r\nVia"),
        INVITE.replace(b"\r\nVia", b"\r\nX: 1" * (MAX_HEADERS + 1) + b"\r\nVia"),
        INVITE + b"x" * MAX_MESSAGE_BYTES,
    ],
)
def test_what_is_no_message_is_a_wire_error(data: bytes) -> None:
    """One reason each: missing, doubled, empty, out of range, no name, bare CR, too many."""
    with pytest.raises(WireError) as caught:
        parse(data)
    assert 0 <= caught.value.offset_bytes <= len(data)


def test_the_offset_names_the_line() -> None:
    """The first bad byte can be found in the capture."""
    with pytest.raises(WireError) as caught:
        parse(with_line("no colon"))
    assert with_line("no colon")[caught.value.offset_bytes :].startswith(b"no colon")


def test_lists_are_taken_apart() -> None:
    """A comma inside quotes or brackets divides nothing; both spellings are one header."""
    line = 'm: "A, B" <sip:a,b@192.0.2.1>, sip:c@192.0.2.1\r\nContact: <sip:d@192.0.2.1>'

    assert parse(with_line(line)).all("contact") == (
        '"A, B" <sip:a,b@192.0.2.1>',
        "sip:c@192.0.2.1",
        "<sip:d@192.0.2.1>",
    )


def test_a_date_is_no_list() -> None:
    """Headers without list grammar keep their commas."""
    date = "Sat, 13 Nov 2010 23:29:00 GMT"

    assert parse(with_line(f"Date: {date}")).first("Date") == date


def test_bytes_that_are_no_utf8_survive() -> None:
    """A message goes through unchanged, whatever its display names hold."""
    message = parse(with_line("Subject: \udcff"))

    assert message.first("s") == "\udcff"
    again = encode_request("INVITE", message.request_uri, message.headers, message.body)
    assert b"Subject: \xff\r\n" in again


def test_an_absent_header_is_none() -> None:
    """Absent is not empty."""
    assert parse(INVITE).first("Subject") is None


def test_a_message_cannot_be_built_wrong() -> None:
    """A CSeq for another method is refused at construction too."""
    with pytest.raises(InputError, match="CSeq is for INVITE"):
        SipMessage("BYE", None, "", "sip:192.0.2.1", HEADERS)


@pytest.mark.parametrize("status", [None, 200])
def test_a_message_is_request_or_response(status: int | None) -> None:
    """Never both, never neither."""
    with pytest.raises(InputError, match="either"):
        SipMessage("INVITE" if status else None, status, "", "", HEADERS)


@pytest.mark.parametrize(
    ("method", "uri", "header"),
    [
        ("IN VITE", "sip:a@b", ("X", "1")),
        ("INVITE", "sip:a b", ("X", "1")),
        ("INVITE", "", ("X", "1")),
        ("INVITE", "sip:a@b", ("X", "1\r\nY: 2")),
        ("INVITE", "sip:a@b", ("X", "1\n")),
        ("INVITE", "sip:a@b", ("X: y", "1")),
        ("INVITE", "sip:a@b", ("X", "\ud800")),
    ],
)
def test_encoding_refuses_what_would_read_differently(
    method: str, uri: str, header: tuple[str, str]
) -> None:
    """No header can be smuggled in through a value."""
    with pytest.raises(InputError):
        encode_request(method, uri, [header])


@pytest.mark.parametrize("status", [99, 700, -1])
def test_encoding_refuses_a_status_out_of_range(status: int) -> None:
    """RFC 3261 knows six classes."""
    with pytest.raises(InputError):
        encode_response(status, "x", [])


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"SIP/2.0 200 OK\r\n", True),
        (b"\r\nOPTIONS sip:a@192.0.2.1 SIP/2.0\r\n", True),
        (b"INVITE tel:+16505550112", True),
        (b"NOTIFY * HTTP/1.1\r\n", False),
        (b"GET http://192.0.2.1/ HTTP/1.1\r\n", False),
        (b"INVITE sip:a HTTP/1.1\r\n", False),
        (b"\x80\x00\x12\x34", False),
        (b"", False),
    ],
)
def test_looks_like_sip(prefix: bytes, expected: bool) -> None:
    """The first bytes tell SIP from RTP, DNS and HTTP."""
    assert looks_like_sip(prefix) is expected


@pytest.mark.parametrize(
    ("uri", "user", "host", "params"),
    [
        ("sip:192.0.2.1:5060;lr", "", "192.0.2.1", {"lr": ""}),
        ("sips:a:pw@Example.COM?X=y@z", "a", "example.com", {}),
        ("sip:a;b=1@example.com;User=phone;user=x", "a;b=1", "example.com", {"user": "phone"}),
        (
            "tel:+16505550112;npdi;rn=+12025550134",
            "+16505550112",
            "",
            {"npdi": "", "rn": "+12025550134"},
        ),
        ("sip:a@[2001:db8::1]:5060", "a", "2001:db8::1", {}),
        ("nonsense", "", "nonsense", {}),
        ("", "", "", {}),
    ],
)
def test_parts_of_a_uri(uri: str, user: str, host: str, params: dict[str, str]) -> None:
    """User, host and parameters are found; what is absent is empty."""
    assert (uri_user(uri), uri_host(uri), uri_params(uri)) == (user, host, params)


def test_unknown_names_are_capitalised() -> None:
    """Two spellings of one unknown header are one header."""
    assert canonical("x-tENANT-id") == "X-Tenant-Id"


@pytest.mark.parametrize("piece", ['"', "<", '\\"', ";", ",", '"\\'])
def test_hostile_nesting_is_read_in_linear_time(piece: str) -> None:
    """60 000 opened quotes or brackets end: no answer in quadratic time."""
    line = "Contact: " + piece * (60_000 // len(piece))

    assert parse(with_line(line)).all("Contact") is not None
