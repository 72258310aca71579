"""The program that plays a host of the lab: its service, the processes of it, and cron.

    python -m fst.lab.hostd boot|halt STATE            start or end all that the host runs
    python -m fst.lab.hostd service STATE start|stop|status
    python -m fst.lab.hostd chkconfig STATE            as `chkconfig --list` prints it
    python -m fst.lab.hostd crontab STATE USER         as `crontab -l` prints it

STATE is a folder made by fst.lab.hosts: `host.json` (what the host is), `bin/` (a name for each
process), `run/` (process ids), `root/` (the host's files). Standard library only, and nothing of
this project: a process starts in 30 ms, and the judges are not tested against their own code.
"""

import contextlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

READY = b"r"
START_LIMIT_S = 8.0  # a process that takes longer has failed to start
STOP_LIMIT_S = 3.0  # then it is killed
RETRY_S = 0.05  # between two tries to reach a peer
BEAT_S = 0.5  # between two lines of a process in its log
HASYNC = Path(__file__).with_name("hasync_host.py")  # loaded by path, as this file is started
RC_DEAD, RC_STOPPED = 1, 3  # of a status command (LSB 5.0, init script actions)
Host = dict[str, Any]  # host.json


def main(argv: list[str]) -> int:
    """Carry out one command line; return its exit code."""
    match argv:
        case [("boot" | "halt" | "chkconfig") as verb, state]:
            return {"boot": boot, "halt": halt, "chkconfig": chkconfig}[verb](Path(state))
        case ["service", state, ("start" | "stop" | "status") as action]:
            return {"start": start, "stop": stop, "status": status}[action](Path(state))
        case ["crontab", state, user]:
            return crontab(Path(state), user)
        case ["daemon", state, name, ready]:
            return Daemon(Path(state), name, int(ready)).run()
        case ["cron", state, ready]:
            return Cron(Path(state), int(ready)).run()
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201 - this program's only voice
            return 2


def say(text: str) -> None:
    """Print one line, as a script does."""
    print(text, flush=True)  # noqa: T201 - this program's only voice


def load(state: Path) -> Host:
    """Return what the host is."""
    found: Host = json.loads((state / "host.json").read_text(encoding="utf-8"))
    return found


def wall_ns() -> int:
    """Return the time of this "host"."""
    return time.time_ns()  # noqa: TID251 - a host has a clock of its own


# Processes and their ids --------------------------------------------------------------------------


def born(pid: int) -> str:
    """Return the start of a living process in ticks since boot (proc(5), field 22), or ""."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # a zombie is dead


def living(state: Path, name: str) -> int | None:
    """Return the id of the process called *name* if it lives; a stranger's is not taken for it."""
    try:
        text = (state / "run" / f"{name}.pid").read_text(encoding="ascii")
    except OSError:
        return None
    pid, _, start_ticks = text.partition(" ")
    return int(pid) if start_ticks and born(int(pid)) == start_ticks else None


def spawn(state: Path, name: str, *args: str) -> tuple[int, int]:
    """Start a process under a *name* of its own; return its id, and where it says it is ready."""
    read_end, write_end = os.pipe()
    program = state / "bin" / name  # a link to python, so that ps shows this name
    argv = [str(program), "-I", "-S", str(Path(__file__).resolve()), *args, str(write_end)]
    with (state / "run" / f"{name}.err").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - fixed argv, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(write_end,),
            start_new_session=True,  # it outlives the command that starts it
            cwd=state,
        )
    os.close(write_end)
    (state / "run" / f"{name}.pid").write_text(f"{process.pid} {born(process.pid)}", "ascii")
    process.returncode = 0  # nobody here waits for it
    return process.pid, read_end


def ready(ends: dict[str, int], limit_s: float = START_LIMIT_S + 1) -> set[str]:
    """Return the names of those that said they are ready before *limit_s* was over."""
    end_s, good, waiting = time.monotonic() + limit_s, set(), dict(ends)
    while waiting and (left_s := end_s - time.monotonic()) > 0:
        readable, _, _ = select.select(list(waiting.values()), [], [], left_s)
        for name in [name for name, end in waiting.items() if end in readable]:
            if os.read(waiting.pop(name), 1) == READY:
                good.add(name)
    for end in ends.values():
        os.close(end)
    return good


