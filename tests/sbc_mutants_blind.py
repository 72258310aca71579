"""Misbehaviour written from the plan and the RFCs alone, before the judge was read.

Each is visible on the wire between the SBC and its ENUM servers, and nowhere else is looked.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from enumtest.dns.message import Answer, encode_query, parse_answer, parse_query
from enumtest.dns.source_uri import SourceOption
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Event, Reaction, Then
from enumtest.profiles.profiles import Profile
from enumtest.sbc.decision import Decision
from enumtest.sbc.open_call import OpenCall
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.sbc import Outgoing, Sbc, SbcConfig
from harness.errors import WireError
from harness.number import PhoneNumber
from harness.packets.frame import Endpoint
from tests.enum_wire import FIXED, MS, SECOND, WholeNumber, at_will, ids
from tests.sbc_defects import Make, of_class, with_pool

DECLARED = at_will(FIXED)  # the plan's SBC, with nothing left open
WITH_SOURCE = at_will(FIXED, edns=replace(FIXED.edns, source_sent=True, udp_payload_bytes=1220))
ORACLE = at_will(shipped_profile("oracle-round-robin"))


def following(change: Callable[[Profile], Profile]) -> Make:
    """Return what makes a sound SBC that follows another profile than the declared one."""

    def make(config: SbcConfig) -> Sbc:
        return Sbc(replace(config, profile=change(config.profile)), ids(), WholeNumber())

    return make


def reacting(event: Event, then: Then, *, counts: bool = False) -> Make:
    """Return what makes an SBC with another reaction to *event*."""

    def change(profile: Profile) -> Profile:
        reactions = {**profile.reactions, event: Reaction(then, counts)}
        return replace(profile, reactions=reactions)

    return following(change)


class TurnByTimePool(ServerPool):
    """The turn moves with the clock, not with the calls."""

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        if not tried:
            self._turn = now_ns // (5 * SECOND) % len(self.servers)
        return super()._in_turn(free, now_ns, tried)


class BackwardsPool(ServerPool):
    """The turns go from the last server to the first."""

    _back = 0

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        del now_ns, tried
        while True:
            self._back -= 1
            name = self.servers[self._back % len(self.servers)]
            if name in free:
                return name


class DicePool(ServerPool):
    """Any server, by dice."""

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        del tried
        return random.Random(now_ns).choice(list(free))  # noqa: S311 - no secret


class ByNumberSbc(Sbc):
    """Each called number has its own server."""

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Place a call; its number says whose turn it is."""
        self._pool._turn = int(number.digits) % len(self.config.servers)  # noqa: SLF001
        return super().place_call(number, source, now_ns)


class WatchingPool(ServerPool):
    """A pool that notices when a hold-down is over."""

    _were: frozenset[str] = frozenset()

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server."""
        held = frozenset(name for name in self.servers if self.is_held(name, now_ns))
        back, self._were = self._were - held, held
        self._came_back(sorted(back), now_ns)
        return super().next_server(now_ns, tried, held_too=held_too)

    def _came_back(self, names: Sequence[str], now_ns: int) -> None:
        """Take note of it."""


class TogetherBackPool(WatchingPool):
    """When one server comes back, all do."""

    def _came_back(self, names: Sequence[str], now_ns: int) -> None:
        del now_ns
        for name in self.servers if names else ():
            self.health[name]._readmit()  # noqa: SLF001


class SlowStartPool(WatchingPool):
    """A server that came back gets every second of its turns only."""

    _new: frozenset[str] = frozenset()
    _skips = False

    def _came_back(self, names: Sequence[str], now_ns: int) -> None:
        del now_ns
        self._new |= set(names)

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        chosen = super()._in_turn(free, now_ns, tried)
        if chosen in self._new and len(free) > 1:
            self._skips = not self._skips
            if self._skips:
                return super()._in_turn([one for one in free if one != chosen], now_ns, tried)
        return chosen


class CatchUpPool(WatchingPool):
    """A server that came back gets ten calls in a row, to make up for what it missed."""

    _owed: tuple[str, ...] = ()

    def _came_back(self, names: Sequence[str], now_ns: int) -> None:
        del now_ns
        self._owed += tuple(name for name in names for _ in range(10))

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        if self._owed and self._owed[0] in free and not tried:
            first, *rest = self._owed
            self._owed = tuple(rest)
            return first
        return super()._in_turn(free, now_ns, tried)


class ByTheCallPool(ServerPool):
    """A dead server is known only to calls to the number that met it."""

    number: PhoneNumber | None = None

    def is_held(self, server: str, now_ns: int) -> bool:
        """Say whether a call to that number met it."""
        until_ns: dict[object, int] = self.__dict__.setdefault("until", {})
        return now_ns < until_ns.get((server, self.number), 0)

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Note it for that number."""
        until_ns: dict[object, int] = self.__dict__.setdefault("until", {})
        until_ns[server, self.number] = now_ns + self.profile.hold_down_ns
        return True


