"""Other programs' own output, as it is in fixtures/compare, held against our captures."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from probetest.cli import main

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "compare"
OUTPUTS: list[dict[str, Any]] = tomllib.loads((FOLDER / "outputs.toml").read_text())["outputs"]


@pytest.mark.parametrize("output", OUTPUTS, ids=[one["file"] for one in OUTPUTS])
def test_what_differs_is_explained_by_what_the_program_does(
    output: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The form is told by the text, and exactly the bugs that give its figures are named."""
    argv = ["compare", "--ours", str(ROOT / output["capture"])]
    code = main([*argv, "--theirs", str(FOLDER / output["file"]), "--json"])
    shown = json.loads(capsys.readouterr().out)
    named = [" + ".join(p["name"] for p in one["together"]) for one in shown["explanations"]]

    assert (code, shown["form"], named) == (output["exit"], output["form"], output["named"])


def test_every_output_is_listed() -> None:
    """With the command and the version that printed it."""
    assert {path.name for path in FOLDER.glob("*.txt")} == {one["file"] for one in OUTPUTS}


def test_the_examples_are_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every console block of docs/compare.md."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "compare.md").read_text()
    blocks = re.findall(r"```console\n\$ probetest (compare .*)\n((?:.|\n)*?)```", text)

    assert blocks
    for command, shown in blocks:
        main(command.split())
        assert capsys.readouterr().out == shown
