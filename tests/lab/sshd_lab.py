"""A real sshd on loopback as an ordinary user, and a wire before it that counts and misbehaves."""

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.peers import need

ROOT = Path(__file__).parents[2]
ALIAS = "standby"  # the name under which the client knows the host key
LIMIT_S = 20.0
QUICK = "curve25519-sha256"  # the default, sntrup761x25519, takes twice the time to connect


def login() -> pwd.struct_passwd:
    """Return the ordinary user that sshd runs as: this one, or postgres when this one is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.fail("root, and no user postgres: apt-get install postgresql")


@contextmanager
def folder_of(user: pwd.struct_passwd) -> Iterator[Path]:
    """Give a folder that *user* owns and reaches (pytest's own is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="hasync-sshd-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(slots=True)
class Sshd:
    """One sshd, with its keys and the client's configuration in *folder*."""

    folder: Path
    user: pwd.struct_passwd
    host: str
    port: int = 0
    command: str = ""  # forced on the client's key; "" none
    log: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        """Make all keys."""
        self.log = self.folder / "sshd.log"
        for name in ("host_key", "other_host_key", "id"):
            argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f")
            subprocess.run((*argv, self.folder / name), check=True, timeout=LIMIT_S)
        self.own(self.folder / "host_key")
        self.authorize(self.command)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def own(self, *paths: Path) -> None:
        """Give *paths* to the user that sshd runs as."""
        for path in paths:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def authorize(self, command: str) -> None:
        """Let the client's key in; with *command* for that alone."""
        key = (self.folder / "id.pub").read_text()
        quoted = command.replace('"', '\\"')
        head = f'restrict,command="{quoted}" ' if command else ""
        (self.folder / "authorized_keys").write_text(head + key)
        (self.folder / "authorized_keys").chmod(0o644)

    def start(self) -> None:
        """Return once sshd listens, on a free port of its loopback address."""
        with socket.socket() as one:
            one.bind((self.host, self.port))
            self.port = one.getsockname()[1]
        (self.folder / "sshd_config").write_text(
            f"ListenAddress {self.host}:{self.port}\n"
            f"HostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nMaxStartups 50\n"
            f"KexAlgorithms {QUICK}\n"
        )
        as_user = (
            ("--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--clear-groups")
            if os.geteuid() == 0
            else ()
        )
        sshd = need("sshd", "openssh-server")
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                (
                    *("setpriv", *as_user, "--pdeathsig", "KILL", "--"),
                    *(sshd, "-D", "-e", "-f", self.folder / "sshd_config"),
                ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
            )
        listening = threading.Event()
        for _ in range(2000):
            if b"Server listening" in self.log.read_bytes():
                return
            listening.wait(0.01)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """End sshd and all connections."""
        if self._process is None:
            return
        for pid in (*descendants(self.pid), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(LIMIT_S)
        self._process = None

    def client(self, port: int | None = None, host_key: str = "host_key") -> tuple[str, ...]:
        """Return the words of a client that knows the host by the public half of *host_key*."""
        known = self.folder / f"known_{host_key}"
        public = (self.folder / f"{host_key}.pub").read_text().split()[:2]
        known.write_text(" ".join((ALIAS, *public)) + "\n")
        config = self.folder / f"ssh_config_{port or self.port}_{host_key}"
        config.write_text(
            f"Port {port or self.port}\nUser {self.user.pw_name}\nHostKeyAlias {ALIAS}\n"
            f"IdentityFile {self.folder}/id\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {known}\nGlobalKnownHostsFile none\nStrictHostKeyChecking no\n"
        )
        return ("ssh", "-F", str(config))


@contextmanager
def running(host: str, command: str = "") -> Iterator[Sshd]:
    """Give a started sshd on *host*; it and its folder are gone afterwards."""
    need("ssh", "openssh-client")
    need("sshd", "openssh-server")
    user = login()
    with folder_of(user) as folder:
        sshd = Sshd(folder, user, host, command=command)
        sshd.start()
        try:
            yield sshd
        finally:
            sshd.stop()


def descendants(pid: int) -> tuple[int, ...]:
    """Return all processes below *pid*, children before grandchildren."""
    found: list[int] = []
    todo = [pid]
    while todo:
        try:
            one = todo.pop(0)
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except FileNotFoundError:
            continue
        found += map(int, children)
        todo += map(int, children)
    return tuple(found)


def named(pids: tuple[int, ...], program: str) -> tuple[int, ...]:
    """Return those of *pids* that run *program*."""
    found = []
    for pid in pids:
        with suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == program:
                found.append(pid)
    return tuple(found)


class Wire:
    """A TCP wire from a port of its own to *target*, which counts, and misbehaves once on order."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((target[0], 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]
        self.sent_bytes = 0  # by the client, in all
        self.connections = 0
        self.stalled = False
        self._after_bytes: int | None = None
        self._order: Callable[[], None] = self.cut
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closing = False
        self._start(self._accept)

    def at(self, sent_bytes: int, order: Callable[[], None] | None = None) -> None:
        """Once *sent_bytes* have passed, do *order* (default: cut all connections)."""
        self._order = order or self.cut
        self._after_bytes = sent_bytes

    def stall(self) -> None:
        """Pass nothing any more, and say nothing: a black hole."""
        self.stalled = True

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Break all connections, and take no new one."""
        self._closing = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def close(self) -> None:
        """End everything."""
        self.refuse()
        for thread in self._threads:
            thread.join(LIMIT_S)
        for one in self._open:
            one.close()

    def _start(self, run: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=run, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target, LIMIT_S)
            except OSError:
                return
            server.settimeout(None)
            with self._lock:
                self._open += [client, server]
                self.connections += 1
            self._start(self._pass, client, server, True)
            self._start(self._pass, server, client, False)

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if counted:
                    self._count(len(piece))
                if not self.stalled:
                    sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += size_bytes
            due = self._after_bytes is not None and self.sent_bytes >= self._after_bytes
            self._after_bytes = None if due else self._after_bytes
        if due:
            self._order()


@contextmanager
def wired(sshd: Sshd) -> Iterator[Wire]:
    """Give a wire to *sshd*."""
    wire = Wire((sshd.host, sshd.port))
    try:
        yield wire
    finally:
        wire.close()


def quoted(*argv: str | Path) -> str:
    """Return *argv* as a forced command."""
    return shlex.join(map(str, argv))
