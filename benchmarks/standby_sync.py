"""Claim: hasync's rows are live within 1.15 times the pipeline that a careful admin would type.

    python -m benchmarks.standby_sync --mb 1000 --rounds 5 --jobs 2

Both in one run, in turns, on the same two hosts and the same database:

    bare     pg_dump -Fd -Z0 -j ─▶ tar │ zstd ─▶ sha256sum ─▶ rsync ─▶ zstd │ tar ─▶ pg_restore -j
    hasync   pgsync at the active site, while the other site's pgsync waits for it

End to end is the time in which somebody waits: from the start until the rows are there, which for
hasync is when clients get them and that is confirmed on the disk. What hasync tidies up afterwards,
nobody waits for; the time until both commands have ended is told beside it.

hasync does more in its time (manifest, signature, flush, two checks of every file, statistics, row
counts, swap); each of its steps is told, so that nobody has to take that for an excuse.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.standby_hosts import NAME, OWNER, Host, Hosts, two_hosts
from harness.clock import SystemClock
from tests.fault.postgres_wire import Address, Connection, ServerError

RATIO = 1.15  # the claim
BLOCKED_S, ROLLBACK_S = 1.0, 5.0  # what a swap and a rollback may take
EVERY_S = 0.005  # between two connections of the client that meets a swap
BIG = 4  # tables that share the bytes
ROW_BYTES = 188  # of a big table, with its indexes
WAIT_S = 900
WARM_UP = 2  # days until there is a database to replace, and one to drop
ZSTD = 3  # hasync's level, and zstd's own default
EXTRA = {  # steps that do what the bare pipeline leaves undone
    "restore: analyze": "statistics for the planner",
    "restore: verify": "all rows counted, schema and facts compared",
    "restore: tail": "whether anybody wrote to what is replaced",
}
TIDYING = {  # steps after the rows are live
    "restore: prune": "what was replaced looked at again, the one before it too, and that dropped",
    "restore: stop": "the server, if hasync had started it",
}
CONFIRMED = "restore: confirm"
TABLE = """
create table calls_{number} (id bigint primary key, caller text not null, callee text not null,
  began timestamptz not null, seconds int not null, trunk text not null, leg uuid not null);
insert into calls_{number} select n, '+12025550' || 100 + n % 100, '+12125550' || 100 + n * 7 % 100,
  timestamptz '2026-01-01' + n * interval '700 ms', hashint8(n) & 4095, 'trunk' || n % 40,
  md5({number} || ' ' || n)::uuid from generate_series(1, {rows}) n;
create index on calls_{number} (began); create index on calls_{number} (leg);
"""
SMALL = """
do $$ begin for n in 1 .. {count} loop
  execute format('create table rules_%s (id int primary key, prefix text, route text)', n);
  execute format('insert into rules_%s select i, i::text, md5(i::text)
                  from generate_series(1, 40) i', n);
  if n % 50 = 0 then commit; end if;
end loop; end $$;
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One way of one round: the seconds of each step, in order, and of the whole."""

    steps: Mapping[str, float]
    whole_s: float
    live_s: float  # from the beginning until clients get the new rows, and that is on record
    cpu_s: float  # of processors, at both hosts
    load: float  # of the machine in the minute before, from its other users too


@dataclass(slots=True)
class Client:
    """Connects every 5 ms and asks which database it got."""

    address: Address
    seen: list[tuple[float, float, str]] = field(default_factory=list)  # asked, answered, oid
    refused: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Ask from now on, in a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._end.set()
        if self._thread:
            self._thread.join()

    def _work(self) -> None:
        sql = f"select oid from pg_database where datname = '{NAME}'"  # noqa: S608 - a constant
        while not self._end.wait(EVERY_S):
            asked_s = time.monotonic()
            try:
                with Connection(self.address) as connection:
                    oid = str(connection.query(sql)[0][0])
            except ServerError as error:
                self.refused.append(str(error))
            else:
                self.seen.append((asked_s, time.monotonic(), oid))

    @property
    def gap_s(self) -> float:
        """Return the time from the old database's last answer to the new one's first."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return max((new[1] - old[1] for old, new in pairs if old[2] != new[2]), default=0.0)

    @property
    def usual_s(self) -> float:
        """Return the median time between two answers: what a gap would be without any swap."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return statistics.median([new[1] - old[1] for old, new in pairs] or [0.0])


def main() -> int:
    """Return 0 when the claim held, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=100, help="size of the database, about")
    parser.add_argument("--tables", type=int, default=50, help="small tables beside the big ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="of pg_dump, pg_restore and pgsync")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on a real disk")  # noqa: S108 - made with mkdtemp
    parser.add_argument("--no-fsync", action="store_true", help="servers that never flush")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with two_hosts(options.folder, fsync=not options.no_fsync) as hosts:
        size_mb = filled(hosts.a, options.mb, options.tables, options.jobs)
        _say(f"{size_mb} MB, {BIG} big and {options.tables} small tables, {options.jobs} jobs")
        for _ in range(WARM_UP):
            hasync(hosts, options.jobs, Client(Address(hosts.b.socket, NAME, OWNER)))
        found = Found()
        for number in range(options.rounds):
            ways: tuple[Callable[[], object], ...] = (
                lambda: found.bare.append(bare(hosts, options.jobs)),
                lambda: found.day(hosts, options.jobs),
            )
            for way in ways if number % 2 == 0 else ways[::-1]:
                way()
            found.told()
        return found.report()


