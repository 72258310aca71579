"""What a folder of files must hold, to the byte: paths, sizes, SHA-256; one canonical JSON.

A path in a manifest is hostile until `safe_path` let it through: it can only ever name something
below the folder that it is joined to. Two manifests that mean the same have the same bytes.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from harness.errors import InputError

MAX_PATH_BYTES = 1024  # a whole path; far below PATH_MAX once a base folder is put before it
MAX_NAME_BYTES = 255  # one component, as on ext4 and xfs
MAX_SIZE_BYTES = 1 << 62
SHOWN_DIFFERENCES = 20  # named one by one; the rest is counted
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogates, line and paragraph separators


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: where below the folder, how long, and the SHA-256 of its content in hex."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Check all three, so that no entry can point out of its folder."""
        safe_path(self.path)
        if not 0 <= self.size_bytes <= MAX_SIZE_BYTES:
            raise InputError("not a size in bytes", field=self.path, value=self.size_bytes)
        if not _SHA256.fullmatch(self.sha256):
            raise InputError("not a SHA-256 in hex", field=self.path, value=self.sha256)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one folder, in the order of their paths, none twice, none inside another."""

    entries: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        """Check the order, and that no file is also somebody's folder."""
        paths = [entry.path for entry in self.entries]
        if any(one >= other for one, other in pairwise(paths)):
            raise InputError("paths are not in order, or one is there twice", field="files")
        files = set(paths)
        for path in paths:
            parents = folders_of(path)
            if not files.isdisjoint(parents):
                raise InputError("lies inside another file", field="files", value=path)

    @classmethod
    def of(cls, entries: Iterable[FileEntry]) -> Self:
        """Return them in their order."""
        return cls(tuple(sorted(entries, key=lambda entry: entry.path)))

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files together."""
        return sum(entry.size_bytes for entry in self.entries)

    def to_json(self) -> list[list[Any]]:
        """Return the list that `parse` takes: [path, size, sha256] each."""
        return [[entry.path, entry.size_bytes, entry.sha256] for entry in self.entries]

    @classmethod
    def parse(cls, found: object, *, file: str = "") -> Self:
        """Return the files that a JSON list describes.

        Raises:
            InputError: not a list of [path, size, sha256], an unsafe path, or not in order.
        """
        if not isinstance(found, list):
            raise InputError("not a list of files", file=file, field="files", value=found)
        entries = []
        for number, item in enumerate(found):
            if not isinstance(item, list) or [type(part) for part in item] != [str, int, str]:
                field = f"files.{number}"
                raise InputError("not [path, size, sha256]", file=file, field=field, value=item)
            entries.append(FileEntry(*item))
        return cls(tuple(entries))


def safe_path(text: object) -> str:
    """Return *text* when it is a relative path that stays below any folder it is joined to.

    Raises:
        InputError: absolute, empty, too long, with `.` or `..`, a backslash or a control character.

    >>> safe_path("data/toc.dat")
    'data/toc.dat'
    >>> safe_path("data/../../etc/passwd")
    Traceback (most recent call last):
        ...
    harness.errors.InputError: path = 'data/../../etc/passwd': has a component . or ..
    """
    if not isinstance(text, str):
        raise InputError("not text", field="path", value=text)
    why = _unsafe(text)
    if why:
        raise InputError(why, field="path", value=text)
    return text


def _unsafe(text: str) -> str:
    """Return what is wrong with a path; "" when nothing is."""
    plain = text.isascii() and text.isprintable()
    if not plain and any(unicodedata.category(letter) in _UNFIT for letter in text):
        return "has a control character, a line separator or a lone surrogate"
    if "\\" in text:
        return "has a backslash"
    parts = text.split("/")
    if "" in parts:
        return "is empty, absolute, or has an empty component"
    if "." in parts or ".." in parts:
        return "has a component . or .."
    sizes = [len(part.encode()) for part in parts]
    if max(sizes) > MAX_NAME_BYTES or sum(sizes) + len(sizes) - 1 > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes, or a component than {MAX_NAME_BYTES}"
    return ""


def folders_of(path: str) -> tuple[str, ...]:
    """Return all folders above *path*, the highest first.

    >>> folders_of("data/blobs/blob_1.dat")
    ('data', 'data/blobs')
    """
    parts = path.split("/")
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts)))


def differences(wanted: Iterable[FileEntry], found: Iterable[FileEntry]) -> tuple[str, ...]:
    """Return in words how *found* differs from *wanted*; () when it does not.

    >>> entry = FileEntry("toc.dat", 5, "0" * 64)
    >>> differences([entry], [])
    ('toc.dat: missing',)
    """
    here = {entry.path: entry for entry in found}
    told = []
    for entry in wanted:
        other = here.pop(entry.path, None)
        if other is None:
            told.append(f"{entry.path}: missing")
        elif other.size_bytes != entry.size_bytes:
            told.append(f"{entry.path}: {other.size_bytes} bytes, not {entry.size_bytes}")
        elif other.sha256 != entry.sha256:
            told.append(f"{entry.path}: content changed (SHA-256)")
    told.extend(f"{path}: not in the manifest" for path in sorted(here))
    return shortened(told)


def shortened(told: Iterable[str]) -> tuple[str, ...]:
    """Return the first of many sentences, and how many more there are."""
    lines = tuple(told)
    if len(lines) <= SHOWN_DIFFERENCES:
        return lines
    return (*lines[:SHOWN_DIFFERENCES], f"and {len(lines) - SHOWN_DIFFERENCES} more")


def canonical(value: object) -> bytes:
    """Return the one JSON text of *value*: keys sorted, no spaces, UTF-8, a newline at its end.

    Raises:
        InputError: not JSON (a set, NaN, a lone surrogate).
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"cannot be written as JSON ({error})") from error


def parse_object(data: bytes, *, limit_bytes: int, file: str = "") -> Mapping[str, Any]:
    """Return the JSON object in *data*, whose bytes must be what `canonical` makes of it.

    Duplicate keys, other spacing and everything after the object are refused with that.

    Raises:
        InputError: too long, not JSON, not an object, not canonical.
    """
    if len(data) > limit_bytes:
        raise InputError(f"longer than {limit_bytes} bytes", file=file)
    try:
        found = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=file) from error
    if not isinstance(found, dict):
        raise InputError("not a JSON object", file=file)
    if canonical(found) != data:
        raise InputError("not in canonical form (changed by hand?)", file=file)
    return found
