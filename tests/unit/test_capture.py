"""Captures are read as their format says, and what is no capture is named."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InputError, ToolError, WireError
from harness.packets.capture import Capture, encode_file_header, encode_record, parse
from harness.packets.capture_file import CaptureWriter, read

AT_NS = 1_700_000_000_123_456_789
FRAMES = (b"first", b"", b"the third frame")


def pcap(order: str, magic: int, unit_ns: int, *, snaplen: int = 262_144) -> bytes:
    """Return the three frames in a pcap, a second apart, built after the draft's figures."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)
    for number, frame in enumerate(FRAMES):
        seconds, fraction_ns = divmod(AT_NS + number * 10**9, 10**9)
        sizes = (len(frame), len(frame) + number)
        out += struct.pack(order + "IIII", seconds, fraction_ns // unit_ns, *sizes) + frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(order: str, code: int, value: bytes) -> bytes:
    """Return a pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str) -> bytes:
    """Return a section header block of unknown length."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, linktype: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    """Return an interface description block."""
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + options)


def enhanced(order: str, ticks: int, frame: bytes, number: int = 0) -> bytes:
    """Return an enhanced packet block."""
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, *[len(frame)] * 2)
    return block(order, 6, head + frame)


def frames(capture: Capture) -> tuple[bytes, ...]:
    """Return the captured bytes of each frame."""
    pairs = zip(capture.offset_bytes.tolist(), capture.captured_bytes.tolist(), strict=True)
    return tuple(capture.data[at : at + size].tobytes() for at, size in pairs)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1_000), (0xA1B23C4D, 1)])
def test_pcap_is_read_in_each_byte_order_and_resolution(
    order: str, magic: int, unit_ns: int
) -> None:
    """Frames, times, lengths and link type are the same in all four kinds of pcap."""
    found = parse(pcap(order, magic, unit_ns))

    assert frames(found) == FRAMES
    first_ns = AT_NS // unit_ns * unit_ns
    assert found.at_ns.tolist() == [first_ns, first_ns + 10**9, first_ns + 2 * 10**9]
    assert found.original_bytes.tolist() == [5, 1, 17]
    assert (found.linktype.tolist(), found.cut, found.interface_drops) == ([1, 1, 1], None, None)
    assert len(found) == 3


def test_link_type_is_read_without_the_checksum_length_above_it() -> None:
    """The upper half of the link type field says how long a frame check sequence is."""
    found = parse(encode_file_header(0x5400_0001) + encode_record(0, b"x"))

    assert found.linktype.tolist() == [1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_is_read_in_each_byte_order(order: str) -> None:
    """Two interfaces keep their own link type and clock; unknown blocks are passed over."""
    options = option(order, 9, b"\x09") + option(order, 14, struct.pack(order + "q", 3600))
    data = section(order) + interface(order, 1) + interface(order, 101, 0, options)
    data += block(order, 0x0BAD, b"not for us") + enhanced(order, AT_NS // 1_000, b"one")
    data += enhanced(order, AT_NS, b"second", 1)

    found = parse(data)

    assert frames(found) == (b"one", b"second")
    assert found.at_ns.tolist() == [AT_NS // 1_000 * 1_000, AT_NS + 3600 * 10**9]
    assert (found.linktype.tolist(), found.interface.tolist()) == ([1, 101], [0, 1])
    assert (found.cut, found.interface_drops, found.untimed) == (None, None, 0)


def test_each_pcapng_section_has_its_own_byte_order_and_interfaces() -> None:
    """A second section starts with no interfaces; their numbers go on counting in the capture."""
    data = section("<") + interface("<", 1) + enhanced("<", 1, b"a")
    data += section(">") + interface(">", 113) + enhanced(">", 2, b"b")

    found = parse(data)

    assert frames(found) == (b"a", b"b")
    assert (found.linktype.tolist(), found.interface.tolist()) == ([1, 113], [0, 1])
    assert found.at_ns.tolist() == [1_000, 2_000]


@pytest.mark.parametrize(
    ("resolution", "ticks", "at_ns"),
    [
        (0x00, 5, 5_000_000_000),
        (0x03, 5, 5_000_000),
        (0x06, 5, 5_000),
        (0x09, 5, 5),
        (0x0C, 5_999, 5),  # picoseconds, rounded down
        (0x81, 3, 1_500_000_000),  # halves of a second
        (0x94, 1, 953),  # 2**-20 s = 953.67 ns
        (0xFF, 2**63, 0),
    ],
)
def test_pcapng_clock_has_the_resolution_that_it_says(
    resolution: int, ticks: int, at_ns: int
) -> None:
    """Powers of ten and of two are exact, and rounded down to a nanosecond."""
    options = option("<", 9, bytes([resolution]))
    found = parse(section("<") + interface("<", options=options) + enhanced("<", ticks, b"x"))

    assert found.at_ns.tolist() == [at_ns]


def test_simple_and_obsolete_packet_blocks_are_read() -> None:
    """A simple block is cut to the snapshot length and has no time; the old one has both."""
    old = struct.pack("<HHIIII", 0, 7, 0, 42, 3, 9) + b"old"
    simple = struct.pack("<I", 9) + b"simple.."  # nine on the wire, eight kept
    data = section("<") + interface("<", 1, 8) + block("<", 2, old) + block("<", 3, simple)

    found = parse(data)

    assert frames(found) == (b"old", b"simple..")
    assert found.at_ns.tolist() == [42_000, 0]
    assert found.original_bytes.tolist() == [9, 9]
    assert found.untimed == 1


def test_drops_are_the_last_count_of_each_interface() -> None:
    """Statistics count from the start, so a later block replaces an earlier one."""

    def statistics(number: int, *counts: tuple[int, int]) -> bytes:
        options = b"".join(option("<", code, struct.pack("<Q", n)) for code, n in counts)
        return block("<", 5, struct.pack("<III", number, 0, 0) + options)

    start = section("<") + interface("<") + interface("<")
    assert parse(start + statistics(0, (4, 100))).interface_drops is None
    assert parse(start + statistics(0, (5, 0))).interface_drops == 0
    data = start + statistics(0, (5, 3), (7, 1)) + statistics(0, (5, 7), (7, 2))
    assert parse(data + statistics(1, (7, 5))).interface_drops == 14


def test_cut_pcap_keeps_the_frames_before_it() -> None:
    """At every byte after the file header, the whole records before the cut are read."""
    data = pcap("<", 0xA1B23C4D, 1)
    ends = [24, 45, 61, 92]
    assert ends[-1] == len(data)
    for size in range(24, len(data)):
        found = parse(data[:size], name="x.pcap")
        whole = [end for end in ends if end <= size]
        assert frames(found) == FRAMES[: len(whole) - 1]
        assert (found.cut is None) == (size in ends)
        assert found.cut is None or found.cut.offset_bytes == whole[-1]


def test_cut_pcapng_keeps_the_frames_before_it() -> None:
    """At every byte after the section header, the whole blocks before the cut are read."""
    parts = [section("<"), interface("<"), *(enhanced("<", 1, frame) for frame in FRAMES)]
    data = b"".join(parts)
    ends = [len(b"".join(parts[:n])) for n in range(1, len(parts) + 1)]
    for size in range(ends[0], len(data)):
        found = parse(data[:size])
        whole = [end for end in ends if end <= size]
        assert frames(found) == FRAMES[: max(0, len(whole) - 2)]
        assert (found.cut is None) == (size in ends)
        assert found.cut is None or found.cut.offset_bytes == whole[-1]


@pytest.mark.parametrize("data", [pcap("<", 0xA1B2C3D4, 1), section("<")])
def test_capture_cut_in_its_file_header_is_refused(data: bytes) -> None:
    """With no header there is no link type, and nothing can be read."""
    for size in range(4, 24):
        with pytest.raises(WireError, match=r"cut inside|has .* left"):
            parse(data[:size], name="x")


def test_absurd_record_length_ends_the_reading() -> None:
    """A frame longer than the snapshot length and 256 KiB is damage, even if the file has it."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1)
    good = encode_record(1, b"good")
    bad = struct.pack("<IIII", 1, 0, 262_145, 262_145) + bytes(262_145)

    found = parse(head + good + bad, name="big.pcap")

    assert frames(found) == (b"good",)
    assert str(found.cut) == (
        "big.pcap: byte 44: the record says 262145 bytes: more than a frame can have; "
        "the 1 frames before it were read; the rest of the file cannot be"
    )


def test_frame_is_as_long_as_the_snapshot_length_and_no_more_than_16_mib() -> None:
    """A file may allow longer frames than usual; one that allows any is not believed."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 2**31 - 1, 1)
    long = struct.pack("<IIII", 1, 0, 300_000, 300_000) + bytes(300_000)
    most = 16 << 20
    too_long = struct.pack("<IIII", 1, 0, most + 1, most + 1) + bytes(most + 1)

    found = parse(head + long + too_long)

    assert found.captured_bytes.tolist() == [300_000]
    assert found.cut is not None
    assert "16777217 bytes: more than a frame can have" in str(found.cut)


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (struct.pack("<III", 6, 32, 0) + bytes(16) + b"\x21\0\0\0", "33 at its end"),
        (enhanced("<", 1, b"x", 1), "interface 1, which is not described"),
        (block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"12345678"), "9 bytes captured"),
        (struct.pack("<IIII", 6, 16, 0, 16), "impossible length 16"),
        (struct.pack("<III", 77, 13, 13) + bytes(4), "impossible length 13"),
        (
            struct.pack("<III", 77, 2**32 - 4, 0),
            "the block says 4294967292 bytes: more than one can have",
        ),
        (struct.pack("<III", 77, 1_000_000, 0), "1000000 bytes, but the file has"),
        (block("<", 0x0A0D0D0A, bytes(16)), "byte-order magic 00 00 00 00"),
        (
            block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
            "section of version 2.0",
        ),
        (enhanced("<", 2**64 - 1, b"x"), "1678 to 2262"),
        (interface("<", options=struct.pack("<HH", 9, 80)), "option 9 is longer"),
        (interface("<", options=option("<", 14, b"1234")), "option 14 has 4 bytes"),
        (block("<", 3, struct.pack("<I", 9)), "9 bytes captured"),
    ],
)
def test_damaged_pcapng_block_ends_the_reading(damaged: bytes, why: str) -> None:
    """What was read before stays; the message says what is wrong with the block."""
    start = section("<") + interface("<") + enhanced("<", 1, b"good")
    found = parse(start + damaged + enhanced("<", 2, b"after"), name="x")

    assert frames(found) == (b"good",)
    assert found.cut is not None
    assert len(start) <= found.cut.offset_bytes < len(start + damaged)
    assert why in str(found.cut)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (gzip.compress(b"x"), "gzip.*gunzip"),
        (b"\x28\xb5\x2f\xfd\0\0", "Zstandard.*unzstd"),
        (b"\xa1\xb2\xcd\x34" + bytes(30), "0xa1b2cd34.*editcap"),
        (b"\x34\xcd\xb2\xa1" + bytes(30), "0xa1b2cd34.*editcap"),
        (b"snoop\0\0\0" + bytes(8), "snoop"),
        (b"INVITE sip:1001@example.com SIP/2.0\r\n", "text"),
        (b'{"frames": []}\n', "text, not a capture; give a pcap"),
        (b"\x7fELF\x02\x01\x01\0", "7f 45 4c 46.*neither pcap nor pcapng"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 3, 0, 0, 96, 1), "version = '2.3'.*editcap"),
    ],
)
def test_foreign_file_is_named(data: bytes, why: str) -> None:
    """The message says what the file looks like, and what to do."""
    with pytest.raises(InputError, match=f"(?s)^x.bin: .*{why}"):
        parse(data, name="x.bin")


def test_what_is_encoded_is_what_the_draft_says() -> None:
    """The header and a record are these bytes (tcpdump --time-stamp-precision=nano writes them)."""
    assert (
        encode_file_header(101).hex(" ", -4)
        == "4d3cb2a1 02000400 00000000 00000000 00000400 65000000"
    )
    assert encode_record(AT_NS, b"abc").hex(" ", -4) == "00f15365 15cd5b07 03000000 03000000 616263"


@pytest.mark.parametrize("at_ns", [-1, 2**32 * 10**9])
def test_time_that_pcap_cannot_hold_is_refused(at_ns: int) -> None:
    """Seconds are 32 bits without sign."""
    with pytest.raises(InputError, match="1970 to 2106"):
        encode_record(at_ns, b"")


def test_frame_that_no_reader_takes_is_not_written() -> None:
    """More than the snapshot length of the file header is refused."""
    with pytest.raises(InputError, match="longer than 262144"):
        encode_record(0, bytes(262_145))


def test_written_file_is_read_back(tmp_path: Path) -> None:
    """A writer counts its packets, closes twice without harm, and never takes a used name."""
    path = tmp_path / "new.pcap"
    with CaptureWriter(path) as writer:
        for number, frame in enumerate(FRAMES):
            writer.write(AT_NS + number, frame)
    writer.close()

    found = read(path)

    assert (frames(found), found.name, writer.packets) == (FRAMES, str(path), 3)
    assert found.at_ns.tolist() == [AT_NS, AT_NS + 1, AT_NS + 2]
    with pytest.raises(ToolError, match="File exists"):
        CaptureWriter(path)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder, a device and an empty file each say what they are."""
    empty = tmp_path / "empty.pcap"
    empty.touch()
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "missing.pcap")
    with pytest.raises(InputError, match="not a regular file"):
        read(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        read(Path("/dev/null"))
    with pytest.raises(InputError, match=r"empty.pcap: empty, not a capture"):
        read(empty)
    with pytest.raises(InputError, match="null"):
        read(Path("a\0b"))


def test_full_disk_is_our_error(tmp_path: Path) -> None:
    """A writer whose disk takes no more says so when it is closed, at the latest."""
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from harness.packets.capture_file import CaptureWriter\n"
        "from harness.errors import ToolError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    with CaptureWriter(Path(sys.argv[1])) as writer:\n"
        "        writer.write(0, bytes(200_000))\n"
        "except ToolError as error:\n"
        "    print(error)\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "full.pcap")]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert run.stdout.endswith("File too large\n"), run.stderr
