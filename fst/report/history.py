"""Every attempt that a journal tells of, by case and target.

Laws: attempts are kept in their order and none is dropped; one that did not end, or ended without a
verdict, was not judged; a proposed verdict may be made worse by what was recorded under it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fst.report.fields import Fields, chosen, finite, whole
from fst.report.strip_chart import CallKind, Dot, DotKind, Span, SpanKind, Strip
from fst.verdict import ENDED_EARLY, Verdict, propose
from harness.errors import InputError
from harness.finding import Finding, Measurement, Outcome
from harness.journal import Event

NO_VERDICT = "not judged: the attempt ended without a verdict"

Key = tuple[str, str]  # step and target, as the journal has them


@dataclass(frozen=True, slots=True)
class Timed:
    """A step or a comment, and when (UTC)."""

    at_ns: int
    text: str


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a case; without an outcome it was not judged, and the words say why."""

    number: int
    started_ns: int
    ended_ns: int | None
    outcome: Outcome | None
    words: str
    steps: tuple[Timed, ...]
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    attachments: tuple[Attachment, ...]
    strip: Strip | None


@dataclass(frozen=True, slots=True)
class History:
    """The attempts and the comments, by step and target."""

    attempts: dict[Key, tuple[Attempt, ...]]
    comments: dict[Key, tuple[Timed, ...]]


def gather(events: Iterable[Event]) -> History:
    """Return what *events* tell of attempts; events of other and of unknown types say nothing.

    Raises:
        InputError: a field that is not what its event type holds, or an event before its attempt.
    """
    drafts: dict[Key, list[_Draft]] = {}
    comments: dict[Key, list[Timed]] = {}
    for event in events:
        fields = Fields.of(event)
        if event.type == "attempt.start":
            draft = _Draft(fields.whole("attempt"), event.at_ns)
            drafts.setdefault(_key(fields), []).append(draft)
        elif event.type == "comment":
            said = Timed(event.at_ns, fields.text("text"))
            comments.setdefault(_key(fields), []).append(said)
        elif event.type in _IN_ATTEMPT:
            open_drafts = drafts.get(_key(fields))
            if not open_drafts:
                raise InputError("belongs to no attempt", file=fields.place)
            open_drafts[-1].take(event, fields)
    return History(
        {key: tuple(draft.attempt() for draft in found) for key, found in drafts.items()},
        {key: tuple(said) for key, said in comments.items()},
    )


_IN_ATTEMPT = frozenset(
    {
        "step",
        "attachment",
        "measurement",
        "finding",
        "strip",
        "verdict.proposed",
        "attempt.end",
    }
)


@dataclass(slots=True)
class _Draft:
    """An attempt while its events are read."""

    number: int
    started_ns: int
    ended_ns: int | None = None
    steps: list[Timed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    strip: Strip | None = None
    proposed: Verdict | None = None

    def take(self, event: Event, fields: Fields) -> None:
        """Add what one event says."""
        match event.type:
            case "step":
                done = fields.values.get("mark_ns") is not None  # written down after it was done
                at_ns = fields.whole("mark_ns") if done else event.at_ns
                self.steps.append(Timed(at_ns, fields.text("text")))
            case "attachment":
                self.attachments.append(_attachment(fields))
            case "measurement":
                self.measurements.append(_measurement(fields))
            case "finding":
                self.findings.append(_finding(fields))
            case "strip":
                self.strip = _strip(fields)
            case "verdict.proposed":
                verdict = Verdict(fields.choice("outcome", Outcome), fields.text("words"))
                self.proposed = self.proposed | verdict if self.proposed else verdict
            case _:
                self.ended_ns = event.at_ns

    def attempt(self) -> Attempt:
        """Return the attempt, judged as far as its record carries."""
        outcome, words = self._judged()
        return Attempt(
            self.number,
            self.started_ns,
            self.ended_ns,
            outcome,
            words,
            tuple(self.steps),
            tuple(self.findings),
            tuple(self.measurements),
            tuple(self.attachments),
            self.strip,
        )

    def _judged(self) -> tuple[Outcome | None, str]:
        if self.ended_ns is None:
            last = self.proposed
            heard = f" ({last.outcome} had been proposed: {last.words})" if last else ""
            return None, ENDED_EARLY + heard
        if self.proposed is None:
            return None, NO_VERDICT
        recorded = propose(
            self.findings,
            self.measurements,
            attachments=len(self.attachments),
            dropped_packets=sum(kept.dropped or 0 for kept in self.attachments),
        )
        settled = self.proposed | Verdict(*recorded)
        return settled.outcome, settled.words


def _key(fields: Fields) -> Key:
    return fields.raw("step"), fields.raw("target")


def _attachment(fields: Fields) -> Attachment:
    return Attachment(
        path=fields.text("path"),
        sha256=fields.text("sha256"),
        size_bytes=fields.whole("bytes"),
        media_type=fields.text("media_type"),
        captured_by=fields.text("captured_by"),
        packets=fields.whole_or_none("packets"),
        dropped=fields.whole_or_none("dropped"),
    )


def _finding(fields: Fields) -> Finding:
    return Finding(
        rule=fields.text("rule"),
        outcome=fields.choice("outcome", Outcome),
        expected=fields.text("expected"),
        observed=fields.text("observed"),
        unit=fields.text("unit"),
        frames=fields.wholes("frames"),
        needed=fields.whole_or_none("needed") or 0,
    )


def _measurement(fields: Fields) -> Measurement:
    """Return it with its outcome computed again: the number and its limits are the truth."""
    return Measurement(
        name=fields.text("name"),
        value=fields.number_or_none("value"),
        unit=fields.text("unit"),
        low=fields.limit("low"),
        high=fields.limit("high"),
        frames=fields.wholes("frames"),
    )


def _strip(fields: Fields) -> Strip:
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
