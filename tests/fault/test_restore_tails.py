"""What was written on a standby is never replaced: it is kept as a tail, database and set (H02)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import SystemClock
from hasync.database import preserve, restored
from hasync.database.companions import Place
from hasync.database.databases import Known
from hasync.database.live import counts
from hasync.database.restore import RestoreResult, restore
from hasync.database.written import since_restore
from hasync.failure import Stop
from hasync.operation import FAILPOINT
from hasync.sets.backup import Kind
from hasync.settings import Database
from tests.fault.cluster import Cluster
from tests.fault.restore_lab import LOG, NAME, Standby, standby

WRITINGS = {
    "a row more": "insert into calls values (9001, 1)",
    "a row less": "delete from calls where n = 1",
    "a row changed": "update calls set crc = 0 where n = 2",
    "a row replaced": "delete from calls where n = 3; insert into calls values (3, 21)",
    "a number taken": "select nextval('tickets')",
    "a large object": "select lo_from_bytea(0, 'x')",
    "a large object changed": "select lo_put(min(oid), 0, 'y') from pg_largeobject_metadata",
    "a table more": "create table more ()",
    "a column more": "alter table calls add column more int",
    "a function": "create function f() returns int language sql as 'select 1'",
}
MAINTENANCE = {
    "vacuum": "vacuum full",
    "freeze": "vacuum freeze",
    "statistics": "analyze",
    "reindex": "reindex table calls",
    "checkpoint": "checkpoint",
    "a matview": "refresh materialized view last",
    "a rolled back row": "begin; insert into calls values (9002, 1); rollback",
}


@pytest.fixture(scope="module")
def module_west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby that has received two sets."""
    with standby(cluster) as made:
        made.send("A")
        made.send("B")
        yield made


@pytest.fixture
def west(module_west: Standby) -> Standby:
    """Give the standby with set A live, and no other database."""
    module_west.clear()
    module_west.restore("A")
    return module_west


def written(west: Standby, name: str = NAME) -> tuple[str, ...]:
    """Return what was written to the live database, or to a copy of it."""
    live = replace(west.of(Place.LIVE)[0], name=name)
    return since_restore(west.database, live, west.settings.folders.state)


def test_every_kind_of_writing_is_seen_and_upkeep_is_none(west: Standby) -> None:
    """Rows, sequences, large objects and schema count; vacuum, statistics and rollbacks do not."""
    for sql in MAINTENANCE.values():
        west.cluster.psql(sql, NAME)
    assert written(west) == ()
    seen = {}
    for what, sql in WRITINGS.items():
        copy = west.cluster.fresh("ngp_copy", f"template {NAME}")
        west.cluster.psql(sql, copy)
        seen[what] = bool(written(west, copy))
    west.cluster.psql("drop database ngp_copy")
    assert seen == dict.fromkeys(WRITINGS, True)


def test_a_written_to_database_ends_as_a_tail_and_as_a_tail_set(west: Standby) -> None:
    """The row is in NAME__tail_<oid> and in a verified set of kind tail; the new set is live."""
    oid = west.of(Place.LIVE)[0].oid
    west.cluster.psql("insert into calls values (9001, 1)", NAME)
    before = len(west.store.scan().of(Kind.TAIL))
    done = west.restore("B")
    assert (done.tail, done.parked) == (True, f"{NAME}__tail_{oid}")
    assert west.names() == {NAME, done.parked}
    assert west.cluster.psql("select crc from calls where n = 9001", done.parked) == "1"
    tails = west.store.scan().of(Kind.TAIL)
    assert len(tails) == before + 1
    assert tails[-1].proved
    assert tails[-1].manifest is not None
    assert tails[-1].manifest.facts["tables"]["public.calls"] == 201
    assert restored.recall(west.settings.folders.state, tails[-1].id) is not None


