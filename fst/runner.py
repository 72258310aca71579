"""The edge that carries a run out: benches for each site, exercises once each, verdicts, journal.

An exercise is recorded once and may serve several cases (B.3.1 and B.3.2 look at the same packets).
Everything that a verdict rests on is in the journal and the captures before the verdict is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fst.bench import Bench, Recording
from fst.exercises import Exercise
from fst.judgement import judge
from fst.lab.bench import LabBench, Recorder, TapRecorder
from fst.lab.servers import LabServers, StubServers
from fst.lab.tap import Tap
from fst.matrix import Case, Matrix
from fst.observation import Mark, Observation, enum_endpoints
from fst.plan import Scope
from fst.run_folder import RunFolder
from fst.site import Lab, SbcTable, Site, SiteFile
from fst.strip import strip
from fst.verdict import propose
from harness.capture_file import read
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import HarnessError, InputError, ToolError
from harness.finding import Finding, Measurement, Outcome
from harness.regex_worker import PosixRegex

MEDIA_TYPE = "application/vnd.tcpdump.pcap"


@dataclass(frozen=True, slots=True)
class LabParts:
    """What a lab may bring of its own: other servers than our stubs, another recorder."""

    servers: LabServers | None = None
    recorder: Recorder | None = None


@dataclass
class _Bench:
    """A bench with the marks of the exercise that runs on it."""

    bench: LabBench
    marks: list[Mark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An observation with the facts of its file, for the journal."""

    seen: Observation
    attachment: Mapping[str, Any]


