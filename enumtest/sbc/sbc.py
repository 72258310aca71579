"""A simulated SBC's ENUM side: calls come in, NAPTR queries go out, each call gets a decision.

    place_call ─▶ asking(server 1) ─answer─▶ decided
                     │ silence to the end of the timeout, or an event that fails over
                     ▼
                  asking(server 2) … ─none left─▶ decided (fail-open or fail-closed)

Laws: no socket, clock or die in here (`now_ns` and `ids` come in); every call placed is decided
exactly once; an answer counts only with the id, question and address of an open query; a late
answer never changes a decided call. What SBCs differ in is the profile's
(`enumtest.profiles.profiles`).

The five calls of the contract: `receive`, `handle_timer`, `to_send`, `next_timer`, `next_event`.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enumtest.dns.message import Answer, encode_query, parse_answer
from enumtest.dns.source_name import encode_name
from enumtest.dns.source_uri import SourceOption, party
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.search import Search, search
from enumtest.profiles.profile_groups import AllDown, Event, IdScope, InFlight, Reaction, Then
from enumtest.profiles.profiles import Profile
from enumtest.sbc.answer_cache import AnswerCache
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule, decided_by
from enumtest.sbc.events import ANSWERS, event_of
from enumtest.sbc.health import Held
from enumtest.sbc.open_call import Asked, GivenUpQueries, OpenCall, wrong_about
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.probing import Prober
from harness.errors import InputError, WireError
from harness.number import ENUM_APEX, PhoneNumber
from harness.packets.frame import Endpoint
from harness.regex import RegexEngine

SOURCE_PAYLOAD_BYTES = 1220  # draft-kaplan-enum-source-uri-00 section 8: the least a client offers
ID_BYTES = 2


@dataclass(frozen=True, slots=True)
class SbcConfig:
    """One SBC; *servers* maps names to addresses, in the order of the site file."""

    servers: Mapping[str, Endpoint]
    profile: Profile
    apex: str = ENUM_APEX
    decisions: tuple[DecisionRule, ...] = DEFAULT_RULES
    drift_every: int = 0  # a defect, for tests of the judge (see ServerPool)

    def __post_init__(self) -> None:
        """Refuse servers that the profile could not choose among."""
        if not self.servers:
            raise InputError("none", field="servers", value=self.servers, fix="name at least one")
        weights = self.profile.selection.weights
        if weights and len(weights) != len(self.servers):
            why = f"not one for each of {len(self.servers)} servers"
            raise InputError(why, field="profile.selection.weights", value=weights)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; over TCP it still lacks its two length octets."""

    payload: bytes
    server: Endpoint
    tcp: bool = False


@dataclass(frozen=True, slots=True)
class CallDecided:
    """The end of a lookup: what the SBC does with the call, and why."""

    call: int
    number: PhoneNumber
    decision: Decision
    uri: str
    asked: tuple[Asked, ...]
    delay_ns: int
    cached: bool = False  # decided by the answer to an earlier call


