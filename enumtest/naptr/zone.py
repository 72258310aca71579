"""The NAPTR records of a zone file, by owner, as far as ENUM needs them.

Law: any text gives a zone or one `InputError` that names the line; records that no client could
use are kept, for they are what is looked for.

Sources: RFC 1035 section 5 (master files), RFC 6116 section 3 (owner names).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import dns.exception
import dns.name
import dns.rdata
import dns.zone
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME
from dns.rdtypes.IN.NAPTR import NAPTR

from enumtest.naptr.lint import Entry, means_terminate, sample
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import STRICT
from enumtest.naptr.search import Found, run, search
from enumtest.sbc.decision import (
    DEFAULT_RULES,
    Decision,
    DecisionRule,
    decided_by,
    services_read,
)
from harness.errors import InputError, NumberError
from harness.number import PhoneNumber
from harness.regex import RegexEngine

MAX_ALIASES = 16  # in one chain; a resolver follows about as many


@dataclass(frozen=True, slots=True)
class EnumZone:
    """What a zone says of names: all in lower case, without a final dot."""

    records: Mapping[str, tuple[NaptrRecord, ...]]
    aliases: Mapping[str, str]  # CNAME: owner and target
    trees: Mapping[str, str]  # DNAME: what all names below an owner are below instead
    names: frozenset[str]  # every owner, and every name that has one below it
    origin: str

    def lookup(self, domain: str) -> tuple[NaptrRecord, ...] | None:
        """Return the records that a server has for *domain*; None when another zone has them."""
        name = domain.lower().rstrip(".")
        for _ in range(MAX_ALIASES):
            if not f".{name}".endswith(f".{self.origin}"):
                return None
            above = next((one for one in _ancestors(name) if one in self.trees), None)
            if above is not None:
                name = name.removesuffix(above) + self.trees[above]
                continue
            source = self._source(name)
            if source not in self.aliases:
                return self.records.get(source, ())
            name = self.aliases[source]
        return ()

    def _source(self, name: str) -> str:
        """Return *name*, or the wildcard that stands for it (RFC 4592 section 3.3.1)."""
        if name in self.names:
            return name
        encloser = next((one for one in _ancestors(name) if one in self.names), self.origin)
        return f"*.{encloser}"


def _ancestors(name: str) -> Iterator[str]:
    """Yield the names above *name*, the nearest first."""
    while name:
        name = name.partition(".")[2]
        yield name


def parse_zone(text: str, file: str = "", origin: str | None = None) -> EnumZone:
    """Return the ENUM part of the zone in *text*; *origin* is its name when it has no $ORIGIN.

    Raises:
        InputError: not a zone file; names the line.
    """
    try:
        zone = dns.zone.from_text(
            text,
            origin=None if origin is None else dns.name.from_text(origin),
            relativize=False,
            check_origin=False,
            allow_include=False,
        )
    except dns.zone.UnknownOrigin as error:
        fix = "give --origin, such as e164.arpa"
        raise InputError("neither $ORIGIN nor --origin", file=file, fix=fix) from error
    except (dns.exception.DNSException, ValueError, KeyError) as error:
        raise InputError(f"not a zone file: {error}", file=file) from error
    records: dict[str, tuple[NaptrRecord, ...]] = {}
    aliases: dict[str, str] = {}
    trees: dict[str, str] = {}
    for name, _, rdata in zone.iterate_rdatas():
        owner = _text(name)
        if isinstance(rdata, NAPTR):
            records[owner] = (*records.get(owner, ()), _record(rdata))
        elif isinstance(rdata, CNAME):
            aliases[owner] = _text(rdata.target)
        elif isinstance(rdata, DNAME):
            trees[owner] = _text(rdata.target)
    owners = {_text(name) for name in zone.nodes}
    names = owners.union(*(_ancestors(owner) for owner in owners))
    top = "" if zone.origin is None else _text(zone.origin)
    return EnumZone(records, aliases, trees, frozenset(names), top)


def parse_record(text: str) -> NaptrRecord:
    r"""Return the record that *text* is: its zone-file data, or a regexp alone as on the wire.

    Raises:
        InputError: neither.

    >>> parse_record(r'10 100 "u" "E2U+sip" "!^(.*)$!sip:\\1@x!" .') == parse_record(
    ...     r"!^(.*)$!sip:\1@x!")
    True
    """
    if text[:1] and not text[0].isdigit():  # no delimiter is a digit, and every record starts so
        return NaptrRecord(10, 100, "u", "E2U+sip", text)
    try:
        rdata = dns.rdata.from_text("IN", "NAPTR", text)
    except (dns.exception.DNSException, ValueError) as error:
        fix = 'write 10 100 "u" "E2U+sip" "!^.*$!sip:user@host!" . as dig shows it'
        raise InputError(f"no NAPTR record ({error})", field="RECORD", value=text, fix=fix) from (
            error
        )
    if not isinstance(rdata, NAPTR):
        raise InputError("no NAPTR record", field="RECORD", value=text)
    return _record(rdata)


def zone_entries(
    zone: EnumZone, engine: RegexEngine, rules: tuple[DecisionRule, ...] = DEFAULT_RULES
) -> tuple[Entry, ...]:
    """Return each owner in *zone* that is a number, with what the RFCs and *rules* read there.

    An owner whose records no strict client can use, but which name a host that means terminate, is
    meant as one.
    """
    terminating = [rule for rule in rules if rule.decision is Decision.TERMINATE]
    sentinels = tuple(rule.host for rule in terminating if rule.host)
    services = services_read(rules, [one for many in zone.records.values() for one in many])
    entries = []
    for owner in sorted({*zone.records, *zone.aliases}):
        number = number_of(owner)
        records = zone.lookup(owner)
        if number is None or records is None:
            continue
        found = _found(zone, owner, number, engine, services)
        decided, uri = decided_by(found, number, rules)
        if not uri and means_terminate(records, sentinels):
            decided = Decision.TERMINATE
        remark = f"alias of {zone.aliases[owner]}" if owner in zone.aliases else ""
        entries.append(Entry(owner, number, records, decided, remark=remark))
    return tuple(entries)


def number_of(owner: str) -> PhoneNumber | None:
    """Return the number that *owner* is for, whatever the apex; None when it is for none.

    >>> number_of("*.1.0.5.5.5.0.5.6.1.e164.arpa")
    PhoneNumber(digits='16505550112')
    """
    labels = owner.split(".")
    is_wild = labels[0] == "*"
    digits = ""
    for label in labels[is_wild:]:
        if len(label) != 1 or label not in "0123456789":
            break
        digits = label + digits
    if is_wild:
        return sample(f"+{digits}*") if digits else None
    try:
        return PhoneNumber(digits)
    except NumberError:
        return None


def _found(
    zone: EnumZone,
    owner: str,
    number: PhoneNumber,
    engine: RegexEngine,
    services: tuple[str, ...],
) -> Found:
    """Return what a strict client of *services* finds for *number*."""
    dialect = replace(STRICT, services=services)
    seeking = search(owner, str(number), engine, dialect)
    return run(seeking, lambda domain: zone.lookup(domain) or ())


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _record(rdata: NAPTR) -> NaptrRecord:
    flags, services, regexp = (
        octets.decode("latin-1") for octets in (rdata.flags, rdata.service, rdata.regexp)
    )
    replacement = rdata.replacement.to_text()
    return NaptrRecord(rdata.order, rdata.preference, flags, services, regexp, replacement)
