"""The judge of ENUM behaviour: sound SBCs pass, and each defect fails the rule that it breaks."""

from dataclasses import replace

import pytest

from enumtest.dns.message import Query, encode_answer
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Judgement, Ruling, Vantage
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Event
from enumtest.sbc.sbc import SbcConfig
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from tests.enum_wire import (
    MS,
    NAMES,
    SECOND,
    Down,
    Reply,
    Script,
    Wire,
    allowing,
    at_will,
    endpoints,
    nxdomain,
    sbc_config,
)
from tests.sbc_defects import DEFECTS, SOUND, Make

PROFILES = ("fixed-hold-down", "oracle-round-robin", "oracle-hunt", "ribbon", "libc")
ONE_DOWN = Down({"enum1": (5 * SECOND, 25 * SECOND)})
SECOND_DOWN = Down({"enum2": (5 * SECOND, 25 * SECOND)})
ALL_DOWN = Down(dict.fromkeys(NAMES, (5 * SECOND, 60 * SECOND)))


def plan() -> SbcConfig:
    """Return the plan's SBC with its times set."""
    return sbc_config(
        endpoints(3), timeout_ns=2 * SECOND, hold_down_ns=30 * SECOND, retransmissions=1
    )


def judged(config: SbcConfig, make: Make, script: Script, calls: int = 250) -> Judgement:
    """Return what the judge says about *calls* calls, two a second."""
    wire = Wire(make(config), script)
    wire.calls(calls, 500 * MS)
    return judged_wire(wire.run(), config)[0]


def judged_wire(wire: Wire, config: SbcConfig) -> tuple[Judgement, ...]:
    """Return what the judge says about a run."""
    servers = {endpoint: name for name, endpoint in config.servers.items()}
    table = read_lookups([parse(wire.capture(), name="sbc.pcap")], servers, config.profile)
    return judge(table, config.profile, vantage=Vantage.SBC)


def failing(judgement: Judgement) -> set[str]:
    """Return the rules that are broken."""
    return {one.rule for one in judgement.rulings if one.outcome is Outcome.FAIL}


def passing(judgement: Judgement) -> set[str]:
    """Return the rules that were kept."""
    return {one.rule for one in judgement.rulings if one.outcome is Outcome.PASS}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("certain", [False, True], ids=["as-shipped", "all-known"])
@pytest.mark.parametrize("script", [ONE_DOWN, ALL_DOWN], ids=["one-down", "all-down"])
def test_a_sound_sbc_breaks_no_rule(name: str, certain: bool, script: Script) -> None:
    """An SBC that does what its profile says is never accused, known values or not."""
    profile = shipped_profile(name)
    config = SbcConfig(endpoints(3), at_will(profile) if certain else profile)
    assert failing(judged(config, SOUND, script, calls=150)) == set()


@pytest.mark.parametrize("name", ["fixed-hold-down", "oracle-round-robin", "ribbon"])
def test_a_sound_sbc_passes_what_was_put_to_the_test(name: str) -> None:
    """Turns, hold-downs and re-admission of a sound SBC are PASS, not just no FAIL."""
    config = SbcConfig(endpoints(3), at_will(shipped_profile(name)))
    kept = passing(judged(config, SOUND, ONE_DOWN))
    assert {"rotation.order", "hold-down.kept", "edns.size", "delay.bound"} <= kept


EXPECTED: dict[str, tuple[Script, set[str]]] = {
    "stuck on the first server": (SECOND_DOWN, {"rotation.order"}),
    "hunts": (SECOND_DOWN, {"rotation.order"}),
    "drifts every 7 turns": (SECOND_DOWN, {"rotation.order"}),
    "two calls a server": (SECOND_DOWN, {"rotation.order"}),
    "skips one server for ever": (SECOND_DOWN, {"rotation.order"}),
    "counts a retransmission as a turn": (SECOND_DOWN, {"rotation.retransmission-is-no-turn"}),
    "retransmits to the next server": (SECOND_DOWN, {"retransmission.schedule"}),
    "asks all at once": (SECOND_DOWN, {"failover.all-at-once"}),
    "no failover": (SECOND_DOWN, {"failover.none", "reaction.silence"}),
    "no hold-down": (SECOND_DOWN, {"hold-down.kept"}),
    "holds the wrong server": (SECOND_DOWN, {"hold-down.kept"}),
    "holds all when one fails": (SECOND_DOWN, {"failover.none"}),
    "asks a held server now and then": (SECOND_DOWN, {"hold-down.kept"}),
    "asks the first when all are held": (ALL_DOWN, {"all-down.treatment"}),
    "comes back at 80 %": (SECOND_DOWN, {"readmission.by-time"}),
    "comes back at 160 %": (SECOND_DOWN, {"readmission.late"}),
    "never comes back": (SECOND_DOWN, {"readmission.never"}),
    "takes NXDOMAIN for a failure": (nxdomain, {"reaction.NXDOMAIN"}),
}


def known_plan() -> SbcConfig:
    """Return the plan's SBC with nothing unknown."""
    config = plan()
    return replace(config, profile=at_will(config.profile))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_defect_fails_the_rule_that_it_breaks(name: str) -> None:
    """Each simulated SBC with one defect is accused of that one."""
    script, rules = EXPECTED[name]
    assert rules <= failing(judged(known_plan(), DEFECTS[name], script))


