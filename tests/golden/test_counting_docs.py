"""The example in docs/counting-calls.md is what the command prints."""

import re
from pathlib import Path

import pytest

from probetest.cli import main

ROOT = Path(__file__).parents[2]


def test_the_example_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waterfall, line by line."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "counting-calls.md").read_text()
    ((command, shown),) = re.findall(r"```console\n\$ probetest (.*)\n((?:.|\n)*?)```", text)

    assert main(command.split()) == 0
    assert capsys.readouterr().out.startswith(shown)
