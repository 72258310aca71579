"""The edge that watches hosts: starts their services, samples them all on one clock, keeps it all.

What is asked is fixed beforehand (`fst.host_history`, `harness.log_tail`, the profile); nothing is
judged here. A host that answers late or not at all loses its own samples only.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from fst.ea_profile import Profile
from fst.host_history import (
    NS,
    HostHistory,
    Sample,
    WatchedHost,
    listing_command,
    longest_ns,
    round_commands,
)
from fst.roles import Roles, RoleSpec
from harness.clock import Clock
from harness.command import CommandOutput, HostAccess
from harness.errors import InputError
from harness.host_files import HASH, parse_listing
from harness.log_tail import LogFollower, replay
from harness.snapshot import ServiceState

PERIOD_S = 5.0  # between two samples at a site
MIN_PERIOD_S = 1.0  # in a lab, whose waits are short: a round of 12 hosts takes 0.4 s on 2 cores
MAX_HASHED = 3  # of the newest copies: a copy of a database may be many gigabytes
AT_ONCE = 4  # hosts that are asked at the same moment
READ_AGAIN = 4  # outputs for one look at a log: stat, tail, and after a rotation the rest and anew


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a watch is, for a person who waits."""

    since_ns: int  # of the newest sample of the host that is furthest behind
    longest_ns: int
    hosts: int


