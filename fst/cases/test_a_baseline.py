"""Part A of the plan: processes, logs, warm standby; all hosts are watched together, once."""

import pytest

from fst.pytest_plugin import CaseRun

pytestmark = pytest.mark.baseline


@pytest.mark.fst_case("A.1.1")
def test_processes_run(fst_case: CaseRun) -> None:
    """The processes of the host's role run, its service says so, its connections are up."""
    fst_case.run()


@pytest.mark.fst_case("A.1.2")
def test_processes_stay(fst_case: CaseRun) -> None:
    """The same processes run for the whole wait: none is gone, none was started anew."""
    fst_case.run()


@pytest.mark.fst_case("A.1.3")
def test_log_stays_clean(fst_case: CaseRun) -> None:
    """The log says nothing critical for the whole wait."""
    fst_case.run()


@pytest.mark.fst_case("A.2.1")
def test_standby_is_set_up(fst_case: CaseRun) -> None:
    """The settings of the warm standby are as the guide orders."""
    fst_case.run()


@pytest.mark.fst_case("A.2.2")
def test_standby_is_kept_up(fst_case: CaseRun) -> None:
    """Copies arrive on the standby while it is watched."""
    fst_case.run()
