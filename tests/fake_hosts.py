"""Hosts that exist only as values: they answer the commands of a watch, and break when told to.

`record` runs the same steps as the watch, with time as a number, so a whole wait takes no time.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fst.ea_profile import Profile, profile
from fst.host_history import NS, HostHistory, Sample, WatchedHost, round_commands
from fst.lab.host_layout import PAIRED, HostLayout, layouts
from fst.plan import HostRole
from fst.roles import Roles, Standing, default_roles
from harness.command import CommandOutput
from harness.host_files import HASH, STAT
from harness.log_tail import LogFollower

STARTED_NS = 1_795_366_000 * NS  # 2026-11-22
BOOTED = "Sun Nov 22 15:00:0{} 2026"
PERIOD_NS, WAITS_NS = 5 * NS, {"processes-stay-up": 20 * NS, "log-stays-clean": 60 * NS}
SCALE = 30.0
STATUSES = Path(__file__).parents[1] / "fixtures/hasync"  # of real pairs
GUIDE = profile("guide")
HOSTS = (
    WatchedHost("site1/med", HostRole.MEDIATION, Standing.ACTIVE, "192.0.2.1"),
    WatchedHost("site1/db", HostRole.DATABASE, Standing.ACTIVE, "192.0.2.2"),
    WatchedHost("site1/enum1", HostRole.ENUM, Standing.ACTIVE, "192.0.2.11"),
    WatchedHost("site2/med", HostRole.MEDIATION, Standing.STANDBY, "198.51.100.1"),
    WatchedHost("site2/db", HostRole.DATABASE, Standing.STANDBY, "198.51.100.2"),
    WatchedHost("site2/probe1", HostRole.PROBE, Standing.ACTIVE, "198.51.100.21"),
)


Answer = tuple[int, bytes, bytes]  # exit code, stdout, stderr


@dataclass
class FakeFile:
    """A file of a fake host."""

    content: bytes = b""
    mode: int = 0o100644
    inode: int = 0
    mtime_ns: int = STARTED_NS

    @property
    def mtime(self) -> str:
        return f"{self.mtime_ns // NS}.{self.mtime_ns % NS:09d}"

    @property
    def facts(self) -> str:
        return f"{self.inode} {self.mtime} {len(self.content)}"


@dataclass
class FakeHost:
    """What one host is now; a test changes it between two rounds."""

    host: WatchedHost
    layout: HostLayout
    files: dict[str, FakeFile] = field(default_factory=dict)
    processes: dict[int, str] = field(default_factory=dict)  # id to command line
    sockets: list[str] = field(default_factory=list)
    red: str = ""  # the process that the service calls dead
    clock_s: float = 0.0  # by which its clock is off
    ps_shift_s: int = 0  # by which ps shows later start times
    boots: str = "on"
    status: bytes = b""  # what hasync says; none: it is not installed
    status_code: int = 0
    reached: bool = True
    next_inode: int = 1000

    def add(self, path: str, content: bytes = b"", mode: int = 0o100644, **more: int) -> None:
        """Put a file there, with an inode of its own."""
        self.next_inode += 1
        self.files[path] = FakeFile(content, mode, inode=self.next_inode, **more)

    def write(self, path: str, line: bytes) -> None:
        """Append to a file, as a log is written."""
        self.files[path].content += line

    def ask(self, argv: tuple[str, ...], since_ns: int) -> CommandOutput:
        """Answer one command, *since_ns* after the beginning."""
        at_ns = STARTED_NS + since_ns
        if not self.reached:
            return CommandOutput(argv, None, b"", b"connection timed out", at_ns)
        code, out, err = self._answer(argv, at_ns)
        return CommandOutput(argv, code, out, err, at_ns)

    def _answer(self, argv: tuple[str, ...], at_ns: int) -> Answer:
        program, *rest = (part for part in argv if part != "env" and "=" not in part)
        answers: dict[str, Callable[[], Answer]] = {
            "ps": self._ps,
            "ss": lambda: (0, "\n".join(["State …", *self.sockets]).encode(), b""),
            "date": lambda: self._date(at_ns),
            "stat": lambda: self._stat(argv[len(STAT) :]),
            "sha256sum": lambda: self._hash(argv[len(HASH) :]),
            "find": lambda: self._list(rest[0]),
            "service": self._service,
            "chkconfig": lambda: (0, f"{rest[1]}\t3:{self.boots}\t5:{self.boots}".encode(), b""),
            "runuser": self._status,
            "crontab": lambda: self._read(f"/var/spool/cron/{rest[1]}", "no crontab for it"),
            "cat": lambda: self._read(rest[0]),
            "wc": lambda: self._count(rest[-1]),
            "tail": lambda: self._tail(rest[-1], int(rest[1])),
        }
        return answers.get(program, lambda: (127, b"", b"command not found"))()

    def _status(self) -> Answer:
        if self.status_code:
            return self.status_code, b"", b""
        if not self.status:
            return 127, b"", b"timeout: failed to run command: No such file or directory"
        return 0, self.status, b""

    def _date(self, at_ns: int) -> Answer:
        now_ns = at_ns + round(self.clock_s * NS)
        return 0, f"{now_ns // NS}.{now_ns % NS:09d} +0000\n".encode(), b""

    def _hash(self, paths: Sequence[str]) -> Answer:
        rows = [(hashlib.sha256(self.files[path].content).hexdigest(), path) for path in paths]
        return 0, "".join(f"{digest}  {path}\n" for digest, path in rows).encode(), b""

    def _count(self, path: str) -> Answer:
        code, out, err = self._read(path)
        lines = out.count(b"\n")
        return code, b"" if code else f" {lines} {len(out)} {path}\n".encode(), err

    def _tail(self, path: str, start: int) -> Answer:
        code, out, err = self._read(path)
        return code, out[start - 1 :], err

    def _read(self, path: str, absent: str = "") -> Answer:
        if path not in self.files:
            return 1, b"", (absent or f"cat: {path}: No such file or directory").encode()
        return 0, self.files[path].content, b""

    def _ps(self) -> Answer:
        lines = ["    PID                  STARTED COMMAND"]
        lines += [f"{pid:>7} {BOOTED.format(self.ps_shift_s % 10)} {args}"
                  for pid, args in {1: "/sbin/init", **self.processes}.items()]  # fmt: skip
        return 0, "\n".join(lines).encode(), b""

    def _stat(self, paths: Sequence[str]) -> Answer:
        rows = [(path, self.files.get(path)) for path in paths]
        out = [f"{f.facts} {f.mode:x} {path}\n" for path, f in rows if f is not None]
        err = [
            f"stat: cannot statx '{p}': No such file or directory\n" for p, f in rows if f is None
        ]
        return int(bool(err)), "".join(out).encode(), "".join(err).encode()

    def _list(self, folder: str) -> Answer:
        own = [(path, f) for path, f in self.files.items() if path.rpartition("/")[0] == folder]
        listed = [f"{f.inode} {f.mtime}0 {len(f.content)} 644 {path}\n" for path, f in own]
        return 0, "".join(listed).encode(), b""

    def _service(self) -> Answer:
        names = [one["name"] for one in self.layout.facts["daemons"]]
        running = {args.split()[0].rpartition("/")[2] for args in self.processes.values()}
        out, bad = "", 0
        for at, name in enumerate(names):
            good = name in running and name != self.red
            bad += not good
            words = f"(pid  {100 + at}) is running..." if good else "is stopped"
            out += f"{name} {words}\n"
        return (0 if not bad else 3 if bad == len(names) else 1), out.encode(), b""


Change = Callable[[int, Mapping[str, FakeHost]], None]  # round number, hosts


def fake_hosts(
    chosen: Profile = GUIDE, watched: Sequence[WatchedHost] = HOSTS
) -> dict[str, FakeHost]:
    """Return hosts that are all as they should be."""
    made = layouts(
        watched,
        default_roles(),
        chosen,
        sync_every_s=5.0,
        root_of={one.target: f"/lab/{one.target}" for one in watched},
    )
    return {layout.host.target: _fake(layout) for layout in made}


def _fake(layout: HostLayout) -> FakeHost:
    host = layout.host
    fake = FakeHost(host, layout)
    for folder in sorted(layout.folders):
        fake.add(folder, mode=0o040755)
    for path, (text, mode) in layout.files.items():
        fake.add(path, text.encode(), 0o100000 | mode)
    fake.add(str(layout.facts["log"]), b"old line\nFATAL of yesterday\n")
    fake.boots = "on" if layout.facts["boots"] else "off"
    if host.role in PAIRED:
        kind = {HostRole.DATABASE: "db", HostRole.MEDIATION: "app"}[host.role]
        answer = STATUSES / f"status-{kind}-{host.standing.value}.json"
        fake.status = answer.read_bytes() if layout.facts["cron"]["hasync"] else b""
        fake.processes[50] = "/usr/sbin/crond -n"
    if layout.facts["boots"]:
        for at, one in enumerate(layout.facts["daemons"]):
            fake.processes[100 + at] = f"/opt/ngp/bin/{one['name']} -x"
    address = host.address
    fake.sockets = [f"ESTAB 0 0 {address}:40000 {to}:{port}" for to, port in layout.connections]
    if host.target == "site1/db":
        fake.sockets.append("ESTAB 0 0 [::ffff:192.0.2.2]:15432 [::ffff:192.0.2.1]:40000")
    return fake


def work(number: int, hosts: Mapping[str, FakeHost]) -> None:
    """Let a period go by as it should: each log gets a line, each active server sends a copy."""
    for target, fake in hosts.items():
        log = str(fake.layout.facts["log"])
        if fake.layout.facts["boots"] and log in fake.files:
            fake.write(log, b"12:00:%02d INFO all is well\n" % number)
        cron = fake.layout.facts["cron"]
        if cron and not cron["hasync"] and target.startswith("site1/"):
            path = f"{cron['folder']}/{cron['prefix']}{number:03d}.tgz"
            mtime_ns = STARTED_NS + number * PERIOD_NS
            for one in (fake, hosts[target.replace("site1", "site2")]):
                one.add(path, b"copy %d" % number, mtime_ns=mtime_ns)


def record(
    change: Change = work,
    *,
    hosts: Mapping[str, FakeHost] | None = None,
    rounds: int = 14,
    profile: Profile = GUIDE,
    sync_every_ns: int | None = PERIOD_NS,
) -> HostHistory:
    """Return the history of fake hosts; *change* is called before each round."""
    fakes, roles = dict(hosts or fake_hosts(profile)), default_roles()
    specs = {one.target: roles.spec(one.role, one.standing) for one in HOSTS}
    follow = {target: LogFollower(spec.log) for target, spec in specs.items()}
    once, samples = [], []
    for target, fake in fakes.items():
        mark = fake.ask(follow[target].next_command(), 0)
        follow[target].take(mark)
        once.append(Sample(target, 0, 0, (mark,)))
    for number in range(rounds):
        change(number, fakes)
        since_ns = number * PERIOD_NS
        for target, fake in fakes.items():
            asked = round_commands(specs[target], profile)
            outputs = [fake.ask(argv, since_ns) for argv in asked]
            for _ in range(4):
                outputs.append(fake.ask(follow[target].next_command(), since_ns))
                follow[target].take(outputs[-1])
                if follow[target].at_rest:
                    break
            samples.append(Sample(target, number, since_ns, tuple(outputs)))
    end_ns = rounds * PERIOD_NS
    for target, fake in fakes.items():
        settings = [fake.ask(argv, end_ns) for argv in profile.commands(fake.host.role)]
        copies = sorted(path for path in fake.files if path.endswith(".tgz"))[-3:]
        settings += [fake.ask((*HASH, *copies), end_ns)] if copies else []
        once.append(Sample(target, 0, end_ns, tuple(settings)))
    return HostHistory(
        hosts=HOSTS,
        profile=profile.name,
        period_ns=PERIOD_NS,
        waits_ns=WAITS_NS,
        scale=SCALE,
        started_ns=STARTED_NS,
        started=True,
        sync_every_ns=sync_every_ns,
        samples=tuple(samples),
        once=tuple(once),
    )


def without(history: HostHistory, target: str, rounds: Sequence[int]) -> HostHistory:
    """Return *history* without some samples of a host."""
    kept = [s for s in history.samples if s.host != target or s.round not in rounds]
    return replace(history, samples=tuple(kept))


ROLES: Roles = default_roles()
