"""The edge to a live SQLite file: copied through SQLite's own backup API, whole at one instant.

Reading the file's bytes while a writer commits gives a torn database, and in WAL mode one without
its newest rows. The source is opened read-only; it is never repaired, checkpointed or written.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from harness.clock import SystemClock
from harness.errors import ToolError

MAGIC = b"SQLite format 3\0"
COMPANIONS = ("-wal", "-shm", "-journal")  # of a database's name; what they hold is in the copy
_ALL_PAGES = -1  # in one step: with smaller ones every commit of a writer begins it anew


def copy(source: Path, target: Path, *, limit_s: float) -> None:
    """Make *target* a copy of the database *source* as it was at one instant, and prove it.

    Every row that was committed before the call is in it.

    Raises:
        ToolError: not a database, damaged, or locked for all of *limit_s*.
    """
    deadline_ns = SystemClock().monotonic_ns() + round(limit_s * 1e9)

    def in_time(_status: int, _left: int, _total: int) -> None:
        if SystemClock().monotonic_ns() > deadline_ns:  # sqlite3 itself would try for ever
            raise ToolError(f"{source}: locked for {limit_s:.0f} s")

    try:
        with (
            closing(sqlite3.connect(_read_only(source), uri=True, timeout=1.0)) as live,
            closing(sqlite3.connect(target)) as own,
        ):
            live.backup(own, pages=_ALL_PAGES, progress=in_time, sleep=0.05)
            found = own.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as error:
        raise ToolError(f"{source}: {error}") from error
    if found != [("ok",)]:
        raise ToolError(f"{source}: {found[0][0] if found else 'no answer'}")


def _read_only(source: Path) -> str:
    return f"file:{quote(str(source))}?mode=ro"
