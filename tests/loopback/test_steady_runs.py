"""When a run of the cases is made again, and when never: on runs that are written by hand."""

import json
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.journal_file import JournalFile
from tests.loopback.runs import CasesRun, steady

LATE = ("outage.timeout", "1 of 2 differ; the first after 0.734 s and 0 retransmissions")
EARLY = ("outage.timeout", "1 of 2 differ; the first after 0.334 s and 0 retransmissions")
CACHE = ("calls.asked", "1 of 36 calls made none")
Box = tuple[str, str, tuple[tuple[str, str], ...]]  # step, its state, rules that are OTHER
GOOD: Box = ("B.3.4", "PASS", ())
STALLED: Box = ("B.3.4", "OTHER", (LATE,))


def made(folder: Path, *boxes: Box) -> CasesRun:
    """Return a run that left these boxes behind."""
    journal = JournalFile(folder / "journal.jsonl", ManualClock())
    for step, _, rules in boxes:
        for rule, observed in rules:
            fields = {"step": step, "target": "site1", "rule": rule, "observed": observed}
            journal.append("finding", **fields, outcome="OTHER")
    journal.close()
    told = [
        {"step": step, "target": "site1", "state": state, "attempt": 1} for step, state, _ in boxes
    ]
    (folder / "results.json").write_text(json.dumps({"forms": [{"boxes": told}]}))
    return CasesRun(0, "", folder)


def runs_made(folder: Path, *boxes: tuple[Box, ...]) -> int:
    """Return how many runs are made where each leaves the next of *boxes* behind."""
    left = list(boxes)
    last = steady(folder, lambda own: made(own, *left.pop(0)), frozenset({("B.3.2", "")}))
    assert last.folder == max(folder.iterdir())
    return len(boxes) - len(left)


def test_run_that_a_stall_spoiled_is_made_again(tmp_path: Path) -> None:
    """The first run without a late timer is taken."""
    broken: Box = ("B.3.2", "FAIL", ())

    assert runs_made(tmp_path, (STALLED, broken), (GOOD, broken), (GOOD, broken)) == 2


def test_third_run_is_taken_as_it_is(tmp_path: Path) -> None:
    """A timer that is late in every run is no stall."""
    run = (STALLED, ("B.3.2", "FAIL", ()))

    assert runs_made(tmp_path, run, run, run, run) == 3


@pytest.mark.parametrize(
    "boxes",
    [
        (GOOD, ("B.3.2", "FAIL", ())),
        (STALLED, ("B.3.2", "FAIL", ()), ("B.3.5", "FAIL", ())),
        (STALLED, ("B.3.2", "PASS", ())),
        (STALLED, ("B.3.2", "FAIL", ()), ("B.3.5", "OTHER", (CACHE,))),
        (("B.3.4", "OTHER", (LATE, CACHE)), ("B.3.2", "FAIL", ())),
        (("B.3.4", "OTHER", (EARLY,)), ("B.3.2", "FAIL", ())),
        (("B.3.4", "OTHER", ()), ("B.3.2", "FAIL", ())),
    ],
    ids=["good", "fail", "wrong pass", "other rule", "and other rule", "early", "no reason"],
)
def test_any_other_run_is_taken_as_it_is(tmp_path: Path, boxes: tuple[Box, ...]) -> None:
    """Beside a FAIL that is not due, a PASS that is not, or another OTHER, nothing is excused."""
    assert runs_made(tmp_path, boxes, (GOOD, ("B.3.2", "FAIL", ()))) == 1
