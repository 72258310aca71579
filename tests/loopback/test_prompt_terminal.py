"""The terminal for prompts, driven for real: in a pty from inside pytest, in tmux, without any."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.prompts_seen import LIMIT_S, ROOT, OnTerminal

INNER = '''
"""A case that asks, as pytest runs it: with capture of its file descriptors."""

import json
import signal
import sys
from pathlib import Path

from fst.prompt_desk import PromptDesk
from fst.prompt_terminal import PromptTerminal
from harness.clock import SystemClock
from tests.prompts_seen import a_prompt


def test_asks():
    print("captured, not seen")
    found = []
    with PromptDesk([PromptTerminal(SystemClock())]) as desk:
        for number in (signal.SIGWINCH, signal.SIGCONT):
            signal.signal(number, lambda *_: desk.redraw())
        for count in range(COUNT):
            answer = desk.ask(a_prompt(prompt_id=f"B.2.2@site1#1.{count + 1}")).result()
            found.append([answer.key, answer.words, answer.who, answer.where])
    Path(RESULT).write_text(json.dumps(found))
'''


def asking(folder: Path, count: int = 1) -> tuple[Sequence[str], Path]:
    """Return the command of a pytest that asks *count* questions, and where the answers go."""
    result, inner = folder / "answers.json", folder / "test_inner_asks.py"
    inner.write_text(INNER.replace("COUNT", str(count)).replace("RESULT", repr(str(result))))
    argv = [sys.executable, "-m", "pytest", "--capture=fd", "-p", "no:cacheprovider", "-q"]
    return [*argv, "--rootdir", str(folder), "-c", "/dev/null", str(inner)], result


def test_terminal_answers_inside_a_pytest_that_captures(tmp_path: Path) -> None:
    """Keys typed at the pty reach the prompt, words are asked for, who and where are known."""
    argv, result = asking(tmp_path, 2)
    with OnTerminal(argv) as terminal:
        shown = terminal.wait_for_prompt()
        terminal.type("pass\n")
        refused = terminal.wait_for("no key")
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


def test_prompt_in_tmux(tmp_path: Path) -> None:
    """The same works in tmux: what is asked is on its screen, what is typed arrives."""
    if not Path("/usr/bin/tmux").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("tmux is missing: apt-get install tmux")
        pytest.skip("needs tmux: apt-get install tmux")
    argv, result = asking(tmp_path)
    fifo = tmp_path / "screen"
    os.mkfifo(fifo)
    tmux = ["tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    command = f"env PYTHONPATH={ROOT} {' '.join(argv)}"
    begin = ["new-session", "-d", "-x", "80", "-y", "30", "-c", str(ROOT)]
    shown = ["pipe-pane", "-O", f"exec cat > {fifo}"]
    gate = f"read line < {tmp_path / 'gate'}; {command}; tmux wait-for -S over; read line"
    os.mkfifo(tmp_path / "gate")
    subprocess.run([*tmux, *begin, gate], check=True, timeout=LIMIT_S)
    try:
        subprocess.run([*tmux, *shown], check=True, timeout=LIMIT_S)
        (tmp_path / "gate").write_text("go\n")
        with fifo.open(encoding="utf-8", errors="replace") as screen:
            for line in screen:
                if "then Enter" in line:
                    break
        pane = subprocess.run(
            [*tmux, "capture-pane", "-p"],
            check=True,
            timeout=LIMIT_S,
            capture_output=True,
            text=True,
        ).stdout
        subprocess.run([*tmux, "send-keys", "f busy tone", "Enter"], check=True, timeout=LIMIT_S)
        subprocess.run([*tmux, "wait-for", "over"], check=True, timeout=LIMIT_S)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True, timeout=LIMIT_S)

    assert "VERDICT: B.2.2, site site1, attempt 1" in pane
    assert json.loads(result.read_text())[0][:2] == ["f", "busy tone"]


def test_no_terminal_is_known_at_the_start() -> None:
    """A program without a controlling terminal finds that out before it asks anything."""
    code = "from fst.prompt_terminal import has_terminal; print(has_terminal())"
    argv, quiet = ["setsid", "--wait", sys.executable, "-c", code], subprocess.DEVNULL
    done = subprocess.run(
        argv, stdin=quiet, capture_output=True, text=True, check=True, timeout=LIMIT_S, cwd=ROOT
    )

    assert done.stdout == "False\n"
