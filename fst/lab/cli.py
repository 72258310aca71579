"""The command `fst lab`: a lab of hosts on loopback, up until it is taken down."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from fst.ea_profile import profile
from fst.lab.hosts import LabAccess, LabHosts, states_in, stop_all
from fst.site_reading import read_site_file
from harness.clock import SystemClock
from harness.command import CommandOutput
from harness.errors import InputError

EXIT_DOWN = 3

app = typer.Typer(no_args_is_help=True, help="Work with a lab of hosts on loopback.")

SiteOption = Annotated[Path, typer.Option("--site", metavar="FILE", help="Site file (TOML).")]
StateOption = Annotated[
    Path, typer.Option("--state", metavar="DIR", help="Where the hosts' files are kept.")
]
DEFAULT_STATE = Path("lab-hosts")


@app.command(epilog="Example: fst lab up --site fixtures/sites/two-site.toml")
def up(
    *,
    site: SiteOption,
    state: StateOption = DEFAULT_STATE,
    ea: Annotated[str, typer.Option(help="Set-up of the standby: guide, hasync.")] = "guide",
    every: Annotated[float, typer.Option(help="Seconds between two copies.", min=0.1)] = 0.5,
) -> None:
    """Start all hosts of a site file; return when they listen and are connected."""
    file, _, _ = read_site_file(site)
    lab = LabHosts(file, state, chosen=profile(ea), sync_every_s=every)
    asyncio.run(lab.start())
    typer.echo(f"{len(lab.hosts)} hosts are up; files in {state}")
    typer.echo(f"End them with: fst lab down --state {state}", err=True)


@app.command(epilog="Example: fst lab down")
def down(*, state: StateOption = DEFAULT_STATE) -> None:
    """End every process of the lab, also of one that a crash left behind."""
    count = asyncio.run(stop_all(state))
    if not count:
        raise InputError("no lab is here", field="--state", value=str(state))
    typer.echo(f"{count} hosts are down")


@app.command(epilog="Example: fst lab status")
def status(
    *,
    state: StateOption = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Say what each host's service says; exit 3 when one is not as it should be."""
    states = states_in(state)
    if not states:
        raise InputError("no lab is here", field="--state", value=str(state))
    facts = [json.loads((one / "host.json").read_text(encoding="utf-8")) for one in states]
    said = asyncio.run(_statuses(states))
    rows = [
        {"host": fact["name"], "boots": fact["boots"], "exit": one.exit_code, "says": one.text}
        for fact, one in zip(facts, said, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        for row in rows:
            typer.echo(f"{row['host']}: {row['says'].strip().replace(chr(10), ', ')}")
    good = all((row["exit"] == 0) is row["boots"] for row in rows)
    raise typer.Exit(0 if good else EXIT_DOWN)


async def _statuses(states: list[Path]) -> list[CommandOutput]:
    accesses = [LabAccess("", one, SystemClock()) for one in states]
    return await asyncio.gather(*(one.run("service", "ngp", "status") for one in accesses))
