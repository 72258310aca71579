"""Calls out of SIP: every INVITE is a call, or is folded for a reason that is counted."""

from dataclasses import replace

import pytest

from harness.errors import ToolError
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from harness.premises import Premises
from harness.records import CallOutcome, Direction
from probetest.calls.dialogs import Waterfall
from probetest.dataset import TapData, read_tap
from tests.sip_wire import ALICE, BOB, CAROL, CARRIER, MS, PHONE, SBC, START_NS, Leg, Tape, dialog


def read(tape: Tape, premises: Premises | None = None) -> TapData:
    """Return what the tape shows."""
    return read_tap(tape.capture(), premises or Premises(), device="probe1")


def test_an_answered_call_has_its_parties_times_and_end() -> None:
    """One INVITE, 200 and BYE give one row with duration from the answer on."""
    tape = Tape()
    dialog(tape, 100, seconds=2.5)
    tap = read(tape)
    (call,) = tap.calls

    assert (call.source, call.source_rule) == (ALICE, "From: e164 plus")
    assert (call.destination, call.destination_rule) == (BOB, "Request-URI: e164 plus")
    assert (call.at_ns, call.frame, call.device) == (START_NS + 100 * MS, 1, "probe1")
    assert (call.outcome, call.status, call.client) == (CallOutcome.ANSWERED, 200, PHONE.address)
    assert (call.answered_ns, call.duration_ns) == (START_NS + 300 * MS, 2_500 * MS)
    assert call.frames == (1, 4)
    assert (tap.from_ns, tap.to_ns) == (START_NS + 100 * MS, START_NS + 2805 * MS)


def test_every_invite_is_counted_for_what_it_is() -> None:
    """One frame of each kind: a call, and six that are none; the rows sum up."""
    tape, leg = Tape(), Leg()
    tape.udp(0, PHONE, SBC, leg.request(), ip_id=7)
    tape.udp(1, PHONE, SBC, leg.request(), ip_id=7)  # the mirror again
    tape.udp(500, PHONE, SBC, leg.request(), ip_id=8)  # T1 later
    tape.udp(510, SBC, PHONE, leg.response(407))
    again = replace(leg, number=2, branch="z9hG4bK-2")
    tape.udp(520, PHONE, SBC, again.request())
    tape.udp(525, SBC, CARRIER, replace(again, branch="z9hG4bK-3").request())  # a proxy's hop
    tape.udp(530, SBC, PHONE, again.response(484))
    more = replace(leg, number=3, branch="z9hG4bK-4", called=f"sip:{CAROL}@192.0.2.20")
    tape.udp(540, PHONE, SBC, more.request())
    tape.udp(600, SBC, PHONE, more.response(200))
    inside = replace(leg, number=4, branch="z9hG4bK-5", to_tag="b")
    tape.udp(700, PHONE, SBC, inside.request())
    tape.udp(710, PHONE, SBC, inside.request("OPTIONS"))
    tape.udp(720, PHONE, SBC, b"INVITE sip:x@192.0.2.20 SIP/2.0\r\nVia: nothing else\r\n\r\n")
    tap = read(tape)

    assert tap.waterfall == Waterfall(
        frames=12,
        sip_messages=12,
        unreadable=1,
        other_messages=4,
        invites=7,
        copies=1,
        retransmissions=1,
        re_invites=1,
        auth_retries=1,
        overlap_dialling=0,
        other_retries=1,
        further_hops=1,
        onward_legs=0,
        calls=1,
    )
    assert tap.calls[0].status == 200
    assert [frame for frame, _ in tap.unreadable] == [12]
    assert tap.losses == ()


def test_a_waterfall_that_does_not_sum_cannot_exist() -> None:
    """A row too many is an error of the tool, not a figure."""
    tape = Tape()
    dialog(tape)
    sound = read(tape).waterfall

    with pytest.raises(ToolError, match="does not sum"):
        replace(sound, calls=2)
    with pytest.raises(ToolError, match="does not sum"):
        replace(sound, unreadable=1)


