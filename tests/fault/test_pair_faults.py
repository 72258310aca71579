"""What goes wrong around a pair's runs of pgsync, at the level of its commands.

After each fault: nothing is lost, what is live is sound, exit code and record tell the truth, and a
plain run on each site puts all right with no cleaning by hand.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hasync.steps import failpoints
from tests.fault.content import look
from tests.fault.oracles import lost, unsound
from tests.fault.poller import Poller
from tests.fault.sample import SOAK, dice, some
from tests.fault.site import Result, Site, until
from tests.fault.standby_pair import BASE, Pair, SetOnDisk

pytestmark = pytest.mark.lab

OK, WARNING, FAILED, REFUSED, NOT_VERIFIED, NO_SPACE = 0, 1, 2, 11, 12, 13
TRANSFER, TRUST, TIMEOUT, LOCKED = 14, 15, 16, 75
SOON = ("-t", "1")  # for a standby whose set is there, or will never come
SILENCE_S = 3.0  # 1 s for a swap, the rest for a busy machine
TRIES = 5
GIVES_UP_S = 180.0  # that a run waits for a link, at most
YEARS_7_S = 7 * 365 * 86_400
DAY_S = 86_400


Damage = Callable[[SetOnDisk], None]


def told_truly(pair: Pair, site: Site, result: Result) -> bool:
    """Say whether exit code and record agree, and a failure has a line of its own."""
    run = pair.status(site)["runs"]["pgsync"]
    said = result.err.strip()
    return bool(
        run["exit_code"] == result.code and not run["running"] and bool(said) == bool(result.code)
    )


def converge(pair: Pair) -> None:
    """Run both plainly; afterwards all is as if nothing had happened."""
    rows = pair.scribble(pair.a, "a", 1)
    sent, restored = pair.pgsync(pair.a), pair.pgsync(pair.b, *SOON)
    assert sent.code in {OK, WARNING}, pair.told(pair.a, sent)
    assert restored.code in {OK, WARNING}, pair.told(pair.b, restored)
    assert pair.live(pair.b) == max(n for _, n in rows)
    assert pair.leftovers(pair.a) + pair.leftovers(pair.b) == []


# -- sets that changed at rest


def flip(stored: SetOnDisk) -> None:
    """Flip one bit in the middle of the largest file."""
    path = max((stored.site.files / BASE / stored.path / "data/dump").iterdir(), key=_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(stored: SetOnDisk) -> None:
    """Leave a data file as a crash leaves one that was never flushed."""
    path = max((stored.site.files / BASE / stored.path / "data/dump").iterdir(), key=_size)
    path.write_bytes(b"")


def delete(stored: SetOnDisk) -> None:
    """Delete one file."""
    path = max((stored.site.files / BASE / stored.path / "data/dump").iterdir(), key=_size)
    path.unlink()


def add(stored: SetOnDisk) -> None:
    """Add one that the manifest does not name."""
    stored.site.write(f"{BASE}/{stored.path}/data/dump/9999.dat.zst", "x")


def tamper(stored: SetOnDisk) -> None:
    """Make the manifest agree with a changed file; only the signature can tell."""
    path = stored.site.files / BASE / stored.path / "manifest.json"
    before = path.read_bytes()
    after = before.replace(b'"public.calls":510', b'"public.calls":511')
    assert after != before
    path.write_bytes(after)


def unsign(stored: SetOnDisk) -> None:
    """Take the signature away."""
    (stored.site.files / BASE / stored.path / "manifest.sig").unlink()


def _size(path: Path) -> int:
    return path.stat().st_size


DAMAGES = [*some((flip, delete, add), 1), empty, *some((tamper, unsign), 1)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_set_that_changed_at_rest(pair: Pair, damage: Damage) -> None:
    """F10, F19 to F22: no pg_restore reads it, the old content stays live, the exit code tells."""
    pair.first_day()
    before = look(pair.b)
    pair.scribble(pair.a, "a", 5)
    assert pair.pgsync(pair.a).code == OK
    damage(pair.sets(pair.b)[-1])
    with Poller(pair.b) as poller:
        result = pair.pgsync(pair.b, *SOON)

    assert result.code in {NOT_VERIFIED, TRUST}, pair.told(pair.b, result)
    assert told_truly(pair, pair.b, result)
    assert look(pair.b) == before
    assert before is not None
    assert unsound(poller, [before.upto], SILENCE_S) == []
    log = (pair.b.files / BASE / "log/pgsync.log").read_text()
    assert "step=load" not in log.rpartition("begun command=pgsync")[2]
    converge(pair)


# -- the link


@pytest.fixture
def slow(pair: Pair) -> Iterator[Pair]:
    """Give the pair with a link so slow that a transfer takes some seconds."""
    text = (pair.a.files / "hasync.toml").read_text()
    pair.a.write("hasync.toml", text.replace("[peer]", "[peer]\nbandwidth_kib_s = 100"))
    yield pair
    pair.a.write("hasync.toml", text)


def test_cut_link_that_comes_back(slow: Pair) -> None:
    """F11: the same set arrives once, by going on where the cut was."""
    slow.scribble(slow.a, "a", 5)
    run = slow.start(slow.a)
    inbox = slow.b.files / BASE / "inbox"
    until(lambda: sum(p.stat().st_size for p in inbox.rglob("*.zst")) > 100_000, "a part is there")
    slow.lab.cut()
    threading.Event().wait(1.0)  # as long as the cable is out
    slow.lab.mend()

    assert run.wait(200) == OK, (slow.a.files / "pgsync.out").read_text()
    (sent,) = slow.sets(slow.a)
    (arrived,) = slow.sets(slow.b)
    assert (sent.id, arrived.wrong()) == (arrived.id, [])
    slow.install(slow.a)  # the link is as fast as ever again
    converge(slow)


def test_cut_link_that_stays_cut(pair: Pair) -> None:
    """F12: the set is kept, the exit code tells, and the next run sends what is waiting.

    The run gives the link two minutes; a soak waits for that, else somebody ends it meanwhile.
    """
    pair.first_day()
    pair.lab.cut()
    rows = pair.scribble(pair.a, "a", 5)
    run = pair.start(pair.a)
    until(lambda: len(pair.sets(pair.a)) == 2, "the set is made")
    if not SOAK:
        until(lambda: run.kill(signal.SIGTERM), "it is asked to end")
    code = run.wait(GIVES_UP_S)

    assert code == (TRANSFER if SOAK else 128 + signal.SIGTERM)
    assert told_truly(pair, pair.a, Result(code, "", "as said"))
    assert not lost(rows, pair.all_rows())
    pair.lab.mend()
    converge(pair)
    assert {one.id for one in pair.sets(pair.a)} == {one.id for one in pair.sets(pair.b)}


def test_wrong_host_key(pair: Pair) -> None:
    """F17: a peer that is another is sent nothing, and the exit code says trust."""
    known = (pair.a.files / ".ssh/known_hosts").read_text()
    own = " ".join((pair.a.files / ".ssh/host.pub").read_text().split()[:2])
    pair.a.write(".ssh/known_hosts", f"{known.split()[0]} {own}\n")
    try:
        result = pair.pgsync(pair.a)
    finally:
        pair.a.write(".ssh/known_hosts", known)

    assert result.code == TRUST, pair.told(pair.a, result)
    assert list((pair.b.files / BASE / "inbox").glob("*")) == []
    converge(pair)


# -- children killed

SENDING, RESTORING = ("pg_dump", "psql", "zstd", "rsync", "ssh"), ("pg_restore", "psql", "vacuumdb")


@pytest.mark.parametrize(
    ("site", "child"),
    [
        *(("a", child) for child in some(SENDING, 1)),
        *(("b", child) for child in some(RESTORING, 1)),
    ],
)
def test_child_killed(pair: Pair, site: str, child: str) -> None:
    """F01, F26: any child killed: no half set, no half database; told, or tried again."""
    pair.first_day()
    before = look(pair.b)
    pair.scribble(pair.a, "a", 5)
    where = pair.a if site == "a" else pair.b
    if where is pair.b:
        assert pair.pgsync(pair.a).code == OK
    hit, code = False, OK
    with Poller(pair.b) as poller:
        for _ in range(TRIES):  # some live for milliseconds alone
            run = pair.start(where, *SOON)
            hit = kill_when_seen(where, child, run.process.poll)
            code = run.wait()
            if hit:
                break
            pair.scribble(pair.a, "a", 1)
            assert where is pair.a or pair.pgsync(pair.a).code == OK

    assert hit, f"{child} was never seen"
    assert code != 128 + signal.SIGKILL, "the child's end is not ours"
    assert [bad for s in (pair.a, pair.b) for one in pair.sets(s) for bad in one.wrong()] == []
    assert before is not None
    allowed = [before.upto, *(one.upto for one in pair.sets(pair.b))]
    assert unsound(poller, allowed, SILENCE_S) == []
    converge(pair)


def kill_when_seen(site: Site, child: str, ended: Callable[[], int | None]) -> bool:
    """Kill the first process of *site* whose program is *child*; say whether there was one."""
    while ended() is None:
        for pid, words in site.processes().items():
            if Path(words.partition(" ")[0]).name == child:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                return True
    return False


SEND = [one for one in failpoints() if one.startswith("send.")]
KEEP = [one for one in failpoints() if one.startswith("keep.")]
AFTERWARDS = [*some(SEND, 2), *some(KEEP, 1)]


@pytest.mark.parametrize("points", [AFTERWARDS], ids=["+".join(AFTERWARDS)])
def test_failure_at_a_step_after_publishing(pair: Pair, points: list[str]) -> None:
    """An error while it sends or clears up is told, costs no set, and the next run goes on."""
    pair.first_day()
    for point in points:
        pair.scribble(pair.a, "a", 1)
        failure = dice(point).choice(("raise", "enospc"))
        result = pair.pgsync(pair.a, HASYNC_FAILPOINT=f"{point}:{failure}")
        assert result.code in {WARNING, FAILED, NO_SPACE}, f"{point}: {pair.told(pair.a, result)}"
        assert told_truly(pair, pair.a, result), point
    assert len(pair.sets(pair.a)) == 1 + len(points)
    assert [bad for s in (pair.a, pair.b) for one in pair.sets(s) for bad in one.wrong()] == []
    converge(pair)


# -- roles, probes, locks


@pytest.mark.parametrize("code", some(("0", "1", "4", "127", "hang"), 1))
def test_probe_that_lies(pair: Pair, code: str) -> None:
    """F34, H10: unless the probe says stopped, the standby's database is not touched."""
    pair.first_day()
    before = look(pair.b)
    pair.scribble(pair.a, "a", 5)
    assert pair.pgsync(pair.a).code == OK
    pair.b.service(code)
    with Poller(pair.b) as poller:
        result = pair.pgsync(pair.b, *SOON)

    assert result.code == REFUSED, pair.told(pair.b, result)
    assert told_truly(pair, pair.b, result)
    assert look(pair.b) == before
    assert before is not None
    assert unsound(poller, [before.upto], SILENCE_S) == []
    pair.b.service("3")
    converge(pair)


