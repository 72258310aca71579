"""The edge around every command: settings, lock, log, signals, exit code, and what stays on record.

    parse ─▶ settings ─▶ folders ─▶ log ─▶ lock ─▶ "running" on record ─▶ act ─▶ "ended" on record

Laws: the record never says more than is true, whenever we are killed; every end has its own exit
code and one line on stderr; a full or lost log is told, and never ends an operation.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, Self, TypeVar

from harness.clock import Clock, SystemClock
from harness.errors import InputError
from hasync import durable, settings_file
from hasync.commands import record
from hasync.commands.ending import Ending
from hasync.commands.process import manners, within
from hasync.commands.run_lock import locked
from hasync.commands.run_log import ALOUD, logging_to, unlogged
from hasync.failure import Exit, Stop
from hasync.sets import base_folder
from hasync.settings import Settings

CONFIG = "HASYNC_CONFIG"
STATUS = "status.json"

logger = logging.getLogger(__name__)


class Asked(Protocol):
    """What the options of every command have."""

    @property
    def config(self) -> str:
        """Name the settings file; "": the default."""
        ...

    @property
    def json(self) -> bool:
        """Print the result as JSON."""
        ...


Options = TypeVar("Options", bound=Asked)


@dataclass(frozen=True, slots=True)
class Context:
    """What a command works with."""

    settings: Settings
    clock: Clock
    log: logging.Logger


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its exit code, what it prints, and what goes on record."""

    code: int = Exit.OK
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # JSON
    why: str = ""  # one line, when the code is not 0


@dataclass(frozen=True, slots=True)
class Command(Generic[Options]):
    """One command: how its words are read, what it does, and under which name it is recorded."""

    program: str  # the name of the log
    parse: Callable[[Sequence[str]], Options]
    act: Callable[[Context, Options], Outcome]
    recorded_as: Callable[[Options], str]  # "": it needs no lock, and is not recorded
    speaks_nagios: bool = False  # whatever happens: one line on stdout, code 0 to 3
    asks: bool = False  # a person typed it: a run that only waits for a set makes room


def run(command: Command[Options], argv: Sequence[str] | None = None) -> int:
    """Return the exit code of *command* with the words *argv* (None: those of this process)."""
    words = sys.argv[1:] if argv is None else argv
    with unlogged(), manners() as signals:
        with Ending(command.program, signals) as ending:
            ending.speaks_nagios = command.speaks_nagios
            options = command.parse(words)
            ending.as_json = options.json
            with ExitStack() as stack:
                ending.outcome(_carried_out(command, options, ending, stack))
        return ending.told()


def run_bare(
    program: str,
    argv: Sequence[str],
    parse: Callable[[Sequence[str]], Options],
    act: Callable[[Options], Outcome],
) -> int:
    """Return the exit code of a command without settings, lock and record: it has its own."""
    with unlogged(), manners() as signals:
        with Ending(program, signals) as ending:
            options = parse(argv)
            ending.as_json = options.json
            ending.outcome(act(options))
        return ending.told()


def config_path(named: str) -> Path:
    """Return the settings file: as *named*, else by $HASYNC_CONFIG, else the default."""
    return Path(named or os.environ.get(CONFIG, "") or settings_file.DEFAULT).absolute()


def read_runs(state: Path) -> dict[str, record.RunRecord]:
    """Return what is on record of each command's last run; {} when nothing is.

    Raises:
        InputError: a record that is not ours, or cannot be read.
    """
    path = state / STATUS
    if not path.exists():
        return {}
    return record.parse(durable.read(path, record.MAX_BYTES), str(path))


def _carried_out(
    command: Command[Options], options: Options, ending: Ending, stack: ExitStack
) -> Outcome:
    settings = settings_file.load(config_path(options.config))
    context = Context(settings, SystemClock(), logging.getLogger("hasync"))
    name = command.recorded_as(options)
    if not name:
        return command.act(context, options)
    base_folder.prepare(settings.folders)
    stack.enter_context(within(settings.folders.base))
    ending.log = stack.enter_context(logging_to(settings.folders.log, command.program))
    try:
        state, at_ns = settings.folders.state, context.clock.wall_ns()
        gone = stack.enter_context(locked(state, name, at_ns=at_ns, asks=command.asks))
    except Stop as stop:
        logger.warning("not run command=%s why=%s", name, stop)
        raise
    if gone:
        logger.warning("%s only waited for a set, and has stepped aside", gone, extra=ALOUD)
    recorder = stack.enter_context(Recorder(context, name, ending))
    outcome = command.act(context, options)
    recorder.facts = outcome.facts
    ending.outcome(outcome)
    return outcome


class Recorder:
    """Puts one run on record: running, then how it ended."""

    def __init__(self, context: Context, name: str, ending: Ending) -> None:
        """Record the run called *name*; *ending* says how an exception counts."""
        self._context, self._name, self._ending = context, name, ending
        self._path = context.settings.folders.state / STATUS
        self._began_ns = context.clock.monotonic_ns()
        self._runs: dict[str, record.RunRecord] = {}
        self.facts: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        """Write `running`: from here on an earlier success is not the last word.

        Raises:
            Stop: it cannot be written, so nothing is begun.
        """
        state = self._context.settings.folders.state
        try:
            runs = read_runs(state)
        except InputError as error:
            logger.warning("the record is lost and begins anew why=%s", error)
            runs = {}
        at_ns = self._context.clock.wall_ns()
        self._runs = record.began(runs, self._name, os.getpid(), at_ns)
        durable.write(self._path, record.encode(self._runs))
        self._ending.watch(state)
        logger.info("begun command=%s pid=%d", self._name, os.getpid())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write how it ended; a record that cannot be written is told, the end stays the same."""
        code, why = self._ending.judged(error)
        took_s = (self._context.clock.monotonic_ns() - self._began_ns) / 1e9
        logger.info("ended command=%s exit=%d took_s=%.3f why=%s", self._name, code, took_s, why)
        try:
            self._runs = record.ended(
                self._runs,
                self._name,
                at_ns=self._context.clock.wall_ns(),
                took_s=took_s,
                exit_code=code,
                why=why,
                facts=self.facts,
            )
            durable.write(self._path, record.encode(self._runs))
        except Stop as stop:
            self._ending.attention(f"the record was not written: {stop}")
