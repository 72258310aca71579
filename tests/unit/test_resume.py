"""What a journal says of where a run stood: what is left, what is half-done, what fits."""

from collections.abc import Sequence
from typing import Any

import pytest

from fst.boxes import Boxes
from fst.resume import began, half_done, is_left, refuse_other, retests, verdicts, who_tests
from harness.errors import InputError
from harness.finding import Outcome
from harness.journal import Event

ENUM1, ENUM2, SITE = ("B.3.1", "site1/enum1"), ("B.3.1", "site1/enum2"), ("B.3.3", "site1")
START: dict[str, Any] = {
    "schema": 1,
    "run": "R",
    "mode": "lab",
    "plan": {"id": "p", "version": "1", "sha256": "aa"},
    "site": {"file": "lab.toml", "sha256": "bb", "settings": ["x=1"], "folder": "../.."},
    "people": {"tester": "A. Tester"},
    "selected": ["B.3"],
}


def journal(*rows: tuple[str, dict[str, Any]]) -> tuple[Event, ...]:
    every = [("run.start", START), *rows]
    return tuple(Event(at, at, kind, "", fields) for at, (kind, fields) in enumerate(every, 1))


def place(key: tuple[str, str], **more: object) -> dict[str, Any]:
    return {"step": key[0], "target": key[1], **more}


def attempt(
    key: tuple[str, str], outcome: str, number: int = 1
) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("attempt.start", place(key, attempt=number)),
        ("finding", place(key, rule="r", outcome=outcome, expected="a", observed="b", frames=[1])),
        ("verdict.proposed", place(key, outcome=outcome, words="words")),
        ("attempt.end", place(key)),
    ]


def boxes_of(*rows: tuple[str, dict[str, Any]]) -> Boxes:
    return Boxes.fold(journal(*rows))


def test_a_judged_box_is_left_alone_and_the_others_are_not() -> None:
    """PASS, FAIL and OTHER are verdicts; a box outside of what was selected is not to do."""
    boxes = boxes_of(*attempt(ENUM1, "PASS"), *attempt(ENUM2, "FAIL"))
    known = verdicts(boxes)

    assert known == {ENUM1: Outcome.PASS, ENUM2: Outcome.FAIL}
    assert [is_left(key, known, ["B.3"]) for key in (ENUM1, ENUM2, SITE)] == [False, False, True]
    assert not is_left(SITE, known, ["B.2"])
    assert is_left(SITE, known, None)


@pytest.mark.parametrize(
    ("lines", "judged"), [(1, False), (2, False), (3, True)], ids=["begun", "found", "proposed"]
)
def test_a_half_done_attempt_has_a_verdict_only_if_it_was_proposed(
    lines: int, judged: bool
) -> None:
    """What was found before the verdict counts for nothing; after it only the end is missing."""
    boxes = boxes_of(*attempt(ENUM1, "PASS")[:lines])

    assert [(one.attempt, one.judged) for one in half_done(boxes)] == [(1, judged)]
    assert (ENUM1 in verdicts(boxes)) is judged


def test_an_attempt_that_was_cut_off_leaves_its_box_open() -> None:
    """An attempt ended as interrupted, after a FAIL before it, leaves the box to be done."""
    again = [
        ("attempt.start", place(ENUM1, attempt=2, reason="new card")),
        ("attempt.end", place(ENUM1, interrupted=True)),
    ]
    boxes = boxes_of(*attempt(ENUM1, "FAIL"), *again)

    assert verdicts(boxes) == {}
    assert half_done(boxes) == ()


def test_retests_are_named_by_verdict_case_or_box() -> None:
    """By the last verdict (failed, other), a case with all its boxes, one box by its target."""
    boxes = boxes_of(*attempt(ENUM1, "PASS"), *attempt(ENUM2, "FAIL"), *attempt(SITE, "OTHER"))
    every = (ENUM1, ENUM2, SITE, ("B.1.1", "site1"))

    assert retests(boxes, ["failed"], every) == {ENUM2}
    assert retests(boxes, ["other", "failed"], every) == {ENUM2, SITE}
    assert retests(boxes, ["B.3.1"], every) == {ENUM1, ENUM2}
    assert retests(boxes, ["B.3.1@site1/enum1"], every) == {ENUM1}
    assert retests(boxes, ["suspect"], every) == frozenset()
    with pytest.raises(InputError, match="no box that was tried"):
        retests(boxes, ["B.1.1"], every)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"site_sha256": "cc"}, "not the site file"),
        ({"plan_sha256": "cc"}, "of plan p 1, which is not the plan of this program"),
        ({"settings": ["x=2"]}, r"not the settings that the run began with \(x=1\)"),
    ],
)
def test_another_site_file_plan_or_setting_is_refused(other: dict[str, Any], said: str) -> None:
    """It is said which of the three is not what the run began with."""
    known = began(journal())
    same: dict[str, Any] = {"site_sha256": "bb", "plan_sha256": "aa", "settings": []}

    refuse_other(known, site="lab.toml", **same)
    refuse_other(known, site="lab.toml", **(same | {"settings": ["x=1"]}))
    with pytest.raises(InputError, match=said):
        refuse_other(known, site="lab.toml", **(same | other))


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((), "no run starts"),
        ((Event(1, 1, "note", "", {}),), "no run starts"),
        ((Event(1, 1, "run.start", "", START | {"schema": 2}),), "written by a newer program"),
    ],
)
def test_a_journal_without_a_beginning_that_can_be_read_is_refused(
    events: Sequence[Event], said: str
) -> None:
    """Empty, of something else, or of a newer schema."""
    with pytest.raises(InputError, match=said):
        began(events)


def test_the_tester_is_who_it_was_handed_to_last() -> None:
    """The site file's tester first, then each handover's."""
    events = journal(
        ("run.handover", {"from": "A. Tester", "to": "B. Tester"}),
        ("run.handover", {"from": "B. Tester", "to": "C. Tester"}),
    )

    assert who_tests(events[:1]) == "A. Tester"
    assert who_tests(events) == "C. Tester"
