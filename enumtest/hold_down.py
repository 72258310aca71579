"""When an SBC gave a server up, how long it left it alone, and when it came back.

    asked ─silence─▶ given up ──────── hold-down ────────▶ asked again
                     └ an episode: one or more questions that were open together ┘

How an SBC counts questions that were already open when the hold-down began differs from maker to
maker; so is what it makes of an answer to one of them. An early return that depends on such a
reading is OTHER, one that breaks all of them is FAIL.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enumtest.lookups import Lookup
from enumtest.transactions import Transaction
from harness.finding import Finding, Measurement, Outcome

NS = 1_000_000_000
MAX_CITED = 12  # frames in one finding; the count is always given in words


@dataclass(frozen=True, slots=True)
class Group:
    """The ENUM servers of one SBC in its order, and the times the site file declares for it."""

    servers: tuple[str, ...]
    timeout_ns: int
    hold_down_ns: int
    tolerance_ns: int  # on the hold-down, both ways
    retransmissions: int | None = None  # of one question; None: not declared


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The moment the SBC gave up a server: when it asked the next, or when the time-out ended."""

    server: str
    asked_ns: int
    at_ns: int
    frames: tuple[int, ...]
    rcode: str = ""  # of the answer that was taken for a failure; "": silence


@dataclass(frozen=True, slots=True)
class Episode:
    """One hold-down: the failures that were open together, and the question that ended it."""

    first: GivenUp
    last: GivenUp
    back: Transaction | None
    alive: bool = False  # a question open at the time was answered well before the return

    @property
    def longest_ns(self) -> int | None:
        """Return the time left alone, counted from the first failure; None while it lasts."""
        return None if self.back is None else self.back.sends[0].at_ns - self.first.at_ns

    @property
    def shortest_ns(self) -> int | None:
        """Return the same counted from the last failure."""
        return None if self.back is None else self.back.sends[0].at_ns - self.last.at_ns


def given_up(lookups: Iterable[Lookup], group: Group) -> tuple[GivenUp, ...]:
    """Return each failure of a server, in order of time."""
    found = []
    for lookup in lookups:
        for at, hop in enumerate(lookup.hops):
            following = lookup.hops[at + 1] if at + 1 < len(lookup.hops) else None
            if not hop.failed or (following and following.server == hop.server):
                continue
            if following is not None:
                end_ns = following.sends[0].at_ns
            elif hop.answered is not None:
                end_ns = hop.answered.at_ns
            else:
                end_ns = hop.sends[0].at_ns + group.timeout_ns
            rcode = "" if hop.answer is None else hop.answer.rcode
            found.append(GivenUp(hop.server, hop.sends[0].at_ns, end_ns, hop.frames, rcode))
    return tuple(sorted(found, key=lambda failure: failure.at_ns))


def all_held(at_ns: int, failures: Sequence[GivenUp], group: Group) -> bool:
    """Say whether every server of *group* was held down at that time, so that none could be asked.

    *failures* are those of `given_up`; the hold-down is taken with its tolerance.
    """
    since_ns = at_ns - group.hold_down_ns - group.tolerance_ns
    held = {failure.server for failure in failures if since_ns <= failure.at_ns <= at_ns}
    return held >= set(group.servers)


def episodes(name: str, lookups: Sequence[Lookup], group: Group) -> tuple[Episode, ...]:
    """Return the hold-downs of server *name* that *lookups* show, in order of time."""
    own = [failure for failure in given_up(lookups, group) if failure.server == name]
    asked = sorted(
        (hop for lookup in lookups for hop in lookup.hops if hop.server == name),
        key=lambda hop: hop.sends[0].at_ns,
    )
    found: list[Episode] = []
    while own:
        first = own[0]
        together = [failure for failure in own if failure.asked_ns <= first.at_ns]
        own = [failure for failure in own if failure.asked_ns > first.at_ns]
        back = next((hop for hop in asked if hop.sends[0].at_ns > first.at_ns), None)
        alive = back is not None and any(
            hop.answered is not None
            and not hop.failed
            and hop.sends[0].at_ns <= first.at_ns < hop.answered.at_ns <= back.sends[0].at_ns
            for hop in asked
        )
        found.append(Episode(first, together[-1], back, alive))
    return tuple(found)


def early_returns(
    name: str, lookups: Sequence[Lookup], group: Group
) -> tuple[list[Episode], list[Episode]]:
    """Return the hold-downs of *name* cut short: certainly, and by one reading only."""
    low_ns = group.hold_down_ns - group.tolerance_ns
    ended = [
        (episode, episode.longest_ns, episode.shortest_ns)
        for episode in episodes(name, lookups, group)
    ]
    early = [one for one, longest, _ in ended if longest is not None and longest < low_ns]
    certain = [one for one in early if not one.alive]
    maybe = [one for one in early if one.alive] + [
        one
        for one, longest, shortest in ended
        if longest is not None and shortest is not None and shortest < low_ns <= longest
    ]
    return certain, maybe


