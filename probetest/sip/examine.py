"""What a server would find wrong in the headers of a message that an observer reads all the same.

It looks at every header, so it is asked for single messages, not for each of a capture.

Sources: RFC 3261 sections 20 and 25.1; RFC 4475 has an example of each.
"""

import re
from collections.abc import Iterator

from probetest.sip.defects import Complaint, Defect
from probetest.sip.grammar import LISTS, TOKEN, canonical, is_balanced, parameters, split
from probetest.sip.message import SipMessage

_ADDRESSES = frozenset(
    (
        *("From", "To", "Contact", "Route", "Record-Route", "Reply-To", "Refer-To", "Referred-By"),
        *("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "Path"),
    )
)
_QUOTED = _ADDRESSES | {"Via", "Warning", "Authorization", "Proxy-Authorization"}
_MAX_DELTA = 2**32 - 1  # seconds: RFC 3261 section 20.19
_MOST = {  # of headers that begin with a number
    "Max-Forwards": 255,
    "Expires": _MAX_DELTA,
    "Min-Expires": _MAX_DELTA,
    "Retry-After": _MAX_DELTA,
    "Warning": 999,
}
_MAX_DIGITS = 10
_NUMBER = re.compile(r"[0-9]+")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z"
)
_NAME = re.compile(rf"(?>(?:{TOKEN}[ \t]*)*)\Z|\"(?>(?:[^\"\\]|\\.)*)\"[ \t]*\Z", re.DOTALL)
_BRACKETS = re.compile(r"((?>(?:[^\"<]|\"(?>(?:[^\"\\]|\\.)*)\")*))<([^>]*)>(.*)\Z", re.DOTALL)
_COOKIE = "z9hg4bk"


def examine(message: SipMessage) -> tuple[Complaint, ...]:
    """Return what is wrong with the values of *message*'s headers, each kind of it once a header.

    The defects that the message itself names are not among them.
    """
    found = list(_in_request_uri(message))
    for name, value in message.headers:
        found += _in_header(canonical(name), value)
    return tuple(dict.fromkeys(one for one in found if one.defect not in message.defects))


def _in_request_uri(message: SipMessage) -> Iterator[Complaint]:
    scheme, _, rest = message.request_uri.partition(":")
    if scheme.lower() in ("sip", "sips") and "?" in rest.rpartition("@")[2]:
        yield Complaint(Defect.URI_HEADERS, "the Request-URI has header fields")


def _in_header(name: str, value: str) -> Iterator[Complaint]:
    """Yield what is wrong with one header line."""
    if name in _QUOTED and not is_balanced(value):
        yield Complaint(Defect.QUOTES, f"{name}: a quote is never closed")
    if name == "Date" and not _DATE.match(value):
        yield Complaint(Defect.DATE, f"Date: {value:.60}")
    if name in _MOST and not _is_number(value, _MOST[name]):
        yield Complaint(Defect.NUMBER, f"{name}: {value:.60} is not 0 to {_MOST[name]}")
    values = split(value, ",") if name in LISTS else [value]
    if len(values) > 1 and not all(values):
        yield Complaint(Defect.EMPTY_PARAMETER, f"{name}: nothing between commas")
    for one in filter(None, values):
        if name in _ADDRESSES:
            yield from _in_address(name, one)
        elif name == "Via":
            yield from _in_via(one)


def _in_via(value: str) -> Iterator[Complaint]:
    parts = [part.strip() for part in split(value, ";")[1:]]
    if not all(parts):
        yield Complaint(Defect.EMPTY_PARAMETER, "Via: nothing between semicolons")
    if parameters(parts).get("branch", "").lower() == _COOKIE:
        yield Complaint(Defect.BRANCH, "Via: the branch has nothing after z9hG4bK")


def _in_address(name: str, value: str) -> Iterator[Complaint]:
    """Yield what is wrong with a name, an address and its parameters."""
    found = _BRACKETS.match(value)
    if found is None:
        uri, *parts = split(value, ";")
        if "?" in uri or "," in uri:
            yield Complaint(Defect.URI_BRACKETS, f"{name}: a URI with , or ? stands in no <>")
    else:
        parts = split(found[3], ";")[1:]
        if not _NAME.match(found[1].strip()):
            yield Complaint(Defect.DISPLAY_NAME, f"{name}: the name needs quotes")
        if re.search(r"\s", found[2]):
            yield Complaint(Defect.URI_SPACE, f"{name}: space inside <>")
    if not all(part.strip() for part in parts):
        yield Complaint(Defect.EMPTY_PARAMETER, f"{name}: nothing between semicolons")
    expires = parameters(parts).get("expires")
    if name == "Contact" and expires is not None and not _is_number(expires, _MAX_DELTA):
        yield Complaint(Defect.NUMBER, f"{name}: expires={expires:.40}")


def _is_number(text: str, most: int) -> bool:
    """Say whether *text* begins with a number up to *most*."""
    found = _NUMBER.match(text)
    return bool(found and len(found[0].lstrip("0")) <= _MAX_DIGITS and int(found[0]) <= most)
