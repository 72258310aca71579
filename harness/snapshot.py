"""What a host was at a moment: processes, service, sockets, files, clock; and the texts it is from.

One parser for each command's output. Law: any text gives a value or an `InputError`; a word that is
not known is never taken for a good one.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from harness.errors import InputError
from harness.host_files import ENV, FileFact

PS = (*ENV, "ps", "-ww", "-eo", "pid,lstart,args")
SOCKETS = ("ss", "-tn")
DATE = ("date", "+%s.%N %z")

_MAX_FIGURES = 18  # of any number: what no clock, size or process id exceeds


class ServiceState(StrEnum):
    """What a service says of itself."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as ps lists it."""

    pid: int
    start_s: int  # since 1970 by the host's clock; ps gives whole seconds, and may be 1 off
    name: str  # last part of the program's path
    args: str


@dataclass(frozen=True, slots=True)
class ServicePart:
    """One process of a service, as its status command words it."""

    name: str
    state: ServiceState
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """What the status command says."""

    state: ServiceState
    parts: tuple[ServicePart, ...]
    text: str

    @property
    def all_green(self) -> bool:
        """Say whether the service runs, and each process that it names does."""
        good = all(part.state is ServiceState.RUNNING for part in self.parts)
        return self.state is ServiceState.RUNNING and bool(self.parts) and good


