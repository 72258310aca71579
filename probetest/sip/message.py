"""SIP messages: bytes to a checked value, and back (RFC 3261; thin, the rest is built on it).

Laws: the bytes are hostile, so `parse` gives a `SipMessage` or a `WireError` and nothing else;
a `SipMessage` that exists has one well-formed From, To, Call-ID and CSeq and at least one Via,
so no reader asks again; header values keep every byte (those that are no UTF-8 as surrogates).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from harness.errors import InputError, WireError

MAX_MESSAGE_BYTES = 65_536  # more than a UDP datagram can carry
MAX_HEADERS = 200  # header lines; a long route has tens
MAX_CSEQ = 2**31 - 1  # RFC 3261 section 8.1.1.5
VERSION = "SIP/2.0"

_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"  # RFC 3261 section 25.1 # noqa: S105 - grammar, no password
_TOKEN_ONLY = re.compile(rf"{_TOKEN}\Z")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+\Z")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)
_HEADER = re.compile(rf"({_TOKEN})[ \t]*:(.*)\Z", re.DOTALL)
_CSEQ = re.compile(rf"0*([0-9]{{1,10}})[ \t]+({_TOKEN})\Z")
_LENGTH = re.compile(r"0*([0-9]{1,10})\Z")
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_NAME_ADDR = re.compile(rf"(?:[^\"<]|{_QUOTED})*+<([^<>]*)>(.*)\Z", re.DOTALL)
_PIECE = re.compile(  # what is never closed runs to the end: the whole stays linear in its length
    r'"(?:[^"\\]|\\.?)*+"?|<[^>]*+>?|[,;]|[^",;<]+', re.DOTALL
)
_HEAD_END = re.compile(rb"\n\r?\n")
_FIRST_LINE = re.compile(
    rb"[A-Za-z0-9\-.!%*_+`'~]{1,64} [A-Za-z][A-Za-z0-9+.\-]*:\S+ SIP/\d", re.IGNORECASE
)
_CUT_LINE = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]{1,64} (?:sips?|tel|urn):\S*", re.IGNORECASE)

COMPACT = dict(  # RFC 3261 section 7.3.3 and the IANA header registry
    zip(
        "abcdefijklmnorstuvxy",
        (
            *("Accept-Contact", "Referred-By", "Content-Type", "Request-Disposition"),
            *("Content-Encoding", "From", "Call-ID", "Reject-Contact", "Supported"),
            *("Content-Length", "Contact", "Identity-Info", "Event", "Refer-To", "Subject", "To"),
            *("Allow-Events", "Via", "Session-Expires", "Identity"),
        ),
        strict=True,
    )
)
_ODD_CASE = {  # names that capitalising each part would not give
    name.lower(): name
    for name in (
        *("Call-ID", "CSeq", "MIME-Version", "WWW-Authenticate", "RAck", "RSeq", "SIP-ETag"),
        *("SIP-If-Match", "Remote-Party-ID", "P-Called-Party-ID", "P-Associated-URI", "Session-ID"),
        *("P-Charging-Vector", "Min-SE", "X-CID", "P-Access-Network-Info", "History-Info"),
    )
}
_LISTS = frozenset(  # the headers whose grammar is a list with commas
    (
        *("Via", "Contact", "Route", "Record-Route", "Path", "Service-Route", "P-Associated-URI"),
        *("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion"),
        *("History-Info", "Allow", "Supported", "Require", "Proxy-Require", "Unsupported"),
        *("Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Language"),
        *("Alert-Info", "Call-Info", "Error-Info", "In-Reply-To", "Warning", "Allow-Events"),
        *("Reason", "Security-Client", "Security-Server", "Security-Verify"),
    )
)
_ONCE = ("From", "To", "Call-ID", "CSeq")


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One request (`method`, `request_uri`) or response (`status`, `reason`)."""

    method: str | None
    status: int | None
    reason: str
    request_uri: str  # "" in a response
    headers: tuple[tuple[str, str], ...]  # canonical names, unfolded values, in the order sent
    body: bytes = b""

    def __post_init__(self) -> None:
        """Refuse a message without the fields that every reader uses."""
        if why := next(_objections(self), None):
            raise InputError(why, field="SIP message", value=self.method or self.status)

    def first(self, name: str) -> str | None:
        """Return the first value of header *name* (any case, compact or not), or None."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of header *name* in order; lists with commas are taken apart."""
        wanted = canonical(name)
        lines = (value for key, value in self.headers if key == wanted)
        if wanted not in _LISTS:
            return tuple(lines)
        return tuple(value for line in lines for value in _split(line, ",") if value)

    @property
    def call_id(self) -> str:
        """Return the Call-ID, compared byte for byte (RFC 3261 section 8.1.1.4)."""
        return self.first("Call-ID") or ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Return the sequence number and its method."""
        return _cseq(self.first("CSeq") or "") or (0, "")

    @property
    def from_uri(self) -> str:
        """Return the URI of From, without display name, brackets and header parameters."""
        return _address(self.first("From") or "")[0]

    @property
    def to_uri(self) -> str:
        """Return the URI of To, without display name, brackets and header parameters."""
        return _address(self.first("To") or "")[0]

    @property
    def from_tag(self) -> str:
        """Return the caller's tag, "" from an RFC 2543 peer."""
        return _address(self.first("From") or "")[1].get("tag", "")

    @property
    def to_tag(self) -> str:
        """Return the callee's tag, "" in a request that opens a dialog."""
        return _address(self.first("To") or "")[1].get("tag", "")

    @property
    def top_via_branch(self) -> str:
        """Return the branch of the topmost Via, "" from an RFC 2543 peer."""
        return _parameters(_split(self.first("Via") or "", ";")[1:]).get("branch", "")


