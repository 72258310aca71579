"""Holes that a hostile review found in the sets, the peer and the commands; each stays closed."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import ManualClock
from hasync.commands import logins
from hasync.commands.active import Told
from hasync.commands.checks import Level, Thresholds, check
from hasync.commands.choice import SENT, backlog, candidates, doubtful, passed_over
from hasync.commands.record import KILLED, began, ended
from hasync.commands.standby import tell, untold
from hasync.commands.status import Gathered, PeerSeen, of
from hasync.database.restore import RestoreResult
from hasync.failure import Exit, Stop
from hasync.peer.agent import introduce, refuse_stranger
from hasync.peer.hello import Hello, Request
from hasync.role import (
    Restored,
    Role,
    RoleFact,
    ServiceFact,
    ServiceState,
    SiteFact,
    may_publish,
    unheard,
)
from hasync.sets.backup import Kind, State, StoredSet
from hasync.sets.keep import keep
from hasync.sets.store import Store
from hasync.settings import Folders, Peer, Retention, Settings, Signing
from tests.set_bench import AT_NS, make_keys, make_store, publish, send

HOUR_NS = 3600 * 10**9


@pytest.fixture(name="keys", scope="module")
def make_three_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder, "east", "west", "north")
    return folder


@pytest.fixture(name="east")
def make_east(tmp_path: Path, keys: Path) -> Store:
    return make_store(tmp_path / "east", keys, "east")


def settings_of(base: Path, keys: Path, site: str, peer: str, **more: object) -> Settings:
    """Return the settings of *site* without a database."""
    signing = Signing(keys / site, keys / "allowed_signers")
    found = Settings(site, Folders(base), signing, peer=Peer(site=peer))
    return replace(found, **more)  # type: ignore[arg-type] # fields of Settings


def declare(base: Path, role: Role) -> None:
    """Put the role on the disk, with epoch 3."""
    (base / "state").mkdir(parents=True, exist_ok=True)
    (base / "state/role.json").write_bytes(RoleFact(role, 3).encode())


def misjudged(store: Store, stored: StoredSet) -> StoredSet:
    """Return a good set that was condemned, as by a wrong line in the signers."""
    return store.mark(stored, State.CORRUPT, "the signature is not that of east")


def test_condemned_set_that_is_good_is_kept(tmp_path: Path, keys: Path, east: Store) -> None:
    """Retention looks again before it removes a CORRUPT set (7)."""
    first = publish(east)
    for _ in range(2):
        publish(east)
    misjudged(east, first)
    settings = settings_of(tmp_path / "east", keys, "east", "west", retention=Retention(min_keep=1))

    kept = keep(settings, east, 2, ManualClock(AT_NS))

    assert kept.removed == (first.name.text,)  # as the good set that it is: beyond the count
    last = publish(east)
    misjudged(east, last)
    keep(settings, east, 1, ManualClock(AT_NS))
    assert east.scan().by_id(last.id) is not None


def test_condemned_set_newer_than_what_is_live_is_looked_at_again(east: Store) -> None:
    """A run of the standby verifies it: it may be the newest good copy (7)."""
    old, new = publish(east), publish(east)
    east.mark(old, State.RESTORED)
    misjudged(east, new)
    (found,) = doubtful(east.scan().sets, "west", "east")

    assert found.id == new.id
    assert east.verify(found).state.state is State.VERIFIED
    assert candidates(east.scan().sets, "west", 3, AT_NS, peer="east")[0].id == new.id


def test_set_of_a_third_site_is_no_candidate(east: Store) -> None:
    """However new it is and well signed; it is named, with the reason (5)."""
    stored = publish(east)

    assert candidates(east.scan().sets, "west", 3, AT_NS, peer="north") == ()
    (why,) = passed_over(east.scan().sets, "west", 3, AT_NS, peer="north")
    assert why == f"{stored.name.text}: made at east, and the peer is north (peer.site)"


def test_every_newer_set_that_is_refused_has_a_reason(east: Store) -> None:
    """Old epoch, held, corrupt, in its back-off; what is taken has none (5)."""
    sets = [publish(east) for _ in range(4)]
    east.hold(sets[0], "bad rows")
    misjudged(east, sets[1])
    east.mark(sets[2], State.FAILED, "no such role")

    told = passed_over(east.scan().sets, "west", 3, AT_NS, peer="east")

    assert [why.partition(": ")[2].partition(":")[0] for why in told] == [
        "failed 1 times, tried again later",
        "corrupt",
        "held back",
    ]
    assert "below ours (4)" in passed_over(east.scan().sets, "west", 4, AT_NS)[0]


def test_set_of_a_third_site_is_not_received(tmp_path: Path, keys: Path) -> None:
    """A signature that is allowed is not enough: it goes to quarantine (5)."""
    north = make_store(tmp_path / "north", keys, "north")
    stored = publish(north)
    west = make_store(tmp_path / "west", keys, "west")
    send(north, stored, tmp_path / "west")

    with pytest.raises(Stop, match="made at north, and the peer is east") as caught:
        west.receive(stored.id, "east")

    assert caught.value.code is Exit.TRUST
    assert west.scan().sets == ()


def test_hello_of_a_third_site_is_refused(tmp_path: Path, keys: Path) -> None:
    """Nothing that it says is remembered (5)."""
    settings = settings_of(tmp_path, keys, "west", "east")

    with pytest.raises(Stop, match="west has another peer"):
        refuse_stranger(settings, Hello("north", Role.ACTIVE, 9, AT_NS))


def test_unsent_sets_stay_on_the_active_site(tmp_path: Path, keys: Path, east: Store) -> None:
    """An outage longer than -b costs no set, until the budget is used up: then it is told (9)."""
    sets = [publish(east) for _ in range(4)]
    declare(tmp_path / "east", Role.ACTIVE)
    settings = settings_of(tmp_path / "east", keys, "east", "west", retention=Retention(min_keep=1))

    assert keep(settings, east, 1, ManualClock(AT_NS)).removed == ()
    east.note(sets[0], **{SENT: AT_NS})
    assert keep(settings, east, 1, ManualClock(AT_NS)).removed == (sets[0].name.text,)
    small = replace(settings, retention=Retention(min_keep=1, max_bytes=2 * sets[0].size_bytes))
    kept = keep(small, east, 1, ManualClock(AT_NS))
    assert kept.removed == kept.unsent == (sets[1].name.text,)
    declare(tmp_path / "east", Role.STANDBY)
    assert keep(settings, east, 1, ManualClock(AT_NS)).removed == (sets[2].name.text,)


def test_standby_with_an_epoch_of_nobody_is_refused() -> None:
    """A typing error must not make the active site one that is behind (17)."""
    stop = unheard(RoleFact(Role.STANDBY, 1), 11, 1)

    assert stop is not None
    assert "use epoch 1;" in stop.fix
    assert unheard(RoleFact(Role.UNKNOWN, 0), 1, 0) is None  # the first installation
    assert unheard(RoleFact(Role.ACTIVE, 1), 2, 2) is None  # taken over, and known here


@pytest.mark.parametrize(
    ("role", "why", "fix"),
    [
        (Role.ACTIVE, "another site has taken over", "role set standby --epoch 11"),
        (Role.STANDBY, "west is standby, and of a higher epoch", "role set active --epoch 12"),
    ],
)
def test_only_an_active_peer_has_taken_over(role: Role, why: str, fix: str) -> None:
    """A standby with a higher epoch has not; the way back is a higher one here (17)."""
    service = ServiceFact(ServiceState.ACTIVE)
    stop = may_publish(RoleFact(Role.ACTIVE, 1), service, SiteFact("west", role, 11))

    assert stop is not None
    assert why in stop.why
    assert fix in stop.fix


def test_hello_tells_what_is_live_and_what_has_rotted(
    tmp_path: Path, keys: Path, east: Store
) -> None:
    """The active site learns what its standby has restored, and what to send again (12, 20)."""
    live, bad = publish(east), publish(east)
    east.mark(live, State.RESTORED, restore_s=2.5)
    east.mark(bad, State.CORRUPT, "damaged")
    settings = settings_of(tmp_path / "east", keys, "east", "west")

    hello = introduce(settings, ManualClock(AT_NS), east)

    assert hello.fact.restored == Restored(live.id, AT_NS, AT_NS, 2500)
    assert hello.corrupt == (bad.id,)
    assert Request.parse(Request("hello", hello).encode()).hello == hello


def test_set_that_rotted_at_the_peer_is_sent_again(east: Store) -> None:
    """That it was sent once is no reason not to (20)."""
    stored = east.note(publish(east), **{SENT: AT_NS})

    assert backlog([stored], Kind.DATABASE, "east", ()) == ()
    assert backlog([stored], Kind.DATABASE, "east", (), (stored.id,)) == (stored,)


def active_with(fact: SiteFact, *sets: StoredSet, hours: float = 1) -> Gathered:
    """Return an active site that looks *hours* after the sets were made."""
    now_ns = AT_NS + round(hours * HOUR_NS)
    seen = PeerSeen(fact, now_ns)
    return Gathered("east", now_ns, RoleFact(Role.ACTIVE, 3), sets=sets, peer=seen)


def test_active_site_is_judged_by_what_the_standby_restored(east: Store) -> None:
    """That the standby took sets for weeks and restored none is no proof (12)."""
    stored = east.note(publish(east), **{SENT: AT_NS})
    fact = SiteFact("west", Role.STANDBY, 3, Restored(stored.id, AT_NS, AT_NS, 5))
    never = check(of(active_with(replace(fact, restored=None), stored)), Thresholds())

    assert (never.level, never.line.partition(" |")[0]) == (
        Level.CRITICAL,
        "HASYNC CRITICAL - the data restored at the other site: nothing is proved",
    )
    assert check(of(active_with(fact, stored)), Thresholds()).level is Level.OK
    assert check(of(active_with(fact, stored, hours=27)), Thresholds()).level is Level.WARNING
    failed = replace(fact, exit_code=11, failures=3)
    assert (
        "pgsync at west ended with 11" in check(of(active_with(failed, stored)), Thresholds()).line
    )


def test_both_kinds_of_a_host_are_judged(east: Store) -> None:
    """Files that are a year old are not hidden by a database of today (14)."""
    live = east.mark(publish(east), State.RESTORED)
    old = publish(east, kind=Kind.APPLICATION)
    assert old.manifest is not None
    old = replace(old, manifest=replace(old.manifest, snapshot_at_ns=AT_NS - 400 * 24 * HOUR_NS))
    seen = Gathered("west", AT_NS, RoleFact(Role.STANDBY, 3), sets=(live, old), live=live.id)

    judged = check(of(seen), Thresholds())

    assert judged.level is Level.CRITICAL
    assert "the application here is 400 d old" in judged.line


def test_login_without_a_password_is_a_standing_warning(
    tmp_path: Path, keys: Path, east: Store
) -> None:
    """It is told by every check, not by one run alone; it goes on to the next set (15)."""
    settings = settings_of(tmp_path / "east", keys, "east", "west")
    assert logins.without_password(settings, east) == ()
    first, second = publish(east), publish(east)
    for stored, roles in ((first, ("app",)), (second, ("report",))):
        tell(
            Told(), east, stored, RestoreResult(stored.id, 1, {}, 0.0, "", tail=False, roles=roles)
        )
    found = logins.without_password(settings, east)

    assert found == ("app", "report")
    live = east.scan().by_id(second.id)
    assert live is not None
    seen = Gathered("west", AT_NS, RoleFact(Role.STANDBY, 3), sets=(live,), live=live.id)
    judged = check(of(replace(seen, logins=found)), Thresholds())
    assert judged.level is Level.WARNING
    assert "nobody can log in as app, report here" in judged.line


def test_restore_of_a_killed_run_is_told_once(east: Store) -> None:
    """What `recover` confirmed has no measured time; a run that says so notes it."""
    stored = publish(east)
    assert untold(east) is None

    live = east.mark(stored, State.RESTORED)
    found = untold(east)
    assert found is not None
    assert found.id == live.id
    east.note(live, told_at_ns=AT_NS)
    assert untold(east) is None


def test_running_record_still_knows_how_the_last_run_ended() -> None:
    """A standby is asked while its own run waits (12)."""
    runs = began({}, "pgsync", 1, 1)
    runs = ended(runs, "pgsync", at_ns=2, took_s=1, exit_code=16, why="w", facts={})
    runs = began(runs, "pgsync", 2, 3)

    assert runs["pgsync"].last_exit_code == 16
    assert began(runs, "pgsync", 3, 4)["pgsync"].last_exit_code == KILLED
