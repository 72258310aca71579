"""The edge to backups of the scripts that came before: listed, and imported by a proving restore.

An old file has no signature, no counts and no checksum but gzip's. So a person names it and vouches
for it (restoring it runs the SQL of whoever wrote it); it is restored beside the live database, and
what came out is dumped again as a set of ours. The file itself is never changed or removed.

Law: an imported set is old, whatever its sequence. It has epoch 0, is pinned and held, so no run
restores it by itself, and none prunes it.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from logging import Logger
from pathlib import Path
from typing import Final, Self

from harness.clock import Clock
from harness.errors import InputError
from hasync import durable
from hasync.database import databases, load
from hasync.database.companions import Place
from hasync.database.databases import MAINTENANCE
from hasync.database.describe import describe
from hasync.database.dump import compress
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql
from hasync.database.publish import database_of, dumped_into, fits, versions
from hasync.database.restore import cluster_of, leave
from hasync.database.watched import Watch, disk
from hasync.failure import Exit, Stop
from hasync.files.archive import unpack_foreign
from hasync.operation import Operation, close_unfinished
from hasync.sets.backup import Kind, SetName, SetState, StoredSet, legacy
from hasync.sets.draft import Draft
from hasync.sets.manifest import SetManifest
from hasync.sets.store import Store
from hasync.settings import Database, Settings

PROCEDURE: Final = "import"
EPOCH: Final = 0  # below that of every site: nothing newer is ever replaced by it
EXPANDS: Final = 20  # gzip of gzip does not expand more; a bomb would
_DROP_S: Final = 600.0
_CHUNK: Final = 1 << 20
_DATABASE = re.compile(r"pgbackup\.(\d{14})\.tgz", re.ASCII)
_APPLICATION = re.compile(r"ngpbackup(\d{14})\.tgz", re.ASCII)


@dataclass(frozen=True, slots=True)
class OldBackup:
    """One file of the scripts that came before; nothing in it has been proved."""

    path: Path
    kind: Kind
    size_bytes: int
    named_at: str  # local time of the host that made it, zone unknown; "" when the name has none


def listed(folders: Iterable[Path]) -> tuple[OldBackup, ...]:
    """Return the old backups that lie directly in *folders*, by name."""
    found: list[OldBackup] = []
    for folder in folders:
        with durable.telling("list", folder):
            paths = sorted(path for path in folder.iterdir() if legacy(path.name))
        for path in paths:
            if path.is_file() and not path.is_symlink():
                database, named = _named(path.name)
                kind = Kind.DATABASE if database else Kind.APPLICATION
                found.append(OldBackup(path, kind, path.stat().st_size, named))
    return tuple(found)


def _named(name: str) -> tuple[bool, str]:
    """Say whether *name* is that of a database's backup, and return its time as written."""
    database, application = _DATABASE.fullmatch(name), _APPLICATION.fullmatch(name)
    match = database or application
    return name.startswith("pgbackup."), match[1] if match else ""


def import_backup(  # noqa: PLR0913 - what a run has in hand, and its options
    settings: Settings,
    store: Store,
    path: Path,
    clock: Clock,
    log: Logger,
    *,
    jobs: int = 1,
    trusted: bool = False,
) -> StoredSet:
    """Return a set of ours with the content of the old backup *path*, proved by restoring it.

    Raises:
        InputError: no backup of a database, damaged, unsafe, or *trusted* is not said.
        Stop: it cannot be restored, no space, or no server; nothing is left over.
    """
    database = database_of(settings)
    made_ns = _checked(path, trusted=trusted)
    state = settings.folders.state
    close_unfinished(state, PROCEDURE, clock)  # what it left is swept, and dropped by recover
    cluster = cluster_of(settings, database)
    with Operation(PROCEDURE, state, clock, file=str(path)) as own:
        with own.step("guard"):
            store.sweep()
            if not cluster.is_up():
                own.note("started", pid=cluster.start().pid)
        try:
            with store.begin(Kind.DATABASE) as draft:
                with own.step("unpack", id=draft.id):
                    dump = _unpacked(database, path, draft)
                with _Beside(settings, database, draft.id, clock) as beside:
                    with own.step("load"):
                        beside.fill(dump, jobs)
                        durable.remove_tree(draft.folder / "old")
                    with own.step("dump"):
                        manifest = _dumped(settings, store, draft, beside.name, clock, path.name)
                with own.step("catalogue"):
                    manifest = replace(manifest, snapshot_at_ns=made_ns)
                    _set_apart(store, manifest, path.name)
                    stored = store.publish(draft, manifest)
        finally:
            leave(settings, cluster)
    log.info("imported file=%s set=%s", path, stored.id)
    return stored


