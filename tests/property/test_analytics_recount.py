"""Views counted again, by a plain walk through every minute and no code of the views.

The days are those on which the clocks change: 23 and 25 hours in London and New York, and half an
hour more or less on Lord Howe Island.
"""

import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analytics import average_cps, peak_cps, top
from harness.buckets import Group, Span
from harness.records import Direction, LookupRecord

NS = 1_000_000_000
MINUTES = 30 * 60  # of each observation
CHANGES = {  # a zone, and the day before the clocks change there
    "Europe/London": ("2025-03-29T18:00", "2025-10-25T18:00"),
    "America/New_York": ("2025-03-08T18:00", "2025-11-01T18:00"),
    "Australia/Lord_Howe": ("2025-04-05T06:00", "2025-10-04T06:00"),
    "Asia/Kathmandu": ("2025-03-29T18:00", "2025-10-25T18:00"),
}
PARTIES = ("+16505550112", "+16505550113", "+442079460123", "restricted", "")
WHENCE = [(zone, start) for zone, starts in CHANGES.items() for start in starts]
GROUPS: tuple[Group, ...] = ("minute", "hour", "day")


def labels(group: Group, zone: str, start_s: int) -> Iterator[str]:
    """Yield the bucket of each minute: a new one where the wall clock says so, or jumps."""
    place = zoneinfo.ZoneInfo(zone)
    label, before = "", None
    first = datetime.fromtimestamp(start_s, UTC) - timedelta(days=1, hours=2)
    for minute in range(26 * 60 + MINUTES):
        at = (first + timedelta(minutes=minute)).astimezone(place)
        jumped = before is not None and before.utcoffset() != at.utcoffset()
        begins = {
            "minute": True,
            "hour": at.minute == 0 or jumped,
            "day": before is None or before.date() != at.date(),
        }[group]
        if begins:
            label = at.isoformat()
        before = at
        if minute >= 26 * 60:
            yield label


def record(at_ns: int, device: str, party: str) -> LookupRecord:
    """Return a lookup."""
    return LookupRecord(
        at_ns=at_ns,
        device=device,
        client="192.0.2.9",
        source=party,
        source_rule="rule",
        destination="+442079460123",
        destination_rule="rule",
        direction=Direction.OUTBOUND,
        direction_rule="rule",
        rcode="NOERROR",
        latency_ns=None,
        frame=1,
    )