def test_a_call_id_used_again_after_its_bye_is_a_new_call() -> None:
    """A capture replayed three times in a loop holds three calls."""
    tape = Tape()
    for turn in range(3):
        dialog(tape, turn * 5_000)

    tap = read(tape)
    assert len(tap.calls) == 3
    assert [call.duration_ns for call in tap.calls] == [1000 * MS] * 3
    assert tap.waterfall.retransmissions == 0


def test_an_invite_long_after_the_transaction_is_a_new_call() -> None:
    """32 seconds are the longest that an INVITE is repeated (64 times T1)."""
    tape, leg = Tape(), Leg()
    for at_ms in (0, 31_000, 70_000):
        tape.udp(at_ms, PHONE, SBC, leg.request())
    tap = read(tape)

    assert [call.frame for call in tap.calls] == [1, 3]
    assert tap.waterfall.retransmissions == 1


@pytest.mark.parametrize(("after_ms", "calls"), [(51_000, 1), (590_000, 1), (700_000, 2)])
def test_a_password_may_take_minutes_to_type(after_ms: int, calls: int) -> None:
    """RFC 3261 section 22.2 sets no time: the attempt after a 407 is of the same call."""
    tape, first = Tape(), Leg()
    tape.udp(0, PHONE, SBC, first.request())
    tape.udp(20, SBC, PHONE, first.response(407))
    tape.udp(40, PHONE, SBC, first.request("ACK"))
    again = replace(first, number=2, branch="z9hG4bK-2")
    tape.udp(after_ms, PHONE, SBC, again.request())
    tape.udp(after_ms + 50, SBC, PHONE, again.response(403))
    tap = read(tape)

    assert len(tap.calls) == calls
    assert tap.calls[-1].status == 403
    assert tap.waterfall.auth_retries == 2 - calls


def test_a_reinvite_alone_is_no_call() -> None:
    """A capture that began in the middle of a call does not invent its start."""
    tape = Tape()
    tape.udp(0, SBC, PHONE, Leg(to_tag="b").request())
    tap = read(tape)

    assert tap.calls == ()
    assert tap.waterfall.re_invites == 1


def test_a_response_seen_before_its_request_still_ends_the_call() -> None:
    """Two queues of a tap can swap frames by milliseconds; that makes no second call."""
    tape, leg = Tape(), Leg()
    tape.udp(10, SBC, PHONE, leg.response(486))
    tape.udp(11, PHONE, SBC, leg.request())
    tap = read(tape)

    assert [(call.status, call.outcome) for call in tap.calls] == [(486, CallOutcome.REFUSED)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (486, CallOutcome.REFUSED),
        (487, CallOutcome.CANCELLED),
        (401, CallOutcome.REFUSED),
        (100, CallOutcome.NONE),
        (302, CallOutcome.REFUSED),
    ],
)
def test_what_became_of_a_call_without_an_answer(status: int, outcome: CallOutcome) -> None:
    """A provisional response is no end; a 302 without a Contact leads nowhere."""
    tape, leg = Tape(), Leg()
    tape.udp(0, PHONE, SBC, leg.request())
    tape.udp(10, SBC, PHONE, leg.response(status))
    (call,) = read(tape).calls

    assert (call.outcome, call.status) == (outcome, status if status >= 200 else 0)
    assert (call.answered_ns, call.duration_ns, call.target) == (None, None, "")


def test_a_redirection_names_its_target() -> None:
    """302 with a Contact is a redirected call, to the party in it."""
    tape, leg = Tape(), Leg()
    tape.udp(0, PHONE, SBC, leg.request())
    contact = (("Contact", f"<sip:{CAROL}@192.0.2.30>"),)
    tape.udp(10, SBC, PHONE, leg.response(302, extra=contact))
    (call,) = read(tape).calls

    assert (call.outcome, call.target) == (CallOutcome.REDIRECTED, CAROL)


