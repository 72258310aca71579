"""Packets of many streams put in order: those of a stream together and, in each, as they came.

Law: two packets are of one stream exactly when addresses, ports and SSRC are equal; the order of
the streams means nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints
from harness.packets.headers import Bools
from probetest.flows import Words
from probetest.media.rtp import Longs, Packets, Shorts
from probetest.media.sequence import Grouped
from probetest.media.stream_table import StreamTable, mix

_TYPE = 0x7F

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Packets in a row of one stream that have one payload type."""

    start: Ints
    stream: Ints
    type: Ints
    size: Ints  # packets
    first_bytes: Ints  # payload of the first packet
    at_ns: Ints


@dataclass(frozen=True, slots=True, eq=False)
class InOrder:
    """Packets in order of stream; `found` and `order` tell which they are."""

    found: Packets
    order: Ints
    grouped: Grouped
    at_ns: Ints
    sequence: Shorts
    timestamp: Longs
    second: Bytes
    size: Shorts

    @property
    def first(self) -> Ints:
        """Return the row in `found` of each stream's first packet."""
        return self.order[self.grouped.starts]

    @property
    def stream(self) -> Ints:
        """Return the stream of each packet."""
        return np.repeat(self.grouped.streams, self.grouped.size)

    def runs(self) -> Runs:
        """Return where packets in a row have one payload type."""
        kinds, starts = self.second & _TYPE, self.grouped.starts
        begins = np.zeros(len(kinds), np.bool_)
        np.not_equal(kinds[1:], kinds[:-1], out=begins[1:])
        begins[starts] = True
        start = np.flatnonzero(begins)
        streams = self.grouped.streams
        if len(start) != len(starts):
            streams = streams[np.searchsorted(starts, start, side="right") - 1]
        return Runs(
            start=start,
            stream=streams,
            type=kinds[start].astype(np.int64),
            size=np.diff(np.append(start, len(kinds))),
            first_bytes=self.size[start].astype(np.int64),
            at_ns=self.at_ns[start],
        )


def put_in_order(found: Packets, table: StreamTable) -> InOrder:
    """Return the packets in order; streams that were not known get a row in *table*."""
    order, starts = group(found.addresses, found.session)
    first = order[starts]
    streams, _ = table.rows(found.addresses[first], found.session[first])
    size = np.diff(np.append(starts, len(order)))
    new = table.columns["packets"][streams] == 0  # of some, copies may have been seen before
    return InOrder(
        found=found,
        order=order,
        grouped=Grouped(streams, starts, size, new),
        at_ns=found.at_ns[order],
        sequence=found.sequence[order],
        timestamp=found.timestamp[order],
        second=found.second[order],
        size=found.size[order],
    )


def group(addresses: Words, sessions: Words) -> tuple[Ints, Ints]:
    """Return the packets, those of a stream together and in their order, and where each starts.

    Hash and row are sorted as one number, which is much faster than an order by a key.
    """
    count = len(addresses)
    bits = np.uint64(max(1, (count - 1).bit_length()))
    both = mix(addresses, sessions) >> bits << bits
    both |= np.arange(count, dtype=np.uint64)
    both.sort()
    order = (both & np.uint64((1 << int(bits)) - 1)).astype(np.int64)
    hashes = both >> bits
    change = _changes(addresses, sessions, order)
    if np.count_nonzero(change) != np.count_nonzero(hashes[1:] != hashes[:-1]):  # they share one
        order = np.lexsort((sessions, addresses)).astype(np.int64)
        change = _changes(addresses, sessions, order)
    return order, np.append(0, np.flatnonzero(change) + 1)


def _changes(addresses: Words, sessions: Words, order: Ints) -> Bools:
    """Say of each packet but the first whether it is of another stream than the one before."""
    one, other = addresses[order], sessions[order]
    changed: Bools = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return changed
