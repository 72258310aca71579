"""When each server was held down, as far as the packets and the profile let anybody know.

    steps of a server ─▶ the law of `enumtest.sbc.health`, at its shortest and at its longest
                     ─▶ surely held (both), maybe held (one), in service (neither)

Laws: the law is the one that the simulated SBC runs; a time is never taken to be exact; what was
before the capture is unknown for as long as the longest hold-down; a server that was asked is held
no more, unless the SBC asks held servers when none is left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from enumtest.judge.course import Course
from enumtest.judge.evidence import Kind, Step
from enumtest.judge.joins import FOREVER_NS, TIMER_NS, Tolerance
from enumtest.judge.readings import Reading, holds_calls
from enumtest.profiles.profile_groups import AllDown, HoldDown, Readmission, ReadmitBy
from enumtest.sbc.health import ServerHealth
from enumtest.traffic.hop_table import NOT_SEEN
from harness.packets.capture import Ints

GUARD_NS = TIMER_NS  # calls that looked for a server while a hold-down began


class State(IntEnum):
    """What is known of a server at a time."""

    IN_SERVICE = 0
    MAYBE = 1
    HELD = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A time of one state, and the step that began it."""

    from_ns: int
    until_ns: int
    due_ns: int  # when it would have ended if nothing else had happened
    step: Step | None


@dataclass(slots=True)
class Edge(ServerHealth):
    """The law with its times drawn out or in, so that one side of the tolerance is sure."""

    def until_ns(self) -> int:
        """Return until when the server is held: 0 when it is not, or without end."""
        if self._stage is None:
            return 0
        if self._by_probes or self._since_ns is None:
            return FOREVER_NS
        return self._since_ns + self._stage.length_ns


def edges(law: HoldDown, readmission: Readmission, tolerance: Tolerance) -> tuple[Edge, Edge]:
    """Return the least and the most that a server can be held."""

    def drawn(sign: int) -> HoldDown:
        stages = tuple(
            replace(
                stage,
                length_ns=max(0, stage.length_ns + sign * tolerance.length_ns(stage.length_ns)),
                window_ns=stage.window_ns
                and stage.window_ns + sign * tolerance.length_ns(stage.window_ns),
            )
            for stage in law.stages
        )
        return replace(law, stages=stages)

    return Edge(drawn(-1), readmission), Edge(drawn(1), readmission)


@dataclass(frozen=True, slots=True)
class Held:
    """When one server was held by one reading: for certain, and perhaps."""

    sure: tuple[Piece, ...]
    maybe: tuple[Piece, ...]


def held(steps: Sequence[Step], reading: Reading, course: Course) -> Held:
    """Return when a server was held by *reading*."""
    least, most = edges(reading.hold_down, course.profile.readmission, course.tolerance)
    if not course.at_sbc:  # how many failures there were, the taps cannot tell for certain
        first = least.hold_down.stages[0]
        stages = tuple(replace(one, length_ns=first.length_ns) for one in least.hold_down.stages)
        least = Edge(replace(least.hold_down, stages=stages), course.profile.readmission)
    sure: list[Piece] = []
    maybe: list[Piece] = []
    cause: Step | None = None
    for at, step in enumerate(steps):
        if step.kind is Kind.FAILURE and step.event in reading.counted:
            cause = step
            maybe.append(Piece(step.low_ns, step.high_ns, step.high_ns, step))
        _take(least, most, step, reading)
        until_ns = steps[at + 1].high_ns if at + 1 < len(steps) else FOREVER_NS
        one_ns, two_ns = sorted((least.until_ns(), most.until_ns()))
        if (end_ns := min(one_ns, until_ns)) > step.high_ns:
            sure.append(Piece(step.high_ns, end_ns, one_ns, cause))
        if (end_ns := min(two_ns, until_ns)) > step.high_ns:
            maybe.append(Piece(step.high_ns, end_ns, two_ns, cause))
    return Held(tuple(sure), tuple(maybe))


