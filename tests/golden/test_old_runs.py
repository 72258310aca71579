"""Runs of earlier versions: their journals stay readable, and give the reports that they gave."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from fst.acceptance import Word, stand
from fst.boxes import Boxes
from fst.events import check, json_schema
from fst.report import html, junit, results
from fst.report.model import BoxState, build
from harness.clock import ManualClock
from harness.journal import Event
from harness.journal_file import JournalFile, check_anchor, read

RUN = Path(__file__).parents[2] / "fixtures" / "runs" / "first-of-schema-1"


@pytest.fixture(scope="module")
def events() -> tuple[Event, ...]:
    return read(RUN)


def test_every_event_is_of_schema_1(events: tuple[Event, ...]) -> None:
    """Our check and a foreign validator take each line of the old journal."""
    validator = Draft202012Validator(json_schema())
    for event in events:
        check(event)
        validator.validate(json.loads(event.encode()))


def test_its_reports_say_what_they_said(events: tuple[Event, ...]) -> None:
    """The one case that was run has its verdict on each form; every format is written."""
    report = build(events)
    assert report.totals[BoxState.PASS] == 3
    assert {row.step for row in report.boxes if row.state is BoxState.PASS} == {"B.3.2"}
    assert (report.run.recorded_exit_code, report.exit_code()) == (0, 0)
    assert stand(report).word is Word.INCOMPLETE
    for text in (html.render(report), junit.render(report), json.dumps(results.render(report))):
        assert "B.3.2" in text


def test_its_box_keeps_the_rules(events: tuple[Event, ...]) -> None:
    """One attempt, ended, with the verdict that was proposed."""
    boxes = Boxes.fold(events)
    assert [len(found) for found in boxes.attempts.values()] == [1]
    assert boxes.still_open == ()


def test_it_can_be_gone_on_with(events: tuple[Event, ...], tmp_path: Path) -> None:
    """It has no anchor; reopened it gets one."""
    (tmp_path / "journal.jsonl").write_bytes((RUN / "journal.jsonl").read_bytes())
    assert check_anchor(events, tmp_path) is None
    journal = JournalFile.reopen(tmp_path, ManualClock())
    journal.append("comment", step="B.3.2", target="site1", text="read again")
    journal.close()
    assert check_anchor(read(tmp_path), tmp_path) == 0
