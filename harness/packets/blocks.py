"""A capture in blocks: a few million bytes of it at a time, so that memory does not grow with it.

Laws: every frame is fresh in exactly one block; the fresh frames of a block, put in order of time,
follow those of the blocks before it, but for frames that came later than the window allows, which
are counted; the frames that stood before the fresh ones are there too, for what looks back.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Capture

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some frames of a file, one after the other, and which of them are to be taken now."""

    capture: Capture  # its `first_frame` says where in the file it begins
    fresh: Bools  # a row a frame; the others are or were so in a block beside this one
    read_bytes: int  # of the file, up to here: of the packed one, where it is packed
    is_last: bool
    late_frames: int = 0  # fresh ones older than what an earlier block gave
    late_ns: int = 0  # the most that one of them was late


def whole(capture: Capture) -> Block:
    """Return all of *capture* as one block."""
    fresh = np.ones(len(capture), np.bool_)
    return Block(capture, fresh, capture.data.size, is_last=True)
