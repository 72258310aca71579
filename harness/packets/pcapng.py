"""The blocks of a pcapng file, read one after the other into numbers.

Laws: a block is read only when it is whole and has its length at both ends; byte order, interfaces
and their clocks belong to a section and end with it; blocks of unknown type are passed over.

Source: draft-ietf-opsawg-pcapng (block layouts, option codes).
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.errors import WireError

MAX_FRAME_BYTES = 262_144  # the snapshot length of tcpdump and dumpcap, used when a file has less
NANOSECONDS = 1_000_000_000
MAGIC = b"\x0a\x0d\x0d\x0a"  # a section header, the same in both byte orders

_NUMBERS = 5  # of a frame: interface, offset, time, captured and original bytes
_BLOCK_BYTES = 12  # type, length, and the length again at its end
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _STATISTICS, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6
_SMALLEST = {_SECTION: 28, _INTERFACE: 20, _PACKET: 32, _SIMPLE: 16, _STATISTICS: 24, _ENHANCED: 32}
_TSRESOL, _TSOFFSET, _IFDROP, _OSDROP = 9, 14, 5, 7
_LAST_NS = 2**63 - 1


def damage(why: str, at: int, name: str, frames: int) -> WireError:
    """Say where reading stopped, and what is left of use."""
    fix = f"the {frames} frames before it were read; the rest of the file cannot be"
    return WireError(why, offset_bytes=at, file=name, fix=fix)


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

    view: memoryview
    name: str
    order: str = "<"  # of the section
    first: int = 0  # interface of the section
    interfaces: list[Interface] = field(default_factory=list)
    drops: dict[int, int] = field(default_factory=dict)  # interface: the last count it gave
    untimed: int = 0
    frames: "array[int]" = field(default_factory=lambda: array("q"))  # five numbers each

    @property
    def count(self) -> int:
        """Return how many frames were read."""
        return len(self.frames) // _NUMBERS

    def read(self, at: int) -> int:
        """Read the block at byte *at*; return where the next one starts."""
        if (after := self._read_run(at)) > at:
            return after
        kind, total = self._bounds(at)
        if kind in (_ENHANCED, _PACKET):
            self._read_packet(kind, at, total)
        elif kind == _SIMPLE:
            self._read_simple(at, total)
        elif kind == _INTERFACE:
            self._read_interface(at, total)
        elif kind == _STATISTICS:
            self._read_statistics(at, total)
        elif kind == _SECTION:
            self.first = len(self.interfaces)
        return at + total  # other blocks (names, comments, secrets) hold no frames

    def _read_run(self, at: int) -> int:
        """Read enhanced packet blocks as long as they are plain; return where that ends.

        It reads nothing that `_read_packet` would not read the same way; it is only quicker.
        """
        view, end, extend = self.view, len(self.view), self.frames.extend
        unpack = struct.Struct(self.order + "7I").unpack_from
        length = struct.Struct(self.order + "I").unpack_from
        interfaces = self.interfaces[self.first :]
        while at + 32 <= end:
            kind, total, number, high, low, captured, original = unpack(view, at)
            room = min(total - 32, MAX_FRAME_BYTES)
            if kind != _ENHANCED or total % 4 or at + total > end or captured > room:
                break
            if number >= len(interfaces) or length(view, at + total - 4)[0] != total:
                break
            at_ns = interfaces[number].at_ns(high << 32 | low)
            if not -_LAST_NS <= at_ns <= _LAST_NS:
                break
            extend((self.first + number, at + 28, at_ns, captured, original))
            at += total
        return at

    def _bounds(self, at: int) -> tuple[int, int]:
        """Return type and length of the block at byte *at*, which is whole."""
        left = len(self.view) - at
        if left < _BLOCK_BYTES:
            raise self.damage("cut inside a block header", at)
        if self.view[at : at + 4] == MAGIC:
            self.order = self._byte_order(at)
        kind: int
        total: int
        kind, total = struct.unpack_from(self.order + "II", self.view, at)
        if total > left:
            raise self.damage(f"the block says {total} bytes, but the file has {left} left", at)
        if total % 4 or total < _SMALLEST.get(kind, _BLOCK_BYTES):
            raise self.damage(f"block of type {kind} with impossible length {total}", at)
        (again,) = struct.unpack_from(self.order + "I", self.view, at + total - 4)
        if again != total:
            raise self.damage(f"the block has length {total} in front and {again} at its end", at)
        return kind, total

    def damage(self, why: str, at: int) -> WireError:
        """Say where reading stopped."""
        return damage(why, at, self.name, self.count)

    def _byte_order(self, at: int) -> str:
        magic = bytes(self.view[at + 8 : at + 12])
        orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
        if magic not in orders:
            raise self.damage(f"section with byte-order magic {magic.hex(' ')}", at)
        return orders[magic]

    def _options(self, at: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Yield code and value of each option between two bytes."""
        while at + 4 <= stop:
            code, size = struct.unpack_from(self.order + "HH", self.view, at)
            if code == 0:  # opt_endofopt
                return
            if at + 4 + size > stop:
                raise self.damage(f"option {code} is longer than its block", at)
            yield code, bytes(self.view[at + 4 : at + 4 + size])
            at += 4 + size + -size % 4

    def _number(self, code: int, value: bytes, layout: str, at: int) -> int:
        if len(value) != struct.calcsize(layout):
            raise self.damage(f"option {code} has {len(value)} bytes", at)
        return int(struct.unpack(self.order + layout, value)[0])

    def _read_interface(self, at: int, total: int) -> None:
        linktype, _, snaplen = struct.unpack_from(self.order + "HHI", self.view, at + 8)
        units, offset_ns = 1_000_000, 0
        for code, value in self._options(at + 16, at + total - 4):
            if code == _TSRESOL:
                exponent = self._number(code, value, "B", at)
                units = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
            elif code == _TSOFFSET:
                offset_ns = self._number(code, value, "q", at) * NANOSECONDS
        self.interfaces.append(Interface(linktype, snaplen, units, offset_ns))

    def _read_statistics(self, at: int, total: int) -> None:
        (interface,) = struct.unpack_from(self.order + "I", self.view, at + 8)
        lost = [
            self._number(code, value, "Q", at)
            for code, value in self._options(at + 20, at + total - 4)
            if code in (_IFDROP, _OSDROP)
        ]
        if lost:  # they count since the start: a later block replaces an earlier one
            self.drops[self.first + interface] = sum(lost)

    def _read_packet(self, kind: int, at: int, total: int) -> None:
        layout = "IIIII" if kind == _ENHANCED else "HxxIIII"  # the old block counts drops too
        interface, high, low, captured, original = struct.unpack_from(
            self.order + layout, self.view, at + 8
        )
        described = self._described(interface, at)
        at_ns = described.at_ns(high << 32 | low)
        if not -_LAST_NS <= at_ns <= _LAST_NS:
            raise self.damage("time outside of the years 1678 to 2262", at)
        if captured > min(total - 32, max(described.snaplen_bytes, MAX_FRAME_BYTES)):
            raise self.damage(f"{captured} bytes captured, in a block of {total}", at)
        self._add(self.first + interface, at + 28, at_ns, captured, original)

    def _read_simple(self, at: int, total: int) -> None:
        (original,) = struct.unpack_from(self.order + "I", self.view, at + 8)
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
        self.frames.extend((interface, offset, at_ns, captured, original))
