"""A capture from a script: the same script gives the same bytes, on every machine.

Laws: this is the only module that imports scapy (GPL, the extra `generate`), and only when a
capture is built; every field that scapy would fill in from the machine it runs on is given.
"""

import importlib
from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from harness.errors import InputError, ToolError
from probetest.script.container import Frame, encode_file
from probetest.script.encapsulate import Wrapper, routed
from probetest.script.model import (
    Copy,
    Participant,
    RawPacket,
    Script,
    Sent,
    TcpPacket,
    parse_script,
)
from probetest.script.payload import payloads

__all__ = ["build", "parse_script"]  # one import serves: a script is parsed to be built

FIRST_SEQUENCE = 1_000  # of each side of a TCP connection
_FRAGMENT_HEAD_BYTES = 48  # of each IPv6 packet: 40, and 8 of the extension header
SERVICE_TAG = 0x88A8  # IEEE 802.1ad: the outer of two tags
INSTALL = "pip install 'fst-harness[generate]'"


def build(script: Script) -> bytes:
    """Return the capture file that *script* describes; its frames are in order of time.

    Raises:
        InputError: a time that the file cannot hold.
        ToolError: scapy is not installed; names the command that installs it.
    """
    return encode_file(script.format, frames_of(script))


def frames_of(script: Script) -> list[Frame]:
    """Return the Ethernet frames of *script* in order of time, at every port of the probe.

    Raises:
        InputError, ToolError: as `build`.
    """
    wire = _Wire(script, _scapy("layers.l2"), _scapy("layers.inet"), _scapy("layers.inet6"))
    frames = [frame for packet in script.packets for frame in wire.frames(packet)]
    return sorted(frames, key=lambda frame: frame.at_ns)


def _seen(frame: Frame, place: Copy) -> Frame:
    """Return *frame* as a port of the probe sees it."""
    data = frame.data
    for _ in range(place.hops):
        data = routed(data)
    return Frame(frame.at_ns + place.after_ns, place.interface, data)


def _scapy(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"scapy.{name}")
    except ModuleNotFoundError as error:
        raise ToolError(f"captures are made with scapy, which is missing: {INSTALL}") from error


@dataclass(slots=True)
class _Wire:
    """The hosts of a script while it is built: what each has to count."""

    script: Script
    l2: ModuleType
    inet: ModuleType
    inet6: ModuleType
    identifications: Counter[str] = field(default_factory=Counter)  # by source address
    sequences: dict[tuple[str, int, str, int], int] = field(default_factory=dict)  # next to send
    wrapper: Wrapper = field(default_factory=Wrapper)

    def frames(self, packet: Any) -> list[Frame]:  # noqa: ANN401 - a union that pydantic annotates
        """Return the frames of *packet* at every port of the probe."""
        start_ns = self.script.format.start_ns
        if isinstance(packet, RawPacket):
            data = bytes.fromhex(packet.hex)
            return [Frame(start_ns + packet.at_ns, packet.interface, data)]
        copies = self.script.copies if packet.copies is None else packet.copies
        places = (Copy(after_ns=0, interface=packet.interface), *copies)
        layers = self.script.wrap if packet.wrap is None else packet.wrap
        found = []
        for at_ns, payload in payloads(self.script, packet):
            segment = self._segment(packet, payload)
            for again_ns in (0, *packet.again_ns):
                seen_ns = start_ns + at_ns + again_ns
                frames = [Frame(seen_ns, 0, data) for data in self._ethernet(packet, segment)]
                for frame in self.wrapper.wrap(frames, layers):
                    found += [_seen(frame, place) for place in places]
        return found

    def _ends(self, packet: Sent) -> tuple[Participant, Participant, int, int]:
        source = self.script.participants[packet.source]
        destination = self.script.participants[packet.destination]
        from_port = source.port if packet.from_port is None else packet.from_port
        to_port = destination.port if packet.to_port is None else packet.to_port
        if (":" in source.address) != (":" in destination.address):
            value = f"{source.address} to {destination.address}"
            raise InputError("IPv4 to IPv6", field="packets", value=value)
        return source, destination, from_port, to_port

    def _segment(self, packet: Sent, payload: bytes) -> Any:  # noqa: ANN401 - scapy is untyped
        """Return the UDP datagram or TCP segment; its checksum is still open."""
        source, destination, from_port, to_port = self._ends(packet)
        if not isinstance(packet, TcpPacket):
            return self.inet.UDP(sport=from_port, dport=to_port) / payload
        here = (source.address, from_port, destination.address, to_port)
        there = (*here[2:], *here[:2])
        sequence = self.sequences.get(here, FIRST_SEQUENCE)
        heard = self.sequences.get(there, 0) if "A" in packet.flags else 0
        counts = len(payload) + ("S" in packet.flags) + ("F" in packet.flags)
        self.sequences[here] = sequence + counts
        head = {"seq": sequence, "ack": heard, "flags": packet.flags, "window": 65_535}
        return self.inet.TCP(sport=from_port, dport=to_port, **head) / payload

    def _ethernet(self, packet: Sent, segment: Any) -> list[bytes]:  # noqa: ANN401
        """Return the frames with *segment*: several when it is cut into fragments."""
        source, destination, *_ = self._ends(packet)
        self.identifications[source.address] += 1
        number = self.identifications[source.address]
        ends = {"src": source.address, "dst": destination.address}
        if ":" in source.address:
            parts = self._ipv6(ends | {"hlim": source.ttl, "fl": 0}, segment, packet, number)
        else:
            head = self.inet.IP(**ends, ttl=source.ttl, id=number % 2**16)
            size = packet.fragment_bytes
            parts = [head / segment] if size is None else self.inet.fragment(head / segment, size)
        front = self.l2.Ether(src=source.mac, dst=destination.mac)
        for depth, tag in enumerate(packet.vlan, start=1):
            outer = depth < len(packet.vlan)
            front = front / self.l2.Dot1Q(vlan=tag)
            if outer and depth == 1:
                front.type = SERVICE_TAG
        return [bytes(front / part) for part in parts]

    def _ipv6(self, fields: dict[str, Any], segment: Any, packet: Sent, number: int) -> list[Any]:  # noqa: ANN401
        """Return the IPv6 packets."""
        head = self.inet6.IPv6(**fields)
        if packet.fragment_bytes is None:
            return [head / segment]
        whole = head / self.inet6.IPv6ExtHdrFragment(id=number) / segment
        parts: list[Any] = self.inet6.fragment6(whole, packet.fragment_bytes + _FRAGMENT_HEAD_BYTES)
        return parts
