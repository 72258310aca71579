"""Equal byte strings out of many, found without an object for each.

Laws: exact: a hash only sorts, then every string is compared with the one that stands for it; in
time that grows with the bytes, whoever chose them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints, at_every_byte

Words = npt.NDArray[np.uint64]

WORD_BYTES = 8
BLOCK_ROWS = 8192  # looked at together, so that what is between stays in the cache
FEW = 8  # so many times fewer strings than rows: looked up, not sorted
SAMPLE = 10_000  # rows that tell whether there are few
_ODD = np.uint64(0x9E3779B97F4A7C15)  # an odd number, so that multiplying by it loses nothing
_HALF = np.uint64(32)


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Groups of equal strings: `first` is a row of each, `group` the group of every row."""

    first: Ints
    group: Ints
    hashes: Words  # one a row; equal for equal strings


def distinct(data: Bytes, start: Ints, size: Ints, kind: Ints | int = 0) -> Distinct:
    """Return which of the strings at *start* in *data* are equal, those of one *kind* only."""
    kinds = np.broadcast_to(np.asarray(kind, np.int64), (len(start),))
    classes = _by_size(size)
    hashes = _hashes(data, start, classes) + (kinds.astype(np.uint64) + np.uint64(1)) * _ODD
    first, group = grouped(hashes)
    if not _are_alike(data, start, classes, first[group]) or (kinds != kinds[first[group]]).any():
        first, group = _exactly(data, start, size, kinds)  # somebody made strings of one hash
    return Distinct(first, group, hashes)


def grouped(values: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the first row of each value, and the number of the value of every row.

    Values are numbered as they come: what is read in that order is read in the order of the file.
    """
    sample = values[:: max(1, len(values) // SAMPLE)]
    if len(np.unique(sample)) * FEW < len(sample):
        few = np.unique(values)
        group = np.searchsorted(few, values)
        first = np.empty(len(few), np.int64)
        first[group[::-1]] = np.arange(len(values))[::-1]
    else:
        _, first, group = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return first[order].astype(np.int64), rank[group]


def _by_size(size: Ints) -> list[tuple[int, Ints]]:
    """Return the rows of each size."""
    if not len(size):
        return []
    if (size == size[0]).all():
        return [(int(size[0]), np.arange(len(size)))]
    order = np.argsort(size.astype(np.uint16) if size.max() < 2**16 else size, kind="stable")
    ends = np.flatnonzero(np.diff(size[order])) + 1
    return [(int(size[rows[0]]), rows) for rows in np.split(order, ends)]


def _words(data: Bytes, start: Ints, size: int) -> Words:
    """Return strings of one *size* as words, a row each; the last one has zeros behind it."""
    count = -(-size // WORD_BYTES)
    octets = np.zeros((len(start), count * WORD_BYTES), np.uint8)
    whole = at_every_byte(data, f"V{size}")[start].tobytes()
    octets[:, :size] = np.frombuffer(whole, np.uint8).reshape(-1, size)
    return octets.view("<u8")


def _hashes(data: Bytes, start: Ints, classes: list[tuple[int, Ints]]) -> Words:
    """Return a hash of each string: its words times fixed odd numbers, added up."""
    found = np.zeros(len(start), np.uint64)
    for size, rows in classes:
        if not size:
            continue
        count = -(-size // WORD_BYTES)
        factors = _ODD * (2 * np.arange(1, count + 1, dtype=np.uint64) ** 3 + np.uint64(1))
        for at in range(0, len(rows), BLOCK_ROWS):
            here = rows[at : at + BLOCK_ROWS]
            words = _words(data, start[here], size)
            # The upper half of a word has to reach the lower half of the sum.
            mixed = (words ^ (words >> _HALF)) @ factors
            found[here] = (mixed ^ (mixed >> _HALF)) * _ODD + np.uint64(size)
    return found


def _are_alike(data: Bytes, start: Ints, classes: list[tuple[int, Ints]], model: Ints) -> bool:
    """Say whether every string is that of its *model*."""
    size = np.zeros(len(start), np.int64)
    for length, rows in classes:
        size[rows] = length
    if (size != size[model]).any():
        return False
    for length, rows in classes:
        others = rows[model[rows] != rows]
        for at in range(0, len(others) if length else 0, BLOCK_ROWS):
            here = others[at : at + BLOCK_ROWS]
            column = at_every_byte(data, f"V{length}")
            if column[start[here]].tobytes() != column[start[model[here]]].tobytes():
                return False
    return True


def _exactly(data: Bytes, start: Ints, size: Ints, kinds: Ints) -> tuple[Ints, Ints]:
    """Return the groups by their bytes themselves."""
    known: dict[tuple[int, bytes], int] = {}
    first: list[int] = []
    group = np.empty(len(start), np.int64)
    for row, (from_, length, kind) in enumerate(
        zip(start.tolist(), size.tolist(), kinds.tolist(), strict=True)
    ):
        at = known.setdefault((kind, data[from_ : from_ + length].tobytes()), len(known))
        if at == len(first):
            first.append(row)
        group[row] = at
    return np.array(first, np.int64), group


def codes(*columns: npt.NDArray[Any]) -> Ints:
    """Return a number for each row, equal where all *columns* are equal, none of them negative.

    It is small enough to be multiplied by the number of rows.
    """
    count = len(columns[0])
    found = np.zeros(count, np.int64)
    if not count:
        return found
    room, limit = 1, 2**62 // (count + 1)
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if low == high:
            continue
        if room * (high - low + 1) >= limit:
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
            room = int(found.max()) + 1
        found = found * (high - low + 1) + (column.astype(np.int64) - low)
        room *= high - low + 1
        if room >= limit:
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
            room = int(found.max()) + 1
    return found
