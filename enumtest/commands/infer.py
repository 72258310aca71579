"""The command `enumtest infer`: captures of an unknown SBC in, its measured profile out.

Exit 0: it was measured; 2: what was given is wrong.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enumtest.commands.judge import ahead_of, servers_of
from enumtest.infer.inference import infer as inferred
from enumtest.infer.reading import read_unknown
from enumtest.infer.words import event, lines
from enumtest.judge.capture_doubts import refuse_copies, refuse_strangers
from enumtest.profiles.profile_writer import write_profile
from harness.errors import InputError
from harness.packets.capture_file import read

EPILOG = (
    "Examples: enumtest infer sbc.pcap --servers 192.0.2.11,192.0.2.12 -o our-sbc.toml; then "
    "enumtest judge sbc.pcap --profile our-sbc.toml --servers 192.0.2.11,192.0.2.12"
)


def infer(  # noqa: PLR0913 - each option is a parameter
    captures: Annotated[
        list[Path], typer.Argument(metavar="CAPTURE...", help="One at the SBC, or one a server.")
    ],
    *,
    servers: Annotated[
        str,
        typer.Option(
            metavar="[NAME=]ADDRESS[:PORT],...", help="ENUM servers, in the order that the SBC has."
        ),
    ],
    client: Annotated[str, typer.Option(metavar="ADDRESS", help="Of several SBCs, this.")] = "",
    clock: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPTURE=SECONDS", help="That clock is so far ahead; repeat."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PROFILE.toml", help="Write it there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure from captures how an SBC does ENUM: each value with its interval and its frames.

    What was not observed is never guessed: it is listed with what to do to see it. The profile
    written with -o is one that `enumtest judge --profile FILE` holds the SBC to.
    """
    places = servers_of(servers)
    if out is not None and out.exists():  # said before the work, not after it
        raise InputError("exists already, and is not overwritten", file=str(out))
    console = Console(stderr=True, quiet=not Console(stderr=True).is_terminal)
    with console.status("reading"):
        read_in = [read(path) for path in captures]
        refuse_copies(read_in)
        names = {endpoint: name for name, endpoint in places.items()}
        ahead_ns = ahead_of(clock or [], [one.name for one in read_in])
        table = read_unknown(read_in, names, ahead_ns=ahead_ns)
        refuse_strangers(read_in, places, table)
        found = inferred(table, client=client)
    if out is not None and len(found) > 1:
        fix = f"choose one with --client: {', '.join(one.client for one in found)}"
        raise InputError("several SBCs asked, and one profile is one SBC's", field="-o", fix=fix)
    if out is not None:
        _write(out, write_profile(found[0], name=out.stem))
    if as_json:
        typer.echo(json.dumps(event(found), indent=1))
    else:
        typer.echo("\n".join(line for one in found for line in lines(one)))
    if out is not None:
        typer.echo(f"written: {out}", err=True)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"not written: {error.strerror}", file=str(path)) from error
