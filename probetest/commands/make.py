"""The command `probetest make`: a capture from a script."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import InputError, ToolError
from probetest.script.build import build, frames_of, parse_script
from probetest.script.model import Script
from probetest.script.variants import VARIANTS, vary

EPILOG = (
    "Example: probetest make pcaps/golden-call/script.toml --variant vxlan -o capture.pcap\n\n"
    "The language of scripts, and the table of variants: docs/script.md."
)


def make(
    script: Annotated[Path, typer.Argument(help="Capture script (TOML, docs/script.md).")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, which must be new; - for stdout.")
    ],
    variant: Annotated[
        str,
        typer.Option(help="Tell it otherwise: wrapped, cut, doubled, ... (docs/script.md)."),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what was written as one JSON object.")
    ] = False,
) -> None:
    """Make a capture from a script; the same script gives the same bytes, always.

    Needs scapy: see docs/script.md.
    """
    told = parse_script(_text(script), str(script))
    data = vary(told, variant, frames_of) if variant else build(told)
    if str(output) == "-":
        if as_json:
            fix = "name a file, or leave --json out"
            raise InputError("stdout holds the capture", field="--json", fix=fix)
        typer.get_binary_stream("stdout").write(data)
        return
    try:
        with output.open("xb") as file:
            is_whole = False
            try:
                file.write(data)
                file.flush()
                is_whole = True
            finally:
                if not is_whole:  # half a capture would be taken for a whole one
                    output.unlink()
    except FileExistsError as error:
        fix = "choose another name, or remove it"
        raise InputError("not written: File exists", file=str(output), fix=fix) from error
    except OSError as error:
        raise ToolError(f"{output}: not written: {error.strerror}") from error
    typer.echo(json.dumps(_summary(told, variant, output, len(data))) if as_json else str(output))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


def _summary(script: Script, variant: str, output: Path, size: int) -> dict[str, Any]:
    """Return what was written, and what is known of it before anybody reads it."""
    return {
        "file": str(output),
        "bytes": size,
        "title": script.title,
        "variant": variant,
        "changes": VARIANTS[variant].changes if variant else "",
        "calls": [call.call_id for call in script.calls.values()],
    }
