"""Frames as other links than Ethernet show them: cooked, raw, and loopback.

Law: only what such a link has is kept; a frame that a link cannot show is refused.

Source: https://www.tcpdump.org/linktypes.html.
"""

import struct

from harness.errors import InputError
from probetest.script.ip_bytes import IPV4, IPV6

LINKS = {  # what a script calls them, and their number in a file
    "ethernet": 1,
    "null": 0,
    "loop": 108,
    "raw": 101,
    "cooked": 113,
    "cooked2": 276,
    "ipv4": 228,
    "ipv6": 229,
}
_FAMILY = {IPV4: 2, IPV6: 30}  # AF_INET; AF_INET6 of macOS, one of three that readers know
_ARPHRD_ETHER = 1
_TO_US = 0
_INTERFACE = 1


def on_link(data: bytes, link: str, order: str = "<") -> bytes:
    """Return the Ethernet frame *data* as *link* shows it; *order* is that of the file's host.

    Raises:
        InputError: no IP packet, for a link that carries nothing else.
    """
    kind, body = int.from_bytes(data[12:14]), data[14:]
    sender = data[6:12] + bytes(2)
    if link == "ethernet":
        return data
    if link == "cooked":
        return struct.pack(">HHH", _TO_US, _ARPHRD_ETHER, 6) + sender + data[12:]
    if link == "cooked2":
        head = struct.pack(">HHIHBB", kind, 0, _INTERFACE, _ARPHRD_ETHER, _TO_US, 6)
        return head + sender + body
    only = {"ipv4": (IPV4,), "ipv6": (IPV6,)}.get(link, (IPV4, IPV6))
    if kind not in only:
        raise InputError(f"a {link} link has no such frames", field="link", value=f"{kind:#06x}")
    if link in ("null", "loop"):
        return struct.pack((order if link == "null" else ">") + "I", _FAMILY[kind]) + body
    return body
