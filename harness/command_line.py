"""The one way in which a Typer command of this project ends: an exit code, and one line a mistake.

Exit 2: what was given is wrong; 3: the harness could not do its work; all else is the command's.
A result that could not be written, to a full disk or to a reader who went away, is no result: 3.
"""

import errno

import typer

from harness.errors import HarnessError, InputError

EXIT_USAGE, EXIT_OTHER = 2, 3
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def run_app(app: typer.Typer, argv: list[str] | None, name: str) -> int:
    """Run *app* on *argv* (None: that of this process) as program *name*; return its exit code."""
    try:
        app(args=argv, prog_name=name)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer says 1, which is a verdict here
            return EXIT_OTHER
        return end.code if isinstance(end.code, int) else 0
    except InputError as error:
        return _refuse(error, name, EXIT_USAGE)
    except HarnessError as error:
        return _refuse(error, name, EXIT_OTHER)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        typer.echo(f"{name}: not written: {error.strerror}", err=True)
        return EXIT_OTHER
    return 0


def _refuse(error: HarnessError, name: str, code: int) -> int:
    for line in str(error).splitlines():
        typer.echo(f"{name}: {line}", err=True)
    return code
