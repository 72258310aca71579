"""RTP streams: who is one, and what is measured of it."""

import struct

import pytest

from harness.packets.frame import Endpoint
from harness.premises import Premises
from harness.records import StreamRecord
from probetest.dataset import TapData, read_tap
from tests.sip_wire import CARRIER, MS, PHONE, SBC, START_NS, Leg, Tape, rtp, sdp

HERE, THERE = Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000)


def read(tape: Tape) -> TapData:
    """Return what the tape shows."""
    return read_tap(tape.capture(), Premises(), device="probe1")


def talk(tape: Tape, *, count: int = 20, start_ms: float = 0, **fields: int) -> None:
    """Add a steady stream."""
    for number in range(count):
        packet = rtp(number, 160 * number, **fields)  # type: ignore[arg-type]
        tape.udp(start_ms + 20 * number, HERE, THERE, packet)


def only(tap: TapData) -> StreamRecord:
    """Return the one stream."""
    (stream,) = tap.streams
    return stream


def test_a_stream_that_nobody_announced_is_known_by_its_numbers() -> None:
    """Twenty packets that count up are RTP; the clock comes from RFC 3551."""
    tape = Tape()
    talk(tape)
    stream = only(read(tape))

    assert (stream.source, stream.destination) == (str(HERE), str(THERE))
    assert (stream.found_by, stream.codec, stream.clock_rule) == ("sequence", "PCMA", "RFC 3551")
    assert (stream.packets, stream.expected, stream.lost, stream.ssrc) == (20, 20, 0, 0x1234)
    assert (stream.jitter_ms, stream.gap_max_ms) == (pytest.approx(0, abs=1e-9), 20)
    assert (stream.at_ns, stream.end_ns) == (START_NS, START_NS + 380 * MS)


def test_few_packets_are_a_stream_only_when_announced() -> None:
    """Three packets prove nothing by themselves; SDP that names their place does."""
    tape = Tape()
    talk(tape, count=3, start_ms=100)
    assert read(tape).streams == ()

    tape.udp(0, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    stream = only(read(tape))
    assert (stream.found_by, stream.packets, stream.call_id) == ("SDP", 3, "1@192.0.2.10")


def test_bytes_that_only_begin_like_rtp_are_none() -> None:
    """DNS with an id of 0x80..: its "sequence number" does not count up."""
    tape = Tape()
    for number in range(40):
        tape.udp(
            number, HERE, THERE, b"\x80" + bytes([number]) + b"\x01\0\0\1\0\0\0\0\0\0" + b"x" * 9
        )

    assert read(tape).streams == ()


def test_codec_and_clock_are_those_that_sdp_gives() -> None:
    """Type 97 at 48000 Hz: without that clock a steady stream would seem wild."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request(body=sdp(THERE, "97 opus/48000/2", types="97")))
    for number in range(20):
        packet = rtp(number, 960 * number, payload_type=97)
        tape.udp(100 + 20 * number, HERE, THERE, packet)
    stream = only(read(tape))

    assert (stream.codec, stream.clock_hz, stream.clock_rule) == ("opus", 48_000, "SDP")
    assert stream.jitter_max_ms == pytest.approx(0, abs=1e-9)


def test_the_last_announcement_before_the_stream_counts() -> None:
    """Ports are used again: each stream has the codec and the call of its own time."""
    tape = Tape()
    for turn, clock in enumerate((48_000, 16_000)):
        leg = Leg(call_id=f"call-{turn}")
        body = sdp(THERE, f"97 opus/{clock}", types="97")
        tape.udp(turn * 10_000, PHONE, SBC, leg.request(body=body))
        talk(tape, start_ms=turn * 10_000 + 100, payload_type=97, ssrc=turn)
    found = [(stream.clock_hz, stream.call_id) for stream in read(tape).streams]

    assert found == [(48_000, "call-0"), (16_000, "call-1")]


def test_copies_count_beside_not_in() -> None:
    """A stream mirrored twice over has no duplicates and no loss below zero."""
    tape = Tape()
    for number in range(20):
        for turn in (0, 0.05):
            packet = rtp(number, 160 * number)
            tape.udp(20 * number + turn, HERE, THERE, packet, ip_id=number + 1)
    tap = read(tape)
    stream = only(tap)

    assert (stream.packets, stream.copies, stream.lost, stream.duplicates) == (20, 20, 0, 0)
    assert (tap.ports[0].rtp_packets, tap.ports[0].copies) == (40, 20)


def test_two_sources_between_two_ports_are_two_streams() -> None:
    """A new SSRC starts anew: no loss at the change."""
    tape = Tape()
    talk(tape, ssrc=1)
    talk(tape, ssrc=2, start_ms=400)

    assert [(stream.ssrc, stream.lost) for stream in read(tape).streams] == [(1, 0), (2, 0)]


@pytest.mark.parametrize("announced", [True, False])
def test_keys_are_read_and_leave_jitter_alone(announced: bool) -> None:
    """1 and #, each in five packets with one timestamp; jitter stays that of the sound."""
    tape = Tape()
    if announced:
        body = sdp(THERE, "101 telephone-event/8000")
        tape.udp(0, PHONE, SBC, Leg().request(body=body))
    number = 0
    for number in range(20):
        tape.udp(100 + 20 * number, HERE, THERE, rtp(number, 160 * number))
    for start, key in ((20, 1), (25, 11)):
        for step in range(5):
            event = struct.pack(">BBH", key, 0x80 if step > 2 else 0, 160 * (step + 1))
            packet = rtp(start + step, 160 * start, payload_type=101, payload=event)
            tape.udp(100 + 20 * (start + step), HERE, THERE, packet)
    stream = only(read(tape))

    assert (stream.digits, stream.codec, stream.packets) == ("1#", "PCMA", 30)
    assert stream.jitter_max_ms == pytest.approx(0, abs=1e-9)


def test_rtcp_is_counted_apart() -> None:
    """A sender report is no RTP, and a port of its own makes no stream."""
    tape = Tape()
    report = struct.pack(">BBHI", 0x80, 200, 6, 0x1234) + bytes(20)
    for number in range(12):
        tape.udp(number * 5000, HERE, THERE, report)
    tape.udp(0, HERE, THERE, b"\x80\xc8\xff\xff" + bytes(8))  # its length does not fit
    tap = read(tape)

    assert tap.streams == ()
    assert (tap.ports[0].rtcp_packets, tap.ports[0].rtp_packets) == (12, 0)


def test_sip_and_rtp_are_counted_for_each_interface() -> None:
    """The one interface of a pcap has number 0, and every kind its own count."""
    tape = Tape()
    talk(tape)
    tape.udp(500, PHONE, CARRIER, Leg().request())
    (port,) = read(tape).ports

    assert (port.device, port.interface, port.frames) == ("probe1", 0, 21)
    assert (port.sip_messages, port.rtp_packets, port.rtcp_packets) == (1, 20, 0)
