"""The lab's hosts on loopback: real processes, logs, sockets and copies, and access to each.

An edge. Everything runs unprivileged at the hosts' own 127.x addresses; every process that is
started is known by a file with its id and start time, so `stop` ends them, and nothing else, also
when the program that started them has crashed.
"""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from fst.ea_profile import Profile, profile
from fst.host_history import watched_hosts
from fst.lab import hasync_host, hostd, proc_tables
from fst.lab.host_layout import HostLayout, layouts
from fst.roles import Roles, default_roles
from fst.site import SiteFile
from harness.clock import Clock, SystemClock
from harness.command import NOT_FOUND, CommandOutput
from harness.errors import InputError, ToolError
from harness.snapshot import Socket, parse_proc_net

START_LIMIT_S = 20.0  # for all hosts; they take 1 s alone on two cores
LOOK_EVERY_S = 0.02  # at the sockets, while the hosts come up
RUN_LIMIT_S = 10.0  # for one command
MAX_OUTPUT_BYTES = 8 * 1024 * 1024  # of one command; a longer one is cut, and says so
MARK = "host.json"
_FILES = frozenset({"stat", "tail", "wc", "cat", "sha256sum", "find"})  # take paths of the host


class LabHosts:
    """All hosts of a site file, below *folder*; use `start` and `stop`."""

    def __init__(  # noqa: PLR0913 - a lab has these parts
        self,
        file: SiteFile,
        folder: Path,
        *,
        roles: Roles | None = None,
        chosen: Profile | None = None,
        sync_every_s: float = 0.5,
        clock: Clock | None = None,
    ) -> None:
        """Work out what the hosts are; nothing is written before `start`."""
        self.hosts = watched_hosts(file)
        self.sync_every_s = sync_every_s
        self._folder = folder.resolve()
        self._clock = clock or SystemClock()
        strangers = [host for host in self.hosts if not host.address.startswith("127.")]
        if strangers:
            one = strangers[0]
            fix = "use 127.x.y.z"
            raise InputError("not loopback", field=one.target, value=one.address, fix=fix)
        self.layouts = layouts(
            self.hosts,
            roles or default_roles(),
            chosen or profile("guide"),
            sync_every_s=sync_every_s,
            root_of={one.target: str(self.state(one.target) / "root") for one in self.hosts},
        )

    def state(self, target: str) -> Path:
        """Return the folder of one host."""
        return self._folder / target.replace("/", "-")

    async def start(self) -> None:
        """Start all hosts; return when each listens and all connections are established.

        Raises:
            ToolError: a host did not come up; what its processes said is named.
        """
        await self.stop()
        for one in self.layouts:
            _write(self.state(one.host.target), one)
        boots = (_hostd("boot", str(self.state(one.target))) for one in self.hosts)
        for host, done in zip(self.hosts, await asyncio.gather(*boots), strict=True):
            if done.exit_code != 0:
                await self.stop()
                raise ToolError(f"{host.target} did not start: {self._said(host.target, done)}")
        try:
            await asyncio.wait_for(self._connected(), START_LIMIT_S)
        except TimeoutError as error:
            await self.stop()
            raise ToolError("the hosts did not connect with each other") from error

    async def stop(self) -> None:
        """End every process of these hosts, by id; also of a lab that an earlier program left."""
        await stop_all(self._folder)

    def access(self, target: str) -> "LabAccess":
        """Return the way to run commands on one host."""
        host = next(one for one in self.hosts if one.target == target)
        return LabAccess(host.address, self.state(target), self._clock)

    @property
    def accesses(self) -> Mapping[str, "LabAccess"]:
        """Return all accesses, by target."""
        return {one.target: self.access(one.target) for one in self.hosts}

    async def _connected(self) -> None:
        """Look at the kernel's table until each connection is there."""
        wanted = {(one.host.address, *to) for one in self.layouts for to in one.connections}
        while wanted - _established():  # noqa: ASYNC110 - the kernel sends no event for it
            await asyncio.sleep(LOOK_EVERY_S)

    def _said(self, target: str, done: CommandOutput) -> str:
        errors = sorted((self.state(target) / "run").glob("*.err"))
        last = [text.splitlines()[-1] for one in errors if (text := one.read_text().strip())]
        return "; ".join([done.text.strip().replace("\n", ", "), *last])