def _take(least: Edge, most: Edge, step: Step, reading: Reading) -> None:
    """Let both edges take *step*, an unsure one only on the side that it makes unsure."""
    at_ns, was_held = step.high_ns, least.until_ns() > step.low_ns
    least.is_held(at_ns)
    most.is_held(at_ns)
    match step.kind:
        case Kind.FAILURE if step.event in reading.counted:
            # Whether a failure of a held server makes the time begin anew, no profile says.
            if step.sure and not was_held:
                least.on_failure(step.low_ns)
            most.on_failure(at_ns)
        case Kind.FAILURE:
            least.on_answer(at_ns)
        case Kind.ANSWER | Kind.LATE:
            late = step.kind is Kind.LATE
            least.on_answer(at_ns, late=late)
            if step.sure:
                most.on_answer(at_ns, late=late)
        case Kind.PROBE_REPLY:
            least.on_probe_reply()
            if step.sure:
                most.on_probe_reply()
        case Kind.PROBE_LOST:
            least.on_probe_lost()
            most.on_probe_lost()
        case Kind.CALL:
            least.call_came(step.low_ns)
            most.call_came(at_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """Intervals in order of time that do not overlap."""

    starts: Ints
    ends: Ints

    def spans(self) -> list[tuple[int, int]]:
        """Return them as pairs."""
        return list(zip(self.starts.tolist(), self.ends.tolist(), strict=True))

    def place(self, at_ns: int) -> int:
        """Return which of them holds that time, or -1."""
        found = int(np.searchsorted(self.starts, at_ns, side="right")) - 1
        return found if found >= 0 and at_ns < self.ends[found] else -1

    def hold(self, times_ns: Ints) -> npt.NDArray[np.bool_]:
        """Say which of *times_ns* lie in one of them."""
        if not len(self.starts):
            return np.zeros(len(times_ns), np.bool_)
        found = np.searchsorted(self.starts, times_ns, side="right") - 1
        return (found >= 0) & (times_ns < self.ends[np.maximum(found, 0)])


def merged(spans: Iterable[tuple[int, int]]) -> Times:
    """Return the union of *spans*."""
    starts: list[int] = []
    ends: list[int] = []
    for from_ns, until_ns in sorted(spans):
        if until_ns <= from_ns:
            continue
        if ends and from_ns <= ends[-1]:
            ends[-1] = max(ends[-1], until_ns)
        else:
            starts.append(from_ns)
            ends.append(until_ns)
    return Times(np.array(starts, np.int64), np.array(ends, np.int64))


def common(times: Sequence[Times]) -> Times:
    """Return what lies in all of *times*."""
    found = times[0]
    for other in times[1:]:
        spans = []
        for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True):
            low = int(np.searchsorted(other.ends, start, side="right"))
            high = int(np.searchsorted(other.starts, end, side="left"))
            spans += [
                (max(start, int(other.starts[at])), min(end, int(other.ends[at])))
                for at in range(low, high)
            ]
        found = merged(spans)
    return found


def united(times: Iterable[Times]) -> Times:
    """Return what lies in any of *times*."""
    return merged(
        span for one in times for span in zip(one.starts.tolist(), one.ends.tolist(), strict=True)
    )


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """The state of every server at any time."""

    sure: tuple[Times, ...]  # by server: when it is held for certain
    doubt: tuple[Times, ...]  # … and when it is not in service for certain

    def of(self, server: int, at_ns: int) -> State:
        """Return what is known of *server* at that time."""
        if self.doubt[server].place(at_ns) < 0:
            return State.IN_SERVICE
        return State.MAYBE if self.sure[server].place(at_ns) < 0 else State.HELD

    def all_of(self, at_ns: int) -> list[State]:
        """Return what is known of each server at that time."""
        return [self.of(server, at_ns) for server in range(len(self.sure))]

    def codes(self, times_ns: Ints) -> Ints:
        """Return, for each time, the states of all servers as one number of digits 0 to 2."""
        found = np.zeros(len(times_ns), np.int64)
        for sure, doubt in zip(reversed(self.sure), reversed(self.doubt), strict=True):
            in_doubt = doubt.hold(times_ns)
            found = found * len(State) + in_doubt + (in_doubt & sure.hold(times_ns))
        return found