def filled(host: Host, size_mb: int, small: int, jobs: int) -> int:
    """Return the size in MB of the database that was made."""
    host.sql(f"create database {NAME} template template0", "postgres")
    rows = max(1000, size_mb * 1_000_000 // BIG // ROW_BYTES)
    made = [TABLE.format(number=number, rows=rows) for number in range(BIG)]
    threads = [threading.Thread(target=host.sql, args=(sql,)) for sql in made]
    for at in range(0, BIG, jobs):
        for thread in threads[at : at + jobs]:
            thread.start()
        for thread in threads[at : at + jobs]:
            thread.join()
    host.sql(SMALL.format(count=small))
    host.sql("vacuum analyze; checkpoint")
    return int(host.sql("select pg_database_size(current_database())")) // 1_000_000


def bare(hosts: Hosts, jobs: int) -> Round:
    """Return how long the pipeline took, that every admin knows."""
    a, b = hosts.a, hosts.b
    b.run("rm", "-rf", "bare")
    b.sql(f"drop database if exists {NAME}_bare", "postgres")
    b.run("mkdir", "bare")
    a.run("rm", "-rf", "bare")
    a.run("mkdir", "bare")
    load, cpu_s = _settled(a, b), hosts.cpu_s()
    ssh = f"ssh -F {a.folder}/ssh/to_shell"
    lines: tuple[tuple[str, Host, str], ...] = (
        ("dump", a, f"pg_dump -Fd -Z0 -j{jobs} -h {a.socket} -f bare/dump {NAME}"),
        ("tar, zstd", a, f"tar -C bare -cf - dump | zstd -q -{ZSTD} -T0 -o bare/dump.tar.zst"),
        ("sha256sum", a, "sha256sum bare/dump.tar.zst > bare/sum"),
        ("rsync", a, f"rsync -a -e '{ssh}' bare/dump.tar.zst 127.0.0.1:{b.folder}/bare/"),
        ("zstd, tar", b, "zstd -q -dc bare/dump.tar.zst | tar -C bare -xf -"),
        ("createdb", b, f"createdb -h {b.socket} -T template0 {NAME}_bare"),
        ("pg_restore", b, f"pg_restore -e -j{jobs} -h {b.socket} -d {NAME}_bare bare/dump"),
    )
    steps = {name: _timed(partial(host.shell, line)) for name, host, line in lines}
    whole_s = sum(steps.values())
    return Round(steps, whole_s, whole_s, hosts.cpu_s() - cpu_s, load)


def _settled(*hosts: Host) -> float:
    """Return the machine's load, once nothing of an earlier way is left to be flushed."""
    for host in hosts:
        host.sql("checkpoint", "postgres")
    os.sync()
    return os.getloadavg()[0]


def _timed(work: Callable[[], object]) -> float:
    begun_s = time.monotonic()
    work()
    return time.monotonic() - begun_s


def hasync(hosts: Hosts, jobs: int, client: Client) -> Round:
    """Return how long a day of pgsync took, from its start at a to its end at b."""
    a, b = hosts.a, hosts.b
    journals = [*a.base.glob("state/done/*"), *b.base.glob("state/done/*")]
    load, cpu_s = _settled(a, b), hosts.cpu_s()
    run_b = b.start(
        *_program(b, "pgsync"), "-j", str(jobs), "-t", str(WAIT_S), "127.0.0.1", log="pgsync.out"
    )
    # no longer: what it does while it waits goes on beside the other's work, as under cron
    _until(lambda: run_b.poll() is not None or _waits(b), "the standby waits")
    begun_ns, begun_s = SystemClock().wall_ns(), time.monotonic()
    run_a = a.start(*_program(a, "pgsync"), "-j", str(jobs), "127.0.0.1", log="pgsync.out")
    journal = b.base / "state/restore.jsonl"
    while run_b.poll() is None and not run_a.poll():
        if not client.seen and journal.exists() and '"reguard"' in _text(journal):
            client.begin()
        time.sleep(0.01)  # noqa: TID251 - a process of a benchmark, looked at now and then
    whole_s = time.monotonic() - begun_s
    client.end()
    if run_a.wait() or run_b.wait():
        logs = ("pgsync.out", "base/log/pgsync.log")
        said = "".join(_text(host.folder / log) for host in (a, b) for log in logs)
        sys.exit(f"pgsync ended with {run_a.returncode} and {run_b.returncode}\n{said}")
    new = {path for host in (a, b) for path in host.base.glob("state/done/*")} - set(journals)
    steps, live_ns = _steps(new)
    steps["between the steps"] = whole_s - sum(steps.values())
    used_s = hosts.cpu_s() - cpu_s
    return Round(steps, whole_s, (live_ns - begun_ns) / 1e9, used_s, load)


def _program(host: Host, name: str, *words: str) -> list[str]:
    return [f"{host.folder}/bin/{name}", *words, "--config", f"{host.folder}/hasync.toml"]


def _waits(host: Host) -> bool:
    """Say whether hasync's own record tells of a run that has begun, and it can be woken."""
    if not (host.base / "state/arrived").exists():
        return False
    status = json.loads(_text(host.base / "state/status.json") or "{}")
    return bool(status.get("runs", {}).get("pgsync", {}).get("running"))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not happened():
        if time.monotonic() > deadline_s:
            sys.exit(f"not within {WAIT_S} s: {what}")
        time.sleep(0.01)  # noqa: TID251 - as above


def _steps(journals: set[Path]) -> tuple[dict[str, float], int]:
    """Return the seconds of each step of publish, send and restore, and when it was confirmed."""
    steps: dict[str, float] = {}
    live_ns = 0
    for procedure in ("publish", "send", "restore"):
        for path in sorted(path for path in journals if path.name.endswith(f"-{procedure}.jsonl")):
            begun_ns = 0
            for event in map(json.loads, path.read_text().splitlines()):
                if event["type"] == "step":
                    begun_ns = event["at_ns"]
                elif event["type"] == "done":
                    name = f"{procedure}: {event['name']}"
                    steps[name] = steps.get(name, 0.0) + (event["at_ns"] - begun_ns) / 1e9
                    live_ns = event["at_ns"] if name == CONFIRMED else live_ns
    return steps, live_ns


def rollback(b: Host) -> tuple[float, Client]:
    """Return how long `hasync rollback` took, and what a client saw of it."""
    client = Client(Address(b.socket, NAME, OWNER))
    client.begin()
    took_s = _timed(lambda: b.run(*_program(b, "hasync", "rollback")))
    client.end()
    return took_s, client


@dataclass(slots=True)
class Found:
    """All that was measured."""

    bare: list[Round] = field(default_factory=list)
    hasync: list[Round] = field(default_factory=list)
    swaps: list[Client] = field(default_factory=list)
    rollbacks: list[float] = field(default_factory=list)

    def day(self, hosts: Hosts, jobs: int) -> None:
        """Measure a day of hasync, and a rollback there and back."""
        client = Client(Address(hosts.b.socket, NAME, OWNER))
        self.hasync.append(hasync(hosts, jobs, client))
        self.swaps.append(client)
        for _ in range(2):
            took_s, client = rollback(hosts.b)
            self.rollbacks.append(took_s)
            self.swaps.append(client)

    def told(self) -> None:
        """Say how the last round went."""
        bare, own = self.bare[-1], self.hasync[-1]
        _say(
            f"round {len(self.bare)}: bare {bare.whole_s:.1f} s (load {bare.load:.1f}),"
            f" hasync live after {own.live_s:.1f} s, tidied after {own.whole_s:.1f} s"
            f" (load {own.load:.1f}), ratios {_ratio(bare, own):.2f}, {_tidied(bare, own):.2f}"
        )
        sys.stderr.write(f"{json.dumps([asdict(bare), asdict(own)])}\n")

    def report(self) -> int:
        """Say it all; return 0 when the claim held."""
        for name, rounds in (("bare", self.bare), ("hasync", self.hasync)):
            _say(f"\n{name}: median of {len(rounds)} rounds")
            medians = _medians(rounds)
            for step, seconds in medians.items():
                _say(f"  {seconds:8.2f} s  {step}")
            cpu_s = statistics.median(one.cpu_s for one in rounds)
            whole_s = statistics.median(one.whole_s for one in rounds)
            _say(f"  {whole_s:8.2f} s  whole; {cpu_s:.2f} s of processors")
        ratio = statistics.median(map(_ratio, self.bare, self.hasync))
        self._tell_ratio(ratio)
        gap_s = max((one.gap_s for one in self.swaps), default=0.0)
        usual_s = statistics.median([one.usual_s for one in self.swaps] or [0.0])
        back_s = statistics.median(self.rollbacks or [0.0])
        refused = sum(len(one.refused) for one in self.swaps)
        _say(f"swap: longest gap of {len(self.swaps)}: {gap_s:.3f} s (claim: under {BLOCKED_S} s)")
        _say(f"  usual time between two answers {usual_s:.3f} s, {refused} connections refused")
        for told in sorted({told for one in self.swaps for told in one.refused}):
            _say(f"  refused: {told}")
        longest_s = max(self.rollbacks, default=0.0)
        _say(f"rollback: median {back_s:.2f} s, longest {longest_s:.2f} s (claim: {ROLLBACK_S} s)")
        return 0 if ratio <= RATIO and gap_s < BLOCKED_S and longest_s < ROLLBACK_S else 1

    def _tell_ratio(self, ratio: float) -> None:
        bare_s = statistics.median(one.whole_s for one in self.bare)
        steps = _medians(self.hasync)
        _say(f"\nratio, end to end, until the rows are live: {ratio:.2f} (claim: at most {RATIO})")
        for step, why in EXTRA.items():
            _say(f"  of which {steps[step] / bare_s:.2f}  {step} ({why})")
        more = [sum(one.steps[step] for step in EXTRA) for one in self.hasync]
        same = zip(self.bare, self.hasync, more, strict=True)
        like = statistics.median((own.live_s - s) / bare.whole_s for bare, own, s in same)
        _say(f"ratio without these: {like:.2f}")
        tidied = statistics.median(map(_tidied, self.bare, self.hasync))
        _say(f"ratio until both commands have ended, all tidied up: {tidied:.2f}")
        for step, why in TIDYING.items():
            _say(f"  of which {steps[step] / bare_s:.2f}  {step} ({why})")
        cpu = statistics.median(
            own.cpu_s / bare.cpu_s for bare, own in zip(self.bare, self.hasync, strict=True)
        )
        _say(f"ratio of processor seconds, all of it: {cpu:.2f}")


def _ratio(bare: Round, own: Round) -> float:
    return own.live_s / bare.whole_s


def _tidied(bare: Round, own: Round) -> float:
    return own.whole_s / bare.whole_s


def _medians(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the median of each step over the rounds."""
    names = dict.fromkeys(name for one in rounds for name in one.steps)
    return {name: statistics.median(one.steps.get(name, 0.0) for one in rounds) for name in names}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
