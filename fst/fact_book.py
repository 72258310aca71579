"""What hosts are like when an attempt begins and when it ends, written to the journal.

Pure. An exercise is carried out once and serves several cases, so the look at its hosts before it
stands for all of them: a change between two cases that rest on the same packets is seen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fst.host_history import WatchedHost
from fst.matrix import Case
from fst.plan import Marker
from fst.schedule import concerned

START, END = "start", "end"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one host at one time; names as in `fst.suspects`."""

    values: Mapping[str, str] = field(default_factory=dict)
    clock_offset_ms: float | None = None

    def __or__(self, other: "Facts") -> "Facts":
        """Return what both say of the same host."""
        offset_ms = self.clock_offset_ms if other.clock_offset_ms is None else other.clock_offset_ms
        return Facts({**self.values, **other.values}, offset_ms)

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is known."""
        return not self.values and self.clock_offset_ms is None


Look = Callable[[Sequence[str]], Mapping[str, Facts]]  # hosts, to what is known of them now


class FactBook:
    """The facts of the hosts of a site file; asks all of *looks*, each may know another part."""

    def __init__(
        self, hosts: Iterable[WatchedHost], looks: Sequence[Look], append: Callable[..., object]
    ) -> None:
        """Write through *append*."""
        self._hosts, self._looks, self._append = tuple(hosts), tuple(looks), append
        self._before: dict[str, dict[str, Facts]] = {}  # by exercise and host

    def begin(self, case: Case, exercise: str = "") -> None:
        """Write what the hosts of *case* are like, or were when its *exercise* was begun.

        Part A is judged from a watch, which has looks of its own.
        """
        targets = self._targets(case)
        before = self._before.setdefault(exercise, {}) if exercise else {}
        found = self._look([one for one in targets if one not in before])
        before |= found
        self._write({one: before[one] for one in targets if one in before}, START)

    def end(self, case: Case) -> None:
        """Write what they are like now."""
        self._write(self._look(self._targets(case)), END)

    def forget(self, exercise: str) -> None:
        """Look anew before *exercise* is carried out again."""
        self._before.pop(exercise, None)

    def _targets(self, case: Case) -> list[str]:
        if case.step.marker is Marker.BASELINE:
            return []
        return sorted(concerned(case, self._hosts))

    def _look(self, targets: Sequence[str]) -> dict[str, Facts]:
        known = dict.fromkeys(targets, Facts())
        for look in self._looks if targets else ():
            for target, facts in look(targets).items():
                known[target] = known[target] | facts
        return {target: facts for target, facts in known.items() if not facts.is_empty}

    def _write(self, found: Mapping[str, Facts], when: str) -> None:
        for target, facts in found.items():
            told: dict[str, Any] = {"target": target, "values": dict(facts.values)}
            if facts.clock_offset_ms is not None:
                told["clock_offset_ms"] = facts.clock_offset_ms
            self._append("facts", **told, when=when)
