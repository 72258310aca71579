"""Sets that come from the peer: whole, in pieces, damaged, forged, twice."""

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import InputError
from hasync.durable import sync_tree
from hasync.failure import Exit, Stop
from hasync.sets import store as store_module
from hasync.sets.backup import State, StoredSet
from hasync.sets.inbox import KEPT_QUARANTINED, OLD_NS
from hasync.sets.store import Store
from tests.set_bench import AT_NS, everything, make_keys, make_store, publish, send


class Pair:
    """East has published one set; west has an empty base folder."""

    def __init__(self, folder: Path, keys: Path, published: Path) -> None:
        shutil.copytree(published, folder / "east")
        self.east = make_store(folder / "east", keys, "east")
        (self.stored,) = self.east.scan().sets
        self.base = folder / "west"
        self.west = make_store(self.base, keys, "west")
        self.part = send(self.east, self.stored, self.base)
        self.keys = keys

    def ready(self) -> StoredSet:
        """Return the set after west has taken it in."""
        return self.west.receive(self.stored.id)

    def refused(self) -> Stop:
        """Return why west does not take the set in."""
        with pytest.raises(Stop) as caught:
            self.west.receive(self.stored.id)
        return caught.value

    def quarantined(self) -> list[str]:
        """Return the names in west's quarantine."""
        folder = self.base / "inbox/quarantine"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture(name="keys", scope="module")
def make_two_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder, "east", "west")
    return folder


