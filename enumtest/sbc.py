"""A simulated SBC's ENUM side: calls come in, NAPTR queries go out, each call gets a decision.

    place_call ─▶ asking(server 1) ─answer─▶ decided
                     │ silence to the end of the timeout, or a failure that counts
                     ▼
                  asking(server 2) … ─none left─▶ decided (fail-open or fail-closed)

Laws: no socket, clock or die in here (`now_ns` and `ids` come in); every call placed is decided
exactly once; an answer counts only with the id, question and address of an open query; a late
answer never changes a decided call.

The five calls of the contract: `receive`, `handle_timer`, `to_send`, `next_timer`, `next_event`.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from enumtest.decision import DEFAULT_RULES, Decision, DecisionRule, classify
from enumtest.message import Answer, encode_query, parse_answer
from enumtest.naptr import resolve
from enumtest.pool import Selection, ServerPool
from enumtest.source_uri import Framing, SourceOption
from harness.errors import InputError, WireError
from harness.frame import Endpoint
from harness.number import ENUM_APEX, PhoneNumber
from harness.regex import RegexEngine

SOURCE_PAYLOAD_BYTES = 1220  # draft-kaplan-enum-source-uri-00 section 8: the least a client offers


class Failure(StrEnum):
    """What the SBC counts against a server."""

    SILENCE = "silence"
    SERVFAIL = "SERVFAIL"
    REFUSED = "REFUSED"
    FORMERR = "FORMERR"
    NOTIMP = "NOTIMP"


class AllDown(StrEnum):
    """What becomes of a call when no ENUM server is left to ask."""

    FAIL_OPEN = "fail-open"  # on to the next hop as dialled (the plan's B.3.6)
    FAIL_CLOSED = "fail-closed"


@dataclass(frozen=True, slots=True)
class SbcConfig:
    """How this SBC does ENUM; *servers* maps names to addresses, in the order of the site file."""

    servers: Mapping[str, Endpoint]
    apex: str = ENUM_APEX
    selection: Selection = Selection.ROUND_ROBIN
    timeout_ns: int = 2_000_000_000  # for one server, retransmissions included
    retransmissions: int = 1
    hold_down_ns: int = 30_000_000_000
    failures: frozenset[Failure] = frozenset({Failure.SILENCE})
    all_down: AllDown = AllDown.FAIL_OPEN
    services: tuple[str, ...] = ("sip",)  # enumservices it acts on
    source_code: int = 0  # EDNS option that carries the calling number; 0: none
    source_framing: Framing = Framing.RAW
    decisions: tuple[DecisionRule, ...] = DEFAULT_RULES
    drift_every: int = 0  # a defect, for tests of the judge (see ServerPool)

    def __post_init__(self) -> None:
        """Refuse times and counts with which no timer could work."""
        least_ns = max(self.retransmissions, 0) + 1
        problems = (
            (not self.servers, "servers", "none", "name at least one"),
            (self.retransmissions < 0, "retransmissions", "below 0", "use 0 for none"),
            (self.timeout_ns < least_ns, "timeout_ns", "too short", f"use at least {least_ns}"),
            (self.hold_down_ns < 0, "hold_down_ns", "below 0", "use 0 for none"),
        )
        for wrong, field_name, why, fix in problems:
            if wrong:
                value = getattr(self, field_name)
                raise InputError(why, field=field_name, value=value, fix=fix)

    def retransmit_after_ns(self) -> int:
        """Return the gap between two sends of one query: they share the timeout evenly."""
        return self.timeout_ns // (self.retransmissions + 1)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send; over TCP it still lacks its two length octets."""

    payload: bytes
    server: Endpoint
    tcp: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One server asked for one call, and what came of it: an rcode, or "silence"."""

    server: str
    result: str
    after_ns: int


@dataclass(frozen=True, slots=True)
class CallDecided:
    """The end of a lookup: what the SBC does with the call, and why."""

    call: int
    number: PhoneNumber
    decision: Decision
    uri: str
    asked: tuple[Asked, ...]
    delay_ns: int


@dataclass(slots=True)
class _Call:
    """A call that waits for its decision, with the query that is open for it."""

    call: int
    number: PhoneNumber
    source: str
    placed_ns: int
    server: str = ""
    id: int = 0
    tcp: bool = False
    payload: bytes = b""
    asked_ns: int = 0
    sends: int = 0
    asked: tuple[Asked, ...] = ()


@dataclass(slots=True)
class Sbc:
    """The SBC of *config*; *ids* yields DNS message ids, *engine* runs the answers' patterns."""

    config: SbcConfig
    ids: Iterator[int]
    engine: RegexEngine
    _pool: ServerPool = field(init=False)
    _open: dict[int, _Call] = field(default_factory=dict)
    _out: deque[Outgoing] = field(default_factory=deque)
    _events: deque[CallDecided] = field(default_factory=deque)
    _calls: int = 0

    def __post_init__(self) -> None:
        """Start with every server healthy."""
        config = self.config
        self._pool = ServerPool(
            tuple(config.servers), config.hold_down_ns, config.selection, config.drift_every
        )

    def place_call(self, number: PhoneNumber, source: str, now_ns: int) -> int:
        """Start the lookup for a call to *number* from URI *source*; return the call's key."""
        self._calls += 1
        call = _Call(self._calls, number, source, now_ns)
        self._open[call.call] = call
        self._ask_next(call, now_ns)
        return call.call

    def receive(self, payload: bytes, server: Endpoint, now_ns: int) -> None:
        """Take a message from *server*; anything that answers no open query is ignored."""
        try:
            answer = parse_answer(payload)
        except WireError:
            return
        for call in self._open.values():
            asked = self.config.servers[call.server]
            wanted = call.number.enum_domain(self.config.apex).lower().removesuffix(".")
            mine = (call.id, wanted, "NAPTR") == (answer.id, answer.qname, answer.qtype)
            if asked == server and mine:
                self._answered(call, answer, now_ns)
                return

    def handle_timer(self, now_ns: int) -> None:
        """Retransmit or give up whatever is due at *now_ns*."""
        for call in list(self._open.values()):
            if now_ns >= call.asked_ns + self.config.timeout_ns:
                self._failed(call, Failure.SILENCE, now_ns)
            elif now_ns >= self._next_send_ns(call):
                # However late the timer is, one send: a burst would help nobody.
                call.sends = (now_ns - call.asked_ns) // self.config.retransmit_after_ns() + 1
                self._out.append(Outgoing(call.payload, self.config.servers[call.server]))

    def next_timer(self) -> int | None:
        """Return when `handle_timer` is next due, or None when nothing waits."""
        due = (
            min(self._next_send_ns(call), call.asked_ns + self.config.timeout_ns)
            for call in self._open.values()
        )
        return min(due, default=None)

    def to_send(self) -> Outgoing | None:
        """Return the next message to send, or None."""
        return self._out.popleft() if self._out else None

    def next_event(self) -> CallDecided | None:
        """Return the next call decided, or None."""
        return self._events.popleft() if self._events else None

    def _next_send_ns(self, call: _Call) -> int:
        if call.sends > self.config.retransmissions:
            return call.asked_ns + self.config.timeout_ns
        return call.asked_ns + call.sends * self.config.retransmit_after_ns()

    def _ask_next(self, call: _Call, now_ns: int) -> None:
        """Ask the server whose turn it is, once each a call; with none left, decide without."""
        config = self.config
        server = self._pool.next_server(now_ns, {asked.server for asked in call.asked})
        if server is None:
            self._decide(call, Decision.NO_SERVER, "", now_ns)
            return
        source = None
        if config.source_code and call.source:
            source = SourceOption(call.source, config.source_framing, config.source_code)
        call.server, call.id, call.asked_ns, call.sends = server, next(self.ids), now_ns, 1
        call.tcp = False
        call.payload = encode_query(
            call.id,
            call.number.enum_domain(config.apex),
            source=source,
            udp_payload_bytes=None if source is None else SOURCE_PAYLOAD_BYTES,
        )
        self._out.append(Outgoing(call.payload, config.servers[server]))

    def _answered(self, call: _Call, answer: Answer, now_ns: int) -> None:
        if answer.truncated and call.tcp:  # asked once already; a second time would never end
            return
        if answer.truncated:  # ask the same server again over TCP (RFC 7766 section 5)
            call.tcp = True
            self._out.append(Outgoing(call.payload, self.config.servers[call.server], tcp=True))
            call.sends = self.config.retransmissions + 1  # no more UDP, only the timeout
            return
        failures = {failure.value for failure in self.config.failures}
        if answer.rcode in failures:
            self._failed(call, Failure(answer.rcode), now_ns)
            return
        self._pool.on_success(call.server)
        self._note(call, answer.rcode, now_ns)
        resolution = resolve(answer.naptr, str(call.number), self.engine, self.config.services)
        if resolution.uri is None:
            self._decide(call, Decision.NO_INSTRUCTION, "", now_ns)
            return
        decision = classify(resolution.uri, call.number, self.config.decisions)
        self._decide(call, decision, resolution.uri, now_ns)

    def _failed(self, call: _Call, failure: Failure, now_ns: int) -> None:
        if failure in self.config.failures:
            self._pool.on_failure(call.server, now_ns)
        self._note(call, failure.value, now_ns)
        self._ask_next(call, now_ns)

    def _note(self, call: _Call, result: str, now_ns: int) -> None:
        call.asked = (*call.asked, Asked(call.server, result, now_ns - call.asked_ns))

    def _decide(self, call: _Call, decision: Decision, uri: str, now_ns: int) -> None:
        del self._open[call.call]
        delay_ns = now_ns - call.placed_ns
        event = CallDecided(call.call, call.number, decision, uri, call.asked, delay_ns)
        self._events.append(event)
