"""Frames in their layers: VLAN, MPLS, PPPoE, tunnels over IP, fragments, and a file's link types.

Laws: pure; frames go in and come out as whole Ethernet frames, in their order; the same frames
give the same bytes. Nothing of the analyser is used here: tshark says that these bytes are right.

Sources: IEEE 802.1Q, RFC 3032, 4448, 2516, 2784, 2890, 7348, 8926, 2003, 2473;
draft-foschiano-erspan-03; 3GPP TS 29.281 section 5.1; HEP3 network protocol specification rev. 12;
https://www.tcpdump.org/linktypes.html.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from harness.errors import InputError
from probetest.script import ip_bytes
from probetest.script.container import Frame
from probetest.script.ip_bytes import IPV4, IPV6, TCP, UDP
from probetest.script.layer import (
    Erspan,
    Fragments,
    Geneve,
    Gre,
    GtpU,
    Hep,
    IpInIp,
    Layer,
    Mpls,
    Options,
    Padding,
    Pppoe,
    TunnelLayer,
    VlanTag,
    Vxlan,
)

_GRE, _IPIP, _IPV6 = 47, 4, 41  # IP protocol numbers
_ETHERNET, _MPLS, _PPPOE = 0x6558, 0x8847, 0x8864  # EtherTypes
_ERSPAN, _ERSPAN_3 = 0x88BE, 0x22EB
_PPP = {IPV4: 0x0021, IPV6: 0x0057}
_TAGS = {0x8100, 0x88A8, 0x9100}
_HEP_FAMILY = {IPV4: 2, IPV6: 10}  # AF_INET and AF_INET6 of Linux, as agents send them
_MICROSECOND_NS = 1_000


def wrap(frames: Iterable[Frame], layers: Sequence[Layer]) -> list[Frame]:
    """Return Ethernet *frames* in *layers*, which are listed from the outside in.

    Raises:
        InputError: a layer that cannot hold such a frame, such as IP for what is none.
    """
    return Wrapper().wrap(frames, layers)


@dataclass(slots=True)
class Wrapper:
    """Wraps frames one after the other, and counts what has to be counted."""

    numbers: Counter[str] = field(default_factory=Counter)  # IP ids, sequence numbers: by sender

    def wrap(self, frames: Iterable[Frame], layers: Sequence[Layer]) -> list[Frame]:
        """Return *frames* in *layers*, as the function of this name does."""
        found = list(frames)
        for layer in reversed(layers):
            found = [
                replace(frame, data=data)
                for frame in found
                for data in self._layer(frame.data, frame.at_ns, layer)
            ]
        return found

    def _layer(self, data: bytes, at_ns: int, layer: Layer) -> list[bytes]:
        match layer:
            case Options():
                return self._each(data, lambda packet: [ip_bytes.with_options(packet)])
            case Fragments():
                return self._fragments(data, layer)
            case VlanTag() | Mpls() | Pppoe() | Padding():
                return [_plain(data, layer)]
            case Gre() | Erspan() | Vxlan() | Geneve() | IpInIp() | GtpU() | Hep():
                return [self._tunnel(data, at_ns, layer)]
        assert_never(layer)

    def _fragments(self, data: bytes, layer: Fragments) -> list[bytes]:
        number = self._next("fragments")
        parts = self._each(
            data, lambda packet: ip_bytes.fragments(packet, layer.part_bytes, number)
        )
        return parts[::-1] if layer.backwards else parts

    @staticmethod
    def _each(data: bytes, change: Callable[[bytes], list[bytes]]) -> list[bytes]:
        """Return the frame *data* with each of the packets that *change* makes of its own."""
        front = _front_bytes(data)
        return [data[:front] + packet for packet in change(opened(data)[1])]

    def _next(self, name: str) -> int:
        self.numbers[name] += 1
        return self.numbers[name]

    def _tunnel(self, data: bytes, at_ns: int, layer: TunnelLayer) -> bytes:
        """Return the outer frame; its MAC addresses are those of the inner one."""
        ends = (layer.source, layer.destination)
        protocol, body = self._carried(data, at_ns, layer)
        number = self._next(layer.source)
        kind, packet = ip_bytes.around(ends, protocol, body, ttl=layer.ttl, number=number)
        return data[:12] + struct.pack(">H", kind) + packet

    def _carried(self, data: bytes, at_ns: int, layer: TunnelLayer) -> tuple[int, bytes]:
        """Return the IP protocol and the body of the outer packet."""
        match layer:
            case Gre():
                return _GRE, self._gre(data, layer)
            case Erspan():
                return _GRE, self._erspan(data, layer)
            case IpInIp():
                protocol, packet = opened(data)
                return (_IPIP if protocol == IPV4 else _IPV6), packet
            case Vxlan():
                body, summed = struct.pack(">II", 0x0800_0000, layer.vni << 8) + data, False
            case Geneve():
                body, summed = _geneve(data, layer), False
            case GtpU():
                body, summed = self._gtpu(data, layer), True
            case Hep():
                body, summed = _hep(data, at_ns, layer), True
        ends, ports = (layer.source, layer.destination), (layer.from_port, layer.to_port)
        return UDP, ip_bytes.udp(ends, ports, body, summed=summed)

    def _gre(self, data: bytes, layer: Gre) -> bytes:
        inner = (_ETHERNET, data) if layer.carries == "ethernet" else opened(data)
        keyed, counted = layer.key is not None, layer.sequence
        flags = layer.checksum << 15 | keyed << 13 | counted << 12
        tail = b"" if layer.key is None else struct.pack(">I", layer.key)
        if counted:
            tail += struct.pack(">I", self._next(f"gre {layer.source}") - 1)
        head = struct.pack(">HH", flags, inner[0])
        if not layer.checksum:
            return head + tail + inner[1]
        total = ip_bytes.checksum(head + bytes(4) + tail + inner[1])
        return head + struct.pack(">HH", total, 0) + tail + inner[1]

    def _erspan(self, data: bytes, layer: Erspan) -> bytes:
        if layer.type == 1:  # no sequence number, and no header of its own
            return struct.pack(">HH", 0, _ERSPAN) + data
        kind = _ERSPAN if layer.type == 2 else _ERSPAN_3  # noqa: PLR2004 - the type
        sequence = self._next(f"erspan {layer.source}") - 1
        front = struct.pack(">HHI", 0x1000, kind, sequence)
        first = (layer.type - 1) << 12 | layer.vlan
        if kind == _ERSPAN:
            return front + struct.pack(">HHI", first, 3 << 11 | layer.session, 0) + data
        last = 3 << 1 | layer.platform  # the time stamp's unit is said elsewhere; more follows
        head = struct.pack(">HHIHH", first, layer.session, sequence, 0, last)
        return front + head + (bytes(8) if layer.platform else b"") + data

    def _gtpu(self, data: bytes, layer: GtpU) -> bytes:
        _, packet = opened(data)
        more = b""
        if layer.sequence or layer.flow is not None:
            following = 0x85 if layer.flow is not None else 0
            count = self._next(f"gtpu {layer.source}") % 2**16 if layer.sequence else 0
            more = struct.pack(">HBB", count, 0, following)
            if layer.flow is not None:
                more += struct.pack(">BBBB", 1, 0, layer.flow, 0)
        flags = 0x30 | (layer.flow is not None) << 2 | layer.sequence << 1
        head = struct.pack(">BBHI", flags, 0xFF, len(more) + len(packet), layer.teid)
        return head + more + packet


def routed(data: bytes) -> bytes:
    """Return the frame *data* as it is behind a router: other MAC addresses, one hop less to go.

    Raises:
        InputError: no IP packet in it, or one that no router would pass on.
    """
    front = _front_bytes(data)
    packet = data[front : front + len(opened(data)[1])]
    # a bit that no address of a script has tells the router's own from the hosts'
    ends = bytes([data[0] ^ 4]) + data[1:6] + bytes([data[6] ^ 4]) + data[7:12]
    return ends + data[12:front] + ip_bytes.one_hop_on(packet)


def opened(data: bytes) -> tuple[int, bytes]:
    """Return the EtherType and the IP packet of a frame, behind its VLAN tags, without padding.

    Raises:
        InputError: no IP packet in it.
    """
    front = _front_bytes(data)
    protocol = int.from_bytes(data[front - 2 : front])
    if protocol not in _PPP:
        value = f"{protocol:#06x}"
        raise InputError("no IP packet to put into this layer", field="packet", value=value)
    packet = data[front:]
    size = int.from_bytes(packet[2:4]) if protocol == IPV4 else 40 + int.from_bytes(packet[4:6])
    return protocol, packet[:size]


def _front_bytes(data: bytes) -> int:
    """Return how long the addresses, tags and type of a frame are."""
    front = 14
    while int.from_bytes(data[front - 2 : front]) in _TAGS:
        front += 4
    return front


def _plain(data: bytes, layer: VlanTag | Mpls | Pppoe | Padding) -> bytes:
    """Return the frame *data* with something between its addresses and its packet, or behind it."""
    match layer:
        case VlanTag():
            head = struct.pack(">HH", layer.tag_type, layer.priority << 13 | layer.id)
            return data[:12] + head + data[12:]
        case Mpls():
            return data[:12] + struct.pack(">H", _MPLS) + _mpls(data, layer)
        case Pppoe():
            protocol, packet = opened(data)
            numbers = (_PPPOE, 0x11, 0, layer.session, len(packet) + 2, _PPP[protocol])
            return data[:12] + struct.pack(">HBBHHH", *numbers) + packet
        case Padding():
            return data.ljust(layer.to_bytes, b"\0")
    assert_never(layer)


def _mpls(data: bytes, layer: Mpls) -> bytes:
    """Return the labels, and what they are put before."""
    stack = b"".join(
        struct.pack(">I", label << 12 | (depth == len(layer.labels)) << 8 | layer.ttl)
        for depth, label in enumerate(layer.labels, start=1)
    )
    if layer.carries == "ip":
        return stack + opened(data)[1]
    return stack + (bytes(4) if layer.control_word else b"") + data


def _geneve(data: bytes, layer: Geneve) -> bytes:
    options = bytes.fromhex(layer.options)
    inner = (_ETHERNET, data) if layer.carries == "ethernet" else opened(data)
    return struct.pack(">BBHI", len(options) // 4, 0, inner[0], layer.vni << 8) + options + inner[1]


def _hep(data: bytes, at_ns: int, layer: Hep) -> bytes:
    """Return the chunks: who sent what to whom, and when.

    Raises:
        InputError: neither a UDP datagram nor a TCP segment, or a fragment of one.
    """
    family, packet = opened(data)
    whole = ip_bytes.parse(packet)
    if whole.protocol not in (UDP, TCP):
        raise InputError("HEP carries UDP and TCP", field="protocol", value=whole.protocol)
    ports = struct.unpack_from(">HH", whole.body)
    head = 8 if whole.protocol == UDP else whole.body[12] >> 4 << 2
    first = 3 if family == IPV4 else 5
    seconds, rest_ns = divmod(at_ns, 10**9)
    chunks = (
        (1, bytes([_HEP_FAMILY[family]])),
        (2, bytes([whole.protocol])),
        (first, whole.source),
        (first + 1, whole.destination),
        (7, struct.pack(">H", ports[0])),
        (8, struct.pack(">H", ports[1])),
        (9, struct.pack(">I", seconds)),
        (10, struct.pack(">I", rest_ns // _MICROSECOND_NS)),
        (11, bytes([layer.protocol])),
        (12, struct.pack(">I", layer.agent)),
        (15, whole.body[head:]),
    )
    body = b"".join(struct.pack(">HHH", 0, kind, 6 + len(value)) + value for kind, value in chunks)
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body
