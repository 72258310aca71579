"""The command `enumtest call`: a simulated SBC places calls, and tells what ENUM made of them."""

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Annotated

import typer

from enumtest.commands.lint import Decisions, read_decisions
from enumtest.commands.profiles import read_profile
from enumtest.dns.source_uri import RAW_CODE, SourceOption
from enumtest.profiles.profile_groups import AllDown, Selection
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.sbc.client import SbcClient
from enumtest.sbc.sbc import CallDecided, Sbc, SbcConfig
from harness.clock import SystemClock
from harness.errors import InputError
from harness.number import ENUM_APEX, PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex_worker import PosixRegex

MS = 1_000_000
MAX_CALLS = 100_000
EXIT_OTHER = 3
_OWN = "the profile's"


def call(  # noqa: PLR0913 - each option is a parameter
    numbers: Annotated[list[str], typer.Argument(metavar="+E164…", help="Numbers to dial.")],
    *,
    server: Annotated[
        list[str], typer.Option(metavar="NAME=ADDRESS:PORT", help="ENUM servers in order; repeat.")
    ],
    apex: Annotated[str, typer.Option(help="Domain under which numbers are asked.")] = ENUM_APEX,
    profile: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Kind of SBC; see `enumtest profiles`.")
    ] = "fixed-hold-down",
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
    source: Annotated[str, typer.Option(help="Calling URI, sent as an EDNS option.")] = "",
    decisions: Decisions = None,
    rounds: Annotated[int, typer.Option(min=1, help="Dial the numbers so many times.")] = 1,
    local: Annotated[str, typer.Option(help="Address to ask from.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a call.")] = False,
) -> None:
    """Place simulated calls one after the other: servers asked, answer, decision, time.

    Exit 0 when every call was decided by an answer, 3 when one found no server.
    """
    dialled = [PhoneNumber.parse(number) for number in numbers] * rounds
    if len(dialled) > MAX_CALLS:
        raise InputError(f"more than {MAX_CALLS} calls", field="--rounds", value=rounds)
    if source:
        SourceOption(source)  # refuses what no server could read
    declared = read_profile(profile)
    given = Overrides(
        selection=selection,
        timeout_ns=None if timeout_ms is None else timeout_ms * MS,
        retransmissions=retransmissions,
        hold_down_ns=None if hold_down_ms is None else hold_down_ms * MS,
        all_down=all_down,
        source_code=(declared.edns.source_code or RAW_CODE) if source else 0,
    )
    config = SbcConfig(
        _servers(server),
        laid_over(declared, given, by="the command line"),
        apex=apex,
        decisions=read_decisions(decisions),
    )
    first = next(iter(config.servers.values()))
    default = "::" if ":" in first.address else "0.0.0.0"  # noqa: S104 - a client's own address
    place = Endpoint(local or default, 0)
    decided = asyncio.run(_place(config, place, dialled, source, as_json=as_json))
    if any(
        not (event.asked or event.cached) or event.decision.value == "no-server"
        for event in decided
    ):
        raise typer.Exit(EXIT_OTHER)


def _servers(pairs: list[str]) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    for pair in pairs:
        name, equals, place = pair.rpartition("=")
        name = name if equals else place
        if name in found:
            raise InputError("named twice", field="--server", value=name)
        found[name] = Endpoint.parse(place)
    return found


def _ids() -> Iterator[int]:
    dice = random.SystemRandom()
    while True:
        yield dice.randrange(1, 0x10000)


async def _place(
    config: SbcConfig, local: Endpoint, numbers: list[PhoneNumber], source: str, *, as_json: bool
) -> list[CallDecided]:
    """Place the calls, and tell each as it is decided."""
    decided = []
    with PosixRegex() as engine:
        client = SbcClient(Sbc(config, _ids(), engine), local, SystemClock())
        await client.start()
        try:
            for number in numbers:
                event = await client.call(number, source)
                typer.echo(_json(event) if as_json else _text(event))
                decided.append(event)
        finally:
            await client.stop()
    return decided


def _text(event: CallDecided) -> str:
    asked = ", ".join(f"{a.server} {a.result} {a.after_ns / MS:.1f} ms" for a in event.asked)
    asked = "nobody: cached" if event.cached else asked or "nobody"
    uri = f" {event.uri}" if event.uri else ""
    return (
        f"{event.number}: {event.decision.value}{uri}; asked {asked}; "
        f"{event.delay_ns / MS:.1f} ms in all"
    )


def _json(event: CallDecided) -> str:
    return json.dumps(
        {
            "number": str(event.number),
            "decision": event.decision.value,
            "uri": event.uri,
            "cached": event.cached,
            "asked": [
                {"server": a.server, "result": a.result, "after_ms": a.after_ns / MS}
                for a in event.asked
            ],
            "delay_ms": event.delay_ns / MS,
        }
    )
