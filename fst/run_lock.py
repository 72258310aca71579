"""The edge that lets one process at a time write into a run: a lock that dies with its holder.

The lock is the kernel's (`flock` on `<run>/run.lock`), so nothing is left over from a process that
was killed; the text inside only says who holds it.
"""

import fcntl
import getpass
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import InputError, ToolError

NAME = "run.lock"
_START_FIELD = 19  # of /proc/<pid>/stat after the name in brackets: starttime, in clock ticks


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes into a run; a process is told by its id and its start time."""

    pid: int
    started: str  # ticks since the machine's start; "": not told
    user: str
    host: str
    tty: str  # "": it has no terminal

    @property
    def is_alive(self) -> bool:
        """Say whether this very process still runs on this machine (an id is given again)."""
        return self.host == socket.gethostname() and self.started == start_of(self.pid) != ""

    def __str__(self) -> str:
        """Return it as part of a sentence."""
        where = f" on {self.tty}" if self.tty else ""
        return f"process {self.pid} of {self.user}@{self.host}{where}"


class RunLock:
    """The right to write into a run, while the context lasts (or until `release`)."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of the run in *folder*.

        Raises:
            InputError: another process has it; says which.
            ToolError: the lock's file cannot be made.
        """
        path = folder / NAME
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ToolError(f"{path}: cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held = _told(self._file)
            os.close(self._file)
            raise InputError(
                f"is being written by {held or 'a process that has only just begun'}",
                file=str(folder),
                fix="wait for its end, or end it with `fst abort`",
            ) from error
        except OSError as error:
            os.close(self._file)
            raise ToolError(f"{path}: cannot be locked: {error.strerror}") from error
        self._tell()

    def _tell(self) -> None:
        me = Holder(os.getpid(), start_of(os.getpid()), _user(), socket.gethostname(), _tty())
        text = json.dumps(asdict(me), ensure_ascii=False) + "\n"
        with suppress(OSError):  # a full disk: the lock is the kernel's, the text is a courtesy
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode("utf-8", "surrogateescape"), 0)

    def release(self) -> None:
        """Give the lock up; may be called again."""
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        """Hold it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it up."""
        self.release()


def holder(folder: Path) -> Holder | None:
    """Return who writes into the run in *folder*; None: nobody, or one that has only just begun."""
    try:
        number = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _told(number)
    finally:
        os.close(number)
    return None


def has_open(pid: int, path: Path) -> bool:
    """Say whether process *pid* has the very file *path* open; False when we may not look."""
    try:
        wanted = path.stat()
        found = [one.stat() for one in Path(f"/proc/{pid}/fd").iterdir() if one.exists()]
    except OSError:
        return False
    return any((one.st_dev, one.st_ino) == (wanted.st_dev, wanted.st_ino) for one in found)


def start_of(pid: int) -> str:
    """Return when process *pid* started (ticks since the machine did); "": no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    after_name = stat.rpartition(")")[2].split()
    return after_name[_START_FIELD] if len(after_name) > _START_FIELD else ""


def _told(number: int) -> Holder | None:
    """Return what the lock's file says; None when it is not whole."""
    try:
        found = json.loads(os.pread(number, 4096, 0))
        return Holder(
            int(found["pid"]),
            str(found["started"]),
            str(found["user"]),
            str(found["host"]),
            str(found["tty"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in the password file: a container
        return str(os.getuid())


def _tty() -> str:
    for number in (0, 1, 2):
        try:
            return os.ttyname(number)
        except OSError:
            continue
    return ""
