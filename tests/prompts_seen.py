"""What the tests of prompts share: a prompt, an answer, and a real terminal to type at."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from fst.prompt import KEYS, Answer, Kind, Prompt

ROOT = Path(__file__).parents[1]
LIMIT_S = 30.0  # for a program that should be there in a second; the machine may be loaded

INNER = '''
"""A case that asks, as pytest runs it: with capture of its file descriptors."""

import json
import signal
import sys
from concurrent.futures import wait
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
            asked = desk.ask(a_prompt(prompt_id=f"B.2.2@site1#1.{count + 1}"))
            # A program that was stopped may get SIGCONT in another thread; handlers run in this
            # one, and only when it comes out of its wait.
            while not wait([asked], 0.2).done:
                pass
            answer = asked.result()
            found.append([answer.key, answer.words, answer.who, answer.where])
    Path(RESULT).write_text(json.dumps(found))
'''


def a_prompt(kind: Kind = Kind.VERDICT, prompt_id: str = "B.2.2@site1#1.1") -> Prompt:
    return Prompt(
        prompt_id,
        kind,
        site="site1",
        host="",
        step="B.2.2",
        target="site1",
        attempt=1,
        does="Install a rule that ends one chosen test call, and place that call.",
        expects="The call does not reach the number dialled.",
        keys=KEYS[kind],
    )


def an_answer(key: str = "p", words: str = "", who: str = "ana") -> Answer:
    return Answer(key, words, who, "terminal pts/9", 1_767_225_599_000_000_000)


def asking(folder: Path, count: int = 1) -> tuple[Sequence[str], Path]:
    """Return the command of a pytest that asks *count* questions, and where the answers go."""
    result, inner = folder / "answers.json", folder / "test_inner_asks.py"
    inner.write_text(INNER.replace("COUNT", str(count)).replace("RESULT", repr(str(result))))
    argv = [sys.executable, "-m", "pytest", "--capture=fd", "-p", "no:cacheprovider", "-q"]
    return [*argv, "--rootdir", str(folder), "-c", "/dev/null", str(inner)], result


class OnTerminal:
    """A program with a controlling terminal of its own, as in a window or over ssh."""

    def __init__(self, argv: Sequence[str], **env: str) -> None:
        """Start *argv* in a new session whose terminal is a pty; its stdout goes there too."""
        self._main, side = pty.openpty()
        self.screen = ""
        self.resize(24, 80)
        self.program = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv],
            stdin=side,
            stdout=side,
            stderr=side,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
        )
        os.close(side)

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it: what still runs there gets SIGHUP."""
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self._main)

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    def wait_for(self, text: str) -> str:
        """Read the screen until *text* is on it; return all up to its end, and forget that."""
        while text not in self.screen:
            ready, _, _ = select.select([self._main], [], [], LIMIT_S)
            assert ready, f"{text!r} is not on the screen:\n{self.screen}"
            try:
                got = os.read(self._main, 65_536)
            except OSError:  # Linux: the last program at the other end is gone
                got = b""
            assert got, f"ended without {text!r}:\n{self.screen}"
            self.screen += got.decode("utf-8", "replace")
        seen, _, self.screen = self.screen.partition(text)
        return seen + text

    def wait_for_prompt(self) -> str:
        """Read the screen until a whole question is on it."""
        return self.wait_for("keys:") + self.wait_for("then Enter")

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
