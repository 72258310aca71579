"""SIP messages to bytes, for those who play a phone or a server in a test."""

import re
from collections.abc import Iterable

from harness.errors import InputError
from probetest.sip.grammar import TOKEN_ONLY, URI, canonical

VERSION = "SIP/2.0"
_STATUS_LINE = re.compile(r"SIP/2\.0 [1-6][0-9]{2} ", re.IGNORECASE)


def encode_request(
    method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """Return the bytes of a request; Content-Length is counted here, a given one is dropped.

    Raises:
        InputError: a method, URI, name or value that would not be read back as given.
    """
    if not TOKEN_ONLY.match(method):
        raise InputError("not a SIP method", field="method", value=method)
    if not URI.match(uri):
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


def _encode(start_line: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """Return the whole message; refuse what could be read as another line or header."""
    lines = [start_line]
    for name, value in headers:
        if not TOKEN_ONLY.match(name):
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
