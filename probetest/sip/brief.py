"""What a counter of calls needs of a SIP message, at a fraction of the cost of reading it all.

Law: `brief` says of any bytes what `probetest.sip.message.observe` says of them. A message written
as nearly all are is read by one regular expression, which knows every line of it; at the first
thing that is unusual (a folded line, a header twice, quotes where a tag is, a byte that is not
ASCII, a length that is not that of the body) it asks `observe`.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from probetest.sip.defects import Complaint, Defect, Severity
from probetest.sip.message import MAX_MESSAGE_BYTES, SipMessage, observe
from probetest.sip.start_line import METHODS

_REPEATED = 4096  # values that messages of one call share, kept for the next of them
_PLAIN_BYTES = 4096  # of a head; what is kept of longer ones would be much
_METHODS = {method.encode(): method for method in METHODS}


def _header(*names: str) -> str:
    """Return a pattern for the name of a header; groups of letters let the others fail at once."""
    spelled = ("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in names)
    return rf"(?:{'|'.join(spelled)})[ \t]*+:[ \t]*+"


_LINE = (
    r"[^\r]*+"  # may hold LF: the count of them tells; to look for one byte is five times faster
)
_OTHER = (  # the name of a header that does not matter; the first letter mostly tells
    r"(?![CFILTVcfiltv](?:(?i:rom|o|ia|all-id|seq|ontent-length)?[ \t]*+:))"
    r"[A-Za-z0-9\-.!%*_+`'~]++"
)
_HEAD = re.compile(  # "(?(4)a|(b))": once group 4 is set a has to follow, and "(?!)" never does
    (
        r"(?:([A-Z]{3,16}) [A-Za-z][A-Za-z0-9+.\-]*+:[^\s<>\"\x00-\x1f\x7f]++ SIP/2\.0"
        rf"|(SIP/2\.0) ([1-6][0-9]{{2}})(?: {_LINE})?)"
        r"(?>(?:\r\n(?:"
        rf"{_header('via', 'v')}(?(4){_LINE}|({_LINE}))"
        rf"|{_header('from', 'f')}(?(5)(?!)|({_LINE}))"
        rf"|{_header('to', 't')}(?(6)(?!)|({_LINE}))"
        rf"|{_header('call-id', 'i')}(?(7)(?!)|([^ \t\r\n]++)(?=\r))"
        rf"|{_header('cseq')}(?(8)(?!)|([0-9]{{1,9}})[ \t]++([A-Z]{{3,16}})(?=\r))"
        rf"|{_header('content-length', 'l')}(?(10)(?!)|([0-9]{{1,9}})(?=\r))"
        rf"|{_OTHER}[ \t]*+:{_LINE}"
        r")){4,200})\r\n\r\n"
    ).encode()
)
_SPECIAL = re.compile(
    rb"\r\n(?:via|v|from|f|to|t|call-id|i|cseq|content-length|l)[ \t]*+:", re.IGNORECASE
)
_BRANCH = re.compile(rb"[^;,\"<]++;(?:rport;)?branch=([!#-+\--:=-~]++)(?:;[^,\"<]*+)?\Z")
_ADDRESS = re.compile(
    rb"(?:\"[^\"\\]*\"[ \t]*|[^<>\"]*)<[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+>[ \t]*"
    rb"((?:;[^<>\"]*)?)\Z"
)


class Brief(NamedTuple):  # a tuple is made in a third of the time of a frozen dataclass
    """A message, as far as it says to which call and transaction it belongs."""

    method: str  # of a response that of its request
    status: int  # 0: a request
    call_id: str
    from_tag: str
    to_tag: str
    number: int  # of CSeq
    branch: str  # of the topmost Via
    body: bytes

    @property
    def is_request(self) -> bool:
        """Say whether it is a request."""
        return not self.status


class Gist(NamedTuple):
    """A message in brief, or why there is none, and all that is wrong with it."""

    brief: Brief | None
    why: str  # "": it reads
    defects: tuple[Defect, ...]


def gist(data: bytes, *, whole: bool = True) -> Gist:
    """Return what *data* holds, a datagram or a message cut out of a stream (see `observe`)."""
    found = plain(data) if whole and len(data) <= MAX_MESSAGE_BYTES else None
    if found is not None:
        return Gist(found, "", ())
    observed = observe(data, whole=whole)
    if observed.message is None:
        return Gist(None, _worst(observed.complaints), observed.defects)
    return Gist(in_brief(observed.message), "", observed.defects)


def in_brief(message: SipMessage) -> Brief:
    """Return the gist of a message that was read whole."""
    number, method = message.cseq
    return Brief(
        method=message.method or method,
        status=message.status or 0,
        call_id=message.call_id,
        from_tag=message.from_tag,
        to_tag=message.to_tag,
        number=number,
        branch=message.top_via_branch,
        body=message.body,
    )


def plain(data: bytes) -> Brief | None:
    """Return the gist of a message written as nearly all are, without any defect; else None."""
    found = _HEAD.match(data)
    if found is None:
        return None
    method, _, status, via, caller, called, call_id, number, of, length = found.groups()
    start = found.end()
    if (
        (call_id is None or number is None or via is None or start > _PLAIN_BYTES)
        or (status is None and method != of)
        or (length is not None and int(length) != len(data) - start)
        or data.count(b"\n", 0, start) != data.count(b"\r", 0, start)
        or not (data.isascii() or data[:start].isascii())
    ):
        return None
    from_tag, to_tag, branch = _tag(caller), _tag(called), _branch(via)
    if from_tag is None or to_tag is None or branch is None:
        return None
    name = _METHODS.get(of) or of.decode()
    code = 0 if status is None else int(status)
    fields = (name, code, call_id.decode(), from_tag, to_tag, int(number), branch, data[start:])
    return tuple.__new__(Brief, fields)  # what `Brief(...)` comes to, in a third of its time


def _worst(complaints: tuple[Complaint, ...]) -> str:
    """Return why there is no message."""
    return next(one.why for one in complaints if one.severity is Severity.FATAL)


@lru_cache(_REPEATED)
def _tag(value: bytes | None) -> str | None:
    """Return the tag of a From or To value, or None when the value is not plain."""
    found = None if value is None else _ADDRESS.match(value)
    if found is None:
        return None
    after = found[1].decode()
    if not after:
        return ""
    if after.startswith(";tag=") and ";" not in after[5:]:  # as nearly all are
        return after[5:].strip()
    return _parameter(after, "tag")


@lru_cache(_REPEATED)
def _branch(via: bytes) -> str | None:
    """Return the branch of the first hop, or None when the value is not plain."""
    if found := _BRANCH.match(via):
        return found[1].decode()
    hop = via.partition(b",")[0].decode().strip()
    return None if not hop or b'"' in via or b"<" in via else _parameter(hop, "branch")


def _parameter(text: str, name: str) -> str:
    """Return the value of the first parameter *name* after the first ";", "" without."""
    for part in text.split(";")[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip()
    return ""
