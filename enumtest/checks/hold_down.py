"""When an SBC gave a server up, how long it left it alone, and when it came back.

    asked ─silence─▶ given up ──────── hold-down ────────▶ asked again
                     └ an episode: one or more questions that were open together ┘

How an SBC counts questions that were already open when the hold-down began differs from maker to
maker; so is what it makes of an answer to one of them. An early return that depends on such a
reading is OTHER, one that breaks all of them is FAIL.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enumtest.checks.hold_law import FailureCount, Term
from enumtest.profiles.profile_groups import Selection
from enumtest.profiles.profiles import Profile
from enumtest.traffic.lookups import Lookup
from enumtest.traffic.transactions import Transaction
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
    profile: Profile | None = None  # None: one failure, and the hold-down is always as long
    probes: tuple[Transaction, ...] = ()  # what the SBC asked the servers for no call

    def tolerance(self, length_ns: int) -> int:
        """Return the tolerance on a hold-down of another length, in proportion."""
        return self.tolerance_ns * length_ns // self.hold_down_ns if self.hold_down_ns else 0


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
    term: Term  # how long it has to last, and may
    alive: bool = False  # a question open at the time was answered well before the return
    probed: tuple[int, ...] = ()  # when probes were answered well meanwhile, those in a row
    is_probed: bool = False  # one was sent, at least

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


def all_held(at_ns: int, seen: Mapping[str, Sequence[Episode]], group: Group) -> bool:
    """Say whether every server of *group* may have been held down, so that none could be asked.

    *seen* are the episodes of each; a hold-down is taken as long as it may be, with its tolerance.
    """
    return all(any(_holds(one, at_ns, group) for one in seen[name]) for name in group.servers)


def _holds(one: Episode, at_ns: int, group: Group) -> bool:
    most_ns = one.term.most_ns
    until_ns = one.last.at_ns + most_ns + group.tolerance(most_ns)
    if one.back is not None and one.term.by_probes:
        until_ns = one.back.sends[0].at_ns
    return bool(most_ns) and one.first.at_ns <= at_ns <= until_ns


def episodes(name: str, lookups: Sequence[Lookup], group: Group) -> tuple[Episode, ...]:
    """Return what *lookups* show of server *name* after each of its failures, in order of time."""
    own = [failure for failure in given_up(lookups, group) if failure.server == name]
    asked = sorted(
        (hop for lookup in lookups for hop in lookup.hops if hop.server == name),
        key=lambda hop: hop.sends[0].at_ns,
    )
    since_ns = min((lookup.at_ns for lookup in lookups), default=0)
    counted = None if group.profile is None else FailureCount(group.profile, since_ns)
    found: list[Episode] = []
    while own:
        first = own[0]
        together = [failure for failure in own if failure.asked_ns <= first.at_ns]
        own = [failure for failure in own if failure.asked_ns > first.at_ns]
        back = next((hop for hop in asked if hop.sends[0].at_ns > first.at_ns), None)
        answers = [hop for hop in asked if hop.answered is not None and not hop.failed]
        alive = back is not None and any(
            hop.sends[0].at_ns <= first.at_ns < hop.answered.at_ns <= back.sends[0].at_ns
            for hop in answers
            if hop.answered is not None
        )
        term = Term(group.hold_down_ns, group.hold_down_ns)
        if counted is not None:
            before = [one.answered.at_ns for one in answers if one.answered is not None]
            answered_ns = max((one for one in before if one <= first.at_ns), default=None)
            term = counted.add(first.at_ns, [one.at_ns for one in together], answered_ns)
        probes = _probes(name, first.at_ns, back, group)
        found.append(
            Episode(first, together[-1], back, term, alive, _in_a_row(probes), bool(probes))
        )
    return tuple(found)


def _probes(
    name: str, from_ns: int, back: Transaction | None, group: Group
) -> tuple[Transaction, ...]:
    """Return the probes to server *name* between its failure and its return."""
    until_ns = None if back is None else back.sends[0].at_ns
    return tuple(
        one
        for one in group.probes
        if one.server == name
        and one.sends[0].at_ns >= from_ns
        and (until_ns is None or one.sends[0].at_ns <= until_ns)
    )


def _in_a_row(probes: Sequence[Transaction]) -> tuple[int, ...]:
    """Return when the probes behind the last lost one were answered well."""
    found: list[int] = []
    for one in sorted(probes, key=lambda probe: probe.sends[0].at_ns):
        if one.answered is None or one.failed:
            found.clear()
        else:
            found.append(one.answered.at_ns)
    return tuple(found)


def early_returns(
    name: str, lookups: Sequence[Lookup], group: Group
) -> tuple[list[Episode], list[Episode]]:
    """Return the hold-downs of *name* cut short: certainly, and by one reading only."""
    certain: list[Episode] = []
    maybe: list[Episode] = []
    for one in episodes(name, lookups, group):
        longest_ns, shortest_ns = one.longest_ns, one.shortest_ns
        if longest_ns is None or shortest_ns is None or not one.term.is_certain:
            continue
        low_ns = one.term.least_ns - group.tolerance(one.term.least_ns)
        if one.term.by_probes:
            if len(one.probed) < _replies(group):
                (certain if one.is_probed and not one.alive else maybe).append(one)
        elif longest_ns < low_ns:
            (maybe if one.alive else certain).append(one)
        elif shortest_ns < low_ns:
            maybe.append(one)
    return certain, maybe


def _replies(group: Group) -> int:
    """Return how many probes have to be answered in a row."""
    return 0 if group.profile is None else group.profile.readmission.replies


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
    held = [one for one in seen if one.term.is_certain] or list(seen)
    ended = [one for one in held if one.back is not None]
    least_ns = 0 if held[0].term.by_probes else held[0].term.least_ns
    low_s = round((least_ns - group.tolerance(least_ns)) / NS, 3)
    if not ended:
        return Measurement(f"hold-down of {name}", None, "s", low=low_s)
    shortest = min(ended, key=lambda one: one.longest_ns or 0)
    value_s = round((shortest.longest_ns or 0) / NS, 3)
    frames = _frames(shortest)
    return Measurement(f"hold-down of {name}", value_s, "s", low=low_s, frames=frames)


def _frames(episode: Episode) -> tuple[int, ...]:
    back = () if episode.back is None else (episode.back.sends[0].frame,)
    return (*episode.first.frames, *back)


def _not_before(name: str, lookups: Sequence[Lookup], group: Group) -> Finding:
    rule = "readmission.not-before"
    certain, maybe = early_returns(name, lookups, group)
    every = episodes(name, lookups, group)
    held = [one for one in every if one.term.is_certain]
    if not held:
        expected = f"{name} is left alone after its failures"
        words = f"{len(every)} failures, after which an SBC of this profile may still ask it"
        return Finding(rule, Outcome.OTHER, expected, words, "s", _frames(every[-1]))
    expected = f"{name} is left alone {_told(held[0].term, group)}"
    if certain:
        words = f"asked again after {(certain[0].longest_ns or 0) / NS:.3f} s"
        words += _probed(certain[0])
        return Finding(rule, Outcome.FAIL, expected, words, "s", _frames(certain[0]))
    if maybe:
        one = maybe[0]
        words = f"asked again {(one.longest_ns or 0) / NS:.3f} s after the first failure"
        if one.term.by_probes:
            words += f"{_probed(one)}, and how it probes is not seen"
        else:
            words += f" but {(one.shortest_ns or 0) / NS:.3f} s after the last; calls overlapped"
        words += ", and one of them was answered" if one.alive else ""
        return Finding(rule, Outcome.OTHER, expected, words, "s", _frames(one), needed=1)
    ended = [one for one in held if one.back is not None]
    if not ended:
        words, needed = "not asked again while watched", len(group.servers) + 1
        return Finding(rule, Outcome.OTHER, expected, words, "s", needed=needed)
    shortest = min(ended, key=lambda one: one.longest_ns or 0)
    words = f"asked again after {(shortest.longest_ns or 0) / NS:.3f} s{_probed(shortest)}"
    return Finding(rule, Outcome.PASS, expected, words, "s", _frames(shortest))


def _told(term: Term, group: Group) -> str:
    """Return in words how long a server is left alone."""
    if term.by_probes:
        return f"after its failures until {_replies(group)} probes in a row are answered"
    return f"for {term.least_ns / NS:g} s after a failure"


def _probed(one: Episode) -> str:
    return f" and {len(one.probed)} replies to probes in a row" if one.term.by_probes else ""


def _due_ns(last: Episode, group: Group) -> int | None:
    """Return when no reading excuses that the server is passed over; None: that can't be told."""
    if not last.term.by_probes:
        return last.last.at_ns + last.term.most_ns + group.tolerance(last.term.most_ns)
    replies = _replies(group)
    return last.probed[replies - 1] if len(last.probed) >= replies else None


