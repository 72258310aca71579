"""Frames become datagrams only as far as their own bytes say so."""

import struct

import numpy as np
import pytest

from harness.errors import InputError
from harness.packets.capture import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    encode_file_header,
    encode_record,
    parse,
)
from harness.packets.frame import (
    ACK,
    PSH,
    SYN,
    TCP,
    UDP,
    Datagrams,
    Endpoint,
    decode,
    encode_tcp,
    encode_udp,
)
from harness.packets.layers import TOGETHER

A4, B4 = Endpoint("192.0.2.1", 5060), Endpoint("198.51.100.2", 5062)
A6, B6 = Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 40_000)
MACS = bytes(12)
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
PACKET = encode_udp(A4, B4, b"abc")
PACKET6 = encode_udp(A6, B6, b"abcd")
SEGMENT = encode_tcp(A4, B4, b"abc", sequence=1, acknowledgement=0, flags=ACK)


def datagrams(*frames: bytes, linktype: int = LINKTYPE_ETHERNET) -> Datagrams:
    """Return what is read from a capture of these frames, a second apart."""
    records = (encode_record(number * 10**9, frame) for number, frame in enumerate(frames))
    return decode(parse(encode_file_header(linktype) + b"".join(records), name="x.pcap"))


def altered(packet: bytes, at: int, value: bytes) -> bytes:
    """Return *packet* with other bytes in one place."""
    return packet[:at] + value + packet[at + len(value) :]


def extended(kind: int, header: bytes, packet: bytes = PACKET6) -> bytes:
    """Return an IPv6 packet with an extension header; its first byte is set to what follows."""
    header = packet[6:7] + header[1:]
    length = struct.pack(">H", len(packet) - 40 + len(header))
    return packet[:4] + length + bytes([kind]) + packet[7:40] + header + packet[40:]


def test_udp_packet_is_encoded_as_scapy_does() -> None:
    """These bytes were made by scapy 2.8."""
    golden = "4500001f 00004000 40114e97 c0000201 c6336402 13c413c6 000b27b4 616263"
    assert PACKET.hex(" ", -4) == golden


def test_tcp_packet_is_encoded_as_scapy_does() -> None:
    """These bytes were made by scapy 2.8."""
    found = encode_tcp(A6, B6, b"abc", sequence=1, acknowledgement=2, flags=PSH | ACK)
    assert found.hex(" ", -4) == (
        "60000000 00170640 20010db8 00000000 00000000 00000001 20010db8 00000000 00000000 00000002 "
        "13c49c40 00000001 00000002 5018ffff dfea0000 616263"
    )


def test_columns_of_udp_and_tcp() -> None:
    """Each column holds what the header says, IPv4 addresses in their mapped form."""
    segment = encode_tcp(A6, B6, b"xy", sequence=2**32 - 1, acknowledgement=0, flags=SYN)
    found = datagrams(MACS + b"\x08\x06" + bytes(28), MACS + IPV4 + PACKET, MACS + IPV6 + segment)

    assert found.frame.tolist() == [2, 3]
    assert found.at_ns.tolist() == [10**9, 2 * 10**9]
    assert found.protocol.tolist() == [UDP, TCP]
    assert found.ipv4.tolist() == [True, False]
    assert found.source_address[0].tobytes().hex() == "00000000000000000000ffffc0000201"
    assert [found.source(0), found.destination(0)] == [A4, B4]
    assert [found.source(1), found.destination(1)] == [A6, B6]
    assert [found.payload(0), found.payload(1)] == [b"abc", b"xy"]
    assert found.tcp_sequence.tolist() == [0, 2**32 - 1]
    assert found.tcp_flags.tolist() == [0, SYN]
    assert found.complete.tolist() == [True, True]
    assert (len(found), found.fragments, found.undecoded) == (2, 0, 1)


def test_selection_keeps_whole_rows_and_the_counts() -> None:
    """A mask and a list of numbers give the same rows; the counts stay those of the capture."""
    found = datagrams(MACS + b"\x08\x06", MACS + IPV4 + PACKET, MACS + IPV6 + PACKET6)
    second = found.select(found.source_port == 5060).select(np.array([1]))

    assert (second.source(0), second.payload(0), len(second)) == (A6, b"abcd", 1)
    assert (second.frame.tolist(), second.undecoded) == ([3], 1)


@pytest.mark.parametrize("tag", [b"\x81\x00", b"\x88\xa8", b"\x91\x00"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8])
def test_vlan_tags_are_passed(tag: bytes, depth: int) -> None:
    """Up to eight tags of each kind are in front of the same datagram."""
    found = datagrams(MACS + (tag + b"\x00\x07") * depth + IPV4 + PACKET)
    assert (found.source(0), found.payload(0)) == (A4, b"abc")


