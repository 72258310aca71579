"""What a script's packets carry, and when: SIP text, RTP streams, telephone events.

Laws: the same script gives the same payloads at the same nanoseconds; nothing of it is drawn by
chance; what is sent again has the same bytes.

Sources: RFC 3261 section 7 (message), RFC 3550 section 5.1 (RTP header), RFC 4733 section 2.3
(event payload) and 2.5.1.4 (the end, three times).
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import assert_never

from harness.errors import InputError
from probetest.script.model import (
    DIGITS,
    DtmfPacket,
    Packet,
    RawPacket,
    RtcpPacket,
    RtpPacket,
    Script,
    Sent,
    Sip,
    SipPacket,
    TcpPacket,
    UdpPacket,
)
from probetest.script.rtcp import compound

END_TIMES = 3  # how often the end of an event is sent
MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 section 8.1.1.7
_MARKER, _VERSION, _END = 0x80, 0x80, 0x80
Timed = tuple[int, bytes]  # nanoseconds after the start, payload


def payloads(script: Script, packet: Packet) -> tuple[Timed, ...]:
    """Return the payloads of *packet* in the order in which they are sent."""
    match packet:
        case SipPacket():
            return ((packet.at_ns, sip_message(script, packet, packet, "UDP")),)
        case TcpPacket():
            return tuple(_segments(script, packet))
        case RtpPacket():
            return tuple(_rtp(packet))
        case DtmfPacket():
            return tuple(_dtmf(packet))
        case RtcpPacket():
            sent_ns = script.format.start_ns + packet.at_ns
            return ((packet.at_ns, compound(packet.parts, sent_ns)),)
        case UdpPacket() | RawPacket():
            return ((packet.at_ns, bytes.fromhex(packet.hex)),)
    assert_never(packet)


def sip_message(script: Script, message: Sip, sent: Sent, transport: str) -> bytes:
    """Return the bytes of *message*, with CRLF line ends and the length of its body."""
    call = script.calls[message.call]
    first, second = (call.caller, call.from_tag), (call.callee, call.to_tag)
    if message.by_callee:
        first, second = second, first
    asker = script.participants[sent.destination if message.response else sent.source]
    host = f"[{asker.address}]" if ":" in asker.address else asker.address
    # The callee's own requests are all within the dialog, and so have both tags.
    tag = f";tag={second[1]}" if message.has_to_tag or message.by_callee else ""
    body = script.bodies.get(message.body, "").replace("\n", "\r\n").encode()
    start = f"SIP/2.0 {message.response}"
    if message.request:
        start = f"{message.request} {message.uri or call.uri} SIP/2.0"
    lines = [
        start,
        f"Via: SIP/2.0/{transport} {host}:{asker.port};branch={MAGIC_COOKIE}{message.branch}",
        *(["Max-Forwards: 70"] if message.request else []),
        f"From: {first[0]};tag={first[1]}",
        f"To: {second[0]}{tag}",
        f"Call-ID: {call.call_id}",
        f"CSeq: {message.cseq}",
        *message.headers,
        *([f"Content-Type: {message.content_type}"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _segments(script: Script, packet: TcpPacket) -> Iterator[Timed]:
    """Yield the bytes of each segment; one without messages is a segment of its own."""
    data = b"".join(sip_message(script, one, packet, "TCP") for one in packet.messages)
    cuts = (0, *packet.cut_bytes, len(data))
    if list(packet.cut_bytes) != sorted({*packet.cut_bytes} & {*range(1, len(data))}):
        why = f"not ascending places inside the {len(data)} bytes of the messages"
        raise InputError(why, field="cut_bytes", value=packet.cut_bytes)
    for number, (start, end) in enumerate(pairwise(cuts)):
        yield packet.at_ns + number * packet.gap_ns, data[start:end]


def _rtp(packet: RtpPacket) -> Iterator[Timed]:
    """Yield the packets that are not lost, each at the time it is seen."""
    payload = bytes(index & 0xFF for index in range(packet.payload_bytes))
    for index in range(packet.count):
        if index in packet.lost:
            continue
        at_ns = packet.at_ns + index * packet.gap_ns + packet.late.get(str(index), 0)
        if packet.jitter_ns:
            at_ns += packet.jitter_ns[index % len(packet.jitter_ns)]
        marker = packet.marker and index == 0
        stamp = packet.timestamp + index * packet.step
        yield at_ns, _rtp_header(packet, packet.sequence + index, stamp, marker=marker) + payload


def _dtmf(packet: DtmfPacket) -> Iterator[Timed]:
    """Yield the updates and the ends of one digit; all have the time stamp of its start."""
    event = DIGITS.index(packet.digit)
    for index in range(packet.updates + END_TIMES):
        end = index >= packet.updates
        duration = packet.step * min(index + 1, packet.updates + 1)
        flags = (_END if end else 0) | packet.volume
        head = _rtp_header(packet, packet.sequence + index, packet.timestamp, marker=index == 0)
        yield (
            packet.at_ns + index * packet.gap_ns,
            head + struct.pack(">BBH", event, flags, duration),
        )


def _rtp_header(
    packet: RtpPacket | DtmfPacket, sequence: int, stamp: int, *, marker: bool
) -> bytes:
    second = packet.payload_type | (_MARKER if marker else 0)
    return struct.pack(">BBHII", _VERSION, second, sequence % 2**16, stamp % 2**32, packet.ssrc)
