"""The report as JSON-ready values, for programs: the words of the forms and all numbers."""

from dataclasses import asdict

from fst.acceptance import stand
from fst.report.history import Attempt
from fst.report.model import Evidence, Form, Report, Row
from fst.report.moment import iso
from fst.report.overview import overall, warning

SCHEMA = 1  # raised when the meaning of a field changes; new fields may come without

Json = dict[str, object]


def render(report: Report) -> Json:
    """Return the results: run, totals, one entry a box, and all evidence once."""
    result = overall(report)
    return {
        "schema": SCHEMA,
        "warning": warning(report),
        "run": asdict(report.run),
        "started": iso(report.run.started_ns),
        "ended": None if report.run.ended_ns is None else iso(report.run.ended_ns),
        "journal": {"head": report.head, "events": report.events},
        "overall": result.word,
        "words": list(result.sentences),
        "exit_code": report.exit_code(),
        "exit_code_complete": report.exit_code(complete=True),
        "totals": {state.value: count for state, count in report.totals.items()},
        "standing": standing(report),
        "forms": [_form(form) for form in report.forms],
        "evidence": [_evidence(each) for each in report.evidence],
    }


def standing(report: Report) -> Json:
    """Return how the run stands, for programs."""
    found = stand(report)
    return asdict(found) | {
        "word": found.word.value,
        "complete": found.is_complete,
        "exit_code": found.exit_code,
    }


def _form(form: Form) -> Json:
    facts = ("id", "part", "title", "site", "host")
    return {name: getattr(form, name) for name in facts} | {
        "boxes": [_box(row) for row in form.rows if row.counts]
    }


def _box(row: Row) -> Json:
    latest = row.latest
    return {
        "box": row.box,
        "step": row.step,
        "target": row.target,
        "mode": row.mode,
        "selected": row.selected,
        "state": row.state.value,
        "words": row.words,
        "attempt": latest.number if latest else None,
        "evidence": row.evidence.number if row.evidence else None,
        "suspect": row.suspect,
        "reservations": list(row.reservations),
        "accepted": row.accepted,
        "comments": [asdict(said) for said in row.comments],
    }


def _evidence(evidence: Evidence) -> Json:
    return {
        "number": evidence.number,
        "step": evidence.step,
        "target": evidence.target,
        "attempts": [_attempt(attempt) for attempt in evidence.attempts],
    }


def _attempt(attempt: Attempt) -> Json:
    found = asdict(attempt)
    measured = zip(found["measurements"], attempt.measurements, strict=True)
    found["measurements"] = [
        plain | {"outcome": measurement.outcome.value} for plain, measurement in measured
    ]
    return found
