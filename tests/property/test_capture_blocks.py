"""A capture read in blocks of any size is the capture read whole."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import WireError
from harness.packets.blocks import read_blocks
from harness.packets.capture import encode_file_header, encode_record
from harness.packets.pcapng import Interface
from harness.packets.pcapng_columns import times
from tests.capture_checks import WINDOW_NS, Memory, blocks, check_same

START_NS = 1_700_000_000 * 10**9


def pcapng_block(order: str, kind: int, body: bytes) -> bytes:
    """Return a block of a pcapng file."""
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


@st.composite
def pcaps(draw: st.DrawFn) -> bytes:
    """Draw a pcap of each kind, its times in any order, perhaps cut."""
    order = draw(st.sampled_from("<>"))
    magic = draw(st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]))
    rows = draw(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 90)), max_size=80))
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 99, 1)
    for number, (after, size) in enumerate(rows):
        head = (1_700_000_000, number * 50 + after, size, size + number % 3)
        out += struct.pack(order + "IIII", *head) + bytes([number]) * size
    return out[: len(out) - draw(st.sampled_from([0, 0, 1, 7, 40]))]


@st.composite
def pcapngs(draw: st.DrawFn) -> bytes:
    """Draw a pcapng of one or more sections, with blocks of every kind."""
    out = b""
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.sampled_from("<>"))
        head = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
        out += pcapng_block(order, 0x0A0D0D0A, head)
        clocks = draw(st.lists(st.sampled_from([3, 6, 9, 12, 0x81, 0x94, 0xB0]), max_size=3))
        for number, clock in enumerate(clocks):
            options = struct.pack(order + "HHB3xHHq", 9, 1, clock, 14, 8, number)
            body = struct.pack(order + "HHI", (1, 101)[number % 2], 0, 64) + options
            out += pcapng_block(order, 1, body)
        kinds = st.sampled_from([6, 6, 6, 6, 6, 3, 2, 5, 4, 0xBAD])
        sizes = st.integers(0, 60)
        count = draw(st.sampled_from([1, 1, 70]))  # so many plain ones are read together
        which = st.integers(0, max(0, len(clocks) - 1))
        ticks = st.integers(0, 2**44)
        for kind, size, interface, tick in draw(
            st.lists(st.tuples(kinds, sizes, which, ticks), max_size=15)
        ):
            body = bytes([kind & 255]) * size
            if kind == 6:
                head = (interface, tick >> 32, tick & 0xFFFFFFFF, size, size + 1)
                body = struct.pack(order + "5I", *head) + body
            elif kind == 3:
                body = struct.pack(order + "I", size) + body
            elif kind == 2:
                head = (interface, 1, tick >> 32, tick & 0xFFFFFFFF, size, size)
                body = struct.pack(order + "HH4I", *head) + body
            elif kind == 5:
                body = struct.pack(order + "3IHHQ", interface, 0, 0, 5, 8, size)
            out += pcapng_block(order, kind, body) * (count if kind == 6 else 1)
    return out[: len(out) - draw(st.sampled_from([0, 0, 0, 3, 20]))]


@settings(deadline=None)
@given(st.one_of(pcaps(), pcapngs()), st.sampled_from([64, 100, 256, 1_000, 4_096, 1 << 16]))
def test_capture_in_blocks_is_the_capture_in_one_piece(data: bytes, block_bytes: int) -> None:
    """Frames, numbers, times, counts of lost frames, and damage with its byte and its words."""
    check_same(data, block_bytes)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(-WINDOW_NS, WINDOW_NS)), max_size=300),
    st.sampled_from([1_000, 4_096]),
)
def test_fresh_frames_follow_in_time_those_of_the_blocks_before(
    drawn: list[tuple[int, int]], block_bytes: int
) -> None:
    """However they lie within the window; what looks back finds the frames just before."""
    times, at = [], START_NS
    for step, swing in drawn:
        at += 100 * step
        times.append(at + swing // 2)
    data = encode_file_header(101) + b"".join(encode_record(one, bytes(9)) for one in times)
    before = 0
    for block in blocks(data, block_bytes):
        fresh = block.capture.at_ns[block.fresh]
        if len(fresh):
            if not block.late_frames:
                assert int(fresh.min()) >= before
            before = max(before, int(fresh.max()))


@given(
    st.lists(st.integers(0, 2**64 - 1) | st.integers(2**59, 2**61), min_size=1, max_size=9),
    st.sampled_from([10**n for n in range(24)] + [2**n for n in range(70)]),
    st.sampled_from([0, 1, -3_600, 10**9, -(10**12), 2**62]),
)
def test_times_of_many_frames_are_those_of_each(
    ticks: list[int], units: int, offset_s: int
) -> None:
    """For each clock, wherever numpy's numbers are wide enough; elsewhere it is not claimed."""
    interface = Interface(1, 0, units, offset_s * 10**9)
    found, known = times(np.array(ticks, np.uint64), interface)
    expected = [interface.at_ns(one) for one in ticks]

    assert found[known].tolist() == [one for one, is_ in zip(expected, known, strict=True) if is_]
    if units <= 2**34 and abs(offset_s) < 10**9:
        now = [0 <= one - interface.offset_ns < 4 * 10**18 for one in expected]
        assert all(is_ or not must for is_, must in zip(known, now, strict=True))


