"""One SIP datagram in every wrapping that is read here, built by scapy where it knows them."""

import struct

from scapy.contrib.erspan import ERSPAN_I, ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS, EoMCW
from scapy.layers.inet import IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import GRE, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

SIP = (
    b"OPTIONS sip:+12125550142@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2;branch=z9hG4bKa"
    b"\r\nCall-ID: wrapped@192.0.2.1\r\nContent-Length: 0\r\n\r\n"
)
A4, B4, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"
GOLDEN = IP(src=A4, dst=B4, id=7, ttl=61) / UDP(sport=5062, dport=5060) / Raw(SIP)
GOLDEN6 = IPv6(src=A6, dst=B6, hlim=61) / UDP(sport=5062, dport=5060) / Raw(SIP)
SEGMENT = IP(src=A4, dst=B4, id=7) / TCP(sport=5062, dport=5060, seq=9, flags="PA") / Raw(SIP)
_OUTER = IP(src="203.0.113.1", dst="203.0.113.2", id=1)
_OUTER6 = IPv6(src="2001:db8:1::1", dst="2001:db8:1::2")
_MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
_INNER_MACS = {"src": "02:00:00:00:01:01", "dst": "02:00:00:00:01:02"}


def ether(packet: Packet) -> Packet:
    """Return *packet* in an Ethernet frame."""
    return Ether(**_MACS) / packet


def inner(packet: Packet = GOLDEN) -> Packet:
    """Return *packet* in an Ethernet frame of other addresses."""
    return Ether(**_INNER_MACS) / packet


def over_udp(port: int, inside: Packet | bytes, outer: Packet = _OUTER) -> Packet:
    """Return *inside* as the payload of an outer datagram to *port*."""
    return ether(outer / UDP(sport=50_000, dport=port) / inside)


def vxlan(inside: Packet, port: int = 4789, outer: Packet = _OUTER) -> Packet:
    """Return a frame in VXLAN."""
    return over_udp(port, Raw(bytes(VXLAN(vni=42))) / inside, outer)


