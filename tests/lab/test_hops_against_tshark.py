"""Hops are made of the messages that tshark sees, and its pairs of query and answer are ours."""

import random
import subprocess
from pathlib import Path

import pytest

from enumtest.dns.message import Query, encode_answer
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import EVENTS
from harness.packets.capture_file import read
from tests.enum_wire import (
    MS,
    SECOND,
    Reply,
    Wire,
    allowing,
    capture_bytes,
    endpoints,
    sbc,
    sbc_config,
)
from tests.lab.peers import need

pytestmark = pytest.mark.lab

SERVERS = endpoints(3)
NAMES = {endpoint: name for name, endpoint in SERVERS.items()}
CONFIG = sbc_config(SERVERS, timeout_ns=2 * SECOND, hold_down_ns=30 * SECOND)
FIELDS = ("frame.number", "dns.id", "dns.qry.name", "dns.flags.response", "dns.flags.rcode")


def erratic(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Answer well, not at all, with an error, or that there is no such number."""
    dice = random.Random(f"{server} {now_ns // (5 * SECOND)}")  # noqa: S311 - a test
    match dice.randrange(5):
        case 0:
            return ()
        case 1:
            return (Reply(encode_answer(query, "SERVFAIL")),)
        case 2:
            return (Reply(encode_answer(query, "NXDOMAIN"), after_ns=40 * MS),)
        case _:
            return tuple(allowing(server, query, now_ns))


def rows(path: Path, *fields: str) -> list[list[str]]:
    """Return tshark's fields of each DNS message."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-Y", "dns", "-T", "fields"]
    argv += [word for field in fields for word in ("-e", field)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return [line.split("\t") for line in run.stdout.splitlines()]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return the capture of 300 calls."""
    wire = Wire(sbc(CONFIG), erratic)
    wire.calls(300, 370 * MS)
    path = tmp_path / "calls.pcap"
    path.write_bytes(capture_bytes((p.at_ns, p.frame) for p in sorted(wire.run().packets)))
    return path


def test_every_message_is_a_send_or_an_answer_of_a_hop(capture: Path) -> None:
    """Frame by frame: id, name and return code."""
    table = read_lookups([read(capture)], NAMES, CONFIG.profile)
    hops, ours = table.hops, {}
    for row in range(len(hops)):
        name = hops.questions[hops.question[row]]
        for at in range(hops.sends_from[row], hops.sends_from[row + 1]):
            ours[int(hops.send_frame[at])] = (int(hops.send_id[at]), name, "")
        answers = ((hops.answer_frame, hops.event), (hops.late_frame, hops.late_event))
        for frame, event in ((int(column[row]), said[row]) for column, said in answers):
            if frame:
                what = EVENTS[event]
                ours[frame] = (int(hops.send_id[hops.sends_from[row]]), name, what or "NOERROR")
    rcodes = {"0": "NOERROR", "2": "SERVFAIL", "3": "NXDOMAIN"}
    theirs = {
        int(frame): (int(id_, 16), name, rcodes[rcode] if said in ("1", "True") else "")
        for frame, id_, name, said, rcode in rows(capture, *FIELDS)
    }

    assert ours == theirs
    assert table.odd_count == 0


def test_answers_are_given_to_the_queries_that_tshark_gives_them_to(capture: Path) -> None:
    """And the time that it took from the first send is at least tshark's from the last."""
    hops = read_lookups([read(capture)], NAMES, CONFIG.profile).hops
    sends = {
        int(hops.answer_frame[row]): set(hops.send_frame[hops.sends(row)].tolist())
        for row in range(len(hops))
        if hops.answer_frame[row]
    }
    theirs = {
        int(frame): int(query)
        for frame, query in rows(capture, "frame.number", "dns.response_to")
        if query
    }

    assert theirs
    assert all(theirs[frame] in sends[frame] for frame in theirs if frame in sends)
    assert sends.keys() <= theirs.keys()
