"""The command `enumtest analyse`: captures in, the views of the ENUM dataset out."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from enumtest.traffic.dataset import records
from enumtest.traffic.lookups import read_traffic
from harness.dataset_frames import frame
from harness.errors import InputError
from harness.number import ENUM_APEX
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint, decode
from harness.premises import Premises
from harness.records import LookupRecord
from harness.view_page import render
from harness.views import (
    Observed,
    Table,
    View,
    as_csv,
    as_json,
    as_text,
    counted_table,
    lookups_table,
    moment,
)

EXIT_OTHER = 3
EPILOG = "Example: enumtest analyse tap.pcap --servers e1=192.0.2.11:53,e2=192.0.2.12:53"
VIEWS = (*(View.AVERAGE, View.PEAK, View.TOP_SOURCE, View.TOP_DESTINATION), View.LOOKUPS)
MS = 1_000_000

ViewName = Literal["average-cps", "peak-cps", "top-source", "top-destination", "lookups"]
GroupName = Literal["minute", "hour", "day"]


def analyse(  # noqa: PLR0913 - each option is a parameter
    captures: Annotated[
        list[Path], typer.Argument(metavar="CAPTURE...", help="They follow each other.")
    ],
    *,
    servers: Annotated[
        str, typer.Option(metavar="NAME=ADDR:PORT,...", help="ENUM servers: the devices.")
    ],
    apex: Annotated[str, typer.Option(help="Domain under which numbers are asked.")] = ENUM_APEX,
    timeout_ms: Annotated[int, typer.Option(min=10, help="The SBC's, for one server.")] = 2000,
    site: Annotated[Path | None, typer.Option(help="Site file: dial plan, own numbers.")] = None,
    dial_plan: Annotated[Path | None, typer.Option(help="Dial plan (TOML).")] = None,
    view: Annotated[ViewName, typer.Option(help="What is shown.")] = "average-cps",
    group: Annotated[GroupName, typer.Option(help="Length of a bucket.")] = "hour",
    device: Annotated[str, typer.Option(metavar="NAME", help="One server, or all.")] = "all",
    zone: Annotated[str, typer.Option(help="Of all times, such as Europe/London.")] = "UTC",
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a top list.")] = 10,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    as_csv_: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the lookups there.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all views there.")
    ] = None,
) -> None:
    """Show what ENUM servers were asked: lookups a second, peaks, and the most frequent parties.

    Exit 3 when a capture is damaged or incomplete: what was read is shown, the rest is named.
    """
    if as_json_ and as_csv_:
        raise InputError("give one of them", field="--json and --csv")
    places = _servers(servers)
    if device not in ("all", *places.values()):
        fix = "one of " + ", ".join(["all", *places.values()])
        raise InputError("no such server", field="--device", value=device, fix=fix)
    premises = _premises(site, dial_plan)
    moment(0, zone)  # refuses an unknown zone before the work
    reading = _Reading(places, apex, timeout_ms * MS, premises)
    for path in captures:
        reading.add(path)
    observed = reading.observed(device)

    def table(wanted: View) -> Table:
        if wanted is View.LOOKUPS:
            return lookups_table(
                (row for row in reading.rows if device in ("all", row.device)), zone
            )
        return counted_table(wanted, observed, group, zone, n=top)

    shown = table(View(view))
    if as_json_:
        typer.echo(json.dumps({shown.key: as_json(shown)}, indent=1))
    else:
        typer.echo((as_csv if as_csv_ else as_text)(shown).rstrip("\n"))
    if parquet is not None:
        _write_parquet(parquet, [row for row in reading.rows if device in ("all", row.device)])
    if html is not None:
        facts = [(name, str(place)) for place, name in places.items()]
        page = render("What the ENUM servers were asked", facts, [table(one) for one in VIEWS])
        _write(html, page.encode())
    if reading.is_incomplete:
        raise typer.Exit(EXIT_OTHER)


class _Reading:
    """The lookups of several captures."""

    def __init__(
        self, places: dict[Endpoint, str], apex: str, timeout_ns: int, premises: Premises
    ) -> None:
        self.rows: list[LookupRecord] = []
        self.is_incomplete = False
        self._how = (places, apex, timeout_ns, premises)
        self._spans: list[tuple[int, int]] = []

    def add(self, path: Path) -> None:
        """Read one more, and say what it lacks."""
        places, apex, timeout_ns, premises = self._how
        console = Console(stderr=True)
        with ExitStack() as stack:
            if console.is_terminal:
                stack.enter_context(console.status(f"reading {path}"))
            capture = read(path)
            datagrams = decode(capture)
            traffic = read_traffic(datagrams, places, timeout_ns=timeout_ns)
            self.rows += records(traffic.lookups, apex, premises.plan, premises.numbers)
        if (timed := capture.at_ns[capture.at_ns > 0]).size:
            self._spans.append((int(timed.min()), int(timed.max()) + 1))
        losses = {
            f"damaged, read up to here: {capture.cut}": capture.cut is not None,
            f"{capture.interface_drops} frames were lost while capturing": capture.interface_drops,
            f"{datagrams.incomplete} IP packets came in parts and not whole": datagrams.incomplete,
            f"{len(traffic.malformed)} messages are no DNS": traffic.malformed,
        }
        for words, there in losses.items():
            if there:
                self.is_incomplete = True
                typer.echo(f"enumtest: warning: {path}: {words}", err=True)

    def observed(self, device: str) -> tuple[Observed, ...]:
        """Return what each server, or the one named, was asked, over the time of all captures."""
        if not self._spans:
            return ()
        start, end = min(at for at, _ in self._spans), max(at for _, at in self._spans)
        return tuple(
            Observed(name, start, end, tuple(row for row in self.rows if row.device == name))
            for name in self._how[0].values()
            if device in ("all", name)
        )


def _servers(text: str) -> dict[Endpoint, str]:
    """Return name by place."""
    found: dict[Endpoint, str] = {}
    for part in text.split(","):
        name, equals, place = part.strip().partition("=")
        if not equals or not name or name == "all" or name in found.values():
            fix = "write NAME=ADDRESS:PORT, each name once, with commas between"
            raise InputError("no new server", field="--servers", value=part, fix=fix)
        endpoint = Endpoint.parse(place)
        if endpoint in found:
            raise InputError("named twice", field="--servers", value=place)
        found[endpoint] = name
    return found


def _premises(site: Path | None, dial_plan: Path | None) -> Premises:
    """Return what is known of the customer."""
    known = Premises() if site is None else Premises.from_site(_text(site), file=str(site))
    if dial_plan is not None:
        known = known.with_plan(_text(dial_plan), file=str(dial_plan))
    return known


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path)) from error


def _write_parquet(folder: Path, rows: list[LookupRecord]) -> None:
    """Write the dataset for other engines."""
    path = folder / "lookups.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            frame(rows).write_parquet(out)
    except OSError as error:
        raise InputError(f"not written: {error.strerror}", file=str(path)) from error


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as out:
            out.write(content)
    except OSError as error:
        raise InputError(f"not written: {error.strerror}", file=str(path)) from error
