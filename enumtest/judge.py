"""Judges an SBC's ENUM behaviour from packets alone, against a profile.

    table ─▶ one course a client address ─▶ states of the servers ─▶ rulings, spans, measures

Laws: a violation is what no reading of the packets, and of the values that the profile does not
know, can excuse; shared state between two SBCs is never assumed; no I/O and no clock.
"""

from collections.abc import Iterator

from enumtest import (
    judge_cache,
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
from enumtest.ruling import Judgement, Note, Ruling, Vantage
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
    linked = links(table, profile, exact=vantage is Vantage.SBC)
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
        yield from judge_cache.rulings(course)
        yield from judge_delay.rulings(course)

    found = tuple(_once(rulings()))
    return Judgement(
        course.profile.name,
        course.hops.clients[course.client],
        tuple(one for one in found if not isinstance(one, Note)),
        tuple(judge_hold_down.spans(held)),
        (
            *judge_retransmission.measured(course),
            *judge_hold_down.measured(held),
            *judge_delay.measured(course, law.states),
        ),
        tuple(one for one in found if isinstance(one, Note)),
    )


def _once(rulings: Iterator[Ruling]) -> Iterator[Ruling]:
    """Yield one ruling, and one note, a rule and server: the worst, and of equals the first."""
    found: dict[tuple[str, str, bool], Ruling] = {}
    for one in rulings:
        key = one.rule, one.server, isinstance(one, Note)
        kept = found.get(key)
        if kept is None or worst((kept.outcome, one.outcome)) is not kept.outcome:
            found[key] = one
    yield from found.values()
