"""SIP messages out of bytes (RFC 3261).

Laws: the bytes are hostile, so `observe` gives a message or a defect that says why there is none,
and nothing else, in time linear in their length; `parse` gives the message or a `WireError`.
A `SipMessage` that exists has a Call-ID and a CSeq, and one well-formed From and To and at least
one Via, or names as its defect what it lacks, so no reader asks again. Header values keep every
byte (those that are no UTF-8 as surrogates).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from harness.errors import InputError, WireError
from probetest.sip.defects import Complaint, Defect, Severity
from probetest.sip.encode import VERSION, encode_request, encode_response
from probetest.sip.grammar import (
    LISTS,
    MAX_CSEQ,
    TOKEN,
    address,
    canonical,
    cseq,
    is_balanced,
    parameters,
    split,
)
from probetest.sip.start_line import looks_like_sip, start_line
from probetest.sip.uri import uri_host, uri_params, uri_user

__all__ = (  # what others know as this module's: bytes to messages, and back
    "MAX_HEADERS",
    "MAX_MESSAGE_BYTES",
    "VERSION",
    "Observed",
    "SipMessage",
    "canonical",
    "encode_request",
    "encode_response",
    "looks_like_sip",
    "observe",
    "parse",
    "uri_host",
    "uri_params",
    "uri_user",
)

MAX_MESSAGE_BYTES = 65_536  # more than a UDP datagram can carry
MAX_HEADERS = 200  # header lines; a long route has tens

_HEADER = re.compile(rf"({TOKEN})[ \t]*+:(.*)\Z", re.DOTALL)
_LENGTH = re.compile(r"(?=[0-9])0*+([0-9]{1,10})?\Z")
_HEAD_END = re.compile(rb"\n\r?\n")
_ONCE = ("From", "To", "Call-ID", "CSeq")
_LACKING = {  # what it means that one of them is absent
    "From": Defect.MISSING_HEADER,
    "To": Defect.MISSING_HEADER,
    "Call-ID": Defect.CALL_ID,
    "CSeq": Defect.CSEQ,
}
_CERTAIN = re.compile(rb"(?>(?:[^\n]*+\n(?=[^ \t]))*)")  # whole lines, seen to be not continued


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One request (`method`, `request_uri`) or response (`status`, `reason`)."""

    method: str | None
    status: int | None
    reason: str
    request_uri: str  # "" in a response
    headers: tuple[tuple[str, str], ...]  # canonical names, unfolded values, in the order sent
    body: bytes = b""
    defects: tuple[Defect, ...] = field(default=(), compare=False)  # that it has; each once

    def __post_init__(self) -> None:
        """Refuse a message without the fields that every reader uses."""
        for complaint in _objections(self.method, self.status, self.headers):
            fatal = complaint.severity is Severity.FATAL
            if fatal or complaint.defect not in self.defects:
                raise InputError(
                    complaint.why, field="SIP message", value=self.method or self.status
                )

    def first(self, name: str) -> str | None:
        """Return the first value of header *name* (any case, compact or not), or None."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of header *name* in order; lists with commas are taken apart."""
        wanted = canonical(name)
        lines = (value for key, value in self.headers if key == wanted)
        if wanted not in LISTS:
            return tuple(lines)
        return tuple(value for line in lines for value in split(line, ",") if value)

    @property
    def call_id(self) -> str:
        """Return the Call-ID, compared byte for byte (RFC 3261 section 8.1.1.4)."""
        return self.first("Call-ID") or ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Return the sequence number and its method."""
        return cseq(self.first("CSeq") or "") or (0, "")

    @property
    def from_uri(self) -> str:
        """Return the URI of From, without display name, brackets and header parameters."""
        return address(self.first("From") or "")[0]

    @property
    def to_uri(self) -> str:
        """Return the URI of To, without display name, brackets and header parameters."""
        return address(self.first("To") or "")[0]

    @property
    def from_tag(self) -> str:
        """Return the caller's tag, "" from an RFC 2543 peer."""
        return address(self.first("From") or "")[1].get("tag", "")

    @property
    def to_tag(self) -> str:
        """Return the callee's tag, "" in a request that opens a dialog."""
        return address(self.first("To") or "")[1].get("tag", "")

    @property
    def top_via_branch(self) -> str:
        """Return the branch of the topmost Via, "" from an RFC 2543 peer."""
        return parameters(split(self.first("Via") or "", ";")[1:]).get("branch", "")


