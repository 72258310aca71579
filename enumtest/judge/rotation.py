"""Rulings on who was asked in turn: the order, and what a wrong turn says about the SBC.

    rotation.order                         the next server, strictly
    rotation.retransmission-is-no-turn     … and a retransmission moves nothing
    failover.order                         the same for the second server of a call
    hold-down.scope                        a server that never failed is passed over
    readmission.late, readmission.never    one that failed is passed over for too long
    reaction.counts.<event>                one that failed in no way that counts is passed over

A wrong turn is one fact; which rule it breaks follows from the server that was passed over.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from enumtest.judge import taps as judge_taps
from enumtest.judge.course import Course, hits
from enumtest.judge.evidence import WELL, Step
from enumtest.judge.joins import TIMER_NS
from enumtest.judge.ruling import MAX_CITED, Note, Ruling
from enumtest.judge.states import State, States
from enumtest.judge.turns import Walk, WrongTurn
from enumtest.profiles.profile_groups import ReadmitBy, Selection
from harness.finding import Outcome
from harness.packets.capture import Ints

ORDER = "rotation.order"
SCOPE = "hold-down.scope"
REPEATED = "rotation.retransmission-is-no-turn"
FEW = 2
HALF, RARE = 0.3, 0.1
SIGMAS = 4.5  # of a binomial share: once in 150 000 runs by chance
WEIGHED = 60  # calls that a share is taken of
ROUNDS = 3  # of turns that have to be strict before the order is right
MATTERS = ("selection.", "hold_down.", "reactions.", "retransmission.", "readmission.")
MOST = 0.8  # of the wrong turns, when they have one cause


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rulings about turns are made from."""

    course: Course
    states: States
    failed: tuple[tuple[Step, ...], ...]
    walk: Walk


def rulings(facts: Facts) -> Iterator[Ruling]:
    """Yield a ruling on every rule about turns."""
    course, walk = facts.course, facts.walk
    if not course.at_sbc:
        yield from judge_taps.rulings(course, facts.states, facts.failed, walk)
        return
    by_rule: dict[tuple[str, int], list[WrongTurn]] = defaultdict(list)
    for one in walk.wrong:
        by_rule[_rule(facts, one)].append(one)
    scopes = [key for key in by_rule if key[0] == SCOPE]
    if len(by_rule.get((ORDER, -1), ())) > FEW:  # the order is wrong anyway
        for key in scopes:
            by_rule[ORDER, -1] += by_rule.pop(key)
        by_rule[ORDER, -1].sort(key=lambda one: one.at)
    if _by_retransmission(facts):
        by_rule[REPEATED, -1] = walk.wrong
        by_rule.pop((ORDER, -1), None)
    for (rule, server), wrong in sorted(by_rule.items()):
        yield _fail(facts, rule, server, wrong)
    if course.profile.selection.method is Selection.PROPORTIONAL:
        yield from _weighed(facts)
    elif (ORDER, -1) not in by_rule:
        yield _order(course, walk, clean=not walk.wrong)


def _order(course: Course, walk: Walk, *, clean: bool) -> Ruling:
    if not course.known("selection.method"):
        return Note(
            ORDER, Outcome.OTHER, "nobody knows how this SBC chooses", f"{len(course.turns)} turns"
        )
    expected, enough = _expected(course), ROUNDS * course.size
    words = f"{walk.strict} turns in strict order"
    if walk.loose:
        words += f"; {walk.loose} where more than one server would have been right"
    if walk.strict >= enough and clean:
        return Ruling(ORDER, Outcome.PASS, expected, words)
    needed = max(0, enough - walk.strict)
    return Ruling(ORDER, Outcome.OTHER, expected, words, needed=needed)


def _weighed(facts: Facts) -> Iterator[Ruling]:
    """Yield whether the calls are spread by weight, while every server is in service."""
    course, rule = facts.course, "rotation.share"
    firsts = course.firsts
    plain = firsts[facts.states.codes(course.first_ns[firsts]) == 0]
    weights = np.array(course.profile.selection.weights or (1,) * course.size, float)
    shares, total = weights / weights.sum(), len(plain)
    counts = np.bincount(course.hops.server[plain], minlength=course.size)
    said = ", ".join(
        f"{name} {count}" for name, count in zip(course.hops.servers, counts, strict=True)
    )
    words = f"of {total} calls: {said}"
    if not course.known("selection.method") or not course.known("selection.weights"):
        yield Note(rule, Outcome.OTHER, "nobody knows the weights", words)
        return
    expected = _expected(course)
    room = SIGMAS * np.sqrt(total * shares * (1 - shares)) + 1
    if total < WEIGHED:
        yield Ruling(rule, Outcome.OTHER, expected, words, needed=WEIGHED - total)
    elif (np.abs(counts - total * shares) > room).any():
        yield hits(course, rule, expected, f"{words}; ", plain.tolist())
    else:
        yield Ruling(rule, Outcome.PASS, expected, words)


def _expected(course: Course) -> str:
    names = ", ".join(course.hops.servers)
    match course.profile.selection.method:
        case Selection.ROUND_ROBIN:
            return f"each call goes to the next of {names} that is in service"
        case Selection.HUNT:
            return f"each call goes to the first of {names} that is in service"
        case Selection.LIST_ORDER:
            return f"each call goes to the first of {names}"
        case _:
            return f"the calls are spread over {names} by weight"


