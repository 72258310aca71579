"""The only two clocks: the machine's, and one that a test moves by hand.

`wall_ns` is UTC for evidence; `monotonic_ns` is for timers. The two are never mixed.
"""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Time as an argument, so that a run can be replayed and a test need not wait."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970 in UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start that never goes back."""
        ...


class SystemClock:
    """The machine's own time."""

    def wall_ns(self) -> int:
        """Return the wall clock, in nanoseconds since 1970 (UTC)."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return the monotonic clock, in nanoseconds."""
        return time.monotonic_ns()


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until `advance` is called."""

    now_ns: int = 0

    def wall_ns(self) -> int:
        """Return the time it was set to."""
        return self.now_ns

    def monotonic_ns(self) -> int:
        """Return the time it was set to."""
        return self.now_ns

    def advance(self, by_ns: int) -> None:
        """Move on by *by_ns* nanoseconds."""
        self.now_ns += by_ns
