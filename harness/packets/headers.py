"""Link, IP, UDP and TCP headers of many frames at once, as numpy columns.

Laws: a field is gathered for all frames of one kind together, and only where the record holds it;
a payload ends where UDP or IP say, not where the frame does (Ethernet pads); what contradicts
itself is not complete. `harness.packets.frame` is the door to this module.

Sources: RFC 791, 8200, 768, 9293; IEEE 802.1Q; the link types of tcpdump.org.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Capture, Ints, at_every_byte

UDP, TCP = 17, 6
BLOCK_FRAMES = 32_768  # decoded together, so that what is between stays in the cache

Bools = npt.NDArray[np.bool_]
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
}
NO_IP_ID = -1  # IPv6 has none outside of fragments

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8, 0x9100)  # VLAN, QinQ, and QinQ as it was before the standard
_MAX_TAGS = 4
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60
_MAX_EXTENSIONS = 8
_MORE_OR_OFFSET = 0x3FFF  # of IPv4: more fragments, or not the first one
_MORE_OR_OFFSET6 = 0xFFF9  # of IPv6; with neither it is an atomic fragment: whole (RFC 6946)
_LINKS = {1: (14, 12), 113: (16, 14), 276: (20, 0)}  # header bytes, and where its EtherType is
_LOOPBACK = (0, 108)  # a 4-byte address family: in the capturing host's byte order, or big endian
_FAMILIES = {2: _IPV4, 24: _IPV6, 28: _IPV6, 30: _IPV6}  # AF_INET; AF_INET6 of the BSDs and macOS
_RAW = (12, 14, 101, 228, 229)
LINKTYPES = frozenset((*_LINKS, *_LOOPBACK, *_RAW))
_IPV4_BYTES, _IPV6_BYTES, _UDP_BYTES, _TCP_BYTES = 20, 40, 8, 20


@dataclass(frozen=True, slots=True, eq=False)
class _Headers:
    """The next header of some frames of a block, all of one kind or about to be sorted by kind."""

    data: Bytes
    row: Ints  # in the table
    at: Ints  # its first byte in `data`
    end: Ints  # of what was captured
    stop: Ints  # of the packet, as IP says
    kind: Ints  # EtherType, later IP protocol

    def keep(self, which: Bools) -> Self:
        """Return some of them."""
        if which.all():  # the common case, and much cheaper
            return self
        return replace(
            self,
            row=self.row[which],
            at=self.at[which],
            end=self.end[which],
            stop=self.stop[which],
            kind=self.kind[which],
        )

    def having(self, count_bytes: int) -> Self:
        """Return those of which so many bytes were captured."""
        return self.keep(self.at + count_bytes <= self.end)

    def join(self, other: Self) -> Self:
        """Return both; the order does not matter, each knows its row."""
        names = ("row", "at", "end", "stop", "kind")
        pairs = {n: np.concatenate((getattr(self, n), getattr(other, n))) for n in names}
        return replace(self, **pairs)

    def number(self, skip: int, dtype: str) -> Ints:
        """Return a field of each, *skip* bytes in."""
        return at_every_byte(self.data, dtype)[self.at + skip].astype(np.int64)

    def octets(self, skip: int, count: int) -> Bytes:
        """Return *count* bytes of each, *skip* bytes in."""
        whole = at_every_byte(self.data, f"V{count}")[self.at + skip]
        return np.frombuffer(whole.tobytes(), np.uint8).reshape(-1, count)


def decode_headers(capture: Capture) -> tuple[Table, int]:
    """Return a table with a row for each frame, and the number of IP fragments."""
    count = len(capture)
    table: Table = {
        name: np.zeros(count if width == 1 else (count, width), kind)
        for name, (kind, width) in COLUMNS.items()
    }
    blocks = range(0, count, BLOCK_FRAMES)
    return table, sum(_decode_block(capture, start, table) for start in blocks)


def packets_inside_ip(
    capture: Capture, protocols: tuple[int, ...]
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the packets of these protocols, fragments left out: row, first byte, end, protocol."""
    at, count = capture.offset_bytes, len(capture)
    scratch: Table = {
        name: np.zeros(count if width == 1 else (count, width), kind)
        for name, (kind, width) in COLUMNS.items()
    }
    end = at + capture.captured_bytes
    row = np.arange(count, dtype=np.int64)
    frames = _Headers(capture.data, row, at, end, end, np.zeros_like(row))
    found = frames.keep(np.zeros(count, np.bool_))
    for number in np.unique(capture.linktype).tolist():
        packets = _open_link(frames.keep(capture.linktype == number), number)
        for read in (_open_ipv4, _open_ipv6):
            segments, _ = read(packets, scratch)
            found = found.join(segments.keep(np.isin(segments.kind, protocols)))
    return found.row, found.at, np.minimum(found.end, found.stop), found.kind


