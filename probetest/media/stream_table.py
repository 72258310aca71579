"""Every RTP stream seen so far: a row each, found by its addresses, ports and SSRC.

Laws: two packets are of one row exactly when these are equal, a hash only proposes; a row is a few
numbers, whatever passed through it; rows that are no stream after all can be let go.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints
from harness.packets.headers import Bools
from probetest.flows import Words

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: spreads neighbours
_OTHER = np.uint64(0xC2B2AE3D27D4EB4F)  # an odd number with as many ones as zeros
_SHIFT = np.uint64(29)

COLUMNS = {  # what is known of a stream, beside its addresses, ports and SSRC
    "first_ns": np.int64,
    "last_ns": np.int64,
    "frame": np.int64,  # of its first packet
    "packets": np.int64,
    "copies": np.int64,
    "announced": np.bool_,
    "interface": np.int32,  # of its first packet
    "gap_ns": np.int64,  # the longest time between two packets
    "markers": np.int64,
    # sequence numbers
    "highest": np.int64,
    "base": np.int64,
    "bad": np.int64,
    "received": np.int64,
    "expected": np.int64,
    "in_step": np.int64,
    "odd": np.int64,
    "restarts": np.int64,
    "duplicates": np.int64,
    "reordered": np.int64,
    "switched": np.int64,  # numbers left out while something else had the ports
    "missing": np.int64,  # in gaps that nothing can fill any more
    # payload types
    "type": np.int16,  # of the last packet
    "meaning": np.int32,  # of that type (`probetest.media.meanings`)
    "type_packets": np.int64,  # with that type
    "sound_type": np.int16,  # of the last one that is neither event nor comfort noise
    "type_changes": np.int64,
    # jitter: of the last packet with sound
    "sounds": np.int64,
    "sound_ns": np.int64,
    "sound_timestamp": np.uint32,
    "sound_unit_ms": np.float64,  # of its timestamp
    "sound_part": np.int64,  # restarts before it
    "sound_sequence": np.uint16,
    "steps": np.int64,  # measured
    "jitter": np.float64,
    "jitter_total": np.float64,
    "jitter_highest": np.float64,
    # its clock
    "clock_jumps": np.int64,
    "sent_ms": np.float64,  # by its timestamps, over the steps that were measured
    "passed_ms": np.float64,  # by ours
    "least_ms": np.float64,  # the shortest forward step of its timestamps: the packet time
    "bytes": np.int64,  # of payload
}
_START = {"bad": -1, "type": -1, "sound_type": -1, "least_ms": np.inf}
_RUNS = 5

Columns = dict[str, npt.NDArray[Any]]


class StreamTable:
    """The rows; `columns` are as long as the capacity, the first `len` rows of them count."""

    def __init__(self) -> None:
        """Begin with none."""
        self._size = 0
        self.columns: Columns = {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
        self.runs: Ints = np.zeros((0, _RUNS), np.int64)  # of loss, by length
        self.addresses: Words = np.zeros(0, np.uint64)
        self.sessions: Words = np.zeros(0, np.uint64)
        self._hash: Words = np.zeros(0, np.uint64)  # sorted
        self._row: Ints = np.zeros(0, np.int64)  # of each hash
        self._clashes: dict[tuple[int, int], int] = {}  # rows whose hash another row has already

    def __len__(self) -> int:
        """Return how many streams there are."""
        return self._size

    def rows(self, addresses: Words, sessions: Words) -> tuple[Ints, Bools]:
        """Return the row of each stream, all of them different, and which are new."""
        mixed = mix(addresses, sessions)
        place = np.searchsorted(self._hash, mixed)
        found = np.full(len(mixed), -1, np.int64)
        near = np.flatnonzero(place < len(self._hash))
        near = near[self._hash[place[near]] == mixed[near]]
        rows = self._row[place[near]]
        same = (self.addresses[rows] == addresses[near]) & (self.sessions[rows] == sessions[near])
        found[near[same]] = rows[same]
        if self._clashes:
            for number in near[~same].tolist():
                key = int(addresses[number]), int(sessions[number])
                found[number] = self._clashes.get(key, -1)
        new = found < 0
        if new.any():
            found[new] = self._append(addresses[new], sessions[new], mixed[new])
        return found, new

    def keep(self, which: Bools) -> Ints:
        """Let the other rows go; return the new number of each old row, -1 where it is gone."""
        number = np.where(which, np.cumsum(which) - 1, -1)
        kept = np.flatnonzero(which)
        self.columns = {name: column[kept] for name, column in self.columns.items()}
        self.runs = self.runs[kept]
        addresses, sessions = self.addresses[kept], self.sessions[kept]
        self.addresses = self.sessions = np.zeros(0, np.uint64)
        self._size, self._clashes = 0, {}
        self._hash, self._row = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._index(addresses, sessions, mix(addresses, sessions))
        self.addresses, self.sessions, self._size = addresses, sessions, len(kept)
        return number

    def _append(self, addresses: Words, sessions: Words, mixed: Words) -> Ints:
        """Add rows, and return their numbers."""
        count, size = len(mixed), self._size
        if size + count > len(self.sessions):
            self._grow(max(size + count, 2 * size))
        self._index(addresses, sessions, mixed)
        self.addresses[size : size + count] = addresses
        self.sessions[size : size + count] = sessions
        for name, column in self.columns.items():
            column[size : size + count] = _START.get(name, 0)
        self.runs[size : size + count] = 0
        self._size += count
        return np.arange(size, size + count)

    def _index(self, addresses: Words, sessions: Words, mixed: Words) -> None:
        """Note where the rows that come next are found."""
        number = np.arange(self._size, self._size + len(mixed))
        both = np.concatenate((self._hash, mixed))
        order = np.argsort(both, kind="stable")
        both, rows = both[order], np.concatenate((self._row, number))[order]
        again = np.flatnonzero(both[1:] == both[:-1]) + 1
        for place in again.tolist():
            row = int(rows[place]) - self._size
            self._clashes[int(addresses[row]), int(sessions[row])] = int(rows[place])
        if len(again):
            both, rows = np.delete(both, again), np.delete(rows, again)
        self._hash, self._row = both, rows

    def _grow(self, capacity: int) -> None:
        """Make room."""
        self.columns = {name: _longer(part, capacity) for name, part in self.columns.items()}
        self.runs = _longer(self.runs, capacity)
        self.addresses = _longer(self.addresses, capacity)
        self.sessions = _longer(self.sessions, capacity)


def mix(addresses: Words, sessions: Words) -> Words:
    """Return a hash of each row."""
    mixed = addresses * _ODD
    mixed ^= mixed >> _SHIFT
    mixed ^= sessions
    mixed *= _OTHER
    mixed ^= mixed >> _SHIFT
    mixed *= _ODD
    return mixed


def _longer(column: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    """Return a copy with room for *capacity* rows."""
    longer = np.zeros((capacity, *column.shape[1:]), column.dtype)
    longer[: len(column)] = column
    return longer
