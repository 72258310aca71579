"""Which call a stream belongs to, and how that is known."""

import pytest

from harness.packets.frame import Endpoint
from harness.premises import Premises
from harness.records import StreamRecord
from probetest.dataset import read_tap
from tests.sip_wire import PHONE, SBC, Leg, Tape, rtp, sdp

HERE, THERE = Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000)
CALL = "1@192.0.2.10"


def streams(tape: Tape) -> list[StreamRecord]:
    """Return the streams of the tape."""
    return list(read_tap(tape.capture(), Premises()).streams)


def talk(  # noqa: PLR0913 - a stream is all of these
    tape: Tape,
    source: Endpoint,
    destination: Endpoint,
    *,
    at_ms: float = 100,
    count: int = 20,
    ssrc: int = 1,
    first: int = 0,
) -> None:
    """Add a steady stream."""
    for number in range(first, first + count):
        packet = rtp(number, 160 * number, ssrc=ssrc)
        tape.udp(at_ms + 20 * (number - first), source, destination, packet)


def found(tape: Tape) -> list[tuple[str, str]]:
    """Return Call-ID and rule of each stream."""
    return [(one.call_id, one.found_by) for one in streams(tape)]


def test_a_late_offer_is_an_offer() -> None:
    """The 200 offers, the ACK answers: both directions are joined."""
    tape, leg = Tape(), Leg(to_tag="b")
    tape.udp(0, PHONE, SBC, Leg().request())
    tape.udp(50, SBC, PHONE, leg.response(200, body=sdp(THERE)))
    tape.udp(60, PHONE, SBC, leg.request("ACK", body=sdp(HERE)))
    talk(tape, HERE, THERE)
    talk(tape, THERE, HERE, ssrc=2)

    assert found(tape) == [(CALL, "SDP"), (CALL, "SDP")]


