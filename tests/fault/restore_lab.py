"""A standby of a test's own: settings, keys, a catalogue with sets, and a cluster to restore into.

    standby.run("restore", stored.id, failpoint="restore.swap.before:kill")

Two sets of different content, A and B, are enough: whichever is not live is restored. The process
that the tests kill is `tests.fault.restore_child`.
"""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.clock import SystemClock
from hasync import role_file
from hasync.database import databases, publish, recover, restore, rollback
from hasync.database.companions import Place
from hasync.role import Role
from hasync.sets.backup import StoredSet
from hasync.sets.store import Store
from hasync.settings import Database, Folders, Limits, Service, Settings, Signing
from tests.fault.cluster import Cluster
from tests.fault.postgres_wire import Address, Connection, ServerError
from tests.fault.restore_child import settled as settled  # noqa: PLC0414 - given on
from tests.fault.restore_child import store_of as store_of  # noqa: PLC0414 - given on

NAME = "ngp"
SOURCE = "ngp_source"  # what the active site would have
LIMIT_S = 60.0
EVERY_S = 0.02
LOG = logging.getLogger(__name__)
CHILD = Path(__file__).with_name("restore_child.py")
CONTENT = """
create table calls (n bigint primary key, crc bigint not null);
create table version (label text);
create table "Größe ""x"" y" (id int generated always as identity, v text);
create sequence tickets;
create materialized view last as select max(n) as n from calls;
select lo_from_bytea(0, 'a large object');
"""


