"""How a run stands by the plan's own criteria: what is missing, and what the customer must accept.

Laws: a run is ACCEPTED when every box that applies is a clean PASS, or a PASS or OTHER whose
caveats the customer accepted as they are now; an open FAIL, an empty box, a suspect verdict or an
unpaid debt each prevent it; a rehearsal is never accepted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fst.boxes import REHEARSAL
from fst.report.model import BoxState, Report, Row, counting
from fst.verdict import EXIT_FAIL, EXIT_PASS, EXIT_UNDECIDED


class Word(StrEnum):
    """How a whole run stands."""

    ACCEPTED = "ACCEPTED"
    FAIL = "FAIL"
    INCOMPLETE = "NOT COMPLETE"
    WAITING = "WAITS FOR ACCEPTANCE"
    REHEARSAL = "REHEARSAL"


@dataclass(frozen=True, slots=True)
class Lack:
    """A case on a target that keeps a run from being accepted, and why."""

    step: str
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands, with everything that is between it and its acceptance."""

    word: Word
    failed: tuple[Lack, ...]
    missing: tuple[Lack, ...]  # boxes without a verdict
    suspect: tuple[Lack, ...]
    unaccepted: tuple[Lack, ...]
    accepted: tuple[Lack, ...]  # reservations that the customer accepted
    formal: tuple[str, ...]  # what is missing of the whole: its end, a name, a debt

    @property
    def is_complete(self) -> bool:
        """Say whether the run is "fully executed", as far as a program can see."""
        return not (self.missing or self.formal)

    @property
    def exit_code(self) -> int:
        """Return 0 (accepted), 1 (a FAIL) or 3."""
        if self.word is Word.ACCEPTED:
            return EXIT_PASS
        return EXIT_FAIL if self.failed else EXIT_UNDECIDED


def stand(report: Report) -> Standing:
    """Return how the run of *report* stands."""
    rows = [row for row in report.boxes if row.state is not BoxState.NOT_APPLICABLE]
    loose_fails = [
        Lack(each.step, each.target, last.words)
        for each in report.evidence
        for last in [counting(each.attempts)]
        if not each.boxes and last is not None and last.outcome == BoxState.FAIL.value
    ]
    empty = [row for row in rows if row.state in {BoxState.WAITING, BoxState.NOT_RUN}]
    reserved = [row for row in rows if row.reservations]
    failed = (*_lacks((row, row.words) for row in rows if row.state is BoxState.FAIL), *loose_fails)
    missing = _lacks((row, row.words) for row in empty)
    suspect = _lacks((row, row.suspect) for row in rows if row.suspect)
    unaccepted = _lacks((row, "; ".join(row.reservations)) for row in reserved if not row.accepted)
    accepted = _lacks((row, "; ".join(row.reservations)) for row in reserved if row.accepted)
    formal = tuple(_formal(report, any_box=bool(rows)))
    if report.run.mode == REHEARSAL:
        word = Word.REHEARSAL
    elif failed:
        word = Word.FAIL
    elif missing or formal or suspect:
        word = Word.INCOMPLETE
    else:
        word = Word.WAITING if unaccepted else Word.ACCEPTED
    return Standing(word, failed, missing, suspect, unaccepted, accepted, formal)


def _formal(report: Report, *, any_box: bool) -> Iterable[str]:
    run = report.run
    if not any_box:
        yield "no form has a box"
    if run.ended_ns is None:
        yield "the run did not come to its end"
    if not run.tester:
        yield "the tester is not named"
    for debt in run.open_debts:
        yield f"not seen to be undone: {debt}"


def _lacks(found: Iterable[tuple[Row, str]]) -> tuple[Lack, ...]:
    """Return one line a case, though it fills a box on several forms."""
    return tuple(dict.fromkeys(Lack(row.step, row.target, why) for row, why in found))
