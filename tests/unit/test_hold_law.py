"""How long a server is to be left alone after so many failures, as each profile has it."""

from collections.abc import Sequence

import pytest

from enumtest.checks.hold_down import Group, all_held, episodes, readmission
from enumtest.checks.hold_law import FailureCount, Term
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import MAX_NS
from enumtest.traffic.lookups import Lookup
from harness.finding import Finding
from tests.enum_wire import NAMES, SECOND, good, lookup, transaction

ORACLE, RIBBON = shipped_profile("oracle-round-robin"), shipped_profile("ribbon")
NAMES3 = NAMES[:3]
TERM_30, TERM_600 = Term(30 * SECOND, 30 * SECOND), Term(600 * SECOND, 600 * SECOND)


def oracle() -> Group:
    """Return a group that is asked by an Oracle SBC."""
    return Group(NAMES3, 11 * SECOND, 30 * SECOND, 2 * SECOND, profile=ORACLE)


def ribbon(*probes_s: tuple[float, float | None]) -> Group:
    """Return a group asked by Ribbon's SBC, with probes to enum1: sent and answered at s."""
    probes = tuple(transaction(sent_s, "enum1", answered_s) for sent_s, answered_s in probes_s)
    return Group(NAMES3, 2 * SECOND, 0, 0, profile=RIBBON, probes=probes)


def out(at_s: float, *, timeout_s: float = 2) -> Lookup:
    """Return a lookup that gives enum1 up, and finds enum2 well."""
    return lookup((at_s, "enum1", None), (at_s + timeout_s, "enum2", at_s + timeout_s + 0.01))


def rules(lookups: Sequence[Lookup], group: Group) -> list[tuple[str, str]]:
    """Return what is found about enum1."""
    found = readmission(lookups, group, frozenset({"enum1"}))[0]
    return [(one.rule.removeprefix("readmission."), one.outcome.value) for one in found]


def observed(lookups: Sequence[Lookup], group: Group) -> Finding:
    """Return the first finding about enum1."""
    return readmission(lookups, group, frozenset({"enum1"}))[0][0]


def test_terms_follow_the_stages_once_an_answer_was_seen() -> None:
    """Four failures in a row are 30 s each, the fifth one 600 s."""
    counted = FailureCount(ORACLE, since_ns=0)
    times_ns = [(100 + 40 * at) * SECOND for at in range(5)]
    terms = [counted.add(at_ns, [at_ns], 50 * SECOND) for at_ns in times_ns]

    assert terms == [TERM_30] * 4 + [TERM_600]


def test_failures_before_the_capture_may_make_it_longer() -> None:
    """Nobody knows whether this is the first in a row, or the fifth."""
    counted = FailureCount(ORACLE, since_ns=0)

    assert counted.add(SECOND, [SECOND], None) == Term(30 * SECOND, 600 * SECOND)


def test_failures_that_were_open_together_count_once_or_each() -> None:
    """What a maker does with queries in flight is its own."""
    counted = FailureCount(ORACLE, since_ns=0)
    together_ns = [(100 + at) * SECOND for at in range(5)]

    assert counted.add(together_ns[0], together_ns, 0) == Term(30 * SECOND, 600 * SECOND)


def test_three_failures_in_the_window_are_held_until_probes() -> None:
    """Two may be enough where one came before the capture; after the window it is forgotten."""
    counted = FailureCount(RIBBON, since_ns=0)
    terms = [counted.add(at_s * SECOND, [at_s * SECOND], None) for at_s in (10, 300, 310, 320)]

    assert terms == [
        Term(0, MAX_NS),
        Term(0, 0),
        Term(0, 0),
        Term(MAX_NS, MAX_NS),
    ]


@pytest.mark.parametrize(
    ("back_s", "found"),
    [
        (271, [("not-before", "FAIL"), ("after", "PASS")]),
        (842, [("not-before", "PASS"), ("after", "PASS")]),
    ],
)
def test_second_stage_has_its_own_length(back_s: float, found: list[tuple[str, str]]) -> None:
    """The fifth failure in a row ends at 240 s; 31 s are then far too few."""
    outages = [out(40 * at, timeout_s=11) for at in range(1, 6)]
    lookups = [good(0, "enum1"), *outages, good(back_s, "enum1")]

    assert rules(lookups, oracle()) == found


def test_server_may_stay_away_for_the_longest_stage_that_is_possible() -> None:
    """Without an answer before, 100 s say nothing; with one, they are too long."""
    passed = [good(100 + at, "enum2") for at in range(8)]

    assert rules([out(0, timeout_s=11), *passed], oracle())[1] == ("after", "OTHER")
    known = [good(0, "enum1"), out(1, timeout_s=11), *passed]
    assert rules(known, oracle())[1] == ("after", "FAIL")


OUTAGE = [out(at) for at in (1, 10, 20)]


@pytest.mark.parametrize(
    ("probes_s", "found"),
    [
        ([(30, 30.1), (40, 40.1)], ("not-before", "PASS")),
        ([(30, 30.1)], ("not-before", "FAIL")),
        ([(30, 30.1), (40, None)], ("not-before", "FAIL")),
        ([(30, 30.1), (40, None), (50, 50.1), (60, 60.1)], ("not-before", "PASS")),
        ([], ("not-before", "OTHER")),
    ],
)
def test_probes_in_a_row_bring_a_server_back(
    probes_s: list[tuple[float, float | None]], found: tuple[str, str]
) -> None:
    """A lost one begins the count anew; where none is seen nothing is certain."""
    assert rules([*OUTAGE, good(70, "enum1")], ribbon(*probes_s))[0] == found


def test_server_that_is_passed_over_after_its_probes_is_found() -> None:
    """The second reply is the time from which its turns count."""
    passed = [good(80 + at, "enum2") for at in range(8)]
    group = ribbon((30, 30.1), (40, 40.1))

    assert rules([*OUTAGE, *passed], group)[1] == ("after", "FAIL")
    assert rules([*OUTAGE, *passed], ribbon())[1] == ("after", "OTHER")


def test_failures_short_of_the_count_hold_nobody() -> None:
    """The server is asked again at once, which is as it should be, and proves nothing."""
    found = observed([out(1), good(5, "enum1")], ribbon())

    assert (found.outcome.value, found.observed.partition(",")[0]) == ("OTHER", "1 failures")


def test_server_held_until_its_probes_need_not_be_asked_for_an_hour() -> None:
    """A call that asks nobody is no fault while every server may be held."""
    lone = Group(("enum1",), 2 * SECOND, 0, 0, profile=RIBBON)
    seen = {"enum1": episodes("enum1", OUTAGE, lone)}

    assert all_held(3600 * SECOND, seen, lone)
    assert not all_held(0, seen, lone)
