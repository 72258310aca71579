"""Why a call was counted: its messages, its parties, its legs, its media."""

import io
import json
from collections.abc import Iterable

import pytest

from harness.dialplan import DialPlan
from harness.errors import InputError, WireError
from harness.packets.blocks import Block, read_blocks, whole
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from harness.premises import Premises
from probetest.dataset import read_tap
from probetest.explain import Explanation, explain
from probetest.explain_text import WIDTH, as_text, as_values
from tests.sip_wire import ALICE, BOB, CAROL, CARRIER, PHONE, SBC, Leg, Tape, dialog, rtp, sdp

PLAN = DialPlan("main", "1", ("011",), "1", area_code="650", emergency=("911",))
SITE = Premises(PLAN, numbers=("+1650555",))
SESSION = ("Session-ID", "0123456789abcdef0123456789abcdef;remote=" + "0" * 32)


class Memory(io.BytesIO):
    """Bytes as the source of a capture."""

    loss: WireError | None = None
    is_stopped = False

    @property
    def read_bytes(self) -> int:
        """Return how far it was read."""
        return self.tell()


def explained(
    tape: Tape, call_id: str, site: Premises = SITE, *, block_bytes: int = 0, shown: bool = False
) -> Explanation:
    """Return what a tape shows of a call."""

    def reading() -> Iterable[Block]:
        if not block_bytes:
            return (whole(parse(tape.data())),)
        return read_blocks(Memory(tape.data()), name="tape", block_bytes=block_bytes)

    return explain(reading, call_id, site, show_restricted=shown)


def counted(found: Explanation, call: int = 0) -> list[tuple[str, str]]:
    """Return the messages of a call, and what each was counted as."""
    return [(one.title, one.counted) for one in found.calls[call].messages]


def call_twice() -> Tape:
    """Return a call that was challenged, repeated, mirrored and changed by a re-INVITE."""
    tape = Tape()
    first, again = Leg(), Leg(branch="z9hG4bK-2", number=2)
    tape.udp(0, PHONE, SBC, first.request(), ip_id=500)
    tape.udp(1, PHONE, SBC, first.request(), ip_id=500)
    tape.udp(500, PHONE, SBC, first.request())
    tape.udp(600, SBC, PHONE, first.response(401))
    tape.udp(610, PHONE, SBC, first.request("ACK"))
    tape.udp(700, PHONE, SBC, again.request())
    tape.udp(800, SBC, PHONE, again.response(180))
    tape.udp(900, SBC, PHONE, again.response(200))
    inside = Leg(branch="z9hG4bK-3", number=3, to_tag="b")
    tape.udp(2000, PHONE, SBC, inside.request())
    tape.udp(2010, SBC, PHONE, inside.response(200))
    tape.udp(5000, SBC, PHONE, Leg(from_tag="b", to_tag="a", branch="z9hG4bK-9").request("BYE"))
    return tape


def test_each_message_says_what_it_was_counted_as() -> None:
    """The steps of the waterfall, message by message."""
    assert counted(explained(call_twice(), "1@192.0.2.10")) == [
        ("INVITE 1", "THE CALL"),
        ("INVITE 1", "the tap's copy"),
        ("INVITE 1", "retransmission"),
        ("401 INVITE 1", ""),
        ("ACK 1", ""),
        ("INVITE 2", "the call again, after 401 or 407"),
        ("180 INVITE 2", "it rings"),
        ("200 INVITE 2", "the answer"),
        ("INVITE 3", "inside the dialog: re-INVITE"),
        ("200 INVITE 3", ""),
        ("BYE 1", "the end: callee hangs up"),
    ]


def test_the_requests_sum_up_to_the_call() -> None:
    """As the waterfall of `analyse` does."""
    text = " ".join(as_text(explained(call_twice(), "1@192.0.2.10"), "UTC").split())

    assert (
        "Counted 5 INVITE requests, 1 call; the others: the tap's copy; retransmission; the call "
        "again, after 401 or 407; inside the dialog: re-INVITE Messages"
    ) in text