def end(state: Path, names: list[str]) -> None:
    """End processes by id and wait until they are gone; the stubborn are killed."""
    watched: dict[str, int] = {}
    for name in names:
        pid = living(state, name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                watched[name] = os.pidfd_open(pid)
    for code, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, STOP_LIMIT_S)):
        for name, handle in watched.items():
            if living(state, name) is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, code)
        end_s, waiting = time.monotonic() + limit_s, set(watched.values())
        while waiting and (left_s := end_s - time.monotonic()) > 0:
            waiting -= set(select.select(list(waiting), [], [], left_s)[0])
    for name in names:
        if living(state, name) is None:  # what lives on must stay known
            with contextlib.suppress(FileNotFoundError):
                (state / "run" / f"{name}.pid").replace(state / "run" / f"{name}.ended")
    for handle in watched.values():
        os.close(handle)


# Commands -----------------------------------------------------------------------------------------


def boot(state: Path) -> int:
    """Start cron, and the service if it starts with the system."""
    host = load(state)
    if host["cron"] and living(state, "crond") is None:
        _, handle = spawn(state, "crond", "cron", str(state))
        if not ready({"crond": handle}):
            return 1
    return start(state) if host["boots"] else 0


def halt(state: Path) -> int:
    """End all that the host runs."""
    stop(state)
    end(state, ["crond"])
    return 0


def start(state: Path) -> int:
    """Start what of the service does not run; 0 when all of it runs."""
    host, ends = load(state), {}
    for one in host["daemons"]:
        if living(state, one["name"]) is None:
            _, ends[one["name"]] = spawn(state, one["name"], "daemon", str(state), one["name"])
    up = ready(ends)
    for name in ends:
        say(f"Starting {name}: {'[  OK  ]' if name in up else '[FAILED]'}")
    return 0 if up == set(ends) else 1


def stop(state: Path) -> int:
    """End the service."""
    names = [one["name"] for one in load(state)["daemons"]]
    end(state, names)
    for name in names:
        say(f"Stopping {name}: [  OK  ]")
    return 0


def status(state: Path) -> int:
    """Print a line for each process, as an init script's status does."""
    codes = set()
    for one in load(state)["daemons"]:
        name = one["name"]
        pid = living(state, name)
        if pid is not None:
            say(f"{name} (pid  {pid}) is running...")
            codes.add(0)
        elif (state / "run" / f"{name}.pid").exists():
            say(f"{name} dead but pid file exists")
            codes.add(RC_DEAD)
        else:
            say(f"{name} is stopped")
            codes.add(RC_STOPPED)
    return codes.pop() if len(codes) == 1 else RC_DEAD


def chkconfig(state: Path) -> int:
    """Print at which runlevels the service starts."""
    host = load(state)
    word = "on" if host["boots"] else "off"
    levels = "\t".join(f"{n}:{word if n in (2, 3, 4, 5) else 'off'}" for n in range(7))
    say(f"{host['service']}\t{levels}")
    return 0


def crontab(state: Path, user: str) -> int:
    """Print the crontab of *user*."""
    try:
        text = (state / "root/var/spool/cron" / user).read_text(encoding="utf-8")
    except OSError:
        print(f"no crontab for {user}", file=sys.stderr)  # noqa: T201 - this program's only voice
        return 1
    sys.stdout.write(text)
    return 0


# What runs ----------------------------------------------------------------------------------------


class _Program:
    """A process of the host: it writes a log, says when it is ready, and ends when told to."""

    def __init__(self, state: Path, name: str, ready: int, log: str) -> None:
        self.state, self.name, self.host, self._ready = state, name, load(state), ready
        self._log = self.root(log)
        self.selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self.selector.register(self._wake, selectors.EVENT_READ)
        self.ended = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.ended = True
        self._waker.send(b"x")

    def root(self, path: str) -> Path:
        return self.state / "root" / path.lstrip("/")

    def log(self, level: str, text: str) -> None:
        """Write one line; the file is opened for each, as after a rotation it is another."""
        now_ns = wall_ns()
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now_ns // 10**9))
        line = f"{clock},{now_ns // 10**6 % 1000:03d} {level:<5} [{self.name}] {text}\n"
        with self._log.open("ab") as file:
            file.write(line.encode())

    def up(self) -> None:
        """Tell who started this process that it is ready; once."""
        if self._ready >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._ready, READY)
            os.close(self._ready)
            self._ready = -1


