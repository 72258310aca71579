"""Bonds in words: what /proc and netlink say, and what a tap would lose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.finding import Finding, Outcome
from probetest.taps.bond import (
    BondSlave,
    BondState,
    Mode,
    Source,
    combine,
    from_netlink,
    judge,
    judge_steady,
    parse_proc,
)

TEXTS = Path(__file__).parents[2] / "fixtures" / "hosts" / "bonding"
PORTS = ("eth6", "eth7")
EXPECTED = {  # every text, and the outcome of each rule if it were live: P, F or O
    "linux2632-no-speed": "PPPPPPO",
    "linux61-balance-alb": "PPFOPPF",
    "linux61-balance-rr": "PPPPPPP",
    "linux61-broadcast-no-ports": "PFFOFPO",
    "linux61-lacp-both": "PPPPPPP",
    "linux61-lacp-no-aggregator": "PPFOPPO",
    "linux61-lacp-not-root": "PPPOPPP",
    "linux61-lacp-second-not-collecting": "PPPOPPP",
    "rhel6-active-backup-arp": "PPFOFFP",
    "rhel6-balance-rr": "PPPPPPP",
    "rhel7-active-backup-port-down": "PFOOPPO",
    "rhel7-lacp-no-partner": "PPPOPPP",
}
RULES = ("exists", "ports", "link", "mode", "miimon", "arp-monitoring", "speed")


def recorded(name: str) -> BondState:
    path = TEXTS / f"{name}.txt"
    return parse_proc(path.read_text(encoding="utf-8"), str(path))


def live(name: str) -> BondState:
    return replace(recorded(name), observed_live=True)


def rule(findings: Sequence[Finding], name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.rule == f"bond.{name}")
    return found


def good(mode: Mode = Mode.BALANCE_RR, **changes: object) -> BondState:
    """Return a live bond in which nothing is wrong but, perhaps, its mode."""
    slaves = tuple(
        BondSlave(name, up=True, failure_count=0, permanent_mac="", speed_mbps=1000, duplex="full")
        for name in PORTS
    )
    state = BondState("bond0", mode, True, 100, 0, slaves, Source.NETLINK, observed_live=True)
    return replace(state, all_slaves_active=False, **changes)  # type: ignore[arg-type]


def test_every_text_is_expected() -> None:
    """No recorded text lies about unread."""
    assert {path.stem for path in TEXTS.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_text_is_judged_by_every_rule(name: str) -> None:
    """Each text, taken as live, passes and fails just where it should."""
    findings = judge(live(name), PORTS)

    assert tuple(finding.rule.removeprefix("bond.") for finding in findings) == RULES
    assert "".join(finding.outcome[0] for finding in findings) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_text_never_passes_and_never_fails(name: str) -> None:
    """What was not seen in this run is OTHER, and says so."""
    findings = judge(recorded(name), PORTS)

    assert {finding.outcome for finding in findings} == {Outcome.OTHER}
    assert all(finding.observed.startswith("recorded, not seen") for finding in findings)


def test_rhel6_text_gives_every_value() -> None:
    """A text of RHEL 6 with all its odd lines is read whole."""
    assert recorded("rhel6-active-backup-arp") == BondState(
        name="rhel6-active-backup-arp",
        mode=Mode.ACTIVE_BACKUP,
        up=True,
        miimon_ms=0,
        arp_interval_ms=1000,
        slaves=(
            BondSlave("eth6", True, 14, "00:00:5e:00:53:06", 1000, "full", active=True),
            BondSlave("eth7", False, 15, "00:00:5e:00:53:07", 1000, "full", active=False),
        ),
        source=Source.PROC,
        observed_live=False,
        active_slave="eth6",
    )


def test_root_text_of_lacp_gives_aggregators_and_collecting() -> None:
    """The port state's bit 4 says whether frames of a port pass already (IEEE 802.1AX)."""
    state = recorded("linux61-lacp-second-not-collecting")

    assert (state.active_aggregator, state.all_slaves_active) == (1, None)
    assert [(s.aggregator_id, s.active) for s in state.slaves] == [(1, True), (1, False)]


def test_text_without_an_aggregator_says_so() -> None:
    """No aggregator is not the same as one that is not shown."""
    assert recorded("linux61-lacp-no-aggregator").active_aggregator == 0
    assert recorded("linux61-lacp-not-root").active_aggregator is None


def test_no_bond_fails_in_words() -> None:
    """A live look that finds no bond is a FAIL, and the only finding."""
    (finding,) = judge(None, PORTS)

    assert (finding.rule, finding.outcome) == ("bond.exists", Outcome.FAIL)
    assert finding.observed == "no bond of that name on this host"


@pytest.mark.parametrize("mode", [Mode.BALANCE_RR, Mode.BALANCE_XOR, Mode.BROADCAST])
def test_mode_that_passes_all_on_passes(mode: Mode) -> None:
    """In three modes no port is ever inactive."""
    assert rule(judge(good(mode), PORTS), "mode").outcome is Outcome.PASS


