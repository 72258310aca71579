"""Judges an SBC's ENUM behaviour from packets alone, against a profile.

    table ─▶ one course a client address ─▶ states of the servers ─▶ rulings, spans, measures

Laws: a violation is what no reading of the packets, and of the values that the profile does not
know, can excuse; shared state between two SBCs is never assumed; no I/O and no clock.
"""

from collections.abc import Iterator

from enumtest.judge import cache as judge_cache
from enumtest.judge import delay as judge_delay
from enumtest.judge import form as judge_wire
from enumtest.judge import hold_down as judge_hold_down
from enumtest.judge import reactions as judge_reactions
from enumtest.judge import retransmission as judge_retransmission
from enumtest.judge import rotation as judge_rotation
from enumtest.judge.course import Course
from enumtest.judge.evidence import failures, seen, steps
from enumtest.judge.joins import Tolerance, given_up, links
from enumtest.judge.law import settle
from enumtest.judge.readings import readings
from enumtest.judge.ruling import Judgement, Note, Ruling, Vantage
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import LookupTable
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
