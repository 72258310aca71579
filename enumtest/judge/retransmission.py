"""Rulings on one question's sends: when it is repeated, and when the server is given up.

retransmission.expire       a silent server is given up after the declared time
retransmission.schedule     meanwhile the question is repeated when it should be, and only then
retransmission.identity     with the id, port, caller and question that the profile sets
retransmission.content      and with the same octets: OPT record, caller, letters of the name
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from enumtest.judge.course import Course, hits
from enumtest.judge.joins import NS, SILENT, TIMER_NS, Bools
from enumtest.judge.ruling import MAX_CITED, Measured, Note, Ruling
from enumtest.profiles.profile_groups import IdScope, InFlight, Then
from enumtest.traffic.hop_table import NOT_SEEN, OTHER_EDNS, OTHER_LETTERS, OTHER_SOURCE, Cite
from harness.finding import Outcome
from harness.packets.capture import Ints

EXPIRE = "retransmission.expire"
SCHEDULE = "retransmission.schedule"
IDENTITY = "retransmission.identity"
CONTENT = "retransmission.content"
MAX_ROWS = 20_000  # whose sends are looked at one by one
FEW, MANY = 3, 20  # of ids that are equal by chance: never


def rulings(course: Course) -> Iterator[Ruling]:
    """Yield a ruling on every rule about sends."""
    yield _expire(course)
    yield _schedule(course)
    yield from _identity(course)
    yield from _content(course)


def left_silent(course: Course) -> tuple[Ints, Ints]:
    """Return the rows that were left for another server without an answer, and the next rows."""
    rows = course.rows
    silent = rows[course.hops.event[rows] == SILENT]
    after = np.array([course.next_turn(row) for row in silent.tolist()], np.int64)
    return silent[after >= 0], after[after >= 0]


def _expire(course: Course) -> Ruling:
    hops = course.hops
    silent, after = left_silent(course)
    one_clock = (hops.watch[silent] == hops.watch[after]) | (course.unsure_ns == 0)
    one_clock &= course.unmistaken(after)
    # The network said at once that nobody is there: no timer ended that wait.
    one_clock &= hops.refused_ns[silent] == NOT_SEEN
    silent, after = silent[one_clock], after[one_clock]
    waited_ns = course.first_ns[after] - course.first_ns[silent]
    expected = "nobody knows how long this SBC waits"
    words = "no silent server was left for another"
    if course.expire_ns is not None:
        expected = f"a silent server is given up after {course.expire_ns / NS:g} s"
    if not len(silent) and course.expire_ns is not None:
        return Ruling(EXPIRE, Outcome.OTHER, expected, words, needed=1)
    if not len(silent):
        return Note(EXPIRE, Outcome.OTHER, expected, words)
    words = f"{len(silent)} times, after {waited_ns.min() / NS:.3f} s to "
    words += f"{waited_ns.max() / NS:.3f} s"
    cites = hops.cites(silent[:MAX_CITED].tolist())
    if course.expire_ns is None:
        return Note(EXPIRE, Outcome.OTHER, expected, words, cites=cites)
    slack_ns = course.tolerance.timer_ns(course.expire_ns) + course.jitter_ns
    wrong = np.abs(waited_ns - course.expire_ns) > slack_ns
    wrong &= ~_abandoned(course, silent, after)
    if not wrong.any():
        return Ruling(EXPIRE, Outcome.PASS, expected, words, cites=cites)
    bad = int(wrong.sum())
    words = (
        f"{bad} of {len(silent)} times otherwise, first after {waited_ns[wrong][0] / NS:.3f} s; "
    )
    if course.convicts(bad, len(silent)):
        return hits(course, EXPIRE, expected, words, silent[wrong].tolist())
    words += "a first question lost before the tap would excuse that"
    return Ruling(EXPIRE, Outcome.OTHER, expected, words, cites=cites)


def _abandoned(course: Course, silent: Ints, after: Ints) -> Bools:
    """Say which rows may have been given up because another call's failure held the server."""
    hold_down = course.profile.hold_down
    finishes = hold_down.in_flight is InFlight.FINISH and course.known("hold_down.in_flight")
    if finishes or not hold_down.stages:
        return np.zeros(len(silent), np.bool_)
    hops, found = course.hops, np.zeros(len(silent), np.bool_)
    ends = course.first_ns[after]
    every, following = left_silent(course)  # those of calls that may be mistaken count as well
    for server in range(course.size):
        own = hops.server[silent] == server
        times = np.sort(course.first_ns[following[hops.server[every] == server]])
        place = np.searchsorted(times, ends[own] - TIMER_NS)
        together = np.searchsorted(times, ends[own] + TIMER_NS, side="right") - place
        found[own] = together > 1
    return found


