"""The command `enumtest judge`: captures and a profile in, a verdict out.

Exit 0: all PASS; 1: a FAIL; 2: what was given is wrong; 3: not everything could be judged.
"""

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enumtest.commands.profiles import read_profile
from enumtest.judge.capture_doubts import doubts, refuse_copies, refuse_strangers
from enumtest.judge.joins import Tolerance
from enumtest.judge.judge import judge as judged
from enumtest.judge.ruling import Judgement, Ruling, Vantage
from enumtest.profiles.profile_file import shipped_names
from enumtest.profiles.profile_groups import AllDown, Selection
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import LookupTable
from enumtest.verdict.page import page, picture
from enumtest.verdict.report import Doubt, Grade, Report, event, printable
from enumtest.verdict.words import lines
from harness.errors import InputError
from harness.finding import Outcome
from harness.packets.capture import Capture
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint

DNS_PORT = 53
MS, SECOND = 1_000_000, 1_000_000_000
MAX_SERVERS = 64
MAX_AHEAD_S = 10 * 366 * 86_400
EXITS = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.OTHER: 3}
EPILOG = (
    "Example: enumtest judge sbc.pcap --profile oracle-hunt --servers 192.0.2.11,192.0.2.12 "
    "--html verdict.html"
)
_OWN = "the profile's"


def judge(  # noqa: PLR0913 - each option is a parameter
    captures: Annotated[
        list[Path], typer.Argument(metavar="CAPTURE...", help="One at the SBC, or one a server.")
    ],
    *,
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Kind of SBC; see `enumtest profiles`.")
    ],
    servers: Annotated[
        str,
        typer.Option(
            metavar="[NAME=]ADDRESS[:PORT],...", help="ENUM servers, in the order that the SBC has."
        ),
    ],
    taken_at: Annotated[
        Vantage | None,
        typer.Option(help="Where.", show_default="one capture: sbc; several: servers"),
    ] = None,
    clock: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPTURE=SECONDS", help="That clock is so far ahead; repeat."),
    ] = None,
    client: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Of several SBCs, this; repeat.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="These rules alone, such as 'rotation.*'; repeat."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=100, help="Of a hold-down, in percent of its length.")
    ] = 100 * Tolerance().hold_down,
    selection: Annotated[
        Selection | None, typer.Option(help="Which server is asked next.", show_default=_OWN)
    ] = None,
    timeout_ms: Annotated[
        int | None, typer.Option(min=10, help="For one server.", show_default=_OWN)
    ] = None,
    retransmissions: Annotated[
        int | None, typer.Option(min=0, max=20, help="At even distances.", show_default=_OWN)
    ] = None,
    hold_down_ms: Annotated[
        int | None, typer.Option(min=0, help="Of a server that failed.", show_default=_OWN)
    ] = None,
    all_down: Annotated[
        AllDown | None, typer.Option(help="With no server left.", show_default=_OWN)
    ] = None,
    apex: Annotated[
        str, typer.Option(help="Say what is asked beyond this domain.", show_default="any")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with pictures there.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the first SBC's picture there.")
    ] = None,
) -> None:
    """Judge from captures whether an SBC asks its ENUM servers as a profile says.

    Exit 0 when every rule was seen to hold, 1 when one is broken, 3 when not all could be judged.
    """
    given = Overrides(
        selection=selection,
        timeout_ns=None if timeout_ms is None else timeout_ms * MS,
        retransmissions=retransmissions,
        hold_down_ns=None if hold_down_ms is None else hold_down_ms * MS,
        all_down=all_down,
    )
    declared = laid_over(_profile(profile), given, by="the command line")
    places = servers_of(servers)
    for path in (html, svg):
        if path is not None and path.exists():  # said before the work, not after it
            raise InputError("exists already, and is not overwritten", file=str(path))
    options: dict[str, Sequence[object]] = {
        "--profile": [profile],
        "--servers": [servers],
        "--taken-at": [taken_at],
        "--clock": clock or [],
        "--client": client or [],
        "--rule": rule or [],
        "--tolerance": [f"{tolerance:g}"],
        "--selection": [selection],
        "--timeout-ms": [timeout_ms],
        "--retransmissions": [retransmissions],
        "--hold-down-ms": [hold_down_ms],
        "--all-down": [all_down],
        "--apex": [apex or None],
    }
    vantage = taken_at or (Vantage.SBC if len(captures) == 1 else Vantage.SERVERS)
    work = _Work(places, declared, vantage, Tolerance(tolerance / 100))
    read_in = work.read(captures)
    table = work.table(read_in, ahead_of(clock or [], [one.name for one in read_in]))
    found = _wanted(work.judge(table), client or [])
    report = Report(
        command=_command(captures, options),
        version=version("fst-harness"),
        profile=declared,
        vantage=vantage,
        vantage_said=taken_at is not None,
        servers=places,
        table=table,
        judgements=tuple(_of_rules(one, rule or []) for one in found),
        doubts=(
            *doubts(read_in, table, declared, vantage, apex=apex),
            *_partial(rule or [], found),
        ),
    )
    if html is not None:
        _write(html, page(report))
    if svg is not None and report.judgements:
        _write(svg, picture(report))
    typer.echo(json.dumps(event(report), indent=1) if as_json else "\n".join(lines(report)))
    raise typer.Exit(EXITS[report.outcome])


