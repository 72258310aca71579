"""The edge to file locks: held by this process, free the moment it is gone, however it went."""

import fcntl
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hasync.durable import FILE_MODE, make_folder, telling
from hasync.failure import Exit, Stop

_STEP_S = 0.02  # between two looks at a lock that somebody holds


@contextmanager
def held(path: Path, limit_s: float = 30.0) -> Iterator[None]:
    """Hold the lock file *path* for the length of the block; wait for it at most *limit_s*.

    flock(2) has no time limit and an alarm would disturb our caller's signals, so it is asked for
    again and again. What counts is the lock, never the file: it stays there.

    Raises:
        Stop: somebody else went on holding it (code LOCKED).
    """
    make_folder(path.parent)
    with telling("open the lock", path):
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    try:
        looks = 1
        while not taken(number):
            if looks * _STEP_S > limit_s:
                raise Stop(Exit.LOCKED, f"{path} is locked by another run", fix="let it end")
            select.select([], [], [], _STEP_S)
            looks += 1
        yield
    finally:
        os.close(number)


def taken(number: int) -> bool:
    """Say whether the open file *number* is now locked by us."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
