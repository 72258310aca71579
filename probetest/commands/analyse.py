"""The command `probetest analyse`: captures in, the views of a probe out."""

import gc
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.errors import HarnessError, InputError
from harness.premises import DialledBy, Premises
from harness.records import legible
from harness.views import Table, View, as_csv, as_json, as_text, moment
from probetest.calls.joining import Joining
from probetest.commands import options
from probetest.commands.new_files import refuse_taken
from probetest.commands.options import MS, WINDOW_MS
from probetest.commands.place import joined, of_devices, premises
from probetest.commands.tap_files import BLOCK_MIB, TapFiles, refuse_unreadable
from probetest.dataset import Listening, ListeningHere, TapData, TapReader
from probetest.listening import Listener
from probetest.listening_process import ListeningProcess
from probetest.media.mos import ASSUMED_DELAY_MS
from probetest.summary import VIEWS, summary, table

EXIT_OTHER, EXIT_STOPPED = 3, 130
EPILOG = """Example: probetest analyse probe1=tap.pcap --site site.toml --view top-source

Example: tcpdump -w - udp | probetest analyse tap=- --view calls --csv

Example: probetest analyse a=mon.pcap.gz a=tue.pcap.zst b=b.pcapng --html views.html"""
MAX_COMPLAINTS = 5  # about single messages, on stderr; the summary has their number
SCHEMA = 1  # of the JSON: raised when a key changes its meaning or goes
MAX_FOLLOW_S = 31_536_000  # a year without a frame: longer says nothing more
CORES = 2  # with fewer, a second process would only wait

ViewName = Literal[
    "all",
    "average-cps",
    "peak-cps",
    "top-source",
    "top-destination",
    "outcomes",
    "media",
    "waterfall-buckets",
    "calls",
    "streams",
]


@dataclass(frozen=True, slots=True)
class _Asked:
    """How the captures are to be read."""

    premises: Premises
    show_restricted: bool
    joining: Joining
    window_ns: int
    delay_ms: float
    block_mib: int
    follow_s: float


def analyse(  # noqa: PLR0913 - each option is a parameter
    captures: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]CAPTURE...",
            help="pcap or pcapng, plain, gzip or Zstandard; - is stdin. "
            "Files with the same NAME are read one after the other, as one device.",
        ),
    ],
    *,
    site: options.Site = None,
    dial_plan: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="Dial plan (TOML) of all devices, or of one."),
    ] = None,
    inside: options.Inside = None,
    trusted: options.Trusted = None,
    dest: options.Dest = "ruri",
    view: Annotated[ViewName | None, typer.Option(help="Default: the summary.")] = None,
    group: options.Group = "hour",
    device: Annotated[str, typer.Option(metavar="NAME", help="One device, or all.")] = "all",
    zone: Annotated[str, typer.Option(help="Of all times, such as Europe/London.")] = "UTC",
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a top list.")] = 10,
    show_restricted: options.ShowRestricted = False,
    join_header: options.JoinHeader = None,
    join_by_sdp: options.JoinBySdp = True,
    window_ms: options.WindowMs = WINDOW_MS,
    delay_ms: Annotated[
        float,
        typer.Option(min=0, max=1000, help="Delay one way that MOS assumes; a tap cannot know it."),
    ] = ASSUMED_DELAY_MS,
    block_mib: options.BlockMib = BLOCK_MIB,
    follow: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=MAX_FOLLOW_S,
            help="Wait for a growing file, until nothing came for so long; Ctrl-C ends it too.",
        ),
    ] = 0.0,
    as_json_: options.AsJson = False,
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
    device = legible(device)  # as it is written in every table
    if device != "all" and device not in files:
        fix = "one of " + ", ".join(["all", *files])
        raise InputError("no such device", field="--device", value=device, fix=fix)
    place = replace(premises(site, None, inside or (), trusted or ()), dialled=DialledBy(dest))
    places = of_devices(place, dial_plan or (), files)
    moment(0, zone)  # refuses an unknown zone before the work
    chosen = {name: paths for name, paths in files.items() if device in ("all", name)}
    joining = joined(join_header, by_sdp=join_by_sdp)
    refuse_taken(parquet, html)
    refuse_unreadable(path for paths in chosen.values() for path in paths)
    asked = _Asked(
        place, show_restricted, joining, round(window_ms * MS), delay_ms, block_mib, follow
    )
    taps = [
        _read(name, paths, replace(asked, premises=places[name])) for name, paths in chosen.items()
    ]
    shown: tuple[Table, ...] = ()
    if view in (None, "all"):
        shown = summary(taps)
    wanted = VIEWS if view == "all" else () if view is None else (View(view),)
    shown = (*shown, *(table(one, taps, group, zone, top) for one in wanted))
    if parquet is not None or html is not None:
        every = (*summary(taps), *(table(one, taps, group, zone, top) for one in VIEWS))
        try:
            _write(chosen, taps, every, parquet, html)
        except HarnessError:  # a full disk: what was read, maybe for hours, is shown all the same
            _show(shown, as_json_=as_json_, as_csv_=as_csv_)
            raise
    _show(shown, as_json_=as_json_, as_csv_=as_csv_)
    if any(tap.losses or tap.unreadable for tap in taps):
        raise typer.Exit(EXIT_OTHER)