class _Work:
    """The steps, each of which says on a terminal that it is at work."""

    def __init__(
        self,
        servers: Mapping[str, Endpoint],
        profile: Profile,
        vantage: Vantage,
        tolerance: Tolerance,
    ) -> None:
        self._servers, self._profile = servers, profile
        self._vantage, self._tolerance = vantage, tolerance

    def read(self, paths: Sequence[Path]) -> list[Capture]:
        """Return the captures, each given once."""
        found = []
        for path in paths:
            if str(path) == "-":
                fix = "write it to a file first: tcpdump -w FILE"
                raise InputError("standard input is not read", field="CAPTURE", value="-", fix=fix)
            with _telling(f"reading {path}"):
                found.append(read(path))
        refuse_copies(found)
        return found

    def table(self, captures: Sequence[Capture], ahead_ns: Mapping[str, int]) -> LookupTable:
        """Return the calls in them."""
        names = {at: name for name, at in self._servers.items()}
        frames = sum(map(len, captures))
        with _telling(f"finding the calls in {frames:,} frames"):
            table = read_lookups(captures, names, self._profile, ahead_ns=ahead_ns)
        refuse_strangers(captures, self._servers, table)
        return table

    def judge(self, table: LookupTable) -> tuple[Judgement, ...]:
        """Return what is to be said of each SBC."""
        with _telling(f"judging {len(table):,} calls"):
            return judged(table, self._profile, vantage=self._vantage, tolerance=self._tolerance)