@st.composite
def observations(
    draw: st.DrawFn,
) -> tuple[Group, str, int, list[LookupRecord], tuple[Span, ...]]:
    """Return group, zone, start, lookups and the spans in which someone watched."""
    zone, start = draw(st.sampled_from(WHENCE))
    start_s = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
    lengths = st.lists(st.integers(1, MINUTES * 60 // 6), min_size=1, max_size=6)
    spans, at_s = [], start_s
    for place, seconds in enumerate(draw(lengths)):
        if place % 2 == 0:
            spans.append((at_s * NS, (at_s + seconds) * NS))
        at_s += seconds
    times = st.sampled_from(spans).flatmap(lambda span: st.integers(span[0], span[1] - 1))
    calls = st.builds(record, times, st.sampled_from("ab"), st.sampled_from(PARTIES))
    group = draw(st.sampled_from(GROUPS))
    records = draw(st.lists(calls, max_size=40))
    return group, zone, start_s, records, tuple(spans)


@given(observations())
@settings(max_examples=60, deadline=None)
def test_rates_are_what_a_walk_through_the_minutes_counts(
    seen: tuple[Group, str, int, list[LookupRecord], tuple[Span, ...]],
) -> None:
    """Calls, seconds observed and not observed, the densest seconds."""
    group, zone, start_s, records, spans = seen
    of_minute = list(labels(group, zone, start_s))

    def bucket(at_ns: int) -> str:
        return of_minute[(at_ns // NS - start_s) // 60]

    observed: defaultdict[str, int] = defaultdict(int)
    for minute, label in enumerate(of_minute):
        begin = (start_s + 60 * minute) * NS
        for since, to in spans:
            observed[label] += max(0, min(begin + 60 * NS, to) - max(begin, since))
    ends = (spans[0][0], spans[-1][1])
    watched = [label for label in dict.fromkeys(of_minute) if observed[label]]
    calls = Counter((one.device, bucket(one.at_ns)) for one in records)

    rows = average_cps(
        records,
        group,
        zone=zone,
        observed_from_ns=ends[0],
        observed_to_ns=ends[1],
        devices="ab",
        spans=spans,
    )
    assert [(row.device, row.bucket) for row in rows] == [(d, b) for d in "ab" for b in watched]
    for row in rows:
        assert row.calls == calls[row.device, row.bucket]
        assert row.observed_seconds == pytest.approx(observed[row.bucket] / NS)
        if row.observed_seconds:
            assert row.average_cps == pytest.approx(row.calls * NS / observed[row.bucket])
        length = 60 * NS * of_minute.count(row.bucket)
        assert row.observed_seconds + row.missed_seconds <= length / NS
    assert sum(row.observed_seconds for row in rows) == pytest.approx(
        2 * sum(to - since for since, to in spans) / NS
    )

    for peak in peak_cps(
        records, group, zone=zone, observed_from_ns=ends[0], observed_to_ns=ends[1], spans=spans
    ):
        times = sorted(one.at_ns for one in records if one.device == peak.device)
        dense = [
            (sum(at <= other < at + NS for other in times), -at)
            for at in times
            if bucket(at) == peak.bucket
        ]
        most, at = max(dense, default=(0, None))
        assert (peak.calls, peak.at_ns) == (most, None if at is None else -at)


@given(observations())
@settings(max_examples=60, deadline=None)
def test_top_lists_are_what_a_counter_ranks(
    seen: tuple[Group, str, int, list[LookupRecord], tuple[Span, ...]],
) -> None:
    """More calls first, then the smaller text; ties marked; the others in one row."""
    group, zone, start_s, records, _ = seen
    of_minute = list(labels(group, zone, start_s))
    by_party: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in records:
        label = of_minute[(one.at_ns // NS - start_s) // 60]
        by_party[label][one.source or "not given"] += 1
    table = top(records, "source", 2, group=group, zone=zone)
    for label, counter in by_party.items():
        ranked = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
        own = [row for row in table if row.bucket == label]
        assert [(row.party, row.calls) for row in own[:2]] == ranked[:2]
        for row in own[:2]:
            assert row.tied == (list(counter.values()).count(row.calls) > 1)
        if rest := ranked[2:]:
            words = f"{len(rest)} other{'s' * (len(rest) > 1)}"
            assert (own[2].party, own[2].calls) == (words, sum(size for _, size in rest))
        assert sum(row.calls for row in own) == counter.total()
    assert {row.bucket for row in table} == set(by_party)


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        ("Europe/London", "2025-03-30T00:00", 23),
        ("Europe/London", "2025-10-25T23:00", 25),
        ("America/New_York", "2025-03-09T05:00", 23),
        ("America/New_York", "2025-11-02T04:00", 25),
        ("Australia/Lord_Howe", "2025-04-05T13:00", 24.5),
        ("Australia/Lord_Howe", "2025-10-04T13:30", 23.5),
    ],
)
def test_days_are_as_long_as_the_clocks_make_them(zone: str, start: str, hours: float) -> None:
    """The day on which they change, watched whole, is one bucket of so many hours."""
    from_ns = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) * NS
    to_ns = from_ns + round(hours * 3600) * NS
    (row,) = average_cps(
        [], "day", zone=zone, observed_from_ns=from_ns, observed_to_ns=to_ns, devices="a"
    )

    assert row.observed_seconds == hours * 3600
    assert row.bucket[11:19] == "00:00:00"
