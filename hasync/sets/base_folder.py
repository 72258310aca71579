"""The edge to the base folder: made once, checked at every start, never taken from somebody else.

Everything below it is swept, pruned and renamed by us, so a folder that holds anything foreign is
refused before the first run touches it.
"""

import os
import stat
from pathlib import Path

from harness.errors import InputError
from hasync import durable
from hasync.settings import Folders

FIELD = "folders.base"
_HARMLESS = {"lost+found", ".snapshot", ".snapshots"}  # of a file system of its own


def ours(folders: Folders) -> tuple[Path, ...]:
    """Return the folders below the base, in the order in which they are made; state is the last.

    Its presence says that the others were made by us.
    """
    return (folders.inbox, folders.work, folders.sets, folders.log, folders.state)


def prepare(folders: Folders) -> None:
    """Make what is missing below the base folder, and check what is there.

    Raises:
        InputError: not a folder of ours, or not safe; says how to clear it.
        Stop: a folder cannot be made.
    """
    _base(folders)
    for folder in ours(folders):
        if not os.path.lexists(folder):
            durable.make_folder(folder)
    inspect(folders)


def inspect(folders: Folders) -> None:
    """Check what is there, and change nothing.

    Raises:
        InputError: not a folder of ours, or not safe; says how to clear it.
    """
    _base(folders)
    for folder in ours(folders):
        if os.path.lexists(folder):
            _sound(folder, folders.base, own=folder != folders.inbox)


def _base(folders: Folders) -> None:
    if not folders.base.is_dir():
        fix = "make it (mode 0700), or run `hasync init`"
        raise _wrong("no such folder", folders.base, fix)
    _private(folders.base, "chmod go-w")
    if not folders.state.exists():
        _not_foreign(folders)


def _not_foreign(folders: Folders) -> None:
    known = {folder.name for folder in ours(folders)} | _HARMLESS
    foreign = sorted(entry.name for entry in folders.base.iterdir() if entry.name not in known)
    if foreign:
        why = f"not a folder of hasync: it holds {', '.join(foreign[:3])}"
        raise _wrong(why, folders.base, "name an empty folder; what is in this one stays untouched")


def _sound(folder: Path, base: Path, *, own: bool) -> None:
    """Refuse what is no plain folder of ours on the file system of *base*.

    The inbox may belong to the account that the peer's key opens.
    """
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise _wrong("no folder", folder, "move it away")
    if state.st_dev != base.stat().st_dev:
        fix = "keep inbox, work and sets on one file system: sets are published by rename"
        raise _wrong("on another file system than the base folder", folder, fix)
    if own:
        _private(folder, "chmod go-w")


def _private(folder: Path, fix: str) -> None:
    """Refuse a folder that another account owns or may write."""
    state = folder.stat()
    if state.st_uid != os.geteuid():
        why = f"belongs to uid {state.st_uid}, and we run as uid {os.geteuid()}"
        raise _wrong(why, folder, "run as its owner, or chown it")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = f"others may write it (mode {stat.S_IMODE(state.st_mode):04o})"
        raise _wrong(why, folder, f"{fix} {folder}")


def _wrong(why: str, folder: Path, fix: str) -> InputError:
    return InputError(why, field=FIELD, value=str(folder), fix=fix)
