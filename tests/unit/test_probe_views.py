"""Views as text, CSV, JSON and HTML: the same rows in each, and nothing that runs."""

import csv
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest

from harness.buckets import Group
from harness.dataset_columns import SCHEMA, TABLES
from harness.dataset_frames import (
    call_frame,
    parquet,
    port_frame,
    rtcp_frame,
    schema,
    stream_frame,
    waterfall_frame,
)
from harness.errors import InputError
from harness.premises import Premises
from harness.view_page import pictures, render
from harness.views import Column, Table, View, as_csv, as_json, as_text, moment
from probetest.dataset import TapData, read_tap
from probetest.summary import VIEWS, summary, table
from tests.sip_wire import ALICE, BOB, CAROL, CARRIER, PHONE, SBC, Leg, Tape, dialog, rtp

ROOT = Path(__file__).parents[2]


def taps() -> tuple[TapData, ...]:
    """Return two probes: one with four calls and a stream, one with a single call."""
    busy, calm = Tape(), Tape()
    for number, callee in enumerate((BOB, BOB, CAROL, BOB)):
        leg = Leg(f"call-{number}", called=f"sip:{callee}@192.0.2.20")
        dialog(busy, number * 20_000, leg)
    for number in range(10):
        busy.udp(70_000 + 20 * number, CARRIER, PHONE, rtp(number, 160 * number))
    dialog(calm, 90_000)
    return tuple(
        read_tap(tape.capture(), Premises(), device=name)
        for name, tape in (("probe1", busy), ("probe2", calm))
    )


TAPS = taps()


def cells(view: View, group: Group = "hour", zone: str = "UTC") -> list[dict[str, object]]:
    """Return a view's rows by key."""
    return [{**row} for row in as_json(table(view, TAPS, group, zone, 10))]


def test_averages_are_over_what_each_device_was_watched() -> None:
    """Four calls in 70.18 s; one call in a second and a bit."""
    rows = cells(View.AVERAGE)

    assert [(row["device"], row["calls"]) for row in rows] == [("probe1", 4), ("probe2", 1)]
    assert rows[0]["observed_seconds"] == pytest.approx(70.18)
    assert rows[0]["average_cps"] == pytest.approx(4 / 70.18)


def test_an_average_over_less_than_a_second_is_not_given() -> None:
    """One INVITE alone is no rate."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request())
    one = (read_tap(tape.capture(), Premises(), device="x"),)
    (row,) = as_json(table(View.AVERAGE, one, "hour", "UTC", 10))

    assert (row["calls"], row["average_cps"]) == (1, None)


def test_buckets_follow_group_and_zone() -> None:
    """By the minute, in Kolkata's time."""
    rows = cells(View.PEAK, "minute", "Asia/Kolkata")

    assert [row["bucket"] for row in rows if row["device"] == "probe1"] == [
        "2023-11-15T03:43:00+05:30",
        "2023-11-15T03:44:00+05:30",
    ]
    assert {row["calls"] for row in rows} == {1}


def test_the_top_lists_join_all_devices() -> None:
    """Of five calls four to one number; each row says what decided."""
    (first, second) = cells(View.TOP_DESTINATION)

    assert (first["place"], first["party"], first["calls"], first["percent"]) == (1, BOB, 4, 80.0)
    assert (second["party"], second["rule"]) == (CAROL, "Request-URI: e164 plus")
    assert [row["party"] for row in cells(View.TOP_SOURCE)] == [ALICE]


def test_lists_have_a_row_each() -> None:
    """Calls with parties and end, streams with their figures."""
    calls, streams = cells(View.CALLS), cells(View.STREAMS)

    assert [row["call_id"] for row in calls[:4]] == [f"call-{number}" for number in range(4)]
    assert {row["duration_s"] for row in calls} == {1.0}
    assert (streams[0]["ssrc"], streams[0]["packets"]) == ("0x00001234", 10)


def test_the_waterfall_has_a_column_a_device() -> None:
    """Frames at the top, calls at the bottom."""
    waterfall, ports = summary(TAPS)

    assert waterfall.rows[0] == ("", "Frames", 38, 7)
    assert waterfall.rows[-2] == ("=", "Calls", 4, 1)
    assert [row[:3] for row in ports.rows] == [("probe1", 0, 38), ("probe2", 0, 7)]


@pytest.mark.parametrize("view", VIEWS)
def test_every_form_has_every_row(view: View) -> None:
    """CSV and JSON hold the same cells; text has a line for each."""
    shown = table(view, TAPS, "minute", "UTC", 10)
    read = list(csv.DictReader(io.StringIO(as_csv(shown))))
    by_key = json.loads(json.dumps(as_json(shown)))

    assert len(read) == len(by_key) == len(shown.rows) > 0
    assert [list(row) for row in read] == [list(row) for row in by_key]
    for ours, theirs in zip(by_key, read, strict=True):
        for key, value in ours.items():
            assert theirs[key] == ("" if value is None else str(value))
    assert len(as_text(shown).splitlines()) == len(shown.rows) + 3


