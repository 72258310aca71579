"""Doubts about captures: gaps, clocks, lost frames, one-way taps; and what is left in peace."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from enumtest.judge.capture_doubts import doubts
from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.traffic.hop_table import NOT_SEEN, LookupTable, OddFrame, Watch
from enumtest.verdict.report import Doubt, Grade
from tests.enum_wire import SECOND, START_NS, allowing
from tests.verdict_bench import DOWN, ONE, THREE, TWO, capture, cites, run, table_of

DATA = run()
TABLE = table_of(DATA)
CAPTURE = capture(DATA)
(WATCH,) = TABLE.hops.watches
PROFILE = laid_over(shipped_profile("fixed-hold-down"), Overrides(timeout_ns=2 * SECOND))
Change = Callable[[Watch], Watch]


def found(table: LookupTable = TABLE, vantage: Vantage = Vantage.SBC) -> tuple[Doubt, ...]:
    return doubts([CAPTURE], table, PROFILE, vantage)


def watched(*watches: Watch) -> LookupTable:
    """Return the table with other captures behind it."""
    return replace(TABLE, hops=replace(TABLE.hops, watches=watches))


def later(seconds: int, name: str = "b.pcap") -> Watch:
    """Return a capture that begins so long after the first one ends."""
    begins_ns = WATCH.ends_ns + seconds * SECOND
    return replace(WATCH, name=name, begins_ns=begins_ns, ends_ns=begins_ns + 60 * SECOND)


def test_nothing_is_said_of_a_good_capture() -> None:
    """An outage is no doubt about the capture."""
    assert found() == ()


def test_a_gap_between_files_of_the_sbc_is_incomplete() -> None:
    """An hour of which nothing is known; a quiet half minute is none."""
    (gap,) = found(watched(WATCH, later(3600)))

    assert gap.grade is Grade.INCOMPLETE
    assert "b.pcap begins 60 min after sbc.pcap ends" in gap.words
    assert found(watched(WATCH, later(30))) == ()


def test_taps_that_do_not_overlap_are_blind() -> None:
    """The servers' captures have to be of one time; the clock that would make them so is told."""
    (gap,) = found(watched(WATCH, later(7200)), Vantage.SERVERS)

    assert gap.grade is Grade.BLIND
    assert "--clock b.pcap=+7200" in gap.fix


def test_an_empty_capture_is_no_gap() -> None:
    """A capture without a frame has no time that could be far away."""
    empty = replace(WATCH, name="empty.pcap", begins_ns=0, ends_ns=0, servers=())

    assert found(watched(empty, WATCH)) == ()


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [
        (lambda one: replace(one, dropped=7), Grade.INCOMPLETE, "7 frames were lost"),
        (lambda one: replace(one, unsure_ns=5 * SECOND), Grade.NOTE, "known to ± 5 s only"),
        (lambda one: replace(one, unsure_ns=86_400 * SECOND), Grade.NOTE, "nothing in it tells"),
    ],
    ids=["dropped", "clock", "no clock"],
)
def test_what_a_capture_says_of_itself(change: Change, grade: Grade, words: str) -> None:
    """Lost frames leave no PASS; a clock that is not known well is a word to the reader."""
    (one,) = found(watched(change(WATCH)))

    assert (one.grade, one.file) == (grade, "sbc.pcap")
    assert words in one.words


def test_frames_without_a_time_are_incomplete() -> None:
    """Simple packet blocks of a pcapng have none."""
    untimed = replace(CAPTURE, untimed=3)
    (one,) = doubts([untimed], TABLE, PROFILE, Vantage.SBC)

    assert one.grade is Grade.INCOMPLETE
    assert "3 frames have no time" in one.words


def muted(table: LookupTable, server: str) -> LookupTable:
    """Return the table as a tap has it that misses the answers of *server*."""
    hops = table.hops
    rows = hops.server == hops.servers.index(server)
    answered_ns = np.where(rows, NOT_SEEN, hops.answered_ns)
    return replace(table, hops=replace(hops, answered_ns=answered_ns))


def test_a_server_used_as_if_it_answered_is_blind() -> None:
    """No retransmission and no failover behind its silence: the tap missed the answers."""
    (one,) = found(muted(table_of(run(allowing)), THREE))

    assert one.grade is Grade.BLIND
    assert one.words.startswith("enum3 never answers")


def test_a_dead_server_is_not_taken_for_a_tap() -> None:
    """It is given up each time, so its silence is real."""
    dead = replace(DOWN, times={TWO: (0, 10**15)})

    assert found(table_of(run(dead))) == ()


def test_odd_messages_are_counted_by_what_is_odd() -> None:
    """With the first frame of each kind; more than are kept are "at least"."""
    (cite,) = cites(9)
    odd = [OddFrame(cite, START_NS, "192.0.2.1", ONE, True, why) for why in ("cut", "cut", "odd")]
    two = found(replace(TABLE, odd=tuple(odd), odd_count=3))
    more = found(replace(TABLE, odd=tuple(odd), odd_count=99))

    assert [one.words for one in two] == [
        "2 messages are in no call: cut (first sbc.pcap:9)",
        "1 message is in no call: odd (first sbc.pcap:9)",
    ]
    assert more[0].words.startswith("at least 2 messages")


def test_the_worst_doubt_comes_first() -> None:
    """Blind before incomplete before a note."""
    watches = (replace(WATCH, dropped=1, unsure_ns=2 * SECOND), later(7200))
    grades = [one.grade for one in found(watched(*watches), Vantage.SERVERS)]

    assert grades == [Grade.BLIND, Grade.INCOMPLETE, Grade.NOTE]
