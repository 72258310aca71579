"""The captures pcaps/enum-*: rebuilt byte for byte, and judged as a person wrote down."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enumtest.cli import main
from enumtest.dns.message import number_from_qname
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import EVENTS
from harness.packets.capture_file import read
from tests.enum_captures import ARGUMENTS, CASES, SERVERS

ROOT = Path(__file__).parents[2] / "pcaps"
MAX_BYTES, MAX_PICTURE_BYTES = 60_000, 200_000
MARK = re.compile(r"<use [^>]*><title>[^<]*</title>")
RULE = re.compile(
    "(rotation|failover|hold-down|readmission|retransmission|reaction|late|all-down|delay|"
    "question|probes|edns)[.][a-z-]+"
)
each_case = pytest.mark.parametrize("name", CASES)


def expected(name: str) -> dict[str, Any]:
    """Return what a person wrote down about a case."""
    found: dict[str, Any] = json.loads((ROOT / name / "expected.json").read_text("utf-8"))
    return found


def judged(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what the command says of a case; its exit code is checked on the way."""
    path = str(ROOT / name / "capture.pcap")
    code = main(["judge", path, *CASES[name].options.split(), *ARGUMENTS.split(), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == CASES[name].exit_code
    return found


def test_every_folder_is_a_case() -> None:
    """No capture without a test, no test without a capture; nothing else lies there."""
    folders = {path.name for path in ROOT.glob("enum-*")}

    assert folders == set(CASES)
    for name in folders:
        files = {path.name for path in (ROOT / name).iterdir()}
        assert files == {"README.md", "expected.json", "capture.pcap"}


@each_case
def test_a_capture_is_rebuilt(name: str) -> None:
    """The same sources give the same bytes, and few of them."""
    data = (ROOT / name / "capture.pcap").read_bytes()

    assert CASES[name].make() == data
    assert len(data) <= MAX_BYTES


@each_case
def test_the_reader_finds_what_a_person_found(name: str) -> None:
    """Frames, calls, retransmissions, and which questions had no answer; numbers are fiction."""
    want = expected(name)
    capture = read(ROOT / name / "capture.pcap")
    table = read_lookups([capture], {at: name for name, at in SERVERS.items()}, None)
    hops = table.hops
    silent = np.flatnonzero(hops.event == EVENTS.index(Event.SILENCE))
    numbers = [str(number_from_qname(name, "e164.arpa")) for name in hops.questions]

    assert (len(capture), len(table)) == (want["frames"], want["calls"])
    assert len(hops.send_ns) - len(hops) == want["retransmissions"]
    assert [one.frame for one in hops.cites(silent.tolist())] == want["silent"]["frames"]
    assert {hops.servers[int(hops.server[row])] for row in silent} == {want["silent"]["server"]}
    assert all(number.startswith("+121255501") for number in numbers)


@each_case
def test_the_judge_breaks_the_rules_that_are_broken(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the frame at which each is first broken; nothing is broken in a sound SBC."""
    (sbc,) = judged(name, capsys)["sbcs"]
    broken = {
        (one["rule"], one["server"], one["frames"][0]["frame"])
        for one in sbc["rulings"]
        if one["outcome"] == "FAIL"
    }
    want = {(one["rule"], one["server"], one["frame"]) for one in expected(name)["broken"]}

    assert want <= broken
    assert bool(want) == bool(broken)


@each_case
def test_the_states_are_those_of_the_outage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first hold-down begins and ends where a person read it off."""
    found = judged(name, capsys)
    begin_ns = found["captures"][0]["begins_ns"]
    for want in expected(name)["states"]:
        span = next(
            one
            for one in found["sbcs"][0]["states"]
            if (one["server"], one["state"]) == (want["server"], want["state"])
        )
        from_s, until_s = ((span[key] - begin_ns) / 1e9 for key in ("from_ns", "until_ns"))

        assert want["from_s"][0] <= from_s <= want["from_s"][1]
        assert want["until_s"][0] <= until_s <= want["until_s"][1]


def test_the_picture_of_the_guide_is_of_that_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/enum-early-return.svg has the marks that the command draws, and the broken rule."""
    name = "enum-early-return"
    shown = ROOT.parent / "docs" / f"{name}.svg"
    drawn = tmp_path / "strip.svg"
    argv = ["judge", str(ROOT / name / "capture.pcap"), *CASES[name].options.split()]
    main([*argv, *ARGUMENTS.split(), "--svg", str(drawn)])
    capsys.readouterr()
    marks, want = (MARK.findall(path.read_text("utf-8")) for path in (shown, drawn))

    assert marks == want != []
    assert "1: readmission.by-time: " in shown.read_text("utf-8")
    assert shown.stat().st_size < MAX_PICTURE_BYTES


def test_every_rule_is_in_the_guide() -> None:
    """Whoever reads a ruling finds its rule in docs/reading-a-verdict.md."""
    guide = (ROOT.parent / "docs/reading-a-verdict.md").read_text("utf-8")
    paths = {one.path for one in shipped_profile("ribbon").fields()}
    rules = {
        node.value
        for path in (ROOT.parent / "enumtest/judge").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and RULE.fullmatch(node.value)
        and node.value not in paths
    }
    told = {rule for rule in rules if rule in guide}
    told |= {rule for rule in rules if f"`.{rule.partition('.')[2]}`" in guide}

    assert len(rules) > 10
    assert rules - told == set()
