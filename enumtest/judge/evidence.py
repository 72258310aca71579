"""What a capture shows of each server's health: failures, answers, late answers, probes.

Laws: a failure has the earliest and the latest time at which the SBC can have noticed it; what is
a failure by one reading only says so; answers that change nothing are left out, so that the cost
goes with the failures and not with the calls.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from enumtest.judge.course import Course
from enumtest.judge.joins import OK, SILENT, TIMER_NS, UNKNOWN_WAIT_NS, Bools
from enumtest.judge.readings import Seen
from enumtest.profiles.profile_groups import Event, Then
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN
from harness.packets.capture import Ints

LEAST_WAIT_NS = 500_000_000  # of any SBC for a server
WELL = frozenset({None, Event.NXDOMAIN, Event.NODATA})  # of a server that did its work


class Kind(Enum):
    """What happened to a server, as the SBC can have seen it."""

    FAILURE = auto()
    ANSWER = auto()
    LATE = auto()
    PROBE_REPLY = auto()
    PROBE_LOST = auto()
    CALL = auto()  # a call looked for a server


@dataclass(frozen=True, slots=True)
class Step:
    """One of these; *sure* is False when only one reading of the packets has it."""

    high_ns: int
    kind: Kind
    low_ns: int
    row: int
    event: Event | None = None
    sure: bool = True


def failures(course: Course) -> tuple[tuple[Step, ...], ...]:
    """Return each server's failures in order of time, countable or not; open ones are none."""
    found: list[list[Step]] = [[] for _ in range(course.size)]
    troubled = course.rows[course.hops.event[course.rows] != OK]
    for row in troubled.tolist():
        found[int(course.hops.server[row])] += _failure(course, row)
    for row in _slow(course).tolist():
        begun_ns, high_ns = int(course.first_ns[row]), int(course.hops.answered_ns[row]) + 1
        step = Step(high_ns, Kind.FAILURE, begun_ns, row, Event.SILENCE, sure=False)
        found[int(course.hops.server[row])].append(step)
    return tuple(tuple(sorted(one, key=lambda step: step.high_ns)) for one in found)


def _slow(course: Course) -> Ints:
    """Return the rows whose answers may be late ones, where nobody knows the wait for a server."""
    rows = course.rows[course.hops.event[course.rows] == OK]
    slow: Bools = course.hops.answered_ns[rows] - course.first_ns[rows] >= LEAST_WAIT_NS
    unknown = course.expire_ns is None and course.at_sbc
    found: Ints = rows[slow & unknown]
    return found


def _failure(course: Course, row: int) -> Iterator[Step]:
    """Yield the failure that *row* may be: by its answer, or by the wait that went on after it."""
    event = course.event(row)
    if event is None:
        return
    then = course.profile.reactions[event].then
    known = course.known(f"reactions.{event}.then")
    if event is Event.SILENCE or (known and then is Then.IGNORE):
        yield from _silence(course, row)
        return
    at_ns, after = int(course.hops.answered_ns[row]), int(course.links.after[row])
    again = after >= 0 and course.hops.server[after] == course.hops.server[row]
    if again and event in (Event.TRUNCATED, Event.FORMERR):  # the same server, another way
        return
    on = course.next_turn(row)
    soon = on >= 0 and abs(int(course.first_ns[on]) - at_ns) <= course.soon_ns
    again_sent = int(course.last_ns[row]) > at_ns + TIMER_NS
    ignored = (on >= 0 and not soon) or again_sent
    if not known and not soon and event is not Event.NXDOMAIN:
        sure = again_sent and course.at_sbc
        yield from (replace(step, sure=step.sure and sure) for step in _silence(course, row))
    if not ignored or known:
        sure = course.at_sbc or (soon and course.one_clock)
        yield Step(at_ns, Kind.FAILURE, at_ns, row, event, sure=sure)


def _silence(course: Course, row: int) -> Iterator[Step]:
    """Yield when a question without an answer was given up; nothing when that is open."""
    begun_ns, expire_ns = int(course.first_ns[row]), course.expire_ns
    after, event = course.next_turn(row), Event.SILENCE
    if course.is_ambiguous(after):
        after = -1
    at_ns = int(course.first_ns[after])
    if expire_ns is None:
        exact = after >= 0 and course.at_sbc
        low_ns, high_ns = begun_ns, int(course.last_ns[row]) + UNKNOWN_WAIT_NS
        low_ns, high_ns = (at_ns, at_ns) if exact else (low_ns, high_ns)
        yield Step(high_ns, Kind.FAILURE, low_ns, row, event, sure=exact)
        return
    slack_ns = course.tolerance.timer_ns(expire_ns)
    if after >= 0 and course.at_sbc:
        sure = at_ns - begun_ns >= expire_ns - slack_ns
        yield Step(at_ns, Kind.FAILURE, at_ns, row, event, sure=sure)
        return
    high_ns = begun_ns + expire_ns + slack_ns
    if high_ns <= course.ends_ns:
        # The first send that a tap saw may be a repeated one.
        low_ns = begun_ns + expire_ns - slack_ns - course.blur_ns(row)
        low_ns = min(high_ns, max(low_ns, int(course.last_ns[row])))
        sure = not _decided_otherwise(course, row, high_ns) and not course.left_early(row)
        yield Step(high_ns, Kind.FAILURE, low_ns, row, event, sure=sure)


