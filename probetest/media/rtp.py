"""RTP headers of many datagrams at once, as narrow columns.

Laws: no packet becomes an object; a row whose header is not there whole is none; what is read of a
payload is its length and, of short ones, its first four bytes (a telephone event has no more).

Sources: RFC 3550 section 5.1; RFC 5761 section 4 (RTP or RTCP); RFC 4733 section 2.3.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints, at_every_byte
from harness.packets.frame import UDP, Datagrams
from harness.packets.headers import Bools
from probetest.flows import Words

HEADER_BYTES = 12
EVENT_BYTES = 4  # of a telephone event
RTCP_FIRST, RTCP_LAST = 192, 223  # of the second byte (RFC 5761 section 4)
_SHORT_BYTES = 64  # a longer payload is no telephone event
_EXTENDED, _SOURCES, _PADDED = 0x10, 0x0F, 0x20
_ALONE = 0x80  # version 2 and nothing else: no padding, extension or contributing source
_TYPE = 0x7F
_BROADCAST = 0xFFFF_FFFF
_MAPPED = 12  # bytes before an IPv4 address in its mapped form
_HEADER = np.dtype(
    [("first", "u1"), ("second", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")]
)

Shorts = npt.NDArray[np.uint16]
Longs = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """RTP packets, a row each."""

    at_ns: Ints
    addresses: Words  # source and destination: see `Places`
    session: Words  # both ports and the SSRC
    sequence: Shorts
    timestamp: Longs
    second: Bytes  # marker and payload type
    size: Shorts  # of the payload, without padding
    event: Longs  # its first 4 bytes, where it is short; else 0
    frame: Ints
    interface: npt.NDArray[np.int32]
    copy: Bools  # the tap has shown it already

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self.at_ns)

    def select(self, which: Bools | Ints | slice) -> Self:
        """Return some of them."""
        return type(self)(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, parts: "list[Packets]") -> "Packets":
        """Return all of *parts*, one after the other."""
        if len(parts) == 1:
            return parts[0]
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


class Places:
    """Both addresses of a row in one word: of IPv4 themselves, of IPv6 a number given here.

    A number stands where 255.255.255.255 would be the source, which no packet has; one that has it
    all the same gets a number too, so that different addresses never share a word.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers: dict[bytes, int] = {}
        self._pairs: list[bytes] = []  # 16 bytes and 16 bytes, and one that says IPv4

    def words(self, datagrams: Datagrams, rows: Ints) -> Words:
        """Return the word of each row."""
        source = _low(datagrams.source_address, rows)
        found: Words = source << np.uint64(32) | _low(datagrams.destination_address, rows)
        plain = datagrams.ipv4[rows] & (source != _BROADCAST)
        if not plain.all():
            others = np.flatnonzero(~plain)
            found[others] = self._numbered(datagrams, rows[others])
        return found

    def ends(self, word: int) -> tuple[bytes, bytes]:
        """Return both addresses again, 4 or 16 bytes each."""
        if word >> 32 != _BROADCAST:
            packed = word.to_bytes(8, "big")
            return packed[:4], packed[4:]
        pair = self._pairs[word & _BROADCAST]
        start = _MAPPED if pair[32] else 0
        return pair[start:16], pair[16 + start : 32]

    def turned(self, word: int) -> int | None:
        """Return the word of the other direction, None where that was never seen."""
        if word >> 32 != _BROADCAST:
            return (word & _BROADCAST) << 32 | word >> 32
        pair = self._pairs[word & _BROADCAST]
        number = self._numbers.get(pair[16:32] + pair[:16] + pair[32:])
        return None if number is None else _BROADCAST << 32 | number

    def _numbered(self, datagrams: Datagrams, rows: Ints) -> Words:
        """Return the word of each row that needs a number."""
        flag = datagrams.ipv4[rows].astype(np.uint8)[:, None]
        whole = (datagrams.source_address[rows], datagrams.destination_address[rows], flag)
        pairs = np.ascontiguousarray(np.hstack(whole)).view("V33").ravel()
        distinct, place = np.unique(pairs, return_inverse=True)
        numbers = [self._number(one.tobytes()) for one in distinct]
        words = np.array([_BROADCAST << 32 | number for number in numbers], np.uint64)
        found: Words = words[place]
        return found

    def _number(self, pair: bytes) -> int:
        number = self._numbers.setdefault(pair, len(self._pairs))
        if number == len(self._pairs):
            self._pairs.append(pair)
        return number


