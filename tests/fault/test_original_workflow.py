"""The stand-in of the original workflow works on a clean day, and fails the oracles on every other.

That proves the oracles: each test shows one of the original's hazards (H…) being seen. A run of
hasync is judged by the same oracles in the same lab.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fault.content import SEEDED, look, reset
from tests.fault.oracles import differences, lost, preserved, rows_in, unsound, writing
from tests.fault.original_days import KEPT, LATER, NO_PERMISSION, RUNNING, STOPPED, Days
from tests.fault.poller import Poller
from tests.fault.site import Site, until
from tests.fault.two_sites import TwoSites

pytestmark = pytest.mark.lab

OLD = (("seed", SEEDED),)
SILENCE_S = 1.0  # the longest that anybody may be without an answer
HANGS = "#!/bin/sh\nexec sleep 600\n"
FAILS = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def days(sites: TwoSites) -> Days:
    """Give both hosts on the first morning."""
    made = Days(sites)
    made.prepare()
    (sites.folder / "ledger").unlink(missing_ok=True)
    return made


def repack(site: Site, table: str, change: Callable[[Path], object]) -> None:
    """Change the data file of *table* in the newest backup at *site*, and pack it again."""
    packed = max((site.files / KEPT).glob("*.tgz"))
    site.must("tar", "-C", KEPT, "-xzf", f"{KEPT}/{packed.name}")
    dump = packed.with_suffix("")
    listed = site.must("pg_restore", "-l", f"{KEPT}/{dump.name}").splitlines()
    (entry,) = (line for line in listed if f"TABLE DATA public {table} " in line)
    change(dump / f"{entry.partition(';')[0]}.dat.gz")
    site.must("tar", "-C", KEPT, "-czf", f"{KEPT}/{packed.name}", dump.name)
    site.must("rm", "-r", f"{KEPT}/{dump.name}")


def deliver(days: Days, name: str = "") -> None:
    """Copy the newest backup of a to b, whole at once, under *name* if given."""
    packed = max((days.a.files / KEPT).glob("*.tgz"))
    days.b.must("mkdir", "-p", "arriving")
    (days.b.files / "arriving/it").write_bytes(packed.read_bytes())
    days.b.must("mv", "arriving/it", f"{KEPT}/{name or packed.name}")


def test_clean_day(days: Days) -> None:
    """On a clean day the standby gets all that was written before the dump, and nothing is lost."""
    with writing(days.lab, days.a, "a") as work:
        until(lambda: len(work.acknowledged) > 5, "rows are written")
        before = work.acknowledged
        assert days.synchronise().code == 0
    days.start_database(days.b)

    assert before <= rows_in(days.b, "ngp")
    assert look(days.b) is not None
    assert not lost(work.acknowledged, [preserved(days.a)])
    assert days.files(days.a) == days.files(days.b) != []
    assert work.said["refused"] == {}


def test_clean_day_without_writer(days: Days) -> None:
    """H09: with nobody writing, rows and schema are equal; the database's settings are not."""
    assert days.synchronise().code == 0
    days.start_database(days.b)

    assert differences(days.a, days.b) == ("properties",)


def test_killed_after_dropdb(days: Days) -> None:
    """H01: killed between dropdb and the end of pg_restore, nothing is left of the database."""
    days.synchronise()
    days.b.write("bin/pg_restore", HANGS, 0o755)
    with days.waiting(days.b) as run, Poller(days.b) as poller:
        days.run(days.a, STAMP=LATER)
        until(lambda: any("sleep 600" in p for p in days.b.processes().values()), "pg_restore")
        assert run.kill()
        until(lambda: poller.longest_silence_s > SILENCE_S, "somebody notices")

    assert unsound(poller, [OLD], SILENCE_S)
    assert look(days.b) is None
    days.b.remove("bin/pg_restore")
    days.b.postgres("stop")
    assert days.run(days.b, "-t", "1").code == 1  # and it does not converge (H06)
    days.start_database(days.b)
    assert look(days.b) is None


