"""What a counter of calls needs of a SIP message, at a fraction of the cost of reading it all.

Law: whatever `probetest.sip.message.parse` reads, `brief` reads alike; where a message is written
in an unusual way (folded lines, a header twice, quotes where a tag is) it asks `parse`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from probetest.sip.message import SipMessage, parse

_HEAD_END = b"\r\n\r\n"
_REQUEST = re.compile(r"([A-Z]{3,16}) [A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+ SIP/2\.0\Z")
_STATUS = re.compile(r"SIP/2\.0 ([1-6][0-9]{2}) ")
_LONG = {"via": "v", "from": "f", "to": "t", "call-id": "i", "content-length": "l", "cseq": "cseq"}
_KEYS = _LONG | {short: short for short in "vftil"}  # RFC 3261 section 7.3.3
_REPEATED = 4096  # values that messages of one call share, kept for the next of them
_CSEQ = re.compile(r"([0-9]{1,9})[ \t]+([A-Z]{3,16})\Z")
_LENGTH = re.compile(r"[0-9]{1,9}\Z")
_ADDRESS = re.compile(
    r"(?:\"[^\"\\]*\"[ \t]*|[^<>\"]*)<[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+>[ \t]*"
    r"((?:;[^<>\"]*)?)\Z"
)


@dataclass(frozen=True, slots=True)
class Brief:
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


def brief(data: bytes) -> Brief:
    """Return the gist of the message in *data*, one datagram or a message cut out of a stream.

    Raises:
        WireError: what `parse` refuses, as far as it was looked at.
    """
    found = _plain(data)
    return _full(parse(data)) if found is None else found


def _full(message: SipMessage) -> Brief:
    """Return the gist of a message that was read whole."""
    number, method = message.cseq
    return Brief(
        method=method,
        status=message.status or 0,
        call_id=message.call_id,
        from_tag=message.from_tag,
        to_tag=message.to_tag,
        number=number,
        branch=message.top_via_branch,
        body=message.body,
    )


def _plain(data: bytes) -> Brief | None:
    """Return the gist of a message written as nearly all are, else None."""
    end = data.find(_HEAD_END)
    if end < 0 or not data[:end].isascii():
        return None
    head = data[:end].decode("ascii")
    first, *lines = head.split("\r\n")
    if head.count("\n") != len(lines) or head.count("\r") != len(lines):
        return None
    values: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = _key(name)
        if key is None or (key in values and key not in ("", "v")):
            return None
        values.setdefault(key, value.strip(" \t"))
    status, request = _STATUS.match(first), _REQUEST.match(first)
    return _checked(status, request, values, data, end + len(_HEAD_END))


_Match = re.Match[str] | None


def _checked(
    status: _Match, request: _Match, values: dict[str, str], data: bytes, start: int
) -> Brief | None:
    """Return the gist, when every part of it is written plainly."""
    from_tag, to_tag = _tag(values.get("f", "")), _tag(values.get("t", ""))
    order, branch = _order(values.get("cseq", "")), _branch(values.get("v", ""))
    call_id, length = values.get("i", ""), values.get("l", str(len(data) - start))
    if from_tag is None or to_tag is None or order is None or branch is None or not call_id:
        return None
    if not _LENGTH.match(length) or int(length) > len(data) - start:
        return None
    if (status is None) == (request is None) or (request is not None and request[1] != order[1]):
        return None
    return Brief(
        method=order[1],
        status=0 if status is None else int(status[1]),
        call_id=call_id,
        from_tag=from_tag,
        to_tag=to_tag,
        number=order[0],
        branch=branch,
        body=data[start : start + int(length)],
    )


@lru_cache(_REPEATED)
def _key(name: str) -> str | None:
    """Return the short key of a header name, "" of one that is not needed, None of none."""
    bare = name.rstrip(" \t")
    return _KEYS.get(bare.lower(), "") if bare and bare[0] not in " \t" else None


@lru_cache(_REPEATED)
def _tag(value: str) -> str | None:
    """Return the tag of a From or To value, or None when the value is not plain."""
    found = _ADDRESS.match(value)
    return None if found is None else _parameter(found[1], "tag")


@lru_cache(_REPEATED)
def _branch(via: str) -> str | None:
    """Return the branch of the first hop, or None when the value is not plain."""
    hop = via.partition(",")[0].strip()
    return None if not hop or '"' in via or "<" in via else _parameter(hop, "branch")


@lru_cache(_REPEATED)
def _order(cseq: str) -> tuple[int, str] | None:
    """Return number and method, or None when the value is not plain."""
    found = _CSEQ.match(cseq)
    return None if found is None else (int(found[1]), found[2])


def _parameter(text: str, name: str) -> str:
    """Return the value of the first parameter *name* after the first ";", "" without."""
    for part in text.split(";")[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip()
    return ""
