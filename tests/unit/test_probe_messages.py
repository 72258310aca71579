"""SIP messages out of datagrams and streams, whatever lies between them."""

import pytest

from harness.packets.frame import decode
from probetest.duplicates import find_copies
from probetest.sip.seen import Seen, read_messages, split, udp_rows
from tests.sip_wire import PHONE, SBC, Leg, Tape, rtp

ONE, TWO = Leg().request("OPTIONS", b"v=0\r\n\r\nbody"), Leg(number=2).request("BYE")


def messages(tape: Tape) -> list[Seen]:
    """Return what the tape's frames hold."""
    datagrams = decode(tape.capture())
    return list(read_messages(datagrams, find_copies(datagrams), udp_rows(datagrams)))


def test_text_that_is_sip_is_found_among_all_else() -> None:
    """RTP, keep-alives, DNS-like bytes and other text are no messages."""
    tape = Tape()
    for payload in (rtp(1, 1), b"\r\n\r\n", b"\0" * 40, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ONE):
        tape.udp(0, PHONE, SBC, payload)

    assert [(one.frame, one.data) for one in messages(tape)] == [(5, ONE)]


def test_what_begins_as_sip_and_does_not_read_is_told() -> None:
    """The frame is there, with the reason."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, b"BYE sip:x@192.0.2.1 SIP/2.0\r\nFrom: nobody\r\n\r\n")
    (one,) = messages(tape)

    assert one.gist is None
    assert "headers" in one.why


def test_a_stream_is_cut_where_the_messages_say() -> None:
    """Two messages in three segments, a keep-alive between, and each its own frame and time."""
    data = ONE + b"\r\n\r\n" + TWO
    tape = Tape()
    for at, start, end in ((0, 0, 50), (10, 50, 400), (20, 400, len(data))):
        tape.tcp(at, PHONE, SBC, data[start:end], at=start)
    found = messages(tape)

    assert [(one.data, one.frame, one.tcp, one.why) for one in found] == [
        (ONE, 2, True, ""),
        (TWO, 3 if len(ONE) + 4 < 400 else 4, True, ""),
    ]


def test_a_stream_that_began_before_the_capture_is_joined_at_the_next_start() -> None:
    """The end of a message that nobody saw begin is left out; the next is whole."""
    tape = Tape()
    tape.tcp(0, PHONE, SBC, ONE[30:] + TWO, at=7)

    assert [one.data for one in messages(tape)] == [TWO]


def test_a_stream_that_breaks_off_is_told_with_its_gap() -> None:
    """A segment that is missing leaves a message that does not end, and the frame that shows it."""
    tape = Tape()
    tape.tcp(0, PHONE, SBC, ONE[:60], at=0)
    tape.tcp(10, PHONE, SBC, ONE[90:], at=90)
    (one,) = messages(tape)

    assert one.gist is None
    assert "not captured, frame 3" in one.why


def test_streams_of_others_are_left_alone() -> None:
    """HTTP over TCP gives nothing, not even complaints."""
    tape = Tape()
    tape.tcp(0, PHONE, SBC, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", at=0)

    assert messages(tape) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ONE + TWO, [(ONE, True), (TWO, True)]),
        (b"\r\n\r\n" + ONE + b"\r\n", [(ONE, True)]),
        (b"garbage\r\n" + ONE, [(b"garbage\r\n", False), (ONE, True)]),
        (ONE[:-3], [(ONE[:-3], False)]),
        (b"", []),
        (b"\r\n", []),
        (
            b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n",
            [(b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n", False)],
        ),
    ],
)
def test_splitting(data: bytes, expected: list[tuple[bytes, bool]]) -> None:
    """Whole messages, junk and ends, each once and in order."""
    found = [(part, not complaint) for _, part, complaint in split(data, from_start=True)]

    assert found == expected


def test_two_transports_are_merged_by_time() -> None:
    """A message over TCP stands between those over UDP that surround it."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, ONE)
    tape.tcp(5, PHONE, SBC, TWO, at=0)
    tape.udp(9, PHONE, SBC, ONE)

    assert [one.tcp for one in messages(tape)] == [False, True, False]
