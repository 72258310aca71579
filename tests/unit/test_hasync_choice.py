"""What a standby takes next, what an active site still has to send, and how it is woken."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hasync.commands.choice import SENT, backlog, candidates, restored_order
from hasync.failure import Stop
from hasync.peer.arrival import ARRIVED, wake
from hasync.peer.wakeup import waiting
from hasync.sets.backup import Kind, SetName, SetState, State, StoredSet
from hasync.sets.manifest import SetManifest

NOW_NS = 10**18
MINUTE_NS = 60 * 10**9


def a_set(
    sequence: int,
    state: SetState | State = State.VERIFIED,
    *,
    site: str = "east",
    epoch: int = 1,
    kind: Kind = Kind.DATABASE,
) -> StoredSet:
    """Return a set of *site*."""
    manifest = SetManifest(
        kind=kind,
        site=site,
        epoch=epoch,
        sequence=sequence,
        id=f"{epoch:016x}{sequence:016x}",
        parent="",
        parent_hash="",
        made_at_ns=sequence,
        snapshot_at_ns=sequence,
        tool="t",
        versions={},
        files=(),
        facts={},
    )
    known = state if isinstance(state, SetState) else SetState(state)
    return StoredSet(kind, site, SetName.of(manifest), manifest.id, manifest, known, 1)


def numbers(found: tuple[StoredSet, ...]) -> list[int]:
    """Return the sequences."""
    return [one.name.sequence for one in found]


def test_newest_comes_first() -> None:
    """The older ones are what is tried when it fails."""
    assert numbers(candidates([a_set(1), a_set(3), a_set(2)], "west", 1, NOW_NS)) == [3, 2, 1]


def test_only_what_is_newer_than_anything_restored() -> None:
    """A set between two restored ones was passed over for a reason."""
    sets = [a_set(1), a_set(2, State.RESTORED), a_set(3), a_set(4, State.RESTORED), a_set(5)]

    assert numbers(candidates(sets, "west", 1, NOW_NS)) == [5]
    assert restored_order(sets) == (1, 4)


def test_rolled_back_set_is_not_taken_again() -> None:
    """It is held; what comes after it is taken."""
    held = a_set(2, SetState(State.RESTORED, held="rolled back"))

    assert candidates([a_set(1, State.RESTORED), held], "west", 1, NOW_NS) == ()
    assert numbers(candidates([held, a_set(3)], "west", 1, NOW_NS)) == [3]


@pytest.mark.parametrize(
    "stored",
    [
        a_set(9, site="west", epoch=2),
        a_set(1, epoch=1),
        a_set(9, State.CORRUPT, epoch=2),
        a_set(9, SetState(State.VERIFIED, held="why"), epoch=2),
        a_set(9, SetState(State.NEW, held="why"), epoch=2),
        a_set(9, kind=Kind.TAIL, epoch=2),
        a_set(9, kind=Kind.APPLICATION, epoch=2),
    ],
    ids=["own", "old epoch", "corrupt", "held", "held and new", "tail", "application"],
)
def test_what_a_run_may_not_take(stored: StoredSet) -> None:
    """Sets of this site, of an epoch below ours, damaged, held, or of another kind."""
    assert candidates([stored], "west", 2, NOW_NS) == ()


def test_failed_set_waits_for_its_back_off() -> None:
    """It is never forgotten, and not tried every time."""
    failed = SetState(State.FAILED, attempts=1, at_ns=NOW_NS - 4 * MINUTE_NS)

    assert candidates([a_set(1, failed)], "west", 1, NOW_NS) == ()
    assert numbers(candidates([a_set(1, failed)], "west", 1, NOW_NS + 2 * MINUTE_NS)) == [1]


def test_set_whose_state_was_lost_is_verified_anew() -> None:
    """NEW is a candidate: the run verifies it first."""
    assert numbers(candidates([a_set(1, State.NEW)], "west", 1, NOW_NS)) == [1]


def test_given_up_in_this_run_is_not_tried_twice() -> None:
    """A set cannot keep a run busy."""
    one = a_set(1)

    assert candidates([one], "west", 1, NOW_NS, {one.id}) == ()


def test_backlog_is_what_the_peer_never_had() -> None:
    """Newest first; what it took and removed by its own retention is not sent again."""
    taken = a_set(2, SetState(State.VERIFIED, measurements={SENT: 5}), site="west")
    own = [a_set(n, site="west") for n in (1, 3, 4)]
    others = [a_set(5), a_set(6, State.CORRUPT, site="west"), a_set(7, State.NEW, site="west")]

    found = backlog([taken, *own, *others], Kind.DATABASE, "west", {own[1].id})

    assert numbers(found) == [4, 1]


def test_waiting_standby_is_woken(tmp_path: Path) -> None:
    """The agent's byte ends the wait at once, wherever it came in."""
    with waiting(tmp_path) as arrivals:
        assert not arrivals.wait(0)
        assert wake(tmp_path)
        assert arrivals.wait(30)
        assert not arrivals.wait(0)  # one byte wakes once
        thread = threading.Timer(0.05, wake, [tmp_path])
        thread.start()
        assert arrivals.wait(30)
        thread.join()

    assert not wake(tmp_path)  # nobody waits: the agent is not held up


def test_thousand_wakes_do_not_block_the_agent(tmp_path: Path) -> None:
    """A FIFO that is full loses bytes, never time."""
    with waiting(tmp_path) as arrivals:
        for _ in range(70_000):
            wake(tmp_path)
        assert arrivals.wait(0)
        assert not arrivals.wait(0)


def test_something_else_under_the_name_is_refused(tmp_path: Path) -> None:
    """A file there would make the wait spin."""
    (tmp_path / ARRIVED).write_text("x")

    with pytest.raises(Stop, match="not the FIFO"), waiting(tmp_path):
        pass


def test_link_under_the_name_is_not_followed(tmp_path: Path) -> None:
    """A FIFO elsewhere is somebody else's."""
    os.mkfifo(tmp_path / "other")
    (tmp_path / ARRIVED).symlink_to(tmp_path / "other")

    with pytest.raises(OSError, match="symbolic links"), waiting(tmp_path):
        pass


def test_sets_are_unchanged_values() -> None:
    """Choosing changes nothing."""
    one = a_set(1)
    candidates([one], "west", 1, NOW_NS)

    assert one == replace(one)
