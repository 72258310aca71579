"""How long a failing peer is tried again: a value that says when the next attempt is, or no more.

Law: what makes progress goes on while its own time limit allows. Without any, no attempt begins
after `GIVE_UP_S`; the last may stall for its own minute: a black hole costs less than three.
"""

from dataclasses import dataclass, replace

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # the last one again and again
GIVE_UP_S = 110.0  # without progress


@dataclass(frozen=True, slots=True)
class Patience:
    """What is left of it after some attempts; times are monotonic."""

    progress_ns: int  # when there was progress last, at first the start
    tries: int = 0
    give_up_s: float = GIVE_UP_S

    def after(self, begun_ns: int, ended_ns: int, stall_s: float) -> "Patience":
        """Return the patience after an attempt that failed.

        One that took longer than two stalls has moved something: it would have ended before.
        """
        if ended_ns - begun_ns > 2e9 * stall_s:
            return replace(self, progress_ns=ended_ns, tries=1)
        return replace(self, tries=self.tries + 1)

    @property
    def wait_s(self) -> float:
        """Return how long to wait before the next attempt.

        >>> [Patience(0, tries).wait_s for tries in (1, 2, 9)]
        [1.0, 2.0, 30.0]
        """
        return BACK_OFF_S[min(max(self.tries, 1), len(BACK_OFF_S)) - 1]

    def is_over(self, now_ns: int) -> bool:
        """Say whether the next attempt would come too late to be waited for."""
        return now_ns + round(self.wait_s * 1e9) - self.progress_ns > self.give_up_s * 1e9
