"""Packets that came in parts are put together as their receiver does it, or named."""

import random
import struct
from itertools import permutations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6

from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.fragments import MAX_NAMED, Assembly, Incomplete
from harness.packets.frame import Datagrams, Decoder, Endpoint, decode
from tests.split_blocks import blocks
from tests.wrapped import gtp, inner, vxlan

MS = 1_000_000
TEXT = b"".join(b"%04d" % number for number in range(750))  # 3000 bytes, no two parts alike
PACKET = IP(src="192.0.2.1", dst="198.51.100.2", id=77, ttl=60) / UDP(sport=5062, dport=5060) / TEXT
PACKET6 = (
    IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=60)
    / IPv6ExtHdrFragment(id=9)
    / UDP(sport=5062, dport=5060)
    / TEXT
)
PARTS = [bytes(part) for part in IP(bytes(PACKET)).fragment(1000)]
PARTS6 = [bytes(part) for part in fragment6(IPv6(bytes(PACKET6)), 1100)]
ENDS = (Endpoint("192.0.2.1", 5062), Endpoint("198.51.100.2", 5060))
ENDS6 = (Endpoint("2001:db8::1", 5062), Endpoint("2001:db8::2", 5060))


def capture(*frames: bytes, at_ms: list[int] | None = None) -> bytes:
    """Return a capture of packets, a millisecond apart or at these times."""
    times = at_ms or list(range(len(frames)))
    records = (
        encode_record(10**9 + at * MS, frame) for at, frame in zip(times, frames, strict=True)
    )
    return encode_file_header(LINKTYPE_RAW) + b"".join(records)


def datagrams(*frames: bytes, at_ms: list[int] | None = None) -> Datagrams:
    """Return what is read from a capture of packets."""
    return decode(parse(capture(*frames, at_ms=at_ms), name="x.pcap"))


def why(found: Datagrams) -> list[str]:
    """Return what is told of packets that were not put together."""
    assert found.incomplete == len(found.lost)
    return [lost.why for lost in found.lost]


def changed(part: bytes, at: int, value: bytes) -> bytes:
    """Return *part* with other bytes in one place."""
    return part[:at] + value + part[at + len(value) :]


