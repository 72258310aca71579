"""Random days of a sound SBC: what calls came, what the servers and the network did to them.

Laws: the same profile and seed give the same day. Half of the SBCs do what their profile leaves
open in another way than the simulation does by itself: a judge has to accept every reading.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    IdScope,
    InFlight,
    Reaction,
    Share,
    Then,
)
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import Sbc
from harness.errors import InputError
from tests.enum_wire import MS, NAMES, SECOND, TERMINATE, WholeNumber, at_will, ids
from tests.judge_bench import JudgeWire, Relay, config, wired
from tests.judge_traffic import Outage, Plan

NEXT, FINAL, IGNORE = Then.NEXT_SERVER, Then.FINAL, Then.IGNORE
_RCODES = (Event.SERVFAIL, Event.REFUSED, Event.NOTIMP, Event.OTHER_RCODE)
# What an unknown value may be as well; a path that is not here stays as the simulation has it.
OTHER_VALUES: Mapping[str, Sequence[object]] = {
    "selection.failover_takes_turn": (True, False),
    "selection.skipped_takes_turn": (True, False),
    "retransmission.id_per": (IdScope.SEND, IdScope.SERVER, IdScope.CALL),
    "retransmission.port_per": tuple(IdScope),
    **{f"reactions.{event}.then": (NEXT, FINAL) for event in _RCODES},
    **{f"reactions.{event}.counts": (True, False) for event in _RCODES},
    "reactions.FORMERR.then": (NEXT, FINAL, Then.RETRY_WITHOUT_EDNS),
    "reactions.garbled.then": (NEXT, FINAL, IGNORE),
    "reactions.late.then": (IGNORE, FINAL),
    "hold_down.stages.0.failures": (1, 2, 3),
    "hold_down.stages.0.consecutive": (True, False),
    "hold_down.stages.0.share": (Share.NEXT, Share.FIRST_LIVE),
    "hold_down.answer_ends": (True, False),
    "hold_down.late_answer_ends": (True, False),
    "hold_down.end_resets": (True, False),
    "hold_down.runs_while_idle": (True, False),
    "hold_down.in_flight": tuple(InFlight),
    "readmission.interval_ns": (2 * SECOND, 10 * SECOND, 30 * SECOND),
    "all_down": tuple(AllDown),
    "cache.positive": (True, False),
    "cache.negative_ns": (0, 60 * SECOND),
    "edns.udp_payload_bytes": (0, 1232, 4096),
    "edns.source_sent": (True, False),
}
_NO_VALUES = ("name", "title", "dialect", "naptr", "timers", "source", "unknown")
LENGTHS = ("retransmission.expire_ns", "hold_down.stages.0.length_ns")  # unknown ones vary


@dataclass(frozen=True, slots=True)
class Day:
    """A run that can be made again; *follows* is what the SBC does, within its profile."""

    plan: Plan
    follows: Profile
    relay: Relay
    seed: int
    clocks_told: bool

    def lived(self) -> JudgeWire:
        """Return the bench after the day is over."""
        sbc = Sbc(config(self.follows, len(self.plan.servers)), ids(self.seed), WholeNumber())
        wire = wired(sbc, self.plan.world, relay=self.relay, seed=self.seed, apart=True)
        self.plan.put_into(wire).run()
        return wire


def day(profile: Profile, seed: int) -> Day:
    """Return day number *seed* of an SBC of *profile*."""
    dice = random.Random(f"{profile.name} {seed}")  # noqa: S311 - a day that can be had again
    follows = another_reading(profile, dice) if seed % 2 else profile
    plan = Plan(follows, NAMES[: dice.choice((2, 3, 3, 3, 4))])
    _calls(plan, dice)
    _odd_numbers(plan, dice)
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        _outage(plan, dice)
    relay = Relay(
        lost=dice.choice((0.0, 0.002, 0.01, 0.03)),
        doubled=dice.choice((0.0, 0.0, 0.01)),
        overtaken=dice.choice((0.0, 0.01, 0.05)),
        delay_ns=dice.choice(((MS // 5, MS), (2 * MS, 9 * MS), (10 * MS, 40 * MS))),
    )
    return Day(plan, follows, relay, seed, clocks_told=seed % 3 == 0)


def another_reading(profile: Profile, dice: random.Random) -> Profile:
    """Return *profile* with some of its unknown values set otherwise."""
    for _ in range(50):
        try:
            parts = {
                field.name: _changed(getattr(profile, field.name), field.name, profile, dice)
                for field in fields(profile)
                if field.name not in _NO_VALUES
            }
            return at_will(profile, **_sensible(parts))
        except InputError:  # no SBC could do all of it
            continue
    return profile


def _changed(value: Any, path: str, profile: Profile, dice: random.Random) -> Any:  # noqa: ANN401
    """Return *value* with what is unknown in it changed at times."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: getattr(value, one.name) for one in fields(value)}
        return replace(
            value,
            **{name: _changed(v, f"{path}.{name}", profile, dice) for name, v in parts.items()},
        )
    if isinstance(value, Mapping):
        return {k: _changed(v, f"{path}.{k}", profile, dice) for k, v in value.items()}
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return tuple(_changed(v, f"{path}.{at}", profile, dice) for at, v in enumerate(value))
    if profile.source_of(path) is None:
        return _other(value, path, dice)
    return value


