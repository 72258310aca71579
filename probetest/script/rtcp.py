"""RTCP in a capture script: reports, their source's name, its end, and VoIP metrics.

Laws: one `rtcp` packet is one compound packet, its parts in the order of the script; the NTP time
of a sender report is that of the capture, unless the script says otherwise.

Sources: RFC 3550 sections 6.4 to 6.6, RFC 3611 section 4.7.
"""

import struct
from typing import Annotated, Literal, assert_never

from pydantic import BeforeValidator, Field

from probetest.script.fields import U8, U16, U32, Row, listed

NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
_VERSION = 0x80
_SR, _RR, _SDES, _BYE, _XR = 200, 201, 202, 203, 207
_CNAME, _VOIP_METRICS = 1, 7
_NANOSECONDS = 10**9


class ReportBlock(Row):
    """What a receiver says about one source."""

    ssrc: U32
    fraction_lost: U8 = 0  # of 256
    lost: int = Field(default=0, ge=-(2**23), lt=2**23)
    highest: U32 = 0  # sequence number, with its cycles above it
    jitter: U32 = 0  # in units of the time stamp
    last_sr: U32 = 0  # the middle 32 bits of its NTP time
    delay: U32 = 0  # since then, in 1/65536 s


Blocks = Annotated[tuple[ReportBlock, ...], BeforeValidator(listed), Field(max_length=31)]


class SenderReport(Row):
    """SR: what was sent so far."""

    kind: Literal["sr"]
    ssrc: U32
    timestamp: U32
    packets: U32
    octets: U32
    ntp: Annotated[int, Field(ge=0, lt=2**64)] | None = None  # None: when it is sent
    blocks: Blocks = ()


class ReceiverReport(Row):
    """RR: what was received."""

    kind: Literal["rr"]
    ssrc: U32
    blocks: Blocks = ()


class Description(Row):
    """SDES with a canonical name."""

    kind: Literal["sdes"]
    ssrc: U32
    cname: str = Field(min_length=1, max_length=255)


class Goodbye(Row):
    """BYE: the source ends."""

    kind: Literal["bye"]
    ssrc: U32


class VoipMetrics(Row):
    """XR with one block of VoIP metrics; times in milliseconds, MOS times ten."""

    kind: Literal["xr"]
    ssrc: U32
    of: U32  # the source that is judged
    loss_rate: U8 = 0
    discard_rate: U8 = 0
    burst_density: U8 = 0
    gap_density: U8 = 0
    burst_ms: U16 = 0
    gap_ms: U16 = 0
    round_trip_ms: U16 = 0
    end_system_ms: U16 = 0
    r_factor: U8 = 127  # 127: not known
    mos_lq: U8 = 127
    mos_cq: U8 = 127


Part = Annotated[
    SenderReport | ReceiverReport | Description | Goodbye | VoipMetrics,
    Field(discriminator="kind"),
]
Parts = Annotated[tuple[Part, ...], BeforeValidator(listed), Field(min_length=1)]


def compound(parts: tuple[Part, ...], at_ns: int) -> bytes:
    """Return the compound packet with *parts*, sent at *at_ns* (since 1970)."""
    return b"".join(_part(part, at_ns) for part in parts)


def ntp(at_ns: int) -> int:
    """Return *at_ns* as 64 bits of NTP time.

    >>> hex(ntp(500_000_000))
    '0x83aa7e8080000000'
    """
    seconds, rest_ns = divmod(at_ns, _NANOSECONDS)
    return ((seconds + NTP_EPOCH_S) % 2**32) << 32 | (rest_ns << 32) // _NANOSECONDS


def _part(part: Part, at_ns: int) -> bytes:
    match part:
        case SenderReport():
            time = ntp(at_ns) if part.ntp is None else part.ntp
            sent = struct.pack(">QIII", time, part.timestamp, part.packets, part.octets)
            return _framed(_SR, len(part.blocks), part.ssrc, sent + _blocks(part.blocks))
        case ReceiverReport():
            return _framed(_RR, len(part.blocks), part.ssrc, _blocks(part.blocks))
        case Description():
            name = part.cname.encode()[:255]
            item = bytes([_CNAME, len(name)]) + name
            # an item list ends with at least one zero, and at a whole word
            return _framed(_SDES, 1, part.ssrc, item + bytes(4 - len(item) % 4))
        case Goodbye():
            return _framed(_BYE, 1, part.ssrc, b"")
        case VoipMetrics():
            return _framed(_XR, 0, part.ssrc, _metrics(part))
    assert_never(part)


def _framed(kind: int, count: int, ssrc: int, rest: bytes) -> bytes:
    """Return one packet; its length is counted in words after the first."""
    return struct.pack(">BBHI", _VERSION | count, kind, 1 + len(rest) // 4, ssrc) + rest


def _blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        struct.pack(
            ">IIIIII",
            block.ssrc,
            block.fraction_lost << 24 | block.lost % 2**24,
            block.highest,
            block.jitter,
            block.last_sr,
            block.delay,
        )
        for block in blocks
    )


def _metrics(part: VoipMetrics) -> bytes:
    """Return the block: levels are not known (127), no external R factor, no jitter buffer said."""
    unknown = 127
    rates = (part.loss_rate, part.discard_rate, part.burst_density, part.gap_density)
    times = (part.burst_ms, part.gap_ms, part.round_trip_ms, part.end_system_ms)
    marks = (unknown, unknown, unknown, 16, part.r_factor, unknown, part.mos_lq, part.mos_cq)
    head = struct.pack(">BBHI", _VOIP_METRICS, 0, 8, part.of)
    return head + struct.pack(">4B4H8B", *rates, *times, *marks) + bytes(8)
