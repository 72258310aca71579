"""The edge between `fst run` and pytest: runs the shipped cases and tells how they go.

pytest is the engine (selection, fixtures, clean-up), not the reporter: its own terminal output and
every other plugin on the machine are left out, so that a run is the same everywhere.
"""

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import FrameType

import pytest
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fst import pytest_plugin
from fst.boxes import REHEARSAL
from fst.matrix import Case
from fst.pytest_plugin import KEY, OUTCOME
from fst.report.fields import legible
from fst.report.model import BoxState, Form, Report
from fst.session import Session
from harness.errors import InputError
from harness.finding import Outcome

OnSignal = Callable[[int, FrameType | None], object]
PARTS = ("enum", "baseline", "probe")  # markers of the cases
CRASH = "harness-error.txt"
ENDED_BY = {
    signal.SIGTERM: "interrupted: asked to end (SIGTERM)",
    signal.SIGHUP: "interrupted: the terminal went away (SIGHUP)",
}
STYLES = {"PASS": "green", "FAIL": "bold red", "OTHER": "yellow"}


class _Shown(Progress):
    """The bar of the cases, below the panel of the waits that go on beside them."""

    def __init__(self, session: Session, *columns: ProgressColumn, console: Console) -> None:
        self._session = session
        off = not console.is_terminal
        super().__init__(*columns, console=console, disable=off, transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, from the top."""
        if self._session.panel is not None:
            yield self._session.panel
        yield from super().get_renderables()


class _Talk:
    """Progress on *console*: a bar on a terminal, a line a verdict otherwise."""

    def __init__(self, console: Console, session: Session) -> None:
        self._console, self._session = console, session
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = _Shown(session, *columns, console=console)
        self._task = self._progress.add_task("cases", total=None)
        self._over = False
        self.parked = 0  # cases that are to be asked for again
        self.broken: list[str] = []  # what went wrong in pytest itself or in our code

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Give the plugin the session that was made, and checked, before pytest began."""
        config.stash[KEY] = self._session
        self._session.on_verdict = self._verdict
        self._session.on_parked = self._parked
        self._session.on_begun = self._begun
        guide = self._session.guide
        if guide is not None:
            guide.on_show, guide.on_hide = self._progress.stop, self._again
            guide.status = self._status
            guide.say = self._say

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Set the length of the bar."""
        self._progress.update(self._task, total=len(session.items))
        self._progress.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say what is being done."""
        _, _, case = nodeid.partition("[")
        self._progress.update(self._task, description=case.rstrip("]"))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected."""
        if report.failed:
            self.broken.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Move the bar; keep what is no verdict but a fault of ours."""
        if report.when == "call":
            self._progress.advance(self._task)
        if report.failed and not any(key == OUTCOME for key, _ in report.user_properties):
            self.broken.append(str(report.longrepr))

    def pytest_sessionfinish(self) -> None:
        """Take the bar away."""
        self._over = True
        self._progress.stop()

    def _again(self) -> None:
        """Show the bar again, after a question."""
        if not self._over:
            if not self._progress.disable:  # the old one would draw over what was printed meanwhile
                show = self._progress.get_renderable
                self._progress.live = Live(
                    console=self._console, get_renderable=show, transient=True
                )
            self._progress.start()

    def _status(self) -> list[str]:
        """Return how the waits stand, for a question that takes the panel's place."""
        panel = self._session.panel
        return [] if panel is None else panel.lines()

    def _begun(self, folder: Path) -> None:
        """Say where the run is, before it asks or waits: who looks for it needs the name."""
        self._say(f"fst: run {folder}")
        guide = self._session.guide
        if guide is not None:
            only = "" if guide.terminal else "; nothing is asked at this terminal"
            self._say(f"fst: answer from another terminal with: fst answer {folder}{only}")

    def _parked(self, case: Case, words: str) -> None:
        self.parked += 1
        self._say(f"-----  {case.step.id} {case.target} parked: {words}")

    def _say(self, line: str) -> None:
        self._console.print(legible(line), highlight=False, markup=False, soft_wrap=True)

    def _verdict(self, case: Case, outcome: Outcome, words: str) -> None:
        panel = None if self._console.is_terminal else self._session.panel
        for line in () if panel is None else panel.news():  # a terminal has the panel itself
            self._say(line)
        style = STYLES[outcome.value]
        line = f"[{style}]{outcome.value:5}[/] {case.step.id} {case.target}"
        self._console.print(line, highlight=False, soft_wrap=True)
        if outcome is not Outcome.PASS:
            self._say(f"      {words}")


def run_cases(session: Session, *, mark: str = "", console: Console) -> Report:
    """Run the selected cases; return the report of the run, whose files are written.

    Raises:
        InputError: nothing was selected.
        ToolError: the run's folder, journal or reports could not be written.
    """
    _check_mark(mark)
    talk = _Talk(console, session)
    ini = resources.files("fst") / "data" / "pytest.ini"
    with resources.as_file(ini) as path, _quiet_environment(), _ended_by_signals(session):
        arguments = ["--pyargs", "fst.cases", "-c", str(path), "--rootdir", str(path.parent)]
        arguments += ["-p", "no:terminal", "-p", "no:cacheprovider", "--capture=no"]
        arguments += ["-m", mark] if mark else []
        code = pytest.main(arguments, plugins=[pytest_plugin, talk])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and not mark and not talk.broken:
        session.close_if_done()
    session.finish("ended")
    if session.folder is not None and talk.broken:
        (session.folder.path / CRASH).write_text("\n\n".join(talk.broken), encoding="utf-8")
        where = session.folder.path / CRASH
        console.print(
            f"fst: a fault of the harness itself stopped a case; see {where}", markup=False
        )
    if code == pytest.ExitCode.INTERRUPTED and session.folder is not None:
        back = "" if session.owed else "the servers are back up, "
        console.print(f"fst: interrupted; {back}what was recorded is kept")
        _say_how_to_go_on(session, console)
    elif talk.parked and session.folder is not None:
        console.print(f"fst: parked: {talk.parked} case{'s' * (talk.parked != 1)}", highlight=False)
        _say_how_to_go_on(session, console)
    for line in session.owed_lines:
        console.print(f"fst: {legible(line)}", markup=False, highlight=False, soft_wrap=True)
    if session.fatal is not None:
        raise session.fatal
    if session.report is None:
        if talk.broken:
            raise InputError(talk.broken[0].strip().splitlines()[-1], field="fst run")
        why = "no case is selected" if code == pytest.ExitCode.NO_TESTS_COLLECTED else "stopped"
        if session.going_on is not None and code == pytest.ExitCode.NO_TESTS_COLLECTED:
            fix = "try boxes again with --retest"
            raise InputError("nothing is left to do", field="--resume", fix=fix)
        raise InputError(why, field="-m/--case", fix="see `fst plan --site FILE` for the cases")
    return session.report


def _say_how_to_go_on(session: Session, console: Console) -> None:
    if session.folder is not None:
        options = session.guidance.options
        line = f"fst: go on with: fst run --resume {session.folder.path}{options}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _check_mark(mark: str) -> None:
    """Refuse a selection that pytest would not understand, or that names no part of the plan."""
    words = re.findall(r"\w+|\S", mark)
    unknown = [word for word in words if word not in (*PARTS, "and", "or", "not", "(", ")")]
    try:
        compile(mark or PARTS[0], "-m", "eval")
    except SyntaxError:
        unknown = unknown or words
    if unknown:
        fix = f"use {', '.join(PARTS)}, joined by and, or, not"
        raise InputError("not a selection", field="-m", value=mark, fix=fix)


@contextmanager
def _ended_by_signals(session: Session) -> Iterator[None]:
    """Let SIGTERM and a dropped line (SIGHUP) end a run as Ctrl-C does: cleanly, with reports."""

    def interrupt(number: int, _: FrameType | None) -> None:
        session.ended_by = session.ended_by or ENDED_BY[signal.Signals(number)]
        signal.raise_signal(signal.SIGINT)  # whoever waits for Ctrl-C (asyncio does) gets it

    handlers: dict[signal.Signals, OnSignal] = {
        # A shell starts background jobs without it; asyncio looks for this very one.
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: interrupt,
        signal.SIGHUP: interrupt,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_environment() -> Iterator[None]:
    """Keep the machine's other pytest plugins and options out while a run lasts."""
    before = {
        name: os.environ.get(name) for name in ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_ADDOPTS")
    }
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def print_boxes(report: Report, console: Console) -> None:
    """Print the table of boxes: a row a form, a cell a step."""
    mark = f" ({report.run.watermark})" if report.run.mode == REHEARSAL else ""
    table = Table(title=f"{report.run.site_name}: boxes{mark}", title_justify="left")
    for heading in ("Form", "Title", "Boxes"):
        table.add_column(heading, overflow="fold")
    for form in report.forms:
        table.add_row(form.id, form.title, _cells(form))
    console.print(table)
    shown = [state for state in BoxState if report.totals[state]]
    console.print(", ".join(f"{report.totals[state]} {state.value}" for state in shown))


def _cells(form: Form) -> str:
    """Return the form's boxes in one cell, those alike together: "B.1.1-B.1.4 PASS"."""
    runs: list[tuple[str, list[str]]] = []
    for row in form.rows:
        state = row.state.value
        if runs and runs[-1][0] == state:
            runs[-1][1].append(row.step)
        else:
            runs.append((state, [row.step]))
    parts = []
    for state, steps in runs:
        span = steps[0] if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        style = STYLES.get(state, "dim")
        parts.append(f"{span} [{style}]{state}[/]")
    return ", ".join(parts)
