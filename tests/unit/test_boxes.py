"""The rules of boxes and attempts, one by one."""

import pytest

from fst.boxes import Boxes
from harness.errors import InputError
from harness.finding import Outcome
from tests.unit.test_report_sample import SITE, Writer, attachment, finding, sample, start

KEY = ("B.3.2", SITE)
BOX = {"step": KEY[0], "target": KEY[1]}
FAILED = ("FAIL", "a turn was left out")
PASSED = ("PASS", "counted")


def judged(verdict: tuple[str, str] | None = PASSED, **changed: object) -> Writer:
    journal = Writer()
    journal.add("run.start", **start(**changed))
    journal.attempt(*KEY, verdict, attachment(KEY[0]), finding(verdict[0] if verdict else "PASS"))
    return journal


def declare(journal: Writer, outcome: str, words: str = "seen", by: str = "T. Ester") -> Writer:
    journal.add("verdict.declared", **BOX, attempt=1, outcome=outcome, words=words, by=by)
    return journal


def refused(journal: Writer, match: str) -> None:
    """The journal's last event breaks the rule that *match* tells; all before it are good."""
    boxes = Boxes.fold(journal.events[:-1])
    before = repr(boxes.attempts)
    with pytest.raises(InputError, match=match):
        boxes.take(journal.events[-1])
    assert repr(boxes.attempts) == before


def test_the_sample_run_keeps_the_rules() -> None:
    """A run of before there were reasons is read; for a writer its re-test lacks the reason."""
    assert Boxes.fold(sample(), reading=True).failed == (("B.3.4", SITE),)
    with pytest.raises(InputError, match="is tried again for a reason"):
        Boxes.fold(sample())


@pytest.mark.parametrize("number", [0, 1, 3])
def test_attempts_are_numbered_without_a_gap(number: int) -> None:
    """After attempt 1 comes 2."""
    journal = judged()
    journal.add("attempt.start", **BOX, attempt=number, reason="the server was mended")
    refused(journal, "attempt 2 is the next one")


def test_a_box_has_one_open_attempt() -> None:
    """The second would make two verdicts of one observation."""
    journal = judged()
    for number in (2, 3):
        journal.add("attempt.start", **BOX, attempt=number, reason="again")
    refused(journal, "attempt 2 of this box is still open")


def test_a_retest_needs_a_reason_and_an_interrupted_attempt_does_not() -> None:
    """Who tries again what was judged says why; what was cut off is simply done."""
    journal = judged()
    journal.add("attempt.start", **BOX, attempt=2, reason=" ")
    refused(journal, "for a reason")
    journal = judged(None, forms=[])
    journal.events.pop()
    journal.add("attempt.end", **BOX, interrupted=True, words="killed")
    journal.add("attempt.start", **BOX, attempt=2)
    assert Boxes.fold(journal.events).still_open == (KEY,)


@pytest.mark.parametrize("kind", ["finding", "verdict.proposed", "attempt.end"])
def test_nothing_is_added_to_an_attempt_that_is_over(kind: str) -> None:
    """A late PASS would be a verdict without its observation."""
    journal = judged()
    journal.add(kind, **BOX, **finding()[1])
    refused(journal, "attempt 1 of this box is over")


def test_an_automatic_fail_becomes_pass_only_by_a_new_attempt() -> None:
    """No declaration helps; a second attempt does, and the FAIL stays."""
    refused(declare(judged(FAILED), "PASS"), "is FAIL .*only a new attempt can make it better")
    refused(declare(judged(FAILED), "OTHER"), "only a new attempt")
    journal = judged(FAILED)
    journal.attempt(*KEY, PASSED, attachment(KEY[0]), finding(), number=2)
    boxes = Boxes.fold(journal.events, reading=True)
    verdict = boxes.verdict(KEY)
    assert verdict is not None
    assert verdict.outcome is Outcome.PASS
    assert [len(found) for found in boxes.attempts.values()] == [2]


def test_a_person_may_lower_a_verdict_and_never_raise_it_again() -> None:
    """PASS becomes FAIL with words; the same person can't take it back."""
    journal = declare(judged(), "FAIL", "the caller heard nothing")
    verdict = Boxes.fold(journal.events).verdict(KEY)
    assert verdict is not None
    assert (verdict.outcome, verdict.words) == (Outcome.FAIL, "the caller heard nothing")
    refused(declare(journal, "PASS"), "only a new attempt")


@pytest.mark.parametrize("outcome", ["FAIL", "OTHER"])
def test_a_persons_fail_and_other_need_words(outcome: str) -> None:
    """A bare word can't be weighed later."""
    refused(declare(judged(), outcome, " "), f"{outcome} by a person needs words")


def test_somebody_declares_by_name() -> None:
    """A verdict of nobody is none."""
    refused(declare(judged(), "PASS", by=""), "somebody says it, by name")


def test_pass_of_an_automatic_box_is_not_declared_into_being() -> None:
    """Without the machine's verdict a person can say FAIL or OTHER there, and not PASS."""
    refused(declare(judged(None), "PASS"), "must be earned")
    declare(judged(None), "OTHER", "seen on the other site's capture")


