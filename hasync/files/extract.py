"""The edge that makes members below one folder, and can touch nothing outside it.

Every folder on the way is opened by name from the one above it, links refused, so even a link that
somebody plants meanwhile is no way out. Files and links are made new, never written over. Folders
get their rights and times at the end, the deepest first.
"""

import errno
import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from hasync.failure import Exit, Stop
from hasync.files.members import Member
from hasync.files.tar import Kind

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Extraction:
    """Makes members below *folder*, as a context; with *own* each gets its owner (root only)."""

    def __init__(self, folder: Path, *, own: bool) -> None:
        """Open the folder, which must be a real one.

        Raises:
            Stop: it is not there, or a link.
        """
        self._own = own
        self._folders: list[Member] = []
        self._cached: tuple[str, int] | None = None
        try:
            self._top = os.open(folder, _FOLDER)
        except OSError as error:
            raise Stop(Exit.FAILED, f"cannot extract into {folder}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Give the extraction itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what is open."""
        if self._cached is not None:
            os.close(self._cached[1])
        os.close(self._top)

    def make(self, member: Member, content: Iterable[bytes] = ()) -> None:
        """Make one member; its folder was made before.

        Raises:
            Stop: the name is taken, the content is not what the list says, or no space.
        """
        try:
            self._make(member, content)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise Stop(
                Exit.NO_SPACE if full else Exit.FAILED,
                f"cannot make {member.path}",
                fact=error.strerror or str(error),
            ) from error

    def finish(self) -> None:
        """Give each folder its owner, rights and time, the deepest first."""
        for member in reversed(self._folders):
            number = self._open(member.path)
            try:
                self._dress(number, member)
            except OSError as error:
                raise Stop(Exit.FAILED, f"{member.path}: {error.strerror}") from error
            finally:
                os.close(number)

    def _make(self, member: Member, content: Iterable[bytes]) -> None:
        parent, _, name = member.path.rpartition("/")
        folder = self._parent(parent)
        if member.kind is Kind.FOLDER:
            os.mkdir(name, 0o700, dir_fd=folder)
            self._folders.append(member)
        elif member.kind is Kind.LINK:
            os.symlink(member.target, name, dir_fd=folder)
            if self._own:
                os.chown(name, *owner(member), dir_fd=folder, follow_symlinks=False)
            times = (member.mtime_ns, member.mtime_ns)
            os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
        else:
            number = os.open(name, _NEW, 0o600, dir_fd=folder)
            try:
                if _fill(number, content, member.size_bytes) != (member.size_bytes, member.sha256):
                    raise Stop(Exit.NOT_VERIFIED, "the archive holds other content", fact=name)
                self._dress(number, member)
            finally:
                os.close(number)

    def make_plain(self, path: str, content: Iterable[bytes], max_bytes: int) -> None:
        """Make a private file of unknown content, of *max_bytes* at most.

        Raises:
            OSError: the name is taken, its folder is not there, or no space.
        """
        parent, _, name = path.rpartition("/")
        number = os.open(name, _NEW, 0o600, dir_fd=self._parent(parent))
        try:
            _fill(number, content, max_bytes)
        finally:
            os.close(number)

    def make_folder(self, path: str) -> None:
        """Make a private folder.

        Raises:
            OSError: the name is taken, or its folder is not there.
        """
        parent, _, name = path.rpartition("/")
        os.mkdir(name, 0o700, dir_fd=self._parent(parent))

    def _dress(self, number: int, member: Member) -> None:
        if self._own:
            os.fchown(number, *owner(member))
        os.fchmod(number, member.mode)
        os.utime(number, ns=(member.mtime_ns, member.mtime_ns))

    def _parent(self, path: str) -> int:
        if self._cached is None or self._cached[0] != path:
            opened = self._open(path)
            if self._cached is not None:
                os.close(self._cached[1])
            self._cached = (path, opened)
        return self._cached[1]

    def _open(self, path: str) -> int:
        """Return the folder *path*, opened component by component."""
        number = os.dup(self._top)
        for part in path.split("/") if path else ():
            try:
                inner = os.open(part, _FOLDER, dir_fd=number)
            finally:
                os.close(number)
            number = inner
        return number


def _fill(number: int, content: Iterable[bytes], max_bytes: int) -> tuple[int, str]:
    """Write *content* as far as it may go; return how long it is, and its SHA-256."""
    digest, size_bytes = sha256(), 0
    for piece in content:
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            break
        digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(number, rest) :]
    return size_bytes, digest.hexdigest()


def owner(member: Member) -> tuple[int, int]:
    """Return user and group on this host: by name; by number where the source had no name.

    Raises:
        Stop: this host does not know the name.
    """
    try:
        uid = pwd.getpwnam(member.user).pw_uid if member.user else member.uid
        gid = grp.getgrnam(member.group).gr_gid if member.group else member.gid
    except KeyError as error:
        raise Stop(Exit.REFUSED, "this host does not know an owner", fact=str(error)) from error
    return uid, gid


def unknown_owners(members: Iterable[Member]) -> tuple[str, ...]:
    """Return the users and groups of *members* that this host does not know."""
    return tuple(sorted(set(_unknown(members))))


def _unknown(members: Iterable[Member]) -> Iterator[str]:
    pairs = {(member.user, member.group) for member in members}
    for user in {user for user, _ in pairs if user}:
        try:
            pwd.getpwnam(user)
        except KeyError:
            yield f"user {user}"
    for group in {group for _, group in pairs if group}:
        try:
            grp.getgrnam(group)
        except KeyError:
            yield f"group {group}"