class ByTheCallSbc(Sbc):
    """Holds servers down for single numbers."""

    def _new_pool(self) -> ServerPool:
        return ByTheCallPool(tuple(self.config.servers), self.config.profile)

    def _ask_next(self, call: OpenCall, now_ns: int) -> None:
        self._pool.__dict__["number"] = call.number
        super()._ask_next(call, now_ns)

    def _failed(self, call: OpenCall, event: Event, now_ns: int, result: str = "") -> None:
        self._pool.__dict__["number"] = call.number
        super()._failed(call, event, now_ns, result)


class GivenUpPool(ServerPool):
    """Once every server was held, nobody is ever asked again."""

    _dead = False

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server, or None for ever."""
        self._dead = self._dead or all(self.is_held(name, now_ns) for name in self.servers)
        return None if self._dead else super().next_server(now_ns, tried, held_too=held_too)


class LastStandingPool(ServerPool):
    """Once every server was held, the first one to come back gets all the calls."""

    _was_dead = False
    _only = ""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server, or always the same."""
        server = super().next_server(now_ns, tried, held_too=held_too)
        self._was_dead = self._was_dead or server is None
        if self._was_dead and server is not None and not tried:
            self._only = self._only or server
            return self._only
        return server


class SecondOnlyPool(ServerPool):
    """While the first server is held, the second gets all the calls."""

    def _in_turn(self, free: Sequence[str], now_ns: int, tried: Sequence[str]) -> str:
        chosen = super()._in_turn(free, now_ns, tried)
        second = self.servers[1]
        return second if self.is_held(self.servers[0], now_ns) and second in free else chosen


class SameAgainPool(ServerPool):
    """A server that was silent is asked once more before the next one."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server, or the first again."""
        if len(tried) == 1:
            return tried[0]
        return super().next_server(now_ns, tried, held_too=held_too)


