"""How long an SBC left a server alone, told from its lookups."""

from collections.abc import Sequence

import pytest

from enumtest.checks.hold_down import (
    MAX_CITED,
    Group,
    cited,
    early_returns,
    episodes,
    given_up,
    readmission,
)
from enumtest.traffic.lookups import Lookup
from harness.finding import Finding, Outcome
from tests.enum_wire import NAMES, SECOND, good, lookup

GROUP = Group(NAMES[:3], 2 * SECOND, 30 * SECOND, 2 * SECOND)

OUT = lookup((0, "enum1", None), (2, "enum2", 2.01))  # enum1 is given up at 2 s


def returns(*later: Lookup, first: Lookup = OUT) -> Sequence[Finding]:
    """Return what is found about enum1 after its failure, in order of rules."""
    return readmission((first, *later), GROUP, frozenset({"enum1"}))[0]


def outcomes(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.rule.removeprefix("readmission."), one.outcome.value) for one in found]


def test_server_is_given_up_when_the_next_is_asked() -> None:
    """The moment of the failover, with the frames that show it."""
    (failure,) = given_up([OUT], GROUP)

    assert (failure.server, failure.at_ns, failure.frames) == ("enum1", 2 * SECOND, (0,))


def test_last_server_is_given_up_when_its_time_is_over() -> None:
    """Nobody is asked after it."""
    (failure,) = given_up([lookup((5, "enum3", None))], GROUP)

    assert failure.at_ns == 7 * SECOND


def test_server_is_given_up_when_its_error_comes() -> None:
    """SERVFAIL with nobody left to ask."""
    (failure,) = given_up([lookup((5, "enum3", 5.2, "SERVFAIL"))], GROUP)

    assert failure.at_ns == 5_200_000_000


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_answer_is_no_failure(rcode: str) -> None:
    """An unknown number is an answer like any other."""
    assert given_up([lookup((0, "enum1", 0.1, rcode))], GROUP) == ()


def test_failures_are_in_order_of_time() -> None:
    """Whatever the order of the lookups."""
    second, first = lookup((9, "enum1", None)), lookup((1, "enum2", None))

    assert [one.server for one in given_up([second, first], GROUP)] == ["enum2", "enum1"]


def test_questions_open_together_are_one_episode() -> None:
    """Both were asked before the first was given up; the length is told from both."""
    late = lookup((1.5, "enum1", None), (3.5, "enum2", 3.51))
    (one,) = episodes("enum1", [OUT, late, good(33.5, "enum1")], GROUP)

    assert (one.first.at_ns, one.last.at_ns) == (2 * SECOND, 3_500_000_000)
    assert (one.longest_ns, one.shortest_ns) == (31_500_000_000, 30 * SECOND)


def test_episode_that_lasts_has_no_length() -> None:
    """The server was not asked again while watched."""
    (one,) = episodes("enum1", [OUT, good(20, "enum2")], GROUP)

    assert (one.back, one.longest_ns, one.shortest_ns) == (None, None, None)


def test_each_failure_after_a_return_is_its_own_episode() -> None:
    """Given up, asked again after the hold-down, given up again."""
    again = lookup((32, "enum1", None), (34, "enum2", 34.01))
    found = episodes("enum1", [OUT, again, good(64, "enum1")], GROUP)

    assert [one.longest_ns for one in found] == [30 * SECOND, 30 * SECOND]


def test_other_servers_have_no_episode() -> None:
    """Only the one that failed."""
    assert episodes("enum2", [OUT, good(5, "enum2")], GROUP) == ()


@pytest.mark.parametrize("at_s", [30.0, 30.1, 32, 34])
def test_return_within_the_tolerance_passes(at_s: float) -> None:
    """30 s after 2 s, two seconds of tolerance both ways."""
    assert outcomes(returns(good(at_s, "enum1"))) == [("not-before", "PASS"), ("after", "PASS")]


@pytest.mark.parametrize("at_s", [2.1, 10, 26, 29.9])
def test_return_before_the_tolerance_fails(at_s: float) -> None:
    """80 % of the hold-down is not the hold-down; the question that broke it is cited."""
    early, _ = returns(good(at_s, "enum1"))

    assert early.outcome is Outcome.FAIL
    assert early.frames == (0, round(at_s * 10))


def test_early_return_fails_also_when_a_later_one_kept_the_time() -> None:
    """The shortest time counts, not the last."""
    again = lookup((10, "enum1", None), (12, "enum2", 12.01))

    assert outcomes(returns(again, good(42, "enum1")))[0] == ("not-before", "FAIL")


