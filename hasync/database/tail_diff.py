"""The edge that tells what a tail holds and the live database does not, row by row, and exports it.

Only rows written since the tail's own restore are looked at, when that is known: older ones came
from a set, and what the active site has deleted since is not missing. Rows are matched by primary
key through the live table's index; tables without one by the whole row. Memory stays bounded: rows
are told some at a time, keys shown are few, and the rows themselves go into files.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness.errors import InputError
from hasync import durable
from hasync.database import databases
from hasync.database.psql import Psql, Session
from hasync.database.publish import database_of
from hasync.database.snapshot import XIDS, Table, frozen, sequences
from hasync.database.sql import ident, literal, qualified, relation
from hasync.database.tails import Tail
from hasync.settings import Database, Settings

AT_ONCE: Final = 5000  # rows looked up in one statement
SHOWN: Final = 10  # keys of a table
ROWS_S: Final = 3600.0
KEY: Final = "primary key"
ROW: Final = "whole row"
_COLUMNS: Final = """
select n.nspname as schema, c.relname as name,
 (select json_agg(a.attname order by a.attnum) from pg_attribute a
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
   and coalesce(to_jsonb(a)->>'attgenerated', '') = '') as columns,
 (select json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod))
   order by k.place) from pg_index i,
   unnest(i.indkey::int2[]) with ordinality k (attnum, place), pg_attribute a
   where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid
   and a.attnum = k.attnum) as key
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r'
 and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp_)'"""

_Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What one table of the tail has of its own."""

    table: str  # as hasync.database.sql.qualified writes it
    by: str  # KEY or ROW
    in_live: bool  # the table is there at all
    looked_at: int  # rows of the tail
    missing: int  # not in the live table
    changed: int  # there, with another content; newer here or there, nobody can know
    keys: tuple[str, ...]  # the first of both, as JSON; or hashes of whole rows


@dataclass(frozen=True, slots=True)
class TailDifference:
    """What a tail has of its own."""

    tail: str
    since_xid: int | None  # None: all rows were looked at
    tables: tuple[TableDifference, ...]  # those that have something
    equal: int  # tables without
    sequences: tuple[str, ...]  # further on than in the live database
    large_objects: int  # whose number the live database does not have

    @property
    def rows(self) -> int:
        """Return the rows that are nowhere else."""
        return sum(one.missing for one in self.tables)


@dataclass(frozen=True, slots=True)
class _Told:
    """Some rows of one table of the tail, by their names."""

    looked_at: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How rows of one table are named and compared."""

    table: Table
    columns: tuple[str, ...]  # common to both sides
    key: _Key  # name and type of each column; () when the two sides differ
    in_live: bool

    @property
    def content(self) -> str:
        row = ", ".join(f"t.{ident(name)}" for name in sorted(self.columns))
        return f"md5(row({row})::text)"

    @property
    def name(self) -> str:
        """Return the expression that names a row: its key as JSON, or its content's hash."""
        if not self.key:
            return self.content
        parts = ", ".join(f"{literal(name)}, t.{ident(name)}" for name, _ in self.key)
        return f"json_build_object({parts})::text"

    @property
    def select(self) -> str:
        """Return the head of a query that tells the name and the content of rows."""
        return f"select {self.name} as name, {self.content} as content"

    def among(self, names: Sequence[str]) -> str:
        """Return FROM and WHERE that find the rows called *names*, by index where there is one."""
        where = relation(self.table.schema, self.table.name)
        if not self.key:
            listed = ", ".join(literal(name) for name in names)
            return f"only {where} t where {self.content} = any (array[{listed}])"
        on = " and ".join(f"t.{ident(name)} = x.{ident(name)}" for name, _ in self.key)
        kinds = ", ".join(f"{ident(name)} {kind}" for name, kind in self.key)
        asked = literal(f"[{', '.join(names)}]")
        return f"json_to_recordset({asked}) x ({kinds}) join only {where} t on {on}"


