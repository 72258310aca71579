"""SIP messages out of datagrams and streams, whatever lies between them."""

from collections import Counter

import pytest

from harness.packets.capture import (
    LINKTYPE_RAW,
    encode_file_header,
    encode_record,
    parse,
)
from harness.packets.frame import Endpoint, decode
from probetest.duplicates import find_copies
from probetest.sip.defects import Defect
from probetest.sip.over_tcp import Conversations
from probetest.sip.seen import Seen, SipReader, read_messages, split
from tests.sip_wire import MS, PHONE, SBC, START_NS, Leg, Tape, rtp

ONE, TWO = Leg().request("OPTIONS", b"v=0\r\n\r\nbody"), Leg(number=2).request("BYE")


def messages(tape: Tape) -> list[Seen]:
    """Return what the tape's frames hold."""
    datagrams = decode(tape.capture())
    return list(read_messages(datagrams, find_copies(datagrams)))


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
    """Two messages in three segments, a keep-alive between: each is there with its last byte."""
    data = ONE + b"\r\n\r\n" + TWO
    tape = Tape()
    for at, start, end in ((0, 0, 50), (10, 50, 400), (20, 400, len(data))):
        tape.tcp(at, PHONE, SBC, data[start:end], at=start)
    found = messages(tape)

    assert [(one.data, one.frame, one.tcp, one.why) for one in found] == [
        (ONE, 3, True, ""),
        (TWO, 4, True, ""),
    ]
    assert [one.at_ns - START_NS for one in found] == [10 * MS, 20 * MS]


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


def whole_and_opaque(tape: Tape) -> tuple[list[Seen], dict[str, int]]:
    """Return what a reader sees, and what it counts as opaque."""
    datagrams, reader = decode(tape.capture()), SipReader()
    found = [*reader.read(datagrams, find_copies(datagrams)), *reader.close()]
    return found, dict(reader.opaque)


def test_what_cannot_be_read_on_the_ports_of_sip_is_counted() -> None:
    """SigComp and DTLS a datagram each, TLS a stream; elsewhere they are somebody else's."""
    tls, other = Endpoint("192.0.2.20", 5061), Endpoint("192.0.2.20", 443)
    hello = b"\x16\x03\x01\x02\x00" + bytes(60)
    tape = Tape()
    tape.udp(0, PHONE, SBC, b"\xf8" + bytes(range(40)))
    tape.udp(1, PHONE, tls, b"\x16\xfe\xff" + bytes(40))
    tape.tcp(2, PHONE, tls, hello, at=0)
    tape.tcp(3, PHONE, tls, b"\x17\x03\x03" + ONE, at=len(hello))
    tape.tcp(4, Endpoint("192.0.2.10", 40_000), other, hello, at=0)

    assert whole_and_opaque(tape) == ([], {"SigComp": 1, "DTLS": 1, "TLS": 1})


def test_sip_over_websocket_is_read() -> None:
    """Both ways, once the handshake named it; a client's frames are masked (RFC 7118)."""
    upgrade = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    accepted = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    masked = b"\x81\xfe" + len(ONE).to_bytes(2) + b"\0\0\0\0" + ONE
    plain = b"\x81\x7e" + len(TWO).to_bytes(2) + TWO
    tape = Tape()
    for at, ends, head, data in (
        (0, (PHONE, SBC), upgrade, masked),
        (9, (SBC, PHONE), accepted, plain),
    ):
        tape.tcp(at, *ends, head, at=0)
        tape.tcp(at + 1, *ends, data[:70], at=len(head))
        tape.tcp(at + 2, *ends, data[70:], at=len(head) + 70)
    found, _ = whole_and_opaque(tape)

    assert [(one.data, one.at_ns - START_NS, one.why) for one in found] == [
        (ONE, 2 * MS, ""),
        (TWO, 11 * MS, ""),
    ]


