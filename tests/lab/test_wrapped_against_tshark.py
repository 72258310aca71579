"""In every wrapping tshark finds the same innermost datagram as we do."""

import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Dot1Q

from harness.packets.capture import LINKTYPE_ETHERNET
from harness.packets.capture_file import CaptureWriter, read
from harness.packets.frame import Datagrams, decode
from tests.lab.peers import need
from tests.wrapped import PLAIN, SIX, TUNNELS, ether, gtp, inner, vxlan

pytestmark = pytest.mark.lab

EVERY = PLAIN | TUNNELS | SIX
NAMES = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport", "udp.payload")
TOLD = (  # what tshark has to be told: its own guess at pseudowires is wrong here
    *("udp.port==8472,vxlan", "mpls.label==200,pwethnocw", "mpls.label==201,pwethcw"),
)
TEXT = b"".join(b"%04d" % number for number in range(750))  # no two parts are alike
AT_NS = 1_700_000_000_123_456_789


def tshark(path: Path) -> list[list[str]]:
    """Return the last of each of `NAMES` in every frame: the innermost one."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields"]
    argv += ["-E", "separator=|", "-E", "occurrence=l"]
    for what in TOLD:
        argv += ["-d", what]
    for name in NAMES:
        argv += ["-e", name]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return [line.split("|") for line in run.stdout.splitlines()]


def ours(found: Datagrams, row: int) -> list[str]:
    """Return the same of one row."""
    source, destination = found.source(row), found.destination(row)
    addresses = [source.address, destination.address]
    ends = [*addresses, "", ""] if found.ipv4[row] else ["", "", *addresses]
    return [*ends, str(source.port), str(destination.port), found.payload(row).hex()]


@pytest.mark.parametrize("linktype", sorted({linktype for linktype, _ in EVERY.values()}))
def test_tshark_finds_the_same_datagram_inside(tmp_path: Path, linktype: int) -> None:
    """Addresses, ports and payload of the innermost datagram, wrapping by wrapping."""
    named = {name: bytes(frame) for name, (link, frame) in EVERY.items() if link == linktype}
    path = tmp_path / "wrapped.pcap"
    with CaptureWriter(path, linktype=linktype) as writer:
        for number, frame in enumerate(named.values()):
            writer.write(AT_NS + number, frame)
    found = decode(read(path))
    mine = {name: ours(found, row) for row, name in enumerate(named)}
    theirs = dict(zip(named, tshark(path), strict=True))

    assert len(found) == len(named)
    for name, row in theirs.items():  # of the other version there may be an outer packet
        outer = slice(2, 4) if mine[name][0] else slice(0, 2)
        row[outer] = ["", ""]
    assert mine == theirs


def test_tshark_puts_the_same_packets_together(tmp_path: Path) -> None:
    """Packets in parts, tunnels in parts, parts in tunnels, and both; in and out of order."""
    path = tmp_path / "parts.pcap"
    frames = [frame for story in in_parts() for frame in story]
    with CaptureWriter(path, linktype=LINKTYPE_ETHERNET) as writer:
        for number, frame in enumerate(frames):
            writer.write(AT_NS + number * 1_000_000, frame)
    found = decode(read(path))
    mine = {int(found.frame[row]): ours(found, row)[-3:] for row in range(len(found))}
    # tshark shows the tunnels' own datagrams too; only what holds the long text is compared.
    theirs = {
        number: row[-3:]
        for number, row in enumerate(tshark(path), 1)
        if row[-1].startswith(TEXT[:400].hex()) and len(row[-1]) == 2 * len(TEXT)
    }

    assert len(found) == len(in_parts())
    assert (found.incomplete, found.complete.all()) == (0, True)
    assert mine == theirs


def in_parts() -> list[list[bytes]]:
    """Return some ways in which one long datagram is sent in parts, each a list of frames."""
    ends = {"src": "192.0.2.1", "dst": "198.51.100.2"}
    stories = []
    for number in range(7):
        packet = IP(bytes(IP(**ends, id=number) / UDP(sport=5062, dport=5060) / TEXT))
        parts = packet.fragment(1000)
        outer = IP(bytes(gtp(bytes(packet))[IP]))
        outer.id = 100 + number
        stories.append(
            (
                [ether(part) for part in parts],
                [ether(part) for part in reversed(parts)],
                [vxlan(inner(part)) for part in parts],
                [ether(part) for part in outer.fragment(800)],
                [ether(part) for part in reversed(outer.fragment(400))],
                [ether(Dot1Q(vlan=7) / part) for part in parts],
                [
                    ether(piece)
                    for place, part in enumerate(parts)
                    for piece in _numbered(gtp(bytes(part))[IP], 200 + place).fragment(400)
                ],
            )[number]
        )
    six = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=9)
    six = IPv6(bytes(six / UDP(sport=5062, dport=5060) / TEXT))
    stories.append([ether(part) for part in fragment6(six, 1100)])
    return [[bytes(frame) for frame in story] for story in stories]


def _numbered(packet: IP, number: int) -> IP:
    packet = IP(bytes(packet))
    packet.id = number
    return packet
