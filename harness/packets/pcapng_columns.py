"""Runs of plain enhanced packet blocks of a pcapng file, read as columns.

Laws: it reads nothing that `harness.packets.pcapng` would not read the same way; what is not plain
(other blocks, odd clocks, damage) is left to it, block after block.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import WireError
from harness.packets.capture_rows import (
    MAX_FRAME_BYTES,
    MAX_RECORD_BYTES,
    NANOSECONDS,
    Bools,
    Ints,
    Rows,
    Run,
    at_every_byte,
)
from harness.packets.pcapng import BLOCK_BYTES, ENHANCED, ENHANCED_BYTES, Blocks, Interface
from harness.packets.record_walk import WALKS, walk

_FEW = 64  # blocks: fewer are read one by one, which is quicker
_MANY_CLOCKS = 8
_FRAME_SKIP = 28  # from the start of an enhanced packet block to its frame
_FAR_NS, _FAR_OFFSET_NS = 2**62, 2**61  # their sum cannot pass 64 bits
_MOST_BITS = 34  # of a clock in powers of 2, whose fraction times 10**9 is within 64 bits

Table = npt.NDArray[Any]
Times = npt.NDArray[np.uint64]


@dataclass(slots=True)
class Pcapng:
    """A pcapng file while it is read."""

    name: str
    blocks: Blocks = field(init=False)

    def __post_init__(self) -> None:
        """Begin at the first section."""
        self.blocks = Blocks(self.name)

    @property
    def untimed(self) -> int:
        """Return how many frames had no time."""
        return self.blocks.untimed

    @untimed.setter
    def untimed(self, count: int) -> None:
        self.blocks.untimed = count

    @property
    def interface_drops(self) -> int | None:
        """Return how many frames the capturing host says that it lost."""
        drops = self.blocks.drops
        return sum(drops.values()) if drops else None

    def read(self, run: Run, at: int) -> tuple[Rows, int, WireError | None]:
        """Return the frames from byte *at* of the run on, where they end, and what is damaged."""
        self.blocks.run = run
        place, cut = _Place(at), None
        walks = WALKS
        try:
            while place.at < run.data.size:
                before = place.at
                if self.blocks.order:
                    self._walked(place, walks)
                    walks = 1  # another byte order: such files are rare, and their sections short
                at = place.at
                if at < run.data.size:
                    place.at = self.blocks.read(at)
                if place.at == before:
                    break
        except WireError as error:
            cut = error
        return self.blocks.taken(), place.at, cut

    def _walked(self, place: "_Place", walks: int) -> None:
        """Read the blocks that follow each other in the byte order of this section."""
        blocks, order = self.blocks, self.blocks.order
        steps = PcapngSteps(blocks.run, order, place.at)
        starts, _ = walk(steps, walks=walks)
        starts = starts[: np.searchsorted(starts, steps.end - _FRAME_SKIP, side="right")]
        heads = at_every_byte(blocks.run.data, f"V{_FRAME_SKIP}")[starts].view(_head(order))
        others = np.append(np.flatnonzero(heads["kind"] != ENHANCED), len(starts)).tolist()
        row, alone, patience = 0, 0, _FEW
        stops = iter(others)
        stop = next(stops)
        while row < len(starts):
            while stop < row:
                stop = next(stops)
            if not alone and stop - row >= _FEW:
                count = self._plain(heads[row:stop], starts[row:stop])
                row += count
                if row < stop:  # not plain: so as not to look at the same ones over and over
                    alone, patience = patience, 2 * patience
            if row < len(starts):
                place.at = int(starts[row])
                place.at = blocks.read(place.at)
                if blocks.order != order:
                    return
                row, alone = row + 1, max(0, alone - 1)
            else:
                place.at = int(starts[-1]) + int(heads["total"][-1])

    def _plain(self, heads: Table, starts: Ints) -> int:
        """Read the first of these enhanced packet blocks, as long as they are plain; count them."""
        blocks = self.blocks
        interfaces = blocks.interfaces[blocks.first :]
        captured = heads["captured"]
        good = heads["total"] >= captured + np.uint32(ENHANCED_BYTES)
        good &= captured <= MAX_FRAME_BYTES
        good &= heads["interface"] < len(interfaces)
        heads = heads[: _first_bad(good)]
        number = heads["interface"].astype(np.int64)
        used = np.flatnonzero(np.bincount(number)).tolist()
        clocks = {(interfaces[one].units, interfaces[one].offset_ns): one for one in used}
        if not 0 < len(clocks) <= _MANY_CLOCKS:
            return 0
        linktypes = np.zeros(len(interfaces), np.int32)
        linktypes[used] = [interfaces[one].linktype for one in used]
        at_ns, known = _times(heads, number, interfaces, list(clocks.values()))
        count = _first_bad(known)
        heads, number = heads[:count], number[:count]
        blocks.take(
            Rows(
                at_ns=at_ns[:count],
                offset_bytes=starts[:count] + _FRAME_SKIP,
                captured_bytes=heads["captured"].astype(np.int64),
                original_bytes=heads["original"].astype(np.int64),
                linktype=linktypes[number],
                interface=number.astype(np.int32) + np.int32(blocks.first),
            )
        )
        return count


def _first_bad(good: Bools) -> int:
    """Return how many are good before the first that is not."""
    return len(good) if good.all() else int(good.argmin())


def _times(
    heads: Table, number: Ints, interfaces: list[Interface], examples: list[int]
) -> tuple[Ints, Bools]:
    """Return the times of enhanced packet blocks; *examples* has an interface of each clock."""
    ticks = heads["high"].astype(np.uint64) << np.uint64(32)
    ticks |= heads["low"]
    if len(examples) == 1:
        return times(ticks, interfaces[examples[0]])
    at_ns, known = np.empty(len(ticks), np.int64), np.empty(len(ticks), np.bool_)
    for example in examples:
        clock = interfaces[example]
        same = [(one.units, one.offset_ns) == (clock.units, clock.offset_ns) for one in interfaces]
        rows = np.array(same)[number]
        at_ns[rows], known[rows] = times(ticks[rows], clock)
    return at_ns, known


@dataclass(slots=True)
class _Place:
    """Where reading is, also when it ends by an error."""

    at: int


def times(ticks: Times, interface: Interface) -> tuple[Ints, Bools]:
    """Return nanoseconds as `Interface.at_ns` does, and for which of them that is so."""
    units, ten9 = interface.units, np.uint64(NANOSECONDS)
    if NANOSECONDS % units == 0:
        factor = NANOSECONDS // units
        good = ticks <= np.uint64(_FAR_NS // factor)
        at_ns = ticks * np.uint64(factor) if factor > 1 else ticks
    elif units % NANOSECONDS == 0 and units < 2**64:
        at_ns = ticks // np.uint64(units // NANOSECONDS)
        good = at_ns <= np.uint64(_FAR_NS)
    elif units.bit_count() == 1 and units <= 2**_MOST_BITS:
        bits = np.uint64(units.bit_length() - 1)
        whole = ticks >> bits
        good = whole < np.uint64(_FAR_NS // NANOSECONDS)
        at_ns = whole * ten9 + ((ticks & np.uint64(units - 1)) * ten9 >> bits)
    else:
        return np.zeros(len(ticks), np.int64), np.zeros(len(ticks), np.bool_)
    if abs(interface.offset_ns) > _FAR_OFFSET_NS:
        good = np.zeros(len(ticks), np.bool_)
        return at_ns.astype(np.int64), good
    return at_ns.astype(np.int64) + np.int64(interface.offset_ns), good


def _head(order: str) -> npt.DTypeLike:
    """Return how an enhanced packet block begins."""
    names = ("kind", "total", "interface", "high", "low", "captured", "original")
    return np.dtype([(name, order + "u4") for name in names])


class PcapngSteps:
    """How to go from block to block: see `harness.packets.record_walk.Steps`."""

    def __init__(self, run: Run, order: str, begin: int) -> None:
        """Take the bytes of a *run* from *begin* on."""
        self.begin, self.end = begin, run.data.size
        self._data = run.data
        self._words = at_every_byte(run.data, order + "u4")
        self._last = self.end - BLOCK_BYTES  # where a block may start

    def next(self, at: Ints) -> Ints:
        """Return where each of these blocks would end, true or not."""
        after: Ints = at + self._words[np.minimum(at, self._last) + 4]
        return after

    def whole(self, at: Ints, after: Ints) -> Bools:
        """Say which of the blocks that `next` told the end of are whole and possible."""
        total = after - at
        good: Bools = after <= self.end
        good &= at <= self._last
        good &= total <= MAX_RECORD_BYTES
        good &= total >= BLOCK_BYTES
        good &= total & 3 == 0
        again = np.where(good, after, self.begin + BLOCK_BYTES) - 4
        good &= self._words[again] == total
        return good

    def next_alone(self, at: int) -> int:
        """Return where a whole block ends, or *at* when there is none."""
        if at > self._last:
            return at
        total = int(self._words[at + 4])
        after = at + total
        if total % 4 or not BLOCK_BYTES <= total <= MAX_RECORD_BYTES or after > self.end:
            return at
        return after if int(self._words[after - 4]) == total else at

    def likely(self, first: int, step: int, walks: int, window_bytes: int) -> Ints:
        """Return places at which an enhanced packet block seems to be."""
        step, first = step - step % 4, first - (first - self.begin) % 4
        walks = min(walks, (self.end - first - window_bytes - BLOCK_BYTES) // max(step, 1) + 1)
        if walks < 1 or step < 1:
            return np.empty(0, np.int64)
        shape = (walks, -(-window_bytes // 4))
        kinds = np.ndarray(shape, self._words.dtype, self._data, first, (step, 4))
        number, skip = np.nonzero(kinds == ENHANCED)
        places = first + number * step + 4 * skip
        return places[self.whole(places, self.next(places))]