@pytest.fixture(name="published", scope="module")
def publish_one_set(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    base = tmp_path_factory.mktemp("published") / "base"
    publish(make_store(base, keys, "east"))
    return base


@pytest.fixture(name="pair")
def make_pair(tmp_path: Path, keys: Path, published: Path) -> Pair:
    return Pair(tmp_path, keys, published)


def test_whole_set_is_taken_in(pair: Pair) -> None:
    """The set stands in the catalogue under the same name, VERIFIED, and left the inbox."""
    assert pair.west.waiting() == (pair.stored.id,)
    stored = pair.ready()

    assert stored == pair.stored
    assert pair.west.scan().sets == (stored,)
    assert pair.west.waiting() == ()
    assert everything(pair.west.folder(stored)) == everything(pair.east.folder(pair.stored))
    assert pair.west.verify(stored) == stored


def test_set_sent_again_is_a_success_without_effect(pair: Pair) -> None:
    """A commit that is repeated, with or without the files, says the same; nothing is left over."""
    stored = pair.ready()
    assert pair.ready() == stored
    send(pair.east, pair.stored, pair.base)
    shutil.rmtree(pair.base / f"inbox/{stored.id}.part/data")  # sent again, and cut

    assert pair.ready() == stored
    assert everything(pair.base / "inbox") == {}
    assert pair.quarantined() == []


def test_id_with_other_content_is_quarantined(pair: Pair) -> None:
    """A replayed id with a manifest of its own goes to quarantine; the set that is here stays."""
    stored = pair.ready()
    before = everything(pair.base / "sets")
    part = send(pair.east, pair.stored, pair.base)
    (part / "manifest.json").write_bytes(b"other")
    stop = pair.refused()

    assert stop.code is Exit.TRUST
    assert "taken by another content" in str(stop)
    assert everything(pair.base / "sets") == before
    assert pair.quarantined() == [f"{stored.id}.1"]
    assert pair.west.scan().sets == (stored,)


def test_set_without_a_trusted_signature_is_quarantined(pair: Pair, tmp_path: Path) -> None:
    """A set signed with a key that nobody trusts never comes near the catalogue."""
    (tmp_path / "theirs").mkdir()
    make_keys(tmp_path / "theirs", "east")
    thief = make_store(tmp_path / "thief", tmp_path / "theirs", "east")
    stored = publish(thief)
    send(thief, stored, pair.base)
    with pytest.raises(Stop, match="signature refused") as caught:
        pair.west.receive(stored.id)

    assert caught.value.code is Exit.TRUST
    assert pair.west.scan().sets == ()
    assert pair.quarantined() == [f"{stored.id}.1"]


@pytest.mark.parametrize("place", ["manifest.json", "manifest.sig"])
def test_set_with_changed_manifest_is_quarantined(pair: Pair, place: str) -> None:
    """One byte of manifest or signature is enough."""
    content = (pair.part / place).read_bytes()
    (pair.part / place).write_bytes(content.replace(b"a", b"b", 1))

    assert pair.refused().code is Exit.TRUST
    assert pair.quarantined() == [f"{pair.stored.id}.1"]


def test_set_under_another_id_is_quarantined(pair: Pair) -> None:
    """An authentic set in the folder of another id is refused."""
    pair.part.rename(pair.base / f"inbox/{'0' * 32}.part")
    with pytest.raises(Stop, match=f"that of set {pair.stored.id}"):
        pair.west.receive("0" * 32)

    assert pair.quarantined() == [f"{'0' * 32}.1"]


@pytest.mark.parametrize(
    "place", ["manifest.json", "manifest.sig", "data/toc.dat", "data/blobs/1.dat", "data/blobs"]
)
def test_set_that_is_not_whole_stays_for_rsync(pair: Pair, place: str) -> None:
    """With any file or folder still to come nothing is moved or removed; then it is taken in."""
    aside = (pair.part / place).rename(pair.base / "aside")
    before = everything(pair.part)
    stop = pair.refused()
    assert (stop.code, everything(pair.part)) == (Exit.TRANSFER, before)

    aside.rename(pair.part / place)
    assert pair.ready() == pair.stored


def test_short_file_stays_for_rsync(pair: Pair) -> None:
    """A file of another size is one that is still on its way."""
    os.truncate(pair.part / "data/blobs/1.dat", 10)

    assert pair.refused().code is Exit.TRANSFER
    assert (pair.part / "data/blobs/1.dat").stat().st_size == 10


def test_damaged_file_is_removed_so_that_it_is_sent_again(pair: Pair) -> None:
    """Rsync would skip a file of the right size and time: only the damaged one has to go."""
    place = pair.part / "data/3001.dat.zst"
    place.write_bytes(b"ROWS" * 1000)
    stop = pair.refused()
    assert stop.code is Exit.NOT_VERIFIED
    assert not place.exists()
    assert (pair.part / "data/toc.dat").exists()

    send(pair.east, pair.stored, pair.base)
    assert pair.ready() == pair.stored


def test_what_a_killed_rsync_left_is_removed(pair: Pair) -> None:
    """Partial folders and temporary names do not make a whole set foreign."""
    for path in (".hasync-partial/toc.dat", "data/.hasync-partial/x", "data/.toc.dat.Ab12Cd"):
        (pair.part / path).parent.mkdir(exist_ok=True)
        (pair.part / path).write_bytes(b"part")

    assert pair.ready() == pair.stored
    assert pair.west.verify(pair.stored).state.state is State.VERIFIED


def add_file(part: Path) -> None:
    (part / "data/more").write_bytes(b"")


def add_folder(part: Path) -> None:
    (part / "data/more").mkdir()


def add_link(part: Path) -> None:
    (part / "data/more").symlink_to("/etc/passwd")


def add_name(part: Path) -> None:
    os.link(part / "data/toc.dat", part.parent / "toc")


def add_pipe(part: Path) -> None:
    os.mkfifo(part / "data/more")


def add_newline(part: Path) -> None:
    (part / "data/a\nb").write_bytes(b"")


def be_link(part: Path) -> None:
    part.symlink_to(part.rename(part.with_name("elsewhere")))


def be_file(part: Path) -> None:
    shutil.rmtree(part)
    part.write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [add_file, add_folder, add_link, add_name, add_pipe, add_newline, be_link, be_file],
)
def test_set_with_anything_foreign_is_quarantined(pair: Pair, spoil: object) -> None:
    """Nothing but the manifest's plain files gets into the catalogue."""
    assert callable(spoil)
    spoil(pair.part)

    assert pair.refused().code is Exit.NOT_VERIFIED
    assert pair.west.scan().sets == ()
    assert pair.quarantined() == [f"{pair.stored.id}.1"]
    assert pair.refused().code is Exit.TRANSFER  # it is not there any more


def test_set_that_rotted_here_is_mended_by_sending_it_again(pair: Pair) -> None:
    """A corrupt set gives way to the same set, whole."""
    stored = pair.ready()
    (pair.west.folder(stored) / "data/toc.dat").write_bytes(b"ROT!!")
    assert pair.west.verify(stored).state.state is State.CORRUPT
    send(pair.east, pair.stored, pair.base)
    stored = pair.ready()

    assert pair.west.verify(stored).state.state is State.VERIFIED
    assert len(pair.west.sweep()) == 1
    assert everything(pair.base / "work") == {}


