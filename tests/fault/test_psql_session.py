"""psql as a child: what a hostile database, a slow statement or a kill does to a session."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.errors import InputError
from hasync.database.psql import Psql, SqlError
from hasync.failure import Exit, Stop
from tests.fault.cluster import Cluster

pytestmark = pytest.mark.lab

NAME = 'it\'s dbname=postgres \\ "odd"'  # a connection string, to whoever does not quote it
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def psql(cluster: Cluster) -> Psql:
    """Return the way to a database that has set all it can against us."""
    cluster.fresh(NAME)
    quoted = '"' + NAME.replace('"', '""') + '"'
    for setting in (
        "search_path = nowhere",
        "standard_conforming_strings = off",
        "default_transaction_read_only = on",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "client_encoding = 'LATIN1'",
        "datestyle = 'German'",
        "default_transaction_isolation = 'serializable'",
    ):
        cluster.psql(f"alter database {quoted} set {setting}")
    return Psql(cluster.database(), NAME)


def test_what_a_database_has_set_does_not_reach_us(psql: Psql) -> None:
    """Every session is in the database that was named, with the settings that we want."""
    psql.do("create table public.seen (t text)")
    row = psql.rows(
        "select current_database() as name, current_setting('search_path') as path,"
        " current_setting('client_encoding') as encoding, pg_sleep(0.02)::text,"
        " current_setting('transaction_isolation') as level, 'back\\slash' as text"
    )[0]

    assert row["name"] == NAME
    assert (row["path"], row["encoding"]) == ("pg_catalog", "UTF8")
    assert (row["level"], row["text"]) == ("read committed", "back\\slash")


def test_rows_keep_every_character(psql: Psql) -> None:
    """Line breaks, quotes, backslashes, other alphabets and NULL come back as they are."""
    odd = "a\nb\r\t\\ \"'ü漢\x1e\x7f |"
    literal = "'" + odd.replace("'", "''") + "'"

    assert psql.rows(f"select {literal} as t, null as n, 1 as i") == [{"t": odd, "n": None, "i": 1}]
    assert psql.value("select 1 where false") is None
    with pytest.raises(InputError, match="more than one row"):
        psql.value("select generate_series(1, 2)")


def test_copy_gives_lines_that_cannot_end_it_early(psql: Psql) -> None:
    """What looks like the end of an answer is only a row: the real end cannot be guessed."""
    with psql.session() as session:
        assert session.copy("select '0123456789abcdef01234567 done' union all select E'a\\nb'") == (
            b"0123456789abcdef01234567 done\na\\nb\n"
        )
        assert session.value("select 7") == 7


def test_rows_are_streamed_some_at_a_time(psql: Psql) -> None:
    """A long answer comes in pieces, and the session stays usable in between."""
    with psql.session() as session:
        session.do("begin")
        sizes = []
        for rows in session.stream("select generate_series(1, 25) as i", 10):
            sizes.append(len(rows))
            assert session.value("select 1") == 1

    assert sizes == [10, 10, 5]


@pytest.mark.parametrize(
    ("sql", "state"),
    [
        ("select 1/0", "22012"),
        ("select * from nowhere", "42P01"),
        ("this is no SQL", "42601"),
        ("drop database template0", "42809"),
    ],
)
def test_an_error_has_its_state(psql: Psql, sql: str, state: str) -> None:
    """The SQLSTATE is told apart from words, which the server may translate."""
    with pytest.raises(SqlError) as caught:
        psql.do(sql)

    assert caught.value.sqlstate == state
    assert caught.value.code is Exit.FAILED


def test_nothing_follows_an_error(psql: Psql) -> None:
    """The statement after a refused one is never carried out."""
    with pytest.raises(SqlError):
        psql.do("create table public.one (i int); select 1/0; create table public.two (i int)")
    with pytest.raises(SqlError):
        psql.do("create table public.three (i int); select 1/0", transaction=True)

    sql = "select relname from pg_class where relname in ('one', 'two', 'three')"
    assert psql.rows(sql) == [{"relname": "one"}]
    psql.do("drop table public.one")


def test_a_slow_statement_is_ended_by_the_server(psql: Psql) -> None:
    """Its limit is the server's too, so that nothing goes on behind our back."""
    with pytest.raises(SqlError) as caught:
        psql.do("select pg_sleep(30)", limit_s=0.2)

    assert (caught.value.sqlstate, caught.value.code) == ("57014", Exit.TIMEOUT)


def test_a_database_or_server_that_is_not_there(cluster: Cluster) -> None:
    """No connection has the state 08006, and says where it was tried."""
    with pytest.raises(SqlError, match=r"no such place|does not exist") as caught:
        Psql(cluster.database(), "no such place").value("select 1")
    assert caught.value.sqlstate == "08006"


def test_the_server_goes_away_in_a_session(cluster: Cluster, psql: Psql) -> None:
    """A session that is terminated ends with an error, not with a wait."""
    with psql.session() as session:
        pid = session.value("select pg_backend_pid()")
        cluster.psql(f"select pg_terminate_backend({pid})")
        with pytest.raises(Stop):
            session.value("select 1")


def test_a_killed_client_leaves_no_lock_behind(cluster: Cluster, psql: Psql) -> None:
    """SIGKILL while a statement runs: the server ends it, and its locks, within seconds."""
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from hasync.database.psql import Psql; from hasync.settings import Database\n"
        "from pathlib import Path\n"
        "database = Database(sys.argv[1], Path(sys.argv[2]), Path('/'))\n"
        "with Psql(database, sys.argv[3]).session() as session:\n"
        "    session.do('begin; lock table public.seen'); print('locked', flush=True)\n"
        "    session.do('select pg_sleep(600)', limit_s=900)\n"
    )
    argv = [sys.executable, "-c", code, str(cluster.socket), str(cluster.bin), NAME]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        os.kill(process.pid, signal.SIGKILL)
    begun_s = time.monotonic()

    psql.do("set lock_timeout = '20s'; lock table public.seen", transaction=True, limit_s=LIMIT_S)

    assert time.monotonic() - begun_s < LIMIT_S / 2


def test_a_nul_is_refused(psql: Psql) -> None:
    """What the protocol would cut short is refused before it is sent."""
    with pytest.raises(InputError, match="NUL"):
        psql.do("select 'a\0b'")
