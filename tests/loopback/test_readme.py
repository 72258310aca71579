"""The README's commands do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prompts_seen import OnTerminal

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
LIMIT_S = 480

COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith(".venv/bin/")
]


def command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    return [str(BIN / Path(program).name), *arguments]


def matching(part: str) -> list[str]:
    found = [line for line in COMMANDS if part in line]
    assert found, f"the README has no command with {part!r}"
    return found


@pytest.mark.parametrize("line", matching("--set"))
def test_what_is_broken_on_purpose_is_found(line: str, tmp_path: Path) -> None:
    """Each of the README's broken labs ends with exit code 1, a rule and frames."""
    done = subprocess.run(
        [*command(line), "--out", tmp_path], cwd=ROOT, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert re.search(r"FAIL .*\n .*expected .*observed .*\(frames? [0-9]", done.stderr)


def test_rehearsal_asks_what_was_heard(tmp_path: Path) -> None:
    """The calls of the README's rehearsal are simulated; one answer ends it well."""
    (line,) = matching("--rehearse")
    with OnTerminal([*command(line), "--out", str(tmp_path)]) as terminal:
        terminal.wait_for("6 of 6 calls seen")
        terminal.wait_for("Had each call ended")
        terminal.wait_for("then Enter")
        terminal.type("p\n")
        terminal.wait_for("Report: ")
        assert terminal.program.wait(LIMIT_S) == 0


def test_servers_answer_calls_and_questions() -> None:
    """`enumtest serve` answers what `call` and `ask` of the README put to it."""
    (serve,) = matching("enumtest serve")
    with subprocess.Popen(command(serve), cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("ready ")
            for line in (*matching("enumtest call"), *matching("enumtest ask")):
                done = subprocess.run(
                    command(line), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
                    check=False,
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
                assert "allow" in done.stdout
        finally:
            server.terminate()


def test_documents_that_it_links_are_there() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
