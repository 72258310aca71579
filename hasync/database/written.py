"""Whether a database was written to since its content was last known for certain.

Unsure means yes: what is not proved to be the content of a set is kept, never replaced. Vacuum, a
crash that empties unlogged tables, and statistics are no writing.
"""

from dataclasses import replace
from pathlib import Path

from hasync.database import restored
from hasync.database.databases import Known
from hasync.database.describe import facts, schema_text
from hasync.database.facts import DatabaseFacts, content_differences
from hasync.database.psql import Psql, Session
from hasync.database.schema import fingerprint
from hasync.database.snapshot import count, counted_since, frozen
from hasync.settings import Database

MAX_TOLD = 5


def since_restore(database: Database, one: Known, state: Path) -> tuple[str, ...]:
    """Return in words what was written since the restore that *one* comes from; () for nothing.

    A database that no verified set was restored into counts as written, unless there is nothing in
    it that could be lost.

    Raises:
        Stop: it cannot be read.
    """
    with Psql(database, one.name).session() as session:
        if one.marker is None:
            found, _ = _look(session, None)
            return () if found.empty else ("it comes from no set that was verified here",)
        return _since(session, one.marker.xid, restored.recall(state, one.marker.set_id))


def since_tail(database: Database, one: Known, state: Path) -> tuple[str, ...]:
    """Return what was written since a tail set was made of *one*; () when the set has all of it.

    Raises:
        Stop: it cannot be read.
    """
    if one.preserved is None:
        return ("there is no tail set of it",)
    with Psql(database, one.name).session() as session:
        return _since(session, one.preserved.xid, restored.recall(state, one.preserved.set_id))


def _since(session: Session, xid: int, wanted: DatabaseFacts | None) -> tuple[str, ...]:
    if wanted is None:
        return ("what was restored is not known any more",)
    found, changed = _look(session, xid)
    rows = {**wanted.tables, **{name: found.tables.get(name, 0) for name in wanted.unlogged}}
    told = content_differences(replace(wanted, tables=rows), found)
    if changed:
        told += (f"rows written in {', '.join(changed[:MAX_TOLD])}",)
    return told


def _look(session: Session, xid: int | None) -> tuple[DatabaseFacts, tuple[str, ...]]:
    """Return the facts, and the tables with rows newer than *xid*, in one snapshot."""
    with frozen(session) as snapshot:
        tables = snapshot.tables
        rows, changed = (
            (count(session, tables), ()) if xid is None else counted_since(session, tables, xid)
        )
        schema = fingerprint(schema_text(session, snapshot))
        return facts(session, snapshot, schema, rows), changed
