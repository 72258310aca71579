"""The edge that takes a torn last line off a journal, and keeps its bytes beside it.

It can be killed between any two of its steps and run again: the piece is kept before it is cut off,
and a piece that no event tells of yet is told of the next time.
"""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

PIECE = "torn-"  # journal.torn-1, journal.torn-2, …

Repair = dict[str, str | int]


def cut_torn_tail(file: Path, torn: bytes, accounted: Collection[str]) -> tuple[Repair, ...]:
    """Return the fields of an event for each piece that is not *accounted* for by one.

    Raises:
        OSError: the piece could not be kept, or the file not cut; it is as it was then.
    """
    pieces = sorted(file.parent.glob(f"{file.stem}.{PIECE}*"), key=_number)
    if torn:
        if not pieces or pieces[-1].name in accounted or pieces[-1].read_bytes() != torn:
            piece = file.with_suffix(f".{PIECE}{_number(pieces[-1]) + 1 if pieces else 1}")
            _keep(piece, torn)
            pieces.append(piece)
        _cut(file, len(torn))
    return tuple(_told(piece) for piece in pieces if piece.name not in accounted)


def sync_folder(folder: Path) -> None:
    """Make new names in *folder* survive a power cut.

    Raises:
        OSError: the disk did not take it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _keep(piece: Path, torn: bytes) -> None:
    part = piece.with_name(f".{piece.name}.part")
    with part.open("wb") as file:
        file.write(torn)
        file.flush()
        os.fsync(file.fileno())
    part.replace(piece)
    sync_folder(piece.parent)


def _cut(file: Path, count: int) -> None:
    with file.open("r+b") as journal:
        journal.truncate(journal.seek(0, os.SEEK_END) - count)
        journal.flush()
        os.fsync(journal.fileno())


def _told(piece: Path) -> Repair:
    content = piece.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"file": piece.name, "bytes": len(content), "sha256": digest}


def _number(piece: Path) -> int:
    number = piece.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
