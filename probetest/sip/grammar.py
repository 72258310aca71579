"""The small parts of SIP's grammar: header names, lists, parameters, addresses, CSeq.

Law: every function takes any text, in time linear in its length, and raises nothing.

Source: RFC 3261 sections 7.3 and 25.1.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

MAX_CSEQ = 2**31 - 1  # RFC 3261 section 8.1.1.5

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"  # RFC 3261 section 25.1 # noqa: S105 - grammar, no password
TOKEN_ONLY = re.compile(rf"{TOKEN}\Z")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+\Z")
_CSEQ = re.compile(rf"0*([0-9]{{1,40}})[ \t]+({TOKEN})\Z")
_QUOTED = r'"(?>(?:[^"\\]|\\.)*)"'
_NAME_ADDR = re.compile(rf"(?>(?:[^\"<]|{_QUOTED})*)<([^<>]*)>(.*)\Z", re.DOTALL)
_UNQUOTED_ADDR = re.compile(r"[^<]*+<([^<>]*)>(.*)\Z", re.DOTALL)
_PIECE = re.compile(  # what is never closed runs to the end: the whole stays linear in its length
    r'"(?>(?:[^"\\]|\\.?)*)"?|<[^>]*+>?|[,;]|[^",;<]+', re.DOTALL
)
_BALANCED = re.compile(rf"(?>(?:[^\"]|{_QUOTED})*)\Z", re.DOTALL)

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
LISTS = frozenset(  # the headers whose grammar is a list with commas
    (
        *("Via", "Contact", "Route", "Record-Route", "Path", "Service-Route", "P-Associated-URI"),
        *("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion"),
        *("History-Info", "Allow", "Supported", "Require", "Proxy-Require", "Unsupported"),
        *("Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Language"),
        *("Alert-Info", "Call-Info", "Error-Info", "In-Reply-To", "Warning", "Allow-Events"),
        *("Reason", "Security-Client", "Security-Server", "Security-Verify"),
    )
)


@lru_cache(maxsize=256)  # a capture repeats some thirty names
def canonical(name: str) -> str:
    """Return the one spelling of header *name*, compact forms written out.

    >>> canonical("i"), canonical("CSEQ"), canonical("p-asserted-identity")
    ('Call-ID', 'CSeq', 'P-Asserted-Identity')
    """
    low = name.lower()
    plain = "-".join(part.capitalize() for part in low.split("-"))
    return COMPACT.get(low) or _ODD_CASE.get(low) or plain


def cseq(value: str) -> tuple[int, str] | None:
    """Return number and method, or None when *value* is no CSeq; the number may be out of range."""
    found = _CSEQ.match(value)
    return None if found is None else (int(found[1]), found[2])


@lru_cache(1024)  # the messages of a call share theirs
def address(value: str) -> tuple[str, Mapping[str, str]]:
    """Return URI and header parameters of a From or To value; ("", {}) when it is none.

    Without brackets every parameter belongs to the header (RFC 3261 section 20.10). A quote that is
    never closed is passed over where brackets say what the URI is: see `is_balanced`.
    """
    found = _NAME_ADDR.match(value)
    if found is None and '"' in value:
        found = _UNQUOTED_ADDR.match(value)
    if found:
        uri, rest = found[1].strip(), found[2].strip()
        if rest and not rest.startswith(";"):
            return "", {}
        parts = split(rest, ";")[1:]
    else:
        uri, *parts = split(value, ";")
    return (uri, parameters(parts)) if URI.match(uri) else ("", {})


def is_balanced(value: str) -> bool:
    """Say whether every quoted string in *value* is closed."""
    return '"' not in value or _BALANCED.match(value) is not None


def parameters(parts: Iterable[str]) -> dict[str, str]:
    """Return `name=value` pieces by lower-case name; of two alike the first counts."""
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


def split(value: str, separator: str) -> list[str]:
    """Return the pieces between *separator* that stand outside quotes and brackets, stripped."""
    if '"' not in value and "<" not in value:
        return [piece.strip() for piece in value.split(separator)]
    pieces, begun = list[str](), list[str]()
    for found in _PIECE.finditer(value):
        if found[0] == separator:
            pieces.append("".join(begun).strip())
            begun = []
        else:
            begun.append(found[0])
    return [*pieces, "".join(begun).strip()]
