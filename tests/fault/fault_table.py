"""The table of faults: what was done to the pair, what had to hold, and what a real run showed.

Rows and their tests stand in fault-rows.toml; outcomes come from pytest's JUnit file of one run, so
a row is green only when each of its tests ran and passed. `tools/make-fault-table` writes it.
"""

import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROWS = Path(__file__).with_name("fault-rows.toml")
ORIGINAL = "tests/fault/test_original_workflow.py"
HEAD = """\
# Faults done to a pair of sites, and what happened

Made by `make fault-table` from what the tests named here have reported; not written by hand.
Two sites on one machine, each with its own network, processes, disk and PostgreSQL.
What they have to keep is judged from outside, by a ledger of the rows that the server confirmed.

{about}
"""
ORIGINAL_HEAD = """
## The same oracles, on a stand-in of the original workflow

The stand-in is written after the guide's description.
It has to work on a clean day and to fail on every other: that shows that the oracles see.

| what was seen | as expected |
|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault."""

    id: str
    fault: str
    injected: str
    expected: str
    tests: tuple[str, ...]  # file::function; each of its parameters counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended."""

    test: str  # file::function[parameter]
    result: str  # passed, failed or skipped
    took_s: float
    observed: tuple[str, ...]  # record_property("observed", ...)


def rows(path: Path = ROWS) -> tuple[Row, ...]:
    """Return the rows of the table, in order."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))["row"]
    return tuple(Row(**(one | {"tests": tuple(one["tests"])})) for one in found)


def outcomes(junit: Path) -> tuple[Outcome, ...]:
    """Return the outcomes in a JUnit file that pytest wrote a moment ago."""
    found = []
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314 - our own file
        bad = [tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None]
        result = {"skipped": "skipped"}.get(bad[0], "failed") if bad else "passed"
        said = tuple(
            p.attrib["value"] for p in case.iter("property") if p.attrib["name"] == "observed"
        )
        test = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}"
        found.append(Outcome(test, result, float(case.attrib["time"]), said))
    return tuple(found)


def of(row: Row, all_outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return the outcomes of *row*'s tests."""
    return tuple(one for one in all_outcomes if one.test.partition("[")[0] in row.tests)


def is_green(row: Row, all_outcomes: Sequence[Outcome]) -> bool:
    """Say whether each test of *row* ran, and passed."""
    found = of(row, all_outcomes)
    ran = {one.test.partition("[")[0] for one in found if one.result == "passed"}
    return ran == set(row.tests) and all(one.result == "passed" for one in found)


def markdown(all_outcomes: Sequence[Outcome], facts: Mapping[str, str], about: str) -> str:
    """Return the page; *facts* are the docstrings of the stand-in's tests, by name."""
    lines = [HEAD.format(about=about), "| # | fault | injected | expected | observed | outcome |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows():
        found = of(row, all_outcomes)
        cells = (row.id, row.fault, row.injected, row.expected, _observed(found))
        end = "green" if is_green(row, all_outcomes) else "RED"
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, end)) + " |")
    text = "\n".join(lines) + "\n" + ORIGINAL_HEAD
    for one in all_outcomes:
        file, _, name = one.test.partition("::")
        if file == ORIGINAL:
            seen = "yes" if one.result == "passed" else "NO"
            text += f"| {facts.get(name, name)} | {seen} |\n"
    return text


def _observed(found: Sequence[Outcome]) -> str:
    said = sorted({text for one in found for text in one.observed})
    took_s = sum(one.took_s for one in found)
    count = f"{len(found)} test{'' if len(found) == 1 else 's'} in {took_s:.1f} s"
    return "; ".join([*said, count]) if found else "not run"


def docstrings(file: Path) -> dict[str, str]:
    """Return the first line of each test's docstring in *file*, by the test's name."""
    text = file.read_text(encoding="utf-8")
    return dict(re.findall(r'^def (test_\w+)\([^)]*\)[^:]*:\n    """(.*?)"""', text, re.MULTILINE))
