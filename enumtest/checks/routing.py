"""Judges how an SBC spreads its lookups over ENUM servers, from what was recorded alone.

Every rule is a pure function of lookups and gives findings that cite frames. Rules:

    rotation.next-in-turn    each lookup goes to the server after the one asked last (plan B.3.2)
    outage.detected          a server that is down was asked, and given up
    outage.avoided           no lookup asks a server while it is held down (B.3.3, B.3.4, B.3.6)
    outage.served            every lookup in an outage is answered by a live server
    outage.timeout           a silent server is given up, and asked again, as the site file declares
    readmission.not-before   a failed server is left alone for the whole hold-down (B.3.5)
    readmission.after        … and asked again once it is over, and answers (both: `hold_down`)

Too few lookups to judge gives OTHER with how many more are needed, never PASS.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from enumtest.checks.hold_down import (
    MAX_CITED,
    NS,
    Group,
    cited,
    early_returns,
    episodes,
    given_up,
    unmet,
)
from enumtest.traffic.lookups import Lookup
from enumtest.traffic.transactions import Transaction
from harness.finding import Finding, Measurement, Outcome

TIMER_NS = 50_000_000  # how late a timer may be on a busy machine, at the least
STALL_NS = 150_000_000  # a busy machine wakes up late, never early


def rotation(
    lookups: Sequence[Lookup], group: Group, *, minimum: int, others: Sequence[Lookup] = ()
) -> tuple[Finding, ...]:
    """Judge strict turns over all servers; every lookup must have found its server well.

    *others* are lookups that the same SBC made meanwhile for other calls: they take turns too, so
    a wrong turn with one of them in between is no fault for certain.
    """
    rule, order = "rotation.next-in-turn", group.servers
    expected = f"each lookup goes to the next of {', '.join(order)}"
    if len(lookups) < minimum:
        words, needed = f"{len(lookups)} of {minimum} lookups", minimum - len(lookups)
        return (Finding(rule, Outcome.OTHER, expected, words, "lookups", needed=needed),)
    troubled = [lookup for lookup in lookups if lookup.first.failed or lookup.first.sick]
    if troubled:
        words = f"{len(troubled)} of {len(lookups)} lookups got no good answer from their server"
        words += _sick_words(troubled)
        return (Finding(rule, Outcome.OTHER, expected, words, "lookups", cited(troubled)),)
    following = {name: order[(at + 1) % len(order)] for at, name in enumerate(order)}
    wrong = [
        (one, two)
        for one, two in pairwise(lookups)
        if two.first.server != following[one.last.server]
    ]
    if not wrong:
        words = f"{len(lookups)} lookups in strict turn"
        return (Finding(rule, Outcome.PASS, expected, words, "lookups", cited(lookups)),)
    times = sorted(other.at_ns for other in others)
    certain = [
        pair
        for pair in wrong
        if bisect_left(times, pair[0].at_ns) == bisect_right(times, pair[1].at_ns)
    ]
    wrong = certain or wrong
    one, two = wrong[0]
    words = (
        f"{len(wrong)} of {len(lookups) - 1} turns wrong; first: frame {two.first.sends[0].frame} "
        f"went to {two.first.server} where it was the turn of {following[one.last.server]}"
    )
    frames = tuple(lookup.first.sends[0].frame for pair in wrong for lookup in pair)
    outcome = Outcome.FAIL
    if not certain:
        outcome = Outcome.OTHER
        words = f"{len(others)} lookups for other calls took turns too; {words}"
    return (Finding(rule, outcome, expected, words, "turns", frames[:MAX_CITED]),)


def _sick_words(lookups: Sequence[Lookup]) -> str:
    """Return the servers that answered that they can't work, in words, or ""."""
    said = {
        f"{hop.server} answers {hop.answer.rcode}"
        for lookup in lookups
        for hop in lookup.hops
        if hop.answer is not None and hop.sick
    }
    return f" ({', '.join(sorted(said))}: sick, which is no fault of the SBC)" if said else ""


def shares(lookups: Sequence[Lookup], group: Group) -> tuple[Measurement, ...]:
    """Return each server's share of first questions, in percent (no limits: rotation judges)."""
    total = len(lookups)
    return tuple(
        Measurement(
            f"share of {name}",
            round(100 * sum(lookup.first.server == name for lookup in lookups) / total, 1)
            if total
            else None,
            "%",
        )
        for name in group.servers
    )


def outage(
    lookups: Sequence[Lookup], group: Group, down: frozenset[str], *, minimum: int
) -> tuple[Finding, ...]:
    """Judge the lookups made while the servers *down* were out of service and others lived."""
    detected, last_ns = _detected(lookups, group, down)
    return (
        *detected,
        _avoided(lookups, group, down),
        _served(lookups, group, down, last_ns, minimum),
    )


def all_down(lookups: Sequence[Lookup], group: Group) -> tuple[Finding, ...]:
    """Judge the lookups made while no server was in service: each noticed, then left alone."""
    everyone = frozenset(group.servers)
    detected, _ = _detected(lookups, group, everyone)
    return (*detected, _avoided(lookups, group, everyone))


