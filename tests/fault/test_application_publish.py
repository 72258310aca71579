"""ngpsync from both sides: sets made, killed at every step, sent, taken in, listed, refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from hasync import role_file
from hasync.failure import Exit, Stop
from hasync.files.application import publish
from hasync.files.exchange import PLAN
from hasync.role import Role
from hasync.sets.backup import Kind, State
from hasync.settings import Database, Settings
from hasync.steps import failpoints
from tests.application_bench import (
    Picture,
    activate,
    bring,
    fill,
    host,
    pictures,
    published,
    store_of,
    with_application,
)
from tests.fault.sample import orders
from tests.set_bench import AT_NS, make_keys

ROOT = Path(__file__).parent.parent.parent
CLOCK = ManualClock(AT_NS)
SSH = """#!/bin/sh
# what the last words say, here: options are passed over, the log gets what ssh -v would write
log=/dev/null
while [ "${1#-}" != "$1" ] && [ "$1" != -- ]; do
  case $1 in
    -E) log=$2; shift ;;
    -[oplFSO]) shift ;;
  esac
  shift
done
[ "$1" = -- ] && shift
shift
sh -c "$*"
code=$?
printf 'debug1: Sending command: x\\ndebug1: Exit status %s\\n' $code >> "$log"
exit $code
"""
COMMAND = "import sys; from {0} import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(name="keys", scope="module")
def make_two_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of both sites."""
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder, "east", "west")
    return folder


@pytest.fixture(name="east")
def make_east(tmp_path: Path, keys: Path) -> Settings:
    """The active site, its trees filled."""
    settings = host(tmp_path / "e", keys, "east")
    fill(tmp_path / "e", "active")
    activate(settings)
    return settings


def test_a_set_says_what_is_in_it(east: Settings) -> None:
    """The manifest names roots, exclusions, links of the host, and what stayed out."""
    before = pictures(east)

    stored = published(east)

    assert stored.manifest is not None
    assert stored.state.state is State.VERIFIED
    assert [entry.path for entry in stored.manifest.files] == [
        "m2.tar.zst",
        "members.jsonl",
        "ngp.tar.zst",
    ]
    facts = stored.manifest.facts
    assert [root["name"] for root in facts["roots"]] == ["ngp", "m2"]
    assert facts["host_links"] == ["ngp/java"]
    assert "ngp/log: excluded by ngp/log" in facts["left_out"]
    assert "ngp/config/network: excluded by ngp/config/network" in facts["left_out"]
    assert pictures(east) == before


ORDERS = orders([one for one in failpoints() if one.startswith("application.")])
KILLS = [order for order in ORDERS if order.endswith(":kill")]


def check_cut(east: Settings, before: dict[str, Picture]) -> None:
    """Every set is whole, the next run makes one more, and nothing is left over."""
    store = store_of(east)
    there = store.scan().of(Kind.APPLICATION)
    assert len(there) in {1, 2}
    assert all(store.verify(one).proved for one in there)
    stored = published(east)
    assert stored.name.sequence > max(one.name.sequence for one in there)
    assert len(store.scan().of(Kind.APPLICATION)) == len(there) + 1
    assert list(east.folders.work.iterdir()) == []
    assert pictures(east) == before


@pytest.mark.parametrize("order", KILLS)
def test_publishing_that_is_killed_leaves_whole_sets_only(
    east: Settings, keys: Path, order: str
) -> None:
    """Killed before or after any step: every set verifies, the next run makes one more (F09)."""
    published(east)
    before = pictures(east)
    argv = [sys.executable, "-S", "-m", "tests.fault.application_step"]
    argv += ["publish", str(east.folders.base.parent), str(keys), "east", "-"]
    env = {"PATH": os.environ["PATH"], "HASYNC_FAILPOINT": order}

    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)

    assert done.returncode == -9
    check_cut(east, before)


