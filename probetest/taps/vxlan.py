"""Ethernet frames in UDP datagrams: VXLAN, which also carries mirrored traffic to a tap.

Source: RFC 7348 section 5. Reserved bits are zero when sent and ignored when received.
"""

import struct
from dataclasses import dataclass

from harness.errors import InputError, WireError

PORT = 4789  # RFC 7348 section 8.1
HEADER_BYTES = 8
MAX_VNI = 2**24 - 1
MAX_FRAME_BYTES = 65_507 - HEADER_BYTES  # in one UDP datagram over IPv4
ETHERNET_BYTES = 14  # two addresses and a type: less is no frame

_VALID_VNI = 0x08  # the I flag


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What one datagram carried."""

    vni: int
    frame: bytes


def header(vni: int) -> bytes:
    """Return the 8 bytes that stand before a frame of network *vni*.

    Raises:
        InputError: *vni* does not fit into 24 bits.
    """
    if not 0 <= vni <= MAX_VNI:
        raise InputError("not a VXLAN network", field="vni", value=vni, fix=f"use 0 to {MAX_VNI}")
    return struct.pack(">II", _VALID_VNI << 24, vni << 8)


def encapsulate(frame: bytes, vni: int = 0) -> bytes:
    """Return the UDP payload that carries *frame*.

    Raises:
        InputError: no Ethernet frame, one too long for a datagram, or no such *vni*.

    >>> encapsulate(bytes(14), 5000).hex()
    '08000000001388000000000000000000000000000000'
    """
    if not ETHERNET_BYTES <= len(frame) <= MAX_FRAME_BYTES:
        why = f"a frame has {ETHERNET_BYTES} to {MAX_FRAME_BYTES} bytes here"
        raise InputError(why, field="frame", value=len(frame))
    return header(vni) + frame


def decapsulate(payload: bytes) -> Mirrored:
    """Return the frame in a UDP payload, and the network it was sent for.

    Raises:
        WireError: it is cut, or its I flag is not set.
    """
    if len(payload) < HEADER_BYTES:
        raise WireError("cut inside the VXLAN header", offset_bytes=len(payload))
    flags, network = struct.unpack_from(">B3xI", payload)
    if not flags & _VALID_VNI:
        raise WireError("not VXLAN: the I flag is not set", offset_bytes=0)
    if len(payload) < HEADER_BYTES + ETHERNET_BYTES:
        raise WireError("cut inside the Ethernet header", offset_bytes=len(payload))
    return Mirrored(network >> 8, payload[HEADER_BYTES:])
