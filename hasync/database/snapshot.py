"""The edge that holds a database still: one snapshot, every table locked, rows counted in it.

    with Psql(database, "ngp").session() as session, frozen(session) as snapshot:
        rows = count(session, snapshot.tables)      # pg_dump --snapshot=snapshot.id sees the same

Law: a table is locked (ACCESS SHARE, as pg_dump does) before anybody reads it, and stays so until
the snapshot ends. TRUNCATE and a rewriting ALTER TABLE would otherwise empty it even for an older
snapshot; and our own count would queue behind an ALTER TABLE that queues behind pg_dump.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hasync.database.facts import LARGE_OBJECTS, SequenceValue
from hasync.database.psql import Psql, Session, SqlError
from hasync.database.sql import literal, qualified, relation
from hasync.failure import Exit, Stop

COUNT_S = 6 * 3600.0  # for the rows of one batch of tables
AT_ONCE = 200  # tables in a statement: their indexes are locked too, and the lock table is finite
XIDS = 1 << 32
_T = TypeVar("_T")
VANISHED: Final = "42P01"  # a table, between the snapshot and its lock
LOCK_TIMEOUT: Final = "55P03"
_OURS: Final = """
 and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp_)'
 and c.relpersistence <> 't'"""
_TABLES: Final = f"""
select n.nspname as schema, c.relname as name, c.relpersistence = 'u' as unlogged,
 coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '') as condition
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
 and d.objsubid = 0 and d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
left join pg_extension e on e.oid = d.refobjid
where c.relkind = 'r' and (d.objid is null or c.oid = any (e.extconfig)) {_OURS}
order by 1, 2"""  # noqa: S608 - constants
_SEQUENCES: Final = f"""
select n.nspname as schema, c.relname as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
 and d.objsubid = 0 and d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
left join pg_extension e on e.oid = d.refobjid
where c.relkind = 'S' and (d.objid is null or c.oid = any (e.extconfig)) {_OURS}
order by 1, 2"""  # noqa: S608 - constants
_BLOCKERS: Final = """
select distinct l.granted,
 coalesce('process ' || l.pid, 'prepared transaction ' || p.gid, '?') as who,
 coalesce(a.usename, p.owner, '') as role, coalesce(a.application_name, '') as program,
 coalesce(left(a.query, 120), '') as query,
 round(extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared)))::int as age_s
from pg_locks l
left join pg_stat_activity a on a.pid = l.pid
left join pg_locks x on l.pid is null and x.locktype = 'transactionid'
 and x.virtualtransaction = l.virtualtransaction
left join pg_prepared_xacts p on p.transaction = x.transactionid
where l.mode = 'AccessExclusiveLock' and l.locktype = 'relation'
 and l.database = (select oid from pg_database where datname = current_database())
 and l.pid is distinct from pg_backend_pid()
order by 1 desc, 2 limit 10"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table whose rows are in a dump."""

    schema: str
    name: str
    unlogged: bool
    condition: str  # WHERE ... of an extension's own table: which rows are the user's; else ""

    @property
    def qualified(self) -> str:
        """Return its name as facts have it."""
        return qualified(self.schema, self.name)

    @property
    def source(self) -> str:
        """Return what follows FROM in a statement about its own rows."""
        return f"only {relation(self.schema, self.name)} t {self.condition}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What other sessions import, and the tables that are there in it."""

    id: str
    tables: tuple[Table, ...]


@contextmanager
def frozen(session: Session) -> Iterator[Snapshot]:
    """Give a snapshot that holds until the block is left, with all its tables locked.

    Raises:
        Stop: FAILED, naming who holds a lock for longer than `lock_wait_s`.
        SqlError: 42P01 when a table vanished meanwhile: try again.
    """
    wait_s = session.psql.database.lock_wait_s
    session.do(
        "begin isolation level repeatable read read only;\n"
        f"set local lock_timeout = {round(wait_s * 1e3):d}"
    )
    name = session.value("select pg_export_snapshot()")
    tables = tuple(Table(**row) for row in session.rows(_TABLES))
    for some in _batches(tables):
        names = ", ".join(f"only {relation(table.schema, table.name)}" for table in some)
        try:
            session.do(f"lock table {names} in access share mode", limit_s=wait_s * AT_ONCE)
        except SqlError as error:
            if error.sqlstate == LOCK_TIMEOUT:
                raise locked(blockers(session.psql), wait_s) from error
            raise
    yield Snapshot(name, tables)
    session.do("rollback")


