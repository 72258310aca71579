"""Views over lookups: averages by observed seconds, sliding peaks, stable top lists."""

import dataclasses
import datetime as dt
import io
import random
from collections import Counter
from functools import partial

import polars as pl
import pytest

from harness.analytics import NOT_GIVEN, AverageCps, TopRow, average_cps, peak_cps, top
from harness.buckets import NS, Group, buckets
from harness.dataset_frames import COLUMNS, frame
from harness.errors import InputError
from harness.records import Direction, LookupRecord

ALICE, BOB, CAROL = "+16505550112", "+16505550113", "+442079460123"


def at(text: str) -> int:
    """Return the instant of an ISO time in UTC, as nanoseconds."""
    return round(dt.datetime.fromisoformat(text + "+00:00").timestamp() * 1000) * 1_000_000


def lookup(
    when: str,
    *,
    device: str = "enum-1",
    source: str = ALICE,
    rule: str = "e164 plus",
    number: int = 1,
) -> LookupRecord:
    """Return a lookup for Carol."""
    return LookupRecord(
        at_ns=at(when),
        device=device,
        client="192.0.2.9",
        source=source,
        source_rule=rule,
        destination=CAROL,
        destination_rule="query name: e164 plus",
        direction=Direction.OUTBOUND,
        direction_rule="source is the customer's, destination is not the customer's",
        rcode="NOERROR",
        latency_ns=None,
        frame=number,
    )


def test_frame_has_the_documented_columns() -> None:
    """One row a record in order of time, with the types of `COLUMNS`, empty or not."""
    table = frame([lookup("2026-01-01T00:00:02", number=2), lookup("2026-01-01T00:00:01")])

    assert dict(table.schema) == dict(frame([]).schema) == COLUMNS
    assert table["frame"].to_list() == [1, 2]
    assert table["direction"].to_list() == ["outbound", "outbound"]


def test_frame_survives_parquet() -> None:
    """The file that other tools open holds the same rows."""
    table = frame([lookup("2026-01-01T00:00:01")])
    file = io.BytesIO()
    table.write_parquet(file)

    assert pl.read_parquet(io.BytesIO(file.getvalue())).equals(table)


def test_partial_buckets_divide_by_observed_seconds() -> None:
    """From 00:59:30 to 01:00:15 there are 30 seconds of one hour and 15 of the next."""
    records = [lookup("2026-01-01T00:59:40"), lookup("2026-01-01T00:59:50")]
    rows = average_cps(
        [*records, lookup("2026-01-01T01:00:00")],
        "hour",
        observed_from_ns=at("2026-01-01T00:59:30"),
        observed_to_ns=at("2026-01-01T01:00:15"),
    )

    assert rows == (
        AverageCps("enum-1", "2026-01-01T00:00:00+00:00", 2, 30.0, 2 / 30),
        AverageCps("enum-1", "2026-01-01T01:00:00+00:00", 1, 15.0, 1 / 15),
    )


def test_a_silent_device_is_a_row_with_no_calls() -> None:
    """An expected device that got nothing is not left out."""
    rows = average_cps(
        [],
        "minute",
        observed_from_ns=at("2026-01-01T00:00:00"),
        observed_to_ns=at("2026-01-01T00:02:00"),
        devices=("enum-2", "enum-1"),
    )

    assert [(row.device, row.calls, row.observed_seconds) for row in rows] == [
        *(("enum-1", 0, 60.0), ("enum-1", 0, 60.0)),
        *(("enum-2", 0, 60.0), ("enum-2", 0, 60.0)),
    ]


@pytest.mark.parametrize("when", ["2025-12-31T23:59:59.999", "2026-01-01T00:01:00"])
def test_a_record_outside_the_observation_is_refused(when: str) -> None:
    """A call before the start or at the end would be divided by seconds nobody watched."""
    with pytest.raises(InputError, match="outside the observation"):
        average_cps(
            [lookup(when)],
            "minute",
            observed_from_ns=at("2026-01-01T00:00:00"),
            observed_to_ns=at("2026-01-01T00:01:00"),
        )


def test_days_follow_the_clocks() -> None:
    """In New York 2 November 2025 has 25 hours and 9 March 2025 has 23."""
    autumn = buckets(
        "day", "America/New_York", at("2025-11-02T04:00:00"), at("2025-11-03T05:00:00")
    )
    spring = buckets(
        "day", "America/New_York", at("2025-03-09T05:00:00"), at("2025-03-10T04:00:00")
    )

    assert [autumn.observed_seconds(i) for i in range(len(autumn.labels))] == [25 * 3600.0]
    assert [spring.observed_seconds(i) for i in range(len(spring.labels))] == [23 * 3600.0]


def test_the_two_equal_hours_of_autumn_are_two_buckets() -> None:
    """They are told apart by the offset in their label."""
    found = buckets(
        "hour", "America/New_York", at("2025-11-02T05:00:00"), at("2025-11-02T07:00:00")
    )

    assert found.labels == ("2025-11-02T01:00:00-04:00", "2025-11-02T01:00:00-05:00")


def test_a_zone_off_the_hour_has_hours_of_its_own() -> None:
    """In Kolkata the hour begins at half past in UTC."""
    found = buckets("hour", "Asia/Kolkata", at("2026-01-01T00:00:00"), at("2026-01-01T01:00:00"))

    assert found.labels == ("2026-01-01T05:00:00+05:30", "2026-01-01T06:00:00+05:30")
    assert [found.observed_seconds(i) for i in (0, 1)] == [1800.0, 1800.0]


