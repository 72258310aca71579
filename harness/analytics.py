"""Views over lookups and calls: how many a second, peaks, and who called most, bucket by bucket.

Laws: pure and in one fixed order, so that the same records give the same rows on any machine;
an average divides by the seconds that were observed, never by a whole bucket that was not;
what was expected and sent nothing is a row with 0 calls, not a missing row.

A lookup counts as one call, and so does a SIP call: retransmissions are folded in both records.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from harness.buckets import NS, Buckets, Group, Ints, Span, buckets, spans_of
from harness.errors import InputError
from harness.records import Record

Side = Literal["source", "destination"]

_APART_NS = 3600 * NS  # from one time to the next, to begin the buckets anew

NOT_GIVEN = "not given"  # the party of queries that carry none


@dataclass(frozen=True, slots=True)
class AverageCps:
    """Calls a second of one device, averaged over what was observed of one bucket."""

    device: str
    bucket: str  # ISO 8601 start, with offset
    calls: int
    observed_seconds: float
    average_cps: float  # 0 where nothing was observed
    missed_seconds: float = 0.0  # between two files, not watched


@dataclass(frozen=True, slots=True)
class PeakCps:
    """The most calls of one device in any one second that begins in one bucket."""

    device: str
    bucket: str
    calls: int  # within one second
    at_ns: int | None  # wall time at which the first such second begins; None without calls


@dataclass(frozen=True, slots=True)
class TopRow:
    """One party of a bucket's most frequent, or all others together."""

    bucket: str
    party: str  # "3 others" in the row that closes a bucket
    calls: int
    share: float  # of all calls in the bucket, 0 to 1
    rule: str  # how the party was decided; several are joined with "; "
    tied: bool = False  # another party has as many: its place is by its text alone


def average_cps(  # noqa: PLR0913 - an observation is these, named at the call
    records: Sequence[Record],
    group: Group,
    *,
    zone: str = "UTC",
    observed_from_ns: int,
    observed_to_ns: int,
    devices: Iterable[str] = (),
    spans: Sequence[Span] = (),
) -> tuple[AverageCps, ...]:
    """Return a row for each device (seen or expected) and bucket, by device and time.

    Raises:
        InputError: a record outside the observation (its end is not included), no such zone.
    """
    found = buckets(group, zone, observed_from_ns, observed_to_ns, spans)
    calls = Counter(
        zip((one.device for one in records), _places(records, found).tolist(), strict=True)
    )
    rows = []
    for device in sorted({*(one.device for one in records), *devices}):
        for index, label in enumerate(found.labels):
            count, seconds = calls[device, index], found.observed_seconds(index)
            average = count / seconds if seconds else 0.0
            missed = found.missed_seconds(index)
            rows.append(AverageCps(device, label, count, seconds, average, missed))
    return tuple(rows)


def peak_cps(  # noqa: PLR0913 - an observation is these, named at the call
    records: Sequence[Record],
    group: Group,
    *,
    zone: str = "UTC",
    observed_from_ns: int,
    observed_to_ns: int,
    devices: Iterable[str] = (),
    spans: Sequence[Span] = (),
) -> tuple[PeakCps, ...]:
    """Return the densest second of each device and bucket, by device and time.

    The second slides: it may begin at any call, not only on the clock, so a burst across two clock
    seconds is not cut in half. It belongs to the bucket in which it begins.

    Raises:
        InputError: a record outside the observation (its end is not included), no such zone.
    """
    every = buckets(group, zone, observed_from_ns, observed_to_ns, spans)
    _places(records, every)  # refuses what lies outside
    times: defaultdict[str, list[int]] = defaultdict(list)
    for one in records:
        times[one.device].append(one.at_ns)
    rows = []
    for device in sorted({*times, *devices}):
        best = _densest(np.sort(np.array(times[device], np.int64)), every)
        rows += [PeakCps(device, every.labels[index], *found) for index, found in enumerate(best)]
    return tuple(rows)


def top(
    records: Sequence[Record],
    side: Side,
    n: int = 10,
    *,
    group: Group,
    zone: str = "UTC",
) -> tuple[TopRow, ...]:
    """Return the *n* most frequent parties of each bucket that has calls, then the others.

    More calls first; of equals the smaller text first, so that a tie never moves between runs.

    Raises:
        InputError: no such side, group or zone, or *n* below 1.
    """
    if side not in ("source", "destination"):
        raise InputError("no such side", field="side", value=side, fix="source or destination")
    if n < 1:
        raise InputError("must be at least 1", field="n", value=n)
    if not records:
        return ()
    spans = _around(
        np.fromiter((one.at_ns for one in records), np.int64, len(records)), group, zone
    )
    calls: Counter[tuple[int, str]] = Counter()
    rules: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for one, bucket in zip(records, _places(records, spans).tolist(), strict=True):
        key = (bucket, getattr(one, side) or NOT_GIVEN)
        calls[key] += 1
        rules[key].add(getattr(one, f"{side}_rule"))
    ranked = sorted(calls, key=lambda key: (key[0], -calls[key], key[1]))
    rows: list[TopRow] = []
    for bucket, keys in groupby(ranked, key=lambda key: key[0]):
        parties = [(party, calls[bucket, party]) for _, party in keys]
        joined = ["; ".join(sorted(rules[bucket, party])) for party, _ in parties[:n]]
        rows += _ranked(spans.labels[bucket], parties, joined)
    return tuple(rows)


def _around(times: Ints, group: Group, zone: str) -> Buckets:
    """Return the buckets of *times*; years between two captures are not counted through."""
    found = spans_of(times, _APART_NS)
    return buckets(group, zone, found[0][0], found[-1][1], found)


def _ranked(label: str, parties: list[tuple[str, int]], rules: list[str]) -> list[TopRow]:
    """Return the rows of one bucket from all its parties, the most frequent first."""
    total = sum(calls for _, calls in parties)
    as_many = Counter(calls for _, calls in parties)
    rows = [
        TopRow(label, party, calls, calls / total, rule, tied=as_many[calls] > 1)
        for (party, calls), rule in zip(parties, rules, strict=False)
    ]
    if others := len(parties) - len(rows):
        rest = total - sum(row.calls for row in rows)
        rows.append(TopRow(label, f"{others} other{'s' * (others > 1)}", rest, rest / total, ""))
    return rows


def _densest(times: Ints, spans: Buckets) -> list[tuple[int, int | None]]:
    """Return, a bucket each, the most calls in a second and when the first such one begins."""
    within = np.searchsorted(times, times + NS, side="left") - np.arange(len(times))
    edges = (np.searchsorted(times, one).tolist() for one in (spans.starts_ns, spans.ends_ns))
    found: list[tuple[int, int | None]] = []
    for begin, end in zip(*edges, strict=True):
        if begin == end:
            found.append((0, None))
        else:
            place = begin + int(np.argmax(within[begin:end]))
            found.append((int(within[place]), int(times[place])))
    return found


def _places(records: Sequence[Record], spans: Buckets) -> Ints:
    """Return the index of each record's bucket."""
    times = np.fromiter((one.at_ns for one in records), np.int64, len(records))
    outside = np.flatnonzero((times < spans.from_ns) | (times >= spans.to_ns))
    if len(outside):
        record = records[int(outside[0])]
        raise InputError(
            "outside the observation",
            field=f"at_ns of frame {record.frame}",
            value=record.at_ns,
            fix="observe from the first record to after the last",
        )
    return spans.places(times)
