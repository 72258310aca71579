"""Captures in each container, packed or not, read in small blocks: tshark's numbers and times."""

import gzip
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from harness.packets.blocks import read_blocks
from harness.packets.source import FileSource
from tests.lab.peers import need

pytestmark = pytest.mark.lab

PCAPS = Path(__file__).parents[2] / "pcaps"
SIPP = Path("/usr/share/sip-tester/g711a.pcap")
CAPTURES = [
    *sorted(path for path in PCAPS.glob("*/capture.pcap*")),
    SIPP,
]
NAMES = ("frame.number", "frame.time_epoch", "frame.cap_len", "frame.len", "frame.interface_id")
Row = tuple[str, ...]


def tshark_rows(path: Path) -> list[Row]:
    """Return what tshark says of each frame."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    for name in NAMES:
        argv += ["-e", name]
    for protocol in ("udp", "tcp", "ip", "ipv6"):  # quicker: the frames themselves are looked at
        argv += ["--disable-protocol", protocol]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    return [tuple(line.split("|")) for line in run.stdout.splitlines()]


def our_rows(path: Path, block_bytes: int, *, has_interfaces: bool) -> list[Row]:
    """Return the same, read in blocks."""
    rows: dict[int, Row] = {}
    with FileSource(str(path)) as source:
        for block in read_blocks(source, name=source.name, block_bytes=block_bytes):
            capture = block.capture
            assert capture.cut is None
            for place in block.fresh.nonzero()[0].tolist():
                seconds, fraction = divmod(int(capture.at_ns[place]), 10**9)
                number = capture.first_frame + place
                rows[number] = (
                    str(number),
                    f"{seconds}.{fraction:09}",
                    str(capture.captured_bytes[place]),
                    str(capture.original_bytes[place]),
                    str(capture.interface[place]) if has_interfaces else "",
                )
    return [rows[number] for number in sorted(rows)]


def check(path: Path, *, has_interfaces: bool) -> None:
    """Compare, in blocks of two sizes."""
    expected = tshark_rows(path)
    assert expected
    for block_bytes in (2_000, 1 << 20):
        assert our_rows(path, block_bytes, has_interfaces=has_interfaces) == expected


@pytest.mark.parametrize("container", ["pcap", "nsecpcap", "pcapng"])
@pytest.mark.parametrize("path", CAPTURES[::4], ids=lambda path: path.parent.name)
def test_converted_capture_is_read_in_blocks_as_tshark_reads_it(
    path: Path, container: str, tmp_path: Path
) -> None:
    """In each container that editcap writes: number, time to the nanosecond, lengths, interface."""
    made = tmp_path / "converted"
    argv = [need("editcap", "tshark"), "-F", container, "-T", "ether", str(path), str(made)]
    subprocess.run(argv, capture_output=True, timeout=120, check=True)

    check(made, has_interfaces=container == "pcapng")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_packed_capture_is_read_as_tshark_reads_it(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """By both programs as it lies there."""
    need("sipp", "sip-tester")
    made = tmp_path / "packed"
    made.write_bytes(pack(SIPP.read_bytes()))

    check(made, has_interfaces=False)


def test_merged_captures_keep_their_interfaces(tmp_path: Path) -> None:
    """Several files merged in order of time into one pcapng."""
    made = tmp_path / "merged.pcapng"
    argv = [need("mergecap", "tshark"), "-F", "pcapng", "-w", str(made), *map(str, CAPTURES[:8])]
    subprocess.run(argv, capture_output=True, timeout=120, check=True)

    check(made, has_interfaces=True)


def test_clocks_of_each_resolution_are_read_as_tshark_reads_them(tmp_path: Path) -> None:
    """Powers of ten and of two, with offsets, in both byte orders, many frames of each."""
    out = b""
    for order in "<>":

        def block(kind: int, body: bytes, order: str = order) -> bytes:
            body += bytes(-len(body) % 4)
            total = struct.pack(order + "I", len(body) + 12)
            return struct.pack(order + "I", kind) + total + body + total

        out += block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        # None finer than 10**-10 s: tshark 4.0's product of fraction and 10**9 then passes 64 bits.
        clocks = (0, 3, 6, 7, 9, 10, 0x81, 0x8A, 0x94, 0x9E, 0xA0)
        for number, clock in enumerate(clocks):
            options = struct.pack(order + "HHB3xHHq", 9, 1, clock, 14, 8, number * 1_000)
            out += block(1, struct.pack(order + "HHI", 1, 0, 0) + options)
        for number in range(len(clocks) * 100):
            interface = number // 100
            clock = clocks[interface]
            units = 2 ** (clock & 0x7F) if clock & 0x80 else 10**clock
            start_s = 1_700_000_000 if units < 2**33 else 1_000_000  # what its 64 bits hold
            ticks = start_s * units + number * 7_919 * units // 10_000
            head = (interface, ticks >> 32, ticks & 0xFFFFFFFF, 60, 60)
            out += block(6, struct.pack(order + "5I", *head) + bytes(60))
    made = tmp_path / "clocks.pcapng"
    made.write_bytes(out)
    expected = tshark_rows(made)

    found = our_rows(made, 10_000, has_interfaces=True)

    assert [row[:4] for row in found] == [row[:4] for row in expected]
