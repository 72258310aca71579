"""Reading a DNS message octet by octet: every failure is a `WireError` with its offset.

Names are decoded by dnspython, but only after their length has been bounded here: a chain of
compression pointers in each of thousands of records would cost seconds (dnspython before 2.8).

Source: RFC 1035 sections 3.1 and 4.1.4.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.opcode

from harness.errors import WireError

HEADER_BYTES = 12
QR = 0x8000
MAX_POINTERS = 16  # in one name: a compressor needs one; dnspython 2.9 has the same limit
MAX_NAME_STEPS = 65_535  # labels and pointers in one message: a full one of NAPTR has 20 000

_POINTER = _LABEL_KIND = 0xC0
_OFFSET = 0x3FFF


@dataclass(frozen=True, slots=True)
class Header:
    """The first 12 octets of a message."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]  # questions, answers, authority, additional

    @property
    def is_response(self) -> bool:
        """True for an answer (QR set)."""
        return bool(self.flags & QR)

    @property
    def opcode(self) -> str:
        """Return the operation's name, such as "QUERY"; "OPCODE7" when it has none."""
        value = self.flags >> 11 & 0xF
        text = dns.opcode.to_text(dns.opcode.Opcode.make(value))
        return f"OPCODE{value}" if text.isdecimal() else text


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record whose content lies from `start` to `end`."""

    owner: str  # lower case, no final dot
    type: int
    class_: int
    ttl_s: int
    start: int
    end: int


@dataclass(slots=True)
class Reader:
    """A place in the message *data*; nothing at or after `end` is read."""

    data: bytes
    at: int
    end: int = -1
    steps: int = 0

    def __post_init__(self) -> None:
        """Start with the whole message in reach."""
        self.end = len(self.data)

    def take(self, count: int) -> bytes:
        """Return the next *count* octets."""
        missing = self.at + count - self.end
        if missing > 0:
            raise WireError(f"ends {missing} bytes early", offset_bytes=self.at)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        """Return the next *count* octets as a number."""
        return int.from_bytes(self.take(count))

    def name(self) -> dns.name.Name:
        """Return the domain name that starts here."""
        start, end = self.at, self._end_of_name()
        try:
            name, _ = dns.name.from_wire(self.data, start)
        except dns.exception.DNSException as error:
            raise WireError(f"not a domain name ({error})", offset_bytes=start) from error
        self.at = end
        return name

    def _end_of_name(self) -> int:
        """Return where the name ends, having bounded the work that reading it takes."""
        end, pointers, lowest = 0, 0, self.at
        while size := self.number(1):
            self.steps += 1
            if self.steps > MAX_NAME_STEPS:
                raise WireError(f"more than {MAX_NAME_STEPS} labels", offset_bytes=lowest)
            if size & _LABEL_KIND == _POINTER:
                target = (size << 8 | self.number(1)) & _OFFSET
                end, pointers = end or self.at, pointers + 1
                if target >= lowest or pointers > MAX_POINTERS:
                    raise WireError("a compression pointer loops", offset_bytes=self.at - 2)
                lowest = self.at = target
            elif size & _LABEL_KIND:
                raise WireError(f"label type {size:#04x}", offset_bytes=self.at - 1)
            else:
                self.take(size)
        return end or self.at

    def record(self) -> Record:
        """Return the resource record that starts here, and step over its content."""
        owner = name_text(self.name())
        type_, class_, ttl_s, size = struct.unpack("!HHIH", self.take(10))
        start = self.at
        self.take(size)
        return Record(owner, type_, class_, ttl_s, start, self.at)

    @contextmanager
    def inside(self, record: Record) -> Iterator[None]:
        """Read within *record*; its content must end where its length says."""
        end, self.end, self.at = self.end, record.end, record.start
        try:
            yield
            if self.at != record.end:
                raise WireError("more content than the record has fields", offset_bytes=self.at)
        finally:
            self.end, self.at = end, record.end


def parse_header(data: bytes) -> Header:
    """Return the header of the message *data*.

    Raises:
        WireError: fewer than 12 octets.
    """
    if len(data) < HEADER_BYTES:
        raise WireError(f"{len(data)} bytes are no DNS header", offset_bytes=len(data))
    id_, flags, *counts = struct.unpack_from("!6H", data)
    return Header(id_, flags, (counts[0], counts[1], counts[2], counts[3]))


def name_text(name: dns.name.Name) -> str:
    """Return *name* in lower case without its final dot; the root is "."."""
    return name.canonicalize().to_text(omit_final_dot=True)


def name_octets(name: dns.name.Name) -> bytes:
    """Return *name* on the wire: letter case kept, nothing compressed."""
    return b"".join(bytes([len(label)]) + label for label in name.labels)
