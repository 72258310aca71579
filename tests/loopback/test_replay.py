"""A capture out through a UDP socket and back in through a tap, on loopback and without root."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from harness.clock import SystemClock
from harness.errors import InputError, ToolError
from harness.packets.capture import LINKTYPE_RAW, Capture, encode_file_header, encode_record
from harness.packets.capture_file import CaptureWriter, read
from harness.packets.frame import Endpoint, encode_udp
from probetest.cli import main
from probetest.taps.bond import Mode
from probetest.taps.bond_live import bond_of
from probetest.taps.replay import SystemWaiter, VxlanSender, replay
from probetest.taps.replay_plan import ReplayReport, make_plan
from probetest.taps.tap import UdpTap
from probetest.taps.vxlan import encapsulate
from tests.lab.peers import missing

ADDRESS = "127.0.87.1"
CALL = Path("/usr/share/sip-tester/g711a.pcap")
DIGIT = Path("/usr/share/sip-tester/dtmf_2833_1.pcap")
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
BOND_TEXT = Path(__file__).parents[2] / "fixtures/hosts/bonding/linux61-lacp-both.txt"
PROBETEST = (sys.executable, "-c", "from probetest.cli import main; raise SystemExit(main())")


def frames(capture: Capture) -> list[bytes]:
    """Return every frame of a capture."""
    ends = capture.offset_bytes + capture.captured_bytes
    pairs = zip(capture.offset_bytes.tolist(), ends.tolist(), strict=True)
    return [capture.data[start:end].tobytes() for start, end in pairs]


def made(path: Path, count: int, gap_ns: int) -> Path:
    """Write a capture of *count* frames of many sizes."""
    with CaptureWriter(path, linktype=1) as writer:
        for number in range(count):
            octets = bytes.fromhex("0200000000020200000000018888") + number.to_bytes(4)
            writer.write(START_NS + number * gap_ns, octets + bytes(number * 7 % 1450))
    return path


BOND = {
    "attrs": [
        ("IFLA_INFO_KIND", "bond"),
        (
            "IFLA_INFO_DATA",
            {
                "attrs": [
                    ("IFLA_BOND_MODE", 4),
                    ("IFLA_BOND_MIIMON", 100),
                    ("IFLA_BOND_ARP_INTERVAL", 0),
                    ("IFLA_BOND_ALL_SLAVES_ACTIVE", 0),
                    ("IFLA_BOND_AD_INFO", {"attrs": [("IFLA_BOND_AD_INFO_AGGREGATOR", 1)]}),
                ]
            },
        ),
    ]
}
SLAVE = {
    "attrs": [
        ("IFLA_INFO_SLAVE_KIND", "bond"),
        (
            "IFLA_INFO_SLAVE_DATA",
            {
                "attrs": [
                    ("IFLA_BOND_SLAVE_STATE", 1),
                    ("IFLA_BOND_SLAVE_MII_STATUS", 0),
                    ("IFLA_BOND_SLAVE_LINK_FAILURE_COUNT", 2),
                    ("IFLA_BOND_SLAVE_PERM_HWADDR", "00:00:5e:00:53:06"),
                    ("IFLA_BOND_SLAVE_AD_AGGREGATOR_ID", 1),
                ]
            },
        ),
    ]
}


def link(index: int, name: str, info: Mapping[str, object], master: int) -> ifinfmsg:
    """Return the answer about one interface, through pyroute2's codec both ways."""
    written = ifinfmsg()
    written["index"] = index
    written["flags"] = 0x10043
    written["attrs"] = [("IFLA_IFNAME", name), ("IFLA_MASTER", master), ("IFLA_LINKINFO", info)]
    written.encode()
    answer = ifinfmsg(written.data)
    answer.decode()
    return answer


