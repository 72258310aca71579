"""What was dialled becomes a party, with the rule that decided it.

Laws: any text has a reading, none raises; letters never become digits; a number that no rule of
the plan explains stays opaque, it is not bent into E.164. `phonenumbers` is asked two questions
only: can a number of this length exist in that country, and is this its emergency number? It is
never asked to parse (it turns `voi18062` into +45 18062) nor whether a range is assigned (that
changes); `LIBRARY` says which metadata answered.

The rules in their order; each is the `rule` of a `Reading`:

    restricted · e164 plus · phone-context … · emergency · service code … · extension
    emergency in … · service code N11 · short number · international-prefix … · national
    local, area code … · national, prefix left out · local only · e164, plus left out · opaque: …

Sources: RFC 3261 section 19.1 (SIP URI), RFC 3966 (tel URI), RFC 3323 section 4.1.1.3 (anonymous),
RFC 5031 (service URNs), 3GPP TS 22.030 annex B (*31#, #31#), NANPA (N11, *67, *82).
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, Self

from harness.dialled import Dialled, number_parts, taken_apart
from harness.dialplan_fields import faults
from harness.errors import InputError, NumberError
from harness.number import MAX_DIGITS, PhoneNumber
from harness.party import SEPARATORS, Global, Local, Opaque, Party, Reading, Restricted, opaque
from harness.possible_number import LIBRARY, e164, emergency_region, is_local_only, possible
from harness.records import Direction

__all__ = [  # with the parties that a reading gives, so that one import serves
    "LIBRARY",
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
_PLUS = re.compile(rf"\+[1-9][0-9]{{0,{MAX_DIGITS - 1}}}\Z")
_HEX_DIALLED = re.compile(r"(?=.*[0-9])[0-9A-Fa-f*#]+\Z")  # RFC 3966 section 3: a local number
_SERVICE_URN = re.compile(r"urn:service:([a-z0-9.\-]+)\Z", re.IGNORECASE)
_NANP = "1"
_IPV4_DOTS = 3
_N11 = re.compile(r"[2-8]11\Z")
_HIDING_CODES = ("*31#", "#31#")  # ask for and against one's number to be hidden, in all of GSM
_NANP_HIDING_CODES = ("*67", "*82")


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

    @property
    def explains(self) -> bool:
        """Say whether it knows what digits without a plus sign mean."""
        return True

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
    match kind:
        case "uri":
            dialled = taken_apart(text)
            party, rule = _not_dialled(dialled) or _party(plan, dialled)
        case "user":
            user, beside = number_parts(text.strip())
            party, rule = _party(plan, Dialled(text, "", user, "", beside))
        case "number":
            party, rule = _party(plan, Dialled(text, "", text.strip(), ""))
    return Reading(party, rule, text)


def _not_dialled(dialled: Dialled) -> tuple[Party, str] | None:
    """Return what a URI is that was not dialled on a keypad, or None when its user may be."""
    uri = dialled.uri
    if dialled.host == _ANONYMOUS_HOST or uri.lower() in _RESTRICTED:
        return Restricted(), "restricted"
    if service := _SERVICE_URN.match(uri):
        is_sos = service[1].lower().partition(".")[0] == "sos"
        return opaque(uri.lower()), "emergency, service URN" if is_sos else "service URN"
    if dialled.scheme not in ("sip", "sips", "tel"):
        return opaque(uri), "opaque: no sip, sips or tel URI"
    if not dialled.user:
        return opaque(uri.partition(";")[0]), "opaque: no user"
    return None


def _party(plan: DialPlan, dialled: Dialled) -> tuple[Party, str]:
    """Return party and rule of a decoded user part or written number."""
    if _PLUS.match(dialled.user):  # nearly all
        return Global(PhoneNumber(dialled.user[1:])), "e164 plus"
    if dialled.user.lower() in _RESTRICTED:
        return Restricted(), "restricted"
    return _by_rule(plan, dialled, dialled.user, dialled.parameter("phone-context") or "")


def _by_rule(plan: DialPlan, dialled: Dialled, user: str, context: str) -> tuple[Party, str]:
    """Return what *user* is, now that it is no plain number."""
    digits = user.translate(SEPARATORS)
    code, rest = _service_code(plan, digits) if digits else ("", "")
    if why := _objection(user, rest if code else digits):
        if context and dialled.is_phone and _HEX_DIALLED.match(digits):
            return Local(digits.upper(), opaque(context.lower()).text), "phone-context, local"
        return opaque(user), f"opaque: {why}"
    if rest.startswith("+"):
        number, rule = e164(rest[1:]), f"service code {code}, e164 plus" if code else "e164 plus"
        return (number, rule) if number else (opaque(user), "opaque: no E.164 after the plus")
    if context and digits not in plan.emergency:
        return _in_context(digits, context)
    if not plan.explains:
        return opaque(user), "opaque: no dial plan is given"
    return next(_dialled(plan, digits), None) or (opaque(user), f"opaque: {_no_rule(digits)}")


def _no_rule(digits: str) -> str:
    """Say what is wrong with *digits* that no rule explains."""
    if _DIGITS.match(digits) and len(digits) > MAX_DIGITS:
        return f"more than {MAX_DIGITS} digits"
    return "no rule of the plan fits"


def _service_code(plan: DialPlan, digits: str) -> tuple[str, str]:
    """Return the service code that *digits* begin with ("": none), and what follows it."""
    if digits[0] not in "*#":
        return "", digits
    known = (*plan.service_codes, *_HIDING_CODES)
    if plan.country_code == _NANP:
        known = (*known, *_NANP_HIDING_CODES)
    for code in sorted(known, key=len, reverse=True):
        if code[0] in "*#" and digits.startswith(code) and digits != code:
            return code, digits.removeprefix(code)
    return "", digits


def _objection(user: str, digits: str) -> str | None:
    """Say why *user*, as *digits* without its separators, was not dialled on a keypad, or None."""
    if not digits:
        return "empty"
    if not _DIALLED.match(digits):
        return "letters" if any(c.isalpha() for c in digits) else "other characters"
    if user.count(".") != _IPV4_DOTS:
        return None
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
    bare = context.translate(SEPARATORS)
    if bare.startswith("+") and bare != "+" and (number := possible(bare[1:] + digits)):
        return number, f"phone-context {bare}"
    return Local(digits, opaque(context.lower()).text), "phone-context, local"


def _dialled(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what was dialled, after at most one service code, the strongest reading first."""
    if digits in plan.service_codes:
        yield Local(digits, plan.name), f"service code {digits}"
    code, rest = _service_code(plan, digits)
    for party, rule in _numbers(plan, rest) if code else ():
        yield party, f"service code {code}, {rule}"
    yield from _numbers(plan, digits)


