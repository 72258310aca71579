"""Every SIP message of a capture, over UDP and TCP, on any port, in order of time.

Laws: a message is yielded once for each time it was seen, marked when it is the tap's copy; what
begins as SIP and does not read is yielded too, with the reason; keep-alives (RFC 5626 section
3.5.1) are no messages. Over TCP a message is seen when its last byte is. What is encrypted or
compressed is counted as opaque. What is kept from block to block is the unfinished message of each
TCP stream, within a limit.

Sources: RFC 3261 sections 7.5 and 18.3 (Content-Length frames a stream), RFC 5626.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import merge
from typing import NamedTuple

import numpy as np

from harness.packets.capture import Ints
from harness.packets.frame import Datagrams, Endpoint
from probetest.duplicates import Copies
from probetest.sip.brief import Brief, gist, plain
from probetest.sip.defects import Defect
from probetest.sip.message import SipMessage, observe
from probetest.sip.over_tcp import Conversations, Told
from probetest.sip.rows import udp_rows
from probetest.sip.start_line import looks_like_sip
from probetest.sip.stream import UNFINISHED, split

__all__ = ("Seen", "SipReader", "read_messages", "split")

PREFIX_BYTES = 256  # enough of a start line to know it
_ROWS = 4096  # whose columns are made into Python's numbers at a time
_PAIRS = 65_536  # of endpoints, kept for the next messages between them
_KEY_BYTES = 16 + 16 + 2 + 2 + 1
_NO_DEFECTS: tuple[Defect, ...] = ()
_seen = tuple.__new__  # what `Seen(...)` comes to, in a third of its time


class Seen(NamedTuple):  # a tuple is made in a third of the time of a frozen dataclass
    """One message, or what began as one, where and when it was seen."""

    at_ns: int
    frame: int  # that brought it; over TCP the one that completed it
    interface: int
    source: Endpoint
    destination: Endpoint
    tcp: bool
    copy: bool  # the tap has shown it already
    data: bytes
    gist: Brief | None  # None: it does not read
    why: str = ""  # it does not
    defects: tuple[Defect, ...] = ()  # what is wrong with it, whether it reads or not
    ttl: int = 0  # or hop limit; 0 over TCP, as the next
    link: int = 0  # equal where the addresses and tags of the link are (`Datagrams.link`)
    row: int = -1  # of the block's datagrams; -1 over TCP

    @property
    def message(self) -> SipMessage | None:
        """Return all of it, read anew; None when it cannot be read."""
        whole = Defect.INCOMPLETE not in self.defects
        return None if self.gist is None else observe(self.data, whole=whole).message


class SipReader:
    """What is known of the SIP in a capture while its blocks are read."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.opaque: Counter[str] = Counter()  # datagrams and TCP streams that cannot be read
        self._conversations = Conversations(self.opaque)
        self._pairs: dict[bytes, tuple[Endpoint, Endpoint]] = {}

    def read(self, datagrams: Datagrams, copies: Copies) -> Iterator[Seen]:
        """Yield the messages in the fresh rows of a block, by time."""
        over_udp = self._over_udp(datagrams, copies, udp_rows(datagrams, self.opaque))
        over_tcp = sorted(map(_in_stream, self._conversations.read(datagrams)), key=_moment)
        return merge(over_udp, over_tcp, key=_moment) if over_tcp else over_udp

    def close(self) -> Iterator[Seen]:
        """Yield what TCP streams hold that will not be completed."""
        return iter(sorted(map(_in_stream, self._conversations.close()), key=_moment))

    def _over_udp(self, datagrams: Datagrams, copies: Copies, rows: Ints) -> Iterator[Seen]:
        """Yield the messages in datagrams."""
        payloads = datagrams.data.data
        is_copy = copies.is_copy
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            starts = datagrams.payload_offset[some]
            columns = (
                *(some, datagrams.at_ns[some], datagrams.frame[some], datagrams.interface[some]),
                *(starts, starts + datagrams.payload_bytes[some], datagrams.complete[some]),
                *(is_copy[some], datagrams.ttl[some], datagrams.link[some]),
            )
            numbers = zip(*(column.tolist() for column in columns), strict=True)
            for ends, (row, at_ns, frame, interface, start, stop, whole, copy, ttl, link) in zip(
                self._ends(datagrams, some), numbers, strict=True
            ):
                data = bytes(payloads[start:stop])
                brief = plain(data) if whole else None
                why, defects = "", _NO_DEFECTS
                if brief is None:
                    if not looks_like_sip(data[:PREFIX_BYTES]):
                        continue
                    brief, why, defects = gist(data, whole=whole)
                fields = (at_ns, frame, interface, *ends, False, copy, data, brief, why, defects)
                yield _seen(Seen, (*fields, ttl, link, row))

    def _ends(self, datagrams: Datagrams, rows: Ints) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Yield source and destination of each row; a capture has few pairs of them."""
        known = self._pairs
        if len(known) > _PAIRS:
            known.clear()
        keys = _keys(datagrams, rows)
        for start in range(0, len(keys), _KEY_BYTES):
            key = keys[start : start + _KEY_BYTES]
            pair = known.get(key)
            if pair is None:
                row = rows[start // _KEY_BYTES]
                pair = known[key] = (datagrams.source(row), datagrams.destination(row))
            yield pair


def _keys(datagrams: Datagrams, rows: Ints) -> bytes:
    """Return what tells source and destination of each row, all one after the other."""
    columns = (
        datagrams.source_address[rows],
        datagrams.destination_address[rows],
        datagrams.source_port[rows].astype(">u2")[:, None].view(np.uint8),
        datagrams.destination_port[rows].astype(">u2")[:, None].view(np.uint8),
        datagrams.ipv4[rows].astype(np.uint8)[:, None],
    )
    return np.hstack(columns).tobytes()


def _in_stream(told: Told) -> Seen:
    """Return one message of a stream."""
    found = gist(told.data, whole=not told.complaint)
    why, defects = found.why, found.defects
    if told.complaint:
        what = Defect.UNFINISHED if told.complaint.startswith(UNFINISHED) else Defect.JUNK
        why, defects = told.complaint, (what, *defects)
    readable = found.brief if not told.complaint or what is Defect.UNFINISHED else None
    return Seen(
        at_ns=told.at_ns,
        frame=told.frame,
        interface=told.interface,
        source=told.stream.source,
        destination=told.stream.destination,
        tcp=True,
        copy=False,
        data=told.data,
        gist=readable,
        why="" if readable else why,
        defects=defects,
    )


def read_messages(datagrams: Datagrams, copies: Copies) -> Iterator[Seen]:
    """Yield the messages of a capture that is there as a whole, by time."""
    reader = SipReader()
    found = list(reader.read(datagrams, copies))
    return iter(sorted((*found, *reader.close()), key=_moment))


def _moment(seen: Seen) -> tuple[int, int]:
    return (seen.at_ns, seen.frame)
