"""Wireshark's convention, to the last printed digit; and where RFC 3550 says something else."""

import random
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.packets.capture_file import read
from harness.packets.frame import Endpoint, decode
from harness.records import StreamRecord
from probetest.duplicates import find_copies
from probetest.media.announcements import Announcement, Announcements
from probetest.media.streams import StreamReader
from probetest.sip import sdp as session
from probetest.sip.seen import read_messages
from tests.lab.peers import need
from tests.sip_wire import PHONE, SBC, Leg, Tape, rtp, sdp

pytestmark = pytest.mark.lab

PCAPS = Path(__file__).parents[2] / "pcaps"
HALF_DIGIT = 0.00051  # tshark prints three
_ROW = re.compile(
    r"\s*[\d.]+\s+[\d.]+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)\s+0x([0-9A-F]{8})\s+.+?\s+(\d+)\s+"
    r"(-?\d+) \(-?[\d.]+%\)" + r"\s+(-?[\d.]+)" * 6 + r"\s*(?:X|$)"
)

Key = tuple[str, str, int]
Row = tuple[float, ...]


@dataclass(slots=True)
class Sender:
    """One stream while it is made: what the next packet is."""

    dice: random.Random
    number: int
    timestamp: int
    at_ms: float
    step: int = 1
    units: int = 160
    passed_ms: float = 20.0
    marker: bool = False
    kind: int = 0
    event: bool = False
    late: int = 0


def _loss(one: Sender) -> None:
    one.step = one.dice.choice((2, 3, 8, 200))
    one.units *= one.step
    one.passed_ms *= one.step if one.dice.random() < 0.5 else 1


def _talkspurt(one: Sender) -> None:
    one.marker, one.units = True, 160 * one.dice.choice((1, 20))
    one.passed_ms = one.units / 8


def _noise(one: Sender) -> None:
    one.kind = 13


def _another_type(one: Sender) -> None:
    one.kind = one.dice.choice((3, 8, 18, 10, 16))


def _leap(one: Sender) -> None:
    one.step = one.dice.randrange(65_536)


def _other_clock(one: Sender) -> None:
    one.units = one.dice.randrange(2**32)


def _back(one: Sender) -> None:
    one.units = -one.dice.randrange(2000)


def _key(one: Sender) -> None:
    one.kind, one.event = 101, True


def _twice(one: Sender) -> None:
    one.step, one.units, one.passed_ms = 0, 0, 0.2


def _late(one: Sender) -> None:
    one.late = one.dice.choice((1, 2, 5))


def _nothing(one: Sender) -> None:
    del one


HARM: dict[str, tuple[tuple[Callable[[Sender], None], float], ...]] = {
    "steady": ((_nothing, 0.0),),
    "loss": ((_loss, 0.05),),
    "talkspurts": ((_talkspurt, 0.07),),
    "comfort noise": ((_noise, 0.04),),
    "types": ((_another_type, 0.04),),
    "leaps": ((_leap, 0.01),),
    "clock leaps": ((_other_clock, 0.01),),
    "clock back": ((_back, 0.02),),
    "keys": ((_key, 0.03),),
    "repeated": ((_twice, 0.03),),
    "late": ((_late, 0.03),),
}
HARM["all of it"] = tuple(one for several in HARM.values() for one in several)


def harmed(seed: int, harm: str) -> Tape:
    """Return six streams of 200 packets, some of them harmed."""
    dice, frames = random.Random(f"{harm} {seed}"), []  # noqa: S311 - no secret
    for stream in range(6):
        here, there = Endpoint(PHONE.address, 20_000 + 2 * stream), SBC
        first = dice.choice((0, 1, 65_500, dice.randrange(65_536)))
        stamp = dice.choice((dice.randrange(2**32), 2**32 - 3000))
        one = Sender(dice, first, stamp, stream * 0.3)
        usual = dice.choice((0, 8, 18, 3))
        for _ in range(200):
            now = Sender(dice, 0, 0, 0, kind=usual, passed_ms=20 + dice.gauss(0, 1))
            for change, chance in HARM[harm]:
                if dice.random() < chance:
                    change(now)
            one.number, one.timestamp = one.number + now.step, one.timestamp + now.units
            one.at_ms += max(now.passed_ms, 0.01)
            payload = struct.pack(">BBH", 1, 0, 160) if now.event else b"\xd5" * 20
            header = {"ssrc": stream + 1, "payload_type": now.kind, "payload": payload}
            packet = rtp(one.number, one.timestamp, marker=now.marker, **header)  # type: ignore[arg-type]
            frames.append((one.at_ms, here, there, packet))
            if now.late:
                number, timestamp = one.number - now.late, one.timestamp - 160 * now.late
                packet = rtp(number, timestamp, **header)  # type: ignore[arg-type]
                frames.append((one.at_ms + 5, here, there, packet))
    tape = Tape()
    for frame in sorted(frames, key=lambda frame: frame[0]):
        tape.udp(*frame)
    return tape


