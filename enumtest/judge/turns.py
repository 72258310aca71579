"""Whose turn it is: the acceptor of an SBC's choices, with every pointer that the packets allow.

    turns in order ─▶ possible places of the rotation, one set a reading ─▶ wrong turns

Laws: a reading that a turn contradicts is gone for good; a turn is wrong when no reading is left
that allows it, and then the acceptor goes on from there with those that were left before; what is
ambiguous widens the sets and accuses nobody. Quiet stretches cost numpy's time only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from enumtest.judge.course import Course
from enumtest.judge.readings import shares
from enumtest.judge.states import State, States, decoded
from enumtest.profiles.profile_groups import Selection, Share
from harness.packets.capture import Ints

MAX_TURNS = 50_000  # walked once a rule; of more, the wrong ones are no chance


@dataclass(frozen=True, slots=True)
class Rule:
    """One reading of what moves the rotation."""

    failover_moves: bool
    skipped_moves: bool
    share: Share


@dataclass(frozen=True, slots=True)
class WrongTurn:
    """A turn that no reading allows."""

    at: int  # place among the turns
    row: int
    due: tuple[int, ...]  # servers that could have been chosen
    passed: int  # the first server in service that was passed over; -1: none
    failover: bool


@dataclass(slots=True)
class Walk:
    """What the acceptor found."""

    wrong: list[WrongTurn] = field(default_factory=list)
    strict: int = 0  # turns that only one choice could have made
    loose: int = 0  # turns where several would have been right
    rules: tuple[Rule, ...] = ()


def rules_of(course: Course) -> tuple[Rule, ...]:
    """Return the readings of the selection rules."""
    selection = course.profile.selection

    def choices(name: str) -> tuple[bool, ...]:
        known = course.known(f"selection.{name}")
        return (getattr(selection, name),) if known else (False, True)

    return tuple(
        Rule(failover, skipped, share)
        for failover in choices("failover_takes_turn")
        for skipped in choices("skipped_takes_turn")
        for share in sorted(shares(course.profile))
        if share is Share.NEXT or skipped
    )


@dataclass(frozen=True, slots=True)
class Acceptor:
    """The possible places of the rotation over *size* servers, by one rule."""

    size: int
    rule: Rule
    places: frozenset[int]

    def call(self, known: Sequence[State], chosen: int) -> frozenset[int]:
        """Return the places after a new call went to *chosen*; none when it cannot have."""
        found: set[int] = set()
        for start in self.places:
            if start == chosen:
                found.add((chosen + 1) % self.size)
            elif known[start] is not State.IN_SERVICE:
                found |= self._past(start, known, chosen)
        return frozenset(found)

    def _past(self, start: int, known: Sequence[State], chosen: int) -> set[int]:
        """Return the places after the turn of *start*, which is held, went to *chosen*."""
        between = range((chosen - start) % self.size)
        before = [(start + step) % self.size for step in between]
        if self.rule.share is Share.FIRST_LIVE:
            before = list(range(chosen))
        if any(known[server] is State.IN_SERVICE for server in before):
            return set()
        return {((start if self.rule.skipped_moves else chosen) + 1) % self.size}

    def failover(self, known: Sequence[State], chosen: int, tried: Sequence[int]) -> frozenset[int]:
        """Return the places after a call that *tried* others went on to *chosen*."""
        found: set[int] = set()
        starts = self.places if self.rule.failover_moves else {(tried[-1] + 1) % self.size}
        for start in starts:
            between = [(start + step) % self.size for step in range((chosen - start) % self.size)]
            if any(known[one] is State.IN_SERVICE and one not in tried for one in between):
                continue
            if not self.rule.failover_moves:
                return self.places
            skipped = start not in (*tried, chosen)
            used = start if skipped and self.rule.skipped_moves else chosen
            found.add((used + 1) % self.size)
        return frozenset(found)

    def choices(self, known: Sequence[State], tried: Sequence[int]) -> set[int]:
        """Return the servers that could be chosen now."""
        free = [server for server in range(self.size) if server not in tried]
        if tried:
            return {one for one in free if self.failover(known, one, tried)}
        return {one for one in free if self.call(known, one)}


def stretches(server: Ints, plain: npt.NDArray[np.bool_], size: int) -> Ints:
    """Return, for each turn, where the stretch of plain good turns that it is in ends."""
    good = np.zeros(len(server), np.bool_)
    if len(server) > 1:
        good[1:] = ((server[1:] - server[:-1]) % size == 1 % size) & plain[1:] & plain[:-1]
    breaks = np.append(np.flatnonzero(~good), len(server))
    return breaks[np.searchsorted(breaks, np.arange(len(server)), side="right")]


_Alive = tuple[Acceptor, ...]


@dataclass(slots=True)
class _Walker:
    """The walk through the turns of a round robin; what repeats itself is looked up."""

    course: Course
    codes: list[int]
    servers: list[int]
    ambiguous: list[bool]
    later: list[bool]  # failovers
    found: Walk = field(default_factory=Walk)
    _known: dict[tuple[_Alive, int, int], tuple[_Alive, bool] | None] = field(default_factory=dict)

    def step(self, alive: _Alive, at: int) -> _Alive:
        """Take one turn; return the acceptors that are left."""
        chosen, code = self.servers[at], self.codes[at]
        if self.ambiguous[at]:
            self.found.loose += 1
            return tuple(_widened(one, chosen) for one in alive)
        if self.later[at]:
            return self._take(alive, at, _next(alive, code, chosen, self._tried(at)))
        key = (alive, code, chosen)
        if key not in self._known:
            self._known[key] = _next(alive, code, chosen, ())
        return self._take(alive, at, self._known[key])

    def _tried(self, at: int) -> tuple[int, ...]:
        return _this_round(self.course, int(self.course.turns[at]))

    def _take(self, alive: _Alive, at: int, after: tuple[_Alive, bool] | None) -> _Alive:
        if after is not None:
            left, forced = after
            self.found.strict += forced
            self.found.loose += not forced
            return left
        tried = self._tried(at) if self.later[at] else ()
        known = decoded(self.codes[at], self.course.size)
        chosen = self.servers[at]
        if known[chosen] is not State.HELD:  # that is another rule's
            self.found.wrong.append(_wrong(self.course, alive, known, at, tried))
        place = frozenset({(chosen + 1) % self.course.size})
        return tuple(replace(one, places=place) for one in alive)


def _widened(one: Acceptor, chosen: int) -> Acceptor:
    """Return *one* after a new call, or a failover, or both in one."""
    more = {(place + 1) % one.size for place in (*one.places, chosen)}
    return replace(one, places=one.places | more)


def _next(
    alive: _Alive, code: int, chosen: int, tried: Sequence[int]
) -> tuple[_Alive, bool] | None:
    """Return what is left of *alive*, and whether nobody else could have been chosen."""
    known = decoded(code, alive[0].size)
    left = []
    for one in alive:
        after = one.failover(known, chosen, tried) if tried else one.call(known, chosen)
        if after:
            left.append((one, after))
    if not left:
        return None
    forced = all(len(one.choices(known, tried)) == 1 for one, _ in left)
    return tuple(replace(one, places=places) for one, places in left), forced


def walk(course: Course, states: States) -> Walk:
    """Return what is wrong with the turns of a round robin, by the rule that they break least."""
    rules = rules_of(course)
    found = _walked(course, states, rules)
    if not found.wrong or len(rules) == 1 or len(course.turns) > MAX_TURNS:
        return found
    several = [found, *(_walked(course, states, (rule,)) for rule in rules)]
    return min(several, key=lambda one: len(one.wrong))


def _walked(course: Course, states: States, rules: Sequence[Rule]) -> Walk:
    """Return what none of *rules* allows."""
    turns, size = course.turns, course.size
    server = course.hops.server[turns].astype(np.int64)
    codes, later = states.codes(course.first_ns[turns]), course.links.before[turns] >= 0
    plain = (codes == 0) & ~later & ~course.ambiguous
    ends = stretches(server, plain, size).tolist()
    servers = server.tolist()
    walker = _Walker(course, codes.tolist(), servers, course.ambiguous.tolist(), later.tolist())
    alive: _Alive = tuple(Acceptor(size, one, frozenset(range(size))) for one in rules)
    at, found = 0, walker.found
    while at < len(turns):
        alive = walker.step(alive, at)
        last = ends[at] - 1
        if last > at:
            begun = frozenset({(servers[at] + 1) % size})
            narrow = all(one.places == begun for one in alive)
            found.strict += last - at if narrow else 0
            found.loose += 0 if narrow else last - at
            place = frozenset({(servers[last] + 1) % size})
            alive = tuple(replace(one, places=place) for one in alive)
        at = max(last, at) + 1
    found.rules = tuple(one.rule for one in alive)
    return found


def _this_round(course: Course, row: int) -> tuple[int, ...]:
    """Return the servers that the call tried before, in this round through the list."""
    tried = course.tried(row)
    rounds = course.profile.selection.rounds > 1 or not course.known("selection.rounds")
    if not rounds:
        return tuple(tried)
    here: list[int] = []
    for server in (*tried, int(course.hops.server[row])):
        here = [server] if server in here else [*here, server]
    return tuple(here[:-1])


def _wrong(
    course: Course, alive: _Alive, known: Sequence[State], at: int, tried: Sequence[int]
) -> WrongTurn:
    row = int(course.turns[at])
    chosen = int(course.hops.server[row])
    due: set[int] = set()
    for one in alive:
        due |= one.choices(known, tried)
    passed = sorted(one for one in due if known[one] is State.IN_SERVICE and one != chosen)
    starts = sorted(place for one in alive for place in one.places)
    first = next((one for one in starts if one in passed), passed[0] if passed else -1)
    return WrongTurn(at, row, tuple(sorted(due)), first, bool(tried))


def hunt(course: Course, states: States) -> Walk:
    """Return what is wrong with the turns of an SBC that asks the first live server."""
    turns = course.turns
    server = course.hops.server[turns].astype(np.int64)
    codes = states.codes(course.first_ns[turns])
    plain = (server == 0) & ~course.ambiguous
    found = Walk(strict=int(plain.sum()))
    for at in np.flatnonzero(~plain).tolist():
        if course.ambiguous[at]:
            found.loose += 1
            continue
        row, chosen = int(turns[at]), int(server[at])
        known, tried = decoded(int(codes[at]), course.size), _this_round(course, row)
        before = [one for one in range(chosen) if one not in tried]
        live = [one for one in before if known[one] is State.IN_SERVICE]
        if live and known[chosen] is not State.HELD:
            found.wrong.append(WrongTurn(at, row, (live[0],), live[0], bool(tried)))
        elif any(known[one] is State.MAYBE for one in before):
            found.loose += 1
        else:
            found.strict += 1
    return found


def walked(course: Course, states: States) -> Walk:
    """Return what is wrong with the choices; nothing where only shares can be judged."""
    if not course.known("selection.method"):
        return Walk()
    match course.profile.selection.method:
        case Selection.ROUND_ROBIN:
            return walk(course, states)
        case Selection.HUNT | Selection.LIST_ORDER:
            return hunt(course, states)
        case Selection.PROPORTIONAL:
            return Walk()