def test_the_explained_call_is_the_one_that_was_counted() -> None:
    """The row is that of `analyse`."""
    tape = call_twice()
    (call,) = explained(tape, "1@192.0.2.10").calls

    assert (call.record,) == read_tap(tape.capture(), SITE).calls


def test_blocks_change_nothing() -> None:
    """A capture read in small blocks explains the same."""
    tape = call_twice()
    for number in range(20):
        dialog(tape, 6000 + 2000 * number, Leg(f"other-{number}"))

    assert explained(tape, "1@192", block_bytes=4000) == explained(tape, "1@192")


def test_onward_legs_say_how_they_were_joined() -> None:
    """A B2BUA's leg has a Call-ID of its own, and is reached from either."""
    tape = Tape()
    onward = Leg("2@192.0.2.20", called=f"sip:{CAROL}@192.0.2.30", branch="z9", extra=(SESSION,))
    tape.udp(0, PHONE, SBC, Leg(extra=(SESSION,)).request())
    tape.udp(20, SBC, CARRIER, onward.request())
    tape.udp(60, CARRIER, SBC, onward.response(200))
    tape.udp(80, SBC, PHONE, Leg().response(200))
    found = explained(tape, "1@192.0.2.10")

    (leg,) = found.calls[0].legs
    assert (leg.call_id, leg.joined_by, leg.destination) == ("2@192.0.2.20", "Session-ID", CAROL)
    assert ("INVITE 1", "the call's onward leg") in counted(found)
    assert len(found.calls[0].messages) == 4
    text = as_text(found, "UTC")
    assert "joined by Session-ID; Call-ID 2@192.0.2.20" in text
    assert explained(tape, "2@192.0.2.20").calls == found.calls


def test_a_call_id_used_again_is_two_calls() -> None:
    """A capture that was replayed in a loop: both are shown, each with its own messages."""
    tape = Tape()
    dialog(tape, 0)
    dialog(tape, 5000)
    found = explained(tape, "1@192.0.2.10")

    assert [len(call.messages) for call in found.calls] == [7, 7]
    assert "Call 2 of 2: 1@192.0.2.10" in as_text(found, "UTC")
    assert "2 calls with this Call-ID." in as_text(found, "UTC")


def test_media_that_the_call_announced_is_shown() -> None:
    """Streams of other calls are not."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg().request(body=sdp(Endpoint("192.0.2.10", 40_000))))
    tape.udp(50, SBC, PHONE, Leg().response(200, body=sdp(Endpoint("192.0.2.20", 50_000))))
    for number in range(20):
        ends = (Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000))
        tape.udp(100 + 20 * number, *ends, rtp(number, 160 * number))
    (stream,) = explained(tape, "1@").calls[0].streams

    assert (stream.packets, stream.lost) == (20, 0)
    assert "20 packets, 0 lost" in as_text(explained(tape, "1@"), "UTC")


def test_a_call_that_began_before_the_capture_is_no_call() -> None:
    """Its messages are shown all the same."""
    tape = Tape()
    tape.udp(0, PHONE, SBC, Leg(to_tag="b", number=2).request("BYE"))
    found = explained(tape, "1@192.0.2.10")

    assert "no call" in as_text(found, "UTC").lower()
    assert "BYE 2" in as_text(found, "UTC")
    assert "0 calls with this Call-ID." in as_text(found, "UTC")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("call-", "2 Call-IDs begin so; give more of it: call-a, call-b"),
        ("all-b", "not in this capture; did you mean call-b"),
        ("coll-a", "not in this capture; did you mean call-a, call-b"),
        ("\x00", "not in this capture; see --view calls of analyse"),
    ],
)
def test_a_call_id_that_is_none_is_refused(asked: str, why: str) -> None:
    """What looks like it is named."""
    tape = Tape()
    for name in ("call-a", "call-b"):
        dialog(tape, 0, Leg(name, branch=f"z9hG4bK{name}"))

    with pytest.raises(InputError, match=why):
        explained(tape, asked)


def test_a_call_id_that_another_begins_with_can_be_asked_for() -> None:
    """An exact match is not one of several beginnings."""
    tape = Tape()
    for name in ("a", "ab"):
        dialog(tape, 0, Leg(name, branch=f"z9hG4bK{name}"))

    assert explained(tape, "a").call_id == "a"


def test_nothing_of_a_restricted_caller_is_written() -> None:
    """No header's own words, neither in text nor in JSON, until it is asked for."""
    headers = (
        ("P-Asserted-Identity", f'"Carol" <sip:{CAROL}@192.0.2.1>'),
        ("Privacy", "id;history"),
        ("Contact", f"<sip:{ALICE}@192.0.2.10>"),
        ("Diversion", f"<tel:{CAROL}>;privacy=full"),
        ("History-Info", f"<tel:{CAROL}>;index=1, <tel:{BOB}>;index=1.1"),
    )
    tape = Tape()
    dialog(tape, 0, Leg(extra=headers))
    hidden, shown = explained(tape, "1@"), explained(tape, "1@", shown=True)

    for text in (as_text(hidden, "UTC"), json.dumps(as_values(hidden, "UTC"))):
        assert "restricted" in text
        assert not any(secret in text for secret in (ALICE, CAROL, "Carol"))
    for text in (
        as_text(shown, "UTC", show_restricted=True),
        json.dumps(as_values(shown, "UTC", show_restricted=True)),
    ):
        assert all(secret in text for secret in (ALICE, CAROL, "Carol"))


