"""Judges what a site file asks of this machine: addresses and ports, numbers, waits.

Pure: `fst.doctor` tries each place of `places` and hands back what the system said. Only a lab site
takes addresses of this machine; at a real site they belong to the customer's hosts.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from enumtest.profiles.profile_groups import ReadmitBy
from fst.doctor_report import Check, State
from fst.exercises import WATCHED
from fst.plan import Plan
from fst.site import SbcTable, Site, SiteFile
from harness.dialplan import DialPlan
from harness.packets.frame import Endpoint
from harness.party import Global

HEADROOM = 1.2  # of the least hold-down that would do: the SBC gives servers up at its own pace
S_PER_MIN = 60
WORLD = DialPlan("world", "1", international_prefixes=("00",))  # a plus sign is taken at its word


@dataclass(frozen=True, slots=True)
class Place:
    """An address and port that a run at this site listens on."""

    endpoint: Endpoint  # port 0: any port, only the address must be ours
    owner: str
    tcp: bool = False  # beside UDP


@dataclass(frozen=True, slots=True)
class Refused:
    """What the system said when a place was tried."""

    code: int  # errno
    text: str
    transport: str  # "udp" or "tcp"


def places(file: SiteFile) -> tuple[Place, ...]:
    """Return each address and port that a run in the lab of *file* takes, none at a real site."""
    if file.mode != "lab":
        return ()
    found: dict[Endpoint, Place] = {}
    for site in file.sites:
        for place in _of_site(site):
            found.setdefault(place.endpoint, place)
    if file.lab is not None:
        caller = Endpoint.parse(file.lab.caller)
        found.setdefault(caller, Place(caller, "phones"))
    taken = {endpoint.address for endpoint in found if endpoint.port}
    return tuple(p for p in found.values() if p.endpoint.port or p.endpoint.address not in taken)


def _of_site(site: Site) -> Iterable[Place]:
    for sbc in site.sbcs:
        for name in sbc.enum_servers:
            here = Endpoint(site.host(name).address, sbc.enum_port)
            yield Place(here, f"{site.name}/{name}", tcp=True)
        yield Place(Endpoint(sbc.address, sbc.sip_port), f"{site.name}/{sbc.name}")
        yield Place(Endpoint.parse(sbc.next_hop), f"{site.name}/{sbc.name} next hop")
        if sbc.redirect_hop is not None:
            yield Place(Endpoint.parse(sbc.redirect_hop), f"{site.name}/{sbc.name} redirect hop")
    for host in site.hosts:
        yield Place(Endpoint(host.address, 0), f"{site.name}/{host.name}")


def place_check(place: Place, refused: Refused | None) -> Check:
    """Return whether a run could listen at *place*; *refused* is None when it was free."""
    what = str(place.endpoint) if place.endpoint.port else place.endpoint.address
    name, use = f"address {what}", place.owner
    transports = "UDP and TCP" if place.tcp else "UDP"
    if refused is None:
        return Check(name, State.OK, f"free ({transports})", use)
    found = f"{refused.transport.upper()}: {refused.text}"
    return Check(name, State.MISSING, found, use, _mend(place.endpoint, refused))


def _mend(endpoint: Endpoint, refused: Refused) -> str:
    """Return what makes *endpoint* ours to listen on."""
    match refused.code:
        case errno.EADDRINUSE:
            flags = "-lnup" if refused.transport == "udp" else "-lntp"
            shown = f"ss {flags} 'sport = :{endpoint.port}'"
            return f"{shown} names what has it: stop that, or change the port in the site file"
        case errno.EADDRNOTAVAIL:
            bits = 128 if ":" in endpoint.address else 32
            return f"ip address add {endpoint.address}/{bits} dev lo (as root)"
        case errno.EACCES | errno.EPERM:
            least = f"sysctl net.ipv4.ip_unprivileged_port_start={endpoint.port}"
            return f"{least} (as root), or a port from 1024 in the site file"
        case _:
            return "correct the address in the site file"


def number_checks(file: SiteFile) -> tuple[Check, ...]:
    """Return one check a site with test numbers: how many, and whether each can exist at all."""
    return tuple(
        _numbers(site, site.numbers.model_dump()) for site in file.sites if site.numbers is not None
    )


def _numbers(site: Site, groups: dict[str, list[str]]) -> Check:
    name, use = f"numbers of {site.name}", "test calls"
    listed = [(key, number) for key, own in groups.items() for number in own]
    listed += [(place.name, place.number) for place in site.destinations]
    odd = [f"{number} ({key})" for key, number in listed if not _can_exist(number)]
    if odd:
        found = f"no such number can exist: {', '.join(odd)}"
        mend = f"correct sites.{site.name}.numbers and its destinations in the site file"
        return Check(name, State.WARNING, found, use, mend)
    counts = [f"{len(own)} {key}" for key, own in groups.items()]
    found = ", ".join([*counts, f"{len(site.destinations)} destinations"])
    return Check(name, State.OK, found, use)


def _can_exist(number: str) -> bool:
    """Say whether some country has numbers of that length, as if it were dialled from abroad."""
    dialled = WORLD.international_prefixes[0] + number.removeprefix("+")
    return isinstance(WORLD.reading(dialled, kind="user").party, Global)


def wait_checks(file: SiteFile, plan: Plan) -> tuple[Check, ...]:
    """Return one check for the plan's own waits, and one an SBC for its time-out and hold-down."""
    longest_s = max((wait.seconds for step in plan.steps for wait in step.waits), default=0)
    scale = 1.0 if file.lab is None else file.lab.waits_scale
    found = f"longest {longest_s / S_PER_MIN / scale:g} min"
    found += f" ({longest_s / S_PER_MIN:g} min, divided by {scale:g})" if scale != 1 else ""
    waits = Check("waits of the plan", State.OK, found, "parts A and C")
    sbcs = [_sbc_waits(file, site, sbc) for site in file.sites for sbc in site.sbcs]
    return (waits, *sbcs)


def _sbc_waits(file: SiteFile, site: Site, sbc: SbcTable) -> Check:
    """Judge as the exercises do: an outage is watched for a part of the hold-down."""
    name, use = f"waits of {site.name}/{sbc.name}", "outage cases (B.3.3 to B.3.7)"
    all_ms = (len(sbc.enum_servers) - 1) * sbc.timeout_ms  # given up one after the other
    found = f"time-out {sbc.timeout_ms} ms, hold-down {sbc.hold_down_ms} ms"
    if sbc.behaviour.readmission.by is ReadmitBy.PROBES:
        found = f"time-out {sbc.timeout_ms} ms, held down until probes are answered"
        return Check(name, State.OK, found, use)
    if sbc.hold_down_ms * WATCHED > all_ms and sbc.hold_down_ms:
        return Check(name, State.OK, found, use)
    least_ms = round((all_ms + sbc.timeout_ms) / WATCHED * HEADROOM)
    servers = len(sbc.enum_servers)
    found += f": the hold-down is over before {servers} servers are given up and watched"
    setting = f"hold_down_ms = {least_ms} or more"
    if file.mode == "lab":
        mend = f"fst run --set sbc.hold_down_ms={least_ms}, or more"
    else:
        mend = f"have the SBC set, and declared, with {setting}"
    return Check(name, State.WARNING, found, use, mend)