def netlink(mode: int, active: int | None, **more: int) -> BondState:
    """Return what the kernel says of two ports, 6 and 7, in one of its seven modes."""
    bond = {
        "ifname": "bond0",
        "index": 9,
        "up": 1,
        "IFLA_BOND_MODE": mode,
        "IFLA_BOND_MIIMON": 100,
        "IFLA_BOND_ARP_INTERVAL": 0,
        "IFLA_BOND_ALL_SLAVES_ACTIVE": 0,
        "IFLA_BOND_ACTIVE_SLAVE": active,
        **more,
    }
    slaves = [
        {
            "ifname": f"eth{index}",
            "index": index,
            "IFLA_BOND_SLAVE_STATE": 0,
            "IFLA_BOND_SLAVE_MII_STATUS": 0,
            "IFLA_BOND_SLAVE_LINK_FAILURE_COUNT": 0,
            "IFLA_BOND_SLAVE_PERM_HWADDR": f"00:00:5e:00:53:0{index}",
            "IFLA_BOND_SLAVE_AD_AGGREGATOR_ID": index - 5,
        }
        for index in (6, 7)
    ]
    return from_netlink(bond, slaves, observed_live=True)


@pytest.mark.parametrize(
    ("mode", "name"), [(1, "active-backup"), (4, "802.3ad"), (5, "balance-tlb")]
)
def test_unfit_mode_names_what_it_loses(mode: int, name: str) -> None:
    """The finding says which port's frames the kernel discards."""
    state = netlink(mode, 6, IFLA_BOND_AD_INFO_AGGREGATOR=1)

    finding = rule(judge(state, PORTS), "mode")

    assert finding.outcome is Outcome.FAIL
    assert finding.observed == f"in mode {name} the kernel discards what arrives on eth7"


def test_balance_alb_loses_broadcast_only() -> None:
    """Calls are unicast, and pass; so it is not a FAIL, and not a PASS."""
    finding = rule(judge(netlink(6, 6), PORTS), "mode")

    assert finding.outcome is Outcome.OTHER
    assert "broadcast and multicast of what arrives on eth7; calls pass" in finding.observed


@pytest.mark.parametrize("mode", range(7))
def test_all_slaves_active_makes_any_mode_fit(mode: int) -> None:
    """With that option no port is inactive."""
    state = netlink(mode, 6, IFLA_BOND_ALL_SLAVES_ACTIVE=1)

    assert rule(judge(state, PORTS), "mode").outcome is Outcome.PASS


def test_lacp_with_both_ports_in_the_active_aggregator_passes() -> None:
    """802.3ad is fit only so."""
    state = netlink(4, None, IFLA_BOND_AD_INFO_AGGREGATOR=1)
    both = replace(state, slaves=tuple(replace(s, aggregator_id=1) for s in state.slaves))

    assert rule(judge(both, PORTS), "mode").outcome is Outcome.PASS


def test_lacp_without_any_aggregator_loses_all() -> None:
    """Netlink sends no aggregator when none is active: nothing is passed on."""
    finding = rule(judge(netlink(4, None), PORTS), "mode")

    assert finding.outcome is Outcome.FAIL
    assert finding.observed.endswith("discards what arrives on eth6 and eth7")


def test_missing_port_fails_and_stranger_does_not_pass() -> None:
    """The expected ports must be members; others are nobody's guess."""
    missing = rule(judge(good(), ("eth6", "eth8")), "ports")
    stranger = rule(judge(good(), ("eth6",)), "ports")
    unnamed = rule(judge(good(), ()), "ports")

    assert (missing.outcome, "eth8 not among them" in missing.observed) == (Outcome.FAIL, True)
    assert (stranger.outcome, "expected eth7" in stranger.observed) == (Outcome.OTHER, True)
    assert unnamed.outcome is Outcome.OTHER


def test_bond_itself_may_be_down() -> None:
    """Ports with a link in a bond without one carry nothing."""
    assert rule(judge(good(up=False), PORTS), "link").observed == "down: bond0"


def test_arp_monitoring_fails_on_a_span_port() -> None:
    """Nobody answers ARP on a span port, so its link would be taken down."""
    finding = rule(judge(good(arp_interval_ms=500), PORTS), "arp-monitoring")

    assert finding.outcome is Outcome.FAIL
    assert finding.observed.startswith("every 500 ms")


