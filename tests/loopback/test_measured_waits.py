"""A run waits for the longer of what the site file says and what its own captures show."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fst.evidence import Evidence
from harness.finding import Outcome
from harness.regex_worker import PosixRegex
from tests.warped_lab import evidence, site_of

STEPS = ("B.3.3", "B.3.5", "B.3.7")
NOTE = "in this run, site file says"


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Return the regular expressions' worker."""
    with PosixRegex() as made:
        yield made


def notes(found: Evidence) -> list[str]:
    """Return what was said of waits."""
    return [str(step["text"]) for step in found.steps if NOTE in str(step["text"])]


def test_a_longer_hold_down_that_was_measured_is_waited_for(
    tmp_path: Path, engine: PosixRegex
) -> None:
    """Declared 30 s, really 40 s: B.3.5 sees that, and B.3.7 waits for it, and says so."""
    site = site_of("fixed-hold-down", "hold_down_ms = 30000", lab="hold_down_ms = 40000")
    found = evidence(site, STEPS, tmp_path, engine)
    turns = [one for one in found["B.3.7"].findings if one.rule == "rotation.next-in-turn"]

    assert notes(found["B.3.5"]) == []
    assert notes(found["B.3.7"]) == ["hold-down: measured 40.0 s in this run, site file says 30 s"]
    assert [one.outcome for one in turns] == [Outcome.PASS]


def test_nothing_is_said_where_the_site_file_is_right(tmp_path: Path, engine: PosixRegex) -> None:
    """An SBC as declared: no note, and the waits are those of the site file."""
    found = evidence(site_of("fixed-hold-down"), STEPS, tmp_path, engine)

    assert [notes(one) for one in found.values()] == [[], [], []]


def test_a_longer_time_out_is_told_of(tmp_path: Path, engine: PosixRegex) -> None:
    """Declared 2 s, really 4 s: the outage before shows it."""
    site = site_of("fixed-hold-down", "timeout_ms = 2000", lab="timeout_ms = 4000")
    found = evidence(site, STEPS, tmp_path, engine)

    assert notes(found["B.3.5"])[0].startswith("time-out: measured 4.0 s")
