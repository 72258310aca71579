"""Captures and readers that are not ours: what Debian's packages ship, and pyshark on a sample.

A package of `packages.debian` that is not installed is skipped; where CI installs them, it fails.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probetest.cli import main
from probetest.sip.message import parse, uri_user
from tests.lab.peers import missing, need
from tests.lab.test_pcaps_against_tshark import CASES, capture_of, our_messages
from tests.lab.tshark_reading import their_streams

pytestmark = pytest.mark.lab

SHIPPED = {  # by Debian package: where it has captures
    "sip-tester": ("/usr/share/sip-tester", 13),
}
RTP_ALONE = ("-o", "rtp.heuristic_rtp:TRUE", "--enable-heuristic", "rtp_udp")
SAMPLE = ("auth-retry", "golden-call", "ipv6", "network-erspan-2", "network-two-legs", "vlan")
SAME_MS = 0.0006  # tshark prints three decimals


def shipped() -> list[Any]:
    """Return each capture that a package has here, and one place for a package that is missing."""
    found = []
    for package, (folder, _) in SHIPPED.items():
        paths = sorted(Path(folder).glob("*.pcap*")) or [Path(folder) / "none"]
        found += [pytest.param(package, path, id=f"{package}-{path.name}") for path in paths]
    return found


@pytest.mark.parametrize(("package", "path"), shipped())
def test_a_capture_of_a_package_is_read_as_tshark_does(
    package: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every RTP stream: packets, loss, and jitter of those that are not events alone."""
    if not path.exists():
        missing(f"a capture in {path.parent}", package)
    theirs = their_streams(path, *RTP_ALONE)
    assert main(["analyse", str(path), "--view", "streams", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)["streams"]

    assert theirs
    assert {(row["source"], row["destination"], row["ssrc"]) for row in ours} == theirs.keys()
    for row in ours:
        other = theirs[row["source"], row["destination"], row["ssrc"]]
        assert (row["packets"], row["lost"]) == (other.packets, other.lost)
        assert (row["jitter_mean_ms"] is None) == (other.jitter_ms is None)
        if other.jitter_ms is not None:
            assert row["jitter_mean_ms"] == pytest.approx(other.jitter_ms[0], abs=SAME_MS)
            assert row["jitter_max_ms"] == pytest.approx(other.jitter_ms[1], abs=SAME_MS)


def test_the_digits_of_a_package_are_those_its_files_are_named_after(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIPp ships a capture for each key: that key is read."""
    folder, count = SHIPPED["sip-tester"]
    paths = sorted(Path(folder).glob("dtmf_2833_*.pcap"))
    if not paths:
        missing(f"captures in {folder}", "sip-tester")
    found = {}
    for path in paths:
        main(["analyse", str(path), "--view", "streams", "--json"])
        rows = json.loads(capsys.readouterr().out)["streams"]
        found[path.stem.rpartition("_")[2]] = "".join(row["digits"] for row in rows)

    assert len(paths) == count - 1  # the other one is speech
    assert found == {**{key: key for key in "0123456789"}, "pound": "#", "star": "*"}


PYSHARK = """
import json, sys, pyshark
found = []
with pyshark.FileCapture(
    sys.argv[1], display_filter="sip", keep_packets=False, custom_parameters=["-n"]
) as capture:
    for packet in capture:
        sip = packet.sip
        what = sip.get_field_value("Method") or sip.get_field_value("Status-Code")
        users = (sip.get_field_value("from_user"), sip.get_field_value("to_user"))
        found.append((int(packet.number), what, sip.get_field_value("Call-ID"), *users))
print(json.dumps(found))
"""


def their_messages(path: Path) -> list[tuple[int, str, str, str, str]]:
    """Return frame, what it is, Call-ID and users of each SIP message, as pyshark gives them.

    In a process of its own: pyshark wants the thread's event loop, which other tests have closed.
    """
    need("tshark", "tshark")
    argv = [sys.executable, "-c", PYSHARK, str(path)]
    told = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert not told.returncode, told.stderr.decode()
    return [tuple(one) for one in json.loads(told.stdout)]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in SAMPLE], ids=lambda case: case.name
)
def test_pyshark_reads_the_same_messages(case: Path) -> None:
    """Frame, method or status, Call-ID, and the users of From and To, message by message."""
    path = capture_of(case)
    ours = []
    for seen in our_messages(path):
        message = parse(seen.data)
        what = message.method or str(message.status)
        users = (uri_user(message.from_uri), uri_user(message.to_uri))
        ours.append((seen.frame, what, message.call_id, *users))

    assert ours == their_messages(path)
