"""Headers of many frames at once, as numpy columns: what all modules that open headers share.

Laws: a field is gathered for all frames of one kind together, and only where the record holds it;
a payload ends where UDP or IP say, not where the frame does (Ethernet pads); what contradicts
itself is not complete. `harness.packets.frame` is the door to these modules.

    links    link headers and all that has an EtherType: tags, labels, PPP
    ip       IPv4, IPv6, extension headers, parts of packets
    segments UDP and TCP, written into the table
    tunnels  GRE, VXLAN and others: packets in packets
    layers   the way through all of them
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints, at_every_byte

UDP, TCP = 17, 6
NO_IP_ID = -1  # IPv6 has none outside of fragments

Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Table = dict[str, npt.NDArray[Any]]  # a column of each name below, a row for each frame

COLUMNS = {  # type, and how many in a row
    "protocol": (np.uint8, 1),  # 0: neither UDP nor TCP
    "ipv4": (np.bool_, 1),
    "source_address": (np.uint8, 16),
    "destination_address": (np.uint8, 16),
    "source_port": (np.int32, 1),
    "destination_port": (np.int32, 1),
    "payload_offset": (np.int64, 1),
    "payload_bytes": (np.int64, 1),
    "complete": (np.bool_, 1),
    "tcp_sequence": (np.uint32, 1),
    "tcp_flags": (np.uint8, 1),
    "ip_id": (np.int32, 1),
    "ttl": (np.uint8, 1),  # the hop limit of IPv6
    "link": (np.uint64, 1),  # equal where the addresses and tags of the innermost link are; 0: none
    "depth": (np.uint8, 1),  # how many tunnels are around it
}

ODD = np.uint64(0x9E3779B97F4A7C15)  # multiplied with, it spreads neighbouring values
_NAMES = ("row", "at", "end", "stop", "kind", "link", "ip")


@dataclass(frozen=True, slots=True, eq=False)
class Headers:
    """The next header of some frames, all of one kind or about to be sorted by kind."""

    data: Bytes
    row: Ints  # in the table
    at: Ints  # its first byte in `data`
    end: Ints  # of what was captured
    stop: Ints  # of the packet, as the headers before it say
    kind: Ints  # EtherType, later IP protocol
    link: Words  # of the innermost link header so far
    ip: Ints  # where the innermost IP header so far begins

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.row)

    def keep(self, which: Bools) -> Self:
        """Return some of them."""
        if which.all():  # the common case, and much cheaper
            return self
        return replace(self, **{name: getattr(self, name)[which] for name in _NAMES})

    def of_kind(self, *kinds: int) -> Self:
        """Return those of these kinds."""
        which = self.kind == kinds[0]
        for kind in kinds[1:]:
            which |= self.kind == kind
        return self.keep(which)

    def having(self, count_bytes: int) -> Self:
        """Return those of which so many bytes were captured."""
        return self.keep(self.at + count_bytes <= self.end)

    def past(self, count_bytes: int | Ints, kind: int | Ints) -> Self:
        """Return what follows after so many bytes, and of which kind it is."""
        if isinstance(kind, int):
            kind = np.full(len(self), kind, np.int64)
        return replace(self, at=self.at + count_bytes, kind=kind)

    def number(self, skip: int, dtype: str) -> Ints:
        """Return a field of each, *skip* bytes in."""
        return at_every_byte(self.data, dtype)[self.at + skip].astype(np.int64)

    def fields(self, layout: "np.dtype[Any]", at: Ints | None = None) -> npt.NDArray[Any]:
        """Return the header of each, read together: its fields are columns."""
        whole = at_every_byte(self.data, f"V{layout.itemsize}")[self.at if at is None else at]
        return whole.view(layout)


def join(data: Bytes, several: Iterable[Headers]) -> Headers:
    """Return all of them; the order does not matter, each knows its row."""
    there = [one for one in several if len(one)]
    if len(there) == 1:
        return there[0]
    if not there:
        none = np.zeros(0, np.int64)
        return Headers(data, none, none, none, none, none, np.zeros(0, np.uint64), none)
    columns = {name: np.concatenate([getattr(one, name) for one in there]) for name in _NAMES}
    return replace(there[0], **columns)


def frames(data: Bytes, at: Ints, end: Ints, stop: Ints, kind: Ints) -> Headers:
    """Return whole frames, row after row; *kind* is their link type."""
    count = len(at)
    row = np.arange(count, dtype=np.int64)
    return Headers(data, row, at, end, stop, kind, np.zeros(count, np.uint64), row)


def layout(size: int, **fields: tuple[int, str]) -> "np.dtype[Any]":
    """Return how a header of *size* bytes is laid out: each field's first byte and type."""
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for _, kind in fields.values()],
            "offsets": [at for at, _ in fields.values()],
            "itemsize": size,
        }
    )
