"""From hops to the lookups of calls: each failover joined to the hop whose end it waited for.

Laws: a hop is in one lookup; what fits best is joined first: after an error, then when the time-out
is just over, then near that, then far too early; a failover repeats client, question and calling
URI. Only when nothing else fits may the URI be missing: an SBC that drops it must not look like
one that makes calls out of nothing.

Questions to which a non-terminal record leads have another owner name: lookups of their own.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_table import EVENTS
from harness.packets.capture import Ints

MAX_LOOKED_AT = 32  # chains at one server, from the best fit on
HASTE_NS = 50_000_000  # after an answer that ends a call: the SBC's doing, nobody redials so fast
AT_ONCE_SHARE = 0.3  # of such answers: fewer are a coincidence
AT_ONCE_LEAST = 2  # likewise, of answers that are as good as any
AT_ONCE_NS = 100_000_000  # left sooner: the network refused the packet (ICMP), nobody waited
MAX_SILENT = 2000  # hops whose failovers are measured; more would tell nothing new
LONGEST_NS = 60_000_000_000  # that any SBC waits for one server
SILENCE, TRUNCATED = EVENTS.index(Event.SILENCE), EVENTS.index(Event.TRUNCATED)
FINAL = frozenset(EVENTS.index(event) for event in (Event.NXDOMAIN, Event.NODATA))
NEVER = -1

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Following:
    """What an SBC may do after a hop, as far as it is known; events are places in EVENTS."""

    expire_ns: int
    rounds: int = 1  # how often one call may come to a server
    same_id: bool = False  # it comes back only with the id that it had
    waits: frozenset[int] = frozenset()  # no better than silence
    useless: frozenset[int] = frozenset()  # somebody is asked at once
    final: frozenset[int] = FINAL  # nobody should be asked; an SBC that does is told by its haste


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Hops in order of time, as far as joining needs them."""

    server: npt.NDArray[np.int16]
    tcp: Bools
    event: npt.NDArray[np.int8]
    has_edns: Bools
    first_ns: Ints
    last_ns: Ints  # of the sends
    answered_ns: Ints  # NEVER: not in time
    has_late: Bools  # an answer that came too late, or after another
    id: npt.NDArray[np.int32]
    call: Ints  # equal for what may be one call: client, question and source
    bare: Ints  # client and question
    has_source: Bools

    def __len__(self) -> int:
        """Return the number of hops."""
        return len(self.server)


def join(asked: Asked, following: Following) -> Ints:
    """Return for each hop the first hop of its lookup."""
    joining = _Joining(asked, following)
    for hops in joining.candidates():
        joining.merge_all(hops)
    return joining.heads()


@dataclass(slots=True)
class _Queue:
    """Chains at one server that wait, by the time that a fit looks at."""

    keys: list[tuple[int, int]] = field(default_factory=list)  # time, first hop of the chain

    def near(self, low: int, target: int, high: int) -> list[tuple[int, int]]:
        """Return chains whose time is from *low* to *high*, nearest to *target* first."""
        keys, at = self.keys, bisect_left(self.keys, (target, NEVER))
        down = keys[max(bisect_left(keys, (low, NEVER)), at - MAX_LOOKED_AT) : at]
        up = keys[at : min(bisect_left(keys, (high + 1, NEVER)), at + MAX_LOOKED_AT)]
        return sorted((*down, *up), key=lambda one: (abs(one[0] - target), one[1]))


@dataclass(frozen=True, slots=True)
class _Fit:
    """One way in which a hop can follow a chain."""

    key_ns: Callable[[int], int]  # of the chain's last hop; NEVER: it cannot be followed so
    window_ns: tuple[int, int, int]  # from, best and up to, against the new hop
    is_good: Callable[[int, int, int], bool]  # first and last hop of the chain, the new hop


