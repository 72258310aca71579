"""The tar format, as little of it as we need, and strictly: ustar, pax and GNU long names.

`encode` writes what `Reader` reads; both give the same values as GNU tar and Python's tarfile do
for files, folders and links. Everything else (devices, sparse files, multi-volume and incremental
archives, global headers) is refused by name. Python's own reader is not used on archives that
strangers could have written: it takes a header's word for how much memory to take.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.errors import InputError, WireError

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_EXTENDED_BYTES = 1 << 20  # of one pax header or long name
MAX_TAIL_BYTES = 1 << 20  # zeros after the end: tar pads to its blocking factor
_CHUNK = 1 << 20
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \x00"
_OCTAL_SIZE = 8**11
_OCTAL_ID = 8**7
_PAX_KEYS = frozenset({
    "path", "linkpath", "size", "uid", "gid", "uname", "gname",
    "mtime", "atime", "ctime", "comment", "charset", "hdrcharset",
})  # fmt: skip


class Kind(StrEnum):
    """What a member is; nothing else is ever read or written."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"  # symbolic
    HARD = "hard link"  # only ever read, in archives that are not ours


_FLAGS = {"0": Kind.FILE, "\0": Kind.FILE, "5": Kind.FOLDER, "2": Kind.LINK, "1": Kind.HARD}
_REFUSED = {
    "3": "a character device",
    "4": "a block device",
    "6": "a FIFO",
    "7": "a contiguous file",
    "g": "a global header",
    "S": "a sparse file",
    "M": "a piece of a multi-volume archive",
    "D": "a directory of an incremental archive",
    "V": "a volume label",
}


@dataclass(frozen=True, slots=True)
class Header:
    """One member as the archive describes it; its name is not yet trusted."""

    path: str
    kind: Kind
    mode: int
    size_bytes: int = 0  # of what follows; 0 but for files
    mtime_s: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    target: str = ""  # of a link


def encode(header: Header) -> bytes:
    """Return the blocks of *header*, with a pax header before them when ustar cannot say it."""
    path = header.path + ("/" if header.kind is Kind.FOLDER else "")
    words = (
        ("path", path, 100),
        ("linkpath", header.target, 100),
        ("uname", header.user, 31),
        ("gname", header.group, 31),
    )
    pax = {key: text for key, text, room in words if len(text) > room or not text.isascii()}
    numbers = (
        ("size", header.size_bytes, _OCTAL_SIZE),
        ("uid", header.uid, _OCTAL_ID),
        ("gid", header.gid, _OCTAL_ID),
        ("mtime", header.mtime_s, _OCTAL_SIZE),
    )
    pax |= {key: str(value) for key, value, room in numbers if not 0 <= value < room}
    shown = {key: value if 0 <= value < room else 0 for key, value, room in numbers}
    flag = {Kind.FILE: b"0", Kind.FOLDER: b"5", Kind.LINK: b"2", Kind.HARD: b"1"}[header.kind]
    own = _block(path, header, flag, shown)
    if not pax:
        return own
    body = b"".join(_record(key, value) for key, value in sorted(pax.items()))
    extra = Header("pax", Kind.FILE, 0o600)
    sizes = {"size": len(body), "uid": 0, "gid": 0, "mtime": 0}
    return _block("pax", extra, b"x", sizes) + body + padding(len(body)) + own


def padding(size_bytes: int) -> bytes:
    """Return the zeros that fill the last block of *size_bytes*."""
    return bytes(-size_bytes % BLOCK)


