"""What an interrupted run has left is put right, from the facts of the catalogue and the journal.

Called at the start of every run; idempotent, and killed itself it is simply called again.

    NAME__new_*                    not live yet: dropped
    a database half dropped        dropped
    NAME missing, NAME__prev_*     renamed back (no swap of ours leaves this)
    NAME closed to connections     opened
    NAME with a marker             its set is recorded as restored
    a rollback cut short           the set that was live is held back
    a server that we started       stopped, while this site is a standby
"""

from collections.abc import Iterator
from logging import Logger, getLogger
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from harness.journal import Event
from hasync.database import databases
from hasync.database.companions import Place
from hasync.database.databases import MAINTENANCE, Databases, Known
from hasync.database.psql import Psql, Session
from hasync.database.restore import cluster_of, confirm, leave
from hasync.database.rollback import hold
from hasync.database.sql import ident
from hasync.operation import close_unfinished, unfinished
from hasync.role import Role
from hasync.role_file import read as read_role
from hasync.sets.backup import State
from hasync.sets.store import Store
from hasync.settings import Database, Settings

ROLLBACK: Final = "rollback"
PROCEDURES: Final = ("restore", ROLLBACK)


def recover(
    settings: Settings, store: Store, clock: Clock, log: Logger | None = None
) -> tuple[str, ...]:
    """Return in words what was found and done; () when nothing had been interrupted.

    PostgreSQL is started only for the rest of a run of ours, on a standby that may start it.

    Raises:
        Stop: something could not be put right; the journals stay, and it is tried again.
    """
    log = log or getLogger(__name__)
    state = settings.folders.state
    told = [f"swept {name}" for name in store.sweep()]
    journals = {name: _events(settings, name, told) for name in PROCEDURES}
    cut_short = [name for name, events in journals.items() if events is not None]
    told += [f"{name} was interrupted" for name in cut_short]
    if settings.database is not None:
        told += _server(settings, settings.database, store, tuple(cut_short))
    for name in cut_short:
        close_unfinished(state, name, clock)
    for line in told:
        log.info("recover found=%r", line)
    return tuple(told)


def _events(settings: Settings, name: str, told: list[str]) -> tuple[Event, ...] | None:
    """Return the journal of a run that did not end; None when there is none."""
    if not (settings.folders.state / f"{name}.jsonl").exists():
        return None
    try:
        return unfinished(settings.folders.state, name)
    except InputError as error:  # the facts tell enough without it
        told.append(f"the journal cannot be read: {error}")
        return ()


def _server(
    settings: Settings, database: Database, store: Store, cut_short: tuple[str, ...]
) -> list[str]:
    """Return what was done on the server, when it runs, or has to."""
    cluster = cluster_of(settings, database)
    told = []
    if not cluster.is_up():
        standby = read_role(settings.folders.state).role is Role.STANDBY
        if not (cut_short and database.manage and standby):
            return []
        cluster.start()
        told.append("PostgreSQL started, to look")
    ours = cluster.ours() is not None
    try:
        told += _databases(settings, database, store, cut_short)
    finally:
        if ours and leave(settings, cluster):
            told.append("PostgreSQL stopped: it had been started by hasync")
    return told


def _databases(
    settings: Settings, database: Database, store: Store, cut_short: tuple[str, ...]
) -> list[str]:
    names = databases.companions(database)
    with Psql(database, MAINTENANCE).session() as session:
        limit_s = settings.limits.command_s
        told = list(_healed(session, databases.read(session, names), names.name, limit_s))
        live = databases.read(session, names).live
    if live is not None and live.marker is not None:
        stored = store.scan().by_id(live.marker.set_id)
        if stored is not None and stored.state.state is not State.RESTORED:
            confirm(settings, database, store, {})
            told.append(f"set {stored.name.text} recorded as restored: it is live")
    if ROLLBACK in cut_short and (held := hold(settings, database, store)):
        told.append(f"set {held} held back: it was rolled back")
    return told


def _healed(session: Session, found: Databases, name: str, limit_s: float) -> Iterator[str]:
    """Put each thing right, and tell it."""
    for one in found.all:
        if one.place is Place.NEW or (one.invalid and one.place is Place.PREVIOUS):
            databases.drop(session, one, limit_s)
            yield f"dropped {one.name}, the rest of an interrupted run"
    live = found.live or _last(found)
    if live is None:
        return
    if live.name != name:
        session.do(f"alter database {ident(live.name)} rename to {ident(name)}")
        yield f"{live.name} renamed back to {name}"
    if not live.accepts:
        session.do(f"alter database {ident(name)} allow_connections true")
        yield f"{name} opened to connections again"


def _last(found: Databases) -> Known | None:
    """Return the database that was NAME last."""
    return next((one for one in found.of(Place.PREVIOUS) if not one.invalid), None)
