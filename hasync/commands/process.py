"""The edge to this process: what a cron job, a terminal and a test must all give us alike.

Standard streams that are there, a umask of 077, signals that end us in order, a working folder that
exists. Everything is put back at the end, so that a test can run a command in its own process.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hasync.failure import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Signals:
    """The first ending signal raises `Interrupted`; later ones cannot disturb the clean-up.

    A handler and not SIG_IGN: an ignored signal would stay ignored in the children.
    """

    def __init__(self) -> None:
        """Start listening only."""
        self.armed = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise in the main thread, once."""
        del frame
        if self.armed:
            self.armed = False
            raise Interrupted(number)


@contextmanager
def manners() -> Iterator[Signals]:
    """Behave as a command does: streams open, umask 077, signals ending us in order."""
    _open_standard_streams()
    signals = Signals()
    umask = os.umask(0o077)
    heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]  # nohup(1)
    before = {number: signal.signal(number, signals) for number in heard}
    try:
        yield signals
    finally:
        signals.armed = False
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.umask(umask)


@contextmanager
def within(folder: Path) -> Iterator[None]:
    """Work in *folder*: the one that cron or sudo gave us may be gone, and rsync then refuses."""
    before = None
    with suppress(OSError):
        before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(folder)
    try:
        yield
    finally:
        if before is not None:
            os.fchdir(before)
            os.close(before)


def _open_standard_streams() -> None:
    """Fill descriptors 0 to 2, so that no file of ours becomes somebody's stdout."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(number, True)
    os.close(number)