def test_old_active_comes_back(days: Days) -> None:
    """H02: after a failover the old active is replaced by the new one's backup, tail and all."""
    days.synchronise()
    tail = days.add_rows(days.a, "a", 7)
    days.a.service(STOPPED)  # steps 1 and 2; cron lives on
    days.a.postgres("stop")
    days.start_database(days.b)
    days.b.service(RUNNING)
    assert days.synchronise(to=days.a, STAMP=LATER).code == 0
    days.start_database(days.a)

    places = [preserved(days.a), preserved(days.b), days.backed_up(days.a), days.backed_up(days.b)]
    assert lost(tail, places) == tail


def test_corrupt_archive(days: Days) -> None:
    """H03: a damaged table leaves half a database under the production name."""
    days.synchronise()
    days.lab.cut()
    days.run(days.a, STAMP=LATER)
    repack(days.a, "parties", lambda file: file.write_bytes(b"\xff" * 64))
    with days.waiting(days.b) as run:
        deliver(days)

    assert run.wait() == 1
    days.start_database(days.b)
    content = look(days.b)
    assert content is not None
    assert content.broken


def test_empty_data_file(days: Days) -> None:
    """H05: an empty data file is an empty table, exit code 0, "latest import succeeded"."""
    days.lab.cut()
    days.run(days.a)
    repack(days.a, "assets", lambda file: file.write_bytes(b""))
    with days.waiting(days.b) as run:
        deliver(days)

    assert run.wait() == 0
    days.start_database(days.b)
    content = look(days.b)
    assert content is not None
    assert "assets: 0 rows" in content.broken


def test_one_failure_is_for_ever(days: Days) -> None:
    """H06: an import that failed for a passing reason is never tried again."""
    days.b.write("bin/pg_restore", FAILS, 0o755)
    assert days.synchronise().code == 1
    days.b.remove("bin/pg_restore")

    assert days.run(days.b, "-t", "1").code == 1
    days.start_database(days.b)
    assert rows_in(days.b, "ngp") == frozenset()


def test_probe_without_permission(days: Days) -> None:
    """H10, H11: a probe that may not look takes the active site's database down."""
    days.a.service(NO_PERMISSION)
    with Poller(days.a) as poller:
        assert days.run(days.a, "-t", "1").code == 1
        until(lambda: poller.longest_silence_s > SILENCE_S, "somebody notices")

    assert unsound(poller, [OLD], SILENCE_S)
    assert not days.a.answers


def test_failover_during_the_wait(days: Days) -> None:
    """H12: an application started on the standby while a run waits loses its database server."""
    with days.waiting(days.b) as run:
        days.b.service(RUNNING)
        with writing(days.lab, days.b, "b") as work:
            days.run(days.a)
            run.wait()

    assert work.said["refused"]
    assert not days.b.answers


def test_both_active_in_the_same_second(days: Days) -> None:
    """H14: with both active, one site's backup of the day is replaced by the other's."""
    days.start_database(days.b)
    reset(days.b)
    days.b.service(RUNNING)
    of_a = days.add_rows(days.a, "a", 3)
    codes = [days.run(site, STAMP="20270101060000").code for site in (days.a, days.b)]

    assert codes == [0, 0]  # both say that all is well
    assert lost(of_a, [days.backed_up(days.a), days.backed_up(days.b)]) == of_a


def test_deleted_file_hides_the_arrival(days: Days) -> None:
    """H21: while one file goes another comes: the new backup isn't seen, that day or ever."""
    days.synchronise()
    rows = days.add_rows(days.a, "a", 3)
    (old,) = days.files(days.b)
    with days.waiting(days.b, "-t", "4500") as run:
        days.b.remove(f"{KEPT}/{old}")
        days.run(days.a, STAMP=LATER)

    assert run.wait() == 1
    days.start_database(days.b)
    assert not rows & rows_in(days.b, "ngp")
    assert rows <= days.backed_up(days.b)


