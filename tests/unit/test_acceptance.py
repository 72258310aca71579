"""How a run stands by the plan's own criteria."""

from fst.acceptance import Word, stand
from fst.report.model import build
from tests.unit.test_report_sample import SITE, Writer, attachment, finding, form, sample, start

BOX = {"step": "B.3.2", "target": SITE}
KEY = ("B.3.2", SITE)
CAVEAT = {"attempt": 1, "words": "two servers only", "severity": "minor", "by": "T. Ester"}
STOP = {"debt": "debt-1", "kind": "service-stopped", "target": "site1/enum1", "what": "enumd"}


def run(verdict: tuple[str, str] = ("PASS", "counted"), **changed: object) -> Writer:
    """Return a run of one box, which is judged."""
    one = form(1)
    rows = one["rows"]
    assert isinstance(rows, list)
    rows[:] = [row for row in rows if row["step"] == "B.3.2"]
    journal = Writer()
    journal.add("run.start", **start(forms=[one], **changed))
    journal.attempt(*KEY, verdict, attachment("B.3.2"), finding(verdict[0]))
    return journal


def word(journal: Writer) -> Word:
    journal.add("run.end", exit_code=0, reason="")
    return stand(build(journal.events)).word


def accept(journal: Writer) -> Writer:
    journal.add("acceptance", boxes=[[*KEY, 1]], by="C. Ustomer", note="agreed")
    return journal


def test_clean_passes_need_no_acceptance() -> None:
    """All boxes PASS, all formalities done: accepted by the plan's own words."""
    assert word(run()) is Word.ACCEPTED


def test_a_caveat_waits_for_the_customer() -> None:
    """A PASS with a caveat counts when the caveat is accepted, as it is."""
    journal = run()
    journal.add("caveat", **BOX, **CAVEAT)
    assert word(journal) is Word.WAITING
    assert word(accept(journal)) is Word.ACCEPTED
    journal.add("caveat", **BOX, **CAVEAT)
    assert word(journal) is Word.WAITING


def test_other_is_a_reservation_by_itself() -> None:
    """OTHER without any caveat needs the customer's consent too."""
    journal = run(("OTHER", "one call too few"))
    assert word(journal) is Word.WAITING
    standing = stand(build(accept(journal).events))
    assert (standing.word, standing.exit_code) == (Word.ACCEPTED, 0)
    assert [each.why for each in standing.accepted] == ["OTHER: one call too few"]


def test_an_open_fail_is_never_accepted() -> None:
    """Neither is one that fills no box."""
    assert word(run(("FAIL", "bad"))) is Word.FAIL
    journal = run()
    journal.attempt("B.9.9", SITE, ("FAIL", "bad"), attachment("B.9.9"), finding("FAIL"))
    assert word(journal) is Word.FAIL


def test_a_verdict_that_got_worse_after_the_acceptance_is_not_accepted() -> None:
    """The customer agreed to another box."""
    journal = run()
    journal.add("caveat", **BOX, **CAVEAT)
    accept(journal)
    told = {"attempt": 1, "outcome": "OTHER", "words": "heard an echo", "by": "T. Ester"}
    journal.add("verdict.declared", **BOX, **told)
    assert word(journal) is Word.WAITING


def test_a_witness_who_disagrees_is_a_reservation() -> None:
    """A disagreement is not hidden behind a PASS; the customer decides."""
    journal = run()
    told = {"attempt": 1, "by": "W. Itness", "says": "fail", "words": "one call was silent"}
    journal.add("witness", **BOX, **told)
    assert word(journal) is Word.WAITING
    assert word(accept(journal)) is Word.ACCEPTED


def test_a_suspect_verdict_is_no_result() -> None:
    """It has to be tried again; no acceptance helps."""
    journal = run()
    for version in ("3.1", "3.2"):
        journal.add("facts", target="site1/enum1", values={"version.enumd": version})
    assert word(journal) is Word.ACCEPTED  # both after the attempt: no baseline
    journal = run()
    end = journal.events.pop()
    journal.add("facts", target="site1/enum1", values={"version.enumd": "3.1"})
    journal.add(end.type, **end.fields)
    journal.add("facts", target="site1/enum1", values={"version.enumd": "3.2"})
    assert word(accept(journal)) is Word.INCOMPLETE


def test_an_open_debt_keeps_a_run_open() -> None:
    """A service that was not seen to run again: the run is not fully executed."""
    journal = run()
    journal.add("debt.opened", **STOP, how_to_pay="start it")
    assert word(journal) is Word.INCOMPLETE
    formal = stand(build(journal.events)).formal
    assert formal == (
        "not seen to be undone: debt-1: service-stopped at site1/enum1: enumd; start it",
    )
    journal.add("debt.paid", debt="debt-1", observed="it answers")
    assert word(journal) is Word.ACCEPTED


def test_a_run_without_end_or_tester_is_not_complete() -> None:
    """Each is named."""
    standing = stand(build(run(people={}).events))
    assert standing.formal == ("the run did not come to its end", "the tester is not named")


def test_a_run_that_was_resumed_has_no_end_yet() -> None:
    """The end of the first sitting is not that of the run."""
    journal = run()
    journal.add("run.end", exit_code=3, reason="interrupted")
    journal.add("run.resumed", pid=1, reason="went on")
    assert stand(build(journal.events)).formal == ("the run did not come to its end",)
    assert word(journal) is Word.ACCEPTED


def test_a_rehearsal_stands_as_what_it_is() -> None:
    """Not even a clean one is accepted."""
    assert word(run(mode="rehearsal")) is Word.REHEARSAL


def test_each_case_is_named_once() -> None:
    """A site's case that fills a box on three forms is one line."""
    standing = stand(build(sample()))
    assert [(each.step, each.target) for each in standing.failed] == [("B.3.4", SITE)]
    assert [each.step for each in standing.missing] == ["B.2.4", "B.3.6", "B.3.7"]
    assert [each.step for each in standing.unaccepted] == ["B.3.5"]
    assert not standing.is_complete