def _schedule(course: Course) -> Ruling:
    known, times_ns = course.known("retransmission.schedule_ns"), course.schedule_ns
    expected = f"a question is sent at {', '.join(f'{at / NS:g}' for at in times_ns)} s"
    rows = _worth_a_look(course)
    if not known:
        again = rows[course.sends[rows] > 1]
        words = f"{len(again)} questions were sent again"
        expected = "nobody knows when this SBC sends again"
        return Note(SCHEDULE, Outcome.OTHER, expected, words)
    judged = [(row, _misfit(course, row)) for row in rows[:MAX_ROWS].tolist()]
    tested = [row for row, why in judged if why is not None]
    wrong = [(row, why) for row, why in judged if why]
    if wrong and course.convicts(len(wrong), len(tested)):
        words = f"{len(wrong)} of {len(tested)} questions otherwise: {wrong[0][1]}; "
        return hits(course, SCHEDULE, expected, words, [row for row, _ in wrong])
    if wrong:
        words = f"{len(wrong)} of {len(tested)} otherwise; packets lost before the tap excuse that"
        return Ruling(SCHEDULE, Outcome.OTHER, expected, words)
    if not tested:
        words = "no question was open for long enough"
        return Ruling(SCHEDULE, Outcome.OTHER, expected, words, needed=1)
    cites = course.hops.cites(tested[:MAX_CITED])
    return Ruling(SCHEDULE, Outcome.PASS, expected, f"{len(tested)} questions", cites=cites)


def _worth_a_look(course: Course) -> Ints:
    """Return the rows that were open for longer than an answer takes."""
    hops, rows = course.hops, course.rows
    rows = rows[~hops.tcp[rows]]
    times_ns = course.schedule_ns
    after_ns = times_ns[1] if len(times_ns) > 1 else course.profile.retransmission.expire_ns
    open_ns = hops.answered_ns[rows] - course.first_ns[rows]
    found: Ints = rows[
        (course.sends[rows] > 1) | (hops.answered_ns[rows] == NOT_SEEN) | (open_ns > after_ns)
    ]
    return found


def _misfit(course: Course, row: int) -> str | None:
    """Return what is wrong with the sends of *row*, "" for nothing, None when none was due."""
    sent = course.hops.send_ns[course.hops.sends(row)]
    # Behind a network that doubles packets, what comes right after a send is its copy.
    apart = np.diff(sent, prepend=sent[0] - course.jitter_ns - 1) > course.jitter_ns
    offsets, times_ns = (sent - sent[0])[apart].tolist(), course.schedule_ns
    end_ns = _open_until(course, row) - int(sent[0])
    if course.is_continued(row):
        return None
    ids = course.hops.send_id[course.hops.sends(row)]
    if not course.known("retransmission.id_per") and len(np.unique(ids)) > 1:
        return None  # two calls to one number may look like this
    if not course.known("retransmission.id_per") and len(sent) == 1 and not _keeps_ids(course):
        return None  # with another id each send is a question of its own
    if end_ns < min((*times_ns[1:], course.profile.retransmission.expire_ns)) and len(sent) == 1:
        return None
    return _too_many(course, offsets) or _too_few(course, offsets, end_ns)


def _keeps_ids(course: Course) -> bool:
    """Say whether any question was sent again with the id that it had."""
    hops, rows = course.hops, course.rows[course.sends[course.rows] > 1]
    return any(len(np.unique(hops.send_id[hops.sends(row)])) == 1 for row in rows.tolist())


def _too_many(course: Course, offsets: list[int]) -> str:
    """Return which send no schedule asks for, or ""."""
    times_ns = course.schedule_ns
    for place, offset in enumerate(offsets[1:], 1):
        slack_ns = course.tolerance.timer_ns(offset) + course.jitter_ns
        due = any(abs(offset - due) <= slack_ns for due in times_ns[1:])
        if not due and (course.at_sbc or place >= len(times_ns)):
            return f"sent again after {offset / NS:.3f} s"
    return f"sent {len(offsets)} times" if len(offsets) > len(times_ns) else ""


def _too_few(course: Course, offsets: list[int], end_ns: int) -> str:
    """Return which send of the schedule is missing, or ""; at a tap it may have been lost."""
    for due in course.schedule_ns[1:] if course.at_sbc else ():
        slack_ns = course.tolerance.timer_ns(due)
        if due + slack_ns < end_ns and not any(abs(one - due) <= slack_ns for one in offsets):
            return f"not sent again after {due / NS:g} s"
    return ""


