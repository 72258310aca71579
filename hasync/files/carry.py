"""The edge that carries what is this host's own from the live tree into the one that replaces it.

No set holds these paths (the network configuration, logs, links out of the tree), and the host
needs them. They are copied, not linked: the tree before stays what it was, for `undo`.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from harness.child import run
from hasync import durable
from hasync.failure import Exit, Stop
from hasync.files.tree import walk


def present(live: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of *paths* (below *live*) that are there, none below another."""
    found: list[str] = []
    for path in sorted(set(paths)):
        inside = any(path.startswith(f"{other}/") for other in found)
        if not inside and os.path.lexists(live / path) and _real_parents(live, path):
            found.append(path)
    return tuple(found)


def _real_parents(live: Path, path: str) -> bool:
    """Say whether every folder above *path* is a folder, not a link to one."""
    parents = [live / parent for parent in Path(path).parents if parent != Path()]
    return all(stat.S_ISDIR(parent.lstat().st_mode) for parent in parents)


def measure(live: Path, name: str, paths: Iterable[str]) -> int:
    """Return the bytes of what *paths* hold, having seen that all of *live* is one file system.

    Raises:
        Stop: another file system is mounted on it or below: a rename would leave that behind.
    """
    own = tuple(f"{name}/{path}" for path in paths)
    device = live.stat().st_dev
    if live.parent.stat().st_dev != device or os.path.ismount(live):
        raise _mounted(live)
    size_bytes = 0
    for found in walk(live, name, ()):
        if found.stat.st_dev != device:
            raise _mounted(live.parent / found.path)
        if any(found.path == path or found.path.startswith(f"{path}/") for path in own):
            size_bytes += found.stat.st_blocks * 512
    return size_bytes


def _mounted(path: Path) -> Stop:
    return Stop(
        Exit.REFUSED,
        "a file system is mounted in the tree, which a rename cannot exchange",
        fact=str(path),
        fix="unmount it, or put the tree one folder below it",
    )


def carry(live: Path, new: Path, path: str, *, limit_s: float) -> None:
    """Copy *path* with owners, rights, times and labels from *live* into *new*.

    Raises:
        Stop: something is in the way there, no space, or it took longer than *limit_s*.
    """
    made = new
    for part in Path(path).parts[:-1]:
        made /= part
        if os.path.lexists(made):
            if not stat.S_ISDIR(made.lstat().st_mode):
                raise Stop(
                    Exit.REFUSED, "the set has no folder where this host needs one", fact=path
                )
            continue
        with durable.telling("make", made):
            made.mkdir(mode=0o700)
            seen = (live / made.relative_to(new)).stat()
            if os.geteuid() == 0:
                os.chown(made, seen.st_uid, seen.st_gid)
            made.chmod(stat.S_IMODE(seen.st_mode) & 0o777)
    if os.path.lexists(new / path):
        raise Stop(Exit.REFUSED, "the set holds what this host keeps as its own", fact=path)
    argv = ("cp", "-a", "--reflink=auto", "-T", "--", str(live / path), str(new / path))
    output = run(argv, limit_s=limit_s)
    if output.exit_code != 0:
        full = b"No space left" in output.stderr
        raise Stop(
            Exit.NO_SPACE if full else Exit.FAILED,
            "cannot copy what is this host's own",
            fact=output.complaint,
        )
