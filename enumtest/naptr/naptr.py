"""The NAPTR record as ENUM uses it, and its substitution expression.

Laws:
  * A record holds what was on the wire, however hostile: text is octets (latin-1), so any octet
    survives a round trip. Whether a client may use it is `NaptrRecord.objection`, not an error.
  * A `SubstitutionExpression` is well-formed; its ERE is compiled by a `RegexEngine`, never here.
  * The replacement is the whole URI, not an edit of the number (RFC 3402 section 3.2).

Sources: RFC 3402 section 3.2 and 3.3, RFC 3403 section 4.1, RFC 5483, RFC 6116; where those leave
room, what BIND's `named-rrchecker` accepts.
"""

import re
from dataclasses import dataclass
from typing import Self

import dns.exception
import dns.name

from harness import regex
from harness.errors import InputError
from harness.regex import Match, NoMatch, Refusal, RegexEngine

MAX_OCTETS = 255  # of a character-string (RFC 1035 section 3.3)
MAX_U16 = 0xFFFF

# RFC 3402 excludes 1-9 and the flag; 0, backslash and NUL are BIND's, and nobody uses them.
_NO_DELIMITER = frozenset(b"\\\x000123456789i")
_SERVICE = re.compile(r"[a-z0-9-]{1,32}(:[a-z0-9-]{1,32})*")  # RFC 6116 section 3.4.3, lower case
_PRINTABLE = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')


class NaptrError(InputError):
    """A NAPTR record or expression that is not well-formed; carries the offset if there is one."""

    def __init__(
        self, why: str, *, field: str = "regexp", value: object = None, offset_octets: int = -1
    ) -> None:
        """Name the place: *offset_octets* counts from 0, and -1 means the whole of *field*."""
        place = field if offset_octets < 0 else f"{field} octet {offset_octets}"
        super().__init__(why, field=place, value=value)
        self.offset_octets = offset_octets


@dataclass(frozen=True, slots=True)
class NaptrRecord:
    """One NAPTR record; `replacement` is an absolute name in presentation form, "." for none."""

    order: int
    preference: int
    flags: str
    services: str
    regexp: str
    replacement: str = "."

    def __post_init__(self) -> None:
        """Refuse only what no wire could carry."""
        for field in ("order", "preference"):
            if not 0 <= getattr(self, field) <= MAX_U16:
                raise NaptrError(f"not 0 to {MAX_U16}", field=field, value=getattr(self, field))
        for field in ("flags", "services", "regexp"):
            _octets(getattr(self, field), field)
        _name(self.replacement)

    @property
    def terminal(self) -> bool:
        """True when the result is a URI: the flag is "u", in either case (RFC 6116 s3.4.1)."""
        return self.flags in ("u", "U")

    @property
    def objection(self) -> str:
        """Why no client may use this record, or "" when one may."""
        if self.flags and not self.terminal:
            return f"flags {self.flags!r}: neither empty nor u"
        if bool(self.regexp) == (self.replacement != "."):
            both = "both a regexp and a replacement" if self.regexp else "no regexp, no replacement"
            return f"{both} (RFC 3403 section 4.1: exactly one)"
        if self.terminal:
            return self._terminal_objection()
        return ""

    def _terminal_objection(self) -> str:
        if not self.regexp:
            return "terminal, and no regexp to give a URI"
        services = enum_services(self.services)
        if isinstance(services, ServicesDefect):
            return f"services: {services.why}"
        try:
            SubstitutionExpression.parse(self.regexp)
        except NaptrError as error:
            return str(error)
        return ""

    @property
    def is_usable(self) -> bool:
        """True when there is no objection; whether the ERE compiles is the engine's to say."""
        return not self.objection


@dataclass(frozen=True, slots=True)
class ServicesDefect:
    """A services field that is not ENUM's, and why."""

    why: str


