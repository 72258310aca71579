"""Sequence numbers of many streams at once: what is lost, late, sent twice or out of all order.

    number less the highest so far   (RFC 3550 A.1)
    1 to 2999                        forward: what is left out may be lost
    0, -1 to -99                     sent twice, or late
    all else                         odd, and left out; when a later packet has the number after
                                     an odd one's, the source restarted there, and both count

Laws: every count is that of a receiver which takes packet by packet and knows nothing of what
comes after; a stream's counts depend on no other stream, and not on where a block of packets ends.
A number's place goes on counting where the 16 bits turn; a restart goes on far behind all places
before it, so that none is met twice.

Sources: RFC 3550 A.1 and A.3; RFC 3611 section 4.7.2 for runs of loss.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints
from harness.packets.headers import Bools
from probetest.media.gaps import OpenGaps
from probetest.media.stream_table import StreamTable

MAX_DROPOUT, MAX_MISORDER = 3000, 100  # RFC 3550 A.1
FIRST_PLACE = 1 << 20  # of a stream, and its number; numbers below it come late
NO_NUMBER = -1  # for "bad_seq" of A.1
_TURN, _HALF = 1 << 16, 1 << 15
_APART = 1 << 44  # more than any place: keeps those of two streams apart

Shorts = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """Where the streams are in packets that are in order of stream and, in each, of arrival."""

    streams: Ints  # their numbers in the table
    starts: Ints
    size: Ints
    new: Bools  # streams that have no packet before these


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What became of each packet; None: all of them are taken, and none after a restart."""

    accepted: Bools | None
    part: Ints | None  # restarts of its stream, up to it


@dataclass(frozen=True, slots=True, eq=False)
class _Slow:
    """Packets of streams that have others than forward ones, or what A.1 makes of them."""

    packet: Ints
    stream: Ints
    place: Ints
    accepted: Bools
    ahead: Ints  # of the highest place before it
    base: Ints  # the first place since the source started
    restart: Bools


def follow(
    table: StreamTable, gaps: OpenGaps, grouped: Grouped, sequence: Shorts, at_ns: Ints
) -> Taken:
    """Count the packets of one block into *table*, and return which of them count."""
    state, streams, starts = table.columns, grouped.streams, grouped.starts
    new = streams[grouped.new]
    first = sequence[starts[grouped.new]].astype(np.int64) + FIRST_PLACE
    state["base"][new], state["highest"][new] = first, first - 1
    highest = state["highest"][streams]
    step = np.empty(len(sequence), np.uint16)
    np.subtract(sequence[1:], sequence[:-1], out=step[1:])
    step[starts] = sequence[starts] - (highest % _TURN).astype(np.uint16)
    forward = (step - np.uint16(1)) < MAX_DROPOUT - 1
    plain = np.logical_and.reduceat(forward, starts)
    if plain.all():
        _plain(table, gaps, grouped, step, at_ns)
        return Taken(None, _parts(state["restarts"][streams], grouped, None, len(sequence)))
    of_plain = np.repeat(plain, grouped.size)
    size = grouped.size[plain]
    some = Grouped(streams[plain], np.cumsum(size) - size, size, grouped.new[plain])
    _plain(table, gaps, some, step[of_plain], at_ns[of_plain])
    packet = np.flatnonzero(~of_plain)
    numbers = np.flatnonzero(~plain)
    slow = _walk(table, streams[numbers], grouped.size[numbers], packet, sequence[packet])
    _late(table, gaps, slow, at_ns)
    accepted = np.ones(len(sequence), np.bool_)
    accepted[packet] = slow.accepted
    return Taken(
        accepted=None if slow.accepted.all() else accepted,
        part=_parts(state["restarts"][streams], grouped, packet[slow.restart], len(sequence)),
    )


def _parts(restarts: Ints, grouped: Grouped, here: Ints | None, total: int) -> Ints | None:
    """Return how often the source of each packet had restarted by then.

    *restarts* is so of each stream by the end, and *here* are the packets that did it.
    """
    if not restarts.any():
        return None
    if here is None:
        return np.repeat(restarts, grouped.size)
    mark = np.zeros(total, np.int64)
    mark[here] = 1
    run = np.cumsum(mark)
    found: Ints = run + np.repeat(restarts - run[grouped.starts + grouped.size - 1], grouped.size)
    return found


def _plain(table: StreamTable, gaps: OpenGaps, grouped: Grouped, step: Shorts, at_ns: Ints) -> None:
    """Count streams whose packets all go forward, by *step* each."""
    if not len(step):
        return
    state, streams, starts = table.columns, grouped.streams, grouped.starts
    before = state["highest"][streams]
    advance = np.add.reduceat(step, starts, dtype=np.int64)
    missed = np.zeros(len(streams), np.int64)
    jumped = np.flatnonzero(step > 1)
    if len(jumped):
        owner = np.searchsorted(starts, jumped, side="right") - 1
        run = np.cumsum(step, dtype=np.int64)
        start = starts[owner]
        place = run[jumped] - run[start] + step[start] + before[owner]
        gaps.open(table, streams[owner], place - step[jumped] + 1, place - 1, at_ns[jumped])
        missed = np.bincount(owner, minlength=len(streams))
    state["highest"][streams] = before + advance
    state["expected"][streams] += advance
    state["received"][streams] += grouped.size
    state["in_step"][streams] += grouped.size - missed


