"""A pcap file, read run after run.

Source: draft-ietf-opsawg-pcap.
"""

import struct

import numpy as np
import numpy.typing as npt

from harness.errors import InputError, WireError
from harness.packets.capture_rows import (
    MAX_FRAME_BYTES,
    MAX_RECORD_BYTES,
    NANOSECONDS,
    Bools,
    Ints,
    Rows,
    Run,
    at_every_byte,
    damage,
)
from harness.packets.record_walk import walk

FILE_HEADER_BYTES = 24
VERSION = (2, 4)  # the only pcap version written since 1998
KINDS = {  # the first four bytes: byte order, and nanoseconds in one unit of the fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}

_HEADER_BYTES = 16  # of a record
_CAPTURED = 8  # bytes into it
_CLOSE_S = 7 * 86_400  # between the first record of a run and any other, for a guess


class Pcap:
    """A pcap file while it is read."""

    untimed = 0
    interface_drops = None

    def __init__(self, start: bytes, name: str) -> None:
        """Take the file header from the *start* of the file.

        Raises:
            InputError: it is not whole (WireError), or of a version that is not read.
        """
        self.order, self.unit_ns = KINDS[start[:4]]
        if len(start) < FILE_HEADER_BYTES:
            raise WireError("cut inside the file header", offset_bytes=len(start), file=name)
        major, minor, _, _, snaplen, link = struct.unpack_from(self.order + "HHiIII", start, 4)
        if (major, minor) != VERSION:
            raise InputError(
                "not pcap version 2.4",
                file=name,
                field="version",
                value=f"{major}.{minor}",
                fix="convert: editcap -F pcapng IN OUT",
            )
        self.name, self.frames = name, 0
        self.linktype = link & 0xFFFF  # above it: length of an FCS
        self.limit_bytes = min(max(snaplen, MAX_FRAME_BYTES), MAX_RECORD_BYTES)

    def read(self, run: Run, at: int) -> tuple[Rows, int, WireError | None]:
        """Return the frames from byte *at* of the run on, where they end, and what is damaged."""
        steps = PcapSteps(run, self.order, at, self.limit_bytes)
        starts, after = walk(steps)
        names = ("seconds", "fraction", "here", "wire")
        # As bytes first: numpy moves them at once, but the fields of a structure one by one.
        records = at_every_byte(run.data, f"V{_HEADER_BYTES}")[starts]
        records = records.view([(name, self.order + "u4") for name in names])
        at_ns = records["seconds"].astype(np.int64)
        at_ns *= NANOSECONDS
        at_ns += records["fraction"] * np.int64(self.unit_ns)
        count = len(starts)
        self.frames += count
        rows = Rows(
            at_ns=at_ns,
            offset_bytes=starts + _HEADER_BYTES,
            captured_bytes=records["here"].astype(np.int64),
            original_bytes=records["wire"].astype(np.int64),
            linktype=np.full(count, self.linktype, np.int32),
            interface=np.zeros(count, np.int32),
        )
        return rows, after, self._damage(run, after)

    def _damage(self, run: Run, at: int) -> WireError | None:
        """Say why no whole record starts at a byte, if that is not for want of bytes to come."""
        left = run.data.size - at
        why = ""
        if left >= _HEADER_BYTES:
            (captured,) = struct.unpack_from(self.order + "I", run.view, at + _CAPTURED)
            if captured > self.limit_bytes:
                why = f"the record says {captured} bytes: more than a frame can have"
            elif run.is_end:
                why = f"the record says {captured} bytes: more than the file has left"
        elif left and run.is_end:
            why = "cut inside a record header"
        return damage(why, run.base_bytes + at, self.name, self.frames) if why else None


class PcapSteps:
    """How to go from record to record: see `harness.packets.record_walk.Steps`."""

    def __init__(self, run: Run, order: str, begin: int, limit_bytes: int) -> None:
        """Take the bytes of a *run* from *begin* on."""
        self.begin, self.end = begin, run.data.size
        self._data, self._view, self._limit_bytes = run.data, run.view, limit_bytes
        self._words = at_every_byte(run.data, order + "u4")
        self._unpack = struct.Struct(order + "I").unpack_from
        self._last = self.end - _HEADER_BYTES  # where a record may start
        seconds = int(self._words[begin]) if begin <= self._last else 0
        self._close_from = np.uint32((seconds - _CLOSE_S) % 2**32)

    def next(self, at: Ints) -> Ints:
        """Return where each of these records would end, true or not."""
        after: Ints = at + self._words[np.minimum(at, self._last) + _CAPTURED]
        after += _HEADER_BYTES
        return after

    def whole(self, at: Ints, after: Ints) -> Bools:
        """Say which of the records that `next` told the end of are whole and possible."""
        good: Bools = after <= self.end
        good &= at <= self._last
        good &= after - at <= self._limit_bytes + _HEADER_BYTES
        return good

    def next_alone(self, at: int) -> int:
        """Return where a whole record ends, or *at* when there is none."""
        if at > self._last:
            return at
        captured: int = self._unpack(self._view, at + _CAPTURED)[0]
        after = at + _HEADER_BYTES + captured
        return at if after > self.end or captured > self._limit_bytes else after

    def likely(self, first: int, step: int, walks: int, window_bytes: int) -> Ints:
        """Return places at which two records seem to follow each other."""
        walks = min(walks, (self.end - first - window_bytes - _HEADER_BYTES) // step + 1)
        if walks < 1:
            return np.empty(0, np.int64)
        seconds = np.ndarray((walks, window_bytes), self._words.dtype, self._data, first, (step, 1))
        walk_number, skip = np.nonzero(self._close(seconds))  # by its time alone: most are none
        places = first + walk_number * step + skip
        for again in range(2):
            at = places if not again else places + _HEADER_BYTES + self._words[places + _CAPTURED]
            inside = at <= self._last
            places, at = places[inside], at[inside]
            captured, original = self._words[at + _CAPTURED], self._words[at + _CAPTURED + 4]
            good = self._close(self._words[at]) & (captured <= original) & (captured > 0)
            places = places[good & (original <= self._limit_bytes)]
        return places

    def _close(self, seconds: npt.NDArray[np.uint32]) -> Bools:
        """Say which times are near that of the first record."""
        close: Bools = seconds - self._close_from <= 2 * _CLOSE_S  # goes round at 2**32
        return close
