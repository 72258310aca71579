"""The edge that keeps in mind which login roles a restore has created without a password.

No set carries a password, so nobody can log in as them after a failover. The names go with the set
that is live, from restore to restore, until the server says that each has got one.
"""

import json
import logging

from harness.errors import HarnessError
from hasync.commands.choice import live_set
from hasync.database.cluster import Cluster
from hasync.database.databases import MAINTENANCE
from hasync.database.psql import Psql
from hasync.sets.backup import StoredSet
from hasync.sets.store import Store
from hasync.settings import Database, Settings

logger = logging.getLogger(__name__)

MEASURED = "without_password"  # JSON list of names, measured of the set that is live
_SQL = "select rolname from pg_authid where rolcanlogin and rolpassword is null"


def remembered(stored: StoredSet | None) -> tuple[str, ...]:
    """Return the roles on record with a set; () when none are."""
    text = stored.state.measurements.get(MEASURED, "[]") if stored else "[]"
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def encode(names: tuple[str, ...]) -> str:
    """Return what goes on record."""
    return json.dumps(sorted(set(names)))


def without_password(settings: Settings, store: Store) -> tuple[str, ...]:
    """Return the roles that still have none; while the server is down, those on record."""
    live = live_set(store.scan().sets)
    names = remembered(live)
    if live is None or not names or settings.database is None:
        return names
    try:
        still = _still(settings, settings.database, names)
        if still != names:
            store.note(live, **{MEASURED: encode(still)})
    except HarnessError as error:
        logger.info("passwords not looked at why=%s", error)
        return names
    return still


def _still(settings: Settings, database: Database, names: tuple[str, ...]) -> tuple[str, ...]:
    folders = settings.folders
    cluster = Cluster(database, folders.state, folders.log, settings.limits.command_s)
    if not cluster.is_up():
        return names
    with Psql(database, MAINTENANCE).session() as session:
        found = {str(row["rolname"]) for row in session.rows(_SQL)}
    return tuple(name for name in names if name in found)
