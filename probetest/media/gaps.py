"""Numbers that have not come yet, of all streams: filled by late packets, else runs of loss.

Laws: a gap is open while a packet can still come late into it (RFC 3550 A.1: fewer than 100
numbers behind the highest); then it is a run of loss, and is counted by its length. Numbers below a
stream's first one are a gap too, which is never loss; nor are the many numbers that a stream leaves
out while something else has its ports, such as T.38.
"""

import numpy as np

from harness.packets.capture import Ints
from harness.packets.headers import Bools
from probetest.media.stream_table import StreamTable

RUNS = (1, 2, 5, 10)  # the longest of each class of runs but the last, which has no end
NEVER_NS = 2**63 - 1
_MANY = 50  # numbers: 1 s of sound
_REACH = 100  # numbers behind the highest, where a late packet is no longer taken for one
_APART = 1 << 44
_HIGH, _LOW = 0, 1  # the ends of a gap; where one ends and the next begins, this is their order


class OpenGaps:
    """A row a gap: its stream, and the first and last place that did not come."""

    def __init__(self) -> None:
        """Begin with none."""
        none = np.zeros(0, np.int64)
        self._stream, self._first, self._last = none, none, none
        self._before = np.zeros(0, np.bool_)  # no loss
        self.others: dict[tuple[int, int], int] = {}  # since when something else has the ports

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._stream)

    def open(self, table: StreamTable, stream: Ints, first: Ints, last: Ints, at_ns: Ints) -> None:
        """Open one in each *stream*; *at_ns* is when the number behind it came."""
        long = np.flatnonzero(last - first >= _MANY - 1)
        other = np.zeros(len(stream), np.bool_)
        if self.others and len(long):
            ends = zip(table.addresses[stream[long]], table.sessions[stream[long]], strict=True)
            keys = [(int(addresses), int(session) >> 32) for addresses, session in ends]
            since = np.array([self.others.get(key, NEVER_NS) for key in keys], np.int64)
            other[long] = (since < at_ns[long]) & (since > table.columns["first_ns"][stream[long]])
        if not other.any():
            self._add(stream, first, last)
            return
        self._add(stream[~other], first[~other], last[~other])
        self._add(stream[other], first[other], last[other], before=True)
        length = last[other] - first[other] + 1
        np.add.at(table.columns["switched"], stream[other], length)

    def _add(self, stream: Ints, first: Ints, last: Ints, *, before: bool = False) -> None:
        if len(stream):
            self._stream = np.concatenate((self._stream, stream))
            self._first = np.concatenate((self._first, first))
            self._last = np.concatenate((self._last, last))
            self._before = np.concatenate((self._before, np.full(len(stream), before)))

    def fill(self, stream: Ints, place: Ints, base: Ints) -> Bools:
        """Say which late packets came for the first time, and take their places out of the gaps.

        Those of one stream stand in order of arrival; *base* is the first place of their stream.
        """
        self._open_before(stream, place, base)
        some = np.unique(stream)
        own = np.flatnonzero(np.isin(self._stream, some))
        number = np.searchsorted(some, self._stream[own]) * _APART
        order = np.argsort(number + self._first[own], kind="stable")
        own, number = own[order], number[order]
        first, last = number + self._first[own], number + self._last[own]
        keys, arrived = np.unique(np.searchsorted(some, stream) * _APART + place, return_index=True)
        gap: Ints = np.asarray(np.searchsorted(first, keys, side="right")) - 1
        inside: Bools = gap >= 0
        inside[inside] = keys[inside] <= last[gap[inside]]
        filled = np.zeros(len(stream), np.bool_)
        filled[arrived[inside]] = True
        self._split(own, number, keys[inside], gap[inside])
        return filled

    def close(self, table: StreamTable, *, every: bool = False) -> None:
        """Count the gaps that nothing can fill any more, or *every* one, as runs of loss."""
        over = self._last <= table.columns["highest"][self._stream] - _REACH
        over |= every
        lost = over & ~self._before
        length = self._last[lost] - self._first[lost] + 1
        np.add.at(table.columns["missing"], self._stream[lost], length)
        np.add.at(table.runs, (self._stream[lost], np.searchsorted(RUNS, length)), 1)
        self.keep(~over)

    def keep(self, which: Bools) -> None:
        """Forget the others."""
        self._stream, self._first = self._stream[which], self._first[which]
        self._last, self._before = self._last[which], self._before[which]

    def renumber(self, number: Ints) -> None:
        """Give each stream its new *number*; those below 0 are gone."""
        self._stream = number[self._stream]
        self.keep(self._stream >= 0)

    def _open_before(self, stream: Ints, place: Ints, base: Ints) -> None:
        """Open the gap below the first number of streams that have a packet there."""
        below = place < base
        if not below.any():
            return
        pairs = np.unique(np.column_stack((stream[below], base[below])), axis=0)
        open_now = (part[self._before].tolist() for part in (self._stream, self._last))
        known = set(zip(*open_now, strict=True))
        lacking = [(one, first) for one, first in pairs.tolist() if (one, first - 1) not in known]
        rows = np.array(lacking, np.int64).reshape(-1, 2)
        self._add(rows[:, 0], rows[:, 1] - _REACH, rows[:, 1] - 1, before=True)

    def _split(self, own: Ints, number: Ints, keys: Ints, gap: Ints) -> None:
        """Take *keys*, sorted, out of their gaps, whose rows are *own*."""
        if not len(keys):
            return
        hit = np.unique(gap)
        rows, base = own[hit], number[hit]
        ends = np.concatenate((base + self._first[rows] - 1, keys, base + self._last[rows] + 1))
        of = np.concatenate((hit, gap, hit))
        kind = np.full(len(ends), _LOW)
        kind[len(ends) - len(hit) :] = _HIGH
        order = np.lexsort((kind, ends))
        ends, of, kind = ends[order], of[order], kind[order]
        left = (kind[:-1] == _LOW) & (ends[1:] - ends[:-1] > 1)
        of, first, last = of[:-1][left], ends[:-1][left] + 1, ends[1:][left] - 1
        stream, before, shift = self._stream[own[of]], self._before[own[of]], number[of]
        others = np.ones(len(self._stream), np.bool_)
        others[rows] = False
        self.keep(others)
        for flag in (False, True):
            some = np.flatnonzero(before == flag)
            part = first[some] - shift[some], last[some] - shift[some]
            self._add(stream[some], *part, before=flag)