def _decided_otherwise(course: Course, row: int, until_ns: int) -> bool:
    """Say whether an answer that came late, of another server, may have decided the call."""
    rows = course.rows_of(row)
    late_ns = course.hops.late_ns[rows]
    return bool(((late_ns != NOT_SEEN) & (late_ns <= until_ns)).any())


def seen(course: Course, failed: tuple[tuple[Step, ...], ...]) -> Seen:
    """Return what makes the unknown values of a profile matter."""
    events = frozenset(step.event for one in failed for step in one if step.event is not None)
    late = bool((course.hops.late_ns[course.rows] != NOT_SEEN).any())
    in_flight = any(
        bool(_open_at(course, server, step).size)
        for server, one in enumerate(failed)
        for step in one[:200]
    )
    return Seen(events, late, in_flight)


def _open_at(course: Course, server: int, step: Step) -> Ints:
    """Return the rows of *server* that may have been open at *step*, and were answered after it."""
    rows = course.rows_at(server)
    end = int(np.searchsorted(course.first_ns[rows], step.high_ns))
    near = rows[max(0, end - 64) : end]
    return near[course.hops.answered_ns[near] >= step.low_ns]


def steps(course: Course, failed: tuple[tuple[Step, ...], ...]) -> tuple[tuple[Step, ...], ...]:
    """Return all that matters to the health of each server, in order of time."""
    starts = course.first_ns[course.firsts]
    found = []
    for server, own in enumerate(failed):
        every = [*own, *_probes(course, server)]
        if own:
            every += _answers(course, server, own)
            every += _calls(starts, own)
        found.append(tuple(sorted(every, key=lambda step: (step.high_ns, step.kind.value))))
    return tuple(found)


def _answers(course: Course, server: int, failed: tuple[Step, ...]) -> Iterator[Step]:
    """Yield the first answer after each failure, and the late ones."""
    hops = course.hops
    rows = course.rows_at(server)
    good = np.isin(hops.event[rows], [EVENTS.index(event) for event in WELL])
    well = rows[good & (hops.answered_ns[rows] != NOT_SEEN)]
    well = well[np.argsort(hops.answered_ns[well], kind="stable")]
    times = hops.answered_ns[well]
    said = np.sort(hops.answered_ns[rows][hops.answered_ns[rows] != NOT_SEEN])
    places = np.searchsorted(times, [step.high_ns for step in failed], side="left")
    for place in np.unique(places[places < len(times)]).tolist():
        row, at_ns = int(well[place]), int(times[place])
        sure = course.at_sbc or int(course.links.after[row]) < 0
        yield Step(at_ns, Kind.ANSWER, at_ns, row, course.event(row), sure=sure)
    for step in failed:  # one that came while the failure was noticed may be after it
        low, high = np.searchsorted(said, [step.low_ns, step.high_ns])
        if high > low:
            at_ns = step.high_ns + 1
            yield Step(at_ns, Kind.ANSWER, at_ns, step.row, None, sure=False)
    for row in rows[hops.late_ns[rows] != NOT_SEEN].tolist():
        at_ns, event = int(hops.late_ns[row]), EVENTS[int(hops.late_event[row])]
        counts = event is not None and course.profile.reactions[event].counts
        if hops.event[row] != OK and not (counts and course.known(f"reactions.{event}.counts")):
            sure = course.at_sbc and event in WELL and hops.event[row] == SILENT
            yield Step(at_ns, Kind.LATE, at_ns, row, event, sure=sure)


def _calls(starts: Ints, failed: tuple[Step, ...]) -> Iterator[Step]:
    """Yield the first call after each failure: the time of a hold-down may wait for it."""
    places = np.searchsorted(starts, [step.high_ns for step in failed], side="right")
    for place in np.unique(places[places < len(starts)]).tolist():
        at_ns = int(starts[place])
        yield Step(at_ns, Kind.CALL, at_ns, -1)


def _probes(course: Course, server: int) -> Iterator[Step]:
    """Yield what came of each probe."""
    hops = course.hops
    for row in course.probes[hops.server[course.probes] == server].tolist():
        sent_ns, event = int(course.first_ns[row]), course.event(row)
        if int(hops.answered_ns[row]) == NOT_SEEN:
            at_ns = sent_ns + (course.expire_ns or course.tolerance.timer_ns(0))
            yield Step(at_ns, Kind.PROBE_LOST, at_ns, row)
            continue
        at_ns = int(hops.answered_ns[row])
        counts = event is not None and course.profile.reactions[event].counts
        kind = Kind.PROBE_LOST if counts else Kind.PROBE_REPLY
        yield Step(at_ns, kind, at_ns, row, event)
