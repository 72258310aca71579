"""Where SDP said that RTP would arrive, and what it would carry: looked up by place and time.

Law: the announcement that counts is the last one before the packets, since ports are used again;
one a little later counts where there is none before, for RTP can overtake its SDP.
"""

import ipaddress
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from harness.packets.capture import Ints
from harness.packets.frame import Endpoint
from probetest.sip.sdp import Media

SLACK_NS = 2_000_000_000  # RTP can be seen before the SDP that announces it: another queue or path
_V6 = 1 << 160  # keeps IPv6 places apart from those of IPv4


@dataclass(frozen=True, slots=True)
class Announcement:
    """One stream that a SIP message announced."""

    at_ns: int
    call_id: str
    media: Media


@dataclass(slots=True)
class Announcements:
    """All of a capture."""

    by_place: dict[int, list[Announcement]] = field(default_factory=dict)  # by `place_key`
    rtcp_places: set[int] = field(default_factory=set)
    _ports: set[int] = field(default_factory=set)

    def add(self, announcement: Announcement) -> None:
        """Note one more; what only repeats the one before is left out."""
        media = announcement.media
        known = self.by_place.setdefault(key_of(media.place), [])
        last = known[-1] if known else None
        if last is not None and (last.call_id, last.media) == (announcement.call_id, media):
            return
        insort(known, announcement, key=_moment)  # nearly always at the end
        self.rtcp_places.add(key_of(media.rtcp))
        self._ports.add(media.place.port)

    def at(self, key: int, at_ns: int) -> Announcement | None:
        """Return what was announced for a place when a stream began there, or None."""
        known = self.by_place.get(key)
        if known is None:
            return None
        after = bisect_right(known, at_ns, key=_moment)
        if after:
            return known[after - 1]
        return known[0] if known[0].at_ns <= at_ns + SLACK_NS else None

    def between(self, key: int, from_ns: int, to_ns: int) -> Announcement | None:
        """Return the first that was made for a place while a stream went there."""
        known = self.by_place.get(key, [])
        after = bisect_right(known, from_ns, key=_moment)
        return known[after] if after < len(known) and known[after].at_ns <= to_ns else None

    def port_table(self) -> Ints:
        """Return 65536 numbers: 1 where a place has that port."""
        table = np.zeros(65_536, np.int64)
        table[list(self._ports)] = 1
        return table


def place_key(address: bytes, port: int) -> int:
    """Return a number that stands for an address of 4 or 16 bytes and a port."""
    number = int.from_bytes(address) << 16 | port
    return number if len(address) == 4 else number | _V6  # noqa: PLR2004 - bytes of IPv4


def key_of(place: Endpoint) -> int:
    """Return the number of a place."""
    return _address_key(place.address) | place.port


@lru_cache(maxsize=65_536)  # each call has ports of its own, but of few addresses
def _address_key(address: str) -> int:
    return place_key(ipaddress.ip_address(address).packed, 0)


def _moment(one: Announcement) -> int:
    return one.at_ns
