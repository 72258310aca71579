"""A comparison in words, as values for JSON, and as tables for a page."""

from typing import Any

from harness.views import Cell, Column, Table, as_text
from probetest.compare.hypotheses import Explanation, Hypothesis
from probetest.compare.matching import Row, Value, Verdict
from probetest.compare.run import Comparison

MAX_ROWS = 40  # of a table on a terminal; JSON and HTML have all
SCHEMA = 1
MAX_NAMED = 12  # of explanations that are as good
NO_EXPLANATION = "none of the known bugs, nor two of them together, gives exactly these figures"


def as_words(found: Comparison) -> str:
    """Return the verdict, what differs, and why."""
    different = [row for row in found.rows if row.verdict is not Verdict.EQUAL]
    lines = [_verdict(found, different), ""]
    if different:
        shown = _table(different[:MAX_ROWS], "What differs")
        lines.append(as_text(shown))
        if more := len(different) - MAX_ROWS:
            lines += [f"... and {more} more (--json has all)"] if more > 0 else []
        lines += ["", *_why(found)]
    for kind in found.report.kinds:
        own = [row for row in found.rows if row.kind is kind]
        equal = sum(row.verdict is Verdict.EQUAL for row in own)
        lines.append(f"{kind.value}: {equal} of {len(own)} figures equal")
    if found.losses:
        lines.append(f"The capture is not whole, so nothing is proven: {found.losses[0]}")
    return "\n".join(lines) + "\n"


def as_values(found: Comparison) -> dict[str, Any]:
    """Return all of it, ready to be written as JSON."""
    return {
        "schema": SCHEMA,
        "form": found.report.form,
        "equal": found.is_equal,
        "rows": [
            {
                "about": row.kind.value,
                "what": row.what,
                "figure": row.figure,
                "ours": row.ours,
                "theirs": row.theirs,
                "difference": row.difference,
                "verdict": row.verdict.value,
                "line": row.line or None,
            }
            for row in found.rows
        ],
        "explanations": [
            {
                "about": [kind.value for kind in one.about],
                "together": [
                    {"name": part.name, "words": part.words, "clause": part.clause}
                    for part in one.together
                ],
            }
            for one in found.explanations
        ],
        "losses": list(found.losses),
    }


def as_tables(found: Comparison) -> tuple[Table, ...]:
    """Return what explains the difference, and every figure."""
    columns = (
        Column("about", "About"),
        Column("name", "Bug"),
        Column("words", "What it does"),
        Column("clause", "Against"),
    )
    rows = tuple(
        (
            ", ".join(kind.value for kind in one.about),
            _name(one),
            "; and ".join(part.words for part in one.together),
            "; ".join(part.clause for part in one.together),
        )
        for one in found.explanations
    )
    note = "" if rows or found.is_equal else f"Not explained: {NO_EXPLANATION}."
    why = Table("explanations", "What gives exactly their figures", columns, rows, note)
    return why, _table(list(found.rows), "Every figure")


def _verdict(found: Comparison, different: list[Row]) -> str:
    if not found.rows:
        return f"Nothing to compare: the report ({found.report.form}) has no figures"
    if not different:
        return f"Equal: all {len(found.rows)} figures of the report ({found.report.form})"
    return f"Different: {len(different)} of {len(found.rows)} figures ({found.report.form})"


def _why(found: Comparison) -> list[str]:
    """Return the bugs that explain it."""
    if not found.explanations:
        return [f"Not explained: {NO_EXPLANATION}", ""]
    lines = ["Their figures are exactly those of a probe with one of these bugs:"]
    if len(found.explanations) == 1:
        lines = ["Their figures are exactly those of a probe with this bug:"]
    for one in found.explanations[:MAX_NAMED]:
        lines.append(f"  {_name(one)}  ({', '.join(kind.value for kind in one.about)})")
        lines += [f"      {_sentence(part)}" for part in one.together]
    if (more := len(found.explanations) - MAX_NAMED) > 0:
        lines.append(f"  ... and {more} more that give the same figures (--json has all)")
    return [*lines, ""]


def _sentence(part: Hypothesis) -> str:
    return f"{part.words} [{part.clause}]"


def _name(one: Explanation) -> str:
    return " + ".join(part.name for part in one.together)


def _table(rows: list[Row], title: str) -> Table:
    columns = (
        Column("about", "About"),
        Column("what", "What"),
        Column("figure", "Figure"),
        Column("ours", "Ours", is_number=True),
        Column("theirs", "Theirs", is_number=True),
        Column("difference", "Theirs - ours", is_number=True),
        Column("verdict", "Verdict"),
        Column("line", "Line", is_number=True),
    )
    cells = tuple(
        (
            row.kind.value,
            row.what,
            row.figure,
            _short(row.ours),
            _short(row.theirs),
            _short(row.difference),
            row.verdict.value,
            row.line or None,
        )
        for row in rows
    )
    return Table("comparison", title, columns, cells)


def _short(value: Value) -> Cell:
    """Return a value for people: no more digits than tell numbers apart."""
    return value if value is None or isinstance(value, str) else f"{value:.7g}"
