"""A journal that is continued: torn lines, interrupts, full disks, and the anchor beside it."""

import hashlib
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.clock import ManualClock
from harness.errors import InputError, ToolError
from harness.journal import Anchor
from harness.journal_file import NAME, JournalFile, check_anchor, read, read_torn

HEAD = "journal.head"


def written(folder: Path, count: int = 3) -> Path:
    journal = JournalFile(folder / NAME, ManualClock(1_000), anchored=True)
    for number in range(count):
        journal.append("note", text=f"event {number} ☒")
    journal.close()
    return folder / NAME


def test_a_reopened_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Number and chain go on, and the anchor tells the new end."""
    written(tmp_path)
    journal = JournalFile.reopen(tmp_path, ManualClock(2_000))
    journal.append("note", text="later")
    journal.close()

    events = read(tmp_path)
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert (len(journal.events), journal.lag) == (3, 0)
    assert check_anchor(events, tmp_path) == 0


@pytest.mark.parametrize("cut", range(1, 140, 7))
def test_a_torn_line_is_kept_cut_and_told(tmp_path: Path, cut: int) -> None:
    """Wherever the last line is torn, its bytes lie beside the journal and an event says so."""
    path = written(tmp_path)
    (tmp_path / HEAD).unlink()
    line = path.read_bytes().splitlines(keepends=True)[-1]
    torn = line[: -min(cut, len(line) - 1)]
    path.write_bytes(path.read_bytes()[: -len(line)] + torn)

    JournalFile.reopen(tmp_path, ManualClock()).close()
    events = read(tmp_path)
    assert [event.type for event in events] == ["note", "note", "journal.repaired"]
    assert events[2].fields == {
        "file": "journal.torn-1",
        "bytes": len(torn),
        "sha256": hashlib.sha256(torn).hexdigest(),
    }
    assert (tmp_path / "journal.torn-1").read_bytes() == torn


def test_a_second_torn_line_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """Nothing that was kept is written over, and nothing is told twice."""
    path = written(tmp_path)
    for torn in (b'{"seq":4', b'{"seq":5,"at'):
        path.write_bytes(path.read_bytes() + torn)
        JournalFile.reopen(tmp_path, ManualClock()).close()
    JournalFile.reopen(tmp_path, ManualClock()).close()

    told = [event.fields["file"] for event in read(tmp_path)[3:]]
    assert told == ["journal.torn-1", "journal.torn-2"]
    assert (tmp_path / "journal.torn-2").read_bytes() == b'{"seq":5,"at'


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_repair_that_was_killed_is_done_again(tmp_path: Path, is_cut: bool) -> None:
    """Killed after the piece was kept, before or after the cut: one piece, one event."""
    path, torn = written(tmp_path), b'{"seq":4'
    (tmp_path / "journal.torn-1").write_bytes(torn)
    if not is_cut:
        path.write_bytes(path.read_bytes() + torn)

    JournalFile.reopen(tmp_path, ManualClock()).close()
    assert [event.type for event in read(tmp_path)][3:] == ["journal.repaired"]
    assert [one.name for one in tmp_path.glob("*torn*")] == ["journal.torn-1"]


def test_a_cut_tail_is_told_by_the_anchor(tmp_path: Path) -> None:
    """Whole lines taken off the end leave a good chain; the anchor knows better."""
    path = written(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    before = {one: one.read_bytes() for one in tmp_path.iterdir()}

    assert len(read(tmp_path)) == 2
    with pytest.raises(InputError, match="its last 1 events are missing: there were 3"):
        JournalFile.reopen(tmp_path, ManualClock())
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_torn_line_that_had_been_whole_is_told_by_the_anchor(tmp_path: Path) -> None:
    """The anchor is written after the line: a torn line that it counts was torn on purpose."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(InputError, match="are missing"):
        JournalFile.reopen(tmp_path, ManualClock())


def test_a_rewritten_journal_is_told_by_the_anchor(tmp_path: Path) -> None:
    """As many events with a good chain, but another hash at the end."""
    (tmp_path / "other").mkdir()
    path = written(tmp_path)
    other = JournalFile(tmp_path / "other" / NAME, ManualClock(9))
    for number in range(3):
        other.append("note", text=str(number))
    path.write_bytes((tmp_path / "other" / NAME).read_bytes())

    with pytest.raises(InputError, match="line 3: not the event that was written here"):
        JournalFile.reopen(tmp_path, ManualClock())
    other.close()


