"""The lab's bench in time that does not pass: sockets are real, waits are jumped over.

Loopback hands a datagram over before `sendto` returns, so with no socket readable nothing can come
but a timer: the clock goes on to it at once. An hour of hold-down takes the time of its packets.
"""

import asyncio
import selectors
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fst.debts import Ledger
from fst.enum_work import EnumWork
from fst.evidence import Evidence
from fst.plan import default_plan
from fst.run_folder import RunFolder
from fst.sbc_profile import Profiles
from fst.site import SiteFile, parse_site
from fst.site_reading import matrix_of
from harness.clock import ManualClock
from harness.dialplan import DialPlan
from harness.regex import RegexEngine

NS_PER_S = 1_000_000_000
START_NS = 1_800_000_000 * NS_PER_S
LOOPBACK = Path(__file__).parents[1] / "fixtures" / "sites" / "loopback.toml"
OWN = ("selection", "timeout_ms", "retransmissions", "hold_down_ms", "failures", "all_down",
       "source_code", "source_framing")  # fmt: skip


class _Ticking(ManualClock):
    """A clock that no two things happen at the same time on: packets are in order by it."""

    def wall_ns(self) -> int:
        """Return the time, a microsecond after whoever asked last."""
        self.advance(1000)
        return self.now_ns


class _Jumping(selectors.DefaultSelector):
    """A selector that moves *clock* on by the time that it was to wait."""

    clock: ManualClock

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - as its base has it
        """Return what is readable now; with nothing, time goes on to the next timer."""
        events = super().select(0 if timeout is not None else None)
        if not events and timeout:
            self.clock.advance(-(-round(timeout * 1e12) // 1000))
        return events


class WarpedLoop(asyncio.SelectorEventLoop):
    """A loop whose time is that of *clock*."""

    def __init__(self, clock: ManualClock) -> None:
        """Take *clock* for the loop's own."""
        selector = _Jumping()
        selector.clock = self.clock = clock
        super().__init__(selector)

    def time(self) -> float:
        """Return the clock's time in seconds from the start."""
        return (self.clock.now_ns - START_NS) / NS_PER_S


def site_of(
    profile: str, *rows: str, lab: str = "", beside: Profiles | None = None
) -> tuple[SiteFile, DialPlan]:
    """Return the loopback site whose SBC is *profile*, with *rows* in its table.

    *lab* is a row of [lab.sbc], where the simulated SBC is not what is declared; *beside* are
    profiles of files.
    """
    lines = LOOPBACK.read_text("utf-8").splitlines()
    kept = [line for line in lines if line.partition(" =")[0] not in OWN]
    at = kept.index('apex = "e164.arpa"') + 1
    kept[at:at] = [f'profile = "{profile}"', *rows]
    text = "\n".join(kept).replace("call_spacing_ms = 20", "call_spacing_ms = 1000")
    return parse_site(f"{text}\n[lab.sbc]\n{lab}\n", beside=beside)


def evidence(
    site: tuple[SiteFile, DialPlan], steps: Sequence[str], folder: Path, engine: RegexEngine
) -> Mapping[str, Evidence]:
    """Return what each of *steps* (of the whole SBC) gives, carried out in that order."""
    file, dial_plan = site
    clock = _Ticking(START_NS)
    run = RunFolder.begin(folder, clock, b"")
    cases = {case.step.id: case for case in matrix_of(file, default_plan()).cases}
    with asyncio.Runner(loop_factory=lambda: WarpedLoop(clock)) as loop:
        ledger = Ledger(run.journal.append)
        work = EnumWork(file, dial_plan, run, clock=clock, engine=engine, loop=loop, ledger=ledger)
        try:
            return {step: work.evidence(cases[step], exercise_of(step))[0] for step in steps}
        finally:
            work.close()
            run.close()


def exercise_of(step: str) -> Any:  # noqa: ANN401 - an exercise
    """Return the exercise that the case of *step* carries out."""
    from fst import exercises  # noqa: PLC0415

    names = {
        "B.3.2": exercises.rotation,
        "B.3.3": exercises.one_down,
        "B.3.4": exercises.all_but_last_down,
        "B.3.5": exercises.back_in_service,
        "B.3.6": exercises.all_down,
        "B.3.7": exercises.recovery,
    }
    return names[step]
