"""The HTML report: one page for the customer, forms, evidence, signatures."""

import re

import pytest

from fst.report.html import CHECKED, EMPTY, href, render
from fst.report.model import build
from fst.report.overview import LAB_WARNING
from tests.unit.test_report_sample import SITE, Writer, finding, sample, start


def page(**changed: object) -> str:
    journal = Writer()
    journal.add("run.start", **start(**changed))
    journal.attempt("B.3.2", SITE, ("PASS", "counted"), finding())
    return render(build(journal.events))


def section(text: str, ident: str) -> str:
    """Return one section of the page, from its heading to its end."""
    start_of = text.index(f'id="{ident}"')
    return text[start_of : text.index("</section>", start_of)]


def test_same_journal_gives_the_same_bytes() -> None:
    """Nothing but the journal goes into the report: no clock, no order of a set."""
    assert render(build(sample())) == render(build(sample()))


def test_summary_tells_result_place_time_and_people() -> None:
    """The first page answers what, where, when (UTC) and who, with the result in words."""
    text = section(render(build(sample())), "summary")
    for said in (
        "Overall: FAIL",
        "33 of the 39 boxes that have a verdict are PASS",
        "Example Bank, Site 1",
        "2026-01-01 10:00:02 UTC",
        "T. Ester",
        "sbc.hold_down_s=30",
        "read as redirect",
        "all 3 forms of part B",
    ):
        assert said in text


def test_lab_run_is_marked_as_no_evidence() -> None:
    """A lab run says on its first and last page that it proves nothing about a customer."""
    escaped = LAB_WARNING.replace("'", "&#39;")
    assert page().count(escaped) == 2
    assert escaped not in page(watermark="")


def test_form_has_the_boxes_of_the_paper() -> None:
    """Each row offers PASS, FAIL and OTHER, one of them ticked when there is a verdict."""
    text = section(render(build(sample())), "form-1")
    assert text.count(f"{CHECKED} PASS") == 11
    assert text.count(f"{CHECKED} FAIL") == 1
    assert text.count(f"{CHECKED} OTHER") == 1
    assert text.count(f"{CHECKED} N/A") == 1
    assert text.count(f"{EMPTY} PASS") == 16 - 11
    assert text.count("signature") == 2


def test_links_lead_to_anchors_that_exist_once() -> None:
    """Every link inside the page has exactly one target, charts included."""
    text = render(build(sample()))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_superseded_attempt_is_printed() -> None:
    """The FAIL before a PASS stays on paper."""
    text = section(render(build(sample())), "evidence")
    assert "Attempt 1 (superseded)" in text
    assert "a turn was left out" in text


def test_nothing_is_loaded_or_run() -> None:
    """The file asks nothing of a network and has no script."""
    text = render(build(sample()))
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r'(src|href)="(?!#|attempts/)', text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_run_without_its_end_says_so() -> None:
    """A killed run does not look like a finished one."""
    assert "did not come to its end" in page()


@pytest.mark.parametrize(
    "path",
    ["", "javascript:alert(1)", "//host/x", "/etc/passwd", "a/../../b", "a b", "a?b", "a\\b"],
)
def test_only_a_file_of_the_run_becomes_a_link(path: str) -> None:
    """A path that could lead anywhere else is printed, not linked."""
    assert href(path) == ""
