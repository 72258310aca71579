"""What holds of every capture that is read in blocks, for tests."""

import io
from collections.abc import Iterator

import pytest

from harness.errors import InputError, WireError
from harness.packets.blocks import Block, read_blocks
from harness.packets.capture import Capture, parse

WINDOW_NS = 1_000


class Memory:
    """Bytes as a source, given in pieces of at most so many."""

    def __init__(self, data: bytes, most: int = 1 << 20, loss: WireError | None = None) -> None:
        self._file, self._most, self.loss = io.BytesIO(data), most, loss
        self.calls = 0
        self.is_stopped = False

    @property
    def read_bytes(self) -> int:
        return self._file.tell()

    def readinto(self, room: memoryview) -> int:
        self.calls += 1
        return self._file.readinto(room[: self._most])


def blocks(data: bytes, block_bytes: int, window_ns: int = WINDOW_NS) -> list[Block]:
    """Return the blocks of a capture."""
    source = Memory(data, 1 + block_bytes // 3)
    return list(read_blocks(source, name="x", block_bytes=block_bytes, window_ns=window_ns))


def frames(capture: Capture) -> Iterator[tuple[object, ...]]:
    """Yield what is known of each frame, with its bytes."""
    columns = (
        capture.at_ns,
        capture.original_bytes,
        capture.linktype,
        capture.interface,
        capture.offset_bytes,
        capture.captured_bytes,
    )
    for row in zip(*(column.tolist() for column in columns), strict=True):
        *known, at, size = row
        yield (*known, capture.data[at : at + size].tobytes())


def check_same(data: bytes, block_bytes: int) -> int:
    """The blocks hold what the whole has, each frame fresh once; return how many there are."""
    refusal = None
    try:
        expected = parse(data, name="x")
    except InputError as error:
        refusal = str(error)
    if refusal is not None:
        with pytest.raises(InputError) as caught:
            blocks(data, block_bytes)
        assert str(caught.value) == refusal
        return 0
    found = blocks(data, block_bytes)
    assert fresh_frames(found) == list(frames(expected))
    last = found[-1].capture
    assert str(last.cut) == str(expected.cut)
    assert (last.interface_drops, last.untimed) == (expected.interface_drops, expected.untimed)
    assert all(block.capture.cut is None for block in found[:-1])
    return len(expected)


def fresh_frames(found: list[Block]) -> list[tuple[object, ...]]:
    """Return each frame of all blocks, which is fresh in one of them."""
    fresh: dict[int, tuple[object, ...]] = {}
    for block in found:
        capture = block.capture
        ends = capture.offset_bytes + capture.captured_bytes
        assert not len(ends) or int(ends.max()) <= capture.data.size
        for number, row in enumerate(frames(capture)):
            if block.fresh[number]:
                assert capture.first_frame + number not in fresh
                fresh[capture.first_frame + number] = row
    assert [block.is_last for block in found] == [False] * (len(found) - 1) + [True]
    assert sorted(fresh) == list(range(1, len(fresh) + 1))
    return [fresh[number] for number in sorted(fresh)]
