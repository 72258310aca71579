"""The edge of the journal: appends events to a file, each flushed to the disk before it counts."""

import os
from pathlib import Path
from typing import Any

from harness.clock import Clock
from harness.errors import InputError, ToolError
from harness.journal import FIRST, Event, chain, parse

NAME = "journal.jsonl"


class JournalFile:
    """A new journal at *path*, open for appending."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Create the file; an existing one is never reused.

        Raises:
            ToolError: it exists already, or cannot be made.
        """
        self._clock = clock
        self._seq = 0
        self._prev = FIRST
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise ToolError(f"{path}: cannot start a journal: {error.strerror}") from error

    def append(self, kind: str, /, **fields: Any) -> Event:  # noqa: ANN401 - JSON values
        """Write one event of type *kind*, and return it once it is on the disk.

        Raises:
            ToolError: the disk did not take it (full, gone).
        """
        event = Event(self._seq + 1, self._clock.wall_ns(), kind, self._prev, fields)
        line = event.encode()
        try:
            self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ToolError(f"{self._file.name}: event not written: {error.strerror}") from error
        self._seq, self._prev = event.seq, chain(line)
        return event

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        self._file.close()


def read(path: Path) -> tuple[Event, ...]:
    """Return the events of the journal at *path* (a file, or a run's folder).

    Raises:
        InputError: no such file, or not a whole journal.
    """
    return parse(_lines(path), file=str(_file(path)))


def read_torn(path: Path) -> tuple[tuple[Event, ...], int]:
    """Return the whole events, and how many bytes of a torn last one follow (0: none).

    A run that was killed, or whose disk was full, can leave its last line cut; all before it holds.

    Raises:
        InputError: no such file, or broken anywhere else.
    """
    lines = _lines(path)
    torn = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
    return parse(lines, file=str(_file(path))), len(torn)


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


def _lines(path: Path) -> list[bytes]:
    file = _file(path)
    try:
        return file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}",
            file=str(file),
            fix="name the folder of a run (evidence/<run>)",
        ) from error
