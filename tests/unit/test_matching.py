"""Which call made which lookup, and what is left over."""

from dataclasses import replace

from enumtest.traffic.lookups import Lookup
from enumtest.traffic.matching import match, rejoin
from harness.records import CallOutcome, CallRecord, Direction
from tests.enum_wire import NUMBERS, SECOND, good, lookup

APEX = "e164.arpa"
DIALLED = str(NUMBERS[0])  # what every lookup of these tests asks for
TIMEOUT_NS = 2 * SECOND


def call(
    at_s: float, *, to: str = DIALLED, source: str = "", ends_s: float | None = None
) -> CallRecord:
    """Return a call that ended half a second later, or at *ends_s*."""
    return CallRecord(
        at_ns=round(at_s * SECOND),
        frame=1,
        call_id=f"c{at_s}",
        source=source,
        source_rule="",
        destination=to,
        destination_rule="",
        direction=Direction.UNKNOWN,
        direction_rule="",
        outcome=CallOutcome.ALLOWED,
        target=to,
        status=200,
        frames=(1,),
        final_ns=round((at_s + 0.5 if ends_s is None else ends_s) * SECOND),
    )


def asking(one: Lookup, source: str) -> Lookup:
    """Return *one* with a calling number in its question."""
    return Lookup((replace(one.first, source=source), *one.hops[1:]))


def test_each_call_has_the_lookup_that_began_with_it() -> None:
    """By number and time; nothing is left."""
    calls, lookups = [call(1), call(5)], [good(5.1, "enum2"), good(1.1, "enum1")]
    found = match(calls, lookups, APEX)

    assert found.pairs == ((calls[0], lookups[1]), (calls[1], lookups[0]))
    assert (found.unasked, found.spare) == ((), ())


def test_call_is_not_given_the_lookup_of_a_later_call() -> None:
    """It was over by then: a call without a lookup stays without."""
    calls = [call(1), call(5)]
    found = match(calls, [good(5.1, "enum1")], APEX)

    assert (found.unasked, found.spare) == ((calls[0],), ())


def test_lookup_for_a_number_that_nobody_dialled_is_left_over() -> None:
    """And so is the call."""
    other = call(1, to="+12125550199")
    found = match([other], [good(1.1, "enum1")], APEX)

    assert (found.pairs, found.unasked, len(found.spare)) == ((), (other,), 1)


def test_second_lookup_of_one_call_is_left_over() -> None:
    """One call, one lookup."""
    assert len(match([call(1)], [good(1.1, "enum1"), good(1.2, "enum2")], APEX).spare) == 1


def test_calling_number_tells_two_calls_of_one_moment_apart() -> None:
    """Nearest in time comes after the same caller."""
    one, two = call(1, source="a", ends_s=9), call(1.2, source="b", ends_s=9)
    lookups = [asking(good(1.21, "enum1"), "a"), asking(good(1.3, "enum2"), "b")]
    found = match([one, two], lookups, APEX)

    assert {(pair[0].source, pair[1].first.source) for pair in found.pairs} == {
        ("a", "a"),
        ("b", "b"),
    }


def test_wrong_calling_number_does_not_part_a_lookup_from_its_call() -> None:
    """The number dialled joins them; the caller is another rule's business."""
    found = match([call(1, source="a")], [asking(good(1.1, "enum1"), "x")], APEX)

    assert len(found.pairs) == 1
    assert found.claimed(SECOND) == frozenset()


def test_failover_that_comes_late_is_joined_when_no_call_explains_it() -> None:
    """The site file says 2 s, the SBC waits 9 s."""
    first, second = lookup((0, "enum1", None)), good(9, "enum2")
    (joined,) = rejoin([first, second], frozenset({0}), TIMEOUT_NS)

    assert [hop.server for hop in joined.hops] == ["enum1", "enum2"]


def test_lookup_of_the_next_call_is_not_joined() -> None:
    """A call began with it: the first was given up without a failover."""
    first, second = lookup((0, "enum1", None)), good(9, "enum2")

    assert len(rejoin([first, second], frozenset({0, 90}), TIMEOUT_NS)) == 2


def test_late_repetition_is_folded_into_its_question() -> None:
    """The same id and port at the same server: no new turn."""
    (joined,) = rejoin(
        [lookup((0, "enum1", None)), lookup((5, "enum1", None))], frozenset({0}), TIMEOUT_NS
    )

    assert [len(hop.sends) for hop in joined.hops] == [2]


def test_nothing_is_joined_without_calls_or_after_an_answer_or_too_late() -> None:
    """Ten time-outs are the most."""
    silent = lookup((0, "enum1", None))

    assert len(rejoin([silent, good(9, "enum2")], frozenset(), TIMEOUT_NS)) == 2
    assert len(rejoin([good(0, "enum1"), good(9, "enum2")], frozenset({0}), TIMEOUT_NS)) == 2
    assert len(rejoin([silent, good(21, "enum2")], frozenset({0}), TIMEOUT_NS)) == 2
