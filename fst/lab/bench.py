"""The lab's bench: simulated SBC, phones and servers, and a recorder, at the addresses of a site.

An edge: it opens sockets and waits. What it does is marked, and the marks go to the journal.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from enumtest.profiles.profile_groups import Event, ReadmitBy
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.sbc.client import SbcClient
from enumtest.sbc.sbc import Sbc, SbcConfig
from enumtest.stub.policy import Rule
from fst.bench import Recording, failures_needed
from fst.debts import Debt, DebtKind, Ledger
from fst.lab.dialog import Leg
from fst.lab.observe import answer_of, pay_captures
from fst.lab.phones import Phone, SbcLeg
from fst.lab.servers import LabServers
from fst.lab.tap import Tap
from fst.measured_waits import AS_DECLARED
from fst.observation import Mark, MarkKind, enum_endpoints
from fst.run_folder import unused
from fst.site import MS, Lab, SbcTable, Site, SiteFile
from harness.clock import Clock
from harness.errors import ToolError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex import RegexEngine

SEED = 2026  # of DNS ids and Session-IDs: a lab run is to be the same each time
SETTLE_NS = 60_000_000_000  # for a hold-down that is longer than declared
LOOK_NS = 50_000_000  # between two looks at an SBC that waits for probes
PATIENCE_S = 2.0  # of a caller, beyond the time the SBC may take to try every server
FILE_FACT, BEFORE = "config.", " had SHA-256 "
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
        ledger: Ledger,
    ) -> None:
        """Put the parts together; `start` opens the sockets. Captures go to *folder*.

        What is taken down, installed or started is a debt in *ledger* first.
        """
        self.file, self.site, self.sbc = file, site, sbc
        self._lab = file.lab or Lab()
        self._servers, self._recorder, self._ledger, self._tap = servers, recorder, ledger, tap
        self._where = f"{site.name}/{sbc.name}"
        self._places: dict[str, Endpoint] = enum_endpoints(site, sbc, by_endpoint=False)
        self._folder, self._clock, self._on_mark = folder, clock, on_mark
        self._dice = random.Random(SEED)  # noqa: S311 - ids of a simulation, not secrets
        self._recording: Path | None = None
        self.waits = AS_DECLARED  # the run sets what it has measured of this SBC
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
        profile = sbc.behaviour if odd.profile is None else self.file.profile(odd.profile)
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
        """Bring all servers up, and wait until the SBC holds none down.

        A hold-down whose time waits for a call gets one.

        Raises:
            ToolError: nothing brings a server back, or not in any time that was declared.
        """
        await self.up(sorted(self._down))
        limit_ns = self._clock.monotonic_ns() + 2 * self.hold_down_ns() + SETTLE_NS
        while held := self._client.held():
            now_ns = self._clock.monotonic_ns()
            if now_ns >= limit_ns:
                raise ToolError(f"the simulated SBC leaves {', '.join(held)} alone for too long")
            known = [one.until_ns for one in held.values() if one.until_ns is not None]
            if not known and self.site.numbers and not self._waits_for_probes:
                await self._call(self.site.numbers.plain[0])
            until_ns = max(known, default=now_ns + LOOK_NS)
            await self.wait(min(until_ns, limit_ns) - now_ns)

    @property
    def _waits_for_probes(self) -> bool:
        return self._sbc_config().profile.readmission.by is ReadmitBy.PROBES

    def hold_down_ns(self) -> int:
        """Return how long the SBC leaves a server alone that failed: as declared, or as measured.

        Which stage is in force the simulated SBC says, how long it lasts the site file, or the
        run's own captures where they show a longer time.
        """
        profile, held = self.sbc.behaviour, self._client.held().values()
        back = profile.readmission
        if back.by is ReadmitBy.PROBES:
            timeout_ns = max(profile.timeout_ns, self.waits.timeout_ns)
            return (back.replies + 1) * back.interval_ns + timeout_ns
        lengths_ns = [
            self.waits.stage_ns(at, stage.length_ns)
            for at, stage in enumerate(profile.hold_down.stages)
        ]
        last = len(lengths_ns) - 1
        in_force = [lengths_ns[min(one.stage, last)] for one in held] if lengths_ns else []
        return max(in_force, default=self.waits.stage_ns(0, profile.hold_down_ns))

    async def start_capture(self, name: str) -> None:
        """Record to a new file called after *name*."""
        self._recording = unused(self._folder / f"{name}.pcap")
        self._ledger.open(
            DebtKind.CAPTURE_STARTED, self._where, self._recording.name, "close the capture"
        )
        await self._recorder.start(self._recording)

    async def stop_capture(self) -> Recording:
        """Close the file, and say what is in it."""
        if self._recording is None:
            raise ToolError("no capture is running")
        packets, dropped = await self._recorder.stop()
        path, self._recording = self._recording, None
        pay_captures(self._ledger, self._where, self._folder, f"closed with {packets} packets")
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
        """Place one call after the other until each of *names* failed as often as is declared."""
        needed, seen = failures_needed(self.sbc), len(self._leg.decided)
        for at in range(2 * needed * len(self.sbc.enum_servers)):
            await self._call(numbers[at % len(numbers)])
            fresh = [one for decided in self._leg.decided[seen:] for one in decided.asked]
            silent = Counter(one.server for one in fresh if one.result == Event.SILENCE)
            if all(silent[name] >= needed for name in names):
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
            what = f"ENUM service on {self._places[name]}"
            self._ledger.open(DebtKind.SERVICE_STOPPED, self._host(name), what, "start it again")
            await self._servers.down(name)
            self._down.add(name)
        self.mark(MarkKind.DOWN, names)

    async def up(self, names: Sequence[str]) -> None:
        """Bring them back."""
        if not names:
            return
        for name in names:
            await self._servers.up(name)
            self._down.discard(name)
        self.mark(MarkKind.UP, names)
        await self._pay_up(names)

    async def install(self, rules: Sequence[Rule]) -> None:
        """Install policy rules."""
        for rule in rules:
            kind, way = DebtKind.RULE_INSTALLED, "uninstall the rule"
            self._ledger.open(kind, self._where, rule.name, way)
        for target, path, sha256 in await self._files():
            known = self._ledger.owed_of(DebtKind.FILE_CHANGED, target)
            if not any(debt.what.startswith(f"{path}{BEFORE}") for debt in known):  # the first hash
                what, way = f"{path}{BEFORE}{sha256}", "uninstall the rules, or put the file back"
                self._ledger.open(DebtKind.FILE_CHANGED, target, what, way)
        await self._servers.install(rules)
        self.mark(MarkKind.INSTALLED, [rule.name for rule in rules])

    async def uninstall(self, names: Sequence[str]) -> None:
        """Remove policy rules."""
        await self._servers.uninstall(names)
        self.mark(MarkKind.UNINSTALLED, names)
        await self._pay_rules(names)

    async def observe_up(self, names: Sequence[str]) -> Mapping[str, str]:
        """Ask each of *names*; return what was seen of those that serve, in words."""
        asked = (
            answer_of(self._places[one], self.sbc.apex, self._clock, self._tap) for one in names
        )
        answers = dict(zip(names, await asyncio.gather(*asked), strict=True))
        return {name: said for name, said in answers.items() if said}

    async def observe_rules(self) -> tuple[str, ...]:
        """Return the names of the policy rules that are in force."""
        return await self._servers.rules()

    async def facts(self, names: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Return what is known now of each of *names*, by "site/host"."""
        return {self._host(name): await self._servers.facts(name) for name in names}

    async def restore(self, debts: Sequence[Debt]) -> None:
        """Undo what *debts* of this bench tell of, and pay those that are seen to be undone."""
        hosts = {self._host(name): name for name in self._places}
        names = [hosts[debt.target] for debt in debts if debt.target in hosts]
        if names:
            serving = await self._pay_up(names)
            await self.up([name for name in names if name not in serving])
        rules = [debt.what for debt in debts if debt.kind is DebtKind.RULE_INSTALLED]
        if rules:
            left = set(await self.observe_rules())
            await self.uninstall([name for name in rules if name in left])
            await self._pay_rules(rules)
        await self._pay_files()
        pay_captures(self._ledger, self._where, self._folder)

    async def _pay_up(self, names: Sequence[str]) -> Mapping[str, str]:
        """Close the debts of those that are seen to serve; return what was seen."""
        seen = await self.observe_up(names) if self._owes(names) else {}
        for name, said in seen.items():
            for debt in self._ledger.owed_of(DebtKind.SERVICE_STOPPED, self._host(name)):
                self._ledger.pay(debt, said)
        return seen

    def _owes(self, names: Sequence[str]) -> bool:
        kind = DebtKind.SERVICE_STOPPED
        return any(self._ledger.owed_of(kind, self._host(name)) for name in names)

    async def _pay_rules(self, names: Sequence[str]) -> None:
        """Close the debts of the rules that are seen to be gone."""
        there = await self.observe_rules()
        listed = ", ".join(there) or "none"
        for name in names:
            for debt in self._ledger.owed_of(DebtKind.RULE_INSTALLED, self._where, name):
                if name not in there:
                    self._ledger.pay(debt, f"rules in force: {listed}")
        await self._pay_files()

    async def _files(self) -> list[tuple[str, str, str]]:
        """Return the files that rules are written into: host, path and hash."""
        facts = await self.facts(self._places)
        return [
            (target, name.removeprefix(FILE_FACT), sha256)
            for target, told in facts.items()
            for name, sha256 in told.items()
            if name.startswith(f"{FILE_FACT}/")
        ]

    async def _pay_files(self) -> None:
        """Close the debts of the files that have the hash again which they had before."""
        if not any(debt.kind is DebtKind.FILE_CHANGED for debt in self._ledger.owed):
            return
        for target, path, sha256 in await self._files():
            what = f"{path}{BEFORE}{sha256}"
            for debt in self._ledger.owed_of(DebtKind.FILE_CHANGED, target, what):
                self._ledger.pay(debt, f"{path} has SHA-256 {sha256} as before")

    def _host(self, name: str) -> str:
        return f"{self.site.name}/{name}"

    async def wait(self, duration_ns: int) -> None:
        """Let time go by: the hold-down is a time by definition, there is no event to wait for."""
        await asyncio.sleep(max(0, duration_ns) / 1e9)
