"""The command `fst`: the functional system test itself.

Results on stdout, talk on stderr. Exit 0: every automatic box that was selected was run and is
PASS; 1: a FAIL; 2: what was given is wrong; 3: not everything could be judged.
"""

from pathlib import Path
from typing import Annotated

import typer

from fst.cli_answer import answer
from fst.cli_record import accept, caveat, comment, declare, status, witness
from fst.cli_runs import abort, handover, restore, run
from fst.doctor import doctor
from fst.lab.cli import app as lab_app
from fst.matrix import as_text, lint_text
from fst.plan import Plan, default_plan, parse_plan
from fst.report.write import write_reports
from fst.run_folder import changed_attachments
from fst.site_reading import matrix_of, read_site_file
from harness.command_line import EXIT_OTHER, run_app
from harness.errors import InputError
from harness.journal_file import check_anchor, read_torn

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
app.command(epilog="Example: fst run --site fixtures/sites/loopback.toml --set sbc.selection=hunt")(
    run
)
app.command(epilog="Example: fst answer evidence/20261122T160503Z")(answer)
app.command(epilog="Example: fst abort evidence/20261122T160503Z")(abort)
app.command(epilog="Example: fst restore evidence/20261122T160503Z")(restore)
app.command(epilog="Example: fst handover evidence/20261122T160503Z --to 'B. Tester'")(handover)
app.command(epilog="Example: fst status evidence/20261122T160503Z --json")(status)
app.command(epilog="Example: fst declare RUN A.1.1 site1/enum1 pass --by 'T. Ester'")(declare)
app.command(epilog="Example: fst comment RUN B.3.4 site1 --words 'The SBC restarted'")(comment)
app.command(epilog="Example: fst caveat RUN B.3.4 site1 --words 'Tried with two servers'")(caveat)
app.command(epilog="Example: fst witness RUN B.3.4 site1 --by 'W. Itness' --says pass")(witness)
app.command(epilog="Example: fst accept RUN B.3.4 site1 --by 'C. Ustomer' --email reply.eml")(
    accept
)

SiteOption = Annotated[Path, typer.Option("--site", metavar="FILE", help="Site file (TOML).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Lay a value over the site file; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def main(argv: list[str] | None = None) -> int:
    """Run the command in *argv* (None: that of this process), and return its exit code."""
    return run_app(app, argv, "fst")


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

    Exit 3 when a file is missing or was changed, or the journal was cut or its last line is torn.
    """
    events, torn_bytes = read_torn(folder)
    doubts = changed_attachments(folder, events)
    try:
        check_anchor(events, folder)
    except InputError as error:
        doubts.append(str(error))
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