def test_rejected_candidates_stand_beside_the_decision() -> None:
    """Header, rule, dial plan and library; and what did not decide, with the reason."""
    headers = (
        ("P-Asserted-Identity", f"<sip:{CAROL}@192.0.2.1>"),
        ("Diversion", f"<tel:{ALICE}>;reason=user-busy"),
    )
    tape = Tape()
    dialog(tape, 0, Leg(called="sip:*6712125550142;npdi;rn=+12125550100@192.0.2.20", extra=headers))
    text = as_text(explained(tape, "1@"), "UTC")

    for line in (
        f"Source: {CAROL} (e164)",
        "  header        P-Asserted-Identity (no trust list)",
        "  not taken     From: P-Asserted-Identity comes first",
        "  rule          service code *67, national",
        "  dial plan     main",
        "  routing       +12125550100 (rn: it was not dialled)",
        "  service code  *67",
        f"First dialled: {ALICE} (e164)",
        "  numbers by    phonenumbers ",
    ):
        assert line in text


def test_hostile_text_fits_the_terminal() -> None:
    """No line is wider than 100 columns, and none moves the cursor."""
    long = "x" * 300
    headers = (
        ("P-Asserted-Identity", f'"{long}\x1b[2J" <sip:{BOB}@192.0.2.1>'),
        ("Diversion", f"<sip:{long}@192.0.2.1>"),
        ("Contact", "<sip:\u202e@192.0.2.1>"),
    )
    tape = Tape()
    dialog(tape, 0, Leg(f"1-{long}", called=f"sip:{BOB};tgrp={long}@192.0.2.20", extra=headers))
    text = as_text(explained(tape, "1-"), "UTC")

    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(line.isprintable() for line in text.split("\n"))


def test_values_are_those_of_the_text() -> None:
    """JSON has the same decisions, and a version of its keys."""
    found = explained(call_twice(), "1@")
    values = json.loads(json.dumps(as_values(found, "Europe/London")))

    (call,) = values["calls"]
    assert values["schema"] == 1
    assert call["source"]["party"] == ALICE
    assert call["destination"] == {
        "party": BOB,
        "kind": "e164",
        "header": "Request-URI",
        "value": f"sip:{BOB}@192.0.2.20",
        "rule": "e164 plus",
        "dial_plan": "main",
    }
    assert [one["counted_as"] for one in call["messages"]] == [two for _, two in counted(found)]
    assert call["library"].startswith("phonenumbers ")
