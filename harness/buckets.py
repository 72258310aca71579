"""Minutes, hours and days of a named zone, as the instants at which they begin.

Laws: buckets follow each other without overlap, and without gap but where nobody watched; a day is
a local day, 23 or 25 hours long when the clocks change; the two equal hours of autumn are two
buckets, told apart by their offset.
"""

import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.errors import InputError

Ints = npt.NDArray[np.int64]
Span = tuple[int, int]  # wall times in nanoseconds; the end is not included
Group = Literal["minute", "hour", "day"]

MAX_BUCKETS = 100_000  # 69 days of minutes; more is a wrong clock, not a test
MAX_NS = 2**63 - 10**15  # of an instant: what 64 bits hold, less room for the last bucket
NS = 1_000_000_000

_SECONDS = {"minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets that touch one observation: `starts_ns[i]` to `ends_ns[i]`."""

    starts_ns: tuple[int, ...]
    labels: tuple[str, ...]  # ISO 8601 with offset
    ends_ns: tuple[int, ...]
    from_ns: int
    to_ns: int
    spans: tuple[Span, ...] = ()  # in which it was watched, where that was not all the time

    def observed_seconds(self, index: int) -> float:
        """Return how much of a bucket was observed, at most its whole length."""
        begin, end = self.starts_ns[index], self.ends_ns[index]
        spans = self.spans or ((self.from_ns, self.to_ns),)
        return sum(max(0, min(end, to) - max(begin, since)) for since, to in spans) / NS

    def missed_seconds(self, index: int) -> float:
        """Return how much of a bucket lies between two spans, where nobody watched."""
        start = max(self.starts_ns[index], self.from_ns)
        whole_ns = min(self.ends_ns[index], self.to_ns) - start
        return max(0.0, whole_ns / NS - self.observed_seconds(index))

    def places(self, times_ns: Ints) -> Ints:
        """Return the bucket of each time; all lie within the observation."""
        starts = np.array(self.starts_ns, np.int64)
        return (np.searchsorted(starts, times_ns, side="right") - 1).astype(np.int64)


def buckets(
    group: Group, zone: str, from_ns: int, to_ns: int, spans: Sequence[Span] = ()
) -> Buckets:
    """Return the buckets between two wall times, the second not included.

    *spans*, in order and apart, say when it was watched: a bucket in which nobody watched is left
    out. Without them it was all the time.

    Raises:
        InputError: no such group or zone, an empty observation, or far too many buckets.
    """
    if group not in ("minute", "hour", "day"):
        raise InputError("no such group", field="group", value=group, fix="minute, hour or day")
    if not 0 <= from_ns < to_ns <= MAX_NS:
        value = f"{from_ns} to {to_ns}"
        raise InputError("not a span of time since 1970", field="observed", value=value)
    try:
        found = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError("no such time zone", field="zone", value=zone) from error
    starts: list[int] = []
    ends: list[int] = []
    for since_ns, until_ns in spans or ((from_ns, to_ns),):
        for start, end in pairwise(_edges(group, found, since_ns // NS)):
            if not starts or start > starts[-1]:
                starts.append(start)
                ends.append(end)
            if end * NS >= until_ns:
                break
            if len(starts) > MAX_BUCKETS:
                raise InputError(f"more than {MAX_BUCKETS} buckets", field="group", value=group)
    labels = tuple(datetime.fromtimestamp(start, found).isoformat() for start in starts)
    starts_ns, ends_ns = (tuple(one * NS for one in edges) for edges in (starts, ends))
    return Buckets(starts_ns, labels, ends_ns, from_ns, to_ns, tuple(spans))


def spans_of(times_ns: Ints, apart_ns: int) -> tuple[Span, ...]:
    """Return from when to when there are *times_ns*, without the gaps of more than *apart_ns*.

    >>> spans_of(np.array([5, 3, 20, 21]), 10)
    ((3, 6), (20, 22))
    """
    if not len(times_ns):
        return ()
    first, last = int(times_ns.min()), int(times_ns.max())
    if last - first <= apart_ns:  # nearly always
        return ((first, last + 1),)
    ordered = np.sort(times_ns)
    after = np.flatnonzero(np.diff(ordered) > apart_ns) + 1
    begins = ordered[np.concatenate(([0], after))].tolist()
    ends = (ordered[np.concatenate((after, [len(ordered)])) - 1] + 1).tolist()
    return tuple(zip(begins, ends, strict=True))


def _edges(group: Group, zone: zoneinfo.ZoneInfo, first_s: int) -> Iterator[int]:
    """Yield the bucket starts, in seconds, from the bucket that holds *first_s*."""
    if group == "day":
        day = datetime.fromtimestamp(first_s, zone).replace(hour=0, minute=0, second=0, fold=0)
        while True:
            yield int(day.timestamp())
            day += timedelta(days=1)  # on the wall, so the next midnight at any length of day
    size = _SECONDS[group]
    edge = first_s - (first_s + _offset(zone, first_s)) % size
    while True:
        yield edge
        edge += size - (edge + _offset(zone, edge)) % size


def _offset(zone: zoneinfo.ZoneInfo, at_s: int) -> int:
    """Return the seconds that *zone* is ahead of UTC at that instant."""
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
