"""One capture told in many ways: wrapped, cut, doubled, shuffled, in another file.

Laws: a variant is a pure change of a script, or of its frames, and gives the same bytes each time;
what the analyser must then find is what it finds without it, but for what `changes` says.

The table with all of them is in docs/script.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from harness.errors import InputError
from probetest.script import noise, rewrite
from probetest.script.container import Frame, encode_file
from probetest.script.encapsulate import routed, wrap
from probetest.script.ip_bytes import TCP
from probetest.script.layer import Layer, Layers
from probetest.script.model import Format, Interface, Script

MIRROR_NS = 60_000  # after which a second mirror port gives a frame again
ROUTER_NS = 300_000  # what a router takes to pass a packet on
_PSH = 0x08
SHUFFLE_NS = 1_000_000  # frames nearer than this may change places
_LAYERS: TypeAdapter[tuple[Layer, ...]] = TypeAdapter(Layers)

Deed = Callable[[Script, list[Frame]], tuple[Script, list[Frame]]]
Rebuild = Callable[[Script], list[Frame]]  # `probetest.script.build.frames_of`


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to tell a capture."""

    says: str  # what it does
    changes: str = ""  # what the analyser finds otherwise; "": nothing
    layers: tuple[Layer, ...] = ()
    form: tuple[tuple[str, Any], ...] = ()  # fields of the format that are other
    script: Callable[[Script], Script] | None = None  # done before frames are built
    frames: Callable[[Sequence[Frame]], list[Frame]] | None = None  # done after


def vary(script: Script, name: str, frames_of: Rebuild) -> bytes:
    """Return the capture of *script* as the variant *name* tells it.

    Raises:
        InputError: no such variant, or one that this script cannot be told in.
    """
    if name not in VARIANTS:
        raise InputError("no such variant", field="variant", value=name, fix=f"use {_names()}")
    variant = VARIANTS[name]
    told = script if variant.script is None else variant.script(script)
    frames = wrap(frames_of(told), variant.layers)
    if variant.frames is not None:
        frames = variant.frames(frames)
    return encode_file(_format(told.format, dict(variant.form)), frames)


def _format(form: Format, other: dict[str, Any]) -> Format:
    """Return *form* with *other* fields; every port gets the resolution that they name."""
    container = other.get("container", form.container)
    resolution = other.get("resolution")
    ports = form.interfaces or (Interface(name="tap0", resolution=form.resolution),)
    if resolution is not None:
        ports = tuple(port.model_copy(update={"resolution": resolution}) for port in ports)
    interfaces = ports if container == "pcapng" else ()
    return form.model_copy(update={"interfaces": interfaces} | other)


def _names() -> str:
    return ", ".join(VARIANTS)


def mirrored(frames: Sequence[Frame]) -> list[Frame]:
    """Return every frame twice, as a second mirror port gives it a little later."""
    return _in_order([*frames, *(replace(one, at_ns=one.at_ns + MIRROR_NS) for one in frames)])


def seen_behind_a_router(frames: Sequence[Frame]) -> list[Frame]:
    """Return every frame twice: before and behind a router."""
    behind = (replace(one, at_ns=one.at_ns + ROUTER_NS, data=routed(one.data)) for one in frames)
    return _in_order([*frames, *behind])


def shuffled(frames: Sequence[Frame]) -> list[Frame]:
    """Return *frames* in another order; none passes one that is a millisecond away from it.

    Every frame keeps its time, as in the files of a probe with several queues.
    """
    found, group = [], list[Frame]()
    for frame in frames:
        if group and frame.at_ns - group[0].at_ns >= SHUFFLE_NS:
            found += group[::-1]
            group = []
        group.append(frame)
    return found + group[::-1]


def swapped(frames: Sequence[Frame]) -> list[Frame]:
    """Return *frames* with each two halves of a message, sent at one time, in the other order."""
    found = list(frames)
    for at in range(len(found) - 1):
        one, other = found[at : at + 2]
        if one.at_ns == other.at_ns and _carries_text(one) and _carries_text(other):
            found[at : at + 2] = other, one
    return found


