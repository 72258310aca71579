"""The command `probetest compare`: exit codes, JSON, and the page."""

import json
import os
from pathlib import Path

import pytest

from probetest.cli import main
from tests.sip_wire import PHONE, SBC, Leg, Tape, dialog

HEAD = "call_id,source\n"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return the path of a capture with one call."""
    tape = Tape()
    dialog(tape)
    path = tmp_path / "tap.pcap"
    path.write_bytes(tape.data())
    return path


def compare(capture: Path, text: str, *more: str) -> int:
    """Return the exit code of the command."""
    theirs = capture.with_name("theirs.csv")
    theirs.write_text(text)
    return main(
        ["compare", "--ours", str(capture), "--theirs", str(theirs), "--form", "cdr", *more]
    )


def test_equal_is_0_and_different_is_1(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the exit code alone."""
    assert compare(capture, f"{HEAD}1@192.0.2.10,+16505550112\n") == 0
    assert compare(capture, HEAD) == 1
    assert "only ours" in capsys.readouterr().out


def test_of_a_damaged_capture_nothing_is_proven(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither equal nor different: 3, and the loss is named."""
    capture.write_bytes(capture.read_bytes()[:-5])

    assert compare(capture, f"{HEAD}1@192.0.2.10,+16505550112\n") == 3
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ("--mapping", "x.toml"),
        ("--zone", "Mars"),
        ("--group", "year"),
        ("--join-header", "two words"),
    ],
)
def test_what_cannot_be_used_is_2(
    capture: Path, more: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is compared."""
    assert compare(capture, HEAD, *more) == 2
    assert capsys.readouterr().out == ""


def test_a_pipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is read several times, so it is not opened at all; what is not there is told as that."""
    os.mkfifo(tmp_path / "tap.pcap")

    assert compare(tmp_path / "tap.pcap", HEAD) == 2
    assert "a pipe, but compare reads it more than once" in capsys.readouterr().err
    assert compare(tmp_path / "none.pcap", HEAD) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_page_that_is_there_is_told_before_the_work(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is compared for a page that could not be written."""
    page = capture.with_name("page.html")
    page.write_text("mine")

    assert compare(capture, HEAD, "--html", str(page)) == 2
    assert capsys.readouterr().out == ""
    assert page.read_text() == "mine"


def test_json_and_page_hold_every_figure(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is written once and never over another."""
    page = capture.with_name("page.html")
    assert (
        compare(capture, f"{HEAD}1@192.0.2.10,+16505550199\n", "--json", "--html", str(page)) == 1
    )
    shown = json.loads(capsys.readouterr().out)

    assert [row["verdict"] for row in shown["rows"]] == ["equal", "differs"]
    assert shown["rows"][1]["theirs"] == "+16505550199"
    assert "Not explained" in page.read_text()
    assert compare(capture, HEAD, "--html", str(page)) == 2


def test_one_leg_of_a_bond_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two calls, each on an interface of its own; the report has the second one's."""
    tape = Tape()
    for number in range(2):
        leg = Leg(f"{number}@192.0.2.10", branch=f"z9hG4bK-{number}")
        tape.udp(number * 1000, PHONE, SBC, leg.request())
    path = tmp_path / "bond.pcapng"
    path.write_bytes(_pcapng(tape))

    assert compare(path, f"{HEAD}1@192.0.2.10,+16505550112\n", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    names = {part["name"] for one in shown["explanations"] for part in one["together"]}
    assert names == {"interface 1 only"}


def _pcapng(tape: Tape) -> bytes:
    """Return the frames of *tape*, in turn on two interfaces (link type RAW, microseconds)."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = (len(body) + 12).to_bytes(4, "little")
        return kind.to_bytes(4, "little") + size + body + size

    head = block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a\x01\0\0\0" + b"\xff" * 8)
    ports = block(1, (101).to_bytes(4, "little") + bytes(4)) * 2
    frames = b""
    for number, (at_ns, frame) in enumerate(tape.frames):
        at_us = at_ns // 1000
        words = (number % 2, at_us >> 32, at_us & 0xFFFFFFFF, len(frame), len(frame))
        frames += block(6, b"".join(one.to_bytes(4, "little") for one in words) + frame)
    return head + ports + frames
