"""What a person does to databases, roles and files beside a restore is left alone, or refused."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import SystemClock
from hasync import role_file
from hasync.database import databases, guard, live, load, recover, swap
from hasync.database.companions import MAKING, Place, making
from hasync.database.facts import DatabaseFacts
from hasync.database.psql import Psql
from hasync.failure import Exit, Stop
from hasync.role import Role
from hasync.sets.backup import State
from hasync.settings import Database
from tests.fault.cluster import Cluster
from tests.fault.postgres_wire import Connection
from tests.fault.restore_lab import NAME, Standby, address, standby
from tests.fault.test_restore_faults import meanwhile, until


@pytest.fixture(scope="module")
def module_west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby that has received two sets."""
    with standby(cluster) as made:
        made.send("A")
        made.send("B")
        yield made


@pytest.fixture
def west(module_west: Standby) -> Iterator[Standby]:
    """Give the standby with A live, and a previous database; afterwards nothing is left over."""
    live_now = module_west.of(Place.LIVE)
    if not live_now or module_west.of(Place.TAIL):
        module_west.clear()
        module_west.restore("B")
    if module_west.live() != "A" or not module_west.of(Place.PREVIOUS):
        module_west.restore("A")
    yield module_west
    assert module_west.leftovers() == []


@pytest.mark.parametrize("role", [Role.ACTIVE, Role.STANDBY])
def test_a_name_that_a_person_took_away_is_told_and_never_given_to_another_database(
    west: Standby, role: Role
) -> None:
    """NAME renamed away: recover and restore refuse, name what is there, and change nothing."""
    west.restore("B")
    state, psql = west.settings.folders.state, west.cluster.psql
    psql(f'alter database {NAME} rename to "{NAME}_maintenance"')
    before = west.names()
    with declared(state, role), pytest.raises(Stop, match="ngp is missing: found ngp__p") as caught:
        west.recover()
    with pytest.raises(Stop, match="ngp is missing"):
        west.restore("A")
    assert (caught.value.code, west.names()) == (Exit.REFUSED, before)
    psql(f'alter database "{NAME}_maintenance" rename to {NAME}')
    assert west.recover() == ()


def test_a_name_that_a_person_closed_stays_closed(west: Standby) -> None:
    """No swap of ours closes NAME, so recover does not open it."""
    west.cluster.psql(f"alter database {NAME} allow_connections false")
    assert west.recover() == ()
    closed = f"select datallowconn from pg_database where datname = '{NAME}'"  # noqa: S608 - a constant
    assert west.cluster.psql(closed) == "f"
    west.cluster.psql(f"alter database {NAME} allow_connections true")


def test_only_what_carries_our_note_is_dropped_and_only_on_a_standby(west: Standby) -> None:
    """A person's NAME__new_<8 hex> stays, through recover and restore; ours goes, on a standby."""
    psql, state = west.cluster.psql, west.settings.folders.state
    mine, ours = f"{NAME}__new_20261122", f"{NAME}__new_00000000"
    psql(f"create database {mine}")
    psql(f"create database {ours}")
    psql(f"alter database {ours} set {MAKING} = '{making(ours)}'")
    for role in (Role.ACTIVE, Role.UNKNOWN):
        with declared(state, role):
            assert west.recover() == ()
    assert {mine, ours} <= west.names()
    assert west.recover() == (f"dropped {ours}, the rest of an interrupted run",)
    west.restore("B")
    assert mine in west.names()
    psql(f"drop database {mine}")


def test_the_plan_of_recover_is_shown_and_changes_nothing(west: Standby) -> None:
    """`--dry-run` reads the same catalogue: what would be dropped is named, and still there."""
    ours = f"{NAME}__new_00000000"
    west.cluster.psql(f"create database {ours}")
    west.cluster.psql(f"alter database {ours} set {MAKING} = '{making(ours)}'")
    told = recover.planned(west.settings, west.store, SystemClock())
    assert told == (f"would drop {ours}, the rest of an interrupted run",)
    assert ours in west.names()
    west.recover()
    assert recover.planned(west.settings, west.store, SystemClock()) == ()


def test_a_corrupt_set_stays_corrupt_although_it_is_live(west: Standby) -> None:
    """That a database was made of it once says nothing of its files now."""
    west.restore("B")
    west.store.mark(west.sets["B"], State.CORRUPT, "rotten")
    assert west.recover() == ()
    known = west.store.scan().by_id(west.sets["B"].id)
    assert known is not None
    assert known.state.state is State.CORRUPT
    west.store.mark(west.sets["B"], State.VERIFIED)


def test_what_is_live_is_on_record_after_each_change(west: Standby) -> None:
    """state/live.json names the set of the live database after restore and rollback."""
    state = west.settings.folders.state
    found = []
    for change in (lambda: west.restore("B"), west.rollback):
        change()
        record = live.read(state)
        found.append(record.set_id if record else "")
    assert found == [west.sets["B"].id, west.sets["A"].id]
    (state / live.NAME).write_text("{}")
    assert live.read(state) is None
    assert west.recover() == (
        f"recorded what is live: database {west.of(Place.LIVE)[0].oid}, of set {found[1]}",
    )