def _open_until(course: Course, row: int) -> int:
    """Return until when *row* was certainly open; its last send when nobody can tell."""
    hops, last_ns = course.hops, int(course.last_ns[row])
    if _other_answer(course, row):
        return last_ns
    event = course.event(row)
    ignored = event is not None and course.profile.reactions[event].then is Then.IGNORE
    answered_ns = int(hops.answered_ns[row])
    if answered_ns != NOT_SEEN and not ignored:
        return answered_ns
    after = int(course.links.after[row])
    if after >= 0:
        return int(course.first_ns[after])
    return _until_given_up(course, row)


def _until_given_up(course: Course, row: int) -> int:
    """Return until when a question that nobody followed up was certainly open."""
    last_ns, answered_ns = int(course.last_ns[row]), int(course.hops.answered_ns[row])
    rules = course.profile.hold_down
    if rules.stages and rules.in_flight is InFlight.ABANDON:
        return last_ns
    if course.expire_ns is None or answered_ns != NOT_SEEN:
        return last_ns
    if course.profile.hold_down.stages and not course.known("hold_down.in_flight"):
        return last_ns
    return min(int(course.first_ns[row]) + course.expire_ns, course.ends_ns)


def _other_answer(course: Course, row: int) -> bool:
    """Say whether a server that was given up before answered late: that may end the call."""
    rows = course.rows_of(row)
    return bool((course.hops.late_ns[rows] != NOT_SEEN).any())


def _identity(course: Course) -> Iterator[Ruling]:
    """Yield rulings on ids, ports and what else has to stay the same."""
    problems = [*_ids(course), *_ports(course), *_kept(course), *_renewed(course)]
    expected = "an id and a port are kept as the profile says, caller and question always"
    for words, rows, of in problems:
        if course.convicts(len(rows), of):
            yield hits(course, IDENTITY, expected, f"{words}; ", rows)
            return
    if problems:
        yield Ruling(IDENTITY, Outcome.OTHER, expected, problems[0][0])
    elif not course.known("retransmission.id_per"):
        yield Note(IDENTITY, Outcome.OTHER, "nobody knows how long an id is kept", "no oddity")
    elif (course.sends[course.rows] > 1).any():
        yield Ruling(IDENTITY, Outcome.PASS, expected, "every question that was repeated")


def _content(course: Course) -> Iterator[Ruling]:
    """Yield the ruling on what stands in questions that were sent again."""
    hops, rows = course.hops, course.rows
    # After an error the same question is asked in another way, and that is no retransmission.
    waited = (hops.answered_ns[rows] == NOT_SEEN) | (course.last_ns[rows] <= hops.answered_ns[rows])
    again = rows[(course.sends[rows] > 1) & waited]
    if not len(again):
        return
    expected = "a question is sent again as it was (RFC 1035 section 7.2)"
    words = f"{len(again)} questions that were sent again"
    yield _changed(course, again, expected) or Ruling(CONTENT, Outcome.PASS, expected, words)


def _changed(course: Course, again: Ints, expected: str) -> Ruling | None:
    """Return the ruling on repeated questions that differ, or None."""
    differs = course.hops.resend_differs[again]
    wrong = again[differs > 0]
    if not len(wrong):
        return None
    parts = {"OPT record": OTHER_EDNS, "caller": OTHER_SOURCE, "letters": OTHER_LETTERS}
    what = ", ".join(name for name, bit in parts.items() if (differs & bit).any())
    words = f"{len(wrong)} of {len(again)} differ from the first send: {what}; "
    # One id for all questions, or for two by chance: two calls look like one that is repeated.
    one_id = course.profile.retransmission.id_per is IdScope.ALWAYS
    alone = course.known("retransmission.id_per") and not one_id
    if alone and (len(wrong) >= FEW or 2 * len(wrong) > len(again)):
        found = hits(course, CONTENT, expected, words, wrong.tolist())
        return replace(found, cites=_resends(course, wrong[:MAX_CITED]))
    words += "two calls to one number may look like this"
    return Ruling(CONTENT, Outcome.OTHER, expected, words)


def _resends(course: Course, rows: Ints) -> tuple[Cite, ...]:
    """Return the second send of each of *rows*, and then the first one's first."""
    hops = course.hops
    again = zip(hops.watch[rows].tolist(), hops.send_frame[hops.sends_from[rows] + 1], strict=True)
    cites = [Cite(hops.watches[watch].name, int(frame)) for watch, frame in again]
    return (*cites[:1], *hops.cites(rows[:1].tolist()), *cites[1 : MAX_CITED - 1])


_Problem = tuple[str, list[int], int]


