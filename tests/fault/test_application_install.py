"""Application sets become live, and are taken back; killed at every step and system call (F47)."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.files import exchange
from hasync.files.application import install, settle_install, undo
from hasync.files.exchange import installed, unsettled
from hasync.sets.backup import State, StoredSet
from hasync.settings import Database, Service, Settings
from hasync.steps import failpoints
from tests.application_bench import (
    RUNNING,
    STOPPED,
    UNKNOWN,
    Picture,
    activate,
    bring,
    fill,
    host,
    leftovers,
    live,
    picture,
    pictures,
    published,
    store_of,
    with_application,
)
from tests.fault.sample import SEED, SOAK, orders, some, taken
from tests.lab.peers import need
from tests.set_bench import AT_NS, make_keys

ROOT = Path(__file__).parent.parent.parent
CLOCK = ManualClock(AT_NS)
Observe = Callable[[str, object], None]


class Scene:
    """A standby with its own trees, and a set of the active site in its catalogue."""

    def __init__(self, base: Path, keys: Path, set_id: str) -> None:
        self.base, self.keys, self.set_id = base, keys, set_id

    @property
    def settings(self) -> Settings:
        """Return the standby's settings."""
        return host(self.base, self.keys, "west")

    @property
    def stored(self) -> StoredSet:
        """Return the set."""
        return store_of(self.settings).scan().find(self.set_id)

    def install(self, settings: Settings | None = None) -> None:
        """Make the set live."""
        settings = settings or self.settings
        install(settings, store_of(settings), self.stored, CLOCK, reserve_bytes=0)

    def copy(self, place: Path) -> "Scene":
        """Return the same scene in another folder."""
        shutil.copytree(self.base, place, symlinks=True)
        return Scene(place, self.keys, self.set_id)

    def step(self, verb: str, *before: str, failpoint: str = "") -> int:
        """Return the exit code of one step in a process of its own."""
        words = [verb, str(self.base), str(self.keys), "west", self.set_id]
        argv = [*before, sys.executable, "-S", "-m", "tests.fault.application_step", *words]
        env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        if failpoint:
            env["HASYNC_FAILPOINT"] = failpoint
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)
        self.said = done.stderr.decode()
        return done.returncode


@pytest.fixture(name="scene", scope="module")
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A standby that has received the active site's set."""
    folder = tmp_path_factory.mktemp("install")
    make_keys(folder, "east", "west")
    east, west = host(folder / "e", folder, "east"), host(folder / "w", folder, "west")
    fill(folder / "e", "active")
    fill(folder / "w", "standby-before")
    activate(east)
    stored = bring(east, published(east), west)
    return Scene(folder / "w", folder, stored.id)


@pytest.fixture(name="own")
def make_own(scene: Scene, tmp_path: Path) -> Scene:
    """A scene of the test's own."""
    return scene.copy(tmp_path / "w")


