"""Packets inside packets: what an IP or UDP payload holds that is a frame or packet again.

Laws: a tunnel is known by its protocol or its port, by a header that a receiver must accept, and by
what is found inside: a port alone makes no tunnel. Reserved bits are ignored where the description
says so. What is inside ends where the tunnel's packet ends.

Sources: RFC 2784 and 2890 (GRE), 7637 (NVGRE), 2003 and 2473 (IP in IP), 4213 (6in4), 3378
(EtherIP), 4023 and 7510 (MPLS in IP and UDP), 7348 (VXLAN), 8926 (Geneve),
draft-ietf-nvo3-vxlan-gpe, draft-smith-vxlan-group-policy, draft-foschiano-erspan-03,
3GPP TS 29.281 section 5 (GTP-U).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from harness.packets.headers import Headers, join, layout
from harness.packets.ip import IPV4, IPV6, by_version
from harness.packets.links import ETHERNET, MPLS

_IN_IP4, _IN_IP6, _GRE, _ETHERIP, _IN_MPLS = 4, 41, 47, 97, 137
PROTOCOLS = (_IN_IP4, _IN_IP6, _GRE, _ETHERIP, _IN_MPLS)
_VXLAN, _VXLAN_LINUX, _VXLAN_GPE, _GENEVE, _GTP, _MPLS_UDP = 4789, 8472, 4790, 6081, 2152, 6635
PORTS = (_VXLAN, _VXLAN_LINUX, _VXLAN_GPE, _GENEVE, _GTP, _MPLS_UDP)

_GRE_HEAD = layout(4, flags=(0, ">u2"), kind=(2, ">u2"))
_CHECKSUM, _KEY, _SEQUENCE = 0x8000, 0x2000, 0x1000
_GRE_REFUSED = 0x4C07  # with routing, or a version but 0, it is to be discarded (RFC 2784)
_ERSPAN, _ERSPAN_III = 0x88BE, 0x22EB
_ERSPAN_II_BYTES, _ERSPAN_III_BYTES, _SUBHEADER_BYTES = 8, 12, 8
_HAS_SUBHEADER, _FRAME_TYPE = 1, 0x1F
_VXLAN_HEAD = layout(8, flags=(0, "u1"), next=(3, "u1"))
_VXLAN_VNI = 0x08  # it has a network
_VXLAN_TYPED = 0x04  # of the generic protocol extension: the fourth byte is a type
_GPE_KINDS = {1: IPV4, 2: IPV6, 3: ETHERNET, 5: MPLS}
_GENEVE_HEAD = layout(8, options=(0, "u1"), kind=(2, ">u2"))
_GTP_HEAD = layout(8, flags=(0, "u1"), type=(1, "u1"), length=(2, ">u2"))
_GTP_VERSION, _GTP_USER_DATA, _GTP_OPTIONAL, _GTP_EXTENDED = 0x30, 0xFF, 0x07, 0x04
_MAX_GTP_EXTENSIONS = 8


def open_in_ip(segments: Headers) -> Headers:
    """Return what is inside tunnels right over IP, `kind` being its EtherType."""
    inside = _bounded(segments.keep(np.isin(segments.kind, PROTOCOLS)))
    opened = (
        _plain(inside.of_kind(_IN_IP4), IPV4),
        _plain(inside.of_kind(_IN_IP6), IPV6),
        _plain(inside.of_kind(_IN_MPLS), MPLS),
        _open_gre(inside.of_kind(_GRE)),
        _open_etherip(inside.of_kind(_ETHERIP)),
    )
    return join(inside.data, opened)


def open_in_udp(payloads: Headers) -> Headers:
    """Return what is inside tunnels over UDP, `kind` being its EtherType."""
    inside = _bounded(payloads.keep(np.isin(payloads.kind, PORTS)))
    if not len(inside):
        return inside
    return join(inside.data, (opened(inside.of_kind(*ports)) for ports, opened in _OPENERS))


def _bounded(inside: Headers) -> Headers:
    """Return them so that nothing behind the tunnel's packet is taken for a part of it."""
    return replace(inside, end=np.minimum(inside.end, inside.stop))


def _plain(inside: Headers, kind: int) -> Headers:
    return inside.past(0, kind)


def _open_gre(inside: Headers) -> Headers:
    inside = inside.having(_GRE_HEAD.itemsize)
    head = inside.fields(_GRE_HEAD)
    flags, kind = head["flags"].astype(np.int64), head["kind"].astype(np.int64)
    size = np.full(len(inside), _GRE_HEAD.itemsize, np.int64)
    for flag in (_CHECKSUM, _KEY, _SEQUENCE):
        size += np.where(flags & flag, 4, 0)
    sound = flags & _GRE_REFUSED == 0
    # Type I has no header of its own, and no sequence number; type II has both.
    second = (kind == _ERSPAN) & (flags & _SEQUENCE != 0)
    kind = np.where((kind == _ERSPAN) & ~second, ETHERNET, kind)
    inside = inside.past(size, kind)
    third = inside.kind == _ERSPAN_III
    found = (
        inside.keep(sound & ~second & ~third),
        _open_erspan_ii(inside.keep(sound & second)),
        _open_erspan_iii(inside.keep(sound & third)),
    )
    return join(inside.data, found)


