"""What taps saw, as tables: views of the SIP dataset, and the waterfall from frames to calls."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from harness.buckets import Group, buckets
from harness.figure_views import outcomes_table, sound_table
from harness.views import (
    Cell,
    Column,
    Observed,
    Table,
    View,
    calls_table,
    counted_table,
    ports_table,
    streams_table,
)
from probetest.calls.waterfall import Step, Waterfall
from probetest.dataset import TapData

VIEWS = (
    *(View.AVERAGE, View.PEAK, View.TOP_SOURCE, View.TOP_DESTINATION),
    *(View.OUTCOMES, View.WATERFALL, View.SOUND, View.CALLS, View.STREAMS),
)
_STEPS = {  # of the waterfall: field, words, and what it does to the sum above it
    "frames": ("Frames", ""),
    "sip_messages": ("SIP messages", ""),
    "unreadable": ("cannot be read", "-"),
    "other_messages": ("responses, and requests that are no INVITE", "-"),
    "invites": ("INVITE requests", "="),
    "copies": ("copies that the tap made", "-"),
    "retransmissions": ("retransmissions", "-"),
    "re_invites": ("inside a dialog (re-INVITE)", "-"),
    "auth_retries": ("again after 401 or 407", "-"),
    "overlap_dialling": ("more digits of the same number (overlap dialling)", "-"),
    "other_retries": ("again after another answer, or none", "-"),
    "further_hops": ("the same INVITE at another hop or branch", "-"),
    "onward_legs": ("onward legs of a call (Session-ID, ICID, X-CID, SDP origin)", "-"),
    "calls": ("Calls", "="),
    "partial_calls": ("calls that began before the capture, beside the sum", ""),
}


def observed(taps: Iterable[TapData]) -> tuple[Observed, ...]:
    """Return the calls and the time of each device that had any frame."""
    return tuple(
        Observed(tap.device, tap.from_ns, tap.to_ns + 1, tap.calls, tap.watched)
        for tap in taps
        if tap.to_ns
    )


def table(view: View, taps: Sequence[TapData], group: Group, zone: str, n: int) -> Table:
    """Return one view of *taps*.

    Raises:
        InputError: no such zone or group, or a view of another dataset.
    """
    if view is View.OUTCOMES:
        return outcomes_table(taps, group, zone)
    if view is View.WATERFALL:
        return buckets_table(taps, group, zone)
    if view is View.SOUND:
        return sound_table(taps, group, zone)
    if view is View.CALLS:
        return calls_table((call for tap in taps for call in tap.calls), zone)
    if view is View.STREAMS:
        return streams_table((stream for tap in taps for stream in tap.streams), zone)
    return counted_table(view, observed(taps), group, zone, n=n)


def summary(taps: Sequence[TapData]) -> tuple[Table, ...]:
    """Return the waterfall, and what each interface delivered."""
    return waterfall_table(taps), ports_table(port for tap in taps for port in tap.ports)


def waterfall_table(taps: Sequence[TapData]) -> Table:
    """Return every step from frames to calls, a column a device."""
    devices = tuple(Column(tap.device, tap.device, is_number=True) for tap in taps)
    columns = (Column("sign", ""), Column("step", "Step"), *devices)
    rows: list[tuple[Cell, ...]] = []
    for one in fields(Waterfall):
        words, sign = _STEPS[one.name]
        rows.append((sign, words, *(getattr(tap.waterfall, one.name) for tap in taps)))
    note = "Lines marked - are taken off; = is what is left."
    return Table("waterfall", "From frames to calls", columns, tuple(rows), note)


def buckets_table(taps: Sequence[TapData], group: Group, zone: str) -> Table:
    """Return the steps from INVITE requests to calls, a row a device and bucket."""
    steps = tuple(Column(one.field, _STEPS[one.field][0], is_number=True) for one in Step)
    columns = (Column("device", "Device"), Column("bucket", "From"), _INVITES, *steps)
    rows: list[tuple[Cell, ...]] = []
    for tap in taps:
        if not tap.to_ns:
            continue
        spans = buckets(group, zone, tap.from_ns, tap.to_ns + 1, tap.watched)
        for label, counts in zip(spans.labels, tap.invites.counts(spans).tolist(), strict=True):
            rows.append((tap.device, label, sum(counts), *counts))
    note = "Each INVITE is in exactly one column, in the bucket in which it was seen."
    title = f"From INVITE requests to calls, by {group}"
    return Table(View.WATERFALL, title, columns, tuple(rows), note)


_INVITES = Column("invites", "INVITE requests", is_number=True)
