"""What a check found: expected, observed, unit, and the frames that show it.

A check is a pure function of a recorded history and returns findings, never a bare bool.
Laws: no finding is no PASS; a finding without evidence cannot be PASS or FAIL by itself;
within one set the worst outcome counts (FAIL before OTHER before PASS).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The words of the test result form."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule applied to what was recorded."""

    rule: str  # stable id, such as "rotation.next-in-turn"
    outcome: Outcome
    expected: str
    observed: str
    unit: str = ""
    frames: tuple[int, ...] = ()  # numbers in the attempt's capture, counted from 1 as tshark does
    needed: int = 0  # how many more calls would let the rule be judged (OTHER only)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number with its unit and limits, and the frames from which it was taken."""

    name: str
    value: float | None  # None: it was not taken, and so cannot PASS
    unit: str
    low: float | None = None
    high: float | None = None
    frames: tuple[int, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """OTHER when it was never taken, FAIL outside the limits, else PASS."""
        if self.value is None:
            return Outcome.OTHER
        low = self.low is not None and self.value < self.low
        high = self.high is not None and self.value > self.high
        return Outcome.FAIL if low or high else Outcome.PASS


_SEVERITY = {Outcome.PASS: 0, Outcome.OTHER: 1, Outcome.FAIL: 2}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of *outcomes*; with none at all OTHER, because PASS must be earned.

    >>> worst([])
    <Outcome.OTHER: 'OTHER'>
    """
    return max(outcomes, key=_SEVERITY.__getitem__, default=Outcome.OTHER)
