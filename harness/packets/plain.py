"""The common packet, read with one gather: UDP over IPv4 without options, not in parts, whole.

Law: what is written here is what `harness.packets.layers` would write; a packet that is in any way
different is left to it.
"""

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints, at_every_byte
from harness.packets.headers import UDP, Bools, Headers, Table, Words
from harness.packets.hep import MAGIC, PORT
from harness.packets.links import ethernet_word
from harness.packets.segments import MAPPED, UDP_BYTES
from harness.packets.tunnels import PORTS

_Pairs = npt.NDArray[np.uint16]  # the bytes of each packet two by two, read little endian

_ETHERNET_BYTES, _IP_BYTES = 14, 20
_IP_READ_BYTES = 32  # the headers' 28, and what begins the payload
_READ_BYTES = 48  # the same behind an Ethernet header, rounded up
_ETHERTYPE, _ETHERNET_PAIRS = 6, 7
_IPV4 = 0x0008
# Which pair of an IP packet holds what.
_VERSION, _TOTAL, _ID, _PART, _TTL_AND_PROTOCOL, _SOURCE, _DESTINATION = 0, 1, 2, 3, 4, 6, 8
_SOURCE_PORT, _DESTINATION_PORT, _LENGTH, _PAYLOAD = 10, 11, 12, 14
_VERSION_AND_SIZE = 0x45  # five words: no options
_MORE_OR_OFFSET = 0xFF3F
_HEP = int.from_bytes(MAGIC.to_bytes(4), "little")


def _unusual_ports() -> Bools:
    """Return which ports, byte-swapped as they are read, may be those of a tunnel."""
    table = np.zeros(65_536, np.bool_)
    table[np.array((*PORTS, PORT), np.uint16).byteswap()] = True
    return table


_UNUSUAL = _unusual_ports()


def fill_plain_frames(frames: Headers, table: Table) -> Headers:
    """Write all common packets right in Ethernet into the table; return the other frames."""
    inside = frames.at <= frames.data.size - _READ_BYTES
    tried = frames.keep(inside)
    whole = at_every_byte(tried.data, f"V{_READ_BYTES}")[tried.at]
    pairs = whole.view("<u2").reshape(-1, _READ_BYTES // 2)
    link = ethernet_word(
        whole.view("<u8").reshape(-1, _READ_BYTES // 8)[:, 0],
        whole.view("<u4").reshape(-1, _READ_BYTES // 4)[:, 2].astype(np.uint64),
    )
    good = pairs[:, _ETHERTYPE] == _IPV4
    at = tried.at + _ETHERNET_BYTES
    good = _fill(tried, at, pairs[:, _ETHERNET_PAIRS:], link, good, table, 0)
    return _rest(frames, inside, good)


def fill_plain_packets(packets: Headers, table: Table, depth: int) -> Headers:
    """Write all common packets into the table; return the others. All *packets* are IPv4."""
    inside = packets.at <= packets.data.size - _IP_READ_BYTES
    tried = packets.keep(inside)
    whole = at_every_byte(tried.data, f"V{_IP_READ_BYTES}")[tried.at]
    pairs = whole.view("<u2").reshape(-1, _IP_READ_BYTES // 2)
    good = np.ones(len(tried), np.bool_)
    good = _fill(tried, tried.at, pairs, tried.link, good, table, depth)
    return _rest(packets, inside, good)


def _rest(packets: Headers, inside: Bools, good: Bools) -> Headers:
    """Return those that were not written."""
    done = inside.copy()
    done[inside] = good
    return packets.keep(~done)


def _fill(  # noqa: PLR0913, PLR0917 - all that is known of the packets
    tried: Headers,
    at: Ints,
    pairs: _Pairs,
    link: Words,
    good: Bools,
    table: Table,
    depth: int,
) -> Bools:
    """Write the *good* ones that are common all through; return which were."""
    good = good & (pairs[:, _TTL_AND_PROTOCOL] >> np.uint16(8) == UDP)
    if not good.any():  # as where all is tagged, or TCP
        return good
    size = pairs[:, _LENGTH].byteswap().astype(np.int64)  # of UDP
    good &= _is_plain(pairs) & (size >= UDP_BYTES)
    good &= pairs[:, _TOTAL].byteswap() == size + _IP_BYTES
    good &= at + _IP_BYTES + size <= tried.end
    if good.all():
        _write(tried.row, at, pairs, size, link, table, depth)
    else:
        some = np.flatnonzero(good)
        _write(tried.row[some], at[some], pairs[some], size[some], link[some], table, depth)
    return good


def _is_plain(pairs: _Pairs) -> Bools:
    """Say of each packet whether its headers are the common ones."""
    good: Bools = pairs[:, _VERSION] & np.uint16(0xFF) == _VERSION_AND_SIZE
    good &= pairs[:, _PART] & np.uint16(_MORE_OR_OFFSET) == 0
    good &= ~_UNUSUAL[pairs[:, _DESTINATION_PORT]]
    magic = pairs[:, _PAYLOAD + 1].astype(np.uint32) << np.uint32(16) | pairs[:, _PAYLOAD]
    good &= magic != _HEP
    return good


def _write(  # noqa: PLR0913, PLR0917 - as above
    row: Ints, at: Ints, pairs: _Pairs, size: Ints, link: Words, table: Table, depth: int
) -> None:
    """Write these packets; *size* is what UDP says."""
    if not len(row):
        return
    where: Ints | slice = row
    if row[-1] - row[0] == len(row) - 1 and (np.diff(row) == 1).all():  # none is left out
        where = slice(int(row[0]), int(row[-1]) + 1)
    table["protocol"][where] = UDP
    table["ipv4"][where] = True
    for name, place in (("source", _SOURCE), ("destination", _DESTINATION)):
        halves = table[f"{name}_address"].view("<u8")
        halves[where, 0] = 0
        address = pairs[:, place].astype(np.uint64) << np.uint64(32)
        address |= pairs[:, place + 1].astype(np.uint64) << np.uint64(48)
        halves[where, 1] = address | MAPPED
    table["source_port"][where] = pairs[:, _SOURCE_PORT].byteswap()
    table["destination_port"][where] = pairs[:, _DESTINATION_PORT].byteswap()
    table["payload_offset"][where] = at + (_IP_BYTES + UDP_BYTES)
    table["payload_bytes"][where] = size - UDP_BYTES
    table["complete"][where] = True
    table["ip_id"][where] = pairs[:, _ID].byteswap()
    table["ttl"][where] = pairs[:, _TTL_AND_PROTOCOL] & np.uint16(0xFF)
    table["link"][where] = link
    if depth:
        table["depth"][where] = depth
