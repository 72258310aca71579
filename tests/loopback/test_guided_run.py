"""`fst run` with people: at a terminal, on the socket, by an answers file, and without anybody."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fst.plan import default_plan
from harness.journal_file import read
from tests.loopback.runs import LIMIT_S, ROOT, write_site
from tests.prompts_seen import OnTerminal

FST = [sys.executable, "-c", "import sys; from fst.cli import main; sys.exit(main())"]


def run_arguments(folder: Path, net: int, *options: str) -> list[str]:
    site = write_site(folder, net)
    out = ["--out", str(folder / "evidence")]
    return [*FST, "run", "--site", str(site), *out, "--case", "B.2.2", *options]


def without_terminal(argv: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setsid", "--wait", *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def events(folder: Path) -> list[Mapping[str, Any]]:
    """Return the events of the only run in *folder*, each with its type."""
    (run,) = (folder / "evidence").iterdir()
    return [{"type": event.type, **event.fields} for event in read(run)]


def answers(folder: Path, **fields: str) -> Path:
    """Return an answers file in *folder* that says what is heard when B.2.2 works."""
    plan = default_plan()
    head = {"plan": plan.about.id, "plan_sha256": plan.sha256, "site": "Loopback lab", "who": "Pat"}
    case = {"step": "B.2.2", "target": "site1", "heard": "ended"}
    lines = ["[answers]"]
    lines += [f"{name} = {json.dumps(fields.get(name, head[name]))}" for name in head]
    lines += ["[[case]]"]
    lines += [f"{name} = {json.dumps(fields.get(name, case[name]))}" for name in case]
    path = folder / "answers.toml"
    path.write_text("\n".join(lines))
    return path


def test_rehearsal_at_a_terminal(tmp_path: Path) -> None:
    """The calls are shown as they are seen, then the person is asked what was heard."""
    with OnTerminal(run_arguments(tmp_path, 91, "--rehearse")) as terminal:
        dialled = terminal.wait_for("SENSE: B.2.2, site site1")
        asked = terminal.wait_for("then Enter")
        terminal.type("p\n")
        ended = terminal.wait_for("Report: ")
        code = terminal.program.wait(LIMIT_S)
    told = events(tmp_path)
    heard = [one for one in told if one["type"] == "prompt.answered"][-1]

    assert code == 0, ended
    assert "DIAL: B.2.2, site site1, attempt 1" in dialled
    assert "6 of 6 calls seen, no more needed" in "".join(dialled.split("\r\n  "))
    assert "Had each call ended" in asked
    assert (heard["key"], heard["where"][:13]) == ("p", "terminal pts/")
    assert told[0]["mode"] == "rehearsal"


def test_person_on_another_terminal_may_answer(tmp_path: Path) -> None:
    """`fst answer RUN` ends the question everywhere; the run's terminal shows who it was."""
    with OnTerminal(run_arguments(tmp_path, 92, "--rehearse")) as terminal:
        terminal.wait_for("SENSE: B.2.2")
        terminal.wait_for("then Enter")
        (run,) = (tmp_path / "evidence").iterdir()
        said = ["--key", "f", "--words", "it rang", "--by", "Ana"]
        answer = without_terminal([*FST, "answer", str(run), *said], tmp_path)
        assert answer.returncode == 0, answer.stderr
        shown = terminal.wait_for("by Ana")
        terminal.wait_for("DISAGREEMENT")
        terminal.wait_for("Report: ")
        code = terminal.program.wait(LIMIT_S)
    (found,) = [one for one in events(tmp_path) if one["type"] == "disagreement"]

    assert "not as expected (it rang)" in shown
    assert code == 3  # the packets pass, and a person heard otherwise: not decided
    assert (found["who"], found["sense"]) == ("Ana", "heard")
    assert "calls_let_through = 0 calls" in found["packets"]


