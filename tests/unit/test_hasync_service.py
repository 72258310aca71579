"""The service's probe: a veto, and unknown unless it is certain."""

import pytest

from hasync.role import ServiceState
from hasync.service import probe
from hasync.settings import Service


def said(code: int, **more: object) -> Service:
    return Service(("sh", "-c", f"exit {code}"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (0, ServiceState.ACTIVE),
        (3, ServiceState.INACTIVE),
        (1, ServiceState.UNKNOWN),
        (2, ServiceState.UNKNOWN),
        (4, ServiceState.UNKNOWN),
        (126, ServiceState.UNKNOWN),
        (127, ServiceState.UNKNOWN),
        (255, ServiceState.UNKNOWN),
    ],
)
def test_only_listed_exit_codes_are_certain(code: int, state: ServiceState) -> None:
    """Dead, forbidden and absent are not stopped (H10, F34)."""
    assert probe(said(code)).state is state


def test_hanging_probe_is_unknown() -> None:
    """A probe that does not end in its time has said nothing."""
    fact = probe(Service(("sleep", "20"), limit_s=0.2))

    assert fact.state is ServiceState.UNKNOWN
    assert "did not end" in fact.why


def test_absent_probe_is_unknown_even_if_listed() -> None:
    """A program that is not there says nothing of the service, whatever the settings list."""
    fact = probe(Service(("/nonexistent/service",), inactive=(3, 127)))

    assert fact.state is ServiceState.UNKNOWN


def test_killed_probe_is_unknown() -> None:
    """A probe that a signal ended has said nothing."""
    assert probe(Service(("sh", "-c", "kill -9 $$"))).state is ServiceState.UNKNOWN


def test_code_listed_twice_is_unknown() -> None:
    """Settings that contradict themselves decide nothing."""
    assert probe(said(3, active=(0, 3), inactive=(3,))).state is ServiceState.UNKNOWN
