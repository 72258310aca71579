"""From a journal to forms with boxes."""

import pytest

from fst.report.history import NO_VERDICT
from fst.report.model import BoxState, Report, Row, build
from fst.verdict import ENDED_EARLY, EXIT_FAIL, EXIT_PASS, EXIT_UNDECIDED
from harness.errors import InputError
from harness.journal import Event, chain
from tests.unit.test_report_sample import (
    SITE,
    STEPS,
    Writer,
    attachment,
    finding,
    form,
    measurement,
    outage_strip,
    sample,
    start,
)

PASS = ("PASS", "checked")


def run(**changed: object) -> Writer:
    journal = Writer()
    journal.add("run.start", **start(**changed))
    return journal


def row(report: Report, step: str, form_index: int = 0) -> Row:
    return next(each for each in report.forms[form_index].rows if each.step == step)


def one(journal: Writer, step: str = "B.3.2") -> Row:
    return row(build(journal.events), step)


def test_sample_has_every_kind_of_box() -> None:
    """Three forms of 17 boxes: each kind of result is counted, and nothing is lost."""
    totals = build(sample()).totals
    assert totals == {
        BoxState.PASS: 33,
        BoxState.FAIL: 3,
        BoxState.OTHER: 3,
        BoxState.NOT_APPLICABLE: 3,
        BoxState.WAITING: 3,
        BoxState.NOT_RUN: 6,
    }
    assert sum(totals.values()) == 3 * (len(STEPS) + 1)


def test_site_case_fills_a_box_on_every_form_with_one_evidence() -> None:
    """One observation at the site is kept once, and every form points at it."""
    report = build(sample())
    shown = [row(report, "B.3.4", index).evidence for index in range(3)]
    assert shown[0] is shown[1] is shown[2]
    assert shown[0] is not None
    assert len(shown[0].boxes) == 3


def test_host_case_fills_its_own_box_alone() -> None:
    """What was seen at one server says nothing about the next."""
    journal = run()
    journal.attempt("B.1.1", "enum1", PASS, finding())
    report = build(journal.events)
    assert row(report, "B.1.1", 0).state is BoxState.PASS
    assert row(report, "B.1.1", 1).state is BoxState.NOT_RUN


def test_latest_attempt_counts_and_all_are_kept() -> None:
    """A PASS after a FAIL fills the box, and the FAIL stays in the evidence."""
    found = row(build(sample()), "B.3.2")
    assert found.state is BoxState.PASS
    assert [attempt.outcome for attempt in found.attempts] == ["FAIL", "PASS"]


def test_attempt_that_ended_early_leaves_the_box_empty() -> None:
    """A crash is neither PASS nor FAIL, not even after a PASS was proposed or earned before."""
    journal = run()
    journal.attempt("B.3.2", SITE, PASS, finding())
    journal.attempt("B.3.2", SITE, PASS, finding(), number=2, ends=False)
    found = one(journal)
    assert found.state is BoxState.NOT_RUN
    assert found.words == f"{ENDED_EARLY} (PASS had been proposed: checked)"


def test_attempt_without_a_verdict_leaves_the_box_empty() -> None:
    """An attempt that ended in order but judged nothing is not a PASS."""
    journal = run()
    journal.attempt("B.3.2", SITE, None, finding())
    assert (one(journal).state, one(journal).words) == (BoxState.NOT_RUN, NO_VERDICT)


def test_verdict_only_gets_worse_and_keeps_its_first_reason() -> None:
    """Of FAIL, PASS and FAIL again in one attempt the first FAIL stays."""
    journal = run()
    journal.attempt(
        "B.3.2",
        SITE,
        ("FAIL", "third"),
        finding(),
        ("verdict.proposed", {"outcome": "FAIL", "words": "first"}),
        ("verdict.proposed", {"outcome": "PASS", "words": "second"}),
    )
    assert (one(journal).state, one(journal).words) == (BoxState.FAIL, "first")


def test_recorded_fail_outweighs_a_proposed_pass() -> None:
    """A PASS above a failed check is not believed, and the check is named."""
    journal = run()
    journal.attempt("B.3.2", SITE, PASS, finding("FAIL"))
    assert one(journal).state is BoxState.FAIL
    assert "rotation.next-in-turn: expected enum2, observed enum3" in one(journal).words


def test_pass_without_a_check_is_other() -> None:
    """A proposed PASS with nothing recorded under it is not earned."""
    journal = run()
    journal.attempt("B.3.2", SITE, PASS)
    assert (one(journal).state, one(journal).words) == (BoxState.OTHER, "no check was made")


def test_pass_from_a_capture_that_lost_packets_is_other() -> None:
    """Dropped packets take the PASS away."""
    journal = run()
    kind, fields = attachment("B.3.2")
    journal.attempt("B.3.2", SITE, PASS, finding(), (kind, fields | {"dropped": 2}))
    assert one(journal).state is BoxState.OTHER


def test_measurement_that_is_no_number_was_not_taken() -> None:
    """NaN lies within no limits: it counts as not measured."""
    journal = run()
    journal.attempt("B.3.2", SITE, PASS, measurement(float("nan")))
    assert one(journal).state is BoxState.OTHER


def test_not_applicable_and_unselected_say_so() -> None:
    """An N/A box carries the plan's reason, one left out of the run says that it was left out."""
    report = build(sample())
    assert row(report, "B.4.1").words == "ENUM servers have no standby"
    assert row(report, "B.3.7").words == "not selected for this run"
    assert row(report, "B.2.4").state is BoxState.WAITING


