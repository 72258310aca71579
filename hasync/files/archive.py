"""The edge of archives: pack a live tree, and unpack exactly what a signed list names.

A file that changes while it is read is read again; one that never stands still goes in as it was
read, and is named. SQLite files are copied by SQLite. Extraction stops at the first byte that is
not what the list says, and what it made by then lies in a staging folder that is thrown away.
"""

import errno
import grp
import gzip
import hashlib
import os
import pwd
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO

from harness.errors import InputError, ToolError, WireError
from harness.manifest import safe_path
from hasync.failure import Exit, Stop
from hasync.files import sqlite_copy, tar
from hasync.files.exclusions import Rule
from hasync.files.extract import Extraction
from hasync.files.members import MAX_MEMBERS, Member
from hasync.files.tar import Kind
from hasync.files.tree import Found, resolve, walk
from hasync.files.zstd import compressing, expanding

ATTEMPTS = 3  # to read a file that changes meanwhile
IN_MEMORY_BYTES = 8 << 20  # a longer file goes through a temporary one
SQLITE_LIMIT_S = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """What went into an archive, and what did not."""

    members: tuple[Member, ...]
    left_out: tuple[str, ...]  # "path: why"; for people
    warnings: tuple[str, ...]  # what a person should look at: torn, unfit names, lost SQLite
    sqlite: tuple[str, ...]  # copied through SQLite
    host_links: tuple[str, ...]  # links out of the tree: every host has its own

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files together, before compression."""
        return sum(member.size_bytes for member in self.members)


def pack(  # noqa: PLR0913 - named options of one call
    root: Path,
    name: str,
    target: Path,
    *,
    rules: Sequence[Rule],
    sqlite: Sequence[str],
    scratch: Path,
    limit_s: float,
) -> Packed:
    """Write all of *root* that no rule excludes into the new archive *target*, below *name*.

    *sqlite* lists the files (root name first) that must be copied through SQLite; others that begin
    like a SQLite file are too, where it works. *scratch* takes temporary files.

    Raises:
        Stop: a file cannot be read, no space, or it took longer than *limit_s*.
    """
    packing = _Packing(resolve(root), frozenset(sqlite), scratch)
    with compressing(target, limit_s=limit_s) as write:
        for found in walk(root, name, rules):
            packing.add(found, write)
        write(tar.END)
    return packing.packed()


def listing(root: Path, name: str, rules: Sequence[Rule]) -> Iterator[tuple[str, str, int]]:
    """Return each path with "" when it goes in, else why not, and its size in bytes."""
    for found in walk(root, name, rules):
        size_bytes = found.stat.st_size if found.kind is Kind.FILE else 0
        yield found.path, found.why, size_bytes


class _Packing:
    """One archive in the making."""

    def __init__(self, real: Path, sqlite: frozenset[str], scratch: Path) -> None:
        self._real, self._wanted, self._scratch = real, sqlite, scratch
        self._members: list[Member] = []
        self._left_out: list[str] = []
        self._host_links: list[str] = []
        self._warnings: list[str] = []
        self._copied: list[str] = []

    def packed(self) -> Packed:
        """Return what came of it."""
        name = self._members[0].root
        for path in sorted(self._wanted - set(self._copied)):
            if path.partition("/")[0] == name:
                self._warnings.append(f"{path}: no SQLite copy of it was made")
        return Packed(
            tuple(self._members),
            tuple(self._left_out),
            tuple(self._warnings),
            tuple(self._copied),
            tuple(self._host_links),
        )

    def add(self, found: Found, write: Callable[[bytes], None]) -> None:
        """Write one entry of the tree, or note why it stays out."""
        if found.kind is None:
            told = self._warnings if found.serious else self._left_out
            shown = ascii(found.path) if found.serious else found.path
            told.append(f"{shown}: {found.why}")
            if stat.S_ISLNK(found.stat.st_mode) and found.rule is None and not found.serious:
                self._host_links.append(found.path)
        elif self._companion(found.path):
            self._left_out.append(f"{found.path}: in the copy of its SQLite database")
        elif found.kind is Kind.FILE:
            self._add_file(found, write)
        else:
            member = _member(found, found.stat, found.kind)
            self._members.append(replace(member, target=found.target) if found.target else member)
            write(tar.encode(self._members[-1].header))

    def _companion(self, path: str) -> bool:
        return any(
            path.endswith(end) and path.removesuffix(end) in self._copied
            for end in sqlite_copy.COMPANIONS
        )

    def _add_file(self, found: Found, write: Callable[[bytes], None]) -> None:
        try:
            with self._content(found) as (seen, content):
                size_bytes = content.seek(0, os.SEEK_END)
                content.seek(0)
                member = _member(found, seen, Kind.FILE, size_bytes, _digest(content))
                write(tar.encode(member.header))
                content.seek(0)
                while piece := content.read(_CHUNK):
                    write(piece)
                write(tar.padding(size_bytes))
        except FileNotFoundError:
            return  # gone since the walk saw it
        except OSError as error:
            raise Stop(
                Exit.FAILED,
                "a file cannot be read",
                fact=f"{found.path}: {error.strerror}",
                fix="exclude it, or give this user the right to read it",
            ) from error
        self._members.append(member)

    @contextmanager
    def _content(self, found: Found) -> Iterator[tuple[os.stat_result, IO[bytes]]]:
        """Give what is to be stored of a file, and its state when that was read."""
        number = os.open(
            found.name,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            dir_fd=found.folder,
        )
        with (
            open(number, "rb", buffering=0) as live,  # noqa: PTH123 - a descriptor
            tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(self._scratch)) as spool,
        ):
            if not stat.S_ISREG(os.fstat(number).st_mode):  # exchanged since the walk saw it
                raise FileNotFoundError(found.path)
            self._left_out += [f"{found.path}: {what}" for what in _special(number)]
            listed = found.path in self._wanted
            if listed or os.pread(number, len(sqlite_copy.MAGIC), 0) == sqlite_copy.MAGIC:
                copied = self._through_sqlite(found, listed=listed)
                if copied is not None:
                    with copied.open("rb") as content:
                        copied.unlink()
                        yield os.fstat(number), content
                    return
            if not _read_whole(live, spool):
                self._warnings.append(f"{found.path}: changed while read, {ATTEMPTS} times")
            yield os.fstat(number), spool

    def _through_sqlite(self, found: Found, *, listed: bool) -> Path | None:
        """Return a file with SQLite's own copy; None when SQLite cannot make one."""
        target = self._scratch / f"sqlite-{len(self._members)}"
        source = self._real / found.path.partition("/")[2]
        try:
            sqlite_copy.copy(source, target, limit_s=SQLITE_LIMIT_S)
        except ToolError as error:
            target.unlink(missing_ok=True)
            if listed:
                self._warnings.append(f"{found.path}: copied as plain bytes ({error})")
            else:
                self._left_out.append(f"{found.path}: SQLite cannot copy it ({error})")
            return None
        self._copied.append(found.path)
        return target


