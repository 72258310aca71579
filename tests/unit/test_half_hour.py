"""Waits of 30 minutes on twelve hosts: watched, interrupted, gone on with, judged; in seconds."""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from fst.baseline import judge_host
from fst.hold import Decision, Gap, Settled
from fst.hold_panel import status_line
from fst.holds import Holds
from fst.host_history import HostHistory
from fst.roles import default_roles
from harness.finding import worst
from harness.journal import Event
from harness.journal_file import read
from tests.fake_hosts import GUIDE
from tests.half_hour import MIN_NS, NS, TWELVE, Night


@pytest.fixture(autouse=True)
def _disk_that_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour has hundreds of events; what a flush does is tested elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


def words(history: HostHistory | None, step: str) -> dict[str, str]:
    """Return each host's outcome of *step*."""
    assert history is not None
    return {
        host.target: worst(
            one.outcome
            for one in judge_host(step, history, host.target, default_roles(), GUIDE).findings
        ).value
        for host in history.hosts
    }


def of_type(folder: Path, kind: str) -> list[Event]:
    return [event for event in read(folder) if event.type == kind]


def others(history: HostHistory | None, step: str) -> dict[str, str]:
    return {target: word for target, word in words(history, step).items() if word != "PASS"}


def test_twelve_hosts_are_held_for_half_an_hour_at_once(tmp_path: Path) -> None:
    """All waits of all hosts take 30 minutes together, each is over, and every box passes."""
    night = Night(tmp_path, watched=TWELVE)

    history = night.watch()

    assert 30 * MIN_NS <= night.clock.now_ns < 31 * MIN_NS
    ended = of_type(tmp_path, "hold.ended")
    assert {(str(e.fields["target"]), str(e.fields["step"])) for e in ended} == {
        (host.target, step) for host in TWELVE for step in ("A.1.2", "A.1.3")
    }
    assert {e.fields["how"] for e in ended} == {"over"}
    assert of_type(tmp_path, "hold.gap") == []
    assert others(history, "A.1.2") == others(history, "A.1.3") == {}


def test_panel_in_the_middle_says_what_is_left(tmp_path: Path) -> None:
    """Seven minutes in: three are left of the shorter wait, 23 of the longer."""
    seen: list[str] = []

    def look(night: Night) -> None:
        assert night.keeper is not None
        view = night.keeper.view()
        assert view is not None
        seen.append(status_line(view))

    night = Night(tmp_path)
    night.at[7 * 60] = look
    night.watch(8 * 60)

    marks = "10-min mark in 03:00 | 30-min mark in 23:00"
    assert seen[0].startswith(f"RUNNING 3/3 | {marks} | restarts 0 | log alarms 0 | last sample ")


def test_clock_of_the_laptop_that_is_set_changes_no_wait(tmp_path: Path) -> None:
    """Set back by an hour and on by two: both are recorded, and half an hour stays one."""
    night = Night(tmp_path)

    def set_by(hours: int) -> None:
        night.clock.set_by_ns += hours * 60 * MIN_NS

    night.at[300] = lambda _: set_by(-1)
    night.at[900] = lambda _: set_by(2)

    history = night.watch()

    assert 30 * MIN_NS <= night.clock.now_ns < 31 * MIN_NS
    stepped = [
        e.fields["stepped_ns"] for e in of_type(tmp_path, "hold.beat") if "stepped_ns" in e.fields
    ]
    assert [round(by / (60 * MIN_NS)) for by in stepped] == [-1, 2]
    assert of_type(tmp_path, "hold.gap") == []
    assert others(history, "A.1.2") == {}


def test_killed_program_goes_on_from_its_journal(tmp_path: Path) -> None:
    """Killed after 12 minutes and begun again 8 s later: no gap, and 30 minutes in all."""
    night = Night(tmp_path)
    assert night.watch(12 * 60) is None
    night.clock.advance(8 * NS)

    history = night.watch()

    assert 30 * MIN_NS <= night.clock.now_ns < 31 * MIN_NS
    assert len(of_type(tmp_path, "hold.begun")) == 6
    assert len(of_type(tmp_path, "hold.ended")) == 6
    assert of_type(tmp_path, "hold.gap") == []
    assert others(history, "A.1.2") == others(history, "A.1.3") == {}


def test_run_that_stood_still_waits_anew_by_rule(tmp_path: Path) -> None:
    """Killed at 12 minutes, begun again at 17: the open wait begins anew there, and then passes."""
    night = Night(tmp_path)
    night.watch(12 * 60)
    night.clock.advance(5 * MIN_NS)

    history = night.watch()

    assert 47 * MIN_NS <= night.clock.now_ns < 48 * MIN_NS
    gaps = of_type(tmp_path, "hold.gap")
    assert {e.fields["why"] for e in gaps} == {"the run stood still"}
    assert [e.fields.get("decision") for e in gaps] == [None] * 3 + ["restart"] * 3
    anew = [e for e in of_type(tmp_path, "hold.begun") if e.fields["restarts"]]
    assert {e.fields["step"] for e in anew} == {"A.1.3"}  # the 10 minutes were over already
    assert others(history, "A.1.2") == others(history, "A.1.3") == {}