async def there_and_back(
    capture: Path, written: Path, *, speed: float = 1.0, loops: int = 1
) -> tuple[ReplayReport, UdpTap, int, int | None]:
    """Replay *capture* to a tap that writes *written*."""
    clock = SystemClock()
    tap = UdpTap(Endpoint(ADDRESS, 0))
    await tap.start(written)
    plan = make_plan(read(capture), speed=speed, loops=loops)
    with VxlanSender(tap.endpoint, clock, vni=7) as sender, SystemWaiter(clock) as waiter:
        report = await asyncio.to_thread(replay, plan, sender, clock, waiter)
    return report, tap, *await tap.stop()


@pytest.mark.parametrize("source", [CALL, DIGIT], ids=["call", "digit"])
def test_real_call_comes_back_byte_for_byte(source: Path, tmp_path: Path) -> None:
    """Captures that are not ours arrive as they were sent: bytes, order, and the times between."""
    if not source.exists():
        missing(str(source), "sip-tester")
    report, tap, packets, drops = asyncio.run(
        there_and_back(source, tmp_path / "tap.pcap", speed=20)
    )

    sent, seen = read(source), read(tmp_path / "tap.pcap")
    assert report.complete
    assert (packets, drops, tap.malformed) == (len(sent), 0, 0)
    assert frames(seen) == frames(sent)
    assert np.all(np.diff(seen.at_ns) >= 0)
    # No frame leaves before its time, and the last not before the whole has passed; how late one
    # may be is a matter of the machine, and is tested on a clock that stands still.
    span_ns = int(sent.at_ns[-1] - sent.at_ns[0]) // 20
    assert report.late_p50_ns >= 0
    assert report.duration_ns >= span_ns - report.late_max_ns
    assert abs(int(seen.at_ns[-1] - seen.at_ns[0]) - span_ns) < 2000 * MS


def test_loops_come_back_in_order(tmp_path: Path) -> None:
    """Each loop is the whole capture again."""
    source = made(tmp_path / "made.pcap", 50, 100_000)
    _, _, packets, drops = asyncio.run(
        there_and_back(source, tmp_path / "tap.pcap", speed=50, loops=3)
    )

    assert (packets, drops) == (150, 0)
    assert frames(read(tmp_path / "tap.pcap")) == frames(read(source)) * 3


def test_raw_ip_comes_back_as_ethernet(tmp_path: Path) -> None:
    """The lab's own captures, which have no link layer, can be replayed too."""
    packet = encode_udp(Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060), b"OPTIONS")
    raw = tmp_path / "raw.pcap"
    raw.write_bytes(encode_file_header(LINKTYPE_RAW) + encode_record(START_NS, packet))

    asyncio.run(there_and_back(raw, tmp_path / "tap.pcap"))

    (seen,) = frames(read(tmp_path / "tap.pcap"))
    assert (seen[12:14], seen[14:]) == (b"\x08\x00", packet)


def test_stop_waits_for_what_has_arrived(tmp_path: Path) -> None:
    """A thousand frames that nobody has read yet are in the file when `stop` returns."""

    async def flood() -> tuple[int, int | None]:
        tap = UdpTap(Endpoint(ADDRESS, 0))
        await tap.start(tmp_path / "tap.pcap")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(1000):  # the event loop does not run meanwhile
                payload = encapsulate(bytes(14) + number.to_bytes(4))
                sender.sendto(payload, (tap.endpoint.address, tap.endpoint.port))
        return await tap.stop()

    packets, drops = asyncio.run(flood())

    assert packets + (drops or 0) == 1000  # without root the buffer may be small
    numbers = [int.from_bytes(octets[-4:]) for octets in frames(read(tmp_path / "tap.pcap"))]
    assert numbers == sorted(numbers)
    assert len(numbers) == packets


def test_every_lost_datagram_is_counted(tmp_path: Path) -> None:
    """With a buffer that is too small, packets and drops together are what was sent."""

    async def flood() -> tuple[int, int | None]:
        tap = UdpTap(Endpoint(ADDRESS, 0), receive_buffer_bytes=4096)
        await tap.start(tmp_path / "tap.pcap")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(500):
                sender.sendto(encapsulate(bytes(1000)), (ADDRESS, tap.endpoint.port))
        return await tap.stop()

    packets, drops = asyncio.run(flood())

    assert drops is not None
    assert drops > 0
    assert packets + drops == 500


