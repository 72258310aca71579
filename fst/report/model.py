"""What a run's journal says, as values that the reports print.

Laws: all of it comes from the journal; every attempt is kept and the latest counts; an attempt that
did not end leaves its box empty; a proposed verdict can be made worse here by the findings that
were recorded under it, and never better.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fst.boxes import AUTOMATIC, Key
from fst.debts import open_debts
from fst.events import refuse_newer
from fst.report.fields import Fields, legible
from fst.report.history import Attempt, History, Timed, gather
from fst.report.incidents import incidents, last_end, testers
from fst.verdict import Judged, exit_code
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import Event, chain

MAX_NS = 253_402_300_799 * 1_000_000_000  # the end of the year 9999, the last that can be written


class BoxState(StrEnum):
    """What is seen in a box of a form."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    OTHER = "OTHER"
    NOT_APPLICABLE = "N/A"
    WAITING = "waits for a person"
    NOT_RUN = "not run"


_OUTCOMES = frozenset({BoxState.PASS, BoxState.FAIL, BoxState.OTHER})


@dataclass(frozen=True, slots=True)
class Evidence:
    """All attempts at one case on one target; a site's case fills a box on several forms."""

    number: int  # from 1, in the order of the forms: the anchor in the reports
    step: str
    target: str
    attempts: tuple[Attempt, ...]
    boxes: tuple[str, ...]  # the forms it fills a box on, by id and title