@pytest.mark.parametrize("order", [order for order in ORDERS if order not in KILLS])
def test_publishing_that_fails_leaves_whole_sets_only(
    east: Settings, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """A refusal or a full disk at any step leaves no half set, and nothing in work/."""
    published(east)
    before = pictures(east)
    with monkeypatch.context() as patch:
        patch.setenv("HASYNC_FAILPOINT", order)

        with pytest.raises((Stop, OSError)):
            published(east)

    assert list(east.folders.work.iterdir()) == []
    check_cut(east, before)


def test_only_an_active_site_publishes(east: Settings) -> None:
    """A standby and a site that does not know its role make no set (H10)."""
    (east.folders.state / role_file.NAME).write_text("torn")

    with pytest.raises(Stop) as stopped:
        published(east)

    assert stopped.value.code is Exit.REFUSED
    assert store_of(east).scan().sets == ()


def test_trees_of_two_sets_are_never_published(east: Settings) -> None:
    """An install that was cut half way is settled first."""
    plan = {"undo": True, "set_id": "", "before_id": "", "at_ns": 0, "pairs": []}
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    (east.folders.state / PLAN).write_text(text + "\n")

    with pytest.raises(Stop) as stopped:
        published(east)

    assert stopped.value.code is Exit.RECOVER


def without_a_root(settings: Settings) -> Settings:
    assert settings.application is not None
    (settings.application.roots[1].path / "repository").rename(settings.folders.base / "x")
    settings.application.roots[1].path.rmdir()
    return settings


def too_small(settings: Settings) -> Settings:
    return with_application(settings, min_bytes=1 << 40)


def itself_inside(settings: Settings) -> Settings:
    assert settings.application is not None
    top = replace(settings.application.roots[0], path=settings.folders.base.parent)
    return with_application(settings, roots=(top,))


def one_in_the_other(settings: Settings) -> Settings:
    assert settings.application is not None
    first = settings.application.roots[0]
    inner = replace(first, name="bin", path=first.path / "bin")
    return with_application(settings, roots=(first, inner))


def database_inside(settings: Settings) -> Settings:
    assert settings.application is not None
    data = settings.application.roots[0].path / "db"
    data.mkdir()
    database = Database(socket="/run", bin=Path("/usr/bin"), data=data)
    return replace(settings, database=database)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (without_a_root, Exit.FAILED),
        (too_small, Exit.FAILED),
        (itself_inside, Exit.CONFIG),
        (one_in_the_other, Exit.CONFIG),
        (database_inside, Exit.CONFIG),
    ],
)
def test_what_cannot_be_a_whole_set_is_refused(
    east: Settings, spoil: Callable[[Settings], Settings], code: Exit
) -> None:
    """A root missing or too small, or one that holds what is no part of it: no set (H44, H45)."""
    settings = spoil(east)

    with pytest.raises(Stop) as stopped:
        publish(settings, store_of(settings), CLOCK)

    assert stopped.value.code is code
    assert store_of(settings).scan().sets == ()
    assert list(settings.folders.work.iterdir()) == []


def test_two_roots_of_one_name_are_refused(east: Settings) -> None:
    """Each root has a name of its own, and one that is a plain word."""
    assert east.application is not None
    first = east.application.roots[0]
    for roots in ((first, first), (replace(first, name="../x"),)):
        with pytest.raises(InputError):
            published(with_application(east, roots=roots))


