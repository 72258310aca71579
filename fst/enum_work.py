"""The edge that carries out part B: a bench for each SBC, each exercise once, evidence a case.

An exercise is recorded once and may serve several cases (B.3.1 and B.3.2 look at the same packets).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fst.bench import Bench, Recording
from fst.debts import Debt, Ledger
from fst.evidence import Evidence, declared, notes
from fst.exercises import WAITING, Exercise
from fst.fact_book import Facts
from fst.guided import Again, Guide
from fst.judgement import judge
from fst.lab.bench import LabBench, Recorder, TapRecorder
from fst.lab.servers import LabServers, StubServers
from fst.lab.tap import Tap
from fst.matrix import Case
from fst.measured_waits import AS_DECLARED, MeasuredWaits, measured_waits
from fst.observation import Mark, Observation, enum_endpoints
from fst.plan import Scope
from fst.prompt import Parked
from fst.run_folder import RunFolder
from fst.site import Lab, SbcTable, Site, SiteFile
from fst.strip import strip
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import HarnessError, InputError
from harness.packets.capture_file import read
from harness.regex import RegexEngine


@dataclass(frozen=True, slots=True)
class LabParts:
    """What a lab may bring of its own: other servers than our stubs, another recorder."""

    servers: LabServers | None = None
    recorder: Recorder | None = None


@dataclass
class SbcBench:
    """A bench with its tap and the marks of the exercise that runs on it."""

    bench: LabBench
    tap: Tap
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An observation with the facts of its file, for the journal."""

    seen: Observation
    attachment: Mapping[str, Any]
    notes: tuple[str, ...] = ()  # on how long was waited


