"""What happened to a run as a whole: its ends, who went on with it, what was repaired."""

from collections.abc import Callable, Sequence

from fst.report.fields import Fields
from fst.report.history import Timed
from fst.report.moment import SECOND_NS
from harness.journal import Event

_SITTING = frozenset({"run.end", "run.resumed", "run.aborted"})


def _resumed(fields: Fields) -> str:
    again = f"; tried again: {', '.join(fields.texts('retest'))}" if fields.texts("retest") else ""
    return f"Resumed. {fields.text('reason')}".strip() + again


def _aborted(fields: Fields) -> str:
    left = "; ".join(fields.texts("left"))
    safe = "everything was seen to be as before" if fields.values.get("safe") is True else left
    return f"Broken off: {safe or 'not everything was put back'}. {fields.text('reason')}".strip()


def _gap(fields: Fields) -> str:
    where, length_ns = fields.text("target") or "a host", fields.whole_or_none("gap_ns") or 0
    decision = fields.text("decision")
    told = f"A wait at {where} was not watched for {length_ns / SECOND_NS:.0f} s"
    why = "; ".join(part for part in (fields.text("words"), fields.text("who")) if part)
    if not decision:
        return f"{told}. {fields.text('why')}".strip()
    return f"{told}: {'it counts' if decision == 'count' else decision} ({why or 'by rule'})."


_TOLD: dict[str, Callable[[Fields], str]] = {
    "run.resumed": _resumed,
    "run.aborted": _aborted,
    "run.handover": lambda f: f"Handed over from {f.text('from')} to {f.text('to')}.",
    "journal.repaired": lambda f: (
        f"The journal's last line had been torn; its {f.whole('bytes')} bytes are kept in "
        f"{f.text('file')}."
    ),
    "hold.gap": _gap,
    "override": lambda f: (
        f"{f.text('by')} went on against a warning: {f.text('what')}. {f.text('words')}".strip()
    ),
}


def incidents(events: Sequence[Event]) -> tuple[Timed, ...]:
    """Return everything that a reader of the whole run must know, in its order."""
    return tuple(
        Timed(event.at_ns, _TOLD[event.type](Fields.of(event)))
        for event in events
        if event.type in _TOLD
    )


def last_end(events: Sequence[Event]) -> Event | None:
    """Return the event that ended the run; None: it goes on, was killed, or was broken off."""
    last = next((event for event in reversed(events) if event.type in _SITTING), None)
    return last if last is not None and last.type == "run.end" else None


def testers(first: str, events: Sequence[Event]) -> tuple[str, ...]:
    """Return who carried the run out, in order."""
    others = [Fields.of(event).text("to") for event in events if event.type == "run.handover"]
    return (first, *others)
