"""The journal: chained lines, and what breaks a chain."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import ManualClock
from harness.errors import InputError, ToolError
from harness.journal import FIRST, Event, chain, parse, parse_line
from harness.journal_file import NAME, JournalFile, read


def written(folder: Path, count: int = 3) -> Path:
    clock = ManualClock(1_000)
    journal = JournalFile(folder / NAME, clock)
    for number in range(count):
        clock.advance(7)
        journal.append("note", text=f"event {number} ☒")
    journal.close()
    return folder / NAME


def test_events_come_back_as_written(tmp_path: Path) -> None:
    """Order, time, type and fields are kept, and each event carries the hash of the last line."""
    events = read(written(tmp_path).parent)

    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.at_ns for event in events] == [1_007, 1_014, 1_021]
    assert events[0].prev == FIRST
    assert events[2].prev == chain(events[1].encode())
    assert events[1].fields["text"] == "event 1 ☒"


@pytest.mark.parametrize("at", range(3))
def test_an_edited_removed_or_added_line_breaks_the_chain(tmp_path: Path, at: int) -> None:
    """Each of the three is found, and the line is named (the last line's own text aside)."""
    lines = written(tmp_path).read_bytes().splitlines(keepends=True)
    edited = [*lines[:at], lines[at].replace(b"event", b"Event"), *lines[at + 1 :]]
    removed = [*lines[:at], *lines[at + 1 :]]
    doubled = [*lines[: at + 1], *lines[at:]]

    for damaged, seen in ((edited, at < 2), (removed, at < 2), (doubled, True)):
        if seen:
            with pytest.raises(InputError, match=r"line \d: the chain breaks"):
                parse(damaged)
        else:
            assert parse(damaged)  # a cut or rewritten tail is beyond a bare chain: documented


def test_a_torn_last_line_is_named(tmp_path: Path) -> None:
    """A journal that was cut in the middle of an event says which line."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(InputError, match="line 3: cut in the middle"):
        read(path)


def test_an_existing_journal_is_never_reused(tmp_path: Path) -> None:
    """Starting a second journal in one place is refused, and the first is left whole."""
    before = written(tmp_path).read_bytes()

    with pytest.raises(ToolError):
        JournalFile(tmp_path / NAME, ManualClock())
    assert (tmp_path / NAME).read_bytes() == before


@given(st.binary(max_size=300))
def test_any_line_is_an_event_or_an_input_error(line: bytes) -> None:
    """Foreign bytes never break the reader."""
    try:
        found = parse_line(line)
    except InputError:
        return
    assert isinstance(found, Event)