class _Joining:
    """Chains while they grow; a hop is its number, a chain its first hop."""

    def __init__(self, asked: Asked, following: Following) -> None:
        self.asked, self.following = asked, following
        self.next = dict[int, int]()  # within a chain
        self.head = dict[int, int]()  # of those that are not their own
        self.tail = dict[int, int]()  # of those that have more than one hop
        self.haste = self._hasty()
        self.server, self.tcp, self.event = (
            column.tolist() for column in (asked.server, asked.tcp, asked.event)
        )
        expire_ns = following.expire_ns
        small, half = expire_ns // 20, expire_ns // 2
        self.fits = (
            _Fit(self._error_ns, (-half, 0, 0), self._after_error),
            _Fit(self._silent_ns, (-expire_ns - small, -expire_ns, small - expire_ns), self._out),
            _Fit(self._silent_ns, (-expire_ns - half, -expire_ns, half - expire_ns), self._out),
            _Fit(self._mute_ns, (1 - expire_ns, 0, 0), self._early),
        )

    def heads(self) -> Ints:
        """Return the first hop of each hop's chain."""
        found = np.arange(len(self.asked), dtype=np.int64)
        if self.head:
            found[list(self.head)] = list(self.head.values())
        return found

    def candidates(self) -> Iterator[list[int]]:
        """Yield hops of one client and question, if any of them can follow another."""
        asked = self.asked
        opens = (asked.event == SILENCE) | np.isin(
            asked.event,
            [TRUNCATED, *self.following.waits, *self.following.useless, *self.haste],
        )
        opens |= asked.answered_ns - asked.first_ns > self.following.expire_ns
        if not opens.any():
            return
        order = np.argsort(asked.bare, kind="stable")
        group, first_ns, opens = asked.bare[order], asked.first_ns[order], opens[order]
        place = np.arange(len(order))
        latest = np.maximum.accumulate(np.where(opens, place, -1))
        near = (latest >= 0) & (group[latest] == group)
        near &= first_ns - first_ns[latest] <= 2 * self.following.expire_ns
        chosen = np.flatnonzero(near)
        if not len(chosen):
            return
        ends = np.flatnonzero(np.diff(group[chosen])) + 1
        bounds = [0, *ends.tolist(), len(chosen)]
        hops = order[chosen].tolist()
        for begin, end in pairwise(bounds):
            if end - begin > 1:
                yield hops[begin:end]

    def merge_all(self, hops: list[int]) -> None:
        """Join what belongs together of *hops*, which are in order of time."""
        call = self.asked.call[hops].tolist()
        groups = dict(zip(hops, call, strict=True))
        for fit in self.fits:
            hops = self._merge(hops, fit, groups)
        sourceless = [hop for hop in hops if not self.asked.has_source[hop]]
        if not sourceless or len(sourceless) == len(hops):
            return
        for fit in self.fits:
            hops = self._merge(hops, fit, dict.fromkeys(hops, 0), only=frozenset(sourceless))

    def _merge(
        self,
        heads: list[int],
        fit: _Fit,
        groups: dict[int, int],
        only: frozenset[int] | None = None,
    ) -> list[int]:
        """Return the chains that are left, each that fits appended to an earlier one.

        With *only*, these alone are appended, to chains that have a calling URI.
        """
        kept: list[int] = []
        waiting: dict[int, dict[int, _Queue]] = {}
        low, target, high = fit.window_ns
        for new in heads:
            queues = waiting.setdefault(groups[new], {})
            now_ns = int(self.asked.first_ns[new])
            best: tuple[int, int, int] | None = None
            for queue in queues.values() if only is None or new in only else ():
                for key_ns, head in queue.near(now_ns + low, now_ns + target, now_ns + high):
                    if only is not None and not self.asked.has_source[head]:
                        continue
                    if fit.is_good(head, self.tail.get(head, head), new):
                        found = abs(now_ns + target - key_ns), head, key_ns
                        best = found if best is None else min(best, found)
                        break
            whole = new
            if best is None:
                kept.append(new)
            else:
                _, whole, key_ns = best
                keys = queues[self.server[self.tail.get(whole, whole)]].keys
                del keys[bisect_left(keys, (key_ns, whole))]
                self._append(whole, new)
            last = self.tail.get(whole, whole)
            if (key_ns := fit.key_ns(last)) != NEVER:
                insort(queues.setdefault(self.server[last], _Queue()).keys, (key_ns, whole))
        return kept

    def _append(self, head: int, new: int) -> None:
        self.next[self.tail.get(head, head)] = new
        hop = new
        while True:
            self.head[hop] = head
            self.tail[head] = hop
            if hop not in self.next:
                return
            hop = self.next[hop]

    def _hasty(self) -> frozenset[int]:
        """Return the events that should end a call, and after which this SBC asks somebody else."""
        asked = self.asked
        found = set[int]()
        order = np.argsort(asked.call, kind="stable")
        call, server = asked.call[order], asked.server[order]
        since_ns = np.full(len(order), NEVER, np.int64)
        since_ns[:-1] = asked.first_ns[order][1:] - asked.answered_ns[order][:-1]
        since_ns[:-1][(call[1:] != call[:-1]) | (server[1:] == server[:-1])] = NEVER
        at_once = (since_ns >= 0) & (since_ns <= HASTE_NS)
        for event in self.following.final:
            here = asked.event[order] == event
            count = int((here & at_once).sum())
            least = AT_ONCE_LEAST if event in FINAL else 1
            if count >= max(least, AT_ONCE_SHARE * int(here.sum())):
                found.add(event)
        return frozenset(found)

    def _error_ns(self, last: int) -> int:
        event = self.event[last]
        good = event in self.following.useless or event == TRUNCATED or event in self.haste
        return int(self.asked.answered_ns[last]) if good else NEVER

    def _after_error(self, head: int, last: int, new: int) -> bool:
        """Say whether *new* can come after an answer that is of no use, or half of one."""
        event, here = self.event[last], self.server[new] == self.server[last]
        if here and event == TRUNCATED:
            return bool(self.tcp[new] and not self.tcp[last])
        if here and event in self.following.useless:
            return bool(self.asked.has_edns[last] and not self.asked.has_edns[new])
        since_ns = int(self.asked.first_ns[new] - self.asked.answered_ns[last])
        if event in self.haste and since_ns > HASTE_NS:
            return False
        return self._is_elsewhere(head, last, new)

    def _silent_ns(self, last: int) -> int:
        asked = self.asked
        first_ns, answered_ns = int(asked.first_ns[last]), int(asked.answered_ns[last])
        waits = self.event[last] == SILENCE or self.event[last] in self.following.waits
        waits = waits or answered_ns - first_ns > self.following.expire_ns
        return first_ns if waits else NEVER

    def _out(self, head: int, last: int, new: int) -> bool:
        """Say whether the last server was given up when *new* was sent."""
        waits = self.event[last] == SILENCE or self.event[last] in self.following.waits
        overtaken = self.asked.answered_ns[last] > self.asked.first_ns[new]
        return (waits or bool(overtaken)) and self._is_elsewhere(head, last, new)

    def _mute_ns(self, last: int) -> int:
        mute = self.event[last] == SILENCE and not self.asked.has_late[last]
        return int(self.asked.first_ns[last]) if mute else NEVER

    def _early(self, head: int, last: int, new: int) -> bool:
        """Say whether *new* can come after an ICMP "port unreachable".

        The last server never answered, was not asked again, and nothing better followed it.
        """
        gave_way = self.asked.last_ns[last] <= self.asked.first_ns[new]
        return bool(gave_way) and self._is_elsewhere(head, last, new)

    def _is_elsewhere(self, head: int, last: int, new: int) -> bool:
        """Say whether *new* goes to a server that was not asked yet in this round."""
        server, count, hop = self.server[new], 0, head
        while True:
            count += self.server[hop] == server
            if hop == last:
                break
            hop = self.next[hop]
        if not count:
            return True
        again = server != self.server[last] and count < self.following.rounds
        return again and (not self.following.same_id or self.asked.id[new] == self.asked.id[head])


