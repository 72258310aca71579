"""The terminal for prompts, driven for real: in a pty from inside pytest, and without any."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tests.prompts_seen import LIMIT_S, ROOT, OnTerminal, asking


def test_terminal_answers_inside_a_pytest_that_captures(tmp_path: Path) -> None:
    """Keys typed at the pty reach the prompt, words are asked for, who and where are known."""
    argv, result = asking(tmp_path, 2)
    with OnTerminal(argv) as terminal:
        shown = terminal.wait_for_prompt()
        terminal.type("pass\n")
        refused = terminal.wait_for("none of the keys")
        terminal.type("f\n")
        terminal.wait_for("FAIL needs words")
        terminal.type("the phone rang\n")
        terminal.wait_for("answered:")
        terminal.wait_for_prompt()
        terminal.type("P\n")
        terminal.wait_for("1 passed")
        assert terminal.program.wait(LIMIT_S) == 0

    assert "VERDICT: B.2.2, site site1, attempt 1" in shown
    assert "captured, not seen" not in shown
    assert "pass" in refused
    (first, second) = json.loads(result.read_text())
    assert first[:2] == ["f", "the phone rang"]
    assert second[:2] == ["p", ""]
    assert first[3].startswith("terminal pts/")


def test_typed_ahead_is_no_answer(tmp_path: Path) -> None:
    """What was typed before the question came up is dropped: nobody has read it then."""
    argv, result = asking(tmp_path)
    with OnTerminal(argv) as terminal:
        terminal.type("p\n")  # pytest takes its time to start
        terminal.wait_for_prompt()
        terminal.type("o can't tell\n")
        terminal.wait_for("1 passed")

    assert json.loads(result.read_text())[0][:2] == ["o", "can't tell"]


def test_terminal_survives_another_size_and_ctrl_z(tmp_path: Path) -> None:
    """A resized window shows the prompt anew; so does `fg` after Ctrl-Z, in a shell with jobs."""
    argv, result = asking(tmp_path)
    with OnTerminal(["bash", "--norc", "--noprofile", "-i"], PS1="ready> ") as terminal:
        terminal.wait_for("ready> ")
        terminal.type(f"{shlex.join(argv)}\n")
        terminal.wait_for_prompt()
        terminal.resize(24, 60)
        again = terminal.wait_for_prompt()
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        terminal.wait_for("ready> ")
        terminal.type("fg\n")
        terminal.wait_for_prompt()
        terminal.type("p\n")
        terminal.wait_for("1 passed")

    assert "-" * 60 in again
    assert "-" * 61 not in again
    assert json.loads(result.read_text())[0][0] == "p"


def test_program_in_the_background_reads_nothing(tmp_path: Path) -> None:
    """Keys for the shell stay the shell's; brought to the front, the prompt takes its answer."""
    argv, result = asking(tmp_path)
    with OnTerminal(["bash", "--norc", "--noprofile", "-i"], PS1="ready> ") as terminal:
        terminal.wait_for("ready> ")
        terminal.type(f"{shlex.join(argv)} &\n")
        terminal.wait_for_prompt()
        terminal.type("echo p; jobs\n")
        jobs = terminal.wait_for("Running")
        terminal.type("fg\n")
        terminal.wait_for("pytest")
        terminal.type("p\n")
        terminal.wait_for("1 passed")

    assert "Stopped" not in jobs
    assert json.loads(result.read_text())[0][0] == "p"


def test_terminal_that_goes_away_leaves_the_run_waiting(tmp_path: Path) -> None:
    """When the line drops the program gets SIGHUP, and the prompt is not answered by that."""
    argv, result = asking(tmp_path)
    with OnTerminal(argv) as terminal:
        terminal.wait_for_prompt()
    assert not result.exists()


def test_no_terminal_is_known_at_the_start() -> None:
    """A program without a controlling terminal finds that out before it asks anything."""
    code = "from fst.prompt_terminal import has_terminal; print(has_terminal())"
    argv, quiet = ["setsid", "--wait", sys.executable, "-c", code], subprocess.DEVNULL
    done = subprocess.run(
        argv, stdin=quiet, capture_output=True, text=True, check=True, timeout=LIMIT_S, cwd=ROOT
    )

    assert done.stdout == "False\n"
