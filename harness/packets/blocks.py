"""A capture in blocks: a few million bytes of it at a time, so that memory does not grow with it.

    block 1   [ taken .................... | held back ]
    block 2              [ looked back at  | held back | taken ............. | held back ]
    the last                                              [ looked back at   | taken ...... ]

Laws: every frame is fresh in exactly one block; the fresh frames of a block, put in order of time,
follow those of the blocks before it, but for frames that came later than the window allows, which
are counted; the frames that stood before the fresh ones are there too, for what looks back. What
is carried from block to block is at most a quarter of one. Frames, times, numbers and damage are
those that `harness.packets.capture.parse` finds in the whole file.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.errors import InputError, WireError
from harness.packets.capture import LOOK_BYTES, Capture, build, open_container
from harness.packets.capture_rows import Bools, Bytes, Container, Ints, Rows, Run, damage

BLOCK_BYTES = 64 << 20
WINDOW_NS = 100_000_000

_FREE = 2  # references to memory that nobody uses
_TAIL_FRAMES = 64  # by which the time at the end of a block is judged
_LAST_NS = 2**63 - 1
_LEAP_NS = 1_000_000_000  # further ahead of them a time is not believed


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some frames of a file, one after the other, and which of them are to be taken now."""

    capture: Capture  # its `first_frame` says where in the file it begins
    fresh: Bools  # a row a frame; the others are or were so in a block beside this one
    read_bytes: int  # of the file, up to here: of the packed one, where it is packed
    is_last: bool
    late_frames: int = 0  # fresh ones older than what the block before gave
    late_ns: int = 0  # the most that one of them was late


