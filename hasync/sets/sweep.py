"""The edge that removes what interrupted runs of ours left behind: our own names, and no others."""

import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path

from hasync.durable import remove_tree, telling
from hasync.failure import Stop
from hasync.lock import taken

_TEMPORARY = re.compile(r"[0-9a-f]{32}\.[a-z]{1,16}")  # <id>.part, <id>.gone, <id>.<purpose>


def sweep(work: Path, more: Iterable[Path]) -> tuple[str, ...]:
    """Return the names that were removed; what cannot be removed waits for the next run.

    A folder whose lock somebody holds belongs to a process that lives.
    """
    names = os.listdir(work) if work.is_dir() else []  # noqa: PTH208 - names
    found = [work / name for name in sorted(names) if _TEMPORARY.fullmatch(name)]
    return tuple(path.name for path in (*found, *more) if _removed(path))


def _removed(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_dir():
            with telling("remove", path):
                path.unlink()
            return True
        return _unused(path)
    except Stop:
        return False


def _unused(folder: Path) -> bool:
    """Say whether *folder* was removed: nobody held it."""
    with telling("open", folder):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if not taken(number):
            return False
        remove_tree(folder)
        fcntl.flock(number, fcntl.LOCK_UN)
    finally:
        os.close(number)
    return True
