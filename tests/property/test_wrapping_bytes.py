"""Whatever the bytes of frames are: rows or counts, never an exception, and one answer only."""

from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP

from harness.packets import layers
from harness.packets.capture import Capture, encode_file_header, encode_record, parse
from harness.packets.fragments import Assembly
from harness.packets.frame import ACK, SYN, Datagrams, Decoder, Endpoint, decode, encode_tcp
from harness.packets.headers import COLUMNS
from harness.packets.links import LINKTYPES
from harness.packets.tcp_stream import Delivery, Limits, TcpStreams
from tests.split_blocks import blocks
from tests.wrapped import GOLDEN, HEP, PLAIN, SIX, TUNNELS

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ETHERNET = [bytes(frame) for link, frame in (PLAIN | TUNNELS | SIX | HEP).values() if link == 1]
PARTS = [bytes(part) for part in IP(bytes(GOLDEN)).fragment(48)]
MACS = bytes(12)
CHANGES = st.lists(
    st.tuples(st.integers(0, 250), st.binary(min_size=1, max_size=3)), min_size=1, max_size=4
)
CLIENT, SERVER = Endpoint("192.0.2.1", 40_000), Endpoint("198.51.100.2", 5060)


def capture(frames: list[bytes], linktype: int = 1, step_ns: int = 1_000_000) -> Capture:
    """Return a capture of these frames."""
    records = (encode_record(10**9 + at * step_ns, frame) for at, frame in enumerate(frames))
    return parse(encode_file_header(linktype) + b"".join(records))


def changed(frame: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    """Return *frame* with other bytes in some places; its length stays."""
    data = bytearray(frame)
    for at, value in changes:
        place = at % len(data)
        data[place : place + len(value)] = value[: len(data) - place]
    return bytes(data)


def check(found: Datagrams) -> None:
    """Each row lies in the data, and each frame is counted once."""
    own = found.select(found.payload_offset <= found.capture.data.size)
    assert len(own) + found.fragments + found.undecoded == len(found.capture)
    assert (found.payload_offset + found.payload_bytes <= found.data.size).all()
    assert (found.payload_bytes >= 0).all()
    assert (found.depth <= layers.MAX_TUNNELS + 1).all()
    ends = found.capture.offset_bytes + found.capture.captured_bytes
    assert (own.payload_offset + own.payload_bytes <= ends[own.frame - 1]).all()


@UNHURRIED
@given(st.lists(st.tuples(st.sampled_from(ETHERNET), CHANGES), min_size=1, max_size=8))
def test_changed_frames_are_rows_or_counted_and_the_short_way_agrees(
    pairs: list[tuple[bytes, list[tuple[int, bytes]]]],
) -> None:
    """The common frame is read in one go; the general way gives the same rows."""
    given_frames = capture([changed(frame, changes) for frame, changes in pairs] + [MACS * 9])
    found = decode(given_frames)
    check(found)
    with (
        patch.object(layers, "fill_plain_frames", lambda frames, _: frames),
        patch.object(layers, "fill_plain_packets", lambda packets, _table, _depth: packets),
    ):
        general = decode(given_frames)
    assert np.array_equal(found.frame, general.frame)
    for name in COLUMNS:
        assert np.array_equal(getattr(found, name), getattr(general, name)), name


@UNHURRIED
@given(
    st.sampled_from(sorted(LINKTYPES)),
    st.sampled_from([b"", b"\x88\x47", b"\x88\x64\x11\0\0\1", b"\x45\0\0\x40", b"\x60"]),
    st.binary(max_size=200),
    st.sampled_from([frame[14:] for frame in ETHERNET]),
)
def test_noise_before_and_behind_a_header_does_no_harm(
    linktype: int, kind: bytes, noise: bytes, packet: bytes
) -> None:
    """On every link type, behind every kind of header."""
    check(decode(capture([MACS + kind + noise, kind + packet + noise, noise], linktype)))


@UNHURRIED
@given(
    st.lists(
        st.tuples(st.sampled_from(PARTS), st.integers(0, 3), st.none() | CHANGES), max_size=25
    ),
    st.lists(st.integers(1, 24), max_size=4),
    st.integers(0, 3),
    st.sampled_from([1_000, 4_000_000, 8_000_000_000]),
)
def test_parts_give_the_same_packets_in_any_blocks(
    chosen: list[tuple[bytes, int, list[tuple[int, bytes]] | None]],
    borders: list[int],
    context: int,
    step_ns: int,
) -> None:
    """Parts of several packets, changed ones too: blocks make no difference, memory is bounded."""
    frames = []
    for part, number, changes in chosen:
        numbered = part[:4] + bytes((0, number)) + part[6:]
        frames.append(changed(numbered, changes) if changes else numbered)
    whole = capture(frames, 101, step_ns)
    expected = decode(whole)
    check(expected)
    decoder, rows = Decoder(assembly=Assembly(memory_bytes=5_000_000)), []
    found = expected
    for block in blocks(whole, borders, context=context):
        found = decoder.read(block)
        rows += [
            (int(found.frame[row]), found.source(row), found.payload(row))
            for row in np.flatnonzero(found.fresh).tolist()
        ]
    same = [
        (int(expected.frame[row]), expected.source(row), expected.payload(row))
        for row in range(len(expected))
    ]
    assert rows == same
    for name in ("fragments", "undecoded", "incomplete", "repeated", "lost"):
        assert getattr(found, name) == getattr(expected, name)


STEP = st.tuples(  # place in the stream, length, which of two connections, flags, time after it
    st.integers(0, 60),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from([ACK, ACK, ACK, SYN, 0x11, 0x04]),
    st.sampled_from([0, 1_000_000, 1_000_000, 4_000_000_000, 200_000_000_000]),
)


def deliveries(whole: Capture, borders: list[int], context: int) -> list[Delivery]:
    """Return all that is delivered when a capture is read in these blocks."""
    decoder = Decoder()
    limits = Limits(waiting_bytes=640)
    streams, given_ones = TcpStreams(limits), []
    for block in blocks(whole, borders, context=context):
        given_ones += streams.feed(decoder.read(block))
    return [*given_ones, *streams.close()]


@UNHURRIED
@given(st.lists(STEP, max_size=25), st.lists(st.integers(1, 24), max_size=4), st.integers(0, 3))
def test_streams_are_the_same_in_any_blocks(
    steps: list[tuple[int, int, bool, int, int]], borders: list[int], context: int
) -> None:
    """Bytes, gaps and ends, with limits in play; offsets go on without a hole untold."""
    text = bytes(range(100, 180))
    records, at_ns = [], 10**9
    for place, size, other, flags, after_ns in steps:
        ends = (SERVER, CLIENT) if other else (CLIENT, SERVER)
        payload = text[place : place + size]
        packet = encode_tcp(*ends, payload, sequence=place, acknowledgement=0, flags=flags)
        records.append(encode_record(at_ns, packet))
        at_ns += after_ns
    whole = parse(encode_file_header(101) + b"".join(records))
    expected = deliveries(whole, [], 0)
    assert deliveries(whole, borders, context) == expected
    reached: dict[int, int] = {}
    for one in expected:
        end = reached.get(one.stream.number, 0)
        skipped = one.gap.missing_bytes or 0 if one.gap and one.data else 0
        assert one.offset_bytes == end + skipped
        reached[one.stream.number] = one.offset_bytes + len(one.data)
