"""The command `probetest make`: a capture from a script."""

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import InputError, ToolError
from probetest.script.build import build, parse_script

EPILOG = "Example: probetest make pcaps/two-span-duplicates/script.toml -o capture.pcap"


def make(
    script: Annotated[Path, typer.Argument(help="Capture script (TOML, docs/captures.md).")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; must be new.")],
) -> None:
    """Make a capture from a script; the same script gives the same bytes, always.

    Needs scapy: pip install 'fst-harness[generate]'.
    """
    try:
        text = script.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(script)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(script)) from error
    data = build(parse_script(text, str(script)))
    try:
        with output.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise ToolError(f"{output}: not written: {error.strerror}") from error
    typer.echo(str(output))
