"""UDP and TCP out of frames, as columns: who sent what to whom, and which bytes of it are there.

Laws: every frame is a row here, or counted in `fragments` or in `undecoded`; parts of IP packets
are put together, and the row is then that of the frame which brought the last of them; what a
snapshot length cut off is marked, never guessed; an endpoint has one spelling.
"""

import ipaddress
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness.errors import InputError
from harness.packets.assembled import assemble
from harness.packets.blocks import Block, whole
from harness.packets.capture import Bytes, Capture, Ints
from harness.packets.fragments import Assembly, Incomplete, Origin
from harness.packets.headers import COLUMNS, TCP, UDP, Bools, Words
from harness.packets.ip import Parts
from harness.packets.layers import Frames, decode_frames, distinct
from harness.packets.links import LINKTYPES

__all__ = (  # UDP and TCP are part of what a row says
    "ACK",
    "FIN",
    "PSH",
    "RST",
    "SYN",
    "TCP",
    "UDP",
    "Datagrams",
    "Endpoint",
    "decode",
    "encode_tcp",
    "encode_udp",
)

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_IPV4_BYTES, _UDP_BYTES, _TCP_BYTES = 20, 8, 20
_MAX_IP_BYTES, _MAX_PORT = 65_535, 65_535


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An IP address and a UDP or TCP port."""

    address: str  # in its shortest form, as Python's ipaddress writes it
    port: int

    def __post_init__(self) -> None:
        """Refuse anything else, so that equal endpoints are equal values."""
        shortest = _address(self.address)
        if shortest != self.address:
            raise InputError(
                "not its shortest form", field="address", value=self.address, fix=f"use {shortest}"
            )
        if not 0 <= self.port <= _MAX_PORT:
            raise InputError("no port", field="port", value=self.port, fix="use 0 to 65535")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "address:port", an IPv6 address in brackets.

        Raises:
            InputError: anything else.

        >>> Endpoint.parse("[2001:db8:0::1]:5060").address
        '2001:db8::1'
        >>> Endpoint.parse("::1:53")
        Traceback (most recent call last):
        harness.errors.InputError: endpoint = '::1:53': not address:port; write [v6]:port for IPv6
        """
        host, _, port = text.rpartition(":")
        inner = host.removeprefix("[").removesuffix("]")
        good_host = host == (f"[{inner}]" if ":" in inner else inner)
        if not good_host or not port.isdecimal() or port != str(int(port[:6])):
            fix = "write [v6]:port for IPv6"
            raise InputError("not address:port", field="endpoint", value=text, fix=fix)
        return cls(_address(inner), int(port))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, eq=False)
class Datagrams:
    """Every UDP datagram and TCP segment of a capture, one row each, in the capture's order."""

    capture: Capture
    data: Bytes  # that payloads are in: the capture's, and after it what was put together
    frame: Ints  # counted from 1; of what was put together, the frame that completed it
    interface: npt.NDArray[np.int32]  # of that frame
    fresh: Bools  # to be taken now (`harness.packets.blocks`)
    at_ns: Ints  # nanoseconds since 1970 (UTC)
    protocol: npt.NDArray[np.uint8]  # UDP or TCP
    ipv4: Bools  # how it travelled; its addresses are then IPv4-mapped here
    source_address: Bytes  # 16 bytes a row
    destination_address: Bytes
    source_port: npt.NDArray[np.int32]
    destination_port: npt.NDArray[np.int32]
    payload_offset: Ints  # in `data`
    payload_bytes: Ints  # that are in the file
    complete: Bools  # the payload is as long as its headers say, and they do not contradict
    tcp_sequence: npt.NDArray[np.uint32]  # 0 for UDP, as the next
    tcp_flags: npt.NDArray[np.uint8]
    ip_id: npt.NDArray[np.int32]  # IPv4 identification; -1: IPv6, which has none
    ttl: npt.NDArray[np.uint8]  # or hop limit
    link: Words  # equal where the addresses and tags of the innermost link are; 0: none
    depth: npt.NDArray[np.uint8]  # how many tunnels are around it
    fragments: int  # frames of the file so far with a part of an IP packet, of any protocol
    undecoded: int  # frames of the file so far that are neither a row nor a fragment
    incomplete: int  # packets of which not all parts came, or contradicted each other
    repeated: int  # parts that were there already: a tap's copies
    lost: tuple[Incomplete, ...]  # the first of the incomplete

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def source(self, row: int) -> Endpoint:
        """Return where a row came from."""
        address = self.source_address[row].tobytes()
        return _endpoint(address, bool(self.ipv4[row]), int(self.source_port[row]))

    def destination(self, row: int) -> Endpoint:
        """Return where a row went."""
        address = self.destination_address[row].tobytes()
        return _endpoint(address, bool(self.ipv4[row]), int(self.destination_port[row]))

    def payload(self, row: int) -> bytes:
        """Return what a row carried, as far as it was captured."""
        start = int(self.payload_offset[row])
        return self.data[start : start + int(self.payload_bytes[row])].tobytes()

    def select(self, rows: Bools | Ints) -> Self:
        """Return some rows: a mask, or their numbers; both counts stay those of the capture."""
        names = ("frame", "interface", "fresh", "at_ns", *COLUMNS)
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def decode(capture: Capture) -> Datagrams:
    """Return every UDP datagram and TCP segment of *capture*, as `Decoder` does of a whole one."""
    return Decoder().read(whole(capture))


