"""The calling party in an ENUM query: a URI in an EDNS option, in any of the framings in the field.

No registry ever assigned the option, so code and framing are data of a profile:

    raw          code 4, the URI's octets and nothing else (Oracle/Acme, CGRateS, miekg/dns)
    version-nul  u16 version 0, the URI, one NUL (draft-kaplan-enum-source-uri-00 section 9)
    utf8         the URI in UTF-8, any code (draft-kaplan-dnsext-enum-sip-source-ref-opt-code-03)

A reader takes all three, and any code. Laws: an option of some other purpose (a cookie, a client
subnet) is never taken for a URI; option 4 that holds no URI is an error, not an absent caller; so
are two callers in one query.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.errors import InputError

if TYPE_CHECKING:
    from enumtest.dns.message import Query

RAW_CODE = 4  # reserved for draft-cheshire-edns0-owner-option; Oracle's SBC uses it for the URI
MAX_CODE = 0xFFFF
MAX_URI_OCTETS = 4096  # far beyond any SBC; keeps one option from filling a message
ANONYMOUS = "anonymous"

_VERSION = b"\x00\x00"
_OWNER_OCTETS = (8, 14, 18, 20)  # version, sequence, and one to three MAC addresses or a password
_URI = re.compile(r"(sips?|tel|h323):[^\x00-\x20\x7f]+", re.IGNORECASE)
_SEPARATORS = str.maketrans("", "", "-.()")  # RFC 3966 section 5.1.1
_NO_ONE = frozenset({"", "anonymous", "restricted", "unavailable", "unknown"})


class Framing(StrEnum):
    """How the URI's octets stand in the option."""

    RAW = "raw"
    VERSION_NUL = "version-nul"
    UTF8 = "utf8"


@dataclass(frozen=True, slots=True)
class SourceOption:
    """One calling party as an EDNS option; the URI has no display name and no brackets."""

    uri: str
    framing: Framing = Framing.RAW
    code: int = RAW_CODE

    def __post_init__(self) -> None:
        """Refuse what no reader could take for a calling party."""
        if not _URI.fullmatch(self.uri):
            why = "not a sip:, sips:, tel: or h323: URI"
            raise InputError(why, field="source", value=self.uri, fix="write sip:+E164@host")
        if not 0 <= self.code <= MAX_CODE:
            raise InputError(f"not 0 to {MAX_CODE}", field="source option code", value=self.code)
        try:
            octets = self.uri.encode()
        except UnicodeEncodeError as error:
            why = "not text that can be sent"
            raise InputError(why, field="source", value=self.uri) from error
        if len(octets) > MAX_URI_OCTETS:
            raise InputError(f"longer than {MAX_URI_OCTETS} octets", field="source", value=self.uri)

    @property
    def party(self) -> str:
        """Return the user part without visual separators, or "anonymous" when it names no one."""
        return party(self.uri)

    @property
    def how(self) -> str:
        """Return in words how the URI is carried, such as "option 4, raw"."""
        return f"option {self.code}, {self.framing}"


def party(uri: str) -> str:
    """Return the calling party in *uri*: its user part without parameters and visual separators.

    A plus sign is kept and none is added: what is local stays local.

    >>> party("sip:+1-650-555-0112;tgrp=tg1;trunk-context=a.example@sbc.example.net;user=phone")
    '+16505550112'
    >>> party("sip:anonymous@anonymous.invalid")
    'anonymous'
    """
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "tel":
        user, host = rest, ""
    else:
        user, at, host = rest.rpartition("@")
        user = user if at else ""
    user = user.partition(";")[0].partition(":")[0]
    if user.lower() in _NO_ONE or host.partition(";")[0].lower() == "anonymous.invalid":
        return ANONYMOUS
    return user.translate(_SEPARATORS) if user.strip("+0123456789-.()") == "" else user


def encode(option: SourceOption) -> bytes:
    """Return the data of *option*, without code and length."""
    uri = option.uri.encode()
    return _VERSION + uri + b"\x00" if option.framing is Framing.VERSION_NUL else uri


def decode(options: Iterable[tuple[int, bytes]]) -> SourceOption | None:
    """Return the calling party among *options* (code, data), or None when there is none.

    Raises:
        InputError: option 4 is there and holds no URI, or two options name two callers.
    """
    found: list[SourceOption] = []
    for code, octets in options:
        framing = Framing.RAW if code == RAW_CODE else Framing.UTF8
        uri = octets
        if octets.startswith(_VERSION) and octets.endswith(b"\x00"):
            framing, uri = Framing.VERSION_NUL, octets[len(_VERSION) : -1]
        try:
            found.append(SourceOption(uri.decode("utf-8"), framing, code))
        except (UnicodeDecodeError, InputError) as error:
            if code == RAW_CODE:
                why = f"EDNS option 4 holds no calling URI: {_defect(octets)}"
                raise InputError(why, field="source", value=octets) from error
    if any(option.uri != found[0].uri for option in found):
        uris = [option.uri for option in found]
        raise InputError("two callers in one query", field="source", value=uris)
    return found[0] if found else None


def _defect(octets: bytes) -> str:
    """Say what the data of an option that holds no URI looks like."""
    if not octets:
        return "empty"
    version = int.from_bytes(octets[: len(_VERSION)])
    if octets.startswith(_VERSION):
        return "version 0 without a NUL at the end" if octets[2:].strip(b"\0") else "no text"
    if octets.endswith(b"\x00"):
        return "a NUL at the end without version 0 in front"
    if octets[0] == 0 and len(octets) in _OWNER_OCTETS:
        return "MAC addresses (draft-cheshire-edns0-owner-option)"
    if octets[0] == 0:
        return f"version {version}, which no draft has"
    return "not a sip:, sips:, tel: or h323: URI"


def source_uri(query: "Query") -> str:
    """Return the calling URI that *query* carries, or "" when there is none that can be read."""
    if query.edns is None:
        return ""
    try:
        option = decode(query.edns.options)
    except InputError:
        return ""
    return "" if option is None else option.uri
