"""The edge to state/live.json: which set was live when a run of ours last saw it.

Asked while PostgreSQL is down, which is the rule on a standby. Written when a restore is confirmed,
after a rollback, and by `recover`; never by a run that did not ask the server.

Beside it stand two counts of the server's statistics, so that a cheap look can tell that somebody
has written since. They prove nothing (statistics may be lost); `written.since_restore` does.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.clock import Clock
from harness.errors import InputError
from hasync import durable
from hasync.database.databases import Known
from hasync.database.psql import Psql
from hasync.settings import Database

NAME: Final = "live.json"
MAX_BYTES: Final = 4096
_COUNTS: Final = """
select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint as changes,
 count(*) filter (where pg_relation_size(c.oid) = 0) as empty
from pg_class c join pg_stat_user_tables s on s.relid = c.oid where c.relkind = 'r'"""


@dataclass(frozen=True, slots=True)
class Live:
    """What NAME was at wall time `at_ns`."""

    set_id: str  # "": of no set that is known
    oid: int
    at_ns: int
    changes: int  # rows inserted, updated and deleted in its tables, ever, as statistics have it
    empty: int  # tables without a single block

    def same(self, one: Known) -> bool:
        """Say whether *one* is that very database."""
        return (self.oid, self.set_id) == (one.oid, _set_id(one))


def read(state: Path) -> Live | None:
    """Return what was live last; None when nothing is on record, or it cannot be read."""
    try:
        found = json.loads(durable.read(state / NAME, MAX_BYTES))
    except (OSError, InputError, ValueError, RecursionError):
        return None
    kinds = {"set_id": str, "oid": int, "at_ns": int, "changes": int, "empty": int}
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        return None
    if any(type(found[name]) is not kind for name, kind in kinds.items()):
        return None
    return Live(**found)


def record(state: Path, database: Database, one: Known, clock: Clock) -> Live:
    """Return what is on the disk now: that *one*, which is NAME, is live.

    Raises:
        Stop: it cannot be read, or the disk did not take it.
    """
    changes, empty = counts(database, one.name)
    found = Live(_set_id(one), one.oid, clock.wall_ns(), changes, empty)
    durable.write(state / NAME, json.dumps(asdict(found)).encode())
    return found


def touched(state: Path, database: Database, one: Known) -> str:
    """Return in words that *one*, the live database, seems written to since; "" when it does not.

    Fewer changes than before are those since the statistics were lost, in a crash.

    Raises:
        Stop: it cannot be read.
    """
    before = read(state)
    if before is None or not before.set_id or not before.same(one):
        return ""
    changes, empty = counts(database, one.name)
    if changes in {0, before.changes} and empty <= before.empty:
        return ""
    count = changes - before.changes if changes > before.changes else changes
    more = f", {empty - before.empty} tables emptied" if empty > before.empty else ""
    return f"{one.name} was written to since its restore: about {count} rows changed{more}"


def counts(database: Database, name: str) -> tuple[int, int]:
    """Return the rows that were ever changed in *name*, and its empty tables, by statistics.

    Raises:
        Stop: it cannot be read.
    """
    with Psql(database, name).session() as session:
        (row,) = session.rows(_COUNTS)
    return int(row["changes"]), int(row["empty"])


def _set_id(one: Known) -> str:
    return one.marker.set_id if one.marker else ""
