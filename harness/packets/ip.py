"""IPv4 and IPv6, their extension headers, and the parts of packets that were cut up.

Laws: a header that contradicts itself is not opened; a part of a packet, the first one too, is
never taken for a packet.

Sources: RFC 791, 8200, 4302 (the authentication header, which leaves the payload readable), 6946.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Bytes, Ints
from harness.packets.headers import Bools, Headers, join, layout

IPV4, IPV6 = 0x0800, 0x86DD
IPV4_BYTES, IPV6_BYTES = 20, 40
IPV4_HEAD = layout(
    IPV4_BYTES,
    first=(0, "u1"),
    total=(2, ">u2"),
    id=(4, ">u2"),
    part=(6, ">u2"),
    ttl=(8, "u1"),
    protocol=(9, "u1"),
    source=(12, "<u4"),
    destination=(16, "<u4"),
)
IPV6_HEAD = layout(
    IPV6_BYTES,
    first=(0, "u1"),
    length=(4, ">u2"),
    protocol=(6, "u1"),
    ttl=(7, "u1"),
    source=(8, "<u8"),
    source_end=(16, "<u8"),
    destination=(24, "<u8"),
    destination_end=(32, "<u8"),
)
_FRAGMENT_HEAD = layout(8, protocol=(0, "u1"), part=(2, ">u2"), id=(4, ">u4"))
_TEN_WORDS = layout(IPV4_BYTES, words=(0, "(10,)>u2"))
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = (0, 43, 60, 135, 139, 140)  # hop-by-hop, routing, options, mobility, HIP, shim6
_MAX_EXTENSIONS = 8
_MORE_OR_OFFSET = 0x3FFF  # of IPv4: more fragments, or not the first one
_MORE_OR_OFFSET6 = 0xFFF9  # of IPv6; with neither it is an atomic fragment: whole (RFC 6946)
_MORE, _MORE6 = 0x2000, 1
_MAX_LENGTH = 65_535
_LIKELY = (0, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 60, 89, 103, 132)  # what IPv6 carries


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts of IP packets, one a row; all are IPv4 or all IPv6."""

    ipv4: bool
    depth: int
    row: Ints  # of the frame
    ip: Ints  # where the IP header begins in the data
    at: Ints  # where the part's own bytes begin
    end: Ints  # of what was captured
    stop: Ints  # of the part, as IP says
    id: Ints
    offset_bytes: Ints  # in the packet's payload
    more: Bools  # this is not the last part
    protocol: Ints
    link: npt.NDArray[np.uint64]


def by_version(packets: Headers) -> Headers:
    """Return the packets that begin with an IP header, `kind` being IPV4 or IPV6."""
    packets = packets.having(1)
    version = packets.number(0, "u1") >> 4
    packets = packets.past(0, np.where(version == 4, IPV4, IPV6))  # noqa: PLR2004 - IPv4
    return packets.keep((version == 4) | (version == 6))  # noqa: PLR2004 - the two versions


def could_be_ip(packets: Headers) -> Bools:
    """Say of each whether an IP header that fits into its packet stands there."""
    good = np.zeros(len(packets), np.bool_)
    inside = replace(packets, row=np.arange(len(packets), dtype=np.int64))
    four = inside.having(IPV4_BYTES)
    head = four.fields(IPV4_HEAD)
    total, size = head["total"], (head["first"] & 15).astype(np.int64) * 4
    fits = (head["first"] >> 4 == 4) & (size >= IPV4_BYTES)  # noqa: PLR2004 - IPv4
    fits &= (total >= size) & (total <= four.stop - four.at)
    words = four.fields(_TEN_WORDS)["words"].astype(np.int64)
    summed = words.sum(axis=1)
    summed = (summed & 0xFFFF) + (summed >> 16)
    # The checksum tells a header from chance; it is 0 before the network card has filled it in.
    fits &= (summed == 0xFFFF) | (words[:, 5] == 0) | (size > IPV4_BYTES)  # noqa: PLR2004
    good[four.row[fits]] = True
    six = inside.having(IPV6_BYTES)
    head = six.fields(IPV6_HEAD)
    fits = (head["first"] >> 4 == 6) & np.isin(head["protocol"], _LIKELY)  # noqa: PLR2004 - IPv6
    fits &= head["length"] + IPV6_BYTES <= six.stop - six.at
    good[six.row[fits]] = True
    return good