def test_a_tail_is_dumped_once_however_often_the_restore_fails(
    west: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three failed restores after the tail was dumped leave one tail set; more rows, one more."""
    west.cluster.psql("insert into calls values (9001, 1)", NAME)
    before = len(west.store.scan().of(Kind.TAIL))
    monkeypatch.setenv(FAILPOINT, "restore.create.before:raise")
    for rows in (1, 1, 1, 2):
        if rows == 2:
            west.cluster.psql("insert into calls values (9002, 1)", NAME)
        with pytest.raises(Stop):
            west.restore("B")
        assert len(west.store.scan().of(Kind.TAIL)) == before + rows


def test_a_database_of_unknown_origin_is_a_tail_and_an_empty_one_is_not(west: Standby) -> None:
    """Without a verified marker the content is unknown; a database without a table is nothing."""
    west.clear()
    west.cluster.fresh(NAME)
    assert not west.restore("A").tail
    west.clear()
    west.cluster.fresh(NAME)
    west.cluster.psql("create table t (n int); insert into t values (1)", NAME)
    done = west.restore("A")
    assert done.tail
    assert west.cluster.psql("select n from t", done.parked) == "1"


def test_lost_facts_of_the_set_count_as_written(west: Standby) -> None:
    """When nobody can tell what was restored, the database is kept as a tail."""
    for path in (west.settings.folders.state / restored.FOLDER).iterdir():
        path.write_bytes(b"{")
    assert west.restore("B").tail


def test_a_previous_database_that_was_written_to_becomes_a_tail_instead_of_being_dropped(
    west: Standby,
) -> None:
    """A row that came between the tail check and the swap, or by the old name, is not lost."""
    west.restore("B")
    (previous,) = west.of(Place.PREVIOUS)
    west.cluster.psql("insert into calls values (9001, 1)", previous.name)
    done = west.restore("A")
    tail = f"{NAME}__tail_{previous.oid}"
    assert done.pruned == (f"kept {previous.name} as {tail}", f"tail set made of {tail}")
    assert west.cluster.psql("select crc from calls where n = 9001", tail) == "1"
    assert west.of(Place.TAIL)[0].preserved is not None
    assert written(west) == ()


def test_a_tail_can_be_gone_back_to(west: Standby) -> None:
    """A rollback after a restore over a written-to database makes the written rows live again."""
    west.cluster.psql("insert into calls values (9001, 1)", NAME)
    west.restore("B")
    west.rollback()
    assert west.cluster.psql("select crc from calls where n = 9001", NAME) == "1"
    assert west.restore("B").tail


def restored_after_a_look(west: Standby, looked: preserve.Look | None) -> RestoreResult:
    """Return what a restore of B did that was told of an earlier look."""
    stored = west.store.scan().by_id(west.sets["B"].id)
    assert stored is not None
    work = west.settings, west.store, stored, SystemClock(), LOG
    return restore(*work, by_hand=True, looked=looked)


def test_a_look_ahead_spares_the_restore_its_own(
    west: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at while the standby waited is looked at once more: after the exchange."""
    looked = preserve.look_ahead(west.settings, west.database)
    assert looked is not None
    places: list[Place] = []

    def noted(database: Database, one: Known, state: Path) -> tuple[str, ...]:
        places.append(one.place)
        return since_restore(database, one, state)

    monkeypatch.setattr(preserve, "since_restore", noted)
    done = restored_after_a_look(west, looked)
    assert (done.tail, places) == (False, [Place.PREVIOUS])


@pytest.mark.parametrize("what", ["a row changed", "a number taken"])
def test_what_is_written_after_a_look_ahead_is_kept(west: Standby, what: str) -> None:
    """Whether statistics tell of it before the exchange, or only the look after it."""
    looked = preserve.look_ahead(west.settings, west.database)
    west.cluster.psql(WRITINGS[what], NAME)
    done = restored_after_a_look(west, looked)
    assert done.tail
    (tail,) = west.of(Place.TAIL)
    assert tail.name == done.parked
    assert tail.preserved is not None


def test_a_write_that_statistics_do_not_tell_of_is_kept(west: Standby) -> None:
    """A look that seems to be of now is believed before the exchange, and not after it."""
    west.cluster.psql(WRITINGS["a row more"], NAME)
    assert preserve.look_ahead(west.settings, west.database) is None
    live = west.of(Place.LIVE)[0]
    done = restored_after_a_look(west, preserve.Look(live.oid, counts(west.database, NAME)))
    assert done.tail
    assert west.cluster.psql("select crc from calls where n = 9001", done.parked) == "1"
    assert west.of(Place.TAIL)[0].preserved is not None
