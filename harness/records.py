"""The flat rows that analytics and checks work on: one ENUM lookup, SIP call or RTP stream each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Direction(StrEnum):
    """Of a call, seen from the customer's network."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LookupRecord:
    """One ENUM lookup by an SBC: retransmissions and failovers are folded into it."""

    at_ns: int  # wall time of its first query
    device: str  # ENUM server that was asked first (the plan's "Device")
    client: str  # address of the SBC
    source: str  # calling party in normalised form, "" when the query carries none
    source_rule: str  # how that was decided
    destination: str  # called party in normalised form
    destination_rule: str
    direction: Direction
    direction_rule: str
    rcode: str  # of the answer acted on; "" when none came
    latency_ns: int | None  # from the first query to that answer
    frame: int  # of its first query


def legible(text: str) -> str:
    r"""Return *text* fit for any table or file: what is not printable is written as its escape.

    >>> legible("a\x1b[2J\udcff@192.0.2.1")
    'a\\x1b[2J\\udcff@192.0.2.1'
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else c.encode("unicode-escape").decode() for c in text)


class Record(Protocol):
    """What every row about a call has, so that one view serves lookups and SIP calls."""

    @property
    def at_ns(self) -> int: ...  # noqa: D102 - as in the records below, and so on
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def source_rule(self) -> str: ...  # noqa: D102
    @property
    def destination(self) -> str: ...  # noqa: D102
    @property
    def destination_rule(self) -> str: ...  # noqa: D102
    @property
    def frame(self) -> int: ...  # noqa: D102


class CallOutcome(StrEnum):
    """What became of a call, as SIP messages show it.

    The first three need both sides of the SBC; from one side alone it can only be said whether the
    caller was answered.
    """

    ALLOWED = "allowed"  # answered by the party that was dialled
    REDIRECTED = "redirected"  # sent on to another number, or 3xx with one
    TERMINATED = "terminated"  # refused, and never sent on
    ANSWERED = "answered"  # by whom is not seen
    REFUSED = "refused"  # where is not seen
    CANCELLED = "cancelled"  # by the caller, before an answer
    NONE = "none"  # no final response was seen


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call offered to the SBC: one dialog-making INVITE, retransmissions folded."""

    at_ns: int  # wall time of the INVITE
    frame: int
    call_id: str
    source: str  # calling party in normalised form
    source_rule: str
    destination: str  # dialled party in normalised form
    destination_rule: str
    direction: Direction
    direction_rule: str
    outcome: CallOutcome
    target: str  # where it was sent, in normalised form; "" when nowhere
    status: int  # final response to the caller; 0 when none was seen
    frames: tuple[int, ...]  # the INVITE, the onward INVITE, the final response
    device: str = ""  # that saw it, such as a probe; "" where there is one only
    client: str = ""  # address that the INVITE came from
    answered_ns: int | None = None  # wall time of the first 2xx; None: never answered
    duration_ns: int | None = None  # from that answer to the BYE; None: no answer, or no end seen
    target_endpoint: str = ""  # address:port that the onward INVITE went to; "": none seen
    rang: tuple[str, ...] = ()  # every party that an onward INVITE was for
    taken: bool = False  # one of them answered with a 2xx
    routed_ns: int | None = None  # wall time of the first onward INVITE, else of the final response
    final_ns: int | None = None  # wall time of the final response


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One direction of RTP: an SSRC between two endpoints, as it passed the tap."""

    at_ns: int  # wall time of its first packet
    end_ns: int  # of its last
    device: str
    source: str  # address:port
    destination: str
    ssrc: int
    payload_type: int  # of most packets
    codec: str
    clock_hz: int
    clock_rule: str  # how the clock is known
    found_by: str  # "SDP": announced; "sequence": it counts up as RTP does
    call_id: str  # of the SDP that announced it, else ""
    packets: int  # without the tap's own copies
    copies: int  # more of them that the tap gave twice
    expected: int  # by sequence numbers
    lost: int  # expected less received (RFC 3550 A.3)
    duplicates: int  # sent twice, not mirrored twice
    reordered: int
    restarts: int  # of the sequence numbers
    odd: int  # packets out of all order, left out of the figures before
    jitter_ms: float | None  # at the end (RFC 3550 A.8), without events and comfort noise
    jitter_mean_ms: float | None
    jitter_max_ms: float | None
    gap_max_ms: float  # longest time between two packets
    digits: str  # keys pressed (RFC 4733)
    frame: int  # of its first packet


@dataclass(frozen=True, slots=True)
class PortRecord:
    """What one interface of a tap delivered: a silent one is as good as cut."""

    device: str
    interface: int  # as numbered in the capture, from 0
    frames: int
    sip_messages: int
    rtp_packets: int
    rtcp_packets: int
    copies: int  # frames that another frame has shown already
