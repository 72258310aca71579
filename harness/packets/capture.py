"""A capture as columns: where each frame lies, when it was seen, and how much of it is there.

Laws: the bytes are never copied, `Capture.data` is a view of what was given; no length is trusted
beyond the file; a damaged record ends the reading, what was read before it stays, and
`Capture.cut` names the byte; frames are numbered from 1 in file order, as tshark counts them.

Source: draft-ietf-opsawg-pcap; pcapng's blocks are in `harness.packets.pcapng`.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import InputError, WireError
from harness.packets.pcapng import MAGIC, MAX_FRAME_BYTES, NANOSECONDS, Blocks, damage
from harness.packets.record_walk import Records

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Buffer = bytes | bytearray | memoryview

_PCAP = {  # the first four bytes: byte order, and nanoseconds in one unit of the fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_FOREIGN = {  # how other files start, what they are, and what to do
    b"\xa1\xb2\xcd\x34": (
        "a modified pcap (magic 0xa1b2cd34)",
        "convert: editcap -F pcapng IN OUT",
    ),
    b"\x34\xcd\xb2\xa1": (
        "a modified pcap (magic 0xa1b2cd34)",
        "convert: editcap -F pcapng IN OUT",
    ),
    b"\x1f\x8b": ("gzip", "unpack it first: gunzip"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unpack it first: unzstd"),
    b"\xfd7zXZ": ("xz", "unpack it first: unxz"),
    b"BZh": ("bzip2", "unpack it first: bunzip2"),
    b"\x04\x22\x4d\x18": ("LZ4", "unpack it first: unlz4"),
    b"PK\x03\x04": ("a zip archive", "unpack it first: unzip"),
    b"snoop\0\0\0": ("a Solaris snoop capture", "convert: editcap -F pcapng IN OUT"),
}
_VERSION = (2, 4)  # the only pcap version written since 1998
_FILE_HEADER_BYTES = 24
_RECORD_HEADER_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """Every frame of a file, one row each; the columns are equally long."""

    name: str  # of the file, for messages
    data: Bytes  # the whole file
    at_ns: Ints  # nanoseconds since 1970 (UTC); 0 in the frames that `untimed` counts
    offset_bytes: Ints  # of the frame's first byte in `data`
    captured_bytes: Ints  # in the file
    original_bytes: Ints  # on the wire
    linktype: npt.NDArray[np.int32]
    interface: npt.NDArray[np.int32]  # from 0; goes on counting in a file's later sections
    cut: WireError | None  # why reading ended before the end of the file
    interface_drops: int | None  # frames that the capturing host lost; None: it does not say
    untimed: int = 0  # frames in a pcapng simple packet block, which has no time
    first_frame: int = 1  # the number of its first row: a block of a file begins further on

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.offset_bytes)


def parse(data: Buffer, *, name: str = "") -> Capture:
    """Return all frames of a pcap or pcapng file; *name* is used in messages only.

    Raises:
        InputError: not a capture at all, one of a kind that is not read, or cut before its first
            frame could be. Damage after that is not raised: see `Capture.cut`.
    """
    view = memoryview(data).cast("B")
    magic = bytes(view[:4])
    if magic in _PCAP:
        return _parse_pcap(view, name)
    if magic == MAGIC:
        return _parse_pcapng(view, name)
    raise _foreign(bytes(view[:512]), name)


def encode_file_header(linktype: int) -> bytes:
    """Return the start of a pcap file: nanoseconds, little endian, 256 KiB snapshot length."""
    version = _VERSION
    return struct.pack("<IHHiIII", 0xA1B23C4D, *version, 0, 0, MAX_FRAME_BYTES, linktype)


def encode_record(at_ns: int, frame: bytes) -> bytes:
    """Return *frame* as a record for a file that starts with `encode_file_header`.

    Raises:
        InputError: a time that pcap cannot hold (before 1970, after 2106), or too long a frame.
    """
    seconds, fraction_ns = divmod(at_ns, NANOSECONDS)
    if not 0 <= seconds < 2**32:
        raise InputError("pcap holds 1970 to 2106 only", field="at_ns", value=at_ns)
    size = len(frame)
    if size > MAX_FRAME_BYTES:
        raise InputError(f"longer than {MAX_FRAME_BYTES} bytes", field="frame", value=size)
    return struct.pack("<IIII", seconds, fraction_ns, size, size) + frame


def at_every_byte(data: Bytes, dtype: str) -> npt.NDArray[Any]:
    """Return an array whose item *i* is the number of type *dtype* that starts at byte *i*.

    It costs no memory (a stride of one byte) and is made to be indexed: one gather reads one
    field of many frames, whatever their alignment.
    """
    kind = np.dtype(dtype)
    count = max(0, data.size - kind.itemsize + 1)
    if count == 0:
        return np.empty(0, kind)
    return np.ndarray(shape=(count,), dtype=kind, buffer=data, strides=(1,))


def _foreign(start: bytes, name: str) -> InputError:
    """Say what a file looks like that is not a capture."""
    if not start:
        return InputError("empty, not a capture", file=name, fix="capture again; see its log")
    for magic, (what, fix) in _FOREIGN.items():
        if start.startswith(magic):
            return InputError(f"this is {what}, which is not read here", file=name, fix=fix)
    fix = "give a pcap or pcapng file, as tcpdump -w or dumpcap write it"
    letters = start.translate(None, b"\r\n\t")
    if letters.isascii() and letters.decode("ascii").isprintable():
        return InputError("text, not a capture", file=name, value=start[:32], fix=fix)
    return InputError(
        "neither pcap nor pcapng", file=name, field="first bytes", value=start[:8].hex(" "), fix=fix
    )


def _parse_pcap(view: memoryview, name: str) -> Capture:
    """Return the frames of a pcap file."""
    order, unit_ns = _PCAP[bytes(view[:4])]
    if len(view) < _FILE_HEADER_BYTES:
        raise WireError("cut inside the file header", offset_bytes=len(view), file=name)
    major, minor, _, _, snaplen, link = struct.unpack_from(order + "HHiIII", view, 4)
    if (major, minor) != _VERSION:
        raise InputError(
            "not pcap version 2.4",
            file=name,
            field="version",
            value=f"{major}.{minor}",
            fix="convert: editcap -F pcapng IN OUT",
        )
    starts, cut = _walk_pcap(view, order, max(snaplen, MAX_FRAME_BYTES), name)
    data = np.frombuffer(view, np.uint8)
    words = at_every_byte(data, order + "u4")
    seconds, fraction, captured, original = (
        words[starts + skip].astype(np.int64) for skip in (0, 4, 8, 12)
    )
    return Capture(
        name=name,
        data=data,
        at_ns=seconds * NANOSECONDS + fraction * unit_ns,
        offset_bytes=starts + _RECORD_HEADER_BYTES,
        captured_bytes=captured,
        original_bytes=original,
        linktype=np.full(len(starts), link & 0xFFFF, np.int32),  # above it: length of an FCS
        interface=np.zeros(len(starts), np.int32),
        cut=cut,
        interface_drops=None,
    )


def _walk_pcap(
    view: memoryview, order: str, limit_bytes: int, name: str
) -> tuple[Ints, WireError | None]:
    """Return where each whole record starts, and why reading stopped if that is not the end."""
    words = at_every_byte(np.frombuffer(view, np.uint8), order + "u4")
    end = len(view)
    starts, at = Records(words, _FILE_HEADER_BYTES, end, limit_bytes).walk()
    why = ""
    if at + _RECORD_HEADER_BYTES <= end:
        captured = int(words[at + 8])
        why = f"the record says {captured} bytes: more than "
        why += "a frame can have" if captured > limit_bytes else "the file has left"
    elif at < end:
        why = "cut inside a record header"
    cut = damage(why, at, name, len(starts)) if why else None
    return starts, cut


def _parse_pcapng(view: memoryview, name: str) -> Capture:
    """Return the frames of a pcapng file."""
    blocks = Blocks(view, name)
    at = blocks.read(0)  # raises: without a first section nothing can be read
    cut = None
    try:
        while at < len(view):
            at = blocks.read(at)
    except WireError as error:
        cut = error
    columns = np.array(blocks.frames, np.int64).reshape(-1, 5)
    interface, offset_bytes, at_ns, captured, original = np.ascontiguousarray(columns.T)
    linktypes = np.array([i.linktype for i in blocks.interfaces], np.int32)
    return Capture(
        name=name,
        data=np.frombuffer(view, np.uint8),
        at_ns=at_ns,
        offset_bytes=offset_bytes,
        captured_bytes=captured,
        original_bytes=original,
        linktype=linktypes[interface],
        interface=interface.astype(np.int32),
        cut=cut,
        interface_drops=sum(blocks.drops.values()) if blocks.drops else None,
        untimed=blocks.untimed,
    )