def test_role_that_is_not_known(pair: Pair) -> None:
    """H10: a site that does not know its role does nothing, on either side."""
    pair.first_day()
    before = look(pair.a), look(pair.b)
    for site in (pair.a, pair.b):
        site.write(f"{BASE}/state/role.json", "{")
        result = pair.pgsync(site, *SOON)
        assert result.code == REFUSED, pair.told(site, result)

    assert (look(pair.a), look(pair.b)) == before
    assert len(pair.sets(pair.a)) == len(pair.sets(pair.b)) == 1


def test_both_active(pair: Pair) -> None:
    """F35, H14: the lower epoch refuses; no set of either is overwritten, nothing is lost."""
    pair.first_day()
    rows = pair.scribble(pair.a, "a", 5) | pair.scribble(pair.b, "b", 5)
    pair.role(pair.b, "active", 2)
    pair.b.service("0")
    sets = [[one.id for one in pair.sets(site)] for site in (pair.a, pair.b)]
    below, above = pair.pgsync(pair.a), pair.pgsync(pair.b)

    assert below.code == REFUSED, pair.told(pair.a, below)
    assert above.code in {OK, WARNING}, pair.told(pair.b, above)
    assert not lost(rows, pair.all_rows())
    for before, site in zip(sets, (pair.a, pair.b), strict=True):
        assert set(before) <= {one.id for one in pair.sets(site)}
        assert [bad for one in pair.sets(site) for bad in one.wrong()] == []


