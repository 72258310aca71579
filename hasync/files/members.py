"""What an application set holds, name by name: written beside the archive, and signed with it.

The extractor makes exactly these members, in this order, and nothing else. So whatever the list
allows is all that a set can do: plain files, folders, and links that stay in their own tree.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import InputError
from harness.manifest import safe_path
from hasync.files.tar import Header, Kind, safe_target

NAME = "members.jsonl"  # in the set's data folder
MAX_MEMBERS = 2_000_000
MAX_LIST_BYTES = 1 << 30
_MAX_LINE_BYTES = 1 << 16
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_ID = 2**32 - 2  # uid_t; the last one means "no change" to chown
_MAX_NUMBER = 2**63 - 1
_MAX_NAME_CHARS = 255


@dataclass(frozen=True, slots=True)
class Member:
    """One file, folder or link, with all that is put back of it."""

    path: str  # root name first
    kind: Kind
    mode: int
    uid: int
    gid: int
    user: str  # "": the number has no name at the source
    group: str
    mtime_ns: int
    size_bytes: int = 0
    sha256: str = ""  # of a file
    target: str = ""  # of a link

    def __post_init__(self) -> None:
        """Refuse what no extractor may be asked to make.

        Raises:
            InputError: an unsafe path or target, special rights, or fields that do not agree.
        """
        safe_path(self.path)
        file, link = self.kind is Kind.FILE, self.kind is Kind.LINK
        if self.kind is Kind.HARD or (link and not safe_target(self.path, self.target)):
            raise InputError("a link that may lead out", field=self.path, value=self.target)
        if not 0 <= self.mode <= 0o777:  # noqa: PLR2004 - plain rights
            raise InputError("more than plain rights", field=self.path, value=oct(self.mode))
        if bool(_SHA256.fullmatch(self.sha256)) is not file or bool(self.target) is not link:
            raise InputError(f"not a {self.kind} as we write it", field=self.path)
        if not 0 <= self.size_bytes <= _MAX_NUMBER or (self.size_bytes and not file):
            raise InputError("no such size", field=self.path, value=self.size_bytes)
        if not (0 <= self.uid <= _MAX_ID and 0 <= self.gid <= _MAX_ID):
            raise InputError("no such owner", field=self.path, value=(self.uid, self.gid))
        for name in (self.user, self.group):
            if not name.isprintable() or len(name) > _MAX_NAME_CHARS:
                raise InputError("no name of an owner", field=self.path, value=name)
        if abs(self.mtime_ns) > _MAX_NUMBER:
            raise InputError("no such time", field=self.path, value=self.mtime_ns)

    @property
    def root(self) -> str:
        """Return the name of the root it belongs to."""
        return self.path.partition("/")[0]

    @property
    def header(self) -> Header:
        """Return the tar header that stands before it in the archive."""
        return Header(
            path=self.path,
            kind=self.kind,
            mode=self.mode,
            size_bytes=self.size_bytes,
            mtime_s=self.mtime_ns // 10**9,
            uid=self.uid,
            gid=self.gid,
            user=self.user,
            group=self.group,
            target=self.target,
        )


def archive_name(root: str) -> str:
    """Return the name of a root's archive, beside the list."""
    return f"{root}.tar.zst"


def encode(members: Iterable[Member]) -> Iterator[bytes]:
    """Return the lines of the list, one member each."""
    for member in members:
        yield json.dumps(asdict(member), separators=(",", ":")).encode() + b"\n"


def parse(lines: Iterable[bytes], *, file: str = "") -> tuple[Member, ...]:
    """Return the members in order, each below a folder that comes before it.

    Raises:
        InputError: names the line: not a member, named twice, or in no folder of the list.
    """
    found: list[Member] = []
    folders: set[str] = set()
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        place = f"line {number}"
        if len(line) > _MAX_LINE_BYTES or number > MAX_MEMBERS or not line.endswith(b"\n"):
            raise InputError("too long, or cut", file=file, field=place)
        try:
            member = Member(**_fields(line))
        except InputError as error:
            raise InputError(str(error), file=file, field=place) from error
        parent, below, _ = member.path.rpartition("/")
        if member.path in seen or (below and parent not in folders):
            raise InputError("named twice, or in no folder", file=file, field=place, value=parent)
        if not below and member.kind is not Kind.FOLDER:
            raise InputError("a root that is no folder", file=file, field=place, value=member.path)
        seen.add(member.path)
        if member.kind is Kind.FOLDER:
            folders.add(member.path)
        found.append(member)
    return tuple(found)


def _fields(line: bytes) -> dict[str, Any]:
    """Return the fields of one line, each of the type it must have."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})") from error
    wanted = {name: kind for name, kind in Member.__annotations__.items() if name != "kind"}
    if not isinstance(found, dict) or found.keys() != wanted.keys() | {"kind"}:
        raise InputError("not the fields of a member")
    for name, kind in wanted.items():
        if type(found[name]) is not kind:
            raise InputError("not of this type", field=name, value=found[name])
    if found["kind"] not in list(Kind):
        raise InputError("no kind of member", field="kind", value=found["kind"])
    return found | {"kind": Kind(found["kind"])}
