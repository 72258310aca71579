"""The arithmetic of RFC 3550: each figure by hand, and headers to the letter."""

import struct

import numpy as np
import pytest

from harness.packets.capture import Ints
from harness.packets.frame import decode
from probetest.media.rtp import Counts, count, headers, is_rtcp, jitter, version_2
from tests.sip_wire import CARRIER, MS, SBC, Tape, rtp


def one(*sequence: int) -> Counts:
    """Return the counts of one stream."""
    return count(np.zeros(1, np.int64), np.array(sequence, np.int64))


def row(counts: Counts) -> tuple[int, ...]:
    """Return received, expected, lost, duplicates, reordered, restarts, odd."""
    names = ("received", "expected", "lost", "duplicates", "reordered", "restarts", "odd")
    return tuple(int(getattr(counts, name)[0]) for name in names)


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ((7,), (1, 1, 0, 0, 0, 0, 0)),
        ((1, 2, 3, 4), (4, 4, 0, 0, 0, 0, 0)),
        ((1, 2, 5), (3, 5, 2, 0, 0, 0, 0)),
        ((1, 3, 2, 4), (4, 4, 0, 0, 1, 0, 0)),
        ((1, 2, 2, 3), (4, 3, -1, 1, 0, 0, 0)),
        ((1, 3, 2, 2, 4), (5, 4, -1, 1, 1, 0, 0)),
        ((65_534, 65_535, 0, 1), (4, 4, 0, 0, 0, 0, 0)),
        ((65_535, 1), (2, 3, 1, 0, 0, 0, 0)),
        ((1, 0, 65_535, 2), (4, 2, -2, 0, 2, 0, 0)),
        ((1, 2, 40_000, 3, 4), (4, 4, 0, 0, 0, 0, 1)),
        ((1, 2, 40_000), (2, 2, 0, 0, 0, 0, 1)),
        ((1, 2, 40_000, 40_001, 40_003), (5, 6, 1, 0, 0, 1, 0)),
        ((500, 501, 10, 11), (4, 4, 0, 0, 0, 1, 0)),
        ((1, 3000), (2, 3000, 2998, 0, 0, 0, 0)),
        ((200, 100), (2, 1, -1, 0, 1, 0, 0)),
    ],
)
def test_sequence_numbers_tell_loss(sequence: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Gaps, late packets, duplicates, the turn at 65536, restarts, and one odd packet."""
    assert row(one(*sequence)) == expected


def test_streams_do_not_touch_each_other() -> None:
    """A stream's figures are the same alone and among others."""
    parts = [(1, 2, 4), (65_535, 0, 0), (9, 20_000, 20_001), (5,)]
    together = np.concatenate([np.array(part, np.int64) for part in parts])
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    found = count(starts, together)

    for number, part in enumerate(parts):
        alone = one(*part)
        for name in ("received", "expected", "lost", "duplicates", "reordered", "restarts", "odd"):
            assert getattr(found, name)[number] == getattr(alone, name)[0]


def test_no_packets_have_no_counts() -> None:
    """Nothing in, nothing out, of either function."""
    none = np.zeros(0, np.int64)

    assert count(none, none).lost.tolist() == []
    assert jitter(none, none, none, none, np.zeros(0, np.bool_)).last.tolist() == []


def measure(at_ms: list[float], timestamp: list[int], clock_hz: int = 8000) -> list[float]:
    """Return last, mean and highest jitter of one stream."""
    at_ns = np.array([round(at * MS) for at in at_ms], np.int64)
    start, fresh = np.zeros(1, np.int64), np.zeros(len(at_ms), np.bool_)
    clock = np.array([clock_hz], np.int64)
    found = jitter(start, at_ns, np.array(timestamp, np.int64), clock, fresh)
    return [float(part[0]) for part in (found.last, found.mean, found.highest)]


def test_a_steady_stream_has_no_jitter() -> None:
    """20 ms apart by both clocks is 0, through the turn of the timestamp."""
    first = 2**32 - 400
    times = [20.0 * n for n in range(6)]

    assert measure(times, [(first + 160 * n) % 2**32 for n in range(6)]) == [0, 0, 0]


def test_jitter_is_a_sixteenth_of_each_difference() -> None:
    """16 ms late once gives 1 ms; then it decays by 1/16, and a late packet counts twice."""
    last, mean, highest = measure([0, 20, 56, 76], [0, 160, 320, 480])

    assert highest == pytest.approx(1.0)
    assert last == pytest.approx(15 / 16)
    assert mean == pytest.approx((0 + 1 + 15 / 16) / 3)


def test_the_clock_of_the_codec_counts() -> None:
    """960 units are 20 ms at 48000 Hz, and 120 ms at 8000 Hz."""
    assert measure([0, 20, 40], [0, 960, 1920], 48_000) == [0, 0, 0]
    assert measure([0, 20], [0, 960], 8000)[0] == pytest.approx(100 / 16)


def test_jitter_of_one_stream_is_not_brought_into_the_next() -> None:
    """A wild stream before a steady one leaves it at 0."""
    at_ns = np.array([0, 900, 2000, 0, 20, 40], np.int64) * MS
    timestamp = np.array([0, 160, 320, 0, 160, 320], np.int64)
    starts, clock = np.array([0, 3]), np.array([8000, 8000])
    found = jitter(starts, at_ns, timestamp, clock, np.zeros(6, np.bool_))

    assert found.last[0] > 100
    assert found.last[1] == pytest.approx(0, abs=1e-9)


def ints(*values: int) -> Ints:
    """Return a column."""
    return np.array(values, np.int64)


def test_headers_are_read_past_sources_and_extension() -> None:
    """Two contributing sources and an extension of one word: the payload begins after them."""
    plain = rtp(5, 800, marker=True, payload=b"sound")
    rich = b"\x92" + plain[1:12] + bytes(8) + struct.pack(">HHI", 1, 1, 0) + b"sound"
    cut = b"\x90" + plain[1:12]
    long = b"\x90" + plain[1:12] + struct.pack(">HH", 1, 9)
    tape = Tape()
    for payload in (plain, rich, cut, long, b"\x40" + plain[1:], b"\x80" * 11):
        tape.udp(0, SBC, CARRIER, payload)
    datagrams = decode(tape.capture())
    rows, second = version_2(datagrams)
    found = headers(datagrams, rows)

    assert rows.tolist() == [0, 1, 2, 3]
    assert second.tolist() == [0x88] * 4
    assert found.row.tolist() == [0, 1]
    assert (found.sequence.tolist(), found.timestamp.tolist()) == ([5, 5], [800, 800])
    assert (found.payload_type.tolist(), found.ssrc.tolist()) == ([8, 8], [0x1234] * 2)
    data = datagrams.data
    places = zip(found.offset, found.size, strict=True)
    assert [bytes(data[at : at + size]) for at, size in places] == [b"sound"] * 2


def test_the_second_byte_tells_rtcp() -> None:
    """192 to 223 are packet types of RTCP (RFC 5761 section 4)."""
    assert is_rtcp(ints(191, 192, 200, 223, 224)).tolist() == [False, True, True, True, False]
