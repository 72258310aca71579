"""Minutes, hours and days of a named zone, as the instants at which they begin.

Laws: buckets follow each other without gap or overlap; a day is a local day, 23 or 25 hours long
when the clocks change; the two equal hours of autumn are two buckets, told apart by their offset.
"""

import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from harness.errors import InputError

Group = Literal["minute", "hour", "day"]

MAX_BUCKETS = 100_000  # 69 days of minutes; more is a wrong clock, not a test
MAX_NS = 2**63 - 10**15  # of an instant: what 64 bits hold, less room for the last bucket
NS = 1_000_000_000

_SECONDS = {"minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets that touch one observation: `starts_ns[i]` to `starts_ns[i + 1]`."""

    starts_ns: tuple[int, ...]
    labels: tuple[str, ...]  # ISO 8601 with offset
    ends_ns: tuple[int, ...]
    from_ns: int
    to_ns: int

    def observed_seconds(self, index: int) -> float:
        """Return how much of a bucket was observed, at most its whole length."""
        start = max(self.starts_ns[index], self.from_ns)
        return (min(self.ends_ns[index], self.to_ns) - start) / NS


def buckets(group: Group, zone: str, from_ns: int, to_ns: int) -> Buckets:
    """Return the buckets between two wall times, the second not included.

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
    edges: list[int] = []
    for edge in _edges(group, found, from_ns // NS):
        edges.append(edge)
        if edge * NS >= to_ns:
            break
        if len(edges) > MAX_BUCKETS:
            raise InputError(f"more than {MAX_BUCKETS} buckets", field="group", value=group)
    starts = tuple(edge * NS for edge in edges)
    labels = tuple(datetime.fromtimestamp(edge, found).isoformat() for edge in edges[:-1])
    return Buckets(starts[:-1], labels, starts[1:], from_ns, to_ns)


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
