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


def final(text: bytes) -> bytes:
    """Return what is left: sngrep writes its count over and over, as often as it has the time."""
    return text.rpartition(b"\r")[2]


def peer(program: str) -> str:
    """Return the path of the program that printed an output."""
    return need("sngrep", "sngrep") if program == "sngrep" else need("tshark", "tshark")


@pytest.mark.parametrize("output", OUTPUTS, ids=[one["file"] for one in OUTPUTS])
def test_the_program_prints_what_is_committed(output: dict[str, Any], tmp_path: Path) -> None:
    """The same command gives the same text."""
    program, *words = output["command"]
    argv = [peer(program), *words]
    argv = [str(tmp_path / "out.pcap") if word == "OUT" else word for word in argv]
    run = subprocess.run(
        argv, capture_output=True, stdin=subprocess.DEVNULL, cwd=ROOT, timeout=120, check=True
    )

    committed = (FOLDER / output["file"]).read_bytes()
    assert final(run.stdout) == final(committed)
