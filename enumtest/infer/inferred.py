"""One value of an unknown SBC's profile as packets show it, with how sure that is.

Laws: nothing is guessed: what was not seen has no interval and no frames, and says what to do to
see it; the value itself lies in the interval, and is the roundest there, as people set timers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from enumtest.traffic.hop_table import Cite

MAX_CITED = 12
MS, S = 1_000_000, 1_000_000_000  # nanoseconds
_STEPS_NS = tuple(
    S * step for step in (3600, 1800, 900, 600, 300, 180, 60, 30, 15, 10, 5, 2, 1)
) + tuple(MS * step for step in (500, 250, 100, 50, 20, 10, 5, 2, 1))


@dataclass(frozen=True, slots=True)
class Inferred:
    """What is known of the value at *path* of a profile."""

    path: str
    value: object  # within the interval; None: nothing was seen
    known: bool  # False: the value fits what was seen, and so do others
    seen: str  # in words
    low: int | None = None  # of a number, both included; times in ns; None: no such bound
    high: int | None = None
    samples: int = 0
    cites: tuple[Cite, ...] = ()
    provoke: str = ""  # what would show it, or show it better
    beside: object = None  # where both readings fit: the one that goes with the other values

    @property
    def is_time(self) -> bool:
        """Say whether value and interval are nanoseconds."""
        return self.path.endswith("_ns")


def unseen(path: str, provoke: str, seen: str = "not observed") -> Inferred:
    """Return a value of which nothing is known."""
    return Inferred(path, None, known=False, seen=seen, provoke=provoke)


def round_ns(low_ns: int, high_ns: int) -> int:
    """Return the roundest time from *low_ns* to *high_ns*, as people set timers.

    >>> round_ns(4_960_000_000, 5_010_000_000)
    5000000000
    """
    for step_ns in _STEPS_NS:
        first_ns = -(-low_ns // step_ns) * step_ns
        if 0 < first_ns <= high_ns:
            return first_ns
    return (low_ns + high_ns) // 2


def cited(cites: Iterable[Cite]) -> tuple[Cite, ...]:
    """Return the first of *cites*, each once."""
    return tuple(dict.fromkeys(cites))[:MAX_CITED]


def base(file: str) -> str:
    """Return the name of a file without its folders."""
    return file.rpartition("/")[2]


def interval_s(low_ns: int | None, high_ns: int | None) -> str:
    """Return an interval of times in words, seconds."""
    if low_ns is None and high_ns is None:
        return "unknown"
    if low_ns is None or not low_ns:
        return f"at most {_s(high_ns or 0)} s"
    if high_ns is None:
        return f"more than {_s(low_ns)} s"
    return f"{_s(low_ns)} s" if low_ns == high_ns else f"{_s(low_ns)} to {_s(high_ns)} s"


def _s(at_ns: int) -> str:
    return f"{at_ns / S:.3f}".rstrip("0").rstrip(".")
