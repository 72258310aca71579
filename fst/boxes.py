"""The boxes of a run and their attempts, with the rules that every verdict keeps.

    nothing ─▶ attempt 1 open ─▶ ended: judged ────── new attempt, with a reason ──▶ attempt 2 …
                       └───────▶ interrupted, parked ─ new attempt ────────────────▶ attempt 2 …

Laws: attempts are numbered from 1 and never deleted; a box has at most one open attempt, the last;
within an attempt a verdict only gets worse; the machine proposes and a person declares, never
better than what was proposed or found; FAIL and OTHER by a person need words; an attempt that did
not end in order has no verdict; a caveat sits on PASS or OTHER; what is accepted is a PASS or an
OTHER of the last attempt, as it is then; nothing of a rehearsal is accepted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fst.events import RUN_START, SAID, refuse_newer
from fst.report.fields import Fields
from fst.report.recorded import attachment_of, finding_of, measurement_of
from fst.verdict import Verdict, propose
from harness.errors import InputError
from harness.finding import Finding, Measurement, Outcome, worst
from harness.journal import Event

Key = tuple[str, str]  # step and target, as the journal has them
REHEARSAL, AUTOMATIC = "rehearsal", "automatic"  # a mode of runs, and one of boxes
FAIL, OTHER = Outcome.FAIL, Outcome.OTHER


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of a box, and when."""

    seq: int
    at_ns: int
    by: str
    words: str
    outcome: Outcome | None = None  # of a declaration or a witness
    severity: str = ""  # of a caveat


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A customer's consent to a box as it was then."""

    seq: int
    at_ns: int
    by: str
    note: str
    path: str  # of the e-mail, below the run's folder; "": a note
    sha256: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a host was like at one time."""

    seq: int
    target: str
    values: Mapping[str, str]
    clock_offset_ms: float | None


@dataclass(slots=True)
class Attempt:
    """One try at a box; changed by `Boxes.take` alone."""

    number: int
    started: Event
    reason: str
    ended: Event | None = None
    stopped: str = ""  # why it ended without a verdict
    findings: list[Finding] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    attachments: int = 0
    dropped_packets: int = 0
    proposed: Verdict | None = None
    declared: list[Said] = field(default_factory=list)
    caveats: list[Said] = field(default_factory=list)
    witnessed: list[Said] = field(default_factory=list)
    disagreements: list[Said] = field(default_factory=list)
    accepted: Acceptance | None = None
    was_asked: bool = False  # a person answered a question of it
    changed_seq: int = 0  # of the last event that an acceptance would have to know

    @property
    def is_open(self) -> bool:
        """Say whether it still goes on."""
        return self.ended is None

    @property
    def earned(self) -> Verdict | None:
        """Return the machine's verdict, made worse by what was recorded under it."""
        if self.proposed is None and not any(each.outcome is FAIL for each in self._checks):
            return None
        recorded = Verdict(
            *propose(
                self.findings,
                self.measurements,
                attachments=self.attachments,
                dropped_packets=self.dropped_packets,
            )
        )
        return self.proposed | recorded if self.proposed else recorded

    @property
    def has_own(self) -> bool:
        """Say whether anything was done in it: something was recorded, or somebody was asked."""
        return bool(self.was_asked or self.proposed or self.attachments or self._checks)

    @property
    def _checks(self) -> list[Finding | Measurement]:
        return [*self.findings, *self.measurements]

    @property
    def verdict(self) -> Verdict | None:
        """Return what counts; None while it is open, when it was stopped, or without a verdict."""
        return None if self.is_open or self.stopped else self.said

    @property
    def said(self) -> Verdict | None:
        """Return the worst of what was proposed, found and declared so far."""
        found = self.earned
        for each in self.declared:
            if each.outcome is not None:
                told = Verdict(each.outcome, each.words or f"declared by {each.by}")
                if found and each.words and found.outcome is each.outcome:  # as they were asked for
                    told, found = Verdict(each.outcome, f"{each.words}; {found.words}"), None
                found = found | told if found else told
        return found

    @property
    def is_accepted(self) -> bool:
        """Say whether it was accepted after the last change to it."""
        return self.accepted is not None and self.accepted.seq > self.changed_seq

    @property
    def is_disputed(self) -> bool:
        """Say whether a witness saw it otherwise, or the packets do."""
        verdict, last = self.verdict, {each.by: each.outcome for each in self.witnessed}
        others = set(last.values()) - {verdict.outcome if verdict else None}
        return bool(others or self.disagreements)


