"""The state of bonded capture ports, as Linux tells it in /proc and over netlink.

Laws: what a source does not say is None, never a default; a text in which a line is missing,
doubled or not understood gives no state at all. `probetest.taps.bond` is the door to this module.

Sources: Linux drivers/net/bonding/bond_procfs.c (2.6.32 of RHEL 6, 3.10 of RHEL 7, 6.x) and
bond_netlink.c.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar, assert_never

from harness.errors import InputError

Values = Mapping[str, int | str | None]  # of netlink attributes, by their names


class Mode(StrEnum):
    """The bonding modes, by the names of the option `mode`, in the order of their numbers."""

    BALANCE_RR = "balance-rr"
    ACTIVE_BACKUP = "active-backup"
    BALANCE_XOR = "balance-xor"
    BROADCAST = "broadcast"
    LACP = "802.3ad"
    BALANCE_TLB = "balance-tlb"
    BALANCE_ALB = "balance-alb"


class Source(StrEnum):
    """Where a state was read."""

    NETLINK = "netlink"
    PROC = "proc"
    SYSFS = "sysfs"


@dataclass(frozen=True, slots=True)
class BondSlave:
    """One member port."""

    name: str
    up: bool  # MII status "up"; on its way up or down is not up
    failure_count: int  # times the link went down
    permanent_mac: str
    speed_mbps: int | None = None
    duplex: str | None = None  # full or half
    aggregator_id: int | None = None  # 802.3ad
    active: bool | None = None  # the kernel passes on what arrives here


@dataclass(frozen=True, slots=True)
class BondState:
    """A bond and its ports at one moment."""

    name: str
    mode: Mode
    up: bool
    miimon_ms: int
    arp_interval_ms: int
    slaves: tuple[BondSlave, ...]
    source: Source
    observed_live: bool
    all_slaves_active: bool | None = None
    active_slave: str | None = None  # of the modes that have one
    active_aggregator: int | None = None  # 802.3ad; 0: there is none
    disagreements: tuple[str, ...] = ()  # between two sources

    def __post_init__(self) -> None:
        """Refuse a port that is named twice."""
        names = [slave.name for slave in self.slaves]
        if len(set(names)) < len(names):
            raise InputError("a port is named twice", field=self.name, value=names)


_WORDS = dict(
    zip(
        (
            "load balancing (round-robin)",
            "fault-tolerance (active-backup)",
            "load balancing (xor)",
            "fault-tolerance (broadcast)",
            "IEEE 802.3ad Dynamic link aggregation",
            "transmit load balancing",
            "adaptive load balancing",
        ),
        Mode,
        strict=True,
    )
)
_MII = {"up": True, "down": False, "going down": False, "going back": False, "unknown": False}
_NO_SPEED = (0, 0xFFFF, 0xFFFF_FFFF)  # how kernels before "Unknown" wrote it
_COLLECTING = 0x10  # in a port's LACP state (IEEE 802.1AX): frames from it are passed on
_BANNER = "Ethernet Channel Bonding Driver:"
_FIX = "give the whole text of /proc/net/bonding/NAME"


def parse_proc(text: str, file: str, *, observed_live: bool = False) -> BondState:
    """Return the bond in a text of /proc/net/bonding; its name is that of *file*, without .txt.

    Raises:
        InputError: not such a text, or one in which a line is missing, doubled or not understood.
    """
    head, *ports = _sections(text, file)
    mode = _WORDS.get(head.text("Bonding Mode").partition(" (fail_over_mac")[0])
    if mode is None:
        raise head.error("Bonding Mode", "no mode that is known")
    active = head.fields.get("Currently Active Slave")
    aggregator = head.optional("Aggregator ID")
    state = BondState(
        name=file.rpartition("/")[2].removesuffix(".txt"),
        mode=mode,
        up=head.up(),
        miimon_ms=head.number("MII Polling Interval (ms)"),
        arp_interval_ms=head.optional("ARP Polling Interval (ms)") or 0,  # told when it is on
        slaves=tuple(port.slave() for port in ports),
        source=Source.PROC,
        observed_live=observed_live,
        active_slave=None if active == "None" else active,
        active_aggregator=0 if head.no_aggregator else aggregator,
    )
    return _with_activity(state)


@dataclass(slots=True)
class _Section:
    """The lines about the bond, or about one port."""

    file: str
    fields: dict[str, str]
    no_aggregator: bool = False

    def error(self, key: str, why: str) -> InputError:
        return InputError(why, file=self.file, field=key, value=self.fields.get(key), fix=_FIX)

    def text(self, key: str) -> str:
        if not self.fields.get(key):
            raise self.error(key, "missing")
        return self.fields[key]

    def number(self, key: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", self.text(key)):
            raise self.error(key, "not a number")
        return int(self.fields[key])

    def optional(self, key: str) -> int | None:
        return None if self.fields.get(key, "N/A") == "N/A" else self.number(key)

    def up(self) -> bool:
        if self.text("MII Status") not in _MII:
            raise self.error("MII Status", "no status that is known")
        return _MII[self.fields["MII Status"]]

    def speed_mbps(self) -> int | None:
        shown = self.fields.get("Speed", "Unknown")  # not told by the first kernels of 2.6.32
        if shown == "Unknown":
            return None
        if not re.fullmatch(r"-?[0-9]{1,10} Mbps", shown):
            raise self.error("Speed", "not a speed in Mbps")
        speed = int(shown.split()[0])
        return None if speed < 0 or speed in _NO_SPEED else speed

    def slave(self) -> BondSlave:
        duplex = self.fields.get("Duplex", "Unknown")
        if duplex not in ("full", "half", "Unknown"):
            raise self.error("Duplex", "neither full nor half")
        lacp = self.optional("actor port state")
        return BondSlave(
            name=self.text("Slave Interface"),
            up=self.up(),
            failure_count=self.number("Link Failure Count"),
            permanent_mac=self.text("Permanent HW addr"),
            speed_mbps=self.speed_mbps(),
            duplex=None if duplex == "Unknown" else duplex,
            aggregator_id=self.optional("Aggregator ID"),
            active=None if lacp is None else bool(lacp & _COLLECTING),
        )


def _sections(text: str, file: str) -> list[_Section]:
    """Return the bond's lines, then those of each port."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith(_BANNER):
        raise InputError(f"does not begin with {_BANNER!r}", file=file, fix=_FIX)
    found = [_Section(file, {})]
    prefix = ""
    for line in lines[1:]:
        key, _, value = line.strip().partition(":")
        if key == "Slave Interface":
            found.append(_Section(file, {}))
        part = found[-1]
        if not line[0].isspace():
            inner = re.fullmatch(r"details (actor|partner) lacp pdu", key)
            prefix = f"{inner[1]} " if inner else ""
        part.no_aggregator |= line.endswith("has no active aggregator")
        key = prefix + key
        if key in part.fields:
            raise InputError("told twice", file=file, field=key, value=value.strip(), fix=_FIX)
        part.fields[key] = value.strip()
    return found


