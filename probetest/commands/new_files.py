"""The files that a command is to write, looked at before its work: hours would be lost."""

import os
from pathlib import Path

from harness.errors import InputError

TABLES = ("calls", "streams", "rtcp", "ports", "waterfall")
_FIX = "choose another name, or remove it"


def refuse_taken(parquet: Path | None, html: Path | None) -> None:
    """Return if the tables in the folder *parquet*, and the page *html*, can be new files.

    Raises:
        InputError: one is there already, or there is no such folder.
    """
    if html is not None:
        if _is_there(html):
            raise InputError("not written: File exists", file=str(html), fix=_FIX)
        if not html.parent.is_dir():
            raise InputError("not written: no such folder", file=str(html), fix="make it first")
        _refuse_closed(html.parent)
    if parquet is not None:
        if _is_there(parquet) and not parquet.is_dir():
            raise InputError("no folder", file=str(parquet), fix="name a folder; it can be new")
        for path in (parquet / f"{name}.parquet" for name in TABLES):
            if _is_there(path):
                raise InputError("not written: File exists", file=str(path), fix=_FIX)
        _refuse_closed(next(one for one in (parquet, *parquet.parents) if one.exists()))


def _refuse_closed(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = "choose another folder"
        raise InputError("nothing can be written here", file=str(folder), fix=fix)


def _is_there(path: Path) -> bool:
    """Say whether there is something of that name, a link to nothing too."""
    return path.exists() or path.is_symlink()
