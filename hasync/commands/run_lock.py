"""The edge of the run lock: one changing command at a time on a host, and none left behind.

It is an flock: the kernel frees it when its holder is gone, however that happens. Children do not
inherit it (a PostgreSQL that we started must not hold it for weeks).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hasync.failure import Exit, Stop

NAME = "run.lock"
LOOKERS = 1000  # attempts against those who only look, each for microseconds
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def locked(state: Path, command: str) -> Iterator[None]:
    """Hold the run lock in *state* for *command*.

    Raises:
        Stop: somebody else holds it; says who.
    """
    descriptor = os.open(state / NAME, _FLAGS, 0o600)
    try:
        if not _taken(descriptor):
            fact = os.pread(descriptor, 200, 0).decode("utf-8", "backslashreplace").strip()
            fix = "wait until it has ended"
            raise Stop(Exit.LOCKED, "another run is at work", fact=fact, fix=fix)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{command}, pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Say whether we got the lock; somebody who only looks (`is_held`) is no reason not to."""
    for _ in range(LOOKERS):
        if _try(descriptor, fcntl.LOCK_EX):
            return True
        if not _try(descriptor, fcntl.LOCK_SH):
            return False  # held by a run
    return False


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(state: Path) -> bool:
    """Say whether some run holds the lock now."""
    try:
        descriptor = os.open(state / NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