def renumbered(part: bytes, number: int) -> bytes:
    """Return a part of another packet."""
    return changed(part, 4, struct.pack(">H", number))


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_parts_are_put_together_in_any_order(order: tuple[int, ...]) -> None:
    """The row is that of the frame which brought the last part, with the packet's own fields."""
    assert len(PARTS) == 4
    found = datagrams(*(PARTS[place] for place in order))

    assert (len(found), found.fragments, found.incomplete, found.repeated) == (1, 4, 0, 0)
    assert (found.source(0), found.destination(0), found.payload(0)) == (*ENDS, TEXT)
    assert (found.frame.tolist(), found.at_ns.tolist()) == ([4], [10**9 + 3 * MS])
    assert (found.ip_id.tolist(), found.ttl.tolist()) == ([77], [60])
    assert (found.complete.tolist(), found.undecoded) == ([True], 0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_parts_of_ipv6_are_put_together_in_any_order(order: tuple[int, ...]) -> None:
    """The same by RFC 8200 section 4.5."""
    assert len(PARTS6) == 3
    found = datagrams(*(PARTS6[place] for place in order))
    assert (found.source(0), found.destination(0), found.payload(0)) == (*ENDS6, TEXT)
    assert (len(found), found.fragments, found.ttl.tolist()) == (1, 3, [60])


def test_row_stands_in_the_place_of_its_last_part() -> None:
    """Rows stay in the order of their frames."""
    other = bytes(IP(src="192.0.2.9", dst="192.0.2.8") / UDP(sport=1, dport=2) / b"other")
    found = datagrams(PARTS[0], other, *PARTS[1:], other)
    assert found.frame.tolist() == [2, 5, 6]
    assert [found.payload(row) for row in range(3)] == [b"other", TEXT, b"other"]
    assert found.select(found.frame == 5).payload(0) == TEXT


@pytest.mark.parametrize(
    "frames",
    [
        [part for part in PARTS for _ in range(2)],  # two mirror ports
        [*PARTS, *PARTS],
        [*PARTS[:2], *PARTS],
        [*PARTS, PARTS[2]],
    ],
)
def test_copies_of_parts_make_no_second_packet(frames: list[bytes]) -> None:
    """A tap that gives each frame twice gives one datagram, and the copies are counted."""
    found = datagrams(*frames)
    assert (len(found), found.incomplete, found.fragments) == (1, 0, len(frames))
    assert (found.repeated, found.payload(0)) == (len(frames) - 4, TEXT)


def test_packet_that_is_sent_again_is_a_second_one() -> None:
    """What comes later than copies do was sent by somebody."""
    found = datagrams(*PARTS, *PARTS, at_ms=[0, 1, 2, 3, 500, 501, 502, 503])
    assert (len(found), found.repeated, found.incomplete) == (2, 0, 0)


def test_id_that_is_used_again_at_once_is_a_second_packet() -> None:
    """Other bytes under the same id, when the first packet is whole, are another packet."""
    second = [changed(part, 30, b"#") for part in PARTS]
    found = datagrams(*PARTS, *second)
    assert (len(found), found.incomplete) == (2, 0)


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (0, "its first part was not seen"),
        (1, "a part between its first and last was not seen"),
        (3, "its last part was not seen"),
    ],
)
def test_missing_part_is_named_and_nothing_guessed(left_out: int, told: str) -> None:
    """There is no row; the frame with the first of its parts is told."""
    there = [part for place, part in enumerate(PARTS) if place != left_out]
    found = datagrams(b"", *there)
    assert (len(found), found.fragments, found.undecoded) == (0, 3, 1)
    assert found.lost == (Incomplete(2, told),)


@pytest.mark.parametrize(
    "odd",
    [
        changed(PARTS[1], 200, b"?"),  # the same place, another byte
        changed(PARTS[1], 6, struct.pack(">H", 0x2000 | 100)),  # reaches into its neighbours
        changed(PARTS[3], 6, struct.pack(">H", 200)),  # a last part that ends elsewhere
        changed(PARTS[0], 6, struct.pack(">H", 0x2000 | 400)),  # behind the last part
    ],
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_parts_that_contradict_each_other_are_dropped(odd: bytes, place: int) -> None:
    """RFC 5722: nothing of such a packet is used, in whatever order its parts come."""
    frames = [PARTS[0], PARTS[1], PARTS[2], PARTS[3]]
    frames.insert(place, odd)
    found = datagrams(*frames)
    if place == 4:  # it came too late to do harm
        assert found.payload(0) == TEXT
    else:
        assert len(found) == 0
        assert why(found) == ["its parts contradict each other (RFC 5722)"]


def test_parts_that_overlap_and_agree_are_put_together() -> None:
    """The same packet cut up in two ways, as behind two routers."""
    other = [bytes(part) for part in IP(bytes(PACKET)).fragment(600)]
    found = datagrams(PARTS[0], other[1], other[2], other[3], PARTS[2], other[4], other[5])
    assert (found.payload(0), found.incomplete) == (TEXT, 0)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (PARTS[0][:1000], "a part has a length that no sender may give it"),
        (PARTS[0][:20], "a part has a length that no sender may give it"),
        (
            changed(PARTS[3], 6, struct.pack(">H", 0x1FFF)),
            "its parts go on behind the longest packet there can be",
        ),
    ],
)
def test_part_that_cannot_be_is_named(part: bytes, told: str) -> None:
    """Lengths that are no multiple of eight, and places behind 65,535 bytes."""
    part = changed(part, 2, struct.pack(">H", len(part)))
    assert why(datagrams(part)) == [told]