def _files(captures: list[str]) -> dict[str, list[str]]:
    """Return the captures of each device, named after its file where nothing else is said."""
    files: dict[str, list[str]] = {}
    given: set[str] = set()
    for text in captures:
        name, equals, path = text.partition("=")
        named = bool(equals) and "/" not in name
        place = path if named else text
        device = legible(name if named else "stdin" if place == "-" else _stem(place))
        if not place:
            fix = "NAME=FILE, or FILE"
            raise InputError("no file is named", field="capture", value=text, fix=fix)
        known = device in files and not (named and device in given)
        if not device or device == "all" or known or place in files.get(device, []):
            fix = "name each device: NAME=FILE; several files of one: NAME=FILE1 NAME=FILE2"
            raise InputError("no new device", field="capture", value=text, fix=fix)
        if named:
            given.add(device)
        files.setdefault(device, []).append(place)
    if sum(paths.count("-") for paths in files.values()) > 1:
        raise InputError("stdin can be read once", field="capture", value="-")
    return files


def _stem(path: str) -> str:
    """Return the name of a capture's file, without what says how it is packed."""
    place = Path(path)
    return Path(place.stem).stem if place.suffix in (".gz", ".zst") else place.stem


def _read(device: str, paths: list[str], asked: _Asked) -> TapData:
    """Return what the captures of a device show, having said what they lack."""
    files = TapFiles(device, paths, block_mib=asked.block_mib, follow_s=asked.follow_s)
    with ExitStack() as stack:

        def listen(listener: Listener) -> Listening:
            """Read SIP beside RTP where there is a second core, and enough of both."""
            if not files.are_large or len(os.sched_getaffinity(0)) < CORES:
                return ListeningHere(listener)
            process = ListeningProcess(listener)
            stack.push(process.closed_after)
            return process

        reader = TapReader(
            asked.premises,
            device=device,
            show_restricted=asked.show_restricted,
            joining=asked.joining,
            window_ns=asked.window_ns,
            delay_ms=asked.delay_ms,
            listen=listen,
        )
        gc.disable()  # what is built is kept and has no cycles: looking for some costs a tenth
        stack.callback(gc.enable)
        try:
            for block in files.blocks():
                reader.add(block)
            tap = reader.close()
        except KeyboardInterrupt:
            said = f"stopped after {reader.frames} frames of {device}: nothing is shown or written"
            typer.echo(f"probetest: {said}", err=True)
            raise typer.Exit(EXIT_STOPPED) from None
    where = ", ".join(paths)
    for loss in tap.losses:
        typer.echo(f"probetest: warning: {where}: {loss}", err=True)
    for note in tap.notes:
        typer.echo(f"probetest: note: {where}: {note}", err=True)
    for frame, why in tap.unreadable[:MAX_COMPLAINTS]:
        typer.echo(f"probetest: warning: {where}: frame {frame}: SIP that is not: {why}", err=True)
    if (more := tap.waterfall.unreadable - MAX_COMPLAINTS) > 0:
        typer.echo(f"probetest: warning: {where}: {more} more such messages", err=True)
    return tap


def _show(tables: Sequence[Table], *, as_json_: bool, as_csv_: bool) -> None:
    """Write the tables on stdout."""
    if as_json_:
        typer.echo(_json(tables))
    else:
        form = as_csv if as_csv_ else as_text
        typer.echo("\n\n".join(form(one).rstrip("\n") for one in tables))


def _json(tables: Sequence[Table]) -> str:
    """Return the tables as one object, a row a line: an indent costs seconds for many calls."""
    parts = [f'"schema": {SCHEMA}']
    for one in tables:
        rows = ",\n  ".join(map(json.dumps, as_json(one)))
        parts.append(f"{json.dumps(one.key)}: [" + (f"\n  {rows}\n ]" if rows else "]"))
    return "{\n " + ",\n ".join(parts) + "\n}"


def _write(
    files: Mapping[str, Sequence[str]],
    taps: Sequence[TapData],
    tables: Sequence[Table],
    parquet: Path | None,
    html: Path | None,
) -> None:
    """Write the files that were asked for."""
    # Polars and a template engine: a third of a second that most runs need not spend.
    from probetest.commands.analyse_files import write_page, write_parquet  # noqa: PLC0415

    if parquet is not None:
        write_parquet(parquet, taps)
    if html is not None:
        write_page(html, files, tables)
