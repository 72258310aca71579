"""Simulated SBCs that do one thing wrong, each against the profile that it is declared to follow.

Those of `tests.sbc_mutants_blind` were written before the judge was read; here are the others:
`tests.sbc_defects`, and one value of a profile after another set otherwise than declared.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from enumtest.dns.message import Answer, encode_query, parse_query
from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import (
    CacheKey,
    Event,
    IdScope,
    InFlight,
    Reaction,
    Readmission,
    ReadmitBy,
    Selection,
    Share,
    Stage,
    Then,
    Timers,
)
from enumtest.profiles.profiles import Profile
from enumtest.sbc.open_call import OpenCall
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.sbc import Outgoing, Sbc
from harness.number import PhoneNumber
from tests.enum_wire import FIXED, MS, SECOND, at_will
from tests.judge_traffic import Mutant
from tests.sbc_defects import DEFECTS, Make, of_class, with_pool
from tests.sbc_mutants_blind import (
    BLIND,
    DECLARED,
    ORACLE,
    WITH_SOURCE,
    CredulousSbc,
    WatchingPool,
    following,
    reacting,
)

RIBBON = at_will(shipped_profile("ribbon"))
ONE_KEY = at_will(ORACLE, cache=replace(ORACLE.cache, key=CacheKey.NUMBER))  # it sends no caller
HUNT = at_will(shipped_profile("oracle-hunt"))
LIBC = at_will(shipped_profile("libc"))
NEXT, FINAL = Then.NEXT_SERVER, Then.FINAL
SERVFAIL_COUNTS = at_will(
    FIXED, reactions={**FIXED.reactions, Event.SERVFAIL: Reaction(NEXT, counts=True)}
)
PLAIN_RETRY = at_will(
    WITH_SOURCE,
    reactions={
        **WITH_SOURCE.reactions,
        Event.FORMERR: Reaction(Then.RETRY_WITHOUT_EDNS, counts=False),
    },
)
WEIGHTED = at_will(
    FIXED, selection=replace(FIXED.selection, method=Selection.PROPORTIONAL, weights=(3, 1, 1))
)


class UnderneathSbc(Sbc):
    """Sends some messages otherwise the second time."""

    def to_send(self) -> Outgoing | None:
        """Return the next message; `_changed` makes it when it was sent before."""
        found = super().to_send()
        sent: set[tuple[bytes, object]] = self.__dict__.setdefault("sent", set())
        if found is None:
            return None
        again = (found.payload, found.server) in sent
        sent.add((found.payload, found.server))
        return self._changed(found) if again else found

    def _changed(self, found: Outgoing) -> Outgoing:
        return found


class CapitalsSbc(UnderneathSbc):
    """Writes the name in capitals when it asks again."""

    def _changed(self, found: Outgoing) -> Outgoing:
        return replace(found, payload=found.payload.replace(b"\4e164\4arpa", b"\4E164\4ARPA"))


class NamelessFailoverSbc(Sbc):
    """Leaves the calling number out when it asks the next server."""

    def _query(self, call: OpenCall) -> bytes:
        return encode_query(call.ids[-1], call.domain) if call.tried[1:] else super()._query(call)


class AnyIdSbc(CredulousSbc):
    """Takes any answer to the question, whatever its id."""

    def _takes(self, answer: Answer, server: str, call: OpenCall) -> bool:
        return call.server == server and call.is_asked_by(answer)


class RestartingPool(ServerPool):
    """A hold-down begins anew with each call that gets past the server."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server."""
        for name in self.servers:
            if self.is_held(name, now_ns):
                self.health[name]._since_ns = now_ns  # noqa: SLF001
        return super().next_server(now_ns, tried, held_too=held_too)