def test_set_whose_manifest_rotted_here_is_mended_too(pair: Pair) -> None:
    """Even with its manifest gone, and its state lost, the place is known by its name."""
    stored = pair.ready()
    os.truncate(pair.west.folder(stored) / "manifest.json", 0)
    shutil.rmtree(pair.base / "state/sets")
    assert [one.state.state for one in pair.west.scan().sets] == [State.CORRUPT]
    send(pair.east, pair.stored, pair.base)

    assert pair.ready() == pair.stored
    assert pair.west.scan().sets == (pair.stored,)


def test_rotten_set_does_not_give_way_to_another(pair: Pair) -> None:
    """East itself cannot replace a set by another one with its id."""
    stored = pair.ready()
    (pair.west.folder(stored) / "data/toc.dat").write_bytes(b"ROT!!")
    pair.west.verify(stored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", lambda size: bytes.fromhex(stored.id)[:size])
        twin = publish(pair.east, {"toc.dat": b"twin"})
    assert twin.id == stored.id
    send(pair.east, twin, pair.base)
    stop = pair.refused()

    assert stop.code is Exit.TRUST
    assert pair.west.scan().by_id(stored.id) is not None
    assert pair.quarantined() == [f"{stored.id}.1"]


def test_file_that_changes_after_it_was_read_is_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that goes on writing while the set is taken in does not get it in."""

    def disturb(folder: Path) -> None:
        sync_tree(folder)
        with (folder / "data/toc.dat").open("r+b") as file:
            file.write(b"EVIL!")

    monkeypatch.setattr(store_module, "sync_tree", disturb)
    stop = pair.refused()
    assert "changed while it was taken in" in str(stop)
    assert pair.west.scan().sets == ()
    assert pair.quarantined() == [f"{pair.stored.id}.1"]


def test_quarantine_is_no_way_out(pair: Pair, tmp_path: Path) -> None:
    """A link in place of the quarantine, laid by the peer, is not followed."""
    (tmp_path / "target").mkdir()
    (pair.base / "inbox/quarantine").symlink_to(tmp_path / "target")
    add_file(pair.part)

    assert pair.refused().code is Exit.TRUST
    assert list((tmp_path / "target").iterdir()) == []
    assert pair.west.scan().sets == ()


@pytest.mark.parametrize(
    "text", ["", "..", "../x", "A" * 32, "0" * 31, "0" * 32 + "\n", "quarantine"]
)
def test_id_is_checked_before_it_is_a_path(pair: Pair, text: str) -> None:
    """An id from a peer is 32 hex digits, or nothing is looked at."""
    with pytest.raises(InputError, match="not a set's id"):
        pair.west.receive(text)


def test_old_transfers_and_much_quarantine_are_swept(pair: Pair) -> None:
    """A part that nothing came into for a week goes; of the quarantined the last eight stay."""
    now_ns = (pair.part / "data/toc.dat").stat().st_ctime_ns
    for number in range(KEPT_QUARANTINED + 3):
        shutil.copytree(pair.part, pair.base / f"inbox/{number:032x}.part")
        with pytest.raises(Stop):
            pair.west.receive(f"{number:032x}")
    young = make_store(pair.base, pair.keys, "west", at_ns=now_ns + OLD_NS - 10**9)
    assert len(young.sweep()) == 3
    assert len(pair.quarantined()) == KEPT_QUARANTINED
    assert pair.part.exists()

    old = make_store(pair.base, pair.keys, "west", at_ns=now_ns + OLD_NS + 60 * 10**9)
    assert old.sweep() == (pair.part.name,)


def test_sequence_is_above_those_received(pair: Pair, keys: Path) -> None:
    """After a change of roles west goes on counting where east was."""
    for _ in range(3):
        stored = publish(pair.east)
    send(pair.east, stored, pair.base)
    pair.west.receive(stored.id)

    assert publish(pair.west).name.sequence == stored.name.sequence + 1
    assert isinstance(make_store(pair.base, keys, "west", AT_NS), Store)
