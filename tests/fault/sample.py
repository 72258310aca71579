"""What a run takes of a long list of faults: a seeded part, all of it in a soak (`make soak`).

HASYNC_SEED=7 takes another part: every case has its turn, and each run can be had again.
"""

import os
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

SOAK = int(os.environ.get("HASYNC_SOAK", "0"))  # how many random kills; 0 is a run of CI
SEED = int(os.environ.get("HASYNC_SEED", "4"))
ACTIONS = ("kill", "raise", "enospc")
Case = TypeVar("Case")


def dice(salt: object) -> random.Random:
    """Return dice that fall the same way in each run of a seed, another way for each *salt*."""
    return random.Random(f"{SEED} {salt}")  # noqa: S311 - a reproducible choice, no secret


def some(cases: Iterable[Case], count: int, *, always: Iterable[Case] = ()) -> list[Case]:
    """Return those that are *always* taken and *count* others, in their order; in a soak all.

    >>> len(some("abcdef", 2, always="f")) in (3, 6)
    True
    """
    found, kept = list(cases), list(always)
    others = [case for case in found if case not in kept]
    if SOAK or count >= len(others):
        return found
    names = [getattr(case, "__name__", case) for case in found]
    kept += dice(names).sample(others, count)
    return [case for case in found if case in kept]


def orders(points: Sequence[str], always: str = "\0") -> list[str]:
    """Return what is ordered of $HASYNC_FAILPOINT: something at each point; in a soak everything.

    Of the two edges of a step one is killed at; at the other one it fails, or has a full disk.
    Points with *always* in their name have both, whatever the seed.
    """
    if SOAK:
        return [f"{point}:{action}" for point in points for action in ACTIONS]
    found = []
    for at, point in enumerate(points):
        step = dice(point.rpartition(".")[0])
        first_is_killed, failure = step.random() < 0.5, step.choice(ACTIONS[1:])
        if always in point or first_is_killed == (at % 2 == 0):
            found.append(f"{point}:kill")
        if always in point or first_is_killed != (at % 2 == 0):
            found.append(f"{point}:{failure}")
    return found


def taken(count: int, whole: int, what: str) -> str:
    """Return in words what part a run takes.

    >>> taken(3, 3, "calls")
    '3 calls'
    """
    return f"{count} {what}" if count == whole else f"{count} of {whole} {what}, seed {SEED}"