def _record(key: str, value: str) -> bytes:
    """Return a pax record: its own length in decimal, which counts itself."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while len(rest) + len(str(length)) != length:
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _block(path: str, header: Header, flag: bytes, numbers: dict[str, int]) -> bytes:
    def text(value: str, room: int) -> bytes:
        return value.encode("ascii", "replace")[:room].ljust(room, b"\0")

    block = bytearray(
        text(path, 100)
        + b"%07o\0%07o\0%07o\0" % (header.mode, numbers["uid"], numbers["gid"])
        + b"%011o\0%011o\0" % (numbers["size"], numbers["mtime"])
        + b" " * 8
        + flag
        + text(header.target, 100)
        + _USTAR
        + text(header.user, 32)
        + text(header.group, 32)
        + b"0000000\0" * 2
    )
    block += bytes(BLOCK - len(block))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class Reader:
    """Reads an archive from *read*, member by member, never more at once than it may."""

    def __init__(self, read: Callable[[int], bytes], *, file: str = "") -> None:
        """Begin at the first block; *read* gives at most what it is asked for, b"" at the end."""
        self._read, self._file = read, file
        self._left = self._pad = 0
        self.offset_bytes = 0

    def next(self) -> Header | None:
        """Return the next member, past what is unread of the last one; None at the end.

        Raises:
            WireError: not tar, cut, or a kind of member that is never taken.
        """
        for _ in self.content():
            pass
        pax: dict[str, str] = {}
        while True:
            block = self._exactly(BLOCK)
            if not any(block):
                if pax:
                    raise self._error("an extended header, and no member after it")
                self._end()
                return None
            flag, header = self._parse(block)
            if flag not in "xLK":
                break
            pax |= self._extended(flag, header.size_bytes, pax)
        header = self._with(header, pax)
        self._left, self._pad = header.size_bytes, -header.size_bytes % BLOCK
        return header

    def content(self) -> Iterator[bytes]:
        """Return what is unread of the current member, piece by piece.

        Raises:
            WireError: the archive is cut.
        """
        while self._left:
            piece = self._exactly(min(self._left, _CHUNK))
            self._left -= len(piece)
            yield piece
        if self._pad and any(self._exactly(self._pad)):
            raise self._error("the last block of a member is not filled with zeros")
        self._pad = 0

    def _extended(self, flag: str, size_bytes: int, seen: dict[str, str]) -> dict[str, str]:
        if size_bytes > MAX_EXTENDED_BYTES:
            raise self._error(f"an extended header of more than {MAX_EXTENDED_BYTES} bytes")
        body = self._exactly(size_bytes)
        self._exactly(-size_bytes % BLOCK)
        if flag == "x":
            found = self._pax(body)
        else:
            found = {{"L": "path", "K": "linkpath"}[flag]: self._text(body.rstrip(b"\0"))}
        if found.keys() & seen.keys():
            raise self._error("two extended headers say the same of one member")
        return found

    def _pax(self, body: bytes) -> dict[str, str]:
        found: dict[str, str] = {}
        while body:
            digits, space, _ = body[:20].partition(b" ")
            length = int(digits) if digits.isdigit() and space else 0
            record, body = body[:length], body[length:]
            key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
            if len(record) != length or not record.endswith(b"\n") or not equals:
                raise self._error("a pax record that does not parse")
            name = self._text(key)
            if name in found:
                raise self._error(f"pax says {name} twice")
            if name not in _PAX_KEYS:
                raise self._error(f"pax key {name[:40]!r}, which is never taken")
            found[name] = self._text(value)
        return found

    def _with(self, header: Header, pax: dict[str, str]) -> Header:
        """Return *header* as its extended header corrects it."""

        def number(key: str, own: int) -> int:
            return self._decimal(key, pax[key]) if key in pax else own

        mtime = pax.get("mtime", "").partition(".")[0]
        header = replace(
            header,
            size_bytes=number("size", header.size_bytes),
            uid=number("uid", header.uid),
            gid=number("gid", header.gid),
            mtime_s=self._decimal("mtime", mtime, negative=True) if mtime else header.mtime_s,
            path=pax.get("path", header.path),
            target=pax.get("linkpath", header.target),
            user=pax.get("uname", header.user),
            group=pax.get("gname", header.group),
        )
        if header.kind is not Kind.FILE and header.size_bytes:
            raise self._error(f"a {header.kind} with content")
        folder = header.kind is Kind.FOLDER
        return replace(header, path=header.path.removesuffix("/") if folder else header.path)

    def _decimal(self, key: str, text: str, *, negative: bool = False) -> int:
        digits = text.removeprefix("-") if negative else text
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):  # noqa: PLR2004 - 2**63 has 19
            raise self._error(f"pax {key} is no number")
        return int(text)

    def _parse(self, block: bytes) -> tuple[str, Header]:
        total = sum(block) - sum(block[148:156]) + 8 * 32
        if block[257:265] not in {_USTAR, _GNU} or self._number(block[148:156]) != total:
            raise self._error("not a tar header")
        flag = block[156:157].decode("latin-1")
        if flag not in _FLAGS and flag not in "xLK":
            raise self._error(_REFUSED.get(flag, f"a member of type {flag!r}") + " is never taken")
        prefix = self._text(block[345:500].split(b"\0")[0]) if block[257:265] == _USTAR else ""
        name = self._text(block[:100].split(b"\0")[0])
        kind = _FLAGS.get(flag, Kind.FILE)
        return flag, Header(
            path=f"{prefix}/{name}" if prefix else name,
            kind=kind,
            mode=self._number(block[100:108]),
            # GNU tar 1.34 writes size 0 for a hard link; older ones its target's, without content
            size_bytes=0 if kind is Kind.HARD else self._number(block[124:136]),
            mtime_s=self._number(block[136:148]),
            uid=self._number(block[108:116]),
            gid=self._number(block[116:124]),
            user=self._text(block[265:297].split(b"\0")[0]),
            group=self._text(block[297:329].split(b"\0")[0]),
            target=self._text(block[157:257].split(b"\0")[0]),
        )

    def _number(self, field: bytes) -> int:
        """Return an octal number, or GNU's binary one (first bit set)."""
        if field[0] == 0x80:  # noqa: PLR2004 - positive, big-endian
            value = int.from_bytes(field[1:], "big")
            if value >= 1 << 63:
                raise self._error("a number beyond 63 bits")
            return value
        digits = field.strip(b" \0")
        if digits and not set(digits) <= set(b"01234567"):
            raise self._error("a number that is not octal")
        return int(digits or b"0", 8)

    def _text(self, raw: bytes) -> str:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise self._error("a name that is not UTF-8") from error
        if "\0" in text:
            raise self._error("a name with NUL")
        return text

    def _end(self) -> None:
        """Read the second zero block and the padding; whatever else follows is refused."""
        self._exactly_zero(self._exactly(BLOCK))
        tail = 0
        while piece := self._read(_CHUNK):
            self._exactly_zero(piece)
            tail += len(piece)
            if tail > MAX_TAIL_BYTES:
                raise self._error("too much padding after the end")

    def _exactly_zero(self, piece: bytes) -> None:
        if any(piece):
            raise self._error("something follows the end of the archive")

    def _exactly(self, size_bytes: int) -> bytes:
        found = bytearray()
        while len(found) < size_bytes:
            piece = self._read(size_bytes - len(found))
            if not piece:
                raise self._error("the archive is cut here")
            found += piece
        self.offset_bytes += size_bytes
        return bytes(found)

    def _error(self, why: str) -> WireError:
        return WireError(why, offset_bytes=self.offset_bytes, file=self._file)


def safe_target(path: str, target: str) -> bool:
    """Say whether a symbolic link at *path* stays below the first component of its path.

    Relative, with ".." only at its beginning: then no chain of such links ever leads out, because
    each climbs from a real folder, and only ever as far as the top.

    >>> safe_target("ngp/a/b", "../c/d"), safe_target("ngp/a/b", "../../etc")
    (True, False)
    """
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    rest = parts[climbs:]
    plain = all(part not in {"", ".", ".."} and part.isprintable() for part in rest)
    # "ngp/a/b" lies in ngp/a: one climb leads to ngp, which is the top.
    return bool(target) and plain and climbs <= path.count("/") - 1 and "\\" not in target


def refuse_mode(header: Header) -> None:
    """Return when the mode is one of plain rights.

    Raises:
        InputError: set-user-id, set-group-id or sticky.
    """
    if header.mode & ~0o777:
        raise InputError(
            "set-user-id, set-group-id and sticky bits are never taken",
            field=header.path,
            value=f"{header.mode:04o}",
        )
