"""A capture as columns: where each frame lies, when it was seen, and how much of it is there.

Laws: `parse` copies no bytes, `Capture.data` is a view of what was given; no length is trusted
beyond the file; a damaged record ends the reading, what was read before it stays, and
`Capture.cut` names the byte; frames are numbered from 1 in file order, as tshark counts them.

The two kinds of file are read in `harness.packets.pcap` and `harness.packets.pcapng`.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import InputError, WireError
from harness.packets.capture_rows import (
    MAX_FRAME_BYTES,
    NANOSECONDS,
    Bytes,
    Container,
    Ints,
    Rows,
    Run,
    at_every_byte,
)
from harness.packets.pcap import FILE_HEADER_BYTES, KINDS, VERSION, Pcap
from harness.packets.pcapng import MAGIC
from harness.packets.pcapng_columns import Pcapng

__all__ = [  # some are defined further down, for the readers of each kind
    "LINKTYPE_ETHERNET",
    "LINKTYPE_RAW",
    "Buffer",
    "Bytes",
    "Capture",
    "Ints",
    "at_every_byte",
    "build",
    "encode_file_header",
    "encode_record",
    "open_container",
    "parse",
]

LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
LOOK_BYTES = 512  # of a file, to tell what it is

Buffer = bytes | bytearray | memoryview

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


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """Every frame of a file, one row each; the columns are equally long."""

    name: str  # of the file, for messages
    data: Bytes  # the whole file, or the part of it that is a block
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
    container, at = open_container(bytes(view[:LOOK_BYTES]), name)
    run = Run(np.frombuffer(view, np.uint8), 0, is_end=True)
    rows, _, cut = container.read(run, at)
    if cut is not None and cut.offset_bytes == 0:
        raise cut
    return build(rows, container, run.data, name=name, cut=cut)


def open_container(start: bytes, name: str) -> tuple[Container, int]:
    """Return the reader of the file that begins so, and the byte to read on from.

    *start* is the first `LOOK_BYTES` of the file, or all of it.

    Raises:
        InputError: not a capture, one of a kind that is not read, or cut in its file header.
    """
    magic = start[:4]
    if magic in KINDS:
        return Pcap(start, name), FILE_HEADER_BYTES
    if magic == MAGIC:
        return Pcapng(name), 0
    raise _foreign(start, name)


def build(  # noqa: PLR0913 - a capture has these parts
    rows: Rows,
    container: Container,
    data: Bytes,
    *,
    name: str,
    cut: WireError | None,
    first_frame: int = 1,
) -> Capture:
    """Return a capture of *rows*, which lie in *data*."""
    return Capture(
        name=name,
        data=data,
        **rows.columns(),
        cut=cut,
        interface_drops=container.interface_drops,
        untimed=container.untimed,
        first_frame=first_frame,
    )


def encode_file_header(linktype: int) -> bytes:
    """Return the start of a pcap file: nanoseconds, little endian, 256 KiB snapshot length."""
    return struct.pack("<IHHiIII", 0xA1B23C4D, *VERSION, 0, 0, MAX_FRAME_BYTES, linktype)


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
