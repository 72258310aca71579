"""How an unknown SBC chooses servers: each way of choosing is tried on what it did.

    asks in order of time ─▶ one walk a way ─▶ the ways without a wrong choice are left

A walk knows which servers may be held: those that failed, or were never asked, since they were
last asked. Such a server may be passed over; a way that passes over another one is wrong.
Laws: what two ways that are left do not agree on is unknown; a server passed over by every way
that is left was held at that moment; questions of one instant have no order: a failover and a
new call may have been chosen for either way round, whichever explains more.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from enumtest.infer.view import Ask
from enumtest.profiles.profile_groups import Selection, Share

CHANCE = 0.001  # that a server which takes part is not chosen for so long
MAY_BE_LOST = 0.05  # of the choices: what a tap can miss
MAX_WEIGHT = 12
DEVIATIONS = 2.5  # of a share from a weight
TIED_NS = 1_000_000  # questions this near were chosen for at once, in an order that nobody sees


@dataclass(frozen=True, slots=True)
class Way:
    """One way of choosing."""

    method: Selection
    failover_takes_turn: bool = False
    skipped_takes_turn: bool = False
    share: Share = Share.NEXT


@dataclass(slots=True)
class Walk:
    """What came of one way: choices that it cannot explain, and servers passed over."""

    way: Way
    predicted: int = 0
    wrong: list[Ask] = field(default_factory=list)
    unexplained: int = 0  # passed over, without a failure in the capture
    passed: dict[int, frozenset[int]] = field(default_factory=dict)  # by place in the asks
    _turn: int | None = None

    def take(
        self, at: int, ask: Ask, order: Sequence[int], away: set[int], failed: set[int]
    ) -> None:
        """Note that *ask* chose a server of *order* while those of *away* may have been held."""
        open_ = away - {ask.server}
        free = [one for one in order if one not in ask.tried and one not in open_]
        if self.way.method is Selection.ROUND_ROBIN:
            chosen, past = self._in_turn(ask, order, free)
        elif self.way.method is Selection.HUNT:
            chosen = free[0]
            past = frozenset(order[: order.index(ask.server)]) - set(ask.tried)
        else:
            chosen, past = next(one for one in order if one not in ask.tried), frozenset()
        if chosen is None:
            return
        self.predicted += 1
        if chosen != ask.server:
            self.wrong.append(ask)
        elif past:
            self.passed[at] = past
            self.unexplained += bool(past - failed)

    def _in_turn(
        self, ask: Ask, order: Sequence[int], free: Sequence[int]
    ) -> tuple[int | None, frozenset[int]]:
        """Return who is to be chosen (None: not known yet) past whom; the turn goes on."""
        size, actual = len(order), order.index(ask.server)
        moves = not ask.tried or self.way.failover_takes_turn
        start = self._turn if moves else (order.index(ask.tried[-1]) + 1) % size
        if start is None:
            self._turn = (actual + 1) % size
            return None, frozenset()
        scanned = [order[(start + step) % size] for step in range(size)]
        chosen = next(one for one in scanned if one in free)
        past = scanned[: scanned.index(chosen)]
        is_past = order[start] not in (*free, *ask.tried)
        if is_past and not ask.tried and self.way.share is Share.FIRST_LIVE:
            chosen = free[0]
            past = [order[start], *order[: order.index(chosen)]]
        if moves:
            right = chosen == ask.server
            used_up = start if right and is_past and self.way.skipped_takes_turn else actual
            self._turn = (used_up + 1) % size
        return chosen, frozenset(past) - set(ask.tried)


_TURNS = ((False, Share.NEXT), (True, Share.NEXT), (True, Share.FIRST_LIVE))
WAYS = (
    *(
        Way(Selection.ROUND_ROBIN, failover, skipped, share)
        for failover in (False, True)
        for skipped, share in _TURNS
    ),
    Way(Selection.HUNT),
    Way(Selection.LIST_ORDER),
)


@dataclass(frozen=True, slots=True)
class Choosing:
    """The ways that are left, the order of the servers they go by, and who was passed over when."""

    left: tuple[Way, ...]
    order: tuple[int, ...]
    wrong: tuple[Ask, ...]  # under the best way
    predicted: int
    passed: tuple[tuple[int, int], ...]  # place of the ask, server
    counts: Counter[int]  # first choices of each server while none was away
    against: int  # choices that the other methods cannot explain

    @property
    def methods(self) -> frozenset[Selection]:
        """Return the methods that are left; none: in turns only in the long run, or by weight."""
        return frozenset(way.method for way in self.left)


def choosing(found: Sequence[Ask], size: int, expire_ns: int) -> Choosing:
    """Return how the SBC chose among *size* servers; it waits *expire_ns* for a silent one."""
    order = _order(found, size)
    walks = [Walk(way) for way in WAYS]
    counts = _walked(walks, list(enumerate(found)), order, expire_ns)
    for turned in _other_orders(found):
        others = [Walk(way) for way in WAYS]
        _walked(others, turned, order, expire_ns)
        walks = [min(pair, key=_misfit) for pair in zip(walks, others, strict=True)]
    return _judged(walks, found, order, counts)


def _walked(
    walks: Sequence[Walk],
    found: Sequence[tuple[int, Ask]],
    order: tuple[int, ...],
    expire_ns: int,
) -> Counter[int]:
    """Return how often each server was chosen first while none was away; *walks* take all asks."""
    counts: Counter[int] = Counter()
    away, failed = set(order), set[int]()  # one that was not asked yet may be held
    ends = _failures([ask for _, ask in found], expire_ns)
    due = 0
    for at, ask in found:
        while due < len(ends) and ends[due][0] <= ask.at_ns:
            away.add(ends[due][1])
            failed.add(ends[due][1])
            due += 1
        for walk in walks:
            walk.take(at, ask, order, away, failed)
        away.discard(ask.server)
        if not away and not ask.tried:
            counts[ask.server] += 1
    return counts


def _other_orders(found: Sequence[Ask]) -> list[list[tuple[int, Ask]]]:
    """Return the asks, numbered, with failovers before new calls of the same instant, and after.

    Nothing where no failover and call came together.
    """
    begins, instant = 0, list[int]()
    for ask in found:
        begins = ask.at_ns if ask.at_ns - begins > TIED_NS else begins
        instant.append(begins)
    kinds = {(begins, bool(ask.tried)) for begins, ask in zip(instant, found, strict=True)}
    if len(kinds) == len({begins for begins, _ in kinds}):
        return []
    numbered = list(enumerate(found))
    return [
        sorted(numbered, key=lambda one: (instant[one[0]], bool(one[1].tried) is calls_first))
        for calls_first in (False, True)
    ]


def _misfit(walk: Walk) -> tuple[int, int]:
    return len(walk.wrong), walk.unexplained


def _judged(
    walks: Sequence[Walk], found: Sequence[Ask], order: tuple[int, ...], counts: Counter[int]
) -> Choosing:
    """Return the ways that explain every choice, or all but what a tap can have lost."""
    best = min(walks, key=_misfit)
    allowed = 0 if len(best.wrong) == 0 else MAY_BE_LOST * best.predicted
    others = [walk for walk in walks if walk.way.method is not best.way.method]
    against = min((len(walk.wrong) for walk in others), default=0)
    near = [walk for walk in walks if _misfit(walk) == _misfit(best)]
    if len(best.wrong) > allowed:
        passed = _by_chance(found, counts, len(order))
        return Choosing((), order, tuple(best.wrong), best.predicted, passed, counts, against)
    passed = tuple(
        (at, server)
        for at in best.passed
        for server in sorted(
            frozenset.intersection(*(walk.passed.get(at, frozenset()) for walk in near))
        )
    )
    left = tuple(walk.way for walk in near)
    return Choosing(left, order, tuple(best.wrong), best.predicted, passed, counts, against)


def _failures(found: Sequence[Ask], expire_ns: int) -> list[tuple[int, int]]:
    """Return when each ask that was no success was over, and its server."""
    return sorted((ask.over_ns(expire_ns), ask.server) for ask in found if not ask.served)


def _order(found: Sequence[Ask], size: int) -> tuple[int, ...]:
    """Return the servers in the order in which most first choices follow each other."""
    firsts = [ask for ask in found if not ask.tried]
    follows: list[Counter[int]] = [Counter() for _ in range(size)]
    for one, two in pairwise(firsts):
        if one.served and one.server != two.server:
            follows[one.server][two.server] += 1
    order, left = [0], set(range(1, size))
    while left:
        after = follows[order[-1]]
        given = (order[-1] + 1) % size
        most = max(left, key=lambda one: (after[one], one == given, -one))
        order.append(most)
        left.discard(most)
    own = tuple(order)
    # Another order than the given one has to be plain: hunting follows whoever is in service.
    turns = sum(follows[one][own[(at + 1) % size]] for at, one in enumerate(own))
    given_turns = sum(follows[one][(one + 1) % size] for one in range(size))
    total = sum(sum(after.values()) for after in follows)
    return own if turns > 0.9 * total and given_turns < 0.5 * total else tuple(range(size))


def _by_chance(
    found: Sequence[Ask], counts: Counter[int], size: int
) -> tuple[tuple[int, int], ...]:
    """Return who was passed over where the choice is by weight: too long for chance."""
    total = sum(counts.values())
    passed: list[tuple[int, int]] = []
    for server in range(size):
        share = counts[server] / total if total else 0
        if not 0 < share < 1:
            continue
        allowed = math.ceil(math.log(CHANCE) / math.log(1 - share))
        gap: list[int] = []
        for at, ask in enumerate(found):
            if ask.server == server:
                gap = []
            elif not ask.tried:
                gap.append(at)
                if len(gap) > allowed:  # the last ones of a gap may be chance
                    passed.append((gap[-1 - allowed], server))
    return tuple(sorted(passed))


def weights_of(counts: Counter[int], size: int) -> tuple[int, ...] | None:
    """Return the smallest weights that fit the shares; () when all are the same, None: too few."""
    total = sum(counts.values())
    if total < 10 * size:
        return None
    for whole in range(size, MAX_WEIGHT * size + 1):
        weights = tuple(max(1, round(whole * counts[one] / total)) for one in range(size))
        whole_weights = sum(weights)
        if all(
            abs(counts[one] / total - weight / whole_weights)
            <= DEVIATIONS * math.sqrt(weight / whole_weights * (1 - weight / whole_weights) / total)
            for one, weight in enumerate(weights)
        ):
            return () if len(set(weights)) == 1 else weights
    return None