def _ids(course: Course) -> Iterator[_Problem]:
    hops, rows = course.hops, course.rows
    scope, known = course.profile.retransmission.id_per, course.known("retransmission.id_per")
    first = hops.send_id[hops.sends_from[:-1]]
    if len(rows) >= MANY and len(np.unique(first[rows])) == 1 and scope is not IdScope.ALWAYS:
        yield "every question has the same id", rows.tolist(), len(rows)
    if not known:
        return
    again = rows[course.sends[rows] > 1]
    changed = np.array([len(np.unique(hops.send_id[hops.sends(row)])) > 1 for row in again], bool)
    if scope is IdScope.SEND and len(again) and not changed.all():
        yield "sent again with the same id", again[~changed].tolist(), len(again)
    if scope is not IdScope.SEND and changed.any():
        yield "sent again with another id", again[changed].tolist(), len(again)
    later = _failovers(course)
    same = first[later] == first[course.links.before[later]]
    if scope is IdScope.CALL and len(later) and not same.all():
        yield "another server is asked with another id", later[~same].tolist(), len(later)
    if scope is IdScope.SERVER and same.sum() >= FEW:
        yield "another server is asked with the same id", later[same].tolist(), len(later)
    if scope is IdScope.ALWAYS and len(np.unique(first[rows])) > 1:
        yield "not always the same id", rows[first[rows] != first[rows[0]]].tolist(), len(rows)


def _failovers(course: Course) -> Ints:
    turns = course.turns
    later = turns[(course.links.before[turns] >= 0) & ~course.ambiguous]
    return later if course.one_clock else later[:0]


def _ports(course: Course) -> Iterator[_Problem]:
    hops, rows = course.hops, course.rows[~course.hops.tcp[course.rows]]
    if not course.known("retransmission.port_per") or not len(rows):
        return
    scope, ports = course.profile.retransmission.port_per, hops.port
    odd = rows[ports[rows] != ports[rows[0]]]
    if scope is IdScope.ALWAYS and len(odd):
        yield "not always the same port", odd.tolist(), len(rows)
    later = _failovers(course)
    later = later[~hops.tcp[later] & ~hops.tcp[course.links.before[later]]]
    moved = ports[later] != ports[course.links.before[later]]
    if scope is IdScope.CALL and moved.any():
        yield "another server is asked from another port", later[moved].tolist(), len(later)


def _kept(course: Course) -> Iterator[_Problem]:
    """Yield failovers that lost the caller or changed the question."""
    hops, rows = course.hops, course.rows
    later = rows[(course.links.before[rows] >= 0) & course.unmistaken(rows)]
    before = course.links.before[later]
    plain = (hops.edns_bytes[later] < 0) & (hops.server[later] == hops.server[before])
    later, before = later[~plain], before[~plain]
    for words, column in (("caller", hops.source), ("question", hops.question)):
        lost = column[later] != column[before]
        if lost.any():
            yield f"asked again with another {words}", later[lost].tolist(), int(lost.sum())


def _renewed(course: Course) -> Iterator[_Problem]:
    """Yield questions repeated to the same server with a new id, as if they were new ones."""
    scope, times_ns = course.profile.retransmission.id_per, course.schedule_ns
    if not course.known("retransmission.id_per") or scope is IdScope.SEND or len(times_ns) == 1:
        return
    hops, found = course.hops, []
    silent = course.rows[(hops.event[course.rows] == SILENT) & (course.sends[course.rows] == 1)]
    for row in silent[:MAX_ROWS].tolist():
        due_ns = int(course.first_ns[row]) + times_ns[1]
        slack_ns = course.tolerance.timer_ns(times_ns[1])
        same = course.same_question_rows(row)
        low, high = np.searchsorted(course.first_ns[same], [due_ns - slack_ns, due_ns + slack_ns])
        near: Sequence[int] = same[low:high].tolist()
        if any(hops.server[one] == hops.server[row] and one != row for one in near):
            found.append(row)
    if len(found) >= FEW and 2 * len(found) > len(silent):
        yield "sent again with another id", found, len(silent)


def measured(course: Course) -> Iterator[Measured]:
    """Yield how long servers were waited for, and when questions were repeated."""
    silent, after = left_silent(course)
    waited = (course.first_ns[after] - course.first_ns[silent]) / NS
    low, high = (float(waited.min()), float(waited.max())) if len(waited) else (None, None)
    cites = course.hops.cites(silent[:MAX_CITED].tolist())
    yield Measured("time to detect a silent server", "s", low, high, len(waited), cites)
    hops, rows = course.hops, course.rows[course.sends[course.rows] > 1]
    for place in range(1, int(course.sends[rows].max()) if len(rows) else 0):
        own = rows[course.sends[rows] > place]
        offsets = (hops.send_ns[hops.sends_from[own] + place] - course.first_ns[own]) / NS
        name = f"time of retransmission {place}"
        cites = hops.cites(own[:MAX_CITED].tolist())
        yield Measured(name, "s", float(offsets.min()), float(offsets.max()), len(own), cites)
