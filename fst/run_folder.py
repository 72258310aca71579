"""The edge that owns a run's folder: journal, captures, reports."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from harness.clock import Clock
from harness.errors import ToolError
from harness.journal import Event
from harness.journal_file import NAME, JournalFile

CAPTURES = "captures"
MEDIA_TYPE = "application/vnd.tcpdump.pcap"


class RunFolder:
    """A new folder `<out>/<run>/`; nothing in it is ever overwritten."""

    def __init__(self, out: Path, clock: Clock) -> None:
        """Make the folder, named after the time (UTC), and start its journal.

        Raises:
            ToolError: it cannot be made.
        """
        stamp = datetime.fromtimestamp(clock.wall_ns() // 1_000_000_000, tz=UTC)
        name = stamp.strftime("%Y%m%dT%H%M%SZ")
        self.path = self._make(out, name)
        self.run = self.path.name
        self.journal = JournalFile(self.path / NAME, clock)

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


def changed_attachments(folder: Path, events: Iterable[Event]) -> list[str]:
    """Return a line for each file of the run in *folder* that is not as the journal says."""
    told: dict[str, str] = {}
    for event in events:
        if event.type == "attachment":
            told[str(event.fields.get("path"))] = str(event.fields.get("sha256"))
    lines = []
    for name, sha256 in told.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            lines.append(f"{name}: lies outside the run's folder")
        elif not path.is_file():
            lines.append(f"{name}: missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            lines.append(f"{name}: changed since the run (sha256 differs)")
    return lines
