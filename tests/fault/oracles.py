"""What must hold after any fault, asked of servers and files directly: never of what is tested.

1. Ledger: every acknowledged row is in a live database, in a set, or in a preserved database.
2. Content: two databases hold the same, byte for byte, table by table, and have the same schema.
3. Polls: every answer was the old or the new content, and silence was short.
4. Convergence and 5. honesty are asked by the tests, of the program's exit codes and leftovers.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fault.content import NAME, SEED, crc
from tests.fault.poller import Poller
from tests.fault.postgres_wire import Connection
from tests.fault.site import LIMIT_S, Site
from tests.fault.two_sites import ROOT, TwoSites

Rows = frozenset[tuple[str, int]]
Upto = tuple[tuple[str, int], ...]

TABLES = """
select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables
where schemaname not in ('pg_catalog', 'information_schema')
union all select quote_ident(schemaname) || '.' || quote_ident(matviewname) from pg_matviews
order by 1
"""
PROPERTIES = """
select pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
  (select array_agg(a::text order by a::text)::text
    from unnest(coalesce(datacl, acldefault('d', datdba))) a),
  shobj_description(oid, 'pg_database'),
  (select array_agg(s order by s)::text from pg_db_role_setting r, unnest(setconfig) s
    where r.setdatabase = d.oid and s not like 'hasync.%')
from pg_database d where datname = current_database()
"""
OTHERS = """
select schemaname::text, sequencename::text, last_value::text from pg_sequences
union all select 'large object', oid::text, md5(lo_get(oid))
  from (select oid from pg_largeobject_metadata) o
order by 1, 2
"""


@dataclass(slots=True)
class Writing:
    """A writer process and its ledger."""

    process: subprocess.Popen[bytes]
    ledger: Path
    said: dict[str, object]

    @property
    def acknowledged(self) -> Rows:
        """Return the rows whose COMMIT the server has confirmed."""
        return read_ledger(self.ledger)

    def end(self) -> None:
        """Have it finish its row, and wait."""
        if self.process.returncode is None:
            out, _ = self.process.communicate(b"end", LIMIT_S)
            self.said |= json.loads(out or b"{}")


@contextmanager
def writing(lab: TwoSites, site: Site, name: str, rate_hz: float = 100.0) -> Iterator[Writing]:
    """Give a writer that writes rows of *name* into NAME at *site* until the block is left."""
    ledger = lab.folder / "ledger"
    words = (str(site.files / "run"), name, str(ledger), str(rate_hz))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fault.writer", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    work = Writing(process, ledger, {})
    try:
        yield work
    finally:
        work.end()


def read_ledger(ledger: Path) -> Rows:
    """Return the rows in *ledger*; a line cut by a kill is no promise."""
    text = ledger.read_text() if ledger.exists() else ""
    lines = (line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return frozenset((name, int(n)) for name, n in lines)


def rows_in(site: Site, database: str) -> Rows:
    """Return the sound rows of `calls` in *database*; none when it has no such table."""
    with Connection(site.database(database), limit_s=LIMIT_S) as connection:
        if connection.query("select to_regclass('calls')")[0][0] is None:
            return frozenset()
        rows = connection.query("select writer, n, crc from calls")
    return frozenset((str(w), int(n or 0)) for w, n, c in rows if int(c or 0) == crc(int(n or 0)))


def rows_in_dump(site: Site, folder: Path) -> Rows:
    """Return the sound rows of `calls` in the dump at *folder*, as pg_restore itself reads it."""
    shown = site.run("pg_restore", "-a", "-t", "calls", "-f", "-", folder)
    found = re.findall(r"^(\w+)\t(\d+)\t(\d+)$", shown.out, re.MULTILINE)
    return frozenset((w, int(n)) for w, n, c in found if int(c) == crc(int(n)))


def preserved(site: Site) -> Rows:
    """Return the rows in all databases of *site*, live or kept; its server has to be up."""
    found: Rows = frozenset()
    for name in site.databases() - {SEED}:
        found |= rows_in(site, name)
    return found


def lost(acknowledged: Rows, places: Iterable[Rows]) -> Rows:
    """Return the acknowledged rows that are in no place at all."""
    return acknowledged.difference(*places)


def differences(one: Site, other: Site, name: str = NAME) -> tuple[str, ...]:
    """Return what differs between the databases *name* of two sites; () when nothing does."""
    here, there = _describe(one, name), _describe(other, name)
    return tuple(sorted(key for key in here | there if here.get(key) != there.get(key)))


def _describe(site: Site, name: str) -> dict[str, str]:
    shown = site.must("pg_dump", "-h", site.home / "run", "-U", "ngp", "-s", name)
    changing = re.compile(r"^(--.*|\\(un)?restrict .*|)\n", re.MULTILINE)
    found = {"schema": changing.sub("", shown)}
    with Connection(site.database(name), limit_s=LIMIT_S) as connection:
        for (table,) in connection.query(TABLES):
            sorted_rows = f"select md5(string_agg(t::text, '|' order by t::text)) from {table} t"  # noqa: S608
            found[str(table)] = str(connection.query(sorted_rows))
        found["properties"] = str(connection.query(PROPERTIES))
        found["sequences and large objects"] = str(connection.query(OTHERS))
    return found


def unsound(poller: Poller, allowed: Iterable[Upto], silence_s: float) -> list[str]:
    """Return what a user of the standby was shown that he must never see.

    *allowed* are the old content, and that of each set that may have become live meanwhile.
    """
    wanted = set(allowed)
    strange = [f"showed {dict(seen)}, no set ends there" for seen in poller.contents - wanted]
    silent = poller.longest_silence_s
    quiet = [f"no answer for {silent:.2f} s: {sorted(poller.errors)}"] if silent > silence_s else []
    return sorted(poller.broken) + sorted(strange) + quiet
