"""The role of a site: declared, kept, and what it allows."""

from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from hasync import role_file
from hasync.failure import Exit, Stop
from hasync.peer import peer_file
from hasync.peer.hello import Hello
from hasync.role import (
    Role,
    RoleFact,
    ServiceFact,
    ServiceState,
    SiteFact,
    conflict,
    declared,
    may_publish,
    may_restore,
    parse,
    unknown,
)

ACTIVE, STANDBY = RoleFact(Role.ACTIVE, 3), RoleFact(Role.STANDBY, 3)
STOPPED = ServiceFact(ServiceState.INACTIVE)


def declare(old: RoleFact, role: Role, epoch: int, own: int = 0, peer: int = 0) -> RoleFact:
    return declared(old, role, epoch, own_seen=own, peer_seen=peer, at_ns=7, by="ann", why="drill")


@pytest.mark.parametrize(
    ("old", "role", "epoch", "own", "peer"),
    [
        (unknown("new"), Role.ACTIVE, 1, 0, 0),
        (unknown("new"), Role.STANDBY, 1, 0, 0),
        (unknown("lost file"), Role.ACTIVE, 3, 3, 2),
        (unknown("lost file"), Role.STANDBY, 3, 1, 3),
        (STANDBY, Role.ACTIVE, 4, 1, 3),
        (ACTIVE, Role.STANDBY, 4, 3, 4),
        (ACTIVE, Role.STANDBY, 3, 3, 0),
        (ACTIVE, Role.ACTIVE, 5, 3, 4),
        (STANDBY, Role.STANDBY, 5, 0, 5),
    ],
)
def test_declaration_that_goes_forward_holds(
    old: RoleFact, role: Role, epoch: int, own: int, peer: int
) -> None:
    """A higher epoch, or the same one for a standby, is taken with who, when and why."""
    assert declare(old, role, epoch, own, peer) == RoleFact(role, epoch, 7, "ann", "drill")


@pytest.mark.parametrize(
    ("old", "role", "epoch", "own", "peer"),
    [
        (ACTIVE, Role.ACTIVE, 2, 0, 0),
        (ACTIVE, Role.STANDBY, 2, 0, 0),
        (STANDBY, Role.ACTIVE, 3, 0, 0),  # not new
        (STANDBY, Role.ACTIVE, 4, 0, 4),  # the peer's
        (unknown("lost file"), Role.ACTIVE, 3, 4, 0),
        (unknown("lost file"), Role.ACTIVE, 3, 0, 3),
        (unknown("lost file"), Role.STANDBY, 3, 0, 4),
        (ACTIVE, Role.ACTIVE, 3, 3, 4),  # somebody has taken over
    ],
)
def test_epoch_never_goes_back(old: RoleFact, role: Role, epoch: int, own: int, peer: int) -> None:
    """An epoch below or beside what was seen anywhere is refused, with the least that would do."""
    with pytest.raises(Stop, match="use epoch") as caught:
        declare(old, role, epoch, own, peer)

    assert caught.value.code is Exit.REFUSED


def test_same_declaration_again_changes_nothing() -> None:
    """A repeated command does not make the role younger."""
    assert declare(ACTIVE, Role.ACTIVE, 3) is ACTIVE
    assert declare(STANDBY, Role.STANDBY, 3) is STANDBY


def test_unknown_is_not_declared() -> None:
    """Nobody can declare that nobody knows."""
    with pytest.raises(InputError, match="active and standby"):
        declare(ACTIVE, Role.UNKNOWN, 4)


@pytest.mark.parametrize("epoch", [0, -1, 1_000_000])
def test_epoch_out_of_range_is_refused(epoch: int) -> None:
    """An epoch has to fit in the name of a set."""
    with pytest.raises(InputError, match="epoch"):
        RoleFact(Role.ACTIVE, epoch)


@pytest.mark.parametrize("service", list(ServiceState))
@pytest.mark.parametrize("role", [STANDBY, unknown("lost")])
def test_only_active_publishes(role: RoleFact, service: ServiceState) -> None:
    """Whatever the service's probe says (H10): a standby or unknown site does not publish."""
    refusal = may_publish(role, ServiceFact(service))

    assert refusal is not None
    assert refusal.code is Exit.REFUSED


@pytest.mark.parametrize("service", list(ServiceState))
def test_active_publishes_with_stopped_service_too(service: ServiceState) -> None:
    """The last set before a switchover is made after the service has been stopped."""
    assert may_publish(ACTIVE, ServiceFact(service)) is None


@pytest.mark.parametrize(
    ("role", "epoch", "may"),
    [
        (Role.STANDBY, 3, True),
        (Role.STANDBY, 2, True),
        (Role.UNKNOWN, 0, True),
        (Role.ACTIVE, 2, True),
        (Role.ACTIVE, 3, False),
        (Role.ACTIVE, 4, False),
        (Role.STANDBY, 4, False),
    ],
)
def test_active_with_a_younger_peer_publishes_no_more(role: Role, epoch: int, may: bool) -> None:
    """The higher epoch wins (F35)."""
    refusal = may_publish(ACTIVE, STOPPED, SiteFact("west", role, epoch))

    assert (refusal is None) is may


