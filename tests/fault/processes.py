"""The processes below one, as /proc has them: to end one of them in the middle of its work."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.002
LIMIT_S = 60.0


def descendants(pid: int) -> dict[int, str]:
    """Return the command line of each process below *pid*."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                for child in map(int, (task / "children").read_text().split()):
                    line = Path(f"/proc/{child}/cmdline").read_bytes()
                    found[child] = line.replace(b"\0", b" ").decode(errors="replace").strip()
                    waiting.append(child)
    return found


def caught(below: int, fits: Callable[[int, str], bool]) -> int:
    """Return a process below *below* that *fits*, stopped in its tracks."""
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        for pid, line in descendants(below).items():
            with contextlib.suppress(OSError):  # gone while it was looked at
                if fits(pid, line):
                    os.kill(pid, signal.SIGSTOP)
                    return pid
        time.sleep(POLL_S)  # noqa: TID251 - no event for a grandchild
    raise AssertionError(f"no such process below {below}")
