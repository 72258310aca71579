"""The command `fst`: the functional system test itself.

Results on stdout, talk on stderr. Exit 0: every automatic box that was selected was run and is
PASS; 1: a FAIL; 2: what was given is wrong; 3: not everything could be judged.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fst.doctor import doctor
from fst.lab.cli import app as lab_app
from fst.matrix import as_text, lint_text
from fst.plan import Plan, default_plan, parse_plan
from fst.report.results import render
from fst.report.write import HTML, write_reports
from fst.run_command import print_boxes, run_cases
from fst.run_folder import changed_attachments
from fst.session import Session, matrix_of, read_site_file
from harness.command_line import EXIT_OTHER, run_app
from harness.errors import InputError
from harness.journal_file import read_torn

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Functional system test of a phone-call policy solution, judged from packets.",
)
site_app = typer.Typer(no_args_is_help=True, help="Work with site files.")
app.add_typer(site_app, name="site")
app.add_typer(lab_app, name="lab")
app.command(epilog="Example: fst doctor --site fixtures/sites/loopback.toml")(doctor)

SiteOption = Annotated[Path, typer.Option("--site", metavar="FILE", help="Site file (TOML).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Lay a value over the site file; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def main(argv: list[str] | None = None) -> int:
    """Run the command in *argv* (None: that of this process), and return its exit code."""
    return run_app(app, argv, "fst")


@app.command(epilog="Example: fst run --site fixtures/sites/loopback.toml --set sbc.selection=hunt")
def run(  # noqa: PLR0913 - each option is a parameter
    *,
    site: SiteOption,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("evidence"),
    settings: SetOption = None,
    mark: Annotated[str, typer.Option("-m", metavar="MARK", help="Only these: enum, …")] = "",
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="ID", help="Only this case or part (B.3.4, B.3); repeat."),
    ] = None,
    complete: Annotated[
        bool, typer.Option(help="Boxes that wait for a person count as missing (exit 3).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the cases of the plan at a site; write journal, captures and reports.

    Everything is kept in a new folder below --out. Nothing outside this machine is touched by a
    site file with mode = "lab".
    """
    talk = Console(stderr=True)
    session = Session(site, out=out, settings=settings or (), chosen=case or ())
    report = run_cases(session, mark=mark, console=talk)
    folder = out if session.folder is None else session.folder.path
    if as_json:
        typer.echo(json.dumps(render(report), ensure_ascii=False, indent=1))
    else:
        print_boxes(report, Console())
        typer.echo(f"Report: {folder / HTML}")
    raise typer.Exit(report.exit_code(complete=complete))


@app.command(epilog="Example: fst plan --site fixtures/sites/two-site.toml")
def plan(
    *,
    site: Annotated[Path | None, typer.Option(metavar="FILE", help="Site file (TOML).")] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Another plan than the shipped.")
    ] = None,
    lint: Annotated[
        bool, typer.Option("--lint", help="Contradictions in the source plan; how each is read.")
    ] = False,
) -> None:
    """Print the plan, or the forms and boxes that it gives for a site."""
    chosen = default_plan() if plan_file is None else _plan_of(plan_file)
    if lint:
        lines = lint_text(chosen)
    elif site is not None:
        file, _, _ = read_site_file(site)
        lines = as_text(matrix_of(file, chosen), chosen)
    else:
        lines = [f"{step.id}  {step.text} [{step.mode.value}]" for step in chosen.steps]
    typer.echo("\n".join(lines))


def _plan_of(path: Path) -> Plan:
    try:
        return parse_plan(path.read_text(encoding="utf-8"), file=str(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


@app.command(epilog="Example: fst report evidence/20261122T160503Z")
def report(folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]) -> None:
    """Make the reports of a run again, from its journal; say what is not as it was recorded.

    Exit 3 when a capture is missing or was changed, or the journal's last line is torn.
    """
    events, torn_bytes = read_torn(folder)
    doubts = changed_attachments(folder, events)
    if torn_bytes:
        doubts.append(f"journal.jsonl: its last line is torn ({torn_bytes} bytes left out)")
    for path in write_reports(folder, events):
        typer.echo(path)
    for doubt in doubts:
        typer.echo(f"fst: {folder}: {doubt}", err=True)
    if doubts:
        raise typer.Exit(EXIT_OTHER)


@site_app.command(epilog="Example: fst site check fixtures/sites/loopback.toml")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Site file (TOML).")],
    settings: SetOption = None,
) -> None:
    """Say everything that is wrong with a site file, or what it holds."""
    site_file, _, _ = read_site_file(file, settings or ())
    matrix = matrix_of(site_file, default_plan())
    hosts = sum(len(site.hosts) for site in site_file.sites)
    sbcs = sum(len(site.sbcs) for site in site_file.sites)
    typer.echo(
        f"{file}: good; {len(site_file.sites)} sites, {hosts} hosts, {sbcs} SBCs, "
        f"{len(matrix.boxes)} boxes on {len(matrix.forms)} forms"
    )
