"""ICMP messages about packets that did not arrive."""

import struct
from collections.abc import Sequence

import pytest

from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import Endpoint, decode, encode_udp
from harness.packets.unreachable import Unreachable, unreachable

CLIENT, SERVER = Endpoint("192.0.2.1", 40_000), Endpoint("198.51.100.1", 53)
CLIENT6, SERVER6 = Endpoint("2001:db8::1", 40_000), Endpoint("2001:db8::2", 53)
QUESTION, QUESTION6 = encode_udp(CLIENT, SERVER, bytes(40)), encode_udp(CLIENT6, SERVER6, bytes(40))
QUOTED, QUOTED6 = QUESTION[:28], QUESTION6[:48]  # headers and the first octets of the payload


def icmp(quoted: bytes, *, kind: int = 3, code: int = 3) -> bytes:
    """Return an IPv4 packet with an ICMP message."""
    message = struct.pack(">BBHI", kind, code, 0, 0) + quoted
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0)
    return head + bytes((198, 51, 100, 1, 192, 0, 2, 1)) + message


def icmp6(quoted: bytes, *, kind: int = 1) -> bytes:
    """Return an IPv6 packet with an ICMPv6 message."""
    message = struct.pack(">BBHI", kind, 4, 0, 0) + quoted
    return struct.pack(">IHBB", 6 << 28, len(message), 58, 64) + bytes(32) + message


def told(frames: Sequence[bytes]) -> Unreachable:
    """Return what a capture of *frames* says; the first is seen at 1 ns, the second at 2 ns."""
    records = b"".join(encode_record(at, frame) for at, frame in enumerate(frames, 1))
    return unreachable(decode(parse(encode_file_header(LINKTYPE_RAW) + records)))


@pytest.mark.parametrize(
    ("question", "message", "client", "server"),
    [
        (QUESTION, icmp(QUOTED), CLIENT, SERVER),
        (QUESTION, icmp(QUESTION), CLIENT, SERVER),
        (QUESTION, icmp(QUOTED, code=13), CLIENT, SERVER),
        (QUESTION6, icmp6(QUOTED6), CLIENT6, SERVER6),
    ],
    ids=["first octets", "whole packet", "a filter", "IPv6"],
)
def test_message_tells_which_packet_did_not_arrive(
    question: bytes, message: bytes, client: Endpoint, server: Endpoint
) -> None:
    """Its frame, its time, and from where to where the packet went."""
    found = told([question, message, question])

    assert (len(found), found.frame.tolist(), found.at_ns.tolist()) == (1, [2], [2])
    assert (found.quoted.source(0), found.quoted.destination(0)) == (client, server)


@pytest.mark.parametrize(
    "message",
    [
        icmp(QUOTED, kind=11),
        icmp6(QUOTED6, kind=3),
        icmp(QUOTED[:20]),
        icmp(b""),
        icmp(bytes(28)),
        icmp(QUOTED)[:24],
        b"",
    ],
    ids=["ttl", "ttl of IPv6", "no ports", "nothing", "no packet", "cut", "empty"],
)
def test_anything_else_tells_nothing(message: bytes) -> None:
    """Other types, and messages that quote nothing to read, are none."""
    assert len(told([QUESTION, message])) == 0


def test_several_are_in_the_order_of_the_capture() -> None:
    """IPv4 and IPv6 mixed keep their frames."""
    found = told([icmp6(QUOTED6), QUESTION, icmp(QUOTED), icmp6(QUOTED6)])

    assert found.frame.tolist() == [1, 3, 4]
    assert [found.quoted.destination(row) for row in range(3)] == [SERVER6, SERVER, SERVER6]
