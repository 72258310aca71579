"""What an attempt and a run amount to."""

import pytest

from fst.verdict import (
    EXIT_FAIL,
    EXIT_PASS,
    EXIT_UNDECIDED,
    NO_CHECK,
    Judged,
    Verdict,
    exit_code,
    limits,
    propose,
    ranges,
)
from harness.finding import Finding, Measurement, Outcome

PASSED = Finding("rotation.next-in-turn", Outcome.PASS, "enum2", "enum2", frames=(3, 4))
FAILED = Finding("availability.held", Outcome.FAIL, "0", "2", "queries", frames=(31, 32))
OPEN = Finding("recovery.taken-back", Outcome.OTHER, "3", "1", "queries", frames=(40,), needed=4)
QUICK = Measurement("answer_time", 41.5, "ms", high=500.0, frames=(4, 12))


def test_nothing_asserted_is_no_pass() -> None:
    """An attempt without a single check is OTHER, whatever else it recorded."""
    assert propose([], []) == (Outcome.OTHER, NO_CHECK)


def test_measurement_without_limits_asserts_nothing() -> None:
    """A number that no limit bounds cannot earn a PASS."""
    assert propose([], [Measurement("calls", 12.0, "calls", frames=(1,))]) == (
        Outcome.OTHER,
        NO_CHECK,
    )


def test_pass_says_what_was_counted() -> None:
    """The words of a PASS tell how many checks, rules, measurements and frames it rests on."""
    assert propose([PASSED, PASSED], [QUICK]) == (
        Outcome.PASS,
        "2 checks of 1 rule and 1 measurement within limits, shown by 3 frames",
    )


def test_fail_names_the_first_rule_broken() -> None:
    """The words of a FAIL give the first failing rule, both values, its frames, and the rest."""
    later = Finding("later.rule", Outcome.FAIL, "a", "b", frames=(50,))
    assert propose([PASSED, OPEN, FAILED, later], [QUICK]) == (
        Outcome.FAIL,
        (
            "availability.held: expected 0 queries, observed 2 queries (frames 31-32);"
            " and 1 more like it"
        ),
    )


def test_fail_of_a_measurement_gives_value_and_limit() -> None:
    """A measurement outside its limits is told with value, unit, limit and frame."""
    slow = Measurement("answer_time", 2400.0, "ms", high=2000.0, frames=(12,))
    assert propose([PASSED], [slow]) == (
        Outcome.FAIL,
        "answer_time is 2400 ms, the limit at most 2000 ms (frame 12)",
    )


def test_other_says_why_and_how_many_calls_are_needed() -> None:
    """The words of an OTHER give the reason and the number of calls that would decide it."""
    assert propose([PASSED, OPEN]) == (
        Outcome.OTHER,
        (
            "cannot be judged yet: recovery.taken-back: expected 3 queries, observed 1 queries"
            " (frame 40); 4 more calls needed"
        ),
    )


def test_measurement_that_was_not_taken_is_other() -> None:
    """A required number that is missing decides nothing."""
    untaken = Measurement("answer_time", None, "ms", high=500.0)
    assert propose([PASSED], [untaken]) == (
        Outcome.OTHER,
        "cannot be judged: answer_time was not measured",
    )


@pytest.mark.parametrize("finding", [PASSED, FAILED])
def test_lost_packets_decide_nothing(finding: Finding) -> None:
    """A capture that lost packets gives neither PASS nor FAIL."""
    outcome, words = propose([finding], dropped_packets=3)
    assert outcome is Outcome.OTHER
    assert words.startswith("the capture lost 3 packets")


def test_what_nothing_shows_is_no_pass() -> None:
    """Checks that point at no frame need an attachment that can show them."""
    bare = Finding("policies.left", Outcome.PASS, "0", "0", "policies")
    assert propose([bare], attachments=0)[0] is Outcome.OTHER
    assert propose([bare], attachments=1)[0] is Outcome.PASS
    assert propose([bare])[0] is Outcome.PASS


@pytest.mark.parametrize("first", Outcome)
@pytest.mark.parametrize("second", Outcome)
def test_verdict_only_gets_worse(first: Outcome, second: Outcome) -> None:
    """Joining verdicts never gives a better word than either had."""
    order = [Outcome.PASS, Outcome.OTHER, Outcome.FAIL]
    joined = Verdict(first, "first") | Verdict(second, "second")
    assert order.index(joined.outcome) == max(order.index(first), order.index(second))


P, F, O = (Judged(outcome) for outcome in (Outcome.PASS, Outcome.FAIL, Outcome.OTHER))  # noqa: E741 - as in the table below
EMPTY, WAITING = Judged(None), Judged(None, waits_for_person=True)


@pytest.mark.parametrize(
    ("boxes", "code", "complete"),
    [
        ([], EXIT_UNDECIDED, EXIT_UNDECIDED),
        ([P, P], EXIT_PASS, EXIT_PASS),
        ([P, F, O, EMPTY], EXIT_FAIL, EXIT_FAIL),
        ([P, O], EXIT_UNDECIDED, EXIT_UNDECIDED),
        ([P, EMPTY], EXIT_UNDECIDED, EXIT_UNDECIDED),
        ([P, WAITING], EXIT_PASS, EXIT_UNDECIDED),
        ([WAITING], EXIT_UNDECIDED, EXIT_UNDECIDED),
        ([Judged(Outcome.OTHER, waits_for_person=True), P], EXIT_UNDECIDED, EXIT_UNDECIDED),
    ],
)
def test_exit_code(boxes: list[Judged], code: int, complete: int) -> None:
    """0 needs every automatic box run and all that were run PASS; a FAIL is 1; the rest is 3."""
    assert (exit_code(boxes), exit_code(boxes, complete=True)) == (code, complete)


def test_ranges_are_short_but_count_what_they_leave_out() -> None:
    """Frames beyond the most that are shown are counted, not forgotten."""
    assert ranges([9, 1, 2, 3, 20, 21], most=2) == "1-3, 9 and 2 more"
    assert ranges([]) == ""


def test_limits_in_words() -> None:
    """A limit says on which side it bounds."""
    assert limits(Measurement("n", 1.0, "calls", low=1.0)) == "at least 1 calls"
    assert limits(Measurement("n", 1.0, "calls")) == ""
