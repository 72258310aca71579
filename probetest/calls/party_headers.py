"""What of an INVITE can name its parties: the headers as they were sent, taken out once.

They are the key under which a decision is remembered, so what changes with each call (tags, the
Contact's port) is left out.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from harness.dialled import pieces
from harness.errors import InputError
from probetest.sip.message import SipMessage
from probetest.sip.seen import Seen

ASSERTED, REMOTE, PREFERRED = "P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity"
CALLED_PARTY, DIVERSION, HISTORY = "P-Called-Party-ID", "Diversion", "History-Info"
FROM, TO, REQUEST_URI, PRIVACY, CONTACT = "From", "To", "Request-URI", "Privacy", "Contact"

_SIDES = {FROM: "from", TO: "to"}
_SIDES |= dict.fromkeys((ASSERTED, REMOTE, PREFERRED, PRIVACY), "caller")
_SIDES |= dict.fromkeys((CALLED_PARTY, DIVERSION, HISTORY), "called")
_CREDENTIALS = ("Authorization", "Proxy-Authorization")
_USERNAME = re.compile(r'(?:\A|[\s,])username[ \t]*=[ \t]*"((?>(?:[^"\\]|\\.)*))"', re.IGNORECASE)
_NAMES = {name.lower().encode(): name for name in _SIDES} | {b"f": FROM, b"t": TO}
_INVITE = re.compile(rb"INVITE ([^ \r\n]+) SIP/2\.0\r\n")
_NAMING = re.compile(  # a header that names somebody, or a line that goes on
    rb"\r\n(?:(" + b"|".join(map(re.escape, _NAMES)) + rb")[ \t]*+:([^\r\n]*+)|[ \t])",
    re.IGNORECASE,
)

Lines = tuple[tuple[str, str], ...]  # name and value of each, in the order sent


class Asked(NamedTuple):
    """The headers of one INVITE that name somebody, as sent."""

    request_uri: str
    sender: str  # From, without tag
    to: str  # without tag
    caller_lines: Lines
    called_lines: Lines


def asked(invite: SipMessage) -> Asked:
    """Return what *invite* says of its parties.

    Raises:
        InputError: a response: the identity asserted there is that of who was reached.
    """
    if invite.method is None:
        raise InputError("a response names no caller", field="SIP message", value=invite.status)
    sender = to = ""
    callers, called = [], []
    for line in invite.headers:
        match _SIDES.get(line[0]):
            case None:
                pass
            case "from":
                sender = _untagged(line[1])
            case "to":
                to = _untagged(line[1])
            case "caller":
                callers.append(line)
                if line[0] == PRIVACY and "history" in line[1].lower():  # RFC 7044
                    called.append(line)
            case _:
                called.append(line)
    return Asked(invite.request_uri, sender, to, tuple(callers), tuple(called))


def asked_in(seen: Seen) -> Asked | None:
    """Return what an INVITE says of its parties as `asked` would, or None when it does not read.

    Raises:
        InputError: a response.
    """
    if found := None if seen.defects else _asked_plainly(seen.data):
        return found
    message = seen.message
    return None if message is None else asked(message)


def _asked_plainly(data: bytes) -> Asked | None:
    """Return what an INVITE without defects says, or None when it is to be read whole."""
    first = _INVITE.match(data)
    end = data.find(b"\r\n\r\n")
    if first is None or end < 0 or data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
        return None
    sender = to = ""
    callers, called = [], []
    for found in _NAMING.finditer(data, first.end() - 2, end + 2):
        if found[1] is None:  # a folded line, which may belong to one of them
            return None
        name, value = _NAMES[found[1].lower()], found[2].decode().strip(" \t")
        if name == FROM:
            sender = _untagged(value)
        elif name == TO:
            to = _untagged(value)
        elif _SIDES[name] == "called":
            called.append((name, value))
        else:
            callers.append((name, value))
            if name == PRIVACY and "history" in value.lower():
                called.append((name, value))
    return Asked(first[1].decode(), sender, to, tuple(callers), tuple(called))


def values(lines: Lines, name: str) -> tuple[str, ...]:
    """Return every value of header *name* in the order sent, lists with commas taken apart."""
    given = [value for key, value in lines if key == name]
    if not given:  # as of most calls
        return ()
    return tuple(one for value in given for one in _listed(value) if one)


def hints(invite: SipMessage) -> Iterator[tuple[str, str]]:
    """Yield header and user of what may hint at the caller: the Contact, a credential's name."""
    contact = invite.first(CONTACT)
    if contact:
        yield CONTACT, contact
    for header in _CREDENTIALS:
        for value in invite.all(header):
            if found := _USERNAME.search(value):
                yield f"{header} username", found[1]


def _untagged(value: str) -> str:
    """Return a From or To without what follows its address."""
    if '"' in value:  # a display name can hold any sign
        end = value.rfind(">")
        return value[: end + 1] if end >= 0 else value
    if "<" in value:
        return value[: value.find(">") + 1] or value
    return value.partition(";")[0]


def _listed(value: str) -> list[str]:
    return pieces(value, ",") if "," in value else [value.strip()]
