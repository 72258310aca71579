"""From frames to calls: what each INVITE was counted as, and the sums.

Law: each INVITE is in exactly one step, so the steps sum up (`Waterfall` refuses to exist
otherwise), over all and in every hour; an INVITE is counted in the hour in which it was seen.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from harness.errors import ToolError


class Step(IntEnum):
    """What an INVITE is; the order is that of the waterfall."""

    COPY = 0  # the tap's (`probetest.duplicates`)
    RETRANSMISSION = 1
    RE_INVITE = 2  # it has a To tag
    AUTH_RETRY = 3
    OVERLAP = 4  # more digits of the same number
    OTHER_RETRY = 5
    FURTHER_HOP = 6
    ONWARD_LEG = 7
    CALL = 8

    @property
    def field(self) -> str:
        """Return the field of `Waterfall` that counts it."""
        return _FIELDS[self]


_FIELDS = {
    Step.COPY: "copies",
    Step.RETRANSMISSION: "retransmissions",
    Step.RE_INVITE: "re_invites",
    Step.AUTH_RETRY: "auth_retries",
    Step.OVERLAP: "overlap_dialling",
    Step.OTHER_RETRY: "other_retries",
    Step.FURTHER_HOP: "further_hops",
    Step.ONWARD_LEG: "onward_legs",
    Step.CALL: "calls",
}


@dataclass(frozen=True, slots=True)
class Waterfall:
    """From frames to calls, every step counted."""

    frames: int
    sip_messages: int  # all that began as SIP
    unreadable: int
    other_messages: int  # responses, and requests that are no INVITE
    invites: int
    copies: int
    retransmissions: int
    re_invites: int
    auth_retries: int
    overlap_dialling: int
    other_retries: int
    further_hops: int
    onward_legs: int
    calls: int
    partial_calls: int = 0  # began before the capture: beside the sum, never in `calls`

    def __post_init__(self) -> None:
        """Refuse sums that do not add up: then the counting is broken, not the traffic."""
        counted = sum(getattr(self, name) for name in _FIELDS.values())
        parts = self.unreadable + self.other_messages + self.invites
        if self.invites != counted or self.sip_messages != parts:
            raise ToolError(f"the waterfall does not sum: {self!r}")


@dataclass(slots=True)
class Steps:
    """What every INVITE was counted as, a few bytes each."""

    with_frames: bool = False  # so that each one's step can be looked up
    _at_ns: "array[int]" = field(default_factory=lambda: array("q"))
    _step: "array[int]" = field(default_factory=lambda: array("B"))
    _frame: "array[int]" = field(default_factory=lambda: array("q"))

    def note(self, step: Step, at_ns: int, frame: int) -> None:
        """Count one INVITE."""
        self._at_ns.append(at_ns)
        self._step.append(step)
        if self.with_frames:
            self._frame.append(frame)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each step, by the names of `Waterfall`."""
        sizes = np.bincount(np.array(self._step, np.uint8), minlength=len(Step)).tolist()
        return {step.field: sizes[step] for step in Step}

    def columns(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Return when each INVITE was seen, and its `Step`; in no order."""
        return np.array(self._at_ns, np.int64), np.array(self._step, np.uint8)

    def by_frame(self) -> Mapping[int, Step]:
        """Return the step of the INVITE in each frame, where frames were asked for."""
        pairs = zip(self._frame, self._step, strict=False)
        return {frame: Step(step) for frame, step in pairs}
