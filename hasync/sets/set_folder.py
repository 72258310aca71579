"""The edge to one set's folder: manifest.json, manifest.sig, data/ and nothing else.

Order is the law here: the signature is checked before a byte of the manifest is believed, and the
names of all files before one of them is opened.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.manifest import FileEntry, Files, differences, folders_of, safe_path, shortened
from harness.signature import MAX_SIGNATURE_BYTES, SignatureError, signers
from hasync.durable import read, sha256
from hasync.sets.manifest import MAX_BYTES, NAMESPACE, SetManifest

MANIFEST, SIGNATURE, DATA = "manifest.json", "manifest.sig", "data"


class NotWholeError(InputError):
    """A folder that is not a set, or not the set that it says it is."""


@dataclass(frozen=True, slots=True)
class Found:
    """One file or folder as it lies on the disk; equal marks mean that nobody touched it."""

    is_folder: bool
    size_bytes: int
    mark: tuple[int, int, int]  # inode, time of change of content, and of anything else


@dataclass(frozen=True, slots=True)
class Layout:
    """How the names and sizes in a folder differ from a manifest's."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    resized: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """Return it in words; () when names and sizes are right."""
        return shortened(
            [f"{path}: missing" for path in self.missing]
            + [f"{path}: not in the manifest" for path in self.extra]
            + [f"{path}: another size" for path in self.resized]
        )


def survey(folder: Path) -> dict[str, Found]:
    """Return all that lies below *folder*, by relative path.

    Raises:
        NotWholeError: a link, a second name of a file, a device, or a name that is not safe.
    """
    found: dict[str, Found] = {}
    left = [""]
    while left:
        inside = left.pop()
        for name in _names(folder, inside):
            path = _safe(f"{inside}/{name}".lstrip("/"), folder)
            with suppress(FileNotFoundError):  # a receiver's temporary name, now the real one
                found[path] = _found(folder, path)
                if found[path].is_folder:
                    left.append(path)
    return found


def _names(folder: Path, inside: str) -> list[str]:
    try:
        return os.listdir(folder / inside)  # noqa: PTH208 - names
    except OSError as error:
        raise NotWholeError(f"cannot be listed: {error.strerror}", file=str(folder)) from error


def _found(folder: Path, path: str) -> Found:
    status = os.lstat(folder / path)
    is_folder = stat.S_ISDIR(status.st_mode)
    if not is_folder and (not stat.S_ISREG(status.st_mode) or status.st_nlink != 1):
        why = "a link, a device, or a file with a second name"
        raise NotWholeError(why, file=str(folder), field="path", value=path)
    mark = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return Found(is_folder, status.st_size, mark)


def _safe(path: str, folder: Path) -> str:
    try:
        return safe_path(path)
    except InputError as error:
        raise NotWholeError(error.why, file=str(folder), field="path", value=path) from error


def authenticate(folder: Path, allowed_signers: Path) -> SetManifest:
    """Return the manifest in *folder*, signed by the site that it names.

    Raises:
        SignatureError: nobody trusted signed it, or another site than it names.
        NotWholeError: signed, but not a manifest of ours; or a file is missing.
        InputError: *allowed_signers* cannot be read: then nothing is known of the set.
    """
    try:
        data = read(folder / MANIFEST, MAX_BYTES)
        signature = read(folder / SIGNATURE, MAX_SIGNATURE_BYTES)
    except InputError as error:
        raise NotWholeError(error.why, file=error.file) from error
    names = signers(data, signature, allowed_signers, NAMESPACE)
    try:
        manifest = SetManifest.parse(data, file=str(folder / MANIFEST))
    except InputError as error:
        raise NotWholeError(
            error.why, file=error.file, field=error.field, value=error.value
        ) from error
    if manifest.site not in names:
        raise SignatureError(
            f"signed by {', '.join(names)}, who may not speak for another site",
            file=str(folder / MANIFEST),
            field="site",
            value=manifest.site,
        )
    return manifest


def compare(manifest: SetManifest, found: Mapping[str, Found]) -> Layout:
    """Return how names, kinds and sizes of what was *found* differ; no file is opened."""
    sizes = {f"{DATA}/{entry.path}": entry.size_bytes for entry in manifest.files}
    folders = {DATA} | {folder for path in sizes for folder in folders_of(path)}
    files = {*sizes, MANIFEST, SIGNATURE}
    right = {path for path in files if path in found and not found[path].is_folder}
    right |= {path for path in folders if path in found and found[path].is_folder}
    return Layout(
        missing=tuple(sorted((files | folders) - right)),
        extra=tuple(sorted(set(found) - right)),
        resized=tuple(
            path for path, size in sizes.items() if path in right and found[path].size_bytes != size
        ),
    )


def changed(folder: Path, manifest: SetManifest) -> tuple[str, ...]:
    """Return the paths (below the set's folder) of files whose content is not the manifest's."""
    return tuple(
        f"{DATA}/{entry.path}"
        for entry in manifest.files
        if not _is_as_written(folder / DATA / entry.path, entry)
    )


def _is_as_written(path: Path, entry: FileEntry) -> bool:
    try:
        return sha256(path) == (entry.sha256, entry.size_bytes)
    except InputError:  # gone, or the disk cannot read it
        return False


def check(folder: Path, manifest: SetManifest) -> tuple[str, ...]:
    """Return in words all that is wrong with the files of an authentic set; () when it is whole."""
    try:
        layout = compare(manifest, survey(folder))
    except NotWholeError as error:
        return (str(error),)
    told = layout.told
    return told or shortened(f"{path}: content changed" for path in changed(folder, manifest))


@dataclass(slots=True)
class Hashed:
    """The files below a folder with their hashes; a file is read again only if it was touched."""

    folder: Path
    _known: dict[str, tuple[Found, FileEntry]]

    def files(self) -> tuple[FileEntry, ...]:
        """Return an entry for each file as it lies there now, in the order of their paths.

        Raises:
            NotWholeError: a link, a device, or a name that is not safe.
        """
        entries = []
        for path, found in survey(self.folder).items():
            if found.is_folder:
                continue
            known, entry = self._known.get(path, (None, None))
            if entry is None or known != found:
                digest, size_bytes = sha256(self.folder / path)
                entry = FileEntry(path, size_bytes, digest)
                self._known[path] = (found, entry)
            entries.append(entry)
        return Files.of(entries).entries

    def wrong(self, wanted: Iterable[FileEntry]) -> tuple[str, ...]:
        """Return in words how the files differ from *wanted*."""
        return differences(wanted, self.files())