def test_ninth_vlan_tag_is_not_passed() -> None:
    """The loop over tags is bounded."""
    assert datagrams(MACS + b"\x81\x00\x00\x07" * 9 + IPV4 + PACKET).undecoded == 1


@pytest.mark.parametrize(
    ("linktype", "header", "packet"),
    [
        *((link, b"", PACKET) for link in (12, 14, 101, 228)),
        *((link, b"", PACKET6) for link in (12, 14, 101, 229)),
        (0, b"\x02\0\0\0", PACKET),
        (0, b"\0\0\0\x02", PACKET),
        *((0, bytes([family, 0, 0, 0]), PACKET6) for family in (24, 28, 30)),
        (108, b"\0\0\0\x02", PACKET),
        (113, bytes(14) + IPV4, PACKET),
        (113, bytes(14) + b"\x81\x00\x00\x01" + IPV6, PACKET6),
        (276, IPV4 + bytes(18), PACKET),
    ],
)
def test_link_header_is_passed(linktype: int, header: bytes, packet: bytes) -> None:
    """Every link type that is known leads to the same datagram."""
    found = datagrams(header + packet, linktype=linktype)
    assert (found.source(0).port, found.payload(0)[:3]) == (5060, b"abc")


def test_unknown_link_type_is_named() -> None:
    """A link type that is not known is never taken for another."""
    with pytest.raises(InputError, match=r"^x.pcap: linktype = 127: .*capture on an Ethernet"):
        datagrams(PACKET, linktype=127)


def test_ipv4_options_are_passed() -> None:
    """The header is as long as it says."""
    packet = b"\x46" + altered(PACKET, 2, b"\0\x23")[1:20] + b"\x94\x04\0\0" + PACKET[20:]
    assert datagrams(packet, linktype=LINKTYPE_RAW).payload(0) == b"abc"


@pytest.mark.parametrize("kind", [0, 43, 60])
def test_ipv6_extension_headers_are_passed(kind: int) -> None:
    """Hop-by-hop, routing and destination options, alone and eight of them, of any length."""
    packet = extended(kind, b"\0\x01" + bytes(14))
    assert datagrams(packet, linktype=LINKTYPE_RAW).payload(0) == b"abcd"
    for _ in range(7):
        packet = extended(kind, bytes(8), packet)
    assert datagrams(packet, linktype=LINKTYPE_RAW).payload(0) == b"abcd"
    packet = extended(kind, bytes(8), packet)
    assert datagrams(packet, linktype=LINKTYPE_RAW).undecoded == 1


@pytest.mark.parametrize(
    "packet",
    [
        altered(PACKET, 6, b"\x20\x00"),  # the first part
        altered(PACKET, 6, b"\x20\x01"),
        altered(PACKET, 6, b"\x00\xb9"),  # the last
        extended(44, b"\0\0\0\x01" + bytes(4)),
        extended(44, b"\0\0\0\x08" + bytes(4)),
        extended(0, bytes(8), extended(44, b"\0\0\0\x09" + bytes(4))),
    ],
)
def test_fragment_is_counted_and_not_read(packet: bytes) -> None:
    """A part of a packet, the first one too, is never taken for a datagram."""
    found = datagrams(packet, linktype=LINKTYPE_RAW)
    assert (len(found), found.fragments, found.undecoded) == (0, 1, 0)


def test_atomic_fragment_is_whole() -> None:
    """A fragment header with no offset and no more to come has the whole packet (RFC 6946)."""
    found = datagrams(extended(44, bytes(8)), linktype=LINKTYPE_RAW)
    assert (found.payload(0), found.fragments) == (b"abcd", 0)


def test_padding_is_not_payload() -> None:
    """A short frame is padded to 60 bytes; the payload ends where IP and UDP say."""
    found = datagrams((MACS + IPV4 + PACKET).ljust(60, b"\xff"))
    assert (found.payload(0), found.complete.tolist()) == (b"abc", [True])


@pytest.mark.parametrize(("packet", "header"), [(PACKET, 28), (PACKET6, 48), (SEGMENT, 40)])
def test_cut_frame_is_marked_and_never_read_past_its_end(packet: bytes, header: int) -> None:
    """At every length: no row without ports, no byte of the next record, whole only when whole."""
    for size in range(len(packet)):
        found = datagrams(packet[:size], b"\xee" * 64, linktype=LINKTYPE_RAW)
        there = [found.payload(row) for row in range(len(found))]
        assert there == ([packet[header:size]] if size >= header else [])
        assert not found.complete.any()
        assert len(found) + found.undecoded == 2


