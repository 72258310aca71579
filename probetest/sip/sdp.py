"""What SDP announces: where RTP will arrive, and which codec and clock each payload type has.

Laws: the bytes are hostile: `parse` gives the streams it can read and never raises; what is not
certain (a host name, a declined stream, a port that is no number) is left out, not guessed.

Sources: RFC 8866 (SDP), RFC 3551 section 6 (static payload types), RFC 3605 (rtcp port).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from harness.packets.frame import Endpoint

DEFAULT_CLOCK_HZ = 8000  # of telephony, where nothing says another
EVENT = "telephone-event"
MAX_LINES = 1000

_STATIC = {  # RFC 3551 section 6, tables 4 and 5
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    5: ("DVI4", 8000),
    6: ("DVI4", 16_000),
    7: ("LPC", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),  # it samples at 16 kHz; its RTP clock is 8000 all the same
    10: ("L16", 44_100),
    11: ("L16", 44_100),
    12: ("QCELP", 8000),
    13: ("CN", 8000),
    14: ("MPA", 90_000),
    15: ("G728", 8000),
    16: ("DVI4", 11_025),
    17: ("DVI4", 22_050),
    18: ("G729", 8000),
    19: ("CN", 8000),  # reserved; old comfort noise
    25: ("CelB", 90_000),
    26: ("JPEG", 90_000),
    28: ("nv", 90_000),
    31: ("H261", 90_000),
    32: ("MPV", 90_000),
    33: ("MP2T", 90_000),
    34: ("H263", 90_000),
}
_CONNECTION = re.compile(r"c=IN IP[46] ([^ /]+)")  # after it a multicast address has its reach
_MEDIA = re.compile(
    r"(audio|video|image|text) ([0-9]{1,5})(?:/[0-9]+)? ([A-Za-z0-9/]+)((?: \S+)*)\Z"
)
_RTPMAP = re.compile(r"rtpmap:([0-9]{1,3}) ([A-Za-z0-9._+\-]+)/([0-9]{1,9})")
_RTCP = re.compile(r"rtcp:([0-9]{1,5})(?: IN IP[46] (\S+))?")
_PART = re.compile(rb"(?:\A|[\r\n])v=0\r?\n")
_MAX_PORT, _MAX_TYPE = 65_535, 127


@dataclass(frozen=True, slots=True)
class Codec:
    """What one payload type means."""

    name: str
    clock_hz: int
    rule: str  # how it is known


@dataclass(frozen=True, slots=True)
class Media:
    """One RTP stream that somebody is ready to receive."""

    kind: str
    place: Endpoint
    rtcp: Endpoint
    codecs: Mapping[int, Codec]


@lru_cache(256)
def codec(payload_type: int) -> Codec:
    """Return what *payload_type* means where nobody announced it.

    >>> codec(8).name, codec(9).clock_hz, codec(101).rule
    ('PCMA', 8000, 'assumed')
    """
    name, clock_hz = _STATIC.get(payload_type, ("", 0))
    if name:
        return Codec(name, clock_hz, "RFC 3551")
    return Codec(f"type {payload_type}", DEFAULT_CLOCK_HZ, "assumed")


def parse(body: bytes) -> tuple[Media, ...]:
    """Return the RTP streams announced in *body*: SDP, or a multipart body with SDP in it."""
    found = _PART.search(body)
    if found is None:
        return ()
    lines = body[found.end() :].decode("utf-8", "replace").splitlines()[:MAX_LINES]
    session, *sections = _sections(lines)
    whole = _address(session)
    media = (_media(section, whole) for section in sections)
    return tuple(one for one in media if one is not None)


def _sections(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of the session, then those of each m= section."""
    section: list[str] = []
    for line in lines:
        if line[1:2] != "=":  # the end of a multipart body's part
            break
        if line.startswith("m="):
            yield section
            section = []
        section.append(line)
    yield section


def _address(lines: Sequence[str]) -> str | None:
    """Return the address of the section's c= line."""
    for line in lines:
        if found := _CONNECTION.match(line):
            return _shortest(found[1])
    return None


@lru_cache(4096)  # a call's SDP repeats those of the last
def _shortest(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _media(lines: list[str], session_address: str | None) -> Media | None:
    """Return what one m= section announces, if that is RTP to a known place."""
    found = _MEDIA.match(lines[0][2:])
    if found is None or "RTP" not in found[3]:
        return None
    more = _attributes(found[4], tuple(lines[1:]))
    address, port = more.address or session_address, int(found[2])
    if address is None or "%" in address or not 0 < port <= _MAX_PORT:
        return None
    rtcp_port = port if more.is_mux else more.rtcp_port or min(port + 1, _MAX_PORT)
    rtcp = Endpoint(more.rtcp_address or address, rtcp_port)
    return Media(found[1], Endpoint(address, port), rtcp, more.codecs)


@dataclass(frozen=True, slots=True)
class _Attributes:
    """What the lines of a section say, beside its port."""

    codecs: Mapping[int, Codec]
    address: str | None
    is_mux: bool
    rtcp_port: int  # 0: the one after
    rtcp_address: str | None


@lru_cache(1024)  # all calls of a phone have the same but for the port
def _attributes(types: str, lines: tuple[str, ...]) -> _Attributes:
    """Return what a section's lines say of the payload *types* of its m= line."""
    given = {int(text): codec(int(text)) for text in types.split() if _is_type(text)}
    rtcp_port, rtcp_address = 0, None
    for line in lines:
        if (at := _RTCP.match(line[2:])) and int(at[1]) <= _MAX_PORT:
            rtcp_port, rtcp_address = int(at[1]), _shortest(at[2] or "")
        elif (named := _RTPMAP.match(line[2:])) and int(named[1]) in given and int(named[3]):
            given[int(named[1])] = Codec(named[2], int(named[3]), "SDP")
    is_mux = "a=rtcp-mux" in lines
    codecs = MappingProxyType(given)
    return _Attributes(codecs, _address(lines), is_mux, rtcp_port, rtcp_address)


def _is_type(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 3 and int(text) <= _MAX_TYPE  # noqa: PLR2004 - digits of 127
