"""The edge to the inbox, the only folder that the peer may write: nothing in it is believed.

What lies whole in <id>.part/ is proved; what is not whole stays for rsync to resume; what can
never become a set (unsigned, foreign files, another set's id) goes to quarantine/ for a person.
"""

import os
import re
from pathlib import Path

from harness.errors import InputError
from harness.signature import SignatureError
from hasync.durable import make_folder, read, remove_tree, rename, telling
from hasync.failure import Exit, Stop
from hasync.sets.backup import legacy
from hasync.sets.manifest import MAX_BYTES, PARTIAL, SetManifest
from hasync.sets.set_folder import (
    DATA,
    MANIFEST,
    SIGNATURE,
    Found,
    NotWholeError,
    authenticate,
    changed,
    compare,
    survey,
)

QUARANTINE = "quarantine"
KEPT_QUARANTINED = 8  # a hostile peer must not fill the disk with them
OLD_NS = 7 * 86_400 * 10**9  # a transfer that nobody went on with
_PART = re.compile(r"([0-9a-f]{32})\.part")
_RSYNC_TEMPORARY = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}")  # left by a receiver that was killed


class Inbox:
    """What the peer has sent, or is sending."""

    def __init__(self, folder: Path, allowed_signers: Path) -> None:
        """Look into *folder*, and believe who is named in *allowed_signers*."""
        self.folder = folder
        self._allowed = allowed_signers

    def part(self, set_id: str) -> Path:
        """Return where the set is received."""
        return self.folder / f"{set_id}.part"

    def waiting(self) -> tuple[str, ...]:
        """Return the ids of all parts that have a manifest and a signature; they may be whole."""
        return tuple(
            found[1]
            for name in self._names()
            if (found := _PART.fullmatch(name))
            and all((self.folder / name / file).is_file() for file in (MANIFEST, SIGNATURE))
        )

    def strangers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names that are no parts: foreign ones, and those of the old scripts."""
        names = [name for name in self._names() if name != QUARANTINE and not _PART.fullmatch(name)]
        old = tuple(name for name in names if legacy(name))
        return tuple(name for name in names if name not in old), old

    def _names(self) -> list[str]:
        return sorted(os.listdir(self.folder)) if self.folder.is_dir() else []  # noqa: PTH208 - names

    def same(self, set_id: str, manifest: bytes) -> bool | None:
        """Say whether the part has this very manifest; None: it has none (yet)."""
        try:
            return read(self.part(set_id) / MANIFEST, MAX_BYTES) == manifest
        except InputError:
            return None

    def prove(self, set_id: str, site: str = "") -> tuple[SetManifest, dict[str, Found]]:
        """Return the manifest of a part that is whole, and how its files lay when they were read.

        A set made elsewhere than at *site* is refused, however well it is signed ("": any site).

        Raises:
            Stop: not whole yet (TRANSFER, all stays), damaged (NOT_VERIFIED, the damaged files are
                removed so that they are sent again), or refused (TRUST, NOT_VERIFIED, quarantined).
        """
        part = self.part(set_id)
        if not os.path.lexists(part):
            raise Stop(Exit.TRANSFER, f"no set {set_id} in the inbox", fix="send it first")
        if part.is_symlink() or not part.is_dir():
            raise self.refuse(set_id, Exit.NOT_VERIFIED, "a link or a file in place of a set")
        if not all(os.path.lexists(part / file) for file in (MANIFEST, SIGNATURE)):
            raise Stop(Exit.TRANSFER, f"set {set_id} is not whole yet", fact="no manifest")
        try:
            manifest = authenticate(part, self._allowed)
            found = survey(part)
        except SignatureError as error:
            raise self.refuse(set_id, Exit.TRUST, str(error)) from error
        except NotWholeError as error:
            raise self.refuse(set_id, Exit.NOT_VERIFIED, str(error)) from error
        if manifest.id != set_id:
            raise self.refuse(set_id, Exit.TRUST, f"the manifest is that of set {manifest.id}")
        if site not in {"", manifest.site}:
            why = f"made at {manifest.site}, and the peer is {site} (peer.site)"
            raise self.refuse(set_id, Exit.TRUST, why)
        return manifest, self._whole(set_id, manifest, found)

    def _whole(
        self, set_id: str, manifest: SetManifest, found: dict[str, Found]
    ) -> dict[str, Found]:
        """Return what was *found*, when it is exactly what the authentic *manifest* says."""
        part = self.part(set_id)
        layout = compare(manifest, found)
        strange = [path for path in layout.extra if not _of_rsync(path, found)]
        if strange:
            raise self.refuse(set_id, Exit.NOT_VERIFIED, f"holds {strange[0]}, which is not in it")
        if layout.missing or layout.resized:
            count = len(layout.missing) + len(layout.resized)
            fact = f"{count} files to come, for example {(layout.missing + layout.resized)[0]}"
            raise Stop(Exit.TRANSFER, f"set {set_id} is not whole yet", fact=fact)
        for path in layout.extra:
            _remove(part / path)
        damaged = changed(part, manifest)
        for path in damaged:  # rsync would not send a file again whose size and time are right
            _remove(part / path)
        if damaged:
            fact = f"{len(damaged)} files, for example {damaged[0]}"
            why = f"set {set_id} was damaged on its way"
            raise Stop(Exit.NOT_VERIFIED, why, fact=fact, fix="send it again: only these are sent")
        return {path: one for path, one in found.items() if path not in layout.extra}

    def refuse(self, set_id: str, code: Exit, why: str) -> Stop:
        """Move the part to quarantine/, and return the error to raise.

        Raises:
            Stop: there is nothing to move (any more), or it cannot be moved.
        """
        folder = self.folder / QUARANTINE
        make_folder(folder)
        if folder.is_symlink():
            raise Stop(Exit.TRUST, f"{folder} is a link", fix="remove it, and find out who made it")
        number = 1 + max((int(name.rpartition(".")[2]) for name in self.quarantined()), default=0)
        place = folder / f"{set_id}.{number}"
        rename(self.part(set_id), place)
        fix = f"look at {place}"
        return Stop(code, f"set {set_id} was refused", fact=why, fix=fix)

    def quarantined(self) -> tuple[str, ...]:
        """Return the names in quarantine/, the oldest first."""
        folder = self.folder / QUARANTINE
        if folder.is_symlink() or not folder.is_dir():
            return ()
        names = [
            name
            for name in os.listdir(folder)  # noqa: PTH208 - names
            if re.fullmatch(r"[0-9a-f]{32}\.[0-9]{1,9}", name)
        ]
        return tuple(sorted(names, key=lambda name: int(name.rpartition(".")[2])))

    def quarantined_paths(self) -> tuple[str, ...]:
        """Return where the quarantined lie, below the base folder."""
        return tuple(f"{self.folder.name}/{QUARANTINE}/{name}" for name in self.quarantined())

    def sweepable(self, now_ns: int) -> tuple[Path, ...]:
        """Return what may go: parts that nothing has come into for a week, the oldest quarantined.

        The age is that of the inode (ctime): rsync sets the other times to those of the sender.
        """
        parts = [self.folder / name for name in self._names() if _PART.fullmatch(name)]
        old = [part for part in parts if _touched_ns(part) < now_ns - OLD_NS]
        spare = self.quarantined()[:-KEPT_QUARANTINED]
        return (*old, *(self.folder / QUARANTINE / name for name in spare))


def _of_rsync(path: str, found: dict[str, Found]) -> bool:
    """Say whether a name that is not in the manifest is what rsync leaves when it is killed."""
    folder, _, name = path.rpartition("/")
    if PARTIAL in path.split("/"):
        return True
    temporary = _RSYNC_TEMPORARY.fullmatch(name)
    return bool(temporary) and not found[path].is_folder and folder.split("/")[0] in {"", DATA}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
        return
    with telling("remove", path):
        path.unlink(missing_ok=True)


def _touched_ns(part: Path) -> int:
    """Return when anything in *part* last changed; what vanishes meanwhile is being used."""
    latest = part.lstat().st_ctime_ns
    for root, folders, names in os.walk(part):
        for name in (*folders, *names):
            latest = max(latest, os.lstat(os.path.join(root, name)).st_ctime_ns)  # noqa: PTH118 - many
    return latest