class Runner:
    """One run over the sites of a file; use as a context manager."""

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        file: SiteFile,
        dial_plan: DialPlan,
        matrix: Matrix,
        folder: RunFolder,
        clock: Clock,
        *,
        parts: Mapping[str, LabParts] | None = None,
    ) -> None:
        """Keep the parts; *parts* are by "site/sbc". Sockets open at the first exercise."""
        self.file, self.matrix, self.folder = file, matrix, folder
        self._dial_plan, self._clock, self._parts = dial_plan, clock, parts or {}
        self._engine = PosixRegex()
        self._loop = asyncio.Runner()
        self._benches: dict[str, _Bench] = {}
        self._recorded: dict[tuple[str, str], Recorded] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all sockets, end the regex worker, close the journal."""
        self.close()

    def close(self) -> None:
        """Close all sockets, end the regex worker, close the journal; may be called again."""
        benches, self._benches = self._benches, {}
        for one in benches.values():
            self._loop.run(one.bench.stop())
        self._loop.close()
        self._engine.close()
        self.folder.journal.close()

    def run_case(self, case: Case, exercise: Exercise) -> tuple[Outcome, str]:
        """Carry out and judge one case; return the verdict proposed and its words.

        What goes wrong in the harness is journalled as OTHER and then raised.
        """
        place = {"step": case.step.id, "target": case.target}
        key = (case.step.id, case.target)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        journal = self.folder.journal
        journal.append("attempt.start", **place, attempt=self._attempts[key])
        try:
            outcome, words = self._attempt(case, exercise, place)
        except HarnessError as error:
            words = f"{'tool error' if isinstance(error, ToolError) else 'bad input'}: {error}"
            journal.append("verdict.proposed", **place, outcome=Outcome.OTHER.value, words=words)
            journal.append("attempt.end", **place)
            raise
        journal.append("verdict.proposed", **place, outcome=outcome.value, words=words)
        journal.append("attempt.end", **place)
        return outcome, words

    def _attempt(
        self, case: Case, exercise: Exercise, place: dict[str, str]
    ) -> tuple[Outcome, str]:
        site_name, _, host = case.target.partition("/")
        site = next(site for site in self.file.sites if site.name == site_name)
        sbcs = [sbc for sbc in site.sbcs if not host or host in sbc.enum_servers]
        if not sbcs:
            raise InputError(
                "no SBC of the site file asks it",
                field=f"sites.{site_name}.sbcs",
                value=case.target,
                fix="list it in the enum_servers of an SBC",
            )
        findings: list[Finding] = []
        measured: list[Measurement] = []
        host = host if case.step.scope is Scope.HOST else ""
        for sbc in sbcs:
            recorded = self._observe(site, sbc, exercise)
            found, taken, notes = judge(case.step, host, recorded.seen, self._engine)
            self._write(place, recorded, found, taken, notes)
            findings += found
            measured += taken
        return propose(findings, measured, attachments=len(sbcs))

    def _write(
        self,
        place: dict[str, str],
        recorded: Recorded,
        findings: tuple[Finding, ...],
        measured: tuple[Measurement, ...],
        notes: tuple[str, ...],
    ) -> None:
        journal = self.folder.journal
        for mark in recorded.seen.marks:
            text = " ".join((mark.kind.value, *mark.names))
            journal.append("step", **place, text=text, **mark.to_json())
        journal.append("attachment", **place, **recorded.attachment)
        for note in notes:
            journal.append("step", **place, text=note)
        for taken in measured:
            journal.append("measurement", **place, **asdict(taken), outcome=taken.outcome.value)
        for found in findings:
            journal.append("finding", **place, **asdict(found))
        journal.append("strip", **place, **strip(recorded.seen))

    def _observe(self, site: Site, sbc: SbcTable, exercise: Exercise) -> Recorded:
        """Carry *exercise* out at *sbc*, unless it was in this run already, and read its file."""
        where, name = f"{site.name}/{sbc.name}", exercise.__name__
        known = self._recorded.get((where, name))
        if known is not None:
            return known
        bench = self._bench(site, sbc)
        bench.marks.clear()
        self.folder.journal.append("exercise.start", exercise=name, sbc=where)
        stem = f"{site.name}-{sbc.name}-{name.replace('_', '-')}"
        recording = self._loop.run(_carry_out(bench.bench, exercise, stem))
        path = Path(recording.path)
        attachment = {
            **self.folder.attachment(path),
            "media_type": MEDIA_TYPE,
            "packets": recording.packets,
            "dropped": recording.dropped,
            "captured_by": recording.captured_by,
        }
        seen = Observation(
            exercise=name,
            site=site,
            sbc=sbc,
            judging=self.file.judging,
            dial_plan=self._dial_plan,
            capture=read(path),
            dropped=recording.dropped,
            marks=tuple(bench.marks),
        )
        recorded = Recorded(seen, attachment)
        self._recorded[where, name] = recorded
        return recorded

    def _bench(self, site: Site, sbc: SbcTable) -> _Bench:
        """Return the bench of *sbc*, started."""
        where = f"{site.name}/{sbc.name}"
        if where not in self._benches:
            bench = self._make(site, sbc, self._parts.get(where, LabParts()))
            self._loop.run(_start(bench.bench))
            self._benches[where] = bench
        return self._benches[where]

    def _make(self, site: Site, sbc: SbcTable, parts: LabParts) -> _Bench:
        tap, marks, lab = Tap(), list[Mark](), self.file.lab or Lab()

        def on_mark(mark: Mark) -> None:  # on the disk before anything follows from it
            marks.append(mark)
            place = f"{site.name}/{sbc.name}"
            self.folder.journal.append("mark", sbc=place, **mark.to_json())

        endpoints = enum_endpoints(site, sbc, by_endpoint=False)
        servers = parts.servers or StubServers(endpoints, lab, sbc.apex, tap, self._clock)
        bench = LabBench(
            self.file,
            site,
            sbc,
            servers=servers,
            recorder=parts.recorder or TapRecorder(tap),
            tap=tap,
            folder=self.folder.captures,
            clock=self._clock,
            engine=self._engine,
            on_mark=on_mark,
        )
        return _Bench(bench, marks)


async def _start(bench: LabBench) -> None:
    """Start *bench* whole, or leave nothing open."""
    try:
        await bench.start()
    except ToolError:
        await bench.stop()
        raise


async def _carry_out(bench: Bench, exercise: Exercise, name: str) -> Recording:
    """Run *exercise* with a capture around it; the capture is closed whatever happens."""
    await bench.settle()
    await bench.start_capture(name)
    try:
        await exercise(bench)
    except BaseException:
        await bench.stop_capture()
        raise
    return await bench.stop_capture()
