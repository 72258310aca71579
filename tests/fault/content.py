"""What the tests keep in a database: rows whose right content anybody can say from their number.

A writer numbers its rows 1, 2, 3 …, each one transaction over three tables. So any snapshot of the
database holds, for each writer, exactly rows 1 to k, the same in all three: what a poll sees is
judged without knowing when the snapshot was taken. `assets` is bulk, to give a dump some length.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fault.postgres_wire import Connection, ServerError
from tests.fault.site import LIMIT_S, Site

NAME = "ngp"
SEED = "ngp_seed"  # a database as a whole, copied for each test
SEEDED = 500  # rows of writer "seed" in it
ASSETS = 10_000
STEP, MODULUS = 2_654_435_761, 1 << 32
ODD = 'Größe "x"'  # a table with a name that wants care

SCHEMA = f"""
create table calls (writer text, n bigint, crc bigint not null, primary key (writer, n));
create table parties (writer text, n bigint, number text, primary key (writer, n),
  foreign key (writer, n) references calls);
create table totals (writer text primary key, n bigint, crc numeric);
create table "{ODD.replace('"', '""')}" (id int generated always as identity, v text unique);
create table assets (id int primary key, body text);
create index on assets (body);
create sequence tickets;
insert into "{ODD.replace('"', '""')}" (v) values ('é'), ('a\\b'), ('tab	and
newline'), (null);
insert into calls select 'seed', n, (n * {STEP}) % {MODULUS} from generate_series(1, {SEEDED}) n;
insert into parties select 'seed', n, '+120255501' || lpad((n % 100)::text, 2, '0')
  from generate_series(1, {SEEDED}) n;
insert into totals select 'seed', count(*), sum(crc) from calls;
insert into assets select n, md5(n::text) || md5((n + 1)::text)
  from generate_series(1, {ASSETS}) n;
create materialized view heaviest as select max(n) as n from calls;
select lo_from_bytea(0, 'a large object');
select nextval('tickets'), nextval('tickets');
"""  # noqa: S608 - names and numbers of ours
ASK = f"""
select json_build_object(
  'oid', (select oid::bigint from pg_database where datname = current_database()),
  'calls', (select json_object_agg(writer, f) from
    (select writer, json_build_array(count(*), max(n), sum(crc)) f from calls group by writer) c),
  'parties', (select json_object_agg(writer, n) from
    (select writer, count(*) n from parties group by writer) p),
  'totals', (select json_object_agg(writer, json_build_array(n, crc)) from totals),
  'assets', (select count(*) from assets),
  'odd', (select count(*) from "{ODD.replace('"', '""')}"))
"""  # noqa: S608 - names of ours


def crc(n: int) -> int:
    """Return what row *n* has to carry."""
    return n * STEP % MODULUS


def prefix_crc(upto: int) -> int:
    """Return the sum of rows 1 to *upto*."""
    return sum(crc(n) for n in range(1, upto + 1))


@dataclass(frozen=True, slots=True)
class Content:
    """What one database held at one moment."""

    oid: int
    upto: tuple[tuple[str, int], ...]  # writer, and its last row
    broken: tuple[str, ...]  # what no snapshot of a sound database can show

    def last(self, writer: str) -> int:
        """Return the number of *writer*'s last row."""
        return dict(self.upto).get(writer, 0)


def ask(connection: Connection) -> Content:
    """Return what the database behind *connection* holds.

    Raises:
        ServerError: it doesn't answer, or lacks one of the tables.
    """
    ((text,),) = connection.query(ASK)
    found = json.loads(text or "{}")
    calls: Mapping[str, list[int]] = found["calls"] or {}
    broken = [*_bad_rows(calls), *_bad_companions(calls, found)]
    wanted = {"assets": ASSETS, "odd": 4}
    broken += [f"{table}: {found[table]} rows" for table, n in wanted.items() if found[table] != n]
    upto = tuple(sorted((writer, last) for writer, (_, last, _) in calls.items()))
    return Content(int(found["oid"]), upto, tuple(broken))


def look(site: Site, name: str = NAME) -> Content | None:
    """Return what database *name* of *site* holds; None when it does not answer."""
    try:
        with Connection(site.database(name), limit_s=LIMIT_S) as connection:
            return ask(connection)
    except ServerError:
        return None


def _bad_rows(calls: Mapping[str, list[int]]) -> list[str]:
    bad = [f"{w}: {n} rows up to {last}" for w, (n, last, _) in calls.items() if n != last]
    sums = [f"{w}: wrong sum" for w, (_, last, total) in calls.items() if total != prefix_crc(last)]
    return bad + sums + ([] if "seed" in calls else ["no seed"])


def _bad_companions(calls: Mapping[str, list[int]], found: Mapping[str, object]) -> list[str]:
    parties = found["parties"] or {}
    totals = found["totals"] or {}
    rows = {writer: n for writer, (n, _, _) in calls.items()}
    sums = {writer: [n, total] for writer, (n, _, total) in calls.items()}
    bad = [] if parties == rows else [f"parties {parties} are not those of calls {rows}"]
    return bad + ([] if totals == sums else [f"totals {totals} are not those of calls {sums}"])


def seed(site: Site) -> None:
    """Make the seed database; it's copied by `reset`."""
    site.sql(f"create database {SEED} template template0")
    site.sql(SCHEMA, SEED)
    site.sql("vacuum analyze", SEED)


def reset(site: Site) -> None:
    """Give *site* one fresh database NAME, whatever was there before."""
    if SEED not in site.databases():
        seed(site)
    drop_all(site)
    site.sql(f"create database {NAME} template {SEED}")
    site.sql(f"alter database {NAME} set work_mem = '5MB'")
    site.sql(f"comment on database {NAME} is 'calls of fiction'")


def drop_all(site: Site) -> None:
    """Drop every database but PostgreSQL's own and the seed."""
    for name in site.databases() - {SEED}:
        prepared = f"select gid from pg_prepared_xacts where database = '{name}'"  # noqa: S608
        for (gid,) in site.sql(prepared):
            with Connection(site.database(name)) as connection:
                connection.query(f"rollback prepared '{gid}'")
        site.sql(f'drop database "{name}" with (force)')
    site.sql("checkpoint")  # only then are the files of dropped databases gone