def test_early_media_is_announced_by_a_183() -> None:
    """Before any answer."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request(body=sdp(HERE)))
    tape.udp(50, SBC, PHONE, Leg().response(183, body=sdp(THERE)))
    talk(tape, HERE, THERE, count=3)

    assert found(tape) == [(CALL, "SDP")]


def test_a_source_behind_nat_is_joined_by_where_it_goes() -> None:
    """The port it comes from was never announced."""
    tape = Tape()
    tape.udp(50, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    talk(tape, Endpoint("203.0.113.9", 61_000), THERE, count=3)

    assert found(tape) == [(CALL, "SDP")]


def test_what_goes_back_to_that_port_is_joined_by_the_other_direction() -> None:
    """Symmetric RTP: nobody announced 203.0.113.9, but its own stream is known."""
    tape, nat = Tape(), Endpoint("203.0.113.9", 61_000)
    tape.udp(50, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    talk(tape, nat, THERE)
    talk(tape, THERE, nat, ssrc=2, count=3)

    assert found(tape) == [(CALL, "SDP"), (CALL, "SDP of its source")]


def test_a_third_port_is_joined_by_the_other_direction() -> None:
    """A stream to an unknown place, between the same ports as one that SDP announced later."""
    tape, nat = Tape(), Endpoint("203.0.113.9", 61_000)
    talk(tape, nat, HERE, count=200)
    talk(tape, HERE, nat, ssrc=2, count=20, at_ms=130)
    tape.udp(3500, PHONE, SBC, Leg().request(body=sdp(HERE)))

    assert found(tape) == [(CALL, "SDP, later"), (CALL, "other direction")]


def test_a_new_port_after_a_re_invite_is_the_same_call() -> None:
    """Each announcement counts from when it was made."""
    tape, moved = Tape(), Endpoint("192.0.2.20", 50_100)
    tape.udp(0, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    tape.udp(3000, SBC, PHONE, Leg(number=2).response(200, body=sdp(moved)))
    talk(tape, HERE, THERE)
    talk(tape, HERE, moved, at_ms=3100)

    assert found(tape) == [(CALL, "SDP"), (CALL, "SDP")]


def test_a_port_that_is_used_again_belongs_to_the_later_call() -> None:
    """The last announcement before the stream."""
    tape = Tape()
    for turn in (0, 1):
        leg = Leg(call_id=f"call-{turn}")
        tape.udp(turn * 5000, SBC, PHONE, leg.response(200, body=sdp(THERE)))
        talk(tape, HERE, THERE, at_ms=turn * 5000 + 100, ssrc=turn + 1)

    assert found(tape) == [("call-0", "SDP"), ("call-1", "SDP")]


def test_a_new_codec_after_a_re_invite_has_its_own_clock() -> None:
    """Type 97 at 16000 Hz comes with the second SDP: no jitter from a wrong clock."""
    tape = Tape()
    tape.udp(0, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    talk(tape, HERE, THERE)
    body = sdp(THERE, "97 speex/16000", types="97")
    tape.udp(3000, SBC, PHONE, Leg(number=2).response(200, body=body))
    for number in range(20, 60):
        packet = rtp(number, 320 * number, ssrc=1, payload_type=97)
        tape.udp(3100 + 20 * number, HERE, THERE, packet)
    (stream,) = streams(tape)

    assert (stream.codec, stream.clock_hz, stream.type_changes) == ("speex", 16_000, 1)
    assert stream.jitter_max_ms == 0


def test_a_changed_ssrc_is_counted_and_costs_nothing() -> None:
    """The second source between the same ports starts anew."""
    tape = Tape()
    talk(tape, HERE, THERE)
    talk(tape, HERE, THERE, at_ms=600, ssrc=2, first=40_000)

    assert [(one.earlier_sources, one.lost) for one in streams(tape)] == [(0, 0), (1, 0)]


def test_one_ssrc_both_ways_is_told() -> None:
    """A collision (RFC 3550 section 8.2), or somebody who echoes."""
    tape = Tape()
    talk(tape, HERE, THERE)
    talk(tape, THERE, HERE)

    assert [one.both_ways for one in streams(tape)] == [True, True]


def test_packet_time_and_clock_are_measured() -> None:
    """20 ms a packet; a sender whose 8000 Hz are 8080 is 1 % fast."""
    tape = Tape()
    for number in range(100):
        tape.udp(20 * number, HERE, THERE, rtp(number, 160 * number + number * 8 // 5))
    (stream,) = streams(tape)

    assert stream.packet_ms == pytest.approx(20.125, abs=0.2)
    assert stream.clock_seen_hz == pytest.approx(8080, abs=1)
    assert stream.skew_ppm == pytest.approx(10_000, abs=100)


def test_a_clock_that_jumps_is_counted() -> None:
    """The timestamp leaps by an hour once."""
    tape = Tape()
    for number in range(40):
        leap = 8000 * 3600 if number > 20 else 0
        tape.udp(20 * number, HERE, THERE, rtp(number, 160 * number + leap))
    (stream,) = streams(tape)

    assert (stream.clock_jumps, stream.lost) == (1, 0)


@pytest.mark.parametrize(("fax_packets", "switched"), [(30, 100), (5, 0)])
def test_numbers_left_out_for_a_fax_are_not_lost(fax_packets: int, switched: int) -> None:
    """T.38 takes the ports over, and RTP goes on later with numbers that went on meanwhile."""
    tape = Tape()
    tape.udp(0, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    talk(tape, HERE, THERE)
    for number in range(fax_packets):
        tape.udp(600 + 20 * number, HERE, THERE, number.to_bytes(2) + b"\1\6" + bytes(6))
    talk(tape, HERE, THERE, at_ms=2600, first=120)
    (stream,) = streams(tape)

    assert (stream.lost, stream.switched, stream.missing) == (100, switched, 100 - switched)


def test_checks_of_connectivity_are_no_fax() -> None:
    """STUN goes on beside RTP: what is missing then is lost."""
    tape = Tape()
    tape.udp(0, SBC, PHONE, Leg().response(200, body=sdp(THERE)))
    talk(tape, HERE, THERE)
    for number in range(30):
        binding = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
        tape.udp(600 + 20 * number, HERE, THERE, binding)
    talk(tape, HERE, THERE, at_ms=2600, first=120)
    (stream,) = streams(tape)

    assert (stream.switched, stream.missing) == (0, 100)