def test_part_waits_for_thirty_seconds() -> None:
    """By the frames' own times; what comes later begins a packet that will not be whole."""
    assert len(datagrams(*PARTS, at_ms=[0, 1, 2, 30_000])) == 1
    found = datagrams(*PARTS, at_ms=[0, 1, 2, 30_001])
    assert (len(found), found.incomplete) == (0, 2)


def test_part_that_was_cut_gives_a_row_that_is_not_complete() -> None:
    """What the snapshot length left is shown up to the cut; nothing behind it."""
    records = b"".join(
        struct.pack("<IIII", 1, number, min(len(part), 400), len(part)) + part[:400]
        for number, part in enumerate(PARTS)
    )
    found = decode(parse(encode_file_header(LINKTYPE_RAW) + records))
    assert (found.payload(0), found.complete.tolist()) == (TEXT[:372], [False])
    assert found.source(0) == ENDS[0]


def test_memory_is_bounded_and_what_goes_is_named() -> None:
    """The oldest goes first."""
    decoder = Decoder(assembly=Assembly(memory_bytes=20_000))
    frames = [renumbered(PARTS[0], number) for number in range(40)]
    frames += [renumbered(part, 39) for part in PARTS[1:]]
    (block,) = blocks(parse(capture(*frames)), ())
    found = decoder.read(block)

    assert (len(found), found.payload(0)) == (1, TEXT)
    assert why(found).count("too much else was waiting for its parts") > 20
    assert found.lost[0].frame == 1


def test_many_that_are_not_whole_are_all_counted() -> None:
    """Only the first are named."""
    found = datagrams(*(renumbered(PARTS[0], number) for number in range(MAX_NAMED + 50)))
    assert (found.incomplete, len(found.lost)) == (MAX_NAMED + 50, MAX_NAMED)


def test_tunnel_that_came_in_parts_is_opened() -> None:
    """The outer packet is put together first, then what is inside is read."""
    for outer in (vxlan(inner(PACKET))[IP], gtp(bytes(PACKET))[IP]):
        parts = [bytes(part) for part in IP(bytes(outer)).fragment(800)]
        found = datagrams(*parts)
        assert (found.source(0), found.payload(0)) == (ENDS[0], TEXT)
        assert (found.depth.tolist(), found.fragments) == ([1], len(parts))


def test_parts_inside_a_tunnel_are_put_together() -> None:
    """Each in its own outer packet; that is then no row."""
    found = datagrams(*(bytes(gtp(part)[IP]) for part in PARTS))
    assert (len(found), found.payload(0), found.depth.tolist()) == (1, TEXT, [1])
    assert (found.fragments, found.undecoded) == (4, 0)


def test_parts_of_parts_are_put_together() -> None:
    """A part in a tunnel of which the outer packet was cut up too."""
    frames = [
        renumbered(outer, 100 + number)
        for number, part in enumerate(PARTS)
        for outer in (bytes(one) for one in IP(bytes(gtp(part)[IP])).fragment(400))
    ]
    random.Random(1).shuffle(frames)  # noqa: S311 - an order, not a secret
    found = datagrams(*frames)
    assert (len(found), found.payload(0), found.depth.tolist()) == (1, TEXT, [1])
    assert found.frame.tolist() == [len(frames)]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("context", [0, 2])
def test_blocks_make_no_difference(size: int, context: int) -> None:
    """Parts in different blocks come together; frames that are there again are not counted."""
    frames = [*PARTS[:2], *PARTS6, PARTS[2], PARTS[0], PARTS[3], renumbered(PARTS[1], 5)]
    whole = parse(capture(*frames))
    expected = decode(whole)
    decoder, rows = Decoder(), []
    for block in blocks(whole, range(0, len(whole), size), context=context):
        found = decoder.read(block)
        rows += [(int(found.frame[row]), found.payload(row)) for row in range(len(found))]

    assert rows == [(5, TEXT), (8, TEXT)]
    for name in ("fragments", "undecoded", "incomplete", "repeated", "lost"):
        assert getattr(found, name) == getattr(expected, name)