def _with_activity(state: BondState) -> BondState:
    """Return *state* with what its mode says about each port.

    Only in 802.3ad is it a matter of each port; netlink's IFLA_BOND_SLAVE_STATE stays "active"
    for every port of balance-tlb and balance-alb, although the kernel has made them inactive.
    """
    match state.mode:
        case Mode.LACP:
            return state
        case Mode.ACTIVE_BACKUP | Mode.BALANCE_TLB | Mode.BALANCE_ALB:
            slaves = (replace(s, active=s.name == state.active_slave) for s in state.slaves)
        case Mode.BALANCE_RR | Mode.BALANCE_XOR | Mode.BROADCAST:
            slaves = (replace(s, active=True) for s in state.slaves)
        case _:
            assert_never(state.mode)
    return replace(state, slaves=tuple(slaves))


def from_netlink(bond: Values, slaves: Sequence[Values], *, observed_live: bool) -> BondState:
    """Return the bond in plain netlink values: "index", "ifname", "up" and the attributes.

    IFLA_BOND_AD_INFO_AGGREGATOR stands beside the others in *bond*. The active slave is an index.

    Raises:
        InputError: an attribute is missing or not what the kernel sends.
    """
    mode = _whole(bond, "IFLA_BOND_MODE")
    if mode >= len(Mode):
        raise InputError("no mode that is known", field="IFLA_BOND_MODE", value=mode)
    lacp = tuple(Mode)[mode] is Mode.LACP
    names = {_whole(slave, "index"): str(slave["ifname"]) for slave in slaves}
    active = bond.get("IFLA_BOND_ACTIVE_SLAVE")
    aggregator = bond.get("IFLA_BOND_AD_INFO_AGGREGATOR") or 0  # not sent when there is none
    state = BondState(
        name=str(bond["ifname"]),
        mode=tuple(Mode)[mode],
        up=bool(bond["up"]),
        miimon_ms=_whole(bond, "IFLA_BOND_MIIMON"),
        arp_interval_ms=_whole(bond, "IFLA_BOND_ARP_INTERVAL"),
        slaves=tuple(_netlink_slave(slave, lacp=lacp) for slave in slaves),
        source=Source.NETLINK,
        observed_live=observed_live,
        all_slaves_active=bool(_whole(bond, "IFLA_BOND_ALL_SLAVES_ACTIVE")),
        active_slave=names.get(active) if isinstance(active, int) else None,
        active_aggregator=int(aggregator) if lacp else None,
    )
    return _with_activity(state)


