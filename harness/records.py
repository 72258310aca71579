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


class CallEnd(StrEnum):
    """How a call ended, as the tap saw it."""

    CALLER = "caller"  # hung up
    CALLEE = "callee"  # hung up
    CANCELLED = "cancelled"  # by the caller, before an answer
    FAILED = "failed"  # 4xx, 5xx or 6xx
    REDIRECTED = "redirected"  # 3xx
    NOT_SEEN = ""


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
    ringing_ns: int | None = None  # wall time of the first 18x to the caller
    ended_ns: int | None = None  # wall time of the first BYE, or of the response that refused it
    ended_by: CallEnd = CallEnd.NOT_SEEN
    legs: int = 1  # Call-IDs or dialogs it is made of: its own, and the onward ones
    hops: int = 1  # places or branches at which its INVITE was seen, in all legs
    joined_by: str = ""  # how the onward legs are known, such as "Session-ID"; "": there are none
    far_ends: int = 0  # parties that rang or answered, by To tag: with more than one it was forked
    transfers: int = 0  # REFER requests seen in it
    replaces: str = ""  # value of Replaces: the call takes over another (RFC 3891)
    partial: bool = False  # it began before the capture; such calls are not counted as calls
    first_dialled: str = ""  # before others sent the call on, in normalised form; "": nobody did
    first_dialled_rule: str = ""
    routing_number: str = ""  # beside the number dialled, and dialled by nobody (RFC 4694)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key that was pressed, told by telephone events (RFC 4733)."""

    key: str  # 0 to 9, *, #, A to D; "?": an event that is no key
    code: int
    at_ns: int  # wall time of its first packet
    duration_ms: float
    volume_dbm0: int  # 0 to -63
    started: bool  # its first packet was seen
    ended: bool  # its end was


@dataclass(frozen=True, slots=True)
class WiresharkRecord:
    """What Wireshark 4.0 says of a stream; where it differs from RFC 3550: docs/media.md."""

    packets: int
    lost: int
    delta_min_ms: float  # -1, as there, where no packet counts for it
    delta_mean_ms: float
    delta_max_ms: float
    jitter_min_ms: float  # likewise
    jitter_mean_ms: float
    jitter_max_ms: float


@dataclass(frozen=True, slots=True)
class RtcpRecord:
    """What one source reported by RTCP (RFC 3550, 3611, 4585), in one direction of one session."""

    at_ns: int  # wall time of its first packet
    end_ns: int
    device: str
    source: str  # address:port
    destination: str
    ssrc: int  # who reports
    cname: str  # its name (SDES), "" when none was seen
    packets: int  # RTCP packets of it; several can be in one datagram
    sender_reports: int
    receiver_reports: int
    byes: int
    apps: int
    extended_reports: int
    feedback: int  # NACK, PLI and the like (RFC 4585)
    malformed: int  # datagrams of it that contradict themselves
    about_ssrc: int | None  # the stream that it reports on; the figures below are the far end's
    far_lost: int | None  # in all
    far_fraction_max: float | None  # 0 to 1, in one report
    far_jitter: int | None  # of the last report, in units of the stream's timestamps
    far_jitter_max: int | None
    round_trip_ms: float | None  # from the tap to who reports and back (median)
    far_r: int | None  # by its own extended report (RFC 3611 section 4.7), as the next
    far_mos: float | None  # listening quality
    frame: int


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
    missing: int = 0  # numbers that never came, those that were switched left out
    switched: int = 0  # numbers left out while something else, such as T.38, had its ports
    loss_runs: tuple[int, ...] = (0, 0, 0, 0, 0)  # missing in a row: 1, 2, 3-5, 6-10, more
    payload_bytes: int = 0
    markers: int = 0
    packet_ms: float | None = None  # the time of sound in one packet, by timestamps
    type_changes: int = 0  # of the payload type, events and comfort noise left out
    clock_jumps: int = 0  # timestamps that leave the wall time by 5 s or more
    clock_seen_hz: float | None = None  # timestamps a second of wall time
    skew_ppm: float | None = None  # the sender's clock against the tap's; above 0: it is fast
    earlier_sources: int = 0  # SSRCs before this one, between the same ports
    both_ways: bool = False  # the other direction has the same SSRC (RFC 3550 section 8.2)
    keys: tuple[KeyRecord, ...] = ()
    r_factor: float | None = None  # G.107; None: not known for this codec
    mos: float | None = None
    mos_rule: str = ""  # what it assumes, or why there is none
    far_lost: int | None = None  # what the receiver reports of this stream (RTCP)
    far_jitter_ms: float | None = None
    round_trip_ms: float | None = None  # from the tap to the receiver and back
    sender_clock_ppm: float | None = None  # RTP clock against NTP, by its sender reports
    wireshark: WiresharkRecord | None = None


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
