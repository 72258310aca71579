"""What else uses the ports that SDP announced: fax by T.38 above all, after it took over from RTP.

Law: a stream that leaves numbers out while something else has its ports has not lost them. Checks
of connectivity (STUN) are nothing else, they go on beside RTP.

Sources: T.38 (UDPTL begins with a number of 16 bits that counts up), RFC 8489 (STUN), RFC 7983.
"""

import numpy as np

from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import Datagrams
from probetest.media.announcements import Announcements
from probetest.media.rtp import Places

ENOUGH = 10  # packets: fewer can be anything
MAX_ENDS = 1 << 16  # pairs of places that are kept
_FIRST = 20  # of the first byte: RTP, DTLS and TURN have higher ones (RFC 7983)
_COOKIE = 0x2112_A442  # of STUN, its second word


class Others:
    """Packets that are not RTP, by the places that they go between."""

    def __init__(self, places: Places, since: dict[tuple[int, int], int]) -> None:
        """Begin with none; *since* is told from when on there were enough."""
        self._places, self._since = places, since
        self._count: dict[tuple[int, int], int] = {}

    def add(self, datagrams: Datagrams, rows: Ints, announced: Announcements) -> None:
        """Take in *rows* that are UDP and not RTP."""
        if not len(rows):
            return
        there = announced.port_table()
        to, origin = datagrams.destination_port[rows], datagrams.source_port[rows]
        rows = rows[(there[to] | there[origin]) > 0]
        at = datagrams.payload_offset[rows]
        fax = datagrams.data[at] < _FIRST
        fax &= at_every_byte(datagrams.data, ">u4")[at + 4] != _COOKIE
        rows = rows[fax]
        rows = rows[np.argsort(datagrams.at_ns[rows], kind="stable")]
        words = self._places.words(datagrams, rows).tolist()
        ports = datagrams.source_port[rows].astype(np.int64) << 16
        ports |= datagrams.destination_port[rows]
        moments = datagrams.at_ns[rows].tolist()
        for word, pair, at_ns in zip(words, ports.tolist(), moments, strict=True):
            key = word, pair
            count = self._count.get(key, 0) + 1
            if count > ENOUGH or (count == 1 and len(self._count) >= MAX_ENDS):
                continue
            self._count[key] = count
            if count == ENOUGH:
                self._since[key] = at_ns
