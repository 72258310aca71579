"""The facts of real databases: odd names, restores that are equal, and changes that are seen."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hasync.database.describe import describe
from hasync.database.facts import DatabaseFacts, SequenceValue, compare, content_differences
from hasync.database.psql import Psql
from hasync.database.snapshot import count, counted_since, frozen
from hasync.failure import Exit, Stop
from tests.fault.cluster import Cluster
from tests.fault.db_host import facts_of
from tests.fault.odd_database import PROPERTIES, SQL, TABLES

pytestmark = pytest.mark.lab

ODD = "Ödd ngp"
MANY = 5000
MANY_S = 30.0  # 4 s here; a statement for each table took more than 90


@pytest.fixture(scope="module")
def odd(cluster: Cluster) -> DatabaseFacts:
    """Return the facts of the odd database."""
    cluster.fresh(ODD)
    cluster.psql(SQL, ODD)
    cluster.psql(PROPERTIES.format(name=ODD))
    return facts_of(cluster.database(ODD), ODD)


@contextmanager
def copied(cluster: Cluster, source: str, name: str = "copied") -> Iterator[str]:
    """Give the name of a database that pg_restore made from a dump of *source*."""
    dump = str(cluster.folder / "copied.dump")
    where = ("-h", str(cluster.socket), "-U", "postgres")
    cluster.tool("pg_dump", *where, "-Fc", "-f", dump, source)
    cluster.fresh(name)
    cluster.tool("pg_restore", *where, "-d", name, "-e", dump)
    yield name
    cluster.psql(f"drop database {name} with (force)")


def test_every_table_is_counted_whatever_its_name(odd: DatabaseFacts) -> None:
    """Rows are told of each table alone: partitions and children apart, no temporary tables."""
    assert odd.tables == TABLES
    assert odd.unlogged == ("public.scratch",)


def test_facts_of_an_odd_database(odd: DatabaseFacts) -> None:
    """Sequences, large objects, views and switched-off guards are told."""
    assert odd.sequences["public.cold"] == SequenceValue(7, called=False)
    assert odd.sequences['public."S;q"'] == SequenceValue(1, called=True)
    assert odd.large_objects == 2
    assert odd.matviews == {"public.seen": True, "public.unseen": False}
    assert odd.unvalidated == ("public.checked later",)
    assert odd.disabled_triggers == ("public.checked off (D)",)
    assert "hstore" in odd.extensions


def test_properties_of_an_odd_database(odd: DatabaseFacts) -> None:
    """Owner, comment and settings are told, but no note of ours."""
    found = odd.properties
    settings = {(one.role, one.name): one.value for one in found.settings}

    assert (found.owner, found.comment, found.encoding) == ("Ünï", "it's odd", "UTF8")
    assert settings["", "search_path"] == '"$user", public, "Odd"'
    assert settings["Ünï", "work_mem"] == "7MB"
    assert not any(name.startswith("hasync") for _, name in settings)
    assert ("", "CONNECT") in {(one.role, one.privilege) for one in found.grants}


def test_facts_survive_the_manifest(odd: DatabaseFacts) -> None:
    """JSON gives the same facts back."""
    assert DatabaseFacts.parse(json.loads(json.dumps(odd.to_json()))) == odd


def test_a_restored_database_is_equal(cluster: Cluster, odd: DatabaseFacts) -> None:
    """What pg_restore makes of a dump has the same rows and schema, though its text is another."""
    with copied(cluster, ODD) as name:
        assert content_differences(odd, facts_of(cluster.database(), name)) == ()
        # and the restore of the restore: the rewritten expressions are stable
        with copied(cluster, name, "again") as again:
            assert content_differences(odd, facts_of(cluster.database(), again)) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("delete from child where j = 3", "table public.child: wanted 2 rows, found 1 rows"),
        ("drop table parent cascade", "table public.parent: missing, wanted 1 rows"),
        ("create table more (i int)", "table public.more: not in the set, 0 rows"),
        ("select nextval('cold')", "sequence public.cold: wanted 7 (not called), found 7"),
        ("select lo_create(0)", "large objects: wanted 2, found 3"),
        ("create index on child (j)", "schema: another fingerprint"),
        ("alter table checked alter n set default 1", "schema: another fingerprint"),
        ("grant select on child to public", "schema: another fingerprint"),
        ("refresh materialized view unseen", "materialized view public.unseen: populated"),
        ("alter table checked validate constraint later", "unvalidated constraint public.checked"),
        ("alter table checked enable trigger off", "disabled trigger public.checked off (D)"),
        ("drop extension hstore", "extension hstore: missing"),
    ],
)
def test_a_change_is_told(cluster: Cluster, odd: DatabaseFacts, change: str, told: str) -> None:
    """One changed thing in a copy is named."""
    name = cluster.fresh("changed", f'template "{ODD}"')
    cluster.psql(change, name)

    lines = compare(odd, facts_of(cluster.database(), name))

    cluster.psql(f"drop database {name}")
    assert any(line.startswith(told) for line in lines), lines


def test_rows_written_since_are_found_by_transaction(cluster: Cluster) -> None:
    """An update that changes no count is seen; vacuum and analyze are not."""
    cluster.fresh("written")
    cluster.psql(
        "create table a (i int); create table b (i int); insert into a values (1)", "written"
    )
    cluster.psql("insert into b select 7", "written")
    rows = {"public.a": 1, "public.b": 1}
    with Psql(cluster.database(), "written").session() as session:
        xid = int(session.value("select txid_current()"))
        cluster.psql("vacuum freeze; analyze", "written")
        with frozen(session) as snapshot:
            assert counted_since(session, snapshot.tables, xid) == (rows, ())
        cluster.psql("update b set i = 7; select lo_create(0)", "written")
        with frozen(session) as snapshot:
            told = ("public.b", "large objects")
            assert counted_since(session, snapshot.tables, xid) == (rows, told)
            # a number that cannot be compared: all counts as written
            every = ("public.a", "public.b", "large objects")
            assert counted_since(session, snapshot.tables, xid + (1 << 40)) == (rows, every)


def test_a_locked_table_names_its_blocker(cluster: Cluster) -> None:
    """Who holds the lock, and what it runs, is in the message; a prepared transaction too."""
    cluster.fresh("locked")
    cluster.psql("create table calls (i int)", "locked")
    psql = Psql(cluster.database(), "locked")
    with psql.session() as blocker, psql.session() as session:
        blocker.do("begin; alter table public.calls add j int")
        pid = blocker.value("select pg_backend_pid()")
        with pytest.raises(Stop) as caught, frozen(session):
            pass
        assert caught.value.code is Exit.FAILED
        assert f"process {pid} " in str(caught.value)
        blocker.do("prepare transaction 'left behind'")
    try:
        with psql.session() as session, pytest.raises(Stop, match="left behind"), frozen(session):
            pass
    finally:
        cluster.psql("rollback prepared 'left behind'", "locked")


def test_truncate_cannot_come_between_snapshot_and_count(cluster: Cluster) -> None:
    """From the snapshot on nobody can empty a table under it: rows are counted as they were."""
    cluster.fresh("truncated")
    cluster.psql("create table calls as select generate_series(1, 5) i", "truncated")
    psql = Psql(cluster.database(), "truncated")
    with psql.session() as session, frozen(session) as snapshot:
        with pytest.raises(Stop, match="55P03"):
            psql.do("set lock_timeout = 200; truncate public.calls")

        assert count(session, snapshot.tables) == {"public.calls": 5}


def test_thousands_of_tables_take_seconds(cluster: Cluster) -> None:
    """One session counts 5 000 tables, and stays within the server's lock table."""
    cluster.fresh("many")
    for part in range(5):
        cluster.psql(
            "".join(
                f"create table t{part}_{i} (id int primary key, v text);" for i in range(MANY // 5)
            ),
            "many",
        )
    begun_s = time.monotonic()
    with Psql(cluster.database(), "many").session() as session:
        found = describe(session)
    took_s = time.monotonic() - begun_s
    cluster.psql("drop database many")

    assert len(found.tables) == MANY
    assert took_s < MANY_S


def test_a_name_in_bytes_of_no_encoding_is_refused(cluster: Cluster) -> None:
    """Such a name cannot be told, so there is no set, and no guess; bytes in rows are no matter."""
    cluster.fresh("bytes", "template template0 encoding SQL_ASCII locale 'C'")
    cluster.psql("create table calls (t text); insert into calls values (chr(228))", "bytes")
    assert facts_of(cluster.database(), "bytes").tables == {"public.calls": 1}
    cluster.psql(
        "do $$begin execute 'alter table calls rename to \"c' || chr(228) || '\"'; end$$", "bytes"
    )

    with pytest.raises(Stop, match="encoding"):
        facts_of(cluster.database(), "bytes")


def test_another_encoding_is_told_in_unicode(cluster: Cluster) -> None:
    """A LATIN1 database has the facts, and the fingerprint, of its twin in UTF8."""
    found = []
    for encoding in ("LATIN1", "UTF8"):
        cluster.fresh("latin", f"template template0 encoding {encoding} locale 'C'")
        cluster.psql(
            "set client_encoding = 'UTF8';"
            ' create table "Anrufe für" (t text); insert into "Anrufe für" select 1',
            "latin",
        )
        found.append(facts_of(cluster.database(), "latin"))

    assert content_differences(*found) == ()
    assert found[0].properties.encoding == "LATIN1"
