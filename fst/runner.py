"""The edge that carries a run out, case by case, and writes each to the journal.

What the work is differs by part of the plan (`enum_work`, …); how a case is begun, recorded and
ended does not. Everything that a verdict rests on is on the disk before the verdict is.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from fst.boxes import Boxes
from fst.debts import Debt, DebtKind, Ledger
from fst.enum_work import EnumWork, LabParts
from fst.evidence import Evidence
from fst.exercises import Exercise
from fst.fact_book import FactBook
from fst.guided import Again, Guide
from fst.hold_panel import HoldPanel
from fst.hold_prompts import asking
from fst.host_work import HostWork
from fst.lab.observe import pay_captures
from fst.matrix import Case
from fst.plan import Marker, Plan
from fst.probe_work import ProbeWork
from fst.prompt import Parked
from fst.resume import Key
from fst.run_folder import RunFolder
from fst.schedule import refusal
from fst.site import SiteFile
from fst.verdict import propose
from harness.clock import Clock
from harness.dialplan import DialPlan
from harness.errors import HarnessError, ToolError
from harness.finding import Outcome
from harness.journal_file import read_torn
from harness.regex_worker import PosixRegex

OF_A_BENCH = frozenset({DebtKind.SERVICE_STOPPED, DebtKind.RULE_INSTALLED, DebtKind.FILE_CHANGED})


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was tried before, in a run that goes on."""

    attempts: Mapping[Key, int] = field(default_factory=dict)  # number of the last at each box
    reasons: Mapping[Key, str] = field(default_factory=dict)  # why a judged box is tried again


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
        ledger: Ledger,
        parts: Mapping[str, LabParts] | None = None,
        earlier: Earlier | None = None,
        guide: Guide | None = None,
    ) -> None:
        """Keep the parts; *parts* are by "site/sbc". Nothing is opened before the first case."""
        self.folder, self.ledger = folder, ledger
        self._window, self._clock = file.window, clock
        known = folder.journal.events
        self._not_before_ns = known[-1].at_ns if known else 0  # a clock set back opens no window
        self._earlier, self._guide = earlier or Earlier(), guide
        lab = file.lab
        self._parts_of_lab = None if lab is None else frozenset(lab.parts)
        self._engine = PosixRegex()
        self._loop = asyncio.Runner()
        self._enum = EnumWork(
            file,
            dial_plan,
            folder,
            clock=clock,
            engine=self._engine,
            loop=self._loop,
            ledger=ledger,
            parts=parts,
            guide=guide,
        )
        self._hosts = HostWork(
            file,
            plan,
            folder,
            clock=clock,
            ledger=ledger,
            events=folder.journal.events,
            decide=None if guide is None or guide.rehearse else asking(guide, guide.new_id),
        )
        self._probes = ProbeWork(
            file,
            dial_plan,
            folder,
            loop=self._loop,
            enum=self._enum,
            site_folder=site_folder,
            ledger=ledger,
        )
        looks = (self._hosts.look, self._enum.look)
        self._facts = FactBook(self._hosts.hosts, looks, folder.journal.append)
        self._attempts = dict(self._earlier.attempts)

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self.close()

    def close(self) -> None:
        """Close all sockets, end the regex worker; may be called again. The journal stays open."""
        self._hosts.close()  # first: it ends processes
        self._enum.close()
        self._loop.close()
        self._engine.close()

    @property
    def panel(self) -> HoldPanel | None:
        """Return what shows the waits that go on beside the cases; None: there are none."""
        return self._hosts.panel

    def begin(self, steps: Iterable[str], *, anew: bool = False) -> None:
        """Start what goes on beside the cases of *steps*, which are still to be done, or *anew*."""
        self._hosts.begin(steps, anew=anew)

    def restore(self) -> tuple[Debt, ...]:
        """Undo what an earlier process of this run owed, pay what is seen; return what is left.

        The lab is brought up for it, so that a server is asked where a customer would ask it.
        """
        owed = self.ledger.owed
        for debt in owed:
            if debt.kind is DebtKind.CAPTURE_STARTED:
                pay_captures(self.ledger, debt.target, self.folder.captures)
        self._enum.restore([debt for debt in self.ledger.owed if debt.kind in OF_A_BENCH])
        if owed and not self.ledger.owed:
            seen = self.ledger.observed
            observed = [f"{name}: {said}" for name, said in seen.items()]
            self.folder.journal.append("restore.proved", debts=list(seen), observed=observed)
        return self.ledger.owed

    def run_case(self, case: Case, exercise: Exercise | None) -> tuple[Outcome, str]:
        """Carry out and judge one case; return the verdict and its words.

        *exercise* is what the simulated SBC and phones do; parts A and C have work of their own.

        What goes wrong in the harness is journalled as OTHER and then raised.

        Raises:
            Parked: a person can't do it now, and the box stays empty; or it would disturb hosts
                when there is no time left to put everything back.
        """
        if case.step.marker is not Marker.BASELINE:
            self._hosts.hold_back(case)  # what it disturbs may be waited for
        place, journal = {"step": case.step.id, "target": case.target}, self.folder.journal
        now_ns = max(self._clock.wall_ns(), self._not_before_ns)
        too_late = refusal(case, self._window, now_ns)
        if too_late:  # no attempt: what an earlier one earned still counts
            journal.append("comment", **place, text=f"not begun: {too_late}", by="fst")
            raise Parked(too_late)
        number = self._begun(case, place)
        try:
            return self._judged(case, exercise, place, number)
        except KeyboardInterrupt:  # a person, SIGTERM, a dropped line: no verdict was earned
            self._interrupt(place)
            raise
        except Parked as parked:
            journal.append("attempt.end", **place, parked=True, words=str(parked))
            raise
        except Again as again:
            journal.append("attempt.end", **place, interrupted=True, words=str(again))
        except HarnessError as error:
            words = f"{'tool error' if isinstance(error, ToolError) else 'bad input'}: {error}"
            journal.append("verdict.proposed", **place, outcome=Outcome.OTHER.value, words=words)
            journal.append("attempt.end", **place)
            raise
        if exercise is not None:
            self._enum.forget(exercise)
            self._facts.forget(exercise.__name__)
        return self.run_case(case, exercise)

    def _interrupt(self, place: dict[str, str]) -> None:
        """End an attempt without a verdict; its end may just have been written when it came."""
        events, _ = read_torn(self.folder.path)
        if (place["step"], place["target"]) in Boxes.fold(events, reading=True).still_open:
            self.folder.journal.append("attempt.end", **place, interrupted=True)

    def _begun(self, case: Case, place: dict[str, str]) -> int:
        """Begin an attempt; return its number."""
        key = (case.step.id, case.target)
        self._attempts[key] = number = self._attempts.get(key, 0) + 1
        reason = {"reason": why} if (why := self._earlier.reasons.get(key)) else {}
        self.folder.journal.append("attempt.start", **place, attempt=number, **reason)
        if self._guide is not None:
            self._guide.begin(case, number)
        return number

    def _judged(
        self, case: Case, exercise: Exercise | None, place: dict[str, str], number: int
    ) -> tuple[Outcome, str]:
        """Return the verdict of an attempt, with everything that it rests on in the journal."""
        journal, guide = self.folder.journal, self._guide
        by_person = guide is not None and guide.is_judged_by_person(case)
        found = self._carried_out(case, exercise) if self._has_part(case) else ()
        if guide is not None:
            found = (*found, *self._loop.run(guide.senses(found)))
        for evidence in found:
            self._write(place, evidence)
        proposed: Outcome | None = None
        words = ""
        if found or not by_person:
            proposed, words = propose(
                [finding for evidence in found for finding in evidence.findings],
                [taken for evidence in found for taken in evidence.measurements],
                attachments=sum(len(evidence.attachments) for evidence in found),
            )
            journal.append("verdict.proposed", **place, outcome=proposed.value, words=words)
        if guide is not None and by_person:
            answer = self._loop.run(guide.verdict(proposed, words))
            proposed, words = answer.outcome, answer.words
            told = {"outcome": "" if proposed is None else proposed.value, "words": words}
            journal.append("verdict.declared", **place, attempt=number, **told, by=answer.who)
        journal.append("attempt.end", **place)
        if proposed is None:
            raise ToolError("a box was judged by nobody")
        return proposed, words

    def _has_part(self, case: Case) -> bool:
        return self._parts_of_lab is None or case.step.id[0] in self._parts_of_lab

    def _carried_out(self, case: Case, exercise: Exercise | None) -> tuple[Evidence, ...]:
        """Return the evidence of *case*; what its hosts were like is written before and after."""
        name = "" if exercise is None else exercise.__name__
        try:
            self._facts.begin(case, name)
            found = self._evidence(case, exercise)
        except (HarnessError, KeyboardInterrupt):
            self._facts.forget(name)  # it is carried out anew, or never
            raise
        self._facts.end(case)
        return found

    def _evidence(self, case: Case, exercise: Exercise | None) -> tuple[Evidence, ...]:
        """Return the evidence of *case*, by the part of the plan that it belongs to."""
        if exercise is not None:
            return self._enum.evidence(case, exercise)
        work = self._hosts if case.step.marker is Marker.BASELINE else self._probes
        return work.evidence(case)

    def _write(self, place: dict[str, str], evidence: Evidence) -> None:
        journal = self.folder.journal
        for fact in evidence.facts:
            journal.append("facts", **fact)
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