def test_frame_of_the_future_holds_nothing_back() -> None:
    """A damaged time far ahead does not make the frames after it late, nor keep them."""
    times = [START_NS + number * 1_000_000 for number in range(500)]
    times[100] += 10**9 * 86_400
    data = encode_file_header(101) + b"".join(encode_record(one, bytes(50)) for one in times)
    found = blocks(data, 4_096, window_ns=2_000_000)

    assert sum(block.late_frames for block in found) == 0
    assert sum(np.count_nonzero(block.fresh) for block in found) == 500
    assert all(np.count_nonzero(block.fresh) > 30 for block in found[:-1])


def test_late_frame_is_counted_with_its_lateness() -> None:
    """One that comes after the window has gone by is fresh all the same."""
    times = [START_NS + number * 1_000_000 for number in range(500)]
    times[300] = times[100]
    data = encode_file_header(101) + b"".join(encode_record(one, bytes(50)) for one in times)
    found = blocks(data, 4_096, window_ns=2_000_000)

    late = [block for block in found if block.late_frames]
    assert [block.late_frames for block in late] == [1]
    assert 0 < late[0].late_ns < 300_000_000
    assert sum(np.count_nonzero(block.fresh) for block in found) == 500


def test_clock_that_is_set_back_is_not_late_for_ever() -> None:
    """The blocks after it are in order again, each with the frames just before its own."""
    times = [START_NS + number * 1_000_000 for number in range(400)]
    times += [one - 3_600 * 10**9 for one in times]
    data = encode_file_header(101) + b"".join(encode_record(one, bytes(50)) for one in times)
    found = blocks(data, 4_096, window_ns=2_000_000)

    assert sum(block.late_frames > 0 for block in found) in {1, 2}
    assert sum(np.count_nonzero(block.fresh) for block in found) == 800
    assert all(np.count_nonzero(~block.fresh) for block in found[-3:])


def test_block_begins_with_the_frames_just_before_its_own() -> None:
    """As long before as the window is, so that a duplicate finds what it is one of."""
    times = [START_NS + number * 1_000_000 for number in range(500)]
    data = encode_file_header(101) + b"".join(encode_record(one, bytes(50)) for one in times)
    for block in blocks(data, 8_192, window_ns=10_000_000)[1:]:
        first_ns = int(block.capture.at_ns[block.fresh].min())
        assert first_ns - int(block.capture.at_ns[0]) >= 10_000_000 - 1_000_000


def test_memory_of_a_block_is_used_again_only_when_nobody_looks_at_it() -> None:
    """A few bytes that somebody still looks at keep all of its block."""
    data = encode_file_header(101)
    data += b"".join(encode_record(START_NS + n * 10**6, bytes([n % 251]) * 50) for n in range(900))
    looked_at, places = [], set()
    for number, block in enumerate(read_blocks(Memory(data), name="x", block_bytes=4_096)):
        view = block.capture.data[7:60]
        places.add(block.capture.data.__array_interface__["data"][0])
        if number % 5 == 0:
            looked_at.append((view, view.tobytes()))
        del view

    assert len(looked_at) > 2
    assert all(view.tobytes() == content for view, content in looked_at)
    assert len(places) <= len(looked_at) + 3


def test_record_longer_than_a_block_is_read() -> None:
    """A block then has room for it."""
    data = encode_file_header(101) + encode_record(1, b"a") + encode_record(2, bytes(200_000))

    check_same(data + encode_record(3, b"b"), 1_000)


def test_loss_of_the_source_is_the_damage_of_the_capture() -> None:
    """What is named is why the bytes ended, not the record that was cut by it."""
    data = encode_file_header(101) + encode_record(1, b"whole") + encode_record(2, b"half")[:-1]
    source = Memory(data, loss=WireError("the gzip data is cut short", offset_bytes=77))
    (found,) = read_blocks(source, name="x.gz")

    assert str(found.capture.cut) == (
        "x.gz: byte 77: the gzip data is cut short; "
        "the 1 frames before it were read; the rest of the file cannot be"
    )


def test_half_a_record_is_no_damage_where_reading_was_stopped() -> None:
    """A file that still grows ends anywhere."""
    data = encode_file_header(101) + encode_record(1, b"whole") + encode_record(2, b"half")[:-1]
    source = Memory(data)
    source.is_stopped = True
    (found,) = read_blocks(source, name="x")

    assert (len(found.capture), found.capture.cut, found.is_last) == (1, None, True)