def decoded(code: int, size: int) -> tuple[State, ...]:
    """Return the states that a number of `States.codes` stands for."""
    return tuple(State(code // len(State) ** server % len(State)) for server in range(size))


def states(course: Course, law: Sequence[Held]) -> States:
    """Return the states by one reading, with what the capture's start leaves open."""
    uncut = [merged((one.from_ns, one.until_ns) for one in own.maybe) for own in law]
    sure, doubt = [], []
    for server, own in enumerate(law):
        others = [times for other, times in enumerate(uncut) if other != server]
        asked = _asked_in_service(course, server, others)
        spans = [(one.from_ns, _cut(asked, one)) for one in own.maybe]
        spans += [(one.from_ns, one.until_ns) for one in own.sure]
        doubt.append(merged([*spans, _before(course, server)]))
        sure.append(merged((one.from_ns, one.until_ns) for one in own.sure))
    return States(tuple(sure), tuple(doubt))


def _asked_in_service(course: Course, server: int, others: Sequence[Times]) -> Ints:
    """Return when *server* was asked as one that is not held.

    An SBC that asks held servers when none is left says nothing by it while all may be held.
    """
    asked = course.first_ns[course.turns_of(server)]
    if course.profile.all_down is not AllDown.ASK_ANYWAY and course.known("all_down"):
        return asked
    nobody = np.ones(len(asked), np.bool_)
    for times in others:
        nobody &= times.hold(asked)
    return asked[~nobody]


def _cut(asked: Ints, piece: Piece) -> int:
    """Return when a "maybe" ends: a server that is asked is held no more."""
    if piece.step is not None and piece.from_ns < piece.step.high_ns:  # the failure may be later
        return piece.until_ns
    place = int(np.searchsorted(asked, piece.from_ns + GUARD_NS))
    return min(piece.until_ns, int(asked[place])) if place < len(asked) else piece.until_ns


def _before(course: Course, server: int) -> tuple[int, int]:
    """Return for how long a hold-down from before the capture may leave *server* alone."""
    if not holds_calls(course.profile):
        return (0, 0)
    turns = course.turns_of(server)
    well = turns[course.answered[turns]]
    until_ns = min(FOREVER_NS, course.begins_ns + longest_ns(course), _probed_ns(course, server))
    if course.known("all_down") and course.profile.all_down is not AllDown.ASK_ANYWAY:
        well = turns
    return (0, min(until_ns, int(course.first_ns[well[0]])) if len(well) else until_ns)


def _probed_ns(course: Course, server: int) -> int:
    """Return when probes have brought *server* back, whatever was before the capture."""
    readmission, hops, replies = course.profile.readmission, course.hops, 0
    if readmission.by is not ReadmitBy.PROBES or not course.known("readmission.by"):
        return FOREVER_NS
    if not course.known("readmission.replies"):
        return FOREVER_NS
    for row in course.probes[hops.server[course.probes] == server].tolist():
        replies = replies + 1 if hops.answered_ns[row] != NOT_SEEN else 0
        if replies == readmission.replies:
            return int(hops.answered_ns[row])
    return FOREVER_NS


def both(several: Sequence[States]) -> States:
    """Return what is known when any of *several* may be so."""
    if len(several) == 1:
        return several[0]
    size = range(len(several[0].sure))
    return States(
        tuple(common([one.sure[server] for one in several]) for server in size),
        tuple(united(one.doubt[server] for one in several) for server in size),
    )


def longest_ns(course: Course) -> int:
    """Return how long a server can be held at the most, the tolerance included."""
    stages, readmission = course.profile.hold_down.stages, course.profile.readmission
    known = all(course.known(f"hold_down.stages.{at}.length_ns") for at in range(len(stages)))
    if readmission.by is ReadmitBy.PROBES or not known or not course.known("readmission.by"):
        return FOREVER_NS
    length_ns = max(stage.length_ns for stage in stages)
    return length_ns + course.tolerance.length_ns(length_ns)
