"""IP packets that were sent in parts, put together again as their receiver does.

Laws: parts may come in any order and twice; a packet is made only of parts that are all there and
agree; what contradicts is dropped and named, what never was complete is named. A whole set of parts
that comes again within `REPEATED_NS` is the tap's copy, and makes no second packet. Memory has a
limit, and so has the time that a part waits, counted on the frames' own times: neither the size of
a capture nor the blocks in which it is read make a difference.

Sources: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722 (parts that overlap), RFC 815.
"""

import struct
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints
from harness.packets.ip import IPV4_BYTES, IPV6_BYTES, Parts

WAIT_NS = 30_000_000_000  # what hosts do (Linux); RFC 8200 allows 60 s
REPEATED_NS = 10_000_000  # as for copies of whole packets (`probetest.duplicates`)
MEMORY_BYTES = 64 * 1024 * 1024  # that wait; the oldest goes first
MAX_NAMED = 100
_PART_BYTES = 300  # what a part costs beside its bytes
_MAX_IP_BYTES = 65_535
_UNIT_BYTES = 8  # in which offsets count


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A packet that was never put together."""

    frame: int  # with the first of its parts that was seen
    why: str


class Moment(NamedTuple):
    """The frame that brought something; moments are in order of time."""

    at_ns: int
    frame: int  # counted from 1
    interface: int


class Part(NamedTuple):  # made faster than a dataclass: there is one for each frame
    """One part of a packet, its bytes copied out of the capture."""

    moment: Moment
    key: tuple[bool, int, int, bytes]  # version, id, protocol and addresses: what parts share
    head: bytes  # the IP header, of the part at offset 0
    protocol: int
    offset_bytes: int
    size_bytes: int  # on the wire
    data: bytes  # as much of it as was captured
    more: bool
    link: int
    depth: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A packet that was put together."""

    moment: Moment  # of the last of its parts in time
    data: bytes  # an IP packet; shorter than its header says when parts were not captured whole
    size_bytes: int  # as its header says
    link: int
    depth: int


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where packets come from, one a row: frames, or packets that were put together."""

    at_ns: Ints
    frame: Ints  # counted from 1
    interface: Ints
    wanted: npt.NDArray[np.bool_]
    link: npt.NDArray[np.uint64]
    depth: Ints  # of the tunnels that were around it before


def each_part(data: Bytes, parts: Parts, origin: Origin) -> Iterator[Part]:
    """Yield those parts that are wanted."""
    row = parts.row
    link = np.where(parts.link == 0, origin.link[row], parts.link)
    columns: tuple[npt.NDArray[Any], ...] = (
        *(origin.at_ns[row], origin.frame[row], origin.interface[row], origin.wanted[row]),
        *(parts.ip, parts.at, parts.end, parts.stop, parts.id, parts.offset_bytes, parts.more),
        *(parts.protocol, link, origin.depth[row] + parts.depth),
    )
    view = np.ascontiguousarray(data).data
    for values in zip(*(column.tolist() for column in columns), strict=True):
        at_ns, frame, interface, wanted, ip, at, end, stop, identity, *rest = values
        offset_bytes, more, protocol, its_link, depth = rest
        if not wanted or stop < at:
            continue
        if parts.ipv4:
            ends, head = view[ip + 12 : ip + 20], view[ip:at]
            key = (True, identity, protocol, ends.tobytes())
        else:  # the protocol is that of the first part alone (RFC 8200)
            ends, head = view[ip + 8 : ip + 40], view[ip : ip + IPV6_BYTES]
            key = (False, identity, 0, ends.tobytes())
        yield Part(
            Moment(at_ns, frame, interface),
            key,
            b"" if offset_bytes else head.tobytes(),
            protocol,
            offset_bytes,
            stop - at,
            view[at : max(at, min(end, stop))].tobytes(),
            more,
            its_link,
            depth,
        )


@dataclass(slots=True)
class _Packet:
    """What is there of a packet."""

    first: Moment
    last: Part
    offsets: list[int] = field(default_factory=list)  # of the pieces, in order
    pieces: dict[int, bytes] = field(default_factory=dict)  # none overlaps another
    held_bytes: int = 0
    total_bytes: int | None = None  # of the payload; None: the last part is not there
    whole_to: int = _MAX_IP_BYTES  # up to where all was captured
    head: bytes = b""
    protocol: int = 0
    dead: bool = False
    done_ns: int | None = None

    def add(self, part: Part) -> str | None:
        """Take in a part; return "" for a new one, None for a repeated one, or what is wrong."""
        start, stop = part.offset_bytes, part.offset_bytes + part.size_bytes
        wrong = self._wrong(part, stop)
        if wrong:
            return wrong
        new = self._new_pieces(part.data.ljust(part.size_bytes, b"\0"), start, stop)
        if new is None:
            return "its parts contradict each other (RFC 5722)"
        if not part.more:
            self.total_bytes = stop
        if not start:
            self.head, self.protocol = part.head, part.protocol
        if len(part.data) < part.size_bytes:
            self.whole_to = min(self.whole_to, start + len(part.data))
        for offset, piece in new:
            insort(self.offsets, offset)
            self.pieces[offset] = piece
            self.held_bytes += len(piece)
        if part.moment > self.last.moment:
            self.last = part
        return "" if new else None

    @property
    def cost_bytes(self) -> int:
        """Return what memory it takes, about."""
        return self.held_bytes + _PART_BYTES * (1 + len(self.offsets))

    def is_whole(self) -> bool:
        """Return whether nothing is missing."""
        return self.held_bytes == self.total_bytes and bool(self.head)

    def missing(self) -> str:
        """Return what is."""
        if not self.head:
            return "its first part was not seen"
        if self.total_bytes is None:
            return "its last part was not seen"
        return "a part between its first and last was not seen"

    def build(self) -> Whole:
        """Return the packet."""
        payload = b"".join(self.pieces[offset] for offset in self.offsets)
        size = len(payload)
        if len(self.head) >= IPV6_BYTES and self.head[0] >> 4 == 6:  # noqa: PLR2004 - IPv6
            front = self.head[:4] + struct.pack(">HB", size, self.protocol) + self.head[7:]
        else:
            total = struct.pack(">H", len(self.head) + size)
            front = self.head[:2] + total + self.head[4:6] + bytes(2) + self.head[8:]
        data = front + payload[: self.whole_to]
        link, depth = self.last.link, self.last.depth
        return Whole(self.last.moment, data, len(front) + size, link, depth)

    def _wrong(self, part: Part, stop: int) -> str:
        """Return what is wrong with a part by itself, or beside the end of the packet."""
        front = max(len(self.head), len(part.head), IPV4_BYTES) if part.key[0] else 0
        if front + stop > _MAX_IP_BYTES:
            return "its parts go on behind the longest packet there can be"
        if part.more and (part.size_bytes % _UNIT_BYTES or not part.size_bytes):
            return "a part has a length that no sender may give it"
        known = self.total_bytes
        reached = self.offsets[-1] + len(self.pieces[self.offsets[-1]]) if self.offsets else 0
        ends_differ = known is not None and (stop > known or (not part.more and stop != known))
        if ends_differ or (not part.more and stop < reached):
            return "its parts contradict each other (RFC 5722)"
        return ""

    def _new_pieces(self, data: bytes, start: int, stop: int) -> list[tuple[int, bytes]] | None:
        """Return what of *data* is not there yet; None when it differs from what is there."""
        if not self.offsets or start >= self.offsets[-1] + len(self.pieces[self.offsets[-1]]):
            return [(start, data)]  # as they mostly come: in order
        new, at = [], start
        place = max(0, bisect_right(self.offsets, start) - 1)
        while place < len(self.offsets) and self.offsets[place] < stop:
            offset = self.offsets[place]
            piece = self.pieces[offset]
            end = offset + len(piece)
            place += 1
            if end <= at:
                continue
            if offset > at:
                new.append((at, data[at - start : offset - start]))
                at = offset
            shared = min(end, stop)
            if data[at - start : shared - start] != piece[at - offset : shared - offset]:
                return None
            at = shared
        if at < stop:
            new.append((at, data[at - start :]))
        return new


@dataclass(slots=True)
class Assembly:
    """The packets of a capture that wait for more of their parts."""

    memory_bytes: int = MEMORY_BYTES
    incomplete: int = 0  # packets
    repeated: int = 0  # parts that were there already
    named: list[Incomplete] = field(default_factory=list)  # the first `MAX_NAMED` of them
    _open: OrderedDict[tuple[bool, int, int, bytes], _Packet] = field(default_factory=OrderedDict)
    _held_bytes: int = 0

    def add(self, part: Part) -> Whole | None:
        """Take in a part; return the packet that it makes whole."""
        now_ns = part.moment.at_ns
        while self._open and self._is_over(next(iter(self._open.values())), now_ns):
            self._close(next(iter(self._open)))  # what is named is in order of time
        packet = self._open.get(part.key)
        if packet is not None and self._is_over(packet, now_ns):
            self._close(part.key)
            packet = None
        if packet is None:
            packet = self._open[part.key] = _Packet(part.moment, part)
            self._held_bytes += packet.cost_bytes
        elif packet.dead:
            return None
        before = packet.cost_bytes
        wrong = packet.add(part)
        self._held_bytes += packet.cost_bytes - before
        if wrong is None:
            self.repeated += 1
        elif wrong and packet.done_ns is not None:  # another packet with the same id
            self._close(part.key)
            return self.add(part)
        elif wrong:
            self._name(packet, wrong)
            self._empty(packet)
            packet.dead = True
        elif packet.is_whole():
            packet.done_ns = now_ns
            return packet.build()
        self._shrink(now_ns)
        return None

    def sweep(self, now_ns: int) -> None:
        """Give up what has waited for too long by *now_ns*."""
        over = [key for key, packet in self._open.items() if self._is_over(packet, now_ns)]
        for key in over:
            self._close(key)

    def close(self) -> None:
        """Give up all that still waits: there is no more capture."""
        for key in list(self._open):
            self._close(key)

    def _is_over(self, packet: _Packet, now_ns: int) -> bool:
        if packet.done_ns is not None:
            return now_ns - packet.done_ns > REPEATED_NS
        return now_ns - packet.first.at_ns > WAIT_NS

    def _shrink(self, now_ns: int) -> None:
        """Let the oldest go until the rest is within the limit."""
        if self._held_bytes > self.memory_bytes:
            self.sweep(now_ns)
        while self._held_bytes > self.memory_bytes and self._open:
            self._close(next(iter(self._open)), "too much else was waiting for its parts")

    def _close(self, key: tuple[bool, int, int, bytes], why: str = "") -> None:
        packet = self._open.pop(key)
        if packet.done_ns is None and not packet.dead:
            self._name(packet, why or packet.missing())
        self._held_bytes -= packet.cost_bytes

    def _empty(self, packet: _Packet) -> None:
        before = packet.cost_bytes
        packet.held_bytes = 0
        packet.offsets.clear()
        packet.pieces.clear()
        self._held_bytes -= before - packet.cost_bytes

    def _name(self, packet: _Packet, why: str) -> None:
        self.incomplete += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(Incomplete(packet.first.frame, why))
