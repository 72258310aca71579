"""Holds under whatever a night brings: lost hosts, clocks set, kills, boots, decisions."""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fst.hold import BEAT, BEGUN, ENDED, GAP, Decision, Deed, Gap, Instant, Wanted
from fst.holds import Holds, by_rule
from harness.clock import ManualClock
from harness.errors import InputError

NS = 1_000_000_000
PERIOD_NS = 5 * NS
LIMIT_NS = 3 * PERIOD_NS
HOSTS = ("site1/a", "site1/b", "site2/c")
WAITS = {"short": 60 * NS, "long": 180 * NS}
WANTED = [Wanted(host, f"A.{len(name)}", name, ns) for host in HOSTS for name, ns in WAITS.items()]


class Night(RuleBasedStateMachine):
    """The journal is a list; the program's memory must always be what the list says."""

    def __init__(self) -> None:
        """Begin all holds at once."""
        super().__init__()
        self.clock, self.wall_ns, self.boot = ManualClock(), 1_000 * 3600 * NS, 1
        self.real_ns = 0  # that went by since the holds began, whatever clocks say
        self.journal: list[Deed] = []
        self.holds = Holds()
        self.told_boot = 1  # the boot that the journal knows of
        self.seen_at: dict[str, list[int]] = {host: [0] for host in HOSTS}
        self.write(self.holds.begin(WANTED, PERIOD_NS, self.now))

    @property
    def now(self) -> Instant:
        """Return the present moment by both clocks."""
        return Instant(self.wall_ns, self.clock.now_ns, f"boot-{self.boot}")

    def write(self, deeds: Iterable[Deed]) -> None:
        """Journal the events, then take them."""
        for kind, fields in deeds:
            self.journal.append((kind, fields))
            self.told_boot = self.boot
            self.holds.take(kind, fields)

    def pass_by(self, ns: int) -> None:
        self.clock.advance(ns)
        self.wall_ns += ns
        self.real_ns += ns

    @rule(ns=st.integers(1, 2 * LIMIT_NS), seen=st.sets(st.sampled_from(HOSTS)))
    def beat(self, ns: int, seen: set[str]) -> None:
        """Some time goes by, and some hosts are seen at the end of it."""
        self.pass_by(ns)
        at_ns = self.holds.at_ns(self.now)
        for host in seen:
            self.seen_at[host].append(at_ns)
        self.write(self.holds.beat(self.now, dict.fromkeys(seen, at_ns)))

    @precondition(lambda self: self.told_boot == self.boot)  # else nothing could tell it
    @rule(by_ns=st.sampled_from([-3600 * NS, -2 * NS, 700_000_000, 7200 * NS]))
    def set_clock(self, by_ns: int) -> None:
        """Somebody sets the laptop's clock; the next beat says by how much."""
        before = self.holds.stepped_ns
        self.wall_ns += by_ns
        self.write(self.holds.beat(self.now, {}))
        assert self.holds.stepped_ns == (*before, by_ns)

    @rule(ns=st.integers(0, 3 * LIMIT_NS))
    def kill(self, ns: int) -> None:
        """The program ends; another one reads the journal later."""
        self.pass_by(ns)
        self.holds = self.folded()
        self.holds.go_on(self.now)

    @rule(ns=st.integers(NS, 3 * LIMIT_NS))
    def reboot(self, ns: int) -> None:
        """The machine is started anew: its monotonic clock begins again."""
        self.pass_by(ns)
        self.boot += 1
        self.clock.now_ns = 7
        self.holds = self.folded()
        self.holds.go_on(self.now)

    @precondition(lambda self: self.holds.undecided)
    @rule(decision=st.sampled_from(list(Decision)), every=st.booleans())
    def decide(self, decision: Decision, every: bool) -> None:
        """A person decides on a gap, or on all of them."""
        names = [gap.id for gap in self.holds.undecided]
        self.write(self.holds.decide(names if every else names[:1], decision, self.now))

    def folded(self) -> Holds:
        found = Holds()
        for kind, fields in self.journal:
            found.take(kind, fields)
        return found

    @invariant()
    def journal_is_enough(self) -> None:
        """Who reads the journal knows what the program knows."""
        found = self.folded()
        assert found.holds == self.holds.holds
        assert found.gaps == self.holds.gaps
        assert found.edges == self.holds.edges
        assert found.at_ns(self.now) == self.holds.at_ns(self.now)

    @invariant()
    def shared_clock_tells_the_time(self) -> None:
        """Neither set clocks nor kills nor boots change how much time is counted."""
        assert self.holds.at_ns(self.now) == self.real_ns

    @invariant()
    def nothing_is_over_unseen(self) -> None:
        """A hold that is over was seen all through, but for gaps that somebody decided."""
        for hold in self.holds.holds.values():
            if not hold.ended:
                continue
            gaps = [gap for gap in self.holds.gaps.values() if gap.touches(hold)]
            assert all(gap.decision is not None for gap in gaps)
            marks = sorted({hold.since_ns, *self.seen_at[hold.target]})
            marks = [at for at in marks if at >= hold.since_ns]
            for before, after in zip(marks, [*marks[1:], self.real_ns], strict=True):
                if before < hold.due_ns and min(after, hold.due_ns) - before > LIMIT_NS:
                    assert any(gap.from_ns <= before < gap.to_ns for gap in gaps)

    @invariant()
    def held_hosts_are_those_with_open_holds(self) -> None:
        """What must not be disturbed is what still waits."""
        assert self.holds.held == {hold.target for hold in self.holds.open}


