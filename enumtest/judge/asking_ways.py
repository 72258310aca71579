"""What a profile declares about the ways of asking, as the reader of captures needs it.

Laws: a value that nobody knows is not declared; without a profile nothing is, and what the packets
themselves show (one id for everything, a new id for each send) stands in.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from enumtest.dns.message_table import MessageTable
from enumtest.profiles.profile_groups import Event, IdScope, ReadmitBy, Then
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_fold import Waiting
from enumtest.traffic.hop_table import EVENTS
from enumtest.traffic.lookup_join import Following

NAPTR = 35
UNDECLARED_NS = 5_000_000_000  # a resolver's usual time-out, where nothing is declared
UNDECLARED_ROUNDS = 5  # nor seen of any resolver
FEW_IDS, MANY_QUERIES = 2, 20  # an SBC that has so few ids for so many queries draws none

_FAILURES = (*(Event.SERVFAIL, Event.REFUSED, Event.NOTIMP, Event.FORMERR), Event.OTHER_RCODE)
_ANSWERS = (None, Event.SILENCE, Event.TRUNCATED)  # that the joining knows by itself


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways of one SBC; None: not known."""

    expire_ns: int | None
    schedule_ns: tuple[int, ...]
    new_id: bool | None
    fixed_id: bool | None
    rounds: int | None
    reactions: dict[Event, Then | None]
    probe_name: str | None  # "": the apex; None: there are no probes of numbers' kind

    @classmethod
    def of(cls, profile: Profile | None) -> "Ways":
        """Return what *profile* declares."""
        if profile is None:
            return cls(None, (), None, None, None, dict.fromkeys(Event), None)

        def known(path: str) -> bool:
            return profile.source_of(path) is not None

        scopes = profile.retransmission
        per = {
            scope
            for name, scope in (("id_per", scopes.id_per), ("port_per", scopes.port_per))
            if known(f"retransmission.{name}")
        }
        id_per = scopes.id_per if known("retransmission.id_per") else None
        probing = profile.readmission
        probes = probing.by is ReadmitBy.PROBES or (probing.probe_name and probing.interval_ns)
        is_naptr = probes and probing.probe_type == "NAPTR"
        return cls(
            expire_ns=scopes.expire_ns,
            schedule_ns=scopes.schedule_ns,
            new_id=True if IdScope.SEND in per else None if id_per is None else False,
            fixed_id=None if id_per is None else id_per is IdScope.ALWAYS,
            rounds=profile.selection.rounds,
            reactions={
                event: reaction.then if known(f"reactions.{event}.then") else None
                for event, reaction in profile.reactions.items()
            },
            probe_name=probing.probe_name.lower().removesuffix(".") if is_naptr else None,
        )

    def waiting(self, expire_ns: int, *, new_id: bool, fixed_id: bool) -> Waiting:
        """Return how one server is waited for."""
        garbled = self.reactions[Event.GARBLED]
        return Waiting(
            expire_ns,
            self.schedule_ns,
            new_id=new_id,
            fixed_id=fixed_id,
            rounds=self.rounds or UNDECLARED_ROUNDS,
            garbled_ends=garbled is not None and garbled is not Then.IGNORE,
        )

    def following(self, expire_ns: int) -> Following:
        """Return what may come after a hop."""
        waits, useless = set[Event](), set[Event]()
        for event, then in self.reactions.items():
            if then is Then.IGNORE or (then is None and event is Event.GARBLED):
                waits.add(event)
            if then in (Then.NEXT_SERVER, Then.RETRY_WITHOUT_EDNS) or (
                then is None and event in (*_FAILURES, Event.GARBLED)
            ):
                useless.add(event)
        return Following(
            expire_ns,
            rounds=self.rounds or UNDECLARED_ROUNDS,
            same_id=self.rounds is None,
            waits=_places(waits),
            useless=_places(useless),
            final=_places(set(Event) - useless - set(_ANSWERS)),
        )


def _places(events: Collection[Event]) -> frozenset[int]:
    return frozenset(EVENTS.index(event) for event in events)


def has_one_id(table: MessageTable) -> bool:
    """Say whether all queries have the same id or two."""
    asked = table.id[table.from_client & (table.why == 0) & (table.qtype == NAPTR)]
    return len(asked) >= MANY_QUERIES and len(np.unique(asked)) <= FEW_IDS
