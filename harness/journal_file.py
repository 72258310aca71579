"""The edge of the journal: appends events to a file, each flushed to the disk before it counts.

Laws: an event is on the disk before `append` returns; after a write that failed nothing more is
written, so what is there stays a whole journal, or one with a torn last line; a torn line is kept
beside the journal before it is cut off. The anchor (`journal.head`: count and hash of the last
event) is written after the event, so it can lag behind the file and never be ahead of it: one that
is ahead tells of events that were taken away.
"""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness.clock import Clock
from harness.errors import InputError, ToolError
from harness.journal import FIRST, Anchor, Event, chain, parse
from harness.journal_repair import cut_torn_tail, sync_folder

NAME = "journal.jsonl"
HEAD_SUFFIX = ".head"  # journal.jsonl has journal.head beside it
REPAIRED = "journal.repaired"
SYNCED = frozenset({"attempt.end", "run.end"})  # after these the anchor is flushed too


@dataclass(frozen=True, slots=True)
class _End:
    """Where a journal ends; replaced as a whole, so that no interrupt finds half of it."""

    size: int
    seq: int
    prev: str

    @classmethod
    def of(cls, events: Sequence[Event], size: int) -> "_End":
        """Return the end of a file of *size* bytes that holds *events*."""
        return cls(size, len(events), chain(events[-1].encode()) if events else FIRST)

    def after(self, line: bytes) -> "_End":
        """Return the end with *line* behind it."""
        return _End(self.size + len(line), self.seq + 1, chain(line))