@dataclass(slots=True)
class Standby:
    """The site "west", with the sets that "east" has sent."""

    base: Path
    cluster: Cluster
    settings: Settings
    sets: dict[str, StoredSet] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        """Return the settings of its database."""
        assert self.settings.database is not None
        return self.settings.database

    @property
    def store(self) -> Store:
        """Return its catalogue, as a new process would open it."""
        return store_of(self.settings)

    def send(self, label: str, sql: str = "", rows: int = 200) -> StoredSet:
        """Return a new set of the site east, received here: *rows* calls, and what *sql* adds."""
        self.cluster.fresh(SOURCE)
        self.cluster.psql(CONTENT, SOURCE)
        self.cluster.psql(
            f"insert into calls select n, n * 7 from generate_series(1, {rows}) n;"  # noqa: S608 - quoted names, numbers
            f"insert into version values ('{label}');"
            f"select setval('tickets', {rows}); refresh materialized view last; {sql}",
            SOURCE,
        )
        east = site(self.base.parent / "east", "east", self.cluster, SOURCE, Role.ACTIVE)
        made = publish.publish(east, store_of(east), SystemClock())
        shutil.copytree(
            store_of(east).folder(made), self.settings.folders.inbox / f"{made.id}.part"
        )
        self.sets[label] = self.store.receive(made.id)
        self.cluster.psql(f"drop database {SOURCE} with (force)")
        return self.sets[label]

    def restore(self, label: str, *, jobs: int = 1, by_hand: bool = True) -> restore.RestoreResult:
        """Return what a restore in this process did."""
        stored = self.store.scan().by_id(self.sets[label].id)
        assert stored is not None
        work = self.settings, self.store, stored, SystemClock(), LOG
        return restore.restore(*work, jobs=jobs, by_hand=by_hand)

    def recover(self) -> tuple[str, ...]:
        """Return what was put right."""
        return recover.recover(self.settings, self.store, SystemClock())

    def rollback(self, *, force: bool = False) -> rollback.RollbackResult:
        """Return what a rollback in this process did."""
        return rollback.rollback(self.settings, self.store, SystemClock(), LOG, force=force)

    def argv(self, verb: str, label: str = "") -> list[str]:
        """Return the command that carries *verb* out in another process."""
        file = self.base / "settings.json"
        file.write_text(json.dumps(plain(self.settings)))
        chosen = self.sets[label].id if label else ""
        return [sys.executable, "-S", str(CHILD), str(file), verb, chosen]

    def run(
        self, verb: str, label: str = "", failpoint: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Return how another process ended."""
        return subprocess.run(
            self.argv(verb, label),
            env=environment(failpoint),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def live(self) -> str:
        """Return the label in the live database."""
        return self.cluster.psql("select label from version", NAME)

    def names(self) -> set[str]:
        """Return the databases of NAME."""
        return {one.name for one in databases.look(self.database).all}

    def of(self, place: Place) -> tuple[databases.Known, ...]:
        """Return the databases in one place."""
        return databases.look(self.database).of(place)

    def leftovers(self) -> list[str]:
        """Return what a finished run must not leave: half databases, scratch folders, journals."""
        folders = self.settings.folders
        left = [str(path.name) for path in folders.work.iterdir()]
        left += [path.name for path in folders.state.glob("*.jsonl")]
        return left + [one.name for one in self.of(Place.NEW)]

    def clear(self) -> None:
        """Remove every database of NAME, and every journal."""
        self.recover()
        for one in databases.look(self.database).all:
            self.cluster.psql(f'drop database "{one.name}" with (force)')


@dataclass(slots=True)
class Watcher:
    """Asks NAME for its content, on a new connection each time, until the block is left."""

    standby: Standby
    seen: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Ask once; how long it took is the longest that a client waited."""
        begun_ns = SystemClock().monotonic_ns()
        try:
            with Connection(address(self.standby.cluster)) as connection:
                ((label, rows),) = connection.query(
                    "select (select label from version), (select count(*) || '/' || sum(crc)"
                    " from calls)"
                )
                self.seen.append(f"{label}: {rows}")
        except ServerError as error:
            self.errors.append(str(error))
        self.gaps_s.append((SystemClock().monotonic_ns() - begun_ns) / 1e9)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask in a thread of its own, and once more at the end."""

        def work() -> None:
            while not self._end.wait(EVERY_S):
                self.ask()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()
            self.ask()


def address(cluster: Cluster, name: str = NAME) -> Address:
    """Return where database *name* of *cluster* is reached."""
    return Address(cluster.socket, name, user="postgres")


def ended(error: str) -> bool:
    """Say whether a watcher's *error* is that of a session which the swap ended.

    One that is ended between its connection and its question may find no answer but a closed door.
    """
    return error.startswith(("57P01", "connection lost: ", "the server closed the connection"))


def whole(label: str, rows: int = 200) -> str:
    """Return what a watcher sees of a whole content."""
    return f"{label}: {rows}/{7 * rows * (rows + 1) // 2}"


def site(base: Path, name: str, cluster: Cluster, database: str, role: Role) -> Settings:
    """Return the settings of a site that knows its role, with a signing key of its own."""
    folders = Folders(base)
    for folder in (folders.inbox, folders.work, folders.sets, folders.state, folders.log):
        folder.mkdir(parents=True, exist_ok=True)
    key, signers = base.parent / "key", base.parent / "allowed_signers"
    if not key.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(words, check=True, timeout=LIMIT_S)
        public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
        signers.write_text(f'east,west namespaces="hasync-set" {public}\n')
    if role_file.read(folders.state).role is Role.UNKNOWN:
        role_file.declare(folders.state, role, 1, clock=SystemClock(), by="test", why="test")
    service = base / "service"
    service.write_text("#!/bin/sh\nexit 3\n")
    service.chmod(0o755)
    return Settings(
        site=name,
        folders=folders,
        signing=Signing(key, signers),
        database=dataclasses.replace(cluster.database(database), bin=programs(base, cluster)),
        service=Service(status=(str(service),)),
        limits=Limits(command_s=30.0, restore_s=60.0, dump_s=60.0, swap_s=3.0),
    )


def programs(base: Path, cluster: Cluster) -> Path:
    """Return a folder of PostgreSQL's programs whose pg_ctl works although the tests are root."""
    folder = base / "bin"
    if not folder.exists():
        folder.mkdir()
        for program in cluster.bin.iterdir():
            (folder / program.name).symlink_to(program)
        if os.geteuid() == 0:
            (folder / "pg_ctl").unlink()
            wrapper = folder / "pg_ctl"
            become = "setpriv --reuid=postgres --regid=postgres --init-groups --"
            wrapper.write_text(f'#!/bin/sh\nexec {become} {cluster.bin}/pg_ctl "$@"\n')
            wrapper.chmod(0o755)
    return folder


@contextmanager
def standby(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby without a database; all that it makes in the cluster is dropped.

    It lies in the cluster's own folder: the server's user can write its log there.
    """
    folder = Path(tempfile.mkdtemp(prefix="site", dir=cluster.folder))
    settings = site(folder / "west", "west", cluster, NAME, Role.STANDBY)
    if os.geteuid() == 0:
        folder.chmod(0o755)
        shutil.chown(settings.folders.log, "postgres", "postgres")
    made = Standby(folder / "west", cluster, settings)
    made.clear()  # of what a test before this one may have left under that name
    try:
        yield made
    finally:
        made.clear()
        shutil.rmtree(folder)


def environment(failpoint: str = "") -> dict[str, str]:
    """Return what the other process sees."""
    more = {"HASYNC_FAILPOINT": failpoint} if failpoint else {}
    root = str(Path(__file__).parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": root, "LC_ALL": "C.UTF-8"} | more


def plain(settings: Settings) -> dict[str, object]:
    """Return what `settled` needs to make the same settings again."""
    assert settings.database is not None
    return {
        "base": str(settings.folders.base),
        "key": str(settings.signing.key),
        "signers": str(settings.signing.allowed_signers),
        "service": list(settings.service.status),
        "limits": dataclasses.asdict(settings.limits),
        "database": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in dataclasses.asdict(settings.database).items()
        },
    }
