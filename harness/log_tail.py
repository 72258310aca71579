"""A log followed from a mark on, over rotation, as commands to run and outputs to take.

    MARK --wc--> FIND --stat--> TAIL --same file--> FIND (next round)
                    `--other inode, shorter, or TAIL of another file--> REST --> FRESH --> FIND

Laws: the machine names each command and takes its output, so the recorded outputs given to a new
`LogFollower` yield the same lines; every read begins with the last bytes already read, and what
does not begin with them is another file; what could not be read is said in `gaps`, never skipped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from harness.command import CommandOutput
from harness.errors import InputError
from harness.host_files import ABSENT, ENV, STAT, parse_refusals, parse_stat

OVERLAP_BYTES = 64  # a time stamp and some words: enough to know the place again
MAX_JUDGED_CHARS = 4096  # of a line: a severity stands at its beginning
MAX_KEPT_CHARS = 400  # of a line, in findings
_MARK = re.compile(rb"\s*([0-9]{1,18})\s+([0-9]{1,18})(\s[^\n]*)?\n?")


class LogLevel(StrEnum):
    """What a line is to the judge."""

    CRITICAL = "critical"
    ERROR = "error"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line written since the mark."""

    offset_bytes: int  # in its file
    number: int  # in its file, counted from 1
    level: LogLevel
    text: str
    rotated: int = 0  # how often the log was rotated before it was written


@dataclass(frozen=True, slots=True)
class Severity:
    """Which lines are critical, and which are lesser errors; critical is looked at first."""

    critical: tuple[re.Pattern[str], ...]
    error: tuple[re.Pattern[str], ...]

    def level(self, text: str) -> LogLevel:
        """Return what the beginning of *text* is.

        >>> Severity((re.compile("FATAL"),), (re.compile("ERROR"),)).level("12:00 ERROR x").value
        'error'
        """
        head = text[:MAX_JUDGED_CHARS]
        if any(pattern.search(head) for pattern in self.critical):
            return LogLevel.CRITICAL
        if any(pattern.search(head) for pattern in self.error):
            return LogLevel.ERROR
        return LogLevel.PLAIN


class _State(Enum):
    MARK = auto()
    FIND = auto()
    TAIL = auto()
    REST = auto()  # of the file that was rotated away
    FRESH = auto()  # the new file from its beginning


@dataclass(slots=True)
class _File:
    """What was read of one file: from `offset_bytes`, which is in line `number`."""

    offset_bytes: int
    number: int
    content: bytearray = field(default_factory=bytearray)

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + len(self.content)


