"""Rulings on what the SBC did about each event, and on failovers that should have come.

    reaction.<event>        next server, final, ignored, TCP, again without EDNS
    reaction.answer         a usable answer is final
    failover.none           silence, and nobody else is asked although others were in service
    failover.all-at-once    several servers get one question at the same moment
    late.answer             an answer of a server that was given up decides the call

Laws: what nobody could have done is not asked for (no server left, the capture ends); two calls to
one number side by side excuse each other.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from enumtest.judge.course import Course, hits
from enumtest.judge.joins import MS_NS, OK, SILENT, TIMER_NS
from enumtest.judge.ruling import MAX_CITED, Note, Ruling
from enumtest.judge.states import State, States
from enumtest.profiles.profile_groups import Event, IdScope, InFlight, Then
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, OddFrame
from harness.finding import Outcome
from harness.packets.capture import Ints

TOGETHER_NS = 5 * MS_NS
OFTEN = 3  # times that are no chance
MOST = 0.5
SOME = 0.1  # of the turns: fewer copies are packets that passed each other


@dataclass(frozen=True, slots=True)
class Reacted:
    """What the SBC did about the event of one row; None: nobody can tell."""

    row: int
    event: Event
    then: Then | None


def rulings(course: Course, states: States) -> Iterator[Ruling]:
    """Yield a ruling on every reaction that was put to the test."""
    by_event: dict[Event, list[Reacted]] = defaultdict(list)
    troubled = course.rows[course.hops.event[course.rows] != OK]
    for row in troubled.tolist():
        event = course.event(row)
        if event is not None:
            by_event[event].append(Reacted(row, event, _then(course, states, row, event)))
    for event in Event:
        if event in by_event:
            yield from _ruled(course, event, by_event[event])
    yield from _went_on(course)
    yield from _hammered(course)
    yield from _believed(course)
    yield from _together(course)


def _then(course: Course, states: States, row: int, event: Event) -> Then | None:
    after = int(course.links.after[row])
    if after < 0:
        return _ended(course, states, row, event)
    if event is Event.SILENCE:
        return Then.NEXT_SERVER if course.next_turn(row) >= 0 else None
    hops = course.hops
    waited_ns = int(course.first_ns[after] - hops.answered_ns[row])
    soon = waited_ns <= course.soon_ns
    if hops.server[after] == hops.server[row]:
        if hops.tcp[after] and not hops.tcp[row]:
            return Then.TCP
        plain = hops.edns_bytes[after] < 0 <= hops.edns_bytes[row]
        return Then.RETRY_WITHOUT_EDNS if plain and soon else None
    if soon or course.expire_ns is None:
        return Then.NEXT_SERVER if soon else Then.IGNORE
    off_ns = abs(int(course.first_ns[after] - course.first_ns[row]) - course.expire_ns)
    waited = off_ns <= course.tolerance.timer_ns(course.expire_ns) + course.blur_ns(row)
    return Then.IGNORE if waited else None  # at another time it may be another call


def _ended(course: Course, states: States, row: int, event: Event) -> Then | None:
    """Return what the SBC did when it asked nobody else: FINAL only when it could have."""
    hops, expire_ns = course.hops, course.expire_ns
    begun_ns = int(course.first_ns[row])
    if event is not Event.SILENCE:
        at_ns = int(hops.answered_ns[row])
        if int(course.last_ns[row]) > at_ns + TIMER_NS:
            return Then.IGNORE
        low_ns, high_ns = at_ns, at_ns + course.soon_ns
    elif expire_ns is None:
        return None
    else:
        slack_ns = course.tolerance.timer_ns(expire_ns) + course.blur_ns(row)
        low_ns, high_ns = begun_ns + expire_ns - slack_ns, begun_ns + expire_ns + slack_ns
    # Another call's failure may have ended this one's wait for the server early.
    from_ns = begun_ns if event is Event.SILENCE and _may_abandon(course) else low_ns
    if (
        begun_ns < course.begins_ns  # not every tap was there yet
        or high_ns >= course.ends_ns
        or not course.one_clock
        or _asked_then(course, row, from_ns, high_ns)
    ):
        return None
    doubtful = course.left_early(row) or any(
        course.is_ambiguous(one) for one in course.rows_of(row).tolist()
    )
    if doubtful or _answered_late(course, row, high_ns):
        return None
    tried = {*course.tried(row), int(hops.server[row])}
    if course.known("selection.rounds") and _rounds_left(course, row):
        tried = set()
    left = [server for server in range(course.size) if server not in tried]
    in_service = [
        server
        for server in left
        if {states.of(server, low_ns), states.of(server, high_ns)} == {State.IN_SERVICE}
    ]
    return Then.FINAL if in_service else None


def _may_abandon(course: Course) -> bool:
    """Say whether a question may end because its server failed in another call."""
    rules = course.profile.hold_down
    finishes = rules.in_flight is InFlight.FINISH and course.known("hold_down.in_flight")
    return bool(rules.stages) and not finishes


def _rounds_left(course: Course, row: int) -> bool:
    """Say whether the call has another round through all the servers to go."""
    asked = sum(one in course.turn_rows for one in course.rows_of(row).tolist())
    return asked == course.size and course.profile.selection.rounds > 1


def _asked_then(course: Course, row: int, low_ns: int, high_ns: int) -> bool:
    """Say whether the same number was asked for then, in whatever call."""
    same = course.same_question(row)
    times = course.first_ns[same]
    near = same[np.searchsorted(times, low_ns) : np.searchsorted(times, high_ns, side="right")]
    return bool((near != row).any())


def _answered_late(course: Course, row: int, until_ns: int) -> bool:
    """Say whether a server that was given up answered meanwhile: that may decide the call."""
    rows = course.rows_of(row)
    late_ns = course.hops.late_ns[rows]
    return bool(((late_ns != NOT_SEEN) & (late_ns <= until_ns)).any())


def _ruled(course: Course, event: Event, found: Sequence[Reacted]) -> Iterator[Ruling]:
    """Yield the ruling on one event."""
    rule, seen = f"reaction.{event}", [one for one in found if one.then is not None]
    wanted = course.profile.reactions[event].then
    if not course.known(f"reactions.{event}.then"):
        done = sorted({one.then.value for one in seen if one.then is not None})
        words = f"{len(found)} seen; done: {', '.join(done) or 'nobody can tell'}"
        expected = f"nobody knows what this SBC does about {event}"
        cites = course.hops.cites([one.row for one in found[:MAX_CITED]])
        yield Note(rule, Outcome.OTHER, expected, words, cites=cites)
        return
    wrong = [one for one in seen if not _allowed(course, one, wanted)]
    expected = f"after {event}: {wanted}"
    if wrong and _convicts(course, wrong, len(seen)):
        words = f"{len(wrong)} of {len(seen)} times {wrong[0].then}; "
        yield hits(course, rule, expected, words, [one.row for one in wrong])
        if event is Event.SILENCE and any(one.then is Then.FINAL for one in wrong):
            expected = "a call whose server failed goes on to the next one in service"
            yield hits(course, "failover.none", expected, words, [one.row for one in wrong])
    elif wrong:
        words = f"{len(wrong)} of {len(seen)} times {wrong[0].then}: packets lost behind the tap "
        words += "would excuse that"
        yield Ruling(rule, Outcome.OTHER, expected, words, needed=OFTEN)
    elif seen:
        cites = course.hops.cites([one.row for one in seen[:MAX_CITED]])
        yield Ruling(rule, Outcome.PASS, expected, f"{len(seen)} times", cites=cites)
    else:
        words = f"{len(found)} seen; nobody can tell what was done about them"
        yield Ruling(rule, Outcome.OTHER, expected, words, needed=1)


def _convicts(course: Course, wrong: Sequence[Reacted], of: int) -> bool:
    """Say whether *wrong* is no chance: another call to the number can look like a failover."""
    chance = all(one.then is Then.NEXT_SERVER for one in wrong)
    return course.convicts(len(wrong), of) and (not chance or len(wrong) * 2 > of)


def _allowed(course: Course, one: Reacted, wanted: Then) -> bool:
    if one.then is wanted:
        return True
    plain = course.hops.edns_bytes[one.row] < 0
    if wanted is Then.RETRY_WITHOUT_EDNS and one.then is Then.FINAL and plain:
        return True
    if wanted is Then.TCP and course.hops.tcp[one.row]:
        return True
    # An answer that was lost behind the tap looks like one that was ignored.
    return (
        not course.at_sbc
        and one.then in (Then.IGNORE, Then.NEXT_SERVER)
        and not (one.then is Then.NEXT_SERVER and wanted is Then.FINAL)
    )


def _went_on(course: Course) -> Iterator[Ruling]:
    """Yield FAIL for answers that should end a call, and another server is asked at once."""
    hops, profile = course.hops, course.profile
    final = [None] + [
        event
        for event in (Event.NXDOMAIN, Event.NODATA)
        if profile.reactions[event].then is Then.FINAL and course.known(f"reactions.{event}.then")
    ]
    turns = course.turns
    for event in (final if course.at_sbc else final[1:]) if course.one_clock else ():
        rows = course.rows[
            (hops.event[course.rows] == EVENTS.index(event))
            & (hops.answered_ns[course.rows] != NOT_SEEN)
        ]
        on = _followed(course, rows, turns, 0)
        by_chance = len(_followed(course, rows, turns, 5)) if on else 0
        rule = "reaction.answer" if event is None else f"reaction.{event}"
        expected = "an answer that can be acted on is final" if event is None else "it is final"
        if len(on) >= OFTEN + OFTEN * by_chance and len(on) >= MOST * len(rows):
            words = f"{len(on)} of {len(rows)} times another server was asked at once; "
            yield hits(course, rule, expected, words, on)


def _followed(course: Course, rows: Ints, turns: Ints, later: int) -> list[int]:
    """Return those of *rows* after which another server got the same question at once.

    *later* shifts that moment by as many times its length, to see what chance does.
    """
    hops, key = course.hops, course.hops.question.astype(np.int64)
    near_ns = TOGETHER_NS if course.at_sbc else course.soon_ns
    asked = np.concatenate([rows, turns])
    at_ns = np.concatenate([hops.answered_ns[rows] + later * near_ns, course.first_ns[turns]])
    is_turn = np.arange(len(asked)) >= len(rows)
    order = np.lexsort((is_turn, at_ns, key[asked]))
    places = np.where(is_turn[order], np.arange(len(order)), len(order))
    following = np.minimum.accumulate(places[::-1])[::-1]
    own = np.flatnonzero(~is_turn[order] & (following < len(order)))
    answer, turn = order[own], order[following[own]]
    soon = (key[asked[answer]] == key[asked[turn]]) & (at_ns[turn] - at_ns[answer] <= near_ns)
    soon &= hops.server[asked[answer]] != hops.server[asked[turn]]
    found: list[int] = np.sort(asked[answer[soon]]).tolist()
    return found


def _hammered(course: Course) -> Iterator[Ruling]:
    """Yield FAIL for answers after which the same server gets the same question at once."""
    hops, rows = course.hops, course.rows
    for event in Event:
        then, known = course.profile.reactions[event].then, course.known(f"reactions.{event}.then")
        said = rows[
            (hops.event[rows] == EVENTS.index(event)) & (hops.answered_ns[rows] != NOT_SEEN)
        ]
        if not known or then in (Then.TCP, Then.RETRY_WITHOUT_EDNS) or not course.one_clock:
            continue
        again = []
        for row in said.tolist():
            same = course.same_question_rows(row)
            at = int(np.searchsorted(course.first_ns[same], hops.answered_ns[row]))
            near = same[at : at + 2]
            near = near[course.first_ns[near] - hops.answered_ns[row] <= TOGETHER_NS]
            if (hops.server[near] == hops.server[row]).any():
                again.append(row)
        if len(again) >= OFTEN and len(again) >= MOST * len(said):
            words = f"{len(again)} of {len(said)} times the same server was asked again at once; "
            yield hits(course, f"reaction.{event}", f"after {event}: {then}", words, again)


def _believed(course: Course) -> Iterator[Ruling]:
    """Yield FAIL for answers with a wrong id or question after which a question is dropped."""
    for event in (Event.WRONG_ID, Event.WRONG_QUESTION):
        why, rule = event.value.replace("-", " "), f"reaction.{event}"
        ignored = course.profile.reactions[event].then is Then.IGNORE
        if not ignored or not course.known(f"reactions.{event}.then"):
            continue
        odd = [one for one in course.table.odd if why in one.why and not one.from_client]
        rows = [row for one in odd if (row := _dropped(course, one)) >= 0]
        if rows and course.convicts(len(rows), len(odd)):
            words = f"{len(rows)} times of {len(odd)} it was the end of the question; "
            yield hits(course, rule, "such an answer is ignored", words, sorted(set(rows)))


def _dropped(course: Course, odd: OddFrame) -> int:
    """Return the question that ended without a word when *odd* came, or -1."""
    hops, names = course.hops, course.hops.servers
    if odd.server not in names or odd.client != hops.clients[course.client]:
        return -1
    rows = course.rows_at(names.index(odd.server))
    wait_ns = course.expire_ns or 0
    low, high = np.searchsorted(course.first_ns[rows], [odd.at_ns - wait_ns, odd.at_ns])
    near: list[int] = rows[low:high][::-1].tolist()
    for row in near:
        silent = hops.event[row] == SILENT and int(course.links.after[row]) < 0
        silent &= not course.is_continued(row)
        ends_ns = int(course.first_ns[row]) + wait_ns
        if _may_abandon(course) and _asked_then(course, row, odd.at_ns, ends_ns):
            continue
        if silent and ends_ns < course.ends_ns and _silent_from(course, row, odd.at_ns):
            return row
    return -1


def _together(course: Course) -> Iterator[Ruling]:
    """Yield FAIL when one question goes to several servers at the same moment."""
    hops, turns = course.hops, course.turns
    if len(turns) < 2 or course.size < 2:  # noqa: PLR2004 - two make a pair
        return
    order = np.lexsort((course.first_ns[turns], hops.source[turns], hops.question[turns]))
    rows = turns[order]
    one, two = rows[:-1], rows[1:]
    same = (hops.question[one] == hops.question[two]) & (hops.source[one] == hops.source[two])
    same &= course.first_ns[two] - course.first_ns[one] <= TOGETHER_NS
    same &= hops.server[one] != hops.server[two]
    open_still = hops.answered_ns[one] > course.first_ns[two]
    same &= open_still | (hops.answered_ns[one] == NOT_SEEN)
    same &= hops.refused_ns[one] == NOT_SEEN  # ICMP was the answer
    same &= course.first_ns[one] >= course.begins_ns  # every tap was there
    # Clocks that are not known may put a failover there; after a good answer nobody fails over.
    sure = (hops.watch[one] == hops.watch[two]) | (course.unsure_ns <= TOGETHER_NS)
    same &= sure | ((hops.event[one] == OK) & (hops.event[two] == OK))
    new = same & (course.links.before[one] < 0) & (course.links.before[two] < 0)
    numbers = len(np.unique(hops.question[one[new]]))
    first_id = hops.send_id[hops.sends_from[:-1]]
    scope = course.profile.retransmission.id_per
    one_id = same & (first_id[one] == first_id[two]) & (scope is not IdScope.ALWAYS)
    copies = one[one_id]
    copies = copies if numbers >= OFTEN else copies[:0]
    if not course.at_sbc and len(copies) < SOME * len(turns):
        copies = copies[:0]  # packets that pass each other, or another clock
    crowd = (
        course.at_sbc
        and numbers >= OFTEN
        and int(new.sum()) >= OFTEN
        and int(new.sum()) >= MOST * len(turns)
    )
    if len(copies) >= OFTEN or crowd:
        found = copies if len(copies) else one[same]
        words = f"{len(found)} questions went to two servers at once; "
        expected = "one server is asked at a time"
        yield hits(course, "failover.all-at-once", expected, words, np.sort(found).tolist())


def late_rulings(course: Course) -> Iterator[Ruling]:
    """Yield a ruling on answers of servers that were given up."""
    rule, hops, expire_ns = "late.answer", course.hops, course.expire_ns
    late = course.rows[(hops.late_ns[course.rows] != NOT_SEEN)]
    late = late[hops.event[late] == SILENT]
    tested, taken = [], []
    for row in late.tolist():
        after = course.next_turn(row)
        if after < 0 or expire_ns is None or hops.event[after] != SILENT:
            continue
        at_ns = int(hops.late_ns[row])
        slack_ns = course.tolerance.timer_ns(expire_ns)
        end_ns = int(course.first_ns[after]) + expire_ns
        in_time = int(course.first_ns[after]) <= at_ns < end_ns - slack_ns
        if not in_time or end_ns + slack_ns > course.ends_ns:
            continue
        tested.append(row)
        if course.next_turn(after) < 0 and _silent_from(course, after, at_ns):
            taken.append(row)
    expected = "an answer of a server that was given up does not decide the call"
    known = course.known("reactions.late.then")
    ignored = course.profile.reactions[Event.LATE].then is Then.IGNORE
    if not tested:
        return
    words = f"{len(taken)} of {len(tested)} late answers ended the wait for another server; "
    if known and ignored and taken and course.convicts(len(taken), len(tested)):
        yield hits(course, rule, expected, words, taken)
    elif not known or taken:
        kind = Ruling if known else Note
        yield kind(rule, Outcome.OTHER, expected, words.rstrip("; "))
    else:
        yield Ruling(rule, Outcome.PASS, expected, words.rstrip("; "))


def _silent_from(course: Course, row: int, at_ns: int) -> bool:
    """Say whether *row* should have been sent again after that time, and was not."""
    if not course.known("retransmission.schedule_ns"):
        return False
    begun_ns = int(course.first_ns[row])
    due = [
        begun_ns + time_ns
        for time_ns in course.profile.retransmission.schedule_ns
        if begun_ns + time_ns > at_ns + TIMER_NS
    ]
    return bool(due) and int(course.last_ns[row]) <= at_ns + TIMER_NS and due[0] < course.ends_ns