@contextmanager
def _telling(words: str) -> Iterator[None]:
    """Say on a terminal what is being done, as long as it lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(words):
        yield


def _profile(name: str) -> Profile:
    """Return the profile called *name*, or that in a file; a slip of the pen gets a hint."""
    path = Path(name)
    if name not in shipped_names() and path.suffix != ".toml" and "/" not in name:
        near = difflib.get_close_matches(name.lower(), shipped_names(), 1)
        fix = f"did you mean {near[0]}? " if near else ""
        fix += f"there are {', '.join(shipped_names())}, or a .toml file of your own"
        raise InputError("no such profile", field="--profile", value=name, fix=fix)
    return read_profile(name)


def servers_of(text: str) -> dict[str, Endpoint]:
    """Return name to place of each server; one without a name is enum1, enum2, … by its place.

    Raises:
        InputError: no address, or something is there twice.

    >>> servers_of("192.0.2.1,b=[2001:db8::1]:5353,2001:db8::2")["enum3"].port
    53
    """
    found: dict[str, Endpoint] = {}
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_SERVERS:
        raise InputError(f"more than {MAX_SERVERS}", field="--servers", value=len(parts))
    for at, part in enumerate(parts, 1):
        name, equals, place = part.rpartition("=")
        name = name if equals else f"enum{at}"
        endpoint = _endpoint(place, part)
        if not endpoint.port:
            raise InputError("no port", field="--servers", value=part, fix="leave it out for 53")
        if not name.isprintable() or not name.strip():
            raise InputError("no name", field="--servers", value=part)
        if name in found:
            raise InputError("this name is there twice", field="--servers", value=name)
        if endpoint in found.values():
            raise InputError("this server is there twice", field="--servers", value=place)
        found[name] = endpoint
    return found


def _endpoint(place: str, part: str) -> Endpoint:
    """Return an address with its port, which is 53 when none is there."""
    bare = place.removeprefix("[").removesuffix("]")
    has_port = ":" in place and (place.count(":") == 1 or "]:" in place)
    try:
        return Endpoint.parse(place if has_port else _with_port(bare))
    except InputError as error:
        fix = "write ADDRESS, ADDRESS:PORT or NAME=ADDRESS:PORT, commas between; [v6]:port for IPv6"
        raise InputError(error.why, field="--servers", value=part, fix=fix) from error


def _with_port(address: str) -> str:
    return f"[{address}]:{DNS_PORT}" if ":" in address else f"{address}:{DNS_PORT}"


def ahead_of(said: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return by how many ns the clock of each capture is ahead, as far as the user says so.

    Raises:
        InputError: no such capture, one twice, or no number of seconds.
    """
    found: dict[str, int] = {}
    for text in said:
        head, equals, seconds = text.rpartition("=")
        near = [name for name in names if head in (name, Path(name).name)]
        if not equals or len(near) != 1:
            fix = f"write CAPTURE=SECONDS with one of {', '.join(names)}"
            raise InputError("no capture of that name", field="--clock", value=text, fix=fix)
        if near[0] in found:
            raise InputError("given twice", field="--clock", value=near[0])
        found[near[0]] = _ns(seconds, text)
    return found


def _ns(seconds: str, text: str) -> int:
    try:
        value = float(seconds)
    except ValueError as error:
        fix = "write +1.25 for a clock that is ahead, -1.25 for one that is behind"
        raise InputError("no seconds", field="--clock", value=text, fix=fix) from error
    if not abs(value) <= MAX_AHEAD_S:
        raise InputError("no clock is so far off", field="--clock", value=text)
    return round(value * SECOND)


def _wanted(found: tuple[Judgement, ...], clients: Sequence[str]) -> tuple[Judgement, ...]:
    """Return what was said of the SBCs at *clients*, by default of all."""
    known = [one.client for one in found]
    for client in clients:
        if client not in known:
            fix = f"these ask: {', '.join(known)}"
            raise InputError("asks no server", field="--client", value=client, fix=fix)
    return tuple(one for one in found if not clients or one.client in clients)


def _of_rules(judgement: Judgement, patterns: Sequence[str]) -> Judgement:
    """Return what was said by the rules that match one of *patterns*, by default by all."""
    if not patterns:
        return judgement

    def matching(found: Iterable[Ruling]) -> tuple[Ruling, ...]:
        return tuple(one for one in found if any(fnmatchcase(one.rule, each) for each in patterns))

    rulings, notes = matching(judgement.rulings), matching(judgement.notes)
    return replace(judgement, rulings=rulings, notes=notes)


def _partial(patterns: Sequence[str], found: Sequence[Judgement]) -> Iterator[Doubt]:
    """Yield that not all rules were asked for, and what was asked for in vain: a slip, perhaps."""
    if patterns:
        said = ", ".join(map(printable, patterns))
        yield Doubt(Grade.NOTE, f"only these rules were asked for: {said}")
    names = {ruling.rule for one in found for ruling in (*one.rulings, *one.notes)}
    for each in patterns:
        if not any(fnmatchcase(name, each) for name in names):
            words = f"--rule {printable(each)}: no such rule, or nothing of it was there to judge"
            fix = f"there are rulings on {', '.join(sorted(names))}"
            yield Doubt(Grade.INCOMPLETE, words, fix)


def _command(captures: Sequence[Path], options: Mapping[str, Sequence[object]]) -> str:
    """Return the command that does the same again."""
    words = ["enumtest", "judge", *map(str, captures)]
    for name, values in options.items():
        words += [word for value in values if value is not None for word in (name, str(value))]
    return shlex.join(words)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise InputError(f"not written: {error.strerror}", file=str(path)) from error
