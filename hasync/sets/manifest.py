"""The manifest of one backup set: what it is, what it follows, every file, and facts to prove.

It is written last and signed; a set is what its manifest says, or it is corrupt.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness.errors import InputError
from harness.manifest import FileEntry, Files, canonical, parse_object

FORMAT = 1  # raised when a field's meaning changes
NAMESPACE = "hasync-set"  # of its signature
PARTIAL = ".hasync-partial"  # rsync's folder for pieces; no file of a set may lie in one
MAX_BYTES = 256 << 20  # of manifest.json: a million files
MAX_AT_NS = 253_402_300_800 * 10**9  # the year 10000
_ID = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_KIND = re.compile(r"db|app|rp|tail")
_INTEGERS = ("epoch", "sequence", "made_at_ns", "snapshot_at_ns")
_TEXTS = ("kind", "site", "id", "parent", "parent_hash", "tool")
_OWN = frozenset({*_TEXTS, *_INTEGERS, "format", "versions", "files", "facts"})


@dataclass(frozen=True, slots=True)
class SetManifest:
    """All that a set says of itself."""

    kind: str  # a hasync.sets.backup.Kind
    site: str  # where it was made; its signer
    epoch: int
    sequence: int
    id: str  # 32 hex digits, random
    parent: str  # id of the set of this kind and site before it; "": the first
    parent_hash: str  # SHA-256 of the parent's manifest.json, or ""
    made_at_ns: int  # wall time
    snapshot_at_ns: int  # wall time at which its content was true
    tool: str
    versions: Mapping[str, str]
    files: tuple[FileEntry, ...]  # below data/, in the order of their paths
    facts: Mapping[str, Any]  # JSON; of the kind

    def __post_init__(self) -> None:
        """Check each field, so that a manifest in hand is one that can be written and read."""
        if not _KIND.fullmatch(self.kind):
            raise InputError("no such kind of set", field="kind", value=self.kind)
        checked_site(self.site)
        checked_id(self.id)
        self._check_numbers()
        if bool(self.parent) != bool(self.parent_hash):
            raise InputError("parent and parent_hash go together", field="parent")
        if self.parent:
            checked_id(self.parent)
            if not _HASH.fullmatch(self.parent_hash):
                raise InputError("not a SHA-256", field="parent_hash", value=self.parent_hash)
        for entry in Files(self.files).entries:
            if PARTIAL in entry.path.split("/"):
                raise InputError(f"a path through {PARTIAL}", field="files", value=entry.path)

    def _check_numbers(self) -> None:
        bounds = {
            "epoch": (0, 999_999),
            "sequence": (1, 999_999_999_999),
            "made_at_ns": (0, MAX_AT_NS - 1),
            "snapshot_at_ns": (0, MAX_AT_NS - 1),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"not from {low} to {high}", field=name, value=value)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all its files."""
        return Files(self.files).size_bytes

    def encode(self) -> bytes:
        """Return manifest.json: the same manifest always gives the same bytes."""
        fields = {name: getattr(self, name) for name in (*_TEXTS, *_INTEGERS)}
        return canonical(
            fields
            | {
                "format": FORMAT,
                "versions": dict(self.versions),
                "files": Files(self.files).to_json(),
                "facts": dict(self.facts),
            }
        )

    @classmethod
    def parse(cls, data: bytes, *, file: str = "") -> Self:
        """Return the manifest that *data* is, whole.

        Raises:
            InputError: a missing, unknown or wrong field, an unsafe path, not canonical JSON.
        """
        found = parse_object(data, limit_bytes=MAX_BYTES, file=file)
        _check_types(found, file)
        try:
            files = Files.parse(found["files"], file=file).entries
            return cls(files=files, **{name: found[name] for name in _OWN - {"format", "files"}})
        except InputError as error:
            if error.file or not file:
                raise
            raise InputError(error.why, file=file, field=error.field, value=error.value) from error


def _check_types(found: Mapping[str, Any], file: str) -> None:
    """Refuse an object that has not exactly our fields, each of its type."""
    if found.get("format") != FORMAT:
        value = found.get("format")
        raise InputError("another format of manifests", file=file, field="format", value=value)
    if set(found) != _OWN:
        strange = ", ".join(sorted(set(found) ^ _OWN))
        raise InputError("fields missing or unknown", file=file, field=strange)
    kinds = dict.fromkeys(_TEXTS, str) | {"versions": dict, "facts": dict}
    for name, kind in kinds.items():
        if not isinstance(found[name], kind):
            raise InputError("wrong type", file=file, field=name, value=found[name])
    for name, version in found["versions"].items():
        if not isinstance(version, str):
            raise InputError("not text", file=file, field=f"versions.{name}", value=version)


def checked_id(text: str) -> str:
    """Return *text* when it is a set's id.

    Raises:
        InputError: not 32 lower-case hex digits.
    """
    if not _ID.fullmatch(text):
        raise InputError("not a set's id (32 hex digits)", field="id", value=text)
    return text


def checked_site(text: str) -> str:
    """Return *text* when it can be a site's name.

    Raises:
        InputError: not 1 to 32 letters, digits, - or _, beginning with a letter or digit.
    """
    if not _SITE.fullmatch(text):
        raise InputError("not a site's name (letters, digits, - and _)", field="site", value=text)
    return text
