"""The edge that owns a run's folder: its lock, its journal, captures, reports."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from fst.failpoint import armed
from fst.run_lock import RunLock
from harness.clock import Clock
from harness.errors import HarnessError, InputError, ToolError
from harness.journal import Event
from harness.journal_file import NAME, JournalFile

CAPTURES = "captures"
SITE = "site.toml"
PROFILES = "profiles"  # the SBC profiles that the site file names, as they were
MISSING = "missing"
_FILES = frozenset({"attachment", "acceptance"})  # events that name a file and its hash
MEDIA_TYPE = "application/vnd.tcpdump.pcap"


class RunFolder:
    """A folder `<out>/<run>/`, locked for this process; no evidence in it is ever overwritten."""

    def __init__(self, path: Path, lock: RunLock, journal: JournalFile) -> None:
        """Keep the parts, which `begin` and `reopen` make."""
        self.path, self.run, self._lock, self.journal = path, path.name, lock, journal
        self.journal.on_append = armed(os.environ, path / NAME)

    @classmethod
    def begin(
        cls,
        out: Path,
        clock: Clock,
        site_text: bytes,
        profiles: Mapping[str, str] | None = None,
    ) -> Self:
        """Return a new folder, named after the time (UTC), locked, with its journal started.

        *site_text* is kept as site.toml, and *profiles* by file name in a folder of their own, so
        that the folder is enough to go on with the run.

        Raises:
            ToolError: it cannot be made.
        """
        stamp = datetime.fromtimestamp(clock.wall_ns() // 1_000_000_000, tz=UTC)
        name = stamp.strftime("%Y%m%dT%H%M%SZ")
        path = cls._make(out, name)
        lock = RunLock(path)
        try:
            (path / SITE).write_bytes(site_text)
            for name, text in (profiles or {}).items():
                (path / PROFILES).mkdir(exist_ok=True)
                (path / PROFILES / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ToolError(f"{error.filename}: not written: {error.strerror}") from error
        return cls(path, lock, JournalFile(path / NAME, clock, anchored=True))

    @classmethod
    def reopen(cls, path: Path, clock: Clock) -> Self:
        """Return the folder of a run that goes on: locked, its journal checked and repaired.

        Raises:
            InputError: no run is there, another process has it, or its journal does not hold.
            ToolError: it cannot be written.
        """
        if not (path / NAME).is_file():
            fix = "name the folder of a run (evidence/<run>)"
            raise InputError("no run is in this folder", file=str(path), fix=fix)
        lock = RunLock(path)
        try:
            return cls(path, lock, JournalFile.reopen(path / NAME, clock))
        except HarnessError:
            lock.release()
            raise

    def close(self) -> None:
        """Close the journal, and let another process have the run; may be called again."""
        self.journal.close()
        self._lock.release()

    def new_path(self, name: str) -> Path:
        """Return where a file called *name* goes, with a number in it if there is one already."""
        return unused(self.path / name)

    @staticmethod
    def _make(out: Path, name: str) -> Path:
        """Return a folder that was not there before: two runs in one second get two names."""
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ToolError(f"{out}: cannot be made: {error.strerror}; use --out") from error
        for suffix in ("", *(f"-{count}" for count in range(2, 100))):
            path = out / f"{name}{suffix}"
            try:
                path.mkdir()
                (path / CAPTURES).mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                raise ToolError(f"{path}: cannot be made: {error.strerror}; use --out") from error
            return path
        raise ToolError(f"{out / name}: a hundred runs began in this second")

    @property
    def captures(self) -> Path:
        """Return where captures go."""
        return self.path / CAPTURES

    def capture(
        self, path: Path, packets: int, dropped: int | None, captured_by: str
    ) -> dict[str, str | int | None]:
        """Return an `attachment` event's fields for a capture of this run."""
        return {
            **self.attachment(path),
            "media_type": MEDIA_TYPE,
            "packets": packets,
            "dropped": dropped,
            "captured_by": captured_by,
        }

    def attachment(self, path: Path) -> dict[str, str | int]:
        """Return relative path, hash and size of a file of this run, as the journal has them."""
        content = path.read_bytes()
        return {
            "path": path.relative_to(self.path).as_posix(),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }


def unused(path: Path) -> Path:
    """Return *path*, or with a number in its name if it is there: no evidence is overwritten."""
    found, count = path, 1
    while found.exists():
        count += 1
        found = path.with_stem(f"{path.stem}-{count}")
    return found


def changed_attachments(folder: Path, events: Iterable[Event]) -> list[str]:
    """Return a line for each file of the run in *folder* that is not as the journal says."""
    told: dict[str, str] = {}
    for event in events:
        if event.type in _FILES and event.fields.get("path"):
            told[str(event.fields.get("path"))] = str(event.fields.get("sha256"))
    lines = []
    for name, sha256 in told.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            lines.append(f"{name}: lies outside the run's folder")
        elif not path.is_file():
            lines.append(f"{name}: {MISSING}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            lines.append(f"{name}: changed since the run (sha256 differs)")
    return lines
