"""The pytest edge: options, the case fixture, and one run a session.

Loaded into every pytest on the machine by its entry point, so nothing heavy is imported until a
case of the plan is collected. Evidence is keyed by step and target, never by pytest's node id.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fst.exercises import Exercise
    from fst.guided_run import Guidance
    from fst.matrix import Case
    from fst.session import Session

KEY = pytest.StashKey["Session"]()
EXIT_TOOL = 3
OUTCOME = "fst_outcome"  # user property of a test report
MARKERS = (
    "fst_case(step): the step of the plan that the test carries out",
    "baseline: part A of the plan",
    "enum: part B of the plan, and what tests ENUM",
    "probe: part C of the plan",
)


class CaseRun:
    """One case on one target, as a test sees it."""

    def __init__(self, session: Session, case: Case, node: pytest.Item) -> None:
        """Stand for *case* in *session*."""
        self._session, self._case, self._node = session, case, node

    def run(self, exercise: Exercise | None = None) -> None:
        """Carry the case out (an *exercise* once a run), judge, and fail unless it is a PASS."""
        __tracebackhide__ = True
        outcome, words = self._session.run_case(self._case, exercise)
        if not outcome:
            pytest.skip(f"parked: {words}")
        self._node.user_properties.append((OUTCOME, outcome))
        if self._session.fatal is not None:
            pytest.exit(f"fst: {self._session.fatal}", returncode=EXIT_TOOL)
        if outcome != "PASS":
            pytest.fail(f"{outcome}: {words}", pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    group = parser.getgroup("fst", "functional system test")
    group.addoption("--fst-site", metavar="FILE", help="site file of the run")
    group.addoption("--fst-out", metavar="DIR", default="evidence", help="where runs are kept")
    group.addoption(
        "--fst-set", metavar="KEY=VALUE", action="append", default=[],
        help="lay a value over the site file, such as sbc.selection=hunt",
    )  # fmt: skip
    group.addoption(
        "--fst-case", metavar="ID", action="append", default=[],
        help="carry out only this case (B.3.4) or part (B.3); may be repeated",
    )  # fmt: skip
    group.addoption("--fst-resume", metavar="RUN", help="go on with the run in this folder")
    group.addoption(
        "--fst-retest", metavar="WHICH", action="append", default=[],
        help="of a resumed run, try again: failed, other, suspect, a case (B.3.4), STEP@TARGET",
    )  # fmt: skip
    group.addoption("--fst-reason", metavar="TEXT", default="", help="why boxes are tried again")
    group.addoption("--fst-guided", action="store_true", help="ask people to dial and to judge")
    group.addoption("--fst-rehearse", action="store_true", help="the whole flow, simulated")
    group.addoption("--fst-answers", metavar="FILE", help="what was heard, seen, dialled (TOML)")
    group.addoption(
        "--fst-no-terminal", action="store_true", help="ask on the run's socket only: fst answer"
    )
    parser.addini("fst_site", "site file used when --fst-site is not given", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers: an installed package's own ini file is not read by pytest."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that a lab may implement."""
    from fst import hookspecs  # noqa: PLC0415 - only when pytest asks

    pluginmanager.add_hookspecs(hookspecs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each case one test a target of the site."""
    if "fst_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("fst_case")
    if marker is None:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: no fst_case marker")
    cases = _session(metafunc.config).cases(str(marker.args[0]))
    ids = [f"{case.step.id}@{case.target}" for case in cases]
    metafunc.parametrize("fst_case", cases, ids=ids, indirect=True)


@pytest.fixture
def fst_case(request: pytest.FixtureRequest) -> CaseRun:
    """One case of the plan on one target of the site."""
    return CaseRun(_session(request.config), request.param, request.node)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Show OTHER as what it is: not a pass, and not a fault of the system under test."""
    if report.when == "call" and (OUTCOME, "OTHER") in report.user_properties:
        return "other", "O", "OTHER"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases that `--fst-case` does not name, and tell the run what was selected."""
    session = config.stash.get(KEY, None)
    if session is None:
        return
    items[:] = [item for item in items if not _has_no_target(item)]
    kept = [item for item in items if session.wants(item)]
    gone = [item for item in items if not session.wants(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = kept
    cases = [case for item in items if (case := _case_of(item)) is not None]
    if any(case.step.marker.value == "baseline" for case in cases):
        from fst.schedule import position  # noqa: PLC0415 - loaded by now

        items.sort(key=lambda item: -1 if (case := _case_of(item)) is None else position(case))


def _case_of(item: pytest.Item) -> Case | None:
    """Return the case that *item* carries out; None: it is another test."""
    call = getattr(item, "callspec", None)
    case = None if call is None else call.params.get("fst_case")
    return case if hasattr(case, "step") else None


def _has_no_target(item: pytest.Item) -> bool:
    """Say whether *item* stands for a case that this site has nowhere (pytest would skip it)."""
    marker, call = item.get_closest_marker("fst_case"), getattr(item, "callspec", None)
    return marker is not None and call is not None and not hasattr(call.params["fst_case"], "step")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note that not every case is to run, so that the others count neither way."""
    for item in items:
        run = item.config.stash.get(KEY, None)
        if run is not None and item.get_closest_marker("fst_case") is not None:
            run.narrowed = True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Open the run once it is known what was selected; a run that can't be kept is not begun."""
    run = session.config.stash.get(KEY, None)
    markers = [item.get_closest_marker("fst_case") for item in session.items]
    steps = dict.fromkeys(str(marker.args[0]) for marker in markers if marker is not None)
    if run is None or not steps or session.config.option.collectonly:
        return
    from harness.errors import HarnessError  # noqa: PLC0415 - loaded by now

    run.selected = tuple(steps) if run.narrowed else None
    run.to_run = tuple(case for item in session.items if (case := _case_of(item)) is not None)
    try:
        run.open()
    except HarnessError as error:
        run.fatal = error
        pytest.exit(f"fst: {error}", returncode=EXIT_TOOL)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say where the evidence lies."""
    session = config.stash.get(KEY, None)
    if session is not None and session.folder is not None:
        terminalreporter.write_line(f"fst: report in {session.folder.path / 'report.html'}")
        for line in session.owed_lines:
            terminalreporter.write_line(f"fst: {line}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Close the run, and write its reports."""
    run = session.config.stash.get(KEY, None)
    if run is not None:
        reasons = {2: "interrupted", 3: "harness error"}
        run.finish(reasons.get(int(exitstatus), "all selected cases were run"))
        if run.owed:
            session.exitstatus = EXIT_TOOL


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no socket open, even when the session never ran."""
    run = config.stash.get(KEY, None)
    if run is not None:
        run.finish("pytest ended early")


def _guidance(config: pytest.Config) -> Guidance:
    """Return what the options ask of people."""
    from fst.guided_run import Guidance  # noqa: PLC0415 - heavy, and not for every pytest

    answers = config.getoption("--fst-answers")
    return Guidance(
        guided=config.getoption("--fst-guided"),
        rehearse=config.getoption("--fst-rehearse"),
        answers=None if answers is None else Path(answers),
        no_terminal=config.getoption("--fst-no-terminal"),
    )


def _session(config: pytest.Config) -> Session:
    """Return the session's run, read from the options at the first case collected."""
    known = config.stash.get(KEY, None)
    if known is not None:
        return known
    from fst.session import Session  # noqa: PLC0415 - heavy, and not for every pytest
    from harness.errors import HarnessError  # noqa: PLC0415 - the same

    named, resumed = config.getoption("--fst-site"), config.getoption("--fst-resume")
    if named is None and resumed is None and config.getini("fst_site"):
        named = str(config.rootpath / config.getini("fst_site"))
    if named is None and resumed is None:
        raise pytest.UsageError("the cases of the plan need --fst-site FILE")
    try:
        made = Session(
            None if named is None else Path(named),
            out=Path(config.getoption("--fst-out")),
            settings=config.getoption("--fst-set"),
            chosen=config.getoption("--fst-case"),
            resume=None if resumed is None else Path(resumed),
            retest=config.getoption("--fst-retest"),
            reason=config.getoption("--fst-reason"),
            guidance=_guidance(config),
            lab_parts=lambda file, site, sbc: config.hook.pytest_fst_lab_parts(
                file=file, site=site, sbc=sbc
            ),
        )
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[KEY] = made
    return made