def _other(value: Any, path: str, dice: random.Random) -> Any:  # noqa: ANN401
    """Return another value that may stand at *path*, or *value*."""
    if path in OTHER_VALUES:
        return dice.choice((value, value, *OTHER_VALUES[path]))
    if path in LENGTHS:
        return value * dice.choice((1, 1, 2, 3)) // dice.choice((1, 1, 2))
    return value


def _sensible(parts: dict[str, Any]) -> dict[str, Any]:
    """Return *parts* with values that go together: what is final or ignored is not counted."""
    reactions: dict[Event, Reaction] = parts["reactions"]
    for event, reaction in reactions.items():
        if reaction.then is not NEXT:
            reactions[event] = replace(reaction, counts=False)
    times = parts["retransmission"]
    schedule_ns = tuple(at_ns for at_ns in times.schedule_ns if at_ns < times.expire_ns)
    parts["retransmission"] = replace(times, schedule_ns=schedule_ns)
    firsts = [stage for stage in parts["hold_down"].stages if stage.share is Share.FIRST_LIVE]
    if firsts:
        parts["selection"] = replace(parts["selection"], skipped_takes_turn=True)
    return parts


def _calls(plan: Plan, dice: random.Random) -> None:
    """Place calls: even, at random or in bursts, with idle times, to new and to known numbers."""
    count = dice.randrange(100, 301)
    pace_ns = dice.choice((60 * MS, 400 * MS, 1500 * MS, 4 * SECOND, 15 * SECOND))
    kind = dice.choice(("even", "random", "bursts"))
    known = [next(plan.numbers) for _ in range(dice.choice((1, 5, 40)))]
    new = dice.choice((0.0, 0.5, 0.9, 1.0))
    idle = {dice.randrange(count) for _ in range(dice.choice((0, 0, 1, 2)))}
    for at in range(count):
        again = dice.random() >= new
        plan.call(dice.choice(known) if again else None, caller=dice.randrange(10))
        match kind:
            case "even":
                plan.at_ns += pace_ns
            case "random":
                plan.at_ns += round(dice.expovariate(1.0) * pace_ns)
            case _:
                plan.at_ns += 0 if dice.random() < 0.6 else 2 * pace_ns
        if at in idle:
            plan.at_ns += dice.choice((1, 3)) * plan.last_hold_ns // 2


def _odd_numbers(plan: Plan, dice: random.Random) -> None:
    """Let some numbers have no record, some an odd first answer, some a TTL."""
    odd = dice.choice((0.0, 0.05, 0.2))
    for number in sorted({one.number for one in plan.calls}):
        name = number.enum_domain()
        if dice.random() < odd:
            plan.world.odd[name] = dice.choice(
                (Event.NXDOMAIN, Event.NODATA) * 4 + tuple(Event)[1:]  # all but silence
            )
        if dice.random() < 0.1:
            plan.world.records[name] = (TERMINATE,)
        plan.world.ttl_s[name] = dice.choice((0, 0, 60, 600))


def _outage(plan: Plan, dice: random.Random) -> None:
    """Take one, some or all servers away for a while."""
    last_ns = max(one.at_ns for one in plan.calls)
    count = dice.choice((1, 1, 1, 2, len(plan.servers)))
    from_ns = dice.randrange(0, last_ns + 1)
    share = dice.choice((0.2, 0.7, 1.5, 4.0))
    until_ns = from_ns + round(share * (plan.first_hold_ns + plan.timeout_ns))
    event = dice.choice((*(Event.SILENCE,) * 6, *_RCODES, Event.LATE, Event.GARBLED))
    for name in dice.sample(plan.servers, min(count, len(plan.servers))):
        plan.world.outages.append(Outage(name, from_ns, until_ns, event))