def test_a_cheap_look_sees_rows_and_tables_that_went_since_the_restore(west: Standby) -> None:
    """Deleted rows and a truncated table are seen by the server's statistics; upkeep is not."""
    west.restore("B")
    state, psql = west.settings.folders.state, west.cluster.psql
    one = west.of(Place.LIVE)[0]
    psql("vacuum analyze", NAME)
    assert live.touched(state, west.database, one) == ""
    psql("delete from calls where n < 11", NAME)
    assert "about 10 rows changed" in live.touched(state, west.database, one)
    psql("truncate calls", NAME)
    assert "1 tables emptied" in live.touched(state, west.database, one)


def test_a_site_promoted_while_the_swap_is_tried_is_not_restored_over(west: Standby) -> None:
    """Each try asks role and service again: the promotion is heard between two of them."""
    state, clock = west.settings.folders.state, SystemClock()
    before, rival = west.of(Place.LIVE)[0].oid, west.cluster.fresh("rival")
    oid = int(west.cluster.psql("select oid from pg_database where datname = 'rival'"))
    coming = swap.Exchange(NAME, before, f"{NAME}__prev_{before}", oid, rival)
    permission = guard.Permission(west.settings, west.database, None, 1, clock)
    with Connection(address(west.cluster, "postgres")) as forgotten:
        forgotten.query("begin; lock table pg_database in share mode")

        def promote() -> None:
            until(west.cluster, LOCKING)
            role_file.declare(state, Role.ACTIVE, 2, clock=clock, by="test", why="failover")

        with meanwhile(promote), pytest.raises(Stop, match="only a standby") as caught:
            swap.exchange(west.database, coming, clock, 30.0, permission)
        forgotten.query("rollback")
    (state / role_file.NAME).unlink()
    role_file.declare(state, Role.STANDBY, 1, clock=clock, by="test", why="back")
    west.cluster.psql("drop database rival")
    assert (caught.value.code, west.of(Place.LIVE)[0].oid) == (Exit.REFUSED, before)


def test_a_declaration_waits_for_the_exchange_and_not_for_ever(
    west: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the role is held as it is, nobody changes it; who waits too long is told."""
    state = west.settings.folders.state
    monkeypatch.setattr(role_file, "WAIT_S", 0.1)
    with role_file.unchanged(state), pytest.raises(Stop) as caught:
        role_file.declare(state, Role.ACTIVE, 2, clock=SystemClock(), by="test", why="now")
    assert (caught.value.code, role_file.read(state).role) == (Exit.LOCKED, Role.STANDBY)


def test_rows_written_after_the_tail_check_make_a_told_tail(
    west: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed between the look and the swap is kept, with a set, and told at once."""
    oid = west.of(Place.LIVE)[0].oid
    prove = load.verify

    def late(database: Database, name: str, facts: DatabaseFacts) -> None:
        prove(database, name, facts)
        west.cluster.psql("insert into calls values (9001, 1)", NAME)

    monkeypatch.setattr(load, "verify", late)
    done = west.restore("B")
    assert (done.tail, done.parked) == (True, f"{NAME}__tail_{oid}")
    assert west.cluster.psql("select crc from calls where n = 9001", done.parked) == "1"
    assert west.of(Place.TAIL)[-1].preserved is not None


def test_another_server_than_the_settings_name_is_never_touched(west: Standby) -> None:
    """Socket and port lead to one server, data names the folder of another: REFUSED, both named."""
    folder = west.base / "other"
    folder.mkdir()
    shutil.copy(west.cluster.data / "PG_VERSION", folder / "PG_VERSION")
    other = replace(west.database, data=folder)
    with (
        Psql(other, databases.MAINTENANCE).session() as session,
        pytest.raises(Stop, match="is another one than the settings name") as caught,
    ):
        guard.server(session, other)
    assert caught.value.code is Exit.REFUSED


def test_a_server_elsewhere_is_restored_to_without_its_data_folder(west: Standby) -> None:
    """With manage = false nothing is read below database.data: it may be on another host."""
    old, nowhere = west.settings, west.base / "nowhere"
    west.settings = replace(old, database=replace(west.database, data=nowhere, manage=False))
    try:
        west.restore("B")
    finally:
        west.settings = old
    assert west.live() == "B"


LOCKING = (
    "select 1 from pg_locks where relation = 'pg_database'::regclass"
    " and mode = 'AccessExclusiveLock' and not granted"
)


@contextmanager
def declared(state: Path, role: Role) -> Iterator[None]:
    """Let the site have another role; afterwards it is a standby again."""
    (state / role_file.NAME).unlink()
    clock = SystemClock()
    if role is not Role.UNKNOWN:
        role_file.declare(state, role, 1, clock=clock, by="test", why="meanwhile")
    try:
        yield
    finally:
        (state / role_file.NAME).unlink(missing_ok=True)
        role_file.declare(state, Role.STANDBY, 1, clock=clock, by="test", why="back")
