"""The captures in pcaps/: they are what their scripts and their expected.json say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.packets.capture_file import read
from probetest.cli import main
from probetest.script.build import build, parse_script

ROOT = Path(__file__).parents[2]
CASES = sorted(  # pcaps/enum-* hold DNS alone: tests/golden/test_enum_pcaps.py
    path.parent
    for path in (ROOT / "pcaps").glob("*/README.md")
    if not path.parent.name.startswith("enum-")
)
SCRIPTED = [case for case in CASES if (case / "script.toml").exists()]
MAX_BYTES = 200_000
DIAL_PLAN = ROOT / "fixtures/dialplans/us-650.toml"
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


def analyse(case: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """Return what `probetest analyse` says about *case*, as JSON."""
    argv = ["analyse", str(capture_of(case)), "--dial-plan", str(DIAL_PLAN), "--json", *options]
    code = main(argv)
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def picked(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [tuple(row[key] for key in keys) for row in rows]


@each_case
def test_invites_and_calls_are_counted(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every INVITE in the file is seen, and they fold into the calls that were made."""
    steps = {row["step"]: row["capture"] for row in analyse(case, capsys)["waterfall"]}
    want = expected(case)

    assert steps["Frames"] == want["frames"]
    assert steps["INVITE requests"] == want["invite_messages"]
    assert steps["Calls"] == len(want["calls"])


@each_case
def test_parties_are_who_they_were(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Source and destination in the one form that is compared, and how each call ended."""
    keys = ("call_id", "source", "destination", "status")

    assert picked(analyse(case, capsys, "--view", "calls")["calls"], keys) == picked(
        expected(case)["calls"], keys
    )


def test_a_hidden_caller_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Who asked not to be shown is `restricted`, unless the reader asks for the number."""
    case = ROOT / "pcaps/anonymous-with-pai"
    shown = analyse(case, capsys, "--view", "calls", "--show-restricted")["calls"]
    want = [call.get("source_shown", call["source"]) for call in expected(case)["calls"]]

    assert [call["source"] for call in shown] == want


@each_case
def test_streams_are_measured(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packets, the tap's copies, loss, order and keys of every stream."""
    main(["analyse", str(capture_of(case)), "--json", "--view", "streams"])
    found = json.loads(capsys.readouterr().out)["streams"]
    keys = ("ssrc", "source", "packets", "copies", "lost", "reordered", "digits")

    assert sorted(picked(found, keys)) == sorted(picked(expected(case)["streams"], keys))


def test_the_library_page_has_every_capture() -> None:
    """docs/captures-library.md names each folder, and none that is not there."""
    text = (ROOT / "docs/captures-library.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE))

    assert named == {case.name for case in CASES}
