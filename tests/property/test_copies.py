"""Copies that a tap made are those of a search by hand, in one piece and in blocks."""

import struct
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.packets.blocks import Block
from harness.packets.capture import Capture, encode_file_header, encode_record, parse
from harness.packets.frame import Decoder, decode, encode_tcp, encode_udp
from probetest.duplicates import Copy, find_copies
from tests.sip_wire import CARRIER, MS, PHONE, SBC, START_NS

UNHURRIED = settings(deadline=None, max_examples=150)
ETHERNET = 1
ENDS = ((PHONE, SBC), (SBC, PHONE), (PHONE, CARRIER))
PAYLOADS = (b"x", b"x" * 40, b"x" * 39 + b"y", b"\x80\x08" + bytes(range(30)), b"abcdefghij" * 30)


@dataclass(frozen=True, slots=True)
class Frame:
    """What tells frames apart; the last three only say what kind of copy it is."""

    at_ms: int
    ends: int
    payload: int
    ip_id: int
    tcp: bool
    ttl: int
    vlan: int

    @property
    def key(self) -> tuple[int, ...]:
        """Return what copies share."""
        return self.ends, self.payload, self.ip_id, self.tcp

    def data(self) -> bytes:
        """Return the frame, its IP header's checksum wrong."""
        source, to = ENDS[self.ends]
        payload = PAYLOADS[self.payload]
        packet = bytearray(
            encode_tcp(source, to, payload, sequence=1, acknowledgement=0, flags=24)
            if self.tcp
            else encode_udp(source, to, payload)
        )
        packet[4:6], packet[8] = struct.pack(">H", self.ip_id), self.ttl
        tag = struct.pack(">HH", 0x8100, self.vlan) if self.vlan else b""
        return bytes(12) + tag + b"\x08\x00" + bytes(packet)


frames = st.lists(
    st.builds(
        Frame,
        at_ms=st.integers(0, 40),
        ends=st.integers(0, 2),
        payload=st.integers(0, len(PAYLOADS) - 1),
        ip_id=st.sampled_from([0, 0, 7]),
        tcp=st.booleans(),
        ttl=st.sampled_from([64, 63]),
        vlan=st.sampled_from([0, 5]),
    ),
    max_size=40,
)


def capture_of(some: list[Frame]) -> Capture:
    """Return a capture of *some* frames."""
    records = (encode_record(START_NS + one.at_ms * MS, one.data()) for one in some)
    return parse(encode_file_header(ETHERNET) + b"".join(records))


def by_hand(some: list[Frame]) -> tuple[list[int], list[int]]:
    """Return the first row and the kind of each."""
    last: dict[tuple[int, ...], tuple[int, int]] = {}
    originals, kinds = list(range(len(some))), [0] * len(some)
    for row in sorted(range(len(some)), key=lambda row: some[row].at_ms):
        one = some[row]
        at_ms, first = last.get(one.key, (-99, row))
        if one.at_ms - at_ms > 10:
            first = row
        last[one.key] = (one.at_ms, first)
        if first != row:
            originals[row] = first
            like = some[first]
            kinds[row] = (
                Copy.ROUTED if like.ttl != one.ttl
                else Copy.SWITCHED if like.vlan != one.vlan else Copy.MIRRORED
            )  # fmt: skip
    return originals, kinds


@UNHURRIED
@given(frames)
def test_copies_and_their_kinds_are_those_of_a_search_by_hand(some: list[Frame]) -> None:
    """In any order of the file, with payloads that begin alike, over UDP and TCP."""
    found = find_copies(decode(capture_of(some)))
    originals, kinds = by_hand(some)

    assert found.original.tolist() == originals
    assert found.kind.tolist() == kinds


@UNHURRIED
@given(frames, st.integers(1, 10))
def test_copies_in_blocks_are_those_of_the_whole(some: list[Frame], size: int) -> None:
    """Each block begins with the frames of the last 10 ms: that is all that has to be known."""
    some.sort(key=lambda one: one.at_ms)
    _, kinds = by_hand(some)
    capture, decoder, found = capture_of(some), Decoder(), list[int]()
    for start in range(0, len(some), size):
        begin = next(row for row, one in enumerate(some) if one.at_ms >= some[start].at_ms - 10)
        part = capture_of(some[begin : start + size])
        fresh = np.arange(len(part)) >= start - begin
        copies = find_copies(decoder.read(Block(part, fresh, 0, is_last=False)))
        found += (copies.kind > 0)[fresh].tolist()

    assert len(capture) == len(some)
    assert found == [kind > 0 for kind in kinds]
