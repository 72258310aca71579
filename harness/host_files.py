"""Files of a host as stat, find and sha256sum tell of them.

Law: any text gives values or an `InputError`; a file that is not told of is not one that is absent.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import InputError

ENV = ("env", "LC_ALL=C", "TZ=UTC")  # of every command whose output has words or times in it
STAT = (*ENV, "stat", "-c", "%i %.9Y %s %f %n")
LIST = ("-maxdepth", "1", "-type", "f", "-printf", r"%i %T@ %s %m %p\n")  # find FOLDER …
HASH = (*ENV, "sha256sum", "--")
ABSENT = "No such file or directory"


@dataclass(frozen=True, slots=True)
class FileFact:
    """One file: inode, time of its last change, size, permissions."""

    path: str
    inode: int
    mtime_ns: int
    size_bytes: int
    permissions: int
    is_folder: bool = False
    sha256: str | None = None


_STAT = re.compile(
    r"([0-9]{1,18}) (-?[0-9]{1,10})[.,]([0-9]{9}) ([0-9]{1,18}) ([0-9a-f]{1,6}) (.+)"
)
_FOUND = re.compile(r"([0-9]{1,18}) (-?[0-9]{1,10})\.([0-9]{9})0? ([0-9]{1,18}) ([0-7]{1,5}) (.+)")
_HASHED = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_REFUSED = re.compile(
    r"[a-z0-9]+: (?:cannot (?:stat|statx|open|access) )?'?(.+?)'?(?: for reading)?: (.+)"
)
_S_IFMT, _S_IFDIR = 0o170000, 0o040000


def parse_stat(text: str) -> tuple[FileFact, ...]:
    """Return the files that `stat -c '%i %.9Y %s %f %n'` tells of."""
    found = []
    for row in _rows(_STAT, text, "stat"):
        mode = int(row[5], 16)
        folder = mode & _S_IFMT == _S_IFDIR
        found.append(
            FileFact(row[6], int(row[1]), _ns(row), int(row[4]), mode & 0o7777, is_folder=folder)
        )
    return tuple(found)


def parse_listing(text: str) -> tuple[FileFact, ...]:
    r"""Return the files that `find FOLDER … -printf '%i %T@ %s %m %p\n'` lists."""
    rows = _rows(_FOUND, text, "find")
    return tuple(FileFact(r[6], int(r[1]), _ns(r), int(r[4]), int(r[5], 8)) for r in rows)


def parse_hashes(text: str) -> Mapping[str, str]:
    """Return path to SHA-256 for the output of `sha256sum`."""
    return {row[2]: row[1] for row in _rows(_HASHED, text, "sha256sum")}


def parse_refusals(text: str) -> Mapping[str, str]:
    """Return path to reason for what stat, cat or sha256sum could not open (LC_ALL=C)."""
    rows: Iterable[re.Match[str] | None] = (_REFUSED.fullmatch(line) for line in text.split("\n"))
    return {row[1]: row[2] for row in rows if row is not None}


def _rows(pattern: re.Pattern[str], text: str, what: str) -> Sequence[re.Match[str]]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        row = pattern.fullmatch(line)
        if row is not None:
            found.append(row)
        elif line:
            raise InputError(f"not a line of {what}", field=f"line {number}", value=line)
    return found


def _ns(row: re.Match[str]) -> int:
    """Return mtime in ns; GNU writes the fraction of a time before 1970 as a positive one."""
    return int(row[2]) * 1_000_000_000 + int(row[3])
