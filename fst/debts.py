"""What a run owes the customer's hosts: each deed that must be undone, and how that was seen.

Laws: a debt is opened before the deed and is paid only by an observation, in words; a run cannot
end while one is open; what is owed follows from the journal alone, so a crash forgets nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.errors import InputError
from harness.journal import Event

OPENED, PAID = "debt.opened", "debt.paid"
Append = Callable[..., Event]  # a journal's: kind, then fields by name


class DebtKind(StrEnum):
    """What was done that has to be undone."""

    SERVICE_STOPPED = "service-stopped"  # target: site/host
    RULE_INSTALLED = "rule-installed"  # target: site/sbc, what: the rule's name
    CAPTURE_STARTED = "capture-started"  # target: site/sbc or site/host, what: path below the run
    PROCESS_STARTED = "process-started"  # what: the folder by which a lab's processes are known
    FILE_CHANGED = "file-changed"  # target: site/host, what: path, and its hash before


@dataclass(frozen=True, slots=True)
class Debt:
    """One deed that has to be undone."""

    id: str
    kind: DebtKind
    target: str
    what: str
    how_to_pay: str
    opened_at_ns: int
    machine: str = ""  # that can see whether it is undone; "": any

    @property
    def words(self) -> str:
        """Return the debt in one line.

        >>> Debt("debt-1", DebtKind.RULE_INSTALLED, "site1/sbc1", "fst-allow", "remove it", 0).words
        'debt-1: rule-installed at site1/sbc1: fst-allow; remove it'
        """
        where = f" on {self.machine}" if self.machine else ""
        told = f"{self.kind.value} at {self.target}{where}: {self.what}"
        return f"{self.id}: {told}; {self.how_to_pay}"


@dataclass(frozen=True, slots=True)
class Payment:
    """How a debt was seen to be paid."""

    debt: Debt
    observed: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Debts:
    """All debts of a run, in the order in which they were opened."""

    every: tuple[Debt, ...]
    paid: tuple[Payment, ...]

    @property
    def open(self) -> tuple[Debt, ...]:
        """Return those that no observation has paid."""
        settled = {payment.debt.id for payment in self.paid}
        return tuple(debt for debt in self.every if debt.id not in settled)


def fold(events: Iterable[Event]) -> Debts:
    """Return the debts that *events* tell of.

    Raises:
        InputError: a debt opened twice, one paid that is not open or without an observation.
    """
    owed: dict[str, Debt] = {}
    paid: dict[str, Payment] = {}
    for event in events:
        if event.type == OPENED:
            debt = _debt(event)
            if debt.id in owed:
                raise _refused(event, "opened twice", debt.id)
            owed[debt.id] = debt
        elif event.type == PAID:
            found = _text(event, "debt")
            if found not in owed or found in paid:
                raise _refused(event, "not an open debt", found)
            paid[found] = Payment(owed[found], _observed(event), event.at_ns)
    return Debts(tuple(owed.values()), tuple(paid.values()))


def open_debts(events: Iterable[Event]) -> tuple[Debt, ...]:
    """Return the debts that are still open, oldest first."""
    return fold(events).open


class Ledger:
    """The debts of a run that goes on: each is in the journal before its deed is done."""

    def __init__(self, append: Append, events: Iterable[Event] = ()) -> None:
        """Write through *append*; *events* are those of the run so far."""
        known = fold(events)
        self._append = append
        self._count = len(known.every)
        self._open = {debt.id: debt for debt in known.open}
        self.observed: dict[str, str] = {}  # what paid each debt that was paid here, by id

    @property
    def owed(self) -> tuple[Debt, ...]:
        """Return the open debts, oldest first."""
        return tuple(self._open.values())

    def owed_of(self, kind: DebtKind, target: str, what: str | None = None) -> tuple[Debt, ...]:
        """Return the open debts of that *kind* at *target*, of *what* alone if it is named."""
        return tuple(
            debt
            for debt in self._open.values()
            if debt.kind is kind and debt.target == target and what in (None, debt.what)
        )

    def open(
        self, kind: DebtKind, target: str, what: str, how_to_pay: str, *, machine: str = ""
    ) -> Debt:
        """Return a new debt, in the journal already; one that is open for the same is kept."""
        for known in self.owed_of(kind, target, what):
            return known
        self._count += 1
        name = f"debt-{self._count}"
        fields: dict[str, Any] = {"kind": kind.value, "target": target, "what": what}
        fields |= {"machine": machine} if machine else {}
        event = self._append(OPENED, debt=name, **fields, how_to_pay=how_to_pay)
        debt = Debt(name, kind, target, what, how_to_pay, event.at_ns, machine)
        self._open[name] = debt
        return debt

    def pay(self, debt: Debt, observed: str) -> None:
        """Close *debt* by what was *observed*.

        Raises:
            InputError: nothing was observed, or the debt is not open.
        """
        if not observed.strip():
            raise InputError("a debt is paid only by an observation", field=debt.id)
        if debt.id not in self._open:
            raise InputError("not an open debt", field="debt", value=debt.id)
        self._append(PAID, debt=debt.id, observed=observed)
        self.observed[debt.id] = observed
        del self._open[debt.id]


def _debt(event: Event) -> Debt:
    kind = _text(event, "kind")
    known = {one.value: one for one in DebtKind}
    if kind not in known:
        raise _refused(event, "no such kind", kind, f"one of {', '.join(known)}")
    return Debt(
        _text(event, "debt"),
        known[kind],
        _text(event, "target"),
        _text(event, "what"),
        _text(event, "how_to_pay"),
        event.at_ns,
        _text(event, "machine") if "machine" in event.fields else "",
    )


def _observed(event: Event) -> str:
    found = _text(event, "observed")
    if not found.strip():
        raise _refused(event, "paid without an observation", found)
    return found


def _text(event: Event, name: str) -> str:
    value = event.fields.get(name)
    if not isinstance(value, str):
        raise _refused(event, f"{name} is not a text", value)
    return value


def _refused(event: Event, why: str, value: object, fix: str = "") -> InputError:
    return InputError(why, file=f"event {event.seq}", field=event.type, value=value, fix=fix)
