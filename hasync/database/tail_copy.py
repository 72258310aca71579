"""The edge of the procedure "tail": a tail set becomes a database beside the live one, to compare.

    NAME__new_<id8>  ──proved against the manifest──▶  NAME__tail_<id8>, or the name that was given

Laws: the live database is only looked at; a copy is open to superusers alone and is never dropped
by any run; what a killed restore has left carries a note of ours, and `recover` drops it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging import Logger
from pathlib import Path
from typing import Final

from harness.clock import Clock
from harness.errors import HarnessError, InputError
from hasync import durable
from hasync.database import databases, load, preflight, unpack
from hasync.database.companions import MAKING, NAME_BYTES, Place, Preserved
from hasync.database.databases import MAINTENANCE
from hasync.database.facts import DatabaseFacts
from hasync.database.guard import cluster as guard_cluster
from hasync.database.psql import Psql, Session
from hasync.database.publish import database_of
from hasync.database.restore import cluster_of, leave
from hasync.database.sql import ident, literal
from hasync.database.tails import COPY
from hasync.database.watched import Watch, disk
from hasync.failure import Exit, Stop
from hasync.operation import Operation
from hasync.role import Role
from hasync.role_file import read as read_role
from hasync.sets.backup import Kind, State, StoredSet
from hasync.sets.set_folder import DATA
from hasync.sets.store import Store
from hasync.settings import Database, Settings

PROCEDURE: Final = "tail"
_TEMPLATES: Final = frozenset({MAINTENANCE, "template0", "template1"})


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a restore of a tail set made."""

    name: str
    rows: int
    roles: tuple[str, ...]  # created, without a password
    server_stopped: bool  # it had been started for this, and was stopped again


def name_for(database: Database, stored: StoredSet, name: str = "") -> str:
    """Return what the copy of *stored* is called: *name*, or one with the set's id.

    Raises:
        InputError: no name of a database, the live one's, or one that runs of ours use.
    """
    names = databases.companions(database)
    default = f"{names.name}__tail_{stored.id[:8]}"
    if not name or name == default:
        return default
    if not name.isprintable() or len(name.encode()) > NAME_BYTES:
        raise InputError("not a name of a database", field="--as", value=name)
    taken = name in {names.name, *_TEMPLATES} or name.startswith(f"{names.name}__")
    if taken:
        why = "is the live database, or a name that hasync or the server uses itself"
        raise InputError(why, field="--as", value=name, fix="name another one")
    return name


def restore_copy(  # noqa: PLR0913 - what a run has in hand, and its options
    settings: Settings,
    store: Store,
    stored: StoredSet,
    clock: Clock,
    log: Logger,
    *,
    name: str = "",
    jobs: int = 1,
) -> CopyResult:
    """Return once a copy of the tail set *stored* is there; call `recover` before.

    Raises:
        Stop: the role is not known, the name is taken, no space, or the set is not whole; nothing
            is left over.
        InputError: not a set of a tail, or a name that no copy may have.
    """
    database = database_of(settings)
    if stored.kind is not Kind.TAIL:
        fix = f"hasync restore {stored.name.text}"
        raise InputError("not a set of a tail", field="tail", value=stored.name.text, fix=fix)
    wanted = name_for(database, stored, name)
    _known_role(settings)
    cluster, state = cluster_of(settings, database), settings.folders.state
    work = _Copying(settings, database, store, clock, jobs)
    with Operation(PROCEDURE, state, clock, set=stored.id, name=wanted) as own:
        stopped = False
        try:
            with own.step("guard"):
                if not cluster.is_up():
                    own.note("started", pid=cluster.start().pid)
                _free(database, wanted, stored)
            with own.step("authenticate"):
                facts = _authentic(store, stored)
            with own.step("preflight"):
                work.fits(facts, stored)
            with work.cleaned(stored):
                with own.step("unpack"):
                    dump = work.unpacked(stored)
                with own.step("load"):
                    roles = work.loaded(stored, facts, dump)
                with own.step("verify"):
                    load.verify(database, work.new(stored), facts)
                with own.step("name"):
                    _named(database, work.new(stored), wanted, stored)
        finally:
            stopped = leave(settings, cluster)
    log.info("tail restored set=%s database=%s", stored.id, wanted)
    return CopyResult(wanted, facts.rows, roles, stopped)


