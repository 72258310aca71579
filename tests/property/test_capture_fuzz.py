"""Captures that were cut, flipped and spliced: a result or an InputError, soon, and nothing else.

PROBE_SOAK=1 pytest tests/property/test_capture_fuzz.py reads a million of them, not 2000; any other
number, so many.
"""

import gzip
import os
import random
import struct

import pytest
import zstandard

from harness.errors import InputError
from harness.packets import pcap as pcap_module
from harness.packets import pcapng_columns
from harness.packets.blocks import read_blocks
from harness.packets.capture import Ints, encode_file_header, encode_record
from harness.packets.record_walk import Steps, walk
from harness.packets.source_unpack import Unpacked
from tests.capture_checks import Memory, check_same, fresh_frames

SOAK = int(os.environ.get("PROBE_SOAK", "0"))
CASES = {0: 2_000, 1: 1_000_000}.get(SOAK, SOAK)
SHARDS = 20
BLOCK_BYTES = (256, 1_000, 4_096, 1 << 16)
ODD = (0, 1, 12, 28, 32, 255, 65_535, 262_145, (16 << 20) + 4, 2**31 - 1, 2**32 - 4, 2**32 - 1)


def pcap(dice: random.Random, order: str, magic: int) -> bytes:
    """Return a pcap; in some frames is a capture."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 96, 1)
    inner = encode_file_header(1) + encode_record(10**18, bytes(40)) * 3
    for number in range(dice.randrange(90)):
        frame = dice.randbytes(dice.randrange(80)) if dice.random() < 0.8 else inner
        sizes = (len(frame), len(frame) + dice.randrange(2))
        out += struct.pack(order + "IIII", 1_700_000_000, number * 9, *sizes) + frame
    return out


def pcapng(dice: random.Random) -> bytes:
    """Return a pcapng of one or two sections with blocks of all kinds."""
    out = b""
    for _ in range(dice.randint(1, 2)):
        order = dice.choice("<>")
        parts = [(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
        for clock in dice.choices((3, 6, 9, 0x94, 0xB0), k=2):
            options = struct.pack(order + "HHB3xHHq", 9, 1, clock, 14, 8, dice.randrange(9))
            parts.append((1, struct.pack(order + "HHI", 1, 0, 64) + options))
        for number in range(dice.choice((5, 20, 90))):
            size = dice.randrange(60)
            kind = dice.choice((6,) * 40 + (2, 3, 5, 0xBAD))
            head = {
                6: (dice.randrange(2), 0, number, size, size),
                2: (0, 0, number, size, size),
                3: (size,),
                5: (0, 0, 0, 5 << 16 | 8 if order == ">" else 8 << 16 | 5, 0, number),
            }.get(kind, ())
            parts.append((kind, struct.pack(f"{order}{len(head)}I", *head) + bytes(size)))
        for kind, body in parts:
            padded = body + bytes(-len(body) % 4)
            total = struct.pack(order + "I", len(padded) + 12)
            out += struct.pack(order + "I", kind) + total + padded + total
    return out


def samples(dice: random.Random) -> list[bytes]:
    """Return good captures of each kind."""
    kinds = [(order, magic) for order in "<>" for magic in (0xA1B2C3D4, 0xA1B23C4D)]
    return [pcap(dice, *kind) for kind in kinds] + [pcapng(dice) for _ in range(4)]


def damaged(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return *data* after a few accidents."""
    out = bytearray(data)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 5))):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(6):
            case 0:
                del out[at:]
            case 1 if at < len(out):
                out[at] ^= 1 << dice.randrange(8)
            case 2:  # a number where one may be
                at -= at % 4
                out[at : at + 4] = struct.pack(dice.choice("<>") + "I", dice.choice(ODD))
            case 3:
                del out[at : at + dice.randrange(100)]
            case 4:
                out[at:at] = out[at : at + dice.randrange(300)]
            case _:
                other = dice.choice(others)
                out[at:] = other[dice.randrange(len(other)) :]
    return bytes(out)


def check_packed(data: bytes, block_bytes: int) -> None:
    """What comes out of a packed file is a capture or an InputError."""
    plain = Memory(data, 999)
    source = Unpacked(plain)
    try:
        found = list(read_blocks(source, name="x", block_bytes=block_bytes, window_ns=1_000))
    except InputError as error:
        assert str(error).startswith("x: ")  # noqa: PT017 - it is there or not
    else:
        fresh_frames(found)
        if source.loss is not None:
            assert 0 < source.loss.offset_bytes <= len(data)
    assert plain.calls <= len(data) + 9


def many_walks(steps: Steps, *, walks: int = 16) -> tuple[Ints, int]:
    """Return what walks from guessed places find, having made sure that it is what one finds."""
    found = walk(steps, walks=walks, window_bytes=60)
    alone = walk(steps, walks=1)
    assert (found[0].tolist(), found[1]) == (alone[0].tolist(), alone[1])
    return found


@pytest.mark.parametrize("shard", range(SHARDS))
def test_damaged_capture_is_read_or_refused(shard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of any size as in one piece; packed ones too; every other time by many walks."""
    if shard % 2:
        monkeypatch.setattr(pcap_module, "walk", many_walks)
        monkeypatch.setattr(pcapng_columns, "walk", many_walks)
    dice = random.Random(f"captures {shard}")  # noqa: S311 - the same ones each time
    frames = 0
    for number in range(CASES // SHARDS):
        if number % 200 == 0:
            good = samples(dice)
        data, block_bytes = dice.choice(good), dice.choice(BLOCK_BYTES)
        match dice.randrange(6):
            case 0:
                check_packed(damaged(dice, gzip.compress(data, 1), good), block_bytes)
            case 1:
                packed = zstandard.ZstdCompressor(write_checksum=number % 2 == 0).compress(data)
                check_packed(damaged(dice, packed, good), block_bytes)
            case _:
                frames += check_same(damaged(dice, data, good), block_bytes)

    assert frames > CASES // SHARDS  # what is damaged beyond use at once would show nothing
