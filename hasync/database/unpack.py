"""The edge that decompresses a verified set into work/, with one zstd for each processor.

Only names of the manifest are read, and written below one new folder; what that will take is known
before, from the size that zstd wrote at the head of each file.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.child import environment
from harness.manifest import FileEntry
from hasync import durable
from hasync.database.watched import Watch
from hasync.failure import Exit, Stop

SUFFIX: Final = ".zst"
BATCH: Final = 200  # files for one zstd: a command line has its limits
GUESS: Final = 12  # times larger than compressed, where the frame does not say
WIDTH: Final = max(1, min(8, os.cpu_count() or 1))  # children at once
_HEAD_BYTES: Final = 18  # of the longest frame header (RFC 8878, 3.1.1.1)
_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def content_bytes(source: Path) -> int:
    """Return how much *source* is once decompressed; a guess when it does not say."""
    size_bytes = source.stat().st_size
    if source.suffix != SUFFIX:
        return size_bytes
    with durable.open_regular(source) as file:
        said = frame_content_bytes(file.read(_HEAD_BYTES))
    return size_bytes * GUESS if said is None else said


def frame_content_bytes(head: bytes) -> int | None:
    """Return the content size that a zstd frame states in its *head* (RFC 8878, 3.1.1.1).

    >>> frame_content_bytes(bytes.fromhex("28b52ffd20 05"))
    5
    """
    if len(head) < len(_MAGIC) + 1 or not head.startswith(_MAGIC):
        return None
    descriptor = head[4]
    size_flag, single, dictionary = descriptor >> 6, bool(descriptor & 0x20), descriptor & 3
    width = (1 if single else 0, 2, 4, 8)[size_flag]
    begin = 5 + (0 if single else 1) + (0, 1, 2, 4)[dictionary]
    field = head[begin : begin + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)  # noqa: PLR2004 - its rule


def unpack(data: Path, files: Sequence[FileEntry], target: Path, watch: Watch) -> None:
    """Return once every file below *data* lies decompressed below the folder *target*.

    Raises:
        Stop: zstd failed, or there is no space, or no time left.
    """
    for folder in sorted({entry.path.rpartition("/")[0] for entry in files}):
        durable.make_folder(target / folder)
    packed = sorted(
        (entry for entry in files if entry.path.endswith(SUFFIX)),
        key=lambda entry: entry.size_bytes,
        reverse=True,  # the largest first, so that no processor gets it last
    )
    for entry in files:
        if not entry.path.endswith(SUFFIX):
            with durable.telling("write", target / entry.path):
                shutil.copyfile(data / entry.path, target / entry.path, follow_symlinks=False)
    lines = _lines(data, packed, target)
    for begin in range(0, len(lines), WIDTH):
        watch.carry_out(lines[begin : begin + WIDTH], environment())


def dump_in(target: Path) -> Path:
    """Return the folder of the directory-format dump below *target*.

    Raises:
        Stop: there is none, or more than one.
    """
    found = sorted(target.rglob("toc.dat"))
    if len(found) != 1:
        raise Stop(Exit.NOT_VERIFIED, "not one dump in the set", fact=f"{len(found)} toc.dat")
    return found[0].parent


def _lines(data: Path, packed: Sequence[FileEntry], target: Path) -> list[tuple[str, ...]]:
    """Return the command lines, with about as much to do for each processor."""
    lines: list[tuple[str, ...]] = []
    for folder in sorted({_folder(entry) for entry in packed}):
        names = [str(data / entry.path) for entry in packed if _folder(entry) == folder]
        for share in range(WIDTH):
            mine = names[share::WIDTH]
            for begin in range(0, len(mine), BATCH):
                head = ("zstd", "-q", "-d", "--output-dir-flat", str(target / folder), "--")
                lines.append((*head, *mine[begin : begin + BATCH]))
    return lines


def _folder(entry: FileEntry) -> str:
    return entry.path.rpartition("/")[0]
