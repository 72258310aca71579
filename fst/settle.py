"""The edge that brings a run to rest: ends its process, pays what it owes, says what is left."""

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from fst.debts import Debt, open_debts
from fst.going_on import GoingOn
from fst.resume import HANDOVER
from fst.run_folder import RunFolder
from fst.run_lock import NAME, Holder, has_open, holder
from fst.session import Session
from harness.clock import SystemClock
from harness.errors import HarnessError, InputError
from harness.journal_file import read_torn

ENDS_S = 20.0  # that a runner may take to bring its servers up and write its reports
KILLED_S = 5.0  # that the kernel may take to end it


@dataclass(frozen=True, slots=True)
class Settled:
    """What is left of a run that was brought to rest."""

    left: tuple[Debt, ...]
    trouble: str  # why it could not be brought to rest; "": it was
    done: tuple[str, ...]  # in words

    @property
    def is_safe(self) -> bool:
        """Say whether everything that the run did is seen to be undone."""
        return not self.left and not self.trouble


def abort(run: Path, reason: str = "") -> Settled:
    """End the run in the folder *run* and its process, and pay what it owes.

    Raises:
        InputError: no run is there.
    """
    GoingOn.read(run)  # before any process is ended for it
    done = end_runner(run)
    return _settled(run, "aborted", done, reason=reason or "aborted")


def restore(run: Path) -> Settled:
    """Pay what the run in the folder *run* owes; a run that goes on is refused.

    Raises:
        InputError: no run is there, or a process has it.
    """
    return _settled(run, "restored", ())


def handover(run: Path, to: str) -> str:
    """Give the run to the tester *to*; return who had it before.

    Raises:
        InputError: no run is there, a process has it, or *to* is nobody new.
    """
    known = GoingOn.read(run)
    before = known.began.tester
    if not to.strip() or to.strip() == before:
        fix = "name the tester who goes on"
        raise InputError("nobody new", field="--to", value=to, fix=fix)
    folder = RunFolder.reopen(run, SystemClock())
    try:
        folder.journal.append(HANDOVER, **{"from": before, "to": to.strip()})
    finally:
        folder.close()
    return before


def end_runner(run: Path) -> tuple[str, ...]:
    """End the process that writes into *run*; return what was done, in words.

    It is asked first (SIGTERM: it brings its servers up itself), and killed when it does not end.
    A process id is given again: the process is held by a handle before its start time is compared.

    Raises:
        InputError: another user's process, or one of another machine, has the run.
    """
    found = holder(run)
    if found is None:
        return ()
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return (f"{found} was gone",)
    try:
        if not found.is_alive:
            fix = "end it there"
            raise InputError(f"is being written by {found}", file=str(run), fix=fix)
        if not has_open(found.pid, run / NAME):
            why = f"its lock names {found}, which has not got it"
            raise InputError(why, file=str(run), fix="find out with `fuser run.lock` who has it")
        return _ended(handle, found)
    except PermissionError as error:
        fix = "abort it as that user"
        raise InputError(f"is being written by {found}", file=str(run), fix=fix) from error
    finally:
        os.close(handle)


def _ended(handle: int, found: Holder) -> tuple[str, ...]:
    signal.pidfd_send_signal(handle, signal.SIGTERM)
    signal.pidfd_send_signal(handle, signal.SIGCONT)  # one that was stopped (Ctrl-Z) must hear it
    if _is_gone(handle, ENDS_S):
        return (f"{found} was asked to end, and did",)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    if _is_gone(handle, KILLED_S):
        return (f"{found} did not end in {ENDS_S:g} s, and was killed",)
    raise InputError(f"is being written by {found}, which can't be ended", field="process")


def _is_gone(handle: int, limit_s: float) -> bool:
    """Wait for the end of a process; say whether it came."""
    readable, _, _ = select.select([handle], [], [], limit_s)
    return bool(readable)


def _settled(run: Path, deed: str, done: tuple[str, ...], **fields: str) -> Settled:
    session = Session(None, resume=run)
    try:
        left, trouble = session.settle(deed, **fields)
    except HarnessError as error:
        if isinstance(error, InputError):
            raise
        left = session.owed or open_debts(read_torn(run)[0])
        return Settled(left, str(error), done)
    return Settled(left, trouble, done)
