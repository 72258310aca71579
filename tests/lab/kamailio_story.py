"""What Kamailio is put through, one lab after another, and what tcpdump saw of it.

Each lab is a resolv.conf, and parts in which servers have faults while calls are placed.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice, pairwise
from pathlib import Path

from enumtest.infer.inference import Inference, infer
from enumtest.infer.reading import read_unknown
from enumtest.stub.faults import (
    Delay,
    Fault,
    Garbled,
    PortClosed,
    Rcode,
    Silence,
    Truncated,
    WrongId,
)
from enumtest.stub.policy import Action, ActionAnswer, Party, Policy, Rule, default_answer
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import LookupTable
from harness.dialplan import DialPlan
from harness.number import PhoneNumber
from harness.packets.capture import Capture
from harness.packets.frame import Endpoint, decode
from harness.records import CallRecord
from probetest.calls.at_sbc import read_calls
from tests.lab.kamailio_lab import Resolver, kamailio_lab
from tests.lab.kamailio_net import SBC, SERVERS

S = 1_000_000_000
NUMBERS = [f"+1212555{last:04}" for last in range(110, 122)]  # called again and again
FRESH = [f"+1212555{last:04}" for last in range(151, 200)]  # each called once
BLOCKED, MOVED, TARGET = "+12125550131", "+12125550132", "+12125550150"
RULES = (
    Rule("block", Action.TERMINATE, destination=Party((BLOCKED,))),
    Rule("move", Action.REDIRECT, destination=Party((MOVED,)), to=PhoneNumber.parse(TARGET)),
)
ANSWERS = {action: default_answer(action) for action in Action}
POLICY = Policy(RULES, Action.ALLOW, ANSWERS)
EMPTY = replace(
    POLICY, default=Action.TERMINATE, answers=ANSWERS | {Action.TERMINATE: ActionAnswer(())}
)
PLAN = DialPlan("lab", "1")
HEALTHY = 20
REACTIONS: dict[str, Fault] = {
    "SERVFAIL": Rcode("SERVFAIL"),
    "REFUSED": Rcode("REFUSED"),
    "NOTIMP": Rcode("NOTIMP"),
    "FORMERR": Rcode("FORMERR"),
    "other-rcode": Rcode("YXDOMAIN"),
    "NXDOMAIN": Rcode("NXDOMAIN"),
    "garbled": Garbled(),
    "wrong-id": WrongId(),
    "truncated": Truncated(),
    "late": Delay(1500),
}
Faults = dict[str, tuple[Fault, ...]]


def down(fault: Fault, servers: int) -> Faults:
    """Return the same fault for the first so many servers."""
    return dict.fromkeys(list(SERVERS)[:servers], (fault,))


@dataclass(frozen=True, slots=True)
class Part:
    """Some calls, placed while the servers had faults."""

    name: str
    faults: Faults
    calls: int
    policy: Policy = POLICY
    a_second: int = 100
    numbers: Sequence[str] = ()  # that are called; (): fresh ones


def again(count: int) -> tuple[str, ...]:
    """Return so many numbers, the same ones again and again."""
    return tuple(islice(cycle(NUMBERS), count))


OUTAGES = [
    Part(f"{name}-{servers}", down(fault, servers), calls)
    for name, fault, calls in (("closed", PortClosed(), 3), ("silent", Silence(), 1))
    for servers in (1, 2, 3)
]
HEALTH = Part("healthy", {}, 0, a_second=10, numbers=again(HEALTHY))
LABS: dict[str, tuple[Resolver, list[Part]]] = {
    "plain": (
        Resolver("timeout:1 attempts:2"),
        [
            Part("policy", {}, 0, numbers=(NUMBERS[0], BLOCKED, MOVED)),
            HEALTH,
            *(Part(name, down(fault, 1), 2) for name, fault in REACTIONS.items()),
            Part("NODATA", {}, 2, EMPTY),
            Part("second-round", down(Silence(), 3) | {"enum1": (Delay(1500),)}, 1),
            *OUTAGES,
            Part("failing", down(Rcode("SERVFAIL"), 3), 2),
            Part("recovered", {}, 3),
        ],
    ),
    "two": (  # the C library's own timers: 5 s, 2 rounds
        Resolver("attempts:2", servers=("enum1", "enum2")),
        [HEALTH, OUTAGES[3], OUTAGES[4]],
    ),
    "longer": (
        Resolver("timeout:2", moves=True),
        [Part("policy", {}, 0, numbers=(MOVED,)), HEALTH, *OUTAGES[3:]],
    ),
    "turns": (
        Resolver("timeout:1 attempts:2 rotate", workers=1),
        [HEALTH, Part("silent-1", down(Silence(), 1), 6), OUTAGES[0]],
    ),
    "crowd": (
        Resolver("timeout:1 attempts:2 rotate", workers=4),
        [Part("healthy", {}, 0, numbers=again(3 * HEALTHY))],
    ),
}


@dataclass(frozen=True, slots=True)
class Story:
    """What tcpdump saw of one Kamailio, and when each part was."""

    capture: Capture
    taps: tuple[Capture, ...]
    servers: dict[Endpoint, str]
    parts: dict[str, tuple[int, int]]

    def calls(self, part: str) -> list[CallRecord]:
        """Return the calls of a part, as SIP shows them."""
        from_ns, until_ns = self.parts[part]
        calls = read_calls(decode(self.capture), [SBC], PLAN)
        return [call for call in calls if from_ns <= call.at_ns <= until_ns]

    def table(self) -> LookupTable:
        """Return all lookups, with nothing declared of who asks."""
        return read_lookups([self.capture], self.servers, None)

    def seen_from(self, clocks: str) -> tuple[Sequence[Capture], dict[str, int]]:
        """Return captures, and how far their clocks are ahead, as far as that is declared.

        "": one tap at Kamailio. "the same", "unknown": one at each server, with such clocks.
        """
        captures = list(self.taps) if clocks else [self.capture]
        return captures, {one.name: 0 for one in captures} if clocks == "the same" else {}

    def inferred(self, clocks: str = "") -> Inference:
        """Return what can be measured of Kamailio."""
        captures, ahead_ns = self.seen_from(clocks)
        [found] = infer(read_unknown(captures, self.servers, ahead_ns=ahead_ns))
        return found

    def asked(self, part: str) -> list[list[str]]:
        """Return the servers that each lookup of a part asked, in order; TCP is no other server."""
        table = self.table()
        hops, (from_ns, until_ns) = table.hops, self.parts[part]
        rows = [table.hops_of(at) for at in range(len(table))]
        return [
            [hops.servers[hops.server[row]] for row in one if not hops.tcp[row]]
            for one in rows
            if from_ns <= hops.first_ns[one[0]] <= until_ns
        ]

    def waits_s(self, part: str) -> list[float]:
        """Return the times between the questions of a part's first lookup, in tenths."""
        table = self.table()
        hops, (from_ns, until_ns) = table.hops, self.parts[part]
        rows = (table.hops_of(at) for at in range(len(table)))
        sent_ns = [
            int(at_ns)
            for one in rows
            for at_ns in hops.first_ns[one]
            if from_ns <= at_ns <= until_ns
        ]
        return [round((two - one) / S, 1) for one, two in pairwise(sent_ns)]