def _walk(table: StreamTable, streams: Ints, size: Ints, packet: Ints, sequence: Shorts) -> _Slow:
    """Return the place of each packet, and which are taken; streams that jump go one by one."""
    state = table.columns
    starts = np.cumsum(size) - size
    highest, base = state["highest"][streams], state["base"][streams]
    step = np.empty(len(packet), np.int16)
    step[1:] = (sequence[1:] - sequence[:-1]).view(np.int16)
    step[starts] = (sequence[starts] - (highest % _TURN).astype(np.uint16)).view(np.int16)
    place = np.cumsum(step, dtype=np.int64)
    place += np.repeat(highest - (place[starts] - step[starts]), size)
    owner = np.repeat(np.arange(len(streams)), size)
    ahead = place - _highest_before(starts, owner, place, highest)
    jumps = (ahead >= MAX_DROPOUT) | (ahead <= -MAX_MISORDER)
    accepted, restart = np.ones(len(packet), np.bool_), np.zeros(len(packet), np.bool_)
    bases = np.repeat(base, size)
    for number in np.unique(owner[jumps]).tolist():
        part = slice(int(starts[number]), int(starts[number] + size[number]))
        out = place[part], accepted[part], bases[part], restart[part]
        _one_by_one(state, int(streams[number]), sequence[part].tolist(), out)
    taken = np.where(accepted, place, 0)
    ahead = place - _highest_before(starts, owner, taken, highest)
    forward = accepted & (ahead > 0) & ~restart
    state["expected"][streams] += _sums(owner[forward], ahead[forward], len(streams))
    state["received"][streams] += _sums(owner[accepted], None, len(streams))
    state["in_step"][streams] += _sums(owner[accepted & (ahead == 1)], None, len(streams))
    state["highest"][streams] = np.maximum(highest, np.maximum.reduceat(taken, starts))
    state["base"][streams] = bases[starts + size - 1]
    return _Slow(packet, streams[owner], place, accepted, ahead, bases, restart)


def _one_by_one(
    state: dict[str, Ints],
    stream: int,
    sequence: list[int],
    out: tuple[Ints, Bools, Ints, Bools],
) -> None:
    """Do what A.1 does with each packet of a stream, and write place, taken, base and restart."""
    place, accepted, bases, restarted = out
    highest, base = int(state["highest"][stream]), int(state["base"][stream])
    expecting = int(state["bad"][stream])
    odd = restarts = 0
    for number, value in enumerate(sequence):
        step = (value - highest + _HALF) % _TURN - _HALF
        if -MAX_MISORDER < step < MAX_DROPOUT:
            place[number] = highest + step
            highest = max(highest, highest + step)
        elif value == expecting:
            place[number] = highest = (highest // _TURN + 2) * _TURN + value
            base = highest - 1  # the odd one before it was the first
            restarted[number] = True
            expecting = NO_NUMBER
            restarts += 1
        else:
            expecting = (value + 1) % _TURN
            accepted[number] = False
            odd += 1
        bases[number] = base
    state["bad"][stream] = expecting
    state["odd"][stream] += odd - restarts
    state["restarts"][stream] += restarts
    state["received"][stream] += restarts  # the packets before them, which were odd till now
    state["expected"][stream] += 2 * restarts


def _late(table: StreamTable, gaps: OpenGaps, slow: _Slow, at_ns: Ints) -> None:
    """Open the gaps, put what came late into them, and count what was sent twice."""
    taken = slow.accepted & ~slow.restart
    jumped = np.flatnonzero(taken & (slow.ahead > 1))
    place = slow.place[jumped]
    since = at_ns[slow.packet[jumped]]
    gaps.open(table, slow.stream[jumped], place - slow.ahead[jumped] + 1, place - 1, since)
    late = np.flatnonzero(taken & (slow.ahead <= 0))
    if len(late):
        filled = gaps.fill(slow.stream[late], slow.place[late], slow.base[late])
        count = table.columns
        np.add.at(count["reordered"], slow.stream[late[filled]], 1)
        np.add.at(count["duplicates"], slow.stream[late[~filled]], 1)


def _highest_before(starts: Ints, owner: Ints, place: Ints, highest: Ints) -> Ints:
    """Return, a row a packet, the highest place of its stream before it."""
    apart = owner * _APART
    running = np.empty(len(place), np.int64)
    running[1:] = place[:-1] + apart[:-1]
    running[starts] = highest + apart[starts]
    # what a stream had before its first packet here is above all of the stream before it
    return np.maximum.accumulate(running) - apart


def _sums(owner: Ints, weight: Ints | None, count: int) -> Ints:
    """Return the sum of *weight*, or of ones, of each of *count* owners."""
    return np.bincount(owner, weight, count).astype(np.int64)
