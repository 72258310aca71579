"""What SDP announces: where media will arrive, what it is, and whose session it belongs to.

Laws: the bytes are hostile: `describe` gives what it can read and never raises; what is not certain
(a host name, a declined stream, a port that is no number) is left out, not guessed, and the reason
is told. Lines may end in CRLF, LF or CR.

Sources: RFC 8866 (SDP), RFC 3264 section 5.1 (direction), RFC 3605 (rtcp port), RFC 5761 (mux),
RFC 8839 (ICE candidates), RFC 9143 (BUNDLE), RFC 4568 and 5764 (SRTP), RFC 3362 (T.38), RFC 5621
(SDP in a multipart body).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from harness.packets.frame import Endpoint
from probetest.sip.codecs import DEFAULT_CLOCK_HZ, EVENT, MAX_TYPE, Codec, codec

__all__ = (  # payload types are part of what SDP says
    "DEFAULT_CLOCK_HZ",
    "EVENT",
    "Codec",
    "Description",
    "Direction",
    "Media",
    "Origin",
    "codec",
    "describe",
    "parse",
)

_MAX_PORT = 65_535
_MAX_CACHED_CHARS = 2048  # longer lines are read each time, so that hostile ones fill no memory
_DISCARD = 9  # RFC 8840 section 4.1.1: the port before a candidate is known

_PART = re.compile(rb"(?:\A|[\r\n])v=0[ \t]*[\r\n]")
_CONNECTION = re.compile(
    r"c=IN[ \t]+IP[46][ \t]+([^\s/]{1,255})(?![^\s/])"
)  # after it a multicast group's reach
_ORIGIN = re.compile(r"\no=(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+IN[ \t]+IP[46][ \t]+(\S+)")
_PORT = re.compile(r"([0-9]{1,5})(?:/[0-9]{1,5})?\Z")
_RTPMAP = re.compile(r"rtpmap:[ \t]*([0-9]{1,3})[ \t]+([A-Za-z0-9._+\-]+)[ \t]*/[ \t]*([0-9]{1,9})")
_FMTP = re.compile(r"fmtp:[ \t]*([0-9]{1,3})[ \t]+(.*)")
_RTCP = re.compile(r"rtcp:[ \t]*([0-9]{1,5})(?:[ \t]+IN[ \t]+IP[46][ \t]+(\S{1,255}))?")
_PTIME = re.compile(r"ptime:[ \t]*([0-9]{1,4})[ \t]*\Z")
_CANDIDATE = re.compile(  # foundation, component 1 (RTP), UDP, priority, address, port
    r"candidate:\S+[ \t]+1[ \t]+[Uu][Dd][Pp][ \t]+[0-9]+[ \t]+"
    r"(\S{1,255})[ \t]+([0-9]{1,5})[ \t]+typ\b"
)
_BUNDLE = re.compile(r"group:BUNDLE((?:[ \t]+\S+)+)")


class Direction(StrEnum):
    """Who sends, as the one who wrote the SDP sees it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose session it is: the same in every SDP of one session, but for the version."""

    user: str
    session: str
    version: str
    address: str  # or host name

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what stays the same while the session is changed, also through a B2BUA."""
        return self.user, self.session, self.address


@dataclass(frozen=True, slots=True)
class Media:
    """One stream that somebody is ready to receive."""

    kind: str
    place: Endpoint
    rtcp: Endpoint
    codecs: Mapping[int, Codec]
    protocol: str = "RTP/AVP"  # or another profile of RTP, or udptl
    direction: Direction = Direction.SENDRECV
    is_encrypted: bool = False  # SRTP: its headers are clear, its payload is not
    packet_ms: int = 0  # a=ptime; 0: not said
    candidates: tuple[Endpoint, ...] = ()  # other places where it may arrive (ICE)

    @property
    def is_rtp(self) -> bool:
        """Say whether RTP will arrive."""
        return "RTP" in self.protocol

    @property
    def is_held(self) -> bool:
        """Say whether its receiver asked for silence."""
        return self.direction in (Direction.SENDONLY, Direction.INACTIVE)


