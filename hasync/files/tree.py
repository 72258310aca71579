"""The edge to a live folder tree: walked once, in order, without ever following a link.

Every folder is opened relative to the one above it, so a link that appears in the middle of the
walk leads nowhere. What vanishes meanwhile was not there.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.manifest import safe_path
from hasync.failure import Exit, Stop
from hasync.files.exclusions import Rule, excluded
from hasync.files.tar import Kind, safe_target

MAX_DEPTH = 100  # folders within folders: each is one open descriptor
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of the tree; `folder` (a descriptor) is open only until the walk goes on."""

    path: str  # root name first; for people only, when `serious`
    name: str
    folder: int
    stat: os.stat_result
    kind: Kind | None  # None: it is left out
    why: str = ""  # left out because of this
    rule: Rule | None = None  # left out by this
    serious: bool = False  # left out although it may be wanted: a person should know
    target: str = ""  # of a link, relative and safe


def resolve(root: Path) -> Path:
    """Return the folder itself that *root* names: a link there is followed, a file is refused.

    Raises:
        Stop: it is not there, or no folder.
    """
    try:
        real = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise Stop(
            Exit.FAILED, f"no such folder: {root}", fix="see [[application.root]]"
        ) from error
    if not real.is_dir():
        raise Stop(Exit.FAILED, f"not a folder: {root}", fix="see [[application.root]]")
    return real


def walk(root: Path, name: str, rules: Iterable[Rule]) -> Iterator[Found]:
    """Return the root called *name* and all below it, a folder before what it holds.

    Raises:
        Stop: a folder cannot be read, or lies too deep.
    """
    by = tuple(rules)
    real = resolve(root)
    try:
        top = _open(str(real), None, name)
    except FileNotFoundError as error:
        raise Stop(Exit.FAILED, f"the folder has just gone: {root}") from error
    try:
        yield Found(name, ".", top, os.fstat(top), Kind.FOLDER)
        yield from _below(top, name, by, Top((f"{root}/", f"{real}/")))
    finally:
        os.close(top)


@dataclass(frozen=True, slots=True)
class Top:
    """The root that a walk is in, as absolute links may write it."""

    prefixes: tuple[str, ...]


def _below(folder: int, path: str, by: tuple[Rule, ...], top: Top) -> Iterator[Found]:
    if path.count("/") > MAX_DEPTH:
        raise Stop(Exit.FAILED, f"deeper than {MAX_DEPTH} folders", fact=path)
    for name in sorted(os.listdir(folder)):
        try:
            found = _look(folder, path, name, by, top)
        except FileNotFoundError:
            continue
        yield found
        if found.kind is not Kind.FOLDER:
            continue
        try:
            inner = _open(name, folder, found.path)
        except FileNotFoundError:
            continue
        try:
            yield from _below(inner, found.path, by, top)
        finally:
            os.close(inner)


def _open(name: str, folder: int | None, path: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except (NotADirectoryError, FileNotFoundError) as error:  # exchanged since we looked
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise Stop(
            Exit.FAILED,
            "a folder cannot be read",
            fact=f"{path}: {error.strerror}",
            fix="exclude it, or give this user the right to read it",
        ) from error


def _look(folder: int, path: str, name: str, by: tuple[Rule, ...], top: Top) -> Found:
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    full = f"{path}/{name}"
    kind = _KINDS.get(stat.S_IFMT(seen.st_mode))
    rule = excluded(full, regular=kind is Kind.FILE, by=by)
    if rule is not None:
        return Found(full, name, folder, seen, None, f"excluded by {rule.text}", rule)
    try:
        safe_path(full)
    except InputError as error:
        return Found(full, name, folder, seen, None, error.why, serious=True)
    if kind is None:
        return Found(full, name, folder, seen, None, "neither file, folder nor link")
    if kind is not Kind.LINK:
        return Found(full, name, folder, seen, kind)
    target = _inside(full, os.readlink(name, dir_fd=folder), top)
    if not safe_target(full, target):
        return Found(full, name, folder, seen, None, "a link that may lead out of its tree")
    return Found(full, name, folder, seen, kind, target=target)


def _inside(full: str, target: str, top: Top) -> str:
    """Return an absolute *target* in the root as a relative one; any other as it is.

    The same link then holds in the tree that is extracted beside the live one.
    """
    for prefix in top.prefixes:
        if target.startswith(prefix):
            climb = "../" * (full.count("/") - 1)
            return climb + target.removeprefix(prefix).strip("/")
    return target.rstrip("/") if target.strip("/") else target
