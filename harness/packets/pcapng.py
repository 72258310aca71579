"""The blocks of a pcapng file, read one after the other into numbers.

Laws: a block is read only when it is whole and has its length at both ends; byte order, interfaces
and their clocks belong to a section and end with it; blocks of unknown type are passed over.
`harness.packets.pcapng_columns` reads many plain ones at once, and nothing otherwise than here.

Source: draft-ietf-opsawg-pcapng (block layouts, option codes).
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.errors import WireError
from harness.packets.capture_rows import (
    MAX_FRAME_BYTES,
    MAX_RECORD_BYTES,
    NANOSECONDS,
    Rows,
    Run,
    damage,
)

MAGIC = b"\x0a\x0d\x0d\x0a"  # a section header, the same in both byte orders
BLOCK_BYTES = 12  # type, length, and the length again at its end
ENHANCED = 6
ENHANCED_BYTES = 32  # around the frame

_NUMBERS = 5  # of a frame: interface, offset, time, captured and original bytes
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _STATISTICS = 0x0A0D0D0A, 1, 2, 3, 5
_MAJOR = 1  # of the format
_SMALLEST = {_SECTION: 28, _INTERFACE: 20, _PACKET: 32, _SIMPLE: 16, _STATISTICS: 24, ENHANCED: 32}
_TSRESOL, _TSOFFSET, _IFDROP, _OSDROP = 9, 14, 5, 7
_LAST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface description: what is needed to read the frames that name it."""

    linktype: int
    snaplen_bytes: int  # 0: no limit
    units: int  # of its clock in one second
    offset_ns: int

    def at_ns(self, ticks: int) -> int:
        """Return a time stamp in nanoseconds, rounded down as tshark does."""
        return ticks * NANOSECONDS // self.units + self.offset_ns