@dataclass(frozen=True, slots=True)
class _Copying:
    """What the steps of one restore share."""

    settings: Settings
    database: Database
    store: Store
    clock: Clock
    jobs: int

    def new(self, stored: StoredSet) -> str:
        """Return the name of the database while it is made."""
        return databases.companions(self.database).new(stored.id)

    def fits(self, facts: DatabaseFacts, stored: StoredSet) -> None:
        """Return when server and disks can take the copy."""
        data = self.store.folder(stored) / DATA
        assert stored.manifest is not None  # noqa: S101 - it was authenticated
        paths = tuple(data / entry.path for entry in stored.manifest.files)
        preflight.files(self.settings, facts, paths)
        with Psql(self.database, MAINTENANCE).session() as session:
            preflight.server(session, facts, self.jobs)

    def unpacked(self, stored: StoredSet) -> Path:
        """Return the folder of the decompressed dump."""
        assert stored.manifest is not None  # noqa: S101 - it was authenticated
        target = self.store.scratch(stored.id, "tail")
        data = self.store.folder(stored) / DATA
        unpack.unpack(data, stored.manifest.files, target, self._watch(target))
        found = sorted(target.rglob("toc.dat"))
        if len(found) != 1:
            raise Stop(Exit.NOT_VERIFIED, "not one dump in the set", fact=f"{len(found)} toc.dat")
        return found[0].parent

    def loaded(self, stored: StoredSet, facts: DatabaseFacts, dump: Path) -> tuple[str, ...]:
        """Return the roles that had to be made; the new database is filled."""
        database, new = self.database, self.new(stored)
        here = database.data if database.manage else self.settings.folders.work
        with Psql(database, MAINTENANCE).session() as session:
            _drop_ours(session, database, new, self.settings.limits.command_s)
            roles = load.roles(session, facts)
            load.create(session, new, facts, self.settings.limits.command_s)
        load.load(database, new, dump, self.jobs, self._watch(here))
        with Psql(database, MAINTENANCE).session() as session:
            load.properties(session, new, facts)
        return roles

    @contextmanager
    def cleaned(self, stored: StoredSet) -> Iterator[None]:
        """Leave neither scratch folder nor half database behind, however the block ends."""
        try:
            yield
        finally:
            limit_s = self.settings.limits.command_s
            with suppress(HarnessError, OSError):  # how the block ended is what counts
                durable.remove_tree(self.settings.folders.work / f"{stored.id}.tail")
            psql = Psql(self.database, MAINTENANCE)
            with suppress(HarnessError, OSError), psql.session() as session:
                _drop_ours(session, self.database, self.new(stored), limit_s)

    def _watch(self, folder: Path) -> Watch:
        limit_ns = round(self.settings.limits.restore_s * 1e9)
        return Watch(disk(self.database, folder), self.clock, self.clock.monotonic_ns() + limit_ns)


def _known_role(settings: Settings) -> None:
    role = read_role(settings.folders.state)
    if role.role is Role.UNKNOWN:
        raise Stop(
            Exit.REFUSED,
            "the role of this site is not known, so nothing is done",
            fact=role.why,
            fix="declare it: hasync role set active|standby --epoch N",
        )


def _free(database: Database, wanted: str, stored: StoredSet) -> None:
    """Return when the name is free, the tail's own database gone, and the server the right one."""
    with Psql(database, MAINTENANCE).session() as session:
        guard_cluster(session, database)
        sql = f"select count(*)::int from pg_database where datname = {literal(wanted)}"  # noqa: S608 - quoted
        if session.value(sql):
            raise Stop(
                Exit.REFUSED,
                f"a database {wanted} is there already",
                fix=f"hasync tail diff {wanted}, or another name with --as",
            )
        found = databases.read(session, databases.companions(database)).of(Place.TAIL)
    kept = [one.name for one in found if one.preserved and one.preserved.set_id == stored.id]
    if kept:
        fix = f"hasync tail diff {kept[0]}"
        raise Stop(Exit.REFUSED, "the tail's own database is still there", fact=kept[0], fix=fix)


def _authentic(store: Store, stored: StoredSet) -> DatabaseFacts:
    found = store.verify(stored)
    if found.state.state is State.CORRUPT or found.manifest is None:
        raise Stop(Exit.NOT_VERIFIED, "the set is corrupt", fact=found.state.why)
    return DatabaseFacts.parse(found.manifest.facts)


def _drop_ours(session: Session, database: Database, name: str, limit_s: float) -> None:
    """Remove a half database of ours; one of that name without our note stays."""
    for one in databases.read(session, databases.companions(database)).of(Place.NEW):
        if one.name == name and one.making:
            databases.drop(session, one, limit_s)


def _named(database: Database, new: str, wanted: str, stored: StoredSet) -> None:
    """Give the proved database its name and its note, in one transaction."""
    note = literal(Preserved(stored.id, 0).encode())
    words = (
        f"alter database {ident(new)} reset {MAKING}",
        f"alter database {ident(new)} set {COPY} = {note}",
        f"alter database {ident(new)} rename to {ident(wanted)}",
    )
    with Psql(database, MAINTENANCE).session() as session:
        session.do(";\n".join(words), transaction=True)
