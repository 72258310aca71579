"""How long an SBC leaves a server alone after its failures, by what is declared of that SBC.

Laws: what was before the capture is unknown, so a term has a least and a most: less than the least
breaks every reading, more than the most does too; a server that may not be held at all has a least
of 0. Failures of questions that were open together may count once or each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from enumtest.profiles.profile_groups import MAX_NS, ReadmitBy, Stage
from enumtest.profiles.profiles import Profile


@dataclass(frozen=True, slots=True)
class Term:
    """How long one server is left alone; `MAX_NS`: until probes bring it back."""

    least_ns: int
    most_ns: int

    @property
    def by_probes(self) -> bool:
        """Say whether no time ends it."""
        return self.most_ns == MAX_NS

    @property
    def is_certain(self) -> bool:
        """Say whether the server is held, whatever was before."""
        return self.least_ns > 0


@dataclass(slots=True)
class FailureCount:
    """The failures of one server in a capture that begins at *since_ns*."""

    profile: Profile
    since_ns: int
    _sure_ns: list[int] = field(default_factory=list)  # that every reading counts
    _maybe_ns: list[int] = field(default_factory=list)  # that some reading does

    def add(self, at_ns: int, together_ns: Sequence[int], answered_ns: int | None) -> Term:
        """Count a failure and those that were open with it; return what follows from them.

        *answered_ns* is when the server last answered before.
        """
        rules, by = self.profile.hold_down, self.profile.readmission.by
        self._sure_ns.append(at_ns)
        self._maybe_ns += together_ns
        least_ns = most_ns = 0
        for stage in rules.stages:
            length_ns = MAX_NS if by is ReadmitBy.PROBES else stage.length_ns
            if self._count(self._sure_ns, stage, at_ns, answered_ns) >= stage.failures:
                least_ns = length_ns
            maybe = self._count(self._maybe_ns, stage, together_ns[-1], answered_ns)
            if maybe >= stage.failures or self._may_have_more(stage, at_ns, answered_ns):
                most_ns = length_ns
        if (
            rules.stages
            and self._count(self._sure_ns, rules.stages[-1], at_ns, answered_ns)
            >= rules.stages[-1].failures
        ):
            self._sure_ns.clear()  # some begin to count anew when the last stage is over
        return Term(least_ns, max(least_ns, most_ns))

    @staticmethod
    def _count(times_ns: Sequence[int], stage: Stage, at_ns: int, answered_ns: int | None) -> int:
        since_ns = answered_ns if stage.consecutive else None
        return sum(
            (since_ns is None or since_ns < one_ns)
            and (not stage.window_ns or at_ns - one_ns < stage.window_ns)
            for one_ns in times_ns
        )

    def _may_have_more(self, stage: Stage, at_ns: int, answered_ns: int | None) -> bool:
        """Say whether failures before the capture may count with this one."""
        if stage.consecutive and answered_ns is not None:
            return False
        return not stage.window_ns or at_ns - self.since_ns < stage.window_ns
