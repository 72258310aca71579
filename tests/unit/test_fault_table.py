"""The table of faults: its rows name tests that exist, and a row is green only when earned."""

import ast
from pathlib import Path

import pytest

from tests.fault.fault_table import ORIGINAL, Outcome, Row, docstrings, is_green, markdown, rows

ROOT = Path(__file__).parents[2]
NUMBERS = [*range(1, 35), *range(39, 48)]
ROW = Row("F00", "a fault", "somehow", "holds", ("tests/x.py::test_a", "tests/x.py::test_b"))


def covered() -> set[int]:
    """Return the numbers of all rows; "F19 to F21" is three."""
    found: set[int] = set()
    for row in rows():
        numbers = [int(word.strip("F,")) for word in row.id.split() if word.startswith("F")]
        found |= set(range(numbers[0], numbers[-1] + 1)) if " to " in row.id else set(numbers)
    return found


def test_no_fault_of_the_matrix_is_missing() -> None:
    """F01 to F34 and F39 to F47 each have a row."""
    assert set(NUMBERS) <= covered()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_each_named_test_exists(row: Row) -> None:
    """A row cannot rest on a test that was renamed or removed."""
    for test in row.tests:
        file, _, name = test.partition("::")
        names = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        assert name in names


@pytest.mark.parametrize(
    ("results", "green"),
    [
        ({"a": "passed", "b": "passed"}, True),
        ({"a": "passed"}, False),
        ({"a": "passed", "b": "skipped"}, False),
        ({"a": "passed", "a[2]": "failed", "b": "passed"}, False),
        ({}, False),
    ],
)
def test_row_is_green_only_when_all_passed(results: dict[str, str], green: bool) -> None:
    """A test that did not run, was skipped or failed makes the row red."""
    found = [Outcome(f"tests/x.py::test_{name}", how, 1.0, ()) for name, how in results.items()]

    assert is_green(ROW, found) is green


def test_page_shows_red_and_what_was_observed() -> None:
    """A row whose tests did not run is shown as red; an observation stands in its row."""
    kills = "tests/fault/test_pair_kills.py::test_random_kills"
    seen = Outcome(f"{ORIGINAL}::test_keep_nothing", "passed", 1.0, ())
    page = markdown([Outcome(kills, "passed", 2.0, ("60 kills",)), seen], {}, "PostgreSQL")

    assert "60 kills; 1 test in 2.0 s | green |" in page
    assert "| not run | RED |" in page
    assert "| test_keep_nothing | yes |" in page


def test_each_failure_of_the_stand_in_names_its_hazard() -> None:
    """All its tests but the clean day begin with H…, and at least eight hazards are seen."""
    found = docstrings(ROOT / ORIGINAL)
    hazards = {text.partition(":")[0] for text in found.values() if text.startswith("H")}

    assert len(hazards) >= 8


@pytest.mark.parametrize("name", ["writer", "poller", "oracles", "content", "postgres_wire"])
def test_the_judges_are_independent(name: str) -> None:
    """Who writes, asks and judges imports nothing of what is judged."""
    tree = ast.parse((ROOT / f"tests/fault/{name}.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }

    assert not {one for one in modules if one.split(".")[0] in {"hasync", "harness"}}