@dataclass(slots=True)
class Decoder:
    """What is known of a file while its blocks are decoded one after the other."""

    fragments: int = 0
    undecoded: int = 0
    assembly: Assembly = field(default_factory=Assembly)

    def read(self, block: Block) -> Datagrams:
        """Return every UDP datagram and TCP segment of *block*; the counts are of the file so far.

        What its fresh frames complete is a row too, in its place.

        Raises:
            InputError: frames of a link type that is not known here; names its number.
        """
        capture, fresh = block.capture, block.fresh
        _check_linktypes(capture)
        known, table, parts = decode_frames(Frames.of(capture))
        self._count(fresh, known, parts)
        rows = Datagrams(
            capture=capture,
            data=capture.data,
            frame=known + capture.first_frame,
            interface=capture.interface[known],
            fresh=fresh[known],
            at_ns=capture.at_ns[known],
            fragments=self.fragments,
            undecoded=self.undecoded,
            incomplete=0,
            repeated=0,
            lost=(),
            **table,
        )
        if parts:
            rows = self._with_assembled(rows, parts, block)
        if block.is_last:
            self.assembly.close()
        lost = tuple(sorted(self.assembly.named, key=lambda one: one.frame))
        counts = (self.assembly.incomplete, self.assembly.repeated)
        return replace(rows, incomplete=counts[0], repeated=counts[1], lost=lost)

    def _count(self, fresh: Bools, known: Ints, parts: list[Parts]) -> None:
        """Count the fresh frames that are no rows."""
        cut_up = np.zeros(len(fresh), np.bool_)
        for part in parts:
            cut_up[part.row] = True
        fragments = int((cut_up & fresh).sum())
        self.fragments += fragments
        self.undecoded += int(fresh.sum()) - int(fresh[known].sum()) - fragments

    def _with_assembled(self, rows: Datagrams, parts: list[Parts], block: Block) -> Datagrams:
        """Return *rows* and those that were put together, in order of their frames."""
        capture, fresh = block.capture, block.fresh
        count = len(capture)
        origin = Origin(
            at_ns=capture.at_ns,
            frame=np.arange(count, dtype=np.int64) + capture.first_frame,
            interface=capture.interface.astype(np.int64),
            wanted=fresh,
            link=np.zeros(count, np.uint64),
            depth=np.zeros(count, np.int64),
        )
        made = assemble(self.assembly, capture.data, parts, origin)
        if fresh.any():
            self.assembly.sweep(int(capture.at_ns[fresh].max()))
        if made is None:
            return rows
        columns: dict[str, Any] = {
            name: np.concatenate((getattr(rows, name), made.table[name])) for name in COLUMNS
        }
        columns["payload_offset"][len(rows) :] += capture.data.size
        joined = replace(
            rows,
            data=np.concatenate((rows.data, made.data)),
            frame=np.concatenate((rows.frame, made.frame)),
            interface=np.concatenate((rows.interface, made.interface.astype(np.int32))),
            fresh=np.concatenate((rows.fresh, np.ones(len(made), np.bool_))),
            at_ns=np.concatenate((rows.at_ns, made.at_ns)),
            **columns,
        )
        return joined.select(np.argsort(joined.frame, kind="stable"))


