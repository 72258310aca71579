"""pgsync killed at any moment, on both sites: nothing is lost, and a plain run puts all right.

    HASYNC_SOAK=2000 pytest tests/fault/test_pair_kills.py     # that many kills, every failpoint

Kills are seeded: $HASYNC_SEED names another sequence. A kill counts only when it hit a process that
was still at work; what was running beside it is recorded.
"""

import collections
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from hasync.steps import failpoints
from tests.fault.content import NAME, look
from tests.fault.oracles import Rows, Upto, lost, preserved, rows_in, unsound
from tests.fault.poller import Poller
from tests.fault.sample import SEED, SOAK, dice, some, taken
from tests.fault.site import Result, Site
from tests.fault.standby_pair import BASE, Pair
from tests.fault.two_sites import two_sites

pytestmark = pytest.mark.lab

Observe = Callable[[str, object], None]

KILLS = SOAK or 60
SILENCE_S = 1.0  # that a swap may keep anybody waiting
STALL_S = 2.0  # what a busy machine may add to it
KILLS_A_DAY = 4  # on each site
TIMEOUT = 16  # exit code: no new set has come
PROGRAM = re.compile(r"(?:\S*/)?([\w.-]+)")


def names(processes: dict[int, str]) -> str:
    """Return which programs were running, in one line."""
    found = {(PROGRAM.match(words) or ["", words])[1] for words in processes.values()}
    found |= (
        {"pgsync"}
        if any("hasync.commands.pgsync" in words for words in processes.values())
        else set()
    )
    found |= (
        {"agent"} if any("hasync.commands.cli" in words for words in processes.values()) else set()
    )
    return " ".join(sorted(found - {"python3", "sh", "setpriv", "env", "setsid"}))


def step(site: Site) -> str:
    """Return the last step that a journal left behind at *site* names."""
    found = sorted((site.files / BASE / "state").glob("*.jsonl"), key=lambda p: p.stat().st_mtime)
    text = found[-1].read_text(errors="replace") if found else ""
    steps = re.findall(r'"type":"(step|done)".*?"name":"(\w+)"', text)
    return f"{found[-1].stem}.{steps[-1][1]}" if steps else "-"


@dataclass(slots=True)
class Torture:
    """A row of days at a pair, each with kills on both sites, and what may be seen of it."""

    pair: Pair
    dice: random.Random
    allowed: set[Upto] = field(default_factory=set)
    promised: set[tuple[str, int]] = field(default_factory=set)
    hits: collections.Counter[str] = field(default_factory=collections.Counter)
    steps: collections.Counter[str] = field(default_factory=collections.Counter)
    misses: int = 0
    took_s: dict[str, float] = field(default_factory=dict)

    def write(self, site: Site, writer: str, count: int) -> None:
        """Have rows confirmed at *site*; from now on they must be found."""
        self.promised |= self.pair.scribble(site, writer, count)
        content = look(site)
        assert content is not None
        if site is self.pair.b:
            self.allowed.add(content.upto)

    def run_to_end(self, site: Site) -> Result:
        """Return how a plain run ended; it has to end well."""
        begun = time.monotonic()
        result = self.pair.pgsync(site, "-t", "1")
        right = {TIMEOUT} if site is self.pair.b and self.up_to_date() else {0, 1}
        if result.code in {0, 1}:
            self.took_s[site.name] = time.monotonic() - begun
        assert result.code in right | {0, 1}, self.pair.told(site, result)
        self.learn()
        return result

    def up_to_date(self) -> bool:
        """Say whether the standby's live database is the newest set that it has."""
        return self.pair.live(self.pair.b) == self.pair.sets(self.pair.b)[-1].last_row

    def learn(self) -> None:
        """Take note of the sets that the standby may show from now on."""
        self.allowed |= {one.upto for one in self.pair.sets(self.pair.b)}
        self.allowed |= {one.upto for one in self.pair.sets(self.pair.a)}

    def kill_once(self, site: Site) -> None:
        """Kill the whole group of a run at *site* at a moment between its start and its end."""
        pause = threading.Event()
        run = self.pair.start(site, "-t", "1")
        started = run.pid  # it runs, in a group of its own
        pause.wait(self.dice.uniform(0.0, self.took_s[site.name]))
        around = self.pair.strays(site)
        if started in around and run.kill(signal.SIGKILL):
            self.hits[names(around)] += 1
            run.wait()
            self.steps[step(site)] += 1
        else:
            self.misses += 1
            run.wait()
        self.learn()

    def sound(self) -> None:
        """Check what must hold at every moment, whatever was killed a moment ago."""
        bad = [
            b for s in (self.pair.a, self.pair.b) for one in self.pair.sets(s) for b in one.wrong()
        ]
        assert bad == []
        promised: Rows = frozenset(self.promised)
        if missing := lost(promised, [preserved(self.pair.a), preserved(self.pair.b)]):
            assert not lost(missing, self.pair.all_rows())


