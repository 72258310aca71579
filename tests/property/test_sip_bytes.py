"""Any bytes are a SIP message or a WireError, and a message survives its encoding."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import WireError
from probetest.sip.message import (
    SipMessage,
    encode_request,
    looks_like_sip,
    parse,
    uri_host,
    uri_params,
    uri_user,
)

HEADERS = (
    ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
    ("From", '"a, b" <sip:+16505550112@192.0.2.1>;tag=a'),
    ("To", "sip:+16505550113@192.0.2.2;tag=b"),
    ("Call-ID", "1@192.0.2.1"),
    ("CSeq", "1 INVITE"),
)
INVITE = encode_request("INVITE", "sip:+16505550113@192.0.2.2", HEADERS, b"v=0\r\n")
PIECES = [
    *(b"INVITE sip:a@b SIP/2.0", b"SIP/2.0 200 OK", b"Via: x", b"v:x,y", b"From: <sip:a@b>;tag=1"),
    *(b"t: sip:a@b", b"Call-ID: 1", b"i:1", b"CSeq: 1 INVITE", b"l: 3", b"Content-Length: 0"),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b'"',
        b"<",
        b">",
        b"\\",
        b";",
        b",",
        b":",
        b"\xff",
        b"\0",
    ),
]
values = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.strip)

messages = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Return the INVITE with some bytes replaced, inserted or cut."""
    data = bytearray(INVITE)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 8))
        data[start : start + size] = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    return bytes(data)


def read_everything(message: SipMessage) -> None:
    """Ask for all that a message offers."""
    for name, _ in message.headers:
        assert message.first(name) == next(iter(message.all(name)), None)
    for uri in (message.request_uri, message.from_uri, message.to_uri):
        assert isinstance(uri_params(uri), dict)
        assert uri_user(uri) + uri_host(uri) is not None
    assert message.call_id
    assert message.cseq[1]
    assert isinstance(message.from_tag + message.to_tag + message.top_via_branch, str)


@given(st.one_of(st.binary(), messages, mutants()))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    """Nothing else is raised, and what was read answers every question."""
    with contextlib.suppress(WireError):
        read_everything(parse(data))


@given(st.binary(max_size=80), st.text())
def test_guesses_never_raise(data: bytes, text: str) -> None:
    """The quick look and the URI readers take anything."""
    assert looks_like_sip(data) in (True, False)
    assert uri_user(text) + uri_host(text) + "".join(uri_params(text)) is not None


@given(mutants())
def test_what_parses_looks_like_sip(data: bytes) -> None:
    """The quick look never hides a message from the parser."""
    with contextlib.suppress(WireError):
        parse(data)
        assert looks_like_sip(data)


@given(st.binary())
def test_a_tail_changes_nothing(tail: bytes) -> None:
    """Content-Length ends the message, whatever follows."""
    assert parse(INVITE + tail) == parse(INVITE)


@given(st.lists(values, max_size=5), st.binary())
def test_a_message_survives_its_encoding(subjects: list[str], body: bytes) -> None:
    """Headers and body come back as given, the length aside."""
    headers = (*HEADERS, *(("Subject", subject.strip(" \t")) for subject in subjects))
    message = parse(encode_request("INVITE", "sip:192.0.2.2", headers, body))

    assert message.body == body
    assert message.headers == (*headers, ("Content-Length", str(len(body))))