def diff(settings: Settings, tail: Tail) -> TailDifference:
    """Return what *tail* holds that the live database does not.

    Raises:
        InputError: only a set is left of the tail.
        Stop: one of the two cannot be read.
    """
    with _Two(settings, tail) as two:
        told, equal = [], 0
        for shape in two.shapes():
            found = two.difference(shape)
            equal += not (found.missing or found.changed)
            if found.missing or found.changed:
                told.append(found)
        ahead, objects = two.ahead(), two.large_objects()
        return TailDifference(tail.label, two.xid, tuple(told), equal, ahead, objects)


def export(settings: Settings, tail: Tail, folder: Path) -> tuple[Path, ...]:
    """Return the files, in the new *folder*, with the rows that `diff` tells: COPY's text format.

    NNNN.missing.copy and NNNN.changed.copy of each table, and load.sql, which loads the missing
    ones when a person runs it with psql in that folder.

    Raises:
        InputError: the folder is there already; or only a set is left of the tail.
        Stop: a database cannot be read, or the disk did not take it.
    """
    if folder.exists():
        raise InputError("is there already", file=str(folder), fix="name a new folder")
    durable.make_folder(folder)
    load = ["\\set ON_ERROR_STOP 1", "\\encoding UTF8", "begin;"]
    with _Two(settings, tail) as two:
        for number, shape in enumerate(two.shapes(), start=1):
            columns = ", ".join(ident(name) for name in shape.columns)
            missing = folder / f"{number:04d}.missing.copy"
            for told in two.told(shape):
                _append(missing, two, shape, told.missing)
                _append(missing.with_name(f"{number:04d}.changed.copy"), two, shape, told.changed)
            if missing.exists():
                where = relation(shape.table.schema, shape.table.name)
                line = f"\\copy {where} ({columns}) from '{missing.name}'"
                # \copy takes one line: an odd name with a line break in it is left to a person
                by_hand = "\n" in line or not shape.in_live
                load.append(f"-- by hand, see its table: {line!r}" if by_hand else line)
    durable.write(folder / "load.sql", ("\n".join([*load, "commit;"]) + "\n").encode())
    durable.sync_tree(folder)
    return tuple(sorted(folder.iterdir()))


