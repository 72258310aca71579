"""Commands that begin a run, go on with one, bring it to rest, and hand it over."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fst import settle
from fst.guided_run import Guidance
from fst.report.results import render
from fst.report.write import HTML
from fst.run_command import print_boxes, run_cases
from fst.session import Session
from fst.settle import Settled
from harness.command_line import EXIT_OTHER

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def run(  # noqa: PLR0913 - each option is a parameter
    *,
    site: Annotated[
        Path | None,
        typer.Option("--site", metavar="FILE", help="Site file (TOML); a resumed run has its own."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("evidence"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Lay a value over the site file; repeatable."
        ),
    ] = None,
    mark: Annotated[str, typer.Option("-m", metavar="MARK", help="Only these: enum, …")] = "",
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="ID", help="Only this case or part (B.3.4, B.3); repeat."),
    ] = None,
    complete: Annotated[
        bool, typer.Option(help="Boxes that wait for a person count as missing (exit 3).")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with the run in this folder: boxes left empty."),
    ] = None,
    retest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHICH",
            help="Of a resumed run, try again: failed, other, suspect, B.3.4, STEP@TARGET; repeat.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why boxes are tried again (with --retest).")
    ] = "",
    guided: Annotated[
        bool, typer.Option("--guided", help="Ask people to dial, to listen and to judge.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="The whole flow, simulated and quick; never to be signed."),
    ] = False,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What was heard, seen and dialled (TOML); no verdicts."),
    ] = None,
    no_terminal: Annotated[
        bool, typer.Option("--no-terminal", help="Ask on the run's socket only: fst answer RUN.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Run the cases of the plan at a site; write journal, captures and reports.

    Everything is kept in a new folder below --out. Nothing outside this machine is touched by a
    site file with mode = "lab". A run that was cut off goes on with --resume.
    """
    talk = _Out(stderr=True)
    session = Session(
        site,
        out=out,
        settings=settings or (),
        chosen=case or (),
        resume=resume,
        retest=retest or (),
        reason=reason,
        guidance=Guidance(guided, rehearse, answers, no_terminal),
    )
    report = run_cases(session, mark=mark, console=talk)
    folder = out if session.folder is None else session.folder.path
    stdout = _Out()
    if as_json:
        stdout.out(json.dumps(render(report), ensure_ascii=False, indent=1), highlight=False)
    else:
        print_boxes(report, stdout)
        stdout.out(f"Report: {folder / HTML}", highlight=False)
    raise typer.Exit(EXIT_OTHER if session.owed else report.exit_code(complete=complete))


def abort(
    folder: RunArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is aborted.")] = "",
) -> None:
    """End a run and its process, undo what it did, and say whether all is as it was found.

    Prints SAFE (exit 0) or NOT SAFE with what is left (exit 3), within a minute. It may go on later
    with `fst run --resume`.
    """
    _tell(folder, settle.abort(folder, reason))


def restore(folder: RunArgument) -> None:
    """Undo what a run that was cut off has left behind, and see that it is undone.

    Prints SAFE (exit 0) or NOT SAFE with what is left (exit 3).
    """
    _tell(folder, settle.restore(folder))


def handover(
    folder: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who goes on with the run.")],
) -> None:
    """Pass a run that is at rest to another tester; who had it stays in the journal."""
    before = settle.handover(folder, to)
    typer.echo(f"{folder}: handed over from {before or 'nobody'} to {to}")
    typer.echo(f"Go on with: fst run --resume {folder}", err=True)


class _Out(Console):
    """A standard stream; whoever reads it may stop early (`| head`), which decides nothing."""

    def on_broken_pipe(self) -> None:
        """Print nothing any more."""
        self.quiet = True
        stream = sys.stderr if self.stderr else sys.stdout
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def _tell(folder: Path, found: Settled) -> None:
    for line in found.done:
        typer.echo(f"fst: {line}", err=True)
    if found.is_safe:
        typer.echo(f"SAFE: {folder} owes nothing")
        return
    typer.echo(f"NOT SAFE: {folder}")
    for debt in found.left:
        typer.echo(f"  {debt.words}")
    for line in found.trouble.splitlines():
        typer.echo(f"fst: {line}", err=True)
    raise typer.Exit(EXIT_OTHER)
