"""Rulings on turns when the captures were taken at the servers: what losses cannot excuse.

A question that is lost before a tap leaves a hole in the rotation and, when the SBC repeats it, a
turn that comes late; a failure that no tap saw leaves a hold-down without a cause. So a wrong turn
proves nothing here, and these do:

    so many neighbours out of order, far enough apart in time, that no loss rate in sight explains
    a server that nobody asks for much longer than any hold-down, while many calls come
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from enumtest.judge.course import Course, hits
from enumtest.judge.evidence import Step
from enumtest.judge.joins import FOREVER_NS, MS_NS, Bools
from enumtest.judge.readings import holds_calls
from enumtest.judge.ruling import Note, Ruling
from enumtest.judge.states import States, longest_ns
from enumtest.judge.turns import Walk
from enumtest.profiles.profile_groups import Selection
from harness.finding import Outcome
from harness.packets.capture import Ints

ORDER = "rotation.order"
APART_NS = 300 * MS_NS  # packets do not pass each other over so much
PAIRS = 40  # neighbours that a share is taken of
MOST = 0.25  # of them: what a network that nobody could use would explain
LEAST = 0.08
ALWAYS, EACH = 15, 8  # wrong pairs that are never enough, and that each loss in sight may explain
LONGER = 2.2  # times the longest hold-down: one that was seen by nobody, and one more
CALLS = 20  # that passed a server over


def rulings(
    course: Course, states: States, failed: tuple[tuple[Step, ...], ...], walk: Walk
) -> Iterator[Ruling]:
    """Yield the rulings on turns."""
    absent = list(_absences(course, failed))
    yield from absent
    if not any(one.rule == ORDER for one in absent):
        yield _order(course, states, walk)


def _order(course: Course, states: States, walk: Walk) -> Ruling:
    turns = course.turns
    expected = f"each call goes to the next of {', '.join(course.hops.servers)}"
    if not course.known("selection.method"):
        return Note(ORDER, Outcome.OTHER, "nobody knows how this SBC chooses", _counts(course))
    if course.profile.selection.method is not Selection.ROUND_ROBIN or not len(turns):
        expected = f"selection {course.profile.selection.method}"
        found = Outcome.OTHER if walk.wrong or not walk.strict else Outcome.PASS
        return Ruling(ORDER, found, expected, _counts(course), needed=int(not walk.strict))
    pairs, wrong = _pairs(course, states)
    lost = _lost(course)
    words = f"{len(wrong)} of {len(pairs)} neighbours out of turn, {lost} answers lost in sight"
    share = len(wrong) / max(1, len(pairs))
    enough = len(pairs) >= PAIRS and (
        (share >= MOST and len(wrong) >= PAIRS // 2)
        or (share >= LEAST and len(wrong) >= ALWAYS + EACH * lost)
    )
    if enough:
        return hits(course, ORDER, expected, f"{words}; ", wrong.tolist())
    if len(wrong):
        words += "; questions lost before a tap would excuse that"
        return Ruling(ORDER, Outcome.OTHER, expected, words, needed=PAIRS)
    if len(pairs) < PAIRS:
        words += f"; {_counts(course)}"
        needed = PAIRS - len(pairs) if course.one_clock else 0
        words += "" if needed else "; the taps' clocks are not known against each other"
        return Ruling(ORDER, Outcome.OTHER, expected, words, needed=needed)
    return Ruling(ORDER, Outcome.PASS, expected, words)


def _counts(course: Course) -> str:
    asked = np.bincount(course.hops.server[course.turns], minlength=course.size).tolist()
    return ", ".join(
        f"{name} asked {count} times"
        for name, count in zip(course.hops.servers, asked, strict=True)
    )


def _pairs(course: Course, states: States) -> tuple[Ints, Ints]:
    """Return the turns whose order to the one before is sure, and those out of turn."""
    turns, size = course.turns, course.size
    times, server = course.first_ns[turns], course.hops.server[turns].astype(np.int64)
    plain = (course.links.before[turns] < 0) & ~course.ambiguous
    plain &= (states.codes(times) == 0) & ~_unseen(course)
    wide = np.diff(times) > max(APART_NS, 4 * course.unsure_ns)
    edge = np.ones(1, np.bool_)
    # Packets that pass each other just before, or just after, are in the wrong order too.
    apart = wide & np.append(edge, wide[:-1]) & np.append(wide[1:], edge)
    judged = np.zeros(len(turns), np.bool_)
    judged[1:] = apart & plain[1:] & plain[:-1]
    wrong = np.zeros(len(turns), np.bool_)
    wrong[1:] = (np.diff(server) % size) != 1 % size
    return turns[judged], turns[judged & wrong]


def _unseen(course: Course) -> Bools:
    """Say which turns came while a server may have been held for a failure that nobody saw."""
    turns, found = course.turns, np.zeros(len(course.turns), np.bool_)
    for server in range(course.size):
        asked = np.flatnonzero(course.hops.server[turns] == server)
        edges = np.concatenate([[-1], asked, [len(turns)]])
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if high - low > 3 * course.size:
                found[max(0, low) : high + 1] = True
    return found


def _lost(course: Course) -> int:
    """Return how many answers the SBC did not get, as far as its asking again shows it."""
    hops, rows = course.hops, course.rows
    again = (hops.answered_ns[rows] >= 0) & (course.last_ns[rows] > hops.answered_ns[rows])
    return int(again.sum())


def _absences(course: Course, failed: tuple[tuple[Step, ...], ...]) -> Iterator[Ruling]:
    method, known = course.profile.selection.method, course.known("selection.method")
    longest = longest_ns(course) if holds_calls(course.profile) else 0
    if not known or method is Selection.LIST_ORDER or longest >= FOREVER_NS:
        return
    limit_ns = round(LONGER * longest) + 3 * (course.expire_ns or 30 * 1000 * MS_NS)
    hunted = method is Selection.HUNT
    for server in range(1 if hunted else course.size):
        yield from _absent(course, server, limit_ns, failed[server])


def _absent(
    course: Course, server: int, limit_ns: int, failed: tuple[Step, ...]
) -> Iterator[Ruling]:
    name = course.hops.servers[server]
    watch = next((one for one in course.hops.watches if name in one.servers), None)
    firsts = course.first_ns[course.firsts]
    # A tap whose clock nobody could set against the others' tells nothing about who came when.
    if watch is None or course.unsure_ns > limit_ns or not len(firsts):
        return
    edges = [int(firsts[0]), *course.first_ns[course.turns_of(server)].tolist(), int(firsts[-1])]
    for low, high in pairwise(edges):
        if high - low <= limit_ns:
            continue
        passed: list[int] = np.flatnonzero((firsts > low) & (firsts < high)).tolist()
        late = [at for at in passed if firsts[at] > low + limit_ns]
        if len(late) < CALLS:
            continue
        due = any(step.high_ns <= low + limit_ns and step.high_ns >= low for step in failed)
        back = "readmission.late" if high != edges[-1] else "readmission.never"
        rows = course.firsts[late].tolist()
        words = f"{len(passed)} calls in {(high - low) / 1e9:.0f} s, none to {name}; "
        expected = f"{name} has its turns, but for the time of a hold-down"
        yield hits(course, back if due else ORDER, expected, words, rows)
        return
