"""Where the records of a pcap file start, walked from many places of it at once.

Laws: exact: what a walk from a guessed place finds counts only when the walk before it ends there,
so that it is what one walk from the start finds; where a guess was wrong, that walk goes on alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[Any]  # the number at every byte, in the file's byte order

HEADER_BYTES = 16
WALKS = 512
WINDOW_BYTES = 2048  # in which a guess is made: longer than a usual frame
CLOSE_S = 7 * 86_400  # between the first record and any other, for a guess
_CAPTURED, _ORIGINAL = 8, 12  # bytes into a record's header


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Records, one after the other: from one byte to another, none longer than a limit."""

    words: Words
    begin: int
    end: int
    limit_bytes: int

    def walk(self, *, walks: int = WALKS, window_bytes: int = WINDOW_BYTES) -> tuple[Ints, int]:
        """Return where each whole record starts, and where the last of them ends."""
        guesses = self._guesses(np.arange(1, walks), window_bytes)
        if not guesses.size:
            return self._alone(self.begin)
        froms = np.concatenate(([self.begin], guesses))
        stops = np.append(guesses, self.end)
        found, ends = self._together(froms, stops)
        pieces: list[Ints] = []
        at, known = self.begin, {int(one): number for number, one in enumerate(froms)}
        while (number := known.get(at)) is not None:
            pieces.append(found[number])
            at = int(ends[number])
            if at < stops[number]:  # no whole record follows
                break
            if at not in known and at < self.end:
                piece, at = self._alone(at, frozenset(known))
                pieces.append(piece)
        return np.concatenate(pieces), at

    def _alone(self, at: int, until: frozenset[int] = frozenset()) -> tuple[Ints, int]:
        """Walk from one place to the end, or to one of these places."""
        found: list[int] = []
        while at + HEADER_BYTES <= self.end and at not in until:
            captured = int(self.words[at + _CAPTURED])
            after = at + HEADER_BYTES + captured
            if after > self.end or captured > self.limit_bytes:
                break
            found.append(at)
            at = after
        return np.array(found, np.int64), at

    def _guesses(self, walks: Ints, window_bytes: int) -> Ints:
        """Return places, far apart, at which a record seems to start."""
        step = (self.end - self.begin) // (len(walks) + 1)
        if step <= 2 * window_bytes:
            return np.empty(0, np.int64)
        places = self.begin + step * walks[:, None] + np.arange(window_bytes)
        places = places[places[:, -1] + HEADER_BYTES <= self.end].ravel()
        places = places[self._is_close(places)]  # by its time alone: most are none
        places = places[self._is_likely(places)]
        after = self._after(places)
        places, after = (
            places[after + HEADER_BYTES <= self.end],
            after[after + HEADER_BYTES <= self.end],
        )
        places = places[self._is_close(after) & self._is_likely(after)]
        _, first = np.unique((places - self.begin) // step, return_index=True)
        return places[first]

    def _is_close(self, at: Ints) -> Bools:
        """Say of which places the time would be near the first record's."""
        apart_s = self.words[at].astype(np.int64) - int(self.words[self.begin])
        close: Bools = np.abs(apart_s) <= CLOSE_S
        return close

    def _is_likely(self, at: Ints) -> Bools:
        """Say of which places the two lengths would be those of a frame."""
        captured, original = self.words[at + _CAPTURED], self.words[at + _ORIGINAL]
        good: Bools = (captured <= original) & (captured > 0) & (original <= self.limit_bytes)
        return good

    def _after(self, at: Ints) -> Ints:
        return at + HEADER_BYTES + self.words[at + _CAPTURED].astype(np.int64)

    def _together(self, froms: Ints, stops: Ints) -> tuple[list[Ints], Ints]:
        """Walk from all places at once, each to its stop; return what each found, and its end."""
        at, walking = froms.copy(), np.arange(len(froms))
        who, where = [walking[:0]], [walking[:0]]
        while walking.size:
            here = at[walking]
            inside = (here < stops[walking]) & (here + HEADER_BYTES <= self.end)
            if not inside.all():
                walking, here = walking[inside], here[inside]
            after = self._after(here)
            whole = (after <= self.end) & (after - here <= self.limit_bytes + HEADER_BYTES)
            if not whole.all():
                walking, here, after = walking[whole], here[whole], after[whole]
            who.append(walking)
            where.append(here)
            at[walking] = after
        walks = np.concatenate(who)
        order = np.argsort(walks.astype(np.uint16), kind="stable")
        ends = np.cumsum(np.bincount(walks, minlength=len(froms)))
        return np.split(np.concatenate(where)[order], ends[:-1]), at
