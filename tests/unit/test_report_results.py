"""The results as JSON."""

import json

from fst.report.model import build
from fst.report.results import SCHEMA, render
from tests.unit.test_report_sample import sample


def test_results_are_plain_json() -> None:
    """What is written reads back the same, without NaN and without private types."""
    found = render(build(sample()))
    assert json.loads(json.dumps(found, allow_nan=False))["schema"] == SCHEMA


def test_results_carry_totals_boxes_and_evidence() -> None:
    """A program finds the totals, each box's state, and the evidence that a box points at."""
    found = json.loads(json.dumps(render(build(sample()))))
    assert found["totals"]["PASS"] == 33
    assert (found["overall"], found["exit_code"]) == ("FAIL", 1)
    box = next(each for each in found["forms"][0]["boxes"] if each["step"] == "B.3.2")
    assert (box["state"], box["attempt"]) == ("PASS", 2)
    shown = found["evidence"][box["evidence"] - 1]
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["FAIL", "PASS"]
    assert shown["attempts"][0]["findings"][0]["frames"] == [31, 32]


def test_measurements_carry_their_outcome() -> None:
    """The outcome is written out, so that a reader need not know the rule for limits."""
    found = json.loads(json.dumps(render(build(sample()))))
    assert found["evidence"][0]["attempts"][0]["measurements"][0]["outcome"] == "PASS"
