"""The change window of a run: when it begins and ends, and until when it may still be disturbed.

The point of no return is the end less the time that restoring everything takes: what begins after
it might not be undone in time.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

NS = 1_000_000_000
MIN_NS = 60 * NS
LONGEST_H = 48  # a longer one is a slip of the pen


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How much of a window is left; negative: it is over."""

    begins_in_ns: int
    ends_in_ns: int
    no_return_in_ns: int

    @property
    def is_open(self) -> bool:
        """Say whether the window has begun and is not over."""
        return self.begins_in_ns <= 0 < self.ends_in_ns


class Window(BaseModel):
    """`[window]` of a site file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: AwareDatetime
    ends: AwareDatetime
    restore_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 30

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        hours = (self.ends - self.begins).total_seconds() / 3600
        if hours <= 0:
            raise ValueError("it ends before it begins; correct begins or ends")
        if hours > LONGEST_H:
            raise ValueError(f"longer than {LONGEST_H} hours; correct begins or ends")
        if self.restore_minutes >= hours * 60:
            raise ValueError("restore_minutes fill the whole window; nothing could be disturbed")
        return self

    def left(self, wall_ns: int) -> TimeLeft:
        """Return how much is left at that wall time (nanoseconds since 1970, UTC)."""
        begins_ns, ends_ns = (round(at.timestamp()) * NS for at in (self.begins, self.ends))
        return TimeLeft(
            begins_ns - wall_ns,
            ends_ns - wall_ns,
            ends_ns - self.restore_minutes * MIN_NS - wall_ns,
        )

    def refusal(self, wall_ns: int) -> str:
        """Return why nothing may be disturbed at that wall time; "": it may."""
        left = self.left(wall_ns)
        if left.begins_in_ns > 0:
            return f"the change window begins only at {self.begins.isoformat()}"
        if left.ends_in_ns <= 0:
            return f"the change window ended at {self.ends.isoformat()}"
        if left.no_return_in_ns <= 0:
            return (
                f"past the point of no return: {self.restore_minutes} minutes are needed to put "
                f"everything back before {self.ends.isoformat()}"
            )
        return ""
