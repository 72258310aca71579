"""What the commands of hasync say to a person is true, whole, and names the way out."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from hasync import durable
from hasync.commands import cli, cli_look, ngpsync, standby
from hasync.commands.active import Told
from hasync.commands.checks import Level, Thresholds, check
from hasync.commands.cli_database import _held_lines
from hasync.commands.cli_tail import _differs
from hasync.commands.command import Context
from hasync.commands.options import NgpsyncOptions, PgsyncOptions
from hasync.commands.run_log import ALOUD, logging_to
from hasync.commands.status import Gathered, of
from hasync.commands.verbs import HasyncOptions, hasync_options
from hasync.database.restore import RestoreResult
from hasync.database.rollback import RollbackResult
from hasync.database.tail_diff import KEY, TableDifference, TailDifference
from hasync.failure import Exit, Stop
from hasync.peer.address import PeerAddress
from hasync.peer.agent import introduce
from hasync.peer.remote import Peer
from hasync.role import Role, RoleFact
from hasync.sets.backup import Kind, State, StoredSet
from hasync.sets.store import Store
from hasync.settings import Application, Folders, Settings, Signing
from hasync.settings import Peer as PeerSettings
from tests.set_bench import AT_NS, make_keys, make_store, publish, send

CLOCK = ManualClock(AT_NS)
LOG = logging.getLogger("hasync")


@pytest.fixture(name="keys", scope="module")
def make_two_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder, "east", "west")
    return folder


@pytest.fixture(name="east")
def make_east(tmp_path: Path, keys: Path) -> Store:
    return make_store(tmp_path / "east", keys, "east")


@pytest.fixture(name="west")
def make_west(tmp_path: Path, keys: Path) -> Context:
    """Give the standby "west", with an empty catalogue."""
    signing = Signing(keys / "west", keys / "allowed_signers")
    settings = Settings(
        "west",
        Folders(tmp_path / "west"),
        signing,
        application=Application(),
        peer=PeerSettings(site="east"),
    )
    state = settings.folders.state
    durable.make_folder(state)
    durable.write(state / "role.json", RoleFact(Role.STANDBY, 3).encode())
    return Context(settings, CLOCK, LOG)


def store_of(context: Context) -> Store:
    """Return the catalogue of the standby."""
    return cli_look.store_of(context)


def seen(role: Role, **more: object) -> Gathered:
    """Return the facts of a site without any set."""
    found = Gathered("west", AT_NS, RoleFact(role, 3))
    return replace(found, **more)  # type: ignore[arg-type] # fields of Gathered


@pytest.mark.parametrize(
    ("role", "words"),
    [
        (Role.ACTIVE, "nothing is proved at the other site yet: if this site is lost now, all"),
        (Role.STANDBY, "nothing is proved here yet: if the active site is lost now, all"),
    ],
)
def test_status_of_the_first_morning_is_a_sentence(role: Role, words: str) -> None:
    """Nothing proved is no age."""
    assert any(words in line for line in of(seen(role)).lines())


def test_quarantined_sets_are_told_until_somebody_has_looked(
    east: Store, west: Context, tmp_path: Path
) -> None:
    """By `sets`, `status` and `check`, with the place to look at."""
    stored = publish(east)
    part = send(east, stored, tmp_path / "west")
    (part / "stranger").touch()
    with pytest.raises(Stop, match="was refused"):
        store_of(west).receive(stored.id)
    place = f"inbox/quarantine/{stored.id}.1"

    told = cli_look.sets(west, HasyncOptions("sets"))
    judged = check(of(seen(Role.STANDBY, quarantined=(place,))), Thresholds())

    assert told.facts["quarantined"] == [place]
    assert any(place in line for line in told.lines)
    assert any(place in line for line in of(seen(Role.STANDBY, quarantined=(place,))).lines())
    assert (Level.WARNING, f"1 refused, the last is {place}: look, then remove it") in judged.said


def test_a_role_that_is_none_is_refused_with_those_there_are() -> None:
    """The empty word is not among them."""
    with pytest.raises(InputError, match="'boss' is no role: active or standby") as refused:
        hasync_options(["role", "set", "boss", "--epoch", "2"])

    assert "''" not in str(refused.value)


def test_init_without_the_right_to_make_a_folder_names_the_command_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `install -d` makes is what is missing; nothing was made."""

    def denied(path: Path) -> None:
        with durable.telling("make the folder", path):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(durable, "make_folder", denied)
    base, file = tmp_path / "base", tmp_path / "etc/hasync.toml"
    words = ["init", "--site", "a", "--peer", "b", "--base", str(base), "--config", str(file)]

    assert cli.main(words) == Exit.FAILED

    said = capsys.readouterr().err
    assert "as root, first: install -d -m 700 -o " in said
    assert f" {base} {file.parent}" in said