class LoyalPool(WatchingPool):
    """Stays with the server that it found, when the first one is back."""

    _loyal = ""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the server that answered last."""
        chosen = super().next_server(now_ns, tried, held_too=held_too)
        if not tried and self._loyal and not self.is_held(self._loyal, now_ns):
            return self._loyal
        self._loyal = chosen or ""
        return chosen


class SeparatorsSbc(Sbc):
    """Writes the calling number with dashes."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place a call."""
        return super().place_call(number, source.replace("+1650555", "+1-650-555-"), now_ns)


class AddressTooSbc(Sbc):
    """Asks for an address as well, first of all."""

    def _begin(self, call: OpenCall, now_ns: int) -> None:
        query = encode_query(next(self.ids), call.domain, qtype="AAAA")
        self._out.append(Outgoing(query, self.config.servers[call.server]))
        super()._begin(call, now_ns)


class TwoApexesSbc(Sbc):
    """Asks under another apex for every third call."""

    def _query(self, call: OpenCall) -> bytes:
        if call.call % 3 == 0:
            call.domain = call.domain.replace("e164.arpa", "e164.example")
        return super()._query(call)


class TwoAtOnceSbc(Sbc):
    """Asks its server and the one after it at the same time."""

    def to_send(self) -> Outgoing | None:
        """Return the next message, and its copy after it."""
        copies: list[Outgoing] = self.__dict__.setdefault("copies", [])
        if copies:
            return copies.pop()
        found = super().to_send()
        if found is not None and not found.tcp:
            everyone = list(self.config.servers.values())
            at = (everyone.index(found.server) + 1) % len(everyone)
            copies.append(replace(found, server=everyone[at]))
        return found


class ProbeTakesTurnSbc(Sbc):
    """Moves the rotation on with each health query."""

    def handle_timer(self, now_ns: int) -> None:
        """Do what is due."""
        before = len(self._out)
        super().handle_timer(now_ns)
        for one in list(self._out)[before:]:
            self._pool._turn += parse_query(one.payload).qname == self.config.apex  # noqa: SLF001


def timed(*schedule_ns: int, expire_ns: int = 0) -> Make:
    """Return what makes an SBC with other times of sends, and of giving a server up."""

    def change(profile: Profile) -> Profile:
        rules = profile.retransmission
        rules = replace(
            rules,
            schedule_ns=schedule_ns or rules.schedule_ns,
            expire_ns=expire_ns or rules.expire_ns,
        )
        return replace(profile, retransmission=rules, timers=Timers.DRAWN_OUT)

    return following(change)


def keeping(**changes: object) -> Make:
    """Return what makes an SBC with other values of `Retransmission`."""
    return _group("retransmission", changes)


def holding(**changes: object) -> Make:
    """Return what makes an SBC with other values of `HoldDown`."""
    return _group("hold_down", changes)


def choosing(**changes: object) -> Make:
    """Return what makes an SBC with other values of `SelectionRules`."""
    return _group("selection", changes)


def probing(**changes: object) -> Make:
    """Return what makes an SBC with other values of `Readmission`."""
    return _group("readmission", changes)


def staged(place: int, **changes: object) -> Make:
    """Return what makes an SBC with other values of one stage of its hold-down."""

    def change(profile: Profile) -> Profile:
        stages = list(profile.hold_down.stages)
        stages[place] = replace(stages[place], **changes)  # type: ignore[arg-type]
        return replace(profile, hold_down=replace(profile.hold_down, stages=tuple(stages)))

    return following(change)


def _group(name: str, changes: dict[str, object]) -> Make:
    def change(profile: Profile) -> Profile:
        group = replace(getattr(profile, name), **changes)
        return replace(profile, **{name: group})

    return following(change)


def first_live(profile: Profile) -> Profile:
    """Return *profile* with a held server's share going to the first live one."""
    (stage,) = profile.hold_down.stages
    stages = (replace(stage, share=Share.FIRST_LIVE),)
    selection = replace(profile.selection, skipped_takes_turn=True)
    return replace(
        profile, selection=selection, hold_down=replace(profile.hold_down, stages=stages)
    )


