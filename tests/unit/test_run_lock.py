"""The lock of a run: one writer, told by name, gone with its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fst.run_lock import NAME, Holder, RunLock, holder, start_of
from harness.errors import InputError, ToolError

HOLD = """
import sys
from pathlib import Path
from fst.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    """The refusal names process, user and machine."""
    with (
        RunLock(tmp_path),
        pytest.raises(InputError, match=rf"is being written by process {os.getpid()} of .+@"),
    ):
        RunLock(tmp_path)


def test_a_lock_that_was_given_up_can_be_taken(tmp_path: Path) -> None:
    """Nobody holds it then, and the next one gets it."""
    RunLock(tmp_path).release()
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        assert holder(tmp_path) is not None


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """While it lives it is told with its start time; after SIGKILL the run is free at once."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = holder(tmp_path)
        process.kill()
    assert held is not None
    assert (held.pid, held.is_alive) == (process.pid, False)
    assert holder(tmp_path) is None
    assert (tmp_path / NAME).read_bytes() != b""  # what it says is of no weight without the lock
    RunLock(tmp_path).release()


def test_a_process_is_told_by_its_start_time() -> None:
    """An id that was given again to another process is not the holder."""
    me = os.getpid()
    here = os.uname().nodename
    assert Holder(me, start_of(me), "u", here, "").is_alive
    assert not Holder(me, "1", "u", here, "").is_alive
    assert not Holder(2**22 + 1, "", "u", here, "").is_alive


def test_a_lock_file_that_says_nothing_still_locks(tmp_path: Path) -> None:
    """Its holder has only just begun, or the file was written over."""
    with RunLock(tmp_path):
        (tmp_path / NAME).write_bytes(b"\xff")
        with pytest.raises(InputError, match="only just begun"):
            RunLock(tmp_path)


def test_a_folder_that_is_none_cannot_be_locked(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(ToolError, match=r"run\.lock: cannot be locked"):
        RunLock(tmp_path / "none")