Night.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestNight = Night.TestCase
TestNight.__doc__ = "Holds keep their laws whatever happens, in whatever order."


def test_hold_that_was_given_up_is_begun_from_zero_again() -> None:
    """After all holds were abandoned the shared clock begins at zero with the next ones."""
    holds = Holds()

    def write(deeds: Iterable[Deed]) -> None:
        for kind, fields in deeds:
            holds.take(kind, fields)

    write(holds.begin(WANTED, PERIOD_NS, Instant(0, 0, "a")))
    write(holds.abandon("its hosts are gone", Instant(90 * NS, 90 * NS, "a")))
    assert holds.held == frozenset()
    write(holds.begin(WANTED, PERIOD_NS, Instant(100 * NS, 100 * NS, "a")))

    assert {hold.since_ns for hold in holds.open} == {0}
    assert holds.at_ns(Instant(101 * NS, 101 * NS, "a")) == NS


def test_program_killed_while_it_began_holds_begins_the_rest_later() -> None:
    """What was begun goes on; what was not begins then, on the same clock."""
    first, later = Instant(0, 0, "a"), Instant(9 * NS, 9 * NS, "a")
    holds = Holds()
    for kind, fields in holds.begin(WANTED, PERIOD_NS, first)[:2]:
        holds.take(kind, fields)
    for kind, fields in holds.begin(WANTED, PERIOD_NS, later):
        holds.take(kind, fields)

    assert sorted(hold.since_ns for hold in holds.open) == [0, 0, *[9 * NS] * 4]


@pytest.mark.parametrize("kind", [BEGUN, BEAT, GAP, ENDED])
def test_event_that_lacks_its_fields_is_refused(kind: str) -> None:
    """A journal that somebody else wrote is named, not crashed on."""
    with pytest.raises(InputError, match="not an event of a hold"):
        Holds().take(kind, {"wall_ns": 1, "mono_ns": 1, "boot": "a"})


@pytest.mark.parametrize(
    ("why", "decision"),
    [("the run stood still; more", Decision.RESTART), ("no sample was taken", Decision.COUNT)],
)
def test_rule_for_gaps_that_nobody_is_asked_about(why: str, decision: Decision) -> None:
    """Who goes on with a run waits anew; what the watch itself missed stays a hole."""
    assert by_rule(Gap("gap-1", "site1/a", 0, 99, why)) is decision