def timeouts(lookups: Sequence[Lookup], group: Group, down: frozenset[str]) -> tuple[Finding, ...]:
    """Judge how long, and how often, the SBC asked each silent server before it asked the next.

    The plan sets neither, so a difference from what the site file declares is OTHER, never FAIL.
    Nothing is returned when no silent server was left for another.
    """
    silent = _waits(lookups, down)
    if not silent:
        return ()
    rule, again = "outage.timeout", group.retransmissions
    declared = f"{group.timeout_ns / NS:g} s"
    declared += "" if again is None else f" and {again} retransmissions"
    expected = f"a silent server is given up after {declared}, as the site file declares"
    least_ns, most_ns = group.timeout_ns - _timer_tolerance_ns(group), _longest_ns(group)
    wrong = [
        (hop, waited_ns)
        for hop, waited_ns in silent
        if not least_ns <= waited_ns <= most_ns or again not in (None, len(hop.sends) - 1)
    ]
    hop, waited_ns = (wrong or silent)[0]
    words = f"after {waited_ns / NS:.3f} s and {len(hop.sends) - 1} retransmissions"
    frames = tuple(one.sends[0].frame for one, _ in wrong or silent)[:MAX_CITED]
    if not wrong:
        return (Finding(rule, Outcome.PASS, expected, words, "s", frames),)
    words = f"{len(wrong)} of {len(silent)} differ; the first {words}"
    return (Finding(rule, Outcome.OTHER, expected, words, "s", frames),)


def waits_longer(lookups: Sequence[Lookup], group: Group, down: frozenset[str]) -> bool:
    """Say whether the SBC waits longer than declared: its sends then can't all be told apart."""
    limit_ns = _longest_ns(group)
    return any(waited_ns > limit_ns for _, waited_ns in _waits(lookups, down))


def _longest_ns(group: Group) -> int:
    """Return how long an SBC may wait for a silent server that keeps to the site file."""
    return group.timeout_ns + max(_timer_tolerance_ns(group), STALL_NS)


def _waits(lookups: Sequence[Lookup], down: frozenset[str]) -> list[tuple[Transaction, int]]:
    """Return each question that a server of *down* left open, with the time until the next."""
    return [
        (hop, following.sends[0].at_ns - hop.sends[0].at_ns)
        for lookup in lookups
        for hop, following in pairwise(lookup.hops)
        if hop.server in down and hop.answer is None
    ]


def _timer_tolerance_ns(group: Group) -> int:
    return max(group.timeout_ns // 5, TIMER_NS)


def _detected(
    lookups: Sequence[Lookup], group: Group, down: frozenset[str]
) -> tuple[tuple[Finding, ...], int | None]:
    """Return one finding a server of *down*, and when the last of them was first given up."""
    first = {failure.server: failure for failure in reversed(given_up(lookups, group))}
    findings = []
    for name in (server for server in group.servers if server in down):
        expected = f"{name} is asked while it is down, and given up"
        failure = first.get(name)
        if failure is None:
            found = unmet(name, expected, lookups, group)
        else:
            words = f"given up after {(failure.at_ns - failure.asked_ns) / NS:.3f} s"
            found = Finding("outage.detected", Outcome.PASS, expected, words, "s", failure.frames)
        findings.append(found)
    known = down and down <= first.keys()
    return tuple(findings), max(first[name].at_ns for name in down) if known else None


def _avoided(lookups: Sequence[Lookup], group: Group, down: frozenset[str]) -> Finding:
    """No question to a server of *down* between its failure and the end of its hold-down."""
    rule = "outage.avoided"
    expected = f"no question to {', '.join(sorted(down))} for the hold-down after a failure"
    early = [early_returns(name, lookups, group) for name in sorted(down)]
    certain = [episode for sure, _ in early for episode in sure]
    maybe = [episode for _, unsure in early for episode in unsure]
    for found, outcome in ((certain, Outcome.FAIL), (maybe, Outcome.OTHER)):
        if found:
            backs = [episode.back for episode in found if episode.back is not None]
            frames = tuple(frame for back in backs for frame in back.frames)[:MAX_CITED]
            words = f"{len(found)} questions while held down"
            return Finding(rule, outcome, expected, words, "questions", frames)
    seen = [one for name in sorted(down) for one in episodes(name, lookups, group)]
    if not seen:
        return Finding(rule, Outcome.OTHER, expected, "no failure was seen", needed=1)
    if not any(one.term.is_certain for one in seen):
        words = f"{len(seen)} failures, after which an SBC of this profile may still ask"
        return Finding(rule, Outcome.OTHER, expected, words)
    return Finding(rule, Outcome.PASS, expected, "none", "questions")


def _served(
    lookups: Sequence[Lookup],
    group: Group,
    down: frozenset[str],
    noticed_ns: int | None,
    minimum: int,
) -> Finding:
    rule, live = "outage.served", [name for name in group.servers if name not in down]
    expected = f"every lookup is answered by {' or '.join(live)}"
    unserved = [lookup for lookup in lookups if lookup.last.failed and not lookup.last.sick]
    if unserved:
        words = f"{len(unserved)} of {len(lookups)} lookups got no answer"
        return Finding(rule, Outcome.FAIL, expected, words, "lookups", cited(unserved))
    sick = [lookup for lookup in lookups if lookup.last.sick]
    if sick:
        words = f"{len(sick)} of {len(lookups)} lookups got no good answer{_sick_words(sick)}"
        return Finding(rule, Outcome.OTHER, expected, words, "lookups", cited(sick))
    after = [lookup for lookup in lookups if noticed_ns is not None and lookup.at_ns >= noticed_ns]
    if len(after) < minimum:
        words = f"{len(after)} of {minimum} lookups after the failure was noticed"
        needed = minimum - len(after)
        return Finding(rule, Outcome.OTHER, expected, words, "lookups", needed=needed)
    words = f"{len(lookups)} lookups answered, {len(after)} after the failure was noticed"
    return Finding(rule, Outcome.PASS, expected, words, "lookups", cited(after))
