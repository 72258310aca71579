"""Layers, link types and files of a script: the bytes that each of them puts there."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import TypeAdapter

from harness.errors import InputError
from probetest.script import ip_bytes
from probetest.script.container import Frame, encode_file
from probetest.script.encapsulate import routed, wrap
from probetest.script.layer import Layer, Layers
from probetest.script.link_type import on_link
from probetest.script.model import Format, parse_script
from probetest.script.noise import endless
from probetest.script.variants import VARIANTS

DOCS = Path(__file__).parents[2] / "docs/script.md"
MACS = bytes.fromhex("020000000001020000000010")
INNER = ip_bytes.around(("192.0.2.10", "192.0.2.1"), 17, bytes(8) + b"abc", ttl=64, number=5)[1]
FRAME = MACS + b"\x08\0" + INNER
_LAYERS: TypeAdapter[tuple[Layer, ...]] = TypeAdapter(Layers)
AT_NS = 1_741_082_400_123_456_789


def wrapped(*layers: dict[str, Any], data: bytes = FRAME) -> list[bytes]:
    """Return the frames that *data* becomes in *layers*."""
    frames = wrap([Frame(AT_NS, 0, data)], _LAYERS.validate_python(layers))
    return [frame.data for frame in frames]


def outer(protocol: str, size: int) -> str:
    """Return the outer IPv4 header of a tunnel, up to its checksum."""
    return f"08004500{size:04x}000100004" + f"0{protocol}"


@pytest.mark.parametrize(
    ("layer", "front"),
    [
        ({"kind": "vlan", "id": 100, "priority": 5}, "8100a0640800"),
        ({"kind": "vlan", "id": 7, "tag_type": 0x88A8}, "88a800070800"),
        ({"kind": "mpls", "labels": [100, 200]}, "88470006404000" + "0c8140"),
        ({"kind": "pppoe", "session": 17}, "88641100001100210021"),
    ],
)
def test_a_layer_below_ip_stands_between_addresses_and_packet(
    layer: dict[str, Any], front: str
) -> None:
    """802.1Q, RFC 3032 (20 bits of label, bottom bit, TTL) and RFC 2516 (length with the type)."""
    assert wrapped(layer) == [MACS + bytes.fromhex(front) + INNER]


@pytest.mark.parametrize(
    ("layer", "protocol", "front", "carried"),
    [
        ({"kind": "gre"}, "2f", "00000800", INNER),
        (
            {"kind": "gre", "key": 7, "sequence": True},
            "2f",
            "30000800" + "00000007" + "00000000",
            INNER,
        ),
        ({"kind": "gre", "carries": "ethernet"}, "2f", "00006558", FRAME),
        ({"kind": "erspan", "type": 1}, "2f", "000088be", FRAME),
        (
            {"kind": "erspan", "type": 2, "session": 5, "vlan": 100},
            "2f",
            "100088be" + "00000000" + "10641805" + "00000000",
            FRAME,
        ),
        (
            {"kind": "erspan", "type": 3, "session": 5},
            "2f",
            "100022eb" + "00000000" + "20000005" + "00000000" + "00000006",
            FRAME,
        ),
        ({"kind": "ipip"}, "04", "", INNER),
    ],
)
def test_a_tunnel_puts_its_header_before_what_it_carries(
    layer: dict[str, Any], protocol: str, front: str, carried: bytes
) -> None:
    """RFC 2784, RFC 2890, draft-foschiano-erspan sections 4.1 to 4.3, RFC 2003."""
    (data,) = wrapped(layer)
    body = bytes.fromhex(front) + carried

    assert data[:12] == MACS
    assert data[12:24].hex() == outer(protocol, 20 + len(body))
    assert data[26:34] == bytes([203, 0, 113, 1, 203, 0, 113, 2])
    assert data[34:] == body
    assert ip_bytes.checksum(data[14:34]) == 0


@pytest.mark.parametrize(
    ("layer", "port", "front", "carried"),
    [
        ({"kind": "vxlan", "vni": 42}, 4789, "0800000000002a00", FRAME),
        ({"kind": "geneve", "vni": 42}, 6081, "0000655800002a00", FRAME),
        (
            {"kind": "geneve", "vni": 42, "carries": "ip", "options": "01020001deadbeef"},
            6081,
            "0200080000002a00" + "01020001deadbeef",
            INNER,
        ),
        ({"kind": "gtpu", "teid": 9}, 2152, "30ff001f00000009", INNER),
        (
            {"kind": "gtpu", "teid": 9, "flow": 5},
            2152,
            "34ff002700000009" + "00000085" + "01000500",
            INNER,
        ),
    ],
)
def test_a_tunnel_over_udp_has_its_port(
    layer: dict[str, Any], port: int, front: str, carried: bytes
) -> None:
    """RFC 7348 section 5, RFC 8926 section 3.4, TS 29.281 section 5.1, TS 38.415 section 5.5.2."""
    (data,) = wrapped(layer)

    assert int.from_bytes(data[36:38]) == port
    assert data[42:] == bytes.fromhex(front) + carried


def test_a_hep_packet_has_addresses_time_and_payload() -> None:
    """Chunks have vendor 0, a type, and a length with their head of six bytes."""
    (data,) = wrapped({"kind": "hep3", "agent": 3})
    packet = data[42:]
    chunks, at = {}, 6
    while at < len(packet):
        size = int.from_bytes(packet[at + 4 : at + 6])
        chunks[int.from_bytes(packet[at + 2 : at + 4])] = packet[at + 6 : at + size].hex()
        at += size

    assert packet[:6] == b"HEP3" + len(packet).to_bytes(2)
    ends = {1: "02", 2: "11", 3: "c000020a", 4: "c0000201", 7: "0000", 8: "0000"}
    rest = {9: "67c6cf20", 10: "0001e240", 11: "01", 12: "00000003", 15: "616263"}
    assert chunks == ends | rest


def test_layers_are_listed_from_the_outside_in() -> None:
    """The first one stands first in the frame."""
    tag, label = {"kind": "vlan", "id": 1}, {"kind": "mpls", "labels": [16]}

    assert wrapped(tag, label)[0][12:14].hex() == "8100"
    with pytest.raises(InputError, match=r"0x8847.*no IP packet"):
        wrapped({"kind": "ipip"}, label)


def test_fragments_say_where_they_belong() -> None:
    """Offsets in units of eight bytes, all but the last with the bit for more (RFC 791)."""
    packet = ip_bytes.around(("192.0.2.10", "192.0.2.1"), 17, bytes(150), ttl=64, number=5)[1]
    parts = wrapped({"kind": "fragments", "part_bytes": 70}, data=MACS + b"\x08\0" + packet)

    assert [part[18:22].hex() for part in parts] == ["00052000", "00052008", "00050010"]
    assert [len(part) - 34 for part in parts] == [64, 64, 22]
    assert all(ip_bytes.checksum(part[14:34]) == 0 for part in parts)
    assert parts[::-1] == wrapped(
        {"kind": "fragments", "part_bytes": 70, "backwards": True}, data=MACS + b"\x08\0" + packet
    )


def test_fragments_of_ipv6_have_a_header_of_their_own() -> None:
    """Next header 44, then what follows, offset with the bit for more, and a number (RFC 8200)."""
    packet = ip_bytes.around(("2001:db8::1", "2001:db8::2"), 17, bytes(100), ttl=64, number=0)[1]
    parts = wrapped({"kind": "fragments", "part_bytes": 64}, data=MACS + b"\x86\xdd" + packet)

    assert [part[20] for part in parts] == [44, 44]
    assert [part[54:62].hex() for part in parts] == ["1100000100000001", "1100004000000001"]


def test_a_fragment_is_not_cut_again() -> None:
    """Parts of parts are made by naming the smaller size at once."""
    packet = ip_bytes.around(("192.0.2.10", "192.0.2.1"), 17, bytes(300), ttl=64, number=5)[1]
    layers = [{"kind": "fragments", "part_bytes": 64}, {"kind": "fragments", "part_bytes": 128}]

    with pytest.raises(InputError, match="a fragment already"):
        wrapped(*layers, data=MACS + b"\x08\0" + packet)


def test_behind_a_router_ttl_and_addresses_are_others() -> None:
    """One hop less, its checksum right; nothing else of the packet changes."""
    seen = routed(FRAME)

    assert seen[:12] != MACS
    assert seen[22] == FRAME[22] - 1
    assert ip_bytes.checksum(seen[14:34]) == 0
    assert seen[26:] == FRAME[26:]
    with pytest.raises(InputError, match="cannot pass another router"):
        routed(MACS + b"\x08\0" + INNER[:8] + b"\x01" + INNER[9:])


@pytest.mark.parametrize(
    ("link", "front"),
    [
        ("ethernet", MACS.hex() + "0800"),
        ("cooked", "0000000100060200000000100000" + "0800"),
        ("cooked2", "0800000000000001" + "00010006" + "0200000000100000"),
        ("raw", ""),
        ("ipv4", ""),
        ("null", "02000000"),
        ("loop", "00000002"),
    ],
)
def test_another_link_has_another_front(link: str, front: str) -> None:
    """https://www.tcpdump.org/linktypes.html: cooked frames keep the sender's address."""
    assert on_link(FRAME, link) == bytes.fromhex(front) + INNER


