"""The commands `probetest replay`, which sends a capture again, and `watch`, which records one."""

import asyncio
import ipaddress
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from harness.clock import SystemClock
from harness.errors import InputError
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint
from probetest.taps.bond_live import read_interface
from probetest.taps.replay import (
    OnProgress,
    PacketSender,
    SystemWaiter,
    VxlanSender,
    check_datagrams,
    replay,
)
from probetest.taps.replay_plan import ReplayPlan, ReplayReport, check_target, make_plan
from probetest.taps.tap import PacketTap, UdpTap
from probetest.taps.vxlan import PORT, header

REPLAY_EPILOG = "Example: probetest replay calls.pcap --udp 127.0.0.1"
WATCH_EPILOG = "Example: probetest watch --udp 127.0.0.1 --write tap.pcap --seconds 60"
EXIT_OTHER = 3
MS, US = 1_000_000, 1_000


def replay_command(  # noqa: PLR0913 - each option is a parameter
    capture: Annotated[Path, typer.Argument(help="pcap or pcapng; Ethernet or raw IP.")],
    *,
    to: Annotated[
        str, typer.Option(metavar="IFACE", help="Send out of a veth or tap (root).")
    ] = "",
    udp: Annotated[
        str, typer.Option(metavar="ADDRESS[:PORT]", help="Send in VXLAN to a UDP tap.")
    ] = "",
    vni: Annotated[int, typer.Option(help="VXLAN network, with --udp.")] = 0,
    speed: Annotated[float, typer.Option(help="Times as fast as recorded.")] = 1.0,
    loop: Annotated[int, typer.Option(help="Send the capture so many times.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Send no more packets than this.")] = None,
    spin_us: Annotated[
        int, typer.Option(min=0, max=1000, help="Busy-wait before each packet: more exact.")
    ] = 0,
    allow_cut: Annotated[bool, typer.Option(help="Send cut frames as far as captured.")] = False,
    allow_live: Annotated[bool, typer.Option(help="Allow a real interface.")] = False,
    allow_remote: Annotated[bool, typer.Option(help="Allow another host's tap.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Send a capture again with its own timing, to an interface or to a UDP tap.

    Exit 0: every packet was sent; 3: not (Ctrl-C, or the harness could not).
    """
    if bool(to) == bool(udp):
        raise InputError("name one of them", field="--to, --udp", value=to and udp)
    clock = SystemClock()
    plan = make_plan(read(capture), speed=speed, loops=loop, limit=limit, allow_cut=allow_cut)
    if to:
        sender: PacketSender | VxlanSender = _packet_sender(to, plan, allow_live=allow_live)
    else:
        header(vni)  # before anything is opened
        check_datagrams(plan)
        sender = VxlanSender(_endpoint(udp), clock, vni=vni, allow_remote=allow_remote)
    typer.echo(f"{plan.packets} packets in {plan.duration_ns / 1e9:.1f} s", err=True)
    waiter = SystemWaiter(clock, spin_ns=spin_us * US)
    with sender, waiter, _stops(waiter), _shown() as on_progress:
        report = replay(plan, sender, clock, waiter, on_progress)
    typer.echo(json.dumps(_fields(report)) if as_json else _text(report))
    if not report.complete:
        raise typer.Exit(EXIT_OTHER)


def watch(  # noqa: PLR0913 - each option is a parameter
    *,
    write: Annotated[Path, typer.Option(metavar="FILE", help="pcap to write; must be new.")],
    interface: Annotated[str, typer.Option(metavar="IFACE", help="Record it (root).")] = "",
    udp: Annotated[
        str, typer.Option(metavar="ADDRESS[:PORT]", help="Record VXLAN datagrams sent here.")
    ] = "",
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.")] = None,
    packets: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Record what arrives until Ctrl-C, and count what was lost.

    Exit 0: all that arrived is in the file; 3: packets were lost, or carried no frame.
    """
    if bool(interface) == bool(udp):
        raise InputError("name one of them", field="--interface, --udp", value=interface and udp)
    tap = PacketTap(interface) if interface else UdpTap(_endpoint(udp))
    counted, drops = asyncio.run(_record(tap, write, seconds, packets))
    told: dict[str, object] = {"file": str(write), "packets": counted, "drops": drops}
    if isinstance(tap, UdpTap):
        told |= {"malformed": tap.malformed, "first_malformed": tap.first_malformed}
    else:
        told |= {"by_port": dict(tap.by_port)}
    typer.echo(json.dumps(told) if as_json else ", ".join(f"{k} {v}" for k, v in told.items() if v))
    if drops or told.get("malformed"):
        raise typer.Exit(EXIT_OTHER)


async def _record(
    tap: UdpTap | PacketTap, path: Path, seconds: float | None, packets: int | None
) -> tuple[int, int | None]:
    """Record until a limit or Ctrl-C; return packets and drops."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await tap.start(path)
    typer.echo(f"ready: {tap.captured_by}", err=True)
    ends = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(tap.arrived(packets))}
    _, left = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for waiting in left:
        waiting.cancel()
    return await tap.stop()


def _packet_sender(name: str, plan: ReplayPlan, *, allow_live: bool) -> PacketSender:
    interface = read_interface(name)
    if interface is None:
        raise InputError("no such interface", field="--to", value=name, fix="see: ip link")
    check_target(interface, allow_live=allow_live)
    plan.check_size(interface.mtu_bytes)
    return PacketSender(name, SystemClock())


def _endpoint(text: str) -> Endpoint:
    """Read an address, with the port of VXLAN if it has none."""
    try:
        return Endpoint(str(ipaddress.ip_address(text)), PORT)
    except ValueError:
        return Endpoint.parse(text)


@contextmanager
def _stops(waiter: SystemWaiter) -> Iterator[None]:
    """Let the first Ctrl-C end the replay with a report, and a second one at once."""

    def stop(*_: object) -> None:
        waiter.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown() -> Iterator[OnProgress]:
    """Show progress on a terminal; elsewhere the report is enough."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _sent, _planned: None
        return
    # No thread of its own that would take the processor from the next packet: refreshed when told.
    with Progress(console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("replay")

        def show(sent: int, planned: int) -> None:
            progress.update(task, completed=sent, total=planned, refresh=True)

        yield show


def _fields(report: ReplayReport) -> dict[str, object]:
    return {**asdict(report), "complete": report.complete}


def _text(report: ReplayReport) -> str:
    late = (report.late_p50_ns, report.late_p90_ns, report.late_p99_ns, report.late_max_ns)
    shown = " / ".join(f"{mark / MS:.3f}" for mark in late)
    sent = f"{report.packets} of {report.planned} packets, {report.bytes} bytes"
    took = f"{report.duration_ns / 1e9:.3f} s (planned {report.planned_ns / 1e9:.3f} s)"
    lines = [f"{sent}, {took}", f"late by {shown} ms (median, 90 %, 99 %, most)"]
    if report.raised:
        lines.append(f"{report.raised} frames have a time before that of the frame before them")
    return "\n".join(lines)