def test_stray_file_is_taken_for_a_backup(days: Days) -> None:
    """H21: a note in the folder makes the standby drop and reload what it had."""
    days.synchronise()
    days.start_database(days.b)
    before = look(days.b)
    days.b.postgres("stop")
    with days.waiting(days.b) as run:
        days.b.write(f"{KEPT}/notes.txt", "call the vendor")

    assert run.wait() == 0
    days.start_database(days.b)
    after = look(days.b)
    assert before is not None
    assert after is not None
    assert before.oid != after.oid


def test_early_arrival(days: Days) -> None:
    """H22: a backup that arrives before the standby has counted its files is never imported."""
    rows = days.add_rows(days.a, "a", 3)
    days.run(days.a)

    assert days.run(days.b, "-t", "1").code == 1
    assert rows <= days.backed_up(days.b)
    days.start_database(days.b)
    assert not rows & rows_in(days.b, "ngp")


def test_other_time_zone(days: Days) -> None:
    """H27: seen from another time zone the fresh backup is the old one, and is pruned as such."""
    days.synchronise()
    days.start_database(days.b)
    days.b.service(RUNNING)
    rows = days.add_rows(days.b, "b", 3)

    assert days.run(days.b, "-b", "1", TZ="PST8").code == 0
    assert lost(rows, [days.backed_up(days.a), days.backed_up(days.b)]) == rows


def test_cut_link(days: Days) -> None:
    """H30: nothing arrived, and the exit code says that all is well."""
    days.lab.cut()

    assert days.run(days.a).code == 0
    assert days.files(days.b) == []


def test_full_disk_on_the_active_site(days: Days) -> None:
    """H40, H60: the cut archive of a full disk pushes the last good one out, before it is sent."""
    mount = ("mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "small", days.a.home / KEPT)
    days.a.must(*mount, root=True)
    try:
        rows = days.add_rows(days.a, "a", 3)
        days.lab.cut()
        days.run(days.a, STAMP="20270101060000")
        assert rows <= days.backed_up(days.a)
        fill = ("dd", "if=/dev/zero", f"of={KEPT}/full", "bs=64k")
        days.a.run(*fill)
        days.a.must("truncate", "-s", "-350k", f"{KEPT}/full")

        assert days.run(days.a, "-b", "1", STAMP="20270102060000").code == 0
        assert lost(rows, [days.backed_up(days.a)]) == rows
    finally:
        days.a.must("umount", "-l", days.a.home / KEPT, root=True)


def test_wrong_clock_once(days: Days) -> None:
    """H61: after one night with a clock gone wrong, each new backup is deleted as it is made."""
    for day in range(14):
        days.a.write(f"{KEPT}/pgbackup.203101{day + 10}060000.tgz", "")
    rows = days.add_rows(days.a, "a", 3)

    assert days.run(days.a).code == 0
    assert lost(rows, [days.backed_up(days.a), days.backed_up(days.b)]) == rows


def test_keep_nothing(days: Days) -> None:
    """H62: -b 0 is taken, and removes every backup there is."""
    days.synchronise()

    assert days.run(days.a, "-b", "0").code == 0
    assert days.files(days.a) == []


def test_options_after_the_host(days: Days) -> None:
    """H79: with options after the host, a number is the host; the exit code says all is well."""
    assert days.given(days.a, days.b.address, "-b", "5").code == 0
    assert days.files(days.b) == []


def test_two_runs_at_once(days: Days) -> None:
    """H70: a second run stops the database server under the first."""
    with days.waiting(days.b) as run:
        days.run(days.b, "-t", "1")
        days.run(days.a)

    assert run.wait() == 1
    days.start_database(days.b)
    assert look(days.b) is None or not rows_in(days.b, "ngp")
