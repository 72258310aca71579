"""The command `probetest bond`: whether a tap can be trusted to this host's bonded ports."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import InputError
from harness.finding import Finding, Outcome, worst
from probetest.taps.bond import BondState, judge, parse_proc
from probetest.taps.bond_live import read_bond

EPILOG = "Example: probetest bond bond0 --expect eth6 --expect eth7"

_EXIT = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.OTHER: 3}


def bond(
    interface: Annotated[str, typer.Argument(help="Name of the bond, such as bond0.")] = "",
    *,
    expect: Annotated[
        list[str] | None, typer.Option(metavar="PORT", help="Port that must be in it; repeat.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A recorded /proc/net/bonding text, instead."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="State and findings as JSON.")] = False,
) -> None:
    """Look at a bond of this host, and say what its mode would lose.

    Exit 0: every rule passes; 1: one fails; 3: not everything could be judged, and always so with
    a recorded text.
    """
    if bool(interface) == (text is not None):
        raise InputError("name either a bond or --text", field="interface", value=interface)
    state = read_bond(interface) if text is None else _recorded(text)
    findings = judge(state, tuple(expect or ()))
    typer.echo(_json(state, findings) if as_json else "\n".join(map(_line, findings)))
    code = _EXIT[worst(finding.outcome for finding in findings)]
    if code:
        raise typer.Exit(code)


def _recorded(path: Path) -> BondState:
    try:
        return parse_proc(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


def _line(finding: Finding) -> str:
    told = f"{finding.outcome:5} {finding.rule:19} {finding.observed}"
    wanted = "" if finding.outcome is Outcome.PASS else f" (expected: {finding.expected})"
    return told + wanted


def _json(state: BondState | None, findings: tuple[Finding, ...]) -> str:
    shown = None if state is None else asdict(state)
    return json.dumps({"bond": shown, "findings": [asdict(finding) for finding in findings]})