def open_ipv4(packets: Headers, depth: int) -> tuple[Headers, Parts]:
    """Return what is inside IPv4, `kind` being its protocol, and the parts of packets."""
    packets = packets.of_kind(IPV4).having(IPV4_BYTES)
    head = packets.fields(IPV4_HEAD)
    size, total = (head["first"] & 15).astype(np.int64) * 4, head["total"].astype(np.int64)
    # Length 0: captured in the host that sent it, before its network card cut it into packets.
    total = np.where(total == 0, packets.stop - packets.at, total)
    sound = (head["first"] >> 4 == 4) & (size >= IPV4_BYTES) & (total >= size)  # noqa: PLR2004
    is_part = sound & (head["part"] & _MORE_OR_OFFSET != 0)
    inner = replace(
        packets,
        at=packets.at + size,
        stop=packets.at + total,
        kind=head["protocol"].astype(np.int64),
        ip=packets.at,
    )
    cut_up, field = inner.keep(is_part), head["part"][is_part].astype(np.int64)
    parts = _parts(
        cut_up, depth, IPV4, head["id"][is_part], (field & 0x1FFF) * 8, field & _MORE != 0
    )
    return _past_authentication(inner.keep(sound & ~is_part)), parts


def open_ipv6(packets: Headers, depth: int) -> tuple[Headers, list[Parts]]:
    """Return what is inside IPv6 and its extension headers, and the parts of packets."""
    packets = packets.of_kind(IPV6).having(IPV6_BYTES)
    head = packets.fields(IPV6_HEAD)
    length = head["length"].astype(np.int64) + IPV6_BYTES
    # Length 0 is that of a packet too long for the field, of a host that joined what came in.
    there = packets.stop - packets.at
    length = np.where((head["length"] == 0) & (there > length + _MAX_LENGTH), there, length)
    inner = replace(
        packets,
        at=packets.at + IPV6_BYTES,
        stop=packets.at + length,
        kind=head["protocol"].astype(np.int64),
        ip=packets.at,
    )
    inner = inner.keep(head["first"] >> 4 == 6)  # noqa: PLR2004 - IPv6
    parts = []
    for _ in range(_MAX_EXTENSIONS):
        extended = np.isin(inner.kind, (*_EXTENSIONS, _FRAGMENT, _AUTHENTICATION))
        if not extended.any():
            break
        outer = inner.keep(extended).having(8)
        opened, cut_up = _open_extension(outer, depth)
        if len(cut_up.row):
            parts.append(cut_up)
        inner = join(inner.data, (inner.keep(~extended), opened))
    return inner, parts


def _open_extension(outer: Headers, depth: int) -> tuple[Headers, Parts]:
    """Return what follows an extension header, and the parts of packets."""
    head = outer.fields(_FRAGMENT_HEAD)
    fragment = outer.kind == _FRAGMENT
    is_part = fragment & (head["part"] & _MORE_OR_OFFSET6 != 0)
    units = outer.number(1, "u1")
    size = np.where(outer.kind == _AUTHENTICATION, (units + 2) * 4, (units + 1) * 8)
    inner = outer.past(np.where(fragment, 8, size), head["protocol"].astype(np.int64))
    cut_up, field = inner.keep(is_part), head["part"][is_part].astype(np.int64)
    parts = _parts(cut_up, depth, IPV6, head["id"][is_part], field & 0xFFF8, field & _MORE6 != 0)
    return inner.keep(~is_part), parts


def _past_authentication(inner: Headers) -> Headers:
    """Return what is inside IPv4, behind an authentication header where there is one."""
    signed = inner.kind == _AUTHENTICATION
    if not signed.any():
        return inner
    outer = inner.keep(signed).having(8)
    opened = outer.past((outer.number(1, "u1") + 2) * 4, outer.number(0, "u1"))
    return join(inner.data, (inner.keep(~signed), opened))


def _parts(  # noqa: PLR0913, PLR0917 - a part is all of this
    cut_up: Headers, depth: int, version: int, identity: Bytes, offset_bytes: Ints, more: Bools
) -> Parts:
    return Parts(
        ipv4=version == IPV4,
        depth=depth,
        row=cut_up.row,
        ip=cut_up.ip,
        at=cut_up.at,
        end=cut_up.end,
        stop=cut_up.stop,
        id=identity.astype(np.int64),
        offset_bytes=offset_bytes,
        more=more,
        protocol=cut_up.kind,
        link=cut_up.link,
    )
