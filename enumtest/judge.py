"""Judges an SBC's ENUM behaviour from packets alone, against a profile.

    table ─▶ one course a client address ─▶ states of the servers ─▶ rulings, spans, measures

Laws: a violation is what no reading of the packets, and of the values that the profile does not
know, can excuse; shared state between two SBCs is never assumed; no I/O and no clock.
"""

from collections.abc import Iterator

from enumtest import (
    judge_delay,
    judge_hold_down,
    judge_reactions,
    judge_retransmission,
    judge_rotation,
    judge_wire,
)
from enumtest.hop_table import LookupTable
from enumtest.judge_course import Course
from enumtest.judge_evidence import failures, seen, steps
from enumtest.judge_joins import Tolerance, given_up, links
from enumtest.judge_law import settle
from enumtest.profiles import Profile
from enumtest.readings import readings
from enumtest.ruling import Judgement, Ruling, Vantage
from harness.finding import worst


def judge(
    table: LookupTable,
    profile: Profile,
    *,
    vantage: Vantage,
    tolerance: Tolerance = Tolerance(),  # noqa: B008 - it is frozen
) -> tuple[Judgement, ...]:
    """Return what the packets say about each SBC that asked: one judgement a client address."""
    if vantage is Vantage.SBC:
        table = given_up(table, profile)
    linked = links(table, profile)
    return tuple(
        _judged(Course(table, linked, client, profile, vantage, tolerance))
        for client in range(len(table.hops.clients))
    )


def _judged(course: Course) -> Judgement:
    failed = failures(course)
    evidence = steps(course, failed)
    law = settle(course, evidence, readings(course.profile, seen(course, failed)))
    held = judge_hold_down.Holds(course, evidence, law)
    turns = judge_rotation.Facts(course, law.best.states, failed, law.best.walk)

    def rulings() -> Iterator[Ruling]:
        yield from judge_rotation.rulings(turns)
        yield from judge_hold_down.rulings(held)
        yield from judge_retransmission.rulings(course)
        yield from judge_reactions.rulings(course, law.states)
        yield from judge_reactions.late_rulings(course)
        yield from judge_wire.rulings(course)
        yield from judge_wire.missing_probes(course, law.best.held)
        yield from judge_delay.rulings(course)

    return Judgement(
        course.profile.name,
        course.hops.clients[course.client],
        tuple(_once(rulings())),
        tuple(judge_hold_down.spans(held)),
        (
            *judge_retransmission.measured(course),
            *judge_hold_down.measured(held),
            *judge_delay.measured(course, law.states),
        ),
    )


def _once(rulings: Iterator[Ruling]) -> Iterator[Ruling]:
    """Yield one ruling a rule and server: the worst, and of equals the first."""
    found: dict[tuple[str, str], Ruling] = {}
    for one in rulings:
        key = one.rule, one.server
        kept = found.get(key)
        if kept is None or worst((kept.outcome, one.outcome)) is not kept.outcome:
            found[key] = one
    yield from found.values()
