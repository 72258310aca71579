"""What is in fixtures/compare is what tshark and sngrep print."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.lab.peers import need

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "compare"
OUTPUTS: list[dict[str, Any]] = tomllib.loads((FOLDER / "outputs.toml").read_text())["outputs"]


@pytest.mark.parametrize("output", OUTPUTS, ids=[one["file"] for one in OUTPUTS])
def test_the_program_prints_what_is_committed(output: dict[str, Any], tmp_path: Path) -> None:
    """The same command, the same text; with another version only where its table is the same."""
    program, *words = output["command"]
    argv = [need(program, program), *words]
    argv = [str(tmp_path / "out.pcap") if word == "OUT" else word for word in argv]
    run = subprocess.run(
        argv, capture_output=True, stdin=subprocess.DEVNULL, cwd=ROOT, timeout=120, check=True
    )

    assert run.stdout == (FOLDER / output["file"]).read_bytes()
