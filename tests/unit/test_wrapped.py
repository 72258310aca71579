"""A datagram is the same in every wrapping; what cannot be told apart is not guessed."""

import struct

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from harness.packets.capture import LINKTYPE_ETHERNET, encode_file_header, encode_record, parse
from harness.packets.frame import Datagrams, Endpoint, decode
from harness.packets.layers import MAX_TUNNELS
from tests import wrapped
from tests.wrapped import (
    GOLDEN,
    HEP,
    PLAIN,
    SIP,
    SIX,
    TUNNELS,
    ether,
    gre,
    gtp,
    inner,
    over_udp,
    vxlan,
)

ENDS = (Endpoint("192.0.2.1", 5062), Endpoint("198.51.100.2", 5060))
ENDS6 = (Endpoint("2001:db8::1", 5062), Endpoint("2001:db8::2", 5060))
EVERY = PLAIN | TUNNELS | SIX | HEP
ROUTER = Ether(src="02:00:00:00:02:01", dst="02:00:00:00:02:02")


def datagrams(*frames: Packet | bytes, linktype: int = LINKTYPE_ETHERNET) -> Datagrams:
    """Return what is read from a capture of these frames."""
    records = b"".join(encode_record(10**9, bytes(frame)) for frame in frames)
    return decode(parse(encode_file_header(linktype) + records, name="x.pcap"))


@pytest.mark.parametrize("name", EVERY)
def test_datagram_is_the_same_in_every_wrapping(name: str) -> None:
    """Endpoints, payload and completeness are those of the plain frame, and it is one row."""
    linktype, frame = EVERY[name]
    found = datagrams(frame, linktype=linktype)

    assert (len(found), found.undecoded, found.fragments) == (1, 0, 0)
    ends = ENDS6 if name in SIX or name.endswith("of-ipv6") else ENDS
    assert (found.source(0), found.destination(0)) == ends
    assert (found.payload(0), found.complete.tolist()) == (SIP, [True])
    if name not in HEP:
        assert (found.ip_id.tolist(), found.ttl.tolist()) == ([-1 if name in SIX else 7], [61])


LABEL = b"\0\x01\x01\x09"


@pytest.mark.parametrize(
    ("linktype", "frame"),
    [
        (9, b"\0\x21" + bytes(GOLDEN)),
        (9, b"\x21" + bytes(GOLDEN)),  # the short form of a protocol
        (50, b"\xff\x03\0\x21" + bytes(GOLDEN)),
        (50, b"\xff\x03\x02\x81" + LABEL + bytes(GOLDEN)),
        (51, b"\x11\0\0\x01\0\xaa\0\x21" + bytes(GOLDEN)),
        (219, LABEL + bytes(GOLDEN)),
        (219, b"\0\x01\0\x09" * 15 + LABEL + bytes(GOLDEN)),
    ],
)
def test_rare_link_headers_are_passed(linktype: int, frame: bytes) -> None:
    """PPP in its forms, and labels that begin a frame."""
    found = datagrams(frame, linktype=linktype)
    assert (found.source(0), found.payload(0)) == (ENDS[0], SIP)


def test_seventeenth_label_is_not_passed() -> None:
    """The loop over labels is bounded."""
    assert datagrams(b"\0\x01\0\x09" * 16 + LABEL + bytes(GOLDEN), linktype=219).undecoded == 1


def test_erspan_says_that_it_holds_a_packet_without_a_frame() -> None:
    """Type III has a field for it; another value than the two that are known is not read."""
    for frame_type, rows in ((2, 1), (0, 0), (1, 0)):
        head = b"\x20\0\0\x03" + bytes(6) + struct.pack(">H", frame_type << 10)
        found = datagrams(gre(Raw(head + bytes(GOLDEN)), 0x22EB, seqnum_present=1))
        assert (len(found), found.undecoded) == (rows, 1 - rows)


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_are_counted(name: str) -> None:
    """The depth is how many packets are around the one that is shown."""
    twice = {
        *("vxlan-in-vxlan", "gre-in-vxlan", "erspan-of-vxlan", "vxlan-of-gtp"),
        "geneve-of-ip-in-ip",
    }
    assert datagrams(TUNNELS[name][1]).depth.tolist() == [2 if name in twice else 1]


