"""What was dialled becomes a party, with the rule that decided it.

Laws: any text has a reading, none raises; letters never become digits; a number that no rule of
the plan explains stays opaque, it is not bent into E.164. `phonenumbers` is asked one question
only, behind `_is_possible`: can a number of this length exist in that country? It is never asked
to parse (it turns `voi18062` into +45 18062) nor whether a range is assigned (that changes).

The rules in their order; each is the `rule` of a `Reading`:

    restricted · e164 plus · phone-context … · emergency · service code … · extension
    short number · international-prefix … · national · local, area code …
    national, prefix left out · local only · e164, plus left out · opaque: …

Sources: RFC 3261 section 19.1 (SIP URI), RFC 3966 (tel URI), RFC 3323 section 4.1.1.3 (anonymous).
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Self
from urllib.parse import unquote

import phonenumbers

from harness.dialplan_fields import faults
from harness.errors import InputError, NumberError
from harness.number import MAX_DIGITS, PhoneNumber
from harness.party import Global, Local, Opaque, Party, Reading, Restricted, opaque
from harness.records import Direction

__all__ = [  # with the parties that a reading gives, so that one import serves
    "DialPlan",
    "Global",
    "Kind",
    "Local",
    "Network",
    "Opaque",
    "Party",
    "Reading",
    "Restricted",
    "direction",
    "is_inside",
    "opaque",
]

MAX_CACHED_CHARS = 256  # longer texts are read each time, so that hostile ones fill no memory

Kind = Literal["uri", "user", "number"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_RESTRICTED = frozenset({"anonymous", "unavailable", "restricted", "unknown", "private"})
_ANONYMOUS_HOST = "anonymous.invalid"
_DIGITS = re.compile(r"[0-9]+\Z")
_DIALLED = re.compile(r"\+?[0-9*#]+\Z")  # what a keypad can send
_SEPARATORS = str.maketrans("", "", " -.()")  # RFC 3966 section 5.1.1, plus the space people type
_BRACKETED = re.compile(r'(?:[^"<]|"(?:[^"\\]|\\.)*+")*+<([^<>]*)>', re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DialPlan:
    """How one site, or one device, writes numbers."""

    name: str
    country_code: str
    international_prefixes: tuple[str, ...] = ()
    national_prefix: str = ""  # "" where nationals are dialled without one, as in Italy
    area_code: str = ""  # of the site, put before local numbers; "" keeps them local
    extension_digits: tuple[int, ...] = ()  # lengths
    extensions: tuple[tuple[str, PhoneNumber], ...] = ()  # those that have a global number
    emergency: tuple[str, ...] = ()
    service_codes: tuple[str, ...] = ()  # alone ("411") or before a number ("*67")
    short_max_digits: int = 6  # up to here unexplained digits are a short number

    def __post_init__(self) -> None:
        """Refuse a plan that could read one text in two ways."""
        _refuse(faults({f.name: getattr(self, f.name) for f in fields(self)}), "", "dial plan")

    def __hash__(self) -> int:
        """Return a hash of few fields: plans are few, and each cached reading needs it."""
        return hash((self.name, self.country_code))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], *, file: str = "", field: str = "") -> Self:
        """Return the plan that a TOML *table* describes.

        Raises:
            InputError: one error that names every bad, unknown and missing field.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        if isinstance(own := values.get("extensions"), Mapping):
            values["extensions"] = tuple((k, _global(v)) for k, v in own.items())
        missing = [
            f"{f.name}: missing"
            for f in fields(cls)
            if f.default is MISSING and f.name not in values
        ]
        _refuse([*missing, *faults(values)], file, field)
        return cls(**values)

    def reading(self, text: str, *, kind: Kind) -> Reading:
        """Return who *text* names: a whole URI or name-addr, a URI's user, or a written number.

        >>> plan = DialPlan("main", "1", ("011",), "1")
        >>> plan.reading('"Bob" <sip:011442079460123;npdi@192.0.2.1>', kind="uri").rule
        'international-prefix 011'
        >>> plan.reading("1-800-FLOWERS", kind="user").party
        Opaque(text='1-800-FLOWERS')
        """
        if len(text) > MAX_CACHED_CHARS:
            return _read(self, text, kind)
        return _cached(self, text, kind)


