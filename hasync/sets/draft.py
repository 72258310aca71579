"""The edge to a set in the making: work/<id>.part/, ours alone, gone if it was not published."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import HarnessError
from harness.manifest import FileEntry
from hasync.durable import make_folder, remove_tree, telling
from hasync.sets.backup import Kind
from hasync.sets.set_folder import DATA, Hashed

PART = ".part"


class Draft:
    """A folder to put the files of one set into, as a context; its lock keeps sweepers away."""

    def __init__(self, kind: Kind, work: Path) -> None:
        """Make the folder under a fresh random id.

        Raises:
            Stop: the disk did not take it.
        """
        self.kind = kind
        self.id = os.urandom(16).hex()
        self.folder = work / f"{self.id}{PART}"
        make_folder(self.data)
        with telling("lock", self.folder):
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._hashed = Hashed(self.data, {})

    @property
    def data(self) -> Path:
        """Return the folder for the files of the set."""
        return self.folder / DATA

    def files(self) -> tuple[FileEntry, ...]:
        """Return an entry for each file in data/ as it is now; reads only what was touched since.

        Raises:
            InputError: a link, a device, or a name that is not safe.
        """
        return self._hashed.files()

    def wrong(self, wanted: tuple[FileEntry, ...]) -> tuple[str, ...]:
        """Return in words how the files differ from *wanted*."""
        return self._hashed.wrong(wanted)

    def __enter__(self) -> Self:
        """Give the draft itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what was not published; the first error is the one that is told."""
        try:
            self.discard()
        except HarnessError:
            if error is None:
                raise

    def discard(self) -> None:
        """Remove the folder, if it is still there, and end the lock.

        Raises:
            Stop: it cannot be removed; the next sweep tries again.
        """
        try:
            remove_tree(self.folder)
        finally:
            self.close()

    def close(self) -> None:
        """End the lock."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
