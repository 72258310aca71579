"""The nouns of a catalogue: kinds, names, states and order of backup sets.

Laws: sets are ordered by (epoch, sequence), never by a clock or a file name; only a set that was
verified is a copy; a name is one of ours only when the strict grammar gives it back unchanged.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from harness.errors import InputError
from harness.manifest import canonical, parse_object
from hasync.sets.manifest import SetManifest

MAX_EPOCH = 999_999  # six digits in a name: a promotion a minute for two years
MAX_SEQUENCE = 999_999_999_999
MAX_STATE_BYTES = 1 << 20
RETRY_FIRST_NS = 5 * 60 * 10**9  # before a failed set is tried again; doubles with each attempt
RETRY_LAST_NS = 6 * 3600 * 10**9
SENT = "sent_at_ns"  # measured when the peer had taken a set into its catalogue
_NAME = re.compile(r"e([0-9]{6})-s([0-9]{8,12})-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{8})")
_UTC = "%Y%m%dT%H%M%SZ"
_LEGACY = re.compile(r"pgbackup\.[0-9]{14}\.tgz|ngpbackup[A-Za-z0-9._-]{0,200}\.tgz")
_STATE_KEYS = {"state", "attempts", "why", "at_ns", "pinned", "held", "measurements", "name"}


class Kind(StrEnum):
    """What a set holds."""

    DATABASE = "db"
    APPLICATION = "app"
    RESTORE_POINT = "rp"
    TAIL = "tail"


class State(StrEnum):
    """What is known here of a set."""

    NEW = "new"
    VERIFIED = "verified"  # signature, size and SHA-256 of every file
    RESTORED = "restored"  # and it was the live database
    FAILED = "failed"  # files are right, but a restore of it did not end well
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class SetName:
    """The name of a set's folder."""

    epoch: int
    sequence: int
    made_at_utc: str  # for people; nothing is ordered by it
    id8: str

    def __post_init__(self) -> None:
        """Check that the text of it is one that `parse` takes."""
        if not _NAME.fullmatch(self.text) or not 0 < self.sequence <= MAX_SEQUENCE:
            raise InputError("not a name of a set", field="name", value=self.text)

    @property
    def text(self) -> str:
        """Return the folder's name.

        >>> SetName(3, 41, "20261122T184100Z", "1a2b3c4d").text
        'e000003-s00000041-20261122T184100Z-1a2b3c4d'
        """
        return f"e{self.epoch:06d}-s{self.sequence:08d}-{self.made_at_utc}-{self.id8}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that *text* is.

        Raises:
            InputError: not one of ours, or written in another way than we do.
        """
        found = _NAME.fullmatch(text)
        if not found or not _is_utc(found[3]):
            raise InputError("not a name of a set", field="name", value=text)
        name = cls(int(found[1]), int(found[2]), found[3], found[4])
        if name.text != text:
            raise InputError("not a name of a set as we write it", field="name", value=text)
        return name

    @classmethod
    def of(cls, manifest: SetManifest) -> Self:
        """Return the name of the set that has *manifest*."""
        made = datetime.fromtimestamp(manifest.made_at_ns // 10**9, UTC)
        utc = f"{made.year:04d}{made:%m%dT%H%M%SZ}"  # %Y has no leading zeros before year 1000
        return cls(manifest.epoch, manifest.sequence, utc, manifest.id[:8])


def _is_utc(text: str) -> bool:
    try:
        datetime.strptime(text, _UTC).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SetState:
    """What is known here of one set; kept outside it, and lost without harm (then it is NEW)."""

    state: State = State.NEW
    attempts: int = 0  # restores that failed
    why: str = ""
    at_ns: int = 0  # wall time of the last change; for people and for back-off
    pinned: bool = False  # never removed
    held: str = ""  # why no run may take it by itself; "" when it may
    measurements: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, name: SetName) -> bytes:
        """Return the text of the state file of the set called *name*."""
        return canonical(
            {
                "state": self.state,
                "attempts": self.attempts,
                "why": self.why,
                "at_ns": self.at_ns,
                "pinned": self.pinned,
                "held": self.held,
                "measurements": dict(self.measurements),
                "name": name.text,
            }
        )

    @classmethod
    def parse(cls, data: bytes, *, file: str = "") -> tuple[Self, SetName]:
        """Return the state in *data*, and the name of the set that it is about.

        Raises:
            InputError: not what `encode` writes.
        """
        found = parse_object(data, limit_bytes=MAX_STATE_BYTES, file=file)
        if set(found) != _STATE_KEYS:
            raise InputError("not the fields of a state", file=file, value=sorted(found))
        kinds = {"attempts": int, "why": str, "at_ns": int, "pinned": bool, "held": str}
        for key, kind in kinds.items():
            if type(found[key]) is not kind:
                raise InputError("wrong type", file=file, field=key, value=found[key])
        if not isinstance(found["measurements"], dict) or found["attempts"] < 0:
            raise InputError("not a state", file=file, value=dict(found))
        if found["state"] not in list(State) or not isinstance(found["name"], str):
            raise InputError("no such state", file=file, field="state", value=found["state"])
        known = {key: found[key] for key in kinds} | {"measurements": found["measurements"]}
        return cls(state=State(found["state"]), **known), SetName.parse(found["name"])


@dataclass(frozen=True, slots=True)
class StoredSet:
    """One set of the catalogue, with what is known of it."""

    kind: Kind
    site: str
    name: SetName
    id: str
    manifest: SetManifest | None  # None: it has none that can be read, and is CORRUPT
    state: SetState
    size_bytes: int

    @classmethod
    def of(cls, manifest: SetManifest) -> Self:
        """Return the set that has *manifest*; nothing else is known of it yet."""
        name = SetName.of(manifest)
        kind, size_bytes = Kind(manifest.kind), manifest.size_bytes
        return cls(kind, manifest.site, name, manifest.id, manifest, SetState(), size_bytes)

    @property
    def order(self) -> tuple[int, int]:
        """Return what sets are ordered by: epoch, then sequence."""
        return self.name.epoch, self.name.sequence

    @property
    def path(self) -> str:
        """Return where it lies below sets/."""
        return f"{self.kind}/{self.site}/{self.name.text}"

    @property
    def proved(self) -> bool:
        """Say whether it is a copy that counts: its files were checked, or it was restored."""
        return self.state.state in {State.VERIFIED, State.RESTORED}

    def may_be_taken(self, now_ns: int | None = None) -> bool:
        """Say whether a run may restore it by itself; with *now_ns* a failed one too, in time."""
        if self.state.held or self.manifest is None:
            return False
        failed = self.state.state is State.FAILED
        return self.proved or (failed and now_ns is not None and may_retry(self.state, now_ns))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All sets here, the oldest first, and what lies among them that is not ours."""

    sets: tuple[StoredSet, ...]
    foreign: tuple[str, ...] = ()  # below the base folder; never touched
    legacy: tuple[str, ...] = ()  # of the scripts that came before; below the base folder

    def of(self, kind: Kind, site: str = "") -> tuple[StoredSet, ...]:
        """Return the sets of one kind, of one site or (with "") of all."""
        return tuple(one for one in self.sets if one.kind is kind and site in {"", one.site})

    @property
    def broken(self) -> tuple[StoredSet, ...]:
        """Return the sets without a manifest that can be read."""
        return tuple(one for one in self.sets if one.manifest is None)

    def by_id(self, set_id: str) -> StoredSet | None:
        """Return the set with exactly this id."""
        return next((one for one in self.sets if one.id == set_id), None)

    def find(self, text: str) -> StoredSet:
        """Return the set that a person means: by id, by its first 8 digits, or by name.

        Raises:
            InputError: no such set, or more than one.
        """
        found = [one for one in self.sets if text in {one.id, one.name.id8, one.name.text}]
        if len(found) != 1:
            why = "more than one set" if found else "no such set"
            raise InputError(why, field="set", value=text, fix="see `hasync sets`, give the name")
        return found[0]