def forget_tails(torture: Torture) -> None:
    """Do what `hasync tail ack` and a hand at psql do: make room for the next days."""
    site = torture.pair.b
    for name in site.databases():
        if "__tail_" in name:
            site.sql(f'drop database "{name}"')
    kept = preserved(site)
    torture.promised = {row for row in torture.promised if row[0] == "a" or row in kept}


def day(torture: Torture, number: int) -> None:
    """Live through one day: rows on both sites, kills on both, then a plain run on each."""
    pair = torture.pair
    torture.write(pair.a, "a", 5)
    for _ in range(KILLS_A_DAY):
        torture.kill_once(pair.a)
        torture.sound()
    torture.run_to_end(pair.a)
    if number % 2 == 1:  # somebody writes into the standby: that is never overwritten
        torture.write(pair.b, "b", 2)
    for _ in range(KILLS_A_DAY):
        if not torture.up_to_date():  # a kill while it only waits would prove little
            torture.kill_once(pair.b)
            torture.sound()
    torture.run_to_end(pair.b)
    assert pair.live(pair.b) == pair.sets(pair.a)[-1].last_row
    torture.sound()
    forget_tails(torture)


def days(torture: Torture, kills: int) -> Poller:
    """Live through days until so many kills have hit; return what was seen meanwhile."""
    pair = torture.pair
    torture.write(pair.a, "a", 5)
    for site in (pair.a, pair.b):
        torture.run_to_end(site)
    number = 0
    with Poller(pair.b) as poller:
        while torture.hits.total() < kills:
            day(torture, number)
            number += 1
            assert poller.broken == set()
            assert poller.contents <= torture.allowed

    assert unsound(poller, torture.allowed, SILENCE_S + STALL_S) == []
    assert pair.leftovers(pair.a) + pair.leftovers(pair.b) == []
    return poller


def test_random_kills(pair: Pair, record_property: Observe) -> None:
    """SIGKILL of the whole group at random moments: each poll sound, nothing lost, converges.

    On two pairs at once, as each is idle half of the time.
    """
    with two_sites() as lab, ThreadPoolExecutor(2) as pool:
        other = Pair(lab)
        other.prepare()
        tortures = [Torture(one, dice(number)) for number, one in enumerate((pair, other))]
        done = [pool.submit(days, one, -(-KILLS // len(tortures))) for one in tortures]
        pollers = [one.result() for one in done]

    hits, steps = (
        sum((getattr(one, name) for one in tortures), collections.Counter[str]())
        for name in ("hits", "steps")
    )
    hit = ", ".join(f"{n} x {what}" for what, n in hits.most_common(6))
    where = ", ".join(f"{n} x {what}" for what, n in steps.most_common())
    record_property("observed", f"{hits.total()} kills that hit ({hit})")
    record_property("observed", f"unfinished step: {where}")
    silence_s = max(poller.longest_silence_s for poller in pollers)
    record_property("observed", f"longest silence {silence_s:.2f} s")


POINTS = [one for one in failpoints() if one.startswith(("publish.", "send.", "restore.", "keep."))]
CHOSEN = [  # the other tests of kills take every step of a procedure alone; here it's the commands
    point
    for procedure, count in (("publish", 1), ("send", 1), ("restore", 1), ("keep", 0))
    for point in some([one for one in POINTS if one.startswith(f"{procedure}.")], count)
]


@pytest.mark.parametrize("point", CHOSEN)
def test_killed_at_a_failpoint(pair: Pair, point: str, record_property: Observe) -> None:
    """Killed there, the standby shows the old or the new; a plain run on each site converges."""
    record_property("observed", taken(len(CHOSEN), len(POINTS), "points of the commands"))
    pair.first_day()
    torture = Torture(pair, random.Random(SEED))  # noqa: S311 - not used
    torture.promised |= rows_in(pair.a, NAME)
    torture.learn()
    torture.write(pair.a, "a", 5)
    killed = pair.a if point.startswith(("publish", "send", "keep")) else pair.b
    if killed is pair.b:
        torture.run_to_end(pair.a)
    with Poller(pair.b) as poller:
        result = pair.pgsync(killed, HASYNC_FAILPOINT=f"{point}:kill")
        assert result.code in {-signal.SIGKILL, 137}, pair.told(killed, result)
        torture.sound()
        for site in (pair.a, pair.b):
            torture.run_to_end(site)
        assert torture.up_to_date()

    assert unsound(poller, torture.allowed, SILENCE_S + STALL_S) == []
    assert pair.live(pair.b) == 10
    assert pair.leftovers(pair.a) + pair.leftovers(pair.b) == []
    torture.sound()