def _checked(path: Path, *, trusted: bool) -> int:
    """Return the time in the file's name, taken as UTC, in nanoseconds."""
    match = _DATABASE.fullmatch(path.name)
    if not match:
        raise InputError(
            "not a database backup of the old script",
            file=str(path),
            fix="name a file pgbackup.YYYYMMDDhhmmss.tgz",
        )
    if not trusted:
        raise InputError(
            "not signed: restoring it runs the SQL of whoever wrote it",
            file=str(path),
            fix="say so when you know where it comes from",
        )
    durable.open_regular(path).close()
    try:
        at = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError("no such time", file=str(path), value=match[1]) from error
    return max(0, int(at.timestamp())) * 10**9


def _unpacked(database: Database, path: Path, draft: Draft) -> Path:
    """Return the folder of the one dump in the file, unpacked under the draft's lock."""
    target = draft.folder / "old"
    durable.make_folder(target)
    size_bytes = path.stat().st_size
    spare = disk(database, target).spare_bytes
    if spare < size_bytes:
        raise Stop(
            Exit.NO_SPACE,
            "no space to unpack the old backup",
            fact=f"{size_bytes} bytes at least, {max(0, spare)} are free beside the reserve",
        )
    names = unpack_foreign(path, target, max_bytes=min(spare, max(1 << 20, size_bytes * EXPANDS)))
    for name in names:
        if name.endswith(".gz"):
            _whole(target / name)
    found = [name for name in names if name.rpartition("/")[2] == "toc.dat"]
    if len(found) != 1:
        raise InputError("not one dump in the file", file=str(path), value=len(found))
    return (target / found[0]).parent


def _whole(path: Path) -> None:
    """Return when *path* is whole: pg_restore takes an empty or cut one for an empty table."""
    try:
        with gzip.GzipFile(path) as stream:
            while stream.read(_CHUNK):
                pass
        empty = path.stat().st_size == 0
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"a damaged file in the dump ({error})", file=path.name) from error
    if empty:
        raise InputError("an empty file in the dump: its table's rows are lost", file=path.name)


class _Beside:
    """A database beside the live one, as a context: gone at its end."""

    def __init__(self, settings: Settings, database: Database, set_id: str, clock: Clock) -> None:
        self._settings, self._database, self._clock = settings, database, clock
        self.name = databases.companions(database).new(set_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with Psql(self._database, MAINTENANCE).session() as session:
            names = databases.companions(self._database)
            for one in databases.read(session, names).of(Place.NEW):
                if one.name == self.name:
                    databases.drop(session, one, _DROP_S)

    def fill(self, dump: Path, jobs: int) -> None:
        """Restore *dump* into it; an old backup has no properties, so it gets the live one's."""
        limits = self._settings.limits
        facts = self._like()
        deadline_ns = self._clock.monotonic_ns() + round(limits.restore_s * 1e9)
        watch = Watch(disk(self._database, self._database.data), self._clock, deadline_ns)
        with Psql(self._database, MAINTENANCE).session() as session:
            load.create(session, self.name, facts, limits.command_s)
        load.load(self._database, self.name, dump, jobs, watch)
        with Psql(self._database, MAINTENANCE).session() as session:
            load.properties(session, self.name, facts)

    def _like(self) -> DatabaseFacts:
        live = databases.look(self._database).live
        name = live.name if live else MAINTENANCE
        with Psql(self._database, name).session() as session:
            found = describe(session)
        return found if live else replace(found, properties=replace(found.properties, comment=""))


def _dumped(  # noqa: PLR0913, PLR0917 - what one set is made of
    settings: Settings, store: Store, draft: Draft, name: str, clock: Clock, source: str
) -> SetManifest:
    fits(settings, name)
    dumped = dumped_into(settings, name, draft, 1, clock)
    compress(database_of(settings), draft.data, limit_s=settings.limits.dump_s, clock=clock)
    return store.compose(
        draft,
        epoch=EPOCH,
        snapshot_at_ns=dumped.at_ns,
        versions=versions(dumped) | {"imported_from": source},
        facts=dumped.facts.to_json(),
    )


def _set_apart(store: Store, manifest: SetManifest, source: str) -> None:
    """Pin and hold the set before it is there: at no moment may a run take or prune it."""
    name = SetName.of(manifest)
    kind, size_bytes = Kind(manifest.kind), manifest.size_bytes
    coming = StoredSet(kind, manifest.site, name, manifest.id, manifest, SetState(), size_bytes)
    store.hold(store.pin(coming), f"imported from {source}: restored only by hand")
