"""Part C of the plan: bonded span ports, what arrives on them, what the probes make of it."""

import pytest

from fst.pytest_plugin import CaseRun

pytestmark = pytest.mark.probe


@pytest.mark.fst_case("C.1.1")
def test_ports_are_bonded(fst_case: CaseRun) -> None:
    """The probe's span ports form one bond that loses nothing."""
    fst_case.run()


@pytest.mark.fst_case("C.1.2")
def test_traffic_arrives(fst_case: CaseRun) -> None:
    """SIP and RTP of the test calls arrive at the probe, and none of it is lost."""
    fst_case.run()


@pytest.mark.fst_case("C.2.1")
def test_rate_by_probe(fst_case: CaseRun) -> None:
    """Every call that was placed is in the probe's data."""
    fst_case.run()


@pytest.mark.fst_case("C.2.2")
def test_top_sources_of_probes(fst_case: CaseRun) -> None:
    """The probes' sources are the calling numbers, normalised, with direction."""
    fst_case.run()


@pytest.mark.fst_case("C.2.3")
def test_top_destinations_of_probes(fst_case: CaseRun) -> None:
    """The probes' destinations are the called numbers, normalised, with direction."""
    fst_case.run()