def test_a_first_cited_frame_is_the_question_that_came_too_early() -> None:
    """The first frame of a broken hold-down is the question to the held server."""
    found = judged(known_plan(), DEFECTS["comes back at 80 %"], SECOND_DOWN)
    ruling = ruled(found, "readmission.by-time")
    assert ruling.server == "enum2"
    assert ruling.cites[0].capture == "sbc.pcap"
    assert ruling.cites[0].frame > ruling.cites[1].frame


def ruled(judgement: Judgement, rule: str) -> Ruling:
    """Return the ruling on *rule*."""
    return next(one for one in judgement.rulings if one.rule == rule)


def test_unknown_laws_are_no_grounds() -> None:
    """With a hold-down that nobody knows, what was seen of it is a note and no ruling."""
    config = SbcConfig(endpoints(3), shipped_profile("fixed-hold-down"))
    found = judged(config, DEFECTS["comes back at 80 %"], SECOND_DOWN)
    note = next(one for one in found.notes if one.rule == "hold-down.kept")
    assert "left alone for" in note.observed
    assert "hold-down.kept" not in {one.rule for one in found.rulings}


def test_an_early_return_breaks_one_rule() -> None:
    """One deed is accused of once: left alone, but back too early; or never left alone."""
    early = judged(known_plan(), DEFECTS["comes back at 80 %"], SECOND_DOWN)
    never = judged(known_plan(), DEFECTS["no hold-down"], SECOND_DOWN)
    assert failing(early) == {"readmission.by-time"}
    assert failing(never) == {"hold-down.kept"}


def test_what_a_profile_does_not_say_spoils_no_verdict() -> None:
    """A sound SBC that goes through an outage and recovers passes all that its profile asks."""
    config = plan()
    found = judged(config, SOUND, SECOND_DOWN)
    assert {one.outcome for one in found.rulings} == {Outcome.PASS}
    assert found.notes


def test_too_few_calls_are_other_with_the_number_needed() -> None:
    """Four calls say nothing about the order, and how many more would."""
    ruling = ruled(judged(plan(), SOUND, allowing, calls=4), "rotation.order")
    assert (ruling.outcome, ruling.needed > 0) == (Outcome.OTHER, True)


def test_two_sbcs_are_judged_apart() -> None:
    """Each address that asks has turns of its own, and a judgement of its own."""
    config = plan()
    one = Wire(SOUND(config), allowing)
    two = Wire(SOUND(config), allowing, client=Endpoint("192.0.2.11", 40_000))
    for wire in (one, two):
        wire.calls(30, 700 * MS)
        wire.run()
    one.packets += two.packets
    judgements = judged_wire(one, config)
    assert [one.client for one in judgements] == ["192.0.2.10", "192.0.2.11"]
    assert [ruled(one, "rotation.order").outcome for one in judgements] == [Outcome.PASS] * 2


def test_what_the_host_lost_takes_the_fail_away() -> None:
    """With frames missing a question to a held server proves nothing."""
    config = known_plan()
    wire = Wire(DEFECTS["no hold-down"](config), SECOND_DOWN)
    wire.calls(120, 500 * MS)
    wire.run()
    servers = {endpoint: name for name, endpoint in config.servers.items()}
    table = read_lookups([parse(wire.capture(), name="sbc.pcap")], servers, config.profile)
    lossy = tuple(replace(watch, dropped=3) for watch in table.hops.watches)
    table = replace(table, hops=replace(table.hops, watches=lossy))
    (found,) = judge(table, config.profile, vantage=Vantage.SBC)
    assert ruled(found, "hold-down.kept").outcome is Outcome.OTHER


def rcode(name: str) -> Script:
    """Return servers that answer everything so."""

    def answers(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        del server, now_ns
        return (Reply(encode_answer(query, name)),)

    return answers


@pytest.mark.parametrize("event", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_an_error_that_is_final_by_the_profile_must_not_fail_over(event: str) -> None:
    """An SBC that goes on to the next server after an error declared final breaks that reaction."""
    other = sbc_config(
        endpoints(3), hold_down_ns=30 * SECOND, failures=frozenset({Event.SILENCE, Event(event)})
    )
    declared = known_plan()
    wire = Wire(SOUND(other), rcode(event))
    wire.calls(60, 500 * MS)
    (found,) = judged_wire(wire.run(), declared)
    assert f"reaction.{event}" in failing(found)


def test_states_and_figures_come_with_a_judgement() -> None:
    """The strip of the failed server has a held time of the declared length, with its cause."""
    found = judged(known_plan(), SOUND, SECOND_DOWN)
    held = [one for one in found.spans if one.server == "enum2" and one.state == "held"]
    assert held
    assert 20 * SECOND < held[0].until_ns - held[0].from_ns <= 31 * SECOND
    assert held[0].because
    detect = next(one for one in found.measured if one.name.startswith("time to detect"))
    assert detect.low == pytest.approx(2.0, abs=0.01)


def test_a_server_given_up_too_early_is_told_so() -> None:
    """Two seconds where the profile declares eleven: the wait is wrong, not the failover missing.

    Every early failover came after the same time, so they are no other calls to those numbers.
    """
    config = plan()
    wire = Wire(SOUND(config), Down({"enum2": (5 * SECOND, 95 * SECOND)}))
    wire.calls(120, 900 * MS)
    declared = replace(config, profile=at_will(shipped_profile("oracle-round-robin")))
    (found,) = judged_wire(wire.run(), declared)
    assert "retransmission.expire" in failing(found)
    assert failing(found).isdisjoint({"failover.none", "reaction.silence"})
