"""Status and check: what is proved, what it costs, and nothing OK that is not."""

from dataclasses import replace

import pytest

from harness.errors import InputError
from hasync.commands.checks import Judged, Level, Thresholds, check
from hasync.commands.record import RunRecord, began, ended
from hasync.commands.status import Gathered, PeerSeen, of, span
from hasync.role import Restored, Role, RoleFact, SiteFact
from hasync.sets.backup import Kind, SetName, SetState, State, StoredSet
from hasync.sets.manifest import SetManifest

HOUR_NS = 3600 * 10**9
NOW_NS = 500_000 * HOUR_NS
RESTORED = SetState(State.RESTORED, measurements={"restore_s": 12.5})


def stored(
    sequence: int,
    age_h: float,
    state: SetState | State = State.VERIFIED,
    *,
    rows: int = 1000,
    kind: Kind = Kind.DATABASE,
) -> StoredSet:
    """Return a set of the other site whose snapshot is *age_h* hours old."""
    at_ns = NOW_NS - round(age_h * HOUR_NS)
    manifest = SetManifest(
        kind=kind,
        site="east",
        epoch=1,
        sequence=sequence,
        id=f"{sequence:032x}",
        parent="",
        parent_hash="",
        made_at_ns=at_ns,
        snapshot_at_ns=at_ns,
        tool="t",
        versions={},
        files=(),
        facts={"tables": {"public.calls": rows}},
    )
    known = state if isinstance(state, SetState) else SetState(state)
    return StoredSet(kind, "east", SetName.of(manifest), manifest.id, manifest, known, 10**6)


def standby(*sets: StoredSet, live: int = 0, **more: object) -> Gathered:
    """Return the facts of a standby with *sets*, of which number *live* is restored."""
    found = Gathered("west", NOW_NS, RoleFact(Role.STANDBY, 1), sets=sets, live=f"{live:032x}")
    return replace(found, **more)  # type: ignore[arg-type] # fields of Gathered


def judged(seen: Gathered) -> Judged:
    """Return the check with the default limits."""
    return check(of(seen), Thresholds())


def run_record(code: int, times: int = 1) -> dict[str, RunRecord]:
    """Return the record of pgsync that ended *times* with *code*."""
    runs: dict[str, RunRecord] = {}
    for _ in range(times):
        runs = began(runs, "pgsync", 1, NOW_NS)
        runs = ended(
            runs, "pgsync", at_ns=NOW_NS, took_s=1, exit_code=code, why="because", facts={}
        )
    return runs


def test_proven_rpo_is_the_age_of_the_live_data() -> None:
    """A newer set that nobody restored proves nothing."""
    found = of(standby(stored(1, 30), stored(2, 25, RESTORED), stored(3, 1), live=2))

    assert found.to_json()["proven_rpo_s"] == 25 * 3600
    assert found.restore_s == 12.5
    assert found.newest is not None
    assert found.newest.name.sequence == 3


def test_nothing_restored_is_nothing_proved() -> None:
    """A standby full of verified sets whose restore never worked is critical."""
    result = judged(standby(stored(1, 1), stored(2, 0.5)))

    assert of(standby(stored(1, 1))).proven_age_ns is None
    assert result.level is Level.CRITICAL
    assert "nothing is proved" in result.line


def test_active_site_is_as_safe_as_what_the_peer_took() -> None:
    """A set that the peer has not restored proves nothing, and one never sent is lost."""
    sent = stored(1, 9, SetState(State.VERIFIED, measurements={"sent_at_ns": 1}))
    restored = Restored(sent.id, NOW_NS, NOW_NS, 5)
    seen = standby(
        sent,
        stored(2, 1),
        role=RoleFact(Role.ACTIVE, 1),
        peer=PeerSeen(SiteFact("east", Role.STANDBY, 1, restored), NOW_NS),
    )

    assert of(seen).proven_age_ns == 9 * HOUR_NS
    assert judged(seen).level is Level.OK
    assert judged(replace(seen, peer=None)).level is Level.CRITICAL


@pytest.mark.parametrize(
    ("age_h", "level"),
    [(25.9, Level.OK), (26.1, Level.WARNING), (50.1, Level.CRITICAL), (-1, Level.WARNING)],
)
def test_age_decides(age_h: float, level: Level) -> None:
    """A missed day is a warning, two are critical, the future is a wrong clock."""
    assert judged(standby(stored(1, age_h, RESTORED), live=1)).level is level


