"""What a customer wants on one page: the result in words, and everything that is not PASS."""

from collections.abc import Iterable
from dataclasses import dataclass

from fst.acceptance import Standing, Word, stand
from fst.report.model import BoxState, Form, Report, Row
from fst.verdict import EXIT_FAIL, EXIT_PASS

REHEARSAL_WARNING = "REHEARSAL: simulated parts, scaled waits; can be neither accepted nor signed"
LAB_WARNING = "LAB RUN: simulated parts, scaled waits; not evidence about a customer's system"

_NEEDS_WORDS = (BoxState.FAIL, BoxState.OTHER, BoxState.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Overall:
    """The result of a run: one word, and sentences that say what it rests on."""

    word: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exemption:
    """Boxes that are not PASS for the same reason."""

    state: BoxState
    steps: tuple[str, ...]
    places: tuple[str, ...]  # forms, or how many when it is all of a part
    words: str
    evidence: int | None  # number of the evidence that shows it


@dataclass(frozen=True, slots=True)
class Matrix:
    """Forms by steps of one part of the plan; a cell is None where a form has no such box."""

    part: str
    steps: tuple[str, ...]
    lines: tuple[tuple[int, str, tuple[Row | None, ...]], ...]  # number, title, cells


@dataclass(frozen=True, slots=True)
class Reading:
    """How an unclear place of the plan was read, and for which steps."""

    note: str
    steps: tuple[str, ...]


def warning(report: Report) -> str:
    """Return the line that stands on every page of a run that is no evidence, else ""."""
    mark = report.run.watermark
    return {"LAB": LAB_WARNING, "REHEARSAL": REHEARSAL_WARNING}.get(mark, mark)


def overall(report: Report) -> Overall:
    """Return PASS, ACCEPTED, FAIL, NOT COMPLETE or NOT DECIDED, with the sentences under it.

    The plan asks for every box: while one is empty, no number of PASSes makes the whole a PASS.
    PASS is clean; with caveats or OTHERs that the customer accepted, all of them, it is ACCEPTED.
    """
    totals, standing = report.totals, stand(report)
    word = _word(report, standing)
    judged = sum(totals[state] for state in (BoxState.PASS, BoxState.FAIL, BoxState.OTHER))
    told = [f"{totals[BoxState.PASS]} of the {judged} boxes that have a verdict are PASS"]
    told += [
        f"{_boxes(totals[state])} {'is' if totals[state] == 1 else 'are'} {state}"
        for state in (BoxState.FAIL, BoxState.OTHER)
        if totals[state]
    ]
    sentences = ["; ".join(told) + "."]
    not_run = sum(row.selected and row.state is BoxState.NOT_RUN for row in report.boxes)
    if not_run:
        sentences.append(f"{_boxes(not_run)} of this run have no verdict: see below.")
    if waiting := totals[BoxState.WAITING]:
        sentences.append(f"{_boxes(waiting)} still to be judged by a person.")
    if left := sum(row.state is BoxState.NOT_RUN and not row.selected for row in report.boxes):
        sentences.append(f"{_boxes(left)} not selected for this run.")
    if loose := sum(not each.boxes for each in report.evidence):
        sentences.append(f"Cases tried that fill no box of these forms: {loose}.")
    sentences += _reservations(standing)
    if report.run.ended_ns is None:
        sentences.append("The run did not come to its end: what follows is what was recorded.")
    return Overall(word, tuple(sentences))


def _word(report: Report, standing: Standing) -> str:
    code, totals = report.exit_code(), report.totals
    if standing.word is Word.ACCEPTED and standing.accepted:
        return "ACCEPTED"
    word = {EXIT_PASS: "PASS", EXIT_FAIL: "FAIL"}.get(code, "NOT DECIDED")
    if word != "PASS":
        return word
    if standing.unaccepted or standing.suspect:
        return "NOT DECIDED"
    empty = totals[BoxState.WAITING] or totals[BoxState.NOT_RUN] or report.run.open_debts
    return "NOT COMPLETE" if empty else word


def _reservations(standing: Standing) -> list[str]:
    """Return what stands between a run and its acceptance, beside FAILs and empty boxes."""
    said = []
    if standing.accepted:
        count = _cases(len(standing.accepted))
        said.append(f"The customer accepted {count} with caveats or OTHER.")
    if standing.unaccepted:
        count = _cases(len(standing.unaccepted))
        said.append(f"{count} with caveats, OTHER or a disagreement: not accepted by the customer.")
    if standing.suspect:
        count = _cases(len(standing.suspect))
        said.append(f"{count} suspect, because a host was changed later: see below.")
    said += [f"{each[0].upper()}{each[1:]}." for each in standing.formal if "undone" in each]
    return said


def exemptions(report: Report) -> tuple[Exemption, ...]:
    """Return everything that is not PASS: FAIL first, then OTHER, N/A, and the empty boxes."""
    order = list[BoxState](BoxState)
    groups: dict[tuple[BoxState, str, str, int | None], list[tuple[str, Form]]] = {}
    for form in report.forms:
        for row in form.rows:
            if row.state is BoxState.PASS or not row.counts:
                continue
            own = row.state in _NEEDS_WORDS
            number = row.evidence.number if row.evidence else None
            key = (row.state, row.words, row.step if own else "", number)
            groups.setdefault(key, []).append((row.step, form))
    found = [
        Exemption(
            state,
            tuple(dict.fromkeys(step for step, _ in members)),
            _places(report, {form.number: form for _, form in members}),
            words,
            number,
        )
        for (state, words, _, number), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda each: order.index(each.state)))


def matrices(report: Report) -> tuple[Matrix, ...]:
    """Return one table for each part of the plan, in the order of the forms."""
    return tuple(
        _matrix(report, part) for part in dict.fromkeys(form.part for form in report.forms)
    )


def readings(report: Report) -> tuple[Reading, ...]:
    """Return the notes on how the plan was read, each once."""
    steps: dict[str, dict[str, None]] = {}
    for form in report.forms:
        for row in form.rows:
            for note in row.notes:
                steps.setdefault(note, {})[row.step] = None
    return tuple(Reading(note, tuple(found)) for note, found in steps.items())


def _places(report: Report, members: dict[int, Form]) -> tuple[str, ...]:
    """Return the forms by id and title, or few words for all forms of a part."""
    for part in dict.fromkeys(form.part for form in report.forms):
        whole = [form.number for form in report.forms if form.part == part]
        if list(members) == whole and len(whole) > 1:
            return (f"all {len(whole)} forms of part {part}",)
    return tuple(f"{form.id} {form.title}" for form in members.values())


def _matrix(report: Report, part: str) -> Matrix:
    forms = [form for form in report.forms if form.part == part]
    boxes = [row for form in forms for row in form.rows if row.counts]
    steps = tuple(dict.fromkeys(row.step for row in boxes))
    lines = tuple(
        (form.number, form.title, tuple(_cell(form.rows, step) for step in steps)) for form in forms
    )
    return Matrix(part, steps, lines)


def _cell(rows: Iterable[Row], step: str) -> Row | None:
    return next((row for row in rows if row.step == step and row.counts), None)


def _cases(count: int) -> str:
    return f"{count} case" if count == 1 else f"{count} cases"


def _boxes(count: int) -> str:
    return f"{count} box" if count == 1 else f"{count} boxes"
