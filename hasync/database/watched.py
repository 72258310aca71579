"""The edge that has children write to a disk, and ends them before the disk is full.

The live database stops for good when its log does not fit, and more often than not it shares the
disk with our backups: the reserve is never ours.
"""

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.child import started
from harness.clock import Clock
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.settings import Database

MARGIN: Final = 8  # we stop an eighth of the reserve above it: a child goes on between two looks
LOOK_S: Final = 0.02  # between two looks at the free space
AHEAD: Final = 2  # looks for which the space must last, at the rate that was measured
_SAID_BYTES: Final = 1 << 16  # kept of what a child says; its last words count
_FULL: Final = "No space left on device"


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that is written to, and how much of it must stay free."""

    folder: Path
    reserve_bytes: int

    @property
    def spare_bytes(self) -> int:
        """Return what may still be written; negative when it is too much already.

        Raises:
            Stop: there is no such folder.
        """
        return durable.free_bytes(self.folder) - self.reserve_bytes


def disk(database: Database, folder: Path) -> Disk:
    """Return the disk of *folder*: with a reserve where PGDATA lies on it, or where that is unsure.

    Raises:
        Stop: there is no such folder.
    """
    with durable.telling("look at", folder):
        here = folder.stat().st_dev
    try:
        shared = database.data.stat().st_dev == here
    except OSError:
        shared = True  # not ours to see: the careful answer
    reserve_bytes = database.reserve_bytes * (MARGIN + 1) // MARGIN
    return Disk(folder, reserve_bytes if shared else 0)


class ChildError(Stop):
    """A child failed; *said* is what it wrote on stderr."""

    def __init__(self, program: str, code: int, said: str) -> None:
        """Keep its words; the message has the first errors among them."""
        self.said = said
        lines = [line for line in said.splitlines() if line.strip()]
        wrong = [line for line in lines if "error:" in line.lower()] or lines
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        full = Exit.NO_SPACE if _FULL in said else Exit.FAILED
        told = " ".join(line.strip()[:500] for line in wrong[:3])
        super().__init__(full, f"{program} failed", fact=f"{how}{': ' if told else ''}{told}")


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    ended: int  # pidfd
    program: str
    stack: ExitStack
    said: bytearray = field(default_factory=bytearray)

    def hear(self) -> bool:
        """Keep a piece of what it says; say whether there may be more."""
        stderr = self.process.stderr
        assert stderr is not None  # noqa: S101 - a pipe was asked for
        try:
            piece = os.read(stderr.fileno(), _SAID_BYTES)
        except BlockingIOError:
            return False
        self.said = (self.said + piece)[-_SAID_BYTES:]
        return bool(piece)


@dataclass(frozen=True, slots=True)
class Watch:
    """Has children carried out, with one deadline, beside one disk."""

    disk: Disk
    clock: Clock
    deadline_ns: int  # monotonic

    def carry_out(self, lines: Sequence[Sequence[str]], env: Mapping[str, str]) -> None:
        """Return once all have ended well; with the first that has not, the others are ended.

        Raises:
            ChildError: one failed.
            Stop: no space (before the reserve is touched), no time, or no such program.
        """
        with ExitStack() as stack:
            running = [_start(stack, line, env) for line in lines]
            looked = self._look(None)
            while running:
                looked = self._look(looked)
                watched: list[int] = [child.ended for child in running]
                pipes = {_stderr(child): child for child in running}
                ready = select.select([*watched, *pipes], [], [], LOOK_S)[0]
                for child in [pipes[number] for number in ready if number in pipes]:
                    child.hear()
                for child in [child for child in running if child.ended in ready]:
                    _end(child)
                    running.remove(child)

    def _look(self, before: tuple[int, int] | None) -> tuple[int, int]:
        """Return when it was looked, and what may still be written: what the next one starts from.

        A look that comes early, because a child spoke, does not: a burst is no rate.

        Raises:
            Stop: no time is left, or no space at the rate since the look *before*.
        """
        now_ns, spare = self.clock.monotonic_ns(), self.disk.spare_bytes
        if now_ns > self.deadline_ns:
            raise Stop(Exit.TIMEOUT, "it took longer than its limit", fix="see [limits]")
        if spare < _written_soon(before, (now_ns, spare)):
            raise Stop(
                Exit.NO_SPACE,
                f"stopped before the reserve of {self.disk.folder} was used",
                fact=f"{self.disk.reserve_bytes} bytes stay free there",
                fix="make room, or keep sets on another disk than PGDATA",
            )
        if before is not None and now_ns - before[0] < LOOK_S * 1e9:
            return before
        return now_ns, spare


def _written_soon(before: tuple[int, int] | None, now: tuple[int, int]) -> int:
    """Return what may be written until the look after the next, at the rate since the one *before*.

    A look that comes late, on a busy machine, has measured more time and more bytes: the rate is as
    true, and says nothing of when the next look comes. For that there is the margin.

    >>> _written_soon((0, 1000), (10_000_000, 900)), _written_soon((0, 1000), (50_000_000, 900))
    (200, 80)
    """
    if before is None:
        return 0
    took_ns = max(now[0] - before[0], LOOK_S * 1e9)
    return round(max(0, before[1] - now[1]) * AHEAD * LOOK_S * 1e9 / took_ns)


def _start(stack: ExitStack, line: Sequence[str], env: Mapping[str, str]) -> _Child:
    own = stack.enter_context(ExitStack())
    none = subprocess.DEVNULL
    try:
        process = own.enter_context(
            started(line, stdin=none, stdout=none, stderr=subprocess.PIPE, env=env)
        )
    except FileNotFoundError as error:
        raise Stop(Exit.FAILED, f"{line[0]} is not there") from error
    ended = os.pidfd_open(process.pid)
    own.callback(os.close, ended)
    child = _Child(process, ended, line[0].rpartition("/")[2], own)
    os.set_blocking(_stderr(child), False)
    return child


def _end(child: _Child) -> None:
    """Return when the child, which is at its end, ended well; its group is gone then.

    Raises:
        ChildError: it did not.
    """
    while child.hear():
        pass
    child.stack.close()
    code = child.process.returncode
    if code != 0:
        raise ChildError(child.program, code, child.said.decode("utf-8", "backslashreplace"))


def _stderr(child: _Child) -> int:
    stderr = child.process.stderr
    assert stderr is not None  # noqa: S101 - a pipe was asked for
    return stderr.fileno()
