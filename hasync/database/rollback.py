"""The procedure "rollback": NAME and its predecessor change places again, in seconds.

No data is copied and nothing is dropped, so it can be done as often as one likes: a second rollback
takes back the first. The set that was live is held back, or the next run would take it again.
"""

from dataclasses import dataclass
from logging import Logger

from harness.clock import Clock
from harness.errors import InputError
from hasync.database import databases, guard
from hasync.database import live as live_file
from hasync.database.companions import Companions
from hasync.database.databases import MAINTENANCE, Known
from hasync.database.psql import Psql
from hasync.database.restore import cluster_of, leave
from hasync.database.swap import Exchange, Exchanged, exchange
from hasync.failure import Exit, Stop
from hasync.operation import Operation
from hasync.sets.backup import StoredSet
from hasync.sets.store import Store
from hasync.settings import Database, Settings

HELD = "rolled back"  # why a set is held; `hasync.sets.store.Store.hold` with "" lets it go


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """What is live now."""

    set_id: str  # of what is live now; "" when it comes from no verified set
    parked: str  # what the database that was live is called now
    held: str  # the set that no run takes any more; "" when it came from none
    blocked_s: float
    took_s: float


def rollback(
    settings: Settings, store: Store, clock: Clock, log: Logger, *, force: bool = False
) -> RollbackResult:
    """Return once the database that was replaced last is live again.

    *force*: a person says so, whatever role and service say.

    Raises:
        Stop: there is none, or the guard forbids it; what was live is live.
        InputError: there is no database here.
    """
    database = settings.database
    if database is None:
        raise InputError("there is no database here", field="database", fix="add [database]")
    names = databases.companions(database)
    cluster = cluster_of(settings, database)
    begun_ns = clock.monotonic_ns()
    with Operation("rollback", settings.folders.state, clock, database=names.name) as operation:
        try:
            with operation.step("guard"):
                permission = None if force else _permission(settings, database, clock)
                if not cluster.is_up():
                    cluster.start()
                live, back = _pair(database, names, force=force)
                operation.note("rollback", live=live.oid, back=back.oid)
            with operation.step("exchange"):
                exchanged = _exchanged(settings, database, names, live, back, clock, permission)
            log.info("rollback blocked_ms=%.1f", exchanged.blocked_ns / 1e6)
            with operation.step("hold"):
                held = hold(settings, database, store, clock)
        finally:
            leave(settings, cluster)
    return RollbackResult(
        set_id=back.marker.set_id if back.marker else "",
        parked=names.previous(live.oid),
        held=held,
        blocked_s=exchanged.blocked_ns / 1e9,
        took_s=(clock.monotonic_ns() - begun_ns) / 1e9,
    )


def planned(settings: Settings, clock: Clock, *, force: bool = False) -> tuple[Known, Known] | None:
    """Return what is live and what would come back; None while the server is down.

    Raises:
        Stop: what stands against a rollback.
        InputError: there is no database here.
    """
    database = settings.database
    if database is None:
        raise InputError("there is no database here", field="database", fix="add [database]")
    names = databases.companions(database)
    if not force:
        _permission(settings, database, clock)
    if not cluster_of(settings, database).is_up():
        return None
    return _pair(database, names, force=force)


def hold(settings: Settings, database: Database, store: Store, clock: Clock) -> str:
    """Return the id of the set that was rolled back, now held; the live one is let go.

    From the catalogue alone, so that it can be said again after any interruption.
    """
    found = databases.look(database)
    catalogue = store.scan()
    if found.live:
        live_file.record(settings.folders.state, database, found.live, clock)
    if found.live and found.live.marker:
        _set_hold(store, catalogue.by_id(found.live.marker.set_id), "")
    gone = found.replaced_last
    if gone is None or gone.marker is None or not (gone.replaced and gone.replaced.rolled_back):
        return ""
    _set_hold(store, catalogue.by_id(gone.marker.set_id), HELD)
    return gone.marker.set_id


def _set_hold(store: Store, stored: StoredSet | None, why: str) -> None:
    """Hold a set, or let go one that a rollback has held."""
    if stored is not None and stored.state.held != why and stored.state.held in {"", HELD}:
        store.hold(stored, why)


def _permission(settings: Settings, database: Database, clock: Clock) -> guard.Permission:
    """Return what allows the exchange as long as role, epoch and service stay as they are."""
    epoch = guard.site(settings, None).epoch
    return guard.Permission(settings, database, None, epoch, clock)


def _pair(database: Database, names: Companions, *, force: bool) -> tuple[Known, Known]:
    """Return what is live and what comes back."""
    with Psql(database, MAINTENANCE).session() as session:
        guard.cluster(session, database)
        if not force:
            guard.server(session, database)
        found = databases.read(session, names)
    back = found.replaced_last
    if found.live is None or back is None:
        fact = ", ".join(one.name for one in found.all) or "no database of ours"
        raise Stop(Exit.FAILED, "there is nothing to go back to", fact=fact)
    return found.live, back


def _exchanged(  # noqa: PLR0913, PLR0917 - what the step has in hand
    settings: Settings,
    database: Database,
    names: Companions,
    live: Known,
    back: Known,
    clock: Clock,
    permission: guard.Permission | None,
) -> Exchanged:
    swap = Exchange(
        name=names.name,
        live_oid=live.oid,
        parked=names.previous(live.oid),
        coming_oid=back.oid,
        coming=back.name,
        rolled_back=True,
    )
    return exchange(database, swap, clock, settings.limits.swap_s, permission)
