"""Faults while a set is made: no set that is not whole, nothing left over, and the next run works.

Rows F01 to F08 of the fault matrix, and a kill at every failpoint of `publish`.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hasync.database.facts import DatabaseFacts, content_differences
from hasync.database.psql import Psql
from hasync.failure import Exit, Stop
from hasync.operation import FAILPOINT
from hasync.sets.backup import State, StoredSet
from hasync.settings import Limits
from hasync.steps import failpoints
from tests.fault.cluster import Cluster
from tests.fault.db_host import DbHost, restored
from tests.fault.odd_database import SQL
from tests.fault.processes import caught, descendants
from tests.fault.sample import orders, taken
from tests.lab.peers import need, need_root

pytestmark = pytest.mark.lab

Observe = Callable[[str, object], None]

NAME = "published"
SMALL = "published_small"
CHILD = Path(__file__).parent / "publish_child.py"
LIMIT_S = 60.0
LAST = "publish.catalogue.after"
POINTS = [name for name in failpoints() if name.startswith("publish.")]
ORDERS = orders(POINTS, always=".catalogue.")
KILLS = [order for order in ORDERS if order.endswith(":kill")]
FULL = [point for point in POINTS if f"{point}:kill" not in ORDERS or f"{point}:enospc" in ORDERS]
RESERVE = 32 << 20
DISK_BYTES = 192 << 20
# large once written out, small in the database: what no preflight can foresee
BLOATED = (
    "create table bloated as select repeat(md5(i::text), 30000) v from generate_series(1, {n}) i"
)


@dataclass(slots=True)
class Bench:
    """A host, its cluster, and publishing in a process of its own."""

    host: DbHost
    cluster: Cluster
    base: Path
    data: Path  # what hasync takes for PGDATA
    reserve_bytes: int = 1 << 20
    name: str = NAME

    @contextmanager
    def child(
        self, *before: str, point: str = "", **orders: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Give a running publish; *before* stands before python on its command line."""
        told = {
            "base": str(self.base),
            "socket": str(self.cluster.socket),
            "bin": str(self.cluster.bin),
            "data": str(self.data),
            "name": self.name,
            "jobs": "2",
            "reserve_bytes": str(self.reserve_bytes),
            **orders,
        }
        process = subprocess.Popen(
            [*before, sys.executable, "-S", str(CHILD), json.dumps(told)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({FAILPOINT: point} if point else {}),
        )
        try:
            yield process
        finally:
            for pid in (process.pid, *descendants(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def clean(self) -> None:
        """Fail unless the catalogue and work/ are empty of what a failed run made."""
        assert [one.name.text for one in self.host.store.scan().sets] == []
        assert self.host.work() == []

    def converges(self) -> StoredSet:
        """Return the set of a plain run after a fault; nothing was cleaned by hand."""
        stored = self.host.publish()
        assert stored.state.state is State.VERIFIED
        assert self.host.store.verify(stored).state.state is State.VERIFIED
        assert self.host.work() == []
        return stored


@pytest.fixture(scope="module")
def filled(cluster: Cluster) -> str:
    """Return the name of a database of 2 x 8 MB."""
    cluster.fresh(NAME)
    for table in ("calls", "rules"):
        content = "select i, md5(i::text) v from generate_series(1, 100000) i"
        cluster.psql(f"create table {table} as {content}", NAME)
    return NAME


@pytest.fixture
def bench(cluster: Cluster, tmp_path: Path, filled: str) -> Bench:
    """Return a host with that database."""
    host = DbHost.made(tmp_path / "base", cluster.database(filled))
    return Bench(host, cluster, tmp_path / "base", cluster.data)


@pytest.fixture
def small(cluster: Cluster, tmp_path: Path) -> Bench:
    """Return a host with a database of its own, of one row."""
    cluster.fresh(SMALL)
    cluster.psql("create table calls as select 1 as i", SMALL)
    host = DbHost.made(tmp_path / "base", cluster.database(SMALL))
    return Bench(host, cluster, tmp_path / "base", cluster.data, name=SMALL)


@pytest.fixture
def small_disk(small: Bench, tmp_path: Path) -> Iterator[Bench]:
    """Give a host whose sets lie on a file system of 192 MB, beside what it takes for PGDATA."""
    need_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "test", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no right to mount a tmpfs")
    try:
        (disk / "data").mkdir()
        database = small.cluster.database(SMALL, reserve_bytes=RESERVE)
        host = DbHost.made(disk / "base", replace(database, data=disk / "data"))
        yield Bench(host, small.cluster, disk / "base", disk / "data", RESERVE, SMALL)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_set_is_the_database_while_somebody_writes(small: Bench, tmp_path: Path) -> None:
    """Rows and sequences of the manifest are those of the dump, not those of a moment later."""
    small.cluster.psql(
        "create sequence ids; create table log (n int, t text);"
        " insert into log select 0, repeat(md5(i::text), 10) from generate_series(1, 50000) i",
        SMALL,
    )
    stop = threading.Event()

    def write() -> None:
        with Psql(small.cluster.database(), SMALL).session() as session:
            while not stop.is_set():
                session.do("insert into public.log select nextval('public.ids'), 'x'")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stored = small.host.publish()
    finally:
        stop.set()
        writer.join()
    assert stored.manifest is not None
    wanted = DatabaseFacts.parse(stored.manifest.facts)
    live = int(small.cluster.psql("select count(*) from log", SMALL))
    data = small.host.store.folder(stored) / "data"

    found = restored(small.cluster, data, tmp_path / "restored", "published2")

    assert content_differences(wanted, found) == ()
    assert 0 < wanted.tables["public.log"] < live


def test_tables_that_come_and_go_do_not_fail_a_dump(small: Bench) -> None:
    """A table that vanishes between the snapshot and its lock costs another try, not the set."""
    stop = threading.Event()

    def churn() -> None:
        with Psql(small.cluster.database(), SMALL).session() as session:
            while not stop.is_set():
                session.do("create table public.brief (id serial); drop table public.brief")

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(3):
            small.converges()
    finally:
        stop.set()
        worker.join()


def test_an_odd_database_becomes_an_equal_one(small: Bench, tmp_path: Path) -> None:
    """Names of every kind, large objects and sequences pass through a set unharmed."""
    small.cluster.psql(SQL, SMALL)

    stored = small.converges()

    assert stored.manifest is not None
    data = small.host.store.folder(stored) / "data"
    found = restored(small.cluster, data, tmp_path / "restored", "published2")
    assert content_differences(DatabaseFacts.parse(stored.manifest.facts), found) == ()
    assert all(entry.path.endswith(".zst") for entry in stored.manifest.files)


@pytest.mark.parametrize("worker", [False, True], ids=["F01-pg_dump", "F02-worker"])
def test_pg_dump_or_a_worker_is_killed(bench: Bench, worker: bool) -> None:
    """A dump that lost a process is no set; exit 2, and the next run publishes."""
    with bench.child() as process:

        def fits(pid: int, line: str) -> bool:
            is_dump = "pg_dump" in line and "-Fd" in line
            above = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
            parent = Path(f"/proc/{above}/cmdline").read_bytes()
            return is_dump and (b"-Fd" in parent) is worker and _writing(bench, 2)

        os.kill(caught(process.pid, fits), signal.SIGKILL)
        _, said = process.communicate(timeout=LIMIT_S)

    assert process.returncode == Exit.FAILED, said
    assert "pg_dump failed" in said
    bench.clean()
    bench.converges()


def test_the_server_restarts_during_the_dump(bench: Bench) -> None:
    """F03: an immediate restart fails the run cleanly, and a retry succeeds."""
    with bench.child() as process:
        pid = caught(process.pid, lambda _, line: "-Fd" in line and _writing(bench, 1))
        bench.cluster.restart("immediate")
        os.kill(pid, signal.SIGCONT)
        _, said = process.communicate(timeout=LIMIT_S)

    assert process.returncode == Exit.FAILED, said
    bench.clean()
    bench.converges()


def test_a_lock_names_the_blocker(bench: Bench) -> None:
    """F04: an ALTER TABLE that is left open ends the run after lock_wait_s, by name."""
    with Psql(bench.cluster.database(), NAME).session() as blocker:
        pid = blocker.value("select pg_backend_pid()")
        blocker.do("begin; alter table public.calls rename to hidden")

        with pytest.raises(Stop, match=f"process {pid} holds it .*rename to") as failure:
            bench.host.publish()

    assert failure.value.code is Exit.FAILED
    bench.clean()
    bench.converges()


def test_ddl_that_comes_between_costs_another_try(bench: Bench) -> None:
    """A TRUNCATE that waits for pg_dump makes its workers fail; the next try has the result."""
    asked = (
        "select count(distinct pid) from pg_locks where relation = 'rules'::regclass"
        " and mode = 'AccessShareLock' and granted"
    )

    def fits(pid: int, line: str) -> bool:
        leads = "-Fd" in line and not descendants(pid)
        return leads and int(bench.cluster.psql(asked, NAME)) > 1  # ours, and pg_dump's

    with bench.child() as process:
        pid = caught(process.pid, fits)
        hidden = "begin; lock rules; alter table rules add more int; commit"
        between = threading.Thread(target=bench.cluster.psql, args=(hidden, NAME))
        between.start()
        waits = "select count(*) from pg_locks where not granted"
        while bench.cluster.psql(waits, NAME) == "0":
            pass
        os.kill(pid, signal.SIGCONT)
        out, said = process.communicate(timeout=LIMIT_S)
        between.join()
    bench.cluster.psql("alter table rules drop more", NAME)

    assert process.returncode == Exit.OK, said
    assert bench.host.store.scan().by_id(out.strip()) is not None


def test_no_space_is_seen_before_anything_is_written(small_disk: Bench) -> None:
    """A dump that cannot fit beside the reserve is refused with both numbers."""
    filler = _fill(small_disk, RESERVE * 9 // 8 + (1 << 20))

    with pytest.raises(Stop, match="nothing was begun") as failure:
        small_disk.host.publish()

    assert failure.value.code is Exit.NO_SPACE
    small_disk.clean()
    filler.unlink()
    small_disk.converges()


def test_the_disk_fills_during_the_dump(small_disk: Bench) -> None:
    """F05: a dump larger than foreseen stops above the reserve, and what it wrote is freed."""
    small_disk.cluster.psql(BLOATED.format(n=200), SMALL)  # 2 MB there, 192 MB in a dump
    least = _free(small_disk)
    with small_disk.child() as process:
        while process.poll() is None:
            least = min(least, _free(small_disk))
        _, said = process.communicate(timeout=LIMIT_S)

    assert process.returncode == Exit.NO_SPACE, said
    assert least >= RESERVE, f"{least} of {RESERVE} left; {said}"
    assert least < DISK_BYTES - (16 << 20)  # it had begun
    small_disk.clean()
    small_disk.cluster.psql("drop table bloated", SMALL)
    small_disk.converges()


def test_the_disk_fills_during_compression(small_disk: Bench) -> None:
    """F06: somebody else fills the disk before zstd runs: stopped, and our part of it freed."""
    with small_disk.child(point="publish.compress.before:hang") as process:
        assert process.stderr is not None
        assert "failpoint" in process.stderr.readline()
        filler = _fill(small_disk, RESERVE)
        process.send_signal(signal.SIGUSR1)
        _, said = process.communicate(timeout=LIMIT_S)

    assert process.returncode == Exit.NO_SPACE, said
    small_disk.clean()
    assert _free(small_disk) >= RESERVE
    filler.unlink()
    small_disk.converges()


@pytest.mark.parametrize(
    "call",
    # the first, one of the manifest, one of the whole tree; and the rename into the catalogue
    [
        "fsync:error=EIO:when=1+",
        "fsync:error=EIO:when=18+",
        "fsync:error=EIO:when=22+",
        "renameat2:error=EIO",
    ],
)
def test_the_disk_refuses(small: Bench, call: str) -> None:
    """F08: a failed fsync or rename is a failure, and no set is there."""
    strace = [need("strace", "strace"), "-f", "-qq", "-o", "/dev/null"]
    calls = call.partition(":")[0]
    with small.child(*strace, "-e", f"trace={calls}", "-e", f"inject={call}") as process:
        _, said = process.communicate(timeout=LIMIT_S)

    assert process.returncode not in {Exit.OK, Exit.WARNING}, said
    assert [one.name.text for one in small.host.store.scan().sets] == []
    small.converges()


@pytest.mark.parametrize("order", KILLS)
def test_killed_at_each_failpoint(small: Bench, order: str, record_property: Observe) -> None:
    """A kill leaves no set or the whole set, and a plain run goes on from there."""
    record_property("observed", taken(len(KILLS), len(POINTS), "points killed at"))
    with small.child(point=order) as process:
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == -signal.SIGKILL
    whole = order.startswith(LAST)

    sets = small.host.store.scan().sets

    assert len(sets) == whole
    assert all(small.host.store.verify(one).state.state is State.VERIFIED for one in sets)
    assert small.converges().name.sequence > max((one.name.sequence for one in sets), default=0)


@pytest.mark.parametrize("point", FULL)
def test_no_space_at_each_failpoint(
    small: Bench, point: str, monkeypatch: pytest.MonkeyPatch, record_property: Observe
) -> None:
    """F07: a full disk at any step leaves nothing behind in this very process."""
    record_property("observed", taken(len(FULL), len(POINTS), "points without space"))
    monkeypatch.setenv(FAILPOINT, f"{point}:enospc")
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        small.host.publish()
    monkeypatch.delenv(FAILPOINT)

    assert small.host.work() == []
    assert len(small.host.store.scan().sets) == (point == LAST)


def test_a_dump_has_a_limit(bench: Bench) -> None:
    """A dump that takes too long is ended, with all its processes, and the next run is free."""
    host = DbHost.made(
        bench.base.parent / "slow", bench.cluster.database(NAME), Limits(dump_s=0.01)
    )

    with pytest.raises(Stop) as failure:
        host.publish()

    assert failure.value.code is Exit.TIMEOUT
    assert not [line for line in descendants(os.getpid()).values() if "pg_dump" in line]
    assert host.work() == []


def _writing(bench: Bench, files: int) -> bool:
    """Say whether the dump has written into that many tables' files."""
    found = bench.host.settings.folders.work.glob("*.part/data/dump/*.dat")
    return sum(path.stat().st_size > 0 for path in found) >= files


def _fill(bench: Bench, left_bytes: int) -> Path:
    """Return the file that takes the disk but for *left_bytes*."""
    filler = bench.base.parent / "filler"
    filler.write_bytes(bytes(_free(bench) - left_bytes))
    return filler


def _free(bench: Bench) -> int:
    found = os.statvfs(bench.base)
    return found.f_bavail * found.f_frsize
