"""Jitter and clock of many streams at once, from the packets that carry sound.

Laws: D is the time between two packets less what their timestamps say (RFC 3550 A.8), of packets
with sound that follow each other in order of arrival; none is measured over a restart of the
source or a change of the clock; telephone events and comfort noise are left out, their timestamps
stand still or jump; a step that leaves the wall time by 5 s or more is a jump of the clock, and
counts for jitter but not for the clock's rate.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints
from harness.packets.headers import Bools
from probetest.media.jitter import Floats, jitter
from probetest.media.sequence import Shorts
from probetest.media.stream_table import Columns, StreamTable

JUMP_MS = 5000.0  # no network holds a packet that long
_NS_MS = 1e-6

Longs = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Sounds:
    """Packets with sound, in order of stream and, in each, of arrival."""

    streams: Ints
    starts: Ints
    at_ns: Ints
    sequence: Shorts
    timestamp: Longs
    unit_ms: Floats  # of the timestamp: a row a packet, or one for all
    part: Ints | None  # restarts before each packet; None: there were none


def measure(table: StreamTable, sounds: Sounds) -> None:
    """Add what *sounds* tell of jitter and clock."""
    state, streams, starts = table.columns, sounds.streams, sounds.starts
    total = len(sounds.at_ns)
    size = np.diff(np.append(starts, total))
    ends = starts + size - 1
    passed, sent, forward = _steps(state, sounds)
    unset = _unset(state, sounds)
    step = np.abs(passed - sent)
    step[unset] = 0.0
    _add_jitter(state, sounds, step, unset)
    steady = step < JUMP_MS
    if not steady.all():
        state["clock_jumps"][streams] += np.add.reduceat(~steady, starts, dtype=np.int64)
    left_out = np.flatnonzero(~steady)
    passed[left_out] = sent[left_out] = 0.0
    passed[unset] = sent[unset] = 0.0
    state["passed_ms"][streams] += np.add.reduceat(passed, starts)
    state["sent_ms"][streams] += np.add.reduceat(sent, starts)
    state["steps"][streams] += size - np.bincount(
        np.searchsorted(starts, unset, side="right") - 1, minlength=len(starts)
    )
    sent[~forward | (sent <= 0)] = np.inf
    least = np.minimum.reduceat(sent, starts)
    state["least_ms"][streams] = np.minimum(state["least_ms"][streams], least)
    state["sounds"][streams] += size
    state["sound_ns"][streams] = sounds.at_ns[ends]
    state["sound_timestamp"][streams] = sounds.timestamp[ends]
    state["sound_sequence"][streams] = sounds.sequence[ends]
    state["sound_unit_ms"][streams] = (
        sounds.unit_ms if sounds.unit_ms.size == 1 else sounds.unit_ms[ends]
    )
    state["sound_part"][streams] = 0 if sounds.part is None else sounds.part[ends]


def _add_jitter(state: Columns, sounds: Sounds, step: Floats, unset: Ints) -> None:
    """Add the jitter of each stream; a packet that nothing is measured to leaves it as it is."""
    streams, starts = sounds.streams, sounds.starts
    owner = np.searchsorted(starts, unset, side="right") - 1
    begun = (unset != starts[owner]) | (state["sounds"][streams[owner]] > 0)
    if begun.any():  # a stream's first packet measures 0, which changes nothing
        kept = np.ones(len(step), np.bool_)
        kept[unset[begun]] = False
        of_stream = np.repeat(np.arange(len(streams)), np.diff(np.append(starts, len(step))))[kept]
        starts = np.flatnonzero(np.diff(of_stream, prepend=-1))
        streams, step = streams[of_stream[starts]], step[kept]
    if not len(starts):
        return
    found = jitter(starts, step, state["jitter"][streams])
    state["jitter"][streams] = found.last
    state["jitter_total"][streams] += found.total
    state["jitter_highest"][streams] = np.maximum(state["jitter_highest"][streams], found.highest)


def _steps(state: Columns, sounds: Sounds) -> tuple[Floats, Floats, Bools]:
    """Return the time from the packet before by our clock and the sender's; and if it is next."""
    streams, starts = sounds.streams, sounds.starts
    passed = np.empty(len(sounds.at_ns))
    np.subtract(sounds.at_ns[1:], sounds.at_ns[:-1], out=passed[1:], casting="unsafe")
    passed[starts] = sounds.at_ns[starts] - state["sound_ns"][streams]
    passed *= _NS_MS
    units = np.empty(len(sounds.at_ns), np.uint32)
    np.subtract(sounds.timestamp[1:], sounds.timestamp[:-1], out=units[1:])
    units[starts] = sounds.timestamp[starts] - state["sound_timestamp"][streams]
    sent = units.view(np.int32) * sounds.unit_ms
    number = np.empty(len(sounds.at_ns), np.uint16)
    np.subtract(sounds.sequence[1:], sounds.sequence[:-1], out=number[1:])
    number[starts] = sounds.sequence[starts] - state["sound_sequence"][streams]
    return passed, sent, number == 1


def _unset(state: Columns, sounds: Sounds) -> Ints:
    """Return the packets that nothing can be measured to: the first, and those after a change."""
    streams, starts = sounds.streams, sounds.starts
    unset = np.zeros(len(sounds.at_ns), np.bool_)
    unit = sounds.unit_ms
    before = state["sound_unit_ms"][streams]
    if unit.size == 1:
        unset[starts] = before != unit
    else:
        unset[1:] = unit[1:] != unit[:-1]
        unset[starts] = before != unit[starts]
    if sounds.part is not None:
        other = np.empty(len(unset), np.bool_)
        other[1:] = sounds.part[1:] != sounds.part[:-1]
        other[starts] = sounds.part[starts] != state["sound_part"][streams]
        unset |= other
    return np.flatnonzero(unset)
