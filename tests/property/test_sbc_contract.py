"""The simulated SBC keeps its contract whatever is called, answered, lost or late."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enumtest.message import Query, encode_answer, parse_query
from enumtest.pool import Selection, ServerPool
from enumtest.sbc import CallDecided, Failure, Outgoing, Sbc, SbcConfig
from harness.clock import ManualClock
from harness.frame import Endpoint
from tests.enum_wire import ALLOW, MS, NUMBERS, SOURCE, WholeNumber, endpoints, ids

TIMEOUT_NS = 1_000 * MS
STRANGER = Endpoint("203.0.113.9", 53)
MAX_STEP_NS = 3 * TIMEOUT_NS


class WatchedPool(ServerPool):
    """The pool of the SBC, with the law that no held server is chosen checked beside it."""

    def next_server(self, now_ns: int, tried: Collection[str] = ()) -> str | None:
        """Return the server chosen; it is neither held nor tried, and None only if all are."""
        held = {name for name, until_ns in self._held_until_ns.items() if until_ns > now_ns}
        found = super().next_server(now_ns, tried)
        free = [name for name in self.servers if name not in held and name not in tried]
        assert found in free if free else found is None
        return found


class WatchedSbc(Sbc):
    """An SBC with the watched pool."""

    def __post_init__(self) -> None:
        """Start with it."""
        config = self.config
        self._pool = WatchedPool(tuple(config.servers), config.hold_down_ns, config.selection)


@dataclass
class Sent:
    """A query on its way, and how often it was sent."""

    query: Query
    outgoing: Outgoing
    times: Counter[bool] = field(default_factory=Counter)  # by "over TCP"


CONFIGS = st.builds(
    SbcConfig,
    servers=st.integers(1, 4).map(endpoints),
    selection=st.sampled_from(Selection),
    timeout_ns=st.sampled_from((TIMEOUT_NS, 7)),  # a few ns: no division comes out even
    retransmissions=st.integers(0, 4),
    hold_down_ns=st.sampled_from((0, 1, 10 * TIMEOUT_NS)),
    failures=st.sets(st.sampled_from(Failure)).map(frozenset),
)


class SbcContract(RuleBasedStateMachine):
    """Random calls, answers, silences and steps of time."""

    @initialize(config=CONFIGS)
    def start(self, config: SbcConfig) -> None:
        """Begin with every server healthy."""
        self.clock = ManualClock()
        self.sbc = WatchedSbc(config, ids(), WholeNumber())
        self.placed: list[int] = []
        self.decided: list[CallDecided] = []
        self.sent: dict[bytes, Sent] = {}

    @rule(number=st.sampled_from(NUMBERS[:3]))
    def call(self, number: object) -> None:
        """Place a call; a few numbers, so that calls to the same one overlap."""
        self.placed.append(self.sbc.place_call(number, SOURCE, self.clock.now_ns))  # type: ignore[arg-type]
        self.drain()

    @rule(by_ns=st.one_of(st.integers(0, 9), st.integers(0, MAX_STEP_NS)))
    def wait(self, by_ns: int) -> None:
        """Let time go by, past any number of timers."""
        self.clock.advance(by_ns)
        self.sbc.handle_timer(self.clock.now_ns)
        self.drain()
        timer = self.sbc.next_timer()
        assert timer is None or timer > self.clock.now_ns

    @precondition(lambda self: self.sbc.next_timer() is not None)
    @rule()
    def wake(self) -> None:
        """Handle a timer exactly when it is due."""
        due_ns = self.sbc.next_timer()
        assert due_ns is not None
        self.clock.now_ns = max(due_ns, self.clock.now_ns)
        self.sbc.handle_timer(self.clock.now_ns)
        self.drain()
        assert self.sbc.next_timer() != due_ns

    @precondition(lambda self: self.sent)
    @rule(
        pick=st.randoms(use_true_random=False),
        rcode=st.sampled_from(("NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR")),
        truncated=st.booleans(),
        wrong=st.sampled_from(("", "", "", "id", "question", "address")),
    )
    def answer(self, pick: "object", rcode: str, truncated: bool, wrong: str) -> None:
        """Answer any query that was ever sent, in time or late, rightly or not."""
        one = pick.choice(list(self.sent.values()))  # type: ignore[attr-defined]
        records = (ALLOW,) if rcode == "NOERROR" else ()
        payload = encode_answer(one.query, rcode, records, truncated=truncated)
        if wrong == "id":
            payload = bytes((payload[0] ^ 1,)) + payload[1:]
        if wrong == "question":
            payload = payload[:13] + b"x" + payload[14:]
        server = STRANGER if wrong == "address" else one.outgoing.server
        waiting = len(self.placed) - len(self.decided)
        self.sbc.receive(payload, server, self.clock.now_ns)
        self.drain()
        if wrong in ("question", "address"):  # another id can be that of another open query
            assert len(self.placed) - len(self.decided) == waiting

    @rule(octets=st.binary(max_size=40))
    def garbage(self, octets: bytes) -> None:
        """Octets that mean nothing."""
        server = next(iter(self.sbc.config.servers.values()))
        before = len(self.decided)
        self.sbc.receive(octets, server, self.clock.now_ns)
        self.drain()
        assert len(self.decided) == before

    def drain(self) -> None:
        """Take what the SBC has to say."""
        while (outgoing := self.sbc.to_send()) is not None:
            query = parse_query(outgoing.payload)
            key = outgoing.payload + str(outgoing.server).encode()
            self.sent.setdefault(key, Sent(query, outgoing)).times[outgoing.tcp] += 1
        while (event := self.sbc.next_event()) is not None:
            self.decided.append(event)

    @invariant()
    def decides_each_call_once(self) -> None:
        """No call is decided twice, and none that was not placed."""
        calls = [event.call for event in self.decided]
        assert len(calls) == len(set(calls))
        assert set(calls) <= set(self.placed)

    @invariant()
    def asks_each_server_once_a_call(self) -> None:
        """A call asks no server twice; a query is sent so often as is set, once over TCP."""
        for event in self.decided:
            names = [asked.server for asked in event.asked]
            assert len(names) == len(set(names))
        for one in self.sent.values():
            assert one.times[False] <= self.sbc.config.retransmissions + 1
            assert one.times[True] <= 1

    @invariant()
    def waits_only_for_open_calls(self) -> None:
        """There is a timer exactly while a call waits: nothing is left behind by decided ones."""
        waiting = len(self.placed) - len(self.decided)
        assert (self.sbc.next_timer() is not None) == (waiting > 0)

    def teardown(self) -> None:
        """With no more answers every call is decided, within a time-out for each server."""
        if not hasattr(self, "sbc"):
            return
        config = self.sbc.config
        last_ns = self.clock.now_ns + len(config.servers) * config.timeout_ns
        while (due_ns := self.sbc.next_timer()) is not None:
            assert due_ns <= last_ns
            self.clock.now_ns = max(due_ns, self.clock.now_ns)
            self.sbc.handle_timer(self.clock.now_ns)
            self.drain()
        assert sorted(event.call for event in self.decided) == self.placed


SbcContract.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestSbcContract = SbcContract.TestCase