@dataclass(frozen=True, slots=True)
class Description:
    """All that one SDP says."""

    origin: Origin | None
    media: tuple[Media, ...]
    left_out: tuple[str, ...]  # why, of each m= section of which the place is not known


def parse(body: bytes) -> tuple[Media, ...]:
    """Return the RTP streams announced in *body*: SDP, or a multipart body with SDP in it."""
    found = describe(body)
    return () if found is None else tuple(one for one in found.media if one.is_rtp)


def describe(body: bytes) -> Description | None:
    """Return what the SDP in *body* says, None without any."""
    found = _PART.search(body)
    if found is None:
        return None
    text = "\n" + body[found.end() :].decode("utf-8", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for end in ("\n--", "\nv="):  # the end of a multipart body's part, or another SDP
        text = text.partition(end)[0]
    session, *sections = text.split("\nm=")
    origin = _ORIGIN.search(session)
    whole, shared = _lines("", _without(origin, session))
    media, left_out, by_name = list[Media](), list[str](), dict[str, Endpoint]()
    for section in sections:
        one = _media(section, whole, shared, by_name)
        if isinstance(one, str):
            left_out.append(one)
        else:
            media.append(one)
    return Description(
        None if origin is None else Origin(origin[1], origin[2], origin[3], origin[4]),
        tuple(media),
        tuple(left_out),
    )


def _without(origin: re.Match[str] | None, session: str) -> str:
    """Return the lines of a session but for o=, which differs from call to call."""
    if origin is None:
        return session
    start, end = origin.start(), session.find("\n", origin.end())
    end = len(session) if end < 0 else end
    return session if "c=" in session[start:end] else session[:start] + session[end:]


def _lines(types: str, text: str) -> tuple["_Attributes", str | None]:
    """Return what the lines of *text* say of payload *types*, and the address of its c= line."""
    is_short = len(types) + len(text) <= _MAX_CACHED_CHARS
    return _known_lines(types, text) if is_short else _read(types, text)


def _read(types: str, text: str) -> tuple["_Attributes", str | None]:
    connection = _CONNECTION.search(text)
    return _attributes(types, _said(text)), None if connection is None else connection[1]


_known_lines = lru_cache(2048)(_read)  # most calls of a device differ in port and o= only


def _said(section: str) -> tuple[str, ...]:
    """Return the values of a section's a= lines."""
    return tuple(line[2:].rstrip(" \t") for line in section.split("\n") if line[:2] == "a=")


@dataclass(frozen=True, slots=True)
class _Attributes:
    """What the lines of a section, or of the session, say beside its port."""

    codecs: Mapping[int, Codec]
    direction: Direction | None
    is_mux: bool
    is_encrypted: bool
    rtcp_port: int  # 0: the one after
    rtcp_address: str | None
    packet_ms: int
    candidates: tuple[Endpoint, ...]
    name: str  # a=mid
    bundled: tuple[str, ...]  # of the session: names of sections that share the first one's place


@lru_cache(1024)  # all calls of a phone have the same but for address and port
def _attributes(types: str, values: tuple[str, ...]) -> _Attributes:
    """Return what the a= lines of a section say of the payload *types* of its m= line."""
    given = {int(text): codec(int(text)) for text in types.split() if _is_type(text)}
    for value in values:
        if (named := _RTPMAP.match(value)) and int(named[1]) in given and int(named[3]):
            given[int(named[1])] = Codec(named[2], int(named[3]), "SDP")
    for value in values:
        if (more := _FMTP.match(value)) and int(more[1]) in given:
            given[int(more[1])] = replace(given[int(more[1])], parameters=more[2].strip())
    rtcp = next((found for value in values if (found := _RTCP.match(value))), None)
    rtcp_port = 0 if rtcp is None or int(rtcp[1]) > _MAX_PORT else int(rtcp[1])
    bundles = (found for value in values if (found := _BUNDLE.match(value)))
    return _Attributes(
        codecs=MappingProxyType(given),
        direction=next((Direction(value) for value in values if value in _DIRECTIONS), None),
        is_mux="rtcp-mux" in values,
        is_encrypted=any(value.startswith(("crypto:", "fingerprint:")) for value in values),
        rtcp_port=rtcp_port,
        rtcp_address=_shortest(rtcp[2] or "") if rtcp and rtcp_port else None,
        packet_ms=next((int(one[1]) for value in values if (one := _PTIME.match(value))), 0),
        candidates=tuple(dict.fromkeys(_candidates(values))),
        name=next((value[4:].strip() for value in values if value.startswith("mid:")), ""),
        bundled=next((tuple(bundle[1].split()) for bundle in bundles), ()),
    )


_DIRECTIONS = frozenset(Direction)


def _candidates(values: Sequence[str]) -> Iterator[Endpoint]:
    """Yield the places of ICE where RTP may arrive; those with names (mDNS) are left out."""
    for value in values:
        if (found := _CANDIDATE.match(value)) and 0 < int(found[2]) <= _MAX_PORT:
            address = _shortest(found[1])
            if address is not None:
                yield Endpoint(address, int(found[2]))


def _media(
    section: str, whole: _Attributes, connection: str | None, by_name: dict[str, Endpoint]
) -> Media | str:
    """Return what one m= section announces, or why it is left out; its place goes in *by_name*."""
    first, _, rest = section.partition("\n")
    kind, port_text, protocol, *types = (*first.split(), "", "", "")
    found = _PORT.match(port_text)
    if found is None or not protocol:
        return "no port and protocol"
    port = int(found[1])
    if port > _MAX_PORT:
        return f"port {port}"
    more, own = _lines(" ".join(types), rest)
    if "c=" in first and (odd := _CONNECTION.search(first)):
        own = odd[1]
    connection = own or connection
    address = None if connection is None else _shortest(connection)
    shared = more.name in whole.bundled and by_name.get(whole.bundled[0])
    if not port and not shared:
        return "declined: port 0"
    if shared and (not port or port == _DISCARD):
        place: Endpoint | None = shared
    elif address is None or address in _NOWHERE or (port == _DISCARD and more.candidates):
        place = more.candidates[0] if more.candidates else None
    else:
        place = Endpoint(address, port)
    if place is None:
        return _why_nowhere(connection, address)
    if more.name:
        by_name[more.name] = place
    return Media(
        kind=kind,
        place=place,
        rtcp=_rtcp(place, more),
        codecs=more.codecs,
        protocol=protocol.lower() if protocol.lower() == "udptl" else protocol,
        direction=more.direction or whole.direction or Direction.SENDRECV,
        is_encrypted="SAVP" in protocol or more.is_encrypted or whole.is_encrypted,
        packet_ms=more.packet_ms,
        candidates=tuple(one for one in more.candidates if one != place),
    )


_NOWHERE = ("0.0.0.0", "::")  # noqa: S104 - RFC 3264 section 8.4: on hold, as RFC 2543 had it


def _rtcp(place: Endpoint, more: _Attributes) -> Endpoint:
    """Return where RTCP will arrive."""
    if more.is_mux:
        return place
    port = more.rtcp_port or min(place.port + 1, _MAX_PORT)
    return Endpoint(more.rtcp_address or place.address, port)


def _why_nowhere(connection: str | None, address: str | None) -> str:
    """Say why a section has no place."""
    if connection is None:
        return "no c= line"
    return f"no address: {connection:.60}" if address is None else f"on hold: {address}"


@lru_cache(4096)  # a call's SDP repeats those of the last
def _shortest(text: str) -> str | None:
    """Return an address in its shortest form, None of a name, or of one with a zone."""
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _is_type(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 3 and int(text) <= MAX_TYPE  # noqa: PLR2004 - digits of 127
