"""What is inferred of a simulated SBC from its packets is true, and its profile is one to judge by.

The drills are those of docs/infer.md; the profiles are the shipped ones, and others by seed.
"""

from dataclasses import replace

import pytest

from enumtest.infer.inference import Inference, infer
from enumtest.infer.reading import read_unknown
from enumtest.infer.words import lines
from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import parse_profile, shipped_names, shipped_profile
from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    IdScope,
    Selection,
    SelectionRules,
    Share,
    Stage,
    Then,
)
from enumtest.profiles.profile_writer import profile_of, write_profile
from enumtest.profiles.profiles import Profile
from harness.errors import InputError
from tests.enum_wire import MS, NAMES, SECOND, at_will, sbc
from tests.inference_bench import Drill, changed, dice, failed, inferred, run, untrue, whole
from tests.judge_bench import JudgeWire, config, wired
from tests.judge_traffic import drill

EVERY_S = {
    "fixed-hold-down": 3,
    "oracle-hunt": 12,
    "oracle-round-robin": 12,
    "ribbon": 3,
    "libc": 6,
}
TIMERS = ("retransmission.expire_ns", "retransmission.schedule_ns", "retransmission.id_per")
HELD = ("hold_down.stages.0.failures", "hold_down.stages.0.length_ns", "readmission.by")
EXPECTED = {
    "fixed-hold-down": (*TIMERS, *HELD, "selection.failover_takes_turn"),
    "oracle-hunt": (*TIMERS, *HELD, "hold_down.stages.1.failures", "hold_down.stages.1.length_ns"),
    "oracle-round-robin": (*TIMERS, *HELD, "hold_down.stages.1.failures"),
    "ribbon": (*TIMERS, *HELD, "readmission.replies", "readmission.interval_ns"),
    "libc": (*TIMERS, "hold_down.stages"),
}
SEEDS = range(12)


def known(found: Inference) -> set[str]:
    """Return the paths of what is known."""
    return {one.path for one in found.values if one.known}


def judged_by_its_own(wire: JudgeWire, found: Inference) -> list[str]:
    """Return what the judge finds broken with the profile that *found* is written as."""
    profile = parse_profile(write_profile(found))
    return [f"{one.rule}: {one.observed}" for one in failed(wire, profile)]


@pytest.mark.parametrize("name", shipped_names())
def test_a_drill_of_a_shipped_profile_shows_what_is_true_of_it(name: str) -> None:
    """Every interval holds the true value, the times are measured, and the judge agrees."""
    profile = shipped_profile(name)
    wire = run(profile, whole(profile, EVERY_S[name] * SECOND))
    found = inferred(wire)

    assert untrue(found, profile) == []
    assert known(found) >= {"selection.method", *EXPECTED[name]}
    assert found.value("selection.method").value is profile.selection.method
    assert judged_by_its_own(wire, found) == []


