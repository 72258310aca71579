"""What a user names is opened: files packed or not, pipes, and files that still grow."""

import gzip
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
import zstandard

from harness.clock import ManualClock
from harness.errors import InputError
from harness.packets.blocks import Block, read_blocks
from harness.packets.capture import encode_file_header, encode_record
from harness.packets.source import FileSource, Follow
from harness.packets.source_unpack import Unpacked

FRAMES = [bytes([number % 251]) * (number * 7 % 90) for number in range(400)]
START = encode_file_header(101)
RECORDS = [encode_record(10**18 + number, frame) for number, frame in enumerate(FRAMES)]
DATA = START + b"".join(RECORDS)


class Memory:
    """Bytes as a file, in small pieces."""

    loss = None
    is_stopped = False

    def __init__(self, data: bytes, most: int = 1_000) -> None:
        self._file, self._most = io.BytesIO(data), most

    def readinto(self, room: memoryview) -> int:
        return self._file.readinto(room[: self._most])


def unpacked(data: bytes, most: int = 1_000) -> tuple[bytes, str]:
    """Return the content of a packed file, and what was lost."""
    source, out = Unpacked(Memory(data, most)), b""
    room = memoryview(bytearray(777))
    while count := source.readinto(room):
        out += room[:count]
    assert source.loss or source.read_bytes == len(data)
    return out, source.loss.why if source.loss else ""


def read(path: Path | str, follow: Follow | None = None) -> list[Block]:
    """Return the blocks of the capture in a file."""
    with FileSource(str(path), follow) as source:
        return list(read_blocks(source, name=source.name, block_bytes=4_096))


def count(blocks: list[Block]) -> int:
    """Return how many frames were given."""
    return sum(int(block.fresh.sum()) for block in blocks)


def zst(data: bytes, **options: bool) -> bytes:
    """Return a Zstandard frame."""
    return zstandard.ZstdCompressor(**options).compress(data)


def zst_of_unknown_size(data: bytes) -> bytes:
    """Return a Zstandard frame of several blocks, as a pipe into zstd gives it."""
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    out = b""
    for at in range(0, len(data), 2_000):
        out += compressor.compress(data[at : at + 2_000])
        out += compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return out + compressor.flush()


PACKINGS = {
    "gzip": gzip.compress(DATA),
    "gzip, two members": gzip.compress(DATA[:5_000]) + gzip.compress(DATA[5_000:]),
    "gzip, an empty member, filled up with zeros": gzip.compress(DATA)
    + gzip.compress(b"")
    + bytes(900),
    "zst": zst(DATA),
    "zst without size": zst_of_unknown_size(DATA),
    "zst, two frames and one to be skipped": zst(DATA[:5_000], write_checksum=True)
    + struct.pack("<II", 0x184D2A53, 5)
    + b"notes"
    + zst(DATA[5_000:]),
}


@pytest.mark.parametrize("packed", PACKINGS.values(), ids=PACKINGS)
@pytest.mark.parametrize("most", [1, 13, 1 << 20])
def test_packed_file_is_unpacked(packed: bytes, most: int) -> None:
    """Members and frames follow each other, whatever pieces they come in."""
    assert unpacked(packed, most) == (DATA, "")


@pytest.mark.parametrize("packed", PACKINGS.values(), ids=PACKINGS)
def test_packed_capture_is_read(packed: bytes, tmp_path: Path) -> None:
    """Progress is told in bytes of the packed file."""
    path = tmp_path / "x.pcap.packed"
    path.write_bytes(packed)
    found = read(path)

    assert (count(found), found[-1].capture.cut) == (len(FRAMES), None)
    assert found[-1].read_bytes == len(packed)


@pytest.mark.parametrize("packed", [PACKINGS["gzip"], PACKINGS["zst without size"]])
def test_packed_capture_that_is_cut_short_keeps_what_was_unpacked(packed: bytes) -> None:
    """At each byte: a beginning of the content, and a loss at the end of the packed file."""
    for size in range(12, len(packed), 7):
        source, out = Unpacked(Memory(packed[:size])), b""
        room = memoryview(bytearray(1 << 16))
        while number := source.readinto(room):
            out += room[:number]
        assert DATA.startswith(out)
        assert source.loss is not None
        assert "cut short" in source.loss.why
        assert source.loss.offset_bytes == size