def test_wait_that_is_begun_anew_forgets_nothing(tmp_path: Path) -> None:
    """A process that came back before the wait began anew is FAIL all the same."""
    night = Night(tmp_path)
    fake = night.hosts["site1/enum1"]
    night.at[120] = lambda _: fake.processes.update({777: fake.processes.pop(100)})
    night.watch(5 * 60)
    night.clock.advance(5 * MIN_NS)

    history = night.watch()

    assert others(history, "A.1.2") == {"site1/enum1": "FAIL"}


def test_host_that_was_not_reached_keeps_its_hole(tmp_path: Path) -> None:
    """Nobody to ask: a host that was away for a minute is counted, and its box is OTHER."""
    night = Night(tmp_path)

    def reached(yes: bool) -> None:
        night.hosts["site1/probe1"].reached = yes

    night.at[200] = lambda _: reached(yes=False)
    night.at[260] = lambda _: reached(yes=True)

    history = night.watch()

    decided = [e for e in of_type(tmp_path, "hold.gap") if "decision" in e.fields]
    assert [(e.fields["target"], e.fields["decision"]) for e in decided] == [
        ("site1/probe1", "count")
    ]
    assert others(history, "A.1.2") == {"site1/probe1": "OTHER"}
    assert night.clock.now_ns < 31 * MIN_NS


def test_host_that_never_comes_back_does_not_keep_the_others(tmp_path: Path) -> None:
    """Its waits end with a gap up to their end; the others pass."""
    night = Night(tmp_path)
    night.at[400] = lambda _: setattr(night.hosts["site2/enum1"], "reached", False)

    history = night.watch()

    assert night.clock.now_ns < 31 * MIN_NS
    assert others(history, "A.1.2") == {"site2/enum1": "OTHER"}
    assert len(of_type(tmp_path, "hold.ended")) == 6


def test_gap_asks_once_for_all_hosts_and_waits_for_the_answer(tmp_path: Path) -> None:
    """A laptop that slept for 4 minutes: one question about twelve hosts; the answer restarts."""
    asked: list[tuple[Sequence[Gap], Future[Settled]]] = []

    def ask(gaps: Sequence[Gap]) -> "Future[Settled]":
        answer: Future[Settled] = Future()
        asked.append((gaps, answer))
        return answer

    night = Night(tmp_path, watched=TWELVE, decide=ask)
    night.at[300] = lambda _: night.clock.advance(4 * MIN_NS)  # it slept: both clocks went on

    def answer(_: Night) -> None:
        said = Settled(Decision.RESTART, "lid was closed", "Lab engineer", "terminal")
        for _, one in asked:
            one.set_result(said)

    night.at[3000] = answer

    history = night.watch()

    assert {gap.target for gaps, _ in asked for gap in gaps} == {h.target for h in TWELVE}
    assert len(asked) == 1
    assert night.clock.now_ns > 3000 * NS  # the waits were over by then, but not decided
    decided = [e for e in of_type(tmp_path, "hold.gap") if "decision" in e.fields]
    assert {(e.fields["who"], e.fields["words"]) for e in decided} == {
        ("Lab engineer", "lid was closed")
    }
    assert others(history, "A.1.2") == others(history, "A.1.3") == {}


def test_machine_that_was_started_anew_counts_by_its_wall_clock(tmp_path: Path) -> None:
    """After a reboot the monotonic clock begins at zero; the gap says how its length is known."""
    night = Night(tmp_path)
    night.watch(12 * 60)
    before_ns = night.clock.wall_ns()
    night.clock.boot = "boot-2"
    night.clock.now_ns = 20 * NS
    night.clock.set_by_ns = before_ns + 3 * MIN_NS - night.clock.now_ns

    history = night.watch()

    gaps = of_type(tmp_path, "hold.gap")
    assert all("started anew" in str(e.fields["why"]) for e in gaps)
    assert {round(e.fields["gap_ns"] / MIN_NS) for e in gaps} == {3}
    assert others(history, "A.1.3") == {}


def test_journal_yields_the_holds_that_the_program_had(tmp_path: Path) -> None:
    """Folding the journal gives the same holds, gaps and edges as were in memory."""
    night = Night(tmp_path)
    night.at[200] = lambda _: night.clock.advance(2 * MIN_NS)
    night.watch(12 * 60)

    folded = Holds.fold(read(tmp_path))

    assert night.keeper is not None
    live = night.keeper.holds
    assert folded.holds == live.holds
    assert folded.gaps == live.gaps
    assert folded.edges == live.edges
