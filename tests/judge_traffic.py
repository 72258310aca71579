"""Calls and servers for the judge: a drill that puts every rule to the test, and random days.

The drill is the same for every SBC; its times are those of the profile that is declared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from enumtest.dns.message import Query, encode_answer
from enumtest.judge.ruling import Vantage
from enumtest.naptr.naptr import NaptrRecord
from enumtest.profiles.profile_groups import Event, ReadmitBy
from enumtest.profiles.profiles import Profile
from harness.number import PhoneNumber
from tests.enum_wire import ALLOW, MS, NAMES, SECOND, TERMINATE, Reply
from tests.judge_bench import Astray, JudgeWire, Placed
from tests.sbc_defects import Make

CALLERS = tuple(f"sip:+1650555010{line}@192.0.2.1;user=phone" for line in range(10))
RCODES = {
    Event.SERVFAIL: "SERVFAIL",
    Event.REFUSED: "REFUSED",
    Event.NOTIMP: "NOTIMP",
    Event.FORMERR: "FORMERR",
    Event.OTHER_RCODE: "NOTAUTH",
    Event.NXDOMAIN: "NXDOMAIN",
}
ODD, HEADER_BYTES = 0x5555, 12
OTHER_NAME = PhoneNumber("12125550199")


def numbers() -> Iterator[PhoneNumber]:
    """Yield numbers that nobody has, each once."""
    for area in range(201, 1000):
        for line in range(100, 200):
            yield PhoneNumber(f"1{area}5550{line}")


@dataclass(frozen=True, slots=True)
class Outage:
    """One server does *event* to all questions for a while."""

    server: str
    from_ns: int
    until_ns: int
    event: Event = Event.SILENCE


@dataclass
class World:
    """The servers' script: sound, but for outages, odd numbers and blips."""

    late_ns: int  # after which an answer is late for sure
    outages: list[Outage] = field(default_factory=list)
    odd: dict[str, Event] = field(default_factory=dict)  # question: what its first server does
    records: dict[str, tuple[NaptrRecord, ...]] = field(default_factory=dict)
    ttl_s: dict[str, int] = field(default_factory=dict)
    strays: set[str] = field(default_factory=set)  # questions answered from a neighbour's address
    slow: dict[str, int] = field(default_factory=dict)  # how long the second server thinks
    blips: list[tuple[int, str]] = field(default_factory=list)  # from when one question fails
    _first: dict[str, str] = field(default_factory=dict)
    _failing: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, server: str, query: Query, now_ns: int) -> Iterable[Reply]:
        """Return what *server* sends; over TCP it is sound unless it is silent."""
        over_tcp, server = server.startswith("tcp:"), server.removeprefix("tcp:")
        first = self._first.setdefault(query.qname, server) == server
        event = self._event(server, query.qname, now_ns, first=first)
        if over_tcp:
            return () if event is Event.SILENCE else _sound(self, query)
        if event is not None:
            return self._doing(event, query)
        sound = _sound(self, query)
        if first and query.qname in self.strays:
            sender = NAMES[1 if server == NAMES[0] else 0]
            return tuple(Astray(one.payload, sender=sender) for one in sound)
        if not first and query.qname in self.slow:
            return tuple(replace(one, after_ns=self.slow[query.qname]) for one in sound)
        return sound

    def _event(self, server: str, qname: str, now_ns: int, *, first: bool) -> Event | None:
        """Return what is wrong with *server* now, for this question, or None."""
        for one in self.outages:
            if one.server == server and one.from_ns <= now_ns < one.until_ns:
                return one.event
        if self._blips(server, qname, now_ns):
            return Event.SILENCE
        return self.odd.get(qname) if first else None

    def _blips(self, server: str, qname: str, now_ns: int) -> bool:
        """Say whether *server* fails this question: each blip takes the first one that comes."""
        if (server, qname) in self._failing:
            return True
        due = next((one for one in self.blips if one[1] == server and one[0] <= now_ns), None)
        if due is not None:
            self.blips.remove(due)
            self._failing.add((server, qname))
        return due is not None

    def _doing(self, event: Event, query: Query) -> tuple[Reply, ...]:
        """Return what a server sends that does *event*."""
        sound = _sound(self, query)
        match event:
            case Event.SILENCE:
                payload = b""
            case Event.NODATA:
                payload = encode_answer(query)
            case Event.GARBLED:
                payload = sound[0].payload[:HEADER_BYTES] + b"\xc0\xff\xff"
            case Event.WRONG_ID:
                payload = encode_answer(replace(query, id=query.id ^ ODD), records=(TERMINATE,))
            case Event.WRONG_QUESTION:
                labels = (*(d.encode() for d in reversed(OTHER_NAME.digits)), *query.labels[-2:])
                payload = encode_answer(replace(query, labels=labels), records=(TERMINATE,))
            case Event.TRUNCATED:
                payload = encode_answer(query, truncated=True)
            case Event.LATE:
                return tuple(replace(one, after_ns=self.late_ns) for one in sound)
            case _:
                payload = encode_answer(query, RCODES[event])
        return (Reply(payload),) if payload else ()


