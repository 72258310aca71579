"""How a run goes on: what its journal says of where it stood, and which boxes are still to do.

Pure. Laws: a run goes on only with the site file, the settings and the plan that it began with; a
box that has a verdict is left alone unless a re-test names it, with a reason; an attempt that was
cut off is ended as interrupted, and its box is open again.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from fst.boxes import Attempt, Boxes
from fst.plan import Mode
from fst.report.fields import Fields
from fst.suspects import suspect
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import SCHEMA, Event

FAILED, OTHER, SUSPECT = "failed", "other", "suspect"
BEGAN, RESUMED, HANDOVER, ABORTED = "run.start", "run.resumed", "run.handover", "run.aborted"

Key = tuple[str, str]  # step and target


@dataclass(frozen=True, slots=True)
class Began:
    """What a run began with."""

    run: str
    site_file: str
    site_sha256: str
    site_folder: str  # below which the site file's other files lie, as seen from the run's folder
    settings: tuple[str, ...]
    plan_id: str
    plan_sha256: str
    selected: tuple[str, ...] | None  # step ids; None: every case
    mode: str
    guided: bool  # people are asked
    tester: str  # who has the run now
    by_people: frozenset[Key]  # boxes that a person declares the verdict of


@dataclass(frozen=True, slots=True)
class HalfDone:
    """An attempt without an end."""

    step: str
    target: str
    attempt: int
    judged: bool  # its verdict had been proposed: nothing but its end is missing


def began(events: Sequence[Event], *, file: str = "") -> Began:
    """Return what the run of *events* began with.

    Raises:
        InputError: it has no beginning, or a newer program wrote it.
    """
    if not events or events[0].type != BEGAN:
        raise InputError("no run starts in this journal", file=file, fix="begin a new run")
    fields = Fields.of(events[0])
    schema = fields.whole("schema")
    if schema > SCHEMA:
        why = f"written by a newer program (this one reads schema {SCHEMA})"
        fix = "use the program that wrote it"
        raise InputError(why, file=file, field="schema", value=schema, fix=fix)
    site, plan = fields.inner("site"), fields.inner("plan")
    everything = fields.values.get("selected") is None
    return Began(
        run=fields.text("run"),
        site_file=site.text("file"),
        site_sha256=site.text("sha256"),
        site_folder=site.text("folder"),
        settings=site.texts("settings"),
        plan_id=f"{plan.text('id')} {plan.text('version')}",
        plan_sha256=plan.text("sha256"),
        selected=None if everything else fields.texts("selected"),
        mode=fields.text("mode"),
        guided=fields.values.get("guided") is True,
        tester=who_tests(events),
        by_people=_by_people(fields),
    )


def _by_people(fields: Fields) -> frozenset[Key]:
    """Return the boxes that a person judges: none, unless the run is guided."""
    if fields.values.get("guided") is not True:
        return frozenset()
    rows = (row for form in fields.inners("forms") for row in form.inners("rows"))
    return frozenset(
        (row.raw("step"), row.raw("target"))
        for row in rows
        if row.text("mode") != Mode.AUTOMATIC.value
    )


def who_tests(events: Iterable[Event]) -> str:
    """Return who has the run: who it was handed to last, or who the site file names."""
    tester = ""
    for event in events:
        if event.type == BEGAN:
            tester = Fields.of(event).inner("people").text("tester")
        elif event.type == HANDOVER:
            tester = Fields.of(event).text("to")
    return tester


def refuse_other(
    known: Began, *, site_sha256: str, site: str, settings: Sequence[str], plan_sha256: str
) -> None:
    """Refuse to go on with another site file, other settings or another plan; says which.

    Raises:
        InputError: one of the three is not what the run began with.
    """
    fix = f"go on with what run {known.run} began with, or begin a new run"
    if site_sha256 != known.site_sha256:
        raise InputError(
            "not the site file that the run began with (its content differs)",
            file=site,
            field="sha256",
            value=site_sha256[:12],
            fix=fix,
        )
    if settings and tuple(settings) != known.settings:
        began_with = ", ".join(known.settings) or "none"
        raise InputError(
            f"not the settings that the run began with ({began_with})",
            field="--set",
            value=", ".join(settings),
            fix=fix,
        )
    if plan_sha256 != known.plan_sha256:
        raise InputError(
            f"the run is of plan {known.plan_id}, which is not the plan of this program",
            field="plan sha256",
            value=plan_sha256[:12],
            fix="use the version of this program that began it",
        )


def half_done(boxes: Boxes, by_people: AbstractSet[Key] = frozenset()) -> tuple[HalfDone, ...]:
    """Return the attempts that never ended, in the order in which their boxes were tried first.

    One of a box *by_people* is judged only when its verdict was declared.
    """
    found = ((key, boxes.latest(key)) for key in boxes.still_open)
    return tuple(
        HalfDone(*key, one.number, judged=_is_judged(key, one, by_people))
        for key, one in found
        if one is not None
    )


def numbers(boxes: Boxes) -> dict[Key, int]:
    """Return the number of the last attempt at each box that was tried."""
    return {key: found[-1].number for key, found in boxes.attempts.items()}


def verdicts(boxes: Boxes, by_people: AbstractSet[Key] = frozenset()) -> dict[Key, Outcome]:
    """Return the verdict of each box that has one: that of its last attempt.

    An attempt that lacks nothing but its end has the verdict that it had proposed.
    """
    known: dict[Key, Outcome] = {}
    for key, attempts in boxes.attempts.items():
        last = attempts[-1]
        is_judged = last.is_open and _is_judged(key, last, by_people)
        found = last.said if is_judged else last.verdict
        if found is not None:
            known[key] = found.outcome
    return known


def _is_judged(key: Key, attempt: Attempt, by_people: AbstractSet[Key]) -> bool:
    """Say whether an open attempt lacks nothing but its end."""
    declared = bool(attempt.declared)  # by `fst declare`, where no person is asked
    return declared or (key not in by_people and attempt.proposed is not None)


def is_left(key: Key, known: dict[Key, Outcome], selected: Sequence[str] | None) -> bool:
    """Say whether a box of the run has no verdict yet."""
    step = key[0]
    named = selected is None or any(within(step, one) for one in selected)
    return named and key not in known


def retests(boxes: Boxes, wanted: Sequence[str], keys: Iterable[Key]) -> frozenset[Key]:
    """Return those of *keys* that *wanted* names: failed, other, suspect, STEP or STEP@TARGET.

    Only a box that has been tried can be tried again.

    Raises:
        InputError: a word that names no box that was tried.
    """
    tried = set(boxes.attempts) & set(keys)
    chosen: set[Key] = set()
    for word in wanted:
        found = tried & _named(boxes, word)
        if not found and word not in (FAILED, OTHER, SUSPECT):
            raise InputError(
                "no box that was tried",
                field="--retest",
                value=word,
                fix=f"use {FAILED}, {OTHER}, {SUSPECT}, a case such as B.3.4 or B.3.1@site1/enum1",
            )
        chosen |= found
    return frozenset(chosen)


def _named(boxes: Boxes, word: str) -> set[Key]:
    known = verdicts(boxes)
    for key in boxes.attempts:  # a re-test that was cut off leaves the verdict before it standing
        stands = boxes.standing(key)
        if key not in known and stands is not None and stands.verdict is not None:
            known[key] = stands.verdict.outcome
    if word == FAILED:
        return {key for key, outcome in known.items() if outcome is Outcome.FAIL}
    if word == OTHER:
        return {key for key, outcome in known.items() if outcome is Outcome.OTHER}
    if word == SUSPECT:
        return set(suspect(boxes, boxes.facts))
    step, _, target = word.partition("@")
    return {key for key in boxes.attempts if within(key[0], step) and target in ("", key[1])}


def within(step_id: str, name: str) -> bool:
    """Say whether *name* is the step, or a part of the plan that it belongs to.

    >>> within("B.3.1", "B.3"), within("B.3.1", "B.3.10")
    (True, False)
    """
    return step_id == name or step_id.startswith(f"{name}.")
