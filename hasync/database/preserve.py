"""What becomes of a database that is NAME no more: dropped once proved needless, else a tail.

Laws: a database is dropped only after its content was compared with the set it came from, at the
moment of the drop; a written-to one is kept under NAME__tail_<oid>, with a set of kind tail beside
it, and nothing here ever drops it.
"""

from dataclasses import dataclass
from logging import Logger

from harness.clock import Clock
from hasync.database import databases, restored, tails
from hasync.database import live as live_file
from hasync.database.companions import TAIL, Place, Preserved
from hasync.database.databases import MAINTENANCE, Databases, Known
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql
from hasync.database.sql import ident, literal
from hasync.database.written import since_restore, since_tail
from hasync.failure import Stop
from hasync.sets.backup import State
from hasync.sets.store import Store
from hasync.settings import Database, Settings


@dataclass(frozen=True, slots=True)
class Look:
    """That nothing was written to NAME, as seen while there was time to look at every row."""

    oid: int
    counts: tuple[int, int]  # of the server's statistics, from before that look


def look_ahead(settings: Settings, database: Database) -> Look | None:
    """Return what a restore that follows soon need not look at again; None: it must.

    Raises:
        Stop: it cannot be read.
    """
    one = databases.look(database).live
    if one is None:
        return None
    found = Look(one.oid, live_file.counts(database, one.name))
    return None if since_restore(database, one, settings.folders.state) else found


def fate(  # noqa: PLR0913, PLR0917 - what a run has in hand
    settings: Settings,
    database: Database,
    store: Store,
    live: Known,
    clock: Clock,
    log: Logger,
    looked: Look | None = None,
) -> Place:
    """Return whether *live*, once replaced, is a previous database or a tail.

    A tail has its set when this returns. The same content is not dumped twice, however often the
    restore fails afterwards. *looked* is believed while statistics tell of no write since then;
    they prove nothing, but `replaced` looks at every row again, after the exchange.

    Raises:
        Stop: it cannot be read, or the tail set cannot be made.
    """
    if looked == Look(live.oid, live_file.counts(database, live.name)):
        return Place.PREVIOUS
    told = since_restore(database, live, settings.folders.state)
    if not told:
        return Place.PREVIOUS
    log.warning("database=%s written since its last restore: %s", live.name, "; ".join(told))
    if not _has_set(settings, database, store, live):
        _dump(settings, database, store, live, clock)
    return Place.TAIL


def replaced(  # noqa: PLR0913, PLR0917 - what a run has in hand
    settings: Settings, database: Database, store: Store, oid: int, clock: Clock, log: Logger
) -> Known | None:
    """Return the database *oid*, just replaced, a tail if it was written to until the last moment.

    Between the look before the restore and the exchange somebody may have worked in it.

    Raises:
        Stop: it cannot be read, or renamed; it stays, and is looked at again before it is dropped.
    """
    one = databases.look(database).by_oid(oid)
    if one is None or one.invalid:
        return None
    if one.place is Place.PREVIOUS:
        told = since_restore(database, one, settings.folders.state)
        if not told:
            return one
        log.warning("database=%s written until it was replaced: %s", one.name, "; ".join(told))
        tail = databases.companions(database).tail(oid)
        Psql(database, MAINTENANCE).do(f"alter database {ident(one.name)} rename to {ident(tail)}")
        one = databases.look(database).by_oid(oid)
    if one is not None and one.place is Place.TAIL and not _has_set(settings, database, store, one):
        try:
            _dump(settings, database, store, one, clock)
        except Stop as error:
            log.warning("database=%s has no tail set of all of it: %s", one.name, error)
    return one


def prune(
    settings: Settings, database: Database, store: Store, clock: Clock, log: Logger
) -> tuple[str, ...]:
    """Return what was done: previous databases beyond those kept are dropped, or become tails.

    What cannot be done now is left for the next run: it costs space, never content.
    """
    done: list[str] = []
    names = databases.companions(database)
    before = databases.look(database)
    for one in before.of(Place.PREVIOUS)[database.keep_previous :]:
        try:
            done.append(_retire(settings, database, one, names.tail(one.oid), log))
        except Stop as error:
            log.warning("database=%s stays: %s", one.name, error)
    after = databases.look(database) if done else before
    for one in after.of(Place.TAIL):
        if one.preserved is None:
            try:
                _dump(settings, database, store, one, clock)
                done.append(f"tail set made of {one.name}")
            except Stop as error:
                log.warning("database=%s has no tail set yet: %s", one.name, error)
    _forget(settings, databases.look(database) if done else after)
    return tuple(done)


def _retire(settings: Settings, database: Database, one: Known, tail: str, log: Logger) -> str:
    """Return what was done with a previous database."""
    told = () if one.invalid else since_restore(database, one, settings.folders.state)
    with Psql(database, MAINTENANCE).session() as session:
        if not told:
            databases.drop(session, one, settings.limits.command_s)
            return f"dropped {one.name}"
        log.warning("database=%s was written to: %s", one.name, "; ".join(told))
        session.do(f"alter database {ident(one.name)} rename to {ident(tail)}")
        return f"kept {one.name} as {tail}"


def _has_set(settings: Settings, database: Database, store: Store, one: Known) -> bool:
    """Say whether a sound tail set holds all that is in *one*."""
    if one.preserved is None:
        return False
    stored = store.scan().by_id(one.preserved.set_id)
    if stored is None or stored.state.state is State.CORRUPT:
        return False
    return not since_tail(database, one, settings.folders.state)


def _dump(settings: Settings, database: Database, store: Store, one: Known, clock: Clock) -> None:
    """Return once a tail set of *one* is in the catalogue, and noted on it."""
    with Psql(database, MAINTENANCE).session() as session:
        # rows of a transaction that is open now may come after the dump's snapshot
        xid = session.value("select txid_snapshot_xmin(txid_current_snapshot())") - 1
    stored = tails.dump(settings, store, one.name, clock=clock)
    if stored.manifest is not None:
        facts = DatabaseFacts.parse(stored.manifest.facts)
        restored.keep(settings.folders.state, stored.id, facts)
    note = literal(Preserved(stored.id, xid).encode())
    Psql(database, MAINTENANCE).do(f"alter database {ident(one.name)} set {TAIL} = {note}")


def _forget(settings: Settings, found: Databases) -> None:
    """Remove the facts of sets that no database here names any more."""
    named = {one.marker.set_id for one in found.all if one.marker}
    named |= {one.preserved.set_id for one in found.all if one.preserved}
    restored.forget_all_but(settings.folders.state, frozenset(named))