@dataclass(frozen=True, slots=True)
class Socket:
    """One TCP socket; port 0 stands for `*`."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    state: str  # as ss words it: ESTAB, LISTEN, …


@dataclass(frozen=True, slots=True)
class HostClock:
    """The host's clock against this machine's, and its time zone."""

    at_s: float  # what the host said, since 1970
    offset_s: float  # host minus this machine; the command's run time is the uncertainty
    uncertainty_s: float
    utc_offset_s: int


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """One host at one moment; a part that could not be read is None, and `unread` says why."""

    host: str
    at_ns: int
    processes: tuple[Process, ...] | None = None
    service: ServiceReport | None = None
    sockets: tuple[Socket, ...] | None = None
    files: tuple[FileFact, ...] | None = None
    clock: HostClock | None = None
    unread: Mapping[str, str] = field(default_factory=dict)  # part to reason


# Processes ----------------------------------------------------------------------------------------

_LSTART = re.compile(
    r" *([0-9]{1,10}) +[A-Z][a-z]{2} ([A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8} [0-9]{4})(?: (.*))?"
)
_ETIMES = re.compile(r" *([0-9]{1,10}) +([0-9]{1,12})(?: (.*))?")
_MAX_ARGS = 6 * 1024 * 1024  # characters; execve(2): never more bytes, whatever the stack's limit


def parse_processes(text: str, *, now_s: int | None = None) -> tuple[Process, ...]:
    """Return the processes that `ps -eo pid,lstart,args` lists (TZ=UTC, LC_ALL=C).

    With *now_s*, the host's time, the second column is `etimes`: seconds since the start. A line
    that is no row goes on with the arguments before it, after a space: procps itself prints a
    newline so, others print it as it is. Linux lists processes by rising id; a row that does not
    rise may be a part of some process's arguments, and which one is real cannot be told.

    Raises:
        InputError: the first line is neither the heading nor a process, a process id does not
            rise, arguments are longer than the kernel allows; or no process at all.
    """
    found: list[Process] = []
    further: list[str] = []  # lines that go on with the arguments of the last one found
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if not found and (not line.strip() or (number == 1 and line.split()[0] == "PID")):
            continue
        row = (_LSTART if now_s is None else _ETIMES).fullmatch(line)
        if row is None and found:
            further.append(line)
            continue
        if row is None:
            raise InputError("not a line of ps", field=f"line {number}", value=line)
        if found and int(row[1]) <= found[-1].pid:
            why = f"a process id that does not rise after {found[-1].pid}"
            raise InputError(why, field=f"line {number}", value=line)
        _go_on(found, further)
        start_s = _lstart(row[2], number) if now_s is None else now_s - int(row[2])
        args = row[3] or ""
        found.append(Process(int(row[1]), start_s, program(args), args))
    if not found:
        raise InputError("ps lists no process, not even itself", field="ps", value=text)
    _go_on(found, further)
    return tuple(found)


def _go_on(found: list[Process], further: list[str]) -> None:
    """Add the lines *further* to the arguments of the last process, and forget them."""
    if not further:
        return
    last = found[-1]
    args = " ".join((last.args, *further))
    if len(args) > _MAX_ARGS:
        field_name = f"arguments of process {last.pid}"
        raise InputError(f"longer than {_MAX_ARGS}", field=field_name, value=args[:80])
    found[-1] = replace(last, name=program(args), args=args)
    further.clear()


def _lstart(text: str, number: int) -> int:
    try:
        at = datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError as error:
        place = f"line {number}"
        raise InputError("not a start time of ps in C", field=place, value=text) from error
    return int(at.timestamp())


def program(args: str) -> str:
    """Return the name of the program in a command line.

    >>> program("/opt/ngp/bin/ngp-app -c 1"), program("[kthreadd]")
    ('ngp-app', '[kthreadd]')
    """
    first = args.split(" ", 1)[0]
    return first if first.startswith("[") else first.rpartition("/")[2]


# Service ------------------------------------------------------------------------------------------

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RED = re.compile(r"\x1b\[(?:[0-9]{1,3};){0,3}(?:31|91|33|93|41)m")  # yellow is not green either
_HEADING = re.compile(r"(?:redirecting|checking)\b.*|.*:|\W*", re.IGNORECASE)
_PART = re.compile(
    r"[*\-\s]*(?P<name>[^\s:(]{1,64})[\s:.]*"
    r"(?:\((?:pid|pids) +(?P<pid>[0-9]{1,10})(?: [0-9 ]*)?\))?[\s:.]*(?P<words>.*)",
    re.IGNORECASE,
)
_SYSTEMD = re.compile(r"^\s*Active: (\S+) \((\S+)\)", re.MULTILINE)
_UNIT = re.compile(r"(\S+)\.service\b")
_SYSTEMD_STATES = {
    ("active", "running"): ServiceState.RUNNING,
    ("inactive", "dead"): ServiceState.STOPPED,
    ("failed", "failed"): ServiceState.STOPPED,
}
_STATES = (  # looked for in this order: "not running" before "running"
    (re.compile(r"\bnot?\b|is stopped|\bdead\b|\bstopped\b|\bfailed\b|\bdown\b|\binactive\b",
                re.IGNORECASE), ServiceState.STOPPED),
    (re.compile(r"unknown|unused|privilege|denied|locked|starting|stopping", re.IGNORECASE),
     ServiceState.UNKNOWN),
    (re.compile(r"\bis running\b|\brunning\b|\[\s*ok\s*\]|\bactive\b|\bup\b", re.IGNORECASE),
     ServiceState.RUNNING),
)  # fmt: skip
RC_RUNNING, RC_STOPPED = 0, 3  # of an init script's status (LSB 5.0, init script actions)


def parse_service(text: str, exit_code: int) -> ServiceReport:
    """Return what `service NAME status` says: a line for each process, and the exit code.

    RUNNING needs both: each line says so, and the exit code is 0. If they disagree it is UNKNOWN.

    Raises:
        InputError: no line names a process and its state.
    """
    parts = [_systemd(text, row) for row in _SYSTEMD.finditer(text)]
    parts = parts or [part for line in text.split("\n") if (part := _part(line)) is not None]
    if not parts:
        raise InputError("names no process and its state", field="service status", value=text)
    states = {part.state for part in parts}
    state = ServiceState.UNKNOWN
    if states == {ServiceState.RUNNING} and exit_code == RC_RUNNING:
        state = ServiceState.RUNNING
    elif states == {ServiceState.STOPPED} and exit_code != RC_RUNNING:
        state = ServiceState.STOPPED
    return ServiceReport(state, tuple(parts), text)


def _systemd(text: str, row: re.Match[str]) -> ServicePart:
    """Return what `systemctl status` says, to which newer systems hand `service` on."""
    state = _SYSTEMD_STATES.get((row[1], row[2]), ServiceState.UNKNOWN)
    unit = _UNIT.search(text)
    return ServicePart(unit[1] if unit else "unit", state)


def _part(line: str) -> ServicePart | None:
    """Return the process and state of a line; words that are not known are no good ones."""
    bare = _COLOUR.sub("", line).strip()
    row = _PART.fullmatch(bare)
    if _HEADING.fullmatch(bare) or row is None:
        return None
    state = next((s for words, s in _STATES if words.search(row["words"])), ServiceState.UNKNOWN)
    if _RED.search(line) and state is ServiceState.RUNNING:
        state = ServiceState.UNKNOWN
    return ServicePart(row["name"], state, int(row["pid"]) if row["pid"] else None)


def parse_unit(text: str) -> ServiceReport:
    """Return what `systemctl show -p Id,LoadState,ActiveState,SubState,MainPID NAME` says.

    Raises:
        InputError: no ActiveState, or a unit that does not exist.
    """
    pairs = [line.partition("=") for line in text.split("\n") if "=" in line]
    facts = {key: value.strip() for key, _, value in pairs}
    active = facts.get("ActiveState", "")
    if not active or facts.get("LoadState", "loaded") != "loaded":
        raise InputError("no such unit", field="systemctl show", value=text)
    key = (active, facts.get("SubState", ""))
    state = _SYSTEMD_STATES.get(key, ServiceState.UNKNOWN)
    pid = facts.get("MainPID", "")
    known = pid.isascii() and pid.isdecimal() and len(pid) <= _MAX_FIGURES and pid != "0"
    part = ServicePart(facts.get("Id", "") or "unit", state, int(pid) if known else None)
    return ServiceReport(state, (part,), text)


_LEVEL = re.compile(r"\b([0-6]):(on|off)\b")


def parse_at_boot(text: str) -> bool:
    """Return whether a service starts with the system.

    *text* is of `chkconfig --list NAME` (runlevels 3 and 5 decide) or `systemctl is-enabled NAME`.

    Raises:
        InputError: it is neither, or the two runlevels disagree.
    """
    levels = dict(_LEVEL.findall(text))
    if levels:
        words = {levels.get("3"), levels.get("5")} - {None}
        if len(words) == 1:
            return words == {"on"}
    word = text.strip()
    if word in {"enabled", "enabled-runtime"}:
        return True
    if word in {"disabled", "masked"}:
        return False
    raise InputError("neither on nor off", field="start at boot", value=text)


# Sockets ------------------------------------------------------------------------------------------

_SS_STATES = (
    *("ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN"),
    *("CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"),
)
_PROC_STATES = dict(enumerate(_SS_STATES, 1))  # include/net/tcp_states.h has them in this order
_SS_COLUMNS = 5


def parse_sockets(text: str) -> tuple[Socket, ...]:
    """Return the sockets that `ss -tn` lists, with or without processes (-p) and heading.

    Raises:
        InputError: a line that is no socket, or names a port in words (-n was not given).
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        columns = line.split()
        if not columns or (columns[0] == "State" and number == 1):
            continue
        if len(columns) < _SS_COLUMNS or columns[0] not in _SS_STATES:
            raise InputError("not a line of ss", field=f"line {number}", value=line)
        local, remote = _end(columns[3], number), _end(columns[4], number)
        found.append(Socket(*local, *remote, columns[0]))
    return tuple(found)


