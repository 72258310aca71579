"""Outcomes, set-up times and media by bucket, against figures worked out by hand."""

import dataclasses

import pytest

from harness.buckets import NS, buckets
from harness.call_figures import nearest_rank, outcomes, sound
from harness.premises import Premises
from harness.records import CallRecord, StreamRecord
from harness.views import as_json
from probetest.calls.waterfall import Step
from probetest.dataset import read_tap
from probetest.summary import buckets_table
from tests.sip_wire import CARRIER, PHONE, START_NS, Leg, Tape, dialog, rtp

MS = 1_000_000


def record(status: int, *, at_s: int = 0, rang_ms: int = 0, answered_ms: int = 0) -> CallRecord:
    """Return a call with that final response."""
    tape = Tape()
    dialog(tape)
    (one,) = read_tap(tape.capture(), Premises(), device="a").calls
    at_ns = at_s * NS
    return dataclasses.replace(
        one,
        at_ns=at_ns,
        status=status,
        ringing_ns=at_ns + rang_ms * MS if rang_ms else None,
        answered_ns=at_ns + answered_ms * MS if answered_ms else None,
        duration_ns=answered_ms * MS if answered_ms else None,
    )


def stream(lost: int, jitter_ms: float | None, mos: float | None) -> StreamRecord:
    """Return a stream of 100 expected packets."""
    tape = Tape()
    for number in range(10):
        tape.udp(20 * number, CARRIER, PHONE, rtp(number, 160 * number))
    (one,) = read_tap(tape.capture(), Premises(), device="a").streams
    figures = {"lost": lost, "expected": 100, "packets": 100 - lost}
    return dataclasses.replace(
        one, at_ns=0, jitter_mean_ms=jitter_ms, mos=mos, gap_max_ms=20.0 + lost, **figures
    )


def test_every_call_is_in_one_column() -> None:
    """200, 302, 480, 486, 487, 404, 503, 603 and one without an answer."""
    status = (200, 200, 302, 480, 486, 487, 404, 503, 603, 0)
    (row,) = outcomes("a", [record(one) for one in status], buckets("hour", "UTC", 0, NS))

    columns = (row.answered, row.redirected, row.by_callee, row.cancelled, row.failed, row.open)
    assert columns == (2, 1, 3, 1, 2, 1)
    assert sum(columns) == row.calls == row.legs == len(status)
    assert row.ser_percent == pytest.approx(100 * 2 / 9)
    assert row.seer_percent == pytest.approx(100 * 5 / 9)


def test_setup_ends_with_the_first_sign_of_ringing() -> None:
    """RFC 6076 4.3.1: the first 18x, or the 2xx where none came; refused calls do not count."""
    calls = [
        record(200, rang_ms=100, answered_ms=900),
        record(200, answered_ms=300),
        record(486, rang_ms=5000),
    ]
    (row,) = outcomes("a", calls, buckets("hour", "UTC", 0, NS))

    assert (row.setup_median_ms, row.setup_95_ms, row.setup_max_ms) == (100, 300, 300)
    assert (row.answer_median_ms, row.talk_mean_s) == (300, pytest.approx(0.6))


def test_nothing_has_no_ratio() -> None:
    """An hour without calls or streams is a row of zeros and unknowns, not of 0 %."""
    spans = buckets("hour", "UTC", 0, 2 * 3600 * NS)
    first, second = outcomes("a", [record(302)], spans)
    (_, silent) = sound("a", [stream(0, 1.0, 4.0)], spans)

    assert (first.calls, first.ser_percent) == (1, None)
    assert (second.calls, second.ser_percent, second.setup_median_ms) == (0, None, None)
    assert (silent.streams, silent.lost_percent, silent.mos_min) == (0, None, None)


def test_media_figures_are_of_all_streams() -> None:
    """Loss of all packets together; jitter and MOS of those that have them."""
    streams = [stream(0, 1.0, 4.4), stream(10, 3.0, 3.1), stream(2, None, None)]
    (row,) = sound("a", streams, buckets("hour", "UTC", 0, NS))

    assert (row.streams, row.with_loss, row.lost, row.expected) == (3, 2, 12, 300)
    assert row.lost_percent == pytest.approx(4.0)
    assert (row.jitter_median_ms, row.jitter_max_ms, row.gap_max_ms) == (1.0, 3.0, 30.0)
    assert (row.mos_median, row.mos_min) == (3.1, 3.1)


@pytest.mark.parametrize("percent", [1, 50, 95, 100])
def test_a_percentile_was_measured(percent: int) -> None:
    """So many percent of the values do not exceed it, and fewer do not exceed any lower one."""
    values = [7, 1, 3, 3, 9, 12, 4, 8]
    found = nearest_rank(values, percent)

    assert found in values
    assert sum(one <= found for one in values) * 100 >= percent * len(values)
    assert sum(one < found for one in values) * 100 < percent * len(values)


def test_the_waterfall_of_each_bucket_sums_up() -> None:
    """Each INVITE in the minute in which it was seen; the columns add up to the INVITEs."""
    tape = Tape()
    first = Leg("1", branch="z9hG4bK-1")
    dialog(tape, 0, first)
    tape.udp(600, PHONE, CARRIER, Leg("2", branch="z9hG4bK-2").request())
    tape.udp(1100, PHONE, CARRIER, Leg("2", branch="z9hG4bK-2").request())
    dialog(tape, 61_000, Leg("3", branch="z9hG4bK-3"))
    tap = read_tap(tape.capture(), Premises(), device="a")
    rows = as_json(buckets_table([tap], "minute", "UTC"))

    counted = [(row["invites"], row["calls"], row["retransmissions"]) for row in rows]
    assert sum(one[0] for one in counted) == tap.waterfall.invites == 4
    assert sum(one[1] for one in counted) == tap.waterfall.calls == 3
    for row in rows:
        assert row["invites"] == sum(int(row[step.field] or 0) for step in Step)
    assert START_NS // NS % 60 == 20  # so the third call is in a minute of its own
    assert [one[:2] for one in counted] == [(3, 2), (1, 1)]
