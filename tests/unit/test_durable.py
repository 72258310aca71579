"""Files that are written whole, folders that are renamed, trees that are removed."""

import errno
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import InputError
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.lock import held


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_replaces_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    """The file has the new content, mode 0600 under any umask, and nothing lies beside it."""
    file = tmp_path / "role.json"
    before = os.umask(0)
    try:
        durable.write(file, b"one")
        os.umask(0o777)
        durable.write(file, b"two")
    finally:
        os.umask(before)

    assert durable.read(file, 100) == b"two"
    assert file.stat().st_mode & 0o7777 == 0o600
    assert names(tmp_path) == ["role.json"]


def test_write_takes_over_what_a_killed_writer_left(tmp_path: Path) -> None:
    """A torn temporary file of any length neither stops the next write nor shows in it."""
    (tmp_path / ".role.json.tmp").write_bytes(b"torn" * 1000)
    durable.write(tmp_path / "role.json", b"new")

    assert durable.read(tmp_path / "role.json", 100) == b"new"
    assert names(tmp_path) == ["role.json"]


def test_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    """Of many writers at once, each finds its whole content or that of another."""
    file = tmp_path / "state"
    contents = [bytes([65 + number]) * (100_000 + number) for number in range(8)]
    seen = set()

    def work(content: bytes) -> None:
        for _ in range(10):
            durable.write(file, content)
            seen.add(durable.read(file, 1 << 20))

    threads = [threading.Thread(target=work, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= set(contents)
    assert names(tmp_path) == ["state"]


def test_write_without_folder_says_so(tmp_path: Path) -> None:
    """What the system refuses is one line with the path and its reason."""
    with pytest.raises(Stop, match=r"cannot write .*none/file: No such file or directory"):
        durable.write(tmp_path / "none" / "file", b"")


def test_write_does_not_follow_a_link_in_place_of_its_temporary(tmp_path: Path) -> None:
    """A link that somebody laid where we write is refused; what it names stays."""
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / ".file.tmp").symlink_to("precious")

    with pytest.raises(Stop):
        durable.write(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_no_space_has_its_own_code(tmp_path: Path) -> None:
    """A full disk is told from any other failure."""
    with pytest.raises(Stop) as caught, durable.telling("write", tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.code is Exit.NO_SPACE


def test_read_takes_only_regular_files_of_bounded_length(tmp_path: Path) -> None:
    """A link, a pipe, a folder, a long file and none at all are refused, without waiting."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")

    assert durable.read(tmp_path / "file", 5) == b"12345"
    for path, limit in (("file", 4), ("link", 9), ("pipe", 9), (".", 9), ("none", 9)):
        with pytest.raises(InputError):
            durable.read(tmp_path / path, limit)
    for path in ("link", "pipe", ".", "none"):
        with pytest.raises(InputError):
            durable.sha256(tmp_path / path)


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    """FIPS 180-2, B.1: "abc"."""
    (tmp_path / "abc").write_bytes(b"abc")

    assert durable.sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        3,
    )


def test_rename_never_replaces(tmp_path: Path) -> None:
    """A name that is taken, be it by an empty folder, stays as it is."""
    for name in ("old", "empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    for taken in ("empty", "full", "file"):
        with pytest.raises(Stop, match="File exists"):
            durable.rename(tmp_path / "old", tmp_path / taken)

    durable.rename(tmp_path / "old", tmp_path / "full" / "new")
    assert names(tmp_path) == ["empty", "file", "full"]
    with pytest.raises(Stop, match="No such file"):
        durable.rename(tmp_path / "old", tmp_path / "new")


def test_rename_without_the_system_call_never_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system or C library without renameat2 the name is looked at first."""
    monkeypatch.setattr(durable, "_LIBC", object())
    (tmp_path / "old").mkdir()
    (tmp_path / "empty").mkdir()

    with pytest.raises(Stop, match="File exists"):
        durable.rename(tmp_path / "old", tmp_path / "empty")
    durable.rename(tmp_path / "old", tmp_path / "new")
    assert names(tmp_path) == ["empty", "new"]
    with pytest.raises(Stop, match=r"cannot exchange .*not implemented"):
        durable.exchange(tmp_path / "new", tmp_path / "empty")


def test_exchange_gives_each_the_other_name(tmp_path: Path) -> None:
    """Two trees exchange their names; with one missing nothing happens."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    durable.exchange(tmp_path / "one", tmp_path / "two")

    assert names(tmp_path / "one") == ["two"]
    with pytest.raises(Stop, match="No such file"):
        durable.exchange(tmp_path / "one", tmp_path / "three")
    assert names(tmp_path / "one") == ["two"]


def test_remove_tree_does_not_follow_links(tmp_path: Path) -> None:
    """A link in the tree is removed, what it names stays; a link in its place is refused."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("../precious")
    (tmp_path / "link").symlink_to("precious")
    durable.remove_tree(tmp_path / "tree")
    durable.remove_tree(tmp_path / "tree")

    with pytest.raises(Stop):
        durable.remove_tree(tmp_path / "link")
    assert names(tmp_path) == ["link", "precious"]
    assert names(tmp_path / "precious") == ["file"]


def test_remove_tree_follows_no_link_out_of_a_large_folder(tmp_path: Path) -> None:
    """Where files are unlinked side by side, a link to a folder or a file is still only a link."""
    precious, tree = tmp_path / "precious", tmp_path / "tree" / "data"
    for folder in (precious, tree):
        folder.mkdir(parents=True)
        for number in range(100):
            (folder / f"{number}").touch()
    (tree / "folder").symlink_to(precious)
    (tree / "file").symlink_to(precious / "1")
    (tmp_path / "link").symlink_to(precious)
    durable.remove_tree(tmp_path / "tree")

    with pytest.raises(Stop):
        durable.remove_tree(tmp_path / "link")
    assert names(tmp_path) == ["link", "precious"]
    assert len(names(precious)) == 100


def test_remove_tree_ends_beside_a_writer(tmp_path: Path) -> None:
    """Files that come in while the tree is removed are removed too."""
    tree = tmp_path / "tree"
    tree.mkdir()
    begun = threading.Event()

    def work() -> None:
        with suppress(FileNotFoundError):  # the folder is gone, as it should
            for number in range(3000):
                (tree / f"{number}").touch()
                begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    with suppress(Stop):  # it may win against all tries; then it was told
        durable.remove_tree(tree)
    thread.join()
    durable.remove_tree(tree)
    assert names(tmp_path) == []


def test_remove_tree_tells_of_a_writer_that_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is never empty ends in an error, not in a loop."""

    def refuse(folder: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", str(folder))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(Stop, match="goes on writing"):
        durable.remove_tree(tmp_path)


def test_many_files_are_flushed_too(tmp_path: Path) -> None:
    """A tree of more files than are flushed one by one, with a pipe and a dangling link in it."""
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("none")

    durable.sync_tree(tmp_path)
    with pytest.raises(Stop, match="cannot flush"):
        durable.sync_tree(tmp_path / "none")


def test_make_folder_makes_all_above_with_mode_0700(tmp_path: Path) -> None:
    """Folders are private; something else in the place is refused."""
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    for path in ("file", "file/below"):
        with pytest.raises(Stop, match="Not a directory"):
            durable.make_folder(tmp_path / path)
    assert durable.free_bytes(tmp_path) > 0


def test_lock_is_held_by_one_and_free_after(tmp_path: Path) -> None:
    """A second holder is refused within its limit; the file that stays is no lock."""
    file = tmp_path / "state" / "catalogue.lock"
    with held(file), pytest.raises(Stop) as caught, held(file, limit_s=0.05):
        pass
    assert caught.value.code is Exit.LOCKED

    with held(file, limit_s=0):
        assert file.exists()