def _open_erspan_ii(inside: Headers) -> Headers:
    inside = inside.having(_ERSPAN_II_BYTES)
    version = inside.number(0, "u1") >> 4
    return inside.past(_ERSPAN_II_BYTES, ETHERNET).keep(version == 1)


def _open_erspan_iii(inside: Headers) -> Headers:
    """Return the frames or packets: five bits of the last word say which."""
    inside = inside.having(_ERSPAN_III_BYTES)
    version, last = inside.number(0, "u1") >> 4, inside.number(10, ">u2")
    size = np.where(last & _HAS_SUBHEADER, _ERSPAN_III_BYTES + _SUBHEADER_BYTES, _ERSPAN_III_BYTES)
    frame_type = last >> 10 & _FRAME_TYPE
    opened = inside.past(size, frame_type).keep(version == 2)  # noqa: PLR2004 - type III says 2
    found = (_plain(opened.of_kind(0), ETHERNET), by_version(opened.of_kind(2)))
    return join(inside.data, found)


def _open_etherip(inside: Headers) -> Headers:
    inside = inside.having(2)
    version = inside.number(0, ">u2")
    return inside.past(2, ETHERNET).keep(version == 0x3000)  # noqa: PLR2004 - version 3, then zeros


def _open_vxlan(inside: Headers) -> Headers:
    """Return what is in VXLAN: frames, or what its extension says."""
    inside = inside.having(_VXLAN_HEAD.itemsize)
    head = inside.fields(_VXLAN_HEAD)
    typed = head["flags"] & _VXLAN_TYPED != 0
    kind = np.where(typed, 0, ETHERNET)
    for number, ethertype in _GPE_KINDS.items():
        kind[typed & (head["next"] == number)] = ethertype
    return inside.past(_VXLAN_HEAD.itemsize, kind).keep(head["flags"] & _VXLAN_VNI != 0)


def _open_geneve(inside: Headers) -> Headers:
    inside = inside.having(_GENEVE_HEAD.itemsize)
    head = inside.fields(_GENEVE_HEAD)
    size = _GENEVE_HEAD.itemsize + (head["options"] & 0x3F).astype(np.int64) * 4
    return inside.past(size, head["kind"].astype(np.int64)).keep(head["options"] >> 6 == 0)


def _open_gtp(inside: Headers) -> Headers:
    """Return the user's packets, which have no type but their version."""
    inside = inside.having(_GTP_HEAD.itemsize)
    head = inside.fields(_GTP_HEAD)
    sound = (head["flags"] & 0xF8 == _GTP_VERSION) & (head["type"] == _GTP_USER_DATA)
    stop = inside.at + _GTP_HEAD.itemsize + head["length"]
    sound &= stop <= inside.stop
    flags = head["flags"].astype(np.int64)
    inside = replace(inside.past(_GTP_HEAD.itemsize, flags), stop=stop).keep(sound)
    short = inside.keep(inside.kind & _GTP_OPTIONAL == 0)
    long = inside.keep(inside.kind & _GTP_OPTIONAL != 0).having(4)
    following = np.where(long.kind & _GTP_EXTENDED, long.number(3, "u1"), 0)
    long = long.past(4, following)
    done = [short]
    for _ in range(_MAX_GTP_EXTENSIONS):
        done.append(long.keep(long.kind == 0))
        long = _past_gtp_extension(long.keep(long.kind != 0))
        if not len(long):
            break
    return by_version(_bounded(join(inside.data, done)))


def _past_gtp_extension(extended: Headers) -> Headers:
    """Return what is behind an extension header; `kind` is the type of the next, 0: none."""
    extended = extended.having(4)
    size = extended.number(0, "u1") * 4
    extended = extended.keep((size > 0) & (extended.at + size <= extended.end))
    size = extended.number(0, "u1") * 4
    following = extended.data[extended.at + size - 1].astype(np.int64)
    return extended.past(size, following)


def _open_mpls_in_udp(inside: Headers) -> Headers:
    return _plain(inside, MPLS)


_OPENERS: Iterable[tuple[tuple[int, ...], Callable[[Headers], Headers]]] = (
    ((_VXLAN, _VXLAN_LINUX, _VXLAN_GPE), _open_vxlan),
    ((_GENEVE,), _open_geneve),
    ((_GTP,), _open_gtp),
    ((_MPLS_UDP,), _open_mpls_in_udp),
)
