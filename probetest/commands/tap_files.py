"""The captures of one device, read one after the other, with a bar that shows how far.

The bar is for people at a terminal: it counts the bytes of the files as they lie on the disk, with
the rate and the time that is left. A growing file is read until nothing more comes, or Ctrl-C.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from harness.errors import InputError
from harness.packets.blocks import Block, read_blocks
from harness.packets.source import STDIN, FileSource, Follow

BLOCK_MIB = 32  # of two or three blocks at once; half of a quarter is looked back at for copies
MIB = 1024 * 1024
NS = 1_000_000_000

Shown = Callable[[int], None]  # takes how many bytes were read of all files


def refuse_unreadable(paths: Iterable[str]) -> None:
    """Return if each can be opened: what is wrong with the last device is told before the first.

    A pipe is not opened, for that would wait for its writer.

    Raises:
        InputError: one cannot.
    """
    for path in paths:
        if path != STDIN and not Path(path).is_fifo():
            FileSource(path).close()


def refuse_unless_file(path: str, *, field: str, command: str) -> None:
    """Return if *path* can be read more than once, as *command* does.

    Raises:
        InputError: it is a pipe, or is not there.
    """
    if Path(path).is_file():
        return
    is_pipe = path == STDIN or Path(path).is_fifo()
    fix = "save it to a file first" if is_pipe else "name one pcap or pcapng file"
    why = f"a pipe, but {command} reads it more than once" if is_pipe else "no such file"
    raise InputError(why, field=field, value=path, fix=fix)


class TapFiles:
    """The files of a device."""

    def __init__(
        self, device: str, paths: Sequence[str], *, block_mib: int = BLOCK_MIB, follow_s: float = 0
    ) -> None:
        """Name them; nothing is opened yet."""
        self._device, self._paths = device, tuple(paths)
        self._block_bytes = block_mib * MIB
        self._follow = Follow(idle_ns=round(follow_s * NS)) if follow_s else None

    @property
    def are_large(self) -> bool:
        """Say whether they have more than one block, as far as can be known before."""
        try:
            return sum(Path(path).stat().st_size for path in self._paths) > self._block_bytes
        except (OSError, ValueError):  # stdin; or what cannot be read is told when it is opened
            return True

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of all files.

        Raises:
            InputError: a file cannot be read, or is no capture.
        """
        with ExitStack() as stack:
            # All are opened first: what is wrong with the last one is told before hours of work.
            sources = [stack.enter_context(FileSource(path, self._follow)) for path in self._paths]
            sizes = [source.size_bytes for source in sources]
            total = None if self._follow or None in sizes else sum(size or 0 for size in sizes)
            show = stack.enter_context(_bar(self._device, total))
            if self._follow is not None:
                stack.enter_context(_stopped_by_hand(self._follow))
            before = 0
            for source in sources:
                for block in read_blocks(source, name=source.name, block_bytes=self._block_bytes):
                    show(before + block.read_bytes)
                    yield block
                before += source.read_bytes


@contextmanager
def _stopped_by_hand(follow: Follow) -> Iterator[None]:
    """Let the first Ctrl-C end the reading, and what was read be shown; the next one ends all."""

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        follow.stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(device: str, total_bytes: int | None) -> Iterator[Shown]:
    """Show a bar while it is open, where there is a terminal to show it on."""
    if sys.stderr is None or not sys.stderr.isatty():  # None: it was closed by who called
        yield lambda _: None
        return
    # Only here: a twentieth of a second that a run in a script need not spend.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns,
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(device, total=total_bytes)
        yield lambda read_bytes: progress.update(task, completed=read_bytes)
