"""Operations: every step is on the disk before it runs, and a killed one leaves its journal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError, ToolError
from hasync.failure import Stop
from hasync.operation import FAILPOINT, Operation, close_unfinished, failpoint, unfinished
from hasync.steps import EDGES, PROCEDURES, failpoints

CLOCK = ManualClock()


def test_finished_operation_is_filed(tmp_path: Path) -> None:
    """A journal moves to done/ at the end; nothing is unfinished."""
    with Operation("keep", tmp_path, CLOCK) as operation, operation.step("prune"):
        assert [event.type for event in unfinished(tmp_path, "keep")] == ["begun", "step"]

    assert unfinished(tmp_path, "keep") == ()
    assert len(list((tmp_path / "done").iterdir())) == 1


def test_failed_operation_is_filed_with_its_reason(tmp_path: Path) -> None:
    """An error ends the operation in order; the journal says why."""
    with pytest.raises(InputError), Operation("keep", tmp_path, CLOCK):
        raise InputError("no good")

    (filed,) = (tmp_path / "done").iterdir()
    assert '"why":"no good"' in filed.read_text(encoding="utf-8").replace(": ", ":")


def test_second_operation_is_refused_while_one_is_unfinished(tmp_path: Path) -> None:
    """What a killed run left must be looked at first."""
    with Operation("keep", tmp_path, CLOCK):
        left = (tmp_path / "keep.jsonl").read_bytes()
    (tmp_path / "keep.jsonl").write_bytes(left)  # as a killed one leaves it

    with pytest.raises(ToolError):
        Operation("keep", tmp_path, CLOCK)

    close_unfinished(tmp_path, "keep", CLOCK)
    with Operation("keep", tmp_path, CLOCK):
        pass


def test_step_that_is_not_in_the_procedure_is_a_bug(tmp_path: Path) -> None:
    """The list of steps is the only one."""
    with (
        pytest.raises(AssertionError),
        Operation("keep", tmp_path, CLOCK) as one,
        one.step("swap"),
    ):
        pass


def test_every_step_has_two_failpoints() -> None:
    """Before and after; no name twice."""
    steps = sum(len(steps) for steps in PROCEDURES.values())

    assert len(set(failpoints())) == steps * len(EDGES)


def test_failpoint_kills_between_journal_and_step(tmp_path: Path) -> None:
    """The journal of a killed operation names the step that had begun."""
    ours = (
        "from pathlib import Path\n"
        "from harness.clock import SystemClock\n"
        "from hasync.operation import Operation\n"
        f"with Operation('keep', Path({str(tmp_path)!r}), SystemClock()) as one:\n"
        "    with one.step('prune'):\n"
        "        raise SystemExit('ran')\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", ours],
        env=os.environ | {FAILPOINT: "keep.prune.before:kill"},
        capture_output=True,
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    last = unfinished(tmp_path, "keep")[-1]
    assert (last.type, last.fields["name"]) == ("step", "prune")


@pytest.mark.parametrize("order", ["nowhere:kill", "keep.prune.before:explode"])
def test_order_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """A misspelt failpoint would be a test that cannot fail."""
    monkeypatch.setenv(FAILPOINT, order)

    with pytest.raises(InputError):
        failpoint("keep.prune.before")


def test_failpoint_raises_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`raise` is a Stop, `enospc` an OSError; elsewhere nothing happens."""
    monkeypatch.setenv(FAILPOINT, "keep.prune.after:raise")
    failpoint("keep.prune.before")
    with pytest.raises(Stop):
        failpoint("keep.prune.after")

    monkeypatch.setenv(FAILPOINT, "keep.prune.after:enospc")
    with pytest.raises(OSError, match="No space left"):
        failpoint("keep.prune.after")
