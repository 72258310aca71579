"""`probetest make` as a person uses it: a file, a pipe, and what is refused."""

import json
from pathlib import Path

import pytest

from harness.command_line import EXIT_USAGE
from probetest.cli import main

CASE = Path(__file__).parents[2] / "pcaps" / "golden-call"
SCRIPT = str(CASE / "script.toml")


def test_the_capture_of_the_repository_is_made_again(tmp_path: Path) -> None:
    """The same script gives the bytes that were committed."""
    assert main(["make", SCRIPT, "-o", str(tmp_path / "made.pcap")]) == 0

    assert (tmp_path / "made.pcap").read_bytes() == (CASE / "capture.pcap").read_bytes()


def test_a_hyphen_means_stdout(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The capture alone is written there, and no file of that name is made."""
    monkeypatch.chdir(tmp_path)

    assert main(["make", SCRIPT, "-o", "-"]) == 0
    assert capfdbinary.readouterr().out == (CASE / "capture.pcap").read_bytes()
    assert not list(tmp_path.iterdir())


def test_a_capture_and_json_do_not_go_to_one_stream(capfd: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is written."""
    assert main(["make", SCRIPT, "-o", "-", "--json"]) == EXIT_USAGE

    told = capfd.readouterr()
    assert (told.out, "--json" in told.err) == ("", True)


def test_what_was_written_is_told_as_json(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """File, size and variant are one object; a file that is there is left alone."""
    words = ["make", SCRIPT, "--variant", "vxlan", "-o", str(tmp_path / "made.pcap"), "--json"]

    assert main(words) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["variant"] == "vxlan"
    assert told["bytes"] == (tmp_path / "made.pcap").stat().st_size
    assert main(words) == EXIT_USAGE
