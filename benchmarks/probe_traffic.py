"""A capture of mixed SIP and RTP, made for measuring: always the same bytes for one size.

Fifty calls a second of five seconds each: seven SIP messages, and 247 G.711 packets a direction, of
which one in 200 is lost and each is late or early by a millisecond or so (normally distributed).
Numbers and addresses are made up (555-01xx, documentation networks).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.packets.capture import encode_file_header, encode_record
from harness.packets.frame import Endpoint, encode_udp
from probetest.sip.message import encode_request, encode_response

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
CALL_EVERY_NS = 20 * MS
SIP_MS = (0, 5, 100, 200, 205, 5200, 5205)  # INVITE, 100, 180, 200, ACK, BYE, 200
RTP_PACKETS, RTP_FROM_MS, RTP_EVERY_MS = 247, (300, 307), 20
LOST, JITTER_NS = 0.005, MS
SAMPLES = 160  # of a packet, one byte each
LINKTYPE_ETHERNET = 1
ETHERNET = bytes.fromhex("020000000001 020000000002 0800")
RECORD, IP, UDP = 16, 16 + 14, 16 + 14 + 20  # where each header starts in a record
AT_A_TIME = 200_000  # packets
PART_PACKETS, REST_CALLS = 1_000_000, 500  # of a capture without end: no calls for ten seconds
PHONE, SBC = Endpoint("192.0.2.10", 5060), Endpoint("192.0.2.20", 5060)
MEDIA = (Endpoint("198.51.100.10", 0), Endpoint("203.0.113.20", 0))
PORTS = 20_000  # pairs, each used again when they were all used


def calls_for(packets: int) -> int:
    """Return how many calls make about so many packets."""
    return max(1, round(packets / (len(SIP_MS) + 2 * RTP_PACKETS * (1 - LOST))))


def write(path: Path, packets: int) -> int:
    """Write about as many packets, in order of time, and return how many they are."""
    written = 0
    with path.open("wb") as out:
        out.write(encode_file_header(LINKTYPE_ETHERNET))
        for block, count in blocks(packets):
            out.write(block)
            written += count
    return written


def endless() -> Iterator[bytes]:
    """Yield a capture that never ends, a file header first."""
    yield encode_file_header(LINKTYPE_ETHERNET)
    first_call = 0
    while True:
        for block, _ in blocks(PART_PACKETS, first_call):
            yield block
        first_call += calls_for(PART_PACKETS) + REST_CALLS


def blocks(packets: int, first_call: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield records and their number, to follow a file header of nanoseconds and Ethernet."""
    calls = calls_for(packets)
    dice = np.random.default_rng(7)
    at_ns, kind = _events(calls, dice)
    at_ns += first_call * CALL_EVERY_NS
    for begin in range(0, len(at_ns), AT_A_TIME):
        part = slice(begin, begin + AT_A_TIME)
        yield _records(at_ns[part], kind[part], calls, first_call), len(at_ns[part])


def _events(calls: int, dice: np.random.Generator) -> tuple[Ints, Ints]:
    """Return when each packet is seen, in order, and which one it is."""
    starts = START_NS + np.arange(calls, dtype=np.int64) * CALL_EVERY_NS
    sip = (starts[:, None] + np.array(SIP_MS, np.int64) * MS).ravel()
    steps = np.arange(RTP_PACKETS, dtype=np.int64) * RTP_EVERY_MS * MS
    begins = starts[:, None] + np.array(RTP_FROM_MS, np.int64) * MS
    rtp = (begins[:, :, None] + steps).ravel()
    rtp += (dice.standard_normal(len(rtp), np.float32) * JITTER_NS).astype(np.int64)
    kept = np.flatnonzero(dice.random(len(rtp), np.float32) >= LOST)
    at_ns = np.concatenate((sip, rtp[kept]))
    kind = np.concatenate((np.arange(len(sip)), len(sip) + kept))
    order = np.argsort(at_ns, kind="stable")
    return at_ns[order], kind[order]


