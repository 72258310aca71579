"""Sets while the process is killed, or the disk fails, at every system call that changes the disk.

strace kills before the N-th call of each kind: for some N, in a soak for every N, of those that an
undisturbed run makes.
Whatever happens: the sets that were there are whole, the new one is whole or not there, and a plain
run afterwards ends well with nothing left over.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hasync.sets.backup import State
from hasync.sets.store import Store
from tests.fault.sample import SEED, SOAK, some
from tests.lab.peers import need
from tests.set_bench import everything, make_keys, make_store, publish, send

ROOT = Path(__file__).parent.parent.parent
CALLS = ("write", "fsync", "rename", "renameat2", "mkdir", "ftruncate", "fchmod")
REMOVAL = ("renameat2", "unlinkat", "unlink", "fsync", "rmdir")
KILLED = -9
EACH = 3  # calls of a kind that are disturbed; all of them in a soak
TAKEN = "each" if SOAK else f"{EACH} by seed {SEED}"
ERRORS = {  # of a disk that is full, and of one that breaks
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO",),
    "rename": ("EIO",),
    "renameat2": ("EIO", "ENOSPC"),
    "mkdir": ("ENOSPC",),
}
BROKEN = [(call, error) for call, errors in ERRORS.items() for error in errors]


class Scene:
    """West holds one set of its own; another one, of east, waits whole in its inbox."""

    def __init__(self, base: Path, keys: Path, site: str, set_id: str) -> None:
        self.base, self.keys, self.site, self.set_id = base, keys, site, set_id

    @property
    def store(self) -> Store:
        """Return west's store, as a process that knows nothing would open it."""
        return make_store(self.base, self.keys, self.site)

    def copy(self, place: Path) -> "Scene":
        """Return the same scene in another folder."""
        shutil.copytree(self.base, place)
        return Scene(place, self.keys, self.site, self.set_id)

    def run(self, verb: str, *strace: str) -> subprocess.CompletedProcess[bytes]:
        """Return how one step ended under strace."""
        words = [verb, str(self.base), str(self.keys), self.site, self.set_id]
        argv = [need("strace", "strace"), "-qq", *strace]
        step = [sys.executable, "-S", "-E", "-B", "-m", "tests.fault.set_step", *words]
        return subprocess.run(
            [*argv, *step],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(name="scene", scope="module")
def make_scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    need("strace", "strace")
    folder = tmp_path_factory.mktemp("scene")
    make_keys(folder, "east", "west")
    east = make_store(folder / "east-base", folder, "east")
    waiting = publish(east)
    base = folder / "base"
    publish(make_store(base, folder, "west"))
    send(east, waiting, base)
    return Scene(base, folder, "west", waiting.id)


def ordinals(scene: Scene, verb: str, call: str, place: Path) -> list[int]:
    """Return calls of one kind that an undisturbed run makes on the disk; pipes cannot fail."""
    log = place.with_name("log")
    done = scene.copy(place).run(verb, "-y", "-e", f"trace={call}", "-o", str(log))
    assert done.returncode == 0, done.stderr
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    made = [line for line in lines if line.startswith(f"{call}(")]
    found = [number for number, line in enumerate(made, 1) if "<pipe:" not in line]
    assert found
    return some(found, EACH - 1, always=found[-1:])


def named(call: str) -> str:
    """Return the name of a case: how many of its calls it disturbs."""
    return f"{call}, {TAKEN}"


def must_be_sound(scene: Scene, verb: str) -> None:
    """Check what holds at any moment, and that the same step, done again, ends well."""
    store = scene.store
    before = {one.id for one in store.scan().sets}
    for one in store.scan().sets:
        assert store.verify(one).state.state is State.VERIFIED
    if verb == "publish":
        count = len(before)
        stored = publish(store)
        assert scene.store.scan().sets[-1] == stored
        assert len(scene.store.scan().sets) == count + 1
    elif verb == "receive":
        assert len(before) in {1, 2}
        assert store.receive(scene.set_id).id == scene.set_id
        assert not (scene.base / f"inbox/{scene.set_id}.part").exists()
    store.sweep()
    assert list((scene.base / "work").iterdir()) == []
    assert {one.state.state for one in store.scan().sets} <= {State.VERIFIED}
    assert not [path for path in everything(scene.base / "sets") if path.endswith(".tmp")]


def kill(scene: Scene, verb: str, call: str, number: int) -> None:
    """Kill one step before its call; a kill that hits nothing is no test."""
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
    done = scene.run(verb, *inject, "-o", "/dev/null")
    assert done.returncode == KILLED, (number, done)


@pytest.mark.parametrize("verb", ["publish", "receive"])
@pytest.mark.parametrize("call", CALLS, ids=named)
def test_killed_at_every_call(scene: Scene, place: Path, verb: str, call: str) -> None:
    """The set is whole or not there, and the next run needs no cleaning."""
    for number in ordinals(scene, verb, call, place / "count"):
        hurt = scene.copy(place / f"{number}")
        kill(hurt, verb, call, number)
        must_be_sound(hurt, verb)


@pytest.mark.parametrize("verb", ["publish", "receive"])
@pytest.mark.parametrize(("call", "error"), BROKEN, ids=[named("-".join(b)) for b in BROKEN])
def test_error_at_every_call(scene: Scene, place: Path, verb: str, call: str, error: str) -> None:
    """A disk that fails ends the run with one line and a code, never with a set that is not."""
    for number in ordinals(scene, verb, call, place / "count"):
        hurt = scene.copy(place / f"{number}")
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}")
        done = hurt.run(verb, *inject, "-o", "/dev/null")
        if done.returncode == 0:  # it could do without that call, and did its work
            assert len(hurt.store.scan().sets) == 2
        else:
            assert done.returncode in {2, 9, 13}, (number, done)
            assert b"Traceback" not in done.stderr
            assert done.stderr.count(b"\n") == 1
        must_be_sound(hurt, verb)


