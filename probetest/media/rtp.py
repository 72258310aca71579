"""RTP: headers as columns, and the arithmetic of RFC 3550 over many streams at once.

Laws: no packet becomes an object; arrays are in order of stream and, in each, of arrival, and
`starts` holds where each stream begins; a stream's figures depend on no other stream.

    step from packet to packet   (RFC 3550 A.1)
    1 to 2999                    forward: what is left out may be lost
    0, -1 to -100                a duplicate, or late
    all else                     the source restarted, if the packet after it goes on from there;
                                 else that one packet is odd, and left out

Sources: RFC 3550 sections 5.1, 6.3.1, A.1, A.3, A.8; RFC 5761 section 4 (RTP or RTCP);
RFC 4733 section 2.3 (telephone events).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import UDP, Datagrams
from harness.packets.headers import Bools

HEADER_BYTES = 12
MAX_DROPOUT, MAX_MISORDER = 3000, 100  # RFC 3550 A.1
RTCP_FIRST, RTCP_LAST = 192, 223  # of the second byte (RFC 5761 section 4)
EVENT_BYTES = 4
_VERSION = 2
_TURN, _HALF = 1 << 16, 1 << 15  # of sequence numbers
_LONG_TURN, _LONG_HALF = 1 << 32, 1 << 31  # of timestamps
_APART = 1 << 40  # more than any count of packets: keeps the numbers of two streams apart
_BLOCK = 32  # packets that share one matrix product of the jitter
_DECAY = 15 / 16
_MAX_STEP_MS = 1e9  # 12 days: a longer step says nothing about jitter

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """RTP headers, a row each."""

    row: Ints  # in the datagrams
    at_ns: Ints
    sequence: Ints
    timestamp: Ints
    ssrc: Ints
    payload_type: Ints
    offset: Ints  # in the capture, of what follows the header; its length is never negative
    size: Ints

    def select(self, which: Bools | Ints) -> Self:
        """Return some of them."""
        parts = {name: getattr(self, name)[which] for name in self.__dataclass_fields__}
        return type(self)(**parts)


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What the sequence numbers of each stream say, a row a stream."""

    received: Ints  # odd packets left out, duplicates counted
    expected: Ints
    lost: Ints  # expected less received: below 0 with duplicates (RFC 3550 A.3)
    duplicates: Ints
    reordered: Ints  # came late, but came
    restarts: Ints
    odd: Ints  # one packet out of all order
    fresh: Bools  # a row a packet: nothing may be measured from the packet before it


@dataclass(frozen=True, slots=True, eq=False)
class Jitter:
    """Interarrival jitter of each stream, in milliseconds (RFC 3550 A.8)."""

    last: Floats  # as a receiver would report it now
    mean: Floats  # over all packets but the first
    highest: Floats


def is_rtcp(second: Ints) -> Bools:
    """Say of the *second* byte of each packet whether it makes it RTCP."""
    return (second >= RTCP_FIRST) & (second <= RTCP_LAST)


def version_2(datagrams: Datagrams, *, at_least_bytes: int = HEADER_BYTES) -> tuple[Ints, Ints]:
    """Return the UDP rows that begin as RTP and RTCP do, and the second byte of each."""
    rows = np.flatnonzero((datagrams.protocol == UDP) & (datagrams.payload_bytes >= at_least_bytes))
    at = datagrams.payload_offset[rows]
    data = datagrams.data
    right = data[at] >> 6 == _VERSION
    return rows[right], data[at[right] + 1].astype(np.int64)


def headers(datagrams: Datagrams, rows: Ints) -> Packets:
    """Return the header of each row; rows that do not hold it whole are left out."""
    data = datagrams.data
    at, size = datagrams.payload_offset[rows], datagrams.payload_bytes[rows]
    first = data[at].astype(np.int64)
    length = HEADER_BYTES + 4 * (first & 15)
    extended = np.flatnonzero((first & 16 != 0) & (length + 4 <= size))
    words = at_every_byte(data, ">u2")[at[extended] + length[extended] + 2].astype(np.int64)
    length[extended] += 4 + 4 * words
    length[(first & 16 != 0) & (size < HEADER_BYTES + 4)] = np.iinfo(np.int64).max
    whole = length <= size
    rows, at, length, size = rows[whole], at[whole], length[whole], size[whole]
    return Packets(
        row=rows,
        at_ns=datagrams.at_ns[rows],
        sequence=at_every_byte(data, ">u2")[at + 2].astype(np.int64),
        timestamp=at_every_byte(data, ">u4")[at + 4].astype(np.int64),
        ssrc=at_every_byte(data, ">u4")[at + 8].astype(np.int64),
        payload_type=data[at + 1].astype(np.int64) & 127,
        offset=at + length,
        size=size - length,
    )


def lengths(starts: Ints, total: int) -> Ints:
    """Return how many packets each stream has."""
    return np.diff(np.append(starts, total))


def steps(starts: Ints, sequence: Ints) -> Ints:
    """Return the step from the packet before, -32768 to 32767; 0 at each start."""
    step = np.zeros(len(sequence), np.int64)
    step[1:] = (np.diff(sequence) + _HALF) % _TURN - _HALF
    step[starts] = 0
    return step