def _check_linktypes(capture: Capture) -> None:
    """Refuse frames that are not read here."""
    for linktype in distinct(capture.linktype):
        if linktype not in LINKTYPES:
            raise InputError(
                "link type that is not read here",
                file=capture.name,
                field="linktype",
                value=linktype,
                fix="capture on an Ethernet interface, or on any (cooked)",
            )


def encode_udp(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
    """Return an IP packet with one UDP datagram, its checksums right (link type RAW).

    Raises:
        InputError: an IPv4 and an IPv6 address, or a payload too long for one packet.
    """
    length = _UDP_BYTES + len(payload)
    _check_length(source, length)
    head = struct.pack(">HHHH", source.port, destination.port, length, 0)
    return _encode_ip(source, destination, UDP, head + payload, checksum_at=6)


def encode_tcp(  # noqa: PLR0913 - these are the fields of a segment that a test has to choose
    source: Endpoint,
    destination: Endpoint,
    payload: bytes,
    *,
    sequence: int,
    acknowledgement: int,
    flags: int,
) -> bytes:
    """Return an IP packet with one TCP segment, its checksums right (link type RAW).

    Raises:
        InputError: an IPv4 and an IPv6 address, or a payload too long for one packet.
    """
    _check_length(source, _TCP_BYTES + len(payload))
    ports = (source.port, destination.port)
    numbers = (sequence % 2**32, acknowledgement % 2**32)
    words = _TCP_BYTES // 4 << 4
    head = struct.pack(">HHIIBBHHH", *ports, *numbers, words, flags, 65_535, 0, 0)
    return _encode_ip(source, destination, TCP, head + payload, checksum_at=16)


@lru_cache(maxsize=65_536)  # as below
def _address(text: str) -> str:
    """Return an address in its shortest form."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise InputError("not an IP address", field="address", value=text) from error
    if "%" in text:  # a zone is of a host, never in a packet
        raise InputError("an address in a packet has no zone", field="address", value=text)
    return str(found)


@lru_cache(maxsize=65_536)  # a capture has millions of rows and few endpoints
def _endpoint(address: bytes, ipv4: bool, port: int) -> Endpoint:
    text = "{}.{}.{}.{}".format(*address[12:]) if ipv4 else str(ipaddress.ip_address(address))
    return Endpoint(text, port)


def _check_length(source: Endpoint, length: int) -> None:
    """Refuse what does not fit into one packet."""
    most = _MAX_IP_BYTES - (0 if ":" in source.address else _IPV4_BYTES)
    if length > most:
        raise InputError(f"more than {most} bytes in one packet", field="payload", value=length)


def _encode_ip(
    source: Endpoint, destination: Endpoint, protocol: int, segment: bytes, checksum_at: int
) -> bytes:
    """Return *segment* in an IP packet; its checksum, still 0, is put in."""
    ends = (ipaddress.ip_address(source.address), ipaddress.ip_address(destination.address))
    if ends[0].version != ends[1].version:
        value = f"{source} to {destination}"
        raise InputError("IPv4 to IPv6", field="addresses", value=value, fix="use one of them")
    addresses = ends[0].packed + ends[1].packed
    size = len(segment)
    # The same for IPv4 and IPv6: a sum does not mind where its zeros stand (RFC 768, 8200 8.1).
    checksum = _checksum(addresses + struct.pack(">II", size, protocol) + segment)
    if protocol == UDP and checksum == 0:  # which would mean that there is none
        checksum = 0xFFFF
    field = slice(checksum_at, checksum_at + 2)
    segment = segment[: field.start] + struct.pack(">H", checksum) + segment[field.stop :]
    if ends[0].version == 6:  # noqa: PLR2004 - IPv6
        return struct.pack(">IHBB", 6 << 28, size, protocol, 64) + addresses + segment
    total = _IPV4_BYTES + size
    front = struct.pack(">BBHHHBB", 0x45, 0, total, 0, 0x4000, 64, protocol)  # don't fragment
    return front + struct.pack(">H", _checksum(front + addresses)) + addresses + segment


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