def _end(text: str, number: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    bare = host.replace("%", "]%", 1).partition("]")[0].strip("[]")  # without brackets and %scope
    good = port == "*" or (port.isascii() and port.isdecimal() and len(port) <= len("65535"))
    if not colon or not good:
        raise InputError("not address:port", field=f"line {number}", value=text)
    return address("0.0.0.0" if bare == "*" else bare), 0 if port == "*" else int(port)  # noqa: S104 - as printed


def address(text: str) -> str:
    """Return an address in its usual form; an IPv4 address within IPv6 is the IPv4 address.

    >>> address("::ffff:127.0.0.1")
    '127.0.0.1'
    """
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise InputError("not an IP address", field="socket", value=text) from error
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


_PROC_END = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})", re.ASCII)
_PROC_COLUMNS = 4


def parse_proc_net(text: str) -> tuple[Socket, ...]:
    """Return the sockets of /proc/net/tcp or tcp6 (little-endian words, proc(5)).

    Raises:
        InputError: a line that is neither the heading nor a socket.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        columns = line.split()
        if not columns or columns[0] == "sl":
            continue
        ends = [_PROC_END.fullmatch(column) for column in columns[1:3]]
        code = columns[3] if len(columns) >= _PROC_COLUMNS else ""
        state = _PROC_STATES.get(int(code, 16)) if re.fullmatch("0[1-9A-B]", code) else None
        if len(ends) != 2 or ends[0] is None or ends[1] is None or state is None:  # noqa: PLR2004 - two ends
            raise InputError("not a socket of /proc/net", field=f"line {number}", value=line)
        (local, local_port), (remote, remote_port) = (_proc_end(end) for end in ends if end)
        found.append(Socket(local, local_port, remote, remote_port, state))
    return tuple(found)


def _proc_end(end: re.Match[str]) -> tuple[str, int]:
    words = [bytes.fromhex(end[1][at : at + 8])[::-1] for at in range(0, len(end[1]), 8)]
    return address(str(ipaddress.ip_address(b"".join(words)))), int(end[2], 16)


# Clock --------------------------------------------------------------------------------------------

_DATE = re.compile(r"([0-9]{1,10})\.([0-9]{9}) ([+-])([0-9]{2})([0-9]{2})\n?")


def parse_clock(text: str, *, sent_ns: int, took_ns: int) -> HostClock:
    """Return the host's clock from `date '+%s.%N %z'`, run at *sent_ns* for *took_ns*.

    Raises:
        InputError: not what date prints.
    """
    row = _DATE.fullmatch(text)
    if row is None or int(row[5]) >= 60:  # noqa: PLR2004 - minutes
        raise InputError("not the output of date", field="date", value=text)
    at_ns = int(row[1]) * 1_000_000_000 + int(row[2])
    offset_s = (at_ns - sent_ns - took_ns / 2) / 1e9
    zone_s = (int(row[4]) * 60 + int(row[5])) * 60
    return HostClock(at_ns / 1e9, offset_s, took_ns / 2e9, -zone_s if row[3] == "-" else zone_s)
