"""Somebody's report is read exactly, or refused with its line."""

import pytest

from harness.errors import InputError
from harness.premises import Premises
from probetest.compare.foreign import sngrep_count, tshark_stat, tshark_streams
from probetest.compare.mapping import Mapping
from probetest.compare.report import Kind, Number, Report
from probetest.compare.theirs import read_report

MAPPING = """
rows = "report"
delimiter = ";"
time = "%d.%m.%Y %H:%M"
zone = "Europe/Berlin"
rate_per = "hour"

[columns]
bucket = "Stunde"
rate = "Rate"
"""
REPORT = "bucket,device,calls\n2025-03-04T10:00:00+00:00,a,1\n2025-03-04T10:00:00+00:00,b,2\n"


def csv(text: str, form: str = "", mapping: str = "", device: str = "") -> Report:
    """Return what a CSV says."""
    found = Mapping.parse(mapping, file="m.toml") if mapping else None
    return read_report(text, Premises(), form=form, mapping=found, device=device, file="t.csv")


def test_a_mapping_says_zone_form_and_units() -> None:
    """Ten o'clock in Berlin is nine in UTC; 7.2 calls an hour are 0.002 a second."""
    (row,) = csv("Rate;Stunde\n7.2;04.03.2025 10:00\n", mapping=MAPPING).rows

    assert row.at_ns == 1_741_078_800 * 10**9
    assert row.numbers["rate"].value == pytest.approx(0.002)
    assert row.numbers["rate"].tolerance == pytest.approx(0.05 / 3600)
    assert (row.kind, row.line) == (Kind.BUCKET, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rows = 1", "columns"),
        ("rows = 'report'\ncolumns = {}", "bucket"),
        ("rows = 'other'\ncolumns = {}", "report, calls, streams"),
        ("rows = 'calls'\ncolumns = { call_id = 'a', bucket = 'b' }", "columns.bucket"),
        ("rows = 'calls'\nspeed = 'x'\ncolumns = { call_id = 'a' }", "speed"),
        ("rows = 'calls'\ndelimiter = '||'\ncolumns = { call_id = 'a' }", "delimiter"),
        ("rows = 'calls'\nrate_per = 'year'\ncolumns = { call_id = 'a' }", "rate_per"),
        ("rows = 'calls'\nzone = 1\ncolumns = { call_id = 'a' }", "zone"),
        ("rows = ", "not TOML"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused(text: str, why: str) -> None:
    """With the field, and what would do."""
    with pytest.raises(InputError, match=why):
        Mapping.parse(text, file="m.toml")


@pytest.mark.parametrize(
    ("text", "form", "why"),
    [
        ("a,b\n1,2\n", "", "not a form that is known"),
        ("a,b\n1,2\n", "none", "no such form"),
        ("bucket,device\n2025-03-04,a\n", "average-cps", "no such column"),
        ("bucket,calls\n2025-03-04T10:00:00,many\n", "report", "line 2, calls"),
        ("bucket,calls\nyesterday,1\n", "report", "line 2, time"),
        ("bucket,calls\n2025-03-04T10:00:00,1,2\n", "report", "3 cells, not 2"),
        ("bucket,calls,calls\n2025-03-04T10:00:00,1,2\n", "report", "two columns"),
        ("bucket,calls\n2025-03-04,1\n2025-03-04,2\n", "report", "line 3"),
        ("calls\n1\n", "report", "too few columns"),
        ("start,source\n2025-03-04,x\n", "cdr", "too few columns"),
        ("call_id,source\n,x\n", "cdr", "no Call-ID"),
        ('call_id,source\n"a,x\n', "cdr", "not CSV"),
        ("source,destination,ssrc,at\n", "streams", "no such column"),
        (REPORT, "report", "several devices"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(text: str, form: str, why: str) -> None:
    """By line and column; nothing is guessed."""
    with pytest.raises(InputError, match=why):
        csv(text, form)


def test_one_device_of_several_is_chosen() -> None:
    """Its rows alone are compared."""
    (row,) = csv(REPORT, "report", device="b").rows

    assert row.numbers == {"calls": Number(2)}
    with pytest.raises(InputError, match="no such device"):
        csv(REPORT, "report", device="c")


def test_sngrep_counts_up_and_the_last_number_counts() -> None:
    """It writes each over the one before."""
    (row,) = sngrep_count("\rDialog count: 0\rDialog count: 12\n").rows

    assert (row.kind, row.numbers["calls"].value) == (Kind.TOTAL, 12)


@pytest.mark.parametrize("text", ["", "Couldn't open pcap file\n", "Dialog count: many"])
def test_anything_else_from_sngrep_is_refused(text: str) -> None:
    """An error message is no count."""
    with pytest.raises(InputError):
        sngrep_count(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=== RTP Streams ===\n Src IP addr  Port\n",
        "= RTP Streams =\n 0.1 0.2 192.0.2.1 1 192.0.2.2 2 0x1 g711U 5 none\n",
    ],
)
def test_another_table_of_streams_is_refused(text: str) -> None:
    """Columns are never taken by their place alone."""
    with pytest.raises(InputError):
        tshark_streams(text)


@pytest.mark.parametrize("text", ["", "SIP Statistics\n\nSomething new: 3\n"])
def test_other_statistics_are_refused(text: str) -> None:
    """A line that is not known may change what the others mean."""
    with pytest.raises(InputError):
        tshark_stat(text)
