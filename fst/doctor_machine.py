"""Judges what `fst.doctor` found on the machine: Python, packages, tools, rights, clock, disk.

Pure: facts in, checks out. A fact that could not be had is None or empty, and never counts as OK.
"""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement

from fst.doctor_report import Check, State

PYTHON_FROM = (3, 11)
LAB = "every run"
MB = 1_000_000
LEAST_FREE_BYTES = 50 * MB  # some hundred lab runs; below, a run may not be able to end
LOW_FREE_BYTES = 1_000 * MB  # below, a capture of real traffic soon fills it
MOST_STEP_NS = 20_000_000  # between the two clocks while the doctor looks: more is a stepped clock
MOST_OFFSET_S = 0.1  # of a synchronised clock: the hosts' captures are put in one order by time
APT = "apt-get install -y --no-install-recommends"
_NS = 1_000_000_000
_VERSION = re.compile(r"\d+(?:\.\d+)+\w*")

CAPABILITIES = {10: "CAP_NET_BIND_SERVICE", 12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of the system that some feature starts."""

    name: str
    package: str  # of Debian
    version: tuple[str, ...]  # its argument that prints the version; none: not asked
    needed_for: str
    on_site: bool = False  # nothing can be done at a site with mode = "site" without it


TOOLS = (
    Tool("tshark", "tshark", ("--version",), "second opinion on captures"),
    Tool("dumpcap", "tshark", ("--version",), "capture on this machine without root"),
    Tool("tcpdump", "tcpdump", ("--version",), "capture beside the lab's own tap"),
    Tool("ssh", "openssh-client", ("-V",), "captures and files of real hosts", on_site=True),
    Tool("ssh-keygen", "openssh-client", (), "signature of the evidence"),
    Tool("ip", "iproute2", ("-V",), "bonded interfaces and namespaces in the lab"),
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program as it was found on PATH."""

    path: str
    version: str  # first line that it printed
    objection: str = ""  # why it does not run


@dataclass(frozen=True, slots=True)
class Rights:
    """What this process may do, and how dumpcap is set up."""

    user: str
    root: bool
    capabilities: frozenset[str]
    dumpcap: str = ""  # its path; empty: not there
    dumpcap_group: str = ""  # that the file belongs to
    dumpcap_ours: bool = False  # this user may start it
    dumpcap_raw: bool = False  # it carries file capabilities, or is set-uid root


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks, read together."""

    wall_ns: int
    monotonic_ns: int


def python_check(version: Sequence[int], executable: str) -> Check:
    """Return whether this Python is new enough."""
    found = f"{'.'.join(map(str, version[:3]))} ({executable})"
    if tuple(version[:2]) >= PYTHON_FROM:
        return Check("Python", State.OK, found, LAB)
    mend = f"{APT} python3 python3-venv (3.11 or newer), then make PYTHON=python3.11"
    return Check("Python", State.MISSING, found, LAB, mend)


def package_checks(
    requires: Sequence[str], installed: Callable[[str], str | None], executable: str
) -> tuple[Check, ...]:
    """Return one check of all requirements that are met, and one for each that is not.

    *installed* gives a package's version, or None.
    """
    wanted = [Requirement(text) for text in requires]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    met, unmet = [], []
    for one in here:
        version = installed(one.name)
        if version is not None and one.specifier.contains(version, prereleases=True):
            met.append(f"{one.name} {version}")
        else:
            unmet.append(_unmet(one, version, executable))
    good = [Check("Python packages", State.OK, ", ".join(met), LAB)] if met else []
    return (*good, *unmet)


def _unmet(wanted: Requirement, version: str | None, executable: str) -> Check:
    found = "not installed" if version is None else f"{version}, not {wanted.specifier}"
    mend = f"{executable} -m pip install '{wanted.name}{wanted.specifier}'"
    return Check(f"Python package {wanted.name}", State.MISSING, found, LAB, mend)


def short_version(line: str) -> str:
    """Return the version in the first *line* that a program printed; the line when it has none.

    >>> short_version("ip utility, iproute2-6.1.0, libbpf 1.1.2"), short_version("OpenSSH_9.2p1 x")
    ('6.1.0', '9.2p1')
    """
    found = _VERSION.search(line)
    return found.group() if found else line


def tool_check(tool: Tool, program: Program | None, *, on_site: bool) -> Check:
    """Return whether *tool* is there; its want is a lack only where the site cannot do without."""
    absent = State.MISSING if on_site and tool.on_site else State.WARNING
    mend = f"{APT} {tool.package}"
    if program is None:
        return Check(tool.name, absent, "not on PATH", tool.needed_for, mend)
    if program.objection:
        found = f"{program.path}: {program.objection}"
        again = f"{APT} --reinstall {tool.package}"
        return Check(tool.name, absent, found, tool.needed_for, again)
    found = f"{program.path} {short_version(program.version)}".rstrip()
    return Check(tool.name, State.OK, found, tool.needed_for)


def parse_capabilities(status: str) -> frozenset[str]:
    r"""Return the effective capabilities that matter here, from the text of /proc/self/status.

    >>> sorted(parse_capabilities("CapEff:\t0000000000003000"))
    ['CAP_NET_ADMIN', 'CAP_NET_RAW']
    """
    for line in status.splitlines():
        label, _, mask = line.partition(":")
        if label == "CapEff":
            try:
                bits = int(mask, 16)
            except ValueError:
                return frozenset()
            return frozenset(name for bit, name in CAPABILITIES.items() if bits >> bit & 1)
    return frozenset()


def capture_check(rights: Rights, command: str) -> Check:
    """Return whether packets of this machine's interfaces can be captured, and by what right."""
    name, use = "right to capture", "live capture; runs in the lab need none"
    who = "root" if rights.root else rights.user
    if "CAP_NET_RAW" in rights.capabilities:
        return Check(name, State.OK, f"{who}, CAP_NET_RAW", use)
    if not rights.root and rights.dumpcap_ours and rights.dumpcap_raw:
        return Check(name, State.OK, f"{who}, through {rights.dumpcap}", use)
    found = f"{who}, no CAP_NET_RAW"
    if rights.root or not rights.dumpcap:
        return Check(name, State.WARNING, found, use, _grant(rights, "NET_RAW", command))
    if not rights.dumpcap_ours:
        found += f"; {rights.dumpcap} is for the group {rights.dumpcap_group}"
        mend = f"usermod -aG {rights.dumpcap_group} {rights.user} (as root; then log in again)"
    else:
        found += f"; {rights.dumpcap} has none either"
        mend = f"setcap cap_net_raw,cap_net_admin=eip {rights.dumpcap} (as root)"
    return Check(name, State.WARNING, found, use, mend)


def admin_check(rights: Rights, command: str) -> Check:
    """Return whether interfaces may be changed: the lab's bonds and namespaces need that."""
    name, use = "right to set up interfaces", "bonded interfaces and namespaces in the lab"
    who = "root" if rights.root else rights.user
    if "CAP_NET_ADMIN" in rights.capabilities:
        return Check(name, State.OK, f"{who}, CAP_NET_ADMIN", use)
    mend = _grant(rights, "NET_ADMIN", command)
    return Check(name, State.WARNING, f"{who}, no CAP_NET_ADMIN", use, mend)


def _grant(rights: Rights, capability: str, command: str) -> str:
    """Return how this process gets *capability*: root that has none is shut in a container."""
    if rights.root:
        return f"start this container with --cap-add={capability}"
    return f"sudo {command}"


def interface_checks(
    addresses: Mapping[str, Sequence[str]] | None,
    bonds: Mapping[str, Sequence[str]],
    executable: str,
) -> tuple[Check, ...]:
    """Return one check a local interface with its addresses, and one for bonds.

    *addresses* is None when they could not be listed, for want of netifaces.
    """
    use = "addresses of the lab, captures"
    bonded = "; ".join(
        f"{name}: {' + '.join(own) or 'no member'}" for name, own in sorted(bonds.items())
    )
    last = Check("bonds", State.OK, bonded or "none on this machine", "probe cases at a site")
    if addresses is None:
        mend = f"{executable} -m pip install netifaces2"
        return (Check("interfaces", State.WARNING, "netifaces is not installed", use, mend), last)
    found = [
        Check(f"interface {name}", State.OK, ", ".join(own) or "no address", use)
        for name, own in sorted(addresses.items())
    ]
    if not any(address.startswith("127.") for own in addresses.values() for address in own):
        mend = "ip link set lo up (as root)"
        found.append(Check("loopback", State.MISSING, "no address 127.x", LAB, mend))
    return (*found, last)


def parse_chronyc(text: str) -> tuple[bool, float] | None:
    """Return whether chrony is synchronised, and its offset in seconds; None: *text* is not that.

    *text* is what `chronyc -c tracking` prints; its fields are in chronyc(1), tracking.

    >>> parse_chronyc("C0000201,192.0.2.1,3,1700000000.1,0.000012,0,0,0,0,0,0,0,0,Normal")
    (True, 1.2e-05)
    """
    rows = list(csv.reader(text.splitlines()[:1]))
    if not rows or len(rows[0]) < 14:  # noqa: PLR2004 - fields up to the leap status
        return None
    fields = rows[0]
    try:
        offset_s = abs(float(fields[4]))
    except ValueError:
        return None
    return fields[13] != "Not synchronised" and fields[0] != "00000000", offset_s


def parse_timedatectl(text: str) -> bool | None:
    r"""Return NTPSynchronized of what `timedatectl show` prints; None: it does not say.

    >>> parse_timedatectl("NTP=yes\nNTPSynchronized=no\n")
    False
    """
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "NTPSynchronized" and value in {"yes", "no"}:
            return value == "yes"
    return None


def sync_check(chronyc: str | None, timedatectl: str | None) -> Check:
    """Return whether the clock is kept by NTP, from what the two programs print.

    None: the program is not there; "": it is, but has nothing to tell.
    """
    name, use = "clock synchronised", "putting captures of several hosts in order"
    chrony = parse_chronyc(chronyc or "")
    if chrony is not None:
        kept, offset_s = chrony
        found = f"{'yes' if kept else 'no'}, {1000 * offset_s:.3f} ms off (chronyc)"
        if kept and offset_s <= MOST_OFFSET_S:
            return Check(name, State.OK, found, use)
        return Check(name, State.WARNING, found, use, "chronyc makestep (as root)")
    systemd = parse_timedatectl(timedatectl or "")
    if systemd:
        return Check(name, State.OK, "yes (timedatectl)", use)
    if systemd is False:
        return Check(
            name, State.WARNING, "no (timedatectl)", use, "timedatectl set-ntp true (as root)"
        )
    if chronyc is None:
        return Check(name, State.WARNING, "nothing here can tell", use, f"{APT} chrony")
    found = "chronyc has no answer from chronyd"
    return Check(name, State.WARNING, found, use, "systemctl start chrony (as root)")


def clock_check(before: Moment, after: Moment, installed_ns: int) -> Check:
    """Return whether wall and monotonic clock agree, and the wall clock can be right at all.

    *installed_ns* is the wall time at which this program was installed: it cannot be earlier.
    """
    name, use = "clock steady", "times in the journal and in captures"
    passed_ns = after.monotonic_ns - before.monotonic_ns
    apart_ns = after.wall_ns - before.wall_ns - passed_ns
    if after.wall_ns < installed_ns:
        late_s = (installed_ns - after.wall_ns) / _NS
        found = f"{late_s:.0f} s before this program was installed"
        return Check(name, State.WARNING, found, use, "date --set 'YYYY-MM-DD HH:MM:SS' (as root)")
    found = f"wall and monotonic {apart_ns / 1e6:+.3f} ms apart after {passed_ns / 1e6:.0f} ms"
    if abs(apart_ns) <= MOST_STEP_NS:
        return Check(name, State.OK, found, use)
    mend = "wait until NTP has stepped the clock, then fst doctor again"
    return Check(name, State.WARNING, found, use, mend)


def disk_check(folder: str, free_bytes: int, *, writable: bool) -> Check:
    """Return whether runs can be kept in *folder*, by the space and the right to write there."""
    name, use = "room for runs", "journal, captures, reports (--out)"
    if not writable:
        found, mend = f"{folder} cannot be written", "fst run --out FOLDER-OF-YOURS"
        return Check(name, State.MISSING, found, use, mend)
    found = f"{free_bytes // MB} MB free for {folder}"
    if free_bytes >= LOW_FREE_BYTES:
        return Check(name, State.OK, found, use)
    state = State.MISSING if free_bytes < LEAST_FREE_BYTES else State.WARNING
    return Check(name, state, found, use, "fst run --out FOLDER, on a disk with more room")


def regex_check(refusal: str) -> Check:
    """Return whether the C library's regular expressions answer; *refusal* is empty when so."""
    name, use = "POSIX regular expressions", "what a NAPTR record yields"
    if not refusal:
        return Check(name, State.OK, "the C library's, in a process of its own", use)
    return Check(name, State.MISSING, refusal, use, "run it on Linux with glibc or musl (or WSL2)")