def test_a_manual_box_is_passed_by_a_person_but_not_over_a_failed_check() -> None:
    """Where a check was recorded and failed, it counts without any proposal."""
    key = {"step": "B.2.4", "target": SITE}
    for outcome, good in (("PASS", True), ("FAIL", False)):
        journal = Writer()
        journal.add("run.start", **start())
        journal.add("attempt.start", **key, attempt=1)
        kind, fields = finding(outcome)
        journal.add(kind, **key, **fields)
        journal.add("verdict.declared", **key, outcome="PASS", words="", by="T. Ester")
        if good:
            Boxes.fold(journal.events)
        else:
            refused(journal, "only a new attempt")


def test_an_attempt_that_was_cut_off_is_not_judged_afterwards() -> None:
    """Its observation is not whole; parked ones were not made at all."""
    journal = judged(None)
    journal.events.pop()
    journal.add("attempt.end", **BOX, parked=True, words="nobody at the phone")
    assert Boxes.fold(journal.events).verdict(KEY) is None
    refused(declare(journal, "OTHER"), "parked: nobody at the phone; try the case again")


def test_a_declaration_on_an_older_attempt_is_refused() -> None:
    """What is superseded stays as it was."""
    journal = judged()
    journal.attempt(*KEY, PASSED, attachment(KEY[0]), finding(), number=2)
    boxes = Boxes.fold(journal.events, reading=True)
    with pytest.raises(InputError, match="attempt 2 is the one that counts"):
        boxes.take(declare(journal, "FAIL").events[-1])


def test_a_caveat_sits_on_pass_or_other() -> None:
    """A FAIL is not a matter of reservations, nor is an empty box."""
    for verdict in (FAILED, None):
        journal = judged(verdict)
        journal.add("caveat", **BOX, attempt=1, words="two servers only", by="T. Ester")
        refused(journal, "a caveat sits on a PASS or an OTHER")
    journal = judged()
    journal.add("caveat", **BOX, attempt=1, words="", by="T. Ester")
    refused(journal, "a caveat is made of words")


def test_an_acceptance_holds_until_something_changes() -> None:
    """A caveat that comes later was not accepted."""
    journal = judged()
    journal.add("caveat", **BOX, attempt=1, words="two servers only", by="T. Ester")
    journal.add("acceptance", boxes=[[*KEY, 1]], by="C. Ustomer", note="agreed")
    attempt = Boxes.fold(journal.events).latest(KEY)
    assert attempt is not None
    assert attempt.is_accepted
    journal.add("caveat", **BOX, attempt=1, words="and at night", by="T. Ester")
    attempt = Boxes.fold(journal.events).latest(KEY)
    assert attempt is not None
    assert not attempt.is_accepted


@pytest.mark.parametrize(
    ("verdict", "fields", "match"),
    [
        (FAILED, {}, "neither PASS nor OTHER"),
        (PASSED, {"note": ""}, "consent is a note, or an e-mail with its hash"),
        (PASSED, {"note": "", "path": "a.eml"}, "with its hash"),
        (PASSED, {"by": ""}, "by name"),
        (PASSED, {"boxes": [["B.3.2", SITE, 2]]}, "attempt 1 is the one that counts"),
        (PASSED, {"boxes": [["B.3.3", SITE, 1]]}, "belongs to no attempt"),
    ],
)
def test_what_cannot_be_accepted(
    verdict: tuple[str, str], fields: dict[str, object], match: str
) -> None:
    """A FAIL, no consent, nobody, another attempt, a box that was not tried."""
    journal = judged(verdict)
    told = {"boxes": [[*KEY, 1]], "by": "C. Ustomer", "note": "agreed"}
    journal.add("acceptance", **(told | fields))
    refused(journal, match)


def test_nothing_of_a_rehearsal_is_accepted() -> None:
    """Whatever was agreed to, it was a play."""
    journal = judged(mode="rehearsal")
    journal.add("acceptance", boxes=[[*KEY, 1]], by="C. Ustomer", note="agreed")
    refused(journal, "nothing of a rehearsal is accepted")


def test_a_witness_who_sees_it_otherwise_is_a_dispute_until_they_agree() -> None:
    """The verdict stays the tester's; the last word of each witness counts."""
    journal = judged()
    said = {"attempt": 1, "by": "W. Itness"}
    journal.add("witness", **BOX, **said, says="fail", words="one call was silent")
    attempt = Boxes.fold(journal.events).latest(KEY)
    assert attempt is not None
    assert attempt.is_disputed
    assert attempt.verdict is not None
    assert attempt.verdict.outcome is Outcome.PASS
    journal.add("witness", **BOX, **said, says="pass")
    attempt = Boxes.fold(journal.events).latest(KEY)
    assert attempt is not None
    assert not attempt.is_disputed
    journal.add("witness", **BOX, **said, says="other")
    refused(journal, "OTHER by a witness needs words")


def test_a_newer_schema_is_refused_whole() -> None:
    """Its words may mean something else."""
    with pytest.raises(InputError, match="another schema"):
        Boxes.fold(judged(schema=2).events)