@dataclass(frozen=True, slots=True)
class Observed:
    """What some bytes hold: a message, or a complaint that is fatal; never neither."""

    message: SipMessage | None
    complaints: tuple[Complaint, ...]  # in the order in which they were met

    @property
    def defects(self) -> tuple[Defect, ...]:
        """Return the names of what is wrong, each once."""
        return _names(self.complaints)


def parse(data: bytes) -> SipMessage:
    """Return the message at the start of *data*, one datagram; a tail after its body is left.

    Lines may end in CRLF or LF. Without Content-Length the body is all the rest (section 18.3).

    Raises:
        WireError: anything that a server would refuse; has the offset.
    """
    observed = observe(data)
    for complaint in observed.complaints:
        if complaint.severity is not Severity.NOTED:
            raise WireError(complaint.why, offset_bytes=complaint.offset_bytes)
    if observed.message is None:  # it always comes with a complaint that is fatal
        raise WireError("no SIP message", offset_bytes=0)
    return observed.message


def observe(data: bytes, *, whole: bool = True) -> Observed:
    """Return the message at the start of *data* as far as it can be known, and what is wrong.

    Not *whole*: a snapshot length cut it; then a last line that may go on is left out, the body is.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        why = f"more than {MAX_MESSAGE_BYTES} bytes"
        return Observed(None, (Complaint(Defect.TOO_LONG, why, MAX_MESSAGE_BYTES),))
    found: list[Complaint] = []
    start = len(data) - len(data.lstrip(b"\r\n"))  # RFC 3261 section 7.5: ignore CRLF before
    head, body_at = _head(data, start, found, whole=whole)
    lines = _lines(head, start, found)
    first = start_line(next(lines)[1], start, found)
    if first is None:
        return Observed(None, tuple(found))
    headers = tuple(_headers(lines, found))
    body = _body(headers, data, body_at, found) if whole else b""
    found += (
        Complaint(one.defect, one.why, body_at)
        for one in _objections(first.method, first.status, headers)
    )
    if any(one.severity is Severity.FATAL for one in found):
        return Observed(None, tuple(found))
    parts = (first.method, first.status, first.reason, first.request_uri, headers, body)
    return Observed(SipMessage(*parts, _names(found)), tuple(found))


def _names(complaints: Iterable[Complaint]) -> tuple[Defect, ...]:
    return tuple(dict.fromkeys(one.defect for one in complaints))


@lru_cache(4)  # asked when a message is read, and again when it is made
def _objections(
    method: str | None, status: int | None, headers: tuple[tuple[str, str], ...]
) -> tuple[Complaint, ...]:
    """Return what every reader would miss in a message."""
    return tuple(_objected(method, status, headers))


def _objected(
    method: str | None, status: int | None, headers: tuple[tuple[str, str], ...]
) -> Iterator[Complaint]:
    """Yield what every reader would miss in a message."""
    if (method is None) == (status is None):
        yield Complaint(Defect.START_LINE, "a message is either a request or a response")
    values: dict[str, list[str]] = {name: [] for name in (*_ONCE, "Via")}
    for name, value in headers:
        if name in values:
            values[name].append(value)
    for name in _ONCE:
        if (count := len(values[name])) != 1:
            defect = Defect.DOUBLED_HEADER if count else _LACKING[name]
            defect = defect if len(set(values[name])) <= 1 else Defect.CONFLICT
            yield Complaint(defect, f"{count} {name} headers, not 1")
    if not any(values["Via"]):
        yield Complaint(Defect.MISSING_HEADER, "no Via header")
    if values["Call-ID"][:1] == [""]:
        yield Complaint(Defect.CALL_ID, "empty Call-ID")
    for name in ("From", "To"):
        yield from _address_objections(name, values[name][:1])
    for value in values["CSeq"][:1]:
        yield from _cseq_objections(value, method)


def _address_objections(name: str, values: list[str]) -> Iterator[Complaint]:
    for value in values:
        if not is_balanced(value):
            yield Complaint(Defect.QUOTES, f"a quote in {name} is never closed")
        if not address(value)[0]:
            yield Complaint(Defect.ADDRESS, f"{name} holds no address")


def _cseq_objections(value: str, method: str | None) -> Iterator[Complaint]:
    found = cseq(value)
    if found is None:
        yield Complaint(Defect.CSEQ, "CSeq is no number and a method")
        return
    if found[0] > MAX_CSEQ:
        yield Complaint(Defect.CSEQ_RANGE, f"CSeq is no number up to {MAX_CSEQ}")
    if method not in (None, found[1]):
        why = f"CSeq is for {found[1]:.40}, the request is {method:.40}"
        yield Complaint(Defect.CSEQ_METHOD, why)


def _head(data: bytes, start: int, found: list[Complaint], *, whole: bool) -> tuple[bytes, int]:
    """Return the lines up to the empty one, ends of lines as LF or CRLF, and where the body is."""
    if not whole:
        found.append(Complaint(Defect.INCOMPLETE, "not captured whole", len(data)))
    end = _HEAD_END.search(data, start)
    if end is not None:
        return data[start : end.start()], end.end()
    if b"\n" not in data[start:] and b"\r" in data[start:]:
        found.append(Complaint(Defect.BARE_CR, "lines end in CR", data.index(b"\r", start)))
        head, end_of_head, _ = data[start:].partition(b"\r\r")
        if end_of_head:
            return head.replace(b"\r", b"\n"), start + len(head) + 2
        data = data.replace(b"\r", b"\n")
    if whole:
        why = "no empty line after the headers"
        found.append(Complaint(Defect.NO_EMPTY_LINE, why, len(data)))
        return data[start:].rstrip(b"\r\n"), len(data)
    certain = _CERTAIN.match(data, start)  # the last line may go on, and so may the one before
    return b"" if certain is None else certain[0].removesuffix(b"\n").removesuffix(b"\r"), len(data)


def _lines(head: bytes, start: int, found: list[Complaint]) -> Iterator[tuple[int, str]]:
    """Yield each unfolded line with the offset of its first byte.

    A bare CR ends no line, but is told: readers disagree on it, which hides headers.
    """
    offset, begun, parts = start, start, list[bytes]()
    raws = head.split(b"\n")
    if len(raws) > 1 and not raws[0].endswith(b"\r") and b"\r\n" not in head:
        found.append(Complaint(Defect.LINE_END, "lines end in LF", start))
    for raw in raws:
        line = raw.removesuffix(b"\r")
        if b"\r" in line:
            found.append(Complaint(Defect.BARE_CR, "a bare CR", offset + line.index(b"\r")))
        if parts and line[:1] in (b" ", b"\t"):
            parts.append(line.strip(b" \t"))
        else:
            if parts:
                yield begun, _text(parts, begun, found)
            begun, parts = offset, [line]
        offset += len(raw) + 1
    yield begun, _text(parts, begun, found)


def _text(parts: list[bytes], offset: int, found: list[Complaint]) -> str:
    """Return an unfolded line as text."""
    line = b" ".join(parts)
    try:
        return line.decode()
    except UnicodeDecodeError:
        found.append(Complaint(Defect.NOT_UTF8, "not UTF-8", offset))
        return line.decode("utf-8", "surrogateescape")


def _headers(lines: Iterator[tuple[int, str]], found: list[Complaint]) -> Iterator[tuple[str, str]]:
    """Yield the canonical name and the stripped value of each header line."""
    for count, (offset, line) in enumerate(lines, 1):
        if count == MAX_HEADERS + 1:
            why = f"more than {MAX_HEADERS} headers"
            found.append(Complaint(Defect.MANY_HEADERS, why, offset))
        header = _HEADER.match(line)
        if header is None:
            found.append(Complaint(Defect.HEADER_LINE, "a header line without a name", offset))
        else:
            yield canonical(header[1]), header[2].strip(" \t")


def _body(
    headers: tuple[tuple[str, str], ...], data: bytes, start: int, found: list[Complaint]
) -> bytes:
    """Return the body, as long as Content-Length says, or as there is."""
    given = {value for name, value in headers if name == "Content-Length"}
    if not given:
        return data[start:]
    length = _LENGTH.match(given.pop())
    if length is None or given:
        found.append(Complaint(Defect.LENGTH, "Content-Length is no single number", start))
        return data[start:]
    size, there = int(length[1] or 0), len(data) - start
    if size > there:
        why = f"Content-Length is {size}, only {there} bytes follow"
        found.append(Complaint(Defect.LENGTH_LONG, why, len(data)))
    elif data[start + size :].strip(b"\r\n"):
        why = f"{there - size} bytes after the message"
        found.append(Complaint(Defect.TRAILING_BYTES, why, start + size))
    return data[start : start + size]
