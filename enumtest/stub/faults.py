"""Misbehaviour of the stub ENUM server, as data: frozen records that compose in order.

Laws: nothing is random (a seed makes the same bytes again); a fault changes answers only, never
the policy, except `Instead`, which is a defect of the policy itself; `PortClosed` is a state of the
socket, seen by the client as an ICMP port unreachable, so it cannot pick single queries.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from enumtest.dns.message import plain_rcode_value
from enumtest.stub.policy import Action, input_error, parse_toml
from harness.errors import InputError
from harness.number import PhoneNumber

MAX_DELAY_MS = 600_000  # ten minutes: beyond any client's patience


@dataclass(frozen=True, slots=True)
class Selector:
    """Which queries of a server a fault is for: each *every*-th, and only the *first* so many."""

    every: int = 1
    first: int = 0  # 0: without end

    def __post_init__(self) -> None:
        """Refuse a selection that could never be met."""
        if self.every < 1:
            raise InputError("not 1 or more", field="every", value=self.every)
        if self.first < 0:
            raise InputError("not 0 or more", field="first", value=self.first)

    def picks(self, count: int) -> bool:
        """Say whether query number *count* (from 1, since the faults were set) is meant."""
        return count % self.every == 0 and (not self.first or count <= self.first)


ALWAYS = Selector()


@dataclass(frozen=True, slots=True)
class PortClosed:
    """The sockets are closed: the machine is up, the service is down."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer at all: the machine, or the path to it, is gone."""

    when: Selector = ALWAYS


@dataclass(frozen=True, slots=True)
class Delay:
    """The answer comes *delay_ms* late; several delays add up."""

    delay_ms: int
    when: Selector = ALWAYS

    def __post_init__(self) -> None:
        """Refuse what is no delay."""
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise InputError(f"not 0 to {MAX_DELAY_MS}", field="delay_ms", value=self.delay_ms)


@dataclass(frozen=True, slots=True)
class Rcode:
    """Return code *name* instead of the answer, such as "SERVFAIL" for a database that is gone."""

    name: str
    when: Selector = ALWAYS

    def __post_init__(self) -> None:
        """Refuse a code that does not exist."""
        plain_rcode_value(self.name)


@dataclass(frozen=True, slots=True)
class WrongId:
    """The answer has another message id: a client must ignore it and keep waiting."""

    when: Selector = ALWAYS


@dataclass(frozen=True, slots=True)
class Truncated:
    """Over UDP only a truncated answer (TC); over TCP the whole one."""

    when: Selector = ALWAYS


@dataclass(frozen=True, slots=True)
class Garbled:
    """The header is sound and all that follows is noise, the same for the same *seed* and query."""

    seed: int = 0
    when: Selector = ALWAYS


@dataclass(frozen=True, slots=True)
class Instead:
    """A defect of the policy: what it rules *action* is answered as *instead*."""

    action: Action
    instead: Action
    to: PhoneNumber | None = None  # where, when it is a redirect
    when: Selector = ALWAYS

    def __post_init__(self) -> None:
        """Refuse a redirect that leads nowhere."""
        if (self.instead is Action.REDIRECT) != (self.to is not None):
            why = 'a redirect needs "to", and nothing else may have it'
            raise InputError(why, field="instead", value=self.instead.value)


Fault = PortClosed | Silence | Delay | Rcode | WrongId | Truncated | Garbled | Instead


def kind(fault: Fault) -> str:
    """Return what a fault file calls it.

    >>> kind(WrongId())
    'wrong-id'
    """
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(fault).__name__).lower()


class _Row(BaseModel):
    """One `[[faults]]` table; each kind adds its fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    server: str = Field(min_length=1)

    def fault(self) -> Fault:
        """Return the fault; what is wrong is an InputError."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            self.fault()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self


class _Picking(_Row):
    every: int = 1
    first: int = 0

    @property
    def when(self) -> Selector:
        return Selector(self.every, self.first)


class _PortClosedRow(_Row):
    kind: Literal["port-closed"]

    def fault(self) -> Fault:
        return PortClosed()


class _SilenceRow(_Picking):
    kind: Literal["silence"]

    def fault(self) -> Fault:
        return Silence(self.when)


class _DelayRow(_Picking):
    kind: Literal["delay"]
    delay_ms: int

    def fault(self) -> Fault:
        return Delay(self.delay_ms, self.when)


class _RcodeRow(_Picking):
    kind: Literal["rcode"]
    name: str

    def fault(self) -> Fault:
        return Rcode(self.name, self.when)


class _WrongIdRow(_Picking):
    kind: Literal["wrong-id"]

    def fault(self) -> Fault:
        return WrongId(self.when)


class _TruncatedRow(_Picking):
    kind: Literal["truncated"]

    def fault(self) -> Fault:
        return Truncated(self.when)


class _GarbledRow(_Picking):
    kind: Literal["garbled"]
    seed: int = 0

    def fault(self) -> Fault:
        return Garbled(self.seed, self.when)


class _InsteadRow(_Picking):
    kind: Literal["instead"]
    action: Annotated[Action, Field(strict=False)]
    instead: Annotated[Action, Field(strict=False)]
    to: str | None = None

    def fault(self) -> Fault:
        to = None if self.to is None else PhoneNumber.parse(self.to)
        return Instead(self.action, self.instead, to, self.when)


_AnyRow = Annotated[
    _PortClosedRow
    | _SilenceRow
    | _DelayRow
    | _RcodeRow
    | _WrongIdRow
    | _TruncatedRow
    | _GarbledRow
    | _InsteadRow,
    Field(discriminator="kind"),
]


class _FaultsRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    faults: list[_AnyRow] = []


def parse_faults(text: str, file: str = "") -> Mapping[str, tuple[Fault, ...]]:
    """Return the faults of each server in the TOML *text*, in the order they apply.

    Raises:
        InputError: not TOML, or wrong fields: all of them in one error.
    """
    return parse_fault_rows(parse_toml(text, file), file)


def parse_fault_rows(tables: object, file: str = "") -> Mapping[str, tuple[Fault, ...]]:
    """Return the faults of each server from data of the shape of a fault file.

    Raises:
        InputError: wrong fields, all of them in one error.
    """
    try:
        rows = _FaultsRow.model_validate(tables).faults
    except ValidationError as error:
        raise input_error(error, file) from error
    found: dict[str, tuple[Fault, ...]] = {}
    for row in rows:
        found[row.server] = (*found.get(row.server, ()), row.fault())
    return MappingProxyType(found)
