"""What an analysis needs to know of the customer: how numbers are written, and which are theirs.

Laws: without a dial plan only a number with its plus sign is E.164, all else stays as dialled; the
whole site file is checked by `fst site check`, here only what is used is read, and that exactly.
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from harness.dialplan import DialPlan, Kind, Network
from harness.errors import InputError, NumberError
from harness.number import PhoneNumber
from harness.party import Reading, opaque

_USER = re.compile(r"(?:sips?|tel):([^@;:>?]*)", re.IGNORECASE)
_CERTAIN = ("restricted", "e164 plus", "phone-context", "opaque")  # rules that need no plan


@dataclass(frozen=True, slots=True)
class PlusOnly(DialPlan):
    """The plan of a place of which nothing is known."""

    def reading(self, text: str, *, kind: Kind) -> Reading:
        """Return who *text* names, as far as it says so itself.

        >>> NO_PLAN.reading("+16505550112", kind="user").text
        '+16505550112'
        >>> NO_PLAN.reading("sip:6505550112@192.0.2.1", kind="uri").text
        '6505550112'
        """
        found = DialPlan.reading(self, text, kind=kind)
        if found.rule.startswith(_CERTAIN):
            return found
        user = _USER.search(text) if kind == "uri" else None
        shown = text.partition(";")[0] if user is None else unquote(user[1])
        return Reading(opaque(shown), "opaque: no dial plan is given", text)


NO_PLAN = PlusOnly("no-plan", "1")


@dataclass(frozen=True, slots=True)
class Premises:
    """One customer: dial plan, own numbers (E.164 or their first digits), own networks."""

    plan: DialPlan = NO_PLAN
    numbers: tuple[str, ...] = ()
    inside: tuple[Network, ...] = ()

    @classmethod
    def from_site(cls, text: str, *, file: str = "") -> Self:
        """Return what the site file *text* (TOML) says of it.

        Raises:
            InputError: no TOML, no dial plan, or a field that cannot be used.
        """
        table = _toml(text, file)
        if not isinstance(table.get("dial_plan"), Mapping):
            fix = "see the site file's documentation"
            raise InputError("missing", file=file, field="dial_plan", fix=fix)
        plan = DialPlan.from_table(table["dial_plan"], file=file, field="dial_plan")
        numbers = tuple(dict.fromkeys(_numbers(table, file)))
        return cls(plan, numbers, tuple(_inside(table, file)))

    def with_plan(self, text: str, *, file: str = "") -> Self:
        """Return the same with the dial plan in the TOML *text*.

        Raises:
            InputError: no TOML, or no dial plan.
        """
        plan = DialPlan.from_table(_toml(text, file), file=file)
        return type(self)(plan, self.numbers, self.inside)

    def with_inside(self, networks: Iterable[str]) -> Self:
        """Return the same with more networks of the customer.

        Raises:
            InputError: no network in address/length form.
        """
        more = tuple(network(text, field="--inside") for text in networks)
        return type(self)(self.plan, self.numbers, (*self.inside, *more))


def network(text: str, *, file: str = "", field: str = "") -> Network:
    """Return the network that *text* names; a bare address is a network of one.

    Raises:
        InputError: anything else, bits set after the prefix included.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        fix = "write it as 192.0.2.0/24"
        raise InputError("not a network", file=file, field=field, value=text, fix=fix) from error


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", file=file) from error


def _sites(table: Mapping[str, Any], file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and table of each site."""
    sites = table.get("sites", [])
    for place, site in enumerate(sites if isinstance(sites, list) else [sites]):
        if not isinstance(site, Mapping):
            raise InputError("not a table", file=file, field=f"sites.{place}", value=site)
        yield f"sites.{place}", site


def _numbers(table: Mapping[str, Any], file: str) -> Iterator[str]:
    """Yield the customer's own numbers: all test numbers but the callers, and the destinations."""
    for place, site in _sites(table, file):
        given = site.get("numbers", {})
        names = ("plain", "allow", "terminate", "redirect")
        lists = {f"{place}.numbers.{name}": given.get(name, []) for name in names}
        destinations = site.get("destinations", [])
        lists[f"{place}.destinations"] = [one.get("number") for one in destinations]
        for field, values in lists.items():
            for value in values:
                yield _number(value, file, field)


def _number(value: object, file: str, field: str) -> str:
    try:
        return str(PhoneNumber.parse(value if isinstance(value, str) else ""))
    except NumberError as error:
        raise InputError(error.why, file=file, field=field, value=value) from error


def _inside(table: Mapping[str, Any], file: str) -> Iterator[Network]:
    """Yield the networks that a site calls its own."""
    for place, site in _sites(table, file):
        given = site.get("inside", [])
        field = f"{place}.inside"
        if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
            fix = 'write a list such as ["192.0.2.0/24"]'
            raise InputError("no list of networks", file=file, field=field, value=given, fix=fix)
        yield from (network(text, file=file, field=field) for text in given)
