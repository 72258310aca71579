"""A tail whose database is gone: restored beside the live one, compared, taken note of."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clock import SystemClock
from harness.errors import HarnessError, InputError
from hasync import role_file
from hasync.database import tail_copy, tail_diff, tails
from hasync.failure import Exit, Stop
from hasync.operation import FAILPOINT
from hasync.role import Role
from hasync.sets.backup import Kind, StoredSet
from hasync.steps import failpoints
from tests.fault.cluster import Cluster
from tests.fault.restore_lab import NAME, Standby, environment, plain, settled, standby, store_of

pytestmark = pytest.mark.lab

LOG = logging.getLogger(__name__)
EDGES = ["tail.unpack.after", "tail.load.after", "tail.name.before", "tail.name.after"]


@pytest.fixture(scope="module")
def module_west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby with set B live, and the set of a tail whose database somebody dropped."""
    with standby(cluster) as made:
        made.send("A")
        made.send("B")
        made.restore("A")
        made.cluster.psql("insert into calls values (9001, 1)", NAME)
        parked = made.restore("B").parked
        made.cluster.psql(f'drop database "{parked}"')
        yield made


@pytest.fixture
def west(module_west: Standby) -> Iterator[Standby]:
    """Give the standby; what a test adds is dropped, what was on the server before it is not."""
    before = others(module_west)
    yield module_west
    for name in set(others(module_west)) - set(before):
        module_west.cluster.psql(f'drop database "{name}" with (force)')


def others(west: Standby) -> list[str]:
    """Return the databases on the server that are neither its own nor the live one."""
    sql = "select datname from pg_database where not datistemplate and datname <> 'postgres'"
    return sorted(set(west.cluster.psql(sql).splitlines()) - {NAME})


def newest(west: Standby) -> StoredSet:
    """Return the newest tail set."""
    return west.store.scan().of(Kind.TAIL)[-1]


def copied(west: Standby, name: str = "") -> tail_copy.CopyResult:
    """Return what a restore of the newest tail set made."""
    work = west.settings, west.store, newest(west), SystemClock(), LOG
    return tail_copy.restore_copy(*work, name=name)


def test_a_restored_tail_set_is_compared_like_the_tail_itself(west: Standby) -> None:
    """The row that only the tail had is told, and no run drops the copy."""
    live = west.live()
    with pytest.raises(InputError, match="hasync tail restore"):
        tail_diff.diff(west.settings, tails.tail(west.settings, west.store, newest(west).id))

    made = copied(west)

    assert made.name == f"{NAME}__tail_{newest(west).id[:8]}"
    assert made.rows == sum(newest(west).manifest.facts["tables"].values())  # type: ignore[union-attr]
    tail = tails.tail(west.settings, west.store, newest(west).id)
    assert tail.name == made.name
    calls = next(
        one for one in tail_diff.diff(west.settings, tail).tables if one.table == "public.calls"
    )
    assert calls.keys == ('{"n" : 9001}',)
    west.recover()
    west.restore("A")
    assert made.name in others(west)
    west.restore("B")
    assert west.live() == live


def test_a_name_that_is_taken_or_ours_is_refused(west: Standby) -> None:
    """Never the live name, never one that a run uses, never one that is there."""
    for name in (NAME, "postgres", f"{NAME}__prev_5", "x" * 64):
        with pytest.raises(InputError):
            copied(west, name)
    made = copied(west, "looked_at")
    assert made.name == "looked_at"
    with pytest.raises(Stop, match="is there already") as refused:
        copied(west, "looked_at")
    assert refused.value.code is Exit.REFUSED
    assert west.leftovers() == []


def test_a_tail_is_acknowledged_when_somebody_has_looked(west: Standby) -> None:
    """Refused with the commands to type; a diff that was made is on record in its set."""
    tail = tails.tail(west.settings, west.store, newest(west).id)
    with pytest.raises(Stop, match=r"tail restore .*, then hasync tail diff .*--unseen") as refused:
        tails.refuse_unseen(tail)
    assert refused.value.code is Exit.REFUSED

    tails.seen(west.store, tail, SystemClock())

    tails.refuse_unseen(tails.tail(west.settings, west.store, newest(west).id))


def test_no_space_leaves_nothing(west: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked before anything is made."""
    monkeypatch.setattr("hasync.durable.free_bytes", lambda _: 1)
    before = others(west)

    with pytest.raises(Stop) as full:
        copied(west)

    assert full.value.code is Exit.NO_SPACE
    assert others(west) == before
    assert west.leftovers() == []


@pytest.mark.parametrize("failpoint", [one for one in failpoints() if one.startswith("tail.")])
def test_a_restore_that_fails_at_a_step_leaves_nothing_half(
    west: Standby, monkeypatch: pytest.MonkeyPatch, failpoint: str
) -> None:
    """Either no copy is there, or the whole one under its name."""
    before = others(west)
    monkeypatch.setenv(FAILPOINT, f"{failpoint}:raise")

    with pytest.raises(Stop, match="failpoint"):
        copied(west)

    whole = failpoint == "tail.name.after"
    assert west.leftovers() == []
    assert len(others(west)) == len(before) + whole


@pytest.mark.parametrize("role", [Role.STANDBY, Role.ACTIVE])
@pytest.mark.parametrize("failpoint", EDGES)
def test_a_killed_restore_is_cleaned_by_the_next_run(
    west: Standby, failpoint: str, role: Role
) -> None:
    """On both roles; what has got its name stays, and the same command then works, or says why."""
    before, file = others(west), west.base / "settings.json"
    file.write_text(json.dumps(plain(west.settings)))
    argv = [sys.executable, __file__, str(file), newest(west).id]
    env = environment(f"{failpoint}:kill")
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == -9, done
    state, clock = west.settings.folders.state, SystemClock()
    epoch = role_file.read(state).epoch + 1
    role_file.declare(state, role, epoch, clock=clock, by="test", why="test")
    try:
        told = west.recover()
    finally:
        role_file.declare(state, Role.STANDBY, epoch + 1, clock=clock, by="test", why="test")

    assert "tail was interrupted" in told
    assert west.leftovers() == []
    assert len(others(west)) == len(before) + (failpoint == "tail.name.after")


def main(argv: list[str]) -> int:
    """Restore one tail set, as the process that the test kills."""
    file, set_id = argv
    settings = settled(json.loads(Path(file).read_text()))
    store = store_of(settings)
    try:
        tail_copy.restore_copy(settings, store, store.scan().find(set_id), SystemClock(), LOG)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