@dataclass(frozen=True, slots=True)
class Row:
    """One box of a form, with what the plan says and what the run found."""

    box: str
    step: str
    section: str
    text: str
    expected: str
    mode: str
    target: str
    not_applicable: str  # the plan's reason, or ""
    notes: tuple[str, ...]
    selected: bool
    state: BoxState
    words: str
    comments: tuple[Timed, ...]
    evidence: Evidence | None
    suspect: str  # why a later change of a host makes the verdict doubtful, or ""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Return every attempt, oldest first; the last one counts."""
        return self.evidence.attempts if self.evidence else ()

    @property
    def counts(self) -> bool:
        """Say whether it is a box (N/A included) and no mere line of instructions."""
        return bool(self.box or self.not_applicable or self.attempts)

    @property
    def latest(self) -> Attempt | None:
        """Return the attempt that counts."""
        return counting(self.attempts)

    @property
    def accepted(self) -> bool:
        """Say whether the customer accepted the box as it is."""
        return self.latest is not None and self.latest.people.still_accepted

    @property
    def reservations(self) -> tuple[str, ...]:
        """Return why a PASS or an OTHER needs the customer's consent; none: it is a clean PASS."""
        latest = self.latest
        if latest is None or self.state not in _OUTCOMES or self.state is BoxState.FAIL:
            return ()
        found = [f"OTHER: {self.words}"] if self.state is BoxState.OTHER else []
        found += [f"caveat: {each.words}" for each in latest.people.caveats]
        people = latest.people
        found += [f"disagreement: {each.words}" for each in people.disagreements]
        for said in {each.by: each for each in people.witnessed}.values():  # the last of each
            if said.outcome != self.state.value:
                told = f"witness {said.by} says {said.outcome}: {said.words}"
                found.append(told.removesuffix(": "))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the plan: one host, or one site."""

    number: int  # from 1: the anchor in the reports
    id: str
    part: str
    title: str
    site: str
    host: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What was run, where, when, and by whom."""

    id: str
    title: str
    mode: str
    watermark: str
    tool_version: str
    plan_id: str
    plan_version: str
    plan_title: str
    plan_sha256: str
    site_name: str
    site_file: str
    site_sha256: str
    settings: tuple[str, ...]
    tester: str
    witness: str
    customer: str
    selected: tuple[str, ...] | None  # None: every case
    started_ns: int
    ended_ns: int | None  # None: the run did not come to its end
    reason: str
    incidents: tuple[Timed, ...]  # resumed, handed over, repaired, …
    open_debts: tuple[str, ...]  # what was not seen to be undone
    recorded_exit_code: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the reports print."""

    run: Run
    forms: tuple[Form, ...]
    evidence: tuple[Evidence, ...]
    head: str  # hash of the journal's last line
    events: int

    @property
    def boxes(self) -> tuple[Row, ...]:
        """Return every row that counts as a box, in print order."""
        return tuple(row for form in self.forms for row in form.rows if row.counts)

    @property
    def totals(self) -> dict[BoxState, int]:
        """Return how many boxes there are of each state, all states named."""
        states = [row.state for row in self.boxes]
        return {state: states.count(state) for state in BoxState}

    def exit_code(self, *, complete: bool = False) -> int:
        """Return 0, 1 or 3 as `fst.verdict.exit_code` says, for the selected boxes.

        An attempt that fills no box counts like one that does: a FAIL must not hide.
        """
        judged = [
            Judged(
                Outcome(row.state.value) if row.state in _OUTCOMES else None,
                waits_for_person=row.mode != AUTOMATIC,
            )
            for row in self.boxes
            if row.selected and row.state is not BoxState.NOT_APPLICABLE
        ]
        counted = (counting(each.attempts) for each in self.evidence if not each.boxes)
        loose = [Judged(last.outcome if last else None) for last in counted]
        return exit_code([*judged, *loose], complete=complete)


def build(events: Iterable[Event]) -> Report:
    """Return the report of one run's journal.

    Raises:
        InputError: no run.start, more than one, or a field that is not what its event type holds.
    """
    every = tuple(events)
    refuse_newer(every)
    starts = [event for event in every if event.type == "run.start"]
    if len(starts) != 1:
        raise InputError(
            "no run starts in this journal" if not starts else "more than one run starts in it",
            file="journal",
            field="run.start",
            fix="name the folder of one run",
        )
    for event in every:
        if not 0 <= event.at_ns <= MAX_NS:
            raise InputError("not a time", file=f"event {event.seq}", field="at_ns")
    fields = Fields.of(starts[0])
    run = _run(starts[0], every)
    forms, evidence = _Projection(gather(every), run.selected).forms(fields.inners("forms"))
    return Report(run, forms, evidence, chain(every[-1].encode()), len(every))


def _run(start: Event, every: tuple[Event, ...]) -> Run:
    end = last_end(every)
    fields, last = Fields.of(start), Fields.of(end) if end else None
    plan, site, people = (fields.inner(name) for name in ("plan", "site", "people"))
    everything = fields.values.get("selected") is None
    return Run(
        id=fields.text("run"),
        title=fields.text("title"),
        mode=fields.text("mode"),
        watermark=fields.text("watermark"),
        tool_version=fields.text("tool_version"),
        plan_id=plan.text("id"),
        plan_version=plan.text("version"),
        plan_title=plan.text("title"),
        plan_sha256=plan.text("sha256"),
        site_name=site.text("name"),
        site_file=site.text("file"),
        site_sha256=site.text("sha256"),
        settings=site.texts("settings"),
        tester=", then ".join(testers(people.text("tester"), every)),
        witness=people.text("witness"),
        customer=people.text("customer"),
        selected=None if everything else fields.texts("selected"),
        started_ns=start.at_ns,
        ended_ns=end.at_ns if end else None,
        reason=last.text("reason") if last else "the journal has no end of the run",
        incidents=incidents(every),
        open_debts=tuple(legible(debt.words) for debt in open_debts(every)),
        recorded_exit_code=last.whole_or_none("exit_code") if last else None,
    )


class _Projection:
    """The forms of a plan, while they are filled from a history."""

    def __init__(self, history: History, selected: tuple[str, ...] | None) -> None:
        """Start with nothing filled."""
        self._history = history
        self._selected = selected
        self._titles: dict[Key, list[str]] = {}  # forms on which a case fills a box

    def forms(self, found: tuple[Fields, ...]) -> tuple[tuple[Form, ...], tuple[Evidence, ...]]:
        """Return the filled forms, and the evidence in the order in which forms refer to it."""
        for form in found:
            for row in form.inners("rows"):
                key = row.raw("step"), row.raw("target")
                self._titles.setdefault(key, []).append(
                    f"{form.text('id')} {form.text('title')}".strip()
                )
        known = {key: titles for key, titles in self._titles.items() if key in self._attempts}
        loose: dict[Key, list[str]] = {key: [] for key in self._attempts if key not in known}
        evidence = {
            key: Evidence(n, legible(key[0]), legible(key[1]), self._attempts[key], tuple(titles))
            for n, (key, titles) in enumerate((known | loose).items(), 1)
        }
        forms = tuple(self._form(n, form, evidence) for n, form in enumerate(found, 1))
        return forms, tuple(evidence.values())

    @property
    def _attempts(self) -> dict[Key, tuple[Attempt, ...]]:
        return self._history.attempts

    def _form(self, number: int, form: Fields, evidence: dict[Key, Evidence]) -> Form:
        rows = tuple(
            self._row(row, evidence.get((row.raw("step"), row.raw("target"))))
            for row in form.inners("rows")
        )
        identity, part, title = form.text("id"), form.text("part"), form.text("title")
        return Form(number, identity, part, title, form.text("site"), form.text("host"), rows)

    def _row(self, row: Fields, evidence: Evidence | None) -> Row:
        latest = counting(evidence.attempts) if evidence else None
        chosen = self._selected
        step = row.text("step")
        named = chosen is None or any(step == one or step.startswith(f"{one}.") for one in chosen)
        selected = named or latest is not None
        state, words = _state(row, latest, selected=selected)
        return Row(
            box=row.text("box"),
            step=row.text("step"),
            section=row.text("section"),
            text=row.text("text"),
            expected=row.text("expected"),
            mode=row.text("mode"),
            target=row.text("target"),
            not_applicable=row.text("not_applicable"),
            notes=row.texts("notes"),
            selected=selected,
            state=state,
            words=words,
            comments=self._history.comments.get((row.raw("step"), row.raw("target")), ()),
            evidence=evidence,
            suspect=self._history.suspects.get((row.raw("step"), row.raw("target")), ""),
        )


def counting(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """Return the attempt that counts: the last; but a FAIL stands until another one is judged."""
    judged = [one for one in attempts if one.outcome]
    stands = bool(judged) and judged[-1].outcome is Outcome.FAIL
    found = judged if stands else list(attempts)
    return found[-1] if found else None


def _state(row: Fields, latest: Attempt | None, *, selected: bool) -> tuple[BoxState, str]:
    """Return what is seen in a box, and why."""
    if reason := row.text("not_applicable"):
        return BoxState.NOT_APPLICABLE, reason
    if latest and latest.outcome:
        return BoxState(latest.outcome.value), latest.words
    automatic = row.text("mode") == AUTOMATIC
    state = BoxState.NOT_RUN if automatic else BoxState.WAITING
    if latest:
        return state, latest.words
    if not selected:
        return BoxState.NOT_RUN, "not selected for this run"
    return state, "not run" if automatic else "to be judged by a person"