def _carries_text(frame: Frame) -> bool:
    """Return whether *frame* is a TCP segment with data, in IPv4."""
    return frame.data[12:14] == b"\x08\0" and frame.data[23] == TCP and bool(frame.data[47] & _PSH)


def at_two_ports(frames: Sequence[Frame]) -> list[Frame]:
    """Return *frames* at port 0, those that come from where the first went to at port 1."""
    first = frames[0].data[6:12] if frames else b""
    return [replace(one, interface=int(one.data[6:12] != first)) for one in frames]


def among_noise(frames: Sequence[Frame]) -> list[Frame]:
    """Return *frames* with other traffic before, between and after them."""
    strangers = [
        Frame(frame.at_ns + 1_000, frame.interface, data)
        for frame, data in zip(frames, noise.endless(), strict=False)
    ]
    return _in_order([*frames, *strangers])


def _in_order(frames: list[Frame]) -> list[Frame]:
    return sorted(frames, key=lambda frame: frame.at_ns)


def _layered(says: str, *layers: dict[str, Any], changes: str = "") -> Variant:
    return Variant(says, changes, layers=_LAYERS.validate_python(layers))


def _file(says: str, changes: str = "", **form: Any) -> Variant:  # noqa: ANN401 - any field
    return Variant(says, changes, form=tuple(form.items()))


_SIX = {"from": "2001:db8:f::1", "to": "2001:db8:f::2"}

