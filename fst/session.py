"""One run over the cases that were selected: opened at the first case, closed with its reports."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fst.boxes import REHEARSAL
from fst.debts import Debt, DebtKind, Ledger, open_debts
from fst.enum_work import LabParts
from fst.exercises import Exercise
from fst.going_on import GoingOn
from fst.guided_run import Guidance, as_begun, make_guide
from fst.hold_panel import HoldPanel
from fst.lab.observe import end_hosts
from fst.lab.places import refused_places
from fst.matrix import Case
from fst.plan import default_plan
from fst.prompt import Parked
from fst.rehearsal import rehearsed
from fst.report.model import Report
from fst.report.model import build as build_report
from fst.report.write import write_reports
from fst.resume import ABORTED, Key, numbers, retests, within
from fst.run_folder import RunFolder
from fst.run_start import form_fields, plan_fields, profile_texts, site_fields
from fst.runner import OF_A_BENCH, Earlier, Runner
from fst.site import SbcTable, Site, SiteFile
from fst.site_reading import matrix_of, read_site_file
from harness.clock import Clock, SystemClock
from harness.errors import HarnessError, InputError, ToolError
from harness.finding import Outcome
from harness.journal import SCHEMA
from harness.journal_file import read, read_torn

if TYPE_CHECKING:
    import pytest

WATERMARKS = {"lab": "LAB", "site": "", REHEARSAL: "REHEARSAL"}
PartsOf = Callable[[SiteFile, Site, SbcTable], LabParts | None]
OnVerdict = Callable[[Case, Outcome, str], None]


class Session:
    """What a pytest session, or `fst run`, works on."""

    def __init__(  # noqa: PLR0913 - a run has these parts
        self,
        site_file: Path | None,
        *,
        out: Path = Path("evidence"),
        settings: Sequence[str] = (),
        chosen: Sequence[str] = (),
        lab_parts: PartsOf = lambda _file, _site, _sbc: None,
        resume: Path | None = None,
        retest: Sequence[str] = (),
        reason: str = "",
        guidance: Guidance | None = None,
    ) -> None:
        """Read the site file and lay it over the plan; nothing is written or opened yet.

        *resume* is the folder of a run to go on with (then the site file may be left out), *retest*
        names boxes of it to try again, for a *reason*.

        Raises:
            InputError: a bad site file, setting or case id; a run that can't be gone on with.
        """
        self.plan, self._out, asked = default_plan(), out, guidance or Guidance()
        self.going_on = None if resume is None else GoingOn.read(resume)
        if self.going_on is not None:
            known = self.going_on
            named = site_file or known.site_file
            known.refuse_other(named, settings, self.plan.sha256)
            settings, asked = known.began.settings, as_begun(asked, known.began)
        elif site_file is None:
            raise InputError("missing", field="--site", fix="name a site file")
        else:
            named = site_file
        self.site_file, self._settings = named, tuple(settings)
        kept = None if self.going_on is None else self.going_on.profiles
        read = read_site_file(named, settings, profiles=kept)
        self.file, self._dial_plan, self._site_sha256 = read
        self._mode = REHEARSAL if asked.rehearse else self.file.mode
        if asked.rehearse:
            self.file = rehearsed(self.file)
        if self.file.mode != "lab":
            raise InputError(
                "only lab sites can be run yet",
                file=str(site_file),
                field="mode",
                value=self.file.mode,
                fix="`fst plan --site` prints its forms",
            )
        self.matrix = matrix_of(self.file, self.plan)
        self._chosen, self._lab_parts = tuple(chosen), lab_parts
        self.guide = make_guide(
            asked,
            file=self.file,
            dial_plan=self._dial_plan,
            plan=self.plan,
            matrix=self.matrix,
            clock=SystemClock(),
        )
        self.guidance = asked
        self.selected: tuple[str, ...] | None = None  # step ids; None: all that there are
        self.to_run: tuple[Case, ...] = ()  # in their order
        self.narrowed = False  # some case was left out by an option
        self.on_verdict: OnVerdict = lambda _case, _outcome, _words: None
        self.on_parked: Callable[[Case, str], None] = lambda _case, _words: None
        self.on_begun: Callable[[Path], None] = lambda _folder: None
        self.folder: RunFolder | None = None
        self.report: Report | None = None
        self.fatal: HarnessError | None = None  # why the run could not begin, or go on
        self.ended_by = ""  # who asked it to end early
        self.owed: tuple[Debt, ...] = ()  # what kept the run from being closed
        self._runner: Runner | None = None
        self._finished = False
        self._refuse_unknown_cases()
        self._retest = self._retested(retest, reason)

    def _refuse_unknown_cases(self) -> None:
        ids = [step.id for step in self.plan.steps]
        for name in self._chosen:
            if not any(within(one, name) for one in ids):
                raise InputError(
                    "no such case in the plan",
                    field="--case",
                    value=name,
                    fix=f"use one of {', '.join(ids)}, or a part such as B.3",
                )

    def _retested(self, wanted: Sequence[str], reason: str) -> dict[Key, str] | None:
        """Return the boxes to try again, each with the reason; None: no re-test was asked for."""
        if not wanted and reason.strip():
            fix = "say with --retest what is to be tried again"
            raise InputError("a reason for nothing", field="--reason", value=reason, fix=fix)
        if not wanted:
            return None
        if self.going_on is None:
            raise InputError("needs a run", field="--retest", fix="name it with --resume RUN")
        if not reason.strip():
            fix = "say why the boxes are tried again"
            raise InputError("a re-test needs a reason", field="--reason", fix=fix)
        keys = [(case.step.id, case.target) for case in self.matrix.cases]
        chosen = retests(self.going_on.boxes, wanted, keys)
        if not chosen:
            why, fix = f"no box is {' or '.join(wanted)}", "see `fst status RUN`"
            raise InputError(why, field="--retest", fix=fix)
        return dict.fromkeys(chosen, reason)

    def cases(self, step_id: str) -> list[Case]:
        """Return the case of *step_id* on each target of the site, in print order.

        There is none where the lab can't carry out that part of the plan: its boxes wait, but in
        a guided run, where people judge them.
        """
        if not self._is_carried_out(step_id) and self.guide is None:
            return []
        return [case for case in self.matrix.cases if case.step.id == step_id]

    def _is_carried_out(self, step_id: str) -> bool:
        return self.file.lab is None or step_id[0] in self.file.lab.parts

    def wants(self, item: "pytest.Item") -> bool:
        """Say whether a collected test is to run; a test that is no case always is."""
        marker = item.get_closest_marker("fst_case")
        if marker is None or "fst_case" not in getattr(item, "fixturenames", ()):
            return True
        if self._chosen and not any(within(marker.args[0], name) for name in self._chosen):
            return False
        case = item.callspec.params["fst_case"] if hasattr(item, "callspec") else None
        return self.going_on is None or not isinstance(case, Case) or self._is_to_do(case)

    def _is_to_do(self, case: Case) -> bool:
        """Say whether a case of a run that goes on is still to be done, or to be done again."""
        key = (case.step.id, case.target)
        if self._retest is not None:
            return key in self._retest
        known = self.going_on
        return known is not None and known.is_left(key, named=bool(self._chosen))

    def run_case(self, case: Case, exercise: Exercise | None) -> tuple[str, str]:
        """Carry out and judge one case; return its outcome ("": it was parked) and words."""
        try:
            outcome, words = self.open().run_case(case, exercise)
        except Parked as parked:
            self.on_parked(case, str(parked))
            return "", str(parked)
        except HarnessError as error:
            self.on_verdict(case, Outcome.OTHER, str(error))
            if self.folder is not None and self.folder.journal.broken:
                self.fatal = error  # what can't be recorded is not to be done
            return Outcome.OTHER.value, str(error)
        self.on_verdict(case, outcome, words)
        return outcome.value, words

    @property
    def panel(self) -> HoldPanel | None:
        """Return what shows the waits that go on beside the cases; None: there are none."""
        return None if self._runner is None else self._runner.panel

    def close_if_done(self) -> None:
        """Close a run that goes on, has nothing left to do, and was cut off before its end."""
        known = self.going_on
        if known is None or known.is_closed or self._chosen or self._retest is not None:
            return
        if not any(self._is_to_do(c) for s in self.plan.steps for c in self.cases(s.id)):
            self.open()
            self.finish("all selected cases were run")

    def finish(self, reason: str) -> None:
        """Close the run and write its reports; a second call does nothing.

        A run that owes something is not closed: `owed` says what.
        """
        if self._runner is None or self.folder is None or self._finished:
            return
        self._finished = (
            True  # whatever comes: pytest asks twice, and a second error hides the first
        )
        try:
            if self.guide is not None:
                self.guide.close()
            self._pay_what_is_left(self._runner)
            self._runner.close()
            self.owed = self._runner.ledger.owed
            if not self.owed and not self.folder.journal.broken:
                code = build_report(read(self.folder.path)).exit_code()
                why = self.ended_by or reason
                self.folder.journal.append("run.end", exit_code=code, reason=why)
            events, _ = read_torn(self.folder.path)
            write_reports(self.folder.path, events)
            self.report = build_report(events)
        except HarnessError as error:
            self.fatal = self.fatal or error
            raise
        finally:
            self.folder.close()

    def _pay_what_is_left(self, runner: Runner) -> None:
        """Undo what a case that was cut off has left; what can't be stays owed, and is told."""
        if not runner.ledger.owed or runner.folder.journal.broken:
            return
        try:
            runner.restore()
        except HarnessError as error:
            self.fatal = self.fatal or error

    @property
    def owed_lines(self) -> list[str]:
        """Return what keeps the run from being closed, in lines; none when it is closed."""
        if not self.owed or self.folder is None:
            return []
        head = f"the run is not closed: {len(self.owed)} deeds are not seen to be undone"
        lines = (debt.words for debt in self.owed)
        return [head, *lines, f"pay them with: fst restore {self.folder.path}"]

    def open(self) -> Runner:
        """Return the runner, with its folder made and its journal begun, or gone on with.

        Raises:
            InputError: another process has the run, or its journal does not hold.
            ToolError: the folder or the journal cannot be made; what it owed was not restored.
        """
        if self._runner is not None:
            return self._runner
        clock = SystemClock()
        if self.guide is not None:
            self.guide.refuse_unanswerable(self.to_run, others=self.guidance.no_terminal)
        if self.going_on is not None:
            self.folder = self.going_on.reopen(clock, self._resumed_fields())
            runner = self._restored(self.going_on, self.folder, clock, running=True)
        else:
            self._refuse_taken_places()
            texts = profile_texts(self.file)
            self.folder = RunFolder.begin(self._out, clock, self.site_file.read_bytes(), texts)
            runner = self._made(self.folder, clock, Ledger(self.folder.journal.append))
            self._runner = runner
            self.folder.journal.append("run.start", **self._start_fields(self.folder))
        if self.guide is not None:
            self.guide.open(self.folder.path, self.folder.journal.append)
        self.on_begun(self.folder.path)
        runner.begin({case.step.id for case in self.to_run}, anew=bool(self._retest))
        return runner

    def settle(self, deed: str, **fields: str) -> tuple[tuple[Debt, ...], str]:
        """Pay what the run owes without running a case; return what is left, and why.

        An "aborted" run is journalled so; a run that owes nothing is closed.

        Raises:
            InputError: another process has the run.
            ToolError: its journal or reports can't be written.
        """
        if self.going_on is None:
            raise InputError("needs a run", fix="name the folder of one")
        clock, trouble = SystemClock(), ""
        self.folder = self.going_on.reopen(clock)
        try:
            self._restored(self.going_on, self.folder, clock, running=False)
        except HarnessError as error:
            trouble = str(error)
        left = open_debts(read(self.folder.path))
        if deed == "aborted":
            words = [debt.words for debt in left]
            self.folder.journal.append(ABORTED, safe=not left, left=words, **fields)
        self.finish(deed)
        return left, trouble if left else ""

    def _restored(
        self, known: GoingOn, folder: RunFolder, clock: Clock, *, running: bool
    ) -> Runner:
        """Return the runner of a run that goes on and owes nothing.

        Raises:
            ToolError: the lab can't have its addresses, or something was not seen to be undone.
        """
        ledger = Ledger(folder.journal.append, folder.journal.events)
        for debt in ledger.owed:  # a run that goes on may find its hosts, with their holds
            is_here = debt.machine in ("", socket.gethostname())
            is_lab = debt.kind is DebtKind.PROCESS_STARTED and is_here and not running
            if is_lab and (said := asyncio.run(end_hosts(Path(debt.what)))):
                ledger.pay(debt, said)
        earlier = Earlier(numbers(known.boxes), self._retest or {})
        self._runner = self._made(folder, clock, ledger, earlier)
        if running or any(debt.kind in OF_A_BENCH for debt in ledger.owed):
            self._refuse_taken_places()
        left = [d for d in self._runner.restore() if d.kind is not DebtKind.PROCESS_STARTED]
        if left:
            lines = ["what was done before is not seen to be undone; no case is run:"]
            raise ToolError("\n".join([*lines, *(debt.words for debt in left)]))
        return self._runner

    def _resumed_fields(self) -> dict[str, Any]:
        """Return what a run that goes on writes about it."""
        return {
            "reason": "" if not self._retest else next(iter(self._retest.values())),
            "tester": "" if self.going_on is None else self.going_on.began.tester,
            "site_sha256": self._site_sha256,
            "plan_sha256": self.plan.sha256,
            "tool_version": version("fst-harness"),
            "retest": sorted(f"{step}@{target}" for step, target in self._retest or ()),
        }

    def _made(
        self, folder: RunFolder, clock: Clock, ledger: Ledger, earlier: Earlier | None = None
    ) -> Runner:
        parts = {
            f"{site.name}/{sbc.name}": found
            for site in self.file.sites
            for sbc in site.sbcs
            if (found := self._lab_parts(self.file, site, sbc)) is not None
        }
        known = self.going_on
        return Runner(
            self.file,
            self._dial_plan,
            folder,
            clock,
            plan=self.plan,
            site_folder=self.site_file.parent if known is None else known.site_folder,
            ledger=ledger,
            parts=parts,
            earlier=earlier,
            guide=self.guide,
        )

    def _refuse_taken_places(self) -> None:
        """Say at once which addresses the lab can't have, before anything is written."""
        taken = refused_places(self.file)
        if taken:
            lines = (f"{c.name} for {c.needed_for}: {c.found}; {c.mend}" for c in taken)
            raise ToolError("\n".join(lines))

    def _start_fields(self, folder: RunFolder) -> dict[str, Any]:
        """Return everything about the run that its reports need, so that the journal is enough."""
        carried_out = frozenset(s.id for s in self.plan.steps if self._is_carried_out(s.id))
        beside = os.path.relpath(self.site_file.resolve().parent, folder.path.resolve())
        site = site_fields(self.file, self.site_file.name, self._site_sha256, beside)
        site["settings"] = list(self._settings)
        return {
            "schema": SCHEMA,
            "anchored": True,  # journal.head is there: see `check_anchor`
            "run": folder.run,
            "mode": self._mode,
            "watermark": WATERMARKS[self._mode],
            "guided": self.guide is not None,
            "tool_version": version("fst-harness"),
            **plan_fields(self.plan),
            "site": site,
            "people": self.file.people.model_dump(),
            "selected": None if self.selected is None else list(self.selected),
            "forms": form_fields(self.matrix, self.plan, carried_out),
        }
