"""Sets that are published, looked at, spoilt, marked and removed."""

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError
from harness.manifest import canonical
from hasync.failure import Exit, Stop
from hasync.sets.backup import Kind, SetState, State, newest
from hasync.sets.manifest import SetManifest
from hasync.sets.store import Store
from hasync.settings import Folders, Signing
from tests.set_bench import FILES, everything, make_keys, make_store, publish

PLACES = ["manifest.json", "manifest.sig", *(f"data/{path}" for path in FILES)]


@pytest.fixture(name="keys", scope="module")
def make_two_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder, "east", "west")
    return folder


@pytest.fixture(name="two_sets", scope="module")
def publish_two_sets(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    base = tmp_path_factory.mktemp("two") / "base"
    store = make_store(base, keys)
    publish(store)
    publish(store)
    return base


@pytest.fixture(name="store")
def make_east(tmp_path: Path, keys: Path) -> Store:
    return make_store(tmp_path / "base", keys)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def add_beside(path: Path) -> None:
    path.with_name("more").write_bytes(b"")


def outside(path: Path) -> Path:
    return next(folder for folder in path.parents if folder.name == "base").with_name("moved")


def link_away(path: Path) -> None:
    path.symlink_to(path.rename(outside(path)))


def second_name(path: Path) -> None:
    os.link(path, outside(path))


def be_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILS = [flip, shorten, empty, Path.unlink, add_beside, link_away, second_name, be_folder]


def test_published_set_is_whole_signed_and_alone(store: Store, tmp_path: Path) -> None:
    """The folder holds manifest, signature and data, in the place of its name, and no more."""
    stored = publish(store)

    assert stored.state.state is State.VERIFIED
    assert stored.path == f"db/east/{stored.name.text}"
    assert stored.name.text == f"e000003-s00000001-20261122T184100Z-{stored.id[:8]}"
    assert set(everything(store.folder(stored))) == set(PLACES)
    assert stored.size_bytes == sum(map(len, FILES.values()))
    assert everything(tmp_path / "base" / "work") == {}
    assert oct(store.folder(stored).stat().st_mode) == "0o40700"


def test_another_process_finds_the_same(store: Store, tmp_path: Path, keys: Path) -> None:
    """All that counts is on the disk: a fresh store gives the same catalogue."""
    stored = publish(store)

    assert make_store(tmp_path / "base", keys).scan().sets == (stored,)
    assert store.verify(stored) == stored


def test_sets_are_chained(store: Store) -> None:
    """Each set names the one before it of its kind, and the hash of its manifest."""
    one, tail, two = publish(store), publish(store, kind=Kind.TAIL), publish(store)
    assert one.manifest is not None
    assert two.manifest is not None
    assert tail.manifest is not None

    assert (one.manifest.parent, tail.manifest.parent) == ("", "")
    assert two.manifest.parent == one.id
    assert [s.manifest.sequence for s in (one, tail, two) if s.manifest] == [1, 2, 3]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spoil", SPOILS)
def test_spoilt_set_is_corrupt_and_the_older_is_taken(
    store: Store, tmp_path: Path, two_sets: Path, place: str, spoil: object
) -> None:
    """One bit, one byte, all bytes, no file, one more, a link, a folder: in whatever file."""
    assert callable(spoil)
    shutil.copytree(two_sets, tmp_path / "base")
    older, stored = store.scan().sets
    spoil(store.folder(stored) / place)
    found = store.verify(stored)

    assert found.state.state is State.CORRUPT
    assert found.state.why
    assert newest(store.scan().sets) == store.verify(older) == older


@pytest.mark.parametrize("spoil", [flip, empty, Path.unlink, link_away, be_folder])
def test_set_with_spoilt_manifest_is_listed_as_broken(store: Store, spoil: object) -> None:
    """A set whose manifest cannot be read is still seen, under its id, and never as a copy."""
    assert callable(spoil)
    stored = publish(store)
    spoil(store.folder(stored) / "manifest.json")
    (found,) = store.scan().sets

    assert found.id == stored.id
    if spoil is not flip and spoil is not link_away:
        assert store.scan().broken == (found,)
        assert found.state.state is State.CORRUPT
        assert found.size_bytes > 0
    assert store.verify(found).state.state is State.CORRUPT


def test_mended_set_is_verified_again(store: Store) -> None:
    """CORRUPT is what the files say, not a brand: restored from elsewhere, the set counts."""
    stored = publish(store)
    place = store.folder(stored) / "data/toc.dat"
    flip(place)
    assert store.verify(stored).state.state is State.CORRUPT
    flip(place)

    assert store.verify(stored).state.state is State.VERIFIED


def test_tampered_set_without_the_key_is_refused_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every hash made anew, the signature refuses, before the manifest is even parsed."""
    stored = publish(store)
    folder = store.folder(stored)
    assert stored.manifest is not None
    (folder / "data/toc.dat").write_bytes(b"EVIL!")
    forged = json.loads(stored.manifest.encode())
    forged["files"] = [
        [path, size, "0" * 64 if path == "toc.dat" else digest]
        for path, size, digest in forged["files"]
    ]
    (folder / "manifest.json").write_bytes(canonical(forged))

    def never(*_: object, **__: object) -> SetManifest:
        raise AssertionError("parsed before it was authenticated")

    monkeypatch.setattr(SetManifest, "parse", never)
    found = store.verify(stored)
    assert found.state.state is State.CORRUPT
    assert "signature refused" in found.state.why


def test_set_in_the_place_of_another_is_refused(store: Store) -> None:
    """An old set under the name of a new one is authentic, and still corrupt."""
    old, new = publish(store), publish(store)
    shutil.rmtree(store.folder(new))
    shutil.copytree(store.folder(old), store.folder(new))

    assert store.verify(new).state.state is State.CORRUPT
    assert [one.id for one in store.scan().broken] == [new.id]


def test_site_cannot_sign_for_another(store: Store, tmp_path: Path, keys: Path) -> None:
    """A set that says it is of east, signed with the key of west, is refused."""
    signing = Signing(keys / "west", keys / "allowed_signers")
    liar = Store(Folders(tmp_path / "base"), signing, "east", ManualClock(10**18))
    stored = publish(liar)
    found = store.verify(stored)

    assert found.state.state is State.CORRUPT
    assert "may not speak for another site" in found.state.why


def test_lost_allowed_signers_make_no_set_corrupt(store: Store, tmp_path: Path, keys: Path) -> None:
    """A trouble of the settings says nothing of the sets."""
    stored = publish(store)
    signing = Signing(keys / "east", tmp_path / "none")
    blind = Store(Folders(tmp_path / "base"), signing, "east", ManualClock(0))

    with pytest.raises(InputError, match="allowed signers cannot be read"):
        blind.verify(stored)
    assert store.scan().sets == (stored,)


@pytest.mark.parametrize(
    "content", [b"", b"torn", b"{}\n", b"[]\n", canonical({"state": "verified"}), None]
)
def test_broken_state_is_new(store: Store, tmp_path: Path, content: bytes | None) -> None:
    """Without its state a set is NEW: looked at again, never lost, never taken unseen."""
    stored = publish(store)
    file = tmp_path / f"base/state/sets/{stored.id}.json"
    file.unlink() if content is None else file.write_bytes(content)
    (found,) = store.scan().sets

    assert found.state == SetState()
    assert newest([found]) is None
    assert store.verify(found).state.state is State.VERIFIED


def test_state_of_another_set_does_not_count(store: Store, tmp_path: Path) -> None:
    """A state file under the wrong id says nothing."""
    one, two = publish(store), publish(store)
    states = tmp_path / "base/state/sets"
    shutil.copy(states / f"{one.id}.json", states / f"{two.id}.json")

    assert store.scan().by_id(two.id) is not None
    assert [s.state.state for s in store.scan().sets] == [State.VERIFIED, State.NEW]


def test_failures_are_counted_and_never_forgotten(store: Store) -> None:
    """FAILED counts up, keeps what was measured, and outlives a look at the files."""
    stored = publish(store)
    stored = store.mark(stored, State.FAILED, "no role", restore_s=3.5)
    stored = store.verify(store.mark(stored, State.FAILED, "no role again", rows=7))

    assert (stored.state.state, stored.state.attempts) == (State.FAILED, 2)
    assert stored.state.measurements == {"restore_s": 3.5, "rows": 7}
    stored = store.mark(stored, State.RESTORED)
    assert store.verify(stored).state.state is State.RESTORED
    assert store.scan().sets[0].state.attempts == 2


def test_note_changes_no_state(store: Store) -> None:
    """A measurement that is added counts no attempt, and keeps when the state was reached."""
    failed = store.mark(publish(store), State.FAILED, "no role")
    noted = store.note(failed, sent_at_ns=5)

    assert noted.state.measurements == {"sent_at_ns": 5}
    assert (noted.state.attempts, noted.state.why) == (1, "no role")


def test_pins_and_holds_outlive_a_change_of_state(store: Store) -> None:
    """A pin and a hold stay until a person takes them away."""
    stored = store.hold(store.pin(publish(store)), "rolled back")
    stored = store.mark(stored, State.RESTORED)
    assert (stored.state.pinned, stored.state.held) == (True, "rolled back")

    with pytest.raises(Stop, match="is pinned") as caught:
        store.remove(stored)
    assert caught.value.code is Exit.REFUSED
    assert store.hold(store.unpin(stored), "").state.held == ""
    store.remove(stored)
    assert store.scan().sets == ()


def test_removed_set_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """Folder and state are gone; to remove it again is no error."""
    stored, stays = publish(store), publish(store)
    store.remove(stored)
    store.remove(stored)

    assert store.scan().sets == (stays,)
    assert everything(tmp_path / "base" / "work") == {}
    assert not (tmp_path / f"base/state/sets/{stored.id}.json").exists()


def test_sequence_never_goes_back(store: Store, tmp_path: Path) -> None:
    """Lost, torn, set back or absurd: the number is above every set seen and every number given."""
    file = tmp_path / "base/state/sequence.json"
    assert [store.next_sequence(), store.next_sequence()] == [1, 2]
    assert publish(store).name.sequence == 3
    for content in (None, b"", b"{}", canonical({"sequence": 1}), canonical({"sequence": -9})):
        file.unlink() if content is None else file.write_bytes(content)
        before = max(one.name.sequence for one in store.scan().sets)
        assert publish(store).name.sequence == before + 1
    file.write_bytes(canonical({"sequence": 10**30}))
    assert store.next_sequence(seen=500) == 501
    assert publish(store).name.sequence == 502


def test_sequence_is_above_a_set_that_rotted(store: Store, tmp_path: Path) -> None:
    """Even a set of which only the folder's name is left counts."""
    name = publish(store).path.replace("s00000001", "s00000077")
    (tmp_path / "base/sets" / name).mkdir()
    (tmp_path / "base/state/sequence.json").unlink()

    assert store.next_sequence() == 78


def test_epoch_of_the_clock_does_not_order(tmp_path: Path, keys: Path) -> None:
    """A set of today is newer than one made while the clock was seven years ahead."""
    ahead = make_store(tmp_path / "base", keys, at_ns=2_016_000_000 * 10**9)
    publish(ahead)
    today = publish(make_store(tmp_path / "base", keys))

    assert newest(make_store(tmp_path / "base", keys).scan().sets) == today


def test_draft_that_is_not_published_is_gone(store: Store, tmp_path: Path) -> None:
    """An error on the way, or no publishing at all, leaves no set and no folder."""
    with store.begin(Kind.DATABASE) as draft:
        (draft.data / "toc.dat").write_bytes(b"x")
    with pytest.raises(ZeroDivisionError), store.begin(Kind.DATABASE):
        raise ZeroDivisionError

    assert list((tmp_path / "base/work").iterdir()) == []
    assert store.scan().sets == ()


def test_file_that_changes_before_publishing_is_seen(store: Store) -> None:
    """A manifest that is not that of the files as they lie is not signed."""
    with store.begin(Kind.DATABASE) as draft:
        (draft.data / "toc.dat").write_bytes(b"one")
        manifest = store.compose(draft, epoch=1, snapshot_at_ns=0, versions={}, facts={})
        (draft.data / "toc.dat").write_bytes(b"two")
        with pytest.raises(InputError, match=r"toc\.dat: content changed"):
            store.publish(draft, manifest)
    with store.begin(Kind.DATABASE) as other, pytest.raises(InputError, match="this draft"):
        store.publish(other, manifest)
    assert store.scan().sets == ()


@pytest.mark.parametrize("name", ["link", "pipe", "bad\nname", ".hasync-partial"])
def test_draft_holds_plain_files_only(store: Store, name: str) -> None:
    """A link, a pipe, a name with a newline or one of rsync's never gets into a manifest."""
    with store.begin(Kind.DATABASE) as draft:
        place = draft.data / name
        if name == "link":
            place.symlink_to("/etc/passwd")
        elif name == "pipe":
            os.mkfifo(place)
        else:
            place.write_bytes(b"")
        with pytest.raises(InputError):
            store.compose(draft, epoch=1, snapshot_at_ns=0, versions={}, facts={})


def test_set_without_files_is_a_set(store: Store) -> None:
    """A restore point holds facts alone."""
    stored = publish(store, {}, kind=Kind.RESTORE_POINT)

    assert store.verify(stored).state.state is State.VERIFIED


def test_strangers_are_listed_and_never_touched(store: Store, tmp_path: Path) -> None:
    """Sweeping, publishing and removing leave every file alone that is not ours."""
    base = tmp_path / "base"
    publish(store)
    strange = [
        *("sets/before-upgrade.tgz", "sets/db/notes.txt", "sets/db/east/.hidden", "sets/dbx/a"),
        *("sets/db/east/e000003-s41-old/x", "inbox/readme", "inbox/deadbeef.part/x"),
        *(
            "work/important",
            "work/1234.part",
            "sets/db/ea st/x",
            "sets/pgbackup.20150131060000.tgz",
        ),
        "ngpbackup.20150131060000.tgz",
    ]
    for path in strange:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(path.encode())
    (base / "sets/db/west").symlink_to("east")
    before = everything(base)
    assert store.sweep() == ()
    assert everything(base) == before

    catalogue = store.scan()
    assert catalogue.legacy == (
        "ngpbackup.20150131060000.tgz",
        "sets/pgbackup.20150131060000.tgz",
    )
    assert catalogue.foreign == (
        "inbox/deadbeef.part",
        "inbox/readme",
        "sets/before-upgrade.tgz",
        "sets/db/ea st",
        "sets/db/east/.hidden",
        "sets/db/east/e000003-s41-old",
        "sets/db/notes.txt",
        "sets/db/west",
        "sets/dbx",
    )
    assert len(catalogue.sets) == 1


def test_sweep_takes_what_killed_runs_left(store: Store, tmp_path: Path) -> None:
    """Drafts, scratch folders and half-removed sets go; the draft of a living run stays."""
    work = tmp_path / "base/work"
    with store.begin(Kind.DATABASE) as living:
        for name in (f"{'a' * 32}.part", f"{'b' * 32}.gone", f"{'c' * 32}.unpack"):
            (work / name / "data").mkdir(parents=True)
        (work / f"{'d' * 32}.part").write_bytes(b"")
        (work / f"{'e' * 32}.part").symlink_to("/etc")
        swept = store.sweep()
        assert sorted(path.name for path in work.iterdir()) == [living.folder.name]
    assert [name[0] for name in swept] == ["a", "b", "c", "d", "e"]
    assert Path("/etc/passwd").exists()


def test_scratch_is_empty_each_time(store: Store) -> None:
    """What an earlier run unpacked is not mixed with what this one does."""
    stored = publish(store)
    folder = store.scratch(stored.id, "unpack")
    (folder / "old").touch()

    assert list(store.scratch(stored.id, "unpack").iterdir()) == []
    for purpose in ("", "part", "gone", "../x", "a" * 17):
        with pytest.raises(InputError):
            store.scratch(stored.id, purpose)
    assert store.sweep() == (folder.name,)


def test_empty_base_is_an_empty_catalogue(store: Store) -> None:
    """Nothing made yet is nothing found."""
    assert store.scan().sets == ()
    assert store.waiting() == ()
    assert store.sweep() == ()