def test_datagram_without_a_frame_is_counted_apart(tmp_path: Path) -> None:
    """What is not VXLAN is neither a packet nor lost; the first reason is kept."""

    async def confuse() -> tuple[UdpTap, int, int | None]:
        tap = UdpTap(Endpoint(ADDRESS, 0))
        await tap.start(tmp_path / "tap.pcap")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for payload in (b"", b"hello", bytes(40), encapsulate(bytes(20))):
                sender.sendto(payload, (ADDRESS, tap.endpoint.port))
        return tap, *await tap.stop()

    tap, packets, drops = asyncio.run(confuse())

    assert (packets, drops, tap.malformed) == (1, 0, 3)
    assert tap.first_malformed == "byte 0: cut inside the VXLAN header"


def test_tap_records_one_capture_after_another(tmp_path: Path) -> None:
    """After `stop` it can start again, with new counts; a file is never overwritten."""

    async def twice() -> list[tuple[int, int | None]]:
        tap, found = UdpTap(Endpoint(ADDRESS, 0)), []
        for name in ("one.pcap", "two.pcap"):
            await tap.start(tmp_path / name)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(encapsulate(bytes(20)), (ADDRESS, tap.endpoint.port))
            found.append(await tap.stop())
        with pytest.raises(ToolError, match="cannot start a capture"):
            await tap.start(tmp_path / "one.pcap")
        with pytest.raises(ToolError, match="no capture is running"):
            await tap.stop()
        return found

    assert asyncio.run(twice()) == [(1, 0), (1, 0)]


def test_tap_says_when_its_port_is_taken(tmp_path: Path) -> None:
    """An address in use is a fault of the set-up, and names it."""

    async def two_taps() -> None:
        first = UdpTap(Endpoint(ADDRESS, 0))
        await first.start(tmp_path / "one.pcap")
        try:
            with pytest.raises(ToolError, match="cannot listen: Address already in use"):
                await UdpTap(first.endpoint).start(tmp_path / "two.pcap")
        finally:
            await first.stop()

    asyncio.run(two_taps())


@pytest.mark.parametrize("count", [1, 50])
def test_replay_to_nobody_is_an_error(tmp_path: Path, count: int) -> None:
    """Frames that nobody receives are not a replay, not even the last one."""
    plan = make_plan(read(made(tmp_path / "made.pcap", count, MS)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:  # bound, then closed
        taken.bind((ADDRESS, 0))
        nobody = Endpoint(ADDRESS, taken.getsockname()[1])
    clock = SystemClock()

    with (
        VxlanSender(nobody, clock) as sender,
        SystemWaiter(clock) as waiter,
        pytest.raises(ToolError, match="nobody listens"),
    ):
        replay(plan, sender, clock, waiter)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "255.255.255.255"])
def test_other_hosts_are_refused(address: str) -> None:
    """A replay leaves this host on request only."""
    with pytest.raises(InputError, match="not a loopback address"):
        VxlanSender(Endpoint(address, 4789), SystemClock())


