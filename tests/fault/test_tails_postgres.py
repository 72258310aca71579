"""Tails on a real server: what is only in them is told and exported, whatever it is called."""

import subprocess
from pathlib import Path

import pytest

from harness.errors import InputError
from hasync.database import databases, tail_diff, tails
from hasync.database.companions import MARKER, TAIL, Marker, Preserved
from hasync.database.facts import DatabaseFacts
from hasync.database.sql import literal
from hasync.failure import Exit, Stop
from hasync.sets.backup import Kind, State
from tests.fault.cluster import Cluster
from tests.fault.db_host import DbHost
from tests.fault.odd_database import SQL

pytestmark = pytest.mark.lab

NAME = "kept"
COMMON = """
create table calls (id bigint primary key, "v""x" text);
insert into calls select i, 'v' || i from generate_series(1, 6000) i;
create table log (t text, n int); insert into log values ('x', 1), (E'line\\nbreak\\t', 2);
create table pair (a text, day date, x int, primary key (day, a));
insert into pair values ('k', '2020-01-01', 1);
"""
WRITTEN = """
insert into calls select i, E'tail\\n\\\\' || i from generate_series(6001, 12000) i;
update calls set "v""x" = 'changed' where id < 4;
delete from calls where id = 10;
insert into log values ('only here', 3);
insert into pair values ('kü"', '2020-01-02', 5);
create table more (i int); insert into more values (1), (2);
select nextval('"S;q"'), lo_create(0);
insert into "Odd ""s"".x"."tä
ble" (v) values ('a');
"""


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> DbHost:
    """Return a host with an odd database, and nothing else of its name."""
    for name in cluster.psql("select datname from pg_database where datname ^@ 'kept'").split():
        cluster.psql(f'drop database "{name}" with (force)')
    cluster.fresh(NAME)
    cluster.psql(SQL + COMMON, NAME)
    return DbHost.made(tmp_path / "base", cluster.database(NAME))


def tail_of(cluster: Cluster, host: DbHost, sql: str = WRITTEN, since: str = "") -> tails.Tail:
    """Return the tail that a copy of the live database becomes after *sql*."""
    cluster.psql(f"create database tail_now template {NAME}")
    oid = int(cluster.psql("select oid from pg_database where datname = 'tail_now'"))
    name = f"{NAME}__tail_{oid}"
    cluster.psql(f"alter database tail_now rename to {name}")
    if since:
        xid = int(cluster.psql("select txid_current()"))
        note = Marker(since, 1, 3, "east", xid).encode()
        cluster.psql(f"alter database {name} set {MARKER} = {literal(note)}")
    cluster.psql(sql, name)
    return tails.tail(host.settings, host.store, name)


def test_a_tail_set_holds_the_database(cluster: Cluster, host: DbHost) -> None:
    """Its set is of kind tail, verified, with all facts; it is found by database, OID and set."""
    tail = tail_of(cluster, host)

    stored = tails.dump(host.settings, host.store, tail.name, clock=host.clock)

    assert (stored.kind, stored.state.state) == (Kind.TAIL, State.VERIFIED)
    assert stored.manifest is not None
    assert DatabaseFacts.parse(stored.manifest.facts).tables["public.calls"] == 11999
    assert host.work() == []
    note = literal(Preserved(stored.id, 1).encode())
    cluster.psql(f"alter database {tail.name} set {TAIL} = {note}")
    found = [
        tails.tail(host.settings, host.store, label)
        for label in (tail.name, str(tail.oid), stored.name.text, stored.id)
    ]
    assert {one.label for one in found} == {tail.name}
    assert {one.stored.id for one in found if one.stored} == {stored.id}


