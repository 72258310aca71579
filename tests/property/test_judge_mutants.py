"""The judge lets every sound SBC pass, and names the rule that each defect breaks."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from enumtest.checks.calls import calls_asked
from enumtest.checks.hold_down import readmission
from enumtest.checks.routing import all_down, outage, rotation
from enumtest.dns.message import Query
from enumtest.sbc.sbc import SbcConfig
from enumtest.traffic.matching import match
from harness.finding import Finding, Outcome
from harness.records import CallOutcome, CallRecord, Direction
from tests.enum_wire import (
    MS,
    NUMBERS,
    SECOND,
    START_NS,
    Down,
    Reply,
    Script,
    Wire,
    allowing,
    endpoints,
    nxdomain,
    sbc,
    sbc_config,
)
from tests.sbc_defects import DEFECTS, SOUND, Make

CONFIG = sbc_config(endpoints(3), hold_down_ns=30 * SECOND)  # time-out 2 s, one retransmission
GROUP = Wire(SOUND(CONFIG)).group()  # what the site file declares, whatever the SBC really does
FIRST, BUT_LAST = frozenset({"enum1"}), frozenset({"enum1", "enum2"})
EVERYONE = frozenset(CONFIG.servers)
FOR_EVER = (0, 10_000 * SECOND)
PASS, FAIL, OTHER = Outcome.PASS, Outcome.FAIL, Outcome.OTHER
SEEDS = range(200)


def late(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Answer after the retransmission, well before the time-out."""
    return tuple(replace(one, after_ns=1_200 * MS) for one in allowing(server, query, now_ns))


def placed(count: int) -> tuple[CallRecord, ...]:
    """Return the calls of `healthy` as SIP would show them: all went through."""
    return tuple(
        CallRecord(
            at_ns=START_NS + at * SECOND,
            frame=1,
            call_id=f"c{at}",
            source="",
            source_rule="",
            destination=str(NUMBERS[at % 5]),
            destination_rule="",
            direction=Direction.UNKNOWN,
            direction_rule="",
            outcome=CallOutcome.ALLOWED,
            target=str(NUMBERS[at % 5]),
            status=200,
            frames=(1,),
            final_ns=START_NS + at * SECOND + 900 * MS,
        )
        for at in range(count)
    )


def healthy(make: Make, script: Script = allowing) -> tuple[Finding, ...]:
    """Return the findings of B.3.2."""
    wire = Wire(make(CONFIG), script)
    wire.calls(15, SECOND, numbers=5)
    lookups = wire.run().traffic().lookups
    calls = placed(15)
    found = match(calls, lookups, "e164.arpa")
    asked = calls_asked(calls, found.unasked, found.spare)
    return (*rotation(lookups, GROUP, minimum=15), asked)


def with_slow_servers(make: Make) -> tuple[Finding, ...]:
    """Return the findings of B.3.2 when every answer comes after a retransmission."""
    return healthy(make, late)


def with_unknown_numbers(make: Make) -> tuple[Finding, ...]:
    """Return the findings of B.3.2 when no policy names the numbers."""
    return healthy(make, nxdomain)


def one_down(make: Make, down: frozenset[str] = FIRST) -> tuple[Finding, ...]:
    """Return the findings of B.3.3: watched for 0.6 of the hold-down."""
    wire = Wire(make(CONFIG), Down(dict.fromkeys(down, FOR_EVER)))
    wire.calls(18, SECOND)
    return outage(wire.run().traffic().lookups, GROUP, down, minimum=6)


def all_but_last_down(make: Make) -> tuple[Finding, ...]:
    """Return the findings of B.3.4."""
    return one_down(make, BUT_LAST)


def every_server_down(make: Make) -> tuple[Finding, ...]:
    """Return the findings of B.3.6."""
    wire = Wire(make(CONFIG), Down(dict.fromkeys(EVERYONE, FOR_EVER)))
    wire.calls(18, SECOND)
    return all_down(wire.run().traffic().lookups, GROUP)


def back(make: Make) -> tuple[Finding, ...]:
    """Return the findings of B.3.5: out until given up, then back at once."""
    wire = Wire(make(CONFIG), Down(dict.fromkeys(BUT_LAST, (0, 6 * SECOND))))
    wire.calls(50, SECOND)
    return readmission(wire.run().traffic().lookups, GROUP, BUT_LAST)[0]


Scene = Callable[[Make], tuple[Finding, ...]]
SCENES: tuple[Scene, ...] = (
    healthy,
    with_slow_servers,
    with_unknown_numbers,
    one_down,
    all_but_last_down,
    every_server_down,
    back,
)
CAUGHT: Mapping[str, tuple[Scene, str, Outcome]] = {  # where, by which rule, and how it ends
    "stuck on the first server": (healthy, "rotation.next-in-turn", FAIL),
    "hunts": (healthy, "rotation.next-in-turn", FAIL),
    "drifts every 7 turns": (healthy, "rotation.next-in-turn", FAIL),
    "two calls a server": (healthy, "rotation.next-in-turn", FAIL),
    "skips one server for ever": (healthy, "rotation.next-in-turn", FAIL),
    "counts a retransmission as a turn": (with_slow_servers, "rotation.next-in-turn", FAIL),
    "retransmits to the next server": (with_slow_servers, "rotation.next-in-turn", FAIL),
    # Its lookups are in strict turn; only their number says that a call makes three.
    "asks all at once": (healthy, "calls.asked", OTHER),
    "no failover": (one_down, "outage.served", FAIL),
    "no hold-down": (one_down, "outage.avoided", FAIL),
    "holds the wrong server": (one_down, "outage.avoided", FAIL),
    "holds all when one fails": (one_down, "outage.served", FAIL),
    "asks a held server now and then": (one_down, "outage.avoided", FAIL),
    "asks the first when all are held": (every_server_down, "outage.avoided", FAIL),
    "comes back at 80 %": (back, "readmission.not-before", FAIL),
    "comes back at 160 %": (back, "readmission.after", FAIL),
    "never comes back": (back, "readmission.after", FAIL),
    # A failover after a good answer looks like another call's lookup on the wire.
    "takes NXDOMAIN for a failure": (with_unknown_numbers, "rotation.next-in-turn", OTHER),
    "asks once a number": (healthy, "calls.asked", OTHER),  # a cache, which the plan allows
}


