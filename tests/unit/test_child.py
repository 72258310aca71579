"""Children: bounded in time and output, ended with all they started, and never outliving us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.child import environment, run, started
from harness.command import NOT_FOUND


def gone(pid: int) -> bool:
    """Say whether no process *pid* runs any more (a zombie does not run)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def wait_gone(pid: int) -> bool:
    """Say whether *pid* ended within five seconds."""
    end = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < end:
        os.sched_yield()
    return gone(pid)


def test_output_and_exit_code_come_back() -> None:
    """Both streams and the exit code are the child's own."""
    gave = run(["sh", "-c", "echo out; echo err >&2; exit 3"], limit_s=10)

    assert (gave.exit_code, gave.stdout, gave.stderr) == (3, b"out\n", b"err\n")


def test_input_larger_than_a_pipe_goes_through() -> None:
    """A megabyte in and a megabyte out at the same time does not stand still."""
    data = b"x" * (1 << 20)

    gave = run(["cat"], limit_s=10, stdin=data, output_bytes=len(data))

    assert gave.stdout == data
    assert not gave.cut


def test_child_that_wants_no_input_is_no_error() -> None:
    """Input that nobody reads is dropped."""
    assert run(["true"], limit_s=10, stdin=b"x" * (1 << 20)).exit_code == 0


def test_output_is_bounded() -> None:
    """Of endless output the first bytes stay, and it is said that there was more."""
    gave = run(["sh", "-c", "head -c 300000 /dev/zero"], limit_s=10, output_bytes=1000)

    assert (len(gave.stdout), gave.cut, gave.exit_code) == (1000, True, 0)


def test_child_that_does_not_end_is_killed_with_all_it_started() -> None:
    """Past its limit a child has no exit code, and its own child is gone too."""
    gave = run(["sh", "-c", "sleep 60 & echo $!; wait"], limit_s=0.5)

    assert gave.exit_code is None
    assert wait_gone(int(gave.stdout))


def test_child_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM may be ignored; SIGKILL follows."""
    monkeypatch.setattr("harness.child.GRACE_S", 0.1)

    gave = run(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], limit_s=0.5)

    assert (gave.exit_code, gave.stdout) == (None, b"up\n")


def test_missing_program_is_exit_code_127() -> None:
    """Like a shell's: not found, with the name."""
    gave = run(["no-such-program"], limit_s=10)

    assert gave.exit_code == NOT_FOUND
    assert "no-such-program" in gave.complaint


def test_child_sees_nothing_of_our_environment() -> None:
    """The locale is pinned and no variable of ours gets through, but the home folder."""
    gave = run(["env"], limit_s=10)
    seen = {line.partition("=")[0] for line in gave.text.splitlines()}

    assert seen <= {"PATH", "LC_ALL", "HOME", "PWD", "SHLVL", "_"}
    assert "LC_ALL=C.UTF-8" in gave.text
    assert environment(PGHOST="x")["PGHOST"] == "x"


def test_group_ends_with_the_block() -> None:
    """A started child and its children are gone when the block is left."""
    with started(["sh", "-c", "sleep 60 & echo $!; wait"]) as child:
        assert child.stdout is not None
        inner = int(child.stdout.readline())

    assert child.returncode == -signal.SIGTERM
    assert wait_gone(inner)


def test_child_dies_when_we_are_killed() -> None:
    """SIGKILL of this side leaves no child behind."""
    ours = (
        "from harness.child import started\n"
        "with started(['sleep', '60']) as child:\n"
        "    print(child.pid, flush=True)\n"
        "    child.wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()

    assert wait_gone(child)