GOOD = standby(stored(1, 2, RESTORED), live=1)
BAD = {
    "role unknown": (replace(GOOD, role=RoleFact(Role.UNKNOWN, 0, why="x")), "role is unknown"),
    "split brain": (
        replace(
            GOOD,
            role=RoleFact(Role.ACTIVE, 1),
            peer=PeerSeen(SiteFact("east", Role.ACTIVE, 2), NOW_NS),
        ),
        "split brain",
    ),
    "no active site": (
        replace(GOOD, peer=PeerSeen(SiteFact("east", Role.STANDBY, 1), NOW_NS)),
        "no active site",
    ),
    "corrupt": (standby(stored(1, 2, RESTORED), stored(2, 1, State.CORRUPT), live=1), "corrupt"),
    "failed twice": (
        standby(
            stored(1, 2, RESTORED),
            stored(2, 1, SetState(State.FAILED, attempts=2, why="pg_restore")),
            live=1,
        ),
        "failed 2 times",
    ),
    "killed": (replace(GOOD, runs=began({}, "pgsync", 1, NOW_NS)), "was killed"),
    "failures": (replace(GOOD, runs=run_record(14, 2)), "ended with 14"),
    "no space": (replace(GOOD, free_bytes={"/pg": 9}, reserve_bytes=10), "less than the reserve"),
    "nothing at all": (standby(), "nothing is proved"),
}


@pytest.mark.parametrize(("seen", "said"), BAD.values(), ids=BAD.keys())
def test_what_must_wake_somebody_is_critical(seen: Gathered, said: str) -> None:
    """Each of these loses data, or stops the synchronisation for good."""
    result = judged(seen)

    assert result.level is Level.CRITICAL
    assert said in result.line


SHRUNK = standby(stored(1, 9), stored(2, 2, RESTORED, rows=500), live=2)
ODD = {
    "failed once": replace(GOOD, runs=run_record(14)),
    "unfinished": replace(GOOD, unfinished=("restore",)),
    "held": standby(stored(1, 2, replace(RESTORED, held="rolled back")), live=1),
    "tail": standby(stored(1, 2, RESTORED), stored(2, 1, kind=Kind.TAIL), live=1),
    "shrunk": SHRUNK,
    "skew": replace(GOOD, peer=PeerSeen(SiteFact("east", Role.ACTIVE, 1), NOW_NS, HOUR_NS)),
}


@pytest.mark.parametrize("seen", ODD.values(), ids=ODD.keys())
def test_what_somebody_should_look_at_is_a_warning(seen: Gathered) -> None:
    """None of these is an outage yet."""
    assert judged(seen).level is Level.WARNING


def test_running_run_is_not_a_killed_one() -> None:
    """While the lock is held, `running` is the truth."""
    seen = replace(GOOD, runs=began({}, "pgsync", 1, NOW_NS), run_held=True)

    assert of(seen).died == ()
    assert judged(seen).level is Level.OK


def test_unreadable_facts_are_never_ok() -> None:
    """What could not be read is UNKNOWN at least."""
    assert judged(replace(GOOD, problems=("no catalogue",))).level is Level.UNKNOWN


def test_copy_that_was_written_to_is_a_warning() -> None:
    """Rows of a standby's own are no copy of anything: somebody has to look."""
    found = judged(replace(GOOD, touched="1 row deleted since the restore"))

    assert found.level is Level.WARNING
    assert "1 row deleted" in found.line


def test_line_is_one_that_nagios_reads() -> None:
    """One line, one bar before the perfdata, unknown values as U."""
    line = judged(replace(GOOD, runs=run_record(2), problems=("a|b",))).line
    words, _, perfdata = line.partition(" | ")

    assert "\n" not in line
    assert "|" not in words + perfdata
    assert perfdata.split()[0] == "age=7200s;93600;180000;0"
    assert "restore=12.5s;;;0" in perfdata
    assert "age=U;93600;180000;0" in judged(standby()).line


def test_limits_in_the_wrong_order_are_refused() -> None:
    """A warning after the critical age could never be seen."""
    with pytest.raises(InputError):
        Thresholds(100, 50)


def test_status_says_it_in_words() -> None:
    """The one sentence that an operator needs is there."""
    lines = of(GOOD).lines()

    assert "if the active site is lost now: data of the last 2 h is lost with it" in lines
    assert "last proving restore took 12.5 s" in lines


def test_duration_names_its_two_largest_units() -> None:
    """Nobody reads seconds of a day."""
    assert span(90_061 * 10**9) == "1 d 1 h"
    assert span(0) == "0 s"
