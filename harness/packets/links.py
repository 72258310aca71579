"""Link headers, and all that an EtherType announces, down to IP.

Laws: each step opens one header of each frame, and there are few steps, so that no frame loops;
what stands behind MPLS labels has no type of its own and is believed only when it can be one thing.

Sources: IEEE 802.1Q, 802.1ad, 802.1BR; RFC 1042 (SNAP), 1661 and 2516 (PPP, PPPoE), 3032, 4385 and
4448 (MPLS and pseudowires), 4928 (why the first four bits do not say enough); the link types of
tcpdump.org.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from harness.packets.capture import Ints, at_every_byte
from harness.packets.headers import ODD, Bools, Headers, Words, join, layout
from harness.packets.ip import IPV4, IPV6, by_version, could_be_ip

ETHERNET = 0x6558  # an Ethernet frame, as GRE names it
PPP, MPLS, PPPOE = 0x880B, 0x8847, 0x8864
_MPLS_UPSTREAM, _VN_TAG, _E_TAG, _ARP = 0x8848, 0x8926, 0x893F, 0x0806
_LLC = 4  # in Linux cooked headers; in Ethernet it is a length where the EtherType would be
_LEAST_ETHERTYPE = 0x600
_TAGS = (0x8100, 0x88A8, 0x9100)  # VLAN, QinQ, and QinQ as it was before the standard
_MAX_STEPS = 10
_MAX_LABELS = 16

_COOKED, _COOKED2, _CISCO_HDLC = 113, 276, 104
_LOOPBACK = (0, 108)  # a 4-byte address family: in the capturing host's byte order, or big endian
_FAMILIES = {2: IPV4, 24: IPV6, 28: IPV6, 30: IPV6}  # AF_INET; AF_INET6 of the BSDs and macOS
_RAW = (12, 14, 101, 228, 229)
_BARE = {1: ETHERNET, 9: PPP, 50: PPP, 51: PPPOE, 219: MPLS}  # what a frame begins with
LINKTYPES = frozenset((*_BARE, *_LOOPBACK, *_RAW, _COOKED, _COOKED2, _CISCO_HDLC))

_ETHERNET_HEAD = layout(14, eight=(0, "<u8"), four=(8, "<u4"), kind=(12, ">u2"))
_COOKED_HEAD = layout(16, address=(6, "<u8"), kind=(14, ">u2"))
_COOKED2_HEAD = layout(20, address=(12, "<u8"), kind=(0, ">u2"))
_TAG = layout(4, control=(0, ">u2"), kind=(2, ">u2"))
_SNAP = layout(8, control=(0, ">u4"), vendor=(4, ">u2"), kind=(6, ">u2"))
_SNAP_CONTROL = 0xAAAA0300  # and the first byte of vendor 0
_PPPOE_HEAD = layout(6, version=(0, "u1"), code=(1, "u1"), length=(4, ">u2"))
_PPPOE_VERSION, _PPPOE_BYTES = 0x11, 6
_PPP_FRAMING = 0xFF03  # address and control, which may be left out
_PPP_KINDS = {0x21: IPV4, 0x57: IPV6, 0x281: MPLS, 0x283: _MPLS_UPSTREAM}
_BOTTOM = 0x100  # of a stack of labels


def open_link(frames: Headers, linktype: int) -> Headers:
    """Return what is inside the link header, `kind` being its EtherType."""
    if linktype in _BARE:
        return frames.past(0, _BARE[linktype])
    if linktype in _RAW:
        return by_version(frames)
    if linktype in _LOOPBACK:
        packets = frames.having(4)
        family = np.minimum(packets.number(0, ">u4"), packets.number(0, "<u4"))  # the small one
        return packets.past(4, _look_up(family, _FAMILIES))
    if linktype == _CISCO_HDLC:
        packets = frames.having(4)
        return packets.past(4, packets.number(2, ">u2"))
    head_of = _COOKED_HEAD if linktype == _COOKED else _COOKED2_HEAD
    packets = frames.having(head_of.itemsize)
    head = packets.fields(head_of)
    packets = packets.past(head_of.itemsize, head["kind"].astype(np.int64))
    return replace(packets, link=head["address"] * ODD)


def open_ethertypes(packets: Headers) -> Headers:
    """Return the IP packets in there, `kind` being IPV4 or IPV6; all else is left out."""
    found = []
    for _ in range(_MAX_STEPS):
        plain = (packets.kind == IPV4) | (packets.kind == IPV6)
        found.append(packets.keep(plain))
        rest = packets.keep(~plain)
        if not len(rest):
            break
        packets = join(
            packets.data,
            (opened(rest.of_kind(*kinds)) for kinds, opened in _OPENERS if len(rest)),
        )
    return join(packets.data, found)


def ethernet_word(eight: Words, four: Words) -> Words:
    """Return a word that is equal where both addresses of an Ethernet header are."""
    return eight * ODD ^ four


def _look_up(numbers: Ints, known: dict[int, int]) -> Ints:
    """Return what each number stands for; 0: not known."""
    found = np.zeros_like(numbers)
    for number, kind in known.items():
        found[numbers == number] = kind
    return found


def _open_ethernet(packets: Headers) -> Headers:
    packets = packets.having(_ETHERNET_HEAD.itemsize)
    head = packets.fields(_ETHERNET_HEAD)
    kind = head["kind"].astype(np.int64)
    link = ethernet_word(head["eight"], head["four"].astype(np.uint64))
    packets = packets.past(_ETHERNET_HEAD.itemsize, np.where(kind < _LEAST_ETHERTYPE, _LLC, kind))
    return replace(packets, link=link)


def _open_tag(packets: Headers) -> Headers:
    packets = packets.having(_TAG.itemsize)
    head = packets.fields(_TAG)
    control = head["control"].astype(np.uint64) + np.uint64(1)  # tag 0 is a tag too
    link = (packets.link ^ control) * ODD
    return replace(packets.past(_TAG.itemsize, head["kind"].astype(np.int64)), link=link)


def _open_snap(packets: Headers) -> Headers:
    packets = packets.having(_SNAP.itemsize)
    head = packets.fields(_SNAP)
    packets = packets.past(_SNAP.itemsize, head["kind"].astype(np.int64))
    return packets.keep((head["control"] == _SNAP_CONTROL) & (head["vendor"] == 0))


def _open_vn_tag(packets: Headers) -> Headers:
    packets = packets.having(6)
    return packets.past(6, packets.number(4, ">u2"))


def _open_e_tag(packets: Headers) -> Headers:
    packets = packets.having(8)
    return packets.past(8, packets.number(6, ">u2"))


def _open_pppoe(packets: Headers) -> Headers:
    """Return the PPP inside a session; discovery has a code and another EtherType."""
    packets = packets.having(_PPPOE_BYTES + 2)
    head = packets.fields(_PPPOE_HEAD)
    stop = np.minimum(packets.stop, packets.at + _PPPOE_BYTES + head["length"])
    end = np.minimum(packets.end, stop)
    packets = replace(packets.past(_PPPOE_BYTES, PPP), stop=stop, end=end)
    return packets.keep((head["version"] == _PPPOE_VERSION) & (head["code"] == 0))


def _open_ppp(packets: Headers) -> Headers:
    packets = packets.having(2)
    framed = packets.number(0, ">u2") == _PPP_FRAMING
    packets = replace(packets, at=packets.at + np.where(framed, 2, 0)).having(2)
    number = packets.number(0, ">u2")
    short = number >> 8 & 1 == 1  # an odd first byte is the whole protocol (RFC 1661 section 6.5)
    kind = _look_up(np.where(short, number >> 8, number), _PPP_KINDS)
    return packets.past(np.where(short, 1, 2), kind)


def _open_mpls(packets: Headers) -> Headers:
    """Return what is behind the last label, where that can be only one thing."""
    labelled, behind = packets, []
    for _ in range(_MAX_LABELS):
        labelled = labelled.having(4)
        last = labelled.number(0, ">u4") & _BOTTOM != 0
        labelled = labelled.past(4, 0)
        behind.append(labelled.keep(last))
        labelled = labelled.keep(~last)
        if not len(labelled):
            break
    found = join(packets.data, behind)
    if not len(found):
        return found
    ip = could_be_ip(found)
    # A pseudowire's control word begins with four zero bits (RFC 4385); it may be left out.
    first = at_every_byte(found.data, "u1")[np.minimum(found.at, found.data.size - 1)]
    worded = (first >> 4 == 0) & _could_be_ethernet(found.past(4, 0))
    bare = _could_be_ethernet(found)
    sure = ip.astype(np.uint8) + worded + bare == 1
    skip = np.where(worded, 4, 0)
    kind = np.where(ip, 0, ETHERNET)
    decided = found.past(skip, kind).keep(sure)
    ip_packets = by_version(decided.of_kind(0))
    return join(packets.data, (ip_packets, decided.of_kind(ETHERNET)))


def _could_be_ethernet(packets: Headers) -> Bools:
    """Say of each whether an Ethernet frame that ends in something known stands there."""
    good = np.zeros(len(packets), np.bool_)
    inside = replace(packets, row=np.arange(len(packets), dtype=np.int64)).having(14)
    inside = inside.past(14, inside.number(12, ">u2"))
    for _ in range(3):
        ip = inside.of_kind(IPV4, IPV6)
        four = could_be_ip(ip)
        version = ip.kind == np.where(_nibble(ip) == 4, IPV4, IPV6)  # noqa: PLR2004 - IPv4
        good[ip.row[four & version]] = True
        arp = inside.of_kind(_ARP).having(8)
        good[arp.row[arp.number(0, ">u8") >> 16 == 0x000108000604]] = True  # noqa: PLR2004 - ARP
        tagged = inside.of_kind(*_TAGS).having(4)
        inside = tagged.past(4, tagged.number(2, ">u2"))
    return good


def _nibble(packets: Headers) -> Ints:
    last = packets.data.size - 1
    first: Ints = packets.data[np.minimum(packets.at, last)].astype(np.int64) >> 4
    return first


_OPENERS: Iterable[tuple[tuple[int, ...], Callable[[Headers], Headers]]] = (
    ((ETHERNET,), _open_ethernet),
    (_TAGS, _open_tag),
    ((MPLS, _MPLS_UPSTREAM), _open_mpls),
    ((PPPOE,), _open_pppoe),
    ((PPP,), _open_ppp),
    ((_LLC,), _open_snap),
    ((_VN_TAG,), _open_vn_tag),
    ((_E_TAG,), _open_e_tag),
)