def is_rtcp(second: Bytes) -> Bools:
    """Say of the *second* byte of each packet whether it makes it RTCP."""
    return (second >= RTCP_FIRST) & (second <= RTCP_LAST)


def version_2(
    datagrams: Datagrams, *, at_least_bytes: int = HEADER_BYTES
) -> tuple[Ints, Bytes, Ints]:
    """Return the UDP rows that begin as RTP and RTCP do, their second byte, and the other rows."""
    long = datagrams.payload_bytes >= at_least_bytes
    rows = np.flatnonzero(long & (datagrams.protocol == UDP))
    at = datagrams.payload_offset[rows]
    data = datagrams.data
    head = at_every_byte(data, "<u2")[at]  # both bytes at once: each look at a packet costs
    right = head & np.uint16(0xC0) == _ALONE
    others = rows[:0]
    if not right.all():
        others = rows[~right]
        rows, head = rows[right], head[right]
    return rows, (head >> np.uint16(8)).astype(np.uint8), others


def packets(datagrams: Datagrams, rows: Ints, copy: Bools, places: Places) -> Packets:
    """Return what each row holds; rows that do not hold a header whole are left out."""
    data = datagrams.data
    at, size = datagrams.payload_offset[rows], datagrams.payload_bytes[rows]
    header = at_every_byte(data, "V12")[at].view(_HEADER)
    first = header["first"]
    start = at + HEADER_BYTES
    length = size - HEADER_BYTES
    special = np.flatnonzero(first != _ALONE)
    if len(special):
        whole, skip, pad = _special(datagrams, at[special], size[special])
        start[special] += skip
        length[special] -= skip + pad
        if not whole.all():
            kept = np.ones(len(rows), np.bool_)
            kept[special[~whole]] = False
            rows, copy, header = rows[kept], copy[kept], header[kept]
            start, length = start[kept], length[kept]
    event = np.zeros(len(rows), np.uint32)
    short = np.flatnonzero((length >= EVENT_BYTES) & (length <= _SHORT_BYTES))
    if len(short):
        event[short] = at_every_byte(data, ">u4")[start[short]]
    ports = datagrams.source_port[rows].astype(np.uint64) << np.uint64(48)
    ports |= datagrams.destination_port[rows].astype(np.uint64) << np.uint64(32)
    return Packets(
        at_ns=datagrams.at_ns[rows],
        addresses=places.words(datagrams, rows),
        session=ports | header["ssrc"].astype(np.uint64),
        sequence=header["sequence"].astype(np.uint16),
        timestamp=header["timestamp"].astype(np.uint32),
        second=header["second"].copy(),
        size=length.astype(np.uint16),
        event=event,
        frame=datagrams.frame[rows],
        interface=datagrams.interface[rows],
        copy=copy,
    )


def _special(datagrams: Datagrams, at: Ints, size: Ints) -> tuple[Bools, Ints, Ints]:
    """Say which headers are whole, and how long what follows the fixed part and the padding are."""
    data = datagrams.data
    first = data[at].astype(np.int64)
    skip = 4 * (first & _SOURCES)
    room = size - HEADER_BYTES
    extended = first & _EXTENDED != 0
    whole: Bools = skip + 4 * extended <= room
    some = np.flatnonzero(extended & whole)
    words = at_every_byte(data, ">u2")[at[some] + HEADER_BYTES + skip[some] + 2]
    skip[some] += 4 + 4 * words.astype(np.int64)
    whole &= skip <= room
    pad = np.zeros(len(at), np.int64)
    padded = np.flatnonzero((first & _PADDED != 0) & whole)
    pad[padded] = data[at[padded] + size[padded] - 1]
    pad[pad > room - skip] = 0  # it cannot be: encrypted, or cut
    return whole, np.where(whole, skip, 0), pad


def _low(addresses: Bytes, rows: Ints) -> Words:
    """Return the last four bytes of each address as a number."""
    words = np.ascontiguousarray(addresses).reshape(-1, 16).view(">u4")[:, 3]
    found: Words = words[rows].astype(np.uint64)
    return found