@pytest.mark.parametrize("group", ["minute", "hour", "day"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_buckets_leave_no_gap(group: Group, zone: str) -> None:
    """Through a change of the clocks the observed seconds add up to the observation."""
    for day in ("2025-03-30", "2025-10-26", "2025-04-05", "2025-10-04"):
        start, end = at(f"{day}T00:07:01"), at(f"{day}T23:11:59")
        found = buckets(group, zone, start, end)

        seconds = [found.observed_seconds(i) for i in range(len(found.labels))]
        assert sum(seconds) == (end - start) / NS
        assert min(seconds) > 0
        assert len(set(found.labels)) == len(found.labels)


@pytest.mark.parametrize(
    ("group", "zone", "start", "end"),
    [
        ("week", "UTC", 0, 1),
        ("hour", "Mars/Olympus", 0, 1),
        ("hour", "../etc/passwd", 0, 1),
        ("hour", "", 0, 1),
        ("hour", "UTC", 1, 1),
        ("hour", "UTC", -1, 1),
        ("hour", "UTC", 0, 2**64),
        ("minute", "UTC", 0, at("2026-01-01T00:00:00")),
    ],
)
def test_impossible_observations_are_refused(group: Group, zone: str, start: int, end: int) -> None:
    """Unknown groups and zones, no time at all, and a capture that claims to start in 1970."""
    with pytest.raises(InputError):
        buckets(group, zone, start, end)


def test_a_peak_slides_over_clock_seconds() -> None:
    """Three calls within one second are a peak of 3 though no clock second has more than 2."""
    times = ["00:00:00.700", "00:00:00.900", "00:00:01.600", "00:00:01.700"]
    rows = peak_cps(
        [lookup(f"2026-01-01T{time}") for time in times],
        "minute",
        observed_from_ns=at("2026-01-01T00:00:00"),
        observed_to_ns=at("2026-01-01T00:01:00"),
        devices=("enum-2",),
    )

    assert [(row.device, row.calls, row.at_ns) for row in rows] == [
        ("enum-1", 3, at("2026-01-01T00:00:00.700")),
        ("enum-2", 0, None),
    ]


def test_top_breaks_ties_by_text_and_counts_the_others() -> None:
    """More calls first, then the smaller text; the last row has all the rest."""
    sources = [BOB, ALICE, CAROL, BOB, ALICE, "restricted", ""]
    records = [lookup("2026-01-01T00:00:00", source=party) for party in sources]
    hour, rule = "2026-01-01T00:00:00+00:00", "e164 plus"

    assert top(records, "source", 3, group="hour") == (
        TopRow(hour, ALICE, 2, 2 / 7, rule, tied=True),
        TopRow(hour, BOB, 2, 2 / 7, rule, tied=True),
        TopRow(hour, CAROL, 1, 1 / 7, rule, tied=True),
        TopRow(hour, "2 others", 2, 2 / 7, ""),
    )
    assert top(records, "source", 4, group="hour")[3].party == NOT_GIVEN
    assert len(top(records, "source", 5, group="hour")) == 5


def test_top_begins_again_in_each_bucket() -> None:
    """Shares are of the bucket; rules that led to one party are joined."""
    records = [
        lookup("2026-01-01T00:59:59", rule="national"),
        lookup("2026-01-01T00:59:59"),
        lookup("2026-01-01T01:00:00", source=BOB),
    ]

    assert top(records, "source", group="hour") == (
        TopRow("2026-01-01T00:00:00+00:00", ALICE, 2, 1.0, "e164 plus; national"),
        TopRow("2026-01-01T01:00:00+00:00", BOB, 1, 1.0, "e164 plus"),
    )
    assert {row.party for row in top(records, "destination", group="day")} == {CAROL}
    assert top([], "source", group="day") == ()


@pytest.mark.parametrize(("side", "n"), [("caller", 10), ("source", 0)])
def test_top_refuses_what_it_does_not_know(side: str, n: int) -> None:
    """There are two sides, and a list has at least one row."""
    with pytest.raises(InputError):
        top([], side, n, group="hour")  # type: ignore[arg-type]


def test_views_agree_with_a_count_by_hand() -> None:
    """Random calls, counted with nothing but a Counter, and in any order."""
    dice = random.Random(4)  # noqa: S311 - the same calls in every run
    day = at("2026-03-29T00:00:00")
    records = [
        dataclasses.replace(
            lookup("2026-03-29T00:00:00", device=dice.choice("ab")),
            at_ns=day + second * NS,
            source=dice.choice([ALICE, BOB, CAROL]),
        )
        for second in dice.sample(range(600), 400)
    ]
    by_hand = Counter((r.device, (r.at_ns - day) // (60 * NS)) for r in records)
    average = partial(average_cps, observed_from_ns=day, observed_to_ns=day + 600 * NS)
    peaks = peak_cps(records, "minute", observed_from_ns=day, observed_to_ns=day + 600 * NS)
    parties = Counter(r.source for r in records)
    ranked = sorted(parties, key=lambda party: (-parties[party], party))
    shuffled = dice.sample(records, len(records))

    rows = average(records, "minute")
    assert [row.calls for row in rows] == [by_hand[d, m] for d in "ab" for m in range(10)]
    assert {row.calls for row in peaks} == {1}
    assert [row.party for row in top(records, "source", group="day")] == ranked
    assert average(shuffled, "minute") == rows