@pytest.mark.parametrize("scene", SCENES)
def test_sound_sbc_passes_every_rule(scene: Scene) -> None:
    """The control: what is judged below to be broken is whole in an SBC without a defect."""
    found = scene(SOUND)

    assert [one for one in found if one.outcome is not PASS] == []
    assert found


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_breaks_the_rule_that_names_it(defect: str) -> None:
    """Each defect is seen where it must be, by the rule that it breaks."""
    scene, rule, outcome = CAUGHT[defect]
    found = scene(DEFECTS[defect])

    assert (rule, outcome) in {(one.rule, one.outcome) for one in found}


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_said_against_a_defect_points_at_packets(defect: str) -> None:
    """A FAIL cites frames of the capture, counted from 1."""
    failed = [one for one in CAUGHT[defect][0](DEFECTS[defect]) if one.outcome is FAIL]

    assert all(one.frames and min(one.frames) >= 1 for one in failed)


@dataclass(frozen=True, slots=True)
class Run:
    """A sound SBC's outage and what it is judged by; the numbers come from a seed."""

    wire: Wire
    down: frozenset[str]
    from_ns: int
    until_ns: int  # of the time for which the outage is watched


def sound_run(seed: int) -> Run:
    """Return the calls for an SBC with 2 to 5 servers, some of which are down for a while."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    size, timeout_ns = dice.randint(2, 5), dice.choice((200, 1_000, 2_000)) * MS
    config = sbc_config(
        endpoints(size),
        timeout_ns=timeout_ns,
        retransmissions=dice.randint(0, 3),
        hold_down_ns=dice.choice((8, 12)) * timeout_ns,
    )
    spacing_ns = timeout_ns * dice.choice((23, 61, 130, 190)) // 100  # below 100 calls overlap
    slowest_ns = timeout_ns * dice.choice((2, 20, 60, 90)) // 100
    down = frozenset(list(config.servers)[: dice.randint(1, size - 1)])
    from_ns = dice.randint(0, 2 * spacing_ns)
    until_ns = from_ns + config.profile.hold_down_ns * 6 // 10
    back_ns = from_ns + config.profile.hold_down_ns * dice.choice((61, 80, 101, 140)) // 100

    def slow(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        after_ns = dice.randint(slowest_ns // 2, slowest_ns)
        return tuple(replace(one, after_ns=after_ns) for one in nxdomain(server, query, now_ns))

    wire = Wire(sbc(config, seed=seed), Down(dict.fromkeys(down, (from_ns, back_ns)), slow))
    last_ns = back_ns + config.profile.hold_down_ns * 11 // 10 + 4 * timeout_ns
    wire.calls(last_ns // spacing_ns, spacing_ns, numbers=dice.choice((1, 5, 20)))
    return Run(wire, down, from_ns, until_ns)


@pytest.mark.parametrize("seed", SEEDS)
def test_sound_sbc_never_fails(seed: int) -> None:
    """No FAIL for 2 to 5 servers, slow answers, overlapping calls to one number, outages."""
    run = sound_run(seed)
    traffic, group = run.wire.run().traffic(), run.wire.group()
    lookups = traffic.lookups
    watched = [one for one in lookups if run.from_ns <= one.at_ns - START_NS < run.until_ns]
    findings = (
        *outage(watched, group, run.down, minimum=2),
        *readmission(lookups, group, run.down)[0],
    )

    assert [one for one in findings if one.outcome is FAIL] == []
    assert traffic.malformed == traffic.strays == ()


def answering_late(config: SbcConfig) -> Script:
    """Return servers that answer at 70 % of the time-out, so that queries are sent again."""

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        after_ns = config.profile.timeout_ns * 7 // 10
        return tuple(replace(one, after_ns=after_ns) for one in allowing(server, query, now_ns))

    return script


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_sound_sbc_earns_its_pass_in_rotation(seed: int) -> None:
    """With all servers well, however slow, and calls overlapping, strict turns are seen."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    size = dice.randint(2, 5)
    config = sbc_config(endpoints(size), retransmissions=dice.randint(0, 3))
    wire = Wire(sbc(config, seed=seed), answering_late(config))
    spacing_ns = config.profile.timeout_ns * dice.choice((7, 37, 130)) // 100
    wire.calls(5 * size, spacing_ns, numbers=dice.choice((1, 2, 20)))
    (found,) = rotation(wire.run().traffic().lookups, wire.group(), minimum=5 * size)

    assert found.outcome is PASS


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_calls_to_different_numbers_are_read_back_as_they_were(seed: int) -> None:
    """The servers asked for each call, in order, are those that the SBC itself reports."""
    run = sound_run(seed)
    config = run.wire.sbc.config
    wire = Wire(sbc(config, seed=seed), run.wire.script)
    wire.calls(20, config.profile.timeout_ns * 31 // 100)
    lookups = wire.run().traffic().lookups
    reported = [(str(one.number), *(asked.server for asked in one.asked)) for one in wire.decided]
    read = [(str(one.number("e164.arpa")), *(hop.server for hop in one.hops)) for one in lookups]

    assert Counter(read) == Counter(reported)
