"""Decisions about parties: who it is, by which header and rule, and who else was named."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from harness.dialled import Parameters
from harness.dialplan import LIBRARY, DialPlan
from harness.party import Party, PartyKind, Reading, Restricted
from probetest.calls.party_headers import ASSERTED

_UNUSABLE = frozenset({PartyKind.NAME, PartyKind.INVALID, PartyKind.RESTRICTED})
_LABEL = {ASSERTED: f"{ASSERTED} (no trust list)"}  # where nothing says whom to trust
_SEPARATORS = re.compile(r"[\s\-.()]")


class Trust(StrEnum):
    """Whether the sender of an INVITE is one whose asserted identity counts."""

    ANYBODY = "no trust list is given"
    TRUSTED = "its sender is trusted"
    STRANGER = "its sender is not trusted"


@dataclass(frozen=True, slots=True)
class Decision:
    """One party, and everything that made it one."""

    party: Party
    header: str
    plan_rule: str  # of the dial plan, or why the party is not shown
    raw: str  # the header's value
    plan: str  # name of the dial plan

    @property
    def text(self) -> str:
        """Return the party in normalised form."""
        return self.party.text

    @property
    def rule(self) -> str:
        """Return header and rule in one line."""
        return f"{self.header}: {self.plan_rule}"

    @property
    def reading(self) -> Reading:
        """Return what the dial plan said."""
        return Reading(self.party, self.plan_rule, self.raw)

    @property
    def kind(self) -> PartyKind:
        """Return what sort of address it is."""
        return self.reading.kind


class Candidate(NamedTuple):
    """One header's value, and why it may not decide."""

    header: str
    reading: Reading
    objection: str = ""

    @property
    def is_usable(self) -> bool:
        """Say whether it may decide."""
        return not self.objection and self.reading.kind not in _UNUSABLE


@dataclass(frozen=True, slots=True)
class Rejected:
    """A header that named somebody and did not decide."""

    role: str  # "source", "destination" or "original"
    header: str
    raw: str
    text: str  # the party it names
    plan_rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Calling:
    """The calling side."""

    source: Decision
    hidden: str  # why it is not to be shown; "": it may be
    every: tuple[Candidate, ...]  # the strongest first
    best: Candidate

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Return the headers that did not decide."""
        return tuple(_passed_over("source", self.every, self.best))


@dataclass(frozen=True, slots=True)
class Called:
    """The called side."""

    destination: Decision
    service_codes: tuple[str, ...]  # dialled before the number
    number: Parameters  # beside it: rn, npdi, cic, isub, ext, postd, tgrp …; "" of a flag
    original: Decision | None  # who was dialled before the call was diverted
    diversions: tuple[Decision, ...]  # who sent it on, the last one first
    others: tuple[Rejected, ...]  # who might have been dialled before that
    every: tuple[Candidate, ...]  # the strongest first
    best: Candidate

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Return the headers that did not decide."""
        return (*_passed_over("destination", self.every, self.best), *self.others)


@dataclass(frozen=True, slots=True)
class Parties:
    """Both sides of one call."""

    calling: Calling
    called: Called

    @property
    def source(self) -> Decision:
        """Return who calls."""
        return self.calling.source

    @property
    def destination(self) -> Decision:
        """Return who was dialled."""
        return self.called.destination

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Return the headers that did not decide."""
        return (*self.calling.rejected, *self.called.rejected)

    @property
    def routing_number(self) -> str:
        """Return the routing number (RFC 4694) without separators; it was not dialled. "": none."""
        return _routing_number(self.called.number)

    @property
    def npdi(self) -> bool:
        """Say whether the number's portability has been looked up already."""
        return any(name == "npdi" and value != "no" for name, value in self.called.number)

    @property
    def library(self) -> str:
        """Return the library, with version, that knows which numbers are possible."""
        return LIBRARY


def decision(candidate: Candidate, plan: DialPlan, trust: Trust = Trust.TRUSTED) -> Decision:
    """Return *candidate* as the one that decides."""
    reading, header = candidate.reading, candidate.header
    label = _LABEL.get(header, header) if trust is Trust.ANYBODY else header
    return Decision(reading.party, label, reading.rule, reading.raw, plan.name)


def hidden_one(named: Decision, why: str, *, show_restricted: bool) -> Decision:
    """Return the decision about one who asked not to be named."""
    if show_restricted:
        rule = f"{named.plan_rule} ({why})"
        return Decision(named.party, named.header, rule, named.raw, named.plan)
    return Decision(Restricted(), named.header, f"restricted, {why}", named.raw, named.plan)


def _routing_number(number: Parameters) -> str:
    """Return the rn parameter, made global by rn-context where that is a prefix."""
    given = dict(reversed(number))
    digits = _SEPARATORS.sub("", given.get("rn", "")).upper()
    context = _SEPARATORS.sub("", given.get("rn-context", ""))
    return context + digits if digits and digits[0] != "+" and context[:1] == "+" else digits


def _passed_over(role: str, every: Iterable[Candidate], best: Candidate) -> Iterator[Rejected]:
    """Yield all but *best*, with the reason."""
    is_before = True
    for one in every:
        if one is best:
            is_before = False
            continue
        if one.objection:
            why = one.objection
        elif is_before or not best.is_usable:
            why = "no number"
        else:
            first = "another of its values" if one.header == best.header else best.header
            same = one.reading.text == best.reading.text
            why = f"{first} comes first{', and says the same' if same else ''}"
        reading = one.reading
        yield Rejected(role, one.header, reading.raw, reading.text, reading.rule, why)
