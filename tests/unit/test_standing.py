"""What stands when a re-test was cut off; what links and forged files in a run can do."""

import os
import subprocess
from pathlib import Path

import pytest

from fst import settle
from fst.boxes import Boxes
from fst.lab.observe import end_hosts
from fst.report.model import BoxState, build
from fst.resume import retests
from fst.run_lock import RunLock, start_of
from harness.clock import SystemClock
from harness.errors import InputError, ToolError
from harness.journal_file import JournalFile, check_anchor, read
from tests.unit.test_report_sample import Writer, attachment, finding, form, start

KEY = ("B.3.4", "site1")
BOX = {"step": KEY[0], "target": KEY[1]}


def failed(*, stopped: str = "interrupted") -> Writer:
    """Return a journal with a FAIL, and a re-test of it that was cut off."""
    journal = Writer()
    journal.add("run.start", **start(forms=[form(1)]))
    journal.attempt(*KEY, ("FAIL", "two calls lost"), attachment(*KEY), finding())
    journal.add("attempt.start", **BOX, attempt=2, reason="new card")
    journal.add("attempt.end", **BOX, **{stopped: True})
    return journal


@pytest.mark.parametrize("stopped", ["interrupted", "parked"])
def test_a_fail_stands_until_another_attempt_is_judged(stopped: str) -> None:
    """A re-test that was cut off does not hide it: the box is FAIL, and so is the run."""
    journal = failed(stopped=stopped)
    report = build(journal.events)
    states = {row.step: row.state for row in report.boxes}
    boxes = Boxes.fold(journal.events)

    assert states["B.3.4"] is BoxState.FAIL
    assert report.exit_code() == 1
    assert retests(boxes, ["failed"], [KEY]) == {KEY}


@pytest.mark.parametrize("outcome", ["PASS", "OTHER"])
def test_words_alone_better_no_verdict(outcome: str) -> None:
    """An attempt in which nothing was done may not be judged better than the one before it."""
    journal = failed()
    journal.add("attempt.start", **BOX, attempt=3, reason="declared by a person")
    said = {"attempt": 3, "outcome": outcome, "words": "looked fine", "by": "T. Ester"}
    journal.add("verdict.declared", **BOX, **said)

    with pytest.raises(InputError, match=r"must be earned|attempt 1 is FAIL"):
        Boxes.fold(journal.events)


def test_a_person_who_was_asked_in_a_new_attempt_may_find_it_better() -> None:
    """There the case was carried out again: somebody was asked about it."""
    journal = Writer()
    journal.add("run.start", **start(forms=[]))
    journal.add("attempt.start", **BOX, attempt=1)
    said = {"words": "red lamp", "by": "T. Ester"}
    journal.add("verdict.declared", **BOX, attempt=1, outcome="FAIL", **said)
    journal.add("attempt.end", **BOX)
    journal.add("attempt.start", **BOX, attempt=2, reason="new lamp")
    journal.add(
        "prompt.answered", **BOX, attempt=2, prompt="p", key="p", words="", who="T", where=""
    )
    journal.add("verdict.declared", **BOX, attempt=2, outcome="PASS", **said)
    journal.add("attempt.end", **BOX)
    verdict = Boxes.fold(journal.events).verdict(KEY)

    assert verdict is not None
    assert verdict.outcome == "PASS"


async def ended(folder: Path) -> str:
    return await end_hosts(folder)


def test_a_folder_that_no_lab_made_is_never_removed(tmp_path: Path) -> None:
    """A journal may name any folder; one of another name is refused, what is beside hosts stays."""
    import asyncio  # noqa: PLC0415 - for this test alone

    for name in ("victim", "fst-hosts-x"):
        (tmp_path / name / "sub" / "root").mkdir(parents=True)
        (tmp_path / name / "sub" / "host.json").write_text('{"daemons":[],"cron":null}')
        (tmp_path / name / "precious").mkdir()

    with pytest.raises(InputError, match="not a folder that a lab made"):
        asyncio.run(ended(tmp_path / "victim"))
    said = asyncio.run(ended(tmp_path / "fst-hosts-x"))

    assert (tmp_path / "victim" / "sub").exists()
    assert (tmp_path / "fst-hosts-x" / "precious").exists()
    assert "is left" in said


def test_abort_ends_no_process_that_has_not_the_lock(tmp_path: Path) -> None:
    """The text in the lock's file is anybody's; the process that it names must have it open."""
    run = tmp_path / "run"
    run.mkdir()
    JournalFile(run / "journal.jsonl", SystemClock(), anchored=True).close()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            with RunLock(run):
                text = (run / "run.lock").read_text()
                own = f'"pid": {os.getpid()}, "started": "{start_of(os.getpid())}"'
                assert own in text
                theirs = f'"pid": {stranger.pid}, "started": "{start_of(stranger.pid)}"'
                (run / "run.lock").write_text(text.replace(own, theirs))
                with pytest.raises(InputError, match="which has not got it"):
                    settle.end_runner(run)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("name", ["run.lock", "journal.head"])
def test_links_in_a_run_are_not_followed(tmp_path: Path, name: str) -> None:
    """A folder from elsewhere must not have a file beside it emptied or written to."""
    outside, run = tmp_path / "keys", tmp_path / "run"
    outside.write_text("secret")
    run.mkdir()
    (run / name).symlink_to(outside)

    with pytest.raises(ToolError), RunLock(run):
        JournalFile(run / "journal.jsonl", SystemClock(), anchored=True)
    assert outside.read_text() == "secret"


def test_a_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Two folders with one journal would be two writers."""
    JournalFile(tmp_path / "first.jsonl", SystemClock()).close()
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "first.jsonl")

    with pytest.raises(InputError, match="a link or a special file"):
        read(tmp_path)


@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_a_run_without_its_anchor_is_refused(tmp_path: Path, harm: str) -> None:
    """Its first event says that there is one; without it a cut tail would not be seen."""
    journal = JournalFile(tmp_path / "journal.jsonl", SystemClock(), anchored=True)
    journal.append("run.start", anchored=True)
    journal.append("run.end")
    journal.close()
    head = tmp_path / "journal.head"
    if harm == "gone":
        head.unlink()
    else:
        head.write_bytes(b"")

    with pytest.raises(InputError, match=r"journal\.head"):
        check_anchor(read(tmp_path), tmp_path)