class Source(Protocol):
    """The bytes of a file in their order, as `harness.packets.source` opens one."""

    @property
    def read_bytes(self) -> int:
        """Return how far the file is read: the packed one, where it is packed."""
        ...

    @property
    def loss(self) -> WireError | None:
        """Return why the bytes ended before they should."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Say whether the end is only where reading stopped: the file still grew."""
        ...

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into *room*, as many as there are; return their number, 0 at the end.

        It waits where more are to come.
        """
        ...


def whole(capture: Capture) -> Block:
    """Return all of *capture* as one block."""
    fresh = np.ones(len(capture), np.bool_)
    return Block(capture, fresh, capture.data.size, is_last=True)


def read_blocks(
    source: Source, *, name: str, block_bytes: int = BLOCK_BYTES, window_ns: int = WINDOW_NS
) -> Iterator[Block]:
    """Yield the capture of *source* in blocks, each in memory of its own; *name* is for messages.

    A block has about *block_bytes* of the file, more only where a single record has.

    Raises:
        InputError: not a capture at all, one of a kind that is not read, or cut before its first
            frame could be. Damage after that is not raised: see `Capture.cut` of the last block.
    """
    reading = _Reading(source, name, block_bytes, window_ns)
    while not reading.is_over:
        block = reading.next()
        if block is not None:
            yield block


class _Reading:
    """A capture while it is read."""

    def __init__(self, source: Source, name: str, block_bytes: int, window_ns: int) -> None:
        """Read as much as a block, and see what it is."""
        self.is_over = False
        self._source, self._name = source, name
        self._room = _Room(source, block_bytes)
        self._room.fill()
        self._edge = _Edge(block_bytes // 4, window_ns)
        self._container, self._at = self._open()
        self._rows = Rows.none()  # carried from the block before
        self._given = np.empty(0, np.bool_)  # which of them it gave
        self._first_frame = 1

    def next(self) -> Block | None:
        """Return the next block; None when there was no frame in what was read."""
        room = self._room
        room.fill()
        is_end = room.is_end and not self._source.is_stopped  # a half record is then no damage
        run = Run(room.data, room.base_bytes, is_end=is_end)
        found, self._at, cut = self._container.read(run, self._at)
        rows = Rows.joined((self._rows, found))
        given = np.append(self._given, np.zeros(len(found), np.bool_))
        self.is_over = room.is_end or cut is not None
        if self.is_over:
            cut = self._loss(self._first_frame + len(rows) - 1) or cut
            if cut is not None and room.base_bytes + self._at == 0:
                raise cut
        if not self.is_over and not len(found):
            self._go_on(rows, given, 0)
            return None
        split = self._edge.split(rows, given, self._at, is_last=self.is_over)
        data = room.data[: self._at]
        data.flags.writeable = False
        capture = build(
            rows,
            self._container,
            data,
            name=self._name,
            cut=cut,
            first_frame=self._first_frame,
        )
        block = Block(
            capture,
            split.fresh,
            self._source.read_bytes,
            is_last=self.is_over,
            late_frames=split.late_frames,
            late_ns=split.late_ns,
        )
        if not self.is_over:
            self._go_on(rows, given | split.fresh, split.keep)
        return block

    def _open(self) -> tuple[Container, int]:
        """Return the reader of this kind of capture, and where its first record is."""
        start = bytes(self._room.data[:LOOK_BYTES])
        try:
            return open_container(start, self._name)
        except InputError as error:
            raise self._loss(0) or error from None

    def _go_on(self, rows: Rows, given: Bools, keep: int) -> None:
        """Carry the rows from *keep* on, and read more."""
        keep_bytes = int(rows.offset_bytes[keep]) if keep < len(rows) else self._at
        self._rows, self._given = rows.moved(keep, keep_bytes), given[keep:]
        self._first_frame += keep
        self._at -= keep_bytes
        self._room.move(keep_bytes)

    def _loss(self, frames: int) -> WireError | None:
        """Return what the source says it lost, in the words used of a capture."""
        loss = self._source.loss
        if loss is None:
            return None
        return damage(loss.why, loss.offset_bytes, self._name, frames)


class _Room:
    """The memory of a block: filled from the source, and left to the block once it is given.

    It is used again when nobody looks at that block any more: new memory costs as much as reading.
    """

    def __init__(self, source: Source, size_bytes: int) -> None:
        """Begin at the start of the file."""
        self.base_bytes = 0  # where in the file it begins
        self.is_end = False
        self._source = source
        self._size_bytes = max(size_bytes, LOOK_BYTES)
        self._rooms: list[Bytes] = []
        self._kept: Bytes | None = np.empty(0, np.uint8)  # with which the next one begins
        self._room, self._filled = self._kept, 0

    @property
    def data(self) -> Bytes:
        """Return what is filled."""
        return self._room[: self._filled]

    def move(self, keep: int) -> None:
        """Begin at byte *keep*, in other memory."""
        self._kept = self._room[keep : self._filled].copy()
        while self._kept.size > self._size_bytes // 2:  # a record longer than a (small) block
            self._size_bytes *= 2
        self.base_bytes += keep

    def fill(self) -> None:
        """Read until it is full, or the file ends."""
        if self._kept is not None:
            self._room, self._filled = self._free(), self._kept.size
            self._room[: self._filled] = self._kept
            self._kept = None
        view = self._room.data
        while self._filled < len(view) and not self.is_end:
            count = self._source.readinto(view[self._filled :])
            self.is_end = not count
            self._filled += count

    def _free(self) -> Bytes:
        """Return memory that no block has, or has any more."""
        self._room = np.empty(0, np.uint8)
        for number in range(len(self._rooms)):
            held = sys.getrefcount(self._rooms[number])  # by the list and by this call: free
            if held <= _FREE and len(self._rooms[number]) == self._size_bytes:
                return self._rooms[number]
        self._rooms = [room for room in self._rooms if len(room) == self._size_bytes]
        self._rooms.append(np.empty(self._size_bytes, np.uint8))
        return self._rooms[-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """What a block gives, and what is carried to the next."""

    fresh: Bools
    keep: int  # the first row that is carried
    late_frames: int
    late_ns: int


@dataclass(slots=True)
class _Edge:
    """Where in time a block ends and the next begins."""

    most_bytes: int  # that are carried
    window_ns: int
    until_ns: int = -(2**63)  # what is not newer was given

    def split(self, rows: Rows, given: Bools, end: int, *, is_last: bool) -> _Split:
        """Return what of *rows*, which end at byte *end*, is given now."""
        at_ns, before_ns = rows.at_ns, self.until_ns
        keep = len(rows)
        if is_last:
            fresh = ~given
        else:
            believed = at_ns <= _newest_believed(at_ns)
            least = int(np.searchsorted(rows.offset_bytes, end - self.most_bytes))
            full = int(np.searchsorted(rows.offset_bytes, end - self.most_bytes // 2))
            # What would not fit is given, and so is all that is not newer than it. Half of what is
            # carried is for looking back, whatever the window: a copy follows its original.
            newest_ns = _newest(at_ns, believed)
            self.until_ns = max(_newest(at_ns[:full], believed[:full]), newest_ns - self.window_ns)
            if newest_ns > before_ns - _LEAP_NS:  # else the clock was set back: all begins anew
                self.until_ns = max(self.until_ns, before_ns)
            fresh = ~given & ((at_ns <= self.until_ns) | ~believed)
            looked_at = believed[least:] & (at_ns[least:] > self.until_ns - self.window_ns)
            if looked_at.any():
                keep = least + int(looked_at.argmax())
        late = fresh & (at_ns < before_ns) & (at_ns != 0)  # 0: it has no time
        late_ns = before_ns - int(at_ns[late].min()) if late.any() else 0
        return _Split(fresh, keep, int(np.count_nonzero(late)), late_ns)


def _newest(at_ns: Ints, which: Bools) -> int:
    return int(at_ns.max(where=which, initial=-(2**62)))


def _newest_believed(at_ns: Ints) -> int:
    """Return the latest time that is not far ahead of the last frames, as a damaged one may be."""
    tail = np.sort(at_ns[-_TAIL_FRAMES:])
    low, high = int(tail[len(tail) // 4]), int(tail[len(tail) * 3 // 4])
    return min(high + 4 * (high - low) + _LEAP_NS, _LAST_NS)