def enum_services(services: str) -> tuple[str, ...] | ServicesDefect:
    """Return the enumservices in lower case and in their order, or the defect.

    "E2U+x[:y][+z]" and the obsolete "x+E2U" are read (RFC 5483 section 7.1), in any case.

    >>> enum_services("E2U+voice:sip+sip"), enum_services("sip+e2u")
    (('voice:sip', 'sip'), ('sip',))
    >>> enum_services("sip")
    ServicesDefect(why='0 E2U tokens, not 1')
    """
    tokens = services.lower().split("+")
    if (count := tokens.count("e2u")) != 1:
        return ServicesDefect(f"{count} E2U tokens, not 1")
    if tokens[0] == "e2u":
        found = tokens[1:]
    elif tokens[-1] == "e2u":
        found = tokens[:-1]
    else:
        return ServicesDefect("E2U is neither first nor last")
    if not found:
        return ServicesDefect("no service beside E2U")
    for token in found:
        if not _SERVICE.fullmatch(token):
            return ServicesDefect(f"{token!r} is no enumservice")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class SubstitutionExpression:
    """delimiter ERE delimiter replacement delimiter flags, well-formed (RFC 3402 section 3.2).

    `ere` is as written, each delimiter in it escaped; `pattern` is what an engine compiles.
    `replacement` alternates literal octets (any delimiter unescaped) and back-references 1 to 9;
    `whole` allows 0 too, for all that matched, as some clients do and no RFC.
    """

    delimiter: bytes
    ere: bytes
    replacement: tuple[bytes | int, ...]
    ignore_case: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse what would not be the same after `encode` and `parse`."""
        if len(self.delimiter) != 1 or self.delimiter[0] in _NO_DELIMITER:
            raise NaptrError("no delimiter", field="delimiter", value=self.delimiter)
        at = regex.first_unescaped(self.ere, self.delimiter) if self.ere else 0
        if at >= 0:
            why = "empty, an unescaped delimiter, or a backslash that escapes nothing"
            raise NaptrError(why, field="ere", value=self.ere, offset_octets=at)
        self._check_replacement()
        if (count := len(self.encode())) > MAX_OCTETS:
            raise NaptrError(f"{count} octets, more than {MAX_OCTETS}")
        if (at := self.encode().find("\0")) >= 0:
            raise NaptrError("NUL", offset_octets=at)

    def _check_replacement(self) -> None:
        groups = self.group_count
        literal_before = False
        for part in self.replacement:
            if isinstance(part, int):
                if not 1 - self.whole <= part <= min(groups, 9):
                    why = f"back-reference {part} of an ERE with {groups} groups"
                    raise NaptrError(why, field="replacement", value=part)
            elif not part or literal_before:
                why = "literal parts are not empty, and joined to one"
                raise NaptrError(why, field="replacement", value=part)
            literal_before = isinstance(part, bytes)

    @property
    def pattern(self) -> bytes:
        """The ERE for an engine: an escaped delimiter has become the delimiter as a literal."""
        return regex.without_delimiter(self.ere, self.delimiter)

    @property
    def group_count(self) -> int:
        """How many groups the ERE has, if it compiles."""
        return regex.group_count(self.ere, self.delimiter)

    @classmethod
    def parse(cls, text: str, *, whole: bool = False) -> Self:
        r"""Return the expression in a record's regexp field (wire form: one backslash, not two).

        A backslash in the replacement makes any octet but a digit literal. RFC 3402 is silent about
        that; BIND and sed do so. *whole* allows the back-reference 0 too.

        Raises:
            NaptrError: not well-formed; names the octet.

        >>> SubstitutionExpression.parse(r"!^\+1(.*)$!sip:\1@x!").replacement
        (b'sip:', 1, b'@x')
        """
        octets = _octets(text, "regexp")
        delimiter = octets[:1]
        if not delimiter or delimiter[0] in _NO_DELIMITER:
            raise NaptrError("starts with no delimiter", value=text, offset_octets=0)
        if (at := octets.find(0)) >= 0:
            raise NaptrError("NUL", value=text, offset_octets=at)
        ends = [at for at in regex.unescaped(octets, 1) if octets[at : at + 1] == delimiter]
        if len(ends) != 2:  # noqa: PLR2004 - and the first octet makes three
            at = ends[2] if len(ends) > 2 else len(octets)  # noqa: PLR2004
            raise NaptrError(
                f"{len(ends) + 1} unescaped delimiters, not 3", value=text, offset_octets=at
            )
        for at in range(ends[1] + 1, len(octets)):
            if octets[at] != ord("i"):
                raise NaptrError("a flag other than i", value=text, offset_octets=at)
        if ends[0] == 1:
            raise NaptrError("empty ERE", value=text, offset_octets=1)
        ere, flags = octets[1 : ends[0]], octets[ends[1] + 1 :]
        groups = regex.group_count(ere, delimiter)
        least = 1 - whole
        replacement = _parse_replacement(octets, ends[0] + 1, ends[1], range(least, groups + 1))
        return cls(delimiter, ere, replacement, ignore_case=bool(flags), whole=whole)

    def encode(self) -> str:
        """Return the text of the regexp field, in wire form."""
        special = (self.delimiter, b"\\")
        parts = [self.delimiter, self.ere, self.delimiter]
        for part in self.replacement:
            if isinstance(part, int):
                parts.append(b"\\%d" % part)
            else:
                octets = (part[at : at + 1] for at in range(len(part)))
                parts.extend(b"\\" + octet if octet in special else octet for octet in octets)
        parts += [self.delimiter, b"i" if self.ignore_case else b""]
        return b"".join(parts).decode("latin-1")

    def apply(self, subject: str, engine: RegexEngine) -> str | NoMatch | Refusal:
        """Return the URI for *subject* (the AUS: "+" and digits); an unset group is empty."""
        try:
            octets = subject.encode("latin-1")
        except UnicodeEncodeError:
            return Refusal("a character of the subject is no octet")
        outcome = engine.match(self.pattern, octets, ignore_case=self.ignore_case)
        if not isinstance(outcome, Match):
            return outcome
        found: list[bytes] = []
        for part in self.replacement:
            if isinstance(part, bytes):
                found.append(part)
            elif part < len(outcome.groups):
                found.append(outcome.groups[part] or b"")
            else:
                return Refusal(f"the engine knows no group {part}")
        return b"".join(found).decode("latin-1")


def presentation(record: NaptrRecord) -> str:
    r"""Return the record's data as zone-file text: quoted, each backslash doubled.

    >>> print(presentation(NaptrRecord(10, 20, "u", "E2U+sip", r"!^(.*)$!sip:\1@x!")))
    10 20 "u" "E2U+sip" "!^(.*)$!sip:\\1@x!" .
    """
    strings = " ".join(
        _quoted(_octets(getattr(record, field), field)) for field in ("flags", "services", "regexp")
    )
    return f"{record.order} {record.preference} {strings} {_name(record.replacement).to_text()}"


def _quoted(octets: bytes) -> str:
    """Return a character-string as zone-file text (RFC 1035 section 5.1)."""
    shown = (
        chr(octet)
        if octet in _PRINTABLE
        else f"\\{chr(octet)}"
        if octet in b'"\\'
        else f"\\{octet:03d}"
        for octet in octets
    )
    return f'"{"".join(shown)}"'


def _parse_replacement(
    octets: bytes, start: int, end: int, groups: range
) -> tuple[bytes | int, ...]:
    """Return the parts of the replacement at *start* to *end* of a regexp field."""
    parts: list[bytes | int] = []
    literal = bytearray()
    at = start
    while at < end:
        octet = octets[at : at + 1]
        if octet != b"\\":
            literal += octet
            at += 1
            continue
        octet = octets[at + 1 : at + 2]
        if not octet.isdigit():
            literal += octet
        elif int(octet) not in groups:
            raise NaptrError(
                f"back-reference {octet.decode()} of an ERE with {groups.stop - 1} groups",
                value=octets.decode("latin-1"),
                offset_octets=at,
            )
        else:
            parts += [bytes(literal), int(octet)] if literal else [int(octet)]
            literal.clear()
        at += 2
    return (*parts, bytes(literal)) if literal else tuple(parts)


def _octets(text: str, field: str) -> bytes:
    """Return *text* as the octets of a character-string."""
    try:
        octets = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise NaptrError(
            "a character beyond U+00FF is no octet",
            field=field,
            value=text,
            offset_octets=error.start,
        ) from error
    if len(octets) > MAX_OCTETS:
        raise NaptrError(f"{len(octets)} octets, more than {MAX_OCTETS}", field=field, value=text)
    return octets


def _name(text: str) -> dns.name.Name:
    """Return the absolute domain name that *text* presents."""
    try:
        # Octets, not text: dnspython would turn text beyond ASCII into IDNA.
        name = dns.name.from_text(text.encode("latin-1"), origin=None)
    except (UnicodeEncodeError, dns.exception.DNSException) as error:
        raise NaptrError(f"not a domain name ({error})", field="replacement", value=text) from error
    if not name.is_absolute():
        raise NaptrError("not absolute: end it with a dot", field="replacement", value=text)
    return name