def _netlink_slave(values: Values, *, lacp: bool) -> BondSlave:
    aggregator = values.get("IFLA_BOND_SLAVE_AD_AGGREGATOR_ID")
    return BondSlave(
        name=str(values["ifname"]),
        up=_whole(values, "IFLA_BOND_SLAVE_MII_STATUS") == 0,  # BOND_LINK_UP
        failure_count=_whole(values, "IFLA_BOND_SLAVE_LINK_FAILURE_COUNT"),
        permanent_mac=str(values.get("IFLA_BOND_SLAVE_PERM_HWADDR", "")),
        aggregator_id=int(aggregator) if lacp and aggregator is not None else None,
        active=_whole(values, "IFLA_BOND_SLAVE_STATE") == 0,  # BOND_STATE_ACTIVE
    )


def _whole(values: Values, key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or value < 0:
        raise InputError("missing or not a number", field=key, value=value)
    return value


_COMPARED = ("mode", "up", "miimon_ms", "arp_interval_ms", "active_slave", "active_aggregator")
_COMPARED_SLAVE = ("up", "failure_count", "aggregator_id", "active", "speed_mbps", "duplex")


def combine(first: BondState, second: BondState) -> BondState:
    """Return *first* with what only *second* knows, and with all in which they differ."""
    filled, differ = _fill(first, second, _COMPARED, first.name)
    others = {slave.name: slave for slave in second.slaves}
    slaves = []
    for slave in first.slaves:
        other = others.pop(slave.name, None)
        if other is None:
            differ.append(f"{slave.name} is a port to {first.source} only")
            slaves.append(slave)
            continue
        whole, more = _fill(slave, other, _COMPARED_SLAVE, slave.name)
        slaves.append(whole)
        differ += more
    differ += [f"{name} is a port to {second.source} only" for name in others]
    return replace(filled, slaves=tuple(slaves), disagreements=tuple(differ))


_Part = TypeVar("_Part", BondState, BondSlave)


def _fill(first: _Part, second: _Part, fields: Iterable[str], name: str) -> tuple[_Part, list[str]]:
    changes: dict[str, Any] = {}
    differ: list[str] = []
    for field in fields:
        ours, theirs = getattr(first, field), getattr(second, field)
        if ours is None:
            changes[field] = theirs
        elif theirs is not None and ours != theirs:
            differ.append(f"{name}: {field} is {ours} or {theirs}")
    return replace(first, **changes), differ
