"""Tables of what became of calls and how they sounded: a row a device and bucket."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from typing import Protocol

from harness.buckets import Buckets, Group, Span, buckets
from harness.call_figures import OutcomeRow, SoundRow, outcomes, sound
from harness.records import CallRecord, StreamRecord
from harness.views import Column, Table, View

_TITLES = {  # of the columns, by the fields of `OutcomeRow` and `SoundRow`
    "device": "Device",
    "bucket": "From",
    "calls": "Calls",
    "legs": "Legs",
    "answered": "Answered",
    "redirected": "3xx",
    "by_callee": "By callee",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "open": "No answer seen",
    "ser_percent": "SER %",
    "seer_percent": "SEER %",
    "setup_median_ms": "Setup ms, median",
    "setup_95_ms": "95 %",
    "setup_max_ms": "longest",
    "answer_median_ms": "Answer ms, median",
    "talk_mean_s": "Talk s, mean",
    "streams": "Streams",
    "packets": "Packets",
    "expected": "Expected",
    "lost": "Lost",
    "lost_percent": "Lost %",
    "with_loss": "Streams with loss",
    "jitter_median_ms": "Jitter ms, median",
    "jitter_95_ms": "95 %",
    "jitter_max_ms": "highest",
    "gap_max_ms": "Longest gap ms",
    "mos_median": "MOS, median",
    "mos_min": "lowest",
}
_DIGITS = {
    "percent": 2,
    "ms": 3,
    "s": 3,
    "median": 2,
    "min": 2,
}  # after the point, by the unit at the end of a field's name
_OUTCOME_NOTE = (
    "By callee: 480, 486, 600, 603. SER: answered, of all but the redirected (RFC 6076 4.6); SEER: "
    "answered or turned down by the callee, of the same (4.7). Setup: from the INVITE to the first "
    "18x or 2xx of calls that were answered (4.3.1). Percentiles are the nearest rank."
)
_SOUND_NOTE = (
    "Streams that began in the bucket. Jitter: of each stream's mean. Percentiles are the nearest "
    "rank."
)


class Tap(Protocol):
    """What one device showed, as far as these views need it."""

    @property
    def device(self) -> str: ...  # noqa: D102 - plain, and so on
    @property
    def from_ns(self) -> int: ...  # noqa: D102
    @property
    def to_ns(self) -> int: ...  # noqa: D102
    @property
    def watched(self) -> tuple[Span, ...]: ...  # noqa: D102
    @property
    def calls(self) -> tuple[CallRecord, ...]: ...  # noqa: D102
    @property
    def streams(self) -> tuple[StreamRecord, ...]: ...  # noqa: D102


def outcomes_table(taps: Sequence[Tap], group: Group, zone: str) -> Table:
    """Return what became of the calls of each device and bucket."""
    rows = [
        row
        for tap in taps
        if tap.to_ns
        for row in outcomes(tap.device, tap.calls, _of(tap, group, zone))
    ]
    return _table(
        View.OUTCOMES, f"What became of calls, by {group}", OutcomeRow, rows, _OUTCOME_NOTE
    )


def sound_table(taps: Sequence[Tap], group: Group, zone: str) -> Table:
    """Return how the streams of each device and bucket did."""
    rows = [
        row
        for tap in taps
        if tap.to_ns
        for row in sound(tap.device, tap.streams, _of(tap, group, zone))
    ]
    return _table(View.SOUND, f"Media, by {group}", SoundRow, rows, _SOUND_NOTE)


def _of(tap: Tap, group: Group, zone: str) -> Buckets:
    return buckets(group, zone, tap.from_ns, tap.to_ns + 1, tap.watched)


def _table(
    view: View,
    title: str,
    kind: type[OutcomeRow | SoundRow],
    rows: Iterable[OutcomeRow | SoundRow],
    note: str,
) -> Table:
    """Return the rows under their titles."""
    columns = tuple(
        Column(
            one.name,
            _TITLES[one.name],
            _DIGITS.get(one.name.rpartition("_")[2]),
            is_number=one.name not in ("device", "bucket"),
        )
        for one in fields(kind)
    )
    return Table(view, title, columns, tuple(astuple(row) for row in rows), note)
