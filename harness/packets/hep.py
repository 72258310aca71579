"""HEP: packets that a capture agent sent on, with the addresses they had at its own tap.

Laws: a datagram is HEP when it begins with the magic of version 3, or comes to the port of HEP with
a header that is exactly one of version 1 or 2; what a chunk says of length is believed inside the
datagram only. The row then has the inner addresses, ports and payload; its time stays that of the
tap, so that rows of one capture have one clock, and the agent's own time stamp is not used. Inner
TCP is shown as UDP: an agent sends whole messages, not segments.

Sources: "HEP/EEP Network Protocol" revision 36 of the HOMER project; captagent for versions 1, 2.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints, at_every_byte
from harness.packets.headers import TCP, UDP, Bools, Headers, Table, layout
from harness.packets.segments import MAPPED

PORT = 9060
MAGIC = 0x48455033  # "HEP3"
_HEAD_BYTES, _CHUNK_BYTES, _MAX_CHUNKS = 6, 6, 64
_CHUNK = layout(_CHUNK_BYTES, vendor=(0, ">u2"), type=(2, ">u2"), length=(4, ">u2"))
_FAMILY, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT, _PAYLOAD = 1, 2, 7, 8, 15
_SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6 = 3, 4, 5, 6
_AF_INET, _AF_INET6 = 2, 10
_OLD_HEAD = layout(
    8,
    version=(0, "u1"),
    length=(1, "u1"),
    family=(2, "u1"),
    protocol=(3, "u1"),
    source=(4, ">u2"),
    destination=(6, ">u2"),
)
_OLD_TIME_BYTES = 12  # of version 2


@dataclass(slots=True, eq=False)
class _Inside:
    """What the chunks of some datagrams say, a row each; -1: not said yet."""

    addresses: npt.NDArray[np.uint64]  # source and destination, two words each
    ports: Ints  # two a row
    family: Ints
    start: Ints
    stop: Ints

    @classmethod
    def of(cls, count: int) -> "_Inside":
        """Return *count* rows that say nothing."""
        words, ports = np.zeros((count, 4), np.uint64), np.full((count, 2), -1, np.int64)
        return cls(words, ports, *(np.full(count, -1, np.int64) for _ in range(3)))


def fill_hep(payloads: Headers, table: Table) -> None:
    """Write what HEP datagrams hold over their rows; all other payloads are left alone."""
    some = payloads.having(_HEAD_BYTES)
    marked = some.keep(some.number(0, ">u4") == MAGIC)
    if len(marked):
        _fill(marked, _read_chunks(marked), table)
    old = some.of_kind(PORT)
    if len(old):
        old, inside = _read_old(old)
        _fill(old, inside, table)


def _read_chunks(hep: Headers) -> _Inside:
    """Return what the chunks of version 3 say."""
    inside = _Inside.of(len(hep))
    total = hep.number(4, ">u2")
    at = replace(hep, row=np.arange(len(hep), dtype=np.int64)).past(_HEAD_BYTES, 0)
    at = replace(at, stop=np.minimum(hep.at + total, hep.stop))
    at = replace(at, end=np.minimum(at.end, at.stop))
    for _ in range(_MAX_CHUNKS):
        at = at.having(_CHUNK_BYTES)
        head = at.fields(_CHUNK)
        length = head["length"].astype(np.int64)
        kind = np.where(head["vendor"] == 0, head["type"], 0).astype(np.int64)
        sound = (length >= _CHUNK_BYTES) & (at.at + length <= at.stop)
        chunk = replace(at, kind=kind, stop=at.at + length).keep(sound)
        if not len(chunk):
            break
        _take(replace(chunk, at=chunk.at + _CHUNK_BYTES), inside)
        at = at.past(length, 0).keep(sound)
    return inside


def _take(chunk: Headers, inside: _Inside) -> None:
    """Note what one chunk of each says; `at` is its value."""
    family = chunk.of_kind(_FAMILY).having(1)
    inside.family[family.row] = family.number(0, "u1")
    for place, kind in enumerate((_SOURCE_PORT, _DESTINATION_PORT)):
        port = chunk.of_kind(kind).having(2)
        inside.ports[port.row, place] = port.number(0, ">u2")
    for place, kind in ((0, _SOURCE4), (2, _DESTINATION4)):
        four = chunk.of_kind(kind).having(4)
        _put4(inside, four.row, place, four.data, four.at)
    for place, kind in ((0, _SOURCE6), (2, _DESTINATION6)):
        six = chunk.of_kind(kind).having(16)
        _put6(inside, six.row, place, six.data, six.at)
    payload = chunk.of_kind(_PAYLOAD)
    inside.start[payload.row] = payload.at
    inside.stop[payload.row] = payload.stop


def _read_old(hep: Headers) -> tuple[Headers, _Inside]:
    """Return which are of version 1 or 2, and what they say."""
    hep = hep.having(_OLD_HEAD.itemsize)
    head = hep.fields(_OLD_HEAD)
    version, family = head["version"].astype(np.int64), head["family"].astype(np.int64)
    width = np.where(family == _AF_INET, 4, 16)
    size = _OLD_HEAD.itemsize + 2 * width
    sound = ((version == 1) | (version == 2)) & np.isin(family, (_AF_INET, _AF_INET6))  # noqa: PLR2004
    sound &= np.isin(head["protocol"], (UDP, TCP))
    time_bytes = np.where(version == 2, _OLD_TIME_BYTES, 0)  # noqa: PLR2004 - as it says
    # captagent counts its time stamp into the length, other agents do not.
    sound &= (head["length"] == size) | (head["length"] == size + time_bytes)
    size = size + time_bytes
    sound &= hep.at + size <= hep.end
    kept, head, size, family = hep.keep(sound), head[sound], size[sound], family[sound]
    inside = _Inside.of(len(kept))
    inside.family[:] = family
    inside.ports[:, 0], inside.ports[:, 1] = head["source"], head["destination"]
    inside.start[:], inside.stop[:] = kept.at + size, kept.stop
    at = kept.at + _OLD_HEAD.itemsize
    for is_four, width_bytes, put in ((True, 4, _put4), (False, 16, _put6)):
        rows = np.flatnonzero((family == _AF_INET) == is_four)
        put(inside, rows, 0, kept.data, at[rows])
        put(inside, rows, 2, kept.data, at[rows] + width_bytes)
    return kept, inside


def _put4(inside: _Inside, rows: Ints, place: int, data: Bytes, at: Ints) -> None:
    words = at_every_byte(data, "<u4")[at].astype(np.uint64)
    inside.addresses[rows, place] = 0
    inside.addresses[rows, place + 1] = words << np.uint64(32) | MAPPED


def _put6(inside: _Inside, rows: Ints, place: int, data: Bytes, at: Ints) -> None:
    words = at_every_byte(data, "<u8")
    inside.addresses[rows, place] = words[at]
    inside.addresses[rows, place + 1] = words[at + 8]


def _fill(hep: Headers, inside: _Inside, table: Table) -> None:
    """Write the rows of those that say all that a row needs."""
    families = np.isin(inside.family, (_AF_INET, _AF_INET6))
    ports = (inside.ports >= 0).all(axis=1)
    good: Bools = families & ports & (inside.start >= 0)
    row = hep.row[good]
    start, stop = inside.start[good], inside.stop[good]
    there = np.maximum(np.minimum(stop, hep.end[good]) - start, 0)
    table["protocol"][row] = UDP
    table["ipv4"][row] = inside.family[good] == _AF_INET
    for place, name in enumerate(("source", "destination")):
        address = inside.addresses[good][:, 2 * place : 2 * place + 2]
        table[f"{name}_address"].view(np.uint64)[row] = address
        table[f"{name}_port"][row] = inside.ports[good, place]
    table["payload_offset"][row] = np.minimum(start, hep.end[good])
    table["payload_bytes"][row] = there
    table["complete"][row] = there == stop - start
    table["depth"][row] += 1