def _numbers(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what *digits* can mean, the short ones first."""
    if not _DIGITS.match(digits):
        return
    here = Local(digits, plan.name)
    if digits in plan.emergency:
        yield here, "emergency"
    if number := dict(plan.extensions).get(digits):
        yield Global(number), "extension"
    if region := emergency_region(plan.country_code, digits):
        yield here, f"emergency in {region}"
    if len(digits) in plan.extension_digits:
        yield here, "extension"
    if plan.country_code == _NANP and _N11.match(digits):
        yield here, f"service code {digits}"
    if len(digits) <= plan.short_max_digits:
        yield here, "short number"
    yield from _long(plan, digits)


def _long(plan: DialPlan, digits: str) -> Iterator[tuple[Party, str]]:
    """Yield what a full number can mean, the strongest reading first."""
    for prefix in sorted(plan.international_prefixes, key=len, reverse=True):
        if digits.startswith(prefix):
            if number := possible(digits.removeprefix(prefix)):
                yield number, f"international-prefix {prefix}"
            return  # dialled abroad, or nowhere: never a national number
    country, trunk = plan.country_code, plan.national_prefix
    if digits.startswith(trunk) and (
        number := possible(country + digits.removeprefix(trunk), country)
    ):
        yield number, "national"
    if not trunk or not digits.startswith(trunk):
        if plan.area_code and (number := possible(country + plan.area_code + digits, country)):
            yield number, f"local, area code {plan.area_code}"
        if number := possible(country + digits, country):
            yield number, "national, prefix left out"
        if is_local_only(country, digits):
            yield Local(digits, plan.name), "local only"
    if number := possible(digits):
        yield number, "e164, plus left out"


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
