"""The edge where a run ends: every exception to its exit code, one line on stderr, the result.

An exit code of 2 promises that nothing was changed. When an operation stops between its point of
change and the confirmation of it, the code is 3 and `hasync recover` (or the next run) settles it;
when it stops after the confirmation, the work is done and the code is 1.
"""

import errno
import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from harness.errors import HarnessError, InputError
from harness.journal import Event
from harness.journal_file import read_torn
from hasync.commands.process import Signals
from hasync.commands.run_log import RotatingLog, printable
from hasync.failure import Exit, Interrupted, Stop

CHANGES = dict.fromkeys(("rollback", "install", "undo"), "exchange") | {"restore": "swap"}
CONFIRMS = dict.fromkeys(("restore", "install", "undo"), "confirm") | {"rollback": "exchange"}
NAGIOS_UNKNOWN = 3
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

logger = logging.getLogger(__name__)


class Result(Protocol):
    """A command's outcome (`hasync.commands.command.Outcome`)."""

    @property
    def code(self) -> int:
        """Return the exit code."""
        ...

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what is printed."""
        ...

    @property
    def facts(self) -> Any:  # noqa: ANN401 - JSON
        """Return what is printed with --json."""
        ...

    @property
    def why(self) -> str:
        """Return the reason of a code that is not 0."""
        ...


class Ending:
    """Turns the end of a run, whatever it is, into an exit code and words."""

    def __init__(self, program: str, signals: Signals) -> None:
        """Speak for *program*; *signals* are no longer obeyed once the end has begun."""
        self._program, self._signals = program, signals
        self._result: Result | None = None
        self._judged: tuple[int, str] | None = None
        self._notes: list[str] = []
        self._before: tuple[Path, frozenset[Path]] | None = None
        self.as_json = False
        self.speaks_nagios = False
        self.log: RotatingLog | None = None

    def __enter__(self) -> Self:
        """Give the ending itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Take in how the run ended; only what no command may raise goes on."""
        self._signals.armed = False
        if isinstance(error, SystemExit):  # --help, --version
            self._judged = (int(error.code or 0), "")
            return True
        self.judged(error)
        return error is None or isinstance(error, Exception | Interrupted | KeyboardInterrupt)

    def watch(self, state: Path) -> None:
        """Let the journals in *state* that are filed from now on say what was changed."""
        self._before = (state, filed(state))

    def outcome(self, result: Result) -> None:
        """Keep what the command gave."""
        self._result = result

    def attention(self, note: str) -> None:
        """Add *note* to what is told; a success becomes a warning."""
        logger.warning("%s", note)
        self._notes.append(note)

    def judged(self, error: BaseException | None) -> tuple[int, str]:
        """Return exit code and reason of *error*, or of the command's own result; asked once."""
        self._signals.armed = False  # what goes on record now is what the process ends with
        if self._judged is None:
            if error is None:
                result = self._result
                self._judged = (result.code, result.why) if result else (Exit.FAILED, "no result")
            else:
                self._judged = self._after_change(*judge(error))
                if not isinstance(error, HarnessError | OSError | Interrupted):
                    logger.error("bug program=%s", self._program, exc_info=error)
        return self._judged

    def told(self) -> int:
        """Print the result and the reason, and return the exit code."""
        code, why = self._judged or (Exit.FAILED, "no result")
        if self.speaks_nagios and self._result is None and why:
            _write(sys.stdout, f"HASYNC UNKNOWN - {printable(why).replace('|', '/')}")
            return NAGIOS_UNKNOWN
        if self.log is not None and self.log.failure:
            self._notes.append(f"the log is not whole: {self.log.failure}")
        if self._notes and code == Exit.OK:
            code = Exit.WARNING
        for note in (why, *self._notes):
            for line in note.splitlines():
                _write(sys.stderr, f"{self._program}: {printable(line)}")
        written = (
            _write(sys.stdout, self._text(code, why)) if self._result or self.as_json else True
        )
        if not written and code == Exit.OK:
            _write(sys.stderr, f"{self._program}: the result could not be printed")
            return int(Exit.WARNING)
        return int(code)

    def _text(self, code: int, why: str) -> str:
        facts = dict(self._result.facts) if self._result else {}
        if self.as_json:
            ends = {"exit_code": int(code), "why": why, "attention": self._notes}
            return json.dumps({"program": self._program} | ends | facts, ensure_ascii=False)
        return "\n".join(printable(line) for line in self._result.lines) if self._result else ""

    def _after_change(self, code: int, why: str) -> tuple[int, str]:
        """Return the code that is true of what the journals say was changed."""
        if self._before is None or code > Exit.SIGNAL:
            return code, why
        changed = changed_since(*self._before)
        if changed == "half" and code not in {Exit.RECOVER, Exit.WARNING}:
            return Exit.RECOVER, f"{why}; stopped between two steps: run `hasync recover`"
        if changed == "whole" and code == Exit.FAILED:
            return Exit.WARNING, f"done, but what follows it failed: {why}"
        return code, why


def judge(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the reason that *error* stands for."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        number = error.number if isinstance(error, Interrupted) else signal.SIGINT
        return Exit.SIGNAL + number, f"ended by {signal.Signals(number).name}"
    if isinstance(error, OSError):
        return _of_system(error), f"{error.filename or 'system'}: {error.strerror or error}"
    if isinstance(error, HarnessError):
        return _of_ours(error), str(error)
    return Exit.FAILED, f"a fault of ours, see the log: {type(error).__name__}: {error}"


def _of_ours(error: HarnessError) -> Exit:
    if isinstance(error, Stop):
        return error.code
    if isinstance(error, InputError):
        return Exit.CONFIG
    cause = error.__cause__
    return _of_system(cause) if isinstance(cause, OSError) else Exit.FAILED


def _of_system(error: OSError) -> Exit:
    return Exit.NO_SPACE if error.errno in _NO_ROOM else Exit.FAILED


def filed(state: Path) -> frozenset[Path]:
    """Return the journals of operations that have ended."""
    return frozenset((state / "done").glob("*.jsonl"))


def changed_since(state: Path, before: frozenset[Path]) -> str:
    """Return "half" or "whole" when a journal that is not one of *before* has changed something.

    Half: past its point of change and not confirmed. One that was left unfinished counts too.
    """
    left = {path for name in CHANGES if (path := state / f"{name}.jsonl").exists()}
    found = {_changed(read_torn(path)[0]) for path in (filed(state) - before) | left}
    return "half" if "half" in found else "whole" if "whole" in found else ""


def _changed(events: tuple[Event, ...]) -> str:
    procedure = str(events[0].fields.get("procedure")) if events else ""
    if procedure not in CHANGES:
        return ""
    named = {(event.type, event.fields.get("name")) for event in events}
    if ("done", CONFIRMS[procedure]) in named:
        return "whole"
    return "half" if ("step", CHANGES[procedure]) in named else ""


def _write(stream: TextIO | None, text: str) -> bool:
    """Print *text* whole, in any locale; say whether the stream took it. A gone reader is fine."""
    if stream is None or not text:
        return True
    try:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError:
        _silence(stream)
        return False
    return True


def _silence(stream: TextIO) -> None:
    """Point *stream* at nothing, so that Python's own flush at the end does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
