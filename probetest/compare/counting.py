"""Figures out of evidence, in any way of counting.

Laws: pure; with our own way they are the figures of `probetest analyse`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.analytics import peak_cps
from harness.buckets import NS, Buckets, Group, Span, buckets
from harness.records import StreamRecord
from probetest.compare.evidence import Evidence, Invite
from probetest.compare.way import Once, Way

ANSWERED, REFUSED = 200, 300


@dataclass(frozen=True, slots=True)
class Observed:
    """What does not depend on the way of counting."""

    spans: tuple[Span, ...]
    group: Group
    zone: str
    streams: tuple[StreamRecord, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """One call, as it is counted in some way."""

    at_ns: int
    call_id: str
    source: str
    destination: str
    status: int
    duration_ns: int | None
    frame: int
    device: str = ""
    source_rule: str = ""
    destination_rule: str = ""


@dataclass(frozen=True, slots=True)
class BucketFigures:
    """What was counted in one bucket."""

    at_ns: int
    calls: int
    rate: float
    peak: int


def counted(evidence: Evidence, way: Way) -> tuple[Counted, ...]:
    """Return the calls that *way* counts, in order of time."""
    return tuple(
        Counted(
            at_ns=one.at_ns + way.shift_ns,
            call_id=one.call_id,
            source=_source(one, way),
            destination=_destination(one, way),
            status=one.status,
            duration_ns=one.duration_ns,
            frame=one.frame,
        )
        for one in _chosen(evidence, way)
    )


def number(evidence: Evidence, way: Way) -> int:
    """Return how many calls *way* counts, at a fraction of what they themselves take."""
    return sum(1 for _ in _chosen(evidence, way))


def by_bucket(
    calls: tuple[Counted, ...], observed: Observed, way: Way
) -> tuple[BucketFigures, ...]:
    """Return the figures of every bucket that was observed."""
    found = observed_buckets(observed, way.shift_ns)
    if found is None:
        return ()
    times = np.fromiter((one.at_ns for one in calls), np.int64, len(calls))
    sizes = np.bincount(found.places(times), minlength=len(found.labels)).tolist()
    peaks = peak_cps(
        calls,
        observed.group,
        zone=observed.zone,
        observed_from_ns=found.from_ns,
        observed_to_ns=found.to_ns,
        devices=("",),
        spans=found.spans,
    )
    rows = []
    for index, (start_ns, size) in enumerate(zip(found.starts_ns, sizes, strict=True)):
        seconds = found.observed_seconds(index)
        if way.whole_bucket:
            seconds = (found.ends_ns[index] - start_ns) / NS
        rate = size / seconds if seconds else 0.0
        rows.append(BucketFigures(start_ns, size, rate, peaks[index].calls))
    return tuple(rows)


def by_party(
    calls: tuple[Counted, ...], observed: Observed, way: Way, side: str
) -> dict[int, Counter[str]]:
    """Return, by the start of each bucket, how many calls each party of a side has."""
    found = observed_buckets(observed, way.shift_ns)
    if found is None or not calls:
        return {}
    places = found.places(np.fromiter((one.at_ns for one in calls), np.int64, len(calls)))
    rows: dict[int, Counter[str]] = {}
    for one, place in zip(calls, places.tolist(), strict=True):
        rows.setdefault(found.starts_ns[place], Counter())[getattr(one, side)] += 1
    return rows


def observed_buckets(observed: Observed, shift_ns: int) -> Buckets | None:
    """Return the buckets, with all times later by so much; None where nothing was observed."""
    if not observed.spans:
        return None
    spans = tuple((begin + shift_ns, end + shift_ns) for begin, end in observed.spans)
    return buckets(observed.group, observed.zone, spans[0][0], spans[-1][1], spans)


def streams(observed: Observed, way: Way) -> tuple[StreamRecord, ...]:
    """Return the streams with the figures that *way* gives them."""
    return tuple(_stream(one, way) for one in observed.streams)


def _stream(one: StreamRecord, way: Way) -> StreamRecord:
    if way.wireshark and one.wireshark is not None:
        theirs = one.wireshark
        heard = theirs.jitter_min_ms >= 0
        return replace(
            one,
            packets=theirs.packets,
            lost=theirs.lost,
            jitter_mean_ms=theirs.jitter_mean_ms if heard else None,
            jitter_max_ms=theirs.jitter_max_ms if heard else None,
        )
    if way.with_copies:
        return replace(one, packets=one.packets + one.copies, lost=one.lost - one.copies)
    return one


def _chosen(evidence: Evidence, way: Way) -> Iterator[Invite]:
    """Yield the INVITEs that are counted."""
    if way.once in (Once.CALL_ID, Once.DIALOG):
        every = evidence.invites
        if way.once is Once.DIALOG:
            every = tuple(sorted((*every, *evidence.others), key=lambda one: one.at_ns))
        chosen: Iterator[Invite] | list[Invite] = list(
            {one.call_id: one for one in reversed(every)}.values()
        )[::-1]
    else:
        chosen = (one for one in evidence.invites if one.step in way.steps)
    heard: set[int] = set()
    for one in chosen:
        if way.once is Once.PAYLOAD:
            if one.payload in heard:
                continue
            heard.add(one.payload)
        if way.answered_only and not ANSWERED <= one.status < REFUSED:
            continue
        yield one


def _source(one: Invite, way: Way) -> str:
    said = one.said
    if way.as_sent:
        return said.source_from_sent if way.by_from else said.source_sent
    return said.source_from if way.by_from else said.source


def _destination(one: Invite, way: Way) -> str:
    said = one.said
    if way.by_to is None:
        return said.destination_sent if way.as_sent else said.destination
    if way.by_to:
        return said.by_to_sent if way.as_sent else said.by_to
    return said.by_uri_sent if way.as_sent else said.by_uri
