"""One host of a history with all its snapshots read, and what judges ask of them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from fst.ea_profile import Profile
from fst.host_history import NS, HostHistory, WatchedHost, snapshot
from fst.roles import RoleSpec
from harness.finding import Finding, Outcome
from harness.snapshot import HostSnapshot, Process

GAP_PERIODS = 3  # two samples in a row may be lost before the watch has a hole
GAP_FLOOR_NS = 2 * NS  # start times have whole seconds: a shorter hole hides no restart
START_TOLERANCE_S = 2  # of ps: both the boot time and the start are rounded


@dataclass(frozen=True)
class HostView:
    """One host of a history; not slotted, because its snapshots are read once and kept."""

    history: HostHistory
    host: WatchedHost
    spec: RoleSpec
    profile: Profile

    @cached_property
    def snapshots(self) -> tuple[HostSnapshot, ...]:
        """Return its snapshots, oldest first."""
        samples = self.history.of(self.host.target)
        return tuple(snapshot(one, self.spec, self.profile) for one in samples)

    @property
    def gap_ns(self) -> int:
        """Return how far apart two samples may be."""
        return max(GAP_PERIODS * self.history.period_ns, GAP_FLOOR_NS)

    def hole(self, seen_ns: tuple[int, ...], wait_ns: int, begin_ns: int = 0) -> str:
        """Return where, in a wait from *begin_ns* on, nothing was seen for too long; or ""."""
        end_ns = begin_ns + wait_ns
        marks = (begin_ns, *(at for at in seen_ns if begin_ns < at <= end_ns + self.gap_ns))
        for before, after in pairwise(marks):
            if after - before > self.gap_ns:
                return f"nothing was seen from {before / NS:.1f} to {after / NS:.1f} s"
        if marks[-1] < end_ns:
            return f"seen for {(marks[-1] - begin_ns) / NS:.1f} s of {wait_ns / NS:.1f} s only"
        return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """The id of a rule and what it expects: makes its findings."""

    id: str
    expected: str
    unit: str = ""

    def held(self, observed: str) -> Finding:
        """Return a PASS."""
        return Finding(self.id, Outcome.PASS, self.expected, observed, self.unit)

    def broken(self, observed: str) -> Finding:
        """Return a FAIL."""
        return Finding(self.id, Outcome.FAIL, self.expected, observed, self.unit)

    def open(self, observed: str) -> Finding:
        """Return an OTHER: what was seen does not decide it."""
        return Finding(self.id, Outcome.OTHER, self.expected, observed, self.unit)


def same_process(first: Process, now: Process, clock_moved_s: float) -> bool:
    """Say whether two listings are of one process; *clock_moved_s*: the host's clock was set."""
    moved_s = now.start_s - first.start_s - clock_moved_s
    return first.pid == now.pid and abs(moved_s) <= START_TOLERANCE_S


def clock_moved_s(first: HostSnapshot, now: HostSnapshot) -> float:
    """Return by how much the host's clock was set between two snapshots, as far as is known.

    ps computes start times from the present clock, so setting it seems to move them all.
    """
    if first.clock is None or now.clock is None:
        return 0.0
    return now.clock.offset_s - first.clock.offset_s
