"""A journal is read with jq, as the guide to the formats tells."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.peers import LIMIT_S, need

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
RUN = ROOT / "fixtures/runs/first-of-schema-1"
GUIDE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
LINES: list[str] = [
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
]


def shown(line: str, folder: Path) -> str:
    """Return what a line of the guide prints in *folder*."""
    need("jq", "jq")
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert not done.stderr
    return str(done.stdout)


def line_with(part: str) -> str:
    (found,) = [line for line in LINES if part in line]
    return found


@pytest.mark.parametrize("line", LINES)
def test_line_of_the_guide_is_understood(line: str) -> None:
    """The program takes each as it stands."""
    shown(line, RUN)


def test_verdicts_are_shown() -> None:
    """The one verdict of the old run, with its time and words."""
    words = shown(line_with('startswith("verdict.")'), RUN).split("\t")

    assert words[:4] == ["2026-11-22T19:06:22Z", "B.3.2", "site1", "PASS"]


def test_only_debts_that_are_not_paid_are_shown(tmp_path: Path) -> None:
    """Of two that were opened, the one without its payment is left."""
    lines = [
        '{"type":"debt.opened","debt":"d1","what":"enum1 is stopped"}',
        '{"type":"debt.opened","debt":"d2","what":"a capture runs"}',
        '{"type":"debt.paid","debt":"d1"}',
    ]
    (tmp_path / "journal.jsonl").write_text("\n".join(lines) + "\n")

    assert shown(line_with("debt.opened"), tmp_path) == "a capture runs\n"


def test_chain_is_that_of_sha256sum(tmp_path: Path) -> None:
    """The last event names the hash of the line before; after an edit there it does not."""
    line = line_with("sha256sum")
    said, found = shown(line, RUN).split()[:2]
    *before, last_but_one, last = (RUN / "journal.jsonl").read_bytes().splitlines(keepends=True)
    edited = last_but_one.replace(b"B.3.2", b"B.3.3")
    (tmp_path / "journal.jsonl").write_bytes(b"".join([*before, edited, last]))
    said_then, found_then = shown(line, tmp_path).split()[:2]

    assert said == found
    assert said_then == said
    assert found_then != found