def geneve(inside: Packet, kind: int = 0x6558, options: bytes = b"") -> Packet:
    """Return *inside* in Geneve."""
    head = struct.pack(">BBHI", len(options) // 4, 0, kind, 42 << 8)
    return over_udp(6081, Raw(head + options) / inside)


def gpe(inside: Packet, following: int) -> Packet:
    """Return *inside* in VXLAN-GPE."""
    return over_udp(4790, Raw(bytes((0x0C, 0, 0, following)) + b"\0\0\x2a\0") / inside)


def gre(inside: Packet, kind: int = 0x0800, outer: Packet = _OUTER, **fields: int) -> Packet:
    """Return *inside* in GRE."""
    return ether(outer / GRE(proto=kind, **fields) / inside)


def gtp(inside: bytes, *, flags: int = 0, optional: bytes = b"") -> Packet:
    """Return an IP packet of a phone in GTP-U; *optional* stands behind the fixed header."""
    size = len(optional) + len(inside)
    return over_udp(2152, struct.pack(">BBHI", 0x30 | flags, 255, size, 9) + optional + inside)


def hep3(payload: bytes = SIP, *, ipv6: bool = False, protocol: int = 17) -> bytes:
    """Return a HEP version 3 datagram as HOMER's description has it."""
    four = (bytes((192, 0, 2, 1)), bytes((198, 51, 100, 2)))
    six = (bytes(GOLDEN6)[8:24], bytes(GOLDEN6)[24:40])
    chunks = [
        (1, bytes([10 if ipv6 else 2])),
        (2, bytes([protocol])),
        *(((5, six[0]), (6, six[1])) if ipv6 else ((3, four[0]), (4, four[1]))),
        (7, struct.pack(">H", 5062)),
        (8, struct.pack(">H", 5060)),
        (9, struct.pack(">I", 1_700_000_000)),
        (10, struct.pack(">I", 123_456)),
        (11, b"\x01"),
        (12, struct.pack(">I", 2001)),
        (15, payload),
    ]
    body = b"".join(struct.pack(">HHH", 0, k, 6 + len(value)) + value for k, value in chunks)
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body


def hep_old(version: int, payload: bytes = SIP, *, counts_time: bool = True) -> bytes:
    """Return a HEP datagram of version 1 or 2, as captagent sends them."""
    stamp = struct.pack("<IIHH", 1_700_000_000, 123_456, 2001, 0) if version == 2 else b""
    size = 16 + (len(stamp) if counts_time else 0)
    ends = bytes((192, 0, 2, 1, 198, 51, 100, 2))
    head = struct.pack(">BBBBHH", version, size, 2, 17, 5062, 5060)
    return head + ends + stamp + payload


def cooked(packet: Packet, kind: int) -> bytes:
    """Return *packet* as tcpdump -i any wrote it until 2020."""
    return struct.pack(">HHH8sH", 0, 1, 6, b"\2\0\0\0\0\1", kind) + bytes(packet)


def cooked2(packet: Packet, kind: int) -> bytes:
    """Return *packet* as tcpdump -i any writes it."""
    head = struct.pack(">HHIHBB8s", kind, 0, 2, 1, 0, 6, b"\2\0\0\0\0\1")
    return head + bytes(packet)


_SIX_IN_FOUR = ether(_OUTER / GOLDEN6)
_CHECKED = {"chksum_present": 1, "key_present": 1, "key": 5, "seqnum_present": 1}
_SEQUENCED = {"seqnum_present": 1, "sequence_number": 9}
_PSC = b"\0\0\0\x85" + bytes((1, 0x10, 9, 0))  # a PDU session container, as 5G has it
_VN_TAG = b"\x80\x01\0\x02\x08\x00"
_LABELS = MPLS(label=16, s=0, ttl=9) / MPLS(label=17, s=1, ttl=9)
_SIGNED = AH(nh=17, payloadlen=4, icv=bytes(12))
_ETHER_IP = IP(src="203.0.113.1", dst="203.0.113.2", proto=97)
_WIRE = MPLS(label=200, s=1, ttl=9)  # of an Ethernet pseudowire
_WORDED_WIRE = MPLS(label=201, s=1, ttl=9)  # of one with control words
_ONE_LABEL = MPLS(label=99, s=1, ttl=9)


def _typed(kind: int, packet: bytes) -> bytes:
    """Return an Ethernet frame with this EtherType."""
    return bytes(ether(Raw(b"")))[:12] + struct.pack(">H", kind) + packet


PLAIN: dict[str, tuple[int, Packet | bytes]] = {  # inside them is GOLDEN
    "plain": (1, ether(GOLDEN)),
    "vlan": (1, ether(Dot1Q(vlan=7) / GOLDEN)),
    "vlan-0": (1, ether(Dot1Q(vlan=0, prio=5) / GOLDEN)),
    "qinq": (1, ether(Dot1AD(vlan=7) / Dot1Q(vlan=8) / GOLDEN)),
    "qinq-9100": (1, _typed(0x9100, b"\0\7\x81\0\0\x08\x08\0" + bytes(GOLDEN))),
    "three-tags": (1, ether(Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / GOLDEN)),
    "snap": (
        1,
        Dot3(**_MACS) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800) / GOLDEN,
    ),
    "padded": (1, bytes(ether(GOLDEN)) + b"\xee" * 4),
    "mpls": (1, _typed(0x8847, bytes(_ONE_LABEL / GOLDEN))),
    "mpls-two": (1, _typed(0x8847, bytes(_LABELS / GOLDEN))),
    "mpls-vlan": (1, ether(Dot1Q(vlan=7, type=0x8847) / Raw(bytes(_ONE_LABEL / GOLDEN)))),
    "mpls-ethernet": (1, _typed(0x8847, bytes(_WIRE) + bytes(inner()))),
    "mpls-word-ethernet": (1, _typed(0x8847, bytes(_WORDED_WIRE / EoMCW()) + bytes(inner()))),
    "pppoe": (1, ether(PPPoE(sessionid=5) / PPP(proto=0x21) / GOLDEN)),
    "pppoe-vlan": (1, ether(Dot1Q(vlan=7) / PPPoE(sessionid=5) / PPP(proto=0x21) / GOLDEN)),
    "pppoe-padded": (1, bytes(ether(PPPoE(sessionid=5) / PPP(proto=0x21) / GOLDEN)) + bytes(9)),
    "vn-tag": (1, _typed(0x8926, _VN_TAG + bytes(GOLDEN))),
    "options": (
        1,
        ether(IP(src=A4, dst=B4, id=7, ttl=61, options=[IPOption_Router_Alert()]) / GOLDEN[UDP]),
    ),
    "authenticated": (
        1,
        ether(
            IP(src=A4, dst=B4, id=7, ttl=61, proto=51)
            / AH(nh=17, payloadlen=4, icv=bytes(12))
            / GOLDEN[UDP]
        ),
    ),
    "raw": (101, GOLDEN),
    "cooked": (113, cooked(GOLDEN, 0x0800)),
    "cooked-vlan": (113, cooked(Dot1Q(vlan=3) / GOLDEN, 0x8100)),
    "cooked-2": (276, cooked2(GOLDEN, 0x0800)),
    "null": (0, b"\2\0\0\0" + bytes(GOLDEN)),
    "loop": (108, b"\0\0\0\2" + bytes(GOLDEN)),
    "ppp": (9, b"\xff\3\0\x21" + bytes(GOLDEN)),
    "cisco-hdlc": (104, b"\x0f\0\x08\0" + bytes(GOLDEN)),
}
TUNNELS: dict[str, tuple[int, Packet | bytes]] = {  # inside them is GOLDEN too
    "gre": (1, gre(GOLDEN)),
    "gre-all-fields": (1, gre(GOLDEN, **_CHECKED)),
    "gre-key": (1, gre(GOLDEN, key_present=1, key=9)),
    "gre-ethernet": (1, gre(inner(), 0x6558)),
    "nvgre": (1, gre(inner(), 0x6558, key_present=1, key=0x2A00)),
    "gre-over-ipv6": (1, gre(GOLDEN, outer=_OUTER6)),
    "gre-ethernet-vlan": (1, gre(inner(Dot1Q(vlan=5) / GOLDEN), 0x6558)),
    "gre-mpls": (1, gre(Raw(bytes(_ONE_LABEL / GOLDEN)), 0x8847)),
    "gre-behind-vlan": (1, ether(Dot1Q(vlan=7) / _OUTER / GRE(proto=0x0800) / GOLDEN)),
    "erspan-1": (1, gre(ERSPAN_I() / inner(), 0x88BE)),
    "erspan-2": (1, gre(ERSPAN_II(session_id=3) / inner(), 0x88BE, **_SEQUENCED)),
    "erspan-2-vlan": (
        1,
        gre(ERSPAN_II(session_id=3) / inner(Dot1Q(vlan=5) / GOLDEN), 0x88BE, **_SEQUENCED),
    ),
    "erspan-3": (1, gre(ERSPAN_III(session_id=3) / inner(), 0x22EB, **_SEQUENCED)),
    "erspan-3-subheader": (
        1,
        gre(
            ERSPAN_III(session_id=3, o=1) / ERSPAN_PlatformSpecific() / inner(),
            0x22EB,
            **_SEQUENCED,
        ),
    ),
    "vxlan": (1, vxlan(inner())),
    "vxlan-8472": (1, vxlan(inner(), 8472)),
    "vxlan-over-ipv6": (1, vxlan(inner(), outer=_OUTER6)),
    "vxlan-inner-vlan": (1, vxlan(inner(Dot1Q(vlan=5) / GOLDEN))),
    "vxlan-behind-qinq": (
        1,
        ether(
            Dot1AD(vlan=7)
            / Dot1Q(vlan=8)
            / _OUTER
            / UDP(sport=50_000, dport=4789)
            / Raw(bytes(VXLAN(vni=1)))
            / inner()
        ),
    ),
    "vxlan-group-policy": (
        1,
        over_udp(4789, Raw(b"\x88\0\0\7\0\0\x2a\0") / inner()),
    ),
    "vxlan-of-scapy": (1, over_udp(4789, VXLAN(vni=42) / inner())),  # says the type, as GPE does
    "vxlan-gpe-ethernet": (1, gpe(inner(), 3)),
    "vxlan-gpe-ip": (1, gpe(GOLDEN, 1)),
    "geneve": (1, geneve(inner())),
    "geneve-ip": (1, geneve(GOLDEN, 0x0800)),
    "geneve-options": (1, geneve(inner(), options=b"\1\2\3\1\0\0\0\7")),
    "geneve-of-scapy": (1, over_udp(6081, GENEVE(vni=42, proto=0x6558) / inner())),
    "ip-in-ip": (1, ether(_OUTER / GOLDEN)),
    "ip-in-ip6": (1, ether(_OUTER6 / GOLDEN)),
    "etherip": (1, ether(_ETHER_IP / Raw(b"\x30\0") / inner())),
    "gtp": (1, gtp(bytes(GOLDEN))),
    "gtp-sequence": (1, gtp(bytes(GOLDEN), flags=2, optional=b"\0\1\0\0")),
    "gtp-session": (1, gtp(bytes(GOLDEN), flags=4, optional=_PSC)),
    "vxlan-in-vxlan": (1, vxlan(vxlan(inner()))),
    "gre-in-vxlan": (1, vxlan(inner(gre(GOLDEN)[IP]))),
    "erspan-of-vxlan": (1, gre(ERSPAN_II() / vxlan(inner()), 0x88BE, **_SEQUENCED)),
    "erspan-of-qinq": (
        1,
        gre(ERSPAN_III() / inner(Dot1AD(vlan=7) / Dot1Q(vlan=8) / GOLDEN), 0x22EB, **_SEQUENCED),
    ),
    "vxlan-of-gtp": (1, vxlan(gtp(bytes(GOLDEN)))),
    "geneve-of-ip-in-ip": (1, geneve(inner(_OUTER / GOLDEN))),
    "mpls-of-vxlan": (1, _typed(0x8847, bytes(_LABELS) + bytes(vxlan(inner())[IP]))),
    "pppoe-of-gre": (1, ether(PPPoE(sessionid=5) / PPP(proto=0x21) / gre(GOLDEN)[IP])),
}
SIX: dict[str, tuple[int, Packet | bytes]] = {  # inside them is GOLDEN6
    "plain6": (1, ether(GOLDEN6)),
    "vlan6": (1, ether(Dot1Q(vlan=7) / GOLDEN6)),
    "6in4": (1, _SIX_IN_FOUR),
    "6in6": (1, ether(_OUTER6 / GOLDEN6)),
    "gre6": (1, gre(GOLDEN6, 0x86DD)),
    "vxlan6": (1, vxlan(inner(GOLDEN6))),
    "geneve6-ip": (1, geneve(GOLDEN6, 0x86DD)),
    "vxlan-gpe6": (1, gpe(GOLDEN6, 2)),
    "mpls6": (1, _typed(0x8847, bytes(_ONE_LABEL) + bytes(GOLDEN6))),
    "pppoe6": (1, ether(PPPoE(sessionid=5) / PPP(proto=0x57) / GOLDEN6)),
    "gtp6": (1, gtp(bytes(GOLDEN6))),
    "erspan6": (1, gre(ERSPAN_II() / inner(GOLDEN6), 0x88BE, **_SEQUENCED)),
    "extensions": (
        1,
        ether(
            IPv6(src=A6, dst=B6, hlim=61)
            / IPv6ExtHdrHopByHop()
            / IPv6ExtHdrDestOpt()
            / IPv6ExtHdrRouting()
            / GOLDEN6[UDP]
        ),
    ),
    "atomic": (
        1,
        ether(IPv6(src=A6, dst=B6, hlim=61) / IPv6ExtHdrFragment(id=9) / GOLDEN6[UDP]),
    ),
    "authenticated6": (
        1,
        ether(
            IPv6(src=A6, dst=B6, hlim=61, nh=51)
            / AH(nh=17, payloadlen=4, icv=bytes(12))
            / GOLDEN6[UDP]
        ),
    ),
}
HEP: dict[str, tuple[int, Packet | bytes]] = {  # inside them is what GOLDEN and GOLDEN6 carry
    "hep-3": (1, over_udp(9060, hep3())),
    "hep-3-any-port": (1, over_udp(5999, hep3())),
    "hep-3-tcp": (1, over_udp(9060, hep3(protocol=6))),
    "hep-3-vlan": (1, ether(Dot1Q(vlan=7) / over_udp(9060, hep3())[IP])),
    "hep-2": (1, over_udp(9060, hep_old(2))),
    "hep-2-other-length": (1, over_udp(9060, hep_old(2, counts_time=False))),
    "hep-1": (1, over_udp(9060, hep_old(1))),
    "hep-3-of-ipv6": (1, over_udp(9060, hep3(ipv6=True))),
}