def test_a_link_without_such_frames_refuses_them() -> None:
    """ARP is not IP, and IPv4 is not IPv6."""
    with pytest.raises(InputError, match=r"a raw link has no such frames"):
        on_link(MACS + b"\x08\x06" + bytes(28), "raw")
    with pytest.raises(InputError, match=r"a ipv6 link has no such frames"):
        on_link(FRAME, "ipv6")


def form(text: str) -> Format:
    """Return a format with the fields in *text*."""
    head = (
        f"title = 't'\nformat = {{ start = 2025-03-04T10:00:00Z, {text} }}\nparticipants = {{}}\n"
    )
    return parse_script(head + "packets = []").format


def test_a_snapshot_length_keeps_the_size_on_the_wire() -> None:
    """A record says how long the frame was, and how much of it is here."""
    data = encode_file(form('snaplen = 20, resolution = "ns"'), [Frame(AT_NS, 0, FRAME)])

    assert data[16:20] == (20).to_bytes(4, "little")
    assert data[32:40] == (20).to_bytes(4, "little") + len(FRAME).to_bytes(4, "little")
    assert data[40:] == FRAME[:20]


def test_a_big_endian_file_has_every_number_turned() -> None:
    """The magic number tells which it is."""
    data = encode_file(form('byte_order = "big"'), [Frame(AT_NS, 0, FRAME)])

    assert data[:8].hex() == "a1b23c4d00020004"
    assert data[24:32].hex() == "67c6cf20075bcd15"


def test_a_packed_file_holds_the_plain_one() -> None:
    """And has no time of its own in it."""
    frames = [Frame(AT_NS, 0, FRAME)]
    plain = encode_file(form('resolution = "ns"'), frames)
    packed = encode_file(form('compression = "gzip"'), frames)

    assert gzip.decompress(packed) == plain
    assert packed[4:8] == bytes(4)
    zstd = encode_file(form('compression = "zstd"'), frames)
    assert zstandard.ZstdDecompressor().decompress(zstd) == plain


def test_noise_is_neither_sip_nor_a_stream() -> None:
    """It comes round again, the same each time."""
    first, again = endless(), endless()
    frames = [next(first) for _ in range(100)]

    assert frames == [next(again) for _ in range(100)]
    assert not any(b"INVITE sip" in frame or b"SIP/2.0" in frame for frame in frames)


def test_the_docs_have_every_variant_and_what_it_changes() -> None:
    """The table of docs/script.md is that of the program."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    found = {name: (says, changes) for name, says, changes in rows if name in VARIANTS}

    assert found == {
        name: (variant.says, variant.changes or "nothing") for name, variant in VARIANTS.items()
    }
