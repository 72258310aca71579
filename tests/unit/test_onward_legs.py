"""Legs of one call are joined by what a B2BUA passes on, and by nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.packets.frame import Endpoint
from probetest.calls.call import Call
from probetest.calls.dialogs import Tally
from probetest.calls.families import Families
from probetest.calls.joining import Joining, header_values, via_count
from probetest.calls.waterfall import Step
from tests.call_story import Story
from tests.sip_wire import BOB, CAROL, CARRIER, PHONE, SBC, Leg

FAR = Endpoint("198.51.100.40", 5060)
LEG = Leg()
SESSION, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def onward(*extra: tuple[str, str], call_id: str = "2@192.0.2.20") -> Leg:
    """Return a leg with a Call-ID, tag and branch of its own."""
    name = call_id.partition("@")[0]
    return Leg(call_id, from_tag=f"t{name}", branch=f"z9hG4bK-{name}", extra=extra)


def told(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> Story:
    """Return a call from the phone with the headers *one*, sent on with those of *other*."""
    leg, further = replace(LEG, extra=tuple(one)), onward(*other)
    story = Story().ask(0, leg).say(5, SBC, CARRIER, further.request())
    return story.say(90, CARRIER, SBC, further.response(200)).answer(95, leg, 200)


def joined(story: Story) -> list[tuple[str, ...]]:
    """Return how the legs of each call are known; the steps have to sum up."""
    story.steps()
    return [tuple(leg.joined_by for leg in call.legs) for call in story.calls()]


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Session-ID", (f"{SESSION};remote={'0' * 32}", f"{SESSION};remote={'0' * 32}"), ""),
        ("Session-ID", (SESSION, SESSION.upper()), ""),
        ("Session-ID", (SESSION, f"{OTHER};remote={SESSION}"), ""),
        (
            "P-Charging-Vector",
            (
                'icid-value="a-1";icid-generated-at=192.0.2.1',
                "icid-value=a-1;orig-ioi=home.example",
            ),
            "icid-value",
        ),
        ("X-CID", ("7", "7"), ""),
    ],
)
def test_equal_identifiers_join(one: str, other: tuple[str, str], how: str) -> None:
    """Whatever else is in the header, in quotes or not, in capitals or not."""
    story = told([(one, other[0])], [(one, other[1])])

    assert joined(story) == [(how or one,)]
    assert list(story.steps().values()) == [Step.CALL, Step.ONWARD_LEG]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Session-ID", ("0" * 32, "0" * 32)),
        ("Session-ID", (f"{SESSION};remote={'0' * 32}", f"{OTHER};remote={'0' * 32}")),
        ("Session-ID", ("none", "none")),
        ("P-Charging-Vector", ("icid-value=a-1", "icid-value=a-2")),
        ("P-Charging-Vector", ("orig-ioi=home.example", "orig-ioi=home.example")),
        ("X-Other", ("7", "7")),
    ],
)
def test_other_identifiers_join_nothing(name: str, values: tuple[str, str]) -> None:
    """Unknown, nil and different ones; same number and time never do."""
    assert joined(told([(name, values[0])], [(name, values[1])])) == [(), ()]


def test_a_leg_may_name_the_call_id_of_the_other() -> None:
    """X-CID holds the Call-ID of the leg before; so does the end of some Call-IDs."""
    assert joined(told([], [("X-CID", LEG.call_id)])) == [("X-CID",)]
    further = onward(call_id=f"{LEG.call_id}_b2b-1")
    assert joined(Story().ask(0, LEG).say(5, SBC, CARRIER, further.request())) == [("X-CID",)]


def test_the_leg_may_be_seen_before_the_call_it_belongs_to() -> None:
    """The taps of two sides are 20 ms apart: the leg that leads to the other's sender is first."""
    further = onward(("X-CID", LEG.call_id))
    story = Story().say(0, SBC, CARRIER, further.request()).ask(20, LEG)
    (call,) = story.calls()

    assert call.first.seen.source == PHONE
    assert [leg.first.seen.source for leg in call.legs] == [SBC]


def test_other_headers_can_be_given() -> None:
    """A device's own header, in any case, folded too."""
    leg = replace(LEG, extra=(("x-global-call", "7"),))
    further = onward(("X-Global-Call", "7")).request().replace(b"Call: 7", b"Call:\r\n\t7")
    story = Story().ask(0, leg).say(5, SBC, CARRIER, further)
    tally = Tally(Families(Joining(("X-Global-Call",))))
    for seen in story.messages:
        tally.add(seen)
    (call,) = tally.calls()

    assert len(call.legs) == 1
    assert len(story.calls()) == 2