def test_damaged_gzip_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    """The loss names the byte of the packed file, and how many frames were read."""
    packed = bytearray(gzip.compress(DATA, compresslevel=0))  # stored: easy to find
    packed[-3] ^= 1  # the length that ends the member
    path = tmp_path / "x.pcap.gz"
    path.write_bytes(packed)
    found = read(path)

    assert count(found) == len(FRAMES)
    assert str(found[-1].capture.cut) == (
        f"{path}: byte {len(packed) - 1}: damaged gzip data: "
        "Error -3 while decompressing data: incorrect length check; "
        "the 400 frames before it were read; the rest of the file cannot be"
    )


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(DATA) + b"INVITE", "what follows the gzip data is none"),
        (zst(DATA) + b"INVITE", "what follows the Zstandard data is none"),
        (zst(DATA, write_checksum=True)[:-1] + b"\0", "damaged Zstandard data"),
        (gzip.compress(DATA)[:-8] + bytes(8), "damaged gzip data"),
        (zst(DATA) + struct.pack("<II", 0x184D2A50, 9), "cut short"),
    ],
)
def test_bad_end_of_a_packed_file_is_a_loss_after_all_frames(packed: bytes, why: str) -> None:
    """What is before it is given whole."""
    content, lost = unpacked(packed)

    assert content == DATA
    assert why in lost


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (b"\x28\xb5\x2f\xfd\x04\x58\x07\0\0", "a block of a kind that is not in use"),
        (b"\x28\xb5\x2f\xfd\xff" + b"\xff" * 40, "damaged Zstandard data"),
        (b"\x28\xb5\x2f\xfd\x00\xf0" + b"\xff" * 40, "damaged Zstandard data"),  # 1 TiB window
        (b"\x1f\x8b\x09" + bytes(30), "damaged gzip data"),
    ],
)
def test_packed_file_that_begins_with_damage_is_refused(start: bytes, why: str) -> None:
    """There is no frame; the loss is the error."""
    with pytest.raises(InputError, match=why):
        list(read_blocks(Unpacked(Memory(start)), name="x"))


def test_capture_packed_twice_is_named() -> None:
    """One packing is taken off."""
    with pytest.raises(InputError, match=r"x: this is gzip.*gunzip"):
        list(read_blocks(Unpacked(Memory(gzip.compress(gzip.compress(DATA)))), name="x"))