def test_both_standby(pair: Pair) -> None:
    """F36, H15: with no active site nothing is dropped, and both exit codes tell."""
    pair.first_day()
    pair.role(pair.a, "standby", 1)
    pair.a.service("3")
    before = look(pair.a), look(pair.b)
    results = pair.both(*SOON)

    assert [result.code for result in results] == [TIMEOUT, TIMEOUT]
    assert (look(pair.a), look(pair.b)) == before


def test_five_at_once(pair: Pair) -> None:
    """F39: one runs, the others say at once that it does."""
    pair.scribble(pair.a, "a", 5)
    runs = [pair.start(pair.a) for _ in range(5)]
    codes = sorted(run.wait() for run in runs)

    assert codes.count(LOCKED) >= 1
    assert set(codes) == {OK, LOCKED}
    assert len(pair.sets(pair.a)) == codes.count(OK)
    converge(pair)


# -- clocks and foreign files


@pytest.mark.parametrize("shift_s", some((YEARS_7_S, -DAY_S, 600), 1))
def test_clock_that_jumps(pair: Pair, shift_s: int) -> None:
    """F40, H27, H61: sets are taken by their sequence; nothing is removed for a wrong clock."""
    pair.first_day()
    for shift in (shift_s, 0):
        rows = pair.scribble(pair.a, "a", 5)
        words = ("-b", "2", pair.b.address)
        result = pair.a.run("pgsync", *words, env={"CLOCK_SHIFT_S": str(shift)})
        assert result.code in {OK, WARNING}, pair.told(pair.a, result)
        restored = pair.pgsync(pair.b, *SOON)
        assert restored.code in {OK, WARNING}, pair.told(pair.b, restored)
        assert pair.live(pair.b) == max(n for _, n in rows)

    for site in (pair.a, pair.b):
        assert [one.last_row for one in pair.sets(site)][-2:] == [10, 15]


