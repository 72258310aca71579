"""Rulings on hold-downs: that they begin, that they are kept, and that they end in time."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from enumtest.judge_course import Course
from enumtest.judge_evidence import Kind, Step
from enumtest.judge_joins import FOREVER_NS, NS
from enumtest.judge_law import Early, Settled
from enumtest.judge_states import merged
from enumtest.profile_groups import Event, ReadmitBy
from enumtest.readings import holds_calls
from enumtest.ruling import MAX_CITED, Measured, Ruling, Span
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
    for one in law.best.early:
        for rule in _rules(held, one):
            by_rule.setdefault(rule, []).append(one)
    for rule, found in by_rule.items():
        yield _early(held, rule, found)
    for rule in ("hold-down.begins", "hold-down.kept"):
        if rule not in by_rule:
            yield _kept(held, rule)
    by_time = course.profile.readmission.by is ReadmitBy.TIME
    rule = "readmission.by-time" if by_time else "readmission.by-probes"
    if rule not in by_rule:
        yield _back(held, rule)


def _rules(held: Holds, one: Early) -> tuple[str, ...]:
    """Return which rules a question to a held server breaks."""
    if one.all_held:
        return ("all-down.treatment",)
    if held.course.profile.readmission.by is ReadmitBy.PROBES:
        return ("hold-down.kept", "readmission.by-probes")
    step = one.piece.step
    begun_ns = one.piece.from_ns if step is None else step.low_ns
    share = (one.at_ns - begun_ns) / max(1, one.piece.due_ns - begun_ns)
    soon = "hold-down.begins" if share < SOON else "readmission.by-time"
    if soon == "hold-down.begins" and step is not None and step.event is not Event.SILENCE:
        return ("hold-down.kept", soon, f"reaction.counts.{step.event}")
    return ("hold-down.kept", soon)


def _early(held: Holds, rule: str, found: Sequence[Early]) -> Ruling:
    course, one = held.course, found[0]
    name = course.hops.servers[int(course.hops.server[one.row])]
    step = one.piece.step
    since = "" if step is None else f" {(one.at_ns - step.low_ns) / NS:.3f} s after its failure"
    words = f"{len(found)} questions to a held server; the first at {course.seconds(one.at_ns)}"
    words += since
    rows = [other.row for other in found[: MAX_CITED - 1]]
    cause = [] if step is None or step.row < 0 else [step.row]
    cites = course.hops.cites([rows[0], *cause, *rows[1:]])
    outcome = Outcome.OTHER if course.gaps else Outcome.FAIL
    expected = {
        "all-down.treatment": "with every server held, none is asked",
        "hold-down.begins": f"{name} is left alone after the failures that the profile sets",
        "readmission.by-time": f"{name} is not asked before its hold-down is over",
        "readmission.by-probes": f"{name} is not asked before the probes' replies",
    }.get(rule, f"{name} is not asked while it is held")
    return Ruling(rule, outcome, expected, words, name, cites, one.at_ns)


def _episodes(held: Holds) -> list[tuple[int, Step, int | None]]:
    """Return server, failure and first question afterwards (a row) of each hold-down."""
    course, found = held.course, []
    for server, states in enumerate(held.law.best.held):
        turns = course.turns_of(server)
        times = course.first_ns[turns]
        causes = dict.fromkeys(piece.step for piece in states.sure if piece.step is not None)
        for step in causes:
            place = int(np.searchsorted(times, step.high_ns, side="right"))
            found.append((server, step, int(turns[place]) if place < len(turns) else None))
    return found


def _kept(held: Holds, rule: str) -> Ruling:
    expected = "a server that failed is left alone for its hold-down"
    course, passed = held.course, 0
    episodes = _episodes(held)
    for server, step, back in episodes:
        until_ns = course.ends_ns if back is None else int(course.first_ns[back])
        firsts = course.first_ns[course.firsts]
        passed += int(np.searchsorted(firsts, until_ns) - np.searchsorted(firsts, step.high_ns))
        _ = server
    if passed < course.size:
        words = f"{len(episodes)} hold-downs, {passed} calls in them"
        return Ruling(rule, Outcome.OTHER, expected, words, needed=course.size - passed)
    words = f"{len(episodes)} hold-downs, {passed} calls went past them"
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
    return Ruling("hold-down.kept", Outcome.OTHER, expected, words)


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
        for step in held.steps[server]:
            place = int(np.searchsorted(times, step.high_ns, side="right"))
            if step.kind is Kind.FAILURE and place < len(times):
                lengths.append((int(times[place]) - step.low_ns) / NS)
                rows.append(int(turns[place]))
        low, high = (min(lengths), max(lengths)) if lengths else (None, None)
        cites = course.hops.cites(rows[:MAX_CITED])
        yield Measured(f"left alone after a failure: {name}", "s", low, high, len(lengths), cites)