@dataclass(slots=True)
class Blocks:
    """A pcapng file while it is read, block after block.

    Each `_read…` method takes the bounds of one block, and raises WireError when it is damaged.
    """

    name: str
    run: Run = field(default_factory=lambda: Run(np.empty(0, np.uint8), 0, is_end=True))
    order: str = ""  # of the section
    first: int = 0  # interface of the section
    interfaces: list[Interface] = field(default_factory=list)
    drops: dict[int, int] = field(default_factory=dict)  # interface: the last count it gave
    untimed: int = 0
    count: int = 0  # of frames
    rows: list[Rows] = field(default_factory=list)  # of this run
    _frames: "array[int]" = field(default_factory=lambda: array("q"))  # five numbers each

    @property
    def data(self) -> memoryview:
        """Return the bytes of this run."""
        return self.run.view

    def take(self, rows: Rows) -> None:
        """Add frames that were read elsewhere."""
        self._gather()
        self.rows.append(rows)
        self.count += len(rows)

    def taken(self) -> Rows:
        """Return the frames read since the last call."""
        self._gather()
        found = Rows.joined(self.rows)
        self.rows = []
        return found

    def read(self, at: int) -> int:
        """Read the block at byte *at*; return where the next one starts, or *at*: it is not whole.

        Raises:
            WireError: it is damaged.
        """
        kind, total = self._bounds(at)
        if not total:
            return at
        if kind in (ENHANCED, _PACKET):
            self._read_packet(kind, at, total)
        elif kind == _SIMPLE:
            self._read_simple(at, total)
        elif kind == _INTERFACE:
            self._read_interface(at, total)
        elif kind == _STATISTICS:
            self._read_statistics(at, total)
        elif kind == _SECTION:
            self._refuse_other_version(at)
            self.first = len(self.interfaces)
        return at + total  # other blocks (names, comments, secrets) hold no frames

    def _refuse_other_version(self, at: int) -> None:
        """Stop at a section of another major version: its blocks may be laid out otherwise."""
        major, minor = struct.unpack_from(self.order + "HH", self.data, at + 12)
        if major != _MAJOR:
            raise self.damage(f"section of version {major}.{minor}, and {_MAJOR} is known", at)

    def _bounds(self, at: int) -> tuple[int, int]:
        """Return type and length of the block at byte *at*; 0 when the rest is yet to come."""
        left = len(self.data) - at
        if left < BLOCK_BYTES:
            if self.run.is_end:
                raise self.damage("cut inside a block header", at)
            return 0, 0
        if bytes(self.data[at : at + 4]) == MAGIC:
            self.order = self._byte_order(at)
        kind: int
        total: int
        kind, total = struct.unpack_from(self.order + "II", self.data, at)
        if total > MAX_RECORD_BYTES:
            raise self.damage(f"the block says {total} bytes: more than one can have", at)
        if total > left and not self.run.is_end:
            return 0, 0
        if total > left:
            raise self.damage(f"the block says {total} bytes, but the file has {left} left", at)
        if total % 4 or total < _SMALLEST.get(kind, BLOCK_BYTES):
            raise self.damage(f"block of type {kind} with impossible length {total}", at)
        (again,) = struct.unpack_from(self.order + "I", self.data, at + total - 4)
        if again != total:
            raise self.damage(f"the block has length {total} in front and {again} at its end", at)
        return kind, total

    def damage(self, why: str, at: int) -> WireError:
        """Say where reading stopped."""
        return damage(why, self.run.base_bytes + at, self.name, self.count)

    def _byte_order(self, at: int) -> str:
        magic = bytes(self.data[at + 8 : at + 12])
        orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
        if magic not in orders:
            raise self.damage(f"section with byte-order magic {magic.hex(' ')}", at)
        return orders[magic]

    def _options(self, at: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield code and value of each option between two bytes."""
        while at + 4 <= stop:
            code, size = struct.unpack_from(self.order + "HH", self.data, at)
            if code == 0:  # opt_endofopt
                return
            if at + 4 + size > stop:
                raise self.damage(f"option {code} is longer than its block", at)
            yield code, bytes(self.data[at + 4 : at + 4 + size])
            at += 4 + size + -size % 4

    def _number(self, code: int, value: bytes, layout: str, at: int) -> int:
        if len(value) != struct.calcsize(layout):
            raise self.damage(f"option {code} has {len(value)} bytes", at)
        return int(struct.unpack(self.order + layout, value)[0])

    def _read_interface(self, at: int, total: int) -> None:
        linktype, _, snaplen = struct.unpack_from(self.order + "HHI", self.data, at + 8)
        units, offset_ns = 1_000_000, 0
        for code, value in self._options(at + 16, at + total - 4):
            if code == _TSRESOL:
                exponent = self._number(code, value, "B", at)
                units = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
            elif code == _TSOFFSET:
                offset_ns = self._number(code, value, "q", at) * NANOSECONDS
        self.interfaces.append(Interface(linktype, snaplen, units, offset_ns))

    def _read_statistics(self, at: int, total: int) -> None:
        (interface,) = struct.unpack_from(self.order + "I", self.data, at + 8)
        lost = [
            self._number(code, value, "Q", at)
            for code, value in self._options(at + 20, at + total - 4)
            if code in (_IFDROP, _OSDROP)
        ]
        if lost:  # they count since the start: a later block replaces an earlier one
            self.drops[self.first + interface] = sum(lost)

    def _read_packet(self, kind: int, at: int, total: int) -> None:
        layout = "IIIII" if kind == ENHANCED else "HxxIIII"  # the old block counts drops too
        interface, high, low, captured, original = struct.unpack_from(
            self.order + layout, self.data, at + 8
        )
        described = self._described(interface, at)
        at_ns = described.at_ns(high << 32 | low)
        if not -_LAST_NS <= at_ns <= _LAST_NS:
            raise self.damage("time outside of the years 1678 to 2262", at)
        if captured > min(total - ENHANCED_BYTES, max(described.snaplen_bytes, MAX_FRAME_BYTES)):
            raise self.damage(f"{captured} bytes captured, in a block of {total}", at)
        self._add(self.first + interface, at + 28, at_ns, captured, original)

    def _read_simple(self, at: int, total: int) -> None:
        (original,) = struct.unpack_from(self.order + "I", self.data, at + 8)
        described = self._described(0, at)
        captured = min(original, described.snaplen_bytes or original)
        if captured > min(total - 16, max(described.snaplen_bytes, MAX_FRAME_BYTES)):
            raise self.damage(f"{captured} bytes captured, in a block of {total}", at)
        self.untimed += 1
        self._add(self.first, at + 12, 0, captured, original)

    def _described(self, interface: int, at: int) -> Interface:
        if self.first + interface >= len(self.interfaces):
            raise self.damage(f"frame of interface {interface}, which is not described", at)
        return self.interfaces[self.first + interface]

    def _add(self, interface: int, offset: int, at_ns: int, captured: int, original: int) -> None:
        self._frames.extend((interface, offset, at_ns, captured, original))
        self.count += 1

    def _gather(self) -> None:
        """Make rows of the frames read one by one."""
        if not self._frames:
            return
        columns = np.array(self._frames, np.int64).reshape(-1, _NUMBERS)
        interface, offset_bytes, at_ns, captured, original = np.ascontiguousarray(columns.T)
        linktypes = np.array([one.linktype for one in self.interfaces], np.int32)
        rows = Rows(
            at_ns=at_ns,
            offset_bytes=offset_bytes,
            captured_bytes=captured,
            original_bytes=original,
            linktype=linktypes[interface],
            interface=interface.astype(np.int32),
        )
        self.rows.append(rows)
        self._frames = array("q")
