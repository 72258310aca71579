"""Interarrival jitter of many streams at once (RFC 3550 section 6.4.1 and A.8).

Laws: J += (|D| - J) / 16 from packet to packet in order of arrival; what a stream had before the
first packet here is given, and what it has after the last one is returned; no stream's figure
depends on another's.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints

MAX_STEP_MS = 1e9  # 12 days: a longer step says nothing about jitter
_BLOCK = 16  # packets that share one matrix product
_TOGETHER = 1024  # blocks of one product: more, and the library would start threads for it
_DECAY = 15 / 16
_AGES = 1024  # after so many packets nothing is left of what was before: 15/16 to it is 1e-29

Floats = npt.NDArray[np.float64]

_FADED = _DECAY ** np.arange(_AGES)
_PLACE = np.arange(_BLOCK)
_WEIGHTS = np.where(
    _PLACE[:, None] <= _PLACE,
    (1 - _DECAY) * _DECAY ** np.maximum(_PLACE - _PLACE[:, None], 0),
    0.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class Jitter:
    """Of each stream, in milliseconds."""

    last: Floats  # as a receiver would report it now
    total: Floats  # of the running value after each packet here
    highest: Floats


def jitter(starts: Ints, step_ms: Floats, before_ms: Floats) -> Jitter:
    """Return the jitter of streams that begin at *starts* of *step_ms*, each not empty.

    *step_ms* is |D| of each packet to the one before it; a packet with none has the 0 of a steady
    one. *before_ms* is what each stream had.
    """
    size = np.diff(np.append(starts, len(step_ms)))
    running = _smoothed(np.minimum(step_ms, MAX_STEP_MS))
    # The filter ran on over the ends of streams: what it brought into each is taken off, and what
    # the stream had itself is put there.
    brought = before_ms - np.append(0.0, running)[starts]
    age = np.arange(1, len(step_ms) + 1) - np.repeat(starts, size)
    running += np.repeat(brought, size) * _FADED[np.minimum(age, _AGES - 1)]
    np.maximum(running, 0.0, out=running)
    return Jitter(
        last=running[starts + size - 1],
        total=np.add.reduceat(running, starts),
        highest=np.maximum.reduceat(running, starts),
    )


def _smoothed(step: Floats) -> Floats:
    """Return J after each packet: a matrix product in each block, and what came before fades."""
    blocks = -(-len(step) // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[: len(step)] = step
    square = padded.reshape(-1, _BLOCK)
    inside = np.empty_like(square)
    for start in range(0, blocks, _TOGETHER):
        rows = slice(start, start + _TOGETHER)
        np.matmul(square[rows], _WEIGHTS, out=inside[rows])
    carried, left, fades = [], 0.0, _DECAY**_BLOCK
    for last in inside[:, -1].tolist():
        carried.append(left)
        left = last + left * fades
    inside += np.array(carried)[:, None] * _FADED[1 : _BLOCK + 1]
    running: Floats = inside.ravel()[: len(step)]
    return running
