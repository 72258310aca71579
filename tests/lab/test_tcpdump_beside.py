"""What the lab's own tap writes is what tcpdump sees on the interface, datagram by datagram.

The tap stands in the sockets of the lab and needs no privilege; every verdict of a run without root
rests on it. So a whole run is watched by tcpdump from before to after, and nothing may differ.
"""

import subprocess
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from harness.packets.capture_file import read
from harness.packets.frame import decode
from tests.lab.conftest import NET, WatchedRun
from tests.lab.peers import need
from tests.lab.tcpdump import MARKER

pytestmark = pytest.mark.lab

FIELDS = ("ip.src", "udp.srcport", "ip.dst", "udp.dstport", "udp.payload")
MOST_LATE_NS = 5_000_000  # of the middle packet, from our send to the kernel's time of it
Row = tuple[str, ...]


def our_rows(path: Path) -> list[Row]:
    """Return endpoints and payload of each datagram, as this project reads the file."""
    capture = read(path)
    assert capture.cut is None
    found = decode(capture)
    assert len(found) == len(capture)  # no frame of it is anything else
    rows: list[Row] = []
    for at in range(len(found)):
        source, to = found.source(at), found.destination(at)
        ends = (source.address, str(source.port), to.address, str(to.port))
        rows.append((*ends, found.payload(at).hex()))
    return rows


def tshark_rows(path: Path) -> list[Row]:
    """Return the same, as tshark reads it."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    argv += list(chain.from_iterable(("-e", field) for field in FIELDS))
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return [tuple(line.split("|")) for line in run.stdout.splitlines()]


def without_marker(rows: list[Row]) -> list[Row]:
    """Return *rows* without the datagram that ended the watching."""
    *most, last = rows
    assert bytes.fromhex(last[-1]).startswith(MARKER)
    return most


def test_run_that_was_watched_passed(watched_run: WatchedRun) -> None:
    """The run is a good one with every exercise in it, and tcpdump lost nothing of it."""
    assert watched_run.run.having("PASS") == set(watched_run.run.verdicts)
    assert len(watched_run.run.captures) == 11
    assert watched_run.dropped == 0


def test_tap_and_tcpdump_hold_the_same_datagrams(watched_run: WatchedRun) -> None:
    """The run's captures end to end are tcpdump's file: endpoints, payloads, order, no more."""
    ours = list(chain.from_iterable(our_rows(path) for path in watched_run.run.captures))

    assert ours == without_marker(our_rows(watched_run.watched))
    assert len(ours) > 3000
    places = {row[0].rsplit(".", 1)[0] for row in ours}
    assert places - {"127.0.0"} == {f"127.0.{NET}"}  # and the lab's own: is a server up again?


def test_tshark_reads_the_same_from_both(watched_run: WatchedRun) -> None:
    """A reader that is not ours finds the same datagrams in our files and in tcpdump's."""
    ours = list(chain.from_iterable(tshark_rows(path) for path in watched_run.run.captures))

    assert ours == without_marker(tshark_rows(watched_run.watched))
    assert ours == list(chain.from_iterable(our_rows(path) for path in watched_run.run.captures))


def test_tap_notes_the_time_that_the_kernel_notes(watched_run: WatchedRun) -> None:
    """A datagram's time in our file is just before that in tcpdump's."""
    ours = np.concatenate([read(path).at_ns for path in watched_run.run.captures])
    theirs = read(watched_run.watched).at_ns[:-1]  # without the marker
    late_ns = np.sort(theirs - ours)

    assert 0 <= late_ns[len(late_ns) // 2] < MOST_LATE_NS
