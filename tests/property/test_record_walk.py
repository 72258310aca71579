"""Many walks through a capture find what one walk finds."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.packets.capture import at_every_byte
from harness.packets.record_walk import HEADER_BYTES, Records

LIMIT_BYTES = 300
FIRST_S = 1_700_000_000
# Frames in which records seem to start, and such whose headers lie.
frames = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 20).map(lambda size: struct.pack("<IIII", FIRST_S, 0, size, size) * 3),
)
records = st.lists(st.tuples(frames, st.sampled_from([0, 0, 0, 0, 0, 0, 1, 500])), max_size=60)


def by_one(data: bytes) -> tuple[list[int], int]:
    """Return the starts and the end, read record after record."""
    at, found = 0, []
    while at + HEADER_BYTES <= len(data):
        (captured,) = struct.unpack_from("<I", data, at + 8)
        if at + HEADER_BYTES + captured > len(data) or captured > LIMIT_BYTES:
            break
        found.append(at)
        at += HEADER_BYTES + captured
    return found, at


@given(records, st.binary(max_size=20), st.integers(2, 9), st.integers(1, 80))
def test_walks_from_guessed_places_find_what_one_walk_finds(
    drawn: list[tuple[bytes, int]], tail: bytes, walks: int, window_bytes: int
) -> None:
    """Also in a file that is damaged, or made to mislead."""
    data = tail
    for frame, lie in reversed(drawn):
        size = len(frame) + lie
        data = struct.pack("<IIII", FIRST_S, 0, size, size) + frame + data
    words = at_every_byte(np.frombuffer(data, np.uint8), "<u4")
    records_ = Records(words, 0, len(data), LIMIT_BYTES)
    starts, end = records_.walk(walks=walks, window_bytes=window_bytes)

    assert (starts.tolist(), end) == by_one(data)
