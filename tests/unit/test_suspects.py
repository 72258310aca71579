"""Which boxes a later change of a host makes suspect."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from fst.boxes import Boxes
from fst.suspects import suspect
from tests.unit.test_report_sample import Writer, attachment, finding, start

HOST = "site1/enum1"
HOST_BOX, SITE_BOX, OTHER_BOX = ("B.1.1", HOST), ("B.3.2", "site1"), ("B.1.1", "site1/enum2")
NOTHING: Mapping[str, str] = MappingProxyType({})
VALUES = {"version.enumd": "3.1", "config./etc/enumd": "aa", "process.enumd": "812@77"}


def facts(
    journal: Writer,
    changed: Mapping[str, str] = MappingProxyType({}),
    offset_ms: float | None = 0.4,
) -> None:
    values = {**VALUES, **changed}
    journal.add("facts", target=HOST, values=values, clock_offset_ms=offset_ms, when="end")


def run(*, before: bool = True) -> Writer:
    journal = Writer()
    journal.add("run.start", **start(forms=[]))
    if before:
        facts(journal)
    for step, target in (HOST_BOX, SITE_BOX, OTHER_BOX):
        journal.attempt(step, target, ("PASS", "counted"), attachment(step, target), finding())
    return journal


def found(journal: Writer) -> dict[tuple[str, str], str]:
    boxes = Boxes.fold(journal.events)
    return suspect(boxes, boxes.facts)


def test_nothing_changed_makes_nothing_suspect() -> None:
    """The same facts again say that the verdicts still hold."""
    journal = run()
    facts(journal)
    assert found(journal) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("version.enumd", "3.2"), ("config./etc/enumd", "bb"), ("process.enumd", "9@1")],
)
def test_a_changed_host_makes_its_boxes_and_its_sites_suspect(name: str, value: str) -> None:
    """Version, configuration, process: each names what it was and is; another host is not hit."""
    journal = run()
    facts(journal, {name: value})
    why = f"{HOST}: {name} was {VALUES[name]} and is {value}"
    assert found(journal) == {HOST_BOX: why, SITE_BOX: why}


def test_a_new_attempt_after_the_change_is_not_suspect() -> None:
    """The re-test was made on the host as it is now."""
    journal = run()
    facts(journal, {"version.enumd": "3.2"})
    box = {"step": HOST_BOX[0], "target": HOST_BOX[1]}
    journal.add("attempt.start", **box, attempt=2, reason="a new version")
    kind, told = finding()
    journal.add(kind, **box, **told)
    journal.add("verdict.proposed", **box, outcome="PASS", words="counted")
    journal.add("attempt.end", **box)
    facts(journal, {"version.enumd": "3.2"})
    assert list(found(journal)) == [SITE_BOX]


def test_a_change_within_an_attempt_makes_it_suspect() -> None:
    """What was seen before and after the change is not one observation."""
    journal = Writer()
    journal.add("run.start", **start(forms=[]))
    journal.add("attempt.start", step=HOST_BOX[0], target=HOST, attempt=1)
    facts(journal)
    facts(journal, {"version.enumd": "3.2"})
    journal.add("verdict.proposed", step=HOST_BOX[0], target=HOST, outcome="OTHER", words="x")
    journal.add("attempt.end", step=HOST_BOX[0], target=HOST)
    assert list(found(journal)) == [HOST_BOX]


def test_a_planned_stop_restarts_processes_and_nothing_else() -> None:
    """The run stopped the service itself: new process ids are its own doing, a new file is not."""
    journal = run()
    stop = {"debt": "debt-1", "kind": "service-stopped", "target": HOST, "what": "enumd"}
    journal.add("debt.opened", **stop, how_to_pay="start it")
    facts(journal, {"process.enumd": "9@1"})
    assert found(journal) == {}
    facts(journal, {"process.enumd": "9@1", "config./etc/enumd": "bb"})
    assert len(found(journal)) == 2


@pytest.mark.parametrize(("now", "same"), [("812@79", True), ("812@80", False), ("813@77", False)])
def test_a_process_is_the_same_within_two_seconds(now: str, same: bool) -> None:
    """Ps rounds the start; another id is another process at any rate."""
    journal = run()
    facts(journal, {"process.enumd": now})
    assert (found(journal) == {}) is same


def test_a_labs_own_hosts_are_started_anew_on_purpose() -> None:
    """A resumed lab run has other processes everywhere; that is no change of a customer's host."""
    journal = run()
    lab = {"debt": "debt-1", "kind": "process-started", "target": "lab", "what": "/lab"}
    journal.add("debt.opened", **lab, how_to_pay="fst restore")
    facts(journal, {"process.enumd": "9@1"})
    assert found(journal) == {}


def test_a_clock_that_went_off_makes_suspect() -> None:
    """Packets of two machines can't be told in order then; one that is not known says nothing."""
    journal = run()
    facts(journal, offset_ms=None)
    assert found(journal) == {}
    facts(journal, offset_ms=-1500.0)
    assert found(journal)[HOST_BOX] == f"{HOST}: its clock is -1500 ms off"


def test_without_facts_before_nothing_can_be_told() -> None:
    """A first look after the verdict is no change."""
    journal = run(before=False)
    facts(journal, {"version.enumd": "3.2"})
    assert found(journal) == {}
