"""Runs of the shipped cases in a process of their own, as a user starts them.

Each run has a network of its own (127.0.NET.x), so that runs can go on beside each other.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.journal import Event
from harness.journal_file import read

ROOT = Path(__file__).parents[2]
SITE = ROOT / "fixtures/sites/loopback.toml"
LIMIT_S = 240.0  # for one run; it takes 20 s alone, and longer beside others


@dataclass(frozen=True, slots=True)
class CasesRun:
    """What one run printed and left behind."""

    code: int
    output: str  # both streams
    folder: Path  # evidence/<run>

    @property
    def results(self) -> Mapping[str, Any]:
        """Return results.json."""
        found: Mapping[str, Any] = json.loads((self.folder / "results.json").read_bytes())
        return found

    @property
    def events(self) -> tuple[Event, ...]:
        """Return the journal, its chain checked."""
        return read(self.folder)

    @property
    def verdicts(self) -> dict[tuple[str, str], str]:
        """Return the state of each box that was tried, by step and target ("enum1" for a host)."""
        return {
            (box["step"], box["target"].partition("/")[2]): box["state"]
            for form in self.results["forms"]
            for box in form["boxes"]
            if box["attempt"] is not None
        }

    def having(self, state: str) -> set[tuple[str, str]]:
        """Return the boxes in *state*."""
        return {box for box, found in self.verdicts.items() if found == state}

    def words(self, state: str) -> list[str]:
        """Return the words of each box in *state*, in order."""
        return [
            box["words"]
            for form in self.results["forms"]
            for box in form["boxes"]
            if box["state"] == state
        ]

    @property
    def captures(self) -> list[Path]:
        """Return the capture files, in the order in which they were recorded."""
        paths = [event.fields["path"] for event in self.events if event.type == "attachment"]
        return [self.folder / path for path in dict.fromkeys(paths)]


def write_site(folder: Path, net: int) -> Path:
    """Return a new site file in *folder*: the shipped loopback lab, moved to 127.0.*net*.x."""
    path = folder / "site.toml"
    path.write_text(SITE.read_text().replace("127.0.0.", f"127.0.{net}."))
    return path


def run_cases(folder: Path, net: int, *options: str) -> CasesRun:
    """Return a finished run of the enum cases on 127.0.*net*.x, with *options* for pytest."""
    site = write_site(folder, net)
    cwd = folder / "empty"  # a user's folder: nothing of this repository is in it
    cwd.mkdir()
    argv = [sys.executable, "-m", "pytest", "--pyargs", "fst.cases", "-m", "enum"]
    argv += ["--fst-site", str(site), *options]
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    output = done.stdout + done.stderr
    folders = [path for path in (cwd / "evidence").glob("*") if path.is_dir()]
    assert len(folders) == 1, output
    return CasesRun(done.returncode, output, folders[0])