def evenly(profile: Profile) -> Profile:
    """Return *profile* with a held server's share going to the next one."""
    stages = tuple(replace(one, share=Share.NEXT) for one in profile.hold_down.stages)
    return replace(profile, hold_down=replace(profile.hold_down, stages=stages))


def first_stage_only(profile: Profile) -> Profile:
    """Return *profile* without its later stages."""
    stages = profile.hold_down.stages[:1]
    return replace(profile, hold_down=replace(profile.hold_down, stages=stages))


def by_time(profile: Profile) -> Profile:
    """Return *profile* with servers that come back after a minute, without probes."""
    stages = tuple(replace(one, length_ns=60 * SECOND) for one in profile.hold_down.stages)
    return replace(
        profile,
        hold_down=replace(profile.hold_down, stages=stages),
        readmission=Readmission(ReadmitBy.TIME, 0, 0, 0, "", "NAPTR"),
    )


def remembering(profile: Profile) -> Profile:
    """Return *profile*, which has no hold-down, with one of 30 s."""
    stage = Stage(1, consecutive=False, window_ns=0, length_ns=30 * SECOND, share=Share.NEXT)
    reactions = {**profile.reactions, Event.SILENCE: Reaction(NEXT, counts=True)}
    return replace(
        profile,
        selection=replace(profile.selection, method=Selection.HUNT),
        hold_down=replace(FIXED.hold_down, stages=(stage,)),
        reactions=reactions,
    )


def offering(size: int) -> Callable[[Profile], Profile]:
    """Return what changes the size in the OPT record; 0: no such record at all."""

    def change(profile: Profile) -> Profile:
        edns = replace(profile.edns, udp_payload_bytes=size, source_sent=bool(size))
        return replace(profile, edns=edns)

    return change


def uncached(profile: Profile) -> Profile:
    """Return *profile* without a cache."""
    return replace(profile, cache=replace(profile.cache, positive=False))


