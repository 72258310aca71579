"""The command `probetest`: what a probe on a tap should have seen; captures replayed and watched.

Results on stdout, talk on stderr. Exit 0: done; 1: a rule is broken; 2: what was given is wrong;
3: not everything could be read, or the harness could not do its work.
Each command lives in a module of its own (`cli_*`) and is registered here.
"""

import typer

from harness.command_line import run_app
from probetest.commands import analyse as cli_analyse
from probetest.commands import bond as cli_bond
from probetest.commands import make as cli_make
from probetest.commands import replay as cli_replay

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="SIP and RTP from taps: calls, numbers, rates, media quality.",
)


@app.callback()
def probetest() -> None:
    """SIP and RTP from taps: calls, numbers, rates, media quality."""


app.command("analyse", epilog=cli_analyse.EPILOG)(cli_analyse.analyse)
app.command("make", epilog=cli_make.EPILOG)(cli_make.make)
app.command("bond", epilog=cli_bond.EPILOG)(cli_bond.bond)
app.command("replay", epilog=cli_replay.REPLAY_EPILOG)(cli_replay.replay_command)
app.command("watch", epilog=cli_replay.WATCH_EPILOG)(cli_replay.watch)


def main(argv: list[str] | None = None) -> int:
    """Run the command in *argv* (None: that of this process), and return its exit code."""
    return run_app(app, argv, "probetest")