def test_three_legs_are_one_call() -> None:
    """Two B2BUAs in a row; the third key joins what the first two did not."""
    session, vector = ("Session-ID", SESSION), ("P-Charging-Vector", "icid-value=q")
    story = Story().say(0, PHONE, SBC, replace(LEG, extra=(session,)).request())
    story.say(10, CARRIER, FAR, onward(vector, call_id="3@192.0.2.30").request())
    story.say(20, SBC, CARRIER, onward(session, vector).request())
    (call,) = story.calls()

    assert sorted(leg.joined_by for leg in call.legs) == ["Session-ID", "icid-value"]


def test_a_b2bua_that_keeps_the_call_id_is_known_by_it() -> None:
    """Another From tag, sent by another host, is the same call further on."""
    further = replace(LEG, from_tag="z", branch="z9hG4bK-z")
    story = Story().ask(0, LEG).say(5, SBC, CARRIER, further.request())
    story.say(90, CARRIER, SBC, further.response(200)).answer(95, LEG, 200)

    assert joined(story) == [("Call-ID",)]
    assert list(story.steps().values()) == [Step.CALL, Step.ONWARD_LEG]
    (call,) = story.calls()
    assert [one.final.frame for one in (call, *call.legs) if one.final] == [4, 3]


def test_an_sbc_may_try_elsewhere_after_a_failure() -> None:
    """Two onward legs, one after the other, of one call."""
    session = ("Session-ID", SESSION)
    story = Story().ask(0, replace(LEG, extra=(session,)))
    for turn, name in enumerate("xy"):
        leg = onward(session, call_id=f"{name}@192.0.2.20")
        story.say(10 + turn * 100, SBC, CARRIER, leg.request())
        story.say(60 + turn * 100, CARRIER, SBC, leg.response(503))

    assert joined(story) == [("Session-ID", "Session-ID")]


def test_a_constant_of_a_device_joins_none_of_its_calls() -> None:
    """Every call of the phone has the same identifier; each is still a call."""
    session = ("Session-ID", SESSION)
    story = Story()
    for turn in range(4):
        story.ask(turn * 10, replace(onward(session, call_id=f"{turn}@x"), from_tag="a"))

    assert joined(story) == [()] * 4


def test_a_constant_of_a_network_cannot_join_everything() -> None:
    """A thousand callers with one icid-value: families end at 32 legs, and nothing slows down."""
    vector = ("P-Charging-Vector", "icid-value=0")
    story = Story()
    for turn in range(1_000):
        leg = onward(vector, call_id=f"{turn}@x")
        caller = Endpoint(f"198.51.100.{turn % 250}", 5060 + turn)
        story.say(turn, caller, SBC, leg.request())
    story.steps()

    assert len(story.calls()) >= 1_000 // 32


def test_a_replay_in_a_loop_joins_each_turn_by_itself() -> None:
    """Both legs come again and again with the same Session-ID."""
    session = ("Session-ID", SESSION)
    story = Story()
    for turn in range(3):
        at_ms = turn * 5_000
        leg, further = replace(LEG, extra=(session,)), onward(session)
        story.ask(at_ms, leg).say(at_ms + 5, SBC, CARRIER, further.request())
        story.say(at_ms + 50, CARRIER, SBC, further.response(200)).answer(at_ms + 55, leg, 200)
        story.ask(at_ms + 900, replace(leg, to_tag="b", number=2, branch="x"), "BYE")
        story.say(
            *(at_ms + 905, SBC, CARRIER),
            replace(further, to_tag="b", number=2, branch="y").request("BYE"),
        )

    assert joined(story) == [("Session-ID",)] * 3


def body(origin: str) -> bytes:
    """Return SDP with an o= line."""
    lines = ("v=0", f"o={origin}", "s=-", "c=IN IP4 192.0.2.10", "t=0 0", "m=audio 4000 RTP/AVP 8")
    return "".join(f"{line}\r\n" for line in lines).encode()


ORIGIN = "alice 748190 748190 IN IP4 192.0.2.10"


def test_the_same_origin_joins_a_call_that_is_set_up() -> None:
    """The B2BUA passes the SDP on as it is, to elsewhere, before the call is answered."""
    story = Story().say(0, PHONE, SBC, LEG.request(body=body(ORIGIN)))
    story.say(5, SBC, CARRIER, onward().request(body=body(ORIGIN)))

    assert joined(story) == [("SDP origin",)]


