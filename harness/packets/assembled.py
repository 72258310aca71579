"""Rows out of packets that were put together from their parts.

Law: what was put together is read as any other packet is, also where it holds parts of packets
again; it is seen when the last of its parts is.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.packets.capture import LINKTYPE_RAW, Bytes, Ints
from harness.packets.fragments import Assembly, Origin, Part, Whole, each_part
from harness.packets.headers import COLUMNS, Table
from harness.packets.ip import Parts
from harness.packets.layers import MAX_TUNNELS, Frames, decode_frames


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """Rows, and the bytes that their payloads are in."""

    data: Bytes
    at_ns: Ints
    frame: Ints
    interface: Ints
    table: Table  # `payload_offset` is one in `data`

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)


def assemble(
    assembly: Assembly, data: Bytes, parts: list[Parts], origin: Origin
) -> Assembled | None:
    """Return the rows that *parts* of packets in *data* make whole; None: none.

    The parts are taken in order of time; what waits for more of them stays in *assembly*.
    """
    found: list[Assembled] = []
    for _ in range(MAX_TUNNELS + 1):
        wholes = [
            whole
            for part in _by_time(data, parts, origin)
            if (whole := assembly.add(part)) is not None
        ]
        if not wholes:
            break
        rows, data, parts, origin = _read(wholes)
        found.append(rows)
    return _join(found) if sum(map(len, found)) else None


def _by_time(data: Bytes, parts: list[Parts], origin: Origin) -> list[Part]:
    """Return the parts that are wanted, in order of time."""
    every = (part for some in parts for part in each_part(data, some, origin))
    return sorted(every, key=lambda part: part.moment)


def _read(wholes: list[Whole]) -> tuple[Assembled, Bytes, list[Parts], Origin]:
    """Return the rows in whole packets, and what is needed to read the parts in them."""
    data = np.frombuffer(b"".join(whole.data for whole in wholes), np.uint8)
    captured = np.array([len(whole.data) for whole in wholes], np.int64)
    end = np.cumsum(captured)
    at = end - captured
    stop = at + np.array([whole.size_bytes for whole in wholes], np.int64)
    packets = Frames(data, at, end, stop, np.full(len(wholes), LINKTYPE_RAW, np.int64))
    moments = [(one.moment.at_ns, one.moment.frame, one.moment.interface) for one in wholes]
    at_ns, frame, interface = np.array(moments, np.int64).T
    origin = Origin(
        at_ns=at_ns,
        frame=frame,
        interface=interface,
        wanted=np.ones(len(wholes), np.bool_),
        link=np.array([whole.link for whole in wholes], np.uint64),
        depth=np.array([whole.depth for whole in wholes], np.int64),
    )
    known, table, parts = decode_frames(packets)
    table["depth"] = (table["depth"] + origin.depth[known]).astype(np.uint8)
    table["link"] = np.where(table["link"] == 0, origin.link[known], table["link"])
    rows = Assembled(data, at_ns[known], frame[known], interface[known], table)
    return rows, data, parts, origin


def _join(several: list[Assembled]) -> Assembled:
    """Return all rows, their bytes one after the other."""
    if len(several) == 1:
        return several[0]
    starts = np.cumsum([0, *(one.data.size for one in several[:-1])]).tolist()
    for one, start in zip(several, starts, strict=True):
        one.table["payload_offset"] += start

    def together(columns: list[npt.NDArray[np.int64]]) -> Ints:
        return np.concatenate(columns)

    return replace(
        several[0],
        data=np.concatenate([one.data for one in several]),
        at_ns=together([one.at_ns for one in several]),
        frame=together([one.frame for one in several]),
        interface=together([one.interface for one in several]),
        table={name: np.concatenate([one.table[name] for one in several]) for name in COLUMNS},
    )