def test_csv_holds_no_formula() -> None:
    """What a spreadsheet would run gets an apostrophe; a number keeps its plus."""
    shown = Table("x", "X", (Column("a", "A"),), (("=1+1",), ("+16505550112",), ("-cmd",)))

    assert as_csv(shown).split("\r\n")[1:4] == ["'=1+1", "+16505550112", "'-cmd"]


def test_the_page_is_whole_and_runs_nothing() -> None:
    """All views in one file, with pictures; hostile text is escaped."""
    tables = [*summary(TAPS), *(table(view, TAPS, "minute", "UTC", 10) for view in VIEWS)]
    hostile = "<script>alert(1)</script>"
    odd = Table("odd", hostile, (Column("a", hostile),), ((hostile,),), hostile)
    page = render(hostile, [(hostile, hostile)], [*tables, odd])

    assert "<script" not in page
    assert not re.search(r"\b(?:src|href)=|https?://|@import|url\(", page)
    assert page.count("<svg") == 7
    assert page.count("<section>") == len(tables) + 1
    assert page == render(hostile, [(hostile, hostile)], [*tables, odd])


def test_a_page_prints_whole() -> None:
    """A wide table is set small, on a sheet that lies; none scrolls, no date is broken in two."""
    columns = tuple(Column(f"c{number}", "C") for number in range(20))
    shown = [Table("x", "X", columns[:count], ()) for count in (9, 17, 18)]
    page = render("t", [], [*shown, Table("y", "Y", (Column("at", "Began"),), (("now",),))])

    assert re.findall("<table(.*)>", page) == ["", ' class="many"', ' class="most"', ""]
    assert "@page { size: A4 landscape" in page
    assert re.search(r"@media print {.*\.wide { overflow: visible; }", page)
    assert '<td class="t">now</td>' in page


def test_a_page_stops_at_what_a_browser_can_show() -> None:
    """The first 2000 rows, and how many more there are elsewhere."""
    long = Table("x", "X", (Column("a", "A"),), tuple((n,) for n in range(2005)), "Note.")
    page = render("t", [], [long])

    assert page.count("<tr>") == 2001
    assert "5 more are in the CSV" in page


def test_pictures_show_each_bucket_on_one_scale() -> None:
    """The bars of both devices are measured alike, and say their value."""
    first, second = pictures(table(View.AVERAGE, TAPS, "minute", "UTC", 10))

    assert (first.device, second.device) == ("probe1", "probe2")
    assert first.grid == second.grid
    assert len(first.bars) == 2
    assert first.bars[0].width == 60
    assert all(bar.height >= 0 and bar.y >= 0 for bar in (*first.bars, *second.bars))
    assert pictures(table(View.CALLS, TAPS, "hour", "UTC", 10)) == ()


def test_frames_for_other_engines_have_the_documented_columns() -> None:
    """The same columns and types, with rows or without, and all of them in the guide."""
    calls = [call for tap in TAPS for call in tap.calls]
    streams = [stream for tap in TAPS for stream in tap.streams]
    ports = [port for tap in TAPS for port in tap.ports]
    guide = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")

    assert dict(call_frame(calls).schema) == dict(call_frame([]).schema) == schema("calls")
    assert dict(stream_frame(streams).schema) == schema("streams")
    assert dict(rtcp_frame([]).schema) == schema("rtcp")
    assert dict(port_frame(ports).schema) == schema("ports")
    assert dict(waterfall_frame([("a", 1, "calls")]).schema) == schema("waterfall")
    assert call_frame(calls)["duration_ns"].to_list() == [1_000_000_000] * 5
    for name, fields in TABLES.items():
        assert f"## {name}.parquet\n" in guide
        for one in fields:
            cells = (f"`{one.name}`", one.kind, one.unit, one.words, one.null)
            assert f"| {' | '.join(cells)} |".replace("  ", " ") in guide.replace("  ", " ")
    assert f"Schema version: {SCHEMA}" in guide


def test_a_parquet_file_says_what_it_holds() -> None:
    """Its table and the version of the schema, for who reads it in a year."""
    content = io.BytesIO(parquet("calls", call_frame([])))
    about = pl.read_parquet_metadata(content)

    assert (about["fst.table"], about["fst.schema"]) == ("calls", str(SCHEMA))


def test_no_frames_give_empty_views() -> None:
    """A device that saw nothing at all has no rate, and the tables say so."""
    nothing = (read_tap(Tape().capture(), Premises(), device="x"),)

    for view in VIEWS:
        assert "(none)" in as_text(table(view, nothing, "hour", "UTC", 10))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../x"])
def test_unknown_zones_are_refused(zone: str) -> None:
    """Before any time is shown in them."""
    with pytest.raises(InputError, match="no such time zone"):
        moment(0, zone)


def test_times_beyond_the_calendar_are_refused() -> None:
    """What no year has is named, not shown wrongly."""
    with pytest.raises(InputError, match="calendar"):
        moment(2**63 - 1 + 10**20 * 4, "UTC")


def test_lookups_are_not_of_this_dataset() -> None:
    """A view of the other dataset is refused."""
    with pytest.raises(InputError):
        table(View.LOOKUPS, TAPS, "hour", "UTC", 10)
