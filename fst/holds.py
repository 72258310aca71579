"""The waits of a run: all hosts' on one clock, which goes on when the laptop did not.

    begun ──beats──▶ over        every moment of the wait was seen, or a gap in it was decided
      ▲   └─gap─▶ undecided      nothing was seen of a host for too long: a person says
      │              ├─ count      it stays one wait, and the hole in it is shown
      └──────────────┴─ restart    the wait begins anew at the end of the gap; what was seen stays

Pure: `begin`, `beat` and `decide` return events to be written, and only `take` changes anything, so
what a restarted program reads from the journal is what the first one knew.
Laws: time is counted by the clock that can't be set as long as the machine is up, else by the wall
clock, and then it is said; a gap never passes by itself; a restart forgets nothing that was seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self

from fst.hold import (
    ABANDONED,
    BEAT,
    BEGUN,
    GAP,
    NEW_BOOT,
    NOT_SEEN,
    OVER,
    STOOD_STILL,
    TYPES,
    Decision,
    Deed,
    Fields,
    Gap,
    Hold,
    Instant,
    MarkLeft,
    Wanted,
    begun_deed,
    ended_deed,
    gap_fields,
    parse_gap,
    parse_hold,
)
from fst.host_view import GAP_FLOOR_NS, GAP_PERIODS
from harness.errors import InputError
from harness.journal import Event


class Holds:
    """All holds of a run, folded from its events."""

    def __init__(self) -> None:
        """Begin with none."""
        self.holds: dict[str, Hold] = {}
        self.gaps: dict[str, Gap] = {}
        self.edges: dict[str, int] = {}  # by target: up to when its time is accounted for
        self.stepped_ns: tuple[int, ...] = ()  # each time that the laptop's clock was set
        self.period_ns = 0
        self._at: Instant | None = None
        self._at_ns = 0  # the same on the shared clock
        self._broke_ns: int | None = None  # where this process took over from an earlier one
        self._rebooted = False  # the machine was started anew before that
        self._count = 0  # of gaps, over all watches

    @classmethod
    def fold(cls, events: Iterable[Event]) -> Self:
        """Return the holds that *events* tell of.

        Raises:
            InputError: an event that lacks what it must hold.
        """
        found = cls()
        for event in events:
            if event.type in TYPES:
                found.take(event.type, event.fields)
        return found

    # What is known -------------------------------------------------------------------------------

    @property
    def open(self) -> tuple[Hold, ...]:
        """Return those that go on."""
        return tuple(hold for hold in self.holds.values() if not hold.ended)

    @property
    def held(self) -> frozenset[str]:
        """Return the targets that must not be disturbed."""
        return frozenset(hold.target for hold in self.open)

    @property
    def undecided(self) -> tuple[Gap, ...]:
        """Return the gaps that a person has yet to decide on."""
        return tuple(gap for gap in self.gaps.values() if gap.decision is None)

    @property
    def limit_ns(self) -> int:
        """Return for how long nothing may be seen of a host."""
        return max(GAP_PERIODS * self.period_ns, GAP_FLOOR_NS)

    @property
    def begins_ns(self) -> Mapping[tuple[str, str], int]:
        """Return when each wait began for good, by target and name of the wait."""
        return {(hold.target, hold.wait): hold.since_ns for hold in self.holds.values()}

    def at_ns(self, now: Instant) -> int:
        """Return *now* on the shared clock, which stood at zero when the first hold began."""
        return 0 if self._at is None else self._at_ns + now.since(self._at)

    def marks(self, now: Instant) -> tuple[MarkLeft, ...]:
        """Return how far each wait is, the shortest first."""
        at_ns = self.at_ns(now)
        found = []
        for wait in dict.fromkeys(hold.wait for hold in self.holds.values()):
            own = [hold for hold in self.holds.values() if hold.wait == wait]
            left = [max(0, hold.due_ns - at_ns) for hold in own if not hold.ended]
            over = len(own) - len(left)
            longest_ns = max(hold.length_ns for hold in own)
            found.append(MarkLeft(wait, longest_ns, len(own), over, max(left, default=0)))
        return tuple(sorted(found, key=lambda mark: mark.length_ns))

    def behind(self, now: Instant) -> tuple[str, int]:
        """Return the target of which nothing was seen for longest, and for how long."""
        targets = self.held & self.edges.keys()
        if not targets:
            return "", 0
        last = min(sorted(targets), key=lambda target: self.edges[target])
        return last, self.at_ns(now) - self.edges[last]

    # Events to be written ------------------------------------------------------------------------

    def begin(self, wanted: Iterable[Wanted], period_ns: int, now: Instant) -> tuple[Deed, ...]:
        """Return the events that begin holds now, one for each that is *wanted* and not there yet.

        A program may have been killed when it had begun only some of them.
        """
        fresh = not self.open  # then the shared clock begins at zero
        since_ns = 0 if fresh else self.at_ns(now)
        known = {} if fresh else self.holds
        return tuple(
            begun_deed(
                Hold(f"{one.target} {one.step}", one.target, one.step, one.wait, one.length_ns,
                     since_ns), "begun", now, since_ns, period_ns)
            for one in wanted
            if f"{one.target} {one.step}" not in known
        )  # fmt: skip

    def go_on(self, now: Instant) -> None:
        """Note that this process goes on with what another one began."""
        self._broke_ns = self.at_ns(now)
        self._rebooted = self._at is not None and self._at.boot != now.boot

    def beat(
        self, now: Instant, seen: Mapping[str, int], told: Fields | None = None
    ) -> tuple[Deed, ...]:
        """Return the events of a moment at which each of *seen* was last seen then, shared clock.

        *told* is what was seen, in numbers, for who reads the journal.
        """
        at_ns = self.at_ns(now)
        stepped_ns = 0 if self._at is None else now.stepped_ns(self._at)
        news = {name: ns for name, ns in seen.items() if ns > self.edges.get(name, ns)}
        fields = {"since_ns": at_ns, "period_ns": self.period_ns, "seen": news}
        fields |= {"stepped_ns": stepped_ns} if stepped_ns else {}
        deeds: list[Deed] = [(BEAT, fields | dict(told or {}) | now.fields)]
        edges, gaps, count = dict(self.edges), list(self.undecided), self._count
        for target in sorted(self.held):
            to_ns = self._edge(target, seen.get(target), at_ns)
            if to_ns - edges[target] > self.limit_ns:
                count += 1
                gap = Gap(f"gap-{count}", target, edges[target], to_ns, self._why(target))
                gaps.append(gap)
                deeds.append((GAP, gap_fields(gap) | now.fields))
            edges[target] = to_ns
        deeds.extend(
            ended_deed(hold, OVER, "", at_ns, now)
            for hold in self.open
            if edges[hold.target] >= hold.due_ns and not any(gap.touches(hold) for gap in gaps)
        )
        return tuple(deeds)

    def decide(
        self,
        gaps: Iterable[str],
        decision: Decision,
        now: Instant,
        said: Fields | None = None,
    ) -> tuple[Deed, ...]:
        """Return the events that settle *gaps*; *said* is who decided, where, in which words."""
        chosen = [gap for name in gaps if (gap := self.gaps[name]).decision is None]
        deeds: list[Deed] = [
            (GAP, gap_fields(gap) | {"decision": decision.value} | dict(said or {}) | now.fields)
            for gap in chosen
        ]
        if decision is Decision.RESTART:
            for hold in self.open:
                ends = [gap.to_ns for gap in chosen if gap.touches(hold)]
                if ends:
                    anew = replace(hold, since_ns=max(ends), restarts=hold.restarts + 1)
                    at_ns = self.at_ns(now)
                    deeds.append(begun_deed(anew, "restart", now, at_ns, self.period_ns))
        return tuple(deeds)

    def abandon(self, words: str, now: Instant) -> tuple[Deed, ...]:
        """Return the events that end all holds without a result."""
        return tuple(ended_deed(hold, ABANDONED, words, self.at_ns(now), now) for hold in self.open)

    def _edge(self, target: str, seen_ns: int | None, at_ns: int) -> int:
        """Return up to when the time of *target* is accounted for, a new gap included."""
        edge_ns = self.edges[target]
        if seen_ns is not None and seen_ns > edge_ns:
            return seen_ns
        due_ns = min(hold.due_ns for hold in self.open if hold.target == target)
        is_lost = at_ns >= due_ns and at_ns - edge_ns > self.limit_ns
        return at_ns if is_lost else edge_ns  # before it is due it may still be seen again

    def _why(self, target: str) -> str:
        if self._broke_ns is None or self.edges[target] > self._broke_ns:
            return NOT_SEEN
        return STOOD_STILL + (NEW_BOOT if self._rebooted else "")

    # Events that were written --------------------------------------------------------------------

    def take(self, kind: str, fields: Fields) -> None:
        """Take an event that is in the journal.

        Raises:
            InputError: it lacks what it must hold.
        """
        try:
            self._take(kind, fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("not an event of a hold", field=kind, value=str(error)) from error

    def _take(self, kind: str, fields: Fields) -> None:
        now = Instant(int(fields["wall_ns"]), int(fields["mono_ns"]), str(fields["boot"]))
        if kind == BEGUN and not self.open:
            fresh_ns = int(fields["since_ns"])
            self.holds, self.gaps, self.edges, self.stepped_ns = {}, {}, {}, ()
            self._at, self._at_ns = now, fresh_ns
        self._at, self._at_ns = now, self.at_ns(now)
        match kind:
            case "hold.begun":
                self.period_ns = int(fields["period_ns"])
                hold = parse_hold(fields)
                self.holds[hold.id] = hold
                self.edges.setdefault(hold.target, hold.since_ns)
            case "hold.beat":
                self._take_beat(fields)
            case "hold.gap":
                self._take_gap(fields)
            case _:
                name = str(fields["hold"])
                self.holds[name] = replace(self.holds[name], ended=str(fields["how"]))

    def _take_beat(self, fields: Fields) -> None:
        for target, at_ns in dict(fields["seen"]).items():
            if target in self.edges:
                self.edges[target] = max(self.edges[target], int(at_ns))
        if "stepped_ns" in fields:
            self.stepped_ns += (int(fields["stepped_ns"]),)

    def _take_gap(self, fields: Fields) -> None:
        gap = parse_gap(fields)
        if gap.id not in self.gaps:
            self._count += 1
            self.edges[gap.target] = max(self.edges[gap.target], gap.to_ns)
        self.gaps[gap.id] = gap


def by_rule(gap: Gap) -> Decision:
    """Return what is decided where nobody can be asked.

    A run that somebody went on with waits anew, which alone can pass. Where the watch itself missed
    something the wait is left as it is, hole and all: to try until it passes would hide attempts.
    """
    return Decision.RESTART if gap.why.startswith(STOOD_STILL) else Decision.COUNT