def some_profile(seed: int) -> tuple[Profile, int]:
    """Return a profile nobody has, and how far apart calls are in its drill."""
    own = dice(seed)
    base = shipped_profile(own.choice(shipped_names()))
    schedule_ms = own.choice([(0,), (0, 1000), (0, 250, 750), (0, 1000, 3000, 7000)])
    # Shorter than the interval of ribbon's probes, so that each of them can be answered.
    expire_ms = own.choice([one for one in (500, 2000, 5000, 9000) if one > schedule_ms[-1]])
    hold_s, failures = own.choice([5, 10, 30, 60, 180, 3600]), own.randint(1, 5)
    stages = base.hold_down.stages
    if base.name == "fixed-hold-down":
        stages = (replace(stages[0], failures=failures, length_ns=hold_s * SECOND),)
    elif len(stages) > 1:
        short_ns = min(hold_s, 60) * SECOND
        longer = replace(stages[1], length_ns=5 * short_ns, failures=failures + 1)
        stages = (replace(stages[0], length_ns=short_ns), longer)
    elif stages:
        stages = (replace(stages[0], failures=failures),)
    profile = changed(
        base,
        schedule_ms=schedule_ms,
        expire_ms=expire_ms,
        stages=stages,
        end_resets=own.random() < 0.5,
    )
    apart_ms = max(expire_ms + own.choice([300, 1000, 4000]), hold_s * 1000 // 60)
    return profile, apart_ms * MS


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_an_sbc_does_nothing_untrue_is_inferred(seed: int) -> None:
    """Other time-outs, schedules, hold-downs from 5 s to an hour, 1 to 5 failures."""
    profile, every_ns = some_profile(seed)
    wire = run(profile, whole(profile, every_ns), seed=seed)
    found = inferred(wire)

    assert untrue(found, profile) == []
    assert known(found) >= {"retransmission.expire_ns", "retransmission.schedule_ns"}
    assert judged_by_its_own(wire, found) == []


def steady(profile: Profile, calls: int = 30, size: int = 3) -> Inference:
    """Return what is inferred of calls to servers that all answer."""
    script = Drill()
    script.call(calls, 2 * SECOND)
    return inferred(run(profile, script, size=size))


def test_without_an_outage_no_time_is_known() -> None:
    """Turns and EDNS show; time-out, schedule, hold-down and reactions are unknown, with a deed."""
    found = steady(shipped_profile("fixed-hold-down"))
    open_ = {one.path: one for one in found.values if not one.known}

    assert known(found) == {
        "selection.method",
        "retransmission.port_per",
        "edns.udp_payload_bytes",
        "edns.source_sent",
    }
    assert open_["hold_down.stages"].value is None
    assert "longer than the hold-down" in open_["hold_down.stages"].provoke
    assert all(one.provoke for one in open_.values())
    assert {one.value for one in open_.values() if one.path.startswith("reactions.")} == {None}


def test_what_was_not_seen_is_unknown_in_the_profile() -> None:
    """The written profile lists it, with values of the plan's profile."""
    profile = profile_of(steady(shipped_profile("fixed-hold-down")))

    assert profile.source_of("hold_down.stages.0.length_ns") is None
    assert profile.source_of("retransmission.expire_ns") is None
    assert profile.source_of("all_down") is None
    assert "inferred from sbc.pcap frames" in (profile.source_of("selection.method") or "")


def test_one_server_shows_nothing_of_the_choice() -> None:
    """With nobody to choose among, turns, hunting and weights look the same."""
    found = steady(shipped_profile("fixed-hold-down"), size=1)

    assert not found.value("selection.method").known


def test_all_calls_to_the_first_server_are_hunting_or_no_memory() -> None:
    """While no server fails the two cannot be told apart: both are named."""
    found = steady(shipped_profile("oracle-hunt")).value("selection.method")

    assert not found.known
    assert "hunt or list-order" in found.seen


def test_servers_that_are_never_asked_are_told_of() -> None:
    """They may be held since before the capture, or not captured."""
    found = steady(shipped_profile("oracle-hunt"))

    assert any("enum2, enum3: never asked" in note for note in found.notes)


def test_a_capture_that_begins_in_a_hold_down_gives_no_length_for_it() -> None:
    """Nobody saw when it began; the turns of the two others are still seen."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.down(NAMES[:1], 20 * SECOND, 2 * SECOND)
    script.call(40, 2 * SECOND)
    wire = run(profile, script)
    wire.taps["sbc"] = [one for one in wire.taps["sbc"] if one.at_ns > 12 * SECOND]
    found = inferred(wire)

    assert untrue(found, profile) == []
    assert not found.value("hold_down.stages.0.length_ns").known


def test_weights_are_measured_where_there_are_no_turns() -> None:
    """Two to one to one: proportional, with these weights."""
    base = shipped_profile("fixed-hold-down")
    rules = SelectionRules(Selection.PROPORTIONAL, False, False, (2, 1, 1))
    profile = at_will(base, selection=rules)
    found = steady(profile, calls=200)

    assert found.value("selection.method").value is Selection.PROPORTIONAL
    assert found.value("selection.weights").value == (2, 1, 1)


def test_a_turn_that_slips_now_and_then_is_no_strict_rotation() -> None:
    """One wrong turn in 20: in the long run the same for each, and the words say how many."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.call(200, 2 * SECOND)
    wire = run(profile, script, drift_every=20)
    told = inferred(wire)
    found = told.value("selection.method")

    assert found.value is Selection.PROPORTIONAL
    assert "9 of 199 choices out of turn" in found.seen
    assert "  selection.weights                  all the same" in set(lines(told))


def test_servers_named_in_another_order_are_found_out() -> None:
    """The order of the turns is told, so that --servers can be put right."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.call(30, 2 * SECOND)
    wire = run(profile, script)
    servers = {at: name for name, at in reversed(wire.sbc.config.servers.items())}
    (found,) = infer(read_unknown(wire.captures(Vantage.SBC), servers))

    assert "in the order enum3, enum1, enum2" in found.value("selection.method").seen


def test_an_sbc_that_asks_held_servers_rather_than_nobody_is_seen() -> None:
    """All are down: questions come before any hold-down is over."""
    base = shipped_profile("fixed-hold-down")
    profile = at_will(base, all_down=AllDown.ASK_ANYWAY)
    script = whole(profile, 3 * SECOND)
    script.down(NAMES[:3], 60 * SECOND, 7 * SECOND)
    script.call(30, 3 * SECOND)
    found = inferred(run(profile, script))

    assert untrue(found, profile) == []
    assert found.value("all_down").value is AllDown.ASK_ANYWAY


def test_all_servers_down_says_nothing_of_a_call_that_goes_on_or_fails() -> None:
    """DNS does not show what becomes of a call: fail-open is not claimed."""
    profile = shipped_profile("fixed-hold-down")
    script = whole(profile, 3 * SECOND)
    script.down(NAMES[:3], 20 * SECOND, 7 * SECOND)
    script.call(30, 3 * SECOND)
    found = inferred(run(profile, script))

    assert untrue(found, profile) == []
    assert not found.value("all_down").known


def test_the_first_live_server_takes_the_share_of_the_second() -> None:
    """Servers 1 and 3 are asked in turn; the share of 2 goes to 1, where the next would be 3."""
    base = shipped_profile("oracle-round-robin")
    stage = Stage(1, False, 0, 60 * SECOND, Share.FIRST_LIVE)
    profile = changed(base, stages=(stage,))
    found = inferred(run(profile, whole(profile, 12 * SECOND)))

    assert untrue(found, profile) == []
    assert found.value("hold_down.stages.0.share").value is Share.FIRST_LIVE
    assert found.value("hold_down.stages.0.share").known


@pytest.mark.parametrize("scope", list(IdScope))
def test_for_how_long_an_id_is_kept_is_measured(scope: IdScope) -> None:
    """Per send, server, call or always."""
    base = shipped_profile("fixed-hold-down")
    profile = at_will(base, retransmission=replace(base.retransmission, id_per=scope))
    found = inferred(run(profile, whole(profile, 4 * SECOND)))

    assert untrue(found, profile) == []


def test_every_reaction_that_a_drill_provokes_is_told_as_it_is() -> None:
    """Each rcode, garbled, another id or question, TC, late, windows of failures, all of them."""
    profile = shipped_profile("ribbon")
    plan = drill(profile)
    wire = wired(sbc(config(profile)), plan.world)
    plan.put_into(wire).run()
    found = inferred(wire)
    then = {one: found.value(f"reactions.{one}.then") for one in Event}

    assert untrue(found, profile) == []
    assert {one for one in Event if not then[one].known} == {Event.FORMERR}  # no EDNS to leave out
    assert then[Event.SERVFAIL].value is Then.NEXT_SERVER
    assert then[Event.TRUNCATED].value is Then.TCP
    window = found.value("hold_down.stages.0.window_ns")
    assert (window.low or 0) < 180 * SECOND <= (window.high or 0)


@pytest.mark.parametrize("name", ["fixed-hold-down", "libc", "oracle-hunt"])
def test_captures_at_the_servers_show_less_and_nothing_untrue(name: str) -> None:
    """Three taps whose clocks are up to a minute apart: what they may hide is unknown."""
    profile = shipped_profile(name)
    script = whole(profile, EVERY_S[name] * SECOND)
    wire = run(profile, script, seed=3)
    wire.clocks = {"enum1": 0, "enum2": 41 * SECOND, "enum3": -17 * SECOND}
    found = inferred(wire, Vantage.SERVERS)

    assert untrue(found, profile) == []
    assert "edns.udp_payload_bytes" in known(found)


def test_clocks_that_are_told_make_three_captures_as_good_as_one() -> None:
    """--clock: the turns and the time-out are known again."""
    profile = shipped_profile("fixed-hold-down")
    wire = run(profile, whole(profile, 3 * SECOND))
    wire.clocks = {"enum1": 0, "enum2": 41 * SECOND, "enum3": -17 * SECOND}
    servers = {at: name for name, at in wire.sbc.config.servers.items()}
    ahead_ns = {f"{tap}.pcap": ahead for tap, ahead in wire.clocks.items()}
    (found,) = infer(read_unknown(wire.captures(Vantage.SERVERS), servers, ahead_ns=ahead_ns))

    assert untrue(found, profile) == []
    assert known(found) >= {"selection.method", "retransmission.expire_ns"}


def test_two_sbcs_are_measured_apart_and_a_third_is_refused() -> None:
    """Each address is one SBC; one that asked nothing is named with those that did."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.call(12, 2 * SECOND)
    wire = run(profile, script)
    servers = {at: name for name, at in wire.sbc.config.servers.items()}
    table = read_unknown(wire.captures(Vantage.SBC), servers)

    assert [one.client for one in infer(table)] == ["192.0.2.10"]
    with pytest.raises(InputError, match=r"192\.0\.2\.10"):
        infer(table, client="192.0.2.99")


def test_a_profile_can_be_called_as_its_file() -> None:
    """Whatever a file is called, the name is one that a profile may have."""
    found = steady(shipped_profile("fixed-hold-down"))

    assert profile_of(found, name="Our SBC (1)").name == "our-sbc-1"
    assert profile_of(found, name="§").name == "inferred"


def test_calls_that_died_are_not_joined_to_the_next_calls_of_their_numbers() -> None:
    """Numbers come again after 100 s, and all servers were silent: the time-out is still 2 s."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.call(60, SECOND)
    script.down(NAMES[:3], 32 * SECOND, SECOND)
    script.call(107, SECOND)
    found = inferred(run(profile, script, numbers_in_use=100))
    expire = found.value("retransmission.expire_ns")

    assert untrue(found, profile) == []
    assert expire.known
    assert expire.value == 2 * SECOND
    assert found.value("selection.method").value is Selection.ROUND_ROBIN


@pytest.mark.parametrize("takes_turn", [True, False])
def test_a_failover_and_a_call_of_one_instant_have_no_order(takes_turn: bool) -> None:
    """Two servers, calls at whole seconds as time-outs are: no reading is refused for their order.

    With three servers the turns behind them show which it is.
    """
    base = shipped_profile("fixed-hold-down")
    rules = replace(base.selection, failover_takes_turn=takes_turn)
    profile, script = at_will(base, selection=rules), Drill()
    script.call(30, SECOND)
    script.down(NAMES[:1], 50 * SECOND, SECOND)
    script.call(60, SECOND)
    two, three = (inferred(run(profile, script, size=size)) for size in (2, 3))

    assert untrue(two, profile) == []
    assert not two.value("selection.failover_takes_turn").known
    assert three.value("selection.failover_takes_turn").value is takes_turn


def test_an_error_after_which_a_number_is_soon_called_again_fits_the_end_of_the_call() -> None:
    """Nothing follows at once; the same question 1 s later may be another call: not measured."""
    base = shipped_profile("oracle-hunt")
    script = Drill()
    script.down(NAMES[:1], 12 * SECOND, SECOND, "SERVFAIL")
    found = inferred(run(base, script, numbers_in_use=1))
    then = found.value("reactions.SERVFAIL.then")

    assert then.value is base.reactions[Event.SERVFAIL].then
    assert not then.known
    assert "but the number was asked for again" in then.seen
    assert "called once" in then.provoke


def test_what_one_capture_shows_is_measured_by_its_own_clock() -> None:
    """Three taps, clocks unknown: failure and return are in one of them."""
    profile, script = shipped_profile("fixed-hold-down"), Drill()
    script.call(12, 3 * SECOND)
    script.down(NAMES[:1], 3 * SECOND - 1, 3 * SECOND)
    script.call(60, SECOND)
    wire = run(profile, script)
    wire.clocks = {"enum1": 0, "enum2": 41 * SECOND, "enum3": -17 * SECOND}
    found = inferred(wire, Vantage.SERVERS)
    length = found.value("hold_down.stages.0.length_ns")

    assert untrue(found, profile) == []
    assert not length.known
    assert length.high is not None
    assert 30 * SECOND <= length.high < 60 * SECOND
    assert length.seen.startswith("asked at ")
