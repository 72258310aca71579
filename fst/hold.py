"""One wait on one host, a gap in it, and the moment of both: values, and how events hold them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

BEGUN, BEAT, GAP, ENDED = "hold.begun", "hold.beat", "hold.gap", "hold.ended"
TYPES = frozenset({BEGUN, BEAT, GAP, ENDED})
OVER, ABANDONED = "over", "abandoned"
STEP_NS = 500_000_000  # between two beats no clock drifts so far: it was set
STOOD_STILL = "the run stood still"
NOT_SEEN = "no sample was taken"
NEW_BOOT = "; the machine was started anew, so the length is by its wall clock alone"

Fields = Mapping[str, Any]
Deed = tuple[str, dict[str, Any]]  # type and fields of an event to be written


class Decision(StrEnum):
    """What becomes of a hold that has a gap."""

    COUNT = "count"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment by both clocks; the monotonic one holds within one boot of the machine."""

    wall_ns: int
    mono_ns: int
    boot: str

    def since(self, before: "Instant") -> int:
        """Return how much time went by; by the wall clock when the machine was started between.

        >>> Instant(0, 7, "a").since(Instant(100, 5, "a"))  # the wall clock was set back
        2
        """
        if self.boot == before.boot:
            return max(0, self.mono_ns - before.mono_ns)
        return max(0, self.wall_ns - before.wall_ns)

    def stepped_ns(self, before: "Instant") -> int:
        """Return by how much the wall clock was set in between; 0: it was not, or can't be told."""
        if self.boot != before.boot:
            return 0
        by_ns = (self.wall_ns - before.wall_ns) - (self.mono_ns - before.mono_ns)
        return by_ns if abs(by_ns) > STEP_NS else 0

    @property
    def fields(self) -> dict[str, Any]:
        """Return it as it stands in events."""
        return {"wall_ns": self.wall_ns, "mono_ns": self.mono_ns, "boot": self.boot}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A wait that a step needs on a host."""

    target: str
    step: str
    wait: str  # its name in the plan
    length_ns: int


@dataclass(frozen=True, slots=True)
class Hold:
    """One wait on one host; times are nanoseconds on the shared clock."""

    id: str
    target: str
    step: str
    wait: str
    length_ns: int
    since_ns: int
    restarts: int = 0
    ended: str = ""  # "": it goes on

    @property
    def due_ns(self) -> int:
        """Return when it is over."""
        return self.since_ns + self.length_ns


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing was seen of a host."""

    id: str
    target: str
    from_ns: int
    to_ns: int
    why: str
    decision: Decision | None = None

    @property
    def length_ns(self) -> int:
        """Return how long it was."""
        return self.to_ns - self.from_ns

    def touches(self, hold: Hold) -> bool:
        """Say whether it lies within that wait, at least in part."""
        same = self.target == hold.target
        return same and self.from_ns < hold.due_ns and self.to_ns > hold.since_ns


@dataclass(frozen=True, slots=True)
class MarkLeft:
    """How far a wait of the plan is on all hosts together."""

    wait: str
    length_ns: int
    hosts: int
    over: int
    left_ns: int  # until the last of them


@dataclass(frozen=True, slots=True)
class Settled:
    """What was decided about gaps, by whom and where."""

    decision: Decision
    words: str
    who: str
    where: str


Decide = Callable[[Sequence[Gap]], "Future[Settled]"]  # asks about gaps; the answer comes later


def begun_deed(hold: Hold, why: str, now: Instant, at_ns: int, period_ns: int) -> Deed:
    """Return the event that *hold* begins; *at_ns* is now on the shared clock."""
    to_come_ns = hold.due_ns - at_ns
    return BEGUN, {
        "hold": hold.id,
        "target": hold.target,
        "step": hold.step,
        "wait": hold.wait,
        "length_ns": hold.length_ns,
        "period_ns": period_ns,
        "since_ns": hold.since_ns,
        "due_ns": now.wall_ns + to_come_ns,
        "due_mono_ns": now.mono_ns + to_come_ns,
        "restarts": hold.restarts,
        "why": why,
        **now.fields,
    }


def ended_deed(hold: Hold, how: str, words: str, at_ns: int, now: Instant) -> Deed:
    """Return the event that *hold* is over, or was given up."""
    place = {"hold": hold.id, "target": hold.target, "step": hold.step}
    return ENDED, place | {"since_ns": at_ns, "how": how, "words": words} | now.fields


def gap_fields(gap: Gap) -> dict[str, Any]:
    """Return a gap as it stands in events."""
    return {
        "gap": gap.id,
        "target": gap.target,
        "from_ns": gap.from_ns,
        "to_ns": gap.to_ns,
        "gap_ns": gap.length_ns,
        "why": gap.why,
    }


def parse_gap(fields: Fields) -> Gap:
    """Return the gap of an event; what it lacks raises KeyError, what it can't be ValueError."""
    decision = fields.get("decision")
    return Gap(
        str(fields["gap"]),
        str(fields["target"]),
        int(fields["from_ns"]),
        int(fields["to_ns"]),
        str(fields["why"]),
        None if decision is None else Decision(decision),
    )


def parse_hold(fields: Fields) -> Hold:
    """Return the hold of an event; what it lacks raises KeyError, what it can't be ValueError."""
    return Hold(
        str(fields["hold"]),
        str(fields["target"]),
        str(fields["step"]),
        str(fields["wait"]),
        int(fields["length_ns"]),
        int(fields["since_ns"]),
        int(fields["restarts"]),
    )