def test_ngpsync_on_a_standby_says_what_it_did(east: Store, west: Context, tmp_path: Path) -> None:
    """Taken in or not: the role, what is kept here, and that nothing goes live by itself."""
    send(east, publish(east, kind=Kind.APPLICATION), tmp_path / "west")
    options = NgpsyncOptions("db2")

    first, second = ngpsync.act(west, options), ngpsync.act(west, options)

    assert first.lines[0].startswith("taken in e000003-")
    assert len(second.lines) == 1
    assert second.lines[0].startswith("this site is the standby; sets of the application here: 1, ")


def test_a_table_of_a_diff_is_read_without_guessing() -> None:
    """How many rows were compared, and by what."""
    table = TableDifference("public.calls", KEY, True, 1, 1, 0, ('{"n" : 9}',))

    told = _differs(TailDifference("ngp__tail_5", 7, (table,), 3, (), 0))

    assert told.lines[1] == (
        "public.calls: 1 missing, 0 with another content (1 row compared by primary key);"
        ' for example {"n" : 9}'
    )
    assert "all rows were compared" in _differs(TailDifference("t", None, (), 0, (), 0)).lines[1]


def test_a_second_rollback_does_not_say_that_a_set_waits(east: Store) -> None:
    """The older set is held too, but no run would take it; the newer one needs a release."""
    old, new = publish(east), publish(east)
    catalogue = east.scan()

    back = _held_lines(catalogue, RollbackResult(old.id, "p", new.id, 0.1, 1.0))
    forth = _held_lines(catalogue, RollbackResult(new.id, "p", old.id, 0.1, 1.0))

    assert f"until `hasync release {new.name.text}`" in back[0]
    assert forth == [f"runs go on from {new.name.text}; {old.name.text} is older, so none takes it"]


def test_a_previous_database_that_became_a_tail_is_told(east: Store) -> None:
    """It was written to after it was replaced: somebody should look."""
    stored, told = publish(east), Told()
    pruned = ("dropped ngp__prev_4", "kept ngp__prev_5 as ngp__tail_5")
    result = RestoreResult(stored.id, 1, {"load": 1.0}, 0.1, "", False, (), pruned)

    standby.tell(told, east, stored, result)

    assert set(pruned) <= set(told.lines)
    assert told.attention == [f"{pruned[1]}, with rows of its own: hasync tail diff"]