def is_inside(address: str, networks: Iterable[Network]) -> bool:
    """Return whether *address* belongs to one of the customer's *networks*.

    Raises:
        InputError: *address* is no IP address.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise InputError("not an IP address", field="address", value=address) from error
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


def direction(
    source: Reading | None,
    destination: Reading,
    *,
    customer_numbers: tuple[str, ...],
    source_inside: bool | None = None,
) -> tuple[Direction, str]:
    """Return the direction of a call seen from the customer, and why.

    *customer_numbers* are E.164 prefixes; extensions of the plan are the customer's too. A source
    that names nobody (None, restricted, no user) is placed by *source_inside*, where its packets
    came from, when that is known. Without it a restricted caller counts as a stranger, and a
    source that was never given as unknown.

    Raises:
        InputError: a prefix that is not digits; an empty one would match every number.
    """
    for prefix in customer_numbers:
        if not _DIGITS.match(prefix.removeprefix("+")):
            raise InputError("not the start of a number", field="customer_numbers", value=prefix)
    to_us = _is_ours(destination, customer_numbers)
    if source is not None and isinstance(source.party, Global | Local):
        from_us, why = _is_ours(source, customer_numbers), ""
    elif source_inside is not None:
        from_us, why = source_inside, " by its network"
    elif source is not None and isinstance(source.party, Restricted):
        from_us, why = False, " (restricted)"
    else:
        return Direction.UNKNOWN, "the source names nobody, its network is not known"
    found = {
        (False, True): Direction.INBOUND,
        (True, False): Direction.OUTBOUND,
        (True, True): Direction.INTERNAL,
    }.get((from_us, to_us), Direction.UNKNOWN)
    side = {True: "the customer's", False: "not the customer's"}
    return found, f"source is {side[from_us]}{why}, destination is {side[to_us]}"


def _is_ours(reading: Reading, customer_numbers: tuple[str, ...]) -> bool:
    """Say whether the party is one of the customer's."""
    if isinstance(reading.party, Global):
        starts = tuple(prefix.removeprefix("+") for prefix in customer_numbers)
        return reading.rule == "extension" or reading.party.number.digits.startswith(starts)
    return reading.rule == "extension"


@lru_cache(maxsize=65_536)
def _cached(plan: DialPlan, text: str, kind: Kind) -> Reading:
    """Return a reading, remembered: captures repeat the same few thousand texts."""
    return _read(plan, text, kind)


def _read(plan: DialPlan, text: str, kind: Kind) -> Reading:
    """Return the reading of *text*: take the wrapping off, then ask the plan."""
    host, parameters = "", dict[str, str]()
    user = text.strip()
    if kind == "uri":
        bare = _bare_uri(user)
        scheme, user, host = _uri_parts(bare)
        if host.lower() == _ANONYMOUS_HOST or bare.lower() in _RESTRICTED:
            return Reading(Restricted(), "restricted", text)
        if scheme not in ("sip", "sips", "tel"):
            return Reading(opaque(bare), "opaque: no sip, sips or tel URI", text)
        if not user:
            return Reading(opaque(bare.partition(";")[0]), "opaque: no user", text)
    if kind != "number":
        user, *pairs = user.split(";")
        halves = (pair.partition("=") for pair in pairs)
        parameters = {name.strip().lower(): value.strip() for name, _, value in halves}
        user = unquote(user, errors="surrogateescape").strip()
    party, rule = _party(plan, user, unquote(parameters.get("phone-context", "")))
    return Reading(party, rule, text)


def _bare_uri(text: str) -> str:
    """Return the URI of a name-addr or addr-spec."""
    found = _BRACKETED.match(text)
    return found[1].strip() if found else text


def _uri_parts(uri: str) -> tuple[str, str, str]:
    """Return scheme, user with its parameters, and host of *uri*; what is absent is ""."""
    found = _SCHEME.match(uri)
    if found is None:
        return "", "", ""
    scheme = found[1].lower()
    if scheme == "tel":
        return scheme, found[2], ""
    user, at, rest = found[2].partition("@")
    host = re.split("[:;?]", rest if at else user, maxsplit=1)[0]
    return scheme, user.partition(":")[0] if at else "", host


def _party(plan: DialPlan, user: str, context: str) -> tuple[Party, str]:
    """Return party and rule of a decoded user part or written number."""
    if user.lower() in _RESTRICTED:
        return Restricted(), "restricted"
    digits = user.translate(_SEPARATORS)
    if why := _objection(user, digits):
        return opaque(user), f"opaque: {why}"
    if digits.startswith("+"):
        number = _number(digits[1:])
        return (
            (number, "e164 plus") if number else (opaque(user), "opaque: no E.164 after the plus")
        )
    if context and digits not in plan.emergency:
        return _in_context(digits, context)
    return next(_dialled(plan, digits), (opaque(user), "opaque: no rule of the plan fits"))