class Boxes:
    """Every box of a run that was tried, in the order of first attempts."""

    def __init__(self, *, reading: bool = False) -> None:
        """Start with none; *reading*: do not ask for reasons that old journals do not give."""
        self._reading = reading
        self.mode = ""
        self.automatic: frozenset[Key] = frozenset()  # boxes that the machine alone can earn
        self.attempts: dict[Key, list[Attempt]] = {}
        self.facts: list[Facts] = []
        self.stops: list[tuple[int, str]] = []  # planned restarts: event, target

    @classmethod
    def fold(cls, events: Iterable[Event], *, reading: bool = False) -> "Boxes":
        """Return the boxes that *events* make.

        Raises:
            InputError: an event breaks a rule, or is of a newer schema; names the event.
        """
        every = tuple(events)
        refuse_newer(every)
        boxes = cls(reading=reading)
        for event in every:
            boxes.take(event)
        return boxes

    def latest(self, key: Key) -> Attempt | None:
        """Return the attempt that counts; None: never tried."""
        found = self.attempts.get(key)
        return found[-1] if found else None

    def verdict(self, key: Key) -> Verdict | None:
        """Return the verdict in the box; None: it is empty."""
        latest = self.latest(key)
        return latest.verdict if latest else None

    def standing(self, key: Key) -> Attempt | None:
        """Return the last attempt that was judged: one that was cut off takes no verdict away."""
        return next((one for one in reversed(self.attempts.get(key, [])) if one.verdict), None)

    def next_number(self, key: Key) -> int:
        """Return the number of the box's next attempt."""
        return len(self.attempts.get(key, ())) + 1

    @property
    def still_open(self) -> tuple[Key, ...]:
        """Return the boxes with an attempt that did not end."""
        return tuple(key for key, found in self.attempts.items() if found[-1].is_open)

    @property
    def failed(self) -> tuple[Key, ...]:
        """Return the boxes whose verdict is FAIL."""
        return tuple(key for key in self.attempts if _is(self.verdict(key), FAIL))

    def take(self, event: Event) -> None:
        """Add one event; one that breaks a rule is refused, and changes nothing.

        Raises:
            InputError: it breaks a rule; names the event and the rule.
        """
        fields = Fields.of(event)
        match event.type:
            case "attempt.start":
                self._start(event, fields)
            case "acceptance":
                self._accept(event, fields)
            case "verdict.declared" | "caveat" | "witness" | "disagreement":
                self._say(event, fields)
            case _ if event.type in _RECORDED:
                _record(self._open_attempt(fields), event, fields)
            case "prompt.answered":
                latest = self.latest(_key(fields))
                if latest is not None and latest.is_open:
                    latest.was_asked = True
            case "facts":
                offset = fields.number_or_none("clock_offset_ms")
                values = {name: str(value) for name, value in fields.inner("values").values.items()}
                self.facts.append(Facts(event.seq, fields.raw("target"), values, offset))
            case "debt.opened" if fields.text("kind") in _STOPS:
                self.stops.append((event.seq, fields.raw("target")))
            case _ if event.type == RUN_START:
                self.mode = fields.text("mode")
                self.automatic = frozenset(
                    _key(row)
                    for form in fields.inners("forms")
                    for row in form.inners("rows")
                    if row.text("mode") == AUTOMATIC
                )

    def _start(self, event: Event, fields: Fields) -> None:
        key, number, reason = _key(fields), fields.whole("attempt"), fields.text("reason").strip()
        before = self.latest(key)
        if number != self.next_number(key):
            raise _broken(fields, "attempt", f"attempt {self.next_number(key)} is the next one")
        if before is not None and before.is_open:
            raise _broken(fields, "attempt", f"attempt {before.number} of this box is still open")
        if before is not None and before.verdict and not reason and not self._reading:
            raise _broken(fields, "reason", "a case that has a verdict is tried again for a reason")
        self.attempts.setdefault(key, []).append(
            Attempt(number, event, reason, changed_seq=event.seq)
        )

    def _open_attempt(self, fields: Fields) -> Attempt:
        latest = self.latest(_key(fields))
        if latest is None:
            raise InputError("belongs to no attempt", file=fields.place)
        if not latest.is_open:
            raise InputError(f"attempt {latest.number} of this box is over", file=fields.place)
        return latest

    def _latest_named(self, fields: Fields, key: Key, number: int | None) -> Attempt:
        """Return the latest attempt at *key*; a number, if given, must be its."""
        latest = self.latest(key)
        if latest is None:
            raise InputError("belongs to no attempt", file=fields.place)
        if number not in {None, latest.number}:
            raise _broken(fields, "attempt", f"attempt {latest.number} is the one that counts")
        return latest

    def _say(self, event: Event, fields: Fields) -> None:
        key = _key(fields)
        attempt = self._latest_named(fields, key, fields.whole_or_none("attempt"))
        match event.type:
            case "verdict.declared":
                unearned = key in self.automatic and attempt.proposed is None
                if unearned and fields.text("outcome") == Outcome.PASS:
                    raise _broken(fields, "outcome", "PASS of an automatic box must be earned")
                self._refuse_better(key, attempt, fields)
                attempt.declared.append(_declared(attempt, event, fields))
            case "witness":
                attempt.witnessed.append(_witness(event, fields))
            case "caveat":
                if not _is(attempt.verdict, Outcome.PASS, OTHER):
                    raise _broken(fields, "words", "a caveat sits on a PASS or an OTHER")
                words = _needed(fields, "words", "a caveat is made of words")
                severity = fields.text("severity")
                said = Said(event.seq, event.at_ns, _by(fields), words, severity=severity)
                attempt.caveats.append(said)
            case _:
                words = f"said: {fields.text('said')}; the packets: {fields.text('packets')}"
                attempt.disagreements.append(
                    Said(event.seq, event.at_ns, fields.text("who"), words)
                )
        attempt.changed_seq = event.seq

    def _refuse_better(self, key: Key, attempt: Attempt, fields: Fields) -> None:
        """Refuse to better a verdict by words alone, in an attempt in which nothing was done."""
        before = self.standing(key)
        if before is None or before is attempt or attempt.has_own or before.verdict is None:
            return
        outcome, stands = fields.choice("outcome", Outcome), before.verdict
        if worst([outcome, stands.outcome]) is not outcome:
            why = f"attempt {before.number} is {stands.outcome} ({stands.words}); try it again"
            raise _broken(fields, "outcome", why)

    def _accept(self, event: Event, fields: Fields) -> None:
        if self.mode == REHEARSAL:
            raise InputError("nothing of a rehearsal is accepted", file=fields.place)
        note, path, sha256 = (fields.text(name) for name in ("note", "path", "sha256"))
        if not note.strip() and not (path and sha256):
            raise _broken(fields, "note", "consent is a note, or an e-mail with its hash")
        accepted = Acceptance(event.seq, event.at_ns, _by(fields), note, path, sha256)
        found = []
        for step, target, number in fields.rows("boxes", 3):
            box = Fields({"step": step, "target": target, "attempt": number}, fields.place)
            attempt = self._latest_named(box, _key(box), box.whole("attempt"))
            if not _is(attempt.verdict, Outcome.PASS, OTHER):
                why = f"{step} {target} is neither PASS nor OTHER; only these can be accepted"
                raise _broken(fields, "boxes", why)
            found.append(attempt)
        for attempt in found:
            attempt.accepted = accepted


