"""Where the records of a capture start, walked from many places of it at once.

Laws: exact: what a walk from a guessed place finds counts only when the walk before it ends there,
so that it is what one walk from the start finds; where a guess was wrong, that walk goes on alone.
"""

from typing import Protocol

import numpy as np

from harness.packets.capture_rows import Bools, Ints

WALKS = 512
WINDOW_BYTES = 2048  # in which a guess is made: longer than a usual frame
_STEPS = 64  # taken before they are looked at


class Steps(Protocol):
    """How one kind of file goes from record to record, between two bytes of it."""

    begin: int
    end: int

    def next(self, at: Ints) -> Ints:
        """Return where each of these records would end, true or not.

        A place may lie anywhere after `begin`, also past `end`.
        """
        ...

    def whole(self, at: Ints, after: Ints) -> Bools:
        """Say which of the records that `next` told the end of are whole and possible."""
        ...

    def next_alone(self, at: int) -> int:
        """Return where a whole record ends, or *at* when there is none; quick for one."""
        ...

    def likely(self, first: int, step: int, walks: int, window_bytes: int) -> Ints:
        """Return places, in order, at which a record seems to start.

        They are looked for in *walks* windows, *step* bytes from one to the next; all bytes that
        this may look at lie before `end`.
        """
        ...


def walk(steps: Steps, *, walks: int = WALKS, window_bytes: int = WINDOW_BYTES) -> tuple[Ints, int]:
    """Return where each whole record starts, and where the last of them ends."""
    guesses = _guesses(steps, walks, window_bytes)
    if not guesses.size:
        return _alone(steps, steps.begin, frozenset())
    froms = np.concatenate(([steps.begin], guesses))
    stops = np.append(guesses, steps.end)
    found, ends = _together(steps, froms, stops)
    pieces: list[Ints] = []
    at, known = steps.begin, {int(one): number for number, one in enumerate(froms)}
    places = frozenset(known)
    while (number := known.get(at)) is not None:
        pieces += found[number]
        at = int(ends[number])
        if at < stops[number]:  # no whole record follows
            break
        if at not in known and at < steps.end:
            piece, at = _alone(steps, at, places)
            pieces.append(piece)
    return np.concatenate(pieces), at


def _alone(steps: Steps, at: int, until: frozenset[int]) -> tuple[Ints, int]:
    """Walk from one place to the end, or to one of these places."""
    found: list[int] = []
    while at not in until and (after := steps.next_alone(at)) > at:
        found.append(at)
        at = after
    return np.array(found, np.int64), at


def _guesses(steps: Steps, walks: int, window_bytes: int) -> Ints:
    """Return places, far apart, at which a record seems to start."""
    size = steps.end - steps.begin
    walks = min(walks, size // (8 * window_bytes))  # looking at more than that does not pay
    if walks < 2:  # noqa: PLR2004 - one walk is the one from the start
        return np.empty(0, np.int64)
    step = size // walks
    first = steps.begin + step
    guesses = np.empty(0, np.int64)
    for part in (4, 1):  # audio needs a part of the window, large messages need it all
        places = steps.likely(first, step, walks - 1, -(-window_bytes // part))
        _, chosen = np.unique((places - steps.begin) // step, return_index=True)
        guesses = places[chosen]
        if 2 * len(guesses) > walks:
            break
    return guesses


def _together(steps: Steps, froms: Ints, stops: Ints) -> tuple[list[list[Ints]], Ints]:
    """Walk from all places at once, each to its stop; return what each found, and its end."""
    ends = froms.copy()
    walking = np.arange(len(froms))
    found: list[list[Ints]] = [[] for _ in froms]
    while walking.size:
        path, good = _most_arrive(steps, ends[walking], stops[walking])
        counts = good.sum(axis=0)
        pieces = np.split(path[:-1].T[good.T], np.cumsum(counts)[:-1])
        for number, piece in zip(walking.tolist(), pieces, strict=True):
            found[number].append(piece)
        ends[walking] = path[counts, np.arange(len(counts))]
        walking = walking[good[-1]]
    return found, ends


def _most_arrive(steps: Steps, here: Ints, stops: Ints) -> tuple[Ints, Bools]:
    """Walk until half of the walks are over.

    Return where each was before each step and after the last, and which of the steps are good: the
    first ones of each walk. Those that arrived walk on in vain, which is cheaper than to look.
    """
    paths, goods = [], []
    active = np.ones(len(here), np.bool_)
    while 2 * np.count_nonzero(active) > len(here):
        path = np.empty((_STEPS + 1, len(here)), np.int64)
        path[0] = here
        for number in range(_STEPS):
            path[number + 1] = here = steps.next(here)
        good = steps.whole(path[:-1], path[1:])
        good &= path[:-1] < stops
        good[0] &= active
        np.logical_and.accumulate(good, axis=0, out=good)
        paths.append(path[:-1])
        goods.append(good)
        active = good[-1]
    return np.concatenate((*paths, here[None])), np.concatenate(goods)