def _established() -> set[tuple[str, str, int]]:
    sockets: Sequence[Socket] = parse_proc_net(Path("/proc/net/tcp").read_text(encoding="ascii"))
    ends = [(s.local_address, s.remote_address, s.remote_port, s.state) for s in sockets]
    return {(local, remote, port) for local, remote, port, state in ends if state == "ESTAB"}


def _write(state: Path, layout: HostLayout) -> None:
    """Write a host's folder anew."""
    if state.exists() and not (state / MARK).exists():
        raise ToolError(f"{state}: is no host of a lab; name another folder")
    try:
        if state.exists():
            shutil.rmtree(state)
        root = state / "root"
        for folder in (state / "bin", state / "run", root):
            folder.mkdir(parents=True)
        for path in layout.folders:
            (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for path, (text, mode) in layout.files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(mode)
        for name in layout.programs:
            (state / "bin" / name).symlink_to(Path(sys.executable).resolve())
        (state / MARK).write_text(json.dumps(layout.facts, indent=1), encoding="utf-8")
    except OSError as error:
        raise ToolError(f"{state}: cannot be written: {error.strerror}") from error


def states_in(folder: Path) -> list[Path]:
    """Return the folders of the hosts of any lab below *folder*."""
    return sorted(path.parent.resolve() for path in folder.glob(f"*/{MARK}"))


def any_live(folder: Path) -> bool:
    """Say whether a process of any lab below *folder* lives."""
    names = [(state, one.stem) for state in states_in(folder) for one in state.glob("run/*.pid")]
    return any(hostd.living(state, name) is not None for state, name in names)


async def stop_all(folder: Path) -> int:
    """End what any lab below *folder* runs; return how many hosts there were."""
    states = states_in(folder)
    await asyncio.gather(*(_hostd("halt", str(state)) for state in states))
    return len(states)


async def _hostd(*args: str) -> CommandOutput:
    """Run the program that plays a host."""
    limit_s = START_LIMIT_S
    return await run_bounded(_hostd_argv(*args), dict(os.environ), SystemClock(), limit_s=limit_s)


def _hostd_argv(*args: str) -> tuple[str, ...]:
    return _argv_of(hostd, *args)


def _argv_of(program: ModuleType, *args: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours by itself, without this environment."""
    python, path = Path(sys.executable).resolve(), Path(program.__file__ or "").resolve()
    return (str(python), "-I", "-S", str(path), *args)


async def run_bounded(
    argv: tuple[str, ...], env: Mapping[str, str], clock: Clock, *, limit_s: float = RUN_LIMIT_S
) -> CommandOutput:
    """Return what *argv* gave, within bounds of time and size; it is killed past its time."""
    at_ns, began_ns = clock.wall_ns(), clock.monotonic_ns()

    def ended(code: int | None, out: bytes, err: bytes) -> CommandOutput:
        cut = max(len(out), len(err)) > MAX_OUTPUT_BYTES
        kept = (out[:MAX_OUTPUT_BYTES], err[:MAX_OUTPUT_BYTES])
        return CommandOutput(argv, code, *kept, at_ns, clock.monotonic_ns() - began_ns, cut)

    pipe = asyncio.subprocess.PIPE
    none = asyncio.subprocess.DEVNULL
    spawning = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv, stdin=none, stdout=pipe, stderr=pipe, env=dict(env), start_new_session=True
        )
    )
    try:
        process = await _uncut(spawning)
    except FileNotFoundError:
        return ended(NOT_FOUND, b"", f"{argv[0]}: command not found\n".encode())
    except OSError as error:
        return ended(None, b"", str(error.strerror).encode())
    try:
        streams = (_bounded(process.stdout), _bounded(process.stderr))
        async with asyncio.timeout(limit_s):
            out, err = await asyncio.gather(*streams)
        return ended(await process.wait(), out, err)
    except TimeoutError:
        return ended(None, b"", f"not ended after {limit_s:g} s".encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _uncut(spawning: "asyncio.Future[Process]") -> Process:
    """Return the process, or end it when this is cancelled: cancelled half-way it would hang."""
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        process = await spawning
        process.kill()
        await process.wait()
        raise


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end, but keep a little more than the bound: the sign that there was more."""
    kept = bytearray()
    while stream is not None and (part := await stream.read(65_536)):
        kept += part[: MAX_OUTPUT_BYTES + 1 - len(kept)]
    return bytes(kept)


class LabAccess:
    """Runs commands as if on one host: it sees its own files, processes and sockets only."""

    def __init__(self, address: str, state: Path, clock: Clock) -> None:
        """Stand for the host at *address*, whose folder is *state*."""
        self._address, self._state, self._clock = address, state, clock
        self._root = str(state / "root")

    async def run(self, *argv: str) -> CommandOutput:
        """Return what *argv* gives on this host; a command that a host here has not gives 127."""
        env, bare = _split_env(argv)
        real = self._real(bare)
        if real is None:
            said = f"{' '.join(bare[:1])}: command not found\n".encode()
            return CommandOutput(argv, NOT_FOUND, b"", said, self._clock.wall_ns())
        done = await run_bounded(real, {**os.environ, **env}, self._clock)
        out, err = (self._outside_in(part) for part in (done.stdout, done.stderr))
        if bare[0] == "ps":
            out = self._own_processes(out)
        return CommandOutput(argv, done.exit_code, out, err, done.at_ns, done.took_ns, done.cut)

    def _real(self, bare: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the command that shows on this machine what *bare* shows on the host."""
        found: tuple[str, ...] | None = None
        state = str(self._state)
        match bare:
            case ("service", _, action):
                found = _hostd_argv("service", state, action)
            case ("chkconfig", "--list", _):
                found = _hostd_argv("chkconfig", state)
            case ("runuser", "-u", _, "--", "timeout", "-k", _, _, program, "status", "--json"):
                found = _argv_of(hasync_host, state, program)
            case ("crontab", "-u", user, "-l"):
                found = _hostd_argv("crontab", state, user)
            case ("ss", *_):
                lacking = shutil.which("ss") is None
                own = (*bare, "src", self._address)
                found = _argv_of(proc_tables, "ss", self._address) if lacking else own
            case ("ps", *_) if shutil.which("ps") is None:
                found = _argv_of(proc_tables, "ps")
            case ("ps" | "date", *_):
                found = bare
            case (name, *rest) if name in _FILES:
                found = (name, *(self._root + a if a.startswith("/") else a for a in rest))
            case _:
                pass  # a command that a host of the lab has not
        return found

    def _outside_in(self, output: bytes) -> bytes:
        """Return paths as the host has them."""
        return output.replace(self._root.encode(), b"")

    def _own_processes(self, listing: bytes) -> bytes:
        """Keep the heading, and the processes that run under a name of this host."""
        own = f" {self._state / 'bin'}/".encode()
        heading, *lines = listing.splitlines(keepends=True) or [b""]
        return heading + b"".join(line for line in lines if own in line)


def _split_env(argv: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the settings that `env` is given, and the command after them."""
    env: dict[str, str] = {}
    rest = list(argv)
    if rest[:1] == ["env"]:
        rest.pop(0)
        while rest and "=" in rest[0]:
            name, _, value = rest.pop(0).partition("=")
            env[name] = value
    return env, tuple(rest)
