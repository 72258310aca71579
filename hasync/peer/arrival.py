"""The edge of what arrives: who may write into the inbox now, how much, and waking who waits.

Law: while a set is committed nobody writes into the inbox. A receiver holds the lock for as long as
it lives (its descriptor is inherited), so it cannot change a file after that has been checked.
"""

import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InputError
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.peer.hello import MAX_PARTS
from hasync.sets.manifest import checked_id
from hasync.settings import Folders, Settings

LOCK = "inbox.lock"
ARRIVED = "arrived"  # a FIFO that a waiting standby keeps open
PART = ".part"
COMMIT_WAIT_S = 90.0  # longer than a receiver lives whose sender is gone (rsync's time-out)
RECEIVER_WAIT_S = 10.0  # shorter than its sender waits for a first byte
_POLL_S = 0.05
_NOBODY = frozenset({errno.ENXIO, errno.ENOENT, errno.EAGAIN, errno.ELOOP, errno.EPIPE})


def hold_for_receiver(folders: Folders, wait_s: float = RECEIVER_WAIT_S) -> int:
    """Return a descriptor that a receiver inherits; as long as it is open, nothing is committed.

    Raises:
        Stop: a commit is under way just now.
    """
    number = _open(folders)
    try:
        _lock(number, fcntl.LOCK_SH, wait_s)
    except Stop:
        os.close(number)
        raise
    os.set_inheritable(number, True)
    return number


@contextmanager
def without_receivers(folders: Folders, wait_s: float = COMMIT_WAIT_S) -> Iterator[None]:
    """Keep every receiver out of the inbox.

    Raises:
        Stop: one is still writing after *wait_s*.
    """
    number = _open(folders)
    try:
        _lock(number, fcntl.LOCK_EX, wait_s)
        yield
    finally:
        os.close(number)


def parts(folders: Folders) -> dict[str, int]:
    """Return by id how many bytes of each set lie in the inbox, committed by nobody yet."""
    found: dict[str, int] = {}
    for path in sorted(folders.inbox.glob(f"*{PART}"))[:MAX_PARTS]:
        try:
            set_id = checked_id(path.name.removesuffix(PART))
        except InputError:
            continue  # nothing of ours
        found[set_id] = _size_bytes(path)
    return found


def free_bytes(settings: Settings) -> int:
    """Return what the inbox may take without using up the reserve of the database."""
    durable.make_folder(settings.folders.inbox)
    reserve = settings.database.reserve_bytes if settings.database else 0
    return max(0, durable.free_bytes(settings.folders.inbox) - reserve)


def wake(state: Path) -> bool:
    """Say whether somebody waited for a set, and has been told."""
    try:
        number = os.open(state / ARRIVED, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _NOBODY:
            return False
        raise
    try:
        if not stat.S_ISFIFO(os.fstat(number).st_mode):
            return False
        os.write(number, b"\n")
    except OSError as error:
        if error.errno in _NOBODY:
            return False
        raise
    finally:
        os.close(number)
    return True


def _open(folders: Folders) -> int:
    durable.make_folder(folders.inbox)
    durable.make_folder(folders.state)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(folders.state / LOCK, flags, 0o600)


def _lock(number: int, how: int, wait_s: float) -> None:
    """Take the lock; flock(2) knows no time limit, so it is asked again and again."""
    deadline_ns = time.monotonic_ns() + round(wait_s * 1e9)
    while True:
        try:
            fcntl.flock(number, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic_ns() >= deadline_ns:
                raise Stop(
                    Exit.LOCKED,
                    "the inbox is in use",
                    fact=f"for {wait_s:g} s, by a receiver or a commit",
                    fix="try again when that has ended",
                ) from error
            select.select([], [], [], _POLL_S)
        else:
            return


def _size_bytes(folder: Path) -> int:
    """Return what its files take on the disk; a file that goes meanwhile takes nothing."""
    total_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(root, name))  # noqa: PTH118 - 5 000 files
            except FileNotFoundError:
                continue
            total_bytes += min(found.st_size, found.st_blocks * 512)
    return total_bytes
