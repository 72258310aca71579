"""How one kind of SBC does ENUM, as data: the simulated SBC runs it, the judge holds others to it.

Laws: a profile describes, it does nothing; every value has a source or is listed as unknown, and
never both; a value that is unknown is one reading among others, good for a simulation and for
nothing else: a judge has to accept them all; no profile exists that no SBC could follow.

Paths name the values: "selection.method", "reactions.SERVFAIL.counts", "hold_down.stages.0.share".
A source or an unknown at a path holds for all below it, unless a longer path says otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from enumtest.dns.source_name import SourceNaming
from enumtest.naptr.naptr_dialect import NaptrDialect
from enumtest.profiles.profile_groups import (
    AllDown,
    Cache,
    EdnsUse,
    Event,
    HoldDown,
    Problem,
    Reaction,
    Readmission,
    ReadmitBy,
    Retransmission,
    Selection,
    SelectionRules,
    Share,
    Then,
    Timers,
)
from harness.errors import InputError


@dataclass(frozen=True, slots=True)
class ProfileField:
    """One value of a profile; *source* is None when nobody knows it."""

    path: str
    value: object
    source: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of SBC."""

    name: str
    title: str
    selection: SelectionRules
    retransmission: Retransmission
    reactions: Mapping[Event, Reaction]
    hold_down: HoldDown
    readmission: Readmission
    all_down: AllDown
    cache: Cache
    edns: EdnsUse
    source_name: SourceNaming  # the calling number in the name that is asked
    dialect: str  # the name of the file that naptr comes from; "": nothing is known of it
    naptr: NaptrDialect
    source: Mapping[str, str]
    unknown: frozenset[str]
    timers: Timers = Timers.DRAWN_OUT  # the rule that another time-out goes by

    def __post_init__(self) -> None:
        """Refuse a profile that no SBC could follow, or whose values come from nowhere."""
        problems = [*self._impossible(), *self._unsourced()]
        if problems:
            whole = [InputError(why, field=path, value=_plain(v)) for path, v, why in problems]
            raise whole[0] if len(whole) == 1 else InputError("\n".join(map(str, whole)))

    @property
    def timeout_ns(self) -> int:
        """Return how long one server is waited for, retransmissions included."""
        return self.retransmission.expire_ns

    @property
    def retransmissions(self) -> int:
        """Return how often a query to one server is repeated."""
        return len(self.retransmission.schedule_ns) - 1

    @property
    def hold_down_ns(self) -> int:
        """Return the length of the first hold-down; 0 when there is none, or no time ends it."""
        return self.hold_down.stages[0].length_ns if self.hold_down.stages else 0

    @property
    def counted(self) -> frozenset[Event]:
        """Return the events that are failures of the server."""
        return frozenset(event for event, reaction in self.reactions.items() if reaction.counts)

    def fields(self) -> tuple[ProfileField, ...]:
        """Return every value with its path and its source."""
        return tuple(
            ProfileField(path, value, None if value is None else self.source_of(path))
            for path, value in self.leaves()
        )

    def source_of(self, path: str) -> str | None:
        """Return where the value at *path* comes from, or None when it is unknown."""
        told = self._told(path)
        return None if told is None or told in self.unknown else self.source[told]

    def _told(self, path: str) -> str | None:
        """Return the longest path, *path* or above it, of which something is said."""
        parts = path.split(".")
        heads = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((one for one in heads if one in self.unknown or one in self.source), None)

    def leaves(self) -> Iterator[tuple[str, object]]:
        """Yield the path and the value of everything that has, or needs, a source."""
        for field in fields(self):
            if field.name not in _NAMES:
                yield from _leaves(field.name, getattr(self, field.name))

    def _impossible(self) -> Iterator[Problem]:
        hold_down, method = self.hold_down, self.selection.method
        parts: dict[str, Any] = {
            "selection": self.selection,
            "retransmission": self.retransmission,
            **{f"hold_down.stages.{at}": stage for at, stage in enumerate(hold_down.stages)},
            "hold_down": hold_down,
            "readmission": self.readmission,
            "cache": self.cache,
            "edns": self.edns,
        }
        for place, part in parts.items():
            for path, value, why in part.problems():
                yield f"{place}.{path}", value, why
        if method is Selection.LIST_ORDER and hold_down.stages:
            yield "selection.method", method, "goes with no hold-down: hunt is what is meant"
        by_probes = self.readmission.by is ReadmitBy.PROBES
        for at, stage in enumerate(hold_down.stages):
            place = f"hold_down.stages.{at}"
            if by_probes and stage.length_ns:
                yield f"{place}.length_ns", stage.length_ns, "probes bring the server back: 0"
            if stage.share is Share.FIRST_LIVE and not self.selection.skipped_takes_turn:
                why = "the turn of a held server is used up then: skipped_takes_turn is true"
                yield f"{place}.share", stage.share, why
        for event in Event:
            if event not in self.reactions:
                yield f"reactions.{event}", None, "missing"
            elif why := _reaction_problem(event, self.reactions[event]):
                yield f"reactions.{event}.then", self.reactions[event].then, why

    def _unsourced(self) -> Iterator[Problem]:
        used = set()
        for path, value in self.leaves():
            told = self._told(path)
            used.add(told)
            if told is None and not (value is None and path.startswith("naptr.")):
                yield path, value, 'no source; add it to [source], or its path to "unknown"'
        for path in sorted({*self.unknown, *self.source}):
            if path in self.unknown and path in self.source:
                yield path, None, "unknown, and with a source"
            elif path not in used:
                yield path, None, "names no value of this profile, or longer paths name them all"


_NAMES = ("name", "title", "dialect", "timers", "source", "unknown")  # not values of an SBC


_ALLOWED = {
    Event.SILENCE: {Then.NEXT_SERVER, Then.FINAL},
    Event.TRUNCATED: {Then.TCP, Then.FINAL, Then.IGNORE, Then.NEXT_SERVER},
    Event.LATE: {Then.IGNORE, Then.FINAL},
}
_USUAL = {Then.NEXT_SERVER, Then.FINAL, Then.IGNORE, Then.RETRY_WITHOUT_EDNS}


def _reaction_problem(event: Event, reaction: Reaction) -> str:
    """Return why nobody can react so, or ""."""
    if reaction.then not in (allowed := _ALLOWED.get(event, _USUAL)):
        return f"not one of {', '.join(sorted(allowed))}"
    if reaction.counts and reaction.then is Then.IGNORE:
        return "what is ignored cannot count"
    return ""


def _plain(value: object) -> object:
    """Return *value* as a file has it."""
    return value.value if isinstance(value, StrEnum) else value


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the values below *path*; a tuple of plain values, or an empty one, is one value."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(f"{path}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(f"{path}.{key}", below)
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for at, below in enumerate(value):
            yield from _leaves(f"{path}.{at}", below)
    else:
        yield path, value
