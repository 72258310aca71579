"""The edge of captures: maps a file to be read, and writes a new one frame by frame."""

import mmap
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import InputError, ToolError
from harness.packets.capture import LINKTYPE_RAW, Capture, encode_file_header, encode_record, parse


def read(path: Path) -> Capture:
    """Return the capture in the file at *path*.

    It is mapped, not loaded, and so must not be shortened while it is in use. What was added after
    this call is not seen.

    Raises:
        InputError: no such file, not a file, not readable, or not a capture.
    """
    fix = "name a pcap or pcapng file"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for its writer
            raise InputError("not a regular file", file=str(path), fix=fix)
        with path.open("rb") as file:
            if path.stat().st_size == 0:  # which cannot be mapped
                return parse(b"", name=str(path))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read: {why}", file=str(path), fix=fix) from error
    return parse(memoryview(mapped), name=str(path))


class CaptureWriter:
    """A new pcap file, with nanoseconds; a context manager."""

    def __init__(self, path: Path, *, linktype: int = LINKTYPE_RAW) -> None:
        """Create the file at *path*; an existing one is never touched.

        Raises:
            ToolError: it exists already, or cannot be made.
        """
        self.path = path
        self.packets = 0  # written so far
        try:
            self._file = path.open("xb")
        except OSError as error:
            raise ToolError(f"{path}: cannot start a capture: {error.strerror}") from error
        self._write(encode_file_header(linktype))

    def write(self, at_ns: int, frame: bytes) -> None:
        """Add a frame, seen at *at_ns* (UTC); it is on its way to the disk, at the latest on close.

        Raises:
            InputError: a time or a length that pcap cannot hold.
            ToolError: the disk did not take it (full, gone).
        """
        self._write(encode_record(at_ns, frame))
        self.packets += 1

    def close(self) -> None:
        """Write what is left, and close the file; doing so again changes nothing.

        Raises:
            ToolError: the disk did not take it: the capture is not whole.
        """
        try:
            self._file.close()
        except OSError as error:
            raise ToolError(f"{self.path}: not written whole: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def _write(self, record: bytes) -> None:
        try:
            self._file.write(record)
        except OSError as error:
            raise ToolError(f"{self.path}: frame not written: {error.strerror}") from error
