"""The simulated SBC keeps its contract whatever is called, answered, lost or late."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enumtest.dns.message import Answer, Query, encode_answer, parse_query
from enumtest.dns.source_uri import Framing
from enumtest.profiles.profile_file import shipped_names, shipped_profile
from enumtest.profiles.profile_groups import (
    AllDown,
    EdnsUse,
    Event,
    HoldDown,
    IdScope,
    InFlight,
    Reaction,
    ReadmitBy,
    Retransmission,
    Scope,
    Selection,
    SelectionRules,
    Share,
    Stage,
    Then,
)
from enumtest.profiles.profiles import Profile
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.probing import Prober
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc, SbcConfig
from harness.clock import ManualClock
from harness.packets.frame import Endpoint
from tests.enum_wire import ALLOW, MS, NUMBERS, SOURCE, WholeNumber, at_will, endpoints, ids
from tests.held_model import Deed, held_in

TIMEOUT_NS = 1_000 * MS
STRANGER = Endpoint("203.0.113.9", 53)
MAX_STEP_NS = 3 * TIMEOUT_NS


class WatchedPool(ServerPool):
    """The pool of the SBC, with its laws checked beside it from the history of each server."""

    def __post_init__(self) -> None:
        """Begin without a history."""
        super().__post_init__()
        self.history: list[Deed] = []

    def next_server(
        self, now_ns: int, tried: Sequence[str] = (), *, held_too: bool = False
    ) -> str | None:
        """Return the server chosen; it is neither held nor tried, and None only if all are."""
        found = super().next_server(now_ns, tried, held_too=held_too)
        free = [
            name
            for name in self.servers
            if name not in tried
            and (held_too or not held_in(self.history, name, self.profile, now_ns))
        ]
        assert found in free if free else found is None
        return found

    def on_failure(self, server: str, now_ns: int) -> bool:
        """Count it in the history, unless failures are each call's own."""
        begins = super().on_failure(server, now_ns)
        if self.profile.hold_down.scope is Scope.SERVER:
            self.history.append(Deed(now_ns, server, "failed"))
        return begins

    def on_success(self, server: str, now_ns: int, *, late: bool = False) -> None:
        """Count it in the history, if a late one counts."""
        super().on_success(server, now_ns, late=late)
        if not late:
            self.history.append(Deed(now_ns, server, "answered"))


class WatchedProber(Prober):
    """The prober, which tells the pool's history what came of its probes."""

    history: list[Deed]
    now_ns = 0

    def due(self, now_ns: int, ids: Iterator[int]) -> Iterator[tuple[str, bytes]]:
        """Yield the probes that are due."""
        self.now_ns = now_ns
        before = dict(self._open)
        sent = list(super().due(now_ns, ids))
        lost = [name for name, probe in before.items() if self._open.get(name) is not probe]
        self.history += [Deed(now_ns, name, "lost") for name in lost]
        yield from sent

    def answered(self, server: str, answer: Answer, *, well: bool) -> bool:
        """Say whether it was for a probe."""
        mine = super().answered(server, answer, well=well)
        if mine:
            self.history.append(Deed(self.now_ns, server, "replied" if well else "lost"))
        return mine


class WatchedSbc(Sbc):
    """An SBC with the watched pool."""

    def __post_init__(self) -> None:
        """Start with it."""
        super().__post_init__()
        pool, prober = self._pool, self._prober
        assert isinstance(pool, WatchedPool)
        self._prober = WatchedProber(prober.profile, prober.apex, prober.health)
        self._prober.history = pool.history

    def _new_pool(self) -> ServerPool:
        return WatchedPool(tuple(self.config.servers), self.config.profile)


@dataclass
class Sent:
    """A query on its way, and how often it was sent."""

    query: Query
    outgoing: Outgoing
    times: Counter[bool] = field(default_factory=Counter)  # by "over TCP"


def made(  # noqa: PLR0913 - what profiles differ in
    *,
    base: Profile,
    selection: SelectionRules,
    retransmission: Retransmission,
    hold_down: HoldDown,
    thens: tuple[Reaction, ...],
    all_down: AllDown,
    edns: EdnsUse,
) -> Profile:
    """Return a profile put together at will; what no SBC could do becomes what one can."""
    if selection.method is Selection.LIST_ORDER:
        hold_down = replace(hold_down, stages=())
    if base.readmission.by is ReadmitBy.PROBES:
        stages = tuple(replace(one, length_ns=0) for one in hold_down.stages[:1])
        hold_down = replace(hold_down, stages=stages)
    first_live = any(stage.share is Share.FIRST_LIVE for stage in hold_down.stages)
    selection = replace(selection, skipped_takes_turn=selection.skipped_takes_turn or first_live)
    return at_will(
        base,
        selection=selection,
        retransmission=retransmission,
        hold_down=hold_down,
        reactions={**base.reactions, **dict(zip(REPLIED, thens, strict=True))},
        all_down=all_down,
        edns=edns,
        cache=replace(base.cache, positive=False, negative_ns=0),
    )


