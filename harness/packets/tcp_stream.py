"""The bytes that TCP delivered, each direction a stream, and which frame brought each of them.

Laws: a byte counts once, from the frame that showed it first; bytes after a gap are not used, and
the gap is told; a frame that is not whole, an empty segment ahead, or a FIN shows a gap
at the end too. Memory stays under the size of the capture, and each stream under its limit.

A new SYN with another number starts a new stream: ports are used again.

Source: RFC 9293 section 3.4 (sequence numbers; they are compared modulo 2**32).
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from harness.errors import InputError
from harness.packets.frame import RST, SYN, TCP, Datagrams, Endpoint

MAX_STREAM_BYTES = 256 * 1024 * 1024  # of one direction: hours of signalling
_TURN = 2**32  # sequence numbers


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that one frame brought; they go up to the next piece's offset."""

    offset_bytes: int  # in the stream
    frame: int  # counted from 1
    at_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a stream's bytes end before what was sent."""

    offset_bytes: int  # in the stream: its first missing byte
    missing_bytes: int | None  # up to what was seen next; None: not known
    frame: int  # that shows it
    why: str


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of one TCP connection."""

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
    """Return the streams in which a byte was seen or is missing, by their first frame.

    A stream longer than *limit_bytes* ends there, with a gap.
    """
    tcp = datagrams.select(datagrams.protocol == TCP)
    found: list[tuple[int, Stream]] = []
    for rows in _directions(tcp):
        source, destination = tcp.source(rows[0]), tcp.destination(rows[0])
        for first_frame, assembly in _connections(tcp, rows, limit_bytes):
            gap = assembly.gap()
            if assembly.pieces or gap:
                stream = Stream(
                    source=source,
                    destination=destination,
                    data=bytes(assembly.data),
                    pieces=tuple(assembly.pieces),
                    from_start=assembly.from_start,
                    gap=gap,
                )
                found.append((first_frame, stream))
    return tuple(stream for _, stream in sorted(found, key=lambda pair: pair[0]))


def _directions(tcp: Datagrams) -> Iterator[list[int]]:
    """Yield the rows of each source and destination, in the capture's order."""
    if not len(tcp):
        return
    keys = np.column_stack(
        (
            tcp.source_address,
            tcp.destination_address,
            tcp.source_port.astype(">u2")[:, None].view(np.uint8),
            tcp.destination_port.astype(">u2")[:, None].view(np.uint8),
            tcp.ipv4[:, None].view(np.uint8),
        )
    )
    whole = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    _, group = np.unique(whole, return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    for rows in np.split(order, ends):
        yield rows.tolist()


def _connections(
    tcp: Datagrams, rows: list[int], limit_bytes: int
) -> Iterator[tuple[int, "_Assembly"]]:
    """Yield first frame and bytes of each connection that used these two endpoints."""
    first_frame, assembly = 0, None
    for row in rows:
        sequence, flags = int(tcp.tcp_sequence[row]), int(tcp.tcp_flags[row])
        frame = int(tcp.frame[row])
        if assembly is None or (flags & SYN and assembly.syn != sequence):
            if assembly is not None:
                yield first_frame, assembly
            first_frame = frame
            assembly = _Assembly(
                base=(sequence + bool(flags & SYN)) % _TURN,
                syn=sequence if flags & SYN else None,
                limit_bytes=limit_bytes,
            )
        if not flags & RST:  # a reset's number need not be in order, and it brings no bytes
            start = assembly.offset(sequence + bool(flags & SYN))
            assembly.receive(_Segment(start, frame, row), tcp)
    if assembly is not None:
        yield first_frame, assembly


@dataclass(frozen=True, slots=True, order=True)
class _Segment:
    """A segment and where its first byte belongs; sorted by place, then by arrival."""

    offset_bytes: int
    frame: int
    row: int


@dataclass(slots=True)
class _Assembly:
    """A stream while it grows, as a receiver would hold it."""

    base: int  # sequence number of the first byte
    syn: int | None
    limit_bytes: int
    data: bytearray = field(default_factory=bytearray)
    pieces: list[Piece] = field(default_factory=list)
    waiting: list[_Segment] = field(default_factory=list)  # a heap: came before their turn
    seen: tuple[int, int] = (0, 0)  # an offset that was reached for certain, and the frame
    cut: tuple[int, int] = (-1, 0)  # where the last segment ends that is not whole
    full: Gap | None = None

    @property
    def from_start(self) -> bool:
        """Whether its first byte is known to be the first."""
        return self.syn is not None

    def offset(self, sequence: int) -> int:
        """Return where a sequence number lies: the place nearest to the end of what is there."""
        distance = (sequence - self.base - len(self.data)) % _TURN
        return len(self.data) + (distance - _TURN if distance >= _TURN // 2 else distance)

    def receive(self, segment: _Segment, tcp: Datagrams) -> None:
        """Take in a segment, and all that waited for it."""
        end = segment.offset_bytes + int(tcp.payload_bytes[segment.row])
        self.seen = max(self.seen, (end, segment.frame))
        if not tcp.complete[segment.row]:
            self.cut = max(self.cut, (end, segment.frame))
        if end <= max(len(self.data), segment.offset_bytes) or self.full:
            return
        heappush(self.waiting, segment)
        while self.waiting and self.waiting[0].offset_bytes <= len(self.data) and not self.full:
            self._append(heappop(self.waiting), tcp)

    def gap(self) -> Gap | None:
        """Return what is missing after the last byte, if anything is known to be."""
        end = len(self.data)
        if self.full:
            return self.full
        if self.waiting:
            following = self.waiting[0]
            missing = following.offset_bytes - end
            return Gap(end, missing, following.frame, "a segment was not captured")
        if self.cut[0] >= end:
            return Gap(end, None, self.cut[1], "a segment was not captured whole")
        if self.seen[0] > end:
            return Gap(end, self.seen[0] - end, self.seen[1], "a segment was not captured")
        return None

    def _append(self, segment: _Segment, tcp: Datagrams) -> None:
        """Add what is new in a segment that starts at or before the end."""
        end = len(self.data)
        fresh = tcp.payload(segment.row)[end - segment.offset_bytes :]
        if not fresh:
            return
        if end + len(fresh) > self.limit_bytes:
            self.full = Gap(end, None, segment.frame, f"longer than {self.limit_bytes} bytes")
            self.waiting.clear()
            return
        self.pieces.append(Piece(end, segment.frame, int(tcp.at_ns[segment.row])))
        self.data += fresh
