"""The command `probetest explain`: why one call was counted, and whose call it is."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer

from harness.packets.blocks import Block
from harness.premises import DialledBy
from harness.views import moment
from probetest.commands import options
from probetest.commands.options import MS, WINDOW_MS
from probetest.commands.place import joined, premises
from probetest.commands.tap_files import BLOCK_MIB, TapFiles, refuse_unless_file
from probetest.explain import explain
from probetest.explain_text import as_text, as_values

EXIT_OTHER = 3
EPILOG = "Example: probetest explain tap.pcap 3848276298220188511@192.0.2.10 --site site.toml"


def explain_command(  # noqa: PLR0913 - each option is a parameter
    capture: Annotated[
        str, typer.Argument(help="pcap or pcapng, plain, gzip or Zstandard; it is read twice.")
    ],
    call_id: Annotated[str, typer.Argument(help="Call-ID, or its first characters.")],
    *,
    site: options.Site = None,
    dial_plan: options.Plan = None,
    inside: options.Inside = None,
    trusted: options.Trusted = None,
    dest: options.Dest = "ruri",
    zone: Annotated[str, typer.Option(help="Of all times, such as Europe/London.")] = "UTC",
    show_restricted: options.ShowRestricted = False,
    join_header: options.JoinHeader = None,
    join_by_sdp: options.JoinBySdp = True,
    window_ms: options.WindowMs = WINDOW_MS,
    block_mib: options.BlockMib = BLOCK_MIB,
    as_json: options.AsJson = False,
) -> None:
    """Show why a call was counted as it was: its messages, its parties, its legs, its media.

    Every number has the header that named it, the rule that read it, and what else was there.
    Exit 3 when the capture is damaged or incomplete: what was read is shown, the rest is named.
    """
    moment(0, zone)  # refuses an unknown zone before the work
    refuse_unless_file(capture, field="CAPTURE", command="explain")
    place = replace(premises(site, dial_plan, inside or (), trusted or ()), dialled=DialledBy(dest))

    def reading() -> Iterable[Block]:
        return TapFiles("", [capture], block_mib=block_mib).blocks()

    found = explain(
        reading,
        call_id,
        place,
        show_restricted=show_restricted,
        window_ns=round(window_ms * MS),
        joining=joined(join_header, by_sdp=join_by_sdp),
    )
    if as_json:
        values = as_values(found, zone, show_restricted=show_restricted)
        typer.echo(json.dumps(values, indent=1))
    else:
        typer.echo(as_text(found, zone, show_restricted=show_restricted), nl=False)
    for loss in found.losses:
        typer.echo(f"probetest: warning: {capture}: {loss}", err=True)
    if found.losses:
        raise typer.Exit(EXIT_OTHER)