def _decode_block(capture: Capture, start: int, table: Table) -> int:
    """Fill in the table's rows from *start* on; return how many fragments are among them."""
    here = slice(start, start + BLOCK_FRAMES)
    at, linktype = capture.offset_bytes[here], capture.linktype[here]
    end = at + capture.captured_bytes[here]
    row = np.arange(start, start + len(at), dtype=np.int64)
    frames = _Headers(capture.data, row, at, end, end, np.zeros_like(row))
    fragments = 0
    for number in np.unique(linktype).tolist():
        packets = _open_link(frames.keep(linktype == number), number)
        for read in (_open_ipv4, _open_ipv6):
            segments, parts = read(packets, table)
            fragments += parts
            _fill_udp(segments, table)
            _fill_tcp(segments, table)
    return fragments


def _open_link(frames: _Headers, linktype: int) -> _Headers:
    """Return what is inside the link header and VLAN tags, `kind` being its EtherType."""
    if linktype in _RAW:
        packets = frames.having(1)
        version = packets.number(0, "u1") >> 4
        return replace(packets, kind=np.where(version == 4, _IPV4, _IPV6))  # noqa: PLR2004 - IPv4
    if linktype in _LOOPBACK:
        packets = frames.having(4)
        family = np.minimum(packets.number(0, ">u4"), packets.number(0, "<u4"))  # the small one
        kind = np.zeros_like(family)
        for number, ethertype in _FAMILIES.items():
            kind[family == number] = ethertype
        return replace(packets, at=packets.at + 4, kind=kind)
    size, kind_at = _LINKS[linktype]
    packets = frames.having(size)
    packets = replace(packets, at=packets.at + size, kind=packets.number(kind_at, ">u2"))
    for _ in range(_MAX_TAGS):
        tagged = np.isin(packets.kind, _TAGS)
        if not tagged.any():
            break
        inner = packets.keep(tagged).having(4)
        inner = replace(inner, at=inner.at + 4, kind=inner.number(2, ">u2"))
        packets = packets.keep(~tagged).join(inner)
    return packets


def _open_ipv4(packets: _Headers, table: Table) -> tuple[_Headers, int]:
    """Return what is inside IPv4, `kind` being its protocol, and the number of fragments."""
    packets = packets.keep(packets.kind == _IPV4).having(_IPV4_BYTES)
    first, total = packets.number(0, "u1"), packets.number(2, ">u2")
    size = (first & 15) * 4
    sound = (first >> 4 == 4) & (size >= _IPV4_BYTES) & (total >= size)  # noqa: PLR2004 - IPv4
    part = sound & (packets.number(6, ">u2") & _MORE_OR_OFFSET != 0)
    whole = sound & ~part
    packets, size, total = packets.keep(whole), size[whole], total[whole]
    table["ipv4"][packets.row] = True
    table["ip_id"][packets.row] = packets.number(4, ">u2")
    table["ttl"][packets.row] = packets.number(8, "u1")
    for name, skip in (("source_address", 12), ("destination_address", 16)):
        table[name][packets.row, 10:12] = 0xFF  # IPv4-mapped (RFC 4291 section 2.5.5.2)
        table[name][packets.row, 12:] = packets.octets(skip, 4)
    inner = replace(
        packets, at=packets.at + size, stop=packets.at + total, kind=packets.number(9, "u1")
    )
    return inner, int(part.sum())