def _sound(world: World, query: Query) -> tuple[Reply, ...]:
    records = world.records.get(query.qname, (ALLOW,))
    if query.qtype not in ("NAPTR", "ANY") or not query.qname[:1].isdigit():
        records = ()
    payload = encode_answer(query, records=records, ttl_s=world.ttl_s.get(query.qname, 0))
    return (Reply(payload),)


@dataclass
class Plan:
    """Calls and what the servers do meanwhile; times are written one after another."""

    profile: Profile
    servers: tuple[str, ...] = NAMES[:3]
    at_ns: int = SECOND
    calls: list[Placed] = field(default_factory=list)
    world: World = field(init=False)
    numbers: Iterator[PhoneNumber] = field(default_factory=numbers)

    def __post_init__(self) -> None:
        """Start with sound servers."""
        self.world = World(self.timeout_ns + 400 * MS)

    @property
    def timeout_ns(self) -> int:
        """Return how long one server is waited for."""
        return self.profile.timeout_ns

    @property
    def longest_ns(self) -> int:
        """Return the longest time that a lookup can take."""
        return (len(self.servers) * self.profile.selection.rounds + 1) * (
            self.timeout_ns + 500 * MS
        )

    @property
    def first_hold_ns(self) -> int:
        """Return the length of the first hold-down; half a minute where there is none."""
        rules = self.profile.readmission
        if rules.by is ReadmitBy.PROBES:
            return rules.interval_ns * (rules.replies + 1)
        return self.profile.hold_down_ns or 30 * SECOND

    @property
    def last_hold_ns(self) -> int:
        """Return the length of the last one."""
        lengths_ns = [stage.length_ns for stage in self.profile.hold_down.stages]
        return max([*lengths_ns, self.first_hold_ns])

    def call(self, number: PhoneNumber | None = None, *, caller: int = 0) -> PhoneNumber:
        """Place a call now."""
        number = number or next(self.numbers)
        self.calls.append(Placed(self.at_ns, number, CALLERS[caller % len(CALLERS)]))
        return number

    def steady(self, for_ns: int, every_ns: int) -> None:
        """Place calls at even spacing for so long."""
        until_ns = self.at_ns + for_ns
        while self.at_ns < until_ns:
            self.call(caller=len(self.calls))
            self.at_ns += every_ns

    def down(self, for_ns: int, *servers: str, event: Event = Event.SILENCE) -> None:
        """Let servers do *event* from now on for so long."""
        until_ns = self.at_ns + for_ns
        self.world.outages += [Outage(name, self.at_ns, until_ns, event) for name in servers]

    def put_into(self, wire: JudgeWire) -> JudgeWire:
        """Return *wire* with all calls placed on it."""
        for one in self.calls:
            wire.call(one.at_ns, one.number, one.source)
        return wire


def drill(profile: Profile) -> Plan:
    """Return a plan that puts every rule of *profile* to the test, as far as one day can."""
    plan = Plan(profile)
    plan.steady(24 * SECOND, 1500 * MS)
    _bursts(plan)
    _odd_answers(plan)
    _repeats(plan)
    _one_down(plan)
    _blips(plan)
    _two_down(plan)
    _all_down(plan)
    plan.at_ns += min(2 * plan.last_hold_ns, 1300 * SECOND)  # nobody calls
    plan.steady(20 * SECOND, 2 * SECOND)
    _idle_in_hold_down(plan)
    return plan


def _bursts(plan: Plan) -> None:
    """Place several calls at one moment, two of them to the same number."""
    for _ in range(5):
        number = plan.call()
        plan.call(caller=1)
        plan.call(number, caller=2)
        plan.at_ns += 3 * SECOND


