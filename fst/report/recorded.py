"""What an attempt's events say, as values: findings, measurements, attachments, strips."""

from dataclasses import dataclass

from fst.report.fields import Fields, chosen, finite, whole
from fst.report.strip_chart import CallKind, Dot, DotKind, Span, SpanKind, Strip
from harness.errors import InputError
from harness.finding import Finding, Measurement, Outcome


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file kept as evidence, named by its content."""

    path: str  # below the run's folder
    sha256: str
    size_bytes: int
    media_type: str
    captured_by: str
    packets: int | None
    dropped: int | None  # None: who captured could not tell


def attachment_of(fields: Fields) -> Attachment:
    """Return the attachment that an event tells of."""
    return Attachment(
        path=fields.text("path"),
        sha256=fields.text("sha256"),
        size_bytes=fields.whole("bytes"),
        media_type=fields.text("media_type"),
        captured_by=fields.text("captured_by"),
        packets=fields.whole_or_none("packets"),
        dropped=fields.whole_or_none("dropped"),
    )


def finding_of(fields: Fields) -> Finding:
    """Return the finding that an event tells of."""
    return Finding(
        rule=fields.text("rule"),
        outcome=fields.choice("outcome", Outcome),
        expected=fields.text("expected"),
        observed=fields.text("observed"),
        unit=fields.text("unit"),
        frames=fields.wholes("frames"),
        needed=fields.whole_or_none("needed") or 0,
    )


def measurement_of(fields: Fields) -> Measurement:
    """Return it with its outcome computed again: the number and its limits are the truth."""
    return Measurement(
        name=fields.text("name"),
        value=fields.number_or_none("value"),
        unit=fields.text("unit"),
        low=fields.limit("low"),
        high=fields.limit("high"),
        frames=fields.wholes("frames"),
    )


def strip_of(fields: Fields) -> Strip:
    """Return the strip that an event tells of."""
    place = fields.place

    def ms(value: object, name: str) -> float:
        found = finite(value, place, name)
        if found is None:
            raise InputError("not a time", file=place, field=name, value=value)
        return found

    dots = tuple(
        Dot(
            ms(t_ms, "dots"),
            whole(line, place, "dots"),
            chosen(kind, DotKind, place, "dots"),
            None if frame is None else whole(frame, place, "dots"),
        )
        for t_ms, line, kind, frame in fields.rows("dots", 4)
    )
    spans = tuple(
        Span(
            whole(line, place, "spans"),
            ms(start, "spans"),
            None if end is None else ms(end, "spans"),
            chosen(kind, SpanKind, place, "spans"),
        )
        for line, start, end, kind in fields.rows("spans", 4)
    )
    marks = tuple(
        (ms(t_ms, "marks"), Fields({"text": label}, place).text("text"))
        for t_ms, label in fields.rows("marks", 2)
    )
    calls = tuple(
        (ms(t_ms, "calls"), chosen(kind, CallKind, place, "calls"))
        for t_ms, kind in fields.rows("calls", 2)
    )
    dropped = fields.whole_or_none("dropped_dots") or 0
    return Strip(fields.texts("servers"), dots, spans, marks, calls, dropped)