def test_an_anchor_behind_the_file_is_what_a_kill_leaves(tmp_path: Path) -> None:
    """It lags by the events since its last write; the journal goes on."""
    written(tmp_path)
    anchor = Anchor(1, read(tmp_path)[1].prev)
    (tmp_path / HEAD).write_bytes(anchor.encode())

    journal = JournalFile.reopen(tmp_path, ManualClock())
    journal.close()
    assert journal.lag == 2


def test_a_journal_without_an_anchor_is_an_old_one(tmp_path: Path) -> None:
    """Runs of before there were anchors go on, and get one."""
    written(tmp_path)
    (tmp_path / HEAD).unlink()

    journal = JournalFile.reopen(tmp_path, ManualClock())
    journal.append("note")
    journal.close()
    assert journal.lag is None
    assert check_anchor(read(tmp_path), tmp_path) == 0


@pytest.mark.parametrize("content", [b"x", b"1 2\n", b"0" * 78, b"\xff" * 78])
def test_an_anchor_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    """Foreign bytes there are named, and nothing is continued."""
    written(tmp_path)
    (tmp_path / HEAD).write_bytes(content)

    with pytest.raises(InputError, match=r"journal\.head: .*not an anchor"):
        JournalFile.reopen(tmp_path, ManualClock())


def test_a_full_disk_ends_the_journal_whole(tmp_path: Path) -> None:
    """Part of a line fits: it is taken off again, later events are refused, all before holds."""
    path = written(tmp_path)
    journal = JournalFile.reopen(tmp_path, ManualClock())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(ToolError, match="event not written: File too large"):
            journal.append("note", text="does not fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(ToolError, match="nothing is written any more"):
        journal.append("note")
    journal.close()

    assert journal.broken
    assert read_torn(tmp_path) == (read(tmp_path), 0)
    assert len(read(tmp_path)) == 3


def test_an_interrupt_after_the_write_doubles_nothing(tmp_path: Path) -> None:
    """Ctrl-C can come when a line is on the disk and not counted yet; the next one follows it."""
    journal = JournalFile(tmp_path / NAME, ManualClock(), anchored=True)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    journal.append("note")
    end = journal._end  # noqa: SLF001 - the very state of an interrupted append
    journal.on_append = interrupt
    with pytest.raises(KeyboardInterrupt):
        journal.append("note", text="written")
    journal._end, journal.on_append = end, None  # noqa: SLF001 - likewise
    journal.append("note", text="next")
    journal.close()

    assert [event.fields.get("text") for event in read(tmp_path)] == [None, "written", "next"]


def test_threads_append_one_after_the_other(tmp_path: Path) -> None:
    """A watch and a runner write into one journal; its chain holds."""
    journal = JournalFile(tmp_path / NAME, ManualClock(), anchored=True)

    def write() -> None:
        for _ in range(20):
            journal.append("note")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert len(read(tmp_path)) == 80


WRITE = """
import sys
from pathlib import Path
from harness.clock import SystemClock
from harness.journal_file import JournalFile
journal = JournalFile(Path(sys.argv[1]), SystemClock(), anchored=True)
while True:
    print(journal.append("note", text="x" * 2000).seq, flush=True)
"""


@pytest.mark.parametrize("count", [1, 7, 30])
def test_a_killed_writer_loses_nothing_that_it_had_written(tmp_path: Path, count: int) -> None:
    """After SIGKILL at any moment every event that was returned is there, and the run goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path / NAME)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        for _ in range(count):
            told = int(process.stdout.readline())
        process.kill()
        told = max([told, *(int(line) for line in process.stdout if line.endswith(b"\n"))])

    journal = JournalFile.reopen(tmp_path, ManualClock())
    journal.close()
    notes = [event for event in read(tmp_path) if event.type == "note"]
    assert len(notes) in {told, told + 1}  # one more may have been written and not told
    assert journal.lag in {0, 1}
