"""Debts: opened before the deed, paid by an observation, known from the journal alone."""

from pathlib import Path

import pytest

from fst.debts import DebtKind, Ledger, fold, open_debts
from harness.clock import ManualClock
from harness.errors import InputError
from harness.journal_file import JournalFile, read

STOPPED = DebtKind.SERVICE_STOPPED


def journal_in(folder: Path) -> JournalFile:
    return JournalFile(folder / "journal.jsonl", ManualClock(1))


def test_a_debt_is_in_the_journal_before_the_deed(tmp_path: Path) -> None:
    """When `open` returns, who reads the file knows what is owed and how to pay it."""
    journal = journal_in(tmp_path)
    debt = Ledger(journal.append).open(STOPPED, "site1/enum1", "port 53", "start it")
    journal.close()

    assert open_debts(read(tmp_path)) == (debt,)
    assert debt.words == "debt-1: service-stopped at site1/enum1: port 53; start it"


def test_only_an_observation_pays(tmp_path: Path) -> None:
    """Without words of what was seen the debt stays open."""
    journal = journal_in(tmp_path)
    ledger = Ledger(journal.append)
    debt = ledger.open(STOPPED, "site1/enum1", "port 53", "start it")

    with pytest.raises(InputError, match="only by an observation"):
        ledger.pay(debt, " ")
    assert ledger.owed == (debt,)
    ledger.pay(debt, "it answers")
    with pytest.raises(InputError, match="not an open debt"):
        ledger.pay(debt, "it answers")
    journal.close()
    assert fold(read(tmp_path)).paid[0].observed == "it answers"
    assert open_debts(read(tmp_path)) == ()


def test_another_process_goes_on_with_the_same_debts(tmp_path: Path) -> None:
    """What was owed is owed again, numbers go on, and the same deed is one debt."""
    journal = journal_in(tmp_path)
    first = Ledger(journal.append).open(STOPPED, "site1/enum1", "port 53", "start it")
    again = Ledger(journal.append, read(tmp_path))
    same = again.open(STOPPED, "site1/enum1", "port 53", "start it")
    other = again.open(DebtKind.RULE_INSTALLED, "site1/sbc1", "fst-allow", "uninstall it")
    journal.close()

    assert (first, same) == (same, first)
    assert other.id == "debt-2"
    assert again.owed_of(STOPPED, "site1/enum1") == (first,)
    assert again.owed_of(DebtKind.RULE_INSTALLED, "site1/sbc1", "fst-other") == ()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([("debt.paid", {"debt": "debt-1", "observed": "seen"})], "not an open debt"),
        ([("opened", {}), ("opened", {})], "opened twice"),
        ([("opened", {}), ("debt.paid", {"debt": "debt-1", "observed": ""})], "observation"),
        ([("opened", {"kind": "loan"})], "no such kind"),
        ([("opened", {"what": 7})], "what is not a text"),
    ],
)
def test_a_journal_that_breaks_the_rules_is_refused(
    tmp_path: Path, events: list[tuple[str, dict[str, object]]], said: str
) -> None:
    """Paid before it is opened, opened twice, paid by nothing, of no known kind: named."""
    journal = journal_in(tmp_path)
    whole = {"debt": "debt-1", "kind": STOPPED.value, "target": "a", "what": "b", "how_to_pay": "c"}
    for kind, fields in events:
        if kind == "opened":
            journal.append("debt.opened", **(whole | fields))
        else:
            journal.append(kind, **fields)
    journal.close()

    with pytest.raises(InputError, match=rf"event {len(events)}: .*{said}"):
        fold(read(tmp_path))