def test_a_peer_that_is_not_reached_is_told_at_once(
    west: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr when the first attempt has failed, not after two minutes of silence."""
    waits: list[float] = []
    clock = ManualClock(AT_NS)

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            printed.append(capsys.readouterr().err)
        clock.advance(round(seconds * 1e9))

    printed: list[str] = []
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'ssh: connect to host db2 port 22: No route' >&2\nexit 255\n")
    ssh.chmod(0o755)
    settings = replace(west.settings, peer=PeerSettings(site="east", ssh=(str(ssh),)))
    peer = Peer(settings, PeerAddress.parse("db2"), clock=clock, wait=wait)
    with logging_to(tmp_path / "log", "pgsync"), pytest.raises(Stop):
        peer.hello(introduce(settings, clock, store_of(west)))

    assert len(waits) > 3
    assert printed[0].startswith("pgsync: ")
    assert "tried again for 110 s" in printed[0]
    assert capsys.readouterr().err == ""


def test_only_what_is_meant_for_a_person_is_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest stays in the log; a control character never reaches the terminal."""
    durable.make_folder(tmp_path / "log")
    with logging_to(tmp_path / "log", "pgsync"):
        LOG.warning("silent")
        LOG.warning("a\x1b[2Jb", extra=ALOUD)

    assert capsys.readouterr().err == "pgsync: a\\x1b[2Jb\n"
    assert "silent" in (tmp_path / "log/pgsync.log").read_text()


class Waits:
    """Arrivals of a test's own: nothing comes, and time goes by."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def wait(self, limit_s: float) -> bool:
        """Let the time pass."""
        self._clock.advance(round(limit_s * 1e9))
        return False


def waited(
    west: Context, monkeypatch: pytest.MonkeyPatch, answers: Callable[[float], Stop | None]
) -> tuple[list[float], bool, list[Stop]]:
    """Return when the only set was tried, in seconds; whether it is live; and the troubles."""
    clock, tries = ManualClock(AT_NS), []
    context = Context(west.settings, clock, LOG)
    begun_ns = clock.monotonic_ns()

    def attempt(_self: object, _stored: StoredSet) -> Stop | None:
        tries.append((clock.monotonic_ns() - begun_ns) / 1e9)
        return answers(tries[-1])

    monkeypatch.setattr(standby._Wait, "_attempt", attempt)  # noqa: SLF001
    monkeypatch.setattr(standby, "refuse_unless_standby", lambda _: None)
    wait = standby._Wait(context, store_of(context), PgsyncOptions("h"), Told())  # noqa: SLF001
    live = wait.until(begun_ns + 900 * 10**9, Waits(clock))  # type: ignore[arg-type]
    return tries, live, wait.troubles


@pytest.fixture(name="arrived")
def make_arrived(east: Store, west: Context, tmp_path: Path) -> StoredSet:
    """Give a set that waits at west to be restored."""
    stored = publish(east)
    send(east, stored, tmp_path / "west")
    return store_of(west).receive(stored.id)


@pytest.mark.usefixtures("arrived")
def test_a_fault_that_passes_costs_a_minute_and_no_night(
    west: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space, a lost server: the same set is tried again, later and later."""
    full = Stop(Exit.NO_SPACE, "no space for the restore")

    tries, live, troubles = waited(west, monkeypatch, lambda at_s: full if at_s < 170 else None)

    assert live
    assert tries == [0.0, 60.0, 180.0]
    assert [str(one) for one in troubles] == ["no space for the restore"]


@pytest.mark.usefixtures("arrived")
def test_a_set_that_is_at_fault_is_not_tried_twice_in_a_run(
    west: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own back-off is on record with it."""
    bad = Stop(Exit.NOT_VERIFIED, "the set is corrupt")

    tries, live, _ = waited(west, monkeypatch, lambda _: bad)

    assert (tries, live) == ([0.0], False)


def test_status_of_a_mediation_server_names_the_set_that_is_installed(east: Store) -> None:
    """Not a database that it does not have."""
    stored = publish(east, kind=Kind.APPLICATION)
    facts = seen(Role.STANDBY, sets=east.scan().sets)

    before = of(facts).lines()
    after = of(replace(facts, installed=stored.id)).lines()

    assert "installed and live: no set; the trees are this host's own" in before
    assert f"installed and live: {stored.name.text}" in after
    assert not any("restored and live" in line for line in before)


def test_json_of_status_names_the_quarantined() -> None:
    """A program reads it too."""
    found = of(seen(Role.STANDBY, quarantined=("inbox/quarantine/x",)))

    assert json.loads(json.dumps(found.to_json()))["quarantined"] == ["inbox/quarantine/x"]
    assert State.VERIFIED in found.to_json()["sets"]