@pytest.fixture(name="after", scope="module")
def make_after(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The content of each tree after an install that nobody disturbed."""
    mine = scene.copy(tmp_path_factory.mktemp("after") / "w")
    mine.install()
    return {name: plain(shown) for name, shown in pictures(mine.settings).items()}


def plain(shown: Picture) -> set[str]:
    """Return names and content alone: carried files have times of their own."""
    return {f"{path} {one[0]} {one[-1]}" for path, one in shown.items()}


def test_the_new_tree_is_the_sets_and_the_hosts_own(own: Scene) -> None:
    """All of the set, the host's own network, log and links; nothing stale of the old tree."""
    own.install()

    ngp, m2 = live(own.settings).values()
    assert (ngp / "login.conf").read_text() == "active"
    assert (ngp / "bin/current").readlink() == Path("ngp.sh")
    assert (ngp / "bin/ngp.sh").stat().st_mode & 0o777 == 0o750
    assert (m2 / "repository/ngp/r.jar").read_bytes() == b"active" * 1000
    assert {path.name for path in ngp.iterdir() if path.name.startswith("rules")} == {
        "rules-active"
    }
    assert (ngp / "config/network/jboss_mediation_ip").read_text() == "192.0.2.14"
    assert (ngp / "log/server.txt").read_text() == "log of standby-before"
    assert (ngp / "java").readlink() == Path("/usr/lib/jvm/standby-before")
    assert leftovers(own.settings) == []
    assert own.stored.state.state is State.RESTORED


def test_undo_gives_back_the_tree_to_the_byte(own: Scene) -> None:
    """What was live before is live again, and a second undo is a redo."""
    before = pictures(own.settings)
    own.install()
    after = pictures(own.settings)

    assert undo(own.settings, CLOCK).set_id == ""
    assert pictures(own.settings) == before
    assert undo(own.settings, CLOCK).set_id == own.set_id
    assert pictures(own.settings) == after
    assert leftovers(own.settings) == []


def test_what_the_host_writes_after_the_install_leaves_the_previous_tree_alone(own: Scene) -> None:
    """Carried files are copies: a log written on stays as it was in the previous tree."""
    before = pictures(own.settings)
    own.install()
    log = live(own.settings)["ngp"] / "log/server.txt"
    log.write_text("written after")

    undo(own.settings, CLOCK)

    assert pictures(own.settings) == before


def test_installing_again_keeps_one_previous_tree(own: Scene) -> None:
    """The same set twice: the previous tree is the one of the first install."""
    own.install()
    first = pictures(own.settings)
    own.install()

    undo(own.settings, CLOCK)

    assert pictures(own.settings) == first
    assert leftovers(own.settings) == []


@pytest.mark.parametrize("service", [RUNNING, UNKNOWN])
def test_a_service_that_may_run_forbids_it(own: Scene, service: object) -> None:
    """Active and unknown both refuse install and undo, and change nothing."""
    own.install()
    before = pictures(own.settings)
    settings = replace(own.settings, service=service)

    for act in (lambda: own.install(settings), lambda: undo(settings, CLOCK)):
        with pytest.raises(Stop) as stopped:
            act()
        assert stopped.value.code is Exit.REFUSED

    assert pictures(own.settings) == before


def test_a_service_that_starts_meanwhile_stops_the_exchange(
    own: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is asked again immediately before the exchange (H12)."""
    before = pictures(own.settings)
    answers = iter([STOPPED, RUNNING])
    real = install.__globals__["probe"]
    monkeypatch.setitem(install.__globals__, "probe", lambda _: real(next(answers)))

    with pytest.raises(Stop) as stopped:
        own.install()

    assert stopped.value.code is Exit.REFUSED
    assert pictures(own.settings) == before
    assert leftovers(own.settings) == []


@pytest.mark.parametrize("name", ["ngp.tar.zst", "members.jsonl"])
def test_a_damaged_set_is_refused(own: Scene, name: str) -> None:
    """One flipped bit: not verified, nothing extracted, the tree as before (F19)."""
    before = pictures(own.settings)
    file = store_of(own.settings).folder(own.stored) / "data" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))

    with pytest.raises(Stop) as stopped:
        own.install()

    assert stopped.value.code is Exit.NOT_VERIFIED
    assert pictures(own.settings) == before
    assert leftovers(own.settings) == []


def test_no_space_is_seen_before_anything_is_made(own: Scene) -> None:
    """A reserve larger than the disk: refused with both numbers."""
    store = store_of(own.settings)

    with pytest.raises(Stop, match=r"needs .* has") as stopped:
        install(own.settings, store, own.stored, CLOCK, reserve_bytes=1 << 60)

    assert stopped.value.code is Exit.NO_SPACE
    assert leftovers(own.settings) == []


def test_a_set_with_what_the_host_keeps_is_refused(own: Scene) -> None:
    """Exclusions that differ between the sites never bring a stranger's configuration in."""
    settings = with_application(own.settings, exclude=("ngp/bin",))

    with pytest.raises(Stop, match="what this host keeps as its own") as stopped:
        own.install(settings)

    assert stopped.value.code is Exit.REFUSED


def test_a_path_that_only_the_active_site_leaves_out_is_kept(own: Scene) -> None:
    """What the set's own rules exclude stays this host's, though its own rules do not say so."""
    settings = with_application(own.settings, exclude=("ngp/config/network",))

    own.install(settings)

    log = live(own.settings)["ngp"] / "log/server.txt"
    assert log.read_text() == "log of standby-before"


def test_a_tree_that_holds_the_database_is_refused(own: Scene) -> None:
    """PGDATA or our own folders below a root would move with it: never."""
    data = live(own.settings)["ngp"] / "db"
    data.mkdir()
    database = Database(socket="/tmp", bin=Path("/usr/bin"), data=data)  # noqa: S108 - not used

    with pytest.raises(Stop, match="must not be exchanged") as stopped:
        own.install(replace(own.settings, database=database))

    assert stopped.value.code is Exit.CONFIG


def test_a_mount_in_the_tree_is_refused(own: Scene) -> None:
    """A file system mounted in the live tree would stay behind in the old one."""
    log = live(own.settings)["ngp"] / "log"
    argv = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(log)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("needs root to mount a tmpfs")
    try:
        with pytest.raises(Stop, match="is mounted in the tree") as stopped:
            own.install()
    finally:
        subprocess.run(["umount", str(log)], check=True)

    assert stopped.value.code is Exit.REFUSED


def test_a_set_of_another_kind_is_refused(own: Scene) -> None:
    """A root that this host does not have is named."""
    settings = with_application(own.settings, roots=())

    with pytest.raises(InputError, match="does not have"):
        own.install(settings)


def test_an_exchange_that_fails_half_way_is_taken_back(
    own: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second root cannot be exchanged: the first one is given back, nothing is left over."""
    before = pictures(own.settings)
    real, calls = exchange.durable.exchange, Counter[str]()

    def second_fails(one: Path, other: Path) -> None:
        calls["exchange"] += 1
        if calls["exchange"] == 2:
            raise Stop(Exit.FAILED, "cannot exchange")
        real(one, other)

    monkeypatch.setattr(exchange.durable, "exchange", second_fails)
    with pytest.raises(Stop, match="cannot exchange"):
        own.install()

    assert calls["exchange"] == 3
    assert pictures(own.settings) == before
    assert leftovers(own.settings) == []
    assert unsettled(own.settings.folders.state) is None


def test_a_half_exchange_waits_for_the_service_to_stop(own: Scene) -> None:
    """After a crash the service may have been started: the trees are not moved under it."""
    assert own.step("install", failpoint="install.exchange.after:kill") == -9
    plan = unsettled(own.settings.folders.state)
    assert plan is not None
    one, other = plan.pairs
    durable.exchange(one.other, Path(one.live))  # as it was when the kill came earlier
    shown = pictures(own.settings)

    with pytest.raises(Stop) as stopped:
        settle_install(replace(own.settings, service=RUNNING), CLOCK)

    assert stopped.value.code is Exit.REFUSED
    assert f"of set {own.set_id}: {other.live};" in stopped.value.fact
    assert "hasync recover" in stopped.value.fix
    assert unsettled(own.settings.folders.state) is not None
    assert pictures(own.settings) == shown
    assert settle_install(own.settings, CLOCK)
    assert leftovers(own.settings) == []


@pytest.mark.parametrize("service", [RUNNING, UNKNOWN])
@pytest.mark.parametrize("verb", ["install", "undo"])
@pytest.mark.parametrize("exchanged", [False, True])
def test_what_moves_no_live_tree_is_settled_under_a_running_service(
    own: Scene, verb: str, service: Service, exchanged: bool
) -> None:
    """Nothing exchanged yet: forgotten. Everything exchanged: finished. No run ends with 11."""
    if verb == "undo":
        own.install()
    assert own.step(verb, failpoint=f"{verb}.exchange.after:kill") == -9
    plan = unsettled(own.settings.folders.state)
    assert plan is not None
    if not exchanged:
        for pair in plan.pairs:
            durable.exchange(pair.other, Path(pair.live))
    shown = pictures(own.settings)

    told = settle_install(replace(own.settings, service=service), CLOCK)

    assert ("exchange completed" if exchanged else "nothing was exchanged") in told[0]
    assert pictures(own.settings) == shown
    assert unsettled(own.settings.folders.state) is None
    assert leftovers(own.settings) == []


def test_a_tree_replaced_by_hand_is_never_touched(own: Scene) -> None:
    """Somebody moved the live tree after the crash: recover tells, and moves nothing."""
    assert own.step("install", failpoint="install.exchange.after:kill") == -9
    ngp = live(own.settings)["ngp"]
    ngp.rename(ngp.with_name("ngp.saved"))
    ngp.mkdir()

    with pytest.raises(Stop) as stopped:
        settle_install(own.settings, CLOCK)

    assert stopped.value.code is Exit.RECOVER
    assert list(ngp.iterdir()) == []


def check_killed(own: Scene, before: dict[str, Picture], after: dict[str, set[str]]) -> None:
    """Each live tree is the old or the new one; a rerun converges; undo gives the old one back."""
    for name, shown in pictures(own.settings).items():
        assert shown == before[name] or plain(shown) == after[name], f"{name} is mixed"
    settle_install(own.settings, CLOCK)
    settled = pictures(own.settings)
    old = [shown == before[name] for name, shown in settled.items()]
    assert all(old) or not any(old), "one root is old, the other is new"
    assert leftovers(own.settings) == []
    if all(old):
        own.install()
    assert {name: plain(shown) for name, shown in pictures(own.settings).items()} == after
    assert unsettled(own.settings.folders.state) is None
    undo(own.settings, CLOCK)
    assert pictures(own.settings) == before
    assert leftovers(own.settings) == []


INSTALL = [one for one in failpoints() if one.startswith("install.")]
ORDERS = orders(INSTALL, always=".exchange.")
KILLS = [order for order in ORDERS if order.endswith(":kill")]


@pytest.mark.parametrize("order", KILLS)
def test_an_install_killed_at_a_step_is_old_or_new(
    own: Scene, after: dict[str, set[str]], order: str, record_property: Observe
) -> None:
    """Old or new tree, never mixed; the next run ends well; undo brings the old one back (F47)."""
    record_property("observed", taken(len(KILLS), len(INSTALL), "points killed at"))
    before = pictures(own.settings)

    assert own.step("install", failpoint=order) == -9

    check_killed(own, before, after)


@pytest.mark.parametrize("order", [order for order in ORDERS if order not in KILLS])
def test_an_install_that_fails_at_a_step_is_old_or_new(
    own: Scene, after: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """A refusal or a full disk at any step leaves the same choice, and no temporary trees."""
    before = pictures(own.settings)
    with monkeypatch.context() as patch:
        patch.setenv("HASYNC_FAILPOINT", order)

        with pytest.raises((Stop, OSError)):
            own.install()

    check_killed(own, before, after)


UNDO = orders([one for one in failpoints() if one.startswith("undo.")], always=".exchange.")


@pytest.mark.parametrize("order", [order for order in UNDO if order.endswith(":kill")])
def test_an_undo_killed_at_a_step_is_old_or_new(own: Scene, order: str) -> None:
    """Undo is as safe as the install that it takes back."""
    before = pictures(own.settings)
    own.install()
    after = pictures(own.settings)

    assert own.step("undo", failpoint=order) == -9

    for name, shown in pictures(own.settings).items():
        assert shown in (before[name], after[name])
    settle_install(own.settings, CLOCK)
    assert pictures(own.settings) in (before, after)
    if pictures(own.settings) == after:
        undo(own.settings, CLOCK)
    assert pictures(own.settings) == before
    assert leftovers(own.settings) == []


CALLS = ("renameat2", "rename", "unlinkat", "rmdir", "unlink")
KILLED = 8  # of some thirty kills; all of them in a soak


@pytest.mark.parametrize("count", [KILLED], ids=["all" if SOAK else f"{KILLED} by seed {SEED}"])
def test_an_install_killed_at_a_system_call_is_old_or_new(
    scene: Scene,
    after: dict[str, set[str]],
    tmp_path: Path,
    record_property: Observe,
    count: int,
) -> None:
    """SIGKILL before renames and removals that an install makes (F09, F47)."""
    program = need("strace", "strace")
    again = scene.copy(tmp_path / "again")
    again.install()  # so that there is a previous tree to remove
    for path in live(again.settings).values():
        (path / "stale").write_text("of the old tree")
    counted = again.copy(tmp_path / "counted")
    calls = tmp_path / "calls"
    trace = (program, "-qq", "-e", f"trace={','.join(CALLS)}", "-o", str(calls))
    assert counted.step("install", *trace) == 0
    made = Counter(re.findall(r"^(\w+)\(", calls.read_text(), re.MULTILINE))
    assert made["renameat2"] >= 2 * 4  # two roots: to swap, exchange, previous away, to previous
    kills = []
    for call, times in made.items():
        edge = 4 if call in {"unlinkat", "rmdir"} else times  # those of one tree are all alike
        numbers = sorted({*range(1, times + 1)[:edge], *range(1, times + 1)[-edge:]})
        kills += [(call, number) for number in numbers]
    assert len(kills) >= 12
    exchanges = [one for one in kills if one[0] == "renameat2"]
    removals = [one for one in kills if one not in exchanges]
    chosen = [*some(exchanges, count // 2), *some(removals, count // 2)]
    record_property("observed", taken(len(chosen), len(kills), "system calls killed at"))
    for call, number in chosen:
        own = again.copy(tmp_path / f"{call}{number}")
        before = pictures(own.settings)
        inject = f"inject={call}:signal=KILL:when={number}"
        code = own.step("install", program, "-qq", "-e", f"trace={call}", "-e", inject)
        assert code == -9, f"{call} {number}: {code} {own.said}"
        check_killed(own, before, after)
        shutil.rmtree(own.base)


def test_what_is_installed_is_on_record(own: Scene) -> None:
    """`status` can tell which set the live trees are of, and what was before."""
    own.install()

    found = installed(own.settings.folders.state)

    assert found is not None
    assert (found.set_id, found.before_id, found.undo) == (own.set_id, "", False)


def test_a_foreign_folder_beside_the_trees_is_never_touched(own: Scene) -> None:
    """Only our own strict names are removed beside a live tree (F43)."""
    beside = live(own.settings)["ngp"].parent
    for name in ("ngp.bak", ".hasync-new-ngp", ".hasync-new-ngp-XYZ", ".hasync-swap-ngp-00000000"):
        (beside / name).mkdir()
        (beside / name / "precious").write_text(name)
    before = {path.name: picture(path) for path in beside.iterdir() if path.name != "ngp"}

    own.install()
    settle_install(own.settings, CLOCK)

    shown = {path.name: picture(path) for path in beside.iterdir() if path.name != "ngp"}
    shown.pop(".hasync-prev-ngp")
    assert shown == before
