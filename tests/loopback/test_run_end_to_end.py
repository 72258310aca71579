"""The shipped cases, run as a user runs them: a good lab passes, each known defect fails its cases.

A mutant is the lab with one defect that the site file does not declare. The verdicts of the whole
run must be exactly those that follow from it: a judge that also fails other cases is as wrong as
one that sees nothing.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.loopback.runs import AGAIN, LIMIT_S, Boxes, CasesRun, run_cases, steady

AT_ONCE = 3  # runs wait for hold-downs most of the time, but the judging of five takes two cores
TERMINATE_IS_ALLOWED = (
    'lab.faults=[{"server": "*", "kind": "instead", '
    '"settings": {"action": "terminate", "instead": "allow"}}]'
)
OPTIONS = {  # by name of the run: its network (127.0.NET.x), and what is set in it
    "good": (65, ()),
    "hunt": (66, ("--fst-set", "lab.sbc.selection=hunt")),
    "hold-down": (67, ("--fst-set", "lab.sbc.hold_down_ms=2400")),  # 3000 are declared
    "drift": (68, ("--fst-set", "lab.sbc.drift_every=7")),
    "instead": (69, ("--fst-set", TERMINATE_IS_ALLOWED)),
}
UNUSED = ("enum2", "enum3")  # by an SBC that always asks the first server
NONE: Boxes = frozenset()
EXPECTED = {  # by name of the run: the boxes that fail, and those that cannot be judged
    "good": (NONE, NONE),
    "hunt": (
        frozenset((step, host) for step in ("B.1.1", "B.1.2") for host in UNUSED)
        | {("B.3.2", ""), ("B.3.5", ""), ("B.3.7", "")},
        frozenset((f"B.2.{at}", "") for at in (1, 2, 3, 4)) | {("B.3.1", host) for host in UNUSED},
    ),
    "hold-down": (frozenset({("B.3.5", "")}), NONE),
    "drift": (frozenset({("B.3.2", ""), ("B.3.7", "")}), NONE),
    # Without a terminate that acts nothing shows that the allow rule above it does.
    "instead": (frozenset({("B.2.2", "")}), frozenset({("B.2.1", "")})),
}
Runs = dict[str, Future[CasesRun]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return all runs, started; each test waits for its own."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(
                steady, tmp_path_factory.mktemp(name), partial(once, net, options), *EXPECTED[name]
            )
            for name, (net, options) in OPTIONS.items()
        }
        pool.shutdown(cancel_futures=True)


def once(net: int, options: tuple[str, ...], folder: Path) -> CasesRun:
    """Return one run, all of it in *folder*."""
    return run_cases(folder, net, *options)


def result(runs: Runs, name: str) -> CasesRun:
    """Return the finished run *name*."""
    return runs[name].result(2 * (1 + AGAIN) * LIMIT_S)


def test_good_lab_passes_every_case(runs: Runs) -> None:
    """From an empty folder all 22 cases pass, and pytest's exit code is 0."""
    run = result(runs, "good")

    assert run.having("PASS") == set(run.verdicts)
    assert len(run.verdicts) == 22, run.output
    assert run.code == 0
    assert "22 passed" in run.output


def test_evidence_is_complete(runs: Runs) -> None:
    """The folder holds journal, captures and the three reports, and pytest says where."""
    run = result(runs, "good")
    end = run.events[-1]

    assert {path.name for path in run.folder.iterdir()} == {
        *("journal.jsonl", "journal.head", "run.lock", "site.toml", "captures"),
        *("results.json", "junit.xml", "report.html"),
    }
    assert (end.type, end.fields["exit_code"]) == ("run.end", 0)
    assert run.results["exit_code"] == 0
    assert 'failures="0"' in (run.folder / "junit.xml").read_text()
    assert "evidence/" in run.output
    assert run.folder.name in run.output


def test_every_capture_is_in_the_journal(runs: Runs) -> None:
    """Each file is named once with the hash that it has, and none lies there unnamed."""
    run = result(runs, "good")
    named = {
        (event.fields["path"], event.fields["sha256"])
        for event in run.events
        if event.type == "attachment"
    }
    there = {
        (f"captures/{path.name}", hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (run.folder / "captures").iterdir()
    }

    assert named == there
    assert len(there) == 11  # exercises: cases that need the same calls share one


@pytest.mark.parametrize("name", ["hold-down", "drift", "instead"])
def test_mutant_fails_exactly_its_cases(runs: Runs, name: str) -> None:
    """One defect fails the cases that are about it; all others still pass, or say why not."""
    run, (failed, unproved) = result(runs, name), EXPECTED[name]

    assert run.having("FAIL") == failed
    assert run.having("OTHER") == unproved
    assert run.having("PASS") == set(run.verdicts) - failed - unproved
    assert len(run.verdicts) == 22
    assert (run.code, run.results["exit_code"]) == (1, 1)


def test_sbc_that_hunts_fails_what_needs_turns(runs: Runs) -> None:
    """Servers that are never asked fail where requests are due, and are OTHER where unproved."""
    run, (failed, unproved) = result(runs, "hunt"), EXPECTED["hunt"]

    assert run.having("FAIL") == failed
    assert run.having("OTHER") == unproved
    assert run.having("PASS") == set(run.verdicts) - failed - unproved
    assert (run.code, run.results["exit_code"]) == (1, 1)
    assert all(run.words("OTHER"))  # OTHER is never declared without words


def test_declared_hunting_is_a_different_sbc_and_still_no_round_robin(tmp_path: Path) -> None:
    """Declaring the hunt in the site file does not make B.3.2, which is about turns, pass."""
    run = run_cases(tmp_path, 76, "--fst-set", "sbc.selection=hunt", "--fst-case", "B.3.2")

    assert run.verdicts == {("B.3.2", ""): "FAIL"}
    assert run.code == 1
