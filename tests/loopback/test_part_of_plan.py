"""`pytest -m enum`: the cases of one part of the plan, and nothing else is looked at."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0  # to look at the cases; it takes some seconds, and longer beside others


def test_part_of_the_plan_reads_no_other_tests() -> None:
    """Thousands of tests of the harness are not even deselected; hypothesis is not loaded."""
    argv = [sys.executable, "-m", "pytest", "-m", "enum", "--collect-only", "-q", "-v", "-p",
            "no:cacheprovider"]  # fmt: skip
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "test_b_enum.py" in done.stdout
    assert "fst/cases/test_c_probe.py" not in done.stdout
    assert "tests/" not in done.stdout