def told(folder: Path, resolver: Resolver, parts: Sequence[Part]) -> Story:
    """Return the story of one lab."""
    folder.mkdir()
    windows, fresh = {}, iter(FRESH)
    with kamailio_lab(folder, POLICY, resolver) as lab:
        for part in parts:
            lab.faults(**part.faults)
            lab.policy(part.policy)
            numbers = part.numbers or tuple(islice(fresh, part.calls))
            windows[part.name] = lab.call(*numbers, a_second=part.a_second)
        if resolver.servers == tuple(SERVERS) and not resolver.moves:
            lab.faults()
            lab.policy(POLICY.without(("block", "move")))
            windows["uninstalled"] = lab.call(BLOCKED, MOVED)
        servers = {SERVERS[name]: name for name in resolver.servers}
        whole = lab.capture()
        taps = lab.taps()[: len(servers)]
        return Story(whole, taps, servers, windows)


def tell_all(folder: Path) -> dict[str, Story]:
    """Return the stories of all labs; they run at once, for each waits most of the time."""
    with ThreadPoolExecutor(len(LABS)) as pool:
        found = {
            name: pool.submit(told, folder / name, resolver, parts)
            for name, (resolver, parts) in LABS.items()
        }
        return {name: one.result() for name, one in found.items()}
