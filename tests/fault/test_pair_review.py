"""What a hostile review found, driven by the commands of two real sites."""

import pytest

from tests.fault.site import until
from tests.fault.standby_pair import Pair

pytestmark = pytest.mark.lab


def test_signers_mended_is_all_that_a_mistake_there_takes(pair: Pair) -> None:
    """A set that a wrong key has condemned is taken by the next run after the mending (7)."""
    a, b = pair.a, pair.b
    pair.first_day()
    pair.scribble(a, "a", 5)
    assert pair.pgsync(a).code == 0
    signers = b.files / ".ssh/allowed_signers"
    good = signers.read_text()
    of_a, of_b = good.splitlines()
    signers.write_text(f"{of_a.split()[0]} {of_b.partition(' ')[2]}\n{of_b}\n")
    assert pair.hasync(b, "verify", "--all").code == 12
    wrong = pair.pgsync(b, "-t", "1")
    signers.write_text(good)

    mended = pair.pgsync(b, "-t", "1")

    assert wrong.code == 16
    assert "corrupt: " in wrong.err
    assert mended.code == 0, mended
    assert pair.hasync(b, "check").code == 0


def test_rotten_set_is_sent_again(pair: Pair) -> None:
    """The peer tells what has rotted there; the next run sends it (20)."""
    a, b = pair.a, pair.b
    pair.first_day()
    assert pair.pgsync(a).code == 0
    one = pair.sets(b)[-1]
    file = max(
        (b.files / "hasync" / one.path / "data").rglob("*.zst"), key=lambda p: p.stat().st_size
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert pair.hasync(b, "verify", "--all").code == 12

    result = pair.pgsync(a)

    assert result.code == 0, result
    assert result.out.count("sent ") == 2
    assert pair.hasync(b, "verify", "--all").code == 0


def test_active_site_is_not_content_with_a_standby_that_restores_nothing(pair: Pair) -> None:
    """It learns of each restore at once, and is critical when there was none (12)."""
    a, b = pair.a, pair.b
    b.service("4")  # unknown: no restore
    assert pair.pgsync(a).code == 0
    assert pair.pgsync(b, "-t", "1").code == 11
    before = pair.hasync(a, "check")
    b.service("3")
    assert pair.pgsync(b, "-t", "1").code == 0
    after = pair.hasync(a, "check")

    assert before.code == 2
    assert "nothing is proved" in before.out
    assert after.code == 0, after


def test_restore_of_a_killed_run_is_told_by_the_next(pair: Pair) -> None:
    """It ends with 1 and says what is live; the run after that ends with 16, as ever."""
    a, b = pair.a, pair.b
    assert pair.pgsync(a).code == 0
    assert pair.pgsync(b, "-t", "1", HASYNC_FAILPOINT="restore.swap.after:kill").code in {-9, 137}

    told, then = pair.pgsync(b, "-t", "1"), pair.pgsync(b, "-t", "1")

    assert told.code == 1, told
    assert "is live: the run that restored it was interrupted" in told.err
    assert then.code == 16, then


def test_sets_of_an_outage_are_not_pruned(pair: Pair) -> None:
    """What was never sent outlives -b, and is sent once the other site is back (9)."""
    a, b = pair.a, pair.b
    keys = (b.files / ".ssh/authorized_keys").read_text()
    b.write(".ssh/authorized_keys", "")
    for _ in range(3):
        assert pair.pgsync(a, "-b", "2").code == 15
    assert len(pair.sets(a)) == 3
    b.write(".ssh/authorized_keys", keys)

    assert pair.pgsync(a, "-b", "2").code == 0
    assert len(pair.sets(b)) == 4
    assert pair.pgsync(a, "-b", "2").code == 0
    assert len(pair.sets(a)) == 2


def test_standby_with_a_mistyped_epoch_is_refused(pair: Pair) -> None:
    """There must always be a way back to one active site (17)."""
    a, b = pair.a, pair.b
    assert pair.hasync(b, "role", "set", "standby", "--epoch", "11").code == 11
    assert pair.hasync(b, "role", "set", "standby", "--epoch", "11", "--force").code == 0

    refused = pair.pgsync(a)

    assert refused.code == 11
    assert "hasync role set active --epoch 12" in refused.err
    assert pair.hasync(a, "role", "set", "active", "--epoch", "12").code == 0
    for result in pair.both():
        assert result.code == 0, result


def test_released_set_is_taken_again(pair: Pair) -> None:
    """Rolled back and released, the next run makes it live again (18)."""
    a, b = pair.a, pair.b
    for row in (5, 3):
        pair.scribble(a, "a", row)
        for result in pair.both():
            assert result.code == 0, result
    newest = pair.sets(b)[-1]
    before = pair.live(b)
    assert pair.hasync(b, "rollback").code == 0
    assert pair.pgsync(b, "-t", "1").code == 16
    assert pair.hasync(b, "release", newest.id).code == 0

    again = pair.pgsync(b, "-t", "1")

    assert again.code == 0, again
    assert pair.live(b) == before


def test_rollback_at_night_does_not_wait_for_a_run_that_only_waits(pair: Pair) -> None:
    """The waiting run ends with 17 and names the command; that carries its work out at once."""
    b = pair.b
    for row in (5, 3):
        pair.scribble(pair.a, "a", row)
        for result in pair.both():
            assert result.code == 0, result
    before = pair.live(b)
    waiting = pair.start(b, "-t", "300")
    log = b.files / "hasync/log/pgsync.log"
    until(lambda: log.read_text().count("role and recovery") == 3, "the standby waits")

    back = pair.hasync(b, "rollback")

    assert back.code == 0, back
    assert "only waited for a set, and has stepped aside" in back.err
    assert pair.live(b) < before
    assert waiting.wait() == 17
    assert "asked by hasync rollback, pid " in (b.files / "pgsync.out").read_text()
    assert pair.status(b)["runs"]["pgsync"]["failures"] == 0
    assert pair.leftovers(b) == []


def test_tail_is_looked_into_after_its_database_was_dropped(pair: Pair) -> None:
    """Restored from its set, compared, acknowledged, by the commands that each answer names."""
    a, b = pair.a, pair.b
    pair.first_day()
    pair.scribble(b, "b", 4)
    pair.scribble(a, "a", 1)
    assert pair.pgsync(a).code == 0
    result = pair.pgsync(b)
    assert result.code == 1, result
    parked = result.err.split(" holds rows of its own")[0].split()[-1]
    b.sql(f"drop database {parked}")
    (tail,) = pair.sets(b, "tail")
    name = tail.path.rpartition("/")[2]

    refused = pair.hasync(b, "tail", "ack", name)
    assert refused.code == 11, refused
    assert f"hasync tail restore {name}" in refused.err
    made = pair.hasync(b, "tail", "restore", name, "-j", "2")
    assert made.code == 0, made
    told = pair.hasync(b, "tail", "diff", f"ngp__tail_{tail.id[:8]}")
    assert "public.calls: 4 missing, 0 with another content" in told.out
    acknowledged = pair.hasync(b, "tail", "ack", name)

    assert f'drop database "ngp__tail_{tail.id[:8]}";' in acknowledged.out
    assert pair.hasync(b, "check").code == 0
    assert b.postgres("stop").code == 0
    assert f"pg_ctl start -w -D {b.home}/pgdata" in pair.hasync(b, "tail", "list").err
    assert b.postgres("start").code == 0
    b.sql(f"drop database ngp__tail_{tail.id[:8]}")