@pytest.mark.parametrize("service", list(ServiceState))
@pytest.mark.parametrize("role", [ACTIVE, STANDBY, unknown("lost")])
def test_only_standby_with_stopped_service_restores(role: RoleFact, service: ServiceState) -> None:
    """Unknown means do nothing, of the role as of the service (H10, F34)."""
    may = role is STANDBY and service is ServiceState.INACTIVE

    assert (may_restore(role, ServiceFact(service)) is None) is may


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (SiteFact("west", Role.ACTIVE, 3), True),
        (SiteFact("west", Role.ACTIVE, 4), True),
        (SiteFact("west", Role.ACTIVE, 2), False),
        (SiteFact("west", Role.STANDBY, 2), True),
        (SiteFact("west", Role.UNKNOWN, 0), True),
    ],
)
def test_standby_follows_no_active_site_that_is_behind(peer: SiteFact, may: bool) -> None:
    """A standby that has seen a higher epoch does not take what an old active site sends."""
    assert (may_restore(STANDBY, STOPPED, peer) is None) is may


def test_conflict_names_both_sites() -> None:
    """Two active sites, no active site, and an active site that is behind are told."""
    west = SiteFact("west", Role.ACTIVE, 4)

    assert "split brain" in conflict(ACTIVE, west)
    assert "no active site" in conflict(STANDBY, SiteFact("west", Role.STANDBY, 3))
    assert "behind" in conflict(ACTIVE, SiteFact("west", Role.STANDBY, 4))
    assert "behind" in conflict(RoleFact(Role.STANDBY, 5), west)
    assert conflict(STANDBY, west) == ""
    assert conflict(unknown("lost"), west) == ""


def test_file_gives_back_what_was_declared(tmp_path: Path) -> None:
    """A declared role is there for the next command, readable by nobody else."""
    clock = ManualClock(5)
    state = tmp_path / "state"
    fact = role_file.declare(state, Role.ACTIVE, 2, clock=clock, by="ann", why="first site")

    assert role_file.read(state) == fact == RoleFact(Role.ACTIVE, 2, 5, "ann", "first site")
    assert (state / role_file.NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"role":"active"}',
        b'{"role":"unknown","epoch":1,"since_ns":0,"by":"","why":""}',
        b'{"role":"active","epoch":true,"since_ns":0,"by":"","why":""}',
        b'{"role":"active","epoch":0,"since_ns":0,"by":"","why":""}',
        b'{"role":"active","epoch":1,"since_ns":0,"by":"","why":"","more":1}',
        b"[" * 100_000,
        b'{"role":"active","epoch":1,"since_ns":0,"by":"","why":""}' + b" " * 20_000,
    ],
)
def test_broken_file_is_unknown(tmp_path: Path, raw: bytes) -> None:
    """What cannot be read for certain gives no role, and says why."""
    (tmp_path / role_file.NAME).write_bytes(raw)
    fact = role_file.read(tmp_path)

    assert fact.role is Role.UNKNOWN
    assert fact.why


def test_missing_linked_and_unreadable_files_are_unknown(tmp_path: Path) -> None:
    """No file, a link in its place, a folder in its place: unknown."""
    real = tmp_path / "real"
    real.write_bytes(RoleFact(Role.ACTIVE, 1).encode())
    assert role_file.read(tmp_path).role is Role.UNKNOWN
    (tmp_path / role_file.NAME).symlink_to(real)
    assert role_file.read(tmp_path).role is Role.UNKNOWN
    (tmp_path / role_file.NAME).unlink()
    (tmp_path / role_file.NAME).mkdir()
    assert role_file.read(tmp_path).role is Role.UNKNOWN


def test_refused_declaration_leaves_the_file(tmp_path: Path) -> None:
    """A role that may not be declared leaves the old one."""
    clock = ManualClock(5)
    old = role_file.declare(tmp_path, Role.STANDBY, 3, clock=clock, by="", why="")
    with pytest.raises(Stop):
        role_file.declare(tmp_path, Role.ACTIVE, 3, clock=clock, by="", why="")

    assert role_file.read(tmp_path) == old


def test_encoded_role_parses_back() -> None:
    """The file's bytes give the same fact."""
    fact = RoleFact(Role.STANDBY, 9, 1, "é", 'a "word"')

    assert parse(fact.encode()) == fact


def test_last_hello_of_the_peer_is_kept(tmp_path: Path) -> None:
    """A standby, which asks nobody, knows what the other site said last."""
    assert peer_file.remembered(tmp_path) is None
    hello = Hello("west", Role.ACTIVE, 4, 9)
    peer_file.remember(tmp_path, hello)

    assert peer_file.remembered(tmp_path) == hello
    (tmp_path / peer_file.NAME).write_text("{}")
    assert peer_file.remembered(tmp_path) is None
