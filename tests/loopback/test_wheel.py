"""The wheel holds all it needs: cases, plan, templates; and gives the same ids and verdicts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback.test_fst_command import AWAY, FST, LIMIT_S, LOOPBACK, ROOT

CASES = ("B.1.1", "B.2.2", "B.3.2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the wheel, built from this tree, is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    build = (*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    subprocess.run(build, check=True, timeout=LIMIT_S)
    wheel = next(folder.glob("*.whl"))
    target = folder / "site"
    subprocess.run(
        (*pip, "install", "--no-deps", "--target", target, wheel), check=True, timeout=LIMIT_S
    )
    return target


def python(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed wheel before everything else."""
    return subprocess.run(
        (sys.executable, *arguments),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )


def verdicts(out: Path) -> dict[str, str]:
    """Return case id to verdict from the journal of the one run below *out*."""
    lines = next(out.glob("*/journal.jsonl")).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    proposed = [event for event in events if event["type"] == "verdict.proposed"]
    return {f"{event['step']}@{event['target']}": event["outcome"] for event in proposed}


def test_cases_from_the_wheel_give_the_same_ids_and_verdicts(
    installed: Path, tmp_path: Path
) -> None:
    """`pytest --pyargs fst.cases` on the wheel and `fst run` in the repository agree."""
    where = python(installed, "-c", "import fst; print(fst.__file__)", cwd=tmp_path).stdout
    chosen = [part for case in CASES for part in ("--fst-case", case)]
    away = [part.replace("--set", "--fst-set") for part in AWAY]
    ran = python(
        installed, "-m", "pytest", "--pyargs", "fst.cases", "-m", "enum", "-q",
        "--fst-site", str(LOOPBACK), "--fst-out", "wheel", *chosen, *away, cwd=tmp_path,
    )  # fmt: skip
    own = [part for case in CASES for part in ("--case", case)]
    subprocess.run(
        [FST, "run", "--site", LOOPBACK, "--out", "repository", *own, *AWAY],
        cwd=tmp_path, capture_output=True, check=True, timeout=LIMIT_S,
    )  # fmt: skip

    assert where.strip().startswith(str(installed))
    assert ran.returncode == 0, ran.stdout
    assert "5 passed" in ran.stdout
    found = verdicts(tmp_path / "wheel")
    assert found == verdicts(tmp_path / "repository")
    assert found["B.1.1@site1/enum3"] == "PASS"
    assert len(found) == 5


def test_without_a_site_file_the_cases_say_what_they_need(installed: Path, tmp_path: Path) -> None:
    """Collecting the cases without `--fst-site` is a usage error with one line."""
    ran = python(installed, "-m", "pytest", "--pyargs", "fst.cases", "-q", cwd=tmp_path)

    assert ran.returncode == pytest.ExitCode.INTERRUPTED
    assert "the cases of the plan need --fst-site FILE" in ran.stdout + ran.stderr
