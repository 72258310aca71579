"""What an analysis needs to know of the customer: how numbers are written, and which are theirs.

Laws: without a dial plan only a number with its plus sign is E.164, all else stays as dialled; the
whole site file is checked by `fst site check`, here only what is used is read, and that exactly.
"""

import ipaddress
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from harness.dialplan import DialPlan, Network
from harness.errors import InputError, NumberError
from harness.number import PhoneNumber


@dataclass(frozen=True, slots=True)
class PlusOnly(DialPlan):
    """The plan of a place of which nothing is known."""

    @property
    def explains(self) -> bool:
        """Say that it knows no digits but those after a plus sign.

        >>> NO_PLAN.reading("+16505550112", kind="user").text
        '+16505550112'
        >>> NO_PLAN.reading("sip:6505550112@192.0.2.1", kind="uri").text
        '6505550112'
        """
        return False


NO_PLAN = PlusOnly("no-plan", "1")


class DialledBy(StrEnum):
    """Which part of an INVITE says first who was dialled."""

    RURI = "ruri"  # the Request-URI: what an SBC or a trunk was asked for
    TO = "to"  # what the caller meant, where a tap is on an access line


@dataclass(frozen=True, slots=True)
class Premises:
    """One customer: dial plan, own numbers (E.164 or their first digits), own networks."""

    plan: DialPlan = NO_PLAN
    numbers: tuple[str, ...] = ()
    inside: tuple[Network, ...] = ()
    trusted: tuple[Network, ...] = ()  # whose P-Asserted-Identity counts; none given: everybody's
    dialled: DialledBy = DialledBy.RURI

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
        inside, trusted = (tuple(_networks(table, file, name)) for name in ("inside", "trusted"))
        return cls(plan, numbers, inside, trusted)

    def with_plan(self, text: str, *, file: str = "") -> Self:
        """Return the same with the dial plan in the TOML *text*.

        Raises:
            InputError: no TOML, or no dial plan.
        """
        plan = DialPlan.from_table(_toml(text, file), file=file)
        return replace(self, plan=plan)

    def with_inside(self, networks: Iterable[str]) -> Self:
        """Return the same with more networks of the customer.

        Raises:
            InputError: no network in address/length form.
        """
        more = tuple(network(text, field="--inside") for text in networks)
        return replace(self, inside=(*self.inside, *more))

    def with_trusted(self, networks: Iterable[str]) -> Self:
        """Return the same with more networks whose asserted identities are believed.

        Raises:
            InputError: no network in address/length form.
        """
        more = tuple(network(text, field="--trusted") for text in networks)
        return replace(self, trusted=(*self.trusted, *more))


def network(text: str, *, file: str = "", field: str = "") -> Network:
    """Return the network that *text* names; a bare address is a network of one.

    Raises:
        InputError: anything else, bits set after the prefix included.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        why, fix = "not a network", "write it as 192.0.2.0/24"
        with suppress(ValueError):  # a host's address with its network's length
            meant = ipaddress.ip_network(text, strict=False)
            why, fix = "has bits set after the prefix", f"did you mean {meant}?"
        raise InputError(why, file=file, field=field, value=text, fix=fix) from error


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


def _networks(table: Mapping[str, Any], file: str, name: str) -> Iterator[Network]:
    """Yield the networks of a site's list: those it calls its own, or those it trusts."""
    for place, site in _sites(table, file):
        given = site.get(name, [])
        field = f"{place}.{name}"
        if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
            fix = 'write a list such as ["192.0.2.0/24"]'
            raise InputError("no list of networks", file=file, field=field, value=given, fix=fix)
        yield from (network(text, file=file, field=field) for text in given)
