"""The edge that starts PostgreSQL when it is down, and stops only what it has started itself.

Who started it is a fact of the postmaster, not a memory of ours: it carries a nonce on its command
line, which `state/started.json` names. The file is written before the start, so a kill at any
moment leaves either no claim, or one that only the very process we started can meet.
"""

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.child import run
from harness.errors import InputError
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.settings import Database

STARTED: Final = "started.json"
GRACE_S: Final = 5.0  # beyond pg_ctl's own limit, before pg_ctl itself is ended
_MAX_BYTES: Final = 4096
_START_TICKS: Final = 19  # of the words after the name in /proc/<pid>/stat (proc(5): field 22)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """One running server, told from any later one with the same process number."""

    pid: int
    started_ticks: int  # of the kernel's clock since boot


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server of one data folder; *state* keeps what we started, *log* what it said."""

    database: Database
    state: Path
    log: Path
    limit_s: float

    def running(self) -> Postmaster | None:
        """Return the server that has this data folder open; None when it is down.

        Raises:
            InputError: the data folder cannot be read, or is none.
        """
        text = self._pid_file()
        first = text.splitlines()[0].strip() if text else ""
        if not re.fullmatch(r"[1-9][0-9]{0,8}", first):
            return None
        pid = int(first)
        process = Path("/proc") / first
        try:
            # a postmaster works in its data folder: a stale pid file may name anybody's process
            if (process / "cwd").resolve(strict=True) != self.database.data.resolve():
                return None
            words = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None  # it ended while we looked, or it is another user's process
        return Postmaster(pid, int(words[_START_TICKS]))

    def is_up(self) -> bool:
        """Say whether the server is there to be asked; one that is not ours to manage must be.

        Its data folder may be another user's, or on another host: psql will tell.
        """
        return not self.database.manage or self.running() is not None

    def start(self) -> Postmaster:
        """Return the server, started by us.

        Raises:
            Stop: it may not be started, or did not start in time.
        """
        if not self.database.manage:
            why = "PostgreSQL is down, and may not be started from here"
            raise Stop(Exit.FAILED, why, fact="database.manage = false", fix="start it")
        nonce = secrets.token_hex(8)
        self._claim(nonce, None)
        said = run(
            self._pg_ctl("start", "-l", str(self._server_log()), "-o", f"-c {_setting(nonce)}"),
            limit_s=self.limit_s + GRACE_S,
            cwd=Path("/"),
        )
        found = self.running()
        if said.exit_code != 0 or found is None:
            fix = f"read {self._server_log()}"
            raise Stop(Exit.FAILED, "PostgreSQL did not start", fact=said.complaint, fix=fix)
        self._claim(nonce, found)
        return found

    def ours(self) -> Postmaster | None:
        """Return the running server if we started it; None when somebody else did, or it is down.

        A server that a person restarted is no longer ours, although it keeps our nonce.
        """
        nonce = self._claimed().get("nonce")
        if not self.database.manage or not isinstance(nonce, str):
            return None
        found = self.running()
        if found is None:
            return None
        try:
            words = (Path("/proc") / str(found.pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        if _setting(nonce).encode() not in words:
            return None
        claim = self._claimed()
        known = claim.get("pid"), claim.get("started_ticks")
        return found if known in {(None, None), (found.pid, found.started_ticks)} else None

    def stop_ours(self) -> bool:
        """Say whether a server that we started was stopped; any other is left alone.

        Raises:
            Stop: it did not stop in time.
        """
        if self.ours() is None:
            self._forget()
            return False
        said = run(
            self._pg_ctl("stop", "-m", "fast"), limit_s=self.limit_s + GRACE_S, cwd=Path("/")
        )
        if said.exit_code != 0:
            fix = f"read {self._server_log()}"
            raise Stop(Exit.FAILED, "PostgreSQL did not stop", fact=said.complaint, fix=fix)
        self._forget()
        return True

    def disown(self) -> None:
        """Leave the server running for good: it serves somebody else now."""
        self._forget()

    def _pg_ctl(self, verb: str, *more: str) -> tuple[str, ...]:
        program, data = str(self.database.bin / "pg_ctl"), str(self.database.data)
        return program, verb, "-D", data, "-w", "-t", str(round(self.limit_s)), "-s", *more

    def _server_log(self) -> Path:
        return self.log / "postgresql.log"

    def _pid_file(self) -> str:
        folder = self.database.data
        try:
            if not (folder / "PG_VERSION").exists():
                fix = "name PGDATA"
                raise InputError(
                    "no data folder", field="database.data", value=str(folder), fix=fix
                )
            return (folder / "postmaster.pid").read_text(errors="replace")[:_MAX_BYTES]
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}",
                field="database.data",
                value=str(folder),
                fix="run as the user that owns PGDATA",
            ) from error

    def _claim(self, nonce: str, found: Postmaster | None) -> None:
        pid, ticks = (None, None) if found is None else (found.pid, found.started_ticks)
        text = json.dumps({"nonce": nonce, "pid": pid, "started_ticks": ticks})
        durable.write(self.state / STARTED, text.encode())

    def _claimed(self) -> dict[str, object]:
        try:
            found = json.loads(durable.read(self.state / STARTED, _MAX_BYTES))
        except (OSError, InputError, ValueError, RecursionError):
            return {}  # no claim that can be read is no claim: nothing is stopped
        return found if isinstance(found, dict) else {}

    def _forget(self) -> None:
        (self.state / STARTED).unlink(missing_ok=True)


def _setting(nonce: str) -> str:
    return f"hasync.started={nonce}"
