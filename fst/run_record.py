"""The edge that adds to a run's journal what people say of it, when no run is going on.

Laws: everything is checked against the rules of the boxes before the first byte is written; a
second process that writes is refused by the run's lock; the reports are made again afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fst.boxes import Attempt, Boxes, Key
from fst.events import check
from fst.report.model import Report, Row, build
from fst.report.write import write_reports
from fst.run_lock import RunLock
from harness.clock import Clock
from harness.errors import InputError
from harness.journal import FIRST, Event, chain
from harness.journal_file import JournalFile, check_anchor, read, read_torn

Told = tuple[str, dict[str, Any]]  # type and fields of an event


@dataclass(frozen=True, slots=True)
class Known:
    """A run as its journal tells it."""

    folder: Path
    events: tuple[Event, ...]
    report: Report
    boxes: Boxes

    @classmethod
    def read(cls, folder: Path) -> "Known":
        """Return the run in *folder*; a torn last line is left out.

        Raises:
            InputError: no run, a broken chain, events cut off, or a newer schema.
        """
        events, _ = read_torn(folder)
        check_anchor(events, folder)
        return cls(folder, events, build(events), Boxes.fold(events, reading=True))

    def row(self, step: str, target: str) -> Row:
        """Return the box of *step* at *target*.

        Raises:
            InputError: the run's forms have none there; says which there are.
        """
        rows = [row for row in self.report.boxes if row.step == step]
        if not rows:
            steps = dict.fromkeys(row.step for row in self.report.boxes)
            raise self.refused("CASE", step, "no such case in this run", ", ".join(steps))
        found = [row for row in rows if row.target == target]
        if not found:
            targets = dict.fromkeys(row.target for row in rows)
            raise self.refused("TARGET", target, f"{step} has no box there", ", ".join(targets))
        if found[0].not_applicable:
            raise self.refused("CASE", step, f"not applicable: {found[0].not_applicable}", "")
        return found[0]

    def attempt(self, key: Key) -> Attempt:
        """Return the attempt at a box that counts.

        Raises:
            InputError: the box was never tried.
        """
        self.row(*key)
        latest = self.boxes.latest(key)
        if latest is None:
            raise self.refused("CASE", key[0], f"not tried at {key[1]} yet", "")
        return latest

    def refused(self, field: str, value: object, why: str, known: str) -> InputError:
        """Return the error for something that does not fit this run."""
        fix = f"use one of {known}" if known else ""
        return InputError(why, file=str(self.folder), field=field, value=value, fix=fix)


def record(
    folder: Path, clock: Clock, compose: Callable[[Known], Sequence[Told]]
) -> tuple[Event, ...]:
    """Return the events that *compose* made of the run in *folder*, now in its journal.

    Raises:
        InputError: no such run, one that is being written, or an event that breaks a rule.
        ToolError: the disk did not take them.
    """
    Known.read(folder)  # what is no run gets no lock file either
    with RunLock(folder):
        known = Known.read(folder)
        told = compose(known)
        _check(known, told, clock)
        journal = JournalFile.reopen(folder, clock)
        try:
            written = tuple(journal.append(kind, **fields) for kind, fields in told)
        finally:
            journal.close()
        write_reports(folder, read(folder))
    return written


def _check(known: Known, told: Sequence[Told], clock: Clock) -> None:
    """Refuse events that would break a rule, as if they had been written."""
    prev = chain(known.events[-1].encode()) if known.events else FIRST
    for seq, (kind, fields) in enumerate(told, len(known.events) + 1):
        event = Event(seq, clock.wall_ns(), kind, prev, fields)
        try:
            check(event)
            known.boxes.take(event)
        except InputError as error:
            raise InputError(
                error.why,
                file=str(known.folder),
                field=error.field,
                value=error.value,
                fix=error.fix,
            ) from error
        prev = chain(event.encode())