def _place(address: str, port: str) -> str:
    """Return address:port as ours."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def tshark(path: Path) -> dict[Key, Row]:
    """Return what tshark prints of each stream."""
    argv = [need("tshark", "tshark"), "-n", "-q", "-r", str(path), "-z", "rtp,streams"]
    argv += ["--enable-heuristic", "rtp_udp"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    found: dict[Key, Row] = {}
    for line in run.stdout.splitlines():
        if row := _ROW.match(line):
            source, destination = _place(row[1], row[2]), _place(row[3], row[4])
            key = source, destination, int(row[5], 16)
            found[key] = tuple(float(cell) for cell in row.groups()[5:])
    return found


def ours(path: Path) -> dict[Key, StreamRecord]:
    """Return our records, Wireshark's convention with them."""
    datagrams = decode(read(path))
    copies, known = find_copies(datagrams), Announcements()
    for seen in read_messages(datagrams, copies):
        if seen.gist is not None and seen.gist.body:
            for media in session.parse(seen.gist.body):
                known.add(Announcement(seen.at_ns, seen.gist.call_id, media))
    reader = StreamReader(wireshark=True)
    reader.add(datagrams, copies, known)
    streams = reader.finish(known).streams
    return {(one.source, one.destination, one.ssrc): one for one in streams}


def row(one: StreamRecord) -> Row:
    """Return a record as tshark's row."""
    found = one.wireshark
    assert found is not None
    return (
        found.packets,
        found.lost,
        *(found.delta_min_ms, found.delta_mean_ms, found.delta_max_ms),
        *(found.jitter_min_ms, found.jitter_mean_ms, found.jitter_max_ms),
    )


def held(path: Path) -> int:
    """Hold every stream that both see to be equal as printed, and return how many."""
    mine, theirs = ours(path), tshark(path)
    both = mine.keys() & theirs.keys()
    for key in both:
        assert row(mine[key]) == pytest.approx(theirs[key], abs=HALF_DIGIT, rel=1e-6), key
    return len(both)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("seed", range(2))
def test_hostile_streams_are_what_wireshark_prints(tmp_path: Path, harm: str, seed: int) -> None:
    """Packets, lost, and least, mean and highest delta and jitter of all six."""
    path = tmp_path / "harmed.pcap"
    path.write_bytes(harmed(seed, harm).data())

    assert held(path) == 6


@pytest.mark.parametrize("clock", ["97 opus/48000/2", "97 speex/16000", "97 L16/11025"])
def test_clocks_from_sdp_are_what_wireshark_takes(tmp_path: Path, clock: str) -> None:
    """Also one whose thousandth is no whole number, which Wireshark cuts; and keys between."""
    tape, dice = Tape(), random.Random(clock)  # noqa: S311 - no secret
    here, there = Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000)
    maps = clock, "101 telephone-event/8000"
    leg = Leg(extra=(("Content-Type", "application/sdp"),))
    tape.udp(0, PHONE, SBC, leg.request(body=sdp(here, *maps, types="97 101")))
    tape.udp(50, SBC, PHONE, leg.response(200, body=sdp(there, *maps, types="97 101")))
    units = int(clock.split("/")[1]) // 50
    for number in range(100):
        kind = 101 if 40 <= number < 50 else 97
        payload = struct.pack(">BBH", 5, 0, 160) if kind == 101 else b"\xd5" * 40
        packet = rtp(number, units * number, payload_type=kind, payload=payload)
        at_ms = 100 + 20 * number + abs(dice.gauss(0, 1))
        tape.udp(at_ms, here, there, packet)
    path = tmp_path / "clock.pcap"
    path.write_bytes(tape.data())

    assert held(path) == 1


@pytest.mark.parametrize("path", sorted(PCAPS.glob("*/capture.pcap*")), ids=lambda p: p.parent.name)
def test_committed_captures_are_what_wireshark_prints(path: Path) -> None:
    """Every stream that both see."""
    held(path)


def test_copies_of_the_tap_are_packets_for_wireshark(tmp_path: Path) -> None:
    """It counts each twice, and loses fewer than none; ours are counted beside."""
    tape, there = Tape(), Endpoint("192.0.2.20", 50_000)
    for number in range(40):
        for turn in (0.0, 0.1):
            packet = rtp(number, 160 * number)
            tape.udp(20 * number + turn, PHONE, there, packet, ip_id=number + 1)
    path = tmp_path / "copies.pcap"
    path.write_bytes(tape.data())

    assert held(path) == 1
    (one,) = ours(path).values()
    assert (one.packets, one.copies, one.lost) == (40, 40, 0)
    assert one.wireshark is not None
    assert (one.wireshark.packets, one.wireshark.lost) == (80, -40)