@pytest.mark.parametrize(
    ("speed_mbps", "duplex", "outcome"),
    [
        (1000, "full", Outcome.PASS),
        (1000, "half", Outcome.FAIL),
        (100, "full", Outcome.FAIL),
        (None, None, Outcome.OTHER),
        (None, "half", Outcome.FAIL),
    ],
)
def test_speed_is_one_and_full_duplex(
    speed_mbps: int | None, duplex: str | None, outcome: Outcome
) -> None:
    """Ports of unlike speed or half duplex fail; an unknown speed is unknown."""
    state = good()
    second = replace(state.slaves[1], speed_mbps=speed_mbps, duplex=duplex)

    assert rule(
        judge(replace(state, slaves=(state.slaves[0], second)), PORTS), "speed"
    ).outcome is (outcome)


def test_flap_between_two_looks_is_found() -> None:
    """A port that went down and came back has a higher count."""
    before = good()
    flapped = replace(before.slaves[1], failure_count=2)
    after = replace(before, slaves=(before.slaves[0], flapped))

    assert judge_steady(before, before).outcome is Outcome.PASS
    assert judge_steady(before, after).observed == "eth7 counts +2 link failures"
    assert judge_steady(before, replace(after, observed_live=False)).outcome is Outcome.OTHER


def test_members_and_activity_may_not_change_between_two_looks() -> None:
    """Ports that leave or join, links that change, and another active port are all named."""
    before = good(Mode.ACTIVE_BACKUP, active_slave="eth6")
    other = replace(before.slaves[1], name="eth8")
    after = replace(
        before, slaves=(replace(before.slaves[0], up=False), other), active_slave="eth8"
    )

    assert judge_steady(before, after).observed == (
        "active was eth6, is eth8; eth6 went down; eth7 has left; eth8 has joined"
    )


def test_second_source_fills_and_contradicts() -> None:
    """What only /proc tells is taken; what the two tell differently is a finding."""
    proc = live("rhel6-balance-rr")
    state = combine(netlink(0, None), proc)
    disputed = combine(netlink(0, None), replace(proc, miimon_ms=50, slaves=proc.slaves[:1]))

    assert [s.speed_mbps for s in state.slaves] == [1000, 1000]
    assert (state.source, state.disagreements) == (Source.NETLINK, ())
    assert {f.outcome for f in judge(state, PORTS)} == {Outcome.PASS}
    assert disputed.disagreements == (
        "bond0: miimon_ms is 100 or 50",
        "eth7 is a port to netlink only",
    )
    assert rule(judge(disputed, PORTS), "sources").outcome is Outcome.OTHER


@pytest.mark.parametrize(
    ("was", "becomes", "field"),
    [
        ("MII Status: up\nSpeed", "MII Status: sideways\nSpeed", "MII Status"),
        ("Link Failure Count: 0\n", "", "Link Failure Count"),
        ("Link Failure Count: 0", "Link Failure Count: many", "Link Failure Count"),
        ("round-robin", "round robin", "Bonding Mode"),
        ("Duplex: full", "Duplex: fool", "Duplex"),
        ("1000 Mbps", "1000 Mb", "Speed"),
        ("eth7", "eth6", "rhel6-balance-rr"),
        ("Up Delay (ms): 0", "Up Delay (ms): 0\nUp Delay (ms): 0", "Up Delay (ms)"),
    ],
)
def test_text_with_a_bad_line_is_refused_by_name(was: str, becomes: str, field: str) -> None:
    """Nothing is guessed: the line is named."""
    text = (TEXTS / "rhel6-balance-rr.txt").read_text(encoding="utf-8")
    assert was in text

    with pytest.raises(InputError) as refused:
        parse_proc(text.replace(was, becomes), "rhel6-balance-rr.txt")

    assert refused.value.field == field


@pytest.mark.parametrize("text", ["", "\n", "bond0: no such file", "Bonding Mode: x\n"])
def test_other_text_is_refused(text: str) -> None:
    """What is not a text of /proc/net/bonding is not read as one."""
    with pytest.raises(InputError, match="does not begin"):
        parse_proc(text, "bond0")


@pytest.mark.parametrize("shown", ["65535 Mbps", "4294967295 Mbps", "-1 Mbps", "0 Mbps"])
def test_old_spellings_of_unknown_speed_are_unknown(shown: str) -> None:
    """Kernels before "Unknown" printed -1 in the width of their field."""
    text = (TEXTS / "rhel6-balance-rr.txt").read_text(encoding="utf-8")

    state = parse_proc(text.replace("1000 Mbps", shown), "bond0")

    assert [slave.speed_mbps for slave in state.slaves] == [None, None]


@pytest.mark.parametrize("mode", [7, 255])
def test_unknown_mode_of_netlink_is_refused(mode: int) -> None:
    """A mode of a later kernel is not judged as one of today's."""
    with pytest.raises(InputError, match="IFLA_BOND_MODE"):
        netlink(mode, None)


def test_netlink_without_an_attribute_is_refused() -> None:
    """An attribute that is missing has no default."""
    with pytest.raises(InputError, match="IFLA_BOND_MODE: missing"):
        from_netlink({"ifname": "bond0", "up": 1}, [], observed_live=True)