class Host:
    """One site, run by its commands alone, its peer reached through a stand-in for ssh."""

    def __init__(self, settings: Settings, keys: Path, peer: str) -> None:
        self.settings, self.folder = settings, settings.folders.base.parent
        self.config = self.folder / "hasync.toml"
        ssh = self.folder / "ssh"
        ssh.write_text(SSH)
        ssh.chmod(0o755)
        agent = [
            "env",
            f"PYTHONPATH={ROOT}",
            sys.executable,
            "-S",
            "-c",
            COMMAND.format("hasync.commands.cli"),
            "agent",
            "--config",
            peer,
        ]
        self.config.write_text(f"""
            site = "{settings.site}"
            [folders]
            base = "{settings.folders.base}"
            [signing]
            key = "{keys / settings.site}"
            allowed_signers = "{keys / "allowed_signers"}"
            [application]
            [[application.roots]]
            name = "ngp"
            path = "{self.folder}/opt/ngp"
            [[application.roots]]
            name = "m2"
            path = "{self.folder}/root/.m2"
            [peer]
            site = "{"east" if settings.site == "west" else "west"}"
            ssh = ["{ssh}"]
            agent = {json.dumps(agent)}
            [service]
            status = ["false"]
            active = [0]
            inactive = [1]
        """)

    def run(self, *words: str, program: str = "ngpsync") -> subprocess.CompletedProcess[str]:
        """Return how one command ended."""
        argv = [sys.executable, "-S", "-c", COMMAND.format(f"hasync.commands.{program}"), *words]
        return subprocess.run(
            [*argv, "--config", str(self.config)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(name="pair")
def make_pair(east: Settings, tmp_path: Path, keys: Path) -> tuple[Host, Host]:
    """Both sites; west is the standby."""
    west = host(tmp_path / "w", keys, "west")
    fill(tmp_path / "w", "standby")
    role_file.declare(west.folders.state, Role.STANDBY, 1, clock=CLOCK, by="test", why="")
    paths = [str(one.folders.base.parent / "hasync.toml") for one in (east, west)]
    return Host(east, keys, paths[1]), Host(west, keys, paths[0])


def test_the_guides_day(pair: tuple[Host, Host]) -> None:
    """Archive, send and keep on the active site; keep on the standby; install and undo by hand."""
    east, west = pair

    for day in range(3):
        sent = east.run("-b", "2", "ms2.example.net")
        assert (sent.returncode, sent.stderr) == (0, ""), day
        taken = west.run("ms1.example.net", "-b", "2")
        assert (taken.returncode, taken.stderr) == (0, ""), day

    for one in pair:
        sets = store_of(one.settings).scan().of(Kind.APPLICATION, "east")
        assert [stored.name.sequence for stored in sets] == [2, 3]
        assert all(stored.state.state is State.VERIFIED for stored in sets)
    before = pictures(west.settings)
    newest = sets[-1].name.text
    assert west.run("install", newest, program="cli").returncode == 0
    assert pictures(west.settings)["m2"] == pictures(east.settings)["m2"]
    assert west.run("install", "--undo", program="cli").returncode == 0
    assert pictures(west.settings) == before


def test_a_peer_that_is_away_costs_no_set(pair: tuple[Host, Host]) -> None:
    """The set is made and kept, the exit code says that it was not sent; the next run sends it."""
    east, west = pair
    ssh = east.folder / "ssh"
    good = ssh.read_text()
    ssh.write_text("#!/bin/sh\necho 'Host key verification failed.' >> $3\nexit 255\n")
    first = east.run("ms2.example.net")
    made = store_of(east.settings).scan().of(Kind.APPLICATION)
    ssh.write_text(good)

    assert first.returncode == Exit.TRUST
    assert len(made) == 1
    second = east.run("ms2.example.net")

    assert second.returncode == 0, second.stderr
    assert len(store_of(west.settings).scan().of(Kind.APPLICATION)) == 2


def test_a_set_left_in_the_inbox_is_taken_in(pair: tuple[Host, Host]) -> None:
    """A sender that died before its commit: the standby's own run takes the whole set in."""
    east, west = pair
    stored = published(east.settings)
    part = west.settings.folders.inbox / f"{stored.id}.part"
    subprocess.run(["cp", "-a", store_of(east.settings).folder(stored), part], check=True)

    assert west.run("ms1.example.net").returncode == 0

    found = store_of(west.settings).scan().by_id(stored.id)
    assert found is not None
    assert found.state.state is State.VERIFIED


def test_list_shows_what_goes_and_what_does_not(pair: tuple[Host, Host]) -> None:
    """Every path with the rule that leaves it out; no host is needed, nothing is made."""
    east, _ = pair

    shown = east.run("--list")
    as_json = json.loads(east.run("--list", "--json").stdout)

    lines = shown.stdout.splitlines()
    assert "+  ngp/login.conf" in lines
    assert "-  ngp/log  (excluded by ngp/log)" in lines
    assert "-  ngp/java  (a link that may lead out of its tree)" in lines
    assert "6 go in" not in lines[-1]
    assert "go in" in lines[-1]
    assert {"path": "ngp/log", "left_out": "excluded by ngp/log", "bytes": 0} in as_json["paths"]
    assert store_of(east.settings).scan().sets == ()


def test_dry_run_shows_the_steps_and_does_none(pair: tuple[Host, Host]) -> None:
    """The steps are those of the list that also runs."""
    for one, text in zip(pair, ("application.archive: ", "keep.prune: "), strict=True):
        shown = one.run("--dry-run", "other.example.net")
        assert shown.returncode == 0, shown.stderr
        assert text in shown.stdout
        assert store_of(one.settings).scan().sets == ()


@pytest.mark.parametrize(
    "words", [(), ("-b", "0", "h"), ("-b", "-1", "h"), ("-x", "h"), ("-b",), ("h", "i")]
)
def test_bad_words_are_refused_in_one_line(pair: tuple[Host, Host], words: tuple[str, ...]) -> None:
    """Exit code 10, one line, nothing done."""
    east, _ = pair

    done = east.run(*words)

    assert done.returncode == Exit.CONFIG
    assert len(done.stderr.splitlines()) == 1
    assert store_of(east.settings).scan().sets == ()


def test_a_set_that_changed_on_the_way_is_not_taken_in(east: Settings, keys: Path) -> None:
    """One flipped bit of an archive: the receiver refuses the set (F19)."""
    west = host(east.folders.base.parent.parent / "w", keys, "west")
    stored = published(east)
    file = store_of(east).folder(stored) / "data/ngp.tar.zst"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))

    with pytest.raises(Stop) as stopped:
        bring(east, stored, west)

    assert stopped.value.code is Exit.NOT_VERIFIED
