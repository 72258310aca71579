"""The views that a probe or an analytics client shows, as tables: on a terminal, as CSV, as JSON.

Laws: a table holds plain values, each form writes all of them; times are written in the zone that
was asked for; an average over less than a second is not given, it would be noise.
"""

import csv
import io
import zoneinfo
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from harness.analytics import Side, average_cps, peak_cps, top
from harness.buckets import NS, Group, Span
from harness.errors import InputError
from harness.records import CallRecord, LookupRecord, PortRecord, Record, StreamRecord

MIN_OBSERVED_S = 1.0  # for an average
MS = 1_000_000
TIE = "by number"  # what decides the place of parties with as many calls
_TIE_NOTE = "Tie: others have as many calls; the smaller number comes first, as text."

Cell = str | int | float | None


class View(StrEnum):
    """What can be asked for, beside the summary."""

    AVERAGE = "average-cps"
    PEAK = "peak-cps"
    TOP_SOURCE = "top-source"
    TOP_DESTINATION = "top-destination"
    OUTCOMES = "outcomes"
    SOUND = "media"
    WATERFALL = "waterfall-buckets"
    LOOKUPS = "lookups"
    CALLS = "calls"
    STREAMS = "streams"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in files, and its head for people."""

    key: str
    title: str
    digits: int | None = None  # after the point, on a terminal; None: as it is
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One view; each row has a cell for each column."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """The calls that one device showed, and how long it was watched (the end is not included)."""

    device: str
    from_ns: int
    to_ns: int
    records: tuple[Record, ...]
    spans: tuple[Span, ...] = ()  # in which it was watched, where that was not all the time


def average_table(observed: Sequence[Observed], group: Group, zone: str) -> Table:
    """Return calls a second of each device and bucket, averaged over what was observed of it."""
    rows: list[tuple[Cell, ...]] = []
    for one in observed:
        for row in average_cps(
            one.records,
            group,
            zone=zone,
            observed_from_ns=one.from_ns,
            observed_to_ns=one.to_ns,
            devices=(one.device,),
            spans=one.spans,
        ):
            known = row.observed_seconds >= MIN_OBSERVED_S
            average = row.average_cps if known else None
            watched = (row.observed_seconds, row.missed_seconds)
            rows.append((row.device, row.bucket, row.calls, *watched, average))
    columns = (
        Column("device", "Device"),
        Column("bucket", "From"),
        Column("calls", "Calls", is_number=True),
        Column("observed_seconds", "Seconds observed", 3, is_number=True),
        Column("missed_seconds", "Not observed", 3, is_number=True),
        Column("average_cps", "Average calls/s", 4, is_number=True),
    )
    note = "Calls divided by the seconds that were observed, not by the whole bucket."
    if any(one.spans[1:] for one in observed):
        note += " Not observed: between two files of a device."
    return Table(View.AVERAGE, f"Average calls a second, by {group}", columns, tuple(rows), note)


def peak_table(observed: Sequence[Observed], group: Group, zone: str) -> Table:
    """Return the densest second of each device and bucket."""
    rows: list[tuple[Cell, ...]] = []
    for one in observed:
        for row in peak_cps(
            one.records,
            group,
            zone=zone,
            observed_from_ns=one.from_ns,
            observed_to_ns=one.to_ns,
            devices=(one.device,),
            spans=one.spans,
        ):
            began = "" if row.at_ns is None else moment(row.at_ns, zone)
            rows.append((row.device, row.bucket, row.calls, began))
    columns = (
        Column("device", "Device"),
        Column("bucket", "From"),
        Column("calls", "Calls in one second", is_number=True),
        Column("at", "That second begins"),
    )
    note = "The second slides: it may begin at any call."
    return Table(View.PEAK, f"Peak calls a second, by {group}", columns, tuple(rows), note)


def top_table(
    observed: Sequence[Observed], side: Side, group: Group, zone: str, *, n: int = 10
) -> Table:
    """Return the *n* most frequent parties of each bucket, all devices together."""
    records = [record for one in observed for record in one.records]
    rows: list[tuple[Cell, ...]] = []
    place, bucket = 0, ""
    for row in top(records, side, n, group=group, zone=zone):
        place = place + 1 if row.bucket == bucket else 1
        bucket = row.bucket
        shown = place if row.rule else None  # the others together have no place
        tie = TIE if row.tied else ""
        rows.append((bucket, shown, row.party, row.calls, 100 * row.share, tie, row.rule))
    columns = (
        Column("bucket", "From"),
        Column("place", "No.", is_number=True),
        Column("party", side.capitalize()),
        Column("calls", "Calls", is_number=True),
        Column("percent", "%", 1, is_number=True),
        Column("tie", "Tie"),
        Column("rule", "Decided by"),
    )
    view = View.TOP_SOURCE if side == "source" else View.TOP_DESTINATION
    title = f"Top {n} {side}s, by {group}"
    return Table(view, title, columns, tuple(rows), _TIE_NOTE)


def counted_table(
    view: View, observed: Sequence[Observed], group: Group, zone: str, *, n: int = 10
) -> Table:
    """Return one of the four views that count.

    Raises:
        InputError: another view, no such group or zone, far too many buckets.
    """
    match view:
        case View.AVERAGE:
            return average_table(observed, group, zone)
        case View.PEAK:
            return peak_table(observed, group, zone)
        case View.TOP_SOURCE:
            return top_table(observed, "source", group, zone, n=n)
        case View.TOP_DESTINATION:
            return top_table(observed, "destination", group, zone, n=n)
        case View.LOOKUPS | View.CALLS | View.STREAMS | View.OUTCOMES | View.SOUND | View.WATERFALL:
            raise InputError("lists, and counts nothing", field="view", value=view.value)


def calls_table(records: Iterable[CallRecord], zone: str) -> Table:
    """Return one row a call."""
    columns = (
        Column("at", "Began"),
        Column("device", "Device"),
        Column("source", "Source"),
        Column("source_rule", "Source by"),
        Column("destination", "Destination"),
        Column("destination_rule", "Destination by"),
        Column("direction", "Direction"),
        Column("outcome", "Outcome"),
        Column("target", "Sent to"),
        Column("status", "Status", is_number=True),
        Column("setup_ms", "Setup ms", 3, is_number=True),
        Column("duration_s", "Seconds", 3, is_number=True),
        Column("ended_by", "Ended by"),
        Column("legs", "Legs", is_number=True),
        Column("call_id", "Call-ID"),
        Column("frame", "Frame", is_number=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for call in records:
        lasted = None if call.duration_ns is None else call.duration_ns / NS
        parties = (call.source, call.source_rule, call.destination, call.destination_rule)
        became = (call.direction.value, call.outcome.value, call.target, call.status or None)
        start = (moment(call.at_ns, zone), call.device)
        rang = call.ringing_ns or call.answered_ns
        setup = None if rang is None else (rang - call.at_ns) / MS
        end = (setup, lasted, call.ended_by.value, call.legs)
        rows.append((*start, *parties, *became, *end, call.call_id, call.frame))
    note = "A call is one dialog-making INVITE; what was folded into it is in the summary."
    return Table(View.CALLS, "Calls", columns, tuple(rows), note)


def lookups_table(records: Iterable[LookupRecord], zone: str) -> Table:
    """Return one row an ENUM lookup."""
    columns = (
        Column("at", "Began"),
        Column("device", "Device"),
        Column("client", "Asked by"),
        Column("source", "Source"),
        Column("source_rule", "Source by"),
        Column("destination", "Destination"),
        Column("direction", "Direction"),
        Column("rcode", "Answer"),
        Column("latency_ms", "ms", 3, is_number=True),
        Column("frame", "Frame", is_number=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for one in records:
        parties = (one.client, one.source, one.source_rule, one.destination, one.direction.value)
        waited = None if one.latency_ns is None else one.latency_ns / MS
        start = (moment(one.at_ns, zone), one.device)
        rows.append((*start, *parties, one.rcode or "none", waited, one.frame))
    note = "A lookup is one call's question: retransmissions and failovers are folded into it."
    return Table(View.LOOKUPS, "ENUM lookups", columns, tuple(rows), note)


_STREAM = (
    *(("source", "From"), ("destination", "To"), ("ssrc", "SSRC"), ("codec", "Codec")),
    *(("clock_rule", "Clock by"), ("found_by", "Found by"), ("packets", "Packets")),
    *(("lost", "Lost"), ("reordered", "Late"), ("duplicates", "Twice"), ("copies", "Tap's copies")),
    *(("restarts", "Restarts"), ("odd", "Odd"), ("jitter_ms", "Jitter ms")),
    *(("jitter_mean_ms", "Mean ms"), ("jitter_max_ms", "Highest ms"), ("gap_max_ms", "Gap ms")),
    *(("mos", "MOS"), ("mos_rule", "MOS by"), ("skew_ppm", "Clock ppm")),
    *(("digits", "Keys"), ("call_id", "Call-ID"), ("frame", "Frame")),
)
_TEXTS = frozenset(
    {"source", "destination", "codec", "clock_rule", "found_by", "mos_rule", "digits", "call_id"}
)


_DIGITS = {"mos": 2, "skew_ppm": 2} | {key: 3 for key, _ in _STREAM if key.endswith("_ms")}
_SSRC_AT = [key for key, _ in _STREAM].index("ssrc")


def streams_table(records: Iterable[StreamRecord], zone: str) -> Table:
    """Return one row an RTP stream."""
    columns = (
        Column("at", "Began"),
        Column("device", "Device"),
        *(
            Column(key, title, _DIGITS.get(key), is_number=key not in _TEXTS)
            for key, title in _STREAM
        ),
    )
    rows: list[tuple[Cell, ...]] = []
    for one in records:
        values: list[Cell] = [getattr(one, key) for key, _ in _STREAM]
        values[_SSRC_AT] = f"0x{one.ssrc:08X}"
        rows.append((moment(one.at_ns, zone), one.device, *values))
    note = "Loss by RFC 3550 A.3, jitter by A.8, both without the copies that the tap made."
    return Table(View.STREAMS, "RTP streams", columns, tuple(rows), note)


def ports_table(records: Iterable[PortRecord]) -> Table:
    """Return one row an interface of a tap, SIP and RTP apart."""
    columns = (
        Column("device", "Device"),
        Column("interface", "Interface", is_number=True),
        Column("frames", "Frames", is_number=True),
        Column("sip_messages", "SIP messages", is_number=True),
        Column("rtp_packets", "RTP packets", is_number=True),
        Column("rtcp_packets", "RTCP packets", is_number=True),
        Column("copies", "Copies", is_number=True),
    )
    rows = tuple(tuple(getattr(one, column.key) for column in columns) for one in records)
    return Table("ports", "What each interface delivered", columns, rows)


def as_text(table: Table) -> str:
    """Return the table for a terminal: numbers to the right, the rest to the left."""
    shown = [
        [_shown(cell, column) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    heads = [column.title for column in table.columns]
    widths = [max(map(len, texts)) for texts in zip(heads, *shown, strict=True)]
    lines = [table.title]
    for texts in (heads, *shown):
        cells = zip(texts, widths, table.columns, strict=True)
        padded = (t.rjust(w) if c.is_number else t.ljust(w) for t, w, c in cells)
        lines.append("  ".join(padded).rstrip())
    if not shown:
        lines.append("(none)")
    return "\n".join([*lines, table.note] if table.note else lines)


def as_csv(table: Table) -> str:
    """Return the table as CSV (RFC 4180) with the keys in its first line.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(column.key for column in table.columns)
    for row in table.rows:
        writer.writerow("" if cell is None else _harmless(cell) for cell in row)
    return out.getvalue()


