"""By what legs of one call are known: headers that a B2BUA passes on, and the origin of SDP.

    Session-ID          RFC 7989: either half, but for the nil value; the one value of RFC 7329
    P-Charging-Vector   RFC 7315: icid-value
    X-CID               names the Call-ID of the other leg; more such headers can be given
    Call-ID             ends in "_b2b-" and a number: the rest is the other leg's
    SDP o=              all of the line: only where the times and the ways fit (`Origins`)

Law: number and time alone never join two calls.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

X_CID = ("X-CID",)  # headers that name the Call-ID of the other leg, unless others are given
NIL_SESSION = "0" * 32  # RFC 7989 section 5: "not known"

Key = tuple[str, str]  # how, and the value that legs share
OTHER_CALL_ID, SDP_ORIGIN = "X-CID", "SDP origin"

_SESSION = re.compile(r"[0-9a-f]{32}\Z")
_REMOTE = re.compile(r"remote[ \t]*=[ \t]*([0-9a-f]{32})\Z")
_ICID = re.compile(
    r'(?:\A|[;,])[ \t]*icid-value[ \t]*=[ \t]*(?:"([^"]+)"|([^";,\s]+))', re.IGNORECASE
)
_B2B = re.compile(r"(.+)_b2b-[0-9]{1,6}\Z", re.DOTALL)
_ORIGIN = re.compile(rb"\S+ [0-9]{1,40} [0-9]+ IN IP[46] \S+\Z")
_CONSTANT = re.compile(rb"\S+ [0-9]{1,2} ")  # o=- 0 0, o=- 1 1: hardly made for one session


@dataclass(frozen=True, slots=True)
class Joining:
    """What to look for in the INVITEs of a capture."""

    headers: tuple[str, ...] = X_CID
    by_origin: bool = True

    def keys(self, call_id: str, data: bytes) -> tuple[Key, ...]:
        """Return what the legs of the call share that is opened by the INVITE *data*."""
        low = data.lower()
        end = _head_end(low)
        found: list[Key] = []
        for value in header_values(data, low, end, b"session-id"):
            found += [("Session-ID", uuid) for uuid in _sessions(value)]
        for value in header_values(data, low, end, b"p-charging-vector"):
            if icid := _ICID.search(value):
                found.append(("icid-value", icid[1] or icid[2]))
        for name in self.headers:
            for value in header_values(data, low, end, name.lower().encode()):
                found.append((OTHER_CALL_ID, value.strip()))
        if "_b2b-" in call_id and (other := _B2B.match(call_id)):
            found.append((OTHER_CALL_ID, other[1]))
        return tuple(found)

    def origin(self, data: bytes) -> bytes:
        """Return the o= line of the SDP in *data*, b"" without."""
        at = data.find(b"\no=") if self.by_origin else -1
        if at < 0:
            return b""
        line = data[at + 3 : data.find(b"\n", at + 1) % (len(data) + 1)].rstrip(b"\r")
        return line if _ORIGIN.match(line) else b""


def is_constant(origin: bytes) -> bool:
    """Say whether the session id of an o= line may well be the same in every call of a device."""
    return _CONSTANT.match(origin) is not None


def header_values(data: bytes, low: bytes, end: int, name: bytes) -> Iterator[str]:
    """Yield the values of header *name*, unfolded; *low* is *data* in lower case."""
    at = low.find(b"\n" + name, 0, end)
    while at >= 0:
        start = at + 1 + len(name)
        colon = data.find(b":", start, start + 8)
        if colon >= 0 and not data[start:colon].strip(b" \t"):
            stop = data.find(b"\n", colon)
            while 0 <= stop < end and data[stop + 1 : stop + 2] in (b" ", b"\t"):
                stop = data.find(b"\n", stop + 1)
            value = data[colon + 1 : stop if stop >= 0 else len(data)]
            yield b" ".join(value.split()).decode("utf-8", "surrogateescape")
        at = low.find(b"\n" + name, start, end)


def via_count(data: bytes) -> int:
    """Return how many header lines of *data* are Via: one more at each hop."""
    low = data.lower()
    end = _head_end(low)
    short = low.count(b"\nv:", 0, end) + low.count(b"\nv ", 0, end)
    return low.count(b"\nvia", 0, end) + short


def replaces(data: bytes) -> str:
    """Return the value of Replaces (RFC 3891), "" without: the INVITE takes over a call."""
    low = data.lower()
    return next(header_values(data, low, _head_end(low), b"replaces"), "")


def _head_end(low: bytes) -> int:
    """Return where the headers end."""
    end = low.find(b"\r\n\r\n")
    if end < 0:
        end = low.find(b"\n\n")
    return end + 1 if end >= 0 else len(low)


def _sessions(value: str) -> Sequence[str]:
    """Return the identifiers in a Session-ID, without the nil one."""
    local, *parameters = (part.strip() for part in value.lower().split(";"))
    every = [local] if _SESSION.match(local) else []
    every += [found[1] for one in parameters if (found := _REMOTE.match(one))]
    return [one for one in every if one != NIL_SESSION]
