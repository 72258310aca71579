"""SIP messages out of the bytes of a TCP stream, as they come.

Laws: the pieces in which a stream comes make no difference; every byte is looked at a fixed number
of times; not more than two messages' length is kept. The length that a message declares ends it;
where that cannot be followed, reading goes on at the next start line, and what lies between is
told. What comes before the first start line of a stream that was not seen to begin, or after a gap,
belongs to a message that was not seen whole, and is left out.

Sources: RFC 3261 sections 7.5 and 18.3 (Content-Length frames a stream), RFC 5626 section 3.5.1
(keep-alives between messages).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from probetest.sip.message import MAX_MESSAGE_BYTES

START_LINE_BYTES = 640  # the longest that is looked for
_REST = rb" (?:sips?|tel|urn):[^\s]{1,512} SIP/2\.0\r?\n|SIP/2\.0 [1-6][0-9]{2} "
START = re.compile(  # where one has to begin: any method, scheme and spacing
    rb"[A-Za-z0-9\-.!%*_+`'~]{1,64}[ \t]++<?[A-Za-z][A-Za-z0-9+.\-]*+:[^\r\n]{1,512}[ \t]"
    rb"SIP/2\.0[ \t]*+\r?\n|SIP/2\.0 [1-6][0-9]{2} "
)
_KNOWN = (  # methods that can be told from the letters before them, where a body has no last line
    rb"(?:INVITE|ACK|BYE|CANCEL|OPTIONS|REGISTER|PRACK|UPDATE|INFO|REFER|MESSAGE|PUBLISH"
    rb"|SUBSCRIBE|NOTIFY)"
)
NEXT_START = re.compile(_KNOWN + _REST)
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n\r?\n")
_HEAD_END_BYTES = 3
_KEEP_ALIVES = re.compile(rb"[\r\n]++")

JUNK, UNFINISHED = "no message that ends where it says", "the stream ends inside it"


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a stream: a whole message, or what is none."""

    offset_bytes: int  # in the stream
    data: bytes
    complaint: str  # "": a whole message


@dataclass(slots=True)
class Splitter:
    """What of one stream is not yet given."""

    from_start: bool  # the next byte begins a message
    offset_bytes: int = 0  # of the first byte kept
    kept: bytearray = field(default_factory=bytearray)
    _searched: int = 0  # of what is kept, for the next start line
    _head_end: int = 0  # in the stream: of the first head that ends after the front
    _head_searched: int = 0  # in the stream: up to here, and the end was not found
    _end: int = 0  # of the message at the front; 0: not known
    _is_begun: bool = False  # a start line was seen at the front
    _is_junk: bool = False  # what is at the front is no message, and is told once it ends

    def feed(self, data: bytes) -> Iterator[Part]:
        """Yield the parts that end in *data*, which follows what was fed before."""
        self.kept += data
        while (part := self._next()) is not None:
            if part.data:
                yield part

    def end(self) -> Iterator[Part]:
        """Yield what is left when nothing follows, or a gap; what is fed then begins anew."""
        data, offset = bytes(self.kept), self.offset_bytes
        if data and self.from_start:
            yield Part(offset, data, UNFINISHED if self._is_begun else JUNK)
        self._drop(len(data))
        self.from_start = False

    def _next(self) -> Part | None:
        """Return the next part, an empty one where bytes were passed over, or None to wait."""
        if not self._is_begun and not self._is_junk:
            self._skip_keep_alives()
            if not self.kept:
                return None
            if not self.from_start and self.offset_bytes:
                return self._pass_over()
            if START.match(self.kept) is None:
                if self._may_begin():
                    return None
                return self._mark_junk() if self.from_start else self._pass_over()
            self._is_begun = self.from_start = True
        return self._until_next_start() if self._is_junk else self._message()

    def _message(self) -> Part | None:
        """Return the message at the front once it is there."""
        if not self._end:
            head_bytes = self._head_bytes()
            if not 0 < head_bytes <= MAX_MESSAGE_BYTES:
                return self._mark_junk() if len(self.kept) > MAX_MESSAGE_BYTES else None
            length = _LENGTH.search(self.kept, 0, head_bytes)
            self._end = head_bytes + (0 if length is None else int(length[1]))
        if self._end > MAX_MESSAGE_BYTES:
            return self._mark_junk()
        return None if self._end > len(self.kept) else self._take(self._end, "")

    def _head_bytes(self) -> int:
        """Return where the head at the front ends, 0 when it does not yet; a byte is read once."""
        if self._head_end <= self.offset_bytes:
            start = max(0, self._head_searched - _HEAD_END_BYTES - self.offset_bytes)
            found = _HEAD_END.search(self.kept, start)
            self._head_searched = self.offset_bytes + len(self.kept)
            if found is None:
                return 0
            self._head_end = self.offset_bytes + found.end()
            self._head_searched = self._head_end
        return self._head_end - self.offset_bytes

    def _mark_junk(self) -> Part:
        """Note that the front is no message."""
        self._is_begun, self._is_junk, self._searched, self._end = False, True, 1, 0
        return Part(self.offset_bytes, b"", "")

    def _until_next_start(self) -> Part | None:
        """Return what lies before the next start line, once that is there; or a limit of it."""
        found = NEXT_START.search(self.kept, max(1, self._searched - START_LINE_BYTES))
        self._searched = len(self.kept)
        if found is not None and found.start() <= MAX_MESSAGE_BYTES:
            return self._take(found.start(), JUNK)
        if len(self.kept) <= MAX_MESSAGE_BYTES + START_LINE_BYTES:
            return None
        part = self._take(MAX_MESSAGE_BYTES, JUNK)
        self.from_start = False
        return part

    def _pass_over(self) -> Part | None:
        """Drop what belongs to a message that was not seen to begin."""
        found = NEXT_START.search(self.kept)
        if found is None:
            self._drop(max(0, len(self.kept) - START_LINE_BYTES))
            return None
        self._drop(found.start())
        self.from_start = True
        return Part(self.offset_bytes, b"", "")

    def _may_begin(self) -> bool:
        """Say whether the front may be a start line that goes on."""
        return len(self.kept) < START_LINE_BYTES and self.kept.find(b"\n") < 0

    def _skip_keep_alives(self) -> None:
        found = _KEEP_ALIVES.match(self.kept)
        self._drop(0 if found is None else found.end())

    def _take(self, size: int, complaint: str) -> Part:
        """Return the first bytes kept, and keep them no longer."""
        part = Part(self.offset_bytes, bytes(self.kept[:size]), complaint)
        self._drop(size)
        return part

    def _drop(self, size: int) -> None:
        """Forget the first bytes kept, and what was known of the part that they were."""
        del self.kept[:size]
        self.offset_bytes += size
        self._searched, self._end, self._is_begun, self._is_junk = 0, 0, False, False


def split(data: bytes, *, from_start: bool) -> Iterator[tuple[int, bytes, str]]:
    """Yield offset, bytes and complaint ("": a whole message) of what a stream of SIP holds.

    Without *from_start* what comes before the first start line belongs to a message that began
    before the capture, and is left out.
    """
    splitter = Splitter(from_start=from_start)
    for parts in (splitter.feed(data), splitter.end()):
        for part in parts:
            yield part.offset_bytes, part.data, part.complaint
