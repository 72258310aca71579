"""The edge that reads the catalogue: which folders are sets, by their strict names.

Nothing is proved here and nothing written: a set that cannot be read is listed as CORRUPT.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.errors import InputError
from hasync.durable import read
from hasync.sets.backup import Catalogue, Kind, SetName, State, StoredSet, legacy, lies_right
from hasync.sets.inbox import Inbox
from hasync.sets.manifest import MAX_BYTES, SetManifest, checked_site
from hasync.sets.set_folder import MANIFEST
from hasync.sets.set_states import States
from hasync.settings import Folders

_Mark = tuple[int, int, int]


class Scanner:
    """Reads the sets; a manifest that nobody touched is parsed once."""

    def __init__(self, folders: Folders, states: States, inbox: Inbox) -> None:
        """Look below *folders*."""
        self._folders, self._states, self._inbox = folders, states, inbox
        self._parsed: dict[Path, tuple[_Mark, SetManifest]] = {}

    def scan(self) -> Catalogue:
        """Return all sets, the oldest first, and all strangers among them."""
        sets: list[StoredSet] = []
        strangers: list[str] = []
        known = {name.text: set_id for set_id, name in self._states.names().items()}
        for path in self._paths():
            found = _place(path)
            folder = self._folders.sets / path
            if found is None or folder.is_symlink() or not folder.is_dir():
                strangers.append(f"sets/{path}")
            else:
                sets.append(self._look(*found, known.get(found[2].text, "")))
        foreign, old = self._inbox.strangers()
        strangers += [f"inbox/{name}" for name in (*foreign, *old)]
        strangers += [name for name in _names(self._folders.base) if legacy(name)]
        aged = tuple(sorted(one for one in strangers if legacy(one.rpartition("/")[2])))
        return Catalogue(
            tuple(sorted(sets, key=lambda one: (*one.order, one.path))),
            tuple(sorted(set(strangers) - set(aged))),
            aged,
        )

    def names(self) -> tuple[SetName, ...]:
        """Return the names of all sets, readable or not."""
        return tuple(found[2] for path in self._paths() if (found := _place(path)))

    def _paths(self) -> Iterator[str]:
        """Give what lies below sets/: each set's path, and each stranger's where it was met."""
        for kind in _names(self._folders.sets):
            if kind not in set(Kind) or not _is_folder(self._folders.sets / kind):
                yield kind
                continue
            for site in _names(self._folders.sets / kind):
                below = self._folders.sets / kind / site
                if not _is_site(site) or not _is_folder(below):
                    yield f"{kind}/{site}"
                    continue
                yield from (f"{kind}/{site}/{name}" for name in _names(below))

    def _look(self, kind: Kind, site: str, name: SetName, known_id: str) -> StoredSet:
        """Return one set as its manifest says, or as CORRUPT when that cannot be read."""
        folder = self._folders.sets / kind / site / name.text
        try:
            manifest = self._manifest(folder / MANIFEST, kind, site, name)
        except InputError as error:
            set_id = known_id or f"{name.id8}{0:024x}"
            state = replace(self._states.get(set_id, name), state=State.CORRUPT, why=str(error))
            return StoredSet(kind, site, name, set_id, None, state, _size_bytes(folder))
        state = self._states.get(manifest.id, name)
        return StoredSet(kind, site, name, manifest.id, manifest, state, manifest.size_bytes)

    def _manifest(self, file: Path, kind: Kind, site: str, name: SetName) -> SetManifest:
        """Return the manifest in *file*.

        Raises:
            InputError: it cannot be read, or is that of another set.
        """
        try:
            status = file.lstat()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from error
        mark = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        known = self._parsed.get(file)
        if known is not None and known[0] == mark:
            return known[1]
        manifest = SetManifest.parse(read(file, MAX_BYTES), file=str(file))
        if not lies_right(manifest, kind, site, name):
            raise InputError("another set than its folder says", file=str(file))
        self._parsed[file] = (mark, manifest)
        return manifest


def _place(path: str) -> tuple[Kind, str, SetName] | None:
    """Return which set a path below sets/ is; None: a stranger."""
    parts = path.split("/")
    if len(parts) != 3:  # noqa: PLR2004 - kind, site, name
        return None
    try:
        return Kind(parts[0]), parts[1], SetName.parse(parts[2])
    except InputError:
        return None


def _is_site(text: str) -> bool:
    try:
        return bool(checked_site(text))
    except InputError:
        return False


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _names(folder: Path) -> list[str]:
    """Return the names in *folder* in order; none when it is not there."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208 - names


def _size_bytes(folder: Path) -> int:
    """Return the bytes of all files below *folder*."""
    return sum(
        os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 - many
        for root, _, names in os.walk(folder)
        for name in names
    )
