"""Room for a restore that an earlier run, cut short in its end, had left taken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hasync.database import preflight
from hasync.database.companions import Place
from hasync.database.facts import DatabaseFacts
from hasync.failure import Exit, Stop
from hasync.operation import FAILPOINT
from hasync.settings import Settings
from tests.fault.cluster import Cluster
from tests.fault.restore_lab import Standby, standby


@pytest.fixture(scope="module")
def west(cluster: Cluster) -> Iterator[Standby]:
    """Give a standby that has one database too many: its last run did not get to drop it."""
    with standby(cluster) as made:
        made.send("A")
        made.send("B")
        made.restore("A")
        made.restore("B")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(FAILPOINT, "restore.prune.before:raise")
            with pytest.raises(Stop):
                made.restore("A")
        made.recover()
        yield made


Files = Callable[[Settings, DatabaseFacts, tuple[Path, ...]], None]


def tight(west: Standby, databases: int) -> Files:
    """Return a look at the disk that finds space for so many previous databases only."""
    real: Files = preflight.files

    def files(settings: Settings, facts: DatabaseFacts, dump: tuple[Path, ...]) -> None:
        if len(west.of(Place.PREVIOUS)) > databases:
            raise Stop(Exit.NO_SPACE, "no space for the restore")
        real(settings, facts, dump)

    return files


def test_what_a_killed_run_did_not_drop_makes_room(
    west: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain run converges on a full disk; when there is nothing to drop it says so."""
    oldest = west.of(Place.PREVIOUS)[-1].name
    assert len(west.of(Place.PREVIOUS)) == 2
    monkeypatch.setattr(preflight, "files", tight(west, 1))

    assert west.restore("B").pruned[0] == f"dropped {oldest}"
    assert (west.live(), len(west.of(Place.PREVIOUS))) == ("B", 1)
    monkeypatch.setattr(preflight, "files", tight(west, 0))
    with pytest.raises(Stop) as caught:
        west.restore("A")
    assert (caught.value.code, west.live()) == (Exit.NO_SPACE, "B")
    assert len(west.of(Place.PREVIOUS)) == 1
