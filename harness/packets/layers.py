"""The way through all headers of many frames: link, IP, tunnels, and down again.

Laws: the innermost UDP datagram or TCP segment of a frame is its row; a tunnel in which there is
none stays the datagram that it is, unless it holds a part of a packet; there are at most
`MAX_TUNNELS` of them, so that no frame loops.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.packets.capture import LINKTYPE_ETHERNET, Bytes, Capture, Ints
from harness.packets.headers import COLUMNS, Headers, Table, frames, join
from harness.packets.hep import fill_hep
from harness.packets.ip import IPV4, Parts, open_ipv4, open_ipv6
from harness.packets.links import open_ethertypes, open_link
from harness.packets.plain import fill_plain_frames, fill_plain_packets
from harness.packets.segments import fill_tcp, fill_udp
from harness.packets.tunnels import open_in_ip, open_in_udp

TOGETHER = 32_768  # frames that are decoded together, so that what is between stays in the cache
MAX_TUNNELS = 8
_ALWAYS_WRITTEN = frozenset(COLUMNS) - {"protocol", "tcp_sequence", "tcp_flags", "depth"}


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames, or packets without a link, one a row."""

    data: Bytes
    at: Ints  # the first byte in `data`
    end: Ints  # of what was captured
    stop: Ints  # of what was on the wire
    linktype: Ints

    @classmethod
    def of(cls, capture: Capture) -> "Frames":
        """Return the frames of *capture*."""
        at = capture.offset_bytes
        end = at + capture.captured_bytes
        stop = at + np.maximum(capture.captured_bytes, capture.original_bytes)
        return cls(capture.data, at, end, stop, capture.linktype.astype(np.int64))

    def some(self, start: int, count: int) -> Headers:
        """Return *count* of them, or those that there are; rows count from 0."""
        here = slice(start, start + count)
        columns = (self.at, self.end, self.stop, self.linktype)
        return frames(self.data, *(column[here] for column in columns))


def decode_frames(given: Frames) -> tuple[Ints, Table, list[Parts]]:
    """Return which frames have a row, the table of these, and the parts of packets."""
    count = len(given.at)
    table = _empty_table(count)
    known, parts, done = [], [], 0
    for start in range(0, count, TOGETHER):
        some = given.some(start, TOGETHER)
        here = {name: column[done : done + len(some)] for name, column in table.items()}
        parts += [_moved(one, start) for one in _open(some, here)]
        rows = np.flatnonzero(here["protocol"])
        if len(rows) < len(some):
            _close_up(here, rows)
        known.append(rows + start)
        done += len(rows)
    columns = {name: column[:done] for name, column in table.items()}
    return np.concatenate(known) if known else np.zeros(0, np.int64), columns, parts


def inside_ip(given: Frames, protocols: tuple[int, ...]) -> Headers:
    """Return the packets of these protocols, whole ones, that are in no tunnel."""
    some = given.some(0, len(given.at))
    packets = _open_links(some)
    four, _ = open_ipv4(packets, 0)
    six, _ = open_ipv6(packets, 0)
    return join(some.data, (four.of_kind(*protocols), six.of_kind(*protocols)))


def _empty_table(count: int) -> Table:
    """Return a table of *count* rows, none of which is one yet."""
    made: Table = {}
    for name, (kind, width) in COLUMNS.items():
        shape = count if width == 1 else (count, width)
        made[name] = np.empty(shape, kind) if name in _ALWAYS_WRITTEN else np.zeros(shape, kind)
    return made


def _close_up(table: Table, rows: Ints) -> None:
    """Move *rows* to the front, and make those behind them as if never written."""
    for name, column in table.items():
        column[: len(rows)] = column[rows]
        if name not in _ALWAYS_WRITTEN:
            column[len(rows) :] = 0


def _open(some: Headers, table: Table) -> Iterator[Parts]:
    """Write all datagrams of some frames into the table; yield the parts of packets."""
    ethernet = some.of_kind(LINKTYPE_ETHERNET)
    others = some.keep(some.kind != LINKTYPE_ETHERNET) if len(ethernet) < len(some) else None
    rest = fill_plain_frames(ethernet, table)
    if others is not None:
        rest = join(some.data, (rest, others))
    if not len(rest):
        return
    packets = _open_links(rest)
    for depth in range(MAX_TUNNELS + 1):
        packets4 = fill_plain_packets(packets.of_kind(IPV4), table, depth)
        four, parts = open_ipv4(packets4, depth)
        six, parts6 = open_ipv6(packets, depth)
        for part in (parts, *parts6):
            if len(part.row):
                table["protocol"][part.row] = 0  # a part of a packet is no row, nor its tunnel
                yield part
        inner = []
        for segments, ipv4 in ((four, True), (six, False)):
            if not len(segments):
                continue
            payloads = fill_udp(segments, table, depth, ipv4=ipv4)
            fill_tcp(segments, table, depth, ipv4=ipv4)
            fill_hep(payloads, table)
            inner += [open_in_udp(payloads), open_in_ip(segments)]
        packets = join(some.data, inner)
        if not len(packets):
            return
        packets = open_ethertypes(packets)


def _open_links(some: Headers) -> Headers:
    """Return the IP packets in some frames, `kind` of which is the link type."""
    linktypes = distinct(some.kind)
    found = (open_link(some.of_kind(linktype), linktype) for linktype in linktypes)
    return open_ethertypes(join(some.data, found))


def distinct(numbers: npt.NDArray[np.integer[Any]]) -> list[int]:
    """Return which numbers there are; quickly, when there is one."""
    if len(numbers) and (numbers == numbers[0]).all():
        return [int(numbers[0])]
    return [int(number) for number in np.unique(numbers)]


def _moved(parts: Parts, start: int) -> Parts:
    """Return *parts* with their rows counted *start* further on."""
    return replace(parts, row=parts.row + start)