@dataclass(slots=True)
class Sbc:
    """The SBC of *config*; *ids* yields DNS message ids, *engine* runs the answers' patterns."""

    config: SbcConfig
    ids: Iterator[int]
    engine: RegexEngine
    _pool: ServerPool = field(init=False)
    _prober: Prober = field(init=False)
    _cache: AnswerCache = field(init=False)
    _open: dict[int, OpenCall] = field(default_factory=dict)
    _out: deque[Outgoing] = field(default_factory=deque)
    _events: deque[CallDecided] = field(default_factory=deque)
    _given_up: GivenUpQueries = field(default_factory=GivenUpQueries)
    _calls: int = 0
    _fixed_id: int | None = None

    def __post_init__(self) -> None:
        """Start with every server healthy and nothing remembered."""
        self._pool = self._new_pool()
        self._prober = Prober(self._profile, self.config.apex, self._pool.health)
        self._cache = AnswerCache(self._profile.cache)

    def _new_pool(self) -> ServerPool:
        return ServerPool(tuple(self.config.servers), self._profile, self.config.drift_every)

    @property
    def _profile(self) -> Profile:
        return self.config.profile

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Start the lookup for a call to *number* from URI *source*; return the call's key."""
        self._calls += 1
        call = OpenCall(self._calls, number, source, now_ns)
        naming = self._profile.source_name
        call.domain = encode_name(number, party(source), self.config.apex, naming)
        self._open[call.call] = call
        known = self._cache.find(number, source, now_ns)
        if known is None:
            self._ask_next(call, now_ns)
        else:
            self._decide(call, known, now_ns, cached=True)
        return call.call

    def receive(self, payload: bytes, server: Endpoint, now_ns: int) -> None:
        """Take a message from *server*; anything that answers no open query is ignored."""
        try:
            answer = parse_answer(payload)
        except WireError:
            id_ = int.from_bytes(payload[:ID_BYTES])
            garbled = (one for one in self._asking(server) if id_ in one.ids)
            if len(payload) >= ID_BYTES and (call := next(garbled, None)) is not None:
                self._unusable(call, Event.GARBLED, now_ns)
            return
        calls = list(self._asking(server))
        call = next((one for one in calls if one.is_for(answer)), None)
        if call is not None:
            self._answered(call, answer, now_ns)
        else:
            self._unmatched(answer, server, calls, now_ns)

    def handle_timer(self, now_ns: int) -> None:
        """Retransmit, give up or probe whatever is due at *now_ns*."""
        rules = self._profile.retransmission
        for call in list(self._open.values()):
            if call.call not in self._open:  # decided meanwhile, by another's failure
                continue
            if now_ns >= call.asked_ns + rules.expire_ns:
                self._failed(call, Event.SILENCE, now_ns)
            elif now_ns >= call.next_send_ns(rules):
                # However late the timer is, one send: a burst would help nobody.
                call.sends = bisect_right(rules.schedule_ns, now_ns - call.asked_ns)
                if rules.id_per is IdScope.SEND:
                    call.ids = (*call.ids, next(self.ids))
                    call.payload = self._query(call)
                self._send(call)
        for server, query in self._prober.due(now_ns, self.ids):
            self._out.append(Outgoing(query, self.config.servers[server]))

    def next_timer(self) -> int | None:
        """Return when `handle_timer` is next due, or None when nothing waits."""
        rules = self._profile.retransmission
        due_ns = [call.next_send_ns(rules) for call in self._open.values()]
        if (probe_ns := self._prober.next_timer()) is not None:
            due_ns.append(probe_ns)
        return min(due_ns, default=None)

    def to_send(self) -> Outgoing | None:
        """Return the next message to send, or None."""
        return self._out.popleft() if self._out else None

    def next_event(self) -> CallDecided | None:
        """Return the next call decided, or None."""
        return self._events.popleft() if self._events else None

    def held(self, now_ns: int) -> dict[str, Held]:
        """Return the servers that are left alone at *now_ns*."""
        states = {name: one.held(now_ns) for name, one in self._pool.health.items()}
        return {name: held for name, held in states.items() if held is not None}

    def _asking(self, server: Endpoint) -> Iterator[OpenCall]:
        """Yield the calls with a query open at *server*."""
        return (one for one in self._open.values() if self.config.servers[one.server] == server)

    def _ask_next(self, call: OpenCall, now_ns: int) -> None:
        """Ask the server whose turn it is; with none left in the last round, decide without."""
        server = self._pool.next_server(now_ns, call.tried)
        if server is None and call.tried and call.rounds < self._profile.selection.rounds:
            call.rounds, call.tried = call.rounds + 1, ()
            server = self._pool.next_server(now_ns)
        if server is None and self._profile.all_down is AllDown.ASK_ANYWAY:
            server = self._pool.next_server(now_ns, call.tried, held_too=True)
        if server is None and call.seeking is not None:  # a domain that a record led to
            call.unanswered = True
            self._go_on(call, call.seeking, (), now_ns)
            return
        if server is None:
            self._decide(call, (Decision.NO_SERVER, ""), now_ns)
            return
        call.server, call.tried = server, (*call.tried, server)
        id_per = self._profile.retransmission.id_per
        if id_per is IdScope.ALWAYS:
            self._fixed_id = next(self.ids) if self._fixed_id is None else self._fixed_id
            call.ids = (self._fixed_id,)
        elif not call.ids or id_per is not IdScope.CALL:
            call.ids = (next(self.ids),)
        call.plain = False
        self._begin(call, now_ns)

    def _begin(self, call: OpenCall, now_ns: int) -> None:
        """Put the question to the call's server, as if for the first time."""
        call.asked_ns, call.sends, call.tcp = now_ns, 1, False
        call.payload = self._query(call)
        self._send(call)

    def _query(self, call: OpenCall) -> bytes:
        edns, source = self._profile.edns, None
        if edns.source_sent and call.source and not call.plain:
            source = SourceOption(call.source, edns.source_framing, edns.source_code)
        size = edns.udp_payload_bytes or (SOURCE_PAYLOAD_BYTES if source else None)
        return encode_query(
            call.ids[-1],
            call.domain,
            source=source,
            udp_payload_bytes=None if call.plain else size,
        )

    def _send(self, call: OpenCall) -> None:
        self._out.append(Outgoing(call.payload, self.config.servers[call.server], call.tcp))

    def _answered(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        """Take the answer to an open query."""
        event = event_of(answer)
        if event is Event.TRUNCATED and call.tcp:  # a second time over TCP would never end
            return
        if event is None:
            self._pool.on_success(call.server, now_ns)
            self._note(call, answer.rcode, now_ns)
            self._decide_by(call, answer, now_ns)
        elif event is Event.TRUNCATED or self._fails(event):
            self._unusable(call, event, now_ns, answer.rcode)
        else:
            self._pool.on_success(call.server, now_ns)
            self._note(call, answer.rcode, now_ns)
            if event in ANSWERS:
                self._decide_by(call, answer, now_ns)
            else:
                self._decide(call, (Decision.NO_INSTRUCTION, ""), now_ns)

    def _fails(self, event: Event) -> bool:
        """Say whether *event* is more to this SBC than an answer without an instruction."""
        return self._profile.reactions[event] != Reaction(Then.FINAL, counts=False)

    def _unmatched(
        self, answer: Answer, server: Endpoint, calls: list[OpenCall], now_ns: int
    ) -> None:
        """Take an answer that no call waits for: to a probe, late, or with something wrong."""
        name = next((one for one, at in self.config.servers.items() if at == server), "")
        event = event_of(answer)
        well = event is None or not self._profile.reactions[event].counts
        if not name or self._prober.answered(name, answer, well=well):
            return
        if (key := self._given_up.take(name, answer)) is not None:
            if well:
                self._pool.on_success(name, now_ns, late=True)
            call, then = self._open.get(key), self._profile.reactions[Event.LATE].then
            if call is not None and then is Then.FINAL and event in ANSWERS:
                call.asked = (*call.asked, Asked(name, answer.rcode, now_ns - call.placed_ns))
                self._decide_by(call, answer, now_ns)
            return
        if (wrong := wrong_about(answer, calls)) is not None:
            missed, other_question = wrong
            what = Event.WRONG_QUESTION if other_question else Event.WRONG_ID
            self._unusable(missed, what, now_ns)

    def _unusable(self, call: OpenCall, event: Event, now_ns: int, result: str = "") -> None:
        """Do what the profile says about *event*."""
        match self._profile.reactions[event].then:
            case Then.IGNORE:
                return
            case Then.TCP:  # the same server again (RFC 7766 section 5)
                call.tcp = True
                call.sends = len(self._profile.retransmission.schedule_ns)  # no more UDP
                self._send(call)
            case Then.RETRY_WITHOUT_EDNS if not call.plain and self._profile.edns.is_used(
                call.source
            ):
                call.plain, call.ids = True, (next(self.ids),)
                self._begin(call, now_ns)
            case _:
                self._failed(call, event, now_ns, result)

    def _failed(self, call: OpenCall, event: Event, now_ns: int, result: str = "") -> None:
        """Give the call's server up for *event*: another one is asked, or the call is decided."""
        reaction, server = self._profile.reactions[event], call.server
        begins = reaction.counts and self._pool.on_failure(server, now_ns)
        self._give_up(call, result or event.value, now_ns)
        if reaction.then is Then.NEXT_SERVER:
            self._ask_next(call, now_ns)
        else:
            silent = event is Event.SILENCE
            decision = Decision.NO_SERVER if silent else Decision.NO_INSTRUCTION
            self._decide(call, (decision, ""), now_ns)
        if begins and self._profile.hold_down.in_flight is InFlight.ABANDON:
            for other in [one for one in self._open.values() if one.server == server]:
                if other is not call:
                    self._give_up(other, "abandoned", now_ns)
                    self._ask_next(other, now_ns)

    def _give_up(self, call: OpenCall, result: str, now_ns: int) -> None:
        """Remember the open query, for an answer that comes late."""
        self._note(call, result, now_ns)
        self._given_up.keep(call)

    def _note(self, call: OpenCall, result: str, now_ns: int) -> None:
        call.asked = (*call.asked, Asked(call.server, result, now_ns - call.asked_ns))

    def _decide_by(self, call: OpenCall, answer: Answer, now_ns: int) -> None:
        """Do what the records of *answer* order: decide the call, or ask where they lead."""
        if call.seeking is None:
            dialect = self._profile.naptr
            call.seeking = search(call.domain, str(call.number), self.engine, dialect)
            next(call.seeking)  # yields the domain that this is the answer for
        call.ttls_s += tuple(record.ttl_s for record in answer.records)
        self._go_on(call, call.seeking, answer.naptr, now_ns)

    def _go_on(
        self, call: OpenCall, seeking: Search, records: tuple[NaptrRecord, ...], now_ns: int
    ) -> None:
        try:
            call.domain = seeking.send(records)
        except StopIteration as end:
            found = decided_by(end.value, call.number, self.config.decisions)
            if call.unanswered and found[0] is Decision.NO_INSTRUCTION:
                found = (Decision.NO_SERVER, "")
            else:
                ttl_s = min(call.ttls_s, default=None)
                self._cache.keep(call.number, call.source, found, now_ns, ttl_s=ttl_s)
            self._decide(call, found, now_ns)
        else:
            call.tried, call.rounds = (), 1
            self._ask_next(call, now_ns)

    def _decide(
        self, call: OpenCall, found: tuple[Decision, str], now_ns: int, *, cached: bool = False
    ) -> None:
        del self._open[call.call]
        delay_ns = now_ns - call.placed_ns
        self._events.append(
            CallDecided(call.call, call.number, *found, call.asked, delay_ns, cached)
        )
