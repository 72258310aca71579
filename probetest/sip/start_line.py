"""The first line of a SIP message, and whether some bytes can be one."""

import re
from dataclasses import dataclass

from probetest.sip.defects import Complaint, Defect
from probetest.sip.encode import VERSION
from probetest.sip.grammar import TOKEN_ONLY, URI

METHODS = frozenset(  # RFC 3261, 3262, 3265, 3311, 3428, 3515, 3903, 6086
    (
        *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY"),
        *("UPDATE", "MESSAGE", "REFER", "PUBLISH", "INFO"),
    )
)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)
_SPACED_STATUS = re.compile(
    r"SIP/2\.0[ \t]++([1-6][0-9]{2})(?:[ \t]++(.*))?\Z", re.IGNORECASE | re.DOTALL
)
_VERSION = re.compile(r"SIP[ \t]*/[ \t]*([0-9]+\.[0-9]+)\Z", re.IGNORECASE)
_FIRST_LINE = re.compile(  # spaces and brackets too many are a defect of a message all the same
    rb"[A-Za-z0-9\-.!%*_+`'~]{1,64}[ \t]++<?[A-Za-z][A-Za-z0-9+.\-]*+:[^\r\n]*[ \t]SIP/\d",
    re.IGNORECASE,
)
_CUT_LINE = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]{1,64}[ \t]++<?(?:sips?|tel|urn):", re.IGNORECASE)
_RESPONSE = b"SIP/2.0 "


@dataclass(frozen=True, slots=True)
class StartLine:
    """What a first line says: of a request method and URI, of a response status and reason."""

    method: str | None
    status: int | None
    reason: str = ""
    request_uri: str = ""


def looks_like_sip(prefix: bytes) -> bool:
    """Return whether *prefix*, the first bytes of a packet, can be the start of a SIP message.

    >>> looks_like_sip(b"INVITE sip:+16505550112@192.0.2.1"), looks_like_sip(b"GET / HTTP/1.1")
    (True, False)
    """
    text = prefix.lstrip(b"\r\n")
    ends = [end for end in (text.find(b"\r"), text.find(b"\n")) if end >= 0]
    line = text[: min(ends)] if ends else text
    if line[: len(_RESPONSE)].upper() == _RESPONSE:
        return True
    return bool((_FIRST_LINE if ends else _CUT_LINE).match(line))


def start_line(line: str, offset_bytes: int, found: list[Complaint]) -> StartLine | None:
    """Return what *line* says, or None; what is wrong with it is added to *found*."""
    if status := _STATUS_LINE.match(line):
        _note_case(line[: len(VERSION)], offset_bytes, found)
        return StartLine(None, int(status[1]), status[2] or "")
    words = line.split(None, 1)
    if words and _VERSION.match(words[0]):
        return _odd_status(line, offset_bytes, found)
    return _request(line, offset_bytes, found)


def _odd_status(line: str, offset_bytes: int, found: list[Complaint]) -> StartLine | None:
    """Return what a status line says that is not written as it should be."""
    if status := _SPACED_STATUS.match(line.strip(" \t")):
        why = "no single spaces in the status line"
        found.append(Complaint(Defect.START_LINE_SPACE, why, offset_bytes))
        return StartLine(None, int(status[1]), status[2] or "")
    if line[: len(VERSION)].upper() == VERSION:
        why = f"status code is not 100 to 699: {line[len(VERSION) :].strip():.40}"
        found.append(Complaint(Defect.STATUS, why, offset_bytes))
    else:
        found.append(Complaint(Defect.VERSION, f"not {VERSION}: {line:.20}", offset_bytes))
    return None


def _request(line: str, offset_bytes: int, found: list[Complaint]) -> StartLine | None:
    """Return what a request line says."""
    method, _, rest = line.strip(" \t").partition(" ")
    rest, _, version = rest.rpartition(" ")
    uri = rest.strip(" \t")
    known = _VERSION.match(version)
    if known is None or not TOKEN_ONLY.match(method) or ":" not in uri:
        why = "no SIP/2.0 request line and no status line"
        found.append(Complaint(Defect.START_LINE, why, offset_bytes))
        return None
    if version.upper() != VERSION:
        found.append(Complaint(Defect.VERSION, f"not {VERSION}: {version:.20}", offset_bytes))
        return None
    _note_case(version, offset_bytes, found)
    if f"{method} {uri} {version}" != line:
        why = "no single spaces in the request line"
        found.append(Complaint(Defect.START_LINE_SPACE, why, offset_bytes))
    if not URI.match(uri):
        why = f"the Request-URI is no URI: {uri:.60}"
        found.append(Complaint(Defect.REQUEST_URI, why, offset_bytes))
        uri = uri.removeprefix("<").removesuffix(">").strip(" \t")
    if method not in METHODS and method.upper() in METHODS:
        why = f"{method} is not {method.upper()}: methods are told apart by case"
        found.append(Complaint(Defect.METHOD_CASE, why, offset_bytes))
    return StartLine(method, None, "", uri)


def _note_case(version: str, offset_bytes: int, found: list[Complaint]) -> None:
    if version != VERSION:
        why = f"{version} is not written {VERSION}"
        found.append(Complaint(Defect.VERSION_CASE, why, offset_bytes))