def test_the_difference_is_told_row_by_row(cluster: Cluster, host: DbHost) -> None:
    """New and changed rows are told by table and key; what was only deleted is not missing."""
    told = tail_diff.diff(host.settings, tail_of(cluster, host))

    found = {one.table: (one.by, one.missing, one.changed) for one in told.tables}
    assert found == {
        '"Odd ""s"".x"."tä\nble"': (tail_diff.KEY, 1, 0),
        "public.calls": (tail_diff.KEY, 6000, 3),
        "public.log": (tail_diff.ROW, 1, 0),
        "public.more": (tail_diff.ROW, 2, 0),
        "public.pair": (tail_diff.KEY, 1, 0),
    }
    assert told.rows == 6005
    assert told.since_xid is None
    assert told.sequences[0].startswith('"Odd')
    assert 'public."S;q": 2 here, 1 live' in told.sequences
    assert told.large_objects == 1
    assert all(len(one.keys) <= tail_diff.SHOWN for one in told.tables)
    pair = next(one for one in told.tables if one.table == "public.pair")
    assert pair.keys == ('{"day" : "2020-01-02", "a" : "kü\\""}',)


def test_only_what_was_written_since_its_restore_counts(cluster: Cluster, host: DbHost) -> None:
    """With a marker, rows of the set it came from are not looked at."""
    tail = tail_of(cluster, host, since="ab" * 16)
    cluster.psql("delete from calls where id > 5000", NAME)  # on the active site, as it may

    told = tail_diff.diff(host.settings, tail)

    calls = next(one for one in told.tables if one.table == "public.calls")
    assert told.since_xid is not None
    assert (calls.looked_at, calls.missing, calls.changed) == (6003, 6000, 3)


def test_an_equal_tail_has_no_difference(cluster: Cluster, host: DbHost) -> None:
    """A copy tells nothing."""
    told = tail_diff.diff(host.settings, tail_of(cluster, host, "select 1"))

    assert (told.tables, told.rows, told.sequences, told.large_objects) == ((), 0, (), 0)


def test_the_export_loads_what_is_missing(cluster: Cluster, host: DbHost, tmp_path: Path) -> None:
    """load.sql brings the missing rows into the live database; then only changed ones differ."""
    tail = tail_of(cluster, host)
    files = tail_diff.export(host.settings, tail, tmp_path / "export")
    cluster.psql("create table more (i int)", NAME)
    argv = ["psql", "-X", "-q", "-h", str(cluster.socket), "-U", "postgres", "-d", NAME]

    subprocess.run([*argv, "-f", "load.sql"], cwd=tmp_path / "export", check=True, timeout=60)

    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    left = {
        one.table: (one.missing, one.changed) for one in tail_diff.diff(host.settings, tail).tables
    }
    # by hand: a name with a line break, and a table that the live database did not have
    assert left == {
        '"Odd ""s"".x"."tä\nble"': (1, 0),
        "public.calls": (0, 3),
        "public.more": (2, 0),
    }
    with pytest.raises(InputError, match="is there already"):
        tail_diff.export(host.settings, tail, tmp_path / "export")


def test_a_tail_without_a_sound_set_is_not_acknowledged(cluster: Cluster, host: DbHost) -> None:
    """Only when its content is in a verified set does a person get the statement that drops it."""
    tail = tail_of(cluster, host)
    with pytest.raises(Stop, match="no sound set") as failure:
        tails.acknowledge(host.store, tail, "me", host.clock)
    assert failure.value.code is Exit.REFUSED
    stored = tails.dump(host.settings, host.store, tail.name, clock=host.clock)
    note = literal(Preserved(stored.id, 1).encode())
    cluster.psql(f"alter database {tail.name} set {TAIL} = {note}")

    now = tails.tail(host.settings, host.store, tail.name)
    drop = tails.acknowledge(host.store, now, "me", host.clock)

    assert drop == f'drop database "{tail.name}";'
    after = tails.tail(host.settings, host.store, tail.name)
    assert after.acknowledged_at_ns > 0
    assert after.stored is not None
    assert after.stored.state.state is State.VERIFIED
    assert host.settings.database is not None
    assert databases.look(host.settings.database).by_oid(tail.oid) is not None  # still there


def test_an_unknown_tail_is_refused_with_those_known(cluster: Cluster, host: DbHost) -> None:
    """A wrong name tells the right ones."""
    tail = tail_of(cluster, host, "select 1")

    with pytest.raises(InputError, match=tail.name):
        tails.tail(host.settings, host.store, "kept__tail_1")
