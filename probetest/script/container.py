"""Frames in a file: pcap with micro- or nanoseconds, and pcapng with a clock for each interface.

Laws: the same frames give the same bytes, so no program, host or clock is named in the file; a
time that the clock of its interface cannot hold exactly is refused, not rounded.

Source: draft-ietf-opsawg-pcap section 4, draft-ietf-opsawg-pcapng sections 4.1 to 4.3.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InputError
from harness.packets.capture import LINKTYPE_ETHERNET, encode_file_header, encode_record
from probetest.script.model import Format

NANOSECONDS = 10**9
SNAPLEN_BYTES = 262_144
_UNITS = {"ms": (3, 10**3), "us": (6, 10**6), "ns": (9, 10**9)}  # if_tsresol, units a second
_SECTION, _INTERFACE, _ENHANCED = 0x0A0D0D0A, 1, 6
_NAME, _TSRESOL = 2, 9
_POWER_OF_TWO = 0x80


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame at one port of the probe."""

    at_ns: int  # since 1970 (UTC)
    interface: int
    data: bytes


def encode_file(form: Format, frames: Sequence[Frame]) -> bytes:
    """Return the capture file with *frames*, in the order given.

    Raises:
        InputError: a time that the resolution cannot hold.
    """
    if form.container == "pcapng":
        return _pcapng(form, frames)
    if form.resolution == "ns":
        head = encode_file_header(LINKTYPE_ETHERNET)
        return head + b"".join(encode_record(frame.at_ns, frame.data) for frame in frames)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN_BYTES, LINKTYPE_ETHERNET)
    return head + b"".join(map(_record_us, frames))


def ticks(at_ns: int, resolution: str) -> int:
    """Return *at_ns* in units of *resolution*.

    >>> ticks(1_953_125, "2^-9")
    1
    >>> ticks(1, "us")
    Traceback (most recent call last):
    harness.errors.InputError: at_ns = 1: not a whole number of us; choose another time
    """
    units = _resolution(resolution)[1]
    count, rest = divmod(at_ns * units, NANOSECONDS)
    if rest:
        why = f"not a whole number of {resolution}"
        raise InputError(why, field="at_ns", value=at_ns, fix="choose another time")
    return count


def _resolution(text: str) -> tuple[int, int]:
    """Return the octet of if_tsresol, and how many units a second has."""
    if text in _UNITS:
        return _UNITS[text]
    exponent = int(text.removeprefix("2^-"))
    return _POWER_OF_TWO | exponent, 2**exponent


def _record_us(frame: Frame) -> bytes:
    seconds, micros = divmod(ticks(frame.at_ns, "us"), 10**6)
    size = len(frame.data)
    return struct.pack("<IIII", seconds, micros, size, size) + frame.data


def _pcapng(form: Format, frames: Sequence[Frame]) -> bytes:
    """Return one section with all interfaces, then all frames."""
    blocks = [_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for interface in form.interfaces:
        octet = _resolution(interface.resolution)[0]
        options = _option(_NAME, interface.name.encode()) + _option(_TSRESOL, bytes([octet]))
        head = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAPLEN_BYTES)
        blocks.append(_block(_INTERFACE, head + options + _option(0, b"")))
    for frame in frames:
        count = ticks(frame.at_ns, form.resolution_of(frame.interface))
        size = len(frame.data)
        numbers = (frame.interface, count >> 32, count & 0xFFFFFFFF, size, size)
        blocks.append(_block(_ENHANCED, struct.pack("<IIIII", *numbers) + _padded(frame.data)))
    return b"".join(blocks)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)  # type, this length, and the same at the end
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