class Daemon(_Program):
    """One process of the service: listens, keeps connections to its peers, writes a heartbeat."""

    def __init__(self, state: Path, name: str, ready: int) -> None:
        """Read what it is from host.json."""
        super().__init__(state, name, ready, load(state)["log"])
        self._spec = next(one for one in self.host["daemons"] if one["name"] == name)
        peers = [(str(address), int(port)) for address, port in self._spec["connect"]]
        self._peers: dict[tuple[str, int], socket.socket | None] = dict.fromkeys(peers)

    def run(self) -> int:
        """Run until told to end."""
        self.log("INFO", "starting")
        for port in self._spec["listen"]:
            listener = socket.create_server((self.host["address"], port))
            self.selector.register(listener, selectors.EVENT_READ, "listener")
        end_s = time.monotonic() + self.host.get("start_limit_s", START_LIMIT_S)
        beat_s, count = 0.0, 0
        while not self.ended:
            self._connect()
            whole = all(self._peers.values())
            if whole or not self._spec["needs_peers"]:
                self.up()
            elif time.monotonic() > end_s:
                self.log("FATAL", "a peer without which this cannot run was not reached")
                return 1
            if time.monotonic() >= beat_s:
                count, beat_s = count + 1, time.monotonic() + BEAT_S
                self.log("INFO", f"running, beat {count}")
            self._serve(min(beat_s - time.monotonic(), BEAT_S if whole else RETRY_S))
        self.log("INFO", "stopping")
        return 0

    def _connect(self) -> None:
        """Try each peer that is not connected."""
        for peer, known in self._peers.items():
            if known is not None:
                continue
            try:
                made = socket.create_connection(peer, 1.0, (self.host["address"], 0))
            except OSError:
                continue  # tried again soon
            self._peers[peer] = made
            self.selector.register(made, selectors.EVENT_READ, peer)
            self.log("INFO", f"connected to {peer[0]}:{peer[1]}")

    def _serve(self, limit_s: float) -> None:
        """Take new connections, and see which ended."""
        for key, _ in self.selector.select(max(0.0, limit_s)):
            if key.data == "listener":
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - we registered it
                made, _ = key.fileobj.accept()
                self.selector.register(made, selectors.EVENT_READ, "client")
            elif key.data is not None:
                self._read(key)

    def _read(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - we registered it
        with contextlib.suppress(ConnectionError):
            if key.fileobj.recv(4096):
                return
        self.selector.unregister(key.fileobj)
        key.fileobj.close()
        if key.data in self._peers:
            self._peers[key.data] = None
            self.log("ERROR", f"connection to {key.data[0]}:{key.data[1]} lost")


class Cron(_Program):
    """Cron of the host: on the active server it makes a copy each period and sends it over."""

    def __init__(self, state: Path, ready: int) -> None:
        """Read what is to be copied from host.json."""
        super().__init__(state, "crond", ready, load(state)["cron"]["log"])
        self._job = self.host["cron"]
        self._hasync = runpy.run_path(str(HASYNC))["synchronise"]

    def run(self) -> int:
        """Run until told to end."""
        self.up()
        due_s = time.monotonic()
        while not self.ended:
            if time.monotonic() >= due_s:
                due_s += self._job["every_s"]
                self._copy()
            self.selector.select(max(0.0, due_s - time.monotonic()))
        return 0

    def _copy(self) -> None:
        """Do what the script does: active when the service runs here, else only tidy up."""
        serves = all(living(self.state, one["name"]) for one in self.host["daemons"])
        if self._job["hasync"]:
            self.log("INFO", self._hasync(self.state / "root", self._job, active=serves))
            return
        folder = self.root(self._job["folder"])
        if serves:
            now_ns = wall_ns()
            stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(now_ns // 10**9))
            name = f"{self._job['prefix']}{stamp}{now_ns // 10**6 % 1000:03d}.tgz"
            self._pack(folder / name)
            self._send(folder / name)
            self.log("INFO", f"copy made and sent: {name}")
        for old in sorted(folder.glob(f"{self._job['prefix']}*.tgz"))[: -self._job["keep"]]:
            old.unlink(missing_ok=True)

    def _pack(self, path: Path) -> None:
        import tarfile  # noqa: PLC0415 - only the process that copies pays for it

        part = path.with_name(f".{path.name}.part")
        with tarfile.open(part, "w:gz") as archive:
            archive.add(self.root(self._job["what"]), arcname="ngp")
        part.rename(path)

    def _send(self, path: Path) -> None:
        """Copy as rsync -a does: under another name first, with the time of the original."""
        if not self._job["to"]:
            return  # there is no counterpart
        try:
            target = Path(self._job["to"])
            part = target / f".{path.name}.part"
            part.write_bytes(path.read_bytes())
            times = path.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
            part.rename(target / path.name)
        except OSError as error:
            self.log("ERROR", f"{path.name} not sent: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
