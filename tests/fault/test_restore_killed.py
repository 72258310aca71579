"""A restore and a rollback, ended before and after each of their steps (F24).

Each step is killed at one of its edges and fails at the other, as the seed decides; the swap has
both at both. A soak takes every way at every edge.
"""

from collections.abc import Callable, Iterator

import pytest

from hasync.database.companions import Place
from hasync.failure import Exit, Stop
from hasync.operation import FAILPOINT
from hasync.sets.backup import State
from hasync.steps import PROCEDURES, failpoints
from tests.fault.cluster import Cluster
from tests.fault.restore_lab import Standby, Watcher, ended, standby, whole
from tests.fault.sample import orders, some, taken

Observe = Callable[[str, object], None]

KILLED = -9
RESTORE = [name for name in failpoints() if name.startswith("restore.")]
ROLLBACK = [name for name in failpoints() if name.startswith("rollback.")]
POINTS = [*RESTORE, *ROLLBACK]
ORDERS = orders(POINTS, always=".swap.")
KILLS = [order for order in ORDERS if order.endswith(":kill")]
FAILURES = [order for order in ORDERS if order not in KILLS]
RESTORE_KILLS = [order for order in KILLS if order.startswith("restore.")]
ROLLBACK_KILLS = [order for order in KILLS if order.startswith("rollback.")]
AGAIN = some(  # run again to its end, too: `recover` leaves the same state everywhere else
    RESTORE_KILLS, 3, always=[order for order in RESTORE_KILLS if ".swap." in order]
)


@pytest.fixture(scope="module")
def west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby where set A was live, and set B is."""
    with standby(cluster) as made:
        for label in ("A", "B"):
            made.send(label)
            made.restore(label)
        yield made


def other(west: Standby) -> str:
    """Return the label of what is not live."""
    return {"A": "B", "B": "A"}[west.live()]


def sound(watcher: Watcher) -> None:
    """Check that every answer was whole, and that only sessions in the swap itself were ended."""
    assert set(watcher.seen) <= {whole("A"), whole("B")}
    assert watcher.seen
    assert not [error for error in watcher.errors if not ended(error)]


def test_there_is_a_failpoint_at_both_edges_of_every_step() -> None:
    """The cases below come from the procedures: a new step is killed from its first day."""
    steps = len(PROCEDURES["restore"]) + len(PROCEDURES["rollback"])
    assert len(POINTS) == 2 * steps
    assert {order.partition(":")[0] for order in ORDERS} == set(POINTS)


@pytest.mark.parametrize("order", RESTORE_KILLS)
def test_a_restore_killed_anywhere_leaves_old_or_new_and_the_next_run_converges(
    west: Standby, order: str, record_property: Observe
) -> None:
    """NAME answers with the old content or the new, recorded as it is; a re-run ends with the new.

    Not run again to its end at each point in CI, but what the next case starts from is what the
    kill and `recover` have left.
    """
    record_property("observed", taken(len(KILLS), len(POINTS), "points killed at"))
    wanted = other(west)
    west.store.mark(west.sets[wanted], State.VERIFIED)  # so that its record has to be made
    watcher = Watcher(west)
    with watcher.watching():
        killed = west.run("restore", wanted, order)
        assert killed.returncode == KILLED, killed.stderr
        west.recover()
        assert west.leftovers() == []
        if west.live() != wanted and order in AGAIN:
            west.restore(wanted)
            assert west.live() == wanted
    sound(watcher)
    live = west.store.scan().by_id(west.sets[west.live()].id)
    assert live is not None
    assert live.state.state is State.RESTORED
    assert (west.recover(), west.leftovers()) == ((), [])


@pytest.mark.parametrize("order", ROLLBACK_KILLS)
def test_a_rollback_killed_anywhere_can_be_recovered_or_done_again(
    west: Standby, order: str
) -> None:
    """Killed before the exchange nothing happened; after it the set that was live is held back."""
    before, watcher = west.live(), Watcher(west)
    with watcher.watching():
        killed = west.run("rollback", failpoint=order)
        assert killed.returncode == KILLED, killed.stderr
        west.recover()
    sound(watcher)
    assert west.leftovers() == []
    was_live = west.store.scan().by_id(west.sets[before].id)
    assert was_live is not None
    assert bool(was_live.state.held) == (west.live() != before)
    if west.live() == before:
        west.rollback()
        assert west.live() != before


@pytest.mark.parametrize("order", FAILURES)
def test_a_step_that_fails_leaves_old_or_new_and_nothing_else(
    west: Standby, monkeypatch: pytest.MonkeyPatch, order: str, record_property: Observe
) -> None:
    """An error or a full disk at any step ends with one reason, and nothing is left over."""
    record_property("observed", taken(len(FAILURES), 2 * len(POINTS), "failures ordered"))
    before, watcher = west.live(), Watcher(west)
    monkeypatch.setenv(FAILPOINT, order)
    restored = order.startswith("restore")
    with watcher.watching(), pytest.raises((Stop, OSError)) as caught:
        west.restore(other(west)) if restored else west.rollback()
    monkeypatch.delenv(FAILPOINT)
    sound(watcher)
    assert west.leftovers() == []
    if restored:
        code = caught.value.code if isinstance(caught.value, Stop) else None
        assert (code is Exit.RECOVER) == (west.live() != before)
    assert len(west.of(Place.PREVIOUS)) <= 2
    west.recover()
    assert west.leftovers() == []
