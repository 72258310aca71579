"""A replay out of one end of a veth pair, with tcpdump and our own tap on the other end.

Both ends are in a network namespace of the test: nothing of it leaves this host.
"""

import asyncio
import json
import re
import secrets
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.packets.capture import Capture
from harness.packets.capture_file import CaptureWriter, read
from tests.lab.peers import Process, missing, need, need_root, start, until

pytestmark = pytest.mark.lab

CALL = Path("/usr/share/sip-tester/g711a.pcap")
DIGIT = Path("/usr/share/sip-tester/dtmf_2833_1.pcap")
MAIN = "from probetest.cli import main; raise SystemExit(main())"
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
GENEROUS_NS = 150 * MS  # for the middle frame, on a busy machine; a quiet one needs 0.003 ms


@dataclass(frozen=True, slots=True)
class Namespace:
    """Two interfaces, `near` and `far`, joined by a cable."""

    name: str

    def inside(self, *argv: str) -> list[str]:
        return [need("ip", "iproute2"), "netns", "exec", self.name, *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            self.inside(*argv), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def probetest(*argv: str) -> list[str]:
    """Return the command line of our own command."""
    return [sys.executable, "-c", MAIN, *argv]


@pytest.fixture
def cable() -> Iterator[Namespace]:
    """Return a namespace with a veth pair on which nobody else speaks."""
    need_root()
    ip = need("ip", "iproute2")
    place = Namespace(f"replay-{secrets.token_hex(4)}")
    subprocess.run([ip, "netns", "add", place.name], check=True, timeout=20)
    try:
        place.run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        for end in ("near", "far"):  # no address is made, and so no neighbour is looked for
            place.run("ip", "link", "set", end, "addrgenmode", "none", "arp", "off", "up")
        yield place
    finally:
        subprocess.run([ip, "netns", "delete", place.name], check=True, timeout=20)


def frames(capture: Capture) -> list[bytes]:
    """Return every frame of a capture."""
    ends = capture.offset_bytes + capture.captured_bytes
    pairs = zip(capture.offset_bytes.tolist(), ends.tolist(), strict=True)
    return [capture.data[begin:end].tobytes() for begin, end in pairs]


def records(process: Process, path: Path) -> int:
    """Return how many frames are in a file that is still being written."""
    assert process.poll() is None
    return len(read(path)) if path.exists() and path.stat().st_size >= 24 else 0


async def tcpdump(cable: Namespace, path: Path, log: Path) -> Process:
    """Return a tcpdump that listens on the far end."""
    # With --immediate-mode each place in its ring is as long as a frame can be, so: no longer.
    argv = [need("tcpdump", "tcpdump"), "-i", "far", "-n", "-s", "2048", "-U", "-Z", "root"]
    argv += ["--immediate-mode", "--time-stamp-precision=nano", "-B", "65536", "-w", str(path)]
    process = start(cable.inside(*argv), log)
    await until(lambda: b"listening on far" in log.read_bytes(), "tcpdump listens", log)
    return process


async def replayed(
    cable: Namespace, source: Path, folder: Path, *options: str
) -> tuple[Capture, dict[str, float]]:
    """Return what tcpdump saw of a replay of *source*, and what the replay reported."""
    seen, log = folder / "tcpdump.pcap", folder / "tcpdump.txt"
    process = await tcpdump(cable, seen, log)
    try:
        said = cable.run(*probetest("replay", str(source), "--json", "--to", "near", *options))
        report = json.loads(said)
        await until(lambda: records(process, seen) >= report["packets"], "all frames", log)
        process.send_signal(signal.SIGINT)
        await until(lambda: process.poll() is not None, "tcpdump ends", log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    assert re.search(r"^0 packets dropped by kernel$", log.read_text(), re.MULTILINE)
    return read(seen), report


@pytest.mark.parametrize(
    ("source", "options"),
    [(DIGIT, ()), (CALL, ("--speed", "10")), (CALL, ("--speed", "10", "--spin-us", "150"))],
    ids=["digit", "call", "call-spinning"],
)
def test_tcpdump_sees_every_frame_in_order_and_in_time(
    cable: Namespace, tmp_path: Path, source: Path, options: tuple[str, ...]
) -> None:
    """The other end gets the same bytes in the same order, each near its time, without drift."""
    if not source.exists():
        missing(str(source), "sip-tester")
    seen, report = asyncio.run(replayed(cable, source, tmp_path, *options))

    sent = read(source)
    assert report["complete"]
    assert frames(seen) == frames(sent)
    due_ns = (sent.at_ns - sent.at_ns[0]) // (10 if options else 1)
    late_ns = seen.at_ns - seen.at_ns[0] - due_ns
    assert np.median(np.abs(late_ns - np.median(late_ns))) < GENEROUS_NS  # the first may be late


def test_fast_loops_lose_and_swap_nothing(cable: Namespace, tmp_path: Path) -> None:
    """Ten thousand numbered frames as fast as they go arrive once each, in order."""
    source = tmp_path / "numbered.pcap"
    with CaptureWriter(source, linktype=1) as writer:
        for number in range(5000):
            octets = bytes.fromhex("0200000000020200000000018888") + number.to_bytes(4)
            writer.write(START_NS + number * 1000, octets + bytes(200))

    seen, report = asyncio.run(replayed(cable, source, tmp_path, "--loop", "2", "--speed", "1000"))

    assert report["packets"] == 10_000
    assert frames(seen) == frames(read(source)) * 2


def test_our_tap_records_what_tcpdump_records(cable: Namespace, tmp_path: Path) -> None:
    """VLAN tags, which Linux takes out of a frame, are put back; nothing is dropped."""
    source, ours = tmp_path / "tagged.pcap", tmp_path / "watch.pcap"
    outer, inner = struct.pack(">HH", 0x8100, 0x6064), struct.pack(">HH", 0x8100, 0x0007)
    q_in_q = struct.pack(">HH", 0x88A8, 0x0FFF)
    macs = bytes.fromhex("020000000002020000000001")
    with CaptureWriter(source, linktype=1) as writer:
        for number in range(300):
            tags = (b"", outer, outer + inner, q_in_q + inner)[number % 4]
            octets = macs + tags + b"\x88\x88" + number.to_bytes(4) + bytes(number)
            writer.write(START_NS + number * MS // 10, octets)

    async def both() -> tuple[Capture, dict[str, float], dict[str, object]]:
        log = tmp_path / "watch.txt"
        options = ("--interface", "far", "--write", str(ours), "--packets", "300", "--json")
        process = start(cable.inside(*probetest("watch", *options)), log)
        try:
            await until(lambda: b"ready: packet tap far" in log.read_bytes(), "our tap", log)
            seen, report = await replayed(cable, source, tmp_path)
            await until(lambda: process.poll() is not None, "our tap has them all", log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        return seen, report, json.loads(log.read_text().splitlines()[-1])

    seen, _, told = asyncio.run(both())

    assert (told["packets"], told["drops"]) == (300, 0)
    assert told["by_port"] == {"far": 300}
    assert frames(read(ours)) == frames(seen) == frames(read(source))


def test_tap_counts_what_the_kernel_drops(cable: Namespace, tmp_path: Path) -> None:
    """A tap with a buffer that is too small finds every frame or counts it as dropped."""
    source, result = tmp_path / "many.pcap", tmp_path / "small.pcap"
    with CaptureWriter(source, linktype=1) as writer:
        for number in range(500):
            octets = bytes.fromhex("0200000000020200000000018888") + number.to_bytes(4)
            writer.write(START_NS + number, octets + bytes(1000))
    code = (
        "import asyncio, subprocess, sys\n"
        "from pathlib import Path\n"
        "from probetest.taps.tap import PacketTap\n"
        "async def go():\n"
        "    tap = PacketTap('far', receive_buffer_bytes=8192)\n"
        "    await tap.start(Path(sys.argv[1]))\n"
        "    subprocess.run(sys.argv[2:], check=True, capture_output=True)\n"  # nobody reads
        "    print(*await tap.stop())\n"
        "asyncio.run(go())\n"
    )
    sender = [sys.executable, "-c", MAIN, "replay", str(source), "--to", "near", "--speed", "100"]

    packets, drops = map(int, cable.run(sys.executable, "-c", code, str(result), *sender).split())

    assert drops > 0
    assert packets + drops == 500
    assert len(read(result)) == packets


def test_tap_tells_on_which_port_a_frame_came_in(cable: Namespace, tmp_path: Path) -> None:
    """An interface on top of another gets its frames as a bond gets those of its ports.

    Linux hands both over in the same way (RX_HANDLER_ANOTHER), with the port kept beside the frame.
    """
    source, log = tmp_path / "few.pcap", tmp_path / "watch.txt"
    cable.run("ip", "link", "add", "link", "far", "name", "upper", "type", "macvlan")
    cable.run("ip", "link", "set", "upper", "addrgenmode", "none", "arp", "off", "up")
    upper = bytes.fromhex(cable.run("cat", "/sys/class/net/upper/address").strip().replace(":", ""))
    with CaptureWriter(source, linktype=1) as writer:
        for number in range(20):
            writer.write(START_NS + number * MS, upper + bytes(6) + b"\x88\x88" + bytes(46))

    async def watched() -> dict[str, object]:
        options = ("--interface", "upper", "--write", str(tmp_path / "watch.pcap"))
        argv = probetest("watch", *options, "--packets", "20", "--json")
        process = start(cable.inside(*argv), log)
        try:
            await until(lambda: b"ready: packet tap upper" in log.read_bytes(), "our tap", log)
            cable.run(*probetest("replay", str(source), "--to", "near"))
            await until(lambda: process.poll() is not None, "our tap has them all", log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        told: dict[str, object] = json.loads(log.read_text().splitlines()[-1])
        return told

    told = asyncio.run(watched())

    assert (told["packets"], told["drops"], told["by_port"]) == (20, 0, {"far": 20})


def test_frame_beyond_the_mtu_is_refused_before_the_first(cable: Namespace, tmp_path: Path) -> None:
    """Nothing is sent of a capture of which not all can be sent."""
    source = tmp_path / "long.pcap"
    with CaptureWriter(source, linktype=1) as writer:
        for size in (60, 1514, 1515):
            writer.write(START_NS, bytes(size))

    done = subprocess.run(
        cable.inside(*probetest("replay", str(source), "--to", "near")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    sent = cable.run("cat", "/sys/class/net/near/statistics/tx_packets")
    assert done.returncode == 2
    assert "frame 3, bytes = 1515: longer than the 1514" in done.stderr
    assert int(sent) == 0


def test_largest_frames_are_taken(cable: Namespace, tmp_path: Path) -> None:
    """What the check lets through, with and without a VLAN tag, the kernel takes."""
    source = tmp_path / "largest.pcap"
    macs = bytes.fromhex("020000000002020000000001")
    with CaptureWriter(source, linktype=1) as writer:
        writer.write(START_NS, macs + b"\x88\x88" + bytes(1500))
        writer.write(START_NS, macs + b"\x81\x00\x00\x05\x88\x88" + bytes(1500))

    seen, _ = asyncio.run(replayed(cable, source, tmp_path))

    assert frames(seen) == frames(read(source))


def test_without_privilege_one_line_says_so(cable: Namespace, tmp_path: Path) -> None:
    """Without CAP_NET_RAW the refusal names the capability, and the way that needs none."""
    source = tmp_path / "one.pcap"
    with CaptureWriter(source, linktype=1) as writer:
        writer.write(START_NS, bytes(60))
    setpriv = [need("setpriv", "util-linux"), "--bounding-set=-net_raw", "--inh-caps=-net_raw"]

    done = subprocess.run(
        cable.inside(*setpriv, *probetest("replay", str(source), "--to", "near")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "probetest: sending frames needs CAP_NET_RAW: run as root, or use --udp, which needs none"
    ]
