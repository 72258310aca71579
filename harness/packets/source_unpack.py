"""Packed bytes in, unpacked bytes out, a piece at a time: gzip and Zstandard.

Laws: a piece is at most a few million bytes, however well the data was packed; all that is good
before damage is given; damage names the byte of the packed file.

Sources: RFC 1952 (gzip: members follow each other), RFC 8878 (zstd: so do frames).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from harness.errors import WireError

_READ_BYTES = 1 << 16  # of the packed file, at a time
_PIECE_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = 0xFD2FB528
_SKIPPABLE = 0x184D2A50  # and the 15 numbers after it
_WINDOW_BYTES = 1 << 27  # what `zstd -d` gives a frame, too
_RLE, _RESERVED = 1, 3  # kinds of zstd blocks


class Plain(Protocol):
    """The bytes of a file as they lie there."""

    @property
    def loss(self) -> WireError | None:
        """Return why they ended before they should."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Say whether the end is only where reading stopped: the file still grew."""
        ...

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into *room*, as many as there are; return their number, 0 at the end.

        It waits where more are to come.
        """
        ...


class Packed:
    """Bytes to be unpacked, and how many of them were."""

    def __init__(self, plain: Plain) -> None:
        """Take them from *plain*."""
        self.read_bytes = 0
        self._plain, self._ahead = plain, b""

    def look(self, count: int) -> bytes:
        """Return the next bytes, which are read all the same; fewer only at the end."""
        room = memoryview(bytearray(count))
        size = 0
        while size < count and (more := self._plain.readinto(room[size:])):
            size += more
        self._ahead = bytes(room[:size])
        return self._ahead

    def read(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most so many; none at the end."""
        room = bytearray(most)
        del room[self.readinto(memoryview(room)) :]
        return bytes(room)

    def readinto(self, room: memoryview) -> int:
        """Do the same with the reader's own memory; return their number."""
        if self._ahead:
            count = min(len(room), len(self._ahead))
            room[:count], self._ahead = self._ahead[:count], self._ahead[count:]
        else:
            count = self._plain.readinto(room)
        self.read_bytes += count
        return count


Pieces = Iterator[bytes]
Unpack = Callable[[Packed], Pieces]


class Unpacked:
    """The content of a file, packed or not: a `harness.packets.blocks.Source`."""

    def __init__(self, plain: Plain) -> None:
        """Look at the first bytes: they tell how it is packed."""
        self._plain, self._packed = plain, Packed(plain)
        self._pieces: Pieces | None = None
        self._piece = memoryview(b"")
        self._loss: WireError | None = None
        start = self._packed.look(_LOOK_BYTES)
        for magic, unpack in _KINDS:
            if start.startswith(magic):
                self._pieces = unpack(self._packed)

    @property
    def read_bytes(self) -> int:
        """Return how far the file is read: the packed one, where it is packed."""
        return self._packed.read_bytes

    @property
    def loss(self) -> WireError | None:
        """Return why the bytes ended before they should."""
        return self._plain.loss or self._loss

    @property
    def is_stopped(self) -> bool:
        """Say whether the end is only where reading stopped: the file still grew."""
        return self._plain.is_stopped

    def readinto(self, room: memoryview) -> int:
        """Put the next bytes into *room*, as many as there are; return their number, 0 at the end.

        It waits where more are to come.
        """
        if self._pieces is None:
            return self._packed.readinto(room)
        while not self._piece:
            try:
                self._piece = memoryview(next(self._pieces))
            except StopIteration:
                return 0
            except WireError as error:
                if not self.is_stopped:
                    self._loss = error
                return 0
        count = min(len(room), len(self._piece))
        room[:count], self._piece = self._piece[:count], self._piece[count:]
        return count


