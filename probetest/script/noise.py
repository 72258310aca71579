"""What else is on a network: frames that have nothing to do with calls, some of them damaged.

Laws: made up, the same each time; none of it starts as a SIP message does, and none of it counts
up as RTP does.
"""

import itertools
import struct
from collections.abc import Iterator

from probetest.script import ip_bytes
from probetest.script.ip_bytes import IPV4, IPV6, TCP, UDP

_MACS = bytes.fromhex("020000000001020000000077")
_HOST, _SERVER = "192.0.2.77", "192.0.2.53"
_HOST6, _SERVER6 = "2001:db8::77", "2001:db8::53"
_ARP, _LLDP = 0x0806, 0x88CC
_QUESTION = b"\x07example\x03com\0\0\x01\0\x01"


def endless() -> Iterator[bytes]:
    """Yield Ethernet frames, over and over."""
    return itertools.cycle(_frames())


def _frames() -> list[bytes]:
    """Return each kind of noise once."""
    whole = _udp(53, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + _QUESTION)
    return [
        whole,
        _udp6(53, b"\x12\x35\x01\0\0\x01\0\0\0\0\0\0" + _QUESTION),
        _ethernet(_ARP, struct.pack(">HHBBH", 1, IPV4, 6, 4, 1) + bytes(20)),
        _ethernet(_LLDP, bytes.fromhex("0207040200000000010403050074617006020078") + bytes(2)),
        _tcp(80, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        _tcp(443, bytes.fromhex("160301002a") + bytes(42)),
        _udp(3478, bytes.fromhex("000100002112a442") + bytes(12)),  # STUN
        _udp(5060, b"\r\n\r\n"),  # keep-alives
        _udp(5060, b"\0\0\0\0"),
        _udp(5060, b"INVITATION to a talk\r\n\r\n"),
        _udp(40_000, bytes([0x80, 0]) + bytes(10)),  # one packet like RTP is no stream
        _udp(40_001, bytes([0x80, 201, 0, 1]) + b"\0\0\0\x01"),  # and this like RTCP
        _udp(6000, b""),
        # damaged: an IP header that is longer than the frame, one that is too short, ...
        whole[:14] + b"\x4f" + whole[15:],
        whole[:14] + b"\x41" + whole[15:],
        whole[:16] + b"\xff\xff" + whole[18:],
        whole[:38] + b"\0\x04" + whole[40:],  # UDP shorter than its header
        whole[:38] + b"\xff\xff" + whole[40:],  # and longer than its packet
        whole[:30],
        whole[:14],
        whole[:9],
        _ethernet(IPV6, b"\x60\0\0\0\xff\xff"),
        _ethernet(0x8100, b"\0"),
        _ethernet(0x8847, b"\0\x06\x40\x40" * 12),  # labels without an end
        _ethernet(IPV4, _packet(47, b"\x70\0\x08\0")),  # GRE that ends within its fields
        _udp(4789, b"\x08\0\0\0\0\0\x2a\0" + whole[:20]),  # VXLAN with a cut frame
        _udp(2152, b"\x34\xff\xff\xff"),
        _udp(9060, b"HEP3\xff\xff\0\0\0\x01\0\0"),
    ]


def _ethernet(kind: int, body: bytes) -> bytes:
    return _MACS + struct.pack(">H", kind) + body


def _packet(protocol: int, body: bytes) -> bytes:
    return ip_bytes.around((_HOST, _SERVER), protocol, body, ttl=64, number=7)[1]


def _udp(port: int, payload: bytes) -> bytes:
    body = ip_bytes.udp((_HOST, _SERVER), (41_000, port), payload, summed=True)
    return _ethernet(IPV4, _packet(UDP, body))


def _udp6(port: int, payload: bytes) -> bytes:
    ends = (_HOST6, _SERVER6)
    body = ip_bytes.udp(ends, (41_000, port), payload, summed=True)
    return _ethernet(IPV6, ip_bytes.around(ends, UDP, body, ttl=64, number=0)[1])


def _tcp(port: int, payload: bytes) -> bytes:
    head = struct.pack(">HHIIBBHHH", 41_000, port, 1, 1, 5 << 4, 0x18, 65_535, 0, 0)
    return _ethernet(IPV4, _packet(TCP, head + payload))
