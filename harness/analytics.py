"""Views over lookups and calls: how many a second, peaks, and who called most, bucket by bucket.

Laws: pure and in one fixed order, so that the same records give the same rows on any machine;
an average divides by the seconds that were observed, never by a whole bucket that was not;
what was expected and sent nothing is a row with 0 calls, not a missing row.

A lookup counts as one call, and so does a SIP call: retransmissions are folded in both records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from harness.buckets import NS, Buckets, Group, buckets
from harness.errors import InputError
from harness.records import CallRecord, LookupRecord, Record, StreamRecord

Side = Literal["source", "destination"]

NOT_GIVEN = "not given"  # the party of queries that carry none

COLUMNS = {  # of `frame`, named as in LookupRecord
    "at_ns": pl.Int64,  # wall time of the first query, nanoseconds since 1970 in UTC
    "device": pl.String,
    "client": pl.String,
    "source": pl.String,
    "source_rule": pl.String,
    "destination": pl.String,
    "destination_rule": pl.String,
    "direction": pl.String,
    "direction_rule": pl.String,
    "rcode": pl.String,  # "" when no answer came
    "latency_ns": pl.Int64,  # null when no answer came
    "frame": pl.Int64,
}
CALL_COLUMNS = {  # of `call_frame`, named as in CallRecord
    **{name: COLUMNS[name] for name in COLUMNS if name not in ("rcode", "latency_ns", "frame")},
    "outcome": pl.String,
    "target": pl.String,
    "status": pl.Int64,  # 0 when no final response was seen
    "answered_ns": pl.Int64,
    "duration_ns": pl.Int64,  # null when it was not answered, or its end was not seen
    "call_id": pl.String,
    "frame": pl.Int64,
}
STREAM_COLUMNS = {  # of `stream_frame`, named as in StreamRecord
    **dict.fromkeys(("at_ns", "end_ns"), pl.Int64),
    **dict.fromkeys(("device", "source", "destination"), pl.String),
    **dict.fromkeys(("ssrc", "payload_type"), pl.Int64),
    "codec": pl.String,
    "clock_hz": pl.Int64,
    **dict.fromkeys(("clock_rule", "found_by", "call_id"), pl.String),
    **dict.fromkeys(("packets", "copies", "expected", "lost", "duplicates"), pl.Int64),
    **dict.fromkeys(("reordered", "restarts", "odd"), pl.Int64),
    **dict.fromkeys(("jitter_ms", "jitter_mean_ms", "jitter_max_ms", "gap_max_ms"), pl.Float64),
    "digits": pl.String,
    "frame": pl.Int64,
}
_PLACED = ("at_ns", "device", "source", "source_rule", "destination", "destination_rule", "frame")


@dataclass(frozen=True, slots=True)
class AverageCps:
    """Calls a second of one device, averaged over what was observed of one bucket."""

    device: str
    bucket: str  # ISO 8601 start, with offset
    calls: int
    observed_seconds: float
    average_cps: float


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


def frame(records: Iterable[LookupRecord]) -> pl.DataFrame:
    """Return one row a lookup with the columns of `COLUMNS`, in order of time and frame.

    A saved Parquet of it opens in Polars, DuckDB, pandas and Spark alike.
    """
    return _table(records, COLUMNS)


def call_frame(records: Iterable[CallRecord]) -> pl.DataFrame:
    """Return one row a call with the columns of `CALL_COLUMNS`, in order of time and frame."""
    return _table(records, CALL_COLUMNS)


def stream_frame(records: Iterable[StreamRecord]) -> pl.DataFrame:
    """Return one row a stream with the columns of `STREAM_COLUMNS`, in order of time and frame."""
    return _table(records, STREAM_COLUMNS)


def _table(records: Iterable[object], columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return the records' fields of these names."""
    rows = tuple(records)
    values = {name: [getattr(row, name) for row in rows] for name in columns}
    return pl.DataFrame(values, schema=dict(columns)).sort("at_ns", "frame", "device")