def count(starts: Ints, sequence: Ints) -> Counts:
    """Return what is lost, twice, late or out of all order in each stream."""
    total = len(sequence)
    stream = np.repeat(np.arange(len(starts)), lengths(starts, total))
    jump = _jumps(starts, sequence)
    final = np.zeros(total + 1, np.bool_)
    final[starts] = final[-1] = True
    odd = jump & (final[1:] | np.append(jump[1:], False))
    kept = np.flatnonzero(~odd)
    if not total:
        none = np.zeros(0, np.int64)
        return Counts(none, none, none, none, none, none, none, odd)
    inner = stream[kept]
    begins = np.flatnonzero(np.diff(inner, prepend=-1))
    restart = _jumps(begins, sequence[kept])
    parts = np.union1d(begins, np.flatnonzero(restart))
    step = steps(parts, sequence[kept])
    place = np.cumsum(step)
    place -= np.repeat(place[parts], lengths(parts, len(kept)))
    expected = np.maximum.reduceat(place, parts) + 1
    size = len(starts)
    wanted = np.bincount(inner[parts], expected, size).astype(np.int64)
    received = np.bincount(inner, minlength=size)
    twice, late = _twice_and_late(parts, place)
    duplicates = np.bincount(inner[twice], minlength=size)
    fresh = odd.copy()
    fresh[1:] |= odd[:-1]
    fresh[kept[parts]] = True
    return Counts(
        received=received,
        expected=wanted,
        lost=wanted - received,
        duplicates=duplicates,
        reordered=np.bincount(inner[late], minlength=size) - duplicates,
        restarts=np.bincount(inner[restart], minlength=size),
        odd=np.bincount(stream[odd], minlength=size),
        fresh=fresh,
    )


def jitter(starts: Ints, at_ns: Ints, timestamp: Ints, clock_hz: Ints, fresh: Bools) -> Jitter:
    """Return the jitter of each stream, whose clock is *clock_hz*; *fresh* as in `Counts`."""
    total = len(at_ns)
    if not total:
        none = np.zeros(0, np.float64)
        return Jitter(none, none, none)
    size = lengths(starts, total)
    per_packet_hz = np.repeat(clock_hz, size)
    sent = (np.diff(timestamp) + _LONG_HALF) % _LONG_TURN - _LONG_HALF
    step = np.zeros(total, np.float64)
    step[1:] = np.abs(np.diff(at_ns) / 1e6 - sent * 1e3 / per_packet_hz[1:])
    step[fresh] = 0
    step[starts] = 0
    running = _smoothed(np.minimum(step, _MAX_STEP_MS))
    # The filter ran on over the ends of streams: what it brought into each is taken off.
    age = np.arange(total) - np.repeat(starts, size)
    brought = np.append(0.0, running)[starts]
    running = np.maximum(running - np.repeat(brought, size) * _DECAY ** (age + 1.0), 0.0)
    mean = np.add.reduceat(running, starts) / np.maximum(size - 1, 1)
    return Jitter(running[starts + size - 1], mean, np.maximum.reduceat(running, starts))


def event_digits(event: Ints) -> str:
    """Return the keys that RFC 4733 events stand for; what is no key is "?".

    >>> event_digits(np.array([1, 11, 15, 70]))
    '1#D?'
    """
    keys = "0123456789*#ABCD"
    return "".join(keys[number] if number < len(keys) else "?" for number in event.tolist())


def _jumps(starts: Ints, sequence: Ints) -> Bools:
    """Say of each packet whether its step is neither forward nor a little back."""
    step = steps(starts, sequence)
    return (step >= MAX_DROPOUT) | (step < -MAX_MISORDER)


def _twice_and_late(parts: Ints, place: Ints) -> tuple[Ints, Ints]:
    """Return which packets came twice, and which came after a later one or twice.

    *place* counts from the first packet of each part.
    """
    part = np.repeat(np.arange(len(parts)), lengths(parts, len(place)))
    apart = part * _APART + place
    highest = np.maximum.accumulate(apart)
    late = np.zeros(len(place), np.bool_)
    late[1:] = apart[1:] <= highest[:-1]
    late[parts] = False
    doubtful = np.zeros(len(parts), np.bool_)
    doubtful[part[late]] = True
    some = np.flatnonzero(doubtful[part])
    order = some[np.argsort(apart[some], kind="stable")]
    twice = order[1:][apart[order[1:]] == apart[order[:-1]]]
    return twice, np.flatnonzero(late)


def _smoothed(step: Floats) -> Floats:
    """Return J of RFC 3550 A.8 after each packet: J += (step - J) / 16.

    In blocks of 32: a matrix product inside each, and what the block before left over.
    """
    blocks = -(-len(step) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[: len(step)] = step
    place = np.arange(_BLOCK)
    age = place[:, None] - place
    weights = np.where(age >= 0, (1 - _DECAY) * _DECAY ** np.maximum(age, 0), 0.0)
    inside = padded.reshape(-1, _BLOCK) @ weights.T
    carried, left = [], 0.0
    for last in inside[:, -1].tolist():
        carried.append(left)
        left = last + left * _DECAY**_BLOCK
    whole = inside + np.array(carried)[:, None] * _DECAY ** (place + 1.0)
    running: Floats = whole.ravel()[: len(step)]
    return running