@pytest.mark.parametrize(
    ("length", "payload", "complete"),
    [
        (0, b"", False),
        (7, b"", False),
        (8, b"", True),
        (10, b"ab", True),
        (12, b"abc", False),
        (65_535, b"abc", False),
    ],
)
def test_lying_udp_length_is_not_believed(length: int, payload: bytes, complete: bool) -> None:
    """A datagram ends inside its packet; one that says otherwise is not complete."""
    packet = altered(PACKET, 24, struct.pack(">H", length))
    found = datagrams(packet + bytes(9), linktype=LINKTYPE_RAW)
    assert (found.payload(0), found.complete.tolist()) == (payload, [complete])


@pytest.mark.parametrize("words", [0, 4, 6, 15])
def test_lying_tcp_offset_is_not_believed(words: int) -> None:
    """A header shorter than a header, or longer than its packet, leaves no payload."""
    found = datagrams(altered(SEGMENT, 32, bytes([words << 4])), linktype=LINKTYPE_RAW)
    assert (found.payload(0), found.complete.tolist()) == (b"", [False])


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        altered(PACKET, 0, b"\x65"),  # says IPv6 in an IPv4 header
        altered(PACKET, 0, b"\x44"),  # a header of 16 bytes
        altered(PACKET, 2, b"\0\x13"),  # a packet of 19
        altered(PACKET, 2, b"\0\x1b"),  # with 7 bytes of UDP
        altered(PACKET, 9, b"\x01"),  # ICMP
        altered(PACKET6, 4, b"\0\x07"),
        altered(PACKET6, 6, b"\x3b"),  # no next header
    ],
)
def test_packet_that_is_no_datagram_is_counted(packet: bytes) -> None:
    """What is not UDP or TCP, or contradicts itself before its ports, is undecoded."""
    found = datagrams(packet, MACS + IPV4, linktype=LINKTYPE_RAW)
    assert (len(found), found.fragments, found.undecoded) == (0, 0, 2)


def test_capture_of_several_blocks_keeps_its_order() -> None:
    """Frames are decoded block by block; rows and numbers go on over the border."""
    other = encode_udp(A6, B6, b"another")
    found = datagrams(*[PACKET, b"", other] * (TOGETHER // 2), linktype=LINKTYPE_RAW)

    assert found.frame.tolist() == [n for n in range(1, TOGETHER // 2 * 3 + 1) if n % 3 != 2]
    assert found.payload_bytes.tolist() == [3, 7] * (TOGETHER // 2)
    assert found.undecoded == TOGETHER // 2


def test_capture_without_frames_has_no_datagrams() -> None:
    """Nothing is something that can be asked for."""
    found = datagrams()
    assert (len(found), found.undecoded, found.source_address.shape) == (0, 0, (0, 16))
    assert len(found.select(found.complete)) == 0


@pytest.mark.parametrize("text", ["192.0.2.1:53", "[2001:db8::1]:5060", "[::ffff:102:304]:0"])
def test_endpoint_is_written_as_it_is_read(text: str) -> None:
    """Text to value to text."""
    assert str(Endpoint.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1",
        "192.0.2.1:",
        ":53",
        "192.0.2.1:x",
        "192.0.2.1:-1",
        "192.0.2.1:053",
        "192.0.2.1:65536",
        "192.0.2.1:99999999999",
        "2001:db8::1:53",
        "[192.0.2.1]:53",
        "host:53",
        "[fe80::1%eth0]:53",
        "192.0.2.01:53",
        "192.0.2.1:\u0665",
        "[2001:db8::1:53",
        "192.0.2.1 :53",
    ],
)
def test_endpoint_that_is_not_exactly_right_is_refused(text: str) -> None:
    """No name, no zone, no bare IPv6, no odd port."""
    with pytest.raises(InputError):
        Endpoint.parse(text)


def test_endpoint_has_one_spelling() -> None:
    """A long form cannot be constructed, so equal endpoints are equal values."""
    with pytest.raises(InputError, match="use 2001:db8::1"):
        Endpoint("2001:0db8::1", 1)
    assert Endpoint.parse("[2001:0DB8::1]:1") == Endpoint("2001:db8::1", 1)


def test_packet_that_cannot_be_is_not_encoded() -> None:
    """Families do not mix, and a packet has 65535 bytes at most."""
    with pytest.raises(InputError, match="IPv4 to IPv6"):
        encode_udp(A4, B6, b"")
    with pytest.raises(InputError, match="65515"):
        encode_udp(A4, B4, bytes(65_508))
    with pytest.raises(InputError, match="65535"):
        encode_tcp(A6, B6, bytes(65_516), sequence=0, acknowledgement=0, flags=0)
    assert len(encode_udp(A4, B4, bytes(65_507))) == 65_535
