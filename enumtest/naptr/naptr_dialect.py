"""What one ENUM client understands of a NAPTR record: data, with None for what nobody knows.

Laws: a dialect describes, it does nothing (`enumtest.naptr.reading` applies it); None means
unknown, and
then every reading is possible; `STRICT` is what the RFCs say, with nothing unknown.

Sources of the fields: RFC 3402, RFC 3403, RFC 5483, RFC 6116; of each client's values: its file in
`enumtest/data/dialects`, field by field.
"""

from dataclasses import dataclass, fields, replace
from enum import StrEnum

from harness.errors import InputError

USUAL_HOPS = 5  # RFC 5483 section 6: more domains than that may be called a loop
MAX_HOPS_KNOWN = 255  # more than any client follows
_DIGITS = "0123456789"


class FlagReading(StrEnum):
    """What a client looks at in the flags field to know a terminal record."""

    WHOLE = "whole"  # "u", and nothing beside it
    FIRST_LETTER = "first-letter"  # whatever starts with u
    NOT_READ = "not-read"  # every record with a regexp is taken as terminal


class IFlag(StrEnum):
    """What becomes of the flag i after the last delimiter."""

    OBEYED = "obeyed"
    IGNORED = "ignored"  # letters compare in their case
    DELIMITER_KEPT = "delimiter-kept"  # the last delimiter ends up in the URI
    REFUSED = "refused"  # the record is passed over


class RegexDialect(StrEnum):
    """Which language the expression is compiled as."""

    POSIX = "posix"
    PCRE = "pcre"


class VoidMeaning(StrEnum):
    """What E2U+void and E2U+unused do to the call."""

    IGNORED = "ignored"  # a service like any other that is not wanted: the call goes on
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class NaptrDialect:
    """One client's reading of NAPTR records; None in any field: unknown."""

    delimiters: str | None = None  # those understood; "" for every one that RFC 3402 allows
    escaped_delimiter: bool | None = None  # a backslash before it makes it a literal
    flags: FlagReading | None = None
    exclusive: bool | None = None  # True: a regexp and a replacement together are not used
    bad_record_ends: bool | None = None  # True: a record that does not parse ends the lookup
    i_flag: IFlag | None = None
    regex: RegexDialect | None = None
    back_references: str | None = None  # the digits understood after a backslash
    services: tuple[str, ...] | None = None  # enumservices acted on, in lower case
    new_form: bool | None = None  # E2U+sip
    old_form: bool | None = None  # sip+E2U (RFC 2916)
    mixed_case: bool | None = None  # e2U+SIP
    compound: bool | None = None  # E2U+voice:sip+sip
    larger_order: bool | None = None  # True: larger orders are used too after one that matched
    first_of_equals: bool | None = None  # True: of equal order and preference only the first read
    max_hops: int | None = None  # domains that non-terminal records lead through; 0: not followed
    void: VoidMeaning | None = None
    schemes: tuple[str, ...] | None = None  # of URIs that can be routed; empty: any

    def __post_init__(self) -> None:
        """Refuse what no client can be."""
        if not set(self.back_references or "") <= set(_DIGITS):
            why = "not a list of digits"
            raise InputError(why, field="back_references", value=self.back_references)
        if self.services is not None and not all(s and s == s.lower() for s in self.services):
            fix = 'write enumservices in lower case, such as "sip" or "pstn:tel"'
            raise InputError("no enumservices", field="services", value=self.services, fix=fix)
        if self.max_hops is not None and not 0 <= self.max_hops <= MAX_HOPS_KNOWN:
            raise InputError(f"not 0 to {MAX_HOPS_KNOWN}", field="max_hops", value=self.max_hops)
        if False in (self.new_form, self.old_form) and self.new_form == self.old_form:
            raise InputError("neither form of services", field="new_form, old_form")

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the names of the fields that nobody knows."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is None)

    def completed(self) -> "NaptrDialect":
        """Return the dialect with what the RFCs say in place of what is unknown."""
        return replace(self, **{name: getattr(STRICT, name) for name in self.unknown})


STRICT = NaptrDialect(
    delimiters="",
    escaped_delimiter=True,
    flags=FlagReading.WHOLE,
    exclusive=True,
    bad_record_ends=False,
    i_flag=IFlag.OBEYED,
    regex=RegexDialect.POSIX,
    back_references="123456789",
    services=("sip",),
    new_form=True,
    old_form=True,
    mixed_case=True,
    compound=True,
    larger_order=False,
    first_of_equals=False,
    max_hops=USUAL_HOPS,
    void=VoidMeaning.IGNORED,
    schemes=(),
)