@pytest.mark.parametrize("name", EVERY)
def test_frame_cut_anywhere_in_its_wrapping_is_never_misread(name: str) -> None:
    """At every length: no row, the outer datagram, or the inner one; whole only when whole."""
    linktype, frame = EVERY[name]
    data = bytes(frame)
    sizes = range(len(data))
    records = (struct.pack("<IIII", 1, 0, size, len(data)) + data[:size] for size in sizes)
    found = decode(parse(encode_file_header(linktype) + b"".join(records), name="x.pcap"))

    assert len(found) + found.undecoded + found.fragments == len(data)
    for row in range(len(found)):
        if bool(found.complete[row]):
            assert found.payload(row) == SIP  # but for what pads the frame
        elif found.source(row).port == 5062:
            assert SIP.startswith(found.payload(row))


def test_deepest_tunnel_is_read_and_one_more_is_not() -> None:
    """The loop over tunnels is bounded."""
    packet = GOLDEN
    for _ in range(MAX_TUNNELS):
        packet = IP(src="203.0.113.1", dst="203.0.113.2") / packet
    assert datagrams(ether(packet)).payload(0) == SIP
    assert datagrams(ether(IP(src="203.0.113.1", dst="203.0.113.2") / packet)).undecoded == 1


@pytest.mark.parametrize("inside", [ARP(pdst="192.0.2.9"), IP() / ICMP(), Raw(b"\0\1")])
def test_tunnel_without_a_datagram_in_it_stays_the_datagram_it_is(inside: Packet) -> None:
    """Nothing is lost: the outer row is shown, with its own addresses."""
    found = datagrams(vxlan(inner(inside)))
    assert (found.source(0).address, found.destination(0).port) == ("203.0.113.1", 4789)
    assert found.depth.tolist() == [0]


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\0\0\1" + bytes(12) + SIP,  # RTP
        b"\0\0\0\0\0\0\x2a\0" + bytes(inner()),  # without a network
        b"\x08\0\0\0\0\0\x2a\0" + SIP,  # with something else inside
        b"\x0c\0\0\x04\0\0\x2a\0" + bytes(inner()),  # a type that is not known
    ],
)
@pytest.mark.parametrize("port", [4789, 8472, 4790])
def test_datagram_to_the_port_of_vxlan_that_is_none_is_shown_as_it_is(
    payload: bytes, port: int
) -> None:
    """A port alone does not make a tunnel."""
    found = datagrams(over_udp(port, payload))
    assert (found.payload(0), found.depth.tolist()) == (payload, [0])


@pytest.mark.parametrize(
    "head", [b"\x08\0\0\0\0\0\x2a\1", b"\x48\0\1\0\0\0\x2a\0", b"\x88\x40\0\7\0\0\x2a\0"]
)
def test_reserved_bits_of_vxlan_are_ignored(head: bytes) -> None:
    """RFC 7348 section 5: a receiver ignores them, and there are extensions that use them."""
    assert datagrams(over_udp(4789, head + bytes(inner()))).payload(0) == SIP


@pytest.mark.parametrize("flags", [0x4000, 0x0800, 0x0400, 0x0001])
def test_gre_that_is_to_be_discarded_is_not_read(flags: int) -> None:
    """RFC 2784 section 2.3: routing, its companions, and other versions."""
    frame = bytes(gre(GOLDEN))
    assert datagrams(frame[:34] + struct.pack(">H", flags) + frame[36:]).undecoded == 1
    assert datagrams(frame[:34] + b"\x03\xf8" + frame[36:]).payload(0) == SIP


@pytest.mark.parametrize("protocol", [6, 17])
def test_length_zero_of_ipv6_is_that_of_a_packet_longer_than_the_field(protocol: int) -> None:
    """A host joins what came in; a short packet that says 0 contradicts itself."""
    segment = struct.pack(">HHIIBBHHH", 1, 2, 9, 0, 0x50, 16, 0, 0, 0) + bytes(70_000)
    head = b"\x60\0\0\0\0\0" + bytes([protocol]) + b"\x40" + bytes(32)
    found = datagrams(ether(Raw(b""))[Ether].build()[:12] + b"\x86\xdd" + head + segment)
    assert found.complete.tolist() == [protocol == 6]
    assert datagrams(bytes(12) + b"\x86\xdd" + head + segment[:80]).undecoded == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"\x30\xff\xff\xff\0\0\0\7" + bytes(GOLDEN),  # longer than its datagram
        b"\x30\x01\0\4\0\0\0\7" + bytes(4),  # an echo request
        b"\x20\xff\0\4\0\0\0\7" + bytes(GOLDEN),  # charging
        b"\x34\xff\0\x08\0\0\0\7\0\0\0\x85\0\0\0\0",  # an extension without a length
    ],
)
def test_gtp_that_holds_no_packet_is_shown_as_it_is(payload: bytes) -> None:
    """Signalling of GTP, and headers that contradict themselves, are datagrams."""
    found = datagrams(over_udp(2152, payload))
    assert (found.payload(0), found.depth.tolist()) == (payload, [0])


