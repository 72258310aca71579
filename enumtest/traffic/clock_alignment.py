"""How far the clocks of several captures are apart, told from the packets.

    one tap's files      the same servers, one after the other      the same clock
    the same packet      in two captures                            seen at one moment
    a failover           left one server, asked another             so much later

Laws: the rotation is never assumed: it is what is to be proven; evidence that would fit two clocks
about as well is none; a clock that nothing tells is unsure by a day; several failovers have to
agree, and their spread is what stays unsure. Where they go one way only, from one capture's servers
to the other's, the declared time-out is believed within a twentieth: another one would look like a
clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from enumtest.dns.distinct_bytes import codes
from enumtest.dns.message_table import MessageTable
from enumtest.judge.asking_ways import UNDECLARED_NS, Ways
from enumtest.traffic.hop_fold import fold
from enumtest.traffic.lookup_join import SILENCE
from harness.packets.capture import Ints

MS = 1_000_000
DAY_NS = 86_400_000 * MS
FARTHEST_NS = 3_600_000 * MS  # apart, that failovers are looked for
NEXT_FILE_NS = 60_000 * MS  # from one file of a tap to the next
FEWEST, MOST = 3, 2000  # failovers that have to agree, and that are looked at
MOST_CANDIDATES = 64  # questions that could be the failover of one hop
CLEARLY = 2  # times better than any other fit
ROOM_NS = 40 * MS  # that failovers at one moment may differ, and a fiftieth of the time-out

_Pair = tuple[int, int, float, int]  # hop, difference of the clocks, weight, and what followed


@dataclass(frozen=True, slots=True)
class Clock:
    """One capture's clock against the common one."""

    ahead_ns: int
    unsure_ns: int  # by how much that may be wrong, both ways


@dataclass(frozen=True, slots=True)
class _Apart:
    """How far one clock is ahead of another."""

    ahead_ns: int
    unsure_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class _Left:
    """Hops of one capture, by its own clock."""

    call: Ints
    first_ns: Ints
    left_ns: Ints  # when the next server should be asked; -1: not at all
    id: npt.NDArray[np.int32]
    server: npt.NDArray[np.int16]
    ends: npt.NDArray[np.bool_]  # an answer came that a call ends with


def align(
    messages: MessageTable,
    spans: Sequence[tuple[int, int]],
    declared: Sequence[int | None],
    ways: Ways,
) -> list[Clock]:
    """Return the clock of each capture; the first one's is the common clock.

    Where clocks are *declared*, what they are declared against is the common clock.
    """
    apart = _measured(messages, spans, ways)
    known = {at: Clock(ahead, 0) for at, ahead in enumerate(declared) if ahead is not None}
    known = known or {0: Clock(0, 0)}
    while True:  # the surest way to one more clock, from those that are known
        found = [
            (clock.unsure_ns + one.unsure_ns, other, clock.ahead_ns + one.ahead_ns)
            for (at, other), one in apart.items()
            if (clock := known.get(at)) is not None and other not in known
        ]
        if not found:
            break
        unsure_ns, other, ahead_ns = min(found)
        known[other] = Clock(ahead_ns, unsure_ns)
    return [known.get(at, Clock(0, DAY_NS)) for at in range(len(spans))]


def _measured(
    messages: MessageTable, spans: Sequence[tuple[int, int]], ways: Ways
) -> dict[tuple[int, int], _Apart]:
    """Return for two captures how far the second's clock is ahead of the first's."""
    parts = [_in_time(messages.select(messages.watch == at)) for at in range(len(spans))]
    hops = _hops(parts, ways)
    found: dict[tuple[int, int], _Apart] = {}
    for one, other in combinations(range(len(spans)), 2):
        if _is_next_file(parts[one], parts[other], spans[one], spans[other]):
            apart: _Apart | None = _Apart(0, 0)
        else:
            apart = _by_packets(parts[one], parts[other]) or _by_failovers(
                hops[one], hops[other], ways.expire_ns or UNDECLARED_NS
            )
        if apart is not None:
            found[one, other] = apart
            found[other, one] = _Apart(-apart.ahead_ns, apart.unsure_ns)
    return found


def _in_time(part: MessageTable) -> MessageTable:
    return part.select(np.lexsort((part.frame, part.at_ns)))


def _is_next_file(
    one: MessageTable, other: MessageTable, span: tuple[int, int], other_span: tuple[int, int]
) -> bool:
    """Say whether a tap went on to write another file: the same servers, and no overlap."""
    gap_ns = max(span[0], other_span[0]) - min(span[1], other_span[1])
    same = set(one.server.tolist()) == set(other.server.tolist())
    return same and 0 <= gap_ns <= NEXT_FILE_NS


def _by_packets(one: MessageTable, other: MessageTable) -> _Apart | None:
    """Return what packets in both captures tell."""
    names = ("client", "port", "server", "from_client", "id", "ip_id")
    columns = [np.concatenate((getattr(one, name), getattr(other, name))) for name in names]
    _, octets = np.unique(np.concatenate((one.octets, other.octets)), return_inverse=True)
    good = np.concatenate((one.octets, other.octets)) != 0
    key = codes(*(column.astype(np.int64) + 1 for column in columns), octets.astype(np.int64))
    key, at_ns = key[good], np.concatenate((one.at_ns, other.at_ns))[good]
    second = np.arange(len(good))[good] >= len(one)
    order = np.lexsort((at_ns, second, key))
    key, at_ns, second = key[order], at_ns[order], second[order]
    group = np.unique(key, return_inverse=True)[1]
    count = np.bincount(group), np.bincount(group, weights=second)
    both = (count[0] == 2 * count[1])[group]  # as often in one as in the other
    apart_ns = at_ns[both & second] - at_ns[both & ~second]
    if len(apart_ns) < FEWEST:
        return None
    middle_ns = int(np.median(apart_ns))
    spread_ns = int(np.percentile(np.abs(apart_ns - middle_ns), 90))
    return _Apart(middle_ns, spread_ns) if spread_ns <= ROOM_NS else None


