"""The routing rules, on lookups written down by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from enumtest.checks.hold_down import Group
from enumtest.checks.routing import all_down, outage, rotation, shares, timeouts
from enumtest.traffic.lookups import Lookup
from harness.finding import Finding, Outcome
from tests.enum_wire import NAMES, SECOND, good, lookup

GROUP = Group(NAMES[:3], 2 * SECOND, 30 * SECOND, 2 * SECOND)
FIRST = frozenset({"enum1"})
MINIMUM = 6


def in_turn(*servers: str, from_s: float = 0) -> list[Lookup]:
    """Return answered lookups, one a second."""
    return [good(from_s + at, server) for at, server in enumerate(servers)]


def judged(lookups: list[Lookup], minimum: int = MINIMUM, others: Sequence[Lookup] = ()) -> Finding:
    (found,) = rotation(lookups, GROUP, minimum=minimum, others=others)
    return found


@pytest.mark.parametrize("start", [0, 1, 2])
def test_strict_turns_pass_wherever_they_begin(start: int) -> None:
    """The first lookup of a window may go to any server."""
    servers = [NAMES[(start + at) % 3] for at in range(9)]
    found = judged(in_turn(*servers))

    assert (found.outcome, found.rule) == (Outcome.PASS, "rotation.next-in-turn")
    assert found.observed == "9 lookups in strict turn"
    assert found.frames == tuple(range(0, 90, 10))


@pytest.mark.parametrize(
    "order",
    ["111111", "121212", "123132", "112233", "132132", "122331", "123321"],
)
def test_any_other_order_fails(order: str) -> None:
    """One turn out of place is enough; the other way round is another order."""
    assert judged(in_turn(*(f"enum{digit}" for digit in order))).outcome is Outcome.FAIL


def test_wrong_turn_is_named() -> None:
    """Both frames of the pair, and the server whose turn it was."""
    found = judged(in_turn("enum1", "enum2", "enum3", "enum1", "enum3", "enum1"))

    assert found.frames == (30, 40)
    assert found.observed.startswith("1 of 5 turns wrong; first: frame 40 went to enum3 where")
    assert found.observed.endswith("it was the turn of enum2")


def test_even_shares_are_not_turns() -> None:
    """Blocks of two give every server a third of the lookups, and fail all the same."""
    lookups = in_turn("enum1", "enum1", "enum2", "enum2", "enum3", "enum3")

    assert [share.value for share in shares(lookups, GROUP)] == [33.3, 33.3, 33.3]
    assert judged(lookups).outcome is Outcome.FAIL


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_lookups_are_not_judged(count: int) -> None:
    """Not even when they are in turn: how many more are needed is told."""
    found = judged(in_turn(*NAMES[:3], *NAMES[:3])[:count])

    assert (found.outcome, found.needed) == (Outcome.OTHER, MINIMUM - count)


def test_lookups_that_met_trouble_are_not_judged() -> None:
    """A silent server, or SERVFAIL, moves the turns; the frames are shown."""
    lookups = in_turn("enum1", "enum2", "enum3", "enum1", "enum2")
    lookups.append(lookup((5, "enum3", None), (7, "enum1", 7.01)))
    found = judged(lookups)

    assert (found.outcome, found.frames) == (Outcome.OTHER, (50,))


def test_wrong_turns_with_other_calls_between_are_open() -> None:
    """Production calls take turns too: the test calls alone can't be in order."""
    others = [good(at + 0.5, "enum2") for at in range(6)]
    found = judged(in_turn(*["enum1"] * 6), others=others)

    assert found.outcome is Outcome.OTHER
    assert found.observed.startswith("6 lookups for other calls took turns too; 5 of 5 turns wrong")


def test_wrong_turn_with_no_other_call_between_fails_all_the_same() -> None:
    """A health check now and then does not hide an SBC that is stuck."""
    found = judged(in_turn(*["enum1"] * 6), others=[good(2.5, "enum2")])

    assert found.outcome is Outcome.FAIL
    assert found.observed.startswith("4 of 5 turns wrong; first: frame 10 ")


def test_group_of_one_server_is_always_in_turn() -> None:
    """There is no other."""
    group = Group(("enum1",), 2 * SECOND, 30 * SECOND, 0)
    (found,) = rotation(in_turn(*["enum1"] * 6), group, minimum=6)

    assert found.outcome is Outcome.PASS


def test_shares_without_lookups_are_not_taken() -> None:
    """No division by nothing, no 0 %."""
    assert [share.value for share in shares([], GROUP)] == [None] * 3


OUT = lookup((0, "enum1", None), (2, "enum2", 2.01))


def rules(found: tuple[Finding, ...]) -> dict[str, str]:
    return {one.rule.removeprefix("outage."): one.outcome.value for one in found}


def test_outage_that_is_noticed_avoided_and_served_passes() -> None:
    """One failure, then six lookups to the others."""
    found = outage([OUT, *in_turn(*["enum2", "enum3"] * 3, from_s=3)], GROUP, FIRST, minimum=6)

    assert rules(found) == {"detected": "PASS", "avoided": "PASS", "served": "PASS"}
    assert found[0].observed == "given up after 2.000 s"


def test_outage_that_no_lookup_met_is_open() -> None:
    """Nobody asked the dead server: nothing is shown by that."""
    found = outage(in_turn(*["enum2", "enum3"] * 6), GROUP, FIRST, minimum=6)

    assert rules(found) == {"detected": "OTHER", "avoided": "OTHER", "served": "OTHER"}


def test_outage_without_lookups_is_open() -> None:
    """An empty capture proves nothing."""
    assert set(rules(outage([], GROUP, FIRST, minimum=6)).values()) == {"OTHER"}