class LogFollower:
    """Follows the log at *path*; *rotated* is what it is called once it was rotated away."""

    def __init__(self, path: str, rotated: str = "") -> None:
        """Begin at the mark: what is in the log before it is not judged."""
        self.path, self._rotated = path, rotated or f"{path}.1"
        self.gaps: list[str] = []  # why lines may be missing
        self.seen = False  # whether the log was ever read
        self._state = _State.MARK
        self._files: list[_File] = []
        self._inode: int | None = None
        self._before = b""  # the last bytes before the mark
        self._lead = 0  # how many of them the first read is to show
        self._gone = ""  # why there is no log at present

    def next_command(self) -> tuple[str, ...]:
        """Return the command whose output is wanted now."""
        match self._state:
            case _State.MARK:
                return (*ENV, "wc", "-lc", self.path)
            case _State.FIND:
                return (*STAT, self.path, self._rotated)
            case _State.TAIL:
                return self._tail(self.path)
            case _State.REST:
                return self._tail(self._rotated)
            case _State.FRESH:
                return (*ENV, "tail", "-c", "+1", self.path)

    @property
    def at_rest(self) -> bool:
        """Say whether a round is over: nothing more is to be read before the next."""
        return self._state in {_State.MARK, _State.FIND}

    def take(self, output: CommandOutput) -> None:
        """Take the output of `next_command`.

        Raises:
            InputError: it is of another command, or is not what that command prints.
        """
        if output.argv != self.next_command():
            raise InputError("not the command asked for", field="argv", value=output.argv)
        match self._state:
            case _State.MARK:
                self._take_mark(output)
            case _State.FIND:
                self._take_stat(output)
            case _State.TAIL:
                self._take_tail(output)
            case _State.REST:
                self._take_rest(output)
            case _State.FRESH:
                self._state = _State.FIND
                if output.exit_code == 0:
                    self._files[-1].content += output.stdout
                else:
                    self.gaps.append(output.complaint)

    def _tail(self, path: str) -> tuple[str, ...]:
        lead = len(self._overlap) if self.seen else self._lead
        return (*ENV, "tail", "-c", f"+{self._files[-1].end_bytes - lead + 1}", path)

    @property
    def _overlap(self) -> bytes:
        return (self._before + bytes(self._files[-1].content[-OVERLAP_BYTES:]))[-OVERLAP_BYTES:]

    def _take_mark(self, output: CommandOutput) -> None:
        if not output.whole:
            self.gaps.append(output.complaint)
            return  # without a mark old lines would be taken for new ones
        self._state = _State.FIND
        if output.exit_code == 0:
            counted = _MARK.fullmatch(output.stdout)
            if counted is None:
                raise InputError("not the output of wc -lc", value=output.text)
            lines, size = int(counted[1]), int(counted[2])
            self._files.append(_File(size, lines + 1))
            self._lead = min(size, OVERLAP_BYTES)
            return
        self._files.append(_File(0, 1))  # not there yet: all of it will be new
        if not _absent(output):
            self.gaps.append(output.complaint)

    def _take_stat(self, output: CommandOutput) -> None:
        if not output.whole:
            self.gaps.append(output.complaint)
            return  # the next round reads on from the same place
        now = next((one for one in parse_stat(output.text) if one.path == self.path), None)
        if now is None:
            refusals = parse_refusals(output.stderr.decode("utf-8", "backslashreplace"))
            why = refusals.get(self.path, output.complaint)
            self._gone = f"{self.path}: {why}"
            return  # it may come back: between two steps of a rotation there is none
        self._gone = ""
        known, self._inode = self._inode, now.inode
        other = known is not None and known != now.inode
        rotated = other or now.size_bytes < self._files[-1].end_bytes
        self._state = _State.REST if rotated else _State.TAIL

    def _take_tail(self, output: CommandOutput) -> None:
        self._state = _State.FIND
        if output.exit_code != 0:
            self.gaps.append(output.complaint)
            return
        last, content = self._files[-1], output.stdout
        if not self.seen:  # the first read shows what stands before the mark
            self.seen = True
            self._before = content[: self._lead]
            last.content += content[self._lead :]
            if len(content) < self._lead:
                self.gaps.append(f"{self.path}: shorter than at the mark")
            return
        if not content.startswith(self._overlap):
            self._state = _State.REST
            return
        last.content += content[len(self._overlap) :]

    def _take_rest(self, output: CommandOutput) -> None:
        self._state = _State.FRESH
        overlap = self._overlap
        known = bool(overlap) or self._files[-1].end_bytes == 0
        if output.exit_code == 0 and known and output.stdout.startswith(overlap):
            self._files[-1].content += output.stdout[len(overlap) :]
        else:
            why = output.complaint if output.exit_code else "does not continue what was read"
            self.gaps.append(f"rotated; {self._rotated} {why}: lines before the rotation are lost")
        self.seen = True
        self._before = b""
        self._files.append(_File(0, 1))

    def lines(self, severity: Severity) -> tuple[LogLine, ...]:
        """Return all lines since the mark, oldest first.

        Raises:
            InputError: what was read is no text in any encoding that is known here.
        """
        found: list[LogLine] = []
        for rotated, part in enumerate(self._files):
            text, codec = _decode(bytes(part.content))
            offset = part.offset_bytes
            pieces = text.split("\n")
            for at, piece in enumerate(pieces):
                line = piece.strip("\r\ufeff")
                if line:
                    level = severity.level(line)
                    kept = line[:MAX_KEPT_CHARS]
                    found.append(LogLine(offset, part.number + at, level, kept, rotated))
                offset += len((piece + "\n").encode(codec, "surrogatepass"))
        return tuple(found)

    def read_since(self, seen_bytes: int) -> bytes:
        """Return what was read after the first *seen_bytes* since the mark, over all files."""
        found: list[bytes] = []
        for part in self._files:
            if seen_bytes < len(part.content):
                found.append(bytes(part.content[seen_bytes:]))
            seen_bytes = max(0, seen_bytes - len(part.content))
        return b"".join(found)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return why lines may be missing, as of now, each reason once."""
        return tuple(dict.fromkeys([*self.gaps, *filter(None, [self._gone])]))

    @property
    def rotations(self) -> int:
        """Return how often the log was rotated."""
        return max(0, len(self._files) - 1)


def _absent(output: CommandOutput) -> bool:
    return output.exit_code is not None and ABSENT.encode() in output.stderr


def _decode(content: bytes) -> tuple[str, str]:
    """Return text and codec: UTF-8, else UTF-16 by its zero bytes, else Latin-1, which never fails.

    Raises:
        InputError: zero bytes that are no UTF-16, such as a hole that a truncated log leaves.
    """
    if b"\0" in content:
        even, odd = content[0::2].count(0), content[1::2].count(0)
        codec = "utf-16-be" if even > odd else "utf-16-le"
        if min(even, odd) * 8 > max(even, odd) or max(even, odd) * 4 < len(content):
            raise InputError("zero bytes in the log: it is not text", field="log")
        return content[: len(content) // 2 * 2].decode(codec, "replace"), codec
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        if error.end == len(content) and error.reason == "unexpected end of data":
            return content[: error.start].decode("utf-8"), "utf-8"  # a character half written
        return content.decode("latin-1"), "latin-1"


def replay(follower: LogFollower, outputs: Sequence[CommandOutput]) -> LogFollower:
    """Return *follower* after it took those *outputs* that are its own, in order."""
    for output in outputs:
        if output.argv == follower.next_command():
            follower.take(output)
    return follower