@pytest.mark.parametrize(
    ("number", "outcome"), [(BOB, CallOutcome.ALLOWED), (CAROL, CallOutcome.REDIRECTED)]
)
def test_an_onward_leg_says_who_answered(number: str, outcome: CallOutcome) -> None:
    """Another Call-ID with the same Session-ID is the same call, sent on by a B2BUA."""
    session = (("Session-ID", f"{'5' * 32};remote={'0' * 32}"),)
    leg = Leg(extra=session)
    onward = Leg("2@192.0.2.20", called=f"sip:{number}@192.0.2.30", from_tag="c", extra=session)
    tape = Tape()
    tape.udp(0, PHONE, SBC, leg.request())
    tape.udp(5, SBC, CARRIER, onward.request())
    tape.udp(50, CARRIER, SBC, onward.response(200))
    tape.udp(55, SBC, PHONE, leg.response(200))
    tap = read(tape)

    assert [(call.outcome, call.target) for call in tap.calls] == [(outcome, number)]
    assert tap.waterfall.onward_legs == 1
    assert tap.calls[0].frames == (1, 2, 4)


def test_unknown_session_ids_join_nothing() -> None:
    """The nil identifier means "not known" (RFC 7989 section 5)."""
    tape = Tape()
    for name in "xy":
        leg = Leg(call_id=name, extra=(("Session-ID", "0" * 32),))
        tape.udp(0, PHONE, SBC, leg.request())

    assert len(read(tape).calls) == 2


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (("192.0.2.10/32",), Direction.OUTBOUND),
        (("192.0.2.20/32",), Direction.INBOUND),
        (("192.0.2.0/24",), Direction.INTERNAL),
        ((), Direction.UNKNOWN),
    ],
)
def test_networks_give_the_direction(inside: tuple[str, ...], expected: Direction) -> None:
    """Where the INVITE comes from and goes to decides, when just one end is the customer's."""
    tape = Tape()
    dialog(tape)
    (call,) = read(tape, Premises().with_inside(inside)).calls

    assert call.direction is expected
    assert call.direction_rule


def test_numbers_give_the_direction_when_networks_do_not() -> None:
    """Without networks the customer's own numbers decide."""
    tape = Tape()
    dialog(tape)
    (call,) = read(tape, Premises(numbers=(BOB,))).calls

    assert call.direction is Direction.INBOUND


def test_a_damaged_capture_keeps_what_was_read_and_names_the_byte() -> None:
    """The loss is told with the offset at which reading ended."""
    tape = Tape()
    dialog(tape)
    whole = tape.data()
    tap = read_tap(parse(whole[:-10]), Premises())

    assert len(tap.calls) == 1
    assert tap.waterfall.frames == 6
    assert "byte " in tap.losses[0]


def test_an_empty_capture_has_nothing() -> None:
    """No frame: no calls, no span, no ports, and sums of nothing."""
    tap = read(Tape())

    assert (tap.calls, tap.streams, tap.ports, tap.from_ns, tap.to_ns) == ((), (), (), 0, 0)


def test_hostile_call_ids_stay_printable() -> None:
    """An escape sequence in a Call-ID reaches no terminal and no file."""
    tape = Tape()
    raw = Leg(call_id="CALLID").request().replace(b"CALLID", b"x\x1b[2J\xff")
    tape.udp(0, PHONE, SBC, raw)
    (call,) = read(tape).calls

    assert call.call_id == "x\\x1b[2J\\udcff"


def test_any_port_will_do() -> None:
    """SIP is known by its first line, not by port 5060."""
    tape = Tape()
    odd = Endpoint("198.51.100.7", 17_000)
    tape.udp(0, odd, SBC, Leg().request())

    assert len(read(tape).calls) == 1