def _odd_answers(plan: Plan) -> None:
    """Let the first server that is asked do each event, four times."""
    waits = {Event.GARBLED, Event.WRONG_ID, Event.WRONG_QUESTION, Event.LATE}
    settle_ns = plan.first_hold_ns + plan.longest_ns
    for event in [one for one in Event if one is not Event.SILENCE]:
        for calls_go_on in (False, True, False, True):
            name = plan.call().enum_domain()
            plan.world.odd[name] = event
            if event is Event.LATE:  # it comes while the next server is waited for
                plan.world.slow[name] = min(plan.timeout_ns * 8 // 10, 1900 * MS)
            plan.at_ns += 2 * SECOND
            if event in waits or plan.profile.reactions[event].counts:
                plan.at_ns += 0 if calls_go_on else settle_ns
                plan.steady(settle_ns if calls_go_on else 0, 3700 * MS)
            plan.steady(4 * SECOND, 2 * SECOND)
    for _ in range(3):
        plan.world.strays.add(plan.call().enum_domain())
        plan.at_ns += settle_ns
        plan.steady(6 * SECOND, 2 * SECOND)


def _repeats(plan: Plan) -> None:
    """Call some numbers again within their TTL, by the same caller and by another one."""
    for _ in range(4):
        number = plan.call()
        plan.world.ttl_s[number.enum_domain()] = 60
        for caller in (0, 0, 1, 0):
            plan.at_ns += 8 * SECOND
            plan.call(number, caller=caller)
        plan.at_ns += 61 * SECOND
        plan.call(number)
        plan.at_ns += 3 * SECOND


def _one_down(plan: Plan) -> None:
    """Take the first server away until its last hold-down begins, and see it come back."""
    stages = plan.profile.hold_down.stages
    last = stages[-1].failures if stages else 3
    each_ns = plan.first_hold_ns + plan.timeout_ns + 6 * SECOND
    long_ns = each_ns * (last if len(stages) > 1 else 2) + last * 4 * SECOND
    plan.down(long_ns, plan.servers[0])
    for caller in range(4):  # so that some wait for it when its hold-down begins
        plan.call(caller=caller)
        plan.at_ns += 100 * MS
    plan.steady(long_ns, 2500 * MS)
    plan.steady(plan.last_hold_ns * 13 // 10 + 10 * SECOND, _spacing_ns(plan))


def _spacing_ns(plan: Plan) -> int:
    """Return a spacing that shows the end of the last hold-down within some percent."""
    return max(1200 * MS, plan.last_hold_ns // 100)


def _blips(plan: Plan) -> None:
    """Let a server fail single questions, with answers in between and far apart."""
    stages = plan.profile.hold_down.stages
    last = stages[-1] if stages else None
    apart_ns = plan.first_hold_ns + plan.longest_ns + 10 * SECOND
    if last is not None and last.window_ns:
        apart_ns = max(apart_ns, last.window_ns * 6 // 10)
    for _ in range(last.failures + 1 if last is not None else 3):
        plan.world.blips.append((plan.at_ns, plan.servers[0]))
        plan.steady(apart_ns, max(4 * SECOND, apart_ns // 12))
    plan.steady(20 * SECOND, 2 * SECOND)


def _two_down(plan: Plan) -> None:
    plan.at_ns += plan.longest_ns
    plan.down(plan.first_hold_ns * 13 // 10, *plan.servers[:2])
    plan.steady(plan.first_hold_ns * 13 // 10, 2500 * MS)
    plan.steady(plan.first_hold_ns * 3 // 2 + 12 * SECOND, 1500 * MS)


def _all_down(plan: Plan) -> None:
    plan.at_ns += plan.longest_ns
    for_ns = plan.first_hold_ns * 6 // 10 + 2 * plan.longest_ns // 2
    plan.down(for_ns, *plan.servers)
    plan.steady(for_ns, 2500 * MS)
    plan.steady(plan.first_hold_ns * 3 // 2 + plan.longest_ns, 1500 * MS)


def _idle_in_hold_down(plan: Plan) -> None:
    """Let a hold-down begin, then nobody call until just before and just after its end."""
    plan.at_ns += plan.longest_ns
    plan.down(plan.timeout_ns + 9 * SECOND, plan.servers[1])
    plan.steady(9 * SECOND, 3 * SECOND)
    plan.at_ns += plan.first_hold_ns * 8 // 10
    plan.steady(plan.first_hold_ns // 2, 1500 * MS)
    plan.steady(20 * SECOND, 2 * SECOND)


@dataclass(frozen=True, slots=True)
class Mutant:
    """An SBC that does one thing wrong, and the profile that it is declared to follow."""

    name: str
    wrong: str
    breaks: str
    expected: str
    make: Make
    profile: Profile
    rules: tuple[str, ...]  # any of them names it
    blind: bool  # written from the plan and the RFCs alone
    missed: frozenset[Vantage]  # where the judge does not name it
