"""The databases beside NAME, and what is written on each of them: who they are, whence they came.

    NAME                 what clients see
    NAME__new_<id8>      being restored from a set; proved once it carries a verified marker
    NAME__prev_<oid>     was NAME until a swap or a rollback
    NAME__tail_<oid>     was NAME, and holds rows that no set of the other site has

A note is a database setting of the class `hasync`: it stays with the database's OID through every
rename, changes in the same transaction as the names, and is in no dump of the content. A note that
cannot be read counts as absent, and an absent marker as content that must not be lost.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from harness.errors import InputError

MARKER = "hasync.marker"
REPLACED = "hasync.replaced"
TAIL = "hasync.tail"
MAKING = "hasync.making"
NAME_BYTES = 63  # NAMEDATALEN - 1: PostgreSQL cuts a longer name in silence
SUFFIX_BYTES = len("__tail_4294967295")
MAX_NOTE_CHARS = 4096

_SET_ID = re.compile(r"[0-9a-f]{32}")
_XID = re.compile(r"[0-9]{1,20}")
_COMPANION = re.compile(
    r"(?P<name>.+)__(?:(?P<new>new)_(?P<id8>[0-9a-f]{8})"
    r"|(?P<kind>prev|tail)_(?P<oid>[1-9][0-9]{0,9}))",
    re.DOTALL,
)


class Place(StrEnum):
    """What a database is to NAME."""

    LIVE = "live"
    NEW = "new"
    PREVIOUS = "prev"
    TAIL = "tail"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Companions:
    """The names that belong to the database *name*."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name whose companions PostgreSQL would cut.

        Raises:
            InputError: empty, with a control character, or too long.
        """
        field = "database.name"
        if not self.name or any(ord(character) < ord(" ") for character in self.name):
            raise InputError("not a database name", field=field, value=self.name)
        if len(self.name.encode()) > NAME_BYTES - SUFFIX_BYTES:
            why = f"longer than {NAME_BYTES - SUFFIX_BYTES} bytes"
            fix = "companions such as __prev_16384 must fit too"
            raise InputError(why, field=field, value=self.name, fix=fix)
        if _COMPANION.fullmatch(self.name):
            raise InputError("is the name of a companion", field=field, value=self.name)

    def new(self, set_id: str) -> str:
        """Return the name of the database that *set_id* is restored into.

        >>> Companions("ngp").new("1a2b3c4d" + "0" * 24)
        'ngp__new_1a2b3c4d'
        """
        return f"{self.name}__new_{set_id[:8]}"

    def previous(self, oid: int) -> str:
        """Return the name that the database *oid* gets when another takes its place."""
        return f"{self.name}__prev_{oid}"

    def tail(self, oid: int) -> str:
        """Return the name under which the written-to database *oid* is preserved."""
        return f"{self.name}__tail_{oid}"

    def place(self, name: str, oid: int) -> Place:
        """Return what the database *name* is; one that names another OID is a stranger.

        >>> Companions("ngp").place("ngp__prev_5", 5), Companions("ngp").place("ngp__prev_5", 6)
        (<Place.PREVIOUS: 'prev'>, <Place.FOREIGN: 'foreign'>)
        """
        if name == self.name:
            return Place.LIVE
        found = _COMPANION.fullmatch(name)
        if found is None or found["name"] != self.name:
            return Place.FOREIGN
        if found["new"]:
            return Place.NEW
        return Place(found["kind"]) if int(found["oid"]) == oid else Place.FOREIGN


@dataclass(frozen=True, slots=True)
class Marker:
    """Which verified set a database holds, and the transaction after which any row is newer."""

    set_id: str
    sequence: int
    epoch: int
    site: str
    xid: int  # with its epoch: never wraps

    @property
    def order(self) -> tuple[int, int]:
        """Return what sets are ordered by."""
        return self.epoch, self.sequence

    def encode(self) -> str:
        """Return the compact text that is set on the database."""
        fields = {"set": self.set_id, "seq": self.sequence, "epoch": self.epoch}
        more = {"site": self.site, "xid": str(self.xid), "verified": True}
        return json.dumps(fields | more, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the marker in *text*; None when it is absent, unverified or not one of ours.

        >>> Marker.parse("") is None and Marker.parse('{"verified":true}') is None
        True
        """
        note = _note(text)
        if note.get("verified") is not True:
            return None
        kinds = {"set": str, "seq": int, "epoch": int, "site": str, "xid": str}
        if any(type(note.get(key)) is not kind for key, kind in kinds.items()):
            return None
        if not _SET_ID.fullmatch(note["set"]) or not _XID.fullmatch(note["xid"]):
            return None
        return cls(note["set"], note["seq"], note["epoch"], note["site"], int(note["xid"]))


@dataclass(frozen=True, slots=True)
class Replaced:
    """When a database ceased to be NAME: a transaction number, which only grows in a cluster."""

    xid: int
    rolled_back: bool = False

    def encode(self) -> str:
        """Return the compact text that is set on the database."""
        fields = {"xid": str(self.xid), "rolled_back": self.rolled_back}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the note in *text*; None when it is absent or not one of ours."""
        note = _note(text)
        xid, rolled_back = note.get("xid"), note.get("rolled_back")
        if not isinstance(xid, str) or not _XID.fullmatch(xid):
            return None
        return cls(int(xid), rolled_back is True)


@dataclass(frozen=True, slots=True)
class Preserved:
    """Which tail set holds what was in the database up to a transaction."""

    set_id: str
    xid: int

    def encode(self) -> str:
        """Return the compact text that is set on the database."""
        return json.dumps({"set": self.set_id, "xid": str(self.xid)}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the note in *text*; None when it is absent or not one of ours."""
        note = _note(text)
        set_id, xid = note.get("set"), note.get("xid")
        if not isinstance(xid, str) or not _XID.fullmatch(xid):
            return None
        if not isinstance(set_id, str) or not _SET_ID.fullmatch(set_id):
            return None
        return cls(set_id, int(xid))


def making(name: str) -> str:
    """Return the note that a database made by a run of ours carries until it is live."""
    return json.dumps({"name": name}, separators=(",", ":"))


def is_making(text: str, name: str) -> bool:
    """Say whether the note *text* is ours, and of the database that is called *name* now.

    >>> is_making(making("ngp__new_1a2b3c4d"), "ngp__new_1a2b3c4d"), is_making("", "ngp")
    (True, False)
    """
    return _note(text).get("name") == name


def _note(text: str) -> Mapping[str, Any]:
    """Return the JSON object in *text*; an empty one when there is none."""
    if not text or len(text) > MAX_NOTE_CHARS:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