@pytest.mark.parametrize("call", REMOVAL, ids=named)
def test_killed_while_removing(scene: Scene, place: Path, call: str) -> None:
    """A set that is being removed is whole or invisible."""
    own = scene.store.scan().sets[0].id
    target = Scene(scene.base, scene.keys, scene.site, own)
    for number in ordinals(target, "remove", call, place / "count"):
        hurt = target.copy(place / f"{number}")
        kill(hurt, "remove", call, number)
        must_be_sound(hurt, "remove")


def test_every_byte_is_flushed_before_the_set_is_visible(scene: Scene, place: Path) -> None:
    """What a power cut could still take away is never part of a set that can be seen.

    From the trace: each file of the set, and each folder, is fsynced after its last change and
    before the rename that makes the set visible; after it the folder that has its name.
    """
    log = place / "log"
    done = scene.copy(place / "base").run(
        "publish", "-y", "-e", "trace=write,fsync,renameat2,rename", "-o", str(log)
    )
    assert done.returncode == 0
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    (shown,) = [at for at, line in enumerate(lines) if line.startswith("renameat2(")]
    flushed = {}
    for line in lines[:shown]:
        path = re.match(r"(?:\d+ +)?(write|fsync)\(\d+<([^>]*)>", line)
        if path and ".part" in path[2]:
            flushed[path[2].rpartition(".part")[2]] = path[1]
    wanted = {"", "/data", "/data/blobs", "/manifest.json", "/manifest.sig"}
    wanted |= {"/data/toc.dat", "/data/3001.dat.zst", "/data/blobs/1.dat"}

    assert wanted <= {path for path, last in flushed.items() if last == "fsync"}
    after = [line for line in lines[shown:] if "fsync(" in line]
    assert "/sets/db/west>" in after[0]
