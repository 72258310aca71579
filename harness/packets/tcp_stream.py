"""The bytes that TCP delivered, each direction a stream, and which frame brought each of them.

`TcpStreams` takes a capture a block at a time and gives what follows on; `reassemble` makes of a
whole capture whole streams with it.

Laws: a byte counts once, from the frame that showed it first; what is missing is told where it is
missing, never skipped in silence; a frame that is not whole, an empty segment ahead, or a FIN shows
a gap at the end too. What was given is not kept, what waits for its turn has limits, and so has the
number of connections: memory does not grow with the capture. Segments are taken in order of time,
and all waiting is counted on their times, so that the blocks of a capture make no difference, but
where a limit on the memory of all connections together is reached.

A new SYN with another number starts a new stream: ports are used again.

Sources: RFC 9293 section 3.4 (sequence numbers; they are compared modulo 2**32), RFC 6298 section 5
(a lost segment comes again after 1, 3, 7 seconds).
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain

import numpy as np

from harness.errors import InputError
from harness.packets.capture import Bytes
from harness.packets.frame import FIN, RST, SYN, TCP, Datagrams, Endpoint
from harness.packets.headers import ODD, Bools
from harness.packets.tcp_direction import TURN, Delivery, Direction, Gap, Segment, StreamKey

__all__ = (  # what streams are told in is part of this door
    "Delivery",
    "Gap",
    "Limits",
    "Piece",
    "Stream",
    "StreamKey",
    "TcpStreams",
    "reassemble",
)

MAX_STREAM_BYTES = 256 * 1024 * 1024  # of one direction: hours of signalling
_SECOND = 1_000_000_000
_ADDRESS_BYTES = 16
_KEY_BYTES = 2 * _ADDRESS_BYTES + 2 * 2 + 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept of TCP, and how long."""

    patience_ns: int | None = 10 * _SECOND  # for a missing segment; None: to the end
    waiting_bytes: int = 2 * 1024 * 1024  # behind a missing segment of one direction
    all_waiting_bytes: int = 64 * 1024 * 1024  # both with what a segment costs beside its bytes
    directions: int = 100_000  # the one idle for longest is forgotten first
    idle_ns: int = 7_200 * _SECOND  # keep-alives come every two hours (RFC 9293 section 3.8.4)
    ended_ns: int = 120 * _SECOND  # for late repetitions of a connection that ended


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that one frame brought; they go up to the next piece's offset."""

    offset_bytes: int  # in the stream
    frame: int  # counted from 1
    at_ns: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of one TCP connection, up to its first gap."""

    source: Endpoint
    destination: Endpoint
    data: bytes
    pieces: tuple[Piece, ...]
    from_start: bool  # its SYN was seen: the first byte here is the first that was sent
    gap: Gap | None  # None: nothing is known to be missing

    def piece(self, offset_bytes: int) -> Piece:
        """Return which frame brought the byte at *offset_bytes*, and when.

        Raises:
            InputError: the stream has no such byte.
        """
        if not 0 <= offset_bytes < len(self.data):
            why = f"the stream has {len(self.data)} bytes"
            raise InputError(why, field="offset_bytes", value=offset_bytes)
        after = bisect_right(self.pieces, offset_bytes, key=lambda piece: piece.offset_bytes)
        return self.pieces[after - 1]


def reassemble(datagrams: Datagrams, *, limit_bytes: int = MAX_STREAM_BYTES) -> tuple[Stream, ...]:
    """Return the streams in which a byte was seen or is missing, by their first segment.

    A stream longer than *limit_bytes* ends there, with a gap.
    """
    most = len(datagrams)
    endless = 2**63  # the capture is in memory as a whole: no other limit is needed
    limits = Limits(None, endless, endless, most, idle_ns=endless, ended_ns=endless)
    streams = TcpStreams(limits)
    grown: dict[StreamKey, _Growing] = {}
    for delivery in chain(streams.feed(datagrams), streams.close()):
        growing = grown.get(delivery.stream)
        if growing is None:
            growing = grown[delivery.stream] = _Growing()
        growing.take(delivery, limit_bytes)
    return tuple(
        Stream(
            source=key.source,
            destination=key.destination,
            data=bytes(growing.data),
            pieces=tuple(growing.pieces),
            from_start=key.from_start,
            gap=growing.gap,
        )
        for key, growing in sorted(grown.items(), key=lambda item: item[0].number)
        if growing.pieces or growing.gap
    )


@dataclass(slots=True)
class _Growing:
    """A stream of a whole capture while it is put together."""

    data: bytearray = field(default_factory=bytearray)
    pieces: list[Piece] = field(default_factory=list)
    gap: Gap | None = None

    def take(self, delivery: Delivery, limit_bytes: int) -> None:
        """Take in what follows; nothing, after the first gap."""
        end = len(self.data)
        if self.gap is None:
            self.gap = delivery.gap
        if self.gap is None and end + len(delivery.data) > limit_bytes:
            self.gap = Gap(end, None, delivery.frame, f"longer than {limit_bytes} bytes")
        if self.gap is None and delivery.data:
            self.pieces.append(Piece(end, delivery.frame, delivery.at_ns))
            self.data += delivery.data


@dataclass(slots=True)
class TcpStreams:
    """The TCP connections of a capture that is read in blocks."""

    limits: Limits = field(default_factory=Limits)
    _open: OrderedDict[bytes, Direction] = field(default_factory=OrderedDict)  # by last segment
    _unwanted: set[int] = field(default_factory=set)  # their numbers; not yet noted in `_open`
    _waiting_bytes: int = 0
    _segments: int = 0
    _directions: int = 0
    _given: list[Delivery] = field(default_factory=list)

    def feed(self, datagrams: Datagrams) -> Iterator[Delivery]:
        """Yield what the fresh TCP rows of a block make known, by `ready_ns`."""
        rows = np.flatnonzero((datagrams.protocol == TCP) & datagrams.fresh)
        if not len(rows):
            return
        tcp = datagrams.select(rows[np.argsort(datagrams.at_ns[rows], kind="stable")])
        keys = _keys(tcp)
        telling = np.flatnonzero(~_tells_nothing(tcp, keys))
        packed, data = keys.tobytes(), np.ascontiguousarray(tcp.data).data
        columns = (
            *(tcp.tcp_sequence, tcp.tcp_flags, tcp.complete, tcp.frame, tcp.at_ns, tcp.interface),
            *(tcp.payload_offset, tcp.payload_bytes),
        )
        values = zip(telling.tolist(), *(one[telling].tolist() for one in columns), strict=True)
        for row, sequence, flags, complete, frame, at_ns, interface, start, size in values:
            key = packed[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]
            empty = complete and not (size or flags & (SYN | FIN | RST))
            if empty and not self._is_open(key, at_ns):
                continue  # it begins nothing
            direction = self._direction(key, tcp, row, sequence, flags, at_ns)
            if direction.unwanted and not flags & (SYN | FIN | RST):
                continue
            offset = direction.offset(sequence + bool(flags & SYN))
            if empty and offset <= direction.seen[0]:
                continue  # an acknowledgement alone, or a keep-alive
            direction.last_ns = at_ns
            self._segments += 1
            payload = data[start : start + size].tobytes()
            segment = Segment(offset, self._segments, payload, frame, at_ns, interface)
            self._receive(direction, segment, flags, complete=complete)
        self._sweep(int(tcp.at_ns[-1]))
        yield from self._take()

    def close(self) -> Iterator[Delivery]:
        """Yield what still waits, the gaps before it told, and the end of every stream."""
        for direction in sorted(self._open.values(), key=lambda one: one.stream.number):
            self._end(direction, direction.last_ns)
        self._open.clear()
        yield from self._take()

    def forget(self, stream: StreamKey) -> None:
        """Give no more of *stream*: it is not what is looked for."""
        self._unwanted.add(stream.number)

    def _take(self) -> Iterator[Delivery]:
        """Yield what is to be given, in order."""
        given, self._given = self._given, []
        yield from sorted(given, key=lambda delivery: delivery.ready_ns)

    def _direction(  # noqa: PLR0913, PLR0917 - the columns of one row
        self, key: bytes, tcp: Datagrams, row: int, sequence: int, flags: int, now_ns: int
    ) -> Direction:
        """Return the direction that a segment belongs to, a new one where it begins one."""
        direction = self._open.get(key)
        if direction is not None:
            quiet_ns = self._quiet_ns(direction)
            again = flags & SYN and direction.syn != sequence
            if not again and now_ns - direction.last_ns <= quiet_ns:
                self._open.move_to_end(key)
                if self._unwanted and direction.stream.number in self._unwanted:
                    self._unwanted.discard(direction.stream.number)
                    self._drop_waiting(direction)
                    direction.unwanted = True
                return direction
            self._end(direction, now_ns if again else direction.last_ns + quiet_ns)
            del self._open[key]
        syn = bool(flags & SYN)
        stream = StreamKey(tcp.source(row), tcp.destination(row), self._directions, syn)
        base = (sequence + syn) % TURN
        direction = Direction(stream, base, sequence if syn else None, last_ns=now_ns)
        self._directions += 1
        self._open[key] = direction
        if len(self._open) > self.limits.directions:
            _, oldest = self._open.popitem(last=False)
            self._end(oldest, now_ns)
        return direction

    def _is_open(self, key: bytes, now_ns: int) -> bool:
        direction = self._open.get(key)
        return direction is not None and now_ns - direction.last_ns <= self._quiet_ns(direction)

    def _quiet_ns(self, direction: Direction) -> int:
        """Return after how long without a segment that tells something it is forgotten."""
        return self.limits.ended_ns if direction.told else self.limits.idle_ns

    def _receive(
        self, direction: Direction, segment: Segment, flags: int, *, complete: bool
    ) -> None:
        """Take in a segment, and give what it makes ready."""
        now_ns = segment.at_ns
        self._lose_patience(direction, now_ns)
        if flags & RST:  # its number need not be in order, and it brings no bytes
            direction.stop = direction.end if direction.stop is None else direction.stop
        else:
            end = segment.offset_bytes + len(segment.data)
            direction.seen = max(direction.seen, (end, segment.frame))
            if not complete:
                direction.cut = max(direction.cut, (end, segment.frame))
            if flags & FIN:
                direction.stop = end
            if segment.data and end > direction.end:
                self._place(direction, segment)
        if direction.stop is not None and direction.stop <= direction.end and not direction.waiting:
            self._give(direction.last(now_ns))

    def _place(self, direction: Direction, segment: Segment) -> None:
        """Give a segment and what follows on it, or let it wait."""
        now_ns = segment.at_ns
        if segment.offset_bytes <= direction.end:
            self._give(direction.give(segment, now_ns))
            self._follow(direction, now_ns)
            return
        if not direction.waiting:
            direction.since_ns = now_ns
        heappush(direction.waiting, segment)
        direction.waiting_bytes += segment.cost_bytes
        self._waiting_bytes += segment.cost_bytes
        while direction.waiting and (
            direction.waiting_bytes > self.limits.waiting_bytes
            or self._waiting_bytes > self.limits.all_waiting_bytes
        ):
            self._skip(direction, now_ns)

    def _follow(self, direction: Direction, ready_ns: int) -> None:
        """Give what waited for its turn and has it now."""
        while direction.waiting and direction.waiting[0].offset_bytes <= direction.end:
            self._give(direction.give(self._pop(direction), ready_ns))

    def _skip(self, direction: Direction, ready_ns: int) -> None:
        """Give up what is missing before the first that waits, and tell it."""
        first, end = self._pop(direction), direction.end
        missing = first.offset_bytes - end
        direction.end = first.offset_bytes
        gap = Gap(end, missing, first.frame, "a segment was not captured")
        self._give(direction.give(first, ready_ns, gap))
        self._follow(direction, ready_ns)
        if direction.waiting:
            direction.since_ns = min(one.at_ns for one in direction.waiting)

    def _pop(self, direction: Direction) -> Segment:
        segment = heappop(direction.waiting)
        direction.waiting_bytes -= segment.cost_bytes
        self._waiting_bytes -= segment.cost_bytes
        return segment

    def _drop_waiting(self, direction: Direction) -> None:
        while direction.waiting:
            self._pop(direction)

    def _lose_patience(self, direction: Direction, now_ns: int) -> None:
        """Skip what should have come by now."""
        patience_ns = self.limits.patience_ns
        while (
            patience_ns is not None
            and direction.waiting
            and now_ns - direction.since_ns > patience_ns
        ):
            self._skip(direction, direction.since_ns + patience_ns)

    def _end(self, direction: Direction, ready_ns: int) -> None:
        """Give all that is left of a direction, and its end."""
        self._lose_patience(direction, ready_ns)  # what was due before is ready since then
        while direction.waiting:
            self._skip(direction, ready_ns)
        self._give(direction.last(ready_ns))
        self._unwanted.discard(direction.stream.number)

    def _sweep(self, now_ns: int) -> None:
        """Let go of what is over by *now_ns*."""
        over: list[bytes] = []
        for key, direction in self._open.items():
            self._lose_patience(direction, now_ns)
            quiet_ns = self._quiet_ns(direction)
            if now_ns - direction.last_ns > quiet_ns:
                self._end(direction, direction.last_ns + quiet_ns)
                over.append(key)
        for key in over:
            del self._open[key]

    def _give(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            self._given.append(delivery)


def _keys(tcp: Datagrams) -> Bytes:
    """Return, for each row, the bytes that all segments of a direction share."""
    columns = (
        tcp.source_address,
        tcp.destination_address,
        tcp.source_port.astype(">u2")[:, None].view(np.uint8),
        tcp.destination_port.astype(">u2")[:, None].view(np.uint8),
        tcp.ipv4[:, None].view(np.uint8),
    )
    return np.column_stack(columns)


def _tells_nothing(tcp: Datagrams, keys: Bytes) -> Bools:
    """Say of each row whether it is empty and right behind the row before it in its direction."""
    dull = np.zeros(len(tcp), np.bool_)
    ports = tcp.source_port.astype(np.uint64) << np.uint64(16)
    word = (ports | tcp.destination_port.astype(np.uint64)) * ODD
    for column in (tcp.source_address, tcp.destination_address):
        for half in np.ascontiguousarray(column).view(np.uint64).T:
            word = (word ^ half) * ODD
    order = np.argsort(word, kind="stable")
    before, row = order[:-1], order[1:]
    same = word[before] == word[row]
    before, row = before[same], row[same]
    ends = (tcp.tcp_flags & (SYN | FIN) != 0).astype(np.uint32)
    following = tcp.tcp_sequence + tcp.payload_bytes.astype(np.uint32) + ends
    found = following[before] == tcp.tcp_sequence[row]
    found &= (tcp.payload_bytes[row] == 0) & tcp.complete[row] & tcp.complete[before]
    found &= tcp.tcp_flags[row] & (SYN | FIN | RST) == 0
    found &= tcp.tcp_flags[before] & (FIN | RST) == 0
    before, row = before[found], row[found]
    dull[row[(keys[before] == keys[row]).all(axis=1)]] = True
    return dull