def test_foreign_files(pair: Pair) -> None:
    """F43, H64: what is not a set of ours is never counted, restored, sent or removed."""
    pair.first_day()
    strange = ("before-upgrade.tgz", ".hidden", "zz.tgz", "pgbackup.20300101000000.tgz")
    for site in (pair.a, pair.b):
        for folder in ("sets", "sets/db", "sets/db/site-a", "inbox", "work"):
            for name in strange:
                site.write(f"{BASE}/{folder}/{name}", "somebody's")
    for _ in range(2):
        pair.scribble(pair.a, "a", 1)
        assert pair.pgsync(pair.a, "-b", "2").code in {OK, WARNING}
        assert pair.pgsync(pair.b, "-t", "1", "-b", "2").code in {OK, WARNING}

    for site in (pair.a, pair.b):
        found = {p.name for p in (site.files / BASE).rglob("*") if p.name in strange}
        assert found == set(strange)
        count = sum(p.name in strange for p in (site.files / BASE).rglob("*"))
        assert count == 5 * len(strange)
    assert pair.live(pair.b) == 7
    assert len(pair.sets(pair.a)) == len(pair.sets(pair.b)) == 2


def test_nothing_of_the_environment_is_needed(pair: Pair) -> None:
    """H37, H81, H83: no HOME, no USER, another umask, another language: the same day."""
    pair.scribble(pair.a, "a", 5)
    for site in (pair.a, pair.b):
        words = f"unset HOME USER LOGNAME; umask 0; LC_ALL=C TZ=PST8 exec {site.home}/bin/pgsync"
        result = site.run("sh", "-c", f'{words} "$@"', "sh", *SOON, pair.other(site).address)
        assert result.code == OK, pair.told(site, result)

    assert pair.live(pair.b) == 5
    for site in (pair.a, pair.b):
        open_to_all = [p for p in (site.files / BASE).rglob("*") if p.lstat().st_mode & 0o077]
        assert [p.name for p in open_to_all if not p.is_symlink()] == []
