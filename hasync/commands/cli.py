"""hasync: look at a warm standby, and act on it by hand. Every verb: `hasync VERB --help`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.clock import SystemClock
from hasync.commands.command import Command, Outcome, config_path, run, run_bare
from hasync.commands.run_log import logging_to
from hasync.commands.verbs import VERBS, HasyncOptions, hasync_options, verb_of
from hasync.peer import agent
from hasync.sets import base_folder
from hasync.settings_file import load


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one verb (docs/hasync-settings.md)."""
    words = sys.argv[1:] if argv is None else argv
    verb = verb_of(words)
    if verb == "agent":
        return run_bare("hasync", words, hasync_options, _agent)
    # The other site's run starts the agent four times: it does not load what it never uses.
    from hasync.commands import acts, cli_init, cli_look  # noqa: PLC0415

    if verb == "init":
        return run_bare("hasync", words, hasync_options, cli_init.init)
    act = acts.ACTS.get(verb, cli_look.status)  # an unknown verb: the parser refuses it
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


def _agent(options: HasyncOptions) -> Outcome:
    """Answer the other site; stdout is the channel, so the agent itself writes there."""
    settings = load(config_path(options.config))
    base_folder.prepare(settings.folders)
    with logging_to(settings.folders.log, "agent"):
        return Outcome(agent.main(settings, SystemClock()))


if __name__ == "__main__":
    sys.exit(main())
