"""The edge to the disk: what these functions return from has survived a power cut.

Write beside, fsync, rename, fsync the folder. Nothing follows a symbolic link at the end of a path,
and nothing replaces a file or folder that it was not told to replace.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from harness.errors import InputError
from hasync.failure import Exit, Stop

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_FEW = 32  # files that are flushed or unlinked one after the other
_THREADS = 16
_REMOVALS = 20  # tries, while somebody still writes into the folder
_NOREPLACE, _EXCHANGE = 1, 2  # renameat2(2)
_AT_FDCWD = -100
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EINVAL})  # of this kernel, or this file system
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_LIBC = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


@contextmanager
def telling(doing: str, path: Path) -> Iterator[None]:
    """Turn what the system refuses into a `Stop` that says what we were *doing* to *path*."""
    try:
        yield
    except OSError as error:
        no_room = error.errno in _NO_ROOM
        raise Stop(
            Exit.NO_SPACE if no_room else Exit.FAILED,
            f"cannot {doing} {path}",
            fact=error.strerror or str(error),
            fix="free some space there" if no_room else "",
        ) from error


def write(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Replace *path* by a file with *content*: at every moment the old one whole or the new one.

    Raises:
        Stop: the disk did not take it; the old file is as it was.
    """
    with telling("write", path):
        beside = path.with_name(f".{path.name}.tmp")
        number = _alone(beside, mode)
        try:
            try:
                os.fchmod(number, mode)
                _write_all(number, content)
                os.fsync(number)
                beside.replace(path)
            except OSError:
                beside.unlink(missing_ok=True)
                raise
        finally:
            os.close(number)
        sync_folder(path.parent)


def create(path: Path, content: bytes) -> None:
    """Make the new file *path*, mode 0600, not yet flushed: `sync_tree` of its folder does that.

    Raises:
        Stop: it is there already, or the disk did not take it.
    """
    with telling("write", path):
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            _write_all(number, content)
        finally:
            os.close(number)


def _alone(beside: Path, mode: int) -> int:
    """Return the descriptor of an empty file at *beside* that nobody else is writing.

    The name is fixed, so a killed writer leaves one file that the next writer takes over; the lock
    and the look at the name keep two writers of one path apart.
    """
    while True:
        number = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):  # the other one has just renamed it away
                if os.path.samestat(os.fstat(number), beside.lstat()):
                    os.ftruncate(number, 0)
                    return number
        except OSError:
            os.close(number)
            raise
        os.close(number)


def _write_all(number: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(number, rest) :]


def read(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a regular file of at most *limit_bytes*.

    Raises:
        InputError: not there, not a regular file (a link, a pipe), too long, or unreadable.
    """
    with open_regular(path) as file:
        try:
            size_bytes = os.fstat(file.fileno()).st_size
            content = file.read(min(limit_bytes, size_bytes) + 1)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if max(size_bytes, len(content)) > limit_bytes:
        raise InputError(f"longer than {limit_bytes} bytes", file=str(path))
    return content


def sha256(path: Path) -> tuple[str, int]:
    """Return the SHA-256 in hex and the size in bytes of a regular file.

    Raises:
        InputError: not there, not a regular file, or unreadable.
    """
    with open_regular(path) as file:
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=str(path)) from error


def open_regular(path: Path) -> BufferedReader:
    """Return *path* open for reading; never a link, and a pipe cannot make us wait.

    Raises:
        InputError: not there, or not a regular file.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "a symbolic link" if error.errno == errno.ELOOP else f"{error.strerror}"
        raise InputError(f"cannot be opened: {why}", file=str(path)) from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise InputError("not a regular file", file=str(path))
    return open(number, "rb")  # noqa: PTH123 - a descriptor, not a path


def make_folder(path: Path) -> None:
    """Make *path* and what is missing above it, mode 0700, each known to the folder above it.

    Raises:
        Stop: it cannot be made, or something else has its name.
    """
    with telling("make the folder", path):
        missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
        for folder in reversed(missing):
            with suppress(FileExistsError):  # another run made it just now
                folder.mkdir(mode=FOLDER_MODE)
            sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def sync_folder(folder: Path) -> None:
    """Flush one folder: the names in it.

    Raises:
        OSError: the disk did not take it.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder of a tree.

    Raises:
        Stop: the disk did not take it: nothing in the tree may be relied upon.
    """
    with telling("flush", folder):
        files: list[Path] = []
        folders: list[Path] = []
        for root, _, names in os.walk(folder, topdown=False, onerror=_raise):
            folders.append(Path(root))
            files.extend(Path(root, name) for name in names)
        _each(_sync_file, files)
        _each(sync_folder, folders)


def _each(work: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do it to all: side by side, because ext4 then commits many at once (3 000: 0.2 s, not 11).

    The threads have ended when this returns: a child is never started beside them.
    """
    if len(items) <= _FEW:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(work, items):
            pass


def _sync_file(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        return  # has no content of its own; opening a pipe would wait
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _raise(error: OSError) -> None:
    raise error


def rename(old: Path, new: Path) -> None:
    """Give *old* the name *new*, which must be free, and flush both folders.

    Raises:
        Stop: something has that name, or the disk did not take it.
    """
    with telling(f"rename {old} to", new):
        try:
            _renameat2(old, new, _NOREPLACE)
        except OSError as error:
            if error.errno not in _NO_SUCH_CALL:
                raise
            if os.path.lexists(new):  # NFS: no atomic check, but a lock is held by our callers
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from error
            old.rename(new)
        for folder in dict.fromkeys((new.parent, old.parent)):
            sync_folder(folder)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names at one instant, and flush both folders.

    Raises:
        Stop: one is missing, they are not on one file system, or it cannot exchange names.
    """
    with telling(f"exchange {one} and", other):
        _renameat2(one, other, _EXCHANGE)
        for folder in dict.fromkeys((one.parent, other.parent)):
            sync_folder(folder)


def _renameat2(old: Path, new: Path, flags: int) -> None:
    call = getattr(_LIBC, "renameat2", None)  # glibc 2.28, musl 1.2.6
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(new))
    if call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(new))


def free_bytes(path: Path) -> int:
    """Return what an ordinary user may still write on the file system of *path*.

    Raises:
        Stop: there is no such path.
    """
    with telling("ask the free space of", path):
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize


def remove_tree(folder: Path) -> None:
    """Remove *folder* and all in it; links are removed, not followed. None there: nothing to do.

    Raises:
        Stop: it is a link, or it cannot be removed, or somebody goes on writing into it.
    """
    with telling("remove", folder):
        for _ in range(_REMOVALS):
            try:
                _unlink_all(folder)
                shutil.rmtree(folder)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}:
                    raise
            if not os.path.lexists(folder):
                return
        raise OSError(errno.ENOTEMPTY, "somebody goes on writing into it", str(folder))


def _unlink_all(folder: Path) -> None:
    """Unlink the files of large folders side by side; what is left, `shutil.rmtree` removes.

    ext4 makes each unlink of a flushed file wait (3 000 files on a busy machine: 4 s, or 0.3 s so).
    Names are given below an open folder, so that nobody can lead us elsewhere with a link.
    """
    for _, _, names, number in os.fwalk(folder, onerror=_raise):
        if len(names) > _FEW:
            _each(partial(_unlink, dir_fd=number), names)


def _unlink(name: str, dir_fd: int) -> None:
    with suppress(FileNotFoundError):  # somebody else was quicker
        os.unlink(name, dir_fd=dir_fd)
