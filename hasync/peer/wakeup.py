"""The edge on which a standby waits: one byte in the FIFO state/arrived for each set that came in.

The agent writes it after a commit (`arrival.wake`). A byte that is lost (nobody waited, a
full pipe, a crash) costs nothing but time: whoever waits looks again now and then, and believes the
catalogue only.
"""

import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hasync.failure import Exit, Stop
from hasync.peer.arrival import ARRIVED


class Arrivals:
    """The open FIFO."""

    def __init__(self, number: int) -> None:
        """Read from the descriptor *number*."""
        self._number = number

    def wait(self, limit_s: float) -> bool:
        """Return True as soon as something has come in, False after *limit_s*."""
        if not select.select([self._number], [], [], max(0.0, limit_s))[0]:
            return False
        with suppress(BlockingIOError):
            while os.read(self._number, 4096):
                pass
        return True


@contextmanager
def waiting(state: Path) -> Iterator[Arrivals]:
    """Be woken by commits while the block lasts.

    Raises:
        Stop: something else lies under the FIFO's name.
    """
    path = state / ARRIVED
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    # Read and write: with a writer of its own the FIFO never reports an end.
    number = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not stat.S_ISFIFO(os.fstat(number).st_mode):
            raise Stop(Exit.FAILED, "not the FIFO that it should be", fact=str(path), fix="move it")
        yield Arrivals(number)
    finally:
        os.close(number)