class TwoTriesPool(ServerPool):
    """No call asks more than two servers."""

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the next server, but no third."""
        return None if len(tried) > 1 else super().next_server(now_ns, tried, held_too=held_too)


class AnyTypeSbc(Sbc):
    """Asks for records of any type."""

    def to_send(self) -> Outgoing | None:
        """Return the next message with another type in its question."""
        found = super().to_send()
        if found is None:
            return None
        payload = found.payload.replace(b"\0\0\x23\0\x01", b"\0\0\xff\0\x01", 1)
        return replace(found, payload=payload)

    def receive(self, payload: bytes, server: Endpoint, now_ns: int) -> None:
        """Take an answer as if it were for NAPTR."""
        super().receive(payload.replace(b"\0\0\xff\0\x01", b"\0\0\x23\0\x01", 1), server, now_ns)


class TwoDigitsSbc(Sbc):
    """Writes two digits into each label."""

    def _query(self, call: OpenCall) -> bytes:
        labels = call.domain.split(".")
        digits = [one for one in labels if one.isdigit() and len(one) == 1]
        if digits:
            pairs = ["".join(digits[at : at + 2]) for at in range(0, len(digits), 2)]
            call.domain = ".".join([*pairs, *labels[len(digits) :]])
        return super()._query(call)


class CredulousSbc(Sbc):
    """Takes answers that it should not."""

    def _takes(self, answer: Answer, server: str, call: OpenCall) -> bool:
        raise NotImplementedError

    def receive(self, payload: bytes, server: Endpoint, now_ns: int) -> None:
        """Take a message from *server*."""
        name = next(one for one, at in self.config.servers.items() if at == server)
        try:
            answer = parse_answer(payload)
        except WireError:
            super().receive(payload, server, now_ns)
            return
        calls = (one for one in self._open.values() if self._takes(answer, name, one))
        call = next(calls, None)
        if call is None:
            super().receive(payload, server, now_ns)
        else:
            self._answered(call, answer, now_ns)


class AnyAddressSbc(CredulousSbc):
    """Takes an answer from whatever address it comes."""

    def _takes(self, answer: Answer, server: str, call: OpenCall) -> bool:
        del server
        return call.is_for(answer)


class AnyQuestionSbc(CredulousSbc):
    """Takes an answer to another question, if only its id is right."""

    def _takes(self, answer: Answer, server: str, call: OpenCall) -> bool:
        return call.server == server and answer.id in call.ids


class BareAgainSbc(Sbc):
    """Leaves the OPT record out when it sends again, and the calling number with it."""

    def to_send(self) -> Outgoing | None:
        """Return the next message."""
        found = super().to_send()
        sent: set[tuple[bytes, Endpoint]] = self.__dict__.setdefault("sent", set())
        if found is None or (found.payload, found.server) not in sent:
            sent.update(() if found is None else ((found.payload, found.server),))
            return found
        query = parse_query(found.payload)
        return replace(found, payload=encode_query(query.id, query.qname))


class UdpAgainSbc(Sbc):
    """Answers truncation by asking again over UDP, three times."""

    def _unusable(self, call: OpenCall, event: Event, now_ns: int, result: str = "") -> None:
        if event is not Event.TRUNCATED:
            super()._unusable(call, event, now_ns, result)
            return
        again: dict[int, int] = self.__dict__.setdefault("again", {})
        again[call.call] = again.get(call.call, 0) + 1
        if again[call.call] > 3:
            self._decide(call, (Decision.NO_INSTRUCTION, ""), now_ns)
            return
        call.ids = (next(self.ids),)
        self._begin(call, now_ns)


class HammerSbc(Sbc):
    """Repeats its question at once when it is answered SERVFAIL, at the same server."""

    def _answered(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        again: dict[int, int] = self.__dict__.setdefault("again", {})
        if answer.rcode != "SERVFAIL" or again.get(call.call, 0) > 4:
            super()._answered(call, answer, now_ns)
            return
        again[call.call] = again.get(call.call, 0) + 1
        call.ids = (next(self.ids),)
        self._begin(call, now_ns)


class StuttererSbc(Sbc):
    """Sends the question once more a second after it was answered."""

    def _decide(
        self, call: OpenCall, found: tuple[Decision, str], now_ns: int, *, cached: bool = False
    ) -> None:
        if call.payload and not call.tcp and call.sends == 1:
            again = Outgoing(call.payload, self.config.servers[call.server])
            self._again().append((now_ns + SECOND, again))
        super()._decide(call, found, now_ns, cached=cached)

    def _again(self) -> list[tuple[int, Outgoing]]:
        found: list[tuple[int, Outgoing]] = self.__dict__.setdefault("again", [])
        return found

    def handle_timer(self, now_ns: int) -> None:
        """Do what is due, and what nobody needs."""
        super().handle_timer(now_ns)
        while self._again() and self._again()[0][0] <= now_ns:
            self._out.append(self._again().pop(0)[1])

    def next_timer(self) -> int | None:
        """Return when something is due."""
        times_ns = [one for one in (super().next_timer(),) if one is not None]
        return min([*times_ns, *(at_ns for at_ns, _ in self._again())], default=None)


class TwoTurnsSbc(Sbc):
    """Moves the rotation on once more when a number is not found."""

    def _answered(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        if answer.rcode == "NXDOMAIN":
            self._pool._turn += 1  # noqa: SLF001
        super()._answered(call, answer, now_ns)


class OtherCallersSbc(Sbc):
    """Repeats a question with the calling number of the call that came last."""

    def _query(self, call: OpenCall) -> bytes:
        if not call.tried or len(call.tried) == 1:
            return super()._query(call)
        last = max(self._open.values(), key=lambda one: one.call)
        edns = self._profile.edns
        option = SourceOption(last.source, edns.source_framing, edns.source_code)
        size = edns.udp_payload_bytes or None
        return encode_query(call.ids[-1], call.domain, source=option, udp_payload_bytes=size)


def in_sequence(config: SbcConfig) -> Sbc:
    """Return an SBC whose message ids count up."""
    return Sbc(config, (number % 0x10000 for number in count(1)), WholeNumber())


def burst(profile: Profile) -> Profile:
    """Return *profile* with all its sends within 30 ms."""
    rules = profile.retransmission
    return replace(
        profile, retransmission=replace(rules, schedule_ns=(0, 10 * MS, 20 * MS, 30 * MS))
    )


def smallest(profile: Profile) -> Profile:
    """Return *profile* with an offer of 512 octets."""
    return replace(profile, edns=replace(profile.edns, udp_payload_bytes=512))


# What each does wrong is in fixtures/mutants/sbc.toml.
BLIND: Mapping[str, tuple[Make, Profile]] = {
    "turn by the clock": (with_pool(TurnByTimePool), DECLARED),
    "backwards": (with_pool(BackwardsPool), DECLARED),
    "by dice": (with_pool(DicePool), DECLARED),
    "by called number": (of_class(ByNumberSbc), DECLARED),
    "not found moves twice": (of_class(TwoTurnsSbc), DECLARED),
    "all back with the first": (with_pool(TogetherBackPool), ORACLE),
    "slow start": (with_pool(SlowStartPool), DECLARED),
    "catching up": (with_pool(CatchUpPool), DECLARED),
    "held for one number": (of_class(ByTheCallSbc), DECLARED),
    "second only": (with_pool(SecondOnlyPool), DECLARED),
    "two tries": (with_pool(TwoTriesPool), DECLARED),
    "gives ENUM up": (with_pool(GivenUpPool), DECLARED),
    "last one standing": (with_pool(LastStandingPool), DECLARED),
    "same server again": (with_pool(SameAgainPool), DECLARED),
    "asks for any type": (of_class(AnyTypeSbc), DECLARED),
    "two digits a label": (of_class(TwoDigitsSbc), DECLARED),
    "ids in sequence": (in_sequence, DECLARED),
    "takes answers from anywhere": (of_class(AnyAddressSbc), DECLARED),
    "takes answers to other questions": (of_class(AnyQuestionSbc), DECLARED),
    "bare when sent again": (of_class(BareAgainSbc), WITH_SOURCE),
    "caller of another call": (of_class(OtherCallersSbc), WITH_SOURCE),
    "offers 512 octets": (following(smallest), WITH_SOURCE),
    "truncated, and UDP again": (of_class(UdpAgainSbc), DECLARED),
    "stutters": (of_class(StuttererSbc), DECLARED),
    "burst": (following(burst), DECLARED),
    "hammers on SERVFAIL": (of_class(HammerSbc), DECLARED),
    "no record, next server": (reacting(Event.NODATA, Then.NEXT_SERVER), DECLARED),
}