_STOPS = frozenset({"service-stopped", "process-started"})  # debts of planned restarts
_STOPPED = ("interrupted", "parked")
_RECORDED = frozenset(
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


def _record(attempt: Attempt, event: Event, fields: Fields) -> None:
    """Add what happened within *attempt*."""
    match event.type:
        case "finding":
            attempt.findings.append(finding_of(fields))
        case "measurement":
            attempt.measurements.append(measurement_of(fields))
        case "attachment":
            attempt.attachments += 1
            attempt.dropped_packets += attachment_of(fields).dropped or 0
        case "verdict.proposed":
            verdict = Verdict(fields.choice("outcome", Outcome), fields.text("words"))
            attempt.proposed = attempt.proposed | verdict if attempt.proposed else verdict
        case "attempt.end":
            stopped = [name for name in _STOPPED if fields.values.get(name) is True]
            words = fields.text("words")
            if stopped:
                attempt.stopped = f"{stopped[0]}: {words}" if words else stopped[0]
            attempt.ended, attempt.changed_seq = event, event.seq
        case _:
            pass  # steps and strips are for the reports


def _declared(attempt: Attempt, event: Event, fields: Fields) -> Said:
    """Return a person's verdict on *attempt*, which may keep or lower the one that stands."""
    outcome, before = fields.choice("outcome", Outcome), attempt.said
    if attempt.stopped:
        raise _broken(fields, "outcome", f"the attempt was {attempt.stopped}; try the case again")
    if before is not None and worst([outcome, before.outcome]) is not outcome:
        why = f"it is {before.outcome} ({before.words}); only a new attempt can make it better"
        raise _broken(fields, "outcome", why)
    words = fields.text("words").strip()
    if outcome is not Outcome.PASS and not words:
        raise _broken(fields, "words", f"{outcome} by a person needs words")
    return Said(event.seq, event.at_ns, _by(fields), words, outcome)


def _witness(event: Event, fields: Fields) -> Said:
    says, words = fields.text("says"), fields.text("words").strip()
    if says not in SAID:
        raise _broken(fields, "says", f"one of {', '.join(SAID)}")
    outcome = Outcome(says.upper())
    if outcome is not Outcome.PASS and not words:
        raise _broken(fields, "words", f"{outcome} by a witness needs words")
    return Said(event.seq, event.at_ns, _by(fields), words, outcome)


def _is(verdict: Verdict | None, *outcomes: Outcome) -> bool:
    return verdict is not None and verdict.outcome in outcomes


def _key(fields: Fields) -> Key:
    return fields.raw("step"), fields.raw("target")


def _by(fields: Fields) -> str:
    return _needed(fields, "by", "somebody says it, by name")


def _needed(fields: Fields, name: str, why: str) -> str:
    found = fields.text(name).strip()
    if not found:
        raise _broken(fields, name, why)
    return found


def _broken(fields: Fields, name: str, why: str) -> InputError:
    return InputError(why, file=fields.place, field=name, value=fields.values.get(name))