def _hops(parts: Sequence[MessageTable], ways: Ways) -> list[_Left]:
    """Return the hops of each capture, and when each left its server."""
    useless = ways.following(ways.expire_ns or UNDECLARED_NS).useless
    waiting = ways.waiting(
        ways.expire_ns or UNDECLARED_NS, new_id=bool(ways.new_id), fixed_id=bool(ways.fixed_id)
    )
    found: list[_Left] = []
    for part in parts:
        # Rounds are told by going to another server and back, which one tap does not show.
        folded = fold(part, replace(waiting, rounds=1))
        first = folded.first
        first_ns = part.at_ns[first]
        left_ns = np.full(len(first), -1, np.int64)
        silent = folded.event == SILENCE
        if ways.expire_ns is not None:
            left_ns[silent] = first_ns[silent] + ways.expire_ns
        failed = np.isin(folded.event, list(useless)) & (folded.answer >= 0)
        left_ns[failed] = part.at_ns[folded.answer[failed]]
        ends = ~silent & ~failed
        call = np.stack((part.client[first], part.question[first], part.source[first]), axis=1)
        found.append(
            _Left(
                call.astype(np.int64), first_ns, left_ns, part.id[first], part.server[first], ends
            )
        )
    whole = np.concatenate([one.call for one in found]).T
    key = np.split(codes(*whole), np.cumsum([len(one.first_ns) for one in found])[:-1])
    return [replace(one, call=each) for one, each in zip(found, key, strict=True)]


def _by_failovers(one: _Left, other: _Left, expire_ns: int) -> _Apart | None:
    """Return what failovers from one capture's servers to the other's tell, both ways.

    Those that end a call are looked at first: where one goes through its servers twice, a question
    in the second round fits as well as one in the first.
    """
    there, back = list(_pairs(one, other)), list(_pairs(other, one))
    ending = (
        [pair for pair in there if other.ends[pair[3]]],
        [pair for pair in back if one.ends[pair[3]]],
    )
    return _both_ways(*ending, expire_ns) or _both_ways(there, back, expire_ns)


def _both_ways(there: list[_Pair], back: list[_Pair], expire_ns: int) -> _Apart | None:
    """Return what pairs tell of which the first is in one capture, and the same turned round."""
    room_ns = ROOM_NS + expire_ns // 50
    forth, return_ = _cluster(there, room_ns), _cluster(back, room_ns)
    if forth is not None and return_ is not None:
        # A time-out that is not what it is said to be shifts the two in opposite directions.
        error_ns = abs(forth[0] + return_[0]) // 2
        if error_ns > expire_ns // 4:  # one of the two fits by chance
            return None
        return _Apart((forth[0] - return_[0]) // 2, error_ns + max(forth[1], return_[1]))
    if forth is not None:
        return _Apart(forth[0], forth[1] + expire_ns // 20)
    if return_ is not None:
        return _Apart(-return_[0], return_[1] + expire_ns // 20)
    return None


def _cluster(found: list[_Pair], room_ns: int) -> tuple[int, int] | None:
    """Return the difference of the clocks that most pairs agree on, and their spread.

    A hop that could have been left for many questions tells less than one with a single follower.
    """
    if not found:
        return None
    found.sort(key=_by_apart)
    hop, apart_ns, weight, _ = (np.array(column) for column in zip(*found, strict=True))
    reach = np.searchsorted(apart_ns, apart_ns + room_ns, side="right")
    total = np.concatenate(([0.0], np.cumsum(weight)))
    score = total[reach] - total[np.arange(len(apart_ns))]
    best = int(score.argmax())
    cluster = slice(best, int(reach[best]))
    elsewhere = np.abs(apart_ns - np.median(apart_ns[cluster])) > 2 * room_ns
    if len(np.unique(hop[cluster])) < FEWEST:
        return None
    if elsewhere.any() and score[elsewhere].max() * CLEARLY > score[best]:
        return None
    middle_ns = int(np.median(apart_ns[cluster]))
    return middle_ns, int(np.abs(apart_ns[cluster] - middle_ns).max())


def _by_apart(pair: _Pair) -> int:
    return pair[1]


def _pairs(one: _Left, other: _Left) -> Iterator[_Pair]:
    """Yield what could be failovers."""
    order = np.lexsort((other.first_ns, other.call))
    call, first_ns = other.call[order], other.first_ns[order]
    id_, server = other.id[order], other.server[order]
    left = np.flatnonzero(one.left_ns >= 0)[:MOST]
    begins, ends = (np.searchsorted(call, one.call[left], side=side) for side in ("left", "right"))
    for hop, begin, end in zip(left.tolist(), begins.tolist(), ends.tolist(), strict=True):
        apart_ns = first_ns[begin:end] - one.left_ns[hop]
        elsewhere = server[begin:end] != one.server[hop]
        near = np.flatnonzero(elsewhere & (np.abs(apart_ns) <= FARTHEST_NS))
        same = near[id_[begin:end][near] == one.id[hop]]  # some resolvers keep it for a call
        near = same if len(same) else near
        if len(near) <= MOST_CANDIDATES:
            for at in near.tolist():
                yield hop, int(apart_ns[at]), 1 / len(near), int(order[begin + at])
