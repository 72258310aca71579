"""The append-only journal of a run: one JSON event a line, each chained to the one before.

Events are the truth; every form and report is a projection that can be made again from them.
A chain (`prev` = SHA-256 of the previous line) shows an edit in the middle. It does not show a cut
tail or a whole rewrite: for that, the head hash and the count are kept elsewhere too (`Anchor`).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from harness.errors import InputError

SCHEMA = 1  # raised when an event's meaning changes; older journals stay readable
FIRST = "0" * 64  # what the first event has as `prev`
MAX_LINE_BYTES = 16 * 1024 * 1024  # a longer line is no event of ours

_ANCHOR = re.compile(rb"([0-9]{12}) ([0-9a-f]{64})\n")
_OWN = frozenset({"seq", "at_ns", "type", "prev"})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a run, at wall time `at_ns` (UTC)."""

    seq: int
    at_ns: int
    type: str
    prev: str
    fields: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return the line, with its newline; the same event always gives the same bytes."""
        own = {"seq": self.seq, "at_ns": self.at_ns, "type": self.type, "prev": self.prev}
        text = json.dumps(own | dict(self.fields), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass") + b"\n"


def chain(line: bytes) -> str:
    """Return the hash that the next event carries as `prev`."""
    return hashlib.sha256(line).hexdigest()


@dataclass(frozen=True, slots=True)
class Anchor:
    """How many events a journal had, and the hash of its last line, as kept outside of it."""

    count: int
    head: str

    def encode(self) -> bytes:
        """Return one line of always the same length, which is written over the one before."""
        return f"{self.count:012d} {self.head}\n".encode()

    @classmethod
    def parse(cls, content: bytes, *, file: str = "") -> "Anchor":
        """Return the anchor that *content* is.

        Raises:
            InputError: it is none.
        """
        found = _ANCHOR.fullmatch(content)
        if found is None:
            raise InputError("not an anchor (count and hash)", file=file, value=content)
        return cls(int(found[1]), found[2].decode())

    def lag(self, events: Sequence[Event], *, file: str = "") -> int:
        """Return how many of *events* came after it.

        Raises:
            InputError: there are fewer, or the hash is another.
        """
        behind = len(events) - self.count
        if behind < 0:
            raise InputError(
                f"its last {-behind} events are missing: there were {self.count}", file=file
            )
        head = chain(events[self.count - 1].encode()) if self.count else FIRST
        if head != self.head:
            place = f"line {self.count}"
            raise InputError("not the event that was written here", file=file, field=place)
        return behind


def parse_line(line: bytes, *, file: str = "", number: int = 0) -> Event:
    """Return the event on *line*.

    Raises:
        InputError: not one JSON object with seq, at_ns, type and prev.
    """
    place = f"line {number}"
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"longer than {MAX_LINE_BYTES} bytes", file=file, field=place)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=file, field=place) from error
    kinds = {"seq": int, "at_ns": int, "type": str, "prev": str}
    if not isinstance(found, dict) or any(type(found.get(k)) is not t for k, t in kinds.items()):
        raise InputError("not a journal event (seq, at_ns, type, prev)", file=file, field=place)
    fields = MappingProxyType({k: v for k, v in found.items() if k not in _OWN})
    return Event(found["seq"], found["at_ns"], found["type"], found["prev"], fields)


def parse(lines: Iterable[bytes], *, file: str = "") -> tuple[Event, ...]:
    """Return all events of a journal, having checked order and chain.

    Raises:
        InputError: a line that is no event, a gap in `seq`, or a broken chain; names the line.
    """
    events: list[Event] = []
    prev = FIRST
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            raise InputError("cut in the middle of an event", file=file, field=f"line {number}")
        event = parse_line(line, file=file, number=number)
        if event.seq != number or event.prev != prev:
            raise InputError(
                "the chain breaks here: a line was changed, added or removed",
                file=file,
                field=f"line {number}",
            )
        events.append(event)
        prev = chain(line)
    return tuple(events)