def _rule(facts: Facts, one: WrongTurn) -> tuple[str, int]:
    """Return which rule a wrong turn breaks, and about which server (-1: all)."""
    passed = one.passed
    if passed < 0:
        return (("failover.order" if one.failover else ORDER), -1)
    course = facts.course
    at_ns = int(course.first_ns[one.row])
    if (rule := _not_back(facts, passed, at_ns)) is not None:
        return rule, passed
    if one.failover:
        return "failover.order", -1
    if (event := _well_said(course, passed, at_ns)) is not None:
        return f"reaction.counts.{event}", passed
    held = any(state is not State.IN_SERVICE for state in facts.states.all_of(at_ns))
    alone = held and not _asked_soon(course, passed, one.at)
    return (SCOPE, passed) if alone else (ORDER, -1)


def _not_back(facts: Facts, passed: int, at_ns: int) -> str | None:
    """Return the rule that is broken when *passed* failed and was not asked since, or None."""
    course = facts.course
    before = [step for step in facts.failed[passed] if step.high_ns <= at_ns]
    if not before:
        return None
    last, asked = before[-1], course.first_ns[course.turns_of(passed)]
    back = int(np.searchsorted(asked, last.high_ns + TIMER_NS, side="right"))
    if back != np.searchsorted(asked, at_ns):
        return None
    if not _held_since(facts, passed, last.low_ns, at_ns):
        return "hold-down.begins"
    if last.event not in course.profile.counted:
        return f"reaction.counts.{last.event}"
    if course.profile.readmission.by is ReadmitBy.PROBES:
        return "readmission.by-probes"
    return "readmission.late" if back < len(asked) else "readmission.never"


def _held_since(facts: Facts, server: int, from_ns: int, until_ns: int) -> bool:
    """Say whether the profile lets *server* be held at any time between the two."""
    doubt = facts.states.doubt[server]
    return bool(((doubt.starts < until_ns) & (doubt.ends > from_ns)).any())


def _asked_soon(course: Course, server: int, at: int) -> bool:
    """Say whether *server* has a turn soon after the one at place *at*: it is not left alone."""
    following = course.turns[at : at + 2 * course.size + 1]
    return bool((course.hops.server[following] == server).any())


def _well_said(course: Course, server: int, at_ns: int) -> str | None:
    """Return the last answer of *server* before that time, when it had no record to act on."""
    rows = course.rows[course.hops.server[course.rows] == server]
    place = int(np.searchsorted(course.first_ns[rows], at_ns)) - 1
    if place < 0:
        return None
    event = course.event(int(rows[place]))
    return event.value if event is not None and event in WELL else None


def _by_retransmission(facts: Facts) -> bool:
    """Say whether wrong turns, and hardly any others, have a retransmission just before."""
    again, walk = _retransmissions(facts.course), facts.walk
    if not walk.wrong or not len(again):
        return False
    times = facts.course.first_ns[facts.course.turns]
    between = np.searchsorted(again, times[1:]) > np.searchsorted(again, times[:-1])
    wrong = np.zeros(len(times), np.bool_)
    wrong[[one.at for one in walk.wrong]] = True
    after, else_ = wrong[1:][between], wrong[1:][~between]
    return bool(after.any() and after.mean() >= HALF and after.sum() >= MOST * wrong.sum()) and (
        not len(else_) or else_.mean() <= RARE
    )


def _retransmissions(course: Course) -> Ints:
    """Return the times of all sends that repeat one."""
    hops, rows = course.hops, course.rows
    rows = rows[course.sends[rows] > 1]
    parts = [hops.send_ns[hops.sends_from[row] + 1 : hops.sends_from[row + 1]] for row in rows]
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _fail(facts: Facts, rule: str, server: int, wrong: Sequence[WrongTurn]) -> Ruling:
    course, first = facts.course, wrong[0]
    names = course.hops.servers
    at_ns = int(course.first_ns[first.row])
    went, due = names[int(course.hops.server[first.row])], [names[one] for one in first.due]
    words = (
        f"{len(wrong)} of {len(course.turns)} turns wrong; the first, at {course.seconds(at_ns)}, "
    )
    words += f"went to {went}"
    words += f" where it was the turn of {' or '.join(due)}" if due else ""
    name = names[server] if server >= 0 else ""
    cites = course.hops.cites([one.row for one in wrong[:MAX_CITED]])
    outcome = Outcome.FAIL
    if len(wrong) <= FEW and len(wrong) < RARE * len(course.turns) and course.open_under(*MATTERS):
        outcome = Outcome.OTHER
        words += "; so few may come of a value that the profile does not know"
    return Ruling(rule, outcome, _broken(course, rule, name), words, name, cites, at_ns)


def _broken(course: Course, rule: str, name: str) -> str:
    """Return what the rule asks for, in words."""
    if rule == REPEATED:
        return "a question sent again takes no turn"
    if rule == SCOPE:
        return f"{name}, which did not fail, is left in the rotation"
    if rule.startswith("readmission."):
        return f"{name} is asked again in its turn when its hold-down is over"
    if rule.startswith("reaction.counts."):
        return f"{name} is not left alone for {rule.removeprefix('reaction.counts.')}"
    return _expected(course)
