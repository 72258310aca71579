"""The edge that says whether a set may be restored here and now: for a restore, and to show one."""

from hasync.database import databases, guard
from hasync.database.cluster import Cluster
from hasync.database.databases import MAINTENANCE
from hasync.database.psql import Psql
from hasync.failure import Exit, Stop
from hasync.role import SiteFact
from hasync.sets.backup import Kind, StoredSet
from hasync.settings import Database, Settings


def examine(
    settings: Settings,
    cluster: Cluster,
    stored: StoredSet,
    *,
    peer: SiteFact | None,
    by_hand: bool,
) -> bool:
    """Say whether the server could be asked too; nothing that was asked forbids the restore.

    Raises:
        Stop: what stands against it.
    """
    role = guard.site(settings, peer)
    fits(settings, stored, role.epoch, by_hand=by_hand)
    if not cluster.is_up():
        return False
    server(cluster.database)
    newer(cluster.database, stored, by_hand=by_hand)
    return True


def fits(settings: Settings, stored: StoredSet, epoch: int, *, by_hand: bool) -> None:
    """Return when a run may take *stored*; a person may take any, unless it is no database.

    Raises:
        Stop: it may not.
    """
    if stored.kind is not Kind.DATABASE or stored.manifest is None:
        raise Stop(Exit.FAILED, "not a set of a database", fact=stored.path)
    if by_hand:
        return
    if stored.state.held:
        raise Stop(Exit.REFUSED, "the set is held back", fact=stored.state.held)
    if stored.site == settings.site:
        raise Stop(Exit.REFUSED, "the set is of this site", fact=stored.path)
    if stored.manifest.epoch < epoch:
        fact = f"epoch {stored.manifest.epoch}, this site knows of {epoch}"
        raise Stop(Exit.REFUSED, "the set is of an earlier epoch", fact=fact)


def server(database: Database) -> None:
    """Return when nothing on the server stands against a restore.

    Raises:
        Stop: another server, NAME gone, a prepared transaction, or a client that has written.
    """
    names = databases.companions(database)
    with Psql(database, MAINTENANCE).session() as session:
        guard.server(session, database)
        guard.name_there(databases.read(session, names), names.name)


def newer(database: Database, stored: StoredSet, *, by_hand: bool) -> None:
    """Return unless *stored* is not newer than what is live, and no person chose it.

    Raises:
        Stop: it is not.
    """
    live = databases.look(database).live
    marker = live.marker if live else None
    if marker and not by_hand and stored.order <= marker.order:
        fact = f"live: epoch {marker.epoch}, sequence {marker.sequence}"
        raise Stop(Exit.FAILED, "the set is not newer than what is live", fact=fact)
