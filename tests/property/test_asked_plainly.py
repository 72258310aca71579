"""What an INVITE says of its parties is the same, taken from its bytes or from all of it read."""

from hypothesis import example, given
from hypothesis import strategies as st

from harness.packets.frame import Endpoint
from probetest.calls.party_headers import asked, asked_in
from probetest.sip.brief import gist
from probetest.sip.sdp import parse
from probetest.sip.seen import Seen

FIRST = b"INVITE sip:+16505550113@192.0.2.2;user=phone SIP/2.0\r\n"
NEEDED = b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCall-ID: 1@192.0.2.1\r\nCSeq: 1 INVITE\r\n"
NAMES = (
    *("From", "f", "FROM", "To", "t", "tO", "P-Asserted-Identity", "p-asserted-identity"),
    *("P-Preferred-Identity", "Remote-Party-ID", "Privacy", "Diversion", "History-Info"),
    *("P-Called-Party-ID", "Contact", "X-From", "From-Me", "Subject"),
)
VALUES = (
    *('"A, <b>" <sip:+16505550112@192.0.2.1>;tag=a', "<sip:+16505550112@192.0.2.1>", "id"),
    *("sip:+16505550112@192.0.2.1;tag=b", "history; id", "", "<tel:+442079460123>;index=1"),
    *('"Jürgen" <sip:j@192.0.2.1>', '"From: <sip:x@y>" <sip:z@192.0.2.1>', "a\x00b", "\u0663"),
)
GAPS = ("", " ", "\t", "  ", "\r\n ", "\r\n\t")
headers = st.builds(
    "{}{}:{}{}{}{}".format,
    st.sampled_from(NAMES),
    st.sampled_from(("", " ", "\t")),
    st.sampled_from(GAPS),
    st.sampled_from(VALUES),
    st.sampled_from(GAPS),
    st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "\r")),
)
ends = st.sampled_from((b"\r\n", b"\n", b"", b"\r\nFrom: <sip:late@192.0.2.9>\r\n\r\n"))
extras = st.lists(headers, max_size=6).map("".join)
addresses = st.sampled_from(("192.0.2.1", "2001:db8::1", "a.example", "192.0.2.7/127"))


def seen(data: bytes) -> Seen:
    """Return *data* as a message that was seen."""
    place = Endpoint("192.0.2.1", 5060)
    brief, why, defects = gist(data)
    return Seen(0, 1, 0, place, place, False, False, data, brief, why, defects)


@given(extras, extras, ends)
@example("", "History-Info: <sip:a@192.0.2.1>;index=1\r\n", b"\r\n")
def test_parties_are_asked_of_bytes_as_of_the_message(before: str, after: str, end: bytes) -> None:
    """Folded lines, compact names, any case and any end of line change nothing."""
    own = "From: <sip:+16505550112@192.0.2.1>;tag=a\r\nTo: <sip:+16505550113@192.0.2.2>\r\n"
    one = seen(FIRST + (before + own + after).encode() + NEEDED + end)
    message = one.message

    assert asked_in(one) == (None if message is None else asked(message))


@given(st.lists(headers, min_size=2, max_size=6).map("".join))
def test_parties_of_any_header_lines_are_those_of_the_message(text: str) -> None:
    """From and To may be absent, twice, or odd."""
    one = seen(FIRST + NEEDED + text.encode() + b"\r\n")
    message = one.message

    assert asked_in(one) == (None if message is None else asked(message))


@given(addresses, addresses, st.integers(0, 65_535), st.sampled_from(("-", "c=IN")))
def test_lines_that_were_read_before_announce_the_same(
    shared: str, own: str, port: int, user: str
) -> None:
    """Lines too long to be remembered, and another o=, give the same streams."""

    def body(session: int, *, padding: str) -> bytes:
        return (
            f"v=0\r\no={user} {session} 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 {shared}\r\n{padding}"
            f"t=0 0\r\nm=audio {port} RTP/AVP 8 101\r\na=sendonly\r\n{padding}"
            f"m=audio {port} RTP/AVP 0\r\nc=IN IP4 {own}\r\n{padding}"
        ).encode()

    longer = f"a=note:{'x' * 3000}\r\n"

    assert parse(body(1, padding="")) == parse(body(1, padding=longer))
    assert parse(body(1, padding="")) == parse(body(2, padding=""))
