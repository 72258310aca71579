"""What a watch shows while it goes on: how many hosts run, restarts, alarms in the logs.

For the eyes of who waits. Verdicts are computed from the whole history at the end, not from these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fst.host_history import Sample
from fst.roles import RoleSpec
from harness.command import CommandOutput
from harness.errors import InputError
from harness.log_tail import LogFollower, LogLevel, Severity
from harness.snapshot import PS, parse_processes


@dataclass(slots=True)
class _Host:
    spec: RoleSpec
    log: LogFollower
    pids: dict[str, int] = field(default_factory=dict)  # of each process that was seen
    is_well: bool = False
    read_bytes: int = 0  # of the log, up to a whole line
    reached_ns: int | None = None


class Signs:
    """The signs of all hosts; takes their samples in order."""

    def __init__(self, specs: Mapping[str, RoleSpec], severity: Severity) -> None:
        """Begin with nothing seen; *specs* are by target."""
        self._severity = severity
        self._hosts = {name: _Host(spec, LogFollower(spec.log)) for name, spec in specs.items()}
        self.restarts = 0  # processes that came back under another id
        self.alarms = 0  # critical lines

    @property
    def hosts(self) -> int:
        """Return how many hosts are watched."""
        return len(self._hosts)

    @property
    def running(self) -> int:
        """Return how many hosts were as they should be when they were last looked at."""
        return sum(host.is_well for host in self._hosts.values())

    @property
    def reached_ns(self) -> dict[str, int]:
        """Return when each host was last reached, by target, on the shared clock."""
        return {
            name: host.reached_ns
            for name, host in self._hosts.items()
            if host.reached_ns is not None
        }

    def take(self, sample: Sample) -> None:
        """Take a sample; one of a host that was not reached changes nothing but its state."""
        host = self._hosts[sample.host]
        for output in sample.outputs:
            if output.argv == PS:
                self._take_processes(host, output, sample.since_ns)
            elif output.argv == host.log.next_command():
                self._take_log(host, output)

    def _take_processes(self, host: _Host, output: CommandOutput, since_ns: int) -> None:
        host.is_well = False
        try:
            if output.exit_code != 0 or not output.whole:
                return
            listed = parse_processes(output.text)
        except InputError:
            return  # judged later, from the record
        host.reached_ns = since_ns
        found = {one.name: own[0].pid for one in host.spec.processes if (own := one.of(listed))}
        self.restarts += sum(host.pids.get(name, pid) != pid for name, pid in found.items())
        host.pids |= found
        stray = any(one.of(listed) for one in host.spec.absent)
        all_there = len(found) == len(host.spec.processes)
        host.is_well = all_there and not stray

    def _take_log(self, host: _Host, output: CommandOutput) -> None:
        try:
            host.log.take(output)
        except InputError:
            return  # judged later, from the record
        fresh, newline, _ = host.log.read_since(host.read_bytes).rpartition(b"\n")
        host.read_bytes += len(fresh) + len(newline)
        lines = fresh.decode("utf-8", "replace").splitlines()
        self.alarms += sum(self._severity.level(line) is LogLevel.CRITICAL for line in lines)