def test_outage_in_which_nothing_was_taken_down_is_open() -> None:
    """The marks name no server: there is nothing to be avoided."""
    found = outage(in_turn(*["enum2"] * 9), GROUP, frozenset(), minimum=6)

    assert rules(found) == {"avoided": "OTHER", "served": "OTHER"}


def test_second_question_to_a_held_server_fails() -> None:
    """8 s after it was given up; the question is cited."""
    again = lookup((10, "enum1", None), (12, "enum2", 12.01))
    found = outage([OUT, *in_turn(*["enum2"] * 6, from_s=3), again], GROUP, FIRST, minimum=6)

    assert rules(found)["avoided"] == "FAIL"
    assert found[1].frames == (100,)


def test_question_already_on_its_way_is_no_fault() -> None:
    """Asked before the first failure was known: calls overlap."""
    late = lookup((1.9, "enum1", None), (3.9, "enum3", 3.91))
    found = outage([OUT, late, *in_turn(*["enum2"] * 6, from_s=4)], GROUP, FIRST, minimum=6)

    assert rules(found) == {"detected": "PASS", "avoided": "PASS", "served": "PASS"}


def test_lookup_that_nobody_answers_fails() -> None:
    """No failover: the call was lost to ENUM while two servers lived."""
    lost = lookup((0, "enum1", None))
    found = outage([lost, *in_turn(*["enum2"] * 6, from_s=3)], GROUP, FIRST, minimum=6)

    assert rules(found)["served"] == "FAIL"


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_lookup_that_ends_in_an_error_names_the_sick_server(rcode: str) -> None:
    """An error of a live server is no good answer, and no fault of the SBC."""
    failed = lookup((3, "enum2", 3.1, rcode))
    found = outage([OUT, failed, *in_turn(*["enum3"] * 6, from_s=4)], GROUP, FIRST, minimum=6)

    assert rules(found)["served"] == "OTHER"
    assert f"enum2 answers {rcode}" in found[-1].observed


@pytest.mark.parametrize(
    ("waited_s", "sends", "outcome"),
    [
        (2.0, 2, Outcome.PASS),
        (2.39, 2, Outcome.PASS),
        (1.61, 2, Outcome.PASS),
        (2.41, 2, Outcome.OTHER),
        (6.0, 2, Outcome.OTHER),
        (0.01, 2, Outcome.OTHER),
        (2.0, 1, Outcome.OTHER),
        (2.0, 7, Outcome.OTHER),
    ],
)
def test_time_out_is_compared_with_the_site_file(
    waited_s: float, sends: int, outcome: Outcome
) -> None:
    """Declared: 2 s and one retransmission; the plan sets neither, so nothing fails."""
    asked = lookup((0, "enum1", None), (waited_s, "enum2", waited_s + 0.01))
    again = replace(asked.first, sends=asked.first.sends * sends)
    (found,) = timeouts([Lookup((again, asked.last))], replace(GROUP, retransmissions=1), FIRST)

    assert (found.rule, found.outcome) == ("outage.timeout", outcome)
    assert "2 s and 1 retransmissions" in found.expected
    assert f"{waited_s:.3f} s and {sends - 1} retransmissions" in found.observed


def test_time_out_of_a_server_that_answered_is_not_judged() -> None:
    """Nor of one that nobody was asked after."""
    assert timeouts([good(0, "enum1"), lookup((2, "enum1", None))], GROUP, FIRST) == ()


def test_rotation_over_a_sick_server_is_open_and_names_it() -> None:
    """SERVFAIL that the SBC takes for an answer: its turns may be right, the server is not."""
    found = judged([*in_turn(*NAMES[:3], "enum1", "enum2"), lookup((5, "enum3", 5.1, "SERVFAIL"))])

    assert (found.outcome, found.needed) == (Outcome.OTHER, 0)
    assert "enum3 answers SERVFAIL" in found.observed


def test_too_few_lookups_after_the_failure_was_noticed_are_open() -> None:
    """Those before it prove nothing about what the SBC does when it knows."""
    before = in_turn(*["enum2", "enum3"] * 3, from_s=0.1)
    found = outage([*before, OUT, *in_turn("enum2", from_s=9)], GROUP, FIRST, minimum=6)

    assert rules(found)["served"] == "OTHER"
    assert found[2].needed == 1


def test_each_server_that_is_down_must_be_met() -> None:
    """One of two was never asked: one finding says so."""
    down = frozenset({"enum1", "enum3"})
    found = outage([OUT, *in_turn(*["enum2"] * 8, from_s=3)], GROUP, down, minimum=6)

    assert [one.outcome.value for one in found] == ["PASS", "OTHER", "PASS", "OTHER"]
    assert found[1].expected.startswith("enum3")


ALL_OUT = lookup((0, "enum1", None), (2, "enum2", None), (4, "enum3", None))


def test_all_down_passes_when_each_is_noticed_then_left_alone() -> None:
    """One lookup that met all three, and none after it."""
    assert {one.outcome for one in all_down([ALL_OUT], GROUP)} == {Outcome.PASS}


def test_all_down_fails_when_one_is_asked_again() -> None:
    """With nobody left the call must go on without ENUM, not wait for a dead server."""
    found = all_down([ALL_OUT, lookup((9, "enum2", None))], GROUP)

    assert rules(found)["avoided"] == "FAIL"


def test_all_down_without_lookups_is_open() -> None:
    """Nothing was asked: perhaps the SBC has no ENUM at all."""
    assert {one.outcome for one in all_down([], GROUP)} == {Outcome.OTHER}


def test_server_that_answers_while_down_is_not_given_up() -> None:
    """The outage did not take place: the finding is open, not a PASS."""
    found = all_down(in_turn("enum1", "enum2", "enum3"), GROUP)

    assert {one.outcome for one in found} == {Outcome.OTHER}