def as_json(table: Table) -> list[dict[str, Cell]]:
    """Return the table's rows by key, ready to be written as JSON."""
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, row, strict=True)) for row in table.rows]


def moment(at_ns: int, zone: str) -> str:
    """Return an instant in *zone*, ISO 8601 to the microsecond.

    Raises:
        InputError: no such zone, or a time that no calendar has.

    >>> moment(1_700_000_000_123_456_789, "UTC")
    '2023-11-14T22:13:20.123456+00:00'
    """
    try:
        place = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        fix = "as in Europe/London, or UTC"
        raise InputError("no such time zone", field="zone", value=zone, fix=fix) from error
    seconds, rest_ns = divmod(at_ns, NS)
    try:
        whole = _EPOCH + timedelta(seconds=seconds, microseconds=rest_ns // 1000)
        return whole.astimezone(place).isoformat(timespec="microseconds")
    except OverflowError as error:
        raise InputError("no time of this calendar", field="at_ns", value=at_ns) from error


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _shown(cell: Cell, column: Column) -> str:
    """Return a cell for people."""
    if cell is None:
        return "-"
    if isinstance(cell, float) and column.digits is not None:
        return f"{cell:.{column.digits}f}"
    return str(cell)


def _harmless(cell: Cell) -> Cell:
    """Return a cell that no spreadsheet runs; "+16505550112" stays as it is."""
    text = isinstance(cell, str) and cell.startswith(("=", "@", "-", "+", "\t", "\r"))
    number = isinstance(cell, str) and cell[1:].isdecimal()
    return f"'{cell}" if text and not number else cell
