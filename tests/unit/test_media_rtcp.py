"""RTCP: what ends report, kept apart from what the tap saw; hostile lengths give nothing."""

import struct

import pytest

from harness.packets.frame import Endpoint, decode
from harness.records import RtcpRecord
from probetest.duplicates import find_copies
from probetest.media.announcements import Announcements
from probetest.media.streams import Reading, StreamReader
from tests.sip_wire import Tape, rtp

HERE, THERE = Endpoint("192.0.2.10", 40_001), Endpoint("192.0.2.20", 50_001)
MINE, YOURS = 0x1111, 0x2222
SECOND = 1 << 16  # of a middle NTP word


def packet(kind: int, body: bytes, *, count: int = 0) -> bytes:
    """Return one RTCP packet."""
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def report(about: int, *, lost: int = 0, jitter: int = 0, last: int = 0, delay: int = 0) -> bytes:
    """Return a report block; a quarter was lost since the one before."""
    return struct.pack(">IIIIII", about, 64 << 24 | lost & 0xFF_FFFF, 0, jitter, last, delay)


def sender(ssrc: int, ntp_s: float, timestamp: int) -> bytes:
    """Return a sender report without blocks."""
    return packet(200, struct.pack(">IQIII", ssrc, int(ntp_s * 2**32), timestamp, 1, 1))


def receiver(ssrc: int, *blocks: bytes) -> bytes:
    """Return a receiver report."""
    return packet(201, struct.pack(">I", ssrc) + b"".join(blocks), count=len(blocks))


def read(tape: Tape) -> Reading:
    """Return what the tape shows."""
    datagrams, reader, known = decode(tape.capture()), StreamReader(), Announcements()
    reader.add(datagrams, find_copies(datagrams), known)
    return reader.finish(known)


def only(tape: Tape) -> RtcpRecord:
    """Return the one reporting source."""
    (found,) = read(tape).rtcp
    return found


def test_a_round_trip_is_from_the_tap_to_who_reports() -> None:
    """A sender report, and 110 ms later the report that names it, held for 100 ms: 10 ms."""
    tape = Tape()
    tape.udp(0, HERE, THERE, sender(MINE, 1000.5, 0))
    block = report(MINE, lost=3, jitter=80, last=1000 * SECOND + SECOND // 2, delay=SECOND // 10)
    tape.udp(110, THERE, HERE, receiver(YOURS, block))
    _, told = read(tape).rtcp

    assert told.round_trip_ms == pytest.approx(10, abs=0.02)
    assert (told.about_ssrc, told.far_lost, told.far_jitter) == (MINE, 3, 80)
    assert told.far_fraction_max == 0.25


def test_what_the_receiver_says_stands_beside_the_stream() -> None:
    """The tap saw no loss; the other end did, behind it."""
    tape, media = Tape(), Endpoint(HERE.address, 40_000)
    for number in range(20):
        tape.udp(20 * number, media, THERE, rtp(number, 160 * number, ssrc=MINE))
    tape.udp(500, THERE, HERE, receiver(YOURS, report(MINE, lost=5, jitter=16)))
    (stream,) = read(tape).streams

    assert (stream.lost, stream.far_lost, stream.far_jitter_ms) == (0, 5, 2.0)


def test_a_loss_below_zero_is_one() -> None:
    """24 bits with a sign (section 6.4.1): duplicates."""
    tape = Tape()
    tape.udp(0, THERE, HERE, receiver(YOURS, report(MINE, lost=-2)))

    assert only(tape).far_lost == -2


def test_sender_reports_tell_the_clock() -> None:
    """80040 timestamps in 10 s of NTP are 8004 Hz: 500 ppm fast."""
    tape, media = Tape(), Endpoint(HERE.address, 40_000)
    for number in range(20):
        tape.udp(20 * number, media, THERE, rtp(number, 160 * number, ssrc=MINE))
    tape.udp(0, HERE, THERE, sender(MINE, 5000, 2**32 - 100))
    tape.udp(10_000, HERE, THERE, sender(MINE, 5010, 80_040 - 100))
    (stream,) = read(tape).streams

    assert stream.sender_clock_ppm == pytest.approx(500, abs=0.1)


def test_a_compound_packet_is_read_to_its_end() -> None:
    """RR, SDES with CNAME, XR with VoIP metrics, feedback, APP and BYE in one datagram."""
    name = b"\1\6phone1"
    sdes = packet(202, struct.pack(">I", YOURS) + name + bytes(-len(name) % 4 or 4), count=1)
    metrics = bytearray(32)
    metrics[20], metrics[22] = 88, 41
    extended = packet(207, struct.pack(">IBBH", YOURS, 7, 0, 8) + bytes(metrics))
    feedback = packet(205, struct.pack(">III", YOURS, MINE, 5), count=1)
    app = packet(204, struct.pack(">I4s", YOURS, b"test"))
    bye = packet(203, struct.pack(">I", YOURS), count=1)
    tape = Tape()
    tape.udp(0, THERE, HERE, receiver(YOURS) + sdes + extended + feedback + app + bye)
    told = only(tape)

    assert (told.cname, told.packets, told.malformed) == ("phone1", 6, 0)
    assert (told.receiver_reports, told.extended_reports, told.feedback) == (1, 1, 1)
    assert (told.apps, told.byes) == (1, 1)
    assert (told.far_r, told.far_mos) == (88, 4.1)


@pytest.mark.parametrize(
    "rest",
    [
        b"\x80",
        b"\x80\xc9\xff\xff",
        b"\xde\xad\xbe\xef" * 4,
        packet(201, b"", count=0),
        b"\x9f" + receiver(YOURS, report(MINE))[1:],
        b"\xa0\xc9\0\1\0\0\0\xff",
    ],
)
def test_what_does_not_fill_its_datagram_gives_no_figure(rest: bytes) -> None:
    """Cut, too long, encrypted, too short for its count, impossible padding."""
    tape = Tape()
    tape.udp(0, THERE, HERE, receiver(YOURS, report(MINE, lost=9)) + rest)
    told = only(tape)

    assert (told.malformed, told.far_lost, told.about_ssrc) == (1, None, None)


def test_reduced_size_needs_an_announcement() -> None:
    """Feedback alone (RFC 5506) is RTCP only where SDP expects it: other bytes look like it."""
    tape = Tape()
    tape.udp(0, THERE, HERE, packet(205, struct.pack(">III", YOURS, MINE, 5), count=1))

    assert read(tape).rtcp == ()
