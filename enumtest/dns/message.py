"""DNS messages as ENUM needs them: queries and answers, bytes to values and back.

Laws:
  * Any octets give a value or a `WireError` with the offset; nothing else, and in bounded time.
  * What was on the wire is kept: the question's letter case, options as octets, trailing bytes.
  * A record that does not parse is counted with its offset and harms no other (RFC 5483 section 4).

Sources: RFC 1035 section 4, RFC 6891 (EDNS), RFC 3403 (NAPTR); names of return codes as RFC 9499.
"""

import struct
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from enumtest.dns.source_uri import SourceOption, encode
from enumtest.dns.wire import HEADER_BYTES, QR, Header, Reader, name_octets, name_text, parse_header
from enumtest.naptr.naptr import NaptrRecord
from harness.errors import InputError, NumberError, WireError
from harness.number import PhoneNumber

MAX_MESSAGE_BYTES = 0xFFFF
MAX_PLAIN_RCODE = 15  # four bits in the header; the rest is in the OPT record
SOURCE_PAYLOAD_BYTES = 1220  # draft-kaplan-enum-source-uri-00 section 8: the least a client offers
SERVER_PAYLOAD_BYTES = 1232  # what the stub offers; the DNS flag day 2020 default of servers

OPCODE, AA, TC, RD = 0x7800, 0x0400, 0x0200, 0x0100
_OWNER_IS_QNAME = 0xC000 | HEADER_BYTES
_OPT, _CNAME, _NAPTR, _IN = 41, 5, 35, 1
_DO = 0x8000


@dataclass(frozen=True, slots=True)
class Edns:
    """What the OPT record says; options as (code, octets), in order."""

    udp_payload_bytes: int
    version: int = 0
    options: tuple[tuple[int, bytes], ...] = ()
    dnssec_ok: bool = False
    rcode_high: int = 0  # the upper 8 bits of the return code


@dataclass(frozen=True, slots=True)
class Query:
    """One question as it was asked."""

    id: int
    qname: str  # lower case, no final dot, for comparing
    labels: tuple[bytes, ...]  # as sent: an answer repeats them letter for letter
    qtype: str
    qclass: str
    recursion_desired: bool
    edns: Edns | None
    trailing_bytes: int  # after the last record; a sound client sends none


