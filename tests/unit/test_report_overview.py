"""The customer's page: the result in words, and what is not PASS."""

from fst.report.model import BoxState, build
from fst.report.overview import exemptions, matrices, overall, readings, warning
from tests.unit.test_report_sample import SITE, Writer, finding, form, sample, start


def test_overall_is_pass_only_when_earned() -> None:
    """No verdict is NOT DECIDED; while a box is empty, PASSes are not a PASS of the whole."""
    journal = Writer()
    journal.add("run.start", **start(selected=["B.3.2"]))
    assert overall(build(journal.events)).word == "NOT DECIDED"
    journal.attempt("B.3.2", SITE, ("PASS", "counted"), finding())
    found = overall(build(journal.events))
    assert found.word == "NOT COMPLETE"
    assert "45 boxes not selected for this run." in found.sentences


def test_exemptions_are_worst_first_and_grouped() -> None:
    """A site's FAIL is one line for all forms, and FAIL comes before everything else."""
    found = exemptions(build(sample()))
    assert [each.state for each in found] == [
        BoxState.FAIL,
        BoxState.OTHER,
        BoxState.NOT_APPLICABLE,
        BoxState.WAITING,
        BoxState.NOT_RUN,
        BoxState.NOT_RUN,
    ]
    assert found[0].steps == ("B.3.4",)
    assert found[0].places == ("all 3 forms of part B",)


def test_exemption_of_one_form_names_it() -> None:
    """What holds for one server only says which."""
    journal = Writer()
    journal.add("run.start", **start())
    journal.attempt("B.1.1", "enum2", ("FAIL", "bad"), finding("FAIL"))
    assert exemptions(build(journal.events))[0].places == ("F14 Site 1 ENUM server 2",)


def test_matrix_leaves_a_gap_where_a_form_has_no_box() -> None:
    """Forms with other steps share one table, and the gaps are empty cells."""
    short = form(2)
    rows = short["rows"]
    assert isinstance(rows, list)
    del rows[0]
    journal = Writer()
    journal.add("run.start", **start(forms=[form(1), short]))
    (matrix,) = matrices(build(journal.events))
    assert matrix.steps[0] == "B.1.1"
    assert [cells[0] is None for _, _, cells in matrix.lines] == [False, True]


def test_readings_are_named_once() -> None:
    """A note that stands on three forms is one reading."""
    assert [each.steps for each in readings(build(sample()))] == [("B.1.4",), ("B.2.3",)]


def test_unknown_watermark_is_shown_as_it_is() -> None:
    """A mark of a newer kind of run is not swallowed."""
    journal = Writer()
    journal.add("run.start", **start(watermark="TRIAL"))
    assert warning(build(journal.events)) == "TRIAL"
