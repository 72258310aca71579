"""The edge that carries out part C in a lab: span ports, a tap for each probe, calls with audio.

The probes are taps on loopback that get every packet of the SBC's calls mirrored, through sockets
of their own. A lab without a bonding driver has no bond: what was recorded elsewhere is shown as
that, and never passes.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from fst.bench import Recording
from fst.debts import DebtKind, Ledger
from fst.enum_work import EnumWork
from fst.evidence import Evidence, declared, notes
from fst.exercises import span_traffic
from fst.lab.observe import pay_captures
from fst.lab.span import Span
from fst.matrix import Case
from fst.plan import HostRole, Scope
from fst.probe_judgement import ProbeData, SpanSeen, judge_ports, judge_probe
from fst.run_folder import RunFolder, unused
from fst.site import Host, Lab, SbcTable, Site, SiteFile
from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint
from harness.premises import Premises
from probetest.dataset import read_tap
from probetest.taps.bond_live import read_bond
from probetest.taps.bond_state import BondState, parse_proc
from probetest.taps.tap import UdpTap

PORTS = "C.1.1"


class ProbeWork:
    """Taps and recordings of all probes of a site file."""

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        file: SiteFile,
        dial_plan: DialPlan,
        folder: RunFolder,
        *,
        loop: asyncio.Runner,
        enum: EnumWork,
        site_folder: Path,
        ledger: Ledger,
    ) -> None:
        """Keep the parts; *enum* has the benches that the calls come from."""
        self._ledger = ledger
        self._file, self._dial_plan, self._folder = file, dial_plan, folder
        self._loop, self._enum, self._site_folder = loop, enum, site_folder
        self._lab = file.lab or Lab()
        self._files: dict[str, Path] = {}  # of each tap, by its target
        self._seen: dict[str, tuple[SpanSeen, Mapping[str, dict[str, Any]]]] = {}

    def evidence(self, case: Case) -> tuple[Evidence, ...]:
        """Return the evidence of a case of part C."""
        site_name, _, host = case.target.partition("/")
        site = next(site for site in self._file.sites if site.name == site_name)
        if case.step.id == PORTS:
            return (self._ports(case, site.host(host)),)
        if site_name not in self._seen:
            self._seen[site_name] = self._observe(site)
        seen, attachments = self._seen[site_name]
        host = host if case.step.scope is Scope.HOST else ""
        judged = judge_probe(case.step.id, seen, host)
        own = [attachment for name, attachment in attachments.items() if host in ("", name)]
        return (
            Evidence(judged.findings, declared(case.step, judged), tuple(own), notes(judged.notes)),
        )

    def _ports(self, case: Case, host: Host) -> Evidence:
        """Look at the bond where there is one; show a recorded one as recorded."""
        state, source = self._loop.run(asyncio.to_thread(read_bond, host.interface)), "netlink"
        attachments: list[dict[str, Any]] = []
        if state is None and self._lab.bonding_record:
            state, attachment = self._recorded_bond()
            source = self._lab.bonding_record
            attachments.append(attachment)
        judged = judge_ports(state, tuple(host.ports))
        said = (f"bond {host.interface} of {host.name}: from {source}",)
        return Evidence(
            judged.findings, declared(case.step, judged), tuple(attachments), notes(said)
        )

    def _recorded_bond(self) -> tuple[BondState, dict[str, Any]]:
        """Return the bond in the lab's recorded text, and the text as an attachment of this run."""
        named = self._site_folder / self._lab.bonding_record
        try:
            content = named.read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", file=str(named), field="lab.bonding_record"
            ) from error
        copy = self._folder.path / "bonding-record.txt"
        if not copy.exists() or copy.read_bytes() != content:
            copy = self._folder.new_path(copy.name)
            copy.write_bytes(content)
        state = parse_proc(content.decode("utf-8", "replace"), str(named))
        facts = {"media_type": "text/plain", "packets": None, "dropped": None}
        return state, {**self._folder.attachment(copy), **facts, "captured_by": "recorded earlier"}

    def _observe(self, site: Site) -> tuple[SpanSeen, Mapping[str, dict[str, Any]]]:
        """Place calls at the site's first SBC, with its packets mirrored to every probe."""
        probes = [host for host in site.hosts if host.role is HostRole.PROBE]
        if not site.sbcs:
            fix = "name the SBC whose calls the span ports see"
            raise InputError("none", field=f"sites.{site.name}.sbcs", fix=fix)
        sbc = site.sbcs[0]
        taps = {probe.name: UdpTap(Endpoint(probe.address, self._lab.tap_port)) for probe in probes}
        bench = self._enum.bench(site, sbc)
        span = Span([tap.endpoint for tap in taps.values()], sbc.address)
        self._loop.run(self._start(site, taps))
        bench.tap.mirror = span.mirror
        try:
            recorded = self._enum.observe(site, sbc, span_traffic)
        finally:
            bench.tap.mirror = None
            span.close()
            recordings = self._loop.run(self._stop(site, taps))
        seen = recorded.seen
        premises = Premises(self._dial_plan, seen.customer_numbers)
        found = {
            name: ProbeData(
                read_tap(read(Path(one.path)), premises, device=name), one.packets, one.dropped
            )
            for name, one in recordings.items()
        }
        from_ns, to_ns = seen.window
        span_seen = SpanSeen(
            seen.calls_between(from_ns, to_ns), len(seen.capture), found, from_ns, to_ns
        )
        return span_seen, self._attached(sbc, recorded.attachment, recordings)

    def _attached(
        self, sbc: SbcTable, own: Mapping[str, Any], recordings: Mapping[str, Recording]
    ) -> dict[str, dict[str, Any]]:
        """Return the attachments by probe, and the SBC's own under its name."""
        found = {
            name: self._folder.capture(Path(one.path), one.packets, one.dropped, one.captured_by)
            for name, one in recordings.items()
        }
        return {**found, sbc.name: dict(own)}

    async def _start(self, site: Site, taps: Mapping[str, UdpTap]) -> None:
        """Start every tap, or none."""
        async with AsyncExitStack() as undo:
            for name, tap in taps.items():
                path = unused(self._folder.captures / f"{site.name}-{name}-span.pcap")
                self._files[f"{site.name}/{name}"] = path
                self._ledger.open(
                    DebtKind.CAPTURE_STARTED, f"{site.name}/{name}", path.name, "close the capture"
                )
                await tap.start(path)
                undo.push_async_callback(tap.stop)
            undo.pop_all()  # all are up: they stay

    async def _stop(self, site: Site, taps: Mapping[str, UdpTap]) -> dict[str, Recording]:
        """Stop every tap; return what each has taken."""
        found: dict[str, Recording] = {}
        for name, tap in taps.items():
            packets, dropped = await tap.stop()
            target = f"{site.name}/{name}"
            path = self._files[target]
            pay_captures(self._ledger, target, self._folder.captures)
            found[name] = Recording(str(path), packets, dropped, tap.captured_by)
        return found
