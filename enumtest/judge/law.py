"""Which readings of a profile's hold-down the packets leave, and which questions break them.

Laws: every reading is held to the whole capture, its hold-downs and its turns alike; the ones that
nothing contradicts are left, all of them; with none left, the one that is contradicted least is
what the SBC is accused by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from enumtest.judge.course import Course
from enumtest.judge.evidence import Kind, Step
from enumtest.judge.joins import FOREVER_NS
from enumtest.judge.readings import Reading, holds_calls
from enumtest.judge.states import GUARD_NS, Held, Piece, States, both, held, merged, states
from enumtest.judge.turns import Walk, walked
from enumtest.profiles.profile_groups import AllDown

MAX_WALKS = 32  # of distinct readings; more of them differ in what nobody can see


@dataclass(frozen=True, slots=True)
class Early:
    """A question to a server that was held for certain."""

    row: int
    at_ns: int
    piece: Piece
    all_held: bool  # so was, for certain or perhaps, every other server


@dataclass(frozen=True, slots=True)
class Law:
    """One reading, what each server's states were by it, and what contradicts it."""

    reading: Reading | None  # None: nobody knows the law
    held: tuple[Held, ...]
    states: States
    early: tuple[Early, ...]
    walk: Walk
    wrong: int  # contradictions


@dataclass(frozen=True, slots=True)
class Settled:
    """The readings that are left, the best one first."""

    laws: tuple[Law, ...]
    states: States  # what is known when any of them may be the one
    of: int  # so many readings there were

    @property
    def best(self) -> Law:
        """Return the reading that the SBC is judged by."""
        return self.laws[0]


def settle(
    course: Course, steps: Sequence[Sequence[Step]], readings: tuple[Reading, ...] | None
) -> Settled:
    """Return the readings that the packets leave."""
    if not holds_calls(course.profile):
        distinct: dict[tuple[Held, ...], Reading | None] = {(Held((), ()),) * course.size: None}
    elif readings is None:
        distinct = {_lawless(steps): None}
    else:
        distinct = {}
        for reading in readings:
            distinct.setdefault(tuple(held(own, reading, course) for own in steps), reading)
    asked_early = {
        own: _all_early(course, own) if reading else [] for own, reading in distinct.items()
    }
    found: list[Law] = []
    least = 1 << 62
    for own in sorted(distinct, key=lambda one: len(asked_early[one])):
        early = asked_early[own]
        if len(early) > least or len(found) >= MAX_WALKS:
            break
        known = states(course, own)
        walk = walked(course, known)
        # At the servers' taps a wrong turn proves nothing.
        wrong = len(early) + (len(walk.wrong) if course.at_sbc else 0)
        law = Law(distinct[own], own, known, tuple(early), walk, wrong)
        found.append(law)
        least = min(least, law.wrong)
    laws = tuple(law for law in found if law.wrong == least)
    return Settled(laws, both([law.states for law in laws]), len(readings or ()))


def _lawless(steps: Sequence[Sequence[Step]]) -> tuple[Held, ...]:
    """Return "maybe held" from each failure on: nobody knows for how long."""
    found = []
    for own in steps:
        failed = [step for step in own if step.kind is Kind.FAILURE]
        ends = [*(step.low_ns for step in failed[1:]), FOREVER_NS][: len(failed)]
        pieces = (
            Piece(step.low_ns, max(end, step.high_ns), FOREVER_NS, step)
            for step, end in zip(failed, ends, strict=True)
        )
        found.append(Held((), tuple(pieces)))
    return tuple(found)


def _all_early(course: Course, law: Sequence[Held]) -> list[Early]:
    """Return the questions to held servers, in order of time, the excusable ones left out."""
    found = [one for server in range(course.size) for one in _early(course, server, law)]
    return sorted(found, key=lambda one: one.at_ns)


def _early(course: Course, server: int, law: Sequence[Held]) -> list[Early]:
    turns = course.turns_of(server)
    times = course.first_ns[turns]
    unexcused = course.known("all_down") and course.profile.all_down is not AllDown.ASK_ANYWAY
    others = {
        other: merged((one.from_ns, one.until_ns) for one in own.maybe)
        for other, own in enumerate(law)
        if other != server
    }
    found = []
    for piece in law[server].sure:
        fresh = piece.step is not None and piece.from_ns == piece.step.high_ns
        # At a tap, what was open when the server failed may be seen for the first time later.
        guard_ns = GUARD_NS if course.at_sbc else course.blur_ns(-1) + course.soon_ns
        start_ns = piece.from_ns + guard_ns * fresh
        low, high = np.searchsorted(times, [start_ns, piece.until_ns])
        for row in turns[low:high].tolist():
            if course.is_ambiguous(row):  # it may be a question that was open before
                continue
            at_ns, tried = int(course.first_ns[row]), course.tried(row)
            nobody = all(other in tried or span.place(at_ns) >= 0 for other, span in others.items())
            if unexcused or not nobody:
                found.append(Early(row, at_ns, piece, nobody))
    return found
