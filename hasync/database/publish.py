"""The edge of the procedure `publish`: the live database becomes a signed set in the catalogue.

Killed at any moment it leaves a folder in work/ that the next run sweeps, and no set: a set is
there with one rename, of files that were flushed before.
"""

from contextlib import ExitStack
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from hasync import durable, role_file
from hasync.database.dump import Dumped, compress, dump
from hasync.database.psql import Psql
from hasync.database.watched import disk
from hasync.failure import Exit, Stop
from hasync.operation import Operation, close_unfinished
from hasync.role import SiteFact, may_publish
from hasync.service import probe
from hasync.sets.backup import Kind, StoredSet
from hasync.sets.draft import Draft
from hasync.sets.manifest import SetManifest
from hasync.sets.store import Store
from hasync.settings import Database, Settings

PROCEDURE: Final = "publish"


def publish(  # noqa: PLR0913 - what a run knows
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    jobs: int = 1,
    peer: SiteFact | None = None,
    seen: int = 0,
) -> StoredSet:
    """Return the new set of the live database, VERIFIED.

    *peer* is what the other site says of itself, *seen* its highest sequence, where it answered.

    Raises:
        Stop: this site is not the active one, no space, no time, a lock, or a program failed; the
            catalogue is as it was.
        InputError: no database in the settings.
    """
    database = database_of(settings)
    state = settings.folders.state
    close_unfinished(state, PROCEDURE, clock)  # what it left lies in work/, and is swept
    with (
        Operation(PROCEDURE, state, clock, database=database.name, jobs=jobs) as own,
        ExitStack() as stack,
    ):
        with own.step("guard"):
            role = role_file.read(state)
            if refusal := may_publish(role, probe(settings.service), peer):
                raise refusal
        with own.step("sweep"):
            store.sweep()
        with own.step("space"):
            fits(settings, database.name)
        draft = stack.enter_context(store.begin(Kind.DATABASE))
        with own.step("dump", id=draft.id):
            dumped = dumped_into(settings, database.name, draft, jobs, clock)
        with own.step("compress"):
            compress(database, draft.data, limit_s=settings.limits.dump_s, clock=clock)
        with own.step("manifest"):
            manifest = composed(store, draft, dumped, role.epoch, seen)
        with own.step("catalogue"):
            return store.publish(draft, manifest)


def database_of(settings: Settings) -> Database:
    """Return the database of this host.

    Raises:
        InputError: it has none.
    """
    if settings.database is None:
        raise InputError(
            "no database on this host",
            field="database",
            fix="add [database] to the settings, or run pgsync on the database server",
        )
    return settings.database


def fits(settings: Settings, name: str) -> None:
    """Return when a dump of the database *name* fits into work/ beside the reserve.

    Raises:
        Stop: NO_SPACE, with what is needed and what is there.
    """
    database = database_of(settings)
    work = settings.folders.work
    durable.make_folder(work)
    need = int(Psql(database, name).value("select pg_database_size(current_database())"))
    spare = disk(database, work).spare_bytes
    if spare < need:
        raise Stop(
            Exit.NO_SPACE,
            f"no space for a dump at {work}",
            fact=f"needs {need} bytes, {max(spare, 0)} are free beside the reserve",
            fix="free some space there, or keep the sets on another disk; nothing was begun",
        )


def dumped_into(settings: Settings, name: str, draft: Draft, jobs: int, clock: Clock) -> Dumped:
    """Return what was dumped of the database *name* into *draft*.

    Raises:
        Stop: as `hasync.database.dump.dump`.
    """
    limit_s = settings.limits.dump_s
    return dump(database_of(settings), name, draft.data, jobs=jobs, limit_s=limit_s, clock=clock)


def composed(store: Store, draft: Draft, dumped: Dumped, epoch: int, seen: int = 0) -> SetManifest:
    """Return the manifest of what was dumped into *draft*.

    Raises:
        Stop: the counter of sequences cannot be written.
    """
    return store.compose(
        draft,
        epoch=epoch,
        snapshot_at_ns=dumped.at_ns,
        versions=versions(dumped),
        facts=dumped.facts.to_json(),
        seen=seen,
    )


def versions(dumped: Dumped) -> dict[str, str]:
    """Return the versions that a manifest names for people."""
    facts = dumped.facts
    return {
        "server": str(facts.server_version),
        "pg_dump": str(facts.pg_dump_version),
        "archive": facts.archive_version,
    }