def parse(data: bytes) -> SipMessage:
    """Return the message at the start of *data*, one datagram; a tail after its body is left.

    Lines may end in CRLF or LF. Without Content-Length the body is all the rest (section 18.3).

    Raises:
        WireError: anything that is not one whole, unambiguous message; has the offset.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"more than {MAX_MESSAGE_BYTES} bytes", offset_bytes=MAX_MESSAGE_BYTES)
    start = len(data) - len(data.lstrip(b"\r\n"))  # RFC 3261 section 7.5: ignore CRLF before
    end = _HEAD_END.search(data, start)
    if end is None:
        raise WireError("no empty line after the headers", offset_bytes=len(data))
    lines = _lines(data[start : end.start()], start)
    method, uri, status, reason = _start_line(next(lines)[1], start)
    headers = tuple(_headers(lines))
    body = _body(headers, data, end.end())
    try:
        return SipMessage(method, status, reason, uri, headers, body)
    except InputError as error:
        raise WireError(error.why, offset_bytes=end.end()) from error


def looks_like_sip(prefix: bytes) -> bool:
    """Return whether *prefix*, the first bytes of a packet, can be the start of a SIP message.

    >>> looks_like_sip(b"INVITE sip:+16505550112@192.0.2.1"), looks_like_sip(b"GET / HTTP/1.1")
    (True, False)
    """
    text = prefix.lstrip(b"\r\n")
    line, newline, _ = text.partition(b"\n")
    if line[:8].upper() == b"SIP/2.0 ":
        return True
    return bool((_FIRST_LINE if newline else _CUT_LINE).match(line))


@lru_cache(maxsize=256)  # a capture repeats some thirty names
def canonical(name: str) -> str:
    """Return the one spelling of header *name*, compact forms written out.

    >>> canonical("i"), canonical("CSEQ"), canonical("p-asserted-identity")
    ('Call-ID', 'CSeq', 'P-Asserted-Identity')
    """
    low = name.lower()
    plain = "-".join(part.capitalize() for part in low.split("-"))
    return COMPACT.get(low) or _ODD_CASE.get(low) or plain


def encode_request(
    method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """Return the bytes of a request; Content-Length is counted here, a given one is dropped.

    Raises:
        InputError: a method, URI, name or value that would not be read back as given.
    """
    if not _TOKEN_ONLY.match(method):
        raise InputError("not a SIP method", field="method", value=method)
    if not _URI.match(uri):
        raise InputError("not a URI", field="request URI", value=uri)
    return _encode(f"{method} {uri} {VERSION}", headers, body)


def encode_response(
    status: int, reason: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """Return the bytes of a response; Content-Length is counted here, a given one is dropped.

    Raises:
        InputError: a status, reason, name or value that would not be read back as given.
    """
    line = f"{VERSION} {status} {reason}"
    if not _STATUS_LINE.match(line):
        raise InputError("not a SIP status, 100 to 699", field="status", value=status)
    return _encode(line, headers, body)


def uri_user(uri: str) -> str:
    """Return the user of a sip or sips URI, the number of a tel URI; "" when there is none.

    Escapes and user parameters (`;npdi;rn=…`) stay: `harness.dialplan` reads them.

    >>> uri_user("sip:+16505550112;npdi:secret@192.0.2.1"), uri_user("tel:+16505550112;npdi")
    ('+16505550112;npdi', '+16505550112')
    """
    scheme, user, rest = _uri_parts(uri)
    return rest.partition(";")[0] if scheme == "tel" else user.partition(":")[0]


def uri_host(uri: str) -> str:
    """Return the host of a sip or sips URI in lower case, without port and IPv6 brackets.

    >>> uri_host("sip:a@[2001:DB8::1]:5060;transport=udp"), uri_host("sip:Example.COM")
    ('2001:db8::1', 'example.com')
    """
    scheme, _, rest = _uri_parts(uri)
    if scheme == "tel":
        return ""
    hostport = re.split("[;?]", rest, maxsplit=1)[0].strip().lower()
    if hostport.startswith("["):
        return hostport[1:].partition("]")[0]
    return hostport.partition(":")[0]


def uri_params(uri: str) -> dict[str, str]:
    """Return the URI's parameters, names in lower case, of two alike the first; flags are "".

    >>> uri_params("sip:a;b=c@example.com;user=phone;lr?Subject=x")
    {'user': 'phone', 'lr': ''}
    """
    scheme, _, rest = _uri_parts(uri)
    text = rest if scheme == "tel" else rest.partition("?")[0]
    return _parameters(_split(text, ";")[1:])


def _uri_parts(uri: str) -> tuple[str, str, str]:
    """Return scheme in lower case, user information, and all after the "@"."""
    scheme, colon, rest = uri.strip().partition(":")
    if not colon:
        return "", "", uri
    user, at, host = rest.partition("@")
    if not at or scheme.lower() == "tel":
        return scheme.lower(), "", rest
    return scheme.lower(), user, host


def _objections(message: SipMessage) -> Iterator[str]:
    """Yield what every reader would miss in *message*."""
    if (message.method is None) == (message.status is None):
        yield "a message is either a request or a response"
    for name in _ONCE:
        if (count := sum(key == name for key, _ in message.headers)) != 1:
            yield f"{count} {name} headers, not 1"
    if not message.first("Via"):
        yield "no Via header"
    if not message.call_id:
        yield "empty Call-ID"
    for name in ("From", "To"):
        if not _address(message.first(name) or "")[0]:
            yield f"{name} holds no address"
    found = _cseq(message.first("CSeq") or "")
    if found is None:
        yield f"CSeq is no number up to {MAX_CSEQ} and a method"
    elif message.method not in (None, found[1]):
        yield f"CSeq is for {found[1]:.40}, the request is {message.method:.40}"


def _lines(head: bytes, start: int) -> Iterator[tuple[int, str]]:
    """Yield each unfolded line with the offset of its first byte.

    A bare CR is refused: readers disagree on whether it ends a line, which hides headers.
    """
    offset, begun, parts = start, start, list[bytes]()
    for raw in head.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if b"\r" in line:
            raise WireError("a bare CR", offset_bytes=offset + line.index(b"\r"))
        if parts and line[:1] in (b" ", b"\t"):
            parts.append(line.strip(b" \t"))
        else:
            if parts:
                yield begun, b" ".join(parts).decode("utf-8", "surrogateescape")
            begun, parts = offset, [line]
        offset += len(raw) + 1
    yield begun, b" ".join(parts).decode("utf-8", "surrogateescape")


def _start_line(line: str, offset: int) -> tuple[str | None, str, int | None, str]:
    """Return method, request URI, status and reason of the first line."""
    if found := _STATUS_LINE.match(line):
        return None, "", int(found[1]), found[2] or ""
    match line.split(" "):
        case [method, uri, version] if version.upper() == VERSION:
            if _TOKEN_ONLY.match(method) and _URI.match(uri):
                return method, uri, None, ""
    raise WireError("no SIP/2.0 request line and no status line", offset_bytes=offset)


def _headers(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Yield the canonical name and the stripped value of each header line."""
    for count, (offset, line) in enumerate(lines, 1):
        if count > MAX_HEADERS:
            raise WireError(f"more than {MAX_HEADERS} headers", offset_bytes=offset)
        found = _HEADER.match(line)
        if found is None:
            raise WireError("a header line without a name", offset_bytes=offset)
        yield canonical(found[1]), found[2].strip(" \t")


