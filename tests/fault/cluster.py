"""A PostgreSQL cluster of a test's own: ordinary user, Unix socket only, gone with the session.

    cluster.start(); cluster.psql("select 1"); cluster.kill_all(); cluster.stop()

Use the fixture `cluster` (one for the session, running), or `new_cluster()` for one that a test
may break. Every server is a child of the test process, and is killed when that ends.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hasync.settings import Database
from tests.lab.peers import missing, start

LIMIT_S = 60.0  # of any one command; a second alone
POLL_S = 0.01
OWNER = "postgres"  # the Linux user that runs the server when the tests run as root
SUPERUSER = "postgres"
NO_LIMIT = "-c statement_timeout=0"
CONF = """\
listen_addresses = ''
unix_socket_directories = '{run}'
unix_socket_permissions = 0777
fsync = off
shared_buffers = 16MB
max_wal_size = 128MB
max_connections = 60
max_prepared_transactions = 5
autovacuum_naptime = 1d
"""


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; the test is skipped without them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else missing("initdb", "postgresql")


@dataclass(slots=True)
class Cluster:
    """One cluster in *folder*."""

    folder: Path
    bin: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def data(self) -> Path:
        """Return its PGDATA."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """Return the folder of its socket."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """Return what the server said."""
        return self.folder / "server.log"

    def database(self, name: str = "ngp", reserve_bytes: int = 1 << 20) -> Database:
        """Return the settings that lead hasync here."""
        return Database(
            socket=str(self.socket),
            bin=self.bin,
            data=self.data,
            name=name,
            user=SUPERUSER,
            lock_wait_s=2.0,
            reserve_bytes=reserve_bytes,
        )

    def start(self) -> None:
        """Return once the server takes connections."""
        argv = [str(self.bin / "postgres"), "-D", str(self.data)]
        self.process = start([*_as_owner(), *argv], self.log)
        deadline_s = time.monotonic() + LIMIT_S
        while self._tool("pg_isready", "-q", "-h", str(self.socket)).returncode != 0:
            assert time.monotonic() < deadline_s, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(POLL_S)  # noqa: TID251 - a server that starts has no other event

    def stop(self, mode: str = "fast") -> None:
        """Return once the server has ended (smart, fast or immediate)."""
        if self.process is None:
            return
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        if self.process.poll() is None:
            self.process.send_signal(signals[mode])
        self.process.wait(LIMIT_S)
        self.process = None

    def restart(self, mode: str = "fast") -> None:
        """Stop it in *mode*, and start it again."""
        self.stop(mode)
        self.start()

    def kill_all(self) -> None:
        """Kill the postmaster and every backend at once, as a power cut would."""
        if self.process is None:
            return
        for pid in (self.process.pid, *self.children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(LIMIT_S)
        self.process = None
        deadline_s = time.monotonic() + LIMIT_S
        while self._backends_left():
            assert time.monotonic() < deadline_s, "backends outlive the postmaster"
            time.sleep(POLL_S)  # noqa: TID251 - no event for a process that is not a child

    def children(self) -> tuple[int, ...]:
        """Return the process ids of the server's own processes."""
        if self.process is None:
            return ()
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return tuple(int(pid) for pid in path.read_text().split())

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Return what psql prints for *sql*, unaligned, without the last newline."""
        argv = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket))
        done = self._tool("psql", *argv, "-U", SUPERUSER, "-d", database, sql=sql)
        assert done.returncode == 0, f"{sql[:500]}\n{done.stderr}"
        return done.stdout.removesuffix("\n")

    def fresh(self, name: str = "ngp", more: str = "template template0") -> str:
        """Return the name of a new, empty database; one of that name is dropped first."""
        quoted = '"' + name.replace('"', '""') + '"'
        self.psql(f"drop database if exists {quoted} with (force);")
        self.psql(f"create database {quoted} {more};")
        return name

    def tool(self, name: str, *argv: str) -> str:
        """Return what one of PostgreSQL's programs prints; it must succeed."""
        done = self._tool(name, *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _tool(self, name: str, *argv: str, sql: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_as_owner(), str(self.bin / name), *argv],
            input=sql,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            cwd="/",
            # a test's database may have a limit of its own, for hasync to withstand
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGOPTIONS": NO_LIMIT},
        )

    def _backends_left(self) -> bool:
        """Say whether a process still has this data folder open."""
        pid_file = self.data / "postmaster.pid"
        lines = pid_file.read_text().split() if pid_file.exists() else []
        return bool(lines) and Path(f"/proc/{lines[0]}").exists()


@contextlib.contextmanager
def new_cluster() -> Iterator[Cluster]:
    """Give a cluster that runs; it is killed and removed at the end."""
    found = programs()
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # socket paths are short
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER, OWNER)
    folder.chmod(0o755)
    made = Cluster(folder, found)
    try:
        argv = ("-U", SUPERUSER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        made.tool("initdb", "-D", str(made.data), *argv)
        made.socket.mkdir()
        if os.geteuid() == 0:
            shutil.chown(made.socket, OWNER, OWNER)
        with (made.data / "postgresql.conf").open("a") as conf:
            conf.write(CONF.format(run=made.socket))
        made.start()
        yield made
    finally:
        made.kill_all()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give the session's cluster; a test that stops it starts it again."""
    with new_cluster() as made:
        yield made


def _as_owner() -> list[str]:
    """Return the words that make a program run as an ordinary user: the server refuses root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--"]
