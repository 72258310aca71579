"""ICMP's word that a packet did not arrive: which one it was, and when its sender was told.

Laws: an ICMP message quotes the packet that it is about, and that quotation is read as any other
packet, its payload cut; a message that quotes nothing readable is none. Sources: RFC 792, RFC 4443
section 3.1, RFC 1812 section 5.2.7.1 (any code means that it will not arrive).
"""

from dataclasses import dataclass, replace

import numpy as np

from harness.packets.capture import LINKTYPE_RAW, Capture, Ints
from harness.packets.frame import Datagrams, decode
from harness.packets.layers import Frames, inside_ip

ICMP, ICMPV6 = 1, 58
_KINDS = {ICMP: 3, ICMPV6: 1}  # the type that means "destination unreachable"
_HEAD_BYTES = 8  # of both, before what is quoted
_COLUMNS = (
    *("at_ns", "offset_bytes", "captured_bytes", "original_bytes", "linktype", "interface"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Unreachable:
    """Packets that did not arrive, one row each, in the capture's order."""

    quoted: Datagrams  # its `frame` is the row here, from 1
    frame: Ints  # of the ICMP message, counted from 1
    at_ns: Ints  # of the ICMP message

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)


def unreachable(datagrams: Datagrams) -> Unreachable:
    """Return what the capture of *datagrams* says did not arrive."""
    capture = datagrams.capture
    left = np.ones(len(capture), np.bool_)
    left[datagrams.frame - capture.first_frame] = False
    other = _part(capture, np.flatnonzero(left))
    inside = inside_ip(Frames.of(other), tuple(_KINDS))
    row, at, kind = inside.row, inside.at, inside.kind
    end = np.minimum(inside.end, inside.stop)
    room = at + _HEAD_BYTES < end
    row, at, end, kind = (one[room] for one in (row, at, end, kind))
    said = np.zeros(len(row), np.bool_)
    for protocol, number in _KINDS.items():
        said |= (kind == protocol) & (capture.data[at] == number)
    row, at, end = (one[said] for one in (row, at, end))
    order = np.argsort(row, kind="stable")
    row, at, end = row[order], at[order] + _HEAD_BYTES, end[order]
    quoting = _part(other, row)
    quotation = replace(
        quoting,
        offset_bytes=at,
        captured_bytes=end - at,
        original_bytes=end - at,
        linktype=np.full(len(row), LINKTYPE_RAW, np.int32),
        first_frame=1,
    )
    quoted = decode(quotation)
    told = quoted.frame - 1
    frame = np.flatnonzero(left)[row][told] + capture.first_frame
    return Unreachable(quoted, frame, quoting.at_ns[told])


def _part(capture: Capture, rows: Ints) -> Capture:
    """Return some of the frames."""
    return replace(capture, **{name: getattr(capture, name)[rows] for name in _COLUMNS})