def blockers(psql: Psql) -> tuple[str, ...]:
    """Return in words who holds a table of the database for itself alone, or waits to."""
    return tuple(
        f"{row['who']} {'holds' if row['granted'] else 'waits for'} it (role {row['role']}, "
        f"{row['program'] or 'no name'}, {row['age_s']} s): {' '.join(row['query'].split())}"
        for row in psql.rows(_BLOCKERS)
    )


def locked(told: tuple[str, ...], wait_s: float) -> Stop:
    """Return why a dump could not lock all tables within *wait_s*: the *told* blockers."""
    return Stop(
        Exit.FAILED,
        f"a table stayed locked for {wait_s:g} s",
        fact="; ".join(told) or "whoever it was is gone now",
        fix="end that session, or run again when it has ended",
    )


def count(session: Session, tables: Sequence[Table]) -> dict[str, int]:
    """Return the rows of each table, by its qualified name."""
    return {
        table.qualified: found["rows"]
        for table, found in _each(session, tables, "count(*) as rows", lambda one: one.source)
    }


def counted_since(
    session: Session, tables: Sequence[Table], xid: int
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the rows of each table, and the tables with a row written after transaction *xid*.

    *xid* comes with its epoch. "large objects" is among the tables when one was. Vacuum and a crash
    do not count as writing; a transaction number too old to compare does, for every table: what is
    unsure is written to.
    """
    now = session.value("select txid_snapshot_xmax(txid_current_snapshot())")
    if not 0 <= now - xid < XIDS // 2:
        every = (*(table.qualified for table in tables), LARGE_OBJECTS)
        return count(session, tables), every
    newer = f"age(t.xmin) < age({literal(str(xid % XIDS))}::xid)"
    # one pass over a large table, which may come from the disk, answers both
    whole = tuple(table for table in tables if not table.condition)
    both = f"count(*) as rows, count(*) filter (where {newer}) > 0 as written"
    found = list(_each(session, whole, both, lambda one: one.source))
    rows = {table.qualified: row["rows"] for table, row in found}
    some = tuple(table for table in tables if table.condition)  # only some of their rows count
    rows |= count(session, some) if some else {}
    objects = tuple(
        Table("pg_catalog", name, unlogged=False, condition="")
        for name in ("pg_largeobject", "pg_largeobject_metadata")
    )

    def first(one: Table) -> str:
        """Return a source of one row, if that many are newer: the scan ends at the first."""
        return f"(select from only {relation(one.schema, one.name)} t where {newer} limit 1) q"

    found += _each(session, (*some, *objects), "count(*) > 0 as written", first)
    written = {one for one, row in found if row["written"]}
    names = [table.qualified for table in tables if table in written]
    return rows, (*names, *([LARGE_OBJECTS] if written & set(objects) else []))


def sequences(session: Session) -> dict[str, SequenceValue]:
    """Return where each sequence stands now; no snapshot covers sequences."""
    found = tuple(
        Table(row["schema"], row["name"], unlogged=False, condition="")
        for row in session.rows(_SEQUENCES)
    )
    values = _each(
        session, found, "last_value, is_called", lambda one: relation(one.schema, one.name)
    )
    return {
        one.qualified: SequenceValue(row["last_value"], row["is_called"]) for one, row in values
    }


def _each(
    session: Session, relations: Sequence[Table], columns: str, source: Callable[[Table], str]
) -> Iterator[tuple[Table, Mapping[str, Any]]]:
    """Give each relation with the one row that `select columns from source` has of it.

    Many a statement, and each batch below a savepoint, whose end frees the locks on indexes.
    """
    for some in _batches(relations):
        sql = "\nunion all\n".join(
            f"select {number} as number, {columns} from {source(one)}"  # noqa: S608 - quoted names
            for number, one in enumerate(some)
        )
        session.do("savepoint batch")
        rows = session.rows(sql, limit_s=COUNT_S)
        session.do("rollback to savepoint batch")
        for row in rows:
            yield some[row["number"]], row


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[at : at + AT_ONCE] for at in range(0, len(items), AT_ONCE))
