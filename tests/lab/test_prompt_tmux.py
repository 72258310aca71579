"""Prompts in tmux, where a tester's run lives: on its screen, and after the line dropped."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.peers import need
from tests.prompts_seen import LIMIT_S, ROOT, OnTerminal, asking

pytestmark = pytest.mark.lab


class Pane:
    """A session of a tmux of its own, that runs one command in one pane."""

    def __init__(self, folder: Path) -> None:
        """Keep the folder; the session is started with `begin`."""
        self.tmux = [need("tmux", "tmux"), "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._folder = folder

    def do(self, *words: str) -> str:
        """Return what tmux printed for a command of its own."""
        done = subprocess.run(
            [*self.tmux, *words], check=True, timeout=LIMIT_S, capture_output=True, text=True
        )
        return done.stdout

    def begin(self, argv: Sequence[str]) -> None:
        """Run *argv* in the pane; return when its question is on the screen."""
        screen, gate = self._folder / "screen", self._folder / "gate"
        os.mkfifo(screen)
        os.mkfifo(gate)
        command = f"env PYTHONPATH={ROOT} {shlex.join(argv)}"
        line = f"read line < {gate}; {command}; tmux wait-for -S over; read line"
        self.do("new-session", "-d", "-x", "80", "-y", "30", "-c", str(ROOT), line)
        self.do("pipe-pane", "-O", f"exec cat > {screen}")
        gate.write_text("go\n")
        with screen.open(encoding="utf-8", errors="replace") as lines:
            assert any("then Enter" in shown for shown in lines)


@contextmanager
def pane_with(argv: Sequence[str], folder: Path) -> Iterator[Pane]:
    """Yield a pane in which *argv* asks; its tmux ends with the test."""
    pane = Pane(folder)
    try:
        pane.begin(argv)
        yield pane
    finally:
        pane.do("kill-server")


def test_prompt_in_tmux(tmp_path: Path) -> None:
    """What is asked is on the pane's screen, what is typed there arrives."""
    argv, result = asking(tmp_path)
    with pane_with(argv, tmp_path) as pane:
        shown = pane.do("capture-pane", "-p")
        pane.do("send-keys", "f busy tone", "Enter")
        pane.do("wait-for", "over")

    assert "VERDICT: B.2.2, site site1, attempt 1" in shown
    assert json.loads(result.read_text())[0][:2] == ["f", "busy tone"]


def test_dropped_line_leaves_the_question_open_in_tmux(tmp_path: Path) -> None:
    """Its client is killed, as when ssh drops: another one shows the question, and answers."""
    argv, result = asking(tmp_path)
    with pane_with(argv, tmp_path) as pane:
        attach = [*pane.tmux, "attach-session"]
        with OnTerminal(attach, TERM="xterm") as dropped:
            dropped.wait_for("then Enter")
        assert not result.exists()
        with OnTerminal(attach, TERM="xterm") as back:
            back.wait_for("then Enter")
            back.type("o nobody heard it\r")
            pane.do("wait-for", "over")

    assert json.loads(result.read_text())[0][:2] == ["o", "nobody heard it"]
