"""Keeps `pytest -m enum` quick, and usable where only the run-time packages are installed.

A part of the plan is its cases: thousands of tests of the harness need not be read to find them.

The harness's own tests need more (hypothesis, scapy: `make test` installs them). Where they are
missing, `tests/` is left out and the header says so; CI has them, and fails if it has not.
"""

import importlib.util
import os
from pathlib import Path

import pytest

NEEDED = ("hypothesis", "scapy")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

collect_ignore = [] if not MISSING or os.environ.get("CI") == "true" else ["tests"]

PARTS = ("baseline", "enum", "probe")  # of the plan: the markers of its cases, and of nothing else
CASES = Path(__file__).parent / "fst" / "cases"


def _is_part(config: pytest.Config) -> bool:
    """Say whether a part of the plan is asked for, and no path."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return whole and config.option.markexpr in PARTS


def pytest_configure(config: pytest.Config) -> None:
    """Leave hypothesis out where no case needs it: to load it takes longer than many a case."""
    plugin = config.pluginmanager.get_plugin("hypothesispytest")
    if plugin is not None and _is_part(config):
        config.pluginmanager.unregister(plugin)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Look at the cases alone when a part of the plan is asked for, and no path."""
    if not _is_part(config):
        return None
    near = collection_path in (CASES, *CASES.parents) or CASES in collection_path.parents
    return None if near else True


def pytest_report_header() -> str | None:
    """Say what was left out, and what brings it back."""
    if not collect_ignore:
        return None
    return f"tests/ is left out: {', '.join(MISSING)} missing; `make test` installs all it needs"
