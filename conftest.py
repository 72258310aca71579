"""Keeps `pytest -m enum` usable where only the run-time packages are installed.

The harness's own tests need more (hypothesis, scapy: `make test` installs them). Where they are
missing, `tests/` is left out and the header says so; CI has them, and fails if it has not.
"""

import importlib.util
import os

NEEDED = ("hypothesis", "scapy")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

collect_ignore = [] if not MISSING or os.environ.get("CI") == "true" else ["tests"]


def pytest_report_header() -> str | None:
    """Say what was left out, and what brings it back."""
    if not collect_ignore:
        return None
    return f"tests/ is left out: {', '.join(MISSING)} missing; `make test` installs all it needs"