def test_websocket_of_others_is_left_alone() -> None:
    """Another subprotocol, and HTTP."""
    tape = Tape()
    tape.tcp(0, PHONE, SBC, b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", at=0)

    assert whole_and_opaque(tape) == ([], {})


def test_a_message_not_captured_whole_is_marked() -> None:
    """What its whole lines say is there; the body is not, and the message can be asked for."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request(body=b"v=0\r\n" + b"x" * 80))
    at_ns, frame = tape.frames[0]
    record = bytearray(encode_record(at_ns, frame[:300]))
    record[12:16] = len(frame).to_bytes(4, "little")  # as long as it was on the wire
    datagrams = decode(parse(encode_file_header(LINKTYPE_RAW) + record))
    (one,) = SipReader().read(datagrams, find_copies(datagrams))

    assert one.gist is not None
    assert (one.gist.call_id, one.gist.body, one.why) == ("1@192.0.2.10", b"", "")
    assert one.defects == (Defect.INCOMPLETE,)
    assert one.message is not None
    assert one.message.from_tag == "a"


def test_a_message_that_a_server_would_refuse_is_seen() -> None:
    """It reads, and its defect has a name."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, ONE.replace(b"Length: 11", b"Length: 99"))
    (one,) = messages(tape)

    assert one.gist is not None
    assert one.defects == (Defect.LENGTH_LONG,)


def test_the_head_of_a_message_that_a_gap_cut_is_read() -> None:
    """Over TCP: an INVITE of which the end was not captured is an INVITE all the same."""
    invite = Leg().request(body=b"x" * 500)
    tape = Tape()
    tape.tcp(0, PHONE, SBC, invite[:400], at=0)
    tape.tcp(5, PHONE, SBC, TWO, at=len(invite))
    first, second = messages(tape)

    assert first.gist is not None
    assert (first.gist.method, first.gist.body) == ("INVITE", b"")
    assert first.defects == (Defect.UNFINISHED, Defect.INCOMPLETE)
    assert second.data == TWO


def test_streams_are_let_go_when_too_much_waits() -> None:
    """The oldest is told as unfinished; the others go on."""
    tape = Tape()
    for number in range(4):
        tape.tcp(number, Endpoint("192.0.2.10", 6000 + number), SBC, ONE[:-1], at=0)
    for number in range(4):
        ends = (Endpoint("192.0.2.10", 6000 + number), SBC)
        tape.tcp(10 + number, *ends, ONE[-1:], at=len(ONE) - 1)
    datagrams = decode(tape.capture())
    talks = Conversations(Counter(), kept_limit_bytes=3 * len(ONE))
    found = [*talks.read(datagrams), *talks.close()]

    assert [one.complaint == "" for one in found] == [False, False, False, True]
    assert "too much waits" in found[0].complaint


@pytest.mark.parametrize("payload_bytes", [12, 18, 19])
def test_a_message_cut_within_its_first_line_is_not_passed_over(payload_bytes: int) -> None:
    """A snapshot length of 60 bytes leaves 18 of a datagram: it is named, not read."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request())
    at_ns, frame = tape.frames[0]
    record = bytearray(encode_record(at_ns, frame[: 28 + payload_bytes]))
    record[12:16] = len(frame).to_bytes(4, "little")
    datagrams = decode(parse(encode_file_header(LINKTYPE_RAW) + record))
    (one,) = read_messages(datagrams, find_copies(datagrams))

    assert one.gist is None
    assert Defect.INCOMPLETE in one.defects


def test_a_stream_in_small_segments_is_searched_once() -> None:
    """A message begins behind other bytes, wherever segments cut its first line."""
    tape, data = Tape(), b"screen " * 300 + b"\r\n" + ONE
    sizes = [len(data) - len(ONE) - 5] + [1] * 60
    at = 0
    for size in [*sizes, len(data)]:
        tape.tcp(at / 1000, PHONE, SBC, data[at : at + size], at=at)
        at += len(data[at : at + size])

    assert [one.data for one in messages(tape) if one.gist is not None] == [ONE]
