"""The edge of the run lock: one changing command at a time on a host, and none left behind.

It is an flock: the kernel frees it when its holder is gone, however that happens. Children do not
inherit it (a PostgreSQL that we started must not hold it for weeks).

A standby may hold it for an hour only to wait for a set. A person need not: who asks writes its
name into state/aside, holds that as long as it lives, and wakes the waiter, which ends. A run that
does more than wait never looks there.
"""

import fcntl
import logging
import os
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hasync.commands.run_log import ALOUD
from hasync.commands.status import utc
from hasync.failure import Exit, Stop
from hasync.peer import arrival

logger = logging.getLogger(__name__)

NAME = "run.lock"
ASIDE = "aside"  # who wants the run lock now, as long as that process lives
ASIDE_S = 10.0  # a waiter that is asked needs a moment to put its end on record
LOOKING_S = 120.0  # one that only looks at its database, or takes a set in, needs longer
RESTORE = "restore.jsonl"  # the journal of what is never interrupted
_STEP_S = 0.05
_WHO_BYTES = 200
_PID = re.compile(r"pid ([0-9]+)")
LOOKERS = 1000  # attempts against those who only look, each for microseconds
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def locked(state: Path, command: str, *, at_ns: int = 0, asks: bool = False) -> Iterator[str]:
    """Hold the run lock in *state* for *command*, begun *at_ns* (wall time).

    *asks*: a run that only waits for a set is asked to end; gives which one did ("": none had to).

    Raises:
        Stop: somebody else holds it; says who, since when, and how to end it.
    """
    descriptor = os.open(state / NAME, _FLAGS, 0o600)
    try:
        gone = ""
        if not _taken(descriptor):
            holder = _who(descriptor)
            if not asks or not _made_room(state, command, descriptor):
                raise _at_work(state, holder)
            gone = holder
        since = f", since {utc(at_ns)}" if at_ns else ""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{command}, pid {os.getpid()}{since}\n".encode(), 0)
        yield gone
    finally:
        os.close(descriptor)


def refuse_when_asked(state: Path) -> None:
    """Return while nobody has asked for the run lock; to be called by a run that only waits.

    Raises:
        Stop: ASIDE, with who has asked, and still lives.
    """
    try:
        descriptor = os.open(state / ASIDE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if _try(descriptor, fcntl.LOCK_SH):
            return  # whoever asked has gone
        raise Stop(
            Exit.ASIDE,
            "stepped aside: it only waited for a set",
            fact=f"asked by {_who(descriptor)}",
            fix="the next run waits again",
        )
    finally:
        os.close(descriptor)


def _made_room(state: Path, command: str, descriptor: int) -> bool:
    """Say whether a run that only waited has ended for us, and the lock is ours."""
    asked, soon = os.open(state / ASIDE, _FLAGS, 0o600), round(ASIDE_S / _STEP_S)
    try:
        if not _try(asked, fcntl.LOCK_EX):
            return False  # another person was quicker
        os.ftruncate(asked, 0)
        os.pwrite(asked, f"{command}, pid {os.getpid()}\n".encode(), 0)
        if not arrival.wake(state):
            return False  # nobody waits
        for step in range(round(LOOKING_S / _STEP_S)):
            if _taken(descriptor):
                return True
            if step >= soon and (state / RESTORE).exists():
                return False
            if step == soon:
                logger.warning("waits for %s to step aside", _who(descriptor), extra=ALOUD)
            select.select([], [], [], _STEP_S)
        return False
    finally:
        os.close(asked)


def _at_work(state: Path, holder: str) -> Stop:
    """Return the refusal, with all that a person at night needs to know."""
    begun = sorted(path.stem for path in state.glob("*.jsonl"))
    fact = holder + (f"; at {', '.join(begun)} now" if begun else "")
    found = _PID.search(holder)
    end = f", or end it in order: kill {found[1]}" if found else ""
    return Stop(
        Exit.LOCKED, "another run is at work", fact=fact, fix=f"wait until it has ended{end}"
    )


def _who(descriptor: int) -> str:
    return os.pread(descriptor, _WHO_BYTES, 0).decode("utf-8", "backslashreplace").strip()


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
