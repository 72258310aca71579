"""The command `fst` as a person uses it: one clear line for each mistake, and clean ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback.runs import ROOMY

ROOT = Path(__file__).parent.parent.parent
LOOPBACK = ROOT / "fixtures" / "sites" / "loopback.toml"
FST = Path(sys.executable).with_name("fst")
LIMIT_S = 480
LONG_OUTAGE = ("--set", "sbc.hold_down_ms=60000")  # it does not end before it is interrupted


def fst(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FST, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=cwd
    )


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("run", "--site", "none.toml"), 2, "none.toml: cannot be read"),
        (("run", "--site", LOOPBACK, "--case", "B.9"), 2, "no such case"),
        (("run", "--site", LOOPBACK, "--set", "x"), 2, "not KEY=VALUE"),
        (("run", "--site", LOOPBACK, "--set", "sbc.timeout_ms=abc"), 2, "timeout_ms = 'abc'"),
        (("run", "--site", LOOPBACK, "-m", "probe"), 2, "no case is selected"),
        (("run", "--site", LOOPBACK, "-m", "foo"), 2, "not a selection"),
        (("run", "--site", LOOPBACK, "-m", "enum and ("), 2, "not a selection"),
        (("run", "--site", LOOPBACK, "--out", LOOPBACK), 3, "cannot be made"),
        (("run", "--site", LOOPBACK, "--out", "/dev/null/x"), 3, "cannot be made"),
        (("run", "--site", LOOPBACK, "--set", "mode=site"), 2, "only lab sites"),
        (("report", "/dev"), 2, "journal.jsonl: cannot be read"),
        (("report", LOOPBACK), 2, "line 1: not JSON"),
        (("site", "check", ROOT / "pyproject.toml"), 2, "project"),
        (("plan", "--plan", LOOPBACK), 2, "loopback.toml"),
        (("bogus",), 2, "No such command"),
    ],
)
def test_each_mistake_is_said_plainly(
    tmp_path: Path, arguments: tuple[str | Path, ...], code: int, part: str
) -> None:
    """Wrong input ends with its exit code and its reason on stderr, without a traceback."""
    done = fst(*arguments, cwd=tmp_path)

    assert done.returncode == code, done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_nothing_is_written_for_a_refused_run(tmp_path: Path) -> None:
    """A bad setting leaves no folder behind."""
    fst("run", "--site", LOOPBACK, "--set", "sbc.timeout_ms=abc", cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_port_in_use_stops_the_run_at_once(tmp_path: Path) -> None:
    """A place that another program holds is named, with what to do, before anything is written."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.77.12", 15353))
        done = fst("run", "--site", LOOPBACK, *AWAY, cwd=tmp_path)

    assert done.returncode == 3
    assert "address 127.0.77.12:15353 for site1/enum2: UDP: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_lab_needs_no_more_than_coreutils(tmp_path: Path) -> None:
    """Hosts are watched without ps and ss too, which the README's line of apt does not bring."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "date", "env", "find", "sh", "sha256sum", "stat", "tail", "wc"):
        (tools / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name}"))
    two_site = (ROOT / "fixtures/sites/two-site.toml").read_text(encoding="utf-8")
    site = tmp_path / "site.toml"
    moved = two_site.replace("127.0.1.", "127.0.81.").replace("127.0.2.", "127.0.82.")
    site.write_text(moved.replace("127.0.3.", "127.0.83."), encoding="utf-8")

    done = subprocess.run(
        [FST, "run", "--site", site, "--case", "A.1.1", "--out", tmp_path / "out"],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=tmp_path,
        env=os.environ | {"PATH": str(tools)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "12 PASS" in done.stdout


def test_changed_captures_and_torn_journals_are_told(tmp_path: Path) -> None:
    """`fst report` says which file is not as it was recorded, and still makes the reports."""
    out = tmp_path / "evidence"
    fst("run", "--site", LOOPBACK, "--case", "B.3.2", "--out", out, *AWAY, cwd=tmp_path)
    folder = next(out.iterdir())
    capture = next((folder / "captures").glob("*.pcap"))
    capture.write_bytes(capture.read_bytes()[:-1] + b"\x00")
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])

    done = fst("report", folder, cwd=tmp_path)

    assert done.returncode == 3
    assert f"captures/{capture.name}: changed since the run" in done.stderr
    assert "its last line is torn" in done.stderr
    assert "report.html" in done.stdout


def test_site_check_and_plan_tell_what_a_file_gives(tmp_path: Path) -> None:
    """The two-site layout is 128 boxes on 20 forms, as in the plan's Appendix B."""
    site = ROOT / "fixtures" / "sites" / "two-site.toml"

    assert "128 boxes on 20 forms" in fst("site", "check", site, cwd=tmp_path).stdout
    assert fst("plan", "--site", site, cwd=tmp_path).stdout.endswith("128 boxes on 20 forms\n")


def test_reports_can_be_made_again_byte_for_byte(tmp_path: Path) -> None:
    """`fst report` gives the same three files from the journal alone."""
    out = tmp_path / "evidence"
    ran = fst("run", "--site", LOOPBACK, "--case", "B.3.2", "--out", out, *AWAY, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    folder = next(out.iterdir())
    names = ("report.html", "junit.xml", "results.json")
    before = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).unlink()

    assert fst("report", folder, cwd=tmp_path).returncode == 0
    assert {name: (folder / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_cleanly_and_keeps_what_was_recorded(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C, TERM or a dropped line in an outage: servers are back, the journal closed, exit 3."""
    out = tmp_path / "evidence"
    with subprocess.Popen(
        [FST, "run", "--site", LOOPBACK, "--case", "B.3.5", "--out", out, *AWAY, *LONG_OUTAGE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        journal = wait_for(out, '"kind":"down"', process)
        os.kill(process.pid, number)
        _, talk = process.communicate(timeout=LIMIT_S)

    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    marks = [event["kind"] for event in events if event["type"] == "mark"]
    assert process.returncode == 3
    assert "Traceback" not in talk
    assert marks[-1] == "up"
    assert events[-1]["type"] == "run.end"
    assert events[-1]["reason"].startswith("interrupted")
    assert (number.name in events[-1]["reason"]) is (number is not signal.SIGINT)
    assert not any(event["type"] == "verdict.proposed" for event in events)
    assert (journal.parent / "report.html").exists()


def wait_for(out: Path, text: str, process: subprocess.Popen[str]) -> Path:
    """Return the journal once it holds *text*, which ends the wait; the process's end does too."""
    while process.poll() is None:
        for journal in out.glob("*/journal.jsonl"):
            if text in journal.read_text(encoding="utf-8"):
                return journal
    pytest.fail("the run ended before it could be interrupted")


def _away() -> tuple[str, ...]:
    """Return settings that move the lab to addresses that no other test uses.

    Its times leave room for a machine that stalls.
    """
    moved = {
        "sites.0.hosts.0.address": "127.0.77.11",
        "sites.0.hosts.1.address": "127.0.77.12",
        "sites.0.hosts.2.address": "127.0.77.13",
        "sbc.address": "127.0.77.10",
        "sbc.next_hop": "127.0.77.20:15060",
        "sbc.redirect_hop": "127.0.77.21:15060",
        "lab.caller": "127.0.77.30:0",
    }
    set_ = [f'{key}="{value}"' for key, value in moved.items()]
    return tuple(part for one in (*set_, *ROOMY) for part in ("--set", one))


AWAY = _away()
