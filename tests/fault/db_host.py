"""One database host of a test: settings, keys, a store and the active role, beside a cluster."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from harness.clock import SystemClock
from hasync import role_file
from hasync.database.describe import describe
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql, environment
from hasync.database.publish import publish
from hasync.durable import make_folder
from hasync.role import Role
from hasync.sets.backup import StoredSet
from hasync.sets.store import Store
from hasync.settings import Database, Folders, Limits, Service, Settings, Signing
from tests.fault.cluster import Cluster
from tests.set_bench import make_keys

SITE = "east"
EPOCH = 3


@dataclass(slots=True)
class DbHost:
    """Everything that `publish` needs."""

    settings: Settings
    store: Store
    clock: SystemClock

    @classmethod
    def made(cls, base: Path, database: Database, limits: Limits | None = None) -> Self:
        """Return a host below the new folder *base*, declared active."""
        make_folder(base / "keys")
        make_keys(base / "keys", SITE)
        folders = Folders(base / "hasync")
        make_folder(folders.state)
        signing = Signing(base / "keys" / SITE, base / "keys" / "allowed_signers")
        clock = SystemClock()
        settings = Settings(
            SITE,
            folders,
            signing,
            database,
            service=Service(status=("true",)),
            limits=limits or Limits(dump_s=60.0, command_s=60.0),
        )
        role_file.declare(folders.state, Role.ACTIVE, EPOCH, clock=clock, by="test", why="test")
        return cls(settings, Store(folders, signing, SITE, clock), clock)

    def publish(self, jobs: int = 2) -> StoredSet:
        """Return a set of the database as it is."""
        return publish(self.settings, self.store, self.clock, jobs=jobs)

    def named(self, name: str) -> Self:
        """Return the same host with another database."""
        assert self.settings.database is not None
        database = replace(self.settings.database, name=name)
        return type(self)(replace(self.settings, database=database), self.store, self.clock)

    def work(self) -> list[Path]:
        """Return what lies in work/ now."""
        folder = self.settings.folders.work
        return sorted(folder.iterdir()) if folder.exists() else []


def facts_of(database: Database, name: str) -> DatabaseFacts:
    """Return the facts of a database as it is."""
    with Psql(database, name).session() as session:
        return describe(session)


def restored(cluster: Cluster, data: Path, scratch: Path, name: str) -> DatabaseFacts:
    """Return the facts of *name*, made from a set's *data* by zstd and pg_restore alone."""
    dump = scratch / "dump"
    dump.mkdir(parents=True)
    for path in sorted((data / "dump").iterdir()):
        subprocess.run(
            ["zstd", "-q", "-d", str(path), "-o", str(dump / path.stem)], check=True, timeout=60
        )
    cluster.fresh(name)
    argv = [str(cluster.bin / "pg_restore"), "-e", "-j2", "-h", str(cluster.socket)]
    argv += ["-U", "postgres", "-d", name, str(dump)]
    subprocess.run(argv, check=True, timeout=120, env=dict(environment()))
    return facts_of(cluster.database(), name)
