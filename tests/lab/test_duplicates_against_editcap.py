"""What we mark as a copy is what editcap takes out: an MD5 of each frame, and a window of time."""

import random
import subprocess
from pathlib import Path

import pytest

from harness.packets.capture_file import read
from harness.packets.frame import decode
from probetest.duplicates import Copy, find_copies
from tests.lab.peers import need
from tests.sip_wire import CARRIER, PHONE, SBC, Leg, Tape, rtp

pytestmark = pytest.mark.lab

ENDS = ((PHONE, SBC), (SBC, CARRIER), (CARRIER, SBC))


def mirrored(seed: int, window_ms: float, *, behind_ttl: int) -> Tape:
    """Return SIP and RTP of which some frames come again: near the window, routed, or sent anew."""
    dice, tape = random.Random(seed), Tape()  # noqa: S311 - the same every time
    frames: list[tuple[float, int, bytes, int, int]] = []
    for number in range(300):
        at_ms = number * 7.0
        branch = f"z9hG4bK-{number % 40}"
        payload = rtp(number, number * 160) if number % 3 else Leg(branch=branch).request()
        ends, ip_id = dice.randrange(3), number + 1
        frames.append((at_ms, ends, payload, ip_id, 64))
        for _ in range(dice.choice((0, 0, 1, 1, 2))):
            late_ms = dice.choice((0.0, 0.02, 1.4, window_ms - 0.5, window_ms + 0.5, 500.0))
            ttl = behind_ttl if dice.random() < 0.2 else 64
            anew = 1_000 if dice.random() < 0.2 else 0
            frames.append((at_ms + late_ms, ends, payload, ip_id + anew, ttl))
    for at_ms, number, payload, ip_id, ttl in sorted(frames, key=lambda frame: frame[0]):
        tape.udp(at_ms, *ENDS[number], payload, ip_id=ip_id, ttl=ttl)
    return tape


@pytest.mark.parametrize("window_ms", [2, 10, 50])
@pytest.mark.parametrize("seed", range(4))
def test_editcap_leaves_what_has_no_mark(seed: int, window_ms: int, tmp_path: Path) -> None:
    """The frames that `editcap -w` keeps of the same capture, all with one TTL, are those."""
    need("editcap", "tshark")
    given, left = tmp_path / "given.pcap", tmp_path / "left.pcap"
    given.write_bytes(mirrored(seed, window_ms, behind_ttl=64).data())
    argv = ["editcap", "-w", f"{window_ms / 1000}", "-F", "nsecpcap", str(given), str(left)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    routed = decode(mirrored(seed, window_ms, behind_ttl=63).capture())
    copies = find_copies(routed, window_ns=window_ms * 1_000_000)

    assert decode(read(left)).at_ns.tolist() == routed.at_ns[~copies.is_copy].tolist()
    assert {Copy.MIRRORED, Copy.ROUTED} <= set(copies.kind.tolist())


def test_a_tap_that_shows_all_twice_is_halved(tmp_path: Path) -> None:
    """`editcap -D 2`: each frame is compared with the one before, as a mirror gives them."""
    need("editcap", "tshark")
    given, left, tape = tmp_path / "given.pcap", tmp_path / "left.pcap", Tape()
    for number in range(200):
        for late_ms in (0, 0.05):
            packet = rtp(number, number * 160)
            tape.udp(number * 20 + late_ms, PHONE, SBC, packet, ip_id=number)
    given.write_bytes(tape.data())
    argv = ["editcap", "-D", "2", "-F", "nsecpcap", str(given), str(left)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    found = decode(tape.capture())

    assert decode(read(left)).at_ns.tolist() == found.at_ns[~find_copies(found).is_copy].tolist()
    assert len(found) == 400
