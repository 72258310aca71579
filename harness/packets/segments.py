"""UDP and TCP headers, written into the table: a row is what the innermost one says.

Laws: a payload ends where UDP or IP say; a length that contradicts its packet is not believed, and
the row is not complete.

Sources: RFC 768, 9293; RFC 4291 section 2.5.5.2 (IPv4-mapped addresses).
"""

from dataclasses import replace

import numpy as np

from harness.packets.capture import Ints
from harness.packets.headers import NO_IP_ID, TCP, UDP, Bools, Headers, Table, layout
from harness.packets.ip import IPV4_HEAD, IPV6_HEAD

UDP_BYTES, TCP_BYTES = 8, 20
MAPPED = np.uint64(0xFFFF0000)  # bytes 8 to 11 of an IPv4-mapped address, read little endian
_UDP_HEAD = layout(UDP_BYTES, source=(0, ">u2"), destination=(2, ">u2"), length=(4, ">u2"))
_TCP_HEAD = layout(
    TCP_BYTES,
    source=(0, ">u2"),
    destination=(2, ">u2"),
    sequence=(4, ">u4"),
    words=(12, "u1"),
    flags=(13, "u1"),
)


def fill_udp(segments: Headers, table: Table, depth: int, *, ipv4: bool) -> Headers:
    """Write the UDP datagrams into the table; return their payloads, `kind` the destination port.

    What a payload's own end is worth, `stop` says.
    """
    udp = segments.of_kind(UDP).having(UDP_BYTES)
    udp = udp.keep(udp.at + UDP_BYTES <= udp.stop)
    if not len(udp):
        return udp
    head = udp.fields(_UDP_HEAD)
    length, port = head["length"].astype(np.int64), head["destination"].astype(np.int64)
    # A length shorter than its own header, or longer than the packet, is a lie: a host drops it.
    sound = (length >= UDP_BYTES) & (udp.at + length <= udp.stop)
    stop = np.where(sound, udp.at + length, np.where(length < UDP_BYTES, udp.at, udp.stop))
    _fill_addresses(udp, table, depth, ipv4=ipv4)
    _fill(udp, table, udp.at + UDP_BYTES, stop, sound)
    table["source_port"][udp.row] = head["source"]
    table["destination_port"][udp.row] = port
    payloads = replace(udp, at=udp.at + UDP_BYTES, stop=stop, kind=port)
    return payloads.keep(payloads.at < stop)


def fill_tcp(segments: Headers, table: Table, depth: int, *, ipv4: bool) -> None:
    """Write the TCP segments into the table."""
    tcp = segments.of_kind(TCP).having(TCP_BYTES)
    tcp = tcp.keep(tcp.at + TCP_BYTES <= tcp.stop)
    if not len(tcp):
        return
    head = tcp.fields(_TCP_HEAD)
    size = (head["words"] >> 4).astype(np.int64) * 4
    sound = (size >= TCP_BYTES) & (tcp.at + size <= tcp.stop)
    _fill_addresses(tcp, table, depth, ipv4=ipv4)
    _fill(tcp, table, tcp.at + np.maximum(size, TCP_BYTES), np.where(sound, tcp.stop, 0), sound)
    table["source_port"][tcp.row] = head["source"]
    table["destination_port"][tcp.row] = head["destination"]
    table["tcp_sequence"][tcp.row] = head["sequence"]
    table["tcp_flags"][tcp.row] = head["flags"]


def _fill(segments: Headers, table: Table, start: Ints, stop: Ints, sound: Bools) -> None:
    """Write where the payload lies; *stop* is where it should end."""
    there = np.maximum(np.minimum(stop, segments.end) - start, 0)
    row = segments.row
    table["protocol"][row] = segments.kind
    table["payload_offset"][row] = np.minimum(start, segments.end)
    table["payload_bytes"][row] = there
    table["complete"][row] = sound & (there == stop - start)


def _fill_addresses(segments: Headers, table: Table, depth: int, *, ipv4: bool) -> None:
    """Write what the IP header before each says."""
    row = segments.row
    head = segments.fields(IPV4_HEAD if ipv4 else IPV6_HEAD, segments.ip)
    for name in ("source", "destination"):
        halves = table[f"{name}_address"].view("<u8")
        if ipv4:
            halves[row, 0] = 0
            halves[row, 1] = head[name].astype(np.uint64) << np.uint64(32) | MAPPED
        else:
            halves[row, 0] = head[name]
            halves[row, 1] = head[f"{name}_end"]
    table["ipv4"][row] = ipv4
    table["ip_id"][row] = head["id"] if ipv4 else NO_IP_ID
    table["ttl"][row] = head["ttl"]
    table["link"][row] = segments.link
    table["depth"][row] = depth
