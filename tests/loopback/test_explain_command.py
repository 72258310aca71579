"""The command `probetest explain`: a capture and a Call-ID in, the reasons out."""

import gzip
import json
import os
import re
from pathlib import Path

import phonenumbers
import pytest

from probetest.cli import main
from tests.sip_wire import Leg, Tape, dialog

ROOT = Path(__file__).parents[2]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a capture with two calls."""
    tape = Tape()
    for number in range(2):
        dialog(tape, number * 3000, Leg(f"call-{number}@192.0.2.10", branch=f"z9hG4bK{number}"))
    path = tmp_path / "tap.pcap"
    path.write_bytes(tape.data())
    return path


def test_a_call_is_explained(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and the same from a packed file."""
    assert main(["explain", str(capture), "call-1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Call: call-1@192.0.2.10\n")
    assert said.err == ""

    packed = capture.with_suffix(".pcap.gz")
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    assert main(["explain", str(packed), "call-1@192.0.2.10"]) == 0
    assert capsys.readouterr().out == said.out


def test_json_has_the_same(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a Call-ID."""
    assert main(["explain", str(capture), "call-1", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["call_id"], len(found["calls"])) == ("call-1@192.0.2.10", 1)


def test_json_has_the_keys_that_were_pressed(capsys: pytest.CaptureFixture[str]) -> None:
    """Records in records are values too: key by key, within a stream of the call."""
    capture = ROOT / "pcaps" / "golden-call" / "capture.pcap"
    assert main(["explain", str(capture), "golden", "--json"]) == 0

    (call,) = json.loads(capsys.readouterr().out)["calls"]
    assert [key["key"] for key in call["streams"][0]["keys"]] == ["5", "#"]


def test_a_damaged_capture_is_explained_as_far_as_it_goes(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, the byte is named on stderr, what was read is shown."""
    capture.write_bytes(capture.read_bytes()[:-30])

    assert main(["explain", str(capture), "call-1"]) == 3
    said = capsys.readouterr()
    assert "THE CALL" in said.out
    assert "damaged, read up to here" in said.err


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["call-7"], "not in this capture; did you mean call-0@192.0.2.10, call-1@192.0.2.10"),
        (["call"], "2 Call-IDs begin so"),
        (["call-1", "--zone", "Mars/North"], "no such time zone"),
        (["call-1", "--trusted", "192.0.2.1/24"], "did you mean 192.0.2.0/24?"),
        (["call-1", "--inside", "x"], "not a network"),
        (["call-1", "--site", "/nowhere.toml"], "cannot be read"),
    ],
)
def test_mistakes_are_named(
    capture: Path, argv: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one line, what to do."""
    assert main(["explain", str(capture), *argv]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert why in said.err
    assert said.err.count("\n") == 1


def test_what_is_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe cannot be read twice, which is told; a folder, or nothing, is another mistake."""
    pipe, none = tmp_path / "pipe", "no such file; name one pcap or pcapng file"
    os.mkfifo(pipe)
    to_save = "a pipe, but explain reads it more than once; save it to a file first"
    names = {"-": to_save, str(pipe): to_save, str(tmp_path): none, str(tmp_path / "x"): none}
    for name, said in names.items():
        assert main(["explain", name, "call-1"]) == 2
        assert said in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Someone who has a Call-ID sees what to type."""
    assert main(["explain", "--help"]) == 0
    assert "Example:" in capsys.readouterr().out


def test_the_guide_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command in docs/explain.md prints what stands below it there."""
    monkeypatch.chdir(ROOT)
    guide = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    guide = re.sub("phonenumbers [0-9.]+[0-9]", f"phonenumbers {phonenumbers.__version__}", guide)
    blocks = [part.split("\n```", 1)[0] for part in guide.split("```console\n$ probetest ")[1:]]
    for block in blocks:
        command, _, shown = block.partition("\n")
        assert main(command.split()) == 0
        assert capsys.readouterr().out.rstrip().splitlines() == shown.splitlines()
    assert len(blocks) == 3