@pytest.mark.parametrize(
    "behind",
    [
        bytes(inner(Raw(b"?" * 60))),  # a pseudowire with a type that is not known
        b"\x10\0\0\0" + bytes(GOLDEN),  # an associated channel (RFC 5586)
        b"\x45" + b"\xff" * 60,  # nothing that fits
        b"\x60" + b"\xff" * 60,
        b"",
    ],
)
def test_what_is_behind_labels_is_not_guessed(behind: bytes) -> None:
    """Only what can be exactly one thing is read."""
    frame = bytes(ether(Raw(b"")))[:12] + b"\x88\x47\0\x01\x01\x09" + behind
    assert (len(datagrams(frame)), datagrams(frame).undecoded) == (0, 1)


def test_pseudowire_whose_address_begins_like_ip_is_read_as_ethernet() -> None:
    """RFC 4928: an address that begins with 4 or 6 looks like an IP version."""
    for first in ("42", "62"):
        frame = Ether(src="02:00:00:00:00:09", dst=f"{first}:00:00:00:00:01") / GOLDEN
        labelled = bytes(ether(Raw(b"")))[:12] + b"\x88\x47\0\x01\x01\x09" + bytes(frame)
        assert datagrams(labelled).payload(0) == SIP


def test_length_zero_is_that_of_a_packet_not_yet_cut() -> None:
    """A host captures what its network card is to cut up: the frame says how long it is."""
    sent = IP(src="192.0.2.1", dst="198.51.100.2", len=0) / GOLDEN[UDP]
    found = datagrams(ether(sent))
    assert (found.payload(0), found.complete.tolist()) == (SIP, [True])


def test_link_word_tells_addresses_and_tags_apart() -> None:
    """It is equal for equal link headers, of the innermost one; and 0 where there is none."""
    frames = (
        *(ether(GOLDEN), ether(GOLDEN), ROUTER / GOLDEN),
        *(ether(Dot1Q(vlan=7) / GOLDEN), ether(Dot1Q(vlan=8) / GOLDEN)),
        *(ether(Dot1Q(vlan=0) / GOLDEN), vxlan(ether(GOLDEN)), vxlan(inner()), gre(GOLDEN)),
    )
    link = datagrams(*frames).link

    assert link[0] == link[1] == link[6] == link[8]
    assert len(np.unique(link)) == 6
    assert datagrams(GOLDEN, linktype=101).link.tolist() == [0]


def test_hep_time_is_not_that_of_the_tap() -> None:
    """A row's time is when its frame was seen here."""
    assert datagrams(HEP["hep-3"][1]).at_ns.tolist() == [10**9]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:4] + b"\xff\xff" + data[6:],  # longer than its datagram
        lambda data: data.replace(b"\0\0\0\x0f", b"\0\0\0\x10"),  # a payload that is packed
        lambda data: data.replace(b"\0\0\0\x03\0\x0a", b"\0\0\0\x03\0\xff"),
        lambda data: data.replace(b"\0\0\0\x07\0\x08", b"\0\0\0\x07\0\0"),
    ],
)
def test_hep_that_lies_is_shown_as_far_as_it_is_sound(change: object) -> None:
    """A chunk that does not fit ends the reading; what lacks a part of a row stays HEP."""
    data = change(wrapped.hep3())  # type: ignore[operator]
    found = datagrams(over_udp(9060, data))
    assert len(found) == 1
    assert found.payload(0) in (SIP, data)


def test_inner_packet_ends_where_its_tunnel_does() -> None:
    """What stands behind a tunnel's packet is not read as a part of it."""
    short = bytes(GOLDEN)[:-20]
    found = datagrams(bytes(over_udp(2152, bytes(gtp(short))[42:])) + SIP)
    assert (found.payload(0), found.complete.tolist()) == (SIP[:-20], [False])
