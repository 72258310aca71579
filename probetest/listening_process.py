"""The edge that listens in a process of its own, so that two cores share the work.

    parent   read 1 | read 2, RTP 1 | read 3, RTP 2 | ... | RTP n, records of streams
    child           | SIP 1         | SIP 2         | ... | SIP n, records of calls

Laws: the child does exactly what a `Listener` here would do, and what it says comes back in order;
one message is under way at a time, so neither waits for a pipe that the other does not read; a
child that ends before its time is an error, never a shorter result.
"""

import gc
import signal
from dataclasses import fields
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from operator import attrgetter
from types import MappingProxyType, TracebackType
from typing import Any

from harness.errors import ToolError
from harness.packets.frame import Datagrams, Endpoint
from harness.records import CallRecord
from probetest.duplicates import Copies
from probetest.listening import Heard, Listener
from probetest.media.announcements import Announcement
from probetest.sip.sdp import Media

_WAIT_S = 10.0  # for a child to end that was told to


class ListeningProcess:
    """A `Listener` in a child; `closed_after` ends it with a block of code."""

    def __init__(self, listener: Listener) -> None:
        """Start the child, which takes *listener* over."""
        context = get_context("fork")  # nothing is imported twice, and it starts in no time
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(
            target=_listen, args=(listener, theirs, self._pipe), daemon=True
        )
        self._child.start()
        theirs.close()

    def send(self, datagrams: Datagrams, copies: Copies, about_ns: int) -> None:
        """Give it a block; the one before must have been received."""
        self._say((datagrams, copies, about_ns))

    def receive(self) -> list[Announcement]:
        """Return what the block that was sent announces."""
        found: list[Announcement] = self._hear()
        return found

    def send_finish(self, frames: int) -> None:
        """Say that no block follows; *frames* were read in all."""
        self._say(frames)

    def receive_heard(self) -> Heard:
        """Return everything, once what is unfinished was received too."""
        heard: Heard = self._hear()
        self.close()
        return heard

    def close(self) -> None:
        """End the child; doing so again changes nothing."""
        self._pipe.close()
        self._child.join(_WAIT_S)
        if self._child.is_alive():
            self.kill()

    def closed_after(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child after a block of code: at once where that failed, or Ctrl-C was pressed."""
        del error, trace
        if kind is not None:
            self.kill()  # what it would still say is not wanted
        self.close()

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        self._child.kill()
        self._child.join()

    def _say(self, what: object) -> None:
        try:
            self._pipe.send(what)
        except OSError as error:
            raise self._ended() from error

    def _hear(self) -> Any:  # noqa: ANN401 - what comes through a pipe has no type
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def _ended(self) -> ToolError:
        self._child.join(_WAIT_S)
        code = self._child.exitcode
        why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        fix = "was there memory left? (dmesg); with a smaller --block-mib it needs less"
        return ToolError(f"the process that reads SIP ended early, {why}: no result; {fix}")


def _listen(listener: Listener, pipe: Connection, theirs: Connection) -> None:
    """Answer the parent until it has all, or is gone."""
    theirs.close()  # so that the parent's end is seen
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this
    gc.disable()  # as in the parent
    try:
        while True:
            what = pipe.recv()
            if isinstance(what, int):
                pipe.send(listener.finish())
                pipe.send(listener.heard(what))
                return
            pipe.send(listener.take(*what))
    except (EOFError, OSError):  # the parent was stopped
        return


def _reduced(table: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    """Return how a table that cannot be changed is made again."""
    return _made, (dict(table),)


def _made(table: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(table)


def _sent_as_values(kind: type[Any]) -> None:
    """Have instances of a dataclass sent as their values: by name it takes five times as long."""
    values = attrgetter(*(one.name for one in fields(kind)))

    def reduced(one: object) -> tuple[Any, ...]:
        return kind, values(one)

    ForkingPickler.register(kind, reduced)


ForkingPickler.register(MappingProxyType, _reduced)  # the codecs of an announcement
for _kind in (Announcement, CallRecord, Endpoint, Media):  # there are thousands of each
    _sent_as_values(_kind)
