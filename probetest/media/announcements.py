"""Where SDP said that RTP would arrive, and what it would carry: looked up by place and time.

Law: the announcement that counts is the last one before the packets, since ports are used again.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.packets.frame import Endpoint
from probetest.sip.sdp import Media

SLACK_NS = 2_000_000_000  # RTP can be seen before the SDP that announces it: another queue or path


@dataclass(frozen=True, slots=True)
class Announcement:
    """One stream that a SIP message announced."""

    at_ns: int
    call_id: str
    media: Media


@dataclass(slots=True)
class Announcements:
    """All of a capture; they are added in order of time."""

    by_place: dict[Endpoint, list[Announcement]] = field(default_factory=dict)
    rtcp_places: set[Endpoint] = field(default_factory=set)

    def add(self, announcement: Announcement) -> None:
        """Note one more."""
        self.by_place.setdefault(announcement.media.place, []).append(announcement)
        self.rtcp_places.add(announcement.media.rtcp)

    def find(self, place: Endpoint, at_ns: int) -> Announcement | None:
        """Return what was announced for *place* when a stream began there, or None."""
        known = self.by_place.get(place, [])
        after = bisect_right(known, at_ns, key=lambda one: one.at_ns)
        if after:
            return known[after - 1]
        return next((one for one in known[:1] if one.at_ns <= at_ns + SLACK_NS), None)

    def ports(self) -> Iterator[int]:
        """Yield the port of each place."""
        return (place.port for place in self.by_place)