@pytest.mark.parametrize(
    ("origin", "at_ms", "source", "to"),
    [
        ("alice 748190 748191 IN IP4 192.0.2.10", 5, SBC, CARRIER),
        ("alice 748190 748190 IN IP4 192.0.2.11", 5, SBC, CARRIER),
        (ORIGIN, 33_000, SBC, CARRIER),
        (ORIGIN, 5, PHONE, CARRIER),
        (ORIGIN, 5, FAR, SBC),
    ],
)
def test_an_origin_joins_only_where_all_of_it_fits(
    origin: str, at_ms: float, source: Endpoint, to: Endpoint
) -> None:
    """Another version or address, too late, from the same phone, to the same SBC."""
    story = Story().say(0, PHONE, SBC, LEG.request(body=body(ORIGIN)))
    story.say(at_ms, source, to, onward().request(body=body(origin)))

    assert joined(story) == [(), ()]


def test_an_origin_joins_nothing_to_a_call_that_was_answered() -> None:
    """What comes later is another call with the same SDP, as test tools make them."""
    story = Story().say(0, PHONE, SBC, LEG.request(body=body(ORIGIN))).answer(50, LEG, 200)
    story.say(60, SBC, CARRIER, onward().request(body=body(ORIGIN)))

    assert joined(story) == [(), ()]


@pytest.mark.parametrize(
    ("session", "sender", "legs"),
    [("0", SBC, [("SDP origin",)]), ("42", FAR, [(), ()]), ("421", FAR, [("SDP origin",)])],
)
def test_a_short_session_id_joins_only_what_the_call_had_reached(
    session: str, sender: Endpoint, legs: list[tuple[str, ...]]
) -> None:
    """Many devices write a constant there; a long one may leave by another address of the SBC."""
    origin = f"- {session} {session} IN IP4 127.0.0.1"
    story = Story().say(0, PHONE, SBC, LEG.request(body=body(origin)))
    story.say(5, sender, CARRIER, onward().request(body=body(origin)))

    assert joined(story) == legs


def test_an_origin_that_two_calls_have_joins_neither() -> None:
    """A test tool gives all its calls one origin: which of two was sent on cannot be told."""
    story = Story()
    for turn in range(2):
        leg = replace(LEG, call_id=f"{turn}@192.0.2.10")
        story.say(turn, PHONE, SBC, leg.request(body=body(ORIGIN)))
    story.say(5, SBC, CARRIER, onward().request(body=body(ORIGIN)))

    assert joined(story) == [(), (), ()]


def test_a_crowd_of_calls_with_one_origin_costs_little_and_joins_nothing() -> None:
    """A thousand calls at once with the same SDP."""
    story = Story()
    for turn in range(1_000):
        leg = replace(LEG, call_id=f"{turn}@192.0.2.10")
        story.say(turn, PHONE, SBC, leg.request(body=body(ORIGIN)))
    story.say(1_001, SBC, CARRIER, onward().request(body=body(ORIGIN)))

    assert len(story.calls()) == 1_001


def test_calls_from_and_to_the_same_numbers_at_once_are_two() -> None:
    """Number and time alone are no evidence."""
    story = Story().ask(0, LEG).say(1, SBC, CARRIER, onward().request())

    assert joined(story) == [(), ()]
    assert BOB in LEG.called
    assert CAROL not in LEG.called


def test_header_values_are_found_however_they_are_written() -> None:
    """Any case, spaces before the colon, folded, several; a longer name is another header."""
    head = b"INVITE x\r\nX-CID : 1\r\nx-cid:\r\n 2\r\n\t3\r\nX-CIDs: 4\r\n\r\nX-CID: 5"
    low = head.lower()

    assert list(header_values(head, low, low.find(b"\r\n\r\n"), b"x-cid")) == ["1", "2 3"]


@pytest.mark.parametrize(
    ("head", "count"), [(b"a\r\nVia: x\r\nv: y\r\nVIA : z\r\nv : w\r\nVersion: 1\r\n\r\nvia: q", 4)]
)
def test_vias_are_counted_in_all_their_forms(head: bytes, count: int) -> None:
    """Long and short, in the headers only."""
    assert via_count(head) == count


def legs_of(calls: Sequence[Call]) -> list[int]:
    """Return how many legs each call has."""
    return [1 + len(call.legs) for call in calls]


def test_both_calls_and_legs_can_be_counted() -> None:
    """One call, two legs, four places at which an INVITE was seen."""
    session = ("Session-ID", SESSION)
    leg, further = replace(LEG, extra=(session,)), onward(session)
    story = Story().ask(0, leg).say(1, SBC, FAR, replace(leg, branch="z9hG4bK-h").request())
    story.say(5, FAR, CARRIER, further.request())
    story.say(6, CARRIER, PHONE, replace(further, branch="z9hG4bK-i").request())
    tally, calls = story.tally()
    waterfall = tally.waterfall(4)

    assert legs_of(calls) == [2]
    assert (waterfall.calls, waterfall.onward_legs, waterfall.further_hops) == (1, 1, 2)
