"""The commands by which people say something of a run, on the sample run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fst.cli import main
from fst.run_lock import RunLock
from harness.journal import Anchor, chain
from harness.journal_file import NAME, read
from tests.unit.test_report_sample import SITE, Writer, sample

PASSED, FAILED = ("B.3.2", SITE), ("B.3.4", SITE)
BY = ("--by", "C. Ustomer")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, **changed: object) -> Path:
    """Return the folder of a run whose journal is the sample's."""
    journal = Writer()
    for event in sample():
        journal.add(event.type, **event.fields)
        if event.type == "run.start":
            journal.events.clear()
            journal.add(event.type, **(dict(event.fields) | changed))
    lines = [event.encode() for event in journal.events]
    (folder / NAME).write_bytes(b"".join(lines))
    (folder / "journal.head").write_bytes(Anchor(len(lines), chain(lines[-1])).encode())
    return folder


def fst(*words: str | Path) -> int:
    return main([str(word) for word in words])


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def status(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    fst("status", run, "--json")
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_status_says_what_is_missing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The completeness gate lists every case that keeps the run from being accepted."""
    assert fst("status", run) == 1
    out = capsys.readouterr().out
    for said in (
        "2026-01-01T10-00-00Z-loopback: FAIL",
        "fully executed: no",
        "open FAIL: 1\n  B.3.4 site1: availability.no-query-while-held",
        "without a verdict: 3\n  B.2.4 site1: to be judged by a person",
        "to be accepted by the customer (fst accept): 1\n  B.3.5 site1: OTHER",
    ):
        assert said in out


def test_a_caveat_is_accepted_by_an_email(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is copied under its hash, and the report is made again."""
    reply = tmp_path / "Re: your test.eml"
    reply.write_bytes(b"From: C. Ustomer\n\nWe agree.\n")
    assert fst("caveat", run, *PASSED, "--words", "two servers only", "--severity", "major") == 0
    assert [one["step"] for one in status(run, capsys)["unaccepted"]] == ["B.3.2", "B.3.5"]
    assert fst("accept", run, *BY, "--email", reply) == 0

    found = status(run, capsys)
    assert found["unaccepted"] == []
    accepted = read(run)[-1].fields
    kept = run / str(accepted["path"])
    assert kept.read_bytes() == reply.read_bytes()
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == accepted["sha256"]
    assert accepted["boxes"] == [["B.3.2", SITE, 2], ["B.3.5", SITE, 1]]
    assert "two servers only" in (run / "report.html").read_text(encoding="utf-8")
    fst("report", run)
    assert kept.name not in capsys.readouterr().err
    kept.write_bytes(b"We do not agree.\n")
    assert fst("report", run) == 3
    assert f"{kept.name}: changed since the run" in capsys.readouterr().err


def test_a_declaration_lowers_a_verdict_and_fills_a_manual_box(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A box that nobody tried gets an attempt of the person's own."""
    assert fst("declare", run, *PASSED, "fail", *BY, "--words", "no tone") == 0
    assert fst("declare", run, "B.2.4", SITE, "pass", *BY) == 0
    assert capsys.readouterr().out.splitlines() == [
        "B.3.2 site1: FAIL: no tone",
        "B.2.4 site1: PASS: declared by C. Ustomer",
    ]


def test_a_witness_who_disagrees_is_told_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The disagreement is printed at once, and stands in the status."""
    assert fst("witness", run, *PASSED, "--by", "W. Itness", "--says", "pass") == 0
    assert fst("witness", run, *PASSED, *BY, "--says", "fail", "--words", "no tone") == 0
    out = capsys.readouterr().out
    assert "B.3.2 site1: recorded\n" in out
    assert "a disagreement: the box is PASS, C. Ustomer says FAIL" in out


def test_a_comment_is_the_testers_if_nobody_else_is_named(run: Path) -> None:
    """It stands beside its box."""
    assert fst("comment", run, "B.2.4", SITE, "--words", "no window today") == 0
    assert read(run)[-1].fields["by"] == "T. Ester"


CAVEAT = ("--words", "two servers only")
NOTE = (*BY, "--note", "agreed")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("caveat", *FAILED, *CAVEAT), "a caveat sits on a PASS or an OTHER"),
        (("caveat", "B.3.2", "site9", *CAVEAT), "B.3.2 has no box there; use one of site1"),
        (("caveat", "X.1", SITE, *CAVEAT), "no such case in this run"),
        (("caveat", "B.4.1", "enum1", *CAVEAT), "not applicable: ENUM servers have no standby"),
        (("caveat", *PASSED, "--words", " "), "a caveat is made of words"),
        (("comment", *PASSED, "--words", ""), "a comment is made of words"),
        (("declare", *FAILED, "pass", *BY), "only a new attempt can make it better"),
        (("declare", "B.3.7", SITE, "pass", *BY), "must be earned"),
        (("declare", *PASSED, "other", *BY), "OTHER by a person needs words"),
        (("declare", *PASSED, "pass", "--by", " "), "somebody says it, by name"),
        (("witness", "B.3.7", SITE, *BY, "--says", "pass"), "not tried at site1 yet"),
        (("witness", *PASSED, *BY, "--says", "fail"), "FAIL by a witness needs words"),
        (("accept", *NOTE, "B.3.2"), "a case without a target"),
        (("accept", *NOTE, *FAILED), "is FAIL; only a PASS or an OTHER"),
        (("accept", *NOTE, "B.3.7", SITE), "only a PASS or an OTHER can be accepted"),
        (("accept", *BY), "consent is a note or an e-mail"),
        (("accept", *NOTE, "--email", "x.eml"), "consent is a note or an e-mail"),
        (("accept", *BY, "--email", "/no/such.eml"), "cannot be read"),
        (("accept", "--by", "", "--note", "agreed"), "somebody accepts, by name"),
    ],
)
def test_what_breaks_a_rule_is_named_and_changes_nothing(
    run: Path, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one line, and no byte of the run is another."""
    before = contents(run)
    assert fst(words[0], run, *words[1:]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert why in said
    after = contents(run)
    after.pop("run.lock", None)
    assert after == before


def test_nothing_of_a_rehearsal_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says so, and copies no e-mail."""
    run = written(tmp_path, mode="rehearsal", watermark="REHEARSAL")
    assert fst("accept", run, *NOTE) == 2
    assert "nothing of a rehearsal is accepted" in capsys.readouterr().err
    assert fst("status", run) == 1
    assert ": REHEARSAL\n" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_run_of_a_newer_program_is_refused_in_one_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words may mean something else."""
    run = written(tmp_path, schema=2)
    assert fst(command, run) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "schema = 2: a journal of another schema; this program reads up to 1" in line


def test_a_run_that_is_being_written_is_left_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal says who writes it."""
    with RunLock(run):
        assert fst("comment", run, *PASSED, "--words", "x") == 2
    assert "is being written by process" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "edited", "none"])
def test_a_damaged_run_is_named_and_left_alone(
    run: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cut tail, an edited line, no run at all: exit 2, nothing written."""
    path = run / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "cut":
        path.write_bytes(b"".join(lines[:-2]))
    elif damage == "edited":
        path.write_bytes(b"".join([lines[0].replace(b"Example Bank", b"Example Hank"), *lines[1:]]))
    else:
        path.unlink()
    before = contents(run)
    assert fst("comment", run, *PASSED, "--words", "x") == 2
    assert capsys.readouterr().err.startswith(f"fst: {path}")
    assert contents(run) == before


def test_a_report_of_a_cut_journal_is_made_and_doubted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is there is shown; exit 3 and one line say that something is missing."""
    path = run / NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    assert fst("report", run) == 3
    assert "its last 2 events are missing" in capsys.readouterr().err
