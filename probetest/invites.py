"""When each INVITE of a tap was seen, and what it was counted as: the waterfall of any time."""

from array import array
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.buckets import Buckets, Ints
from probetest.calls.waterfall import Step


@dataclass(frozen=True, slots=True)
class Invites:
    """All INVITEs, in order of time: a few bytes each, for there can be millions."""

    at_ns: "array[int]"
    step: bytes  # of each, a `Step`

    @classmethod
    def of(cls, at_ns: Ints, step: npt.NDArray[np.uint8]) -> Self:
        """Return them in order, those of one time by step."""
        order = np.lexsort((step, at_ns))
        return cls(array("q", at_ns[order].astype(np.int64).tobytes()), step[order].tobytes())

    def counts(self, spans: Buckets) -> Ints:
        """Return how many there are of each step, a row a bucket."""
        places = spans.places(np.frombuffer(self.at_ns, np.int64))
        keys = places * len(Step) + np.frombuffer(self.step, np.uint8)
        sizes = np.bincount(keys, minlength=len(spans.labels) * len(Step))
        return sizes.reshape(len(spans.labels), len(Step)).astype(np.int64)