def average_cps(  # noqa: PLR0913 - an observation is these four, named at the call
    records: Sequence[Record],
    group: Group,
    *,
    zone: str = "UTC",
    observed_from_ns: int,
    observed_to_ns: int,
    devices: Iterable[str] = (),
) -> tuple[AverageCps, ...]:
    """Return a row for each device (seen or expected) and bucket, by device and time.

    Raises:
        InputError: a record outside the observation (its end is not included), no such zone.
    """
    spans = buckets(group, zone, observed_from_ns, observed_to_ns)
    table = _placed(records, spans)
    counted = table.group_by("device", "bucket").len()
    calls = {(device, bucket): count for device, bucket, count in counted.iter_rows()}
    rows = []
    for device in _devices(table, devices):
        for index, label in enumerate(spans.labels):
            count, seconds = calls.get((device, index), 0), spans.observed_seconds(index)
            rows.append(AverageCps(device, label, count, seconds, count / seconds))
    return tuple(rows)


def peak_cps(  # noqa: PLR0913 - an observation is these four, named at the call
    records: Sequence[Record],
    group: Group,
    *,
    zone: str = "UTC",
    observed_from_ns: int,
    observed_to_ns: int,
    devices: Iterable[str] = (),
) -> tuple[PeakCps, ...]:
    """Return the densest second of each device and bucket, by device and time.

    The second slides: it may begin at any call, not only on the clock, so a burst across two clock
    seconds is not cut in half. It belongs to the bucket in which it begins.

    Raises:
        InputError: a record outside the observation (its end is not included), no such zone.
    """
    spans = buckets(group, zone, observed_from_ns, observed_to_ns)
    table = _placed(records, spans)
    best: dict[tuple[str, int], tuple[int, int]] = {}
    for part in table.sort("at_ns").partition_by("device"):
        device, times = part["device"][0], part["at_ns"]
        ends = times.search_sorted(times + NS, side="left")
        for begin, (at_ns, end, index) in enumerate(zip(times, ends, part["bucket"], strict=True)):
            if end - begin > best.get((device, index), (0, 0))[0]:
                best[device, index] = end - begin, at_ns
    rows = []
    for device in _devices(table, devices):
        for index, label in enumerate(spans.labels):
            count, at = best.get((device, index), (0, None))
            rows.append(PeakCps(device, label, count, at))
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
    times = [record.at_ns for record in records]
    spans = buckets(group, zone, min(times), max(times) + 1)
    table = _placed(records, spans).select(
        "bucket",
        pl.col(side).replace({"": NOT_GIVEN}).alias("party"),
        pl.col(f"{side}_rule").alias("rule"),
    )
    ranked = (
        table.group_by("bucket", "party")
        .agg(pl.len().alias("calls"), pl.col("rule").unique().sort().str.join("; "))
        .sort("bucket", "calls", "party", descending=[False, True, False])
    )
    rows: list[TopRow] = []
    for part in ranked.partition_by("bucket", maintain_order=True):
        rows += _ranked(spans.labels[part["bucket"][0]], part, n)
    return tuple(rows)


def _ranked(label: str, part: pl.DataFrame, n: int) -> list[TopRow]:
    """Return the rows of one bucket from its parties, the most frequent first."""
    total = int(part["calls"].sum())
    rows = [
        TopRow(label, party, calls, calls / total, rule)
        for party, calls, rule in part.head(n).select("party", "calls", "rule").iter_rows()
    ]
    if others := part.height - len(rows):
        rest = total - sum(row.calls for row in rows)
        rows.append(TopRow(label, f"{others} other{'s' * (others > 1)}", rest, rest / total, ""))
    return rows


def _placed(records: Sequence[Record], spans: Buckets) -> pl.DataFrame:
    """Return the frame with the index of each record's bucket as column `bucket`."""
    for record in records:
        if not spans.from_ns <= record.at_ns < spans.to_ns:
            raise InputError(
                "outside the observation",
                field=f"at_ns of frame {record.frame}",
                value=record.at_ns,
                fix="observe from the first record to after the last",
            )
    table = _table(records, {name: COLUMNS[name] for name in _PLACED})
    starts = pl.Series("starts", spans.starts_ns, dtype=pl.Int64)
    after = starts.search_sorted(table["at_ns"], side="right")
    return table.with_columns((after.cast(pl.Int64) - 1).alias("bucket"))


def _devices(table: pl.DataFrame, expected: Iterable[str]) -> list[str]:
    """Return every device that was seen or expected, sorted."""
    return sorted({*table["device"].unique(), *expected})
