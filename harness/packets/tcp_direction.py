"""One direction of a TCP connection while it goes on, as a receiver would hold it.

Laws: a byte is given once, from the frame that showed it first; what is missing is told.
`harness.packets.tcp_stream` is the door to this module.

Source: RFC 9293 section 3.4 (sequence numbers; they are compared modulo 2**32).
"""

from dataclasses import dataclass, field

from harness.packets.frame import Endpoint

TURN = 2**32  # sequence numbers
_SEGMENT_BYTES = 200  # what one costs beside its bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing in a stream."""

    offset_bytes: int  # in the stream: its first missing byte
    missing_bytes: int | None  # up to what was seen next; None: not known
    frame: int  # that shows it
    why: str


@dataclass(frozen=True, slots=True)
class StreamKey:
    """One direction of one TCP connection."""

    source: Endpoint
    destination: Endpoint
    number: int  # of the directions of a capture, from 0, by their first segment
    from_start: bool  # its SYN was seen: offset 0 is the first byte that was sent


@dataclass(frozen=True, slots=True)
class Delivery:
    """Bytes of a stream that one frame brought, given when those before them were."""

    stream: StreamKey
    offset_bytes: int  # in the stream; goes on where the delivery before it ended, but for a gap
    data: bytes  # empty: only `gap` or `ended` is told
    frame: int  # that brought them, counted from 1
    at_ns: int  # when it was seen
    interface: int
    ready_ns: int  # when all before it was there, or was given up: deliveries are in this order
    gap: Gap | None  # what is missing just before `data`
    ended: bool  # nothing is to follow: a FIN, a reset, a new connection, or no more capture


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """What a frame brought, and where its first byte belongs; sorted by place, then by arrival."""

    offset_bytes: int
    count: int  # of the segments taken so far
    data: bytes = field(compare=False)
    frame: int = field(compare=False)
    at_ns: int = field(compare=False)
    interface: int = field(compare=False)

    @property
    def cost_bytes(self) -> int:
        """Return what memory it takes, about."""
        return len(self.data) + _SEGMENT_BYTES


@dataclass(slots=True)
class Direction:
    """What is known of a stream while it goes on, as a receiver would hold it."""

    stream: StreamKey
    base: int  # sequence number of the first byte
    syn: int | None
    end: int = 0  # up to where it was given
    last_ns: int = 0
    waiting: list[Segment] = field(default_factory=list)  # a heap: came before their turn
    waiting_bytes: int = 0
    since_ns: int = 0  # when the first of them came
    seen: tuple[int, int] = (0, 0)  # an offset that was reached for certain, and the frame
    cut: tuple[int, int] = (-1, 0)  # where the last segment ends that is not whole
    stop: int | None = None  # where it ends, as a FIN or a reset says
    told: bool = False  # that it ended
    unwanted: bool = False

    def offset(self, sequence: int) -> int:
        """Return where a sequence number lies: the place nearest to the end of what is there."""
        distance = (sequence - self.base - self.end) % TURN
        return self.end + (distance - TURN if distance >= TURN // 2 else distance)

    def give(self, segment: Segment, ready_ns: int, gap: Gap | None = None) -> Delivery | None:
        """Return what is new in a segment that starts at or before the end."""
        fresh = segment.data[self.end - segment.offset_bytes :]
        start, self.end = self.end, self.end + len(fresh)
        if self.unwanted or not (fresh or gap):
            return None
        return Delivery(
            self.stream,
            start,
            fresh,
            segment.frame,
            segment.at_ns,
            segment.interface,
            ready_ns,
            gap,
            ended=False,
        )

    def last(self, ready_ns: int) -> Delivery | None:
        """Return the end of the stream, with what is missing there, once."""
        if self.told or self.unwanted:
            return None
        self.told = True
        gap = None
        if self.cut[0] >= self.end:
            gap = Gap(self.end, None, self.cut[1], "a segment was not captured whole")
        elif self.seen[0] > self.end:
            missing = self.seen[0] - self.end
            gap = Gap(self.end, missing, self.seen[1], "a segment was not captured")
        frame = self.seen[1]
        return Delivery(self.stream, self.end, b"", frame, ready_ns, 0, ready_ns, gap, ended=True)
