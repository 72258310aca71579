"""What a journal costs: an event beyond its fsync, and a run of 128 boxes that is resumed.

    python benchmarks/journal.py [--json]

Claims: at most 1 ms an event beyond fsync; 10 000 events are checked and folded in at most 1 s.
The peer is a bare write and fsync of the same line to the same disk, in turn with the events; all
are medians, because a disk stalls now and then. Exit 1: a claim does not hold.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fst.boxes import Boxes
from harness.clock import SystemClock
from harness.journal_file import NAME, JournalFile

EVENTS, BOXES, RESUMED = 500, 128, 10_000
LIMIT_EVENT_MS, LIMIT_RESUME_S = 1.0, 1.0
FINDING = {
    "step": "B.3.2",
    "target": "site1",
    "rule": "rotation.next-in-turn",
    "outcome": "PASS",
    "expected": "enum2",
    "observed": "enum2",
    "frames": [3, 4, 5, 9],
}


class Stopwatch:
    """Stands in for os.fsync, and adds up what it took."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.real, self.took_ms = os.fsync, 0.0

    def __call__(self, number: int) -> None:
        """Flush the file, and count the time."""
        before = time.perf_counter_ns()
        self.real(number)
        self.took_ms += (time.perf_counter_ns() - before) / 1e6


def took_ms(deed: Callable[[], object]) -> float:
    """Return how long *deed* took."""
    before = time.perf_counter_ns()
    deed()
    return (time.perf_counter_ns() - before) / 1e6


def measured(folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Return, call by call in turn: the bare peer, an event, and the event without its fsync."""
    journal = JournalFile(folder / NAME, SystemClock(), anchored=True)
    line = journal.append("finding", **FINDING).encode()
    number = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    bare, events, beyond, watch = list[float](), list[float](), list[float](), Stopwatch()
    os.fsync = watch  # type: ignore[assignment] # the journal calls it by this name
    try:
        for _ in range(EVENTS):
            bare.append(took_ms(lambda: (os.write(number, line), watch.real(number))))
            watch.took_ms = 0.0
            events.append(took_ms(lambda: journal.append("finding", **FINDING)))
            beyond.append(events[-1] - watch.took_ms)
    finally:
        os.fsync = watch.real
        os.close(number)
        journal.close()
    return bare, events, beyond


def resumed_s(folder: Path) -> float:
    """Return how long it takes to reopen a run of 128 boxes and 10 000 events, and fold it."""
    real, journal = os.fsync, JournalFile(folder / NAME, SystemClock(), anchored=True)
    os.fsync = lambda _: None  # type: ignore[assignment] # a long run is made; not what is measured
    try:
        each = (RESUMED - 1) // BOXES - 3
        journal.append("run.start", schema=1, run="bench", plan={}, site={}, forms=[])
        for box in range(BOXES):
            place = {"step": f"B.3.{box % 8}", "target": f"site{box // 8}"}
            journal.append("attempt.start", **place, attempt=1)
            for _ in range(each):
                journal.append("finding", **(FINDING | place))
            journal.append("verdict.proposed", **place, outcome="PASS", words="counted")
            journal.append("attempt.end", **place)
        journal.close()
    finally:
        os.fsync = real
    before = time.perf_counter()
    journal = JournalFile.reopen(folder, SystemClock())
    boxes = Boxes.fold(journal.events)
    verdicts = [boxes.verdict(key) for key in boxes.attempts]
    took = time.perf_counter() - before
    journal.close()
    if len(verdicts) != BOXES or None in verdicts:
        raise SystemExit("the run was not made as meant")
    return took


def main() -> int:
    """Measure, print, and return 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory(dir=".") as first, tempfile.TemporaryDirectory() as second:
        bare, events, beyond = (statistics.median(found) for found in measured(Path(first)))
        resume = resumed_s(Path(second))
    found = {
        "bare_fsync_ms": round(bare, 3),
        "event_ms": round(events, 3),
        "beyond_fsync_ms": round(beyond, 3),
        "resume_s": round(resume, 3),
    }
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.writelines(f"{name:16} {value}\n" for name, value in found.items())
    return int(beyond > LIMIT_EVENT_MS or resume > LIMIT_RESUME_S)


if __name__ == "__main__":
    sys.exit(main())