class Keeper(Protocol):
    """Keeps what a watch takes, and says how long it goes on."""

    def began(self, started_ns: int) -> None:
        """Note that the shared clock stands at zero, and the wall time when the start began."""
        ...

    def took_once(self, sample: Sample) -> None:
        """Keep what is asked for once: marks, starts, settings, hashes."""
        ...

    def took(self, sample: Sample) -> None:
        """Keep a sample of a round."""
        ...

    def is_over(self, target: str, since_ns: int) -> bool:
        """Say whether a host need not be watched any more, after a sample begun then."""
        ...


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a watch that goes on took already, before its program ended."""

    started_ns: int
    since_ns: int  # now, on the shared clock
    samples: tuple[Sample, ...]
    once: tuple[Sample, ...]


class _UntilLongest:
    """Keeps nothing; a watch of one program lasts as long as its longest wait."""

    def __init__(self, wait_ns: int) -> None:
        self._wait_ns = wait_ns

    def began(self, started_ns: int) -> None:
        pass

    def took_once(self, sample: Sample) -> None:
        pass

    def took(self, sample: Sample) -> None:
        pass

    def is_over(self, target: str, since_ns: int) -> bool:  # noqa: ARG002 - all hosts alike
        return since_ns >= self._wait_ns


def period_of(scale: float) -> int:
    """Return the nanoseconds between two samples of a host, with waits divided by *scale*."""
    return round(max(PERIOD_S / scale, MIN_PERIOD_S) * NS)


async def watch(  # noqa: PLR0913 - a watch has these parts
    accesses: Mapping[str, HostAccess],
    hosts: Sequence[WatchedHost],
    roles: Roles,
    profile: Profile,
    waits_ns: Mapping[str, int],
    *,
    clock: Clock,
    scale: float = 1.0,
    start: bool = True,
    period_s: float | None = None,
    sync_every_s: float | None = None,
    on_round: Callable[[Progress], None] | None = None,
    keeper: Keeper | None = None,
    earlier: Earlier | None = None,
) -> HostHistory:
    """Return the history of *hosts* from now until the longest of *waits_ns* is over.

    With *start* the services of those that are to run are started first (never one that stands by).
    *scale* only says by what the waits were divided; *sync_every_s* is how often a lab copies.
    *keeper* is told of everything at once, and may let it last longer; a watch that goes on from an
    *earlier* one starts nothing, and its shared clock runs on.
    """
    period_ns = period_of(scale) if period_s is None else round(period_s * NS)
    keeper = keeper or _UntilLongest(longest_ns(waits_ns))
    loop = _Watch(accesses, roles, profile, clock, period_ns, longest_ns(waits_ns), keeper)
    started_ns = clock.wall_ns() if earlier is None else earlier.started_ns
    if earlier is None:
        every = await asyncio.gather(*(loop.before(host, start=start) for host in hosts))
        loop.zero_ns = clock.monotonic_ns()
        keeper.began(started_ns)
        before: tuple[Sample, ...] = ()
    else:
        loop.zero_ns = clock.monotonic_ns() - earlier.since_ns
        loop.go_on(hosts, earlier)
        every, before = list(earlier.once), earlier.samples
    runs = await asyncio.gather(*(loop.follow(host, len(hosts), on_round) for host in hosts))
    ends = await asyncio.gather(*(loop.settings(host) for host in hosts))
    last = {samples[-1].host: loop.sizes(samples[-1]) for samples in runs}
    hashed = await asyncio.gather(*(loop.hashes(host, last) for host in hosts))
    return HostHistory(
        hosts=tuple(hosts),
        profile=profile.name,
        period_ns=period_ns,
        waits_ns=dict(waits_ns),
        scale=scale,
        started_ns=started_ns,
        started=start,
        sync_every_ns=None if sync_every_s is None else round(sync_every_s * NS),
        samples=tuple(sorted(chain(before, *runs), key=lambda one: (one.round, one.host))),
        once=(*every, *ends, *hashed),
    )


class _Watch:
    """One watch; each host is followed by a task of its own, all by the same clock."""

    def __init__(  # noqa: PLR0913, PLR0917 - what every host shares
        self,
        accesses: Mapping[str, HostAccess],
        roles: Roles,
        profile: Profile,
        clock: Clock,
        period_ns: int,
        wait_ns: int,
        keeper: Keeper,
    ) -> None:
        """Keep the parts."""
        self.zero_ns = 0
        self._keeper = keeper
        self._next_round: dict[str, int] = {}  # by target, of a watch that goes on
        self._accesses, self._roles, self._profile = accesses, roles, profile
        self._clock, self._period_ns, self._wait_ns = clock, period_ns, wait_ns
        self._logs: dict[str, LogFollower] = {}
        self._free = asyncio.Semaphore(AT_ONCE)
        self._newest_ns: dict[str, int] = {}  # by target

    def _spec(self, host: WatchedHost) -> RoleSpec:
        return self._roles.spec(host.role, host.standing)

    def _since_ns(self) -> int:
        return self._clock.monotonic_ns() - self.zero_ns

    async def before(self, host: WatchedHost, *, start: bool) -> Sample:
        """Mark the log, then start the service."""
        spec, access = self._spec(host), self._accesses[host.target]
        follower = self._logs[host.target] = LogFollower(spec.log)
        outputs = [await access.run(*follower.next_command())]
        _take(follower, outputs[0])
        if start and spec.state is ServiceState.RUNNING:
            outputs.append(await access.run("service", spec.service, "start"))
        return self._once(Sample(host.target, 0, 0, tuple(outputs)))

    def go_on(self, hosts: Sequence[WatchedHost], earlier: Earlier) -> None:
        """Bring each log's follower to where the earlier watch left it."""
        for host in hosts:
            own = [one for one in earlier.samples if one.host == host.target]
            taken = [one for one in (*earlier.once, *own) if one.host == host.target]
            follower = LogFollower(self._spec(host).log)
            outputs = [output for one in taken for output in one.outputs]
            self._logs[host.target] = replay(follower, outputs)
            self._next_round[host.target] = max((one.round + 1 for one in own), default=0)

    def _once(self, sample: Sample) -> Sample:
        self._keeper.took_once(sample)
        return sample

    async def follow(
        self, host: WatchedHost, hosts: int, on_round: Callable[[Progress], None] | None
    ) -> list[Sample]:
        """Sample one host each period, until the keeper needs no more."""
        samples: list[Sample] = []
        number = max(self._next_round.get(host.target, 0), self._since_ns() // self._period_ns)
        while True:
            await asyncio.sleep(max(0, number * self._period_ns - self._since_ns()) / NS)
            async with self._free:
                sample = await self._sample(host, number)
            samples.append(sample)
            self._keeper.took(sample)
            before_ns = min(self._newest_ns.values(), default=0)
            self._newest_ns[host.target] = sample.since_ns
            behind_ns = min(self._newest_ns.values())
            if on_round is not None and len(self._newest_ns) == hosts and behind_ns > before_ns:
                on_round(Progress(behind_ns, self._wait_ns, hosts))
            if self._keeper.is_over(host.target, sample.since_ns):
                return samples
            number = max(number + 1, self._since_ns() // self._period_ns)  # late ones are left out

    async def _sample(self, host: WatchedHost, number: int) -> Sample:
        access, follower = self._accesses[host.target], self._logs[host.target]
        since_ns = self._since_ns()
        outputs = []
        for argv in round_commands(self._spec(host), self._profile):
            outputs.append(await access.run(*argv))
            if outputs[-1].exit_code is None:  # not reached: the rest would wait as long, each
                return Sample(host.target, number, since_ns, tuple(outputs))
        for _ in range(READ_AGAIN):
            outputs.append(await access.run(*follower.next_command()))
            _take(follower, outputs[-1])
            if follower.at_rest:
                break
        return Sample(host.target, number, since_ns, tuple(outputs))

    async def settings(self, host: WatchedHost) -> Sample:
        """Take the settings of the warm standby."""
        access, since_ns = self._accesses[host.target], self._since_ns()
        outputs = [await access.run(*argv) for argv in self._profile.commands(host.role)]
        return self._once(Sample(host.target, 0, since_ns, tuple(outputs)))

    def sizes(self, sample: Sample) -> Mapping[str, tuple[int, int]]:
        """Return path to time and size of the copies that a round listed."""
        folders = {listing_command(one.folder) for one in self._profile.copies}
        listed = [one for one in sample.outputs if one.argv in folders and one.exit_code == 0]
        try:
            found = [fact for one in listed for fact in parse_listing(one.text)]
        except InputError:
            return {}  # judged later, from the record
        return {one.path: (one.mtime_ns, one.size_bytes) for one in found}

    async def hashes(
        self, host: WatchedHost, last: Mapping[str, Mapping[str, tuple[int, int]]]
    ) -> Sample:
        """Hash the newest copies that in the last round lay on another host too."""
        since_ns, own = self._since_ns(), last[host.target]
        elsewhere = {
            (path.rpartition("/")[2], size)
            for target, found in last.items()
            if target != host.target
            for path, (_, size) in found.items()
        }
        both = [p for p, (_, size) in own.items() if (p.rpartition("/")[2], size) in elsewhere]
        newest = sorted(both, key=lambda path: (own[path][0], path))[-MAX_HASHED:]
        outputs = [await self._accesses[host.target].run(*HASH, *newest)] if newest else []
        return self._once(Sample(host.target, 0, since_ns, tuple(outputs)))


def _take(follower: LogFollower, output: CommandOutput) -> None:
    """Give the follower an output; one that it can't read is judged later, from the record."""
    try:
        follower.take(output)
    except InputError as error:
        follower.gaps.append(str(error))
