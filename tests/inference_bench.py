"""Drills of an SBC that nobody knows, as docs/infer.md has them, and what is true of it.

The simulated SBC follows a profile; what is inferred from its packets is held against that profile.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from enumtest.dns.message import Query, encode_answer
from enumtest.infer.inference import Inference, infer
from enumtest.infer.inferred import Inferred
from enumtest.infer.reading import read_unknown
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Ruling, Vantage
from enumtest.profiles.profile_groups import HoldDown, ReadmitBy, Retransmission, Selection, Stage
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.number import ENUM_APEX
from harness.packets.frame import Endpoint
from tests.enum_wire import ALLOW, CLIENT, MS, NAMES, SECOND, SOURCE, Reply, at_will, sbc
from tests.judge_bench import JudgeWire, config, wired
from tests.judge_traffic import numbers


@dataclass(frozen=True, slots=True)
class Outage:
    """One server, or several, out of order for a while."""

    servers: tuple[str, ...]
    from_ns: int
    until_ns: int
    rcode: str = ""  # it answers that; "": silence


@dataclass
class Drill:
    """Calls and outages one after the other."""

    calls_ns: list[int] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    now_ns: int = SECOND

    def call(self, count: int, every_ns: int) -> None:
        """Place calls at even spacing."""
        self.calls_ns += [self.now_ns + at * every_ns for at in range(count)]
        self.now_ns += count * every_ns

    def down(
        self, servers: tuple[str, ...], length_ns: int, every_ns: int, rcode: str = ""
    ) -> None:
        """Take servers out of order for a time in which calls go on, and a while after it."""
        self.outages.append(Outage(servers, self.now_ns, self.now_ns + length_ns, rcode))
        self.call(length_ns // every_ns + 1, every_ns)

    def __call__(self, server: str, query: Query, now_ns: int) -> Iterable[Reply]:
        """Answer as a server does, unless it is out of order."""
        name = server.removeprefix("tcp:")
        for one in self.outages:
            if name in one.servers and one.from_ns <= now_ns < one.until_ns:
                return (Reply(encode_answer(query, one.rcode)),) if one.rcode else ()
        return (Reply(encode_answer(query, records=(ALLOW,))),)


def whole(profile: Profile, every_ns: int, size: int = 3) -> Drill:
    """Return the drill of docs/infer.md with the times that fit *profile*."""
    drill, length_ns = Drill(), _longest_ns(profile)
    names = NAMES[:size]
    drill.call(4 * size, every_ns)
    if profile.hold_down_ns:
        _one_hold(drill, profile, every_ns, size)
    drill.down(names[:1], length_ns, every_ns)
    drill.call(4 * size, every_ns)
    drill.down(names[1:2], length_ns + length_ns // 3, every_ns)
    drill.call(4 * size, every_ns)
    for rcode in ("SERVFAIL", "REFUSED", "NXDOMAIN"):
        drill.down(names[:1], 12 * every_ns, every_ns, rcode)
        drill.call(round((profile.hold_down_ns * 5 // 4) // every_ns) + 3 * size, every_ns)
    return drill


def _one_hold(drill: Drill, profile: Profile, every_ns: int, size: int) -> None:
    """Fail one server just often enough, and call often until it is asked again."""
    in_turn = size if profile.selection.method is Selection.ROUND_ROBIN else 1
    failures = profile.hold_down.stages[0].failures
    drill.down(NAMES[:1], ((failures - 1) * in_turn + 1) * every_ns - 1, every_ns)
    often_ns = max(profile.hold_down_ns // 50, SECOND // 5)
    drill.call(profile.hold_down_ns * 7 // 5 // often_ns + 3 * size, often_ns)
    drill.now_ns += profile.timeout_ns


def _longest_ns(profile: Profile) -> int:
    """Return how long an outage has to last for all stages to be seen."""
    stages = profile.hold_down.stages
    if profile.readmission.by is ReadmitBy.PROBES:
        return 40 * profile.timeout_ns + 8 * profile.readmission.interval_ns
    times_ns = [
        (upper.failures - lower.failures) * (lower.length_ns + 4 * profile.timeout_ns)
        for lower, upper in pairwise(stages)
    ]
    last_ns = stages[-1].length_ns if stages else 0
    first = stages[0].failures if stages else 40
    return sum(times_ns) + 2 * last_ns + 4 * first * profile.timeout_ns + 30 * SECOND


def run(  # noqa: PLR0913 - a run has these parts
    profile: Profile,
    drill: Drill,
    *,
    size: int = 3,
    seed: int = 1,
    drift_every: int = 0,
    client: Endpoint = CLIENT,
    numbers_in_use: int = 0,
) -> JudgeWire:
    """Return the wire after *drill*; every so many turns the rotation may slip by one.

    Numbers are called again when all of them were; there are many, unless *numbers_in_use* says.
    """
    profile = replace(profile, cache=replace(profile.cache, positive=False))
    own = replace(config(profile, size), drift_every=drift_every)
    wire = wired(sbc(own, seed=seed), drill, seed=seed)
    wire.client = client
    for at_ns, number in zip(drill.calls_ns, _numbers(numbers_in_use), strict=False):
        wire.call(at_ns, number, SOURCE)
    wire.run()
    return wire


def _numbers(in_use: int) -> Iterator[object]:
    while True:
        yield from islice(numbers(), in_use or None)


def inferred(wire: JudgeWire, vantage: Vantage = Vantage.SBC) -> Inference:
    """Return what is inferred from the captures of *wire*."""
    servers = {endpoint: name for name, endpoint in wire.sbc.config.servers.items()}
    (found,) = infer(read_unknown(wire.captures(vantage), servers))
    return found


def failed(wire: JudgeWire, profile: Profile) -> list[Ruling]:
    """Return what the judge says is broken when it holds the same packets against *profile*."""
    servers = {endpoint: name for name, endpoint in wire.sbc.config.servers.items()}
    table = read_lookups(wire.captures(Vantage.SBC), servers, profile)
    return [
        ruling
        for one in judge(table, profile, vantage=Vantage.SBC)
        for ruling in one.rulings
        if ruling.outcome is Outcome.FAIL
    ]


def untrue(found: Inference, profile: Profile) -> list[str]:
    """Return, in words, each value of *found* that *profile* contradicts."""
    truth = dict(profile.leaves())
    return [
        f"{one.path} = {one.value} ({one.low} to {one.high}), in truth {trues}; {one.seen}"
        for one in found.values
        if (trues := _truths(one, truth, profile)) and not any(_agrees(one, true) for true in trues)
    ]


def _truths(one: Inferred, truth: Mapping[str, object], profile: Profile) -> tuple[object, ...]:
    """Return the values of which one has to agree; none where there is nothing to compare with."""
    path, _, last = one.path.rpartition(".")
    if path == "retransmission.schedule_ns":
        return (profile.retransmission.schedule_ns[int(last)],)
    if one.path == "hold_down.stages":
        return (profile.hold_down.stages,)
    if path.startswith("hold_down.stages."):  # one whose time is too short to be seen is left out
        return tuple(getattr(stage, last) for stage in profile.hold_down.stages)
    if one.path == "readmission.probe_name":
        return (profile.readmission.probe_name or ENUM_APEX,)
    return (truth[one.path],) if one.path in truth else ()


def _agrees(one: Inferred, true: object) -> bool:
    """Say whether *true* is in the interval; a value that is not known may be any."""
    if isinstance(true, int) and not isinstance(true, bool) and (one.low or one.high):
        return (one.low or 0) <= true <= (true if one.high is None else one.high)
    return not one.known or one.value == true


def changed(
    base: Profile,
    *,
    schedule_ms: tuple[int, ...] = (),
    expire_ms: int = 0,
    stages: tuple[Stage, ...] | None = None,
    selection: Selection | None = None,
    **holds: object,
) -> Profile:
    """Return *base* with other timers."""
    waits = base.retransmission
    if expire_ms:
        times_ns = tuple(at * MS for at in schedule_ms)
        waits = Retransmission(times_ns, expire_ms * MS, waits.id_per, waits.port_per)
    hold_down: HoldDown = replace(base.hold_down, **holds)  # type: ignore[arg-type]
    if stages is not None:
        hold_down = replace(hold_down, stages=stages)
    parts: dict[str, object] = {"retransmission": waits, "hold_down": hold_down}
    if selection is not None:
        parts["selection"] = replace(base.selection, method=selection)
    return at_will(base, **parts)


def dice(seed: int) -> random.Random:
    """Return dice that fall the same way each time."""
    return random.Random(seed)  # noqa: S311 - no secrets