VARIANTS: dict[str, Variant] = {
    "plain": Variant("as the script has it"),
    # --- layers below IP
    "vlan": _layered("one VLAN tag", {"kind": "vlan", "id": 100, "priority": 5}),
    "qinq": _layered(
        "two tags, the outer one 802.1ad",
        {"kind": "vlan", "id": 100, "tag_type": 0x88A8},
        {"kind": "vlan", "id": 7},
    ),
    "qinq-9100": _layered(
        "two tags, the outer one of the type that was used before 802.1ad",
        {"kind": "vlan", "id": 100, "tag_type": 0x9100},
        {"kind": "vlan", "id": 7},
    ),
    "three-tags": _layered(
        "three VLAN tags", *({"kind": "vlan", "id": tag} for tag in (100, 7, 8))
    ),
    "priority-tag": _layered("a tag with VLAN 0", {"kind": "vlan", "id": 0, "priority": 5}),
    "mpls": _layered("one MPLS label", {"kind": "mpls", "labels": [100]}),
    "mpls-stack": _layered("three MPLS labels", {"kind": "mpls", "labels": [100, 200, 300]}),
    "mpls-ethernet": _layered(
        "an Ethernet pseudowire with control word",
        {"kind": "mpls", "labels": [100, 200], "carries": "ethernet", "control_word": True},
    ),
    "vlan-mpls": _layered(
        "MPLS in a VLAN", {"kind": "vlan", "id": 100}, {"kind": "mpls", "labels": [100, 200]}
    ),
    "pppoe": _layered("a PPPoE session", {"kind": "pppoe", "session": 17}),
    "vlan-pppoe": _layered(
        "PPPoE in two VLANs",
        {"kind": "vlan", "id": 100},
        {"kind": "vlan", "id": 7},
        {"kind": "pppoe", "session": 17},
    ),
    "padding": _layered("frames padded to 400 bytes", {"kind": "padding", "to_bytes": 400}),
    "options": _layered("options in the IP header", {"kind": "options"}),
    # --- tunnels
    "gre": _layered("GRE", {"kind": "gre"}),
    "gre-all-fields": _layered(
        "GRE with checksum, key and sequence number",
        {"kind": "gre", "checksum": True, "key": 7, "sequence": True},
    ),
    "gre-ethernet": _layered(
        "GRE with Ethernet frames and a key (NVGRE)",
        {"kind": "gre", "carries": "ethernet", "key": 0x1234_0001},
    ),
    "gre-ipv6": _layered("GRE over IPv6", {"kind": "gre", **_SIX}),
    "erspan-1": _layered("ERSPAN type I", {"kind": "erspan", "type": 1}),
    "erspan-2": _layered("ERSPAN type II", {"kind": "erspan", "type": 2, "session": 5}),
    "erspan-3": _layered("ERSPAN type III", {"kind": "erspan", "type": 3, "session": 5}),
    "erspan-3-platform": _layered(
        "ERSPAN type III with the platform's eight bytes",
        {"kind": "erspan", "type": 3, "session": 5, "platform": True},
    ),
    "erspan-2-vlan": _layered(
        "tagged frames in ERSPAN type II",
        {"kind": "erspan", "type": 2, "session": 5, "vlan": 100},
        {"kind": "vlan", "id": 100},
    ),
    "vxlan": _layered("VXLAN", {"kind": "vxlan", "vni": 42}),
    "vxlan-ipv6": _layered("VXLAN over IPv6", {"kind": "vxlan", "vni": 42, **_SIX}),
    "vxlan-vlan": _layered(
        "tagged frames in VXLAN in a VLAN",
        {"kind": "vlan", "id": 9},
        {"kind": "vxlan", "vni": 42},
        {"kind": "vlan", "id": 100},
    ),
    "geneve": _layered("Geneve with Ethernet frames", {"kind": "geneve", "vni": 42}),
    "geneve-options": _layered(
        "Geneve with an option", {"kind": "geneve", "vni": 42, "options": "01020001deadbeef"}
    ),
    "geneve-ip": _layered("Geneve with IP packets", {"kind": "geneve", "vni": 42, "carries": "ip"}),
    "ipip": _layered("IP in IPv4", {"kind": "ipip"}),
    "ip-in-ipv6": _layered("IP in IPv6", {"kind": "ipip", **_SIX}),
    "gtpu": _layered("GTP-U", {"kind": "gtpu", "teid": 0xABCD}),
    "gtpu-sequence": _layered(
        "GTP-U with sequence numbers", {"kind": "gtpu", "teid": 0xABCD, "sequence": True}
    ),
    "gtpu-5g": _layered(
        "GTP-U with the container of a 5G session", {"kind": "gtpu", "teid": 0xABCD, "flow": 5}
    ),
    "hep3": _layered("HEP version 3, times in microseconds", {"kind": "hep3"}),
    "two-tunnels": _layered(
        "VXLAN in GRE in a VLAN",
        {"kind": "vlan", "id": 9},
        {"kind": "gre"},
        {"kind": "vxlan", "vni": 42},
    ),
    # --- fragments
    "fragments": _layered(
        "IP packets with at most 256 bytes in each fragment",
        {"kind": "fragments", "part_bytes": 256},
    ),
    "fragments-backwards": _layered(
        "the same, the last fragment first",
        {"kind": "fragments", "part_bytes": 256, "backwards": True},
    ),
    "fragments-vlan": _layered(
        "fragments in a VLAN",
        {"kind": "vlan", "id": 100},
        {"kind": "fragments", "part_bytes": 256},
    ),
    "fragments-inside": _layered(
        "fragments in GRE", {"kind": "gre"}, {"kind": "fragments", "part_bytes": 256}
    ),
    "fragments-outside": _layered(
        "VXLAN packets in fragments",
        {"kind": "fragments", "part_bytes": 256},
        {"kind": "vxlan", "vni": 42},
    ),
    "fragments-both": _layered(
        "fragments in VXLAN packets in fragments",
        {"kind": "fragments", "part_bytes": 200},
        {"kind": "vxlan", "vni": 42},
        {"kind": "fragments", "part_bytes": 256},
    ),
    # --- IPv6
    "ipv6": Variant("over IPv6", "addresses", script=rewrite.over_ipv6),
    "ipv6-options": Variant(
        "over IPv6 with two extension headers",
        "addresses",
        script=rewrite.over_ipv6,
        layers=_LAYERS.validate_python([{"kind": "options"}]),
    ),
    "ipv6-fragments": Variant(
        "over IPv6 in fragments",
        "addresses",
        script=rewrite.over_ipv6,
        layers=_LAYERS.validate_python([{"kind": "fragments", "part_bytes": 256}]),
    ),
    "ipv6-in-ipv4": Variant(
        "IPv6 in IPv4 (6in4)",
        "addresses",
        script=rewrite.over_ipv6,
        layers=_LAYERS.validate_python([{"kind": "ipip"}]),
    ),
    # --- TCP
    "tcp": Variant("SIP over TCP, a message a segment", script=rewrite.over_tcp),
    "tcp-halves": Variant(
        "SIP over TCP, each message in two segments", script=rewrite.tcp_cut(300)
    ),
    "tcp-bytes": Variant(
        "SIP over TCP, the first two messages one byte a segment", script=rewrite.tcp_cut(1, 2)
    ),
    "tcp-sevens": Variant("SIP over TCP, seven bytes a segment", script=rewrite.tcp_cut(7)),
    "tcp-joined": Variant(
        "SIP over TCP, all messages that one side sends in a row in one segment",
        script=rewrite.tcp_joined,
    ),
    "tcp-again": Variant("SIP over TCP, each segment again after 200 ms", script=rewrite.tcp_again),
    "tcp-swapped": Variant(
        "SIP over TCP, each message in two segments, the second one first",
        script=rewrite.tcp_cut(300),
        frames=swapped,
    ),
    # --- files
    "pcap-us": _file("microseconds", container="pcap", resolution="us"),
    "pcap-big": _file("big endian", container="pcap", byte_order="big"),
    "pcap-us-big": _file(
        "microseconds, big endian", container="pcap", resolution="us", byte_order="big"
    ),
    "pcapng-ns": _file("pcapng, nanoseconds", container="pcapng", resolution="ns"),
    "pcapng-us": _file("pcapng, microseconds", container="pcapng", resolution="us"),
    "pcapng-big": _file(
        "pcapng, big endian", container="pcapng", resolution="ns", byte_order="big"
    ),
    "gzip": _file("packed by gzip", compression="gzip"),
    "zstd": _file("packed by Zstandard", compression="zstd"),
    "pcapng-gzip": _file(
        "pcapng packed by gzip", container="pcapng", resolution="ns", compression="gzip"
    ),
    "cooked": _file("Linux cooked, as from any", link="cooked"),
    "cooked2": _file("Linux cooked version 2", link="cooked2"),
    "raw": _file("IP packets with nothing before them", link="raw"),
    "ipv4-link": _file("the link type of IPv4 packets", link="ipv4"),
    "null": _file("a BSD loopback", link="null"),
    "null-big": _file("a BSD loopback of a big endian host", link="null", byte_order="big"),
    "loop": _file("an OpenBSD loopback", link="loop"),
    "cooked-vlan": Variant(
        "Linux cooked with a VLAN tag",
        form=(("link", "cooked"),),
        layers=_LAYERS.validate_python([{"kind": "vlan", "id": 100}]),
    ),
    # --- what taps and networks do
    "mirrored": Variant(
        "every frame twice, 60 us apart", "copies: one of each frame", frames=mirrored
    ),
    "routed": Variant(
        "every frame before and behind a router",
        "copies: one of each frame",
        frames=seen_behind_a_router,
    ),
    "shuffled": Variant("frames of one millisecond in reverse order", frames=shuffled),
    "response-first": Variant(
        "requests and their responses within a millisecond with each other's times",
        "the call begins half a millisecond later",
        script=rewrite.response_first,
    ),
    "two-ports": Variant(
        "each direction at a port of its own, with other clocks and links",
        form=(
            ("container", "pcapng"),
            (
                "interfaces",
                (
                    Interface(name="tap0", resolution="us"),
                    Interface(name="tap1", resolution="ns", link="raw"),
                ),
            ),
        ),
        frames=at_two_ports,
    ),
    "noise": Variant(
        "DNS, HTTP, ARP, STUN and damaged packets between all frames", frames=among_noise
    ),
    "retransmitted": Variant(
        "every SIP message again as another IP packet, before the next one or after 500 ms",
        "retransmissions: one of each INVITE",
        script=rewrite.sent_again,
    ),
    "looped": Variant(
        "the whole capture three times, a minute apart",
        "three calls with one Call-ID; sequence numbers that begin again",
        script=rewrite.looped,
    ),
    "snaplen": _file(
        "96 bytes of each frame kept",
        "SIP cannot be read, and that is said; RTP is counted as before",
        snaplen=96,
    ),
    "snaplen-body": _file(
        "480 bytes of each frame kept: the bodies of some messages are cut",
        "those messages are said to be cut, and their SDP is not read; RTP is counted as before",
        snaplen=480,
    ),
}