def measured_expire(asked: Asked, declared_ns: int | None) -> tuple[int, int]:
    """Return after how long silence is followed by a question elsewhere, and how often it was.

    A time-out that is declared stands as long as any failovers keep to it. (0, 0): nothing to tell.
    """
    order = np.argsort(asked.call, kind="stable")
    call, server = asked.call[order], asked.server[order]
    silent = np.flatnonzero(asked.event[order] == SILENCE)[:MAX_SILENT]
    first_ns, last_ns = asked.first_ns[order], asked.last_ns[order]
    waited: list[int] = []
    kept = 0
    for at in silent.tolist():
        for other in range(at + 1, min(at + MAX_LOOKED_AT, len(order))):
            age_ns = int(first_ns[other] - first_ns[at])
            if call[other] != call[at] or age_ns > LONGEST_NS:
                break
            if server[other] == server[at] or first_ns[other] < last_ns[at]:
                continue
            if age_ns >= AT_ONCE_NS:
                waited.append(age_ns)
            break
        if declared_ns is not None:
            kept += _keeps(call, server, first_ns, at, declared_ns)
    if not waited or kept * 5 >= len(silent):
        return (declared_ns or 0, kept)
    times_ns = np.sort(np.array(waited, np.int64))
    reach = np.searchsorted(times_ns, times_ns * 21 // 20 + 10_000_000, side="right")
    size = reach - np.arange(len(times_ns))
    best = int(size.argmax())
    cluster = times_ns[best : int(reach[best])]
    gaps_ns = redials(call, asked.event[order], first_ns)
    if is_redial(gaps_ns, int(cluster[0]), int(cluster[-1]), len(cluster)):
        return (declared_ns or 0, kept)
    return int(np.median(cluster)), len(cluster)


def redials(call: Ints, event: npt.NDArray[np.int8], first_ns: Ints) -> Ints:
    """Return how long after a useful answer the same was asked again, shortest first.

    That is another call. Rows are in order of *call*, and then of time.
    """
    again = (call[1:] == call[:-1]) & (event[:-1] == 0)
    gaps: Ints = np.sort(first_ns[1:][again] - first_ns[:-1][again])
    return gaps


def is_redial(gaps_ns: Ints, low_ns: int, high_ns: int, count: int) -> bool:
    """Say whether *count* waits from *low_ns* to *high_ns* may be the next calls of the numbers.

    They may if as many numbers were called again after such a time though nothing had failed.
    """
    ends = np.searchsorted(gaps_ns, [low_ns * 9 // 10, high_ns * 11 // 10])
    return bool(ends[1] - ends[0] >= count)


def _keeps(call: Ints, server: npt.NDArray[np.int16], first_ns: Ints, at: int, ns: int) -> bool:
    """Say whether somebody else is asked when the declared time-out is over, within 10 %."""
    for other in range(at + 1, min(at + MAX_LOOKED_AT, len(call))):
        age_ns = int(first_ns[other] - first_ns[at])
        if call[other] != call[at] or age_ns > ns * 11 // 10:
            return False
        if server[other] != server[at] and age_ns >= ns * 9 // 10:
            return True
    return False
