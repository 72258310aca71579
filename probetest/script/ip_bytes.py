"""IP packets as bytes: what is in one, one around something, one cut into fragments.

Laws: checksums are right, lengths are those of the bytes; nothing is read from the machine.

Sources: RFC 791, RFC 768, RFC 1071, RFC 8200 sections 4.5 and 8.1.
"""

import ipaddress
import struct
from dataclasses import dataclass, replace

from harness.errors import InputError

IPV4, IPV6 = 0x0800, 0x86DD  # EtherTypes
UDP, TCP, FRAGMENT_HEADER = 17, 6, 44
_DONT, _MORE = 0x4000, 0x2000
_V4_BYTES, _V6_BYTES = 20, 40
_HOP_BY_HOP, _DESTINATION_OPTIONS = 0, 60
_NOPS = b"\x01\x01\x01\x01"
_PADN = b"\x01\x04\0\0\0\0"  # an option of six bytes that says nothing


@dataclass(frozen=True, slots=True)
class IpPacket:
    """The parts of an IP packet that is whole."""

    source: bytes
    destination: bytes
    protocol: int  # of the body; in IPv6 the next header
    ttl: int
    number: int  # identification; 0 in IPv6, which has it in fragments alone
    options: bytes  # of IPv4
    body: bytes


def parse(data: bytes) -> IpPacket:
    """Return the IP packet that *data* starts with; what stands after it (padding) is left out.

    Raises:
        InputError: no IP packet, or one that is itself a fragment.
    """
    version = data[0] >> 4 if data else 0
    if version == 6 and len(data) >= _V6_BYTES:  # noqa: PLR2004 - IPv6
        size, following, ttl = struct.unpack_from(">HBB", data, 4)
        body = data[_V6_BYTES : _V6_BYTES + size]
        return IpPacket(data[8:24], data[24:40], following, ttl, 0, b"", body)
    if version != 4 or len(data) < _V4_BYTES:  # noqa: PLR2004 - IPv4
        raise InputError("no IP packet", field="packet", value=data[:4].hex())
    size, number, place, ttl, protocol = struct.unpack_from(">HHHBB", data, 2)
    if place & ~_DONT:
        raise InputError("a fragment already", field="packet", value=number)
    head = 4 * (data[0] & 15)
    ends = data[12:16], data[16:20]
    return IpPacket(*ends, protocol, ttl, number, data[_V4_BYTES:head], data[head:size])


def encode(packet: IpPacket, place: int = 0) -> bytes:
    """Return *packet* as bytes; *place* is the field of IPv4 with flags and fragment offset."""
    size = len(packet.body)
    if len(packet.source) != 4:  # noqa: PLR2004 - bytes of an IPv4 address
        front = struct.pack(">IHBB", 6 << 28, size, packet.protocol, packet.ttl)
        return front + packet.source + packet.destination + packet.body
    head = _V4_BYTES + len(packet.options)
    ends = packet.source + packet.destination
    numbers = (0x40 | head // 4, 0, head + size, packet.number % 2**16, place)
    front = struct.pack(">BBHHHBBH", *numbers, packet.ttl, packet.protocol, 0)
    total = checksum(front + ends + packet.options)
    return front[:10] + struct.pack(">H", total) + ends + packet.options + packet.body


def around(
    ends: tuple[str, str], protocol: int, body: bytes, *, ttl: int, number: int
) -> tuple[int, bytes]:
    """Return the EtherType and the bytes of a packet between two addresses."""
    source, destination = (ipaddress.ip_address(end).packed for end in ends)
    packet = IpPacket(source, destination, protocol, ttl, number, b"", body)
    return (IPV4 if len(source) == 4 else IPV6), encode(packet)  # noqa: PLR2004 - as above


def udp(ends: tuple[str, str], ports: tuple[int, int], body: bytes, *, summed: bool) -> bytes:
    """Return a UDP datagram; without checksum only over IPv4 (RFC 768)."""
    size = 8 + len(body)
    head = struct.pack(">HHHH", *ports, size, 0)
    if not summed and ":" not in ends[0]:
        return head + body
    packed = b"".join(ipaddress.ip_address(end).packed for end in ends)
    total = checksum(packed + struct.pack(">II", size, UDP) + head + body) or 0xFFFF
    return head[:6] + struct.pack(">H", total) + body


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def fragments(data: bytes, part_bytes: int, number: int) -> list[bytes]:
    """Return the packet *data* in parts of at most *part_bytes* of its body, or as it is.

    An IPv6 packet gets *number* as its identification; of IPv4 it is the packet's own.
    """
    packet = parse(data)
    step = part_bytes // 8 * 8
    if len(packet.body) <= step:
        return [data]
    parts = []
    for start in range(0, len(packet.body), step):
        body = packet.body[start : start + step]
        more = start + step < len(packet.body)
        if packet.source[4:]:  # IPv6
            head = struct.pack(">BBHI", packet.protocol, 0, start | more, number)
            parts.append(encode(replace(packet, protocol=FRAGMENT_HEADER, body=head + body)))
        else:
            place = start // 8 | (_MORE if more else 0)
            parts.append(encode(replace(packet, body=body), place))
    return parts


def with_options(data: bytes) -> bytes:
    """Return the packet *data* with four NOPs (IPv4), or with two extension headers (IPv6)."""
    packet = parse(data)
    if not packet.source[4:]:
        options = packet.options + _NOPS
        return encode(replace(packet, options=options))
    first = bytes([_DESTINATION_OPTIONS, 0]) + _PADN
    second = bytes([packet.protocol, 0]) + _PADN
    body = first + second + packet.body
    return encode(replace(packet, protocol=_HOP_BY_HOP, body=body))


def one_hop_on(data: bytes) -> bytes:
    """Return the packet *data* as the next router sends it: its TTL or hop limit one less.

    Raises:
        InputError: a packet that no router would pass on, or no packet at all.
    """
    at = 7 if data[:1] and data[0] >> 4 == 6 else 8  # noqa: PLR2004 - IPv6
    if len(data) < _V4_BYTES or data[at] <= 1:
        raise InputError("cannot pass another router", field="ttl", value=data[at : at + 1].hex())
    changed = bytearray(data)
    changed[at] -= 1
    if at == 8:  # noqa: PLR2004 - IPv4, whose header has a checksum
        head = 4 * (data[0] & 15)
        changed[10:12] = bytes(2)
        changed[10:12] = struct.pack(">H", checksum(bytes(changed[:head])))
    return bytes(changed)