def test_row_without_a_box_counts_only_when_it_was_tried() -> None:
    """A line of instructions is no box; a FAIL under it still counts."""
    plain = form(1)
    rows = plain["rows"]
    assert isinstance(rows, list)
    rows[:] = [rows[10] | {"box": ""}]
    journal = run(forms=[plain])
    assert build(journal.events).boxes == ()
    journal.attempt("B.3.2", SITE, ("FAIL", "bad"), finding("FAIL"))
    assert build(journal.events).exit_code() == EXIT_FAIL


def test_attempt_that_fills_no_box_is_kept_and_counts() -> None:
    """An attempt that no form mentions is shown as such, and its FAIL is a FAIL."""
    journal = run(forms=[], selected=None)
    journal.attempt("B.9.9", SITE, ("FAIL", "bad"), finding("FAIL"))
    report = build(journal.events)
    assert [each.boxes for each in report.evidence] == [()]
    assert report.exit_code() == EXIT_FAIL


def test_exit_code_of_boxes() -> None:
    """One selected case that passed is 0, with a person's box open 3 when asked for complete."""
    journal = run(selected=["B.3.2", "B.2.4"])
    assert build(journal.events).exit_code() == EXIT_UNDECIDED
    journal.attempt("B.3.2", SITE, PASS, finding())
    report = build(journal.events)
    assert report.exit_code() == EXIT_PASS
    assert report.exit_code(complete=True) == EXIT_UNDECIDED


def test_selection_may_name_a_whole_section() -> None:
    """Choosing B.3 chooses B.3.2, and nothing of B.2."""
    report = build(run(selected=["B.3"]).events)
    assert row(report, "B.3.2").selected
    assert not row(report, "B.2.1").selected


def test_unknown_events_and_fields_are_ignored() -> None:
    """A newer journal with types and fields of its own still gives its report."""
    journal = run(novelty={"a": 1})
    journal.add("witness.ack", step="B.3.2", target=SITE)
    journal.attempt("B.3.2", SITE, PASS, finding(confidence=3), ("sample", {"x": 1}))
    assert one(journal).state is BoxState.PASS


def test_run_without_an_end_says_so() -> None:
    """A killed run keeps what it recorded, and no end is made up for it."""
    report = build(run().events)
    assert (report.run.ended_ns, report.run.recorded_exit_code) == (None, None)


def test_head_is_the_hash_of_the_last_line() -> None:
    """The report names the journal's head and count, so that a cut tail shows."""
    events = sample()
    report = build(events)
    assert (report.head, report.events) == (chain(events[-1].encode()), len(events))


def test_strip_is_read_with_its_kinds() -> None:
    """A strip comes back with its servers, and the count of dots that were thinned out."""
    journal = run()
    journal.attempt("B.3.2", SITE, PASS, outage_strip(), finding())
    strip = one(journal).attempts[0].strip
    assert strip is not None
    assert (strip.servers, strip.dropped_dots) == (("enum1", "enum2", "enum3"), 7)


def test_comments_stay_with_their_box_also_without_an_attempt() -> None:
    """What a person wrote about a box is shown even if nothing was tried."""
    journal = run()
    journal.add("comment", step="B.3.2", target=SITE, text="no window today")
    assert [said.text for said in one(journal).comments] == ["no window today"]


@pytest.mark.parametrize("events", [[], [Event(1, 0, "run.end", "", {})]])
def test_journal_without_a_start_is_refused(events: list[Event]) -> None:
    """Without run.start there are no forms, and none are made up."""
    with pytest.raises(InputError, match=r"run\.start"):
        build(events)


def test_two_starts_are_refused() -> None:
    """Two runs in one journal cannot share one set of forms."""
    journal = run()
    journal.add("run.start", **start())
    with pytest.raises(InputError, match="more than one run"):
        build(journal.events)


def test_event_before_its_attempt_is_refused() -> None:
    """A finding that belongs to no attempt names its line."""
    journal = run()
    journal.add("finding", step="B.3.2", target=SITE, **finding()[1])
    with pytest.raises(InputError, match=r"event 2 \(finding\): belongs to no attempt"):
        build(journal.events)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("finding", {"rule": "r", "outcome": "MAYBE", "frames": []}),
        ("finding", {"rule": "r", "outcome": "PASS", "frames": [True]}),
        ("finding", {"rule": 3, "outcome": "PASS", "frames": []}),
        ("measurement", {"name": "m", "value": "3", "unit": "ms"}),
        ("measurement", {"name": "m", "value": 3, "unit": "ms", "high": float("nan")}),
        ("measurement", {"name": "m", "value": 10**400, "unit": "ms"}),
        ("attachment", {"path": "a", "bytes": -1}),
        ("strip", {"servers": ["a"], "dots": [[0, 1, "answered", 1]]}),
        ("strip", {"servers": ["a"], "dots": [[0, 0, "answered"]]}),
        ("strip", {"servers": ["a"], "dots": [[0, 0, "shiny", 1]]}),
        ("strip", {"servers": [1]}),
        ("verdict.proposed", {"outcome": "N/A", "words": ""}),
    ],
)
def test_field_of_the_wrong_kind_is_refused(kind: str, fields: dict[str, object]) -> None:
    """A field that is not what its event holds is named, never guessed."""
    journal = run()
    journal.attempt("B.3.2", SITE, None, (kind, fields))
    with pytest.raises(InputError):
        build(journal.events)


def test_time_beyond_the_calendar_is_refused() -> None:
    """A wall time that cannot be written is a broken journal, not a crash of the report."""
    with pytest.raises(InputError, match="at_ns"):
        build([Event(1, 10**30, "run.start", "", start())])
