"""The course of one SBC's questions, with what is in doubt about it; and how a FAIL is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from enumtest.judge.doubt import ambiguous_turns
from enumtest.judge.rows import Rows
from enumtest.judge.ruling import MAX_CITED, Ruling
from harness.finding import Outcome
from harness.packets.capture import Ints


@dataclass(frozen=True, eq=False)
class Course(Rows):
    """What one client address asked, next to the profile that it is held to."""

    @cached_property
    def ambiguous(self) -> npt.NDArray[np.bool_]:
        """Return which turns may belong to another call."""
        return ambiguous_turns(self)

    def unmistaken(self, rows: Ints) -> npt.NDArray[np.bool_]:
        """Say which of *rows* are surely of the lookup that they were put into."""
        return ~np.isin(rows, self.turns[self.ambiguous])

    @cached_property
    def _ambiguous_rows(self) -> frozenset[int]:
        return frozenset(self.turns[self.ambiguous].tolist())

    def is_ambiguous(self, row: int) -> bool:
        """Say whether *row* may belong to another call."""
        return row in self._ambiguous_rows


def hits(course: Course, rule: str, expected: str, words: str, rows: Sequence[int]) -> Ruling:
    """Return FAIL for *rows*, the first one first; OTHER when frames may be missing."""
    at_ns = int(course.first_ns[rows[0]])
    outcome = Outcome.OTHER if course.gaps else Outcome.FAIL
    words += f"the first at {course.seconds(at_ns)}"
    words += f"; {course.gaps}" if course.gaps else ""
    cites = course.hops.cites(rows[:MAX_CITED])
    return Ruling(rule, outcome, expected, words, "", cites, at_ns)