@pytest.mark.parametrize("kind", ["gzip", "zst"])
def test_well_packed_zeros_need_no_more_memory_than_a_block(kind: str, tmp_path: Path) -> None:
    """80 MiB are read with 40 more than there were at first."""
    path = tmp_path / "bomb"
    piece = encode_record(10**18, bytes(65_520)) * 16
    with path.open("wb") as out:
        if kind == "gzip":
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            out.write(packer.compress(START))
            out.writelines(packer.compress(piece) for _ in range(80))
            out.write(packer.flush())
        else:
            with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
                writer.write(START)
                for _ in range(80):
                    writer.write(piece)
    assert path.stat().st_size < 400_000
    script = (
        "import resource, sys\n"
        "from harness.packets.blocks import read_blocks\n"
        "from harness.packets.source import FileSource\n"
        "kib = [int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmSize')]\n"
        "most = (kib[0] << 10) + (40 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "with FileSource(sys.argv[1]) as source:\n"
        "    blocks = read_blocks(source, name='x', block_bytes=1 << 20)\n"
        "    print(sum(int(block.fresh.sum()) for block in blocks))\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script, str(path)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    assert run.stdout == f"{80 * 16}\n", run.stderr


def test_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """Somebody writes to it while it is read; it has no size."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(PACKINGS["zst"],))
    writer.start()
    with FileSource(str(path)) as source:
        found = list(read_blocks(source, name=source.name, block_bytes=4_096))
        size_bytes = source.size_bytes
    writer.join()

    assert (count(found), size_bytes) == (len(FRAMES), None)


def test_capture_is_read_from_stdin() -> None:
    """The name is -, and messages say stdin."""
    script = (
        "from harness.packets.blocks import read_blocks\n"
        "from harness.packets.source import FileSource\n"
        "with FileSource('-') as source:\n"
        "    (block,) = read_blocks(source, name=source.name)\n"
        "print(len(block.capture), block.capture.name)\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(argv, input=DATA, capture_output=True, timeout=60, check=False)

    assert run.stdout == b"400 stdin\n", run.stderr


def test_pipe_that_does_not_wait_is_waited_for() -> None:
    """A shell may hand over such a stdin; an empty pipe is then not its end."""
    script = (
        "import os, threading\n"
        "from harness.packets.blocks import read_blocks\n"
        "from harness.packets.source import FileSource\n"
        "ours, theirs = os.pipe()\n"
        "os.set_blocking(ours, False)\n"
        "os.dup2(ours, 0)\n"
        "def write():\n"
        f"    for one in {[START, *RECORDS[:50]]!r}:\n"
        "        os.write(theirs, one)\n"
        "    os.close(theirs)\n"
        "threading.Timer(0.05, write).start()\n"
        "with FileSource('-') as source:\n"
        "    (block,) = read_blocks(source, name='x')\n"
        "print(len(block.capture))\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert run.stdout == "50\n", run.stderr


def test_stdin_that_is_closed_is_named() -> None:
    """It is an error of the user's, not of ours."""
    script = (
        "import os\n"
        "from harness.errors import InputError\n"
        "from harness.packets.source import FileSource\n"
        "os.close(0)\n"
        "try:\n"
        "    FileSource('-')\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert run.stdout.startswith("stdin: cannot be read: Bad file descriptor"), run.stderr


def test_growing_file_is_read_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """Half a record is waited for; what is written before the stop is read."""
    path = tmp_path / "grows.pcap"
    path.touch()
    follow = Follow(poll_s=0.001)

    def grow() -> None:
        with path.open("ab", buffering=0) as out:
            for at in range(0, len(DATA), 99):
                out.write(DATA[at : at + 99])
        follow.stop.set()

    writer = threading.Thread(target=grow)
    writer.start()
    found = read(path, follow)
    writer.join()

    assert (count(found), found[-1].capture.cut) == (len(FRAMES), None)


class Hurried(ManualClock):
    """A clock on which a second goes by whenever it is asked."""

    def monotonic_ns(self) -> int:
        self.advance(10**9)
        return self.now_ns


@pytest.mark.parametrize(
    "packed", [DATA[:-3], gzip.compress(DATA)[:-20], PACKINGS["zst without size"][:-20]]
)
def test_growing_file_ends_when_nothing_comes(packed: bytes, tmp_path: Path) -> None:
    """What is still half written then is no damage."""
    path = tmp_path / "grows"
    path.write_bytes(packed)
    found = read(path, Follow(idle_ns=5 * 10**9, clock=Hurried(), poll_s=0.001))

    assert found[-1].capture.cut is None
    assert count(found) > 300


def test_growing_pipe_is_left_when_nothing_comes(tmp_path: Path) -> None:
    """Its writer is there, but silent."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with path.open("rb+", buffering=0) as writer:  # for both: so that nobody waits
        writer.write(DATA[:3_000])
        found = read(path, Follow(idle_ns=5 * 10**9, clock=Hurried(), poll_s=0.001))

    assert 0 < count(found) < len(FRAMES)
    assert found[-1].capture.cut is None


def test_followed_file_that_becomes_shorter_is_a_loss(tmp_path: Path) -> None:
    """It is not the file that was read."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(DATA)
    with FileSource(str(path), Follow(poll_s=0.001)) as source:
        blocks = read_blocks(source, name=source.name, block_bytes=len(DATA))
        first = next(blocks)
        os.truncate(path, 100)
        found = [first, *blocks]

    assert count(found) == len(FRAMES)
    assert found[-1].capture.cut is not None
    assert "shorter" in str(found[-1].capture.cut)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A missing file, a folder, a device, and a name that none can have."""
    for name, why in (
        (tmp_path / "missing.pcap", "No such file"),
        (tmp_path, "neither a file nor a pipe"),
        ("/dev/null", "neither a file nor a pipe"),
        ("a\0b", "null"),
    ):
        with pytest.raises(InputError, match=why):
            FileSource(str(name))


def test_error_of_the_disk_is_a_loss() -> None:
    """What was read before it stays: here nothing, so that it is the error."""
    why = r"byte 0: cannot be read on: Input/output error"
    with FileSource("/proc/self/mem") as source, pytest.raises(InputError, match=why):
        list(read_blocks(source, name="x"))