def _body(headers: tuple[tuple[str, str], ...], data: bytes, start: int) -> bytes:
    """Return the body, as long as Content-Length says."""
    given = [value for name, value in headers if name == "Content-Length"]
    if not given:
        return data[start:]
    found = _LENGTH.match(given[0])
    if found is None or len(given) > 1:
        raise WireError("Content-Length is no single number", offset_bytes=start)
    length = int(found[1])
    if length > len(data) - start:
        why = f"Content-Length is {length}, only {len(data) - start} bytes follow"
        raise WireError(why, offset_bytes=len(data))
    return data[start : start + length]


def _cseq(value: str) -> tuple[int, str] | None:
    """Return number and method, or None when *value* is no CSeq."""
    found = _CSEQ.match(value)
    if found is None or int(found[1]) > MAX_CSEQ:
        return None
    return int(found[1]), found[2]


def _address(value: str) -> tuple[str, dict[str, str]]:
    """Return URI and header parameters of a From or To value; ("", {}) when it is none.

    Without brackets every parameter belongs to the header (RFC 3261 section 20.10).
    """
    if found := _NAME_ADDR.match(value):
        uri, rest = found[1].strip(), found[2].strip()
        if rest and not rest.startswith(";"):
            return "", {}
        parameters = _split(rest, ";")[1:]
    else:
        uri, *parameters = _split(value, ";")
    return (uri, _parameters(parameters)) if _URI.match(uri) else ("", {})


def _parameters(parts: Iterable[str]) -> dict[str, str]:
    """Return `name=value` pieces by lower-case name; of two alike the first counts."""
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _split(value: str, separator: str) -> list[str]:
    """Return the pieces between *separator* that stand outside quotes and brackets, stripped."""
    pieces = [""]
    for found in _PIECE.finditer(value):
        if found[0] == separator:
            pieces.append("")
        else:
            pieces[-1] += found[0]
    return [piece.strip() for piece in pieces]


def _encode(start_line: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """Return the whole message; refuse what could be read as another line or header."""
    lines = [start_line]
    for name, value in headers:
        if not _TOKEN_ONLY.match(name):
            raise InputError("not a header name", field="header", value=name)
        if canonical(name) != "Content-Length":
            lines.append(f"{name}: {value}")
    lines += [f"Content-Length: {len(body)}", "", ""]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise InputError("a line break inside a header", field="header", value=line)
    try:
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
    except UnicodeEncodeError as error:
        raise InputError("not text that can be sent", value=error.object[:80]) from error
