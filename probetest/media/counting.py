"""What is counted of each stream beside its numbers and its sound: packets, types, keys.

Law: each function takes packets in order of stream, and adds what they tell to the table.
"""

from collections import Counter

import numpy as np

from harness.packets.headers import Bools
from probetest.media.events import Events
from probetest.media.in_order import InOrder, Numbers, Runs
from probetest.media.jitter import Floats
from probetest.media.rtp import EVENT_BYTES
from probetest.media.sequence import Taken
from probetest.media.sound import Sounds
from probetest.media.stream_table import StreamTable

_MARKER = 7  # its bit in the second byte


def begin(table: StreamTable, packets: InOrder) -> None:
    """Note the first packet of each new stream."""
    state, new = table.columns, packets.grouped.streams[packets.grouped.new]
    first, found = packets.first[packets.grouped.new], packets.found
    state["first_ns"][new] = state["last_ns"][new] = found.at_ns[first]
    state["frame"][new] = found.frame[first]
    state["interface"][new] = found.interface[first]


def add_times(table: StreamTable, packets: InOrder) -> None:
    """Note how many packets came, the last one, and the longest time without any."""
    state, grouped, at_ns = table.columns, packets.grouped, packets.at_ns
    streams, starts = grouped.streams, grouped.starts
    gap = np.empty(len(at_ns), np.int64)
    np.subtract(at_ns[1:], at_ns[:-1], out=gap[1:])
    gap[starts] = at_ns[starts] - state["last_ns"][streams]
    longest = np.maximum.reduceat(gap, starts)
    state["gap_ns"][streams] = np.maximum(state["gap_ns"][streams], longest)
    state["last_ns"][streams] = at_ns[starts + grouped.size - 1]
    state["packets"][streams] += grouped.size
    markers = np.add.reduceat(packets.second >> _MARKER, starts, dtype=np.int64)
    state["markers"][streams] += markers
    state["bytes"][streams] += np.add.reduceat(packets.size, starts, dtype=np.int64)


def elsewhere(table: StreamTable, packets: InOrder) -> Counter[tuple[int, int]]:
    """Return how many packets of a stream came by another interface than its first one."""
    found: Counter[tuple[int, int]] = Counter()
    interface = packets.found.interface
    first = table.columns["interface"][packets.grouped.streams]
    if interface.min() == interface.max() and (first == interface[0]).all():
        return found
    stream, interface = packets.stream, interface[packets.order]
    other = np.flatnonzero(interface != table.columns["interface"][stream])
    keys = stream[other] << 32 | interface[other].astype(np.int64)
    pairs, count = np.unique(keys, return_counts=True)
    for pair, packet_count in zip(pairs.tolist(), count.tolist(), strict=True):
        found[pair >> 32, pair & 0xFFFF_FFFF] = packet_count
    return found


def add_changes(table: StreamTable, runs: Runs, sound: Bools) -> None:
    """Count changes of the payload type, in those runs that are *sound*."""
    state = table.columns
    stream, kind = runs.stream[sound], runs.type[sound]
    if not len(stream):
        return
    begins = np.diff(stream, prepend=-1) != 0
    before = np.empty(len(kind), np.int64)
    before[1:] = kind[:-1]
    before[begins] = state["sound_type"][stream[begins]]
    changed = (before != kind) & (before >= 0)
    np.add.at(state["type_changes"], stream[changed], 1)
    ends = np.append(begins[1:], True)
    state["sound_type"][stream[ends]] = kind[ends]


def sounds(packets: InOrder, runs: Runs, sound: Bools, unit_ms: Floats, taken: Taken) -> Sounds:
    """Return the packets with sound that count; *sound* and *unit_ms* are of each run."""
    same = bool((unit_ms == unit_ms[:1]).all())
    units = unit_ms[:1] if same else np.repeat(unit_ms, runs.size)
    grouped = packets.grouped
    if taken.accepted is None and sound.all():
        return Sounds(
            grouped.streams, grouped.starts, packets.at_ns, packets.sequence, packets.timestamp,
            units, taken.part,
        )  # fmt: skip
    which = np.repeat(sound, runs.size)
    if taken.accepted is not None:
        which &= taken.accepted
    kept = np.flatnonzero(which)
    stream = packets.stream[kept]
    starts = np.flatnonzero(np.diff(stream, prepend=-1))
    return Sounds(
        streams=stream[starts],
        starts=starts,
        at_ns=packets.at_ns[kept],
        sequence=packets.sequence[kept],
        timestamp=packets.timestamp[kept],
        unit_ms=units if same else units[kept],
        part=None if taken.part is None else taken.part[kept],
    )


def add_keys(
    events: dict[int, Events], packets: InOrder, runs: Runs, clock_hz: Numbers, taken: Taken
) -> None:
    """Read the telephone events; *clock_hz* is of each run, 0 where it holds none."""
    found, order = packets.found, packets.order
    for run in np.flatnonzero(clock_hz).tolist():
        keys = events.setdefault(int(runs.stream[run]), Events())
        start = int(runs.start[run])
        for place in range(start, start + int(runs.size[run])):
            row = int(order[place])
            odd = taken.accepted is not None and not taken.accepted[place]
            if odd or found.size[row] < EVENT_BYTES:
                continue
            word, marker = int(found.event[row]), bool(found.second[row] >> _MARKER)
            moment = int(found.at_ns[row]), int(found.timestamp[row])
            keys.add(*moment, word, int(clock_hz[run]), marker=marker)
