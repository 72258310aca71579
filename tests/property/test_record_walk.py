"""Many walks through a capture find what one walk finds."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.packets.capture import encode_file_header, encode_record, parse
from harness.packets.capture_rows import Run
from harness.packets.pcap import PcapSteps
from harness.packets.pcapng_columns import PcapngSteps
from harness.packets.record_walk import Steps, walk

LIMIT_BYTES = 2_000
FIRST_S = 1_700_000_000


def record(frame: bytes, lie: int = 0) -> bytes:
    """Return a record of a pcap file."""
    return struct.pack("<IIII", FIRST_S, 0, len(frame) + lie, len(frame) + lie) + frame


def block(frame: bytes, lie: int = 0, kind: int = 6) -> bytes:
    """Return an enhanced packet block."""
    body = struct.pack("<IIIII", 0, 0, 0, len(frame), len(frame)) + frame + bytes(-len(frame) % 4)
    total = len(body) + 12
    return struct.pack("<II", kind, total + lie) + body + struct.pack("<I", total)


def pcap_steps(data: bytes) -> Steps:
    """Return how to walk through these records."""
    return PcapSteps(Run(np.frombuffer(data, np.uint8), 0, is_end=True), "<", 0, LIMIT_BYTES)


def pcapng_steps(data: bytes) -> Steps:
    """Return how to walk through these blocks."""
    return PcapngSteps(Run(np.frombuffer(data, np.uint8), 0, is_end=True), "<", 0)


MAKE = {pcap_steps: record, pcapng_steps: block}
# Frames in which records seem to start, and such whose headers lie.
noise = st.binary(max_size=40)
fakes = st.integers(0, 20).flatmap(
    lambda size: st.sampled_from([record(bytes(size)) * 3, block(bytes(size)) * 3])
)
frames = st.lists(
    st.tuples(noise | fakes, st.sampled_from([0, 0, 0, 0, 0, 0, 4, 5_000])), max_size=60
)


def by_one(steps: Steps) -> tuple[list[int], int]:
    """Return the starts and the end, read record after record."""
    at, found = steps.begin, []
    while (after := steps.next_alone(at)) > at:
        found.append(at)
        at = after
    return found, at


@pytest.mark.parametrize("steps_of", MAKE, ids=["pcap", "pcapng"])
@given(
    drawn=frames, tail=st.binary(max_size=20), walks=st.integers(2, 9), window=st.integers(1, 80)
)
def test_walks_from_guessed_places_find_what_one_walk_finds(
    steps_of: Callable[[bytes], Steps],
    drawn: list[tuple[bytes, int]],
    tail: bytes,
    walks: int,
    window: int,
) -> None:
    """Also in a file that is damaged, or made to mislead."""
    data = b"".join(MAKE[steps_of](frame, lie) for frame, lie in drawn) + tail
    steps = steps_of(data)
    starts, end = walk(steps, walks=walks, window_bytes=window)

    assert (starts.tolist(), end) == by_one(steps)


@pytest.mark.parametrize("steps_of", MAKE, ids=["pcap", "pcapng"])
def test_capture_carried_inside_a_capture_is_not_mistaken_for_it(
    steps_of: Callable[[bytes], Steps],
) -> None:
    """Guesses are made inside the frames, and each is found out where the walk before it ends."""
    make = MAKE[steps_of]
    inner = b"".join(make(bytes(60 + number % 7 * 4)) for number in range(9))
    data = b"".join(make(inner + bytes(number * 12 % 148)) for number in range(400))
    steps = steps_of(data)
    true, end = by_one(steps)
    step = steps.end // 40
    places = steps.likely(step, step, 39, 100)
    guesses = places[np.unique(places // step, return_index=True)[1]]

    starts, found_end = walk(steps, walks=40, window_bytes=100)

    assert len(true) == 400
    assert len(set(guesses.tolist()) - set(true)) > 10
    assert (starts.tolist(), found_end) == (true, end)


def test_pcap_sent_in_udp_is_read_as_one_frame_each() -> None:
    """A whole capture file in each payload, long enough for walks of its own."""
    inner = encode_file_header(1) + b"".join(encode_record(10**18, bytes(90)) for _ in range(12))
    data = encode_file_header(101)
    data += b"".join(encode_record(10**18 + n, inner[: 900 + n % 397]) for n in range(2_000))

    found = parse(data)

    assert (len(found), found.cut) == (2_000, None)
    assert found.captured_bytes.tolist() == [900 + n % 397 for n in range(2_000)]