def readmission(
    lookups: Sequence[Lookup], group: Group, down: frozenset[str]
) -> tuple[tuple[Finding, ...], tuple[Measurement, ...]]:
    """Judge how long each server of *down* was left alone, and that it came back.

    *lookups* run from before the outage to well after the hold-down.
    """
    findings: list[Finding] = []
    measured: list[Measurement] = []
    for name in (server for server in group.servers if server in down):
        seen = episodes(name, lookups, group)
        if not seen:
            expected = f"{name} is asked while it is down"
            findings.append(unmet(name, expected, lookups, group))
            continue
        findings.append(_not_before(name, lookups, group))
        findings.append(_after(name, seen[-1], lookups, group))
        measured.append(_length(name, seen, group))
    return tuple(findings), tuple(measured)


def unmet(name: str, expected: str, lookups: Sequence[Lookup], group: Group) -> Finding:
    """Return the finding about a server that was down, and that nobody asked meanwhile."""
    enough = len(lookups) >= 2 * len(group.servers)
    words = "no lookup met the outage"
    if enough:
        words += (
            f" in {len(lookups)}: the SBC does not ask {name}; more calls would not change that"
        )
    rule, needed = "outage.detected", 0 if enough else 1
    return Finding(rule, Outcome.OTHER, expected, words, "", cited(lookups), needed)


def _length(name: str, seen: Sequence[Episode], group: Group) -> Measurement:
    """Return the shortest time that *name* was left alone, with the limits it must keep."""
    ended = [one for one in seen if one.back is not None]
    low_s = (group.hold_down_ns - group.tolerance_ns) / NS
    if not ended:
        return Measurement(f"hold-down of {name}", None, "s", low=round(low_s, 3))
    shortest = min(ended, key=lambda one: one.longest_ns or 0)
    value_s = round((shortest.longest_ns or 0) / NS, 3)
    frames = _frames(shortest)
    return Measurement(f"hold-down of {name}", value_s, "s", low=round(low_s, 3), frames=frames)


def _frames(episode: Episode) -> tuple[int, ...]:
    back = () if episode.back is None else (episode.back.sends[0].frame,)
    return (*episode.first.frames, *back)


def _not_before(name: str, lookups: Sequence[Lookup], group: Group) -> Finding:
    rule = "readmission.not-before"
    expected = f"{name} is left alone for {group.hold_down_ns / NS:g} s after a failure"
    certain, maybe = early_returns(name, lookups, group)
    if certain:
        words = f"asked again after {(certain[0].longest_ns or 0) / NS:.3f} s"
        return Finding(rule, Outcome.FAIL, expected, words, "s", _frames(certain[0]))
    if maybe:
        one = maybe[0]
        words = (
            f"asked again {(one.longest_ns or 0) / NS:.3f} s after the first failure but "
            f"{(one.shortest_ns or 0) / NS:.3f} s after the last; calls overlapped"
            + (", and one of them was answered" if one.alive else "")
        )
        return Finding(rule, Outcome.OTHER, expected, words, "s", _frames(one), needed=1)
    ended = [one for one in episodes(name, lookups, group) if one.back is not None]
    if not ended:
        words, needed = "not asked again while watched", len(group.servers) + 1
        return Finding(rule, Outcome.OTHER, expected, words, "s", needed=needed)
    shortest = min(ended, key=lambda one: one.longest_ns or 0)
    words = f"asked again after {(shortest.longest_ns or 0) / NS:.3f} s"
    return Finding(rule, Outcome.PASS, expected, words, "s", _frames(shortest))


def _after(name: str, last: Episode, lookups: Sequence[Lookup], group: Group) -> Finding:
    """The server must be asked within one round of lookups after its hold-down, and answer."""
    rule = "readmission.after"
    due_ns = last.last.at_ns + group.hold_down_ns + group.tolerance_ns
    until_ns = None if last.back is None else last.back.sends[0].at_ns
    passed = [
        lookup
        for lookup in lookups
        if lookup.at_ns > due_ns and (until_ns is None or lookup.at_ns < until_ns)
    ]
    allowed = len(group.servers)
    expected = f"{name} is asked within {allowed} lookups after its hold-down, and answers"
    if len(passed) > allowed:
        words = f"{len(passed)} lookups passed it over" + ("" if last.back else ", all of them")
        return Finding(rule, Outcome.FAIL, expected, words, "lookups", cited(passed))
    rcode = last.last.rcode
    if last.back is not None and last.back.answer is not None and last.back.sick:
        rcode = last.back.answer.rcode
    if rcode:
        words = f"asked, and it answered {rcode}: the server is sick, which is no fault of the SBC"
        frames = _frames(last)
        return Finding(rule, Outcome.OTHER, expected, words, "lookups", frames)
    if last.back is None:
        words, needed = f"{len(passed)} lookups since, none to it", allowed + 1 - len(passed)
        return Finding(rule, Outcome.OTHER, expected, words, "lookups", needed=needed)
    # A question that met silence would have begun a later episode: this one was answered.
    words = f"asked and answered; {len(passed)} lookups went by before"
    return Finding(rule, Outcome.PASS, expected, words, "lookups", last.back.frames)


def cited(lookups: Sequence[Lookup]) -> tuple[int, ...]:
    """Return the first frame of each lookup, at most `MAX_CITED`: the first ones, and the last."""
    frames = [lookup.first.sends[0].frame for lookup in lookups]
    return tuple(frames if len(frames) <= MAX_CITED else [*frames[: MAX_CITED - 1], frames[-1]])