class _Two:
    """A session in the tail and one in the live database, both held still."""

    def __init__(self, settings: Settings, tail: Tail) -> None:
        if not tail.name:
            raise InputError(
                "only the set is left of this tail",
                field="tail",
                value=tail.label,
                fix=f"first: hasync tail restore {tail.label}",
            )
        self._database: Database = database_of(settings)
        self._name = tail.name
        known = databases.look(self._database).by_oid(tail.oid)
        self._marker = known.marker if known else None
        self._stack = ExitStack()
        self.xid: int | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._tail, self._tables = _held(stack, Psql(self._database, self._name))
            self._live, live = _held(stack, Psql(self._database, self._database.name))
            self._there = {table.qualified for table in live}
            self._shapes = {name: _shapes_of(one) for name, one in self._sessions()}
            now = self._tail.value("select txid_snapshot_xmax(txid_current_snapshot())")
            if self._marker and 0 <= now - self._marker.xid < XIDS // 2:
                self.xid = self._marker.xid
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _sessions(self) -> Iterator[tuple[str, Session]]:
        yield "tail", self._tail
        yield "live", self._live

    def shapes(self) -> Iterator[_Shape]:
        """Give how each table of the tail is compared."""
        for table in self._tables:
            columns, key = self._shapes["tail"][table.qualified]
            in_live = table.qualified in self._there
            there, same_key = self._shapes["live"].get(table.qualified, (columns, key))
            common = tuple(name for name in columns if name in there)
            yield _Shape(table, common, key if key == same_key else (), in_live)

    def told(self, shape: _Shape) -> Iterator[_Told]:
        """Give what is missing and what is changed, some rows at a time."""
        for rows in self._tail_rows(shape):
            there = self._in_live(shape, [row["name"] for row in rows])
            missing = tuple(row["name"] for row in rows if row["name"] not in there)
            changed = tuple(
                row["name"]
                for row in rows
                if there.get(row["name"], row["content"]) != row["content"]
            )
            yield _Told(len(rows), missing, changed)

    def difference(self, shape: _Shape) -> TableDifference:
        """Return what one table has of its own."""
        looked_at = missing = changed = 0
        keys: tuple[str, ...] = ()
        for told in self.told(shape):
            looked_at += told.looked_at
            missing += len(told.missing)
            changed += len(told.changed)
            keys = (*keys, *told.missing, *told.changed)[:SHOWN]
        by, name = KEY if shape.key else ROW, shape.table.qualified
        return TableDifference(name, by, shape.in_live, looked_at, missing, changed, keys)

    def rows(self, shape: _Shape, names: Sequence[str]) -> bytes:
        """Return rows of the tail in COPY's text format."""
        columns = ", ".join(f"t.{ident(name)}" for name in shape.columns)
        sql = f"select {columns} from {shape.among(names)}"  # noqa: S608 - quoted names
        return self._tail.copy(sql, limit_s=ROWS_S)

    def ahead(self) -> tuple[str, ...]:
        """Return the sequences that stand further on in the tail."""
        live = sequences(self._live)
        return tuple(
            f"{name}: {value.last} here, {live[name].last if name in live else 'none'} live"
            for name, value in sequences(self._tail).items()
            if name not in live or value.last > live[name].last
        )

    def large_objects(self) -> int:
        """Return how many large objects have a number that the live database does not have."""
        count = 0
        sql = "select oid::bigint as oid from pg_largeobject_metadata"
        for rows in self._tail.stream(sql, AT_ONCE, limit_s=ROWS_S):
            listed = ", ".join(str(int(row["oid"])) for row in rows)
            among = f"oid = any (array[{listed}]::oid[])"
            count_sql = f"select count(*) from pg_largeobject_metadata where {among}"  # noqa: S608
            count += len(rows) - int(self._live.value(count_sql))
        return count

    def _tail_rows(self, shape: _Shape) -> Iterator[list[dict[str, Any]]]:
        where = relation(shape.table.schema, shape.table.name)
        newer = ""
        if self.xid is not None:
            newer = f"where age(t.xmin) < age({literal(str(self.xid % XIDS))}::xid)"
        sql = f"{shape.select} from only {where} t {newer}"
        return self._tail.stream(sql, AT_ONCE, limit_s=ROWS_S)

    def _in_live(self, shape: _Shape, names: Sequence[str]) -> Mapping[str, str]:
        """Return the content of the rows among *names* that the live table has, by their names."""
        if not shape.in_live:
            return {}
        sql = f"{shape.select} from {shape.among(names)}"
        return {row["name"]: row["content"] for row in self._live.rows(sql, limit_s=ROWS_S)}


def _held(stack: ExitStack, psql: Psql) -> tuple[Session, tuple[Table, ...]]:
    session = stack.enter_context(psql.session())
    return session, stack.enter_context(frozen(session)).tables


def _shapes_of(session: Session) -> dict[str, tuple[tuple[str, ...], _Key]]:
    """Return columns and primary key of each table."""
    return {
        qualified(row["schema"], row["name"]): (
            tuple(row["columns"] or ()),
            tuple((name, kind) for name, kind in row["key"] or ()),
        )
        for row in session.rows(_COLUMNS)
    }


def _append(path: Path, two: _Two, shape: _Shape, names: Sequence[str]) -> None:
    """Write some rows of the tail at the end of the file; no rows, no file."""
    if not names:
        return
    content = two.rows(shape, names)
    with durable.telling("write", path):
        path.touch(mode=durable.FILE_MODE)
        with path.open("ab") as file:
            file.write(content)