def _objection(user: str, digits: str) -> str | None:
    """Say why *user*, as *digits* without its separators, was not dialled on a keypad, or None."""
    if not digits:
        return "empty"
    if not _DIALLED.match(digits):
        return "letters" if any(c.isalpha() for c in digits) else "other characters"
    try:
        ipaddress.IPv4Address(user)
    except ValueError:
        return None
    return "an IP address"  # its dots are no visual separators


def _in_context(digits: str, context: str) -> tuple[Party, str]:
    """Return what *digits* mean under a phone-context.

    RFC 3966 section 5.1.5: a context is not a prefix that makes a local number global. Peers use
    one as such all the same, so it is taken for a prefix when that gives a possible number.
    """
    bare = context.translate(_SEPARATORS)
    if bare.startswith("+") and bare != "+" and (number := _possible(bare[1:] + digits)):
        return number, f"phone-context {bare}"
    return Local(digits, opaque(context.lower()).text), "phone-context, local"


def _dialled(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what was dialled, after at most one service code, the strongest reading first."""
    for code in sorted(plan.service_codes, key=len, reverse=True):
        if digits == code:
            yield Local(digits, plan.name), f"service code {code}"
        elif code.startswith(("*", "#")) and digits.startswith(code):
            for party, rule in _numbers(plan, digits.removeprefix(code)):
                yield party, f"service code {code}, {rule}"
    yield from _numbers(plan, digits)


def _numbers(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what *digits* can mean, the short ones first."""
    if not _DIGITS.match(digits):
        return
    if digits in plan.emergency:
        yield Local(digits, plan.name), "emergency"
    if number := dict(plan.extensions).get(digits):
        yield Global(number), "extension"
    if len(digits) in plan.extension_digits:
        yield Local(digits, plan.name), "extension"
    if len(digits) <= plan.short_max_digits:
        yield Local(digits, plan.name), "short number"
    yield from _long(plan, digits)


def _long(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what a full number can mean, the strongest reading first."""
    for prefix in sorted(plan.international_prefixes, key=len, reverse=True):
        if digits.startswith(prefix):
            if number := _possible(digits.removeprefix(prefix)):
                yield number, f"international-prefix {prefix}"
            return  # dialled abroad, or nowhere: never a national number
    country, trunk = plan.country_code, plan.national_prefix
    if digits.startswith(trunk) and (
        number := _possible(country + digits.removeprefix(trunk), country)
    ):
        yield number, "national"
    if not trunk or not digits.startswith(trunk):
        if plan.area_code and (number := _possible(country + plan.area_code + digits, country)):
            yield number, f"local, area code {plan.area_code}"
        if number := _possible(country + digits, country):
            yield number, "national, prefix left out"
        if _length_is(country, digits, phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY):
            yield Local(digits, plan.name), "local only"
    if number := _possible(digits):
        yield number, "e164, plus left out"


def _number(digits: str) -> Global | None:
    """Return *digits* as a global party when they have the form of E.164."""
    try:
        return Global(PhoneNumber(digits))
    except NumberError:
        return None


def _possible(digits: str, country_code: str = "") -> Global | None:
    """Return *digits*, country code first, as a global party when such a number can exist."""
    found = _number(digits)
    if found is None:
        return None
    lengths = (len(country_code),) if country_code else (1, 2, 3)
    for length in lengths:
        code, rest = digits[:length], digits[length:]
        if _length_is(code, rest, phonenumbers.ValidationResult.IS_POSSIBLE):
            return found
    return None


def _length_is(country_code: str, national: str, wanted: int) -> bool:
    """Say whether libphonenumber gives a national number of that length the verdict *wanted*."""
    if not _DIGITS.match(national) or len(country_code + national) > MAX_DIGITS:
        return False
    number = phonenumbers.PhoneNumber(
        country_code=int(country_code),
        national_number=int(national),
        italian_leading_zero=national.startswith("0") or None,
        number_of_leading_zeros=len(national) - len(national.lstrip("0")) or None,
    )
    return phonenumbers.is_possible_number_with_reason(number) == wanted


def _global(value: object) -> object:
    """Return a "+…" text as a number; what is none is returned for `faults` to name."""
    try:
        return PhoneNumber.parse(value) if isinstance(value, str) and value[:1] == "+" else value
    except NumberError:
        return value


def _refuse(why: list[str], file: str, field: str) -> None:
    """Raise one error for all of *why*; with none do nothing."""
    if why:
        raise InputError("; ".join(why), file=file, field=field)
