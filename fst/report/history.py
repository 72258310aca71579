"""Every attempt that a journal tells of, by case and target, for the reports.

Laws: attempts are kept in their order and none is dropped; one that did not end, or ended without a
verdict, was not judged; what counts is decided by `fst.boxes`, whose rules a journal must keep.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fst.boxes import Acceptance, Boxes, Key, Said
from fst.boxes import Attempt as Judged
from fst.report.fields import Fields, legible
from fst.report.recorded import (
    Attachment,
    attachment_of,
    strip_of,
)
from fst.report.strip_chart import Strip
from fst.suspects import suspect
from fst.verdict import ENDED_EARLY
from harness.finding import Finding, Measurement, Outcome
from harness.journal import Event

NO_VERDICT = "not judged: the attempt ended without a verdict"


@dataclass(frozen=True, slots=True)
class Timed:
    """A step or a comment, and when (UTC)."""

    at_ns: int
    text: str
    by: str = ""  # the person, if it is known


@dataclass(frozen=True, slots=True)
class People:
    """What people said of an attempt, beside what the machine found."""

    declared: tuple[Said, ...]
    caveats: tuple[Said, ...]
    witnessed: tuple[Said, ...]
    disagreements: tuple[Said, ...]
    accepted: Acceptance | None
    still_accepted: bool  # nothing changed after the acceptance
    disputed: bool  # a witness, or the packets, say otherwise


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a case; without an outcome it was not judged, and the words say why."""

    number: int
    reason: str  # why a case that had a verdict was tried again
    started_ns: int
    ended_ns: int | None
    outcome: Outcome | None
    words: str
    proposed: Outcome | None  # by the machine
    people: People
    steps: tuple[Timed, ...]
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    attachments: tuple[Attachment, ...]
    strip: Strip | None


@dataclass(frozen=True, slots=True)
class History:
    """The attempts, the comments and the doubts, by step and target."""

    attempts: dict[Key, tuple[Attempt, ...]]
    comments: dict[Key, tuple[Timed, ...]]
    suspects: dict[Key, str]  # why a later change of a host makes a verdict suspect


def gather(events: Iterable[Event]) -> History:
    """Return what *events* tell of attempts; events of other and of unknown types say nothing.

    Raises:
        InputError: a field that is not what its event type holds, an event before its attempt, or
            one that breaks a rule of `fst.boxes`.
    """
    boxes = Boxes(reading=True)
    shown: dict[Key, list[_Shown]] = {}
    comments: dict[Key, list[Timed]] = {}
    for event in events:
        boxes.take(event)
        fields = Fields.of(event)
        match event.type:
            case "attempt.start":
                shown.setdefault(_key(fields), []).append(_Shown())
            case "comment":
                said = Timed(event.at_ns, fields.text("text"), fields.text("by"))
                comments.setdefault(_key(fields), []).append(said)
            case "step" | "attachment" | "strip":
                shown[_key(fields)][-1].take(event, fields)
            case _:
                pass
    return History(
        {
            key: tuple(_attempt(one, show) for one, show in zip(found, shown[key], strict=True))
            for key, found in boxes.attempts.items()
        },
        {key: tuple(said) for key, said in comments.items()},
        {key: legible(why) for key, why in suspect(boxes, boxes.facts).items()},
    )


@dataclass(slots=True)
class _Shown:
    """What of an attempt is only shown, while its events are read."""

    steps: list[Timed] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    strip: Strip | None = None

    def take(self, event: Event, fields: Fields) -> None:
        """Add what one event says."""
        match event.type:
            case "step":
                done = fields.values.get("mark_ns") is not None  # written down after it was done
                at_ns = fields.whole("mark_ns") if done else event.at_ns
                self.steps.append(Timed(at_ns, fields.text("text")))
            case "attachment":
                self.attachments.append(attachment_of(fields))
            case _:
                self.strip = strip_of(fields)


def _attempt(judged: Judged, shown: _Shown) -> Attempt:
    verdict = judged.verdict
    return Attempt(
        judged.number,
        judged.reason,
        judged.started.at_ns,
        judged.ended.at_ns if judged.ended else None,
        verdict.outcome if verdict else None,
        verdict.words if verdict else _why_empty(judged),
        judged.earned.outcome if judged.earned else None,
        _people(judged),
        tuple(shown.steps),
        tuple(judged.findings),
        tuple(judged.measurements),
        tuple(shown.attachments),
        shown.strip,
    )


def _why_empty(judged: Judged) -> str:
    """Return why an attempt has no verdict, and which one had been on its way."""
    if not judged.is_open and not judged.stopped:
        return NO_VERDICT
    why = f"not judged: {judged.stopped}" if judged.stopped else ENDED_EARLY
    last = judged.proposed
    return why + (f" ({last.outcome} had been proposed: {last.words})" if last else "")


def _people(judged: Judged) -> People:
    return People(
        tuple(judged.declared),
        tuple(judged.caveats),
        tuple(judged.witnessed),
        tuple(judged.disagreements),
        judged.accepted,
        judged.is_accepted,
        judged.is_disputed,
    )


def _key(fields: Fields) -> Key:
    return fields.raw("step"), fields.raw("target")