def test_command_reports_what_was_sent(tmp_path: Path) -> None:
    """`probetest replay --json` beside `probetest watch --json`: the same count, and exit 0."""
    source, written = made(tmp_path / "made.pcap", 40, MS), tmp_path / "tap.pcap"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((ADDRESS, 0))
        place = f"{ADDRESS}:{free.getsockname()[1]}"
    watch = [*PROBETEST, "watch", "--udp", place, "--write", str(written), "--packets", "40"]
    with subprocess.Popen([*watch, "--json"], stdout=-1, stderr=-1, text=True) as watching:
        assert watching.stderr is not None
        assert watching.stdout is not None
        assert watching.stderr.readline() == f"ready: udp tap {place}\n"
        replayed = subprocess.run(
            [*PROBETEST, "replay", str(source), "--udp", place, "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert replayed.returncode == 0, replayed.stderr
        told = json.loads(watching.stdout.read())
    assert watching.returncode == 0
    assert (told["packets"], told["drops"], told["malformed"]) == (40, 0, 0)
    report = json.loads(replayed.stdout)
    assert (report["packets"], report["complete"]) == (40, True)
    assert frames(read(written)) == frames(read(source))


def test_ctrl_c_ends_with_a_report(tmp_path: Path) -> None:
    """An interrupted replay tells how far it came, and exits with 3."""
    source = made(tmp_path / "made.pcap", 600, 100 * MS)  # a minute
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((ADDRESS, 0))
        listener.settimeout(30)
        place = f"{ADDRESS}:{listener.getsockname()[1]}"
        argv = [*PROBETEST, "replay", str(source), "--udp", place, "--json"]
        with subprocess.Popen(argv, stdout=-1, stderr=-1, text=True) as replaying:
            for _ in range(3):  # frames: it runs
                listener.recv(2000)
            os.kill(replaying.pid, signal.SIGINT)
            said, errors = replaying.communicate(timeout=30)

    report = json.loads(said)
    assert replaying.returncode == 3
    assert not report["complete"]
    assert 3 <= report["packets"] < 600
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--udp", "127.0.0.1", "--to", "lo"], "name one of them"),
        ([], "name one of them"),
        (["--udp", "192.0.2.1"], "not a loopback address"),
        (["--udp", "127.0.0.1", "--vni", "16777216"], "not a VXLAN network"),
        (["--udp", "localhost"], "not address:port"),
        (["--to", "nosuch0"], "no such interface"),
        (["--to", "a/b"], "not the name of an interface"),
        (["--udp", "127.0.0.1", "--speed", "0"], "must be above 0"),
    ],
)
def test_command_refuses_what_is_wrong(
    options: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what to change, and exit 2."""
    source = made(tmp_path / "made.pcap", 3, MS)

    code = main(["replay", str(source), *options])

    assert code == 2
    assert why in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["lo", "nosuch0"])
def test_bond_that_is_not_there_fails(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A live look at this host, which needs no privilege: no bond of that name, so exit 1."""
    code = main(["bond", name, "--expect", "eth6", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert code == 1
    assert told["bond"] is None
    assert [finding["outcome"] for finding in told["findings"]] == ["FAIL"]


def test_recorded_bond_text_exits_with_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A text in a file is evidence of another day: exit 3, whatever it says."""
    code = main(["bond", "--text", str(BOND_TEXT), "--expect", "eth6", "--expect", "eth7"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 3
    assert len(lines) == 7
    assert all(line.startswith("OTHER") for line in lines)


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["bond"], "name either a bond or --text"),
        (["bond", "bond0", "--text", str(BOND_TEXT)], "name either a bond or --text"),
        (["bond", "--text", "nosuch.txt"], "cannot be read"),
        (["bond", "a/b"], "not the name of an interface"),
        (["watch", "--write", "x.pcap"], "name one of them"),
    ],
)
def test_bond_and_watch_refuse_what_is_wrong(
    argv: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what to change, and exit 2."""
    assert main(argv) == 2
    assert why in capsys.readouterr().err


def test_bond_is_read_from_what_pyroute2_decodes() -> None:
    """A kernel's answer, written and read by pyroute2, gives the state it describes."""
    state = bond_of(
        [link(9, "bond0", BOND, 0), link(6, "eth6", SLAVE, 9), link(7, "eth7", SLAVE, 9)], "bond0"
    )

    assert state is not None
    assert (state.mode, state.miimon_ms, state.all_slaves_active) == (Mode.LACP, 100, False)
    assert state.active_aggregator == 1
    assert [(s.name, s.up, s.failure_count, s.active) for s in state.slaves] == [
        ("eth6", True, 2, False),
        ("eth7", True, 2, False),
    ]
    assert bond_of([link(6, "eth6", SLAVE, 9)], "eth6") is None
