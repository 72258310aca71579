"""Whether a tap can be trusted to bonded capture ports: what the kernel would discard, and why.

Laws: a state that was not read live in this run is never PASS and never FAIL; a mode is judged by
what the kernel would discard in it; what a source did not say is OTHER, in words.

Source: bond_handle_frame() in Linux's drivers/net/bonding/bond_main.c discards what arrives on an
inactive port, in balance-alb only the broadcast and multicast of it; the option
all_slaves_active=1 leaves no port inactive.
"""

from collections.abc import Iterable
from dataclasses import replace

from harness.finding import Finding, Outcome
from probetest.taps.bond_state import (
    BondSlave,
    BondState,
    Mode,
    Source,
    combine,
    from_netlink,
    parse_proc,
)

__all__ = (
    "BondSlave",
    "BondState",
    "Mode",
    "Source",
    "combine",
    "from_netlink",
    "judge",
    "judge_steady",
    "parse_proc",
)

_WHOLE_MODES = (Mode.BALANCE_RR, Mode.BALANCE_XOR, Mode.BROADCAST)
_GOOD_MODE = "balance-rr, balance-xor or broadcast; any other with all_slaves_active 1, or 802.3ad"
_GOOD_MODE += " with every port in the active aggregator"


def judge(state: BondState | None, expected_ports: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return a finding for each rule of a tap's bond; None: a live look found no such bond.

    Rules: bond.exists, bond.ports, bond.link, bond.mode, bond.miimon, bond.arp-monitoring,
    bond.speed; bond.sources when two sources do not agree.
    """
    if state is None:
        why = "no bond of that name on this host"
        return (Finding("bond.exists", Outcome.FAIL, "a bond", why),)
    ports = _watched(state, expected_ports)
    found = [
        Finding("bond.exists", Outcome.PASS, "a bond", f"{state.name}, mode {state.mode}"),
        _ports(state, expected_ports),
        _link(state, ports),
        _mode(state),
        _miimon(state),
        _arp(state),
        _speed(ports),
    ]
    if state.disagreements:
        told = "; ".join(state.disagreements)
        found.append(Finding("bond.sources", Outcome.OTHER, "all sources say the same", told))
    return tuple(found) if state.observed_live else tuple(map(_recorded, found))


def judge_steady(before: BondState, after: BondState) -> Finding:
    """Return whether the bond stayed the same between two looks: members, links, activity."""
    changes = []
    was = {slave.name: slave for slave in before.slaves}
    now = {slave.name: slave for slave in after.slaves}
    changes += [f"{name} has left" for name in was if name not in now]
    changes += [f"{name} has joined" for name in now if name not in was]
    for name in was.keys() & now.keys():
        downs = now[name].failure_count - was[name].failure_count
        if downs:  # below zero: the bond was made anew, and counts from 0
            changes.append(f"{name} counts {downs:+d} link failures")
        if now[name].up != was[name].up:
            changes.append(f"{name} went {'up' if now[name].up else 'down'}")
    if before.active_slave != after.active_slave:
        changes.append(f"active was {before.active_slave}, is {after.active_slave}")
    outcome = Outcome.FAIL if changes else Outcome.PASS
    told = "; ".join(sorted(changes)) or "no change"
    found = Finding("bond.steady", outcome, "no port goes down or up during the run", told)
    return found if before.observed_live and after.observed_live else _recorded(found)


def _recorded(finding: Finding) -> Finding:
    """Return a finding that neither passes nor fails: nobody looked at the host in this run."""
    observed = f"recorded, not seen in this run: {finding.observed}"
    return replace(finding, outcome=Outcome.OTHER, observed=observed)


def _watched(state: BondState, expected_ports: tuple[str, ...]) -> tuple[BondSlave, ...]:
    """Return the expected ports that are there; every port when none is named."""
    return tuple(s for s in state.slaves if not expected_ports or s.name in expected_ports)


def _ports(state: BondState, expected_ports: tuple[str, ...]) -> Finding:
    names = tuple(slave.name for slave in state.slaves)
    missing = [name for name in expected_ports if name not in names]
    strangers = [name for name in names if name not in expected_ports]
    expected = f"ports {_and(expected_ports)}" if expected_ports else "ports that are named"
    observed = f"ports {_and(names)}"
    outcome = Outcome.PASS
    if missing:
        outcome, observed = Outcome.FAIL, f"{observed}; {_and(missing)} not among them"
    elif not expected_ports:
        outcome, observed = Outcome.OTHER, f"{observed}; no port was named to expect"
    elif strangers:
        outcome, observed = Outcome.OTHER, f"{observed}; nobody expected {_and(strangers)}"
    return Finding("bond.ports", outcome, expected, observed)


def _link(state: BondState, ports: tuple[BondSlave, ...]) -> Finding:
    down = [slave.name for slave in ports if not slave.up]
    down += [] if state.up else [state.name]
    rule, expected = "bond.link", "the bond and its ports are up"
    if down:
        return Finding(rule, Outcome.FAIL, expected, f"down: {_and(down)}")
    if not ports:
        return Finding(rule, Outcome.OTHER, expected, "no port to look at")
    return Finding(rule, Outcome.PASS, expected, f"up: {_and(s.name for s in ports)}")


def _mode(state: BondState) -> Finding:
    mode, rule = state.mode, "bond.mode"
    if not state.slaves:
        return Finding(rule, Outcome.OTHER, _GOOD_MODE, f"mode {mode}, without a port")
    if mode in _WHOLE_MODES or state.all_slaves_active:
        option = "" if mode in _WHOLE_MODES else ", all_slaves_active 1"
        observed = f"mode {mode}{option}: what arrives on any port is passed on"
        return Finding(rule, Outcome.PASS, _GOOD_MODE, observed)
    if mode is Mode.LACP and state.active_aggregator is None:
        return Finding(rule, *_untold_aggregator(state))
    lost = _lost(state)
    if not lost:
        return Finding(rule, Outcome.PASS, _GOOD_MODE, f"mode {mode}: no port is inactive")
    what = f"what arrives on {_and(lost)}"
    outcome = Outcome.FAIL
    if mode is Mode.BALANCE_ALB:
        outcome, what = Outcome.OTHER, f"the broadcast and multicast of {what}; calls pass"
    observed = f"in mode {mode} the kernel discards {what}"
    if state.all_slaves_active is None:
        outcome, observed = Outcome.OTHER, f"{observed}, unless all_slaves_active is 1 (not told)"
    return Finding(rule, outcome, _GOOD_MODE, observed)


def _lost(state: BondState) -> tuple[str, ...]:
    """Return the ports of which the kernel discards what arrives."""
    if state.mode is not Mode.LACP:
        return tuple(slave.name for slave in state.slaves if not slave.active)
    active = state.active_aggregator
    inside = {slave.name for slave in state.slaves if slave.aggregator_id == active}
    idle = {slave.name for slave in state.slaves if slave.active is False}
    return tuple(s.name for s in state.slaves if s.name not in inside or s.name in idle)


def _untold_aggregator(state: BondState) -> tuple[Outcome, str, str]:
    """Return what is known without the active aggregator, which is shown to CAP_NET_ADMIN only."""
    numbers = {slave.aggregator_id for slave in state.slaves}
    if len(numbers) <= 1:
        return Outcome.OTHER, _GOOD_MODE, "the active aggregator is not told: look again as root"
    shown = _and(f"{slave.name} in {slave.aggregator_id}" for slave in state.slaves)
    observed = f"in mode 802.3ad the kernel discards all but one aggregator's frames: {shown}"
    outcome = Outcome.OTHER if state.all_slaves_active is None else Outcome.FAIL
    return outcome, _GOOD_MODE, observed


def _miimon(state: BondState) -> Finding:
    outcome = Outcome.PASS if state.miimon_ms else Outcome.FAIL
    observed = f"every {state.miimon_ms} ms" if state.miimon_ms else "0: a dead port is not noticed"
    return Finding("bond.miimon", outcome, "the link of each port is watched", observed, "ms")


def _arp(state: BondState) -> Finding:
    rule, expected = "bond.arp-monitoring", "off: a span port answers no ARP"
    if not state.arp_interval_ms:
        return Finding(rule, Outcome.PASS, expected, "off")
    observed = f"every {state.arp_interval_ms} ms: ports without answers are taken down, and flap"
    return Finding(rule, Outcome.FAIL, expected, observed, "ms")


def _speed(ports: tuple[BondSlave, ...]) -> Finding:
    rule, expected = "bond.speed", "one speed, full duplex"
    shown = [(s.name, s.speed_mbps, s.duplex) for s in ports]
    told = [f"{name} {speed or 'unknown'} {duplex or 'unknown'}" for name, speed, duplex in shown]
    outcome = Outcome.PASS
    if any(duplex == "half" for _, _, duplex in shown) or len({s for _, s, _ in shown if s}) > 1:
        outcome = Outcome.FAIL
    elif not ports or any(speed is None or duplex is None for _, speed, duplex in shown):
        outcome = Outcome.OTHER
    return Finding(rule, outcome, expected, ", ".join(told) or "no port to look at", "Mbps")


def _and(names: Iterable[str]) -> str:
    """Join names for people.

    >>> _and(["eth5", "eth6", "eth7"])
    'eth5, eth6 and eth7'
    """
    *most, last = tuple(names) or ("none",)
    return f"{', '.join(most)} and {last}" if most else last
