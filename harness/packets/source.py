"""The edge that opens what a user names as a capture: a file, a pipe, stdin; packed, or growing.

Laws: bytes are read once, in order, into the reader's own memory; a device or a folder is refused;
what cannot be read on is a loss that is named, and what was read before it stays.
"""

import io
import os
import select
import stat
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from harness.clock import Clock, SystemClock
from harness.errors import InputError, WireError
from harness.packets.source_unpack import Unpacked

STDIN = "-"

_FIX = "name a pcap or pcapng file, or a pipe"


@dataclass(frozen=True, slots=True)
class Follow:
    """How to read a file that still grows."""

    stop: Event = field(default_factory=Event)  # set it, and reading ends where the file does
    idle_ns: int = 10_000_000_000  # so long without new bytes, and it ends too
    clock: Clock = field(default_factory=SystemClock)
    poll_s: float = 0.2  # between two looks


class FileSource(Unpacked):
    """The bytes of a capture, unpacked; a context manager."""

    def __init__(self, name: str, follow: Follow | None = None) -> None:
        """Open what is at the path *name*, or stdin.

        Raises:
            InputError: no such file, or nothing that can be read.
        """
        self.name = "stdin" if name == STDIN else name
        self._file = _FileBytes(self.name, _open(name), follow)
        super().__init__(self._file)

    @property
    def size_bytes(self) -> int | None:
        """Return how long the file is now; None of a pipe."""
        return self._file.size_bytes

    def close(self) -> None:
        """Close the file; doing so again changes nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()


def _open(name: str) -> io.FileIO:
    """Return the open file; of a named pipe, once somebody writes to it."""
    try:
        if name == STDIN:
            file = io.FileIO(0, closefd=False)
            if file.isatty():
                raise InputError("this is a terminal, not a capture", file="stdin", fix=_FIX)
            return file
        mode = Path(name).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
            raise InputError("neither a file nor a pipe", file=name, fix=_FIX)
        return io.FileIO(name)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it; no stdin
        why = error.strerror if isinstance(error, OSError) else error
        shown = "stdin" if name == STDIN else name
        raise InputError(f"cannot be read: {why}", file=shown, fix=_FIX) from error


class _FileBytes:
    """The bytes of a file as they lie there."""

    def __init__(self, name: str, file: io.FileIO, follow: Follow | None) -> None:
        self._read_bytes = 0
        self.loss: WireError | None = None
        self.is_stopped = False
        self._name, self._file, self._follow = name, file, follow
        self._is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)

    @property
    def size_bytes(self) -> int | None:
        return os.fstat(self._file.fileno()).st_size if self._is_regular else None

    def close(self) -> None:
        self._file.close()

    def readinto(self, room: memoryview) -> int:
        """Read; at the end of a growing file, wait."""
        try:
            count = self._wait(room, self._follow) if self._follow else self._now(room)
        except OSError as error:
            why = f"cannot be read on: {error.strerror}"
            self.loss = WireError(why, offset_bytes=self._read_bytes, file=self._name)
            return 0
        self._read_bytes += count
        return count

    def _now(self, room: memoryview) -> int:
        while (count := self._file.readinto(room)) is None:  # a pipe that its owner never waits for
            select.select([self._file], [], [])
        return count

    def _wait(self, room: memoryview, follow: Follow) -> int:
        """Return what there is, as soon as there is something."""
        since_ns = follow.clock.monotonic_ns()
        while True:
            idle_ns = follow.clock.monotonic_ns() - since_ns
            is_over = follow.stop.is_set() or idle_ns >= follow.idle_ns  # before the last look
            if self._is_regular:
                if count := self._now(room):
                    return count
                self._refuse_shorter()
            elif select.select([self._file], [], [], 0 if is_over else follow.poll_s)[0]:
                return self._now(room)
            if is_over:
                self.is_stopped = True
                return 0
            if self._is_regular:
                follow.stop.wait(follow.poll_s)

    def _refuse_shorter(self) -> None:
        """A file that was cut while it was read is not what was read."""
        if (self.size_bytes or 0) < self._read_bytes:
            raise OSError(0, "it has become shorter meanwhile")