class EnumWork:
    """Benches and recordings of all SBCs of a site file; sockets open at the first exercise."""

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        file: SiteFile,
        dial_plan: DialPlan,
        folder: RunFolder,
        *,
        clock: Clock,
        engine: RegexEngine,
        loop: asyncio.Runner,
        ledger: Ledger,
        parts: Mapping[str, LabParts] | None = None,
        guide: Guide | None = None,
    ) -> None:
        """Keep the parts; *parts* are by "site/sbc". What is owed is kept in *ledger*."""
        self._file, self._dial_plan, self._folder = file, dial_plan, folder
        self._clock, self._engine, self._loop = clock, engine, loop
        self._parts, self._ledger, self._guide = parts or {}, ledger, guide
        self._benches: dict[str, SbcBench] = {}
        self._recorded: dict[tuple[str, str], Recorded] = {}
        self._failed: dict[tuple[str, str], HarnessError] = {}

    def close(self) -> None:
        """Close all sockets; may be called again."""
        benches, self._benches = self._benches, {}
        for one in benches.values():
            self._loop.run(one.bench.stop())

    def restore(self, debts: Sequence[Debt]) -> None:
        """Undo what *debts* of an earlier process tell of, with the lab brought up; pay them."""
        for site in self._file.sites:
            for sbc in site.sbcs:
                own = {f"{site.name}/{name}" for name in (sbc.name, *sbc.enum_servers)}
                left = {debt.id for debt in self._ledger.owed}
                found = [debt for debt in debts if debt.target in own and debt.id in left]
                if found:
                    self._loop.run(self.bench(site, sbc).bench.restore(found))

    def evidence(self, case: Case, exercise: Exercise) -> tuple[Evidence, ...]:
        """Carry *exercise* out at every SBC that *case* concerns, and judge what was recorded."""
        site_name, _, host = case.target.partition("/")
        site = next(site for site in self._file.sites if site.name == site_name)
        sbcs = [sbc for sbc in site.sbcs if not host or host in sbc.enum_servers]
        if not sbcs:
            raise InputError(
                "no SBC of the site file asks it",
                field=f"sites.{site_name}.sbcs",
                value=case.target,
                fix="list it in the enum_servers of an SBC",
            )
        host = host if case.step.scope is Scope.HOST else ""
        return tuple(self._judged(case, host, self.observe(site, sbc, exercise)) for sbc in sbcs)

    def _judged(self, case: Case, host: str, recorded: Recorded) -> Evidence:
        judged = judge(case.step.id, host, recorded.seen, self._engine)
        marks = tuple(
            {"text": " ".join((mark.kind.value, *mark.names)), **mark.to_json()}
            for mark in recorded.seen.marks
        )
        return Evidence(
            judged.findings,
            declared(case.step, judged),
            (recorded.attachment,),
            (*marks, *notes((*recorded.notes, *judged.notes))),
            strip(recorded.seen),
        )

    def look(self, targets: Sequence[str]) -> Mapping[str, Facts]:
        """Return what is known now of those of *targets* that an SBC asks."""
        found: dict[str, Facts] = {}
        for site in self._file.sites:
            for sbc in site.sbcs:
                names = [name for name in sbc.enum_servers if f"{site.name}/{name}" in targets]
                if names:
                    told = self._loop.run(self.bench(site, sbc).bench.facts(names))
                    found |= {target: Facts(values) for target, values in told.items()}
        return found

    def observe(self, site: Site, sbc: SbcTable, exercise: Exercise) -> Recorded:
        """Carry *exercise* out at *sbc*, unless it was in this run already, and read its file."""
        where, name = f"{site.name}/{sbc.name}", exercise.__name__
        known = self._recorded.get((where, name))
        if known is not None:
            return known
        if (where, name) in self._failed:  # its other cases fail for the same reason, not anew
            raise self._failed[where, name]
        try:
            recorded = self._record(site, sbc, exercise, where)
        except Parked as parked:  # its other cases would ask the same person for the same calls
            self._failed[where, name] = parked
            raise
        except Again:  # nothing has failed: it is carried out at once
            raise
        except HarnessError as error:
            self._failed[where, name] = error
            raise
        self._recorded[where, name] = recorded
        return recorded

    def forget(self, exercise: Exercise) -> None:
        """Have *exercise* carried out anew, at every SBC, by the next case that rests on it."""
        for key in [key for key in self._recorded if key[1] == exercise.__name__]:
            del self._recorded[key]

    def _record(self, site: Site, sbc: SbcTable, exercise: Exercise, where: str) -> Recorded:
        """Carry *exercise* out, and read what was captured."""
        name, bench = exercise.__name__, self.bench(site, sbc)
        bench.marks.clear()
        self._folder.journal.append("exercise.start", exercise=name, sbc=where)
        stem = f"{site.name}-{sbc.name}-{name.replace('_', '-')}"
        at: Bench = bench.bench
        waits = bench.bench.waits = self._measured(where, exercise)
        if self._guide is not None:
            at = self._guide.around(bench.bench, bench.tap)
            for note in waits.notes:
                self._guide.tell(f"{where}: {note}")
        recording = self._loop.run(_carry_out(at, exercise, stem))
        path = Path(recording.path)
        seen = Observation(
            exercise=name,
            site=site,
            sbc=sbc,
            judging=self._file.judging,
            dial_plan=self._dial_plan,
            capture=read(path),
            dropped=recording.dropped,
            marks=tuple(bench.marks),
        )
        attachment = self._folder.capture(
            path, recording.packets, recording.dropped, recording.captured_by
        )
        return Recorded(seen, attachment, waits.notes)

    def _measured(self, where: str, exercise: Exercise) -> MeasuredWaits:
        """Return what this run's captures show of the SBC's times, for an exercise that waits."""
        if exercise not in WAITING:
            return AS_DECLARED
        return measured_waits(
            [one.seen for (sbc, _), one in self._recorded.items() if sbc == where]
        )

    def bench(self, site: Site, sbc: SbcTable) -> SbcBench:
        """Return the bench of *sbc*, started."""
        where = f"{site.name}/{sbc.name}"
        if where not in self._benches:
            bench = self._make(site, sbc, self._parts.get(where, LabParts()))
            self._loop.run(_start(bench.bench))
            self._benches[where] = bench
        return self._benches[where]

    def _make(self, site: Site, sbc: SbcTable, parts: LabParts) -> SbcBench:
        tap, marks, lab = Tap(), list[Mark](), self._file.lab or Lab()

        def on_mark(mark: Mark) -> None:  # on the disk before anything follows from it
            marks.append(mark)
            place = f"{site.name}/{sbc.name}"
            self._folder.journal.append("mark", sbc=place, **mark.to_json())

        endpoints = enum_endpoints(site, sbc, by_endpoint=False)
        servers = parts.servers or StubServers(endpoints, lab, sbc.apex, tap, self._clock)
        bench = LabBench(
            self._file,
            site,
            sbc,
            servers=servers,
            recorder=parts.recorder or TapRecorder(tap),
            tap=tap,
            folder=self._folder.captures,
            clock=self._clock,
            engine=self._engine,
            on_mark=on_mark,
            ledger=self._ledger,
        )
        return SbcBench(bench, tap, marks)


async def _start(bench: LabBench) -> None:
    """Start *bench* whole, or leave nothing open."""
    try:
        await bench.start()
    except HarnessError:
        await bench.stop()
        raise


async def _carry_out(bench: Bench, exercise: Exercise, name: str) -> Recording:
    """Run *exercise* with a capture around it; the capture is closed whatever happens."""
    await bench.settle()
    await bench.start_capture(name)
    try:
        await exercise(bench)
    finally:
        recording = await bench.stop_capture()
    return recording
