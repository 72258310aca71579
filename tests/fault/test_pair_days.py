"""Days of a pair that runs pgsync from cron on both sites, judged by the oracles."""

from collections.abc import Callable

import pytest

from tests.fault.content import look
from tests.fault.oracles import differences, lost, unsound, writing
from tests.fault.poller import Poller
from tests.fault.site import until
from tests.fault.standby_pair import Pair

pytestmark = pytest.mark.lab

SILENCE_S = 1.0  # the longest that a swap may keep anybody waiting


Observe = Callable[[str, object], None]


def test_two_days_with_a_writer(pair: Pair, record_property: Observe) -> None:
    """While rows are written, every day ends with the standby live on the newest set."""
    with writing(pair.lab, pair.a, "a") as work:
        until(lambda: len(work.acknowledged) > 5, "rows are written")
        for result, site in zip(pair.both(), (pair.a, pair.b), strict=True):
            assert result.code == 0, pair.told(site, result)
        (first,) = pair.sets(pair.b)
        with Poller(pair.b) as poller:
            for result, site in zip(pair.both(), (pair.a, pair.b), strict=True):
                assert result.code == 0, pair.told(site, result)
    second = pair.sets(pair.b)[-1]

    assert pair.live(pair.b) == second.last_row > first.last_row > 0
    assert unsound(poller, [first.upto, second.upto], SILENCE_S) == []
    assert not lost(work.acknowledged, pair.all_rows())
    assert [
        bad for site in (pair.a, pair.b) for one in pair.sets(site) for bad in one.wrong()
    ] == []
    assert pair.leftovers(pair.a) + pair.leftovers(pair.b) == []
    assert work.said["refused"] == {}
    record_property("observed", f"longest silence {poller.longest_silence_s:.2f} s")


def test_quiet_day(pair: Pair) -> None:
    """With nobody writing, both databases are equal: rows, schema, settings, rights, comment."""
    for result, site in zip(pair.both(), (pair.a, pair.b), strict=True):
        assert result.code == 0, pair.told(site, result)

    assert differences(pair.a, pair.b) == ()


def test_both_from_cron_at_once(pair: Pair) -> None:
    """The standby may begin first: it waits, and goes on the moment the set is there."""
    standby = pair.start(pair.b)
    until((pair.b.files / "hasync/state/arrived").exists, "it waits")
    sent = pair.pgsync(pair.a)
    code = standby.wait()

    assert (sent.code, code) == (0, 0), (pair.b.files / "pgsync.out").read_text()
    assert pair.live(pair.b) == pair.sets(pair.b)[-1].last_row


def test_server_that_was_down(pair: Pair) -> None:
    """F33: a server that was down is up for the restore alone; one that was up stays up."""
    pair.b.postgres("stop")
    pair.both()
    assert not pair.b.answers
    assert pair.b.postgres("start").code == 0
    assert look(pair.b) is not None

    pair.both()
    assert pair.b.answers
    assert look(pair.b) is not None


def test_old_active_comes_back(pair: Pair) -> None:
    """H02, F38: what the old active had in no backup is kept as a tail when it follows the new."""
    pair.first_day()
    tail = pair.scribble(pair.a, "a", 7)
    pair.a.service("3")
    pair.b.service("0")
    pair.role(pair.b, "active", 2)
    pair.role(pair.a, "standby", 2)
    new = pair.scribble(pair.b, "b", 3)
    for site in (pair.b, pair.a):
        result = pair.pgsync(site)
        assert result.code in {0, 1}, pair.told(site, result)

    assert not lost(tail | new, pair.all_rows())
    assert any("__tail_" in name for name in pair.a.databases())
    assert pair.sets(pair.a, "tail")
    live = look(pair.a)
    assert live is not None
    assert live.upto == (("a", 5), ("b", 3), ("seed", 500))