@dataclass(frozen=True, slots=True)
class OwnedNaptr:
    """A NAPTR record with its owner (lower case, no final dot) and time to live."""

    owner: str
    ttl_s: int
    naptr: NaptrRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, whatever it says."""

    id: int
    rcode: str
    authoritative: bool
    truncated: bool
    qname: str  # "" when the response repeats no question, as a FORMERR may
    qtype: str
    records: tuple[OwnedNaptr, ...]  # every NAPTR of the answer section, in the order received
    aliases: tuple[tuple[str, str], ...]  # CNAME owner and target
    others: int  # records of other types, the OPT aside
    malformed: tuple[int, ...]  # offsets of answer records whose content does not parse
    edns: Edns | None
    trailing_bytes: int

    @property
    def naptr(self) -> tuple[NaptrRecord, ...]:
        """Return the records that answer the question: its own, or where its aliases lead."""
        owner, targets = self.qname, dict(self.aliases)
        for _ in self.aliases:  # at most as many steps as aliases, so that a loop ends
            owner = targets.get(owner, owner)
        return tuple(record.naptr for record in self.records if record.owner == owner)

    def is_for(self, query: Query) -> bool:
        """Say whether id and question are those of *query* (RFC 5452 section 9.1)."""
        return (self.id, self.qname, self.qtype) == (query.id, query.qname, query.qtype)


def _type_text(value: int) -> str:
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(value))


def parse_query(data: bytes) -> Query:
    """Return the one question in *data*.

    Raises:
        WireError: a response, another operation, not exactly one question, or not well-formed.
    """
    header = parse_header(data)
    if header.is_response:
        raise WireError("a response, not a query", offset_bytes=2)
    if header.opcode != "QUERY":
        raise WireError(f"operation {header.opcode}, not QUERY", offset_bytes=2)
    if header.counts[0] != 1:
        raise WireError(f"{header.counts[0]} questions, not 1", offset_bytes=4)
    reader = Reader(data, HEADER_BYTES)
    name = reader.name()
    qtype, qclass = reader.number(2), reader.number(2)
    for _ in range(header.counts[1] + header.counts[2]):
        reader.record()
    edns, _ = _additional(reader, header.counts[3])
    return Query(
        header.id,
        name_text(name),
        name.labels[:-1],
        _type_text(qtype),
        dns.rdataclass.to_text(dns.rdataclass.RdataClass.make(qclass)),
        bool(header.flags & RD),
        edns,
        len(data) - reader.at,
    )


def parse_answer(data: bytes) -> Answer:
    """Return the response in *data*; with TC set, what follows the first break is left out.

    Raises:
        WireError: a query, several questions, or not well-formed.
    """
    header = parse_header(data)
    if not header.is_response:
        raise WireError("a query, not a response", offset_bytes=2)
    if header.counts[0] > 1:
        raise WireError(f"{header.counts[0]} questions, not 1", offset_bytes=4)
    reader = Reader(data, HEADER_BYTES)
    qname = qtype = ""
    if header.counts[0]:
        qname = name_text(reader.name())
        qtype = _type_text(reader.number(2))
        reader.take(2)
    found = _Found([], [], [])
    truncated = bool(header.flags & TC)
    try:
        found.read(reader, header)
    except WireError:
        if not truncated:
            raise
        reader.at = len(data)
    high = 0 if found.edns is None else found.edns.rcode_high
    return Answer(
        id=header.id,
        rcode=_rcode_text(high << 4 | header.flags & 0xF),
        authoritative=bool(header.flags & AA),
        truncated=truncated,
        qname=qname,
        qtype=qtype,
        records=tuple(found.records),
        aliases=tuple(found.aliases),
        others=found.others,
        malformed=tuple(found.malformed),
        edns=found.edns,
        trailing_bytes=len(data) - reader.at,
    )


@dataclass(slots=True)
class _Found:
    """What the sections after the question have shown so far."""

    records: list[OwnedNaptr]
    aliases: list[tuple[str, str]]
    malformed: list[int]
    others: int = 0
    edns: Edns | None = None

    def read(self, reader: Reader, header: Header) -> None:
        """Read as many records as *header* says."""
        for _ in range(header.counts[1]):
            self._add(reader)
        for _ in range(header.counts[2]):
            reader.record()
            self.others += 1
        self.edns, more = _additional(reader, header.counts[3])
        self.others += more

    def _add(self, reader: Reader) -> None:
        """Note the next record of the answer section."""
        record = reader.record()
        if record.class_ != _IN or record.type not in (_CNAME, _NAPTR):
            self.others += 1
            return
        try:
            with reader.inside(record):
                if record.type == _CNAME:
                    self.aliases.append((record.owner, name_text(reader.name())))
                else:
                    self.records.append(OwnedNaptr(record.owner, record.ttl_s, _naptr(reader)))
        except InputError:
            self.malformed.append(record.start)


def _naptr(reader: Reader) -> NaptrRecord:
    """Return the NAPTR content that starts here (RFC 3403 section 4)."""
    order, preference = reader.number(2), reader.number(2)
    flags, services, regexp = (reader.take(reader.number(1)).decode("latin-1") for _ in range(3))
    replacement = reader.name().to_text()
    return NaptrRecord(order, preference, flags, services, regexp, replacement)


def _additional(reader: Reader, count: int) -> tuple[Edns | None, int]:
    """Return the OPT record of the additional section, and how many other records it has."""
    edns, others = None, 0
    for _ in range(count):
        at = reader.at
        record = reader.record()
        if record.type != _OPT:
            others += 1
            continue
        if edns is not None or record.owner != ".":
            raise WireError("a second OPT record, or one with a name", offset_bytes=at)
        with reader.inside(record):
            options = _options(reader)
        high, version, flags = struct.unpack("!BBH", record.ttl_s.to_bytes(4))
        edns = Edns(record.class_, version, options, bool(flags & _DO), high)
    return edns, others


def _options(reader: Reader) -> tuple[tuple[int, bytes], ...]:
    """Return the EDNS options up to the end of the record (RFC 6891 section 6.1.2)."""
    options = []
    while reader.at < reader.end:
        code, size = reader.number(2), reader.number(2)
        options.append((code, reader.take(size)))
    return tuple(options)


def _rcode_text(value: int) -> str:
    text = dns.rcode.to_text(dns.rcode.Rcode.make(value))
    return f"RCODE{value}" if text.isdecimal() else text


def rcode_value(name: str) -> int:
    """Return the number of the return code *name*, such as 3 for "NXDOMAIN".

    Raises:
        InputError: no return code has that name, in capitals.
    """
    try:
        value = int(dns.rcode.from_text(name))
    except (dns.exception.DNSException, ValueError):
        value = -1
    if value < 0 or _rcode_text(value) != name:
        fix = "use a name such as SERVFAIL or REFUSED"
        raise InputError("no such DNS return code", field="rcode", value=name, fix=fix)
    return value


def plain_rcode_value(name: str) -> int:
    """Return the number of the return code *name*, one that needs no EDNS.

    Raises:
        InputError: no such code, or one above 15.
    """
    value = rcode_value(name)
    if value > MAX_PLAIN_RCODE:
        why = "needs EDNS, which a client may not use"
        raise InputError(why, field="rcode", value=name, fix="use SERVFAIL, REFUSED, NXDOMAIN, ...")
    return value


def encode_query(  # noqa: PLR0913 - a query has these parts
    message_id: int,
    qname: str,
    *,
    qtype: str = "NAPTR",
    source: SourceOption | None = None,
    udp_payload_bytes: int | None = None,
    edns: Edns | None = None,
    recursion_desired: bool = True,
) -> bytes:
    """Return the query for *qname*; with a *source* or a size it carries an OPT record.

    *edns* says all of the OPT record at once, and then the two others are not looked at.

    Raises:
        InputError: *qname* is no domain name, or there is no such *qtype*.
    """
    if edns is None and (source is not None or udp_payload_bytes is not None):
        options = () if source is None else ((source.code, encode(source)),)
        edns = Edns(udp_payload_bytes or SOURCE_PAYLOAD_BYTES, options=options)
    try:
        name = dns.name.from_text(qname.encode("latin-1"), origin=dns.name.root)
        type_ = int(dns.rdatatype.from_text(qtype))
    except (UnicodeEncodeError, ValueError, dns.exception.DNSException) as error:
        raise InputError(
            f"no question ({error})", field="qname", value=f"{qname} {qtype}"
        ) from error
    counts = (1, 0, 0, edns is not None)
    header = struct.pack("!6H", message_id, RD if recursion_desired else 0, *counts)
    return header + name_octets(name) + struct.pack("!HH", type_, _IN) + _opt(edns)


def encode_answer(  # noqa: PLR0913 - an answer has these parts
    query: Query,
    rcode: str = "NOERROR",
    records: tuple[NaptrRecord, ...] = (),
    *,
    ttl_s: int = 0,
    truncated: bool = False,
    authoritative: bool = True,
) -> bytes:
    """Return the response to *query*: its question letter for letter, OPT when it had one.

    Raises:
        InputError: no such *rcode* (above 15: for a query without EDNS), or longer than a DNS
            message can be.
    """
    code = plain_rcode_value(rcode) if query.edns is None else rcode_value(rcode)
    flags = QR | AA * authoritative | TC * truncated | RD * query.recursion_desired | code & 0xF
    edns = None if query.edns is None else Edns(SERVER_PAYLOAD_BYTES, rcode_high=code >> 4)
    counts = (1, len(records), 0, edns is not None)
    type_ = int(dns.rdatatype.from_text(query.qtype))
    class_ = int(dns.rdataclass.from_text(query.qclass))
    message = b"".join(
        [
            struct.pack("!6H", query.id, flags, *counts),
            name_octets(dns.name.Name((*query.labels, b""))),
            struct.pack("!HH", type_, class_),
            *(_naptr_record(record, ttl_s) for record in records),
            _opt(edns),
        ]
    )
    if len(message) > MAX_MESSAGE_BYTES:
        why = f"{len(records)} records do not fit in one message"
        raise InputError(why, field="records", value=query.qname)
    return message


def encode_refusal(header: Header, rcode: str) -> bytes:
    """Return the 12-octet response that says *rcode* to a message of which only this is known."""
    flags = QR | header.flags & (OPCODE | RD) | plain_rcode_value(rcode)
    return struct.pack("!6H", header.id, flags, 0, 0, 0, 0)


def _naptr_record(record: NaptrRecord, ttl_s: int) -> bytes:
    """Return *record* on the wire; its owner is a pointer to the question."""
    strings = (record.flags, record.services, record.regexp)
    content = struct.pack("!HH", record.order, record.preference)
    content += b"".join(bytes([len(s)]) + s.encode("latin-1") for s in strings)
    content += name_octets(dns.name.from_text(record.replacement.encode("latin-1")))
    return struct.pack("!HHHIH", _OWNER_IS_QNAME, _NAPTR, _IN, ttl_s, len(content)) + content


def _opt(edns: Edns | None) -> bytes:
    """Return the OPT record that says *edns*, or nothing."""
    if edns is None:
        return b""
    flags = struct.pack("!BBH", edns.rcode_high, edns.version, _DO * edns.dnssec_ok)
    content = b"".join(struct.pack("!HH", code, len(data)) + data for code, data in edns.options)
    head = struct.pack("!BHH", 0, _OPT, edns.udp_payload_bytes)
    return head + flags + struct.pack("!H", len(content)) + content


def number_from_qname(qname: str, apex: str) -> PhoneNumber:
    """Return the number that *qname* asks for under *apex* (RFC 6116 section 3).

    Raises:
        InputError: another apex, a label that is not one digit, or no E.164 number.

    >>> number_from_qname("2.1.1.0.5.5.5.0.5.6.1.E164.ARPA.", "e164.arpa").digits
    '16505550112'
    """
    name, suffix = qname.lower().removesuffix("."), apex.lower().strip(".")
    labels, dot, rest = name.rpartition("." + suffix)
    if not dot or rest:
        raise InputError(f"not under {suffix}", field="qname", value=qname)
    digits = labels.split(".")
    if any(len(label) != 1 for label in digits):
        raise InputError("a label that is not one digit", field="qname", value=qname)
    try:
        return PhoneNumber("".join(reversed(digits)))
    except NumberError as error:
        raise InputError(error.why, field="qname", value=qname) from error
