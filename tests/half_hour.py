"""Twelve hosts for half an hour, in a second: the real watch and keeper, on a clock moved by hand.

The asyncio loop's own time is that clock too: where nothing is to be done, it is moved on to the
next timer. A laptop's wall clock can be set, it can sleep, and a program can end in the middle.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fst.hold import Decide, Instant, Wanted
from fst.hold_keeper import HoldKeeper
from fst.holds import Holds
from fst.host_history import STAY_CLEAN, STAY_UP, HostHistory, WatchedHost, watched_hosts
from fst.host_signs import Signs
from fst.host_watch import watch
from fst.roles import default_roles
from fst.sample_spool import NAME, SampleSpool
from fst.session import read_site_file
from harness.clock import ManualClock
from harness.command import CommandOutput
from harness.journal import Event
from harness.journal_file import JournalFile
from tests.fake_hosts import GUIDE, STARTED_NS, FakeHost, fake_hosts

NS = 1_000_000_000
MIN_NS = 60 * NS
PERIOD_NS = 5 * NS
SITE = Path(__file__).parents[1] / "fixtures/sites/two-site.toml"
TWELVE = watched_hosts(read_site_file(SITE)[0])
WAITS_NS = {STAY_UP: 10 * MIN_NS, STAY_CLEAN: 30 * MIN_NS}
STEPS = (("A.1.2", STAY_UP), ("A.1.3", STAY_CLEAN))
THREE = tuple(h for h in TWELVE if h.target in {"site1/enum1", "site1/probe1", "site2/enum1"})


@dataclass(slots=True)
class Laptop(ManualClock):
    """A clock moved by hand whose wall side can be set."""

    set_by_ns: int = STARTED_NS
    boot: str = "boot-1"

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return self.now_ns + self.set_by_ns

    def instant(self) -> Instant:
        """Return the present moment."""
        return Instant(self.wall_ns(), self.monotonic_ns(), self.boot)


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: the clock is moved on instead."""

    def __init__(self, clock: Laptop) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - selectors' own type
        if timeout is None:
            raise AssertionError("nothing would ever happen any more")
        self._clock.advance(max(0, round(timeout * NS)))
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose time is *clock*."""

    def __init__(self, clock: Laptop) -> None:
        """Take the time from *clock*."""
        super().__init__(_Jumping(clock))
        self._clock = clock

    def time(self) -> float:
        """Return the clock's time in seconds."""
        return self._clock.now_ns / NS


@dataclass
class Night:
    """One run: its laptop, its hosts, and its folder; `watch` may be cut off and called again."""

    folder: Path
    decide: Decide | None = None
    clock: Laptop = field(default_factory=Laptop)
    watched: tuple[WatchedHost, ...] = THREE
    hosts: Mapping[str, FakeHost] = field(default_factory=lambda: fake_hosts(watched=TWELVE))
    at: dict[int, Callable[["Night"], None]] = field(default_factory=dict)  # by second of the clock
    events: tuple[Event, ...] = ()
    keeper: HoldKeeper | None = None

    def happens(self) -> None:
        """Let happen what is due, and a line be written to each log."""
        for second in [one for one in self.at if one * NS <= self.clock.now_ns]:
            self.at.pop(second)(self)

    async def run(self, target: str, *argv: str) -> CommandOutput:
        """Answer as a host does."""
        self.happens()
        fake = self.hosts[target]
        if "ps" in argv:
            log = str(fake.layout.facts["log"])
            if fake.layout.facts["boots"]:
                fake.write(log, b"INFO all is well\n")
        self.clock.advance(1_000_000)
        return fake.ask(argv, self.clock.now_ns)

    def watch(self, cut_after_s: float | None = None) -> HostHistory | None:
        """Return the history, or None when the program was cut off after that many seconds."""
        path = self.folder / "journal.jsonl"
        journal = (
            JournalFile.reopen(path, self.clock)
            if path.exists()
            else JournalFile(path, self.clock, anchored=True)
        )
        holds = Holds.fold(journal.events)
        if holds.holds:
            holds.go_on(self.clock.instant())
        spool = SampleSpool(self.folder / NAME)
        keeper = self.keeper = self._keeper(holds, spool, journal)
        if holds.holds:
            keeper.go_on()
        since_ns = holds.at_ns(self.clock.instant())
        work = watch(
            {host.target: _Access(self, host.target) for host in self.watched},
            self.watched,
            default_roles(),
            GUIDE,
            WAITS_NS,
            clock=self.clock,
            keeper=keeper,
            earlier=spool.earlier(since_ns),
        )
        try:
            with asyncio.Runner(loop_factory=lambda: JumpingLoop(self.clock)) as runner:
                history = runner.run(asyncio.wait_for(work, cut_after_s))
                return replace(history, begins_ns=keeper.begins_ns())
        except TimeoutError:
            return None
        finally:
            spool.close()
            journal.close()

    def _keeper(self, holds: Holds, spool: SampleSpool, journal: JournalFile) -> HoldKeeper:
        roles = default_roles()
        return HoldKeeper(
            holds,
            Signs(
                {h.target: roles.spec(h.role, h.standing) for h in self.watched},
                roles.severity.compiled,
            ),
            spool,
            journal.append,
            now=self.clock.instant,
            wanted=[
                Wanted(host.target, step, wait, WAITS_NS[wait])
                for step, wait in STEPS
                for host in self.watched
            ],
            period_ns=PERIOD_NS,
            scale=1.0,
            decide=self.decide,
        )


@dataclass(frozen=True, slots=True)
class _Access:
    """The way to one host."""

    night: Night
    target: str

    async def run(self, *argv: str) -> CommandOutput:
        """Answer as that host does."""
        return await self.night.run(self.target, *argv)