def lies_right(manifest: SetManifest, kind: str, site: str, name: SetName) -> bool:
    """Say whether *manifest* belongs into the folder kind/site/name."""
    return (manifest.kind, manifest.site, SetName.of(manifest)) == (kind, site, name)


def may_retry(state: SetState, now_ns: int) -> bool:
    """Say whether a failed set is due again: after 5 minutes, then 10, 20, … up to 6 hours.

    A clock that went back makes it due at once: back-off saves work, it must never block.
    """
    wait_ns = min(RETRY_FIRST_NS << min(max(state.attempts - 1, 0), 30), RETRY_LAST_NS)
    return not state.at_ns <= now_ns < state.at_ns + wait_ns


def newest(
    sets: Iterable[StoredSet],
    newer_than: tuple[int, int] | None = None,
    *,
    now_ns: int | None = None,
) -> StoredSet | None:
    """Return the highest set that a run may take, above the order *newer_than*; None: no such.

    With *now_ns* (wall) failed sets count again when their back-off is over.
    """
    fit = (
        one
        for one in sets
        if one.may_be_taken(now_ns) and (newer_than is None or one.order > newer_than)
    )
    return max(fit, key=lambda one: (*one.order, one.site, one.id), default=None)


def legacy(name: str) -> bool:
    """Say whether a file's name is one of the scripts that came before.

    >>> legacy("pgbackup.20150131060000.tgz"), legacy("before-upgrade.tgz")
    (True, False)
    """
    return bool(_LEGACY.fullmatch(name))
