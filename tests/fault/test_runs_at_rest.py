"""A run that does not run: abort, restore, handover, re-test; and what is refused."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fst.boxes import Boxes
from fst.debts import open_debts
from fst.run_lock import holder
from harness.journal_file import NAME, read, read_torn
from tests.fault.killed import CASES, FST, ROOT, begin, events_of, fst, site_on, verdicts

NET = 195
DOWN = 84  # the event at which a service of the undisturbed run is down


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was killed while a service was down."""
    run, _ = begin(tmp_path_factory.mktemp("cut"), NET, ("KILL", DOWN))
    return run


@pytest.fixture
def copy(cut_off: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    run = tmp_path / "evidence" / cut_off.name
    subprocess.run(["cp", "-a", "--", cut_off.parent, tmp_path], check=True)
    return run


def test_restore_pays_what_a_killed_run_owes(copy: Path) -> None:
    """The stopped service is asked at its address, the capture's file is looked at; then SAFE."""
    kinds = [debt.kind.value for debt in open_debts(read_torn(copy)[0])]
    done = fst("restore", copy)

    assert kinds == ["capture-started", "service-stopped"]
    assert (done.code, done.out) == (0, f"SAFE: {copy} owes nothing\n")
    assert [one.fields["observed"] for one in events_of(copy, "debt.paid")][-1] == (
        f"127.0.{NET}.11:15353 answers (NOERROR)"
    )
    assert len(events_of(copy, "restore.proved")) == 1
    assert Boxes.fold(read(copy)).still_open == ()


def test_abort_says_so_and_the_run_may_go_on(copy: Path) -> None:
    """An aborted run is journalled as that, is closed, and its empty boxes can be filled later."""
    done = fst("abort", copy, "--reason", "the window is over")
    aborted = events_of(copy, "run.aborted")[-1]
    resumed = fst("run", "--resume", copy)

    assert (done.code, done.out.startswith("SAFE")) == (0, True)
    assert (aborted.fields["safe"], aborted.fields["reason"]) == (True, "the window is over")
    assert resumed.code == 0, resumed.text
    assert len(verdicts(copy)) == 5


def test_what_is_not_seen_to_be_undone_is_not_safe(copy: Path) -> None:
    """Where the server's address is taken by somebody else, nothing is paid and nothing is run."""
    import socket  # noqa: PLC0415 - the stranger

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((f"127.0.{NET}.11", 15353))
        restored = fst("restore", copy)
        resumed = fst("run", "--resume", copy)

    assert restored.code == 3
    assert restored.out.startswith("NOT SAFE")
    assert "service-stopped at site1/enum1" in restored.out
    assert resumed.code == 3
    assert "PASS" not in resumed.text
    assert f"fst restore {copy}" in resumed.text
    assert "run.end" not in [event.type for event in read(copy)]


def test_abort_ends_the_process_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """It is asked to end, undoes its own outage, and abort finds nothing left to pay."""
    for run in running(tmp_path, NET + 1):
        done = fst("abort", run)

        assert done.code == 0, done.text
        assert done.out.startswith("SAFE")
        assert "was asked to end, and did" in done.err
        assert holder(run) is None
        assert open_debts(read(run)) == ()


def test_a_run_that_goes_on_is_nobody_elses(tmp_path: Path) -> None:
    """Resume, restore and handover are refused while a process has the run; it is named."""
    for run in running(tmp_path, NET + 2):
        before = len(read_torn(run)[0])
        for command in (("run", "--resume", run), ("restore", run)):
            done = fst(*command)
            assert done.code == 2
            assert "is being written by process" in done.err
        done = fst("handover", run, "--to", "B. Tester")
        assert (done.code, "is being written by process" in done.err) == (2, True)
        assert "run.resumed" not in [event.type for event in read_torn(run)[0][before:]]


def running(folder: Path, net: int) -> Iterator[Path]:
    """Yield a run whose process goes on until the end of the test: it waits in an outage."""
    site, out = site_on(folder, net), folder / "evidence"
    site.write_text(site.read_text().replace("hold_down_ms = 4000", "hold_down_ms = 60000"))
    argv = [*FST, "run", "--site", str(site), "--out", str(out), "--case", "B.3.3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            yield in_outage(out, process)
        finally:
            process.send_signal(signal.SIGKILL)


def in_outage(out: Path, process: "subprocess.Popen[bytes]") -> Path:
    """Return the run's folder once its journal tells of a stopped service."""
    tick = threading.Event()
    while process.poll() is None:
        for journal in out.glob(f"*/{NAME}"):
            if b'"kind":"down"' in journal.read_bytes():
                return journal.parent
        tick.wait(0.02)
    raise AssertionError(process.stderr.read() if process.stderr else "")


def test_handover_keeps_both_names(copy: Path) -> None:
    """Who had the run and who has it is in the journal; the next resume is the new tester's."""
    done = fst("handover", copy, "--to", "B. Tester")
    again = fst("handover", copy, "--to", "B. Tester")
    resumed = fst("run", "--resume", copy)

    told = events_of(copy, "run.handover")[-1].fields
    assert done.code == 0
    assert (told["from"], told["to"]) == ("Lab engineer", "B. Tester")
    assert (again.code, "nobody new" in again.err) == (2, True)
    assert resumed.code == 0, resumed.text
    assert events_of(copy, "run.resumed")[-1].fields["tester"] == "B. Tester"


def test_a_retest_makes_a_new_attempt_with_its_reason(copy: Path) -> None:
    """The first attempt stays, the second has the reason; nothing else is run."""
    done = fst("run", "--resume", copy, "--retest", "B.3.1@site1/enum2", "--reason", "new card")
    attempts = Boxes.fold(read(copy)).attempts["B.3.1", "site1/enum2"]

    assert [(one.number, one.reason) for one in attempts] == [(1, ""), (2, "new card")]
    assert done.err.count("PASS") == 1
    assert verdicts(copy).get(("B.3.3", "site1")) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--retest", "failed"), "a re-test needs a reason"),
        (("--retest", "B.1.1", "--reason", "why not"), "no box that was tried"),
        (("--retest", "failed", "--reason", "why not"), "--retest: no box is failed"),
        (("--reason", "why not"), "a reason for nothing"),
        (("--set", "sbc.selection=hunt"), "not the settings that the run began with (none)"),
        (("--site", ROOT / "fixtures/sites/loopback.toml"), "not the site file"),
        (("--case", "Z.1"), "no such case"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(
    cut_off: Path, options: tuple[str | Path, ...], said: str
) -> None:
    """Another site file, other settings, a re-test without a reason: named, nothing changed."""
    before = (cut_off / NAME).read_bytes()
    done = fst("run", "--resume", cut_off, *options)

    assert done.code == 2, done.text
    assert said in done.err
    assert (cut_off / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda lines: [lines[0], *lines[2:]], "the chain breaks here"),
        (lambda lines: lines[:-2], "its last 2 events are missing"),
        (lambda _: [], "is missing"),
        (
            lambda lines: [lines[0].replace(b'"schema":1,', b'"schema":9,')],
            "written by a newer program",
        ),
    ],
    ids=["edited", "cut", "emptied", "newer"],
)
def test_a_journal_that_does_not_hold_is_refused(
    copy: Path, tmp_path: Path, harm: object, said: str
) -> None:
    """Edited, cut, or newer: resume, restore, abort and handover name it and change nothing."""
    journal = copy / NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(harm(lines)))  # type: ignore[operator]
    if said == "written by a newer program":
        (copy / "journal.head").unlink()
    before = journal.read_bytes()

    def refused(command: tuple[str, ...]) -> None:
        own = tmp_path / command[0] / copy.name  # a run is locked by one command at a time
        shutil.copytree(copy, own)
        done = fst(*command, own)
        assert done.code == 2, done.text
        assert said in done.err or said == "is missing"
        assert (own / NAME).read_bytes() == before

    commands = (("run", "--resume"), ("restore",), ("abort",))
    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(refused, commands))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """An empty folder is no run, and stays empty."""
    done = fst("abort", tmp_path)

    assert done.code == 2
    assert list(tmp_path.iterdir()) == []
    assert CASES
