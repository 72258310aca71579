"""Turns of which nobody can tell for certain whose they are.

Laws: two calls from one caller to one number that wait side by side excuse each other; so does a
question that comes again with another id or port.
"""

import numpy as np
import numpy.typing as npt

from enumtest.judge.joins import OK, TIMER_NS, UNKNOWN_WAIT_NS
from enumtest.judge.rows import Rows
from enumtest.traffic.hop_table import NOT_SEEN
from harness.packets.capture import Ints


def ambiguous_turns(course: Rows) -> npt.NDArray[np.bool_]:
    """Return the turns that may belong to another call: one to the same number, in trouble then.

    When two calls from one caller to one number wait side by side, nobody can tell for certain
    which of them goes on to the next server.
    """
    hops, turns = course.hops, course.turns
    found = np.zeros(len(turns), np.bool_)
    troubled = course.rows[hops.event[course.rows] != OK]
    if not len(troubled):
        return found
    found |= _untimely(course) | _repeated(course)
    said = hops.answered_ns[troubled] != NOT_SEEN
    for rows, window in (
        (troubled[said], _after_answer(course, troubled[said])),
        # An answer that is ignored, or may be, leaves the question open.
        (troubled, _after_wait(course, troubled)),
    ):
        _mark(course, rows, window, found)
    # Which round a call is in cannot be told either, once one of its turns may be another's.
    doubtful = np.isin(course.links.lookup[turns], np.unique(course.links.lookup[turns[found]]))
    return found | (doubtful & (course.links.before[turns] >= 0))


def _mark(
    course: Rows, rows: Ints, window: tuple[Ints, Ints], found: npt.NDArray[np.bool_]
) -> None:
    """Mark in *found* the turns of other lookups in the *window* of a row with their question."""
    turns = course.turns
    start_ns = int(course.first_ns[turns[0]])
    order = np.argsort(_place(course, turns, course.first_ns[turns], start_ns), kind="stable")
    inside = turns[order]
    places = _place(course, inside, course.first_ns[inside], start_ns)
    low = np.searchsorted(places, _place(course, rows, window[0], start_ns), side="left")
    high = np.searchsorted(places, _place(course, rows, window[1], start_ns), side="right")
    mistaken: list[int] = []
    for at in np.flatnonzero(high > low).tolist():
        near, row = inside[low[at] : high[at]], int(rows[at])
        if (course.links.lookup[near] != course.links.lookup[row]).any():
            found[order[low[at] : high[at]]] = True
            mistaken.append(course.next_turn(row))
    found |= np.isin(turns, mistaken)


def _repeated(course: Rows) -> npt.NDArray[np.bool_]:
    """Say which turns ask a server again what it was asked just before, and did not tell.

    With another id or port that may be a question sent again, and no other call.
    """
    hops, turns = course.hops, course.turns
    order = np.lexsort(
        (course.first_ns[turns], hops.server[turns], hops.source[turns], hops.question[turns])
    )
    one, two = turns[order][:-1], turns[order][1:]
    same = (hops.question[one] == hops.question[two]) & (hops.source[one] == hops.source[two])
    same &= (hops.server[one] == hops.server[two]) & (hops.event[one] != OK)
    wait_ns = course.expire_ns or UNKNOWN_WAIT_NS
    same &= course.first_ns[two] - course.first_ns[one] <= wait_ns
    found = np.zeros(len(turns), np.bool_)
    found[order[1:][same]] = True
    return found & (course.links.before[turns] < 0)


def _untimely(course: Rows) -> npt.NDArray[np.bool_]:
    """Say which failovers come neither at once after an answer nor after a full wait."""
    hops, turns = course.hops, course.turns
    before = course.links.before[turns]
    said = (before >= 0) & (hops.answered_ns[before] != NOT_SEEN)
    at_once = course.first_ns[turns] - hops.answered_ns[before] <= course.soon_ns
    if course.expire_ns is None:
        return np.zeros(len(turns), np.bool_)
    off_ns = np.abs(course.first_ns[turns] - course.first_ns[before] - course.expire_ns)
    late = off_ns > course.tolerance.timer_ns(course.expire_ns)
    found: npt.NDArray[np.bool_] = said & ~at_once & late
    return found


def _place(course: Rows, rows: Ints, at_ns: Ints, start_ns: int) -> Ints:
    """Return question, caller and time (in ms) of *rows* as one number to sort by."""
    hops = course.hops
    key = hops.question[rows].astype(np.int64) * len(hops.sources) + hops.source[rows]
    return (key << 32) + np.clip((at_ns - start_ns) // 1_000_000, 0, (1 << 32) - 1)


def _after_answer(course: Rows, rows: Ints) -> tuple[Ints, Ints]:
    """Return when the SBC can have gone on because of the answers of *rows*."""
    answered_ns = course.hops.answered_ns[rows]
    return answered_ns - TIMER_NS, answered_ns + TIMER_NS


def _after_wait(course: Rows, rows: Ints) -> tuple[Ints, Ints]:
    """Return when the SBC can have gone on because it had waited for *rows* for long enough."""
    begun_ns = course.first_ns[rows]
    if course.expire_ns is None:
        return begun_ns, begun_ns + UNKNOWN_WAIT_NS
    slack_ns = course.tolerance.timer_ns(course.expire_ns)
    return begun_ns + course.expire_ns - slack_ns, begun_ns + course.expire_ns + slack_ns