def _open_ipv6(packets: _Headers, table: Table) -> tuple[_Headers, int]:
    """Return what is inside IPv6 and its extension headers, and the number of fragments."""
    packets = packets.keep(packets.kind == _IPV6).having(_IPV6_BYTES)
    packets = packets.keep(packets.number(0, "u1") >> 4 == 6)  # noqa: PLR2004 - IPv6
    for name, skip in (("source_address", 8), ("destination_address", 24)):
        table[name][packets.row] = packets.octets(skip, 16)
    table["ip_id"][packets.row] = NO_IP_ID
    table["ttl"][packets.row] = packets.number(7, "u1")
    inner = replace(
        packets,
        at=packets.at + _IPV6_BYTES,
        stop=packets.at + _IPV6_BYTES + packets.number(4, ">u2"),
        kind=packets.number(6, "u1"),
    )
    fragments = 0
    for _ in range(_MAX_EXTENSIONS):
        extended = np.isin(inner.kind, (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS))
        if not extended.any():
            break
        outer = inner.keep(extended).having(8)
        part = (outer.kind == _FRAGMENT) & (outer.number(2, ">u2") & _MORE_OR_OFFSET6 != 0)
        fragments += int(part.sum())
        outer = outer.keep(~part)
        size = np.where(outer.kind == _FRAGMENT, 8, (outer.number(1, "u1") + 1) * 8)
        outer = replace(outer, at=outer.at + size, kind=outer.number(0, "u1"))
        inner = inner.keep(~extended).join(outer)
    return inner, fragments


def _fill_udp(segments: _Headers, table: Table) -> None:
    """Write the UDP datagrams of a block into the table."""
    udp = segments.keep(segments.kind == UDP).having(_UDP_BYTES)
    udp = udp.keep(udp.at + _UDP_BYTES <= udp.stop)
    length = udp.number(4, ">u2")
    # A length shorter than its own header, or longer than the packet, is a lie: a host drops it.
    sound = (length >= _UDP_BYTES) & (udp.at + length <= udp.stop)
    stop = np.where(sound, udp.at + length, np.where(length < _UDP_BYTES, udp.at, udp.stop))
    _fill(udp, table, udp.at + _UDP_BYTES, stop, sound)


def _fill_tcp(segments: _Headers, table: Table) -> None:
    """Write the TCP segments of a block into the table."""
    tcp = segments.keep(segments.kind == TCP).having(_TCP_BYTES)
    tcp = tcp.keep(tcp.at + _TCP_BYTES <= tcp.stop)
    size = (tcp.number(12, "u1") >> 4) * 4
    sound = (size >= _TCP_BYTES) & (tcp.at + size <= tcp.stop)
    _fill(tcp, table, tcp.at + np.maximum(size, _TCP_BYTES), np.where(sound, tcp.stop, 0), sound)
    table["tcp_sequence"][tcp.row] = tcp.number(4, ">u4")
    table["tcp_flags"][tcp.row] = tcp.number(13, "u1")


def _fill(segments: _Headers, table: Table, start: Ints, stop: Ints, sound: Bools) -> None:
    """Write what UDP and TCP have in common; *stop* is where the payload should end."""
    there = np.maximum(np.minimum(stop, segments.end) - start, 0)
    row = segments.row
    table["protocol"][row] = segments.kind
    table["source_port"][row] = segments.number(0, ">u2")
    table["destination_port"][row] = segments.number(2, ">u2")
    table["payload_offset"][row] = np.minimum(start, segments.end)
    table["payload_bytes"][row] = there
    table["complete"][row] = sound & (there == stop - start)
