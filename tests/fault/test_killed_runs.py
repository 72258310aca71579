"""A lab run is killed at an event, goes on, and is compared with one that nothing disturbed.

Twelve places, nine of them drawn with a fixed seed; with FST_SOAK=1 (`make soak`)
it is every event, each way; FST_SOAK=FULL: that way alone.
"""

import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fst.debts import fold, open_debts
from fst.events import check
from fst.run_folder import changed_attachments
from harness.journal_file import check_anchor, read, read_torn
from tests.fault.killed import (
    AGAIN,
    Ended,
    Verdicts,
    begin,
    events_of,
    fst,
    is_spoiled,
    judged,
    verdicts,
    whole_lines,
)

AT_ONCE = 3  # they wait more than they work
WAYS = ("KILL", "TERM", "HUP", "FULL")
COUNTS = (4, 2, 1, 2)  # of each way, drawn
LAST = 115  # of the events of the undisturbed run, before run.end; a test of ours keeps it true
FIRST_END = 32  # the event that ends the first attempt
FIRST_NET = 200


def places() -> list[tuple[str, int]]:
    """Return how and where runs are killed."""
    soak = os.environ.get("FST_SOAK", "")
    if soak:  # a run that is asked to end when all is judged just ends
        last = {"KILL": LAST, "FULL": LAST, "TERM": LAST - 2, "HUP": LAST - 2}
        ways = [way for way in WAYS if soak in ("1", way)]
        return [(way, at) for way in ways for at in range(1, last[way] + 1)]
    dice = random.Random(2026)  # noqa: S311 - a sample that is the same each time
    drawn = {
        way: dice.sample(range(2, LAST - 1), count) for way, count in zip(WAYS, COUNTS, strict=True)
    }
    ends = [
        ("KILL", LAST - 1),  # all is judged: only the ends are missing
        ("FULL", LAST),
        ("HUP", FIRST_END),  # the attempt has its end, and must get no other
    ]
    return [*ends, *((way, at) for way, ats in drawn.items() for at in ats)]


@dataclass(frozen=True, slots=True)
class Story:
    """One killed run and its continuation."""

    run: Path
    killed: Ended
    before: bytes  # the journal's whole lines when it was killed
    known: Verdicts  # that it had then
    owed: tuple[str, ...]  # debts that were open then
    resumed: Ended


def live(folder: Path, net: int, kill: tuple[str, int]) -> Story:
    """Kill a run, and go on with it; again where a stall of this machine spoiled a verdict."""
    for at in range(AGAIN + 1):
        (folder / str(at)).mkdir()
        run, killed = begin(folder / str(at), net, kill)
        before, (events, _), known = whole_lines(run), read_torn(run), verdicts(run)
        owed = tuple(debt.id for debt in open_debts(events))
        story = Story(run, killed, before, known, owed, fst("run", "--resume", run))
        if not is_spoiled(verdicts(run)):
            break
    return story


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that came to its end."""
    for _ in range(AGAIN + 1):
        run, done = begin(tmp_path_factory.mktemp("whole"), FIRST_NET - 1)
        if not is_spoiled(verdicts(run)):
            break
    assert done.code == 0, done.text
    return run


@pytest.fixture(scope="module")
def expected(undisturbed: Path) -> Verdicts:
    """Return its verdicts."""
    return verdicts(undisturbed)


@pytest.fixture(scope="module")
def stories(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, int], Future[Story]]]:
    """Return all killed runs, started; each test waits for its own."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            kill: pool.submit(
                live, tmp_path_factory.mktemp(f"{kill[0]}-{kill[1]}"), FIRST_NET + at % 50, kill
            )
            for at, kill in enumerate(places())
        }
        pool.shutdown(cancel_futures=True)


def test_the_undisturbed_run_has_as_many_events_as_are_killed_at(undisturbed: Path) -> None:
    """Every event of it but the last is a place at which a run may be killed."""
    events = read(undisturbed)

    assert len(events) == LAST + 1
    assert events[FIRST_END - 1].type == "attempt.end"


@pytest.mark.parametrize("kill", places(), ids=lambda kill: f"{kill[0]}-{kill[1]}")
def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(
    stories: dict[tuple[str, int], Future[Story]], expected: Verdicts, kill: tuple[str, int]
) -> None:
    """No verdict is lost or doubled, the chain is whole, and every debt is known and paid."""
    story = stories[kill].result()
    events = read(story.run)

    assert story.killed.code != 0, story.killed.text
    assert story.resumed.code == 0, story.resumed.text
    assert story.known.items() <= verdicts(story.run).items()
    assert verdicts(story.run) == expected
    assert set(judged(story.run).values()) == {1}
    assert check_anchor(events, story.run) == 0
    assert (story.run / "journal.jsonl").read_bytes().startswith(story.before)
    assert (events[-1].type, events[-1].fields["exit_code"]) == ("run.end", 0)
    assert fold(events).open == ()
    proved = [set(one.fields["debts"]) for one in events_of(story.run, "restore.proved")]
    assert set(story.owed) <= set().union(*proved)
    assert changed_attachments(story.run, events) == []
    for event in events:
        check(event)