FILE = Path(__file__).parents[1] / "fixtures" / "mutants" / "sbc.toml"
_OLD = tuple(name for name in DEFECTS if name != "asks once a number")  # shows in SIP only
MADE: Mapping[str, tuple[Make, Profile]] = {
    **BLIND,
    **{name: (DEFECTS[name], DECLARED) for name in _OLD},
    "late answer decides": (reacting(Event.LATE, FINAL), DECLARED),
    "late answer ends the hold-down": (holding(late_answer_ends=True), DECLARED),
    "nameless failover": (of_class(NamelessFailoverSbc), WITH_SOURCE),
    "SERVFAIL ends the lookup": (reacting(Event.SERVFAIL, FINAL), SERVFAIL_COUNTS),
    "SERVFAIL is not counted": (reacting(Event.SERVFAIL, NEXT), SERVFAIL_COUNTS),
    "SERVFAIL fails over": (reacting(Event.SERVFAIL, NEXT), DECLARED),
    "NXDOMAIN fails over": (reacting(Event.NXDOMAIN, NEXT), DECLARED),
    "FORMERR counted": (reacting(Event.FORMERR, NEXT, counts=True), DECLARED),
    "FORMERR without a second try": (reacting(Event.FORMERR, FINAL), PLAIN_RETRY),
    "garbled is final": (reacting(Event.GARBLED, FINAL), DECLARED),
    "truncated is final": (reacting(Event.TRUNCATED, FINAL), DECLARED),
    "truncated, next server": (reacting(Event.TRUNCATED, NEXT), DECLARED),
    "new id each time": (keeping(id_per=IdScope.SEND), DECLARED),
    "one id for ever": (keeping(id_per=IdScope.ALWAYS), DECLARED),
    "new port each time": (keeping(port_per=IdScope.SEND), DECLARED),
    "takes any id": (of_class(AnyIdSbc), DECLARED),
    "capitals when sent again": (of_class(CapitalsSbc), DECLARED),
    "sends too often": (timed(*(at * 300 * MS for at in range(6))), DECLARED),
    "sends once": (timed(0), DECLARED),
    "sends evenly": (timed(*(at * 2750 * MS for at in range(4))), ORACLE),
    "gives up early": (timed(expire_ns=1200 * MS), DECLARED),
    "gives up late": (timed(expire_ns=4 * SECOND), DECLARED),
    "holds anew with each call": (with_pool(RestartingPool), DECLARED),
    "holds only while calls come": (holding(runs_while_idle=False), DECLARED),
    "leaves waiting calls": (holding(in_flight=InFlight.ABANDON), DECLARED),
    "second failure only": (staged(0, failures=2), DECLARED),
    "share to the first live": (following(first_live), DECLARED),
    "failover takes no turn": (choosing(failover_takes_turn=False), DECLARED),
    "skipped takes a turn": (choosing(skipped_takes_turn=True), DECLARED),
    "even shares, not weighted": (choosing(weights=(1, 1, 1)), WEIGHTED),
    "offers 4096 octets": (following(offering(4096)), WITH_SOURCE),
    "no calling number": (following(offering(0)), WITH_SOURCE),
    "calling number with dashes": (of_class(SeparatorsSbc), WITH_SOURCE),
    "asks for an address too": (of_class(AddressTooSbc), DECLARED),
    "two apexes": (of_class(TwoApexesSbc), DECLARED),
    "two at once": (of_class(TwoAtOnceSbc), DECLARED),
    "asks within the TTL": (following(uncached), ONE_KEY),
    "Oracle: share to the next": (following(evenly), ORACLE),
    "Oracle: never out of service": (following(first_stage_only), ORACLE),
    "Oracle: out of service at once": (staged(0, length_ns=600 * SECOND), ORACLE),
    "Oracle: answers do not reset the count": (staged(1, consecutive=False), ORACLE),
    "hunt: stays with the second": (with_pool(LoyalPool), HUNT),
    "hunt: takes turns": (choosing(method=Selection.ROUND_ROBIN), HUNT),
    "Ribbon: failures of any age": (staged(0, window_ns=0), RIBBON),
    "Ribbon: first failure": (staged(0, failures=1), RIBBON),
    "Ribbon: fifth failure": (staged(0, failures=5), RIBBON),
    "Ribbon: one reply": (probing(replies=1), RIBBON),
    "Ribbon: five replies": (probing(replies=5), RIBBON),
    "Ribbon: back by time": (following(by_time), RIBBON),
    "Ribbon: probes with a number": (probing(probe_name="9.1.1.0.5.5.5.2.1.2.1.e164.arpa"), RIBBON),
    "Ribbon: probes each second": (probing(interval_ns=SECOND), RIBBON),
    "Ribbon: gives probing up": (probing(give_up_ns=15 * SECOND), RIBBON),
    "Ribbon: a probe is a turn": (of_class(ProbeTakesTurnSbc), RIBBON),
    "libc: remembers": (following(remembering), LIBC),
    "libc: one round": (choosing(rounds=1), LIBC),
    "libc: takes turns": (choosing(method=Selection.ROUND_ROBIN), LIBC),
    "libc: FORMERR fails over": (reacting(Event.FORMERR, NEXT), LIBC),
    "libc: an id for each server": (keeping(id_per=IdScope.SERVER), LIBC),
}


def mutants() -> tuple[Mutant, ...]:
    """Return all of them, with what the file says of each."""
    table = tomllib.loads(FILE.read_text("utf-8"))
    return tuple(
        Mutant(
            name=name,
            wrong=row["wrong"],
            breaks=row["breaks"],
            expected=row["expected"],
            make=MADE[name][0],
            profile=MADE[name][1],
            rules=tuple(row["rules"]),
            blind=name in BLIND,
            missed=frozenset(Vantage(one) for one in row.get("missed", ())),
        )
        for name, row in table.items()
    )


MUTANTS = mutants()