def test_answers_file_needs_no_terminal(tmp_path: Path) -> None:
    """What it says was heard fits the packets: the run passes, and gave no verdict of its own."""
    argv = run_arguments(tmp_path, 93, "--rehearse", "--answers", str(answers(tmp_path)))
    done = without_terminal(argv, tmp_path)
    told = events(tmp_path)

    assert done.returncode == 0, done.stderr
    assert not [one for one in told if one["type"] in ("disagreement", "verdict.declared")]
    assert [one["who"] for one in told if one["type"] == "prompt.answered"] == ["tap", "Pat"]


def test_answers_file_against_the_packets_is_printed(tmp_path: Path) -> None:
    """It says that the call was connected, and no packet shows that: a disagreement, exit 3."""
    path = answers(tmp_path, heard="connected")
    argv = run_arguments(tmp_path, 94, "--rehearse", "--answers", str(path))
    done = without_terminal(argv, tmp_path)

    assert done.returncode == 3
    assert "DISAGREEMENT: heard: Pat says connected" in done.stderr


def test_answers_for_another_host_change_nothing(tmp_path: Path) -> None:
    """An unknown host (or another plan: see the unit tests) is named, and nothing is written."""
    path = answers(tmp_path, target="site1/enum9")
    argv = run_arguments(tmp_path, 95, "--rehearse", "--answers", str(path))
    done = without_terminal(argv, tmp_path)

    assert done.returncode == 2
    assert "no such host or site for B.2.2; use one of site1" in done.stderr
    assert "answers.toml" in done.stderr
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--guided",), "no terminal to ask at, and no answer to B.2.2 site1 (dial)"),
        (("--answers", "none.toml"), "nobody is asked anything; add --guided"),
    ],
)
def test_nobody_to_ask_is_said_at_the_start(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    """Before anything is written: a wrong command line, not a run that hangs at night."""
    done = without_terminal(run_arguments(tmp_path, 96, *options), tmp_path)

    assert done.returncode == 2
    assert why in done.stderr
    assert not (tmp_path / "evidence").exists()


def test_parked_case_stays_empty(tmp_path: Path) -> None:
    """The key n ends the case without a verdict; the run goes on to its end, and says so."""
    with OnTerminal(run_arguments(tmp_path, 97, "--guided")) as terminal:
        terminal.wait_for("DIAL: B.2.2")
        terminal.wait_for("then Enter")
        terminal.type("n\n")
        terminal.wait_for("parked")
        terminal.wait_for("parked: 1 case")
        terminal.wait_for("go on with: fst run --resume ")
        terminal.wait_for("Report: ")
        code = terminal.program.wait(LIMIT_S)
    told = events(tmp_path)
    (end,) = [one for one in told if one["type"] == "attempt.end"]

    assert code == 3
    assert end["parked"] is True
    assert "can't be placed now" in end["words"]
    assert not [one for one in told if one["type"].startswith("verdict.")]


def test_interrupted_question_is_asked_again_by_a_resumed_run(tmp_path: Path) -> None:
    """Ctrl-C at a prompt withdraws it; the run that goes on asks anew, in a new attempt."""
    with OnTerminal(run_arguments(tmp_path, 98, "--guided")) as terminal:
        terminal.wait_for("DIAL: B.2.2")
        terminal.wait_for("then Enter")
        terminal.type("\x03")
        terminal.wait_for("no longer asked")
        terminal.wait_for("interrupted")
        assert terminal.program.wait(LIMIT_S) == 3
    (run,) = (tmp_path / "evidence").iterdir()
    with OnTerminal([*FST, "run", "--resume", str(run)]) as terminal:  # it stays guided
        terminal.wait_for("fst answer ")
        again = terminal.wait_for("then Enter")
        terminal.type("n\n")
        terminal.wait_for("Report: ")
    told = events(tmp_path)
    asked = [one["prompt"] for one in told if one["type"] == "prompt.asked"]
    answered = [one["prompt"] for one in told if one["type"] == "prompt.answered"]

    assert "attempt 2" in again
    assert asked == ["B.2.2@site1#1.1", "B.2.2@site1#2.1"]
    assert answered == ["B.2.2@site1#2.1"]
