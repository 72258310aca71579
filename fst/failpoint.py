"""The failpoint of the fault tests: a run that ends itself at a chosen event of its journal.

An edge, for tests only. FST_KILL_AT=<event number> arms it; FST_KILL_WITH says how the run ends:
KILL (default), TERM or HUP, sent to this process when that event is on the disk; or FULL: from
then on no file of this process grows past the journal's size and a few bytes, as on a full disk.
"""

import os
import resource
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import InputError

AT, WITH, FULL = "FST_KILL_AT", "FST_KILL_WITH", "FULL"
SIGNALS = ("KILL", "TERM", "HUP")
ROOM_BYTES = 40  # that the next event still finds: it is torn in the middle
OnEvent = Callable[[int], None]


def armed(environment: Mapping[str, str], journal: Path) -> OnEvent | None:
    """Return what to call with the number of each event written to *journal*; None: not armed.

    Raises:
        InputError: the variables do not say when and how.
    """
    if not environment.get(AT):
        return None
    at, how = environment[AT], environment.get(WITH, SIGNALS[0])
    if not at.isdecimal():
        raise InputError("not an event's number", field=AT, value=at, fix="use a number from 1")
    if how not in (*SIGNALS, FULL):
        fix = f"use {', '.join(SIGNALS)} or {FULL}"
        raise InputError("no such end", field=WITH, value=how, fix=fix)

    def on_event(number: int) -> None:
        if number != int(at):
            return
        if how == FULL:
            limit = journal.stat().st_size + ROOM_BYTES
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        else:
            os.kill(os.getpid(), signal.Signals[f"SIG{how}"])

    return on_event
