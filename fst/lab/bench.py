"""The lab's bench: simulated SBC, phones and servers, and a recorder, at the addresses of a site.

An edge: it opens sockets and waits. What it does is marked, and the marks go to the journal.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from enumtest.client import SbcClient
from enumtest.policy import Rule
from enumtest.profile_file import shipped_profile
from enumtest.profile_groups import Event
from enumtest.profile_overrides import Overrides, laid_over
from enumtest.sbc import Sbc, SbcConfig
from fst.bench import Recording
from fst.lab.dialog import Leg
from fst.lab.phones import Phone, SbcLeg
from fst.lab.servers import LabServers
from fst.lab.tap import Tap
from fst.observation import Mark, MarkKind, enum_endpoints
from fst.site import MS, Lab, SbcTable, Site, SiteFile
from harness.clock import Clock
from harness.errors import ToolError
from harness.frame import Endpoint
from harness.number import PhoneNumber
from harness.regex import RegexEngine

SEED = 2026  # of DNS ids and Session-IDs: a lab run is to be the same each time
PATIENCE_S = 2.0  # of a caller, beyond the time the SBC may take to try every server
SETTLE_FACTOR = 1.25  # of the longest hold-down, so that none can be left
TAP_BY = "sockets of the lab (loopback, recorded when sent)"


class Recorder(Protocol):
    """Records what goes over the wire while an exercise runs."""

    async def start(self, path: Path) -> None:
        """Record to *path*; return when packets are being recorded."""
        ...

    async def stop(self) -> tuple[int, int | None]:
        """Return packets and drops, when all packets sent so far are in the file."""
        ...

    captured_by: str


class TapRecorder:
    """The lab's own tap."""

    captured_by = TAP_BY

    def __init__(self, tap: Tap) -> None:
        """Record what *tap* is told."""
        self._tap = tap

    async def start(self, path: Path) -> None:
        """Open the capture."""
        self._tap.start(path)

    async def stop(self) -> tuple[int, int | None]:
        """Close it; a tap in the sockets themselves can lose nothing."""
        return self._tap.stop(), 0


def _ids(dice: random.Random) -> Iterator[int]:
    while True:
        yield dice.randrange(1, 0x10000)


