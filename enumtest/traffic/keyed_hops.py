"""Hops by what makes a message theirs: which is the latest before it, which the next behind it.

Law: a message and a hop go together only when their keys are equal.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from harness.packets.capture import Ints


@dataclass(frozen=True, slots=True, eq=False)
class KeyedHops:
    """Hops by what makes an answer theirs."""

    first: Ints  # rows of the messages
    order: Ints  # of the hops, by key and then by time
    sorted_: Ints  # key and row in one, in that order
    count: int  # rows of the messages

    @classmethod
    def of(cls, first: Ints, key: Ints, count: int) -> Self:
        """Return hops by their first rows and keys, of a table with *count* rows."""
        whole = key * count + first
        order = np.argsort(whole, kind="stable")
        return cls(first, order, whole[order], count)

    def latest(self, key: Ints, row: Ints) -> Ints:
        """Return the latest hop of each key that began before that row; -1: none."""
        at = np.searchsorted(self.sorted_, key * self.count + row, side="right") - 1
        return self._checked(at, key)

    def following(self, key: Ints, row: Ints) -> Ints:
        """Return the first hop of each key that began after that row; -1: none."""
        at = np.searchsorted(self.sorted_, key * self.count + row, side="right")
        return self._checked(np.where(at < len(self.order), at, -1), key)

    def _checked(self, at: Ints, key: Ints) -> Ints:
        if not len(self.order):
            return np.full(len(at), -1, np.int64)
        good = (at >= 0) & (self.sorted_[at] // self.count == key)
        return np.where(good, self.order[at], -1)
