"""The edge that carries a run out, case by case, and writes each to the journal.

What the work is differs by part of the plan (`enum_work`, …); how a case is begun, recorded and
ended does not. Everything that a verdict rests on is on the disk before the verdict is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Self

from fst.enum_work import EnumWork, LabParts
from fst.evidence import Evidence
from fst.exercises import Exercise
from fst.host_work import HostWork
from fst.matrix import Case
from fst.plan import Marker, Plan
from fst.probe_work import ProbeWork
from fst.run_folder import RunFolder
from fst.site import SiteFile
from fst.verdict import propose
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import HarnessError, ToolError
from harness.finding import Outcome
from harness.regex_worker import PosixRegex


class Runner:
    """One run over the sites of a file; use as a context manager."""

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        file: SiteFile,
        dial_plan: DialPlan,
        folder: RunFolder,
        clock: Clock,
        *,
        plan: Plan,
        site_folder: Path,
        parts: Mapping[str, LabParts] | None = None,
    ) -> None:
        """Keep the parts; *parts* are by "site/sbc". Nothing is opened before the first case."""
        self.folder = folder
        self._engine = PosixRegex()
        self._loop = asyncio.Runner()
        self._enum = EnumWork(
            file,
            dial_plan,
            folder,
            clock=clock,
            engine=self._engine,
            loop=self._loop,
            parts=parts,
        )
        self._hosts = HostWork(file, plan, folder, clock=clock, loop=self._loop)
        self._probes = ProbeWork(
            file,
            dial_plan,
            folder,
            loop=self._loop,
            enum=self._enum,
            site_folder=site_folder,
        )
        self._attempts: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self.close()

    def close(self) -> None:
        """Close all sockets, end the regex worker, close the journal; may be called again."""
        self._enum.close()
        self._loop.close()
        self._engine.close()
        self.folder.journal.close()

    def run_case(self, case: Case, exercise: Exercise | None) -> tuple[Outcome, str]:
        """Carry out and judge one case; return the verdict proposed and its words.

        *exercise* is what the simulated SBC and phones do; parts A and C have work of their own.

        What goes wrong in the harness is journalled as OTHER and then raised.
        """
        place = {"step": case.step.id, "target": case.target}
        key = (case.step.id, case.target)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        journal = self.folder.journal
        journal.append("attempt.start", **place, attempt=self._attempts[key])
        try:
            found = self._evidence(case, exercise)
        except HarnessError as error:
            words = f"{'tool error' if isinstance(error, ToolError) else 'bad input'}: {error}"
            journal.append("verdict.proposed", **place, outcome=Outcome.OTHER.value, words=words)
            journal.append("attempt.end", **place)
            raise
        for evidence in found:
            self._write(place, evidence)
        outcome, words = propose(
            [finding for evidence in found for finding in evidence.findings],
            [taken for evidence in found for taken in evidence.measurements],
            attachments=sum(len(evidence.attachments) for evidence in found),
        )
        journal.append("verdict.proposed", **place, outcome=outcome.value, words=words)
        journal.append("attempt.end", **place)
        return outcome, words

    def _evidence(self, case: Case, exercise: Exercise | None) -> tuple[Evidence, ...]:
        """Return the evidence of *case*, by the part of the plan that it belongs to."""
        if exercise is not None:
            return self._enum.evidence(case, exercise)
        work = self._hosts if case.step.marker is Marker.BASELINE else self._probes
        return work.evidence(case)

    def _write(self, place: dict[str, str], evidence: Evidence) -> None:
        journal = self.folder.journal
        for step in evidence.steps:
            journal.append("step", **place, **step)
        for attachment in evidence.attachments:
            journal.append("attachment", **place, **attachment)
        for taken in evidence.measurements:
            journal.append("measurement", **place, **asdict(taken), outcome=taken.outcome.value)
        for found in evidence.findings:
            journal.append("finding", **place, **asdict(found))
        if evidence.strip is not None:
            journal.append("strip", **place, **evidence.strip)
