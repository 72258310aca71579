"""One host of the lab: commands, files, databases, processes and its cable, from the outside.

How it is made is told in `tests.fault.two_sites`.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.postgres_wire import Address, Connection, Row, ServerError

LIMIT_S = 60.0  # of any one command in a site: seconds alone, more on a busy machine
POLL_S = 0.01
USER = "ngp"
NOBODY = (1 << 22) + 1  # more than any process number: pid_max(5)
UID = 61_234  # nobody's on Debian (1000-60000 people, 61184-65519 services made on the fly)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in a site ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Site:
    """One host of the two; everything in it runs as one ordinary user."""

    name: str
    address: str
    address6: str
    home: Path  # as it is called inside; the same in both sites
    bin: Path  # PostgreSQL's programs
    holder: subprocess.Popen[bytes]
    pid: int  # the site's first process, as seen from here
    env: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        """Return the site's home as a path of the test's."""
        return Path(f"/proc/{self.pid}/root{self.home}")

    def argv(
        self, *words: str | Path, root: bool = False, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the command line that runs *words* in the site, as its user."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-r", "-n", "-p", "-u", "-i", "--"]
        who = [] if root else ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        path = f"{self.home}/bin:{self.bin}:/usr/bin:/bin:/usr/sbin:/sbin"
        given = {"HOME": str(self.home), "USER": USER, "PATH": path, "LC_ALL": "C.UTF-8"}
        pairs = [f"{key}={value}" for key, value in (given | self.env | dict(env or {})).items()]
        inside = ["setsid", "env", "-i", "-C", str(self.home), *pairs]
        return [*enter, *who, *inside, *map(str, words)]

    def run(
        self,
        *words: str | Path,
        stdin: str = "",
        limit_s: float = LIMIT_S,
        root: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Return how *words* ended in the site."""
        done = subprocess.run(
            self.argv(*words, root=root, env=env),
            input=stdin,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=limit_s,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def must(self, *words: str | Path, stdin: str = "", root: bool = False) -> str:
        """Return what *words* printed; they have to succeed."""
        result = self.run(*words, stdin=stdin, root=root)
        assert result.code == 0, f"{self.name}: {words}: {result.code}\n{result.out}{result.err}"
        return result.out

    def start(
        self, *words: str | Path, log: str, env: Mapping[str, str] | None = None
    ) -> "Started":
        """Return the running command; what it prints goes to the site's file *log*."""
        with (self.files / log).open("ab") as out:
            process = subprocess.Popen(
                self.argv(*words, env=env), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        return Started(self, process)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file of the user's below the site's home; return its path inside."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.chown(path.parent, UID, UID)
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, UID, UID)
        return self.home / name

    def database(self, name: str = "ngp") -> Address:
        """Return how the test reaches a database of the site."""
        return Address(self.files / "run", name, USER)

    def sql(self, statement: str, database: str = "postgres") -> list[Row]:
        """Return the rows that *statement* gives."""
        with Connection(self.database(database), limit_s=LIMIT_S) as connection:
            return connection.query(statement)

    def databases(self) -> set[str]:
        """Return the names of all databases that are not PostgreSQL's own."""
        rows = self.sql("select datname from pg_database where datname not like 'template_'")
        return {str(row[0]) for row in rows} - {"postgres"}

    def postgres(self, action: str, *more: str) -> Result:
        """Return how `pg_ctl action` ended."""
        log = ("-l", str(self.home / "postgres.log")) if action in {"start", "restart"} else ()
        return self.run("pg_ctl", action, "-s", "-w", "-D", self.home / "pgdata", *log, *more)

    @property
    def answers(self) -> bool:
        """Say whether its PostgreSQL takes connections."""
        try:
            self.sql("select 1")
        except ServerError:
            return False
        return True

    def processes(self) -> dict[int, str]:
        """Return the site's live processes: number as seen from here, and command line."""
        found: dict[int, str] = {}
        space = Path(f"/proc/{self.pid}/ns/pid").readlink()
        for name in os.listdir("/proc"):  # noqa: PTH208 - of every process, many times a second
            with contextlib.suppress(OSError):  # gone meanwhile
                if name.isdigit() and Path(f"/proc/{name}/ns/pid").readlink() == space:
                    words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if words:  # a zombie has none
                        found[int(name)] = words.strip()
        return found

    def service(self, code: str) -> None:
        """Let the application's service answer *code* to `status` from now on."""
        self.write("service.code", code)

    def link(self, state: str) -> None:
        """Plug the site's cable in ("up") or out ("down")."""
        self.must("ip", "link", "set", "eth0", state, root=True)

    def remove(self, name: str) -> None:
        """Remove a file or a folder below the site's home."""
        path = self.files / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class Started:
    """A command that runs in a site, leading a process group of its own."""

    site: Site
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Return the number of the program itself, as seen from here (0: it has ended)."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                found = children.read_text().split()
                if found and os.getpgid(int(found[0])) == int(found[0]):
                    return int(found[0])
        return 0

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send a signal to the whole group; say whether it was there to get it."""
        try:
            os.killpg(self.pid or NOBODY, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Return the exit code (128 + N for signal N)."""
        code = self.process.wait(limit_s)
        return 128 - code if code < 0 else code


def until(happened: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Return once *happened()* is true; else fail with *what* was waited for."""
    deadline = time.monotonic() + limit_s
    tick = threading.Event()
    while not happened():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        tick.wait(POLL_S)


def python() -> str:
    """Return a Python that the site's user may run: the system's own, with no packages of ours."""
    found = shutil.which("python3", path="/usr/bin:/bin")
    return found or sys.executable


def programs_version() -> str:
    """Return the versions of the peers, in one line, for a report."""
    asked = (("pg_dump", "--version"), ("ssh", "-V"), ("rsync", "--version"), ("zstd", "--version"))
    found = []
    for words in asked:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        found.append((done.stdout + done.stderr).partition("\n")[0].strip("* ").split(",")[0])
    return "; ".join(" ".join(one.split()[:3]) for one in found)
