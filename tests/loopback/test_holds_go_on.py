"""A watch in the background for real: begun, killed with its program, gone on with, judged."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fst.debts import Ledger, open_debts
from fst.host_work import HostWork
from fst.lab.hosts import any_live
from fst.matrix import Case
from fst.plan import default_plan
from fst.run_folder import RunFolder
from fst.schedule import disturbed
from fst.session import matrix_of, read_site_file
from fst.site import SiteFile
from harness.clock import SystemClock
from harness.finding import worst
from harness.journal_file import read

SITE = Path(__file__).parents[2] / "fixtures/sites/two-site.toml"
ROOT = Path(__file__).parents[2]
STEPS = ("A.1.1", "A.1.2", "A.1.3")
# Begins a watch in a run's folder, says where, and then only waits to be killed.
CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.loopback.test_holds_go_on import begun, site_of
site = site_of(Path(sys.argv[2]))
work, folder = begun(site, Path(sys.argv[2]))
print(folder.path, flush=True)
sys.stdin.read()
"""


def site_of(folder: Path) -> SiteFile:
    """Return one small site: a pair of ENUM servers and what they report to; waits of 2 and 6 s."""
    text = SITE.read_text(encoding="utf-8")
    for own in (1, 2, 3):
        text = text.replace(f'"127.0.{own}.', f'"127.86.{own}.')
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return read_site_file(folder / "site.toml")[0]


def begun(file: SiteFile, out: Path) -> tuple[HostWork, RunFolder]:
    folder = RunFolder.begin(out, SystemClock(), b"")
    journal = folder.journal
    work = HostWork(
        file, default_plan(), folder, clock=SystemClock(), ledger=Ledger(journal.append)
    )
    work.begin(STEPS)
    return work, folder


def cases(file: SiteFile, step: str) -> list[Case]:
    return [case for case in matrix_of(file, default_plan()).cases if case.step.id == step]


def outcomes(work: HostWork, file: SiteFile) -> dict[str, str]:
    """Return what is not PASS, by step and target."""
    found = {}
    for step in STEPS:
        for case in cases(file, step):
            words = [f.outcome for one in work.evidence(case) for f in one.findings]
            found[f"{step} {case.target}"] = worst(words).value
    return {box: word for box, word in found.items() if word != "PASS"}


@pytest.fixture
def child(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A program that watches, and the folder of its run."""
    argv = [sys.executable, "-c", CHILD, str(ROOT), str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def beats(run: Path) -> int:
    return sum(event.type == "hold.beat" for event in read(run))


def test_watch_goes_on_after_its_program_was_killed(
    child: tuple[subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    """The same hosts, their waits from the journal: nothing begins anew, every box passes."""
    process, run = child
    while beats(run) < 2:
        assert process.poll() is None
        threading.Event().wait(0.05)  # looks again: a file tells nobody that it has grown
    process.send_signal(signal.SIGKILL)
    process.wait()
    file = site_of(tmp_path)
    folder = RunFolder.reopen(run, SystemClock())
    events = folder.journal.events
    debts = open_debts(events)
    assert len(debts) == 1
    assert any_live(Path(debts[0].what))
    ledger = Ledger(folder.journal.append, events)
    work = HostWork(file, default_plan(), folder, clock=SystemClock(), ledger=ledger, events=events)
    try:
        work.begin(STEPS)
        found = outcomes(work, file)
    finally:
        work.close()
        folder.close()

    told = read(run)
    gaps = [event for event in told if event.type == "hold.gap"]
    restarted = [e for e in told if e.type == "hold.begun" and e.fields["restarts"]]
    assert bool(gaps) is bool(restarted)  # a busy machine may take longer than a gap may last
    assert found == {}
    assert open_debts(told) == ()
    assert not Path(debts[0].what).exists()


def test_case_that_disturbs_waits_for_the_holds_of_its_hosts(tmp_path: Path) -> None:
    """B.3.3 is held back until site 1's ENUM servers are free; B.3.1 is not held back at all."""
    file = site_of(tmp_path)
    work, folder = begun(file, tmp_path)
    try:
        outage, rotation = cases(file, "B.3.3")[0], cases(file, "B.3.1")[0]
        work.hold_back(rotation)
        early = {event.type for event in read(folder.path)}
        work.hold_back(outage)
        ended = {str(e.fields["target"]) for e in read(folder.path) if e.type == "hold.ended"}
        assert "hold.ended" not in early
        assert disturbed(outage, work.hosts) <= ended
    finally:
        work.close()
        folder.close()
    assert open_debts(read(folder.path)) == ()


def test_watch_that_is_closed_early_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C at once: the hosts are ended, and that was seen."""
    file = site_of(tmp_path)
    work, folder = begun(file, tmp_path)
    state = Path(open_debts(read(folder.path))[0].what)

    work.close()
    folder.close()

    assert open_debts(read(folder.path)) == ()
    assert not state.exists()
