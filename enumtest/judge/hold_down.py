"""Rulings on hold-downs: that they begin, that they are kept, and that they end in time."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from enumtest.judge.course import Course
from enumtest.judge.evidence import Kind, Step
from enumtest.judge.joins import FEW, FOREVER_NS, NS
from enumtest.judge.law import Early, Settled
from enumtest.judge.readings import holds_calls
from enumtest.judge.ruling import MAX_CITED, Measured, Note, Ruling, Span
from enumtest.judge.states import merged
from enumtest.profiles.profile_groups import Event, ReadmitBy
from harness.finding import Outcome

SOON = 0.5  # of a hold-down: who asks again before that has not begun one


@dataclass(frozen=True, slots=True)
class Holds:
    """What the rulings about hold-downs are made from."""

    course: Course
    steps: Sequence[Sequence[Step]]
    law: Settled


def rulings(held: Holds) -> Iterator[Ruling]:
    """Yield a ruling on every rule about hold-downs."""
    course, law = held.course, held.law
    if not holds_calls(course.profile):
        return
    if law.best.reading is None:
        yield _unknown(held)
        return
    by_rule: dict[str, list[Early]] = {}
    by_step: dict[tuple[int, Step | None], str] = {}  # one deed, one rule: the first question's
    for one in law.best.early:
        key = int(course.hops.server[one.row]), one.piece.step
        rule = "all-down.treatment" if one.all_held else by_step.setdefault(key, _rule(held, one))
        by_rule.setdefault(rule, []).append(one)
    for rule, found in by_rule.items():
        yield _early(held, rule, found)
    if not any(rule.startswith(("hold-down.", "reaction.")) for rule in by_rule):
        yield _kept(held, "hold-down.kept")
    by_time = course.profile.readmission.by is ReadmitBy.TIME
    rule = "readmission.by-time" if by_time else "readmission.by-probes"
    if rule not in by_rule:
        yield _back(held, rule)


def _rule(held: Holds, one: Early) -> str:
    """Return which rule a question to a held server breaks.

    One that had just failed was never left alone; one that was comes back at the wrong time.
    """
    course, step = held.course, one.piece.step
    begun_ns = one.piece.from_ns if step is None else step.low_ns
    if course.profile.readmission.by is ReadmitBy.PROBES:
        low, high = np.searchsorted(course.first_ns[course.firsts], [begun_ns, one.at_ns])
        return "hold-down.kept" if high - low <= course.size else "readmission.by-probes"
    if (one.at_ns - begun_ns) >= SOON * (one.piece.due_ns - begun_ns):
        return "readmission.by-time"
    errors = step is not None and step.event is not Event.SILENCE
    return f"reaction.counts.{step.event}" if step and errors else "hold-down.kept"


def _early(held: Holds, rule: str, found: Sequence[Early]) -> Ruling:
    course, one = held.course, found[0]
    name = course.hops.servers[int(course.hops.server[one.row])]
    step = one.piece.step
    since = "" if step is None else f", {(one.at_ns - step.low_ns) / NS:.3f} s after its failure"
    words = f"{len(found)} question{'s' * (len(found) != 1)} to a held server; "
    words += f"the first at {course.seconds(one.at_ns)}{since}"
    rows = [other.row for other in found[: MAX_CITED - 1]]
    cause = [] if step is None or step.row < 0 else [step.row]
    cites = course.hops.cites([rows[0], *cause, *rows[1:]])
    few = not course.at_sbc and len(found) < FEW  # a packet lost behind the tap may excuse it
    few |= len(found) == 1 and _answered_since(course, one)
    outcome = Outcome.OTHER if course.gaps or few else Outcome.FAIL
    expected = {
        "all-down.treatment": "with every server held, none is asked",
        "readmission.by-time": f"{name} is not asked before its hold-down is over",
        "readmission.by-probes": f"{name} is not asked before the probes' replies",
    }.get(rule, f"{name} is not asked while it is held")
    return Ruling(rule, outcome, expected, words, name, cites, one.at_ns)


def _answered_since(course: Course, one: Early) -> bool:
    """Say whether an answer came since the failure, and nobody knows what answers end."""
    hops, rows = course.hops, course.rows_at(int(course.hops.server[one.row]))
    since_ns = one.piece.from_ns if one.piece.step is None else one.piece.step.low_ns
    times = np.concatenate([hops.answered_ns[rows], hops.late_ns[rows]])
    return course.open_under("hold_down.", "reactions.") and bool(
        ((times > since_ns) & (times < one.at_ns)).any()
    )


def _episodes(held: Holds) -> list[tuple[int, Step, int | None]]:
    """Return server, failure and first question afterwards (a row) of each hold-down.

    Failures that were one hold-down, of questions that were open together, count once.
    """
    course = held.course
    found: dict[tuple[int, int | None], tuple[int, Step, int | None]] = {}
    for server, states in enumerate(held.law.best.held):
        turns = course.turns_of(server)
        times = course.first_ns[turns]
        causes = dict.fromkeys(piece.step for piece in states.sure if piece.step is not None)
        for step in causes:
            place = int(np.searchsorted(times, step.high_ns, side="right"))
            back = int(turns[place]) if place < len(turns) else None
            found.setdefault((server, back), (server, step, back))
    return list(found.values())


def _kept(held: Holds, rule: str) -> Ruling:
    expected = "a server that failed is left alone for its hold-down"
    course = held.course
    episodes, firsts = _episodes(held), course.first_ns[course.firsts]
    spans = merged(
        (step.high_ns, course.ends_ns if back is None else int(course.first_ns[back]))
        for _, step, back in episodes
    )
    passed = int(spans.hold(firsts).sum())
    words = f"{len(episodes)} hold-down{'s' * (len(episodes) != 1)}, {passed} calls "
    if passed < course.size:
        words += "in them" if len(episodes) != 1 else "in it"
        return Ruling(rule, Outcome.OTHER, expected, words, needed=course.size - passed)
    words += "went past them" if len(episodes) != 1 else "went past it"
    cites = course.hops.cites([step.row for _, step, _ in episodes[:MAX_CITED]])
    return Ruling(rule, Outcome.PASS, expected, words, cites=cites)


def _back(held: Holds, rule: str) -> Ruling:
    course = held.course
    expected = "a server is asked again when its hold-down is over, and not before"
    back = [(step, row) for _, step, row in _episodes(held) if row is not None]
    if not back:
        words = "no hold-down ended in the capture"
        return Ruling(rule, Outcome.OTHER, expected, words, needed=course.size + 1)
    lengths = [(int(course.first_ns[row]) - step.low_ns) / NS for step, row in back]
    words = f"1 return, after {lengths[0]:.3f} s"
    if len(back) > 1:
        words = f"{len(back)} returns, after {min(lengths):.3f} s to {max(lengths):.3f} s"
    cites = course.hops.cites([row for _, row in back[:MAX_CITED]])
    return Ruling(rule, Outcome.PASS, expected, words, cites=cites)


def _unknown(held: Holds) -> Ruling:
    course = held.course
    lengths = []
    for server, own in enumerate(held.steps):
        times = course.first_ns[course.turns_of(server)]
        for step in own:
            place = int(np.searchsorted(times, step.high_ns, side="right"))
            if step.kind is Kind.FAILURE and place < len(times):
                lengths.append((int(times[place]) - step.low_ns) / NS)
    words = "no failure was seen"
    if lengths:
        words = f"after a failure a server was left alone for {min(lengths):.3f} s "
        words += f"to {max(lengths):.3f} s"
    expected = "nobody knows how long this SBC leaves a server alone"
    return Note("hold-down.kept", Outcome.OTHER, expected, words)


def spans(held: Holds) -> Iterator[Span]:
    """Yield each server's states in order of time."""
    course = held.course
    for server, name in enumerate(course.hops.servers):
        states = held.law.best.held[server]
        sure = merged((one.from_ns, one.until_ns) for one in states.sure)
        maybe = merged((one.from_ns, one.until_ns) for one in states.maybe)
        causes = sorted(
            (one.step.high_ns, one.step.row) for one in states.maybe if one.step is not None
        )
        marks = {course.begins_ns, course.ends_ns}
        marks.update(*sure.spans(), *maybe.spans())
        inside = sorted(one for one in marks if course.begins_ns <= one <= course.ends_ns)
        last: Span | None = None
        for from_ns, until_ns in pairwise(inside):
            state = "held" if sure.place(from_ns) >= 0 else "in service"
            state = "maybe held" if state != "held" and maybe.place(from_ns) >= 0 else state
            if last is not None and last.state == state:
                last = replace(last, until_ns=until_ns)
                continue
            if last is not None:
                yield last
            at = bisect_right(causes, (from_ns, FOREVER_NS)) - 1
            rows = [causes[at][1]] if state != "in service" and at >= 0 else []
            last = Span(name, state, from_ns, until_ns, course.hops.cites(rows))
        if last is not None:
            yield last


def measured(held: Holds) -> Iterator[Measured]:
    """Yield how long each server was left alone after its failures."""
    course = held.course
    for server, name in enumerate(course.hops.servers):
        turns = course.turns_of(server)
        times = course.first_ns[turns]
        lengths, rows = [], []
        failed = {one.row: one for one in held.steps[server] if one.kind is Kind.FAILURE}
        for step in failed.values():  # what may be one of two failures is one
            place = int(np.searchsorted(times, step.high_ns, side="right"))
            if place < len(times):
                lengths.append((int(times[place]) - step.low_ns) / NS)
                rows.append(int(turns[place]))
        low, high = (min(lengths), max(lengths)) if lengths else (None, None)
        cites = course.hops.cites(rows[:MAX_CITED])
        yield Measured(f"left alone after a failure: {name}", "s", low, high, len(lengths), cites)
