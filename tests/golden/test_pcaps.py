"""The captures in pcaps/: they are what their scripts and their expected.json say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.capture_file import read
from probetest.script import build, parse_script

ROOT = Path(__file__).parents[2]
CASES = sorted(path.parent for path in (ROOT / "pcaps").glob("*/README.md"))
SCRIPTED = [case for case in CASES if (case / "script.toml").exists()]
MAX_BYTES = 200_000
FICTION = re.compile(rb"(?:011)?\+?(?:1?[2-9][0-9]{2}55501[0-9]{2}|442079460[0-9]{3})")
USER = re.compile(rb"sip:([+0-9]+)@|tel:([+0-9().-]+)")


def capture_of(case: Path) -> Path:
    """Return the only capture of *case*."""
    (found,) = case.glob("capture.pcap*")
    return found


def expected(case: Path) -> dict[str, Any]:
    """Return what a person wrote down about *case*."""
    found: dict[str, Any] = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    return found


def name(case: Path) -> str:
    return case.name


each_case = pytest.mark.parametrize("case", CASES, ids=name)
each_script = pytest.mark.parametrize("case", SCRIPTED, ids=name)


def test_there_are_captures_of_both_kinds() -> None:
    """At least a dozen from scripts, and four from programs that nobody here wrote."""
    assert len(SCRIPTED) >= 12
    assert len(CASES) - len(SCRIPTED) >= 4


@each_case
def test_a_case_is_complete(case: Path) -> None:
    """A capture, what a person expects of it, and where it comes from; nothing else."""
    names = {path.name for path in case.iterdir()}
    own = {"README.md", "expected.json", capture_of(case).name}

    assert names in (own, own | {"script.toml"})
    assert capture_of(case).stat().st_size < MAX_BYTES


@each_script
def test_a_script_rebuilds_its_capture(case: Path) -> None:
    """The same script gives the same bytes, on another day and another machine."""
    script = parse_script((case / "script.toml").read_text(encoding="utf-8"), case.name)

    assert build(script) == capture_of(case).read_bytes()


@each_case
def test_the_reader_gets_every_frame(case: Path) -> None:
    """As many frames as expected, whole, in order of time."""
    capture = read(capture_of(case))

    assert len(capture) == expected(case)["frames"]
    assert capture.cut is None
    assert (capture.captured_bytes == capture.original_bytes).all()
    assert (capture.at_ns[1:] >= capture.at_ns[:-1]).all()


@each_case
def test_numbers_are_fiction(case: Path) -> None:
    """No number in a capture can be anybody's."""
    found = USER.findall(capture_of(case).read_bytes())
    numbers = {re.sub(rb"[-.()]", b"", in_sip or in_tel) for in_sip, in_tel in found}

    assert numbers
    assert {number for number in numbers if not FICTION.fullmatch(number)} == set()