def test_return_that_is_early_by_one_count_only_is_open() -> None:
    """29 s after the last failure of two that overlapped, 31 s after the first: SBCs differ."""
    first = lookup((0, "enum1", None), (2, "enum2", 2.01))
    second = lookup((1.9, "enum1", None), (5, "enum2", 5.01))
    early, _ = returns(second, good(32.5, "enum1"), first=first)

    assert early.outcome is Outcome.OTHER
    assert "overlapped" in early.observed


def test_return_after_a_good_answer_to_a_question_still_open_is_open() -> None:
    """The server proved to live after it was given up; some SBCs then ask it at once."""
    slow = lookup((1.9, "enum1", 3.5))
    sure, maybe = early_returns("enum1", [OUT, slow, good(5, "enum1")], GROUP)

    assert (sure, len(maybe)) == ([], 1)
    assert outcomes(returns(slow, good(5, "enum1")))[0] == ("not-before", "OTHER")


def test_return_before_that_answer_came_is_early() -> None:
    """What was not known yet is no reason."""
    slow = lookup((1.9, "enum1", 3.5))

    assert outcomes(returns(slow, good(3, "enum1")))[0] == ("not-before", "FAIL")


def test_server_that_is_never_asked_again_fails_once_it_was_passed_over() -> None:
    """Four lookups of a group of three went elsewhere after its time."""
    later = [good(35 + at, "enum2") for at in range(4)]

    assert outcomes(returns(*later)) == [("not-before", "OTHER"), ("after", "FAIL")]


def test_too_few_lookups_after_the_hold_down_leave_it_open() -> None:
    """Two after the time: two more would show it."""
    early, after = returns(good(20, "enum2"), good(35, "enum2"), good(36, "enum3"))

    assert (early.outcome, early.needed) == (Outcome.OTHER, 4)
    assert (after.outcome, after.needed) == (Outcome.OTHER, 2)


def test_lookups_in_the_tolerance_do_not_count_as_passed_over() -> None:
    """Until 34 s the SBC has no duty yet."""
    later = [good(33 + at / 10, "enum2") for at in range(9)]

    assert outcomes(returns(*later, good(34.1, "enum1"))) == [
        ("not-before", "PASS"),
        ("after", "PASS"),
    ]


def test_late_return_fails_when_others_were_asked_meanwhile() -> None:
    """It came back, but four lookups went by."""
    later = [good(35 + at, "enum2") for at in range(4)]

    assert outcomes(returns(*later, good(40, "enum1")))[1] == ("after", "FAIL")


def test_return_without_an_answer_is_open() -> None:
    """Asked after its time, and silent still: the SBC did its part, a new hold-down runs."""
    asked = lookup((33, "enum1", None), (35, "enum2", 35.01))

    assert outcomes(returns(asked)) == [("not-before", "PASS"), ("after", "OTHER")]


def test_server_that_no_lookup_met_is_open() -> None:
    """Without a failure there is no hold-down to judge, and no measurement."""
    findings, measured = readmission([good(0, "enum2")], GROUP, frozenset({"enum1"}))

    assert [(one.rule, one.outcome) for one in findings] == [("outage.detected", Outcome.OTHER)]
    assert measured == ()


def test_no_lookup_at_all_is_open() -> None:
    """An empty capture proves nothing."""
    findings, _ = readmission([], GROUP, frozenset(GROUP.servers))

    assert [one.outcome for one in findings] == [Outcome.OTHER] * 3


def test_servers_that_were_not_down_are_not_judged() -> None:
    """One finding a rule and server that was."""
    assert readmission([OUT], GROUP, frozenset())[0] == ()


def test_length_is_measured_in_seconds_with_its_limit() -> None:
    """The shortest one, and none while it lasts."""
    _, (measured,) = readmission([OUT, good(32.5, "enum1")], GROUP, frozenset({"enum1"}))
    _, (lasting,) = readmission([OUT], GROUP, frozenset({"enum1"}))

    assert (measured.value, measured.unit, measured.low) == (30.5, "s", 28.0)
    assert measured.outcome is Outcome.PASS
    assert (lasting.value, lasting.outcome) == (None, Outcome.OTHER)


def test_many_frames_are_cited_as_the_first_ones_and_the_last() -> None:
    """The count is always given in words."""
    frames = cited([good(at, "enum1") for at in range(40)])

    assert (len(frames), frames[0], frames[-1]) == (MAX_CITED, 0, 390)
