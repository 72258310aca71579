"""Runs of the shipped cases in a process of their own, as a user starts them.

Each run has a network of its own (127.0.NET.x), so that runs can go on beside each other. A machine
that stalls for longer than the judges allow for makes a timer of the simulated SBC late, which they
rightly call OTHER: `steady` then runs again.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.journal import Event
from harness.journal_file import read

ROOT = Path(__file__).parents[2]
SITE = ROOT / "fixtures/sites/loopback.toml"
LIMIT_S = 480.0  # for one run; it takes 30 s alone, and longer beside others
TIMEOUT_MS, HOLD_DOWN_MS = 500, 3000  # of the SBC: a machine that stalls for less changes nothing
SPACING_MS = 50  # of calls: runs beside each other must not pile up calls between the same parties
ROOMY = (  # the same times as settings
    f"sbc.timeout_ms={TIMEOUT_MS}",
    f"sbc.hold_down_ms={HOLD_DOWN_MS}",
    f"lab.call_spacing_ms={SPACING_MS}",
)
AGAIN = 2  # at most so many more runs after one that a stall spoiled
Boxes = frozenset[tuple[str, str]]  # step, and target ("" for a site)
_WAITED = re.compile(r"after ([0-9.]+) s and")


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
    def stalled(self) -> Boxes:
        """Return the boxes that are OTHER for one reason: a timer of the SBC was late.

        No stall makes a timer early, so a server that was given up too soon is another matter.
        """
        why: dict[tuple[str, str], list[bool]] = {}
        for event in self.events:
            if event.type == "finding" and event.fields["outcome"] == "OTHER":
                waited = _WAITED.search(event.fields["observed"])
                late = waited is not None and float(waited[1]) * 1000 > TIMEOUT_MS
                box = (event.fields["step"], event.fields["target"].partition("/")[2])
                timer = event.fields["rule"] == "outage.timeout"
                why.setdefault(box, []).append(timer and late)
        return frozenset(box for box in self.having("OTHER") if all(why.get(box, [False])))

    @property
    def captures(self) -> list[Path]:
        """Return the capture files, in the order in which they were recorded."""
        paths = [event.fields["path"] for event in self.events if event.type == "attachment"]
        return [self.folder / path for path in dict.fromkeys(paths)]


def write_site(folder: Path, net: int) -> Path:
    """Return a new site file in *folder*: the shipped loopback lab, moved to 127.0.*net*.x.

    Its times are for one run on a machine of its own; here several go on beside each other.
    """
    text = SITE.read_text()
    for shipped, own in (
        ("127.0.0.", f"127.0.{net}."),
        ("timeout_ms = 200\n", f"timeout_ms = {TIMEOUT_MS}\n"),
        ("hold_down_ms = 800\n", f"hold_down_ms = {HOLD_DOWN_MS}\n"),
        ("call_spacing_ms = 20\n", f"call_spacing_ms = {SPACING_MS}\n"),
    ):
        assert shipped in text
        text = text.replace(shipped, own)
    path = folder / "site.toml"
    path.write_text(text)
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


def steady(
    folder: Path,
    once: Callable[[Path], CasesRun],
    failed: Boxes = frozenset(),
    unproved: Boxes = frozenset(),
) -> CasesRun:
    """Return the run that *once* makes in a folder, made again when a stall spoiled it.

    Only a run that is as it should be (FAIL in *failed*, OTHER in *unproved*) but for boxes that a
    late timer made OTHER is made again, and at most twice: no FAIL is lost, nor a wrong PASS.
    """
    for at in range(AGAIN + 1):
        own = folder / f"run{at}"
        own.mkdir()
        run = once(own)
        stalled = run.stalled
        sole = run.having("FAIL") == failed and run.having("OTHER") - stalled == unproved
        if not stalled or not sole:
            break
    return run
