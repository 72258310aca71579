"""What arrives: who may write into the inbox, how much, and who is woken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hasync.durable import free_bytes as free_on_disk
from hasync.failure import Exit, Stop
from hasync.peer.arrival import (
    ARRIVED,
    free_bytes,
    hold_for_receiver,
    parts,
    wake,
    without_receivers,
)
from hasync.settings import Database, Folders, Settings, Signing

ID = "0123456789abcdef" * 2


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Return the folders of a site, not made yet."""
    return Folders(tmp_path / "base")


def test_nobody_waiting_is_fine(folders: Folders) -> None:
    """Without a FIFO, and with one that nobody reads, there is nobody to wake."""
    folders.state.mkdir(parents=True)

    assert not wake(folders.state)
    os.mkfifo(folders.state / ARRIVED)
    assert not wake(folders.state)


def test_waiting_standby_is_woken(folders: Folders) -> None:
    """Who holds the FIFO open gets one byte a set."""
    folders.state.mkdir(parents=True)
    os.mkfifo(folders.state / ARRIVED)
    number = os.open(folders.state / ARRIVED, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert wake(folders.state)
        assert os.read(number, 10) == b"\n"
    finally:
        os.close(number)


def test_full_fifo_does_not_block(folders: Folders) -> None:
    """A reader that never reads cannot hang the agent."""
    folders.state.mkdir(parents=True)
    os.mkfifo(folders.state / ARRIVED)
    number = os.open(folders.state / ARRIVED, os.O_RDWR | os.O_NONBLOCK)
    try:
        while wake(folders.state):
            pass
    finally:
        os.close(number)


def test_file_or_link_in_its_place_is_not_written(folders: Folders) -> None:
    """Only a FIFO is written to."""
    folders.state.mkdir(parents=True)
    file = folders.state / ARRIVED
    file.write_bytes(b"keep")

    assert not wake(folders.state)
    assert file.read_bytes() == b"keep"
    file.unlink()
    file.symlink_to(folders.state / "elsewhere")
    assert not wake(folders.state)


def test_parts_are_counted_by_what_lies_on_the_disk(folders: Folders) -> None:
    """Parts of ours are counted in bytes that were written; all else in the inbox is not told."""
    part = folders.inbox / f"{ID}.part" / "data"
    part.mkdir(parents=True)
    (part / "one").write_bytes(bytes(10_000))
    with (part / "holes").open("wb") as file:
        file.truncate(1 << 40)
    (folders.inbox / "notes.part").mkdir()
    (folders.inbox / f"{ID}.tgz").write_bytes(b"x")

    assert parts(folders) == {ID: 10_000}


def test_no_inbox_has_no_parts(folders: Folders) -> None:
    """A site that never received anything tells of nothing."""
    assert parts(folders) == {}


def test_reserve_of_the_database_is_not_offered(folders: Folders) -> None:
    """The inbox never offers the space that PostgreSQL needs to live (H39)."""
    signing = Signing(folders.base / "key", folders.base / "signers")
    database = Database("/run", folders.base, folders.base, reserve_bytes=1 << 62)
    whole = free_bytes(Settings("west", folders, signing))

    assert whole <= free_on_disk(folders.inbox) * 1.1
    assert whole > 0
    assert free_bytes(Settings("west", folders, signing, database)) == 0


def test_receiver_keeps_commits_out_until_it_is_gone(folders: Folders) -> None:
    """The lock lives in the receiver, also after an exec; its end frees it, however it comes."""
    number = hold_for_receiver(folders)
    receiver = subprocess.Popen(
        (sys.executable, "-c", "import sys; sys.stdin.read()"),
        stdin=subprocess.PIPE,
        pass_fds=(number,),
    )
    os.close(number)
    try:
        with pytest.raises(Stop) as caught, without_receivers(folders, 0.1):
            pass
        os.close(hold_for_receiver(folders))  # a second receiver beside a stuck one
    finally:
        receiver.kill()
        receiver.communicate()

    assert caught.value.code is Exit.LOCKED
    with without_receivers(folders, 0.1):
        pass


def test_commit_keeps_receivers_out(folders: Folders) -> None:
    """No receiver starts while a set is being checked."""
    with without_receivers(folders), pytest.raises(Stop, match="in use"):
        hold_for_receiver(folders, 0.1)
    os.close(hold_for_receiver(folders, 0.1))
