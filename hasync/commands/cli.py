"""hasync: look at a warm standby, and act on it by hand. Every verb: `hasync VERB --help`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.clock import SystemClock
from harness.errors import InputError
from hasync import durable
from hasync.commands import cli_database, cli_look, cli_sets, cli_tail, example
from hasync.commands.command import Command, Context, Outcome, config_path, run, run_bare
from hasync.commands.run_log import logging_to
from hasync.commands.verbs import VERBS, HasyncOptions, hasync_options, verb_of
from hasync.failure import Exit, Stop
from hasync.peer import agent
from hasync.sets import base_folder
from hasync.settings_file import load, parse

_Act = Callable[[Context, HasyncOptions], Outcome]


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one verb (docs/hasync-settings.md)."""
    words = sys.argv[1:] if argv is None else argv
    verb = verb_of(words)
    if verb in _BARE:
        return run_bare("hasync", words, hasync_options, _BARE[verb])
    act = ACTS.get(verb, cli_look.status)  # an unknown verb: the parser refuses it
    nagios = verb == "check"
    asks = verb in VERBS and VERBS[verb].asks
    return run(Command("hasync", _options, act, _recorded_as, nagios, asks), words)


def _options(argv: Sequence[str]) -> HasyncOptions:
    """Return the options; paths are whole, because a locked verb works in the base folder."""
    options = hasync_options(argv)
    if options.verb == "import":
        options = replace(options, word=str(Path(options.word).absolute()))
    if options.export:
        options = replace(options, export=str(Path(options.export).absolute()))
    return options


def _recorded_as(options: HasyncOptions) -> str:
    if options.dry_run:
        return ""
    if (options.verb, options.action) == ("tail", "restore"):
        return "hasync tail restore"
    return f"hasync {options.verb}" if VERBS[options.verb].locked else ""


def _tail(context: Context, options: HasyncOptions) -> Outcome:
    restores = options.action == "restore"
    return (cli_tail.restore if restores else cli_tail.tail)(context, options)


def _role(context: Context, options: HasyncOptions) -> Outcome:
    declares = options.action == "set"
    return (cli_sets.declare_role if declares else cli_look.role)(context, options)


ACTS: dict[str, _Act] = {
    "status": cli_look.status,
    "check": cli_look.checked,
    "sets": cli_look.sets,
    "doctor": cli_look.examine,
    "verify": cli_sets.verify,
    "pin": cli_sets.pin,
    "unpin": cli_sets.unpin,
    "hold": cli_sets.hold,
    "release": cli_sets.release,
    "keep": cli_sets.prune,
    "role": _role,
    "restore": cli_database.restore_set,
    "rollback": cli_database.roll_back,
    "recover": cli_database.settle,
    "tail": _tail,
    "install": cli_database.install,
    "import": cli_database.import_old,
}


def _agent(options: HasyncOptions) -> Outcome:
    """Answer the other site; stdout is the channel, so the agent itself writes there."""
    settings = load(config_path(options.config))
    base_folder.prepare(settings.folders)
    with logging_to(settings.folders.log, "agent"):
        return Outcome(agent.main(settings, SystemClock()))


def _init(options: HasyncOptions) -> Outcome:
    """Make the folders, and write an example of the settings; nothing is overwritten.

    Raises:
        InputError: a name or a folder that cannot be used, or settings that are there already.
        Stop: a folder or the file cannot be made.
    """
    path = config_path(options.config)
    content = example.settings(options.site, options.peer, options.base)
    settings = parse(content, str(path))
    if path.exists():
        fix = "mend it, or name another with --config"
        raise InputError("there are settings already", file=str(path), fix=fix)
    with _permitted(settings.folders.base, path.parent):
        durable.make_folder(path.parent)
        durable.make_folder(settings.folders.base)
        base_folder.prepare(settings.folders)
        durable.write(path, content)
    lines = (f"wrote {path}: read it through, then `hasync doctor`", f"made {options.base}")
    return Outcome(Exit.OK, lines, {"settings": str(path), "base": str(Path(options.base))})


@contextmanager
def _permitted(*folders: Path) -> Iterator[None]:
    """Say what root has to do first where we may not make or write one of *folders*."""
    try:
        yield
    except Stop as stop:
        if not isinstance(stop.__cause__, PermissionError):
            raise
        named = " ".join(str(folder) for folder in folders)
        fix = f"as root, first: install -d -m 700 -o {cli_sets.person()} {named}"
        raise Stop(stop.code, stop.why, fact=stop.fact, fix=fix) from stop


_BARE: dict[str, Callable[[HasyncOptions], Outcome]] = {"agent": _agent, "init": _init}


if __name__ == "__main__":
    sys.exit(main())
