"""Frames in a file: pcap with micro- or nanoseconds, and pcapng with a clock for each interface.

Laws: the same frames give the same bytes, so no program, host or clock is named in the file; a
time that the clock of its interface cannot hold exactly is refused, not rounded.

Source: draft-ietf-opsawg-pcap section 4, draft-ietf-opsawg-pcapng sections 4.1 to 4.3.
"""

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from harness.errors import InputError
from probetest.script.link_type import LINKS, on_link
from probetest.script.model import Format

NANOSECONDS = 10**9
_UNITS = {"ms": (3, 10**3), "us": (6, 10**6), "ns": (9, 10**9)}  # if_tsresol, units a second
_MAGIC = {"us": 0xA1B2C3D4, "ns": 0xA1B23C4D}
_VERSION = (2, 4)
_MOST_S = 2**32  # pcap counts seconds since 1970 in 32 bits
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
        InputError: a time that the resolution cannot hold, a frame that the link cannot show.
    """
    order = "<" if form.byte_order == "little" else ">"
    data = (
        _pcapng(form, frames, order) if form.container == "pcapng" else _pcap(form, frames, order)
    )
    if form.compression == "gzip":
        return gzip.compress(data, mtime=0)
    if form.compression == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    return data


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


def _pcap(form: Format, frames: Sequence[Frame], order: str) -> bytes:
    units = _resolution(form.resolution)[1]
    head = (_MAGIC[form.resolution], *_VERSION, 0, 0, form.snaplen, LINKS[form.link])
    records = [struct.pack(order + "IHHiIII", *head)]
    for frame in frames:
        seconds, fraction = divmod(ticks(frame.at_ns, form.resolution), units)
        if not 0 <= seconds < _MOST_S:
            raise InputError("pcap holds 1970 to 2106 only", field="at_ns", value=frame.at_ns)
        data, size = _kept(form, frame, order)
        records += [struct.pack(order + "IIII", seconds, fraction, len(data), size), data]
    return b"".join(records)


def _kept(form: Format, frame: Frame, order: str) -> tuple[bytes, int]:
    """Return what the snapshot length leaves of *frame*, and how long it was."""
    data = on_link(frame.data, form.link_of(frame.interface), order)
    return data[: form.snaplen], len(data)


def _pcapng(form: Format, frames: Sequence[Frame], order: str) -> bytes:
    """Return one section with all interfaces, then all frames."""
    blocks = [_block(order, _SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for number, interface in enumerate(form.interfaces):
        octet = _resolution(interface.resolution)[0]
        options = _option(order, _NAME, interface.name.encode())
        options += _option(order, _TSRESOL, bytes([octet])) + _option(order, 0, b"")
        head = struct.pack(order + "HHI", LINKS[form.link_of(number)], 0, form.snaplen)
        blocks.append(_block(order, _INTERFACE, head + options))
    for frame in frames:
        count = ticks(frame.at_ns, form.resolution_of(frame.interface))
        data, size = _kept(form, frame, order)
        numbers = (frame.interface, count >> 32, count & 0xFFFFFFFF, len(data), size)
        body = struct.pack(order + "IIIII", *numbers) + _padded(data)
        blocks.append(_block(order, _ENHANCED, body))
    return b"".join(blocks)


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", len(body) + 12)  # type, this length, the same at the end
    return struct.pack(order + "I", kind) + length + body + length


def _option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
