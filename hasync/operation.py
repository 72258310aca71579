"""The edge that carries a procedure out: each step journalled, on the disk, before the next begins.

An operation that did not finish leaves `state/<procedure>.jsonl`; the next run closes it after it
has looked at the facts (`hasync recover`). A finished one is filed in `state/done/`.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.clock import Clock
from harness.errors import InputError
from harness.journal import Event
from harness.journal_file import JournalFile, read_torn
from hasync.failure import Exit, Stop
from hasync.steps import PROCEDURES, failpoints

FAILPOINT = "HASYNC_FAILPOINT"  # for example restore.swap.before:kill (tests only)
FILED = 200  # finished journals that stay


class Operation:
    """One run of *procedure*, as a context: filed at its end, left behind when we are killed."""

    def __init__(self, procedure: str, state: Path, clock: Clock, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        """Open the journal, and write what the operation works on.

        Raises:
            ToolError: an unfinished operation of the same kind is still there, or no space.
        """
        self.procedure = procedure
        self._steps = [step.name for step in PROCEDURES[procedure]]
        self._path = state / f"{procedure}.jsonl"
        self._clock = clock
        self._journal = JournalFile(self._path, clock)
        self._journal.append("begun", procedure=procedure, pid=os.getpid(), **fields)

    def __enter__(self) -> Self:
        """Give the operation itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """File the journal with how it ended."""
        self._journal.append("ended", ok=error is None, why="" if error is None else str(error))
        self._journal.close()
        file_away(self._path, self._clock)

    @contextmanager
    def step(self, name: str, **fields: Any) -> Iterator[None]:  # noqa: ANN401 - JSON values
        """Carry one step out: announced before, recorded after, with a failpoint at each edge."""
        if name not in self._steps:
            raise AssertionError(f"{self.procedure} has no step {name}")  # a bug, seen by any test
        self._journal.append("step", name=name, **fields)
        failpoint(f"{self.procedure}.{name}.before")
        yield
        failpoint(f"{self.procedure}.{name}.after")
        self._journal.append("done", name=name)

    def note(self, kind: str, /, **fields: Any) -> None:  # noqa: ANN401 - JSON values
        """Record a fact that `recover` or a person may need."""
        self._journal.append(kind, **fields)


def unfinished(state: Path, procedure: str) -> tuple[Event, ...]:
    """Return the events of an operation that was killed; () when there is none.

    Raises:
        InputError: the journal is not one of ours, or broken before its last line.
    """
    path = state / f"{procedure}.jsonl"
    return read_torn(path)[0] if path.exists() else ()


def close_unfinished(state: Path, procedure: str, clock: Clock) -> None:
    """File the journal of an operation that was killed; its facts have been dealt with."""
    path = state / f"{procedure}.jsonl"
    if path.exists():
        file_away(path, clock)


def file_away(path: Path, clock: Clock) -> None:
    """Move a journal to state/done/, and remove the oldest beyond what is kept."""
    done = path.parent / "done"
    done.mkdir(mode=0o700, exist_ok=True)
    path.rename(done / f"{clock.wall_ns():020d}-{path.name}")
    for old in sorted(done.glob("*.jsonl"))[:-FILED]:
        old.unlink()


def failpoint(name: str) -> None:
    """Do what $HASYNC_FAILPOINT orders at *name*: kill, exit, raise, hang or enospc; else nothing.

    Raises:
        InputError: the order names no failpoint, or no action.
        Stop: ordered by `raise`.
        OSError: ordered by `enospc`.
    """
    order = os.environ.get(FAILPOINT, "")
    if not order:
        return
    wanted, _, action = order.partition(":")
    if wanted not in failpoints():
        raise InputError("no such failpoint", field=FAILPOINT, value=order)
    if wanted == name:
        _obey(action, order)


def _obey(action: str, order: str) -> None:
    sys.stderr.write(f"failpoint {order}\n")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "exit":
        os._exit(Exit.RECOVER)
    elif action == "hang":
        signal.pause()
    elif action == "raise":
        raise Stop(Exit.FAILED, "ordered by a failpoint", fact=order)
    elif action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), order)
    else:
        raise InputError("no such action", field=FAILPOINT, value=order)
