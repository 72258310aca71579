"""The command `probetest`: what a probe on a tap should have seen; captures replayed and watched.

Results on stdout, talk on stderr. Exit 0: done; 1: a rule is broken; 2: what was given is wrong;
3: not everything could be read, or the harness could not do its work.
Each command lives in a module of its own (`commands/*`) and is named here. Only the one that was
asked for is imported: all of them together take longer than a small capture.
"""

import sys
from importlib import import_module

import typer

from harness.command_line import run_app

EXIT_STOPPED = 130  # Ctrl-C
COMMANDS = {  # in the order of the help: module, function, and the constant with its example
    "analyse": ("analyse", "analyse", "EPILOG"),
    "explain": ("explain", "explain_command", "EPILOG"),
    "compare": ("compare", "compare_command", "EPILOG"),
    "make": ("make", "make", "EPILOG"),
    "bond": ("bond", "bond", "EPILOG"),
    "replay": ("replay", "replay_command", "REPLAY_EPILOG"),
    "watch": ("replay", "watch", "WATCH_EPILOG"),
}


def build_app(only: str = "") -> typer.Typer:
    """Return the program, with all its commands or *only* one."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="SIP and RTP from taps: calls, numbers, rates, media quality.",
    )
    app.callback()(probetest)
    for name, (module_name, function, epilog) in COMMANDS.items():
        if only in ("", name):
            module = import_module(f"probetest.commands.{module_name}")
            app.command(name, epilog=getattr(module, epilog))(getattr(module, function))
    return app


def probetest() -> None:
    """SIP and RTP from taps: calls, numbers, rates, media quality."""


def main(argv: list[str] | None = None) -> int:
    """Run the command in *argv* (None: that of this process), and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    asked = words[0] if words and words[0] in COMMANDS else ""
    try:
        return run_app(build_app(asked), argv, "probetest")
    except KeyboardInterrupt:  # before the command had begun
        return EXIT_STOPPED
