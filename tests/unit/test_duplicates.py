"""Copies that a mirror made are marked; what the sender repeated is not."""

import pytest

from harness.packets.frame import Endpoint, decode
from probetest.duplicates import Copies, Copy, find_copies
from tests.sip_wire import CARRIER, PHONE, SBC, Leg, Tape, rtp


def copies(tape: Tape) -> Copies:
    """Return what the tape's rows are."""
    return find_copies(decode(tape.capture()))


def test_a_mirrored_frame_is_a_copy_of_its_original() -> None:
    """Same 5-tuple, IP id and payload within 10 ms; the same TTL says mirrored."""
    tape = Tape()
    for at_ms in (0, 0.05, 1.4):
        tape.udp(at_ms, PHONE, SBC, Leg().request(), ip_id=7)
    found = copies(tape)

    assert found.kind.tolist() == [Copy.NONE, Copy.MIRRORED, Copy.MIRRORED]
    assert found.original.tolist() == [0, 0, 0]
    assert found.is_copy.tolist() == [False, True, True]


def test_a_frame_seen_behind_a_router_is_a_routed_copy() -> None:
    """One hop less to live, all else alike."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request(), ip_id=7)
    tape.udp(0.2, PHONE, SBC, Leg().request(), ip_id=7, ttl=63)

    assert copies(tape).kind.tolist() == [Copy.NONE, Copy.ROUTED]


@pytest.mark.parametrize(
    ("at_ms", "ip_id", "source", "payload"),
    [
        (11, 7, PHONE, b"x" * 40),
        (1, 8, PHONE, b"x" * 40),
        (1, 7, CARRIER, b"x" * 40),
        (1, 7, Endpoint(PHONE.address, 5062), b"x" * 40),
        (1, 7, PHONE, b"x" * 39),
        (1, 7, PHONE, b"x" * 39 + b"y"),
    ],
)
def test_what_differs_is_no_copy(
    at_ms: float, ip_id: int, source: Endpoint, payload: bytes
) -> None:
    """Too late, another IP id, sender, port, length, or a last byte."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, b"x" * 40, ip_id=7)
    tape.udp(at_ms, source, SBC, payload, ip_id=ip_id)

    assert copies(tape).kind.tolist() == [Copy.NONE, Copy.NONE]


def test_copies_are_found_between_frames_that_begin_alike() -> None:
    """Two calls at once to one number, each mirrored, none with an IP id of its own."""
    tape = Tape()
    first, second = (Leg(branch=f"z9hG4bK-{name}").request() for name in "xy")
    for payload in (first, second, first, second):
        tape.udp(0, PHONE, SBC, payload, ip_id=0)
    found = copies(tape)

    assert found.original.tolist() == [0, 1, 0, 1]


def test_rtp_without_ip_ids_is_not_all_copies() -> None:
    """Sequence numbers tell packets apart when every IP id is 0."""
    tape = Tape()
    for number in range(20):
        tape.udp(number, SBC, CARRIER, rtp(number, 160 * number), ip_id=0)

    assert not copies(tape).is_copy.any()


def test_ipv6_copies_are_found_by_payload() -> None:
    """IPv6 has no IP id: payload and window decide."""
    tape = Tape()
    ends = Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5060)
    for at_ms in (0, 1):
        tape.udp(at_ms, *ends, Leg().request())

    assert copies(tape).kind.tolist() == [Copy.NONE, Copy.MIRRORED]


def test_the_later_frame_is_the_copy_whatever_the_order_of_the_file() -> None:
    """A merged capture can hold the copy first."""
    tape = Tape()
    tape.udp(5, PHONE, SBC, b"x" * 40, ip_id=7)
    tape.udp(4, PHONE, SBC, b"x" * 40, ip_id=7)

    assert copies(tape).original.tolist() == [1, 1]


def test_rows_without_payload_are_left_alone() -> None:
    """Empty datagrams say nothing about who sent them twice."""
    tape = Tape()
    for _ in range(2):
        tape.udp(0, PHONE, SBC, b"", ip_id=7)

    assert not copies(tape).is_copy.any()
    assert not copies(Tape()).is_copy.any()
