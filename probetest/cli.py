"""The command `probetest`: what a probe on a tap should have seen; captures replayed and watched.

Results on stdout, talk on stderr. Exit 0: done; 1: a rule is broken; 2: what was given is wrong;
3: not everything could be read, or the harness could not do its work.
Each command lives in a module of its own (`cli_*`) and is registered here.
"""

import typer

from harness.errors import HarnessError, InputError
from probetest import cli_analyse, cli_bond, cli_make, cli_replay

EXIT_USAGE, EXIT_OTHER = 2, 3

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
    try:
        app(args=argv, prog_name="probetest")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except InputError as error:
        return _refuse(error, EXIT_USAGE)
    except HarnessError as error:
        return _refuse(error, EXIT_OTHER)
    return 0


def _refuse(error: HarnessError, code: int) -> int:
    for line in str(error).splitlines():
        typer.echo(f"probetest: {line}", err=True)
    return code
