"""The command `enumtest profiles`: which kinds of SBC are known, and what is known of each."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from enumtest.profiles.profile_file import parse_profile, shipped_names, shipped_profile
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.profiles.profiles import Profile
from harness.errors import InputError

EPILOG = "Example: enumtest profiles oracle-hunt"
S, MS = 1_000_000_000, 1_000_000  # nanoseconds


def profiles(
    name: Annotated[str, typer.Argument(metavar="[NAME|FILE]", help="One of them, whole.")] = "",
    *,
    timeout: Annotated[
        int | None,
        typer.Option(metavar="S", min=1, max=60, help="The SBC is set to another time-out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List the SBC profiles, or show one: each value with its source, or that nobody knows it."""
    if timeout is not None and not name:
        fix = "name the profile: enumtest profiles oracle-hunt --timeout 2"
        raise InputError("of which profile?", field="--timeout", value=timeout, fix=fix)
    if name:
        profile = read_profile(name)
        if timeout is not None:
            profile = laid_over(profile, Overrides(timeout_ns=timeout * S), by="--timeout")
        typer.echo(json.dumps(_event(profile)) if as_json else _text(profile))
        return
    found = [shipped_profile(one) for one in shipped_names()]
    if as_json:
        typer.echo(json.dumps([{"name": one.name, "title": one.title} for one in found]))
        return
    for one in found:
        typer.echo(f"{one.name:20} {one.title}; {_known(one)}")


def read_profile(name: str) -> Profile:
    """Return the profile called *name*, or the one in the file at that path.

    Raises:
        InputError: neither, or the file does not hold a profile.
    """
    if name in shipped_names():
        return shipped_profile(name)
    path = Path(name)
    if path.suffix != ".toml" and "/" not in name:
        return shipped_profile(name)  # refuses it, with the names that there are
    try:
        return parse_profile(path.read_text(encoding="utf-8"), name)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=name) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=name) from error


def _known(profile: Profile) -> str:
    values = profile.fields()
    return f"{sum(one.source is not None for one in values)} of {len(values)} values known"


def _text(profile: Profile) -> str:
    lines = [f"{profile.name}: {profile.title}", _known(profile)]
    for one in profile.fields():
        if one.source is None:
            simulated = "" if one.value is None else f" (simulated: {_shown(one.path, one.value)})"
            lines.append(f"{_named(one.path)}: unknown{simulated}")
        else:
            lines += [f"{_named(one.path)} = {_shown(one.path, one.value)}", f"    {one.source}"]
    return "\n".join(lines)


def _named(path: str) -> str:
    """Return *path* with its time in milliseconds, as a profile file has it."""
    return f"{path.removesuffix('_ns')}_ms" if path.endswith("_ns") else path


def _shown(path: str, value: object) -> str:
    if not path.endswith("_ns"):
        return json.dumps(value)
    if isinstance(value, tuple):
        return json.dumps([at_ns / MS for at_ns in value])
    return json.dumps(value / MS if isinstance(value, int) else value)


def _event(profile: Profile) -> dict[str, object]:
    rows = [asdict(one) | {"known": one.source is not None} for one in profile.fields()]
    return {"name": profile.name, "title": profile.title, "fields": rows}
