"""Lab runs that end themselves at a chosen event, each in a process and a network of its own."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fst.boxes import Boxes
from harness.journal import Event
from harness.journal_file import NAME, read, read_torn

ROOT = Path(__file__).parents[2]
SITE = ROOT / "fixtures/sites/loopback.toml"
FST = (sys.executable, "-c", "import sys; from fst.cli import main; sys.exit(main())")
CASES = ("--case", "B.2.2", "--case", "B.3.1", "--case", "B.3.3")  # a rule, and an outage
CALM = (
    ("timeout_ms = 200", "timeout_ms = 400"),
    ("hold_down_ms = 800", "hold_down_ms = 4000"),
    ("call_spacing_ms = 20", "call_spacing_ms = 100"),  # few calls wait for a lookup at one time
)
LIMIT_S = 180.0  # for one run; it takes 5 s alone, and longer beside others

AGAIN = 2  # at most so many more runs after one that a stall spoiled
Verdicts = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Ended:
    """What one command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Return both streams."""
        return self.out + self.err


def fst(*arguments: str | Path, kill: tuple[str, int] | None = None) -> Ended:
    """Return how `fst` with *arguments* ended; *kill* arms its failpoint: how, and where."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FST_KILL")}
    environment["PYTHONPATH"] = str(ROOT)
    if kill is not None:
        environment |= {"FST_KILL_WITH": kill[0], "FST_KILL_AT": str(kill[1])}
    done = subprocess.run(
        [*FST, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def site_on(folder: Path, net: int) -> Path:
    """Return a new site file in *folder*: the shipped loopback lab, moved to 127.0.*net*.x.

    Its times are longer: these runs go on beside each other, and their verdicts are compared.
    """
    path = folder / "lab.toml"
    text = SITE.read_text().replace("127.0.0.", f"127.0.{net}.")
    for was, calm in CALM:
        assert was in text
        text = text.replace(was, calm)
    path.write_text(text)
    return path


def begin(folder: Path, net: int, kill: tuple[str, int] | None = None) -> tuple[Path, Ended]:
    """Return the folder of a run, and how its process ended."""
    site, out = site_on(folder, net), folder / "evidence"
    done = fst("run", "--site", site, "--out", out, *CASES, kill=kill)
    found = list(out.iterdir())
    assert len(found) == 1, done.text
    return found[0], done


def verdicts(run: Path) -> Verdicts:
    """Return the verdict of each box of *run*."""
    boxes = Boxes.fold(read_torn(run)[0])
    last = {key: boxes.verdict(key) for key in boxes.attempts}
    return {key: verdict.outcome.value for key, verdict in last.items() if verdict is not None}


def is_spoiled(found: Verdicts) -> bool:
    """Say whether a machine that stalled is all that is wrong: a box is OTHER that should PASS."""
    return set(found.values()) in ({"PASS", "OTHER"}, {"OTHER"})


def judged(run: Path) -> Counter[tuple[str, str]]:
    """Return how many attempts at each box of *run* have a verdict."""
    boxes = Boxes.fold(read(run))
    return Counter(
        key for key, found in boxes.attempts.items() for one in found if one.verdict is not None
    )


def whole_lines(run: Path) -> bytes:
    """Return the journal without a torn last line."""
    _, torn_bytes = read_torn(run)
    content = (run / NAME).read_bytes()
    return content[: len(content) - torn_bytes]


def events_of(run: Path, kind: str) -> list[Event]:
    """Return the events of one type."""
    return [event for event in read(run) if event.type == kind]
