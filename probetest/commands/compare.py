"""The command `probetest compare`: a capture held against what a probe or client reported of it."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import InputError
from harness.packets.blocks import Block
from harness.premises import DialledBy
from harness.views import moment
from probetest.commands import options
from probetest.commands.new_files import refuse_taken
from probetest.commands.options import MS, WINDOW_MS
from probetest.commands.place import joined, premises, text
from probetest.commands.tap_files import BLOCK_MIB, TapFiles, refuse_unless_file
from probetest.compare.mapping import Mapping
from probetest.compare.run import Comparison, run
from probetest.compare.text import as_tables, as_values, as_words
from probetest.compare.theirs import read_report

EXIT_DIFFERENT, EXIT_OTHER = 1, 3
EPILOG = """Example: probetest compare --ours tap.pcap --theirs report.csv --group hour

Example: probetest compare --ours tap.pcap --theirs cdr.csv --mapping cdr.toml --json"""


def compare_command(  # noqa: PLR0913 - each option is a parameter
    *,
    ours: Annotated[
        list[str],
        typer.Option(metavar="CAPTURE", help="What the tap saw; several are read as one."),
    ],
    theirs: Annotated[
        Path, typer.Option(metavar="FILE", help="What the probe or client reported of it.")
    ],
    form: Annotated[
        str, typer.Option(help="Of their file; told by its first lines where they can tell.")
    ] = "",
    mapping: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Which column of a CSV is what (TOML).")
    ] = None,
    device: Annotated[str, typer.Option(help="Whose rows of their file, where it has several.")] = (
        ""
    ),
    site: options.Site = None,
    dial_plan: options.Plan = None,
    trusted: options.Trusted = None,
    dest: options.Dest = "ruri",
    group: options.Group = "hour",
    zone: Annotated[str, typer.Option(help="Of our buckets, such as Europe/London.")] = "UTC",
    join_header: options.JoinHeader = None,
    join_by_sdp: options.JoinBySdp = True,
    window_ms: options.WindowMs = WINDOW_MS,
    block_mib: options.BlockMib = BLOCK_MIB,
    as_json: options.AsJson = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page there.")] = None,
) -> None:
    """Hold a capture against a report of it, figure by figure, and name the bug that differs.

    A difference is explained by counting again with each known bug of probes; one is named only
    where it gives exactly their figures. Exit 0: all equal; 1: something differs; 3: the capture
    is damaged or incomplete, or the report says nothing, so neither is proven.
    """
    moment(0, zone)  # refuses an unknown zone before the work
    for path in ours:
        refuse_unless_file(path, field="--ours", command="compare")
    refuse_taken(None, html)
    joining = joined(join_header, by_sdp=join_by_sdp)
    if form and mapping is not None:
        raise InputError("give one of them", field="--form and --mapping")
    place = replace(premises(site, dial_plan, (), trusted or ()), dialled=DialledBy(dest))
    report = read_report(
        text(theirs),
        place,
        form=form,
        mapping=None if mapping is None else Mapping.parse(text(mapping), file=str(mapping)),
        device=device,
        file=str(theirs),
    )

    def blocks() -> Iterable[Block]:
        return TapFiles("", ours, block_mib=block_mib).blocks()

    found = run(
        blocks,
        report,
        place,
        group=group,
        zone=zone,
        window_ns=round(window_ms * MS),
        joining=joining,
    )
    _show(found, ours, theirs, html, as_json=as_json)
    for loss in found.losses:
        typer.echo(f"probetest: warning: {', '.join(ours)}: {loss}", err=True)
    if found.losses or not found.rows:
        raise typer.Exit(EXIT_OTHER)
    if not found.is_equal:
        raise typer.Exit(EXIT_DIFFERENT)


def _show(
    found: Comparison, ours: list[str], theirs: Path, html: Path | None, *, as_json: bool
) -> None:
    """Write it on stdout, and the page that was asked for."""
    if html is not None:
        # A template engine: a tenth of a second that most runs need not spend.
        from harness.view_page import render  # noqa: PLC0415
        from probetest.commands.analyse_files import write_new  # noqa: PLC0415

        facts = (("ours", ", ".join(ours)), ("theirs", f"{theirs} ({found.report.form})"))
        write_new(html, render("Compared", facts, as_tables(found)).encode())
    typer.echo(json.dumps(as_values(found), indent=1) if as_json else as_words(found), nl=as_json)