class JournalFile:
    """A journal at a path, open for appending; several threads may append."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        anchored: bool = False,
        known: tuple[Event, ...] | None = None,
    ) -> None:
        """Create the file, with its anchor if *anchored*; an existing one is never reused.

        *known* are the events of one that is continued: see `reopen`, which checks them.

        Raises:
            ToolError: it exists already, or cannot be made.
        """
        self._clock, self._path = clock, path
        self._lock = threading.Lock()
        self._failed = ""  # why nothing more is written
        self._line = b""  # that is being written: an interrupt can come before it is counted
        self.events: tuple[Event, ...] = known or ()  # that were there when it was opened
        self.lag: int | None = None  # events by which the anchor was behind then; None: no anchor
        self.on_append: Callable[[int], None] | None = None  # called after each event: failpoints
        how = os.O_CREAT | os.O_EXCL if known is None else os.O_APPEND
        try:
            how |= os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, how, 0o644)
            self._end = _End.of(known or (), os.fstat(self._file).st_size)
            self._head = _open_anchor(path) if anchored else -1
        except OSError as error:
            raise ToolError(f"{path}: cannot start a journal: {error.strerror}") from error

    @classmethod
    def reopen(cls, path: Path, clock: Clock) -> Self:
        """Return the journal at *path* (a file, or a run's folder) to be continued.

        A torn last line is cut off, kept as `journal.torn-<n>`, and recorded as an event. Nothing
        is touched when the chain or the anchor does not hold.

        Raises:
            InputError: no such file, a broken chain, or events that the anchor knows are missing.
            ToolError: it cannot be written.
        """
        file = _file(path)
        events, torn = _split(file)
        lag = check_anchor(events, file)
        try:
            repairs = cut_torn_tail(file, torn, _accounted(events))
        except OSError as error:
            raise ToolError(f"{file}: cannot be repaired: {error.strerror}") from error
        found = cls(file, clock, anchored=True, known=events)
        found.lag = lag
        for repair in repairs:
            found.events += (found.append(REPAIRED, **repair),)
        return found

    def append(self, kind: str, /, **fields: Any) -> Event:  # noqa: ANN401 - JSON values
        """Write one event of type *kind*, and return it once it is on the disk.

        Raises:
            ToolError: the disk did not take it (full, gone), now or at an event before.
        """
        with self._lock:
            if self._failed:
                raise ToolError(f"{self._path}: nothing is written any more: {self._failed}")
            try:
                self._catch_up()
                end = self._end
                event = Event(end.seq + 1, self._clock.wall_ns(), kind, end.prev, fields)
                self._line = event.encode()
                self._put(self._line)
            except OSError as error:
                self._give_up(str(error.strerror))
                raise ToolError(f"{self._path}: event not written: {error.strerror}") from error
            self._end = end.after(self._line)
            self._drop_anchor(synced=kind in SYNCED)
        if self.on_append is not None:
            self.on_append(event.seq)
        return event

    @property
    def broken(self) -> bool:
        """Say whether a write failed, after which nothing more is written."""
        return bool(self._failed)

    def _catch_up(self) -> None:
        """Count a line that was written when an interrupt came, or take a half of one off."""
        more = os.fstat(self._file).st_size - self._end.size
        if more < 0:
            raise OSError(errno.EIO, "somebody has cut the journal")
        if more and more == len(self._line):
            os.fsync(self._file)
            self._end = self._end.after(self._line)
        elif more:
            os.ftruncate(self._file, self._end.size)

    def _put(self, line: bytes) -> None:
        """Write the whole of *line*: a full disk takes a part of it first, and errs later."""
        done = 0
        while done < len(line):
            done += os.write(self._file, line[done:])
        os.fsync(self._file)

    def _give_up(self, why: str) -> None:
        """Stop writing, and try to take the torn line off: on a full disk that works."""
        self._failed = why
        try:
            if os.fstat(self._file).st_size > self._end.size:
                os.ftruncate(self._file, self._end.size)
                os.fsync(self._file)
        except OSError as error:
            self._failed = f"{why}; the torn line stays: {error.strerror}"

    def _drop_anchor(self, *, synced: bool) -> None:
        """Write count and hash over the last ones; it is a second witness, not worth an error."""
        if self._head < 0:
            return
        try:
            os.pwrite(self._head, Anchor(self._end.seq, self._end.prev).encode(), 0)
            if synced:
                os.fsync(self._head)
        except OSError as error:
            self._failed = f"the anchor was not written: {error.strerror}"
            raise ToolError(f"{_head(self._path)}: not written: {error.strerror}") from error

    def close(self) -> None:
        """Close the files; every event is on the disk already. May be called again."""
        with self._lock:  # another thread may be writing
            for number in (self._file, self._head):
                if number >= 0:
                    os.close(number)
            self._file = self._head = -1


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
    events, torn = _split(path)
    return events, len(torn)


def check_anchor(events: Sequence[Event], path: Path) -> int | None:
    """Return by how many of *events* the anchor of the journal at *path* lags; None: it has none.

    An anchor behind the file is what a kill between two writes leaves. One that is ahead, or that
    has another hash, tells that events were taken away or written anew.

    Raises:
        InputError: such an anchor, one that is no anchor at all, or none where the first event says
            that there is one (`anchored`).
    """
    head = _head(_file(path))
    try:
        content = head.read_bytes()
    except FileNotFoundError as error:
        if events and events[0].fields.get("anchored") is True:
            why = "missing: without it nobody can tell whether events were cut off"
            raise InputError(why, file=str(head), fix="copy the run's folder whole") from error
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(head)) from error
    if not content and len(events) <= 1:
        return len(events)  # made, and never written
    return Anchor.parse(content, file=str(head)).lag(events, file=str(_file(path)))


def _accounted(events: Sequence[Event]) -> frozenset[str]:
    """Return the torn pieces that an event tells of already."""
    return frozenset(str(event.fields.get("file")) for event in events if event.type == REPAIRED)


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


def _open_anchor(file: Path) -> int:
    how = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_NOFOLLOW
    number = os.open(_head(file), how, 0o644)
    sync_folder(file.parent)
    return number


def _head(file: Path) -> Path:
    return file.with_suffix(HEAD_SUFFIX)


def _split(path: Path) -> tuple[tuple[Event, ...], bytes]:
    """Return the whole events, and the bytes of a torn last line."""
    lines = _lines(path)
    torn = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
    return parse(lines, file=str(_file(path))), torn


def _lines(path: Path) -> list[bytes]:
    file = _file(path)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        fix = "copy the run's folder whole"
        raise InputError("a link or a special file, not a journal", file=str(file), fix=fix)
    try:
        return file.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}",
            file=str(file),
            fix="name the folder of a run (evidence/<run>)",
        ) from error
