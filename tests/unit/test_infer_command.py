"""`enumtest infer`: measures, writes a profile that `enumtest judge` takes, refuses plainly."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from enumtest.cli import main
from enumtest.commands.profiles import read_profile
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Selection
from harness.packets.frame import Endpoint
from tests.enum_wire import NAMES, SECOND, Packet, capture_bytes
from tests.inference_bench import Drill, run

SERVERS = "198.51.100.11,198.51.100.12,198.51.100.13"


def packets() -> list[Packet]:
    """Return what a tap at the SBC saw of a short drill."""
    drill = Drill()
    drill.call(12, 3 * SECOND)
    drill.down(NAMES[:1], 3 * SECOND - 1, 3 * SECOND)
    drill.call(38, SECOND)
    wire = run(shipped_profile("fixed-hold-down"), drill)
    return sorted(wire.taps["sbc"])


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a file with them."""
    path = tmp_path / "sbc.pcap"
    path.write_bytes(capture_bytes((one.at_ns, one.frame) for one in packets()))
    return path


def test_says_what_was_measured_and_what_would_show_the_rest(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values with intervals and frames first, then what to do for each unknown one."""
    assert main(["infer", str(capture), "--servers", SERVERS]) == 0
    shown = capsys.readouterr().out

    assert shown.startswith("192.0.2.10: 51 calls to enum1, enum2, enum3 in sbc.pcap\nMeasured\n")
    assert "  retransmission.expire              2 s   (1.98 to 2.005 s)\n" in shown
    assert "\nNot observed: what would show it\n" in shown
    assert "  have one server answer SERVFAIL, and place 6 calls:\n" in shown


def test_json_has_every_value_with_its_interval_and_frames(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Times in seconds; what was not seen is null, and says what to do."""
    assert main(["infer", str(capture), "--servers", SERVERS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (sbc,) = told["sbcs"]
    rows = {row["path"]: row for row in sbc["values"]}
    length = rows["hold_down.stages.0.length_ns"]

    assert told["schema"] == 1
    assert (length["value"], length["unit"], length["known"]) == (30.0, "s", True)
    assert length["low"] < 30.0 <= length["high"]
    assert {frame["file"] for frame in length["frames"]} == {str(capture)}
    assert rows["reactions.SERVFAIL.then"]["value"] is None
    assert rows["reactions.SERVFAIL.then"]["provoke"]


def test_the_profile_written_is_one_to_judge_by(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read back, called as its file, and the same capture keeps to it."""
    out = tmp_path / "our-sbc.toml"

    assert main(["infer", str(capture), "--servers", SERVERS, "-o", str(out)]) == 0
    profile = read_profile(str(out))
    assert (profile.name, profile.selection.method) == ("our-sbc", Selection.ROUND_ROBIN)
    assert "inferred from sbc.pcap frames" in out.read_text("utf-8")
    capsys.readouterr()
    assert main(["judge", str(capture), "--profile", str(out), "--servers", SERVERS]) != 1


def test_an_existing_file_is_not_overwritten(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before the work."""
    out = tmp_path / "there.toml"
    out.write_text("mine")

    assert main(["infer", str(capture), "--servers", SERVERS, "-o", str(out)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_servers_that_nobody_asked_are_refused(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A capture of the wrong interface, or other addresses."""
    assert main(["infer", str(capture), "--servers", "198.51.100.99"]) == 2
    assert "enumtest: " in capsys.readouterr().err


def test_one_of_two_sbcs_has_to_be_chosen_for_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are shown; a profile is one SBC's."""
    one = packets()
    other = _of_another_sbc()
    path, out = tmp_path / "two.pcap", tmp_path / "p.toml"
    path.write_bytes(capture_bytes((p.at_ns, p.frame) for p in sorted([*one, *other])))
    given = ["infer", str(path), "--servers", SERVERS]

    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "192.0.2.10: 51 calls" in shown
    assert "192.0.2.20: 12 calls" in shown
    assert main([*given, "-o", str(out)]) == 2
    assert "--client: 192.0.2.10, 192.0.2.20" in capsys.readouterr().err
    assert main([*given, "-o", str(out), "--client", "192.0.2.20"]) == 0
    assert main([*given, "--client", "192.0.2.99"]) == 2
    assert "192.0.2.10, 192.0.2.20" in capsys.readouterr().err


def _of_another_sbc() -> list[Packet]:
    drill = Drill(now_ns=SECOND // 3)
    drill.call(12, 3 * SECOND)
    wire = run(shipped_profile("oracle-hunt"), drill, client=Endpoint("192.0.2.20", 40_001))
    return [replace(one, number=one.number + 10_000) for one in wire.taps["sbc"]]