class LabBench:
    """One site's SBC in the lab."""

    def __init__(  # noqa: PLR0913 - a bench has these parts
        self,
        file: SiteFile,
        site: Site,
        sbc: SbcTable,
        *,
        servers: LabServers,
        recorder: Recorder,
        tap: Tap,
        folder: Path,
        clock: Clock,
        engine: RegexEngine,
        on_mark: Callable[[Mark], None],
    ) -> None:
        """Put the parts together; `start` opens the sockets. Captures go to *folder*."""
        self.file, self.site, self.sbc = file, site, sbc
        self._lab = file.lab or Lab()
        self._servers, self._recorder = servers, recorder
        self._folder, self._clock, self._on_mark = folder, clock, on_mark
        self._dice = random.Random(SEED)  # noqa: S311 - ids of a simulation, not secrets
        self._recording: Path | None = None
        self._last_up_ns: int | None = None
        self._down: set[str] = set()
        self._placed = 0
        config = self._sbc_config()
        client = SbcClient(
            Sbc(config, _ids(self._dice), engine), Endpoint(sbc.address, 0), clock, tap.sent
        )
        next_hop = Endpoint.parse(sbc.next_hop)
        redirect_hop = Endpoint.parse(sbc.redirect_hop or sbc.next_hop)
        self._client = client
        self._leg = SbcLeg(
            Endpoint(sbc.address, sbc.sip_port),
            client,
            next_hop=next_hop,
            redirect_hop=redirect_hop,
            all_down=sbc.all_down,
            tap=tap,
            clock=clock,
        )
        profile = config.profile
        asked = len(sbc.enum_servers) * profile.selection.rounds
        patience_s = PATIENCE_S + asked * profile.timeout_ns / 1e9
        self._caller = Phone(Endpoint.parse(self._lab.caller), tap, clock, patience_s=patience_s)
        self._callees = [Phone(hop, tap, clock) for hop in dict.fromkeys((next_hop, redirect_hop))]

    def _sbc_config(self) -> SbcConfig:
        """Return what the simulated SBC does: as declared, but for the defects of the lab."""
        sbc, odd = self.sbc, self._lab.sbc
        really = Overrides(
            selection=odd.selection,
            timeout_ns=None if odd.timeout_ms is None else odd.timeout_ms * MS,
            hold_down_ns=None if odd.hold_down_ms is None else odd.hold_down_ms * MS,
            source_code=sbc.source_code,
        )
        profile = sbc.behaviour if odd.profile is None else shipped_profile(odd.profile)
        return SbcConfig(
            servers=enum_endpoints(self.site, sbc, by_endpoint=False),
            profile=laid_over(profile, really, by="the lab's own table"),
            apex=sbc.apex,
            decisions=sbc.rules,
            drift_every=odd.drift_every,
        )

    async def start(self) -> None:
        """Open all sockets; raises ToolError when an address cannot be had."""
        await self._servers.start()
        await self._client.start()
        for phone in (self._caller, *self._callees):
            await phone.start()
        await self._leg.socket.start()

    async def stop(self) -> None:
        """Close everything."""
        await self._leg.stop()
        for phone in (self._caller, *self._callees):
            phone.stop()
        await self._client.stop()
        await self._servers.stop()

    async def settle(self) -> None:
        """Bring all servers up, and wait until no hold-down can be left."""
        await self.up(sorted(self._down))
        since_ns = max(self._last_up_ns or 0, self._client.last_failure_ns)
        if since_ns:
            free_ns = since_ns + round(self._sbc_config().profile.hold_down_ns * SETTLE_FACTOR)
            await self.wait(free_ns - self._clock.monotonic_ns())

    async def start_capture(self, name: str) -> None:
        """Record to a new file called after *name*."""
        self._recording = self._folder / f"{name}.pcap"
        await self._recorder.start(self._recording)

    async def stop_capture(self) -> Recording:
        """Close the file, and say what is in it."""
        if self._recording is None:
            raise ToolError("no capture is running")
        packets, dropped = await self._recorder.stop()
        path, self._recording = self._recording, None
        return Recording(str(path), packets, dropped, self._recorder.captured_by)

    def mark(self, kind: MarkKind, names: Sequence[str] = ()) -> Mark:
        """Note a deed with the present time."""
        made = Mark(self._clock.wall_ns(), kind, tuple(names))
        self._on_mark(made)
        return made

    async def calls(self, numbers: Sequence[str]) -> None:
        """Place a call to each of *numbers*, started at even spacing, and see each to its end."""
        await self._spaced(numbers, audio_packets=0)

    async def talk(self, numbers: Sequence[str]) -> None:
        """Do the same with audio both ways."""
        await self._spaced(numbers, audio_packets=self._lab.audio_packets)

    async def _spaced(self, numbers: Sequence[str], *, audio_packets: int) -> None:
        loop, spacing_s = asyncio.get_running_loop(), self._lab.call_spacing_ms / 1e3
        start = loop.time()
        running = []
        try:
            for at, number in enumerate(numbers):
                await asyncio.sleep(max(0.0, start + at * spacing_s - loop.time()))
                running.append(loop.create_task(self._call(number, audio_packets)))
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def calls_until_given_up(self, names: Sequence[str], numbers: Sequence[str]) -> None:
        """Place one call after the other until the SBC has given up each of *names*."""
        waiting, seen = set(names), len(self._leg.decided)
        for at in range(2 * len(self.sbc.enum_servers)):
            await self._call(numbers[at % len(numbers)])
            fresh, seen = self._leg.decided[seen:], len(self._leg.decided)
            waiting -= {a.server for d in fresh for a in d.asked if a.result == Event.SILENCE}
            if not waiting:
                return

    async def _call(self, number: str, audio_packets: int = 0) -> None:
        numbers = self.site.numbers
        callers = ["+10000000000"] if numbers is None else numbers.callers
        self._placed += 1
        source = PhoneNumber.parse(callers[self._placed % len(callers)])
        hop, caller = Endpoint(self.sbc.address, self.sbc.sip_port), self._caller.socket.local
        leg = Leg(
            f"fst-{self._placed}-{self._dice.randrange(1 << 32):08x}@{caller.address}",
            f"{self._dice.randrange(1 << 128):032x};remote={'0' * 32}",
            f"sip:{source}@{caller.address};user=phone",
            f"sip:{PhoneNumber.parse(number)}@{hop};user=phone",
            caller,
            f"c{self._placed}",
        )
        await self._caller.call(leg, hop, audio_packets=audio_packets)

    async def down(self, names: Sequence[str]) -> None:
        """Take ENUM services out of service."""
        for name in names:
            await self._servers.down(name)
            self._down.add(name)
        self.mark(MarkKind.DOWN, names)

    async def up(self, names: Sequence[str]) -> None:
        """Bring them back; the time from which hold-downs can run out is noted."""
        if not names:
            return
        for name in names:
            await self._servers.up(name)
            self._down.discard(name)
        self._last_up_ns = self._clock.monotonic_ns()
        self.mark(MarkKind.UP, names)

    async def install(self, rules: Sequence[Rule]) -> None:
        """Install policy rules."""
        await self._servers.install(rules)
        self.mark(MarkKind.INSTALLED, [rule.name for rule in rules])

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules."""
        await self._servers.uninstall(names)
        self.mark(MarkKind.UNINSTALLED, names)

    async def wait(self, duration_ns: int) -> None:
        """Let time go by: the hold-down is a time by definition, there is no event to wait for."""
        await asyncio.sleep(max(0, duration_ns) / 1e9)