def _records(at_ns: Ints, kind: Ints, calls: int, first_call: int) -> bytes:
    """Return the pcap records of some packets."""
    messages = calls * len(SIP_MS)
    is_sip = kind < messages
    sip = [
        _sip(first_call + one // len(SIP_MS), one % len(SIP_MS), at)
        for one, at in zip(kind[is_sip].tolist(), at_ns[is_sip].tolist(), strict=True)
    ]
    rtp = _rtp(at_ns[~is_sip], kind[~is_sip] - messages + 2 * RTP_PACKETS * first_call)
    sizes = np.full(len(kind), rtp.shape[1], np.int64)
    sizes[is_sip] = [len(one) for one in sip]
    offsets = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for place, record in zip(offsets[is_sip].tolist(), sip, strict=True):
        out[place : place + len(record)] = np.frombuffer(record, np.uint8)
    size = rtp.shape[1]
    if len(rtp):
        slots = np.ndarray((out.size - size + 1,), f"V{size}", out, strides=(1,))
        slots[offsets[~is_sip]] = rtp.view(f"V{size}").ravel()
    return out.tobytes()


def _rtp(at_ns: Ints, packet: Ints) -> Bytes:
    """Return one record a row."""
    stream, number = np.divmod(packet, RTP_PACKETS)
    call, way = np.divmod(stream, 2)
    ends = (Endpoint(MEDIA[0].address, 10_000), Endpoint(MEDIA[1].address, 10_000))
    frame = ETHERNET + encode_udp(*ends, bytes([0x80, 0]) + bytes(10 + SAMPLES))
    table = np.tile(np.frombuffer(encode_record(0, frame), np.uint8), (len(packet), 1))
    _put(table, 0, "<u4", at_ns // 10**9)
    _put(table, 4, "<u4", at_ns % 10**9)
    _put(table, IP + 4, ">u2", packet % 2**16)
    back = np.flatnonzero(way == 1)
    addresses = table[0, IP + 12 : IP + 20] if len(packet) else np.zeros(8, np.uint8)
    table[back, IP + 12 : IP + 20] = np.roll(addresses, 4)
    port = 10_000 + 2 * (call % PORTS)
    _put(table, UDP, ">u2", port)
    _put(table, UDP + 2, ">u2", port)
    table[:, UDP + 6 : UDP + 8] = 0  # no checksum
    _put(table, UDP + 10, ">u2", number + stream % 1000)
    _put(table, UDP + 12, ">u4", number * SAMPLES + stream)
    _put(table, UDP + 16, ">u4", stream + 1)
    return table


def _put(table: Bytes, at: int, kind: str, values: Ints) -> None:
    """Write one number a row."""
    width = np.dtype(kind).itemsize
    table[:, at : at + width] = values.astype(kind)[:, None].view(np.uint8)


def _sip(call: int, step: int, at_ns: int) -> bytes:
    """Return the record of one message."""
    caller = f"+1{201 + call % 700}55501{call // 700 % 100:02}"
    called = f"+1{201 + call * 7 % 700}55501{call % 97:02}"
    inside = step >= SIP_MS.index(205)
    to_tag = ";tag=b" if step > 1 else ""
    way = {0: 0, 3: 1}.get(step)
    body = b"" if way is None else _sdp(call, way)
    method = "INVITE" if not inside else "ACK" if step == SIP_MS.index(205) else "BYE"
    headers = (
        ("Via", f"SIP/2.0/UDP {PHONE};branch=z9hG4bK{call}.{1 + inside * step}"),
        ("Max-Forwards", "70"),
        ("From", f"<sip:{caller}@{PHONE.address};user=phone>;tag=a{call}"),
        ("To", f"<sip:{called}@{SBC.address};user=phone>{to_tag}"),
        ("Call-ID", f"{call:08x}-{call * 2654435761 % 2**32:08x}@{PHONE.address}"),
        ("CSeq", f"{2 if method == 'BYE' else 1} {method}"),
        ("Contact", f"<sip:{PHONE}>"),
        ("User-Agent", "made for measuring"),
        *((("Content-Type", "application/sdp"),) if body else ()),
    )
    uri = f"sip:{called}@{SBC.address};user=phone"
    status = {1: 100, 2: 180, 3: 200, 6: 200}.get(step)
    if status is None:
        ends, message = (PHONE, SBC), encode_request(method, uri, headers, body)
    else:
        ends, message = (SBC, PHONE), encode_response(status, "Said", headers, body)
    return encode_record(at_ns, ETHERNET + encode_udp(*ends, message))


def _sdp(call: int, way: int) -> bytes:
    """Return what the caller (0) or the callee (1) announces."""
    address, port = MEDIA[way].address, 10_000 + 2 * (call % PORTS)
    lines = ["v=0", f"o=- {call} {way} IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000"]
    return "".join(f"{line}\r\n" for line in lines).encode()