def gunzip(packed: Packed) -> Pieces:
    """Yield the content of a gzip file.

    Raises:
        WireError: it is damaged or cut short.
    """
    rest = packed.read(_READ_BYTES)
    while rest:
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not inflate.eof:
            rest = rest or packed.read(_READ_BYTES)
            if not rest:
                raise WireError("the gzip data is cut short", offset_bytes=packed.read_bytes)
            before = inflate.copy()  # cheap beside what it makes possible
            try:
                piece = inflate.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                yield from _as_far_as_good(before, rest, packed.read_bytes, error)
            if piece:
                yield piece
            rest = inflate.unconsumed_tail or inflate.unused_data  # never both
        rest = _next_member(rest, packed)


def unzstd(packed: Packed) -> Pieces:
    """Yield the content of a Zstandard file.

    Its blocks are told apart here, so that each gives no more than 128 KiB and a cut is seen.

    Raises:
        WireError: it is damaged, cut short, or needs more than 128 MiB of memory.
    """
    while start := _up_to(packed, 4):
        at = packed.read_bytes - len(start)
        magic = int.from_bytes(start + _exactly(packed, 4 - len(start)), "little")
        if magic & 0xFFFFFFF0 == _SKIPPABLE:
            (left,) = struct.unpack("<I", _exactly(packed, 4))
            while left:
                left -= len(_exactly(packed, min(left, _READ_BYTES)))
        elif magic == _ZSTD:
            yield from _frame(start, packed, at)
        else:
            raise WireError("what follows the Zstandard data is none", offset_bytes=at)


def _as_far_as_good(
    inflate: "zlib._Decompress", rest: bytes, read_bytes: int, error: zlib.error
) -> Pieces:
    """Yield what *rest* gives before it is damaged, and raise."""
    for number in range(len(rest)):
        try:
            piece = inflate.decompress(rest[number : number + 1])
        except zlib.error:
            at = read_bytes - len(rest) + number
            raise WireError(f"damaged gzip data: {error}", offset_bytes=at) from error
        if piece:
            yield piece


def _next_member(rest: bytes, packed: Packed) -> bytes:
    """Return the start of the next gzip member; empty at the end, which zeros may fill up."""
    rest = rest.lstrip(b"\0")
    while len(rest) < len(_GZIP):
        more = packed.read(_READ_BYTES)
        if not more:
            break
        rest = (rest + more).lstrip(b"\0")
    if rest and not rest.startswith(_GZIP):
        at = packed.read_bytes - len(rest)
        raise WireError("what follows the gzip data is none", offset_bytes=at)
    return rest


def _frame(magic: bytes, packed: Packed, at: int) -> Pieces:
    """Yield the content of one zstd frame, which begins at byte *at*."""
    unpack = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()

    def feed(data: bytes) -> bytes:
        try:
            return unpack.decompress(data)
        except zstandard.ZstdError as error:
            why = f"damaged Zstandard data: {error}"
            raise WireError(why, offset_bytes=max(at, packed.read_bytes - len(data))) from error

    (descriptor,) = head = _exactly(packed, 1)
    single = descriptor >> 5 & 1
    size = (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6] + (1 - single)
    yield feed(magic + head + _exactly(packed, size))
    is_last = False
    while not is_last:
        head = _exactly(packed, 3)
        number = int.from_bytes(head, "little")
        is_last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
        if kind == _RESERVED:
            why = "damaged Zstandard data: a block of a kind that is not in use"
            raise WireError(why, offset_bytes=packed.read_bytes - len(head))
        yield feed(head + _exactly(packed, 1 if kind == _RLE else size))
    if descriptor & 4:
        yield feed(_exactly(packed, 4))  # the checksum of the content


def _up_to(packed: Packed, count: int) -> bytes:
    """Return so many bytes, fewer only at the end."""
    found = b""
    while len(found) < count and (more := packed.read(count - len(found))):
        found += more
    return found


def _exactly(packed: Packed, count: int) -> bytes:
    """Return so many bytes."""
    found = _up_to(packed, count)
    if len(found) < count:
        raise WireError("the Zstandard data is cut short", offset_bytes=packed.read_bytes)
    return found


_LOOK_BYTES = 4
_KINDS: tuple[tuple[bytes, Unpack], ...] = ((_GZIP, gunzip), (b"\x28\xb5\x2f\xfd", unzstd))
