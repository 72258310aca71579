"""One run over the cases that were selected: opened at the first case, closed with its reports."""

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fst.enum_work import LabParts
from fst.exercises import Exercise
from fst.lab.places import refused_places
from fst.matrix import Case, Form, HostEntry, Matrix, SiteHosts, build
from fst.plan import Mode, Plan, Step, default_plan
from fst.report.model import Report
from fst.report.model import build as build_report
from fst.report.write import write_reports
from fst.run_folder import RunFolder
from fst.runner import Runner
from fst.settings import parse_settings
from fst.site import SbcTable, Site, SiteFile, parse_site
from harness.clock import SystemClock
from harness.errors import HarnessError, InputError, ToolError
from harness.finding import Outcome
from harness.journal_file import read

if TYPE_CHECKING:
    import pytest

WATERMARKS = {"lab": "LAB", "site": ""}
PartsOf = Callable[[SiteFile, Site, SbcTable], LabParts | None]
OnVerdict = Callable[[Case, Outcome, str], None]


def read_site_file(path: Path, settings: Sequence[str] = ()) -> tuple[SiteFile, Any, str]:
    """Return the site file at *path*, its dial plan, and the hash of its text.

    Raises:
        InputError: it cannot be read, or has bad fields (one line each).
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", file=str(path), fix="name a site file"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", file=str(path), fix="name a site file") from error
    file, dial_plan = parse_site(text, file=str(path), settings=parse_settings(settings))
    return file, dial_plan, hashlib.sha256(content).hexdigest()


def matrix_of(file: SiteFile, plan: Plan) -> Matrix:
    """Return the forms and boxes that *plan* gives for the sites of *file*."""
    sites = tuple(
        SiteHosts(
            site.name,
            site.title,
            site.standby,
            tuple(HostEntry(host.name, host.role) for host in site.hosts),
        )
        for site in file.sites
    )
    return build(plan, sites)


class Session:
    """What a pytest session, or `fst run`, works on."""

    def __init__(
        self,
        site_file: Path,
        *,
        out: Path,
        settings: Sequence[str] = (),
        chosen: Sequence[str] = (),
        lab_parts: PartsOf = lambda _file, _site, _sbc: None,
    ) -> None:
        """Read the site file and lay it over the plan; nothing is written or opened yet.

        Raises:
            InputError: a bad site file, setting or case id.
        """
        self.plan, self._out, self._settings = default_plan(), out, tuple(settings)
        self.site_file = site_file
        self.file, self._dial_plan, self._site_sha256 = read_site_file(site_file, settings)
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
        self.selected: tuple[str, ...] | None = None  # step ids; None: all that there are
        self.narrowed = False  # some case was left out by an option
        self.on_verdict: OnVerdict = lambda _case, _outcome, _words: None
        self.folder: RunFolder | None = None
        self.report: Report | None = None
        self.fatal: HarnessError | None = None  # why the run could not begin
        self._runner: Runner | None = None
        self._finished = False
        ids = [step.id for step in self.plan.steps]
        for name in self._chosen:
            if not any(_within(one, name) for one in ids):
                raise InputError(
                    "no such case in the plan",
                    field="--case",
                    value=name,
                    fix=f"use one of {', '.join(ids)}, or a part such as B.3",
                )

    def cases(self, step_id: str) -> list[Case]:
        """Return the case of *step_id* on each target of the site, in print order.

        There is none where the lab can't carry out that part of the plan: its boxes wait.
        """
        if not self._is_carried_out(step_id):
            return []
        return [case for case in self.matrix.cases if case.step.id == step_id]

    def _is_carried_out(self, step_id: str) -> bool:
        return self.file.lab is None or step_id[0] in self.file.lab.parts

    def wants(self, item: "pytest.Item") -> bool:
        """Say whether a collected test is to run; a test that is no case always is."""
        marker = item.get_closest_marker("fst_case")
        if marker is None or "fst_case" not in getattr(item, "fixturenames", ()):
            return True
        return not self._chosen or any(_within(marker.args[0], name) for name in self._chosen)

    def run_case(self, case: Case, exercise: Exercise | None) -> tuple[str, str]:
        """Carry out and judge one case; return its outcome and words."""
        try:
            outcome, words = self.open().run_case(case, exercise)
        except HarnessError as error:
            self.on_verdict(case, Outcome.OTHER, str(error))
            return Outcome.OTHER.value, str(error)
        self.on_verdict(case, outcome, words)
        return outcome.value, words

    def finish(self, reason: str) -> None:
        """Close the run and write its reports; a second call does nothing."""
        if self._runner is None or self.folder is None or self._finished:
            return
        self._finished = (
            True  # whatever comes: pytest asks twice, and a second error hides the first
        )
        try:
            code = build_report(read(self.folder.path)).exit_code()
            self.folder.journal.append("run.end", exit_code=code, reason=reason)
        finally:
            self._runner.close()
        events = read(self.folder.path)
        write_reports(self.folder.path, events)
        self.report = build_report(events)

    def open(self) -> Runner:
        """Return the runner, with its folder made and its journal begun.

        Raises:
            ToolError: the folder or the journal cannot be made.
        """
        if self._runner is None:
            self._refuse_taken_places()
            clock = SystemClock()
            self.folder = RunFolder(self._out, clock)
            parts = {
                f"{site.name}/{sbc.name}": found
                for site in self.file.sites
                for sbc in site.sbcs
                if (found := self._lab_parts(self.file, site, sbc)) is not None
            }
            self._runner = Runner(
                self.file,
                self._dial_plan,
                self.folder,
                clock,
                plan=self.plan,
                site_folder=self.site_file.parent,
                parts=parts,
            )
            self.folder.journal.append("run.start", **self._start_fields())
        return self._runner

    def _refuse_taken_places(self) -> None:
        """Say at once which addresses the lab can't have, before anything is written."""
        taken = refused_places(self.file)
        if taken:
            lines = (f"{c.name} for {c.needed_for}: {c.found}; {c.mend}" for c in taken)
            raise ToolError("\n".join(lines))

    def _start_fields(self) -> dict[str, Any]:
        """Return everything about the run that its reports need, so that the journal is enough."""
        plan, people = self.plan, self.file.people
        return {
            "schema": 1,
            "run": "" if self.folder is None else self.folder.run,
            "title": plan.about.title,
            "mode": self.file.mode,
            "watermark": WATERMARKS[self.file.mode],
            "tool_version": version("fst-harness"),
            "plan": {
                "id": plan.about.id,
                "version": plan.about.version,
                "title": plan.about.title,
                "sha256": plan.sha256,
            },
            "site": {
                "name": self.file.name,
                "file": self.site_file.name,
                "sha256": self._site_sha256,
                "settings": list(self._settings),
            },
            "people": people.model_dump(),
            "selected": None if self.selected is None else list(self.selected),
            "forms": [self._form(form) for form in self.matrix.forms],
        }

    def _form(self, form: Form) -> dict[str, Any]:
        return {
            "id": form.id,
            "part": form.part,
            "title": form.title,
            "site": form.site,
            "host": form.host,
            "rows": [
                {
                    "box": row.box,
                    "step": row.step.id,
                    "section": self.plan.section_of(row.step).title,
                    "text": row.step.text,
                    "expected": row.step.expected,
                    "mode": self._mode(row.step),
                    "target": row.target,
                    "not_applicable": row.not_applicable,
                    "notes": list(row.notes),
                }
                for row in form.rows
            ],
        }

    def _mode(self, step: Step) -> str:
        """Return who judges a box: the machine, or a person where the lab has not the part."""
        return (step.mode if self._is_carried_out(step.id) else Mode.ASSISTED).value


def _within(step_id: str, name: str) -> bool:
    return step_id == name or step_id.startswith(f"{name}.")