def _special(number: int) -> Iterator[str]:
    """Return what of an open file no set keeps: special rights, capabilities, access lists."""
    if os.fstat(number).st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield "its set-user-id or set-group-id right"
    with suppress(OSError):  # a file system without attributes
        for name in os.listxattr(number):
            if name != "security.selinux":  # given anew by the policy of each host
                yield f"its attribute {name}"


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(_CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def _read_whole(live: IO[bytes], into: IO[bytes]) -> bool:
    """Copy *live*, again when it changes meanwhile; say whether it stood still in the end."""
    for _ in range(ATTEMPTS):
        live.seek(0)
        into.seek(0)
        into.truncate()
        before = os.fstat(live.fileno())
        left = before.st_size  # a log that grows has an end for us
        while left and (piece := live.read(min(left, _CHUNK))):
            into.write(piece)
            left -= len(piece)
        if not left and _same(before, os.fstat(live.fileno())):
            return True
    return False


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    fields = ("st_size", "st_mtime_ns", "st_ctime_ns")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _member(
    found: Found, seen: os.stat_result, kind: Kind, size_bytes: int = 0, digest: str = ""
) -> Member:
    return Member(
        path=found.path,
        kind=kind,
        mode=0o777 if kind is Kind.LINK else stat.S_IMODE(seen.st_mode) & 0o777,
        uid=seen.st_uid,
        gid=seen.st_gid,
        user=_user(seen.st_uid),
        group=_group(seen.st_gid),
        mtime_ns=seen.st_mtime_ns,
        size_bytes=size_bytes,
        sha256=digest,
        target=found.target,
    )


@cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@cache
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def unpack(
    archive: Path, members: Iterable[Member], folder: Path, *, limit_s: float, own: bool
) -> None:
    """Make exactly *members* in *folder* from an archive of ours, which must hold just these.

    Raises:
        Stop: the archive is not what the list says, no space, or it took longer than *limit_s*.
    """
    try:
        with (
            expanding(archive, limit_s=limit_s) as read,
            Extraction(folder, own=own) as extraction,
        ):
            reader = tar.Reader(read, file=archive.name)
            for member in members:
                if reader.next() != member.header:
                    raise Stop(
                        Exit.NOT_VERIFIED, f"{archive.name} differs from its list", fact=member.path
                    )
                extraction.make(member, reader.content())
            extra = reader.next()
            if extra is not None:
                raise Stop(
                    Exit.NOT_VERIFIED, f"{archive.name} holds more than its list", fact=extra.path
                )
            extraction.finish()
    except WireError as error:
        raise Stop(Exit.NOT_VERIFIED, "not an archive of ours", fact=str(error)) from error


def unpack_foreign(archive: Path, folder: Path, *, max_bytes: int) -> tuple[str, ...]:
    """Return the files made in *folder* from a gzipped tar that has no list; all are private.

    Raises:
        InputError: damaged, larger than *max_bytes*, or with anything but files and folders.
        Stop: the disk did not take it.
    """
    try:
        with gzip.GzipFile(archive) as stream, Extraction(folder, own=False) as extraction:
            reader = tar.Reader(_reading(stream, archive), file=archive.name)
            return tuple(_foreign(reader, extraction, max_bytes))
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Stop(
            Exit.NO_SPACE if full else Exit.FAILED,
            f"cannot unpack {archive}",
            fact=str(error),
        ) from error


def _reading(stream: gzip.GzipFile, archive: Path) -> Callable[[int], bytes]:
    def read(size_bytes: int) -> bytes:
        try:
            return stream.read(size_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"not a whole gzip file ({error})", file=str(archive)) from error

    return read


def _foreign(reader: tar.Reader, extraction: Extraction, max_bytes: int) -> Iterator[str]:
    """Make files and folders, and return the paths of the files."""
    seen: set[str] = set()
    left_bytes = max_bytes
    while (header := reader.next()) is not None:
        path = safe_path(header.path)
        left_bytes -= header.size_bytes
        if left_bytes < 0 or len(seen) >= MAX_MEMBERS:
            raise InputError(f"more than {max_bytes} bytes", field=path)
        if path in seen:
            raise InputError("a name that is there twice", field=path)
        seen.add(path)
        tar.refuse_mode(header)
        if header.kind is Kind.FOLDER:
            extraction.make_folder(path)
        elif header.kind is Kind.FILE:
            extraction.make_plain(path, reader.content(), header.size_bytes)
            yield path
        else:
            raise InputError(f"a {header.kind}: only files and folders are taken", field=path)