def _after(name: str, last: Episode, lookups: Sequence[Lookup], group: Group) -> Finding:
    """The server must be asked within one round of lookups after its hold-down, and answer."""
    rule = "readmission.after"
    due_ns = _due_ns(last, group)
    until_ns = None if last.back is None else last.back.sends[0].at_ns
    passed = [
        lookup
        for lookup in lookups
        if due_ns is not None
        and lookup.at_ns > due_ns
        and (until_ns is None or lookup.at_ns < until_ns)
    ]
    allowed = len(group.servers)
    expected = f"{name} is asked within {allowed} lookups after its hold-down, and answers"
    if len(passed) > allowed and _must_be_asked(name, group):
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
        if not _must_be_asked(name, group):
            words, needed = f"{words}: an SBC of this profile asks those before it, if it can", 0
        return Finding(rule, Outcome.OTHER, expected, words, "lookups", needed=needed)
    # A question that met silence would have begun a later episode: this one was answered.
    words = f"asked and answered; {len(passed)} lookups went by before"
    return Finding(rule, Outcome.PASS, expected, words, "lookups", last.back.frames)


def _must_be_asked(name: str, group: Group) -> bool:
    """Say whether server *name* gets calls while all others can be asked too."""
    by_list = (Selection.HUNT, Selection.LIST_ORDER)
    has_turns = group.profile is None or group.profile.selection.method not in by_list
    return has_turns or name == group.servers[0]


def cited(lookups: Sequence[Lookup]) -> tuple[int, ...]:
    """Return the first frame of each lookup, at most `MAX_CITED`: the first ones, and the last."""
    frames = [lookup.first.sends[0].frame for lookup in lookups]
    return tuple(frames if len(frames) <= MAX_CITED else [*frames[: MAX_CITED - 1], frames[-1]])