REPLIED = (Event.SERVFAIL, Event.REFUSED, Event.FORMERR, Event.NXDOMAIN, Event.NODATA)
SCHEDULES = ((0,), (0, 1), (0, 100 * MS), (0, 50 * MS, 150 * MS, 350 * MS))
STAGES = st.builds(
    Stage,
    failures=st.just(1),
    consecutive=st.booleans(),
    window_ns=st.sampled_from((0, TIMEOUT_NS, 5 * TIMEOUT_NS)),
    length_ns=st.sampled_from((0, 1, 10 * TIMEOUT_NS)),
    share=st.sampled_from(Share),
)
PROFILES = st.builds(
    made,
    base=st.sampled_from(shipped_names()).map(shipped_profile),
    selection=st.builds(
        SelectionRules,
        method=st.sampled_from(Selection),
        failover_takes_turn=st.booleans(),
        skipped_takes_turn=st.booleans(),
        rounds=st.integers(1, 2),
    ),
    retransmission=st.builds(
        Retransmission,
        schedule_ns=st.sampled_from(SCHEDULES),
        expire_ns=st.just(TIMEOUT_NS),
        id_per=st.sampled_from(IdScope),
        port_per=st.just(IdScope.ALWAYS),
    ),
    hold_down=st.builds(
        HoldDown,
        stages=st.lists(STAGES, max_size=2).map(
            lambda found: tuple(
                replace(one, failures=failures)
                for one, failures in zip(found, (1, 3), strict=False)
            )
        ),
        answer_ends=st.booleans(),
        late_answer_ends=st.just(False),
        end_resets=st.booleans(),
        runs_while_idle=st.just(True),
        in_flight=st.sampled_from(InFlight),
        shared_between_interfaces=st.just(False),
        scope=st.sampled_from(Scope),
    ),
    thens=st.tuples(
        *[
            st.sampled_from(
                (
                    Reaction(Then.FINAL, counts=False),
                    Reaction(Then.FINAL, counts=True),
                    Reaction(Then.NEXT_SERVER, counts=False),
                    Reaction(Then.NEXT_SERVER, counts=True),
                    Reaction(Then.IGNORE, counts=False),
                    Reaction(Then.RETRY_WITHOUT_EDNS, counts=True),
                )
            )
        ]
        * len(REPLIED)
    ),
    all_down=st.sampled_from(AllDown),
    edns=st.builds(
        EdnsUse,
        udp_payload_bytes=st.sampled_from((0, 1232)),
        source_sent=st.booleans(),
        source_code=st.just(4),
        source_framing=st.sampled_from(Framing),
    ),
)


class SbcContract(RuleBasedStateMachine):
    """Random calls, answers, silences and steps of time."""

    @initialize(profile=PROFILES, size=st.integers(1, 4))
    def start(self, profile: Profile, size: int) -> None:
        """Begin with every server healthy."""
        config = SbcConfig(endpoints(size), profile)
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
    def asks_each_server_once_a_round(self) -> None:
        """No server is asked twice in a round; no query is sent more often than is scheduled."""
        profile = self.sbc.config.profile
        rounds, sends = profile.selection.rounds, len(profile.retransmission.schedule_ns)
        for event in self.decided:
            times = Counter(asked.server for asked in event.asked)
            assert all(count <= rounds for count in times.values())
        # A query without EDNS can be sent a second time: as it was, with another id.
        for one in self.sent.values():
            assert one.times[False] <= sends * rounds * self.calls_of(one)
            assert one.times[True] <= rounds * self.calls_of(one)

    def calls_of(self, one: Sent) -> int:
        """Return how many calls *one* can stand for: with a fixed id, all to the number."""
        fixed = self.sbc.config.profile.retransmission.id_per is IdScope.ALWAYS
        del one
        return len(self.placed) if fixed else 1

    @invariant()
    def waits_only_for_open_calls_and_probes(self) -> None:
        """There is a timer exactly while a call waits or a probe is to come."""
        waiting = len(self.placed) - len(self.decided)
        probing = self.sbc._prober.next_timer() is not None  # noqa: SLF001 - beside the calls
        assert (self.sbc.next_timer() is not None) == (waiting > 0 or probing)

    def teardown(self) -> None:
        """With no more answers every call is decided, within a time-out for each server asked."""
        if not hasattr(self, "sbc"):
            return
        config = self.sbc.config
        asked = len(config.servers) * config.profile.selection.rounds
        last_ns = self.clock.now_ns + asked * config.profile.timeout_ns
        while len(self.decided) < len(self.placed):
            due_ns = self.sbc.next_timer()
            assert due_ns is not None
            assert due_ns <= last_ns
            self.clock.now_ns = max(due_ns, self.clock.now_ns)
            self.sbc.handle_timer(self.clock.now_ns)
            self.drain()
        assert sorted(event.call for event in self.decided) == self.placed


SbcContract.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestSbcContract = SbcContract.TestCase
