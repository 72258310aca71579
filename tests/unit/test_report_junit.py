"""The JUnit file: a test case a box."""

import xml.etree.ElementTree as ET

from fst.report.junit import render
from fst.report.model import build
from tests.unit.test_report_sample import SITE, Writer, finding, sample, start


def root() -> ET.Element:
    return ET.fromstring(render(build(sample())))  # noqa: S314 - our own text


def case(step: str) -> ET.Element:
    return next(each for each in root().iter("testcase") if each.get("name") == f"{step} F13")


def test_one_case_a_box_with_counts() -> None:
    """Every box of every form is a case, and the counts agree with the cases."""
    suites = root()
    assert len(list(suites.iter("testcase"))) == 48
    counts = {name: suites.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "48", "failures": "3", "errors": "3", "skipped": "9"}


def test_case_is_named_by_step_form_site_and_host() -> None:
    """Names are the plan's own, and never those of a test runner."""
    assert case("B.3.4").attrib["classname"] == "site1.enum1"


def test_fail_is_a_failure_and_other_an_error() -> None:
    """CI goes red on both, and can tell them apart."""
    assert "no-query-while-held" in (case("B.3.4").findtext("failure") or "")
    error = case("B.3.5").find("error")
    assert error is not None
    assert error.get("type") == "OTHER"


def test_empty_boxes_are_skipped_with_the_reason() -> None:
    """An empty box says why it is empty; a row without a box is no test case."""
    reasons = {}
    for step in ("B.2.4", "B.3.6", "B.3.7"):
        skipped = case(step).find("skipped")
        assert skipped is not None
        reasons[step] = skipped.get("message")
    assert reasons == {
        "B.2.4": "to be judged by a person",
        "B.3.6": "not judged: the attempt ended early",
        "B.3.7": "not selected for this run",
    }
    assert not [one for one in root().iter("testcase") if "B.4.1" in (one.get("name") or "")]


def test_properties_hold_target_attempts_and_findings() -> None:
    """The superseded attempt and the findings travel with the case."""
    held = [(each.get("name"), each.get("value")) for each in case("B.3.2").iter("property")]
    assert ("target", SITE) in held
    assert ("attempts", "2") in held
    assert ("superseded attempt", "1: FAIL: rotation.next-in-turn: a turn was left out") in held
    assert (
        "finding",
        "PASS rotation.next-in-turn: expected enum2, observed enum2",
    ) in held


def test_attempt_that_fills_no_box_is_a_case_too() -> None:
    """A FAIL outside the forms turns CI red as well."""
    journal = Writer()
    journal.add("run.start", **start(forms=[]))
    journal.attempt("B.9.9", SITE, ("FAIL", "bad"), finding("FAIL"))
    found = ET.fromstring(render(build(journal.events)))  # noqa: S314 - our own text
    assert found.get("failures") == "1"


def test_characters_that_xml_cannot_hold_are_spelled_out() -> None:
    """A control character in an observed value gives a well-formed file that shows it."""
    journal = Writer()
    journal.add("run.start", **start())
    journal.attempt("B.3.2", SITE, ("FAIL", "got \x00\ud800\ufffe"), finding("FAIL"))
    text = render(build(journal.events))
    ET.fromstring(text)  # noqa: S314 - our own text
    assert "got \\x00\\ud800\\ufffe" in text
