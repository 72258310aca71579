"""Part B of the plan: ENUM requests, policy answers, routing by server status.

Each test names its step and the exercise whose packets it judges. The judging itself is in
`fst.judgement`; the same verdicts can be computed again from the run's folder.
"""

import pytest

from fst import exercises
from fst.pytest_plugin import CaseRun

pytestmark = pytest.mark.enum


@pytest.mark.fst_case("B.1.1")
def test_requests_arrive(fst_case: CaseRun) -> None:
    """Each ENUM server receives well-formed requests from the SBC while calls are made."""
    fst_case.run(exercises.receipt)


@pytest.mark.fst_case("B.1.2")
def test_rate_by_device(fst_case: CaseRun) -> None:
    """Each ENUM server's requests show as a rate, and the rates add up to the calls."""
    fst_case.run(exercises.receipt)


@pytest.mark.fst_case("B.1.3")
def test_top_sources(fst_case: CaseRun) -> None:
    """The calling numbers in the requests are those of the calls, normalised, with direction."""
    fst_case.run(exercises.receipt)


@pytest.mark.fst_case("B.1.4")
def test_top_destinations(fst_case: CaseRun) -> None:
    """The called numbers in the requests are those of the calls, normalised, with direction."""
    fst_case.run(exercises.receipt)


@pytest.mark.fst_case("B.2.1")
def test_policy_allows(fst_case: CaseRun) -> None:
    """With an allow rule installed the call goes through."""
    fst_case.run(exercises.policy_allow)


@pytest.mark.fst_case("B.2.2")
def test_policy_terminates(fst_case: CaseRun) -> None:
    """With a terminate rule installed the call never reaches the dialled party."""
    fst_case.run(exercises.policy_terminate)


@pytest.mark.fst_case("B.2.3")
def test_policy_redirects(fst_case: CaseRun) -> None:
    """With a redirect rule installed the call reaches the redirect destination."""
    fst_case.run(exercises.policy_redirect)


@pytest.mark.fst_case("B.2.4")
def test_policies_are_uninstalled(fst_case: CaseRun) -> None:
    """The test rules acted, and after their removal no answer speaks of them."""
    fst_case.run(exercises.policy_uninstalled)


@pytest.mark.fst_case("B.2.5")
def test_removed_policies_do_not_act(fst_case: CaseRun) -> None:
    """Calls to the numbers of removed rules go through as dialled."""
    fst_case.run(exercises.policy_uninstalled)


@pytest.mark.fst_case("B.3.1")
def test_capture_on_the_interface(fst_case: CaseRun) -> None:
    """The capture shows the requests to each server, and its answers."""
    fst_case.run(exercises.rotation)


@pytest.mark.fst_case("B.3.2")
def test_round_robin(fst_case: CaseRun) -> None:
    """The SBC asks the servers in strict turn."""
    fst_case.run(exercises.rotation)


@pytest.mark.fst_case("B.3.3")
def test_one_server_down(fst_case: CaseRun) -> None:
    """With one server down the others get all requests, and no call is lost."""
    fst_case.run(exercises.one_down)


@pytest.mark.fst_case("B.3.4")
def test_all_but_the_last_down(fst_case: CaseRun) -> None:
    """With all but the last server down that one gets all requests, and no call is lost."""
    fst_case.run(exercises.all_but_last_down)


@pytest.mark.fst_case("B.3.5")
def test_back_after_the_hold_down(fst_case: CaseRun) -> None:
    """A server that came back is asked again after the hold-down, and not before."""
    fst_case.run(exercises.back_in_service)


@pytest.mark.fst_case("B.3.6")
def test_all_servers_down(fst_case: CaseRun) -> None:
    """With every server down each call goes on to the next hop."""
    fst_case.run(exercises.all_down)


@pytest.mark.fst_case("B.3.7")
def test_rotation_recovers(fst_case: CaseRun) -> None:
    """With all servers back the SBC asks them in turn again."""
    fst_case.run(exercises.recovery)
