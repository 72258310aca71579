"""The command `probetest analyse`: captures in, the views of a probe out."""

import gc
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from harness.analytics import call_frame, stream_frame
from harness.errors import InputError
from harness.packets.capture_file import read
from harness.premises import Premises
from harness.view_page import render
from harness.views import View, as_csv, as_json, as_text, moment
from probetest.dataset import TapData, read_tap
from probetest.sip.seen import Seen
from probetest.summary import VIEWS, summary, table

EXIT_OTHER = 3
EPILOG = "Example: probetest analyse probe1=tap.pcap --site site.toml --view top-source"
MAX_COMPLAINTS = 5  # about single messages, on stderr; the summary has their number

ViewName = Literal["average-cps", "peak-cps", "top-source", "top-destination", "calls", "streams"]
GroupName = Literal["minute", "hour", "day"]


def analyse(  # noqa: PLR0913 - each option is a parameter
    captures: Annotated[
        list[str], typer.Argument(metavar="[NAME=]CAPTURE...", help="One capture a device.")
    ],
    *,
    site: Annotated[Path | None, typer.Option(help="Site file: dial plan, own numbers.")] = None,
    dial_plan: Annotated[Path | None, typer.Option(help="Dial plan (TOML).")] = None,
    inside: Annotated[list[str] | None, typer.Option(metavar="NET", help="Own network.")] = None,
    view: Annotated[ViewName | None, typer.Option(help="Default: the summary.")] = None,
    group: Annotated[GroupName, typer.Option(help="Length of a bucket.")] = "hour",
    device: Annotated[str, typer.Option(metavar="NAME", help="One device, or all.")] = "all",
    zone: Annotated[str, typer.Option(help="Of all times, such as Europe/London.")] = "UTC",
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a top list.")] = 10,
    show_restricted: Annotated[
        bool, typer.Option(help="Name callers who asked not to be.")
    ] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    as_csv_: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write calls and streams there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all views there.")
    ] = None,
) -> None:
    """Show what taps saw: calls, parties, rates and media quality, SIP and RTP counted apart.

    Exit 3 when a capture is damaged or incomplete: what was read is shown, the rest is named.
    """
    if as_json_ and as_csv_:
        raise InputError("give one of them", field="--json and --csv")
    files = _files(captures)
    if device != "all" and device not in files:
        fix = "one of " + ", ".join(["all", *files])
        raise InputError("no such device", field="--device", value=device, fix=fix)
    premises = _premises(site, dial_plan, inside or [])
    moment(0, zone)  # refuses an unknown zone before the work
    chosen = {name: path for name, path in files.items() if device in ("all", name)}
    taps = [
        _read(name, path, premises, show_restricted=show_restricted)
        for name, path in chosen.items()
    ]
    tables = summary(taps) if view is None else (table(View(view), taps, group, zone, top),)
    if as_json_:
        typer.echo(json.dumps({one.key: as_json(one) for one in tables}, indent=1))
    else:
        form = as_csv if as_csv_ else as_text
        typer.echo("\n\n".join(form(one).rstrip("\n") for one in tables))
    if parquet is not None:
        _write_parquet(parquet, taps)
    if html is not None:
        every = (*summary(taps), *(table(one, taps, group, zone, top) for one in VIEWS))
        facts = [(name, str(path)) for name, path in chosen.items()]
        _write(html, render("What the taps saw", facts, every).encode())
    if any(tap.losses or tap.unreadable for tap in taps):
        raise typer.Exit(EXIT_OTHER)


def _files(captures: list[str]) -> dict[str, Path]:
    """Return the capture of each device, named after its file where nothing else is said."""
    files: dict[str, Path] = {}
    for text in captures:
        name, equals, path = text.partition("=")
        named = bool(equals) and "/" not in name
        place = Path(path if named else text)
        device = name if named else place.stem
        if not device or device in (*files, "all"):
            fix = "name each device: NAME=FILE; join the files of one with mergecap"
            raise InputError("no new device", field="capture", value=text, fix=fix)
        files[device] = place
    return files


def _premises(site: Path | None, dial_plan: Path | None, inside: list[str]) -> Premises:
    """Return what is known of the customer."""
    known = Premises() if site is None else Premises.from_site(_text(site), file=str(site))
    if dial_plan is not None:
        known = known.with_plan(_text(dial_plan), file=str(dial_plan))
    return known.with_inside(inside)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


def _read(device: str, path: Path, premises: Premises, *, show_restricted: bool) -> TapData:
    """Return what one capture shows, having said what it lacks."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:

        def watch(messages: Iterator[Seen], total: int) -> Iterator[Seen]:
            return iter(progress.track(messages, total=total, description=f"{device}: SIP"))

        gc.disable()  # what is built is kept and has no cycles: looking for some costs a tenth
        try:
            tap = read_tap(
                read(path),
                premises,
                device=device,
                show_restricted=show_restricted,
                watch=watch if console.is_terminal else None,
            )
        finally:
            gc.enable()
    for loss in tap.losses:
        typer.echo(f"probetest: warning: {path}: {loss}", err=True)
    for frame, why in tap.unreadable[:MAX_COMPLAINTS]:
        typer.echo(f"probetest: warning: {path}: frame {frame}: SIP that is not: {why}", err=True)
    if (more := len(tap.unreadable) - MAX_COMPLAINTS) > 0:
        typer.echo(f"probetest: warning: {path}: {more} more such messages", err=True)
    return tap


def _write_parquet(folder: Path, taps: list[TapData]) -> None:
    """Write the dataset for other engines."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", file=str(folder)) from error
    frames = {
        "calls": call_frame(call for tap in taps for call in tap.calls),
        "streams": stream_frame(stream for tap in taps for stream in tap.streams),
    }
    for name, one in frames.items():
        with ExitStack() as stack:
            path = folder / f"{name}.parquet"
            try:
                out = stack.enter_context(path.open("xb"))
            except OSError as error:
                raise InputError(f"not written: {error.strerror}", file=str(path)) from error
            one.write_parquet(out)


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as out:
            out.write(content)
    except OSError as error:
        raise InputError(f"not written: {error.strerror}", file=str(path)) from error
