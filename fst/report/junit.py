"""The report as JUnit XML, for a CI server: one test suite a form, one test case a box.

FAIL is a `<failure>`. OTHER is an `<error>`: it is not a failure of the system under test, and CI
must not turn green on it either. An empty box is `<skipped>` with the reason; a row that the plan
makes not applicable has no box, and so no test case. Who wants to
see that nothing was left out looks at the exit code, which counts a box that was not run.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from fst.report.model import BoxState, Form, Report, Row
from fst.report.moment import SECOND_NS, iso
from fst.report.overview import warning
from fst.verdict import with_unit


def render(report: Report) -> str:
    """Return the XML document; the same report always gives the same text."""
    root = ET.Element("testsuites", name=report.run.title or report.run.id)
    root.set("timestamp", iso(report.run.started_ns))
    for form in report.forms:
        root.append(_suite(report, form))
    loose = [each for each in report.evidence if not each.boxes]
    if loose:
        suite = ET.SubElement(root, "testsuite", name="attempts that fill no box")
        for each in loose:
            case = ET.SubElement(suite, "testcase", classname=each.target, name=each.step)
            last = each.attempts[-1]
            _outcome(case, BoxState(last.outcome) if last.outcome else None, last.words)
        _count(suite)
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(report: Report, form: Form) -> ET.Element:
    suite = ET.Element(
        "testsuite", name=form.title, hostname=form.host, timestamp=iso(report.run.started_ns)
    )
    run = report.run
    facts = {
        "run": run.id,
        "mode": run.mode,
        "warning": warning(report),
        "plan": f"{run.plan_id} {run.plan_version} sha256:{run.plan_sha256}",
        "site": f"{run.site_file} sha256:{run.site_sha256}",
        "tool": run.tool_version,
        "journal": f"{report.events} events, head {report.head}",
    }
    _properties(suite, facts.items())
    for row in form.rows:
        if row.counts and row.state is not BoxState.NOT_APPLICABLE:
            suite.append(_case(form, row))
    _count(suite)
    return suite


def _case(form: Form, row: Row) -> ET.Element:
    case = ET.Element(
        "testcase", classname=f"{form.site}.{form.host}", name=f"{row.step} {form.id}"
    )
    latest = row.latest
    if latest and latest.ended_ns is not None:
        case.set("time", f"{(latest.ended_ns - latest.started_ns) / SECOND_NS:.3f}")
    facts = [("target", row.target), ("mode", row.mode), ("attempts", str(len(row.attempts)))]
    for found in latest.findings if latest else ():
        expected = with_unit(found.expected, found.unit)
        seen = f"expected {expected}, observed {with_unit(found.observed, found.unit)}"
        facts.append(("finding", f"{found.outcome} {found.rule}: {seen}"))
    for past in row.attempts[:-1]:
        said = f"{past.number}: {past.outcome or 'not judged'}: {past.words}"
        facts.append(("superseded attempt", said))
    facts += _said(row)
    _properties(case, facts)
    _outcome(case, row.state, row.words)
    return case


def _said(row: Row) -> Iterable[tuple[str, str]]:
    """Return what people said of the box, and what makes it doubtful."""
    people = row.latest.people if row.latest else None
    for each in people.declared if people else ():
        yield "declared", f"{each.outcome} by {each.by}: {each.words}"
    for each in people.caveats if people else ():
        yield "caveat", f"{each.words} ({each.by})"
    for each in people.witnessed if people else ():
        yield "witness", f"{each.by} says {each.outcome}: {each.words}"
    for each in people.disagreements if people else ():
        yield "disagreement", each.words
    if row.reservations:
        yield "accepted", "yes" if row.accepted else "no"
    if row.suspect:
        yield "suspect", row.suspect


def _outcome(case: ET.Element, state: BoxState | None, words: str) -> None:
    match state:
        case BoxState.PASS:
            return
        case BoxState.FAIL:
            ET.SubElement(case, "failure", type="FAIL", message=words).text = words
        case BoxState.OTHER:
            ET.SubElement(case, "error", type="OTHER", message=words).text = words
        case BoxState.NOT_APPLICABLE:
            ET.SubElement(case, "skipped", message=f"not applicable: {words}")
        case BoxState.WAITING | BoxState.NOT_RUN | None:
            ET.SubElement(case, "skipped", message=words)


def _properties(parent: ET.Element, facts: Iterable[tuple[str, str]]) -> None:
    holder = ET.SubElement(parent, "properties")
    for name, value in facts:
        ET.SubElement(holder, "property", name=name, value=value)


def _count(parent: ET.Element) -> None:
    """Set the counts that CI servers read instead of counting."""
    parent.set("tests", str(sum(1 for _ in parent.iter("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        parent.set(attribute, str(sum(1 for _ in parent.iter(tag))))
