"""What a change between two sessions makes of earlier verdicts; what is not begun too late."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fst.boxes import Boxes
from fst.debts import DebtKind, open_debts
from fst.suspects import suspect
from harness.clock import SystemClock
from harness.journal import Event
from harness.journal_file import read
from tests.loopback.runs import LIMIT_S, ROOT, write_site

FST = [sys.executable, "-c", "import sys; from fst.cli import main; sys.exit(main())"]
PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "--pyargs",
    "fst.cases",
    "-p",
    "tests.loopback.kept_servers",
]
SERVERS = ("enum1", "enum2", "enum3")
Done = subprocess.CompletedProcess[str]


def command(argv: list[str | Path], cwd: Path, **environment: str) -> Done:
    return subprocess.run(
        [str(one) for one in argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


class Services:
    """The services of three ENUM servers: a process and a settings file each."""

    def __init__(self, folder: Path) -> None:
        """Start all, with their files in *folder*."""
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in SERVERS:
            (folder / f"{name}.conf").write_text("threads = 2\n")
            (folder / f"{name}.rules").touch()
            self.restart(name)

    def restart(self, name: str) -> None:
        """End the process of *name*, if it runs, and start another."""
        self.end(name)
        process = subprocess.Popen(["sleep", "3600"])
        self.processes[name] = process
        (self.folder / f"{name}.pid").write_text(str(process.pid))

    def end(self, name: str) -> None:
        """End the process of *name*."""
        if name in self.processes:
            process = self.processes.pop(name)
            process.kill()
            process.wait()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Return the services, which go on from run to run."""
    folder = tmp_path / "servers"
    folder.mkdir()
    found = Services(folder)
    yield found
    for name in SERVERS:
        found.end(name)


def suspects(run: Path) -> Mapping[tuple[str, str], str]:
    boxes = Boxes.fold(read(run))
    return suspect(boxes, boxes.facts)


def facts_within(events: tuple[Event, ...], step: str) -> list[tuple[str, str]]:
    """Return target and when of the facts within the attempts at *step*, in order."""
    found, inside = [], False
    for event in events:
        if event.type in ("attempt.start", "attempt.end") and event.fields["step"] == step:
            inside = event.type == "attempt.start"
        elif event.type == "facts" and inside:
            found.append((str(event.fields["target"]), str(event.fields["when"])))
    return found


def test_server_that_is_restarted_between_sessions_makes_its_boxes_suspect(
    tmp_path: Path, services: Services
) -> None:
    """Facts at both ends of an attempt; status names the change; a re-test of suspects ends it."""
    site, kept = write_site(tmp_path, 131), ["--kept-servers", services.folder]
    first = command(
        [*PYTEST, *kept, "--fst-site", site, "--fst-case", "B.3.1", "--fst-case", "B.3.2"], tmp_path
    )
    (run,) = (tmp_path / "evidence").iterdir()
    told = facts_within(read(run), "B.3.2")
    before = suspects(run)

    services.restart("enum1")
    (services.folder / "enum2.conf").write_text("threads = 4\n")
    goes_on = [
        *PYTEST,
        *kept,
        "--fst-resume",
        run,
        "--fst-reason",
        "is it still so?",
        "--fst-retest",
    ]
    second = command([*goes_on, "B.3.1@site1/enum1"], tmp_path)
    third = command([*goes_on, "B.3.1@site1/enum2"], tmp_path)
    found = suspects(run)
    status = command([*FST, "status", run], tmp_path)
    fourth = command([*goes_on, "suspect"], tmp_path)

    assert first.returncode == second.returncode == third.returncode == 0, first.stdout
    assert told == [(f"site1/{name}", when) for when in ("start", "end") for name in SERVERS]
    assert before == {}
    assert list(found) == [("B.3.2", "site1")]
    assert found["B.3.2", "site1"].startswith("site1/enum1: process.enumd was ")
    assert "suspect, try again" in status.stdout
    assert "B.3.2 site1: site1/enum1: process.enumd was " in status.stdout
    assert "1 passed" in fourth.stdout, fourth.stdout
    assert suspects(run) == {}


def test_file_that_rules_are_written_into_is_owed_until_it_is_as_before(
    tmp_path: Path, services: Services
) -> None:
    """Opened before the deed; the run that goes on takes the rules out, and looks at the hash."""
    site, kept = write_site(tmp_path, 134), ["--kept-servers", services.folder]
    rules = services.folder / "enum2.rules"
    begun = [*PYTEST, *kept, "--fst-site", site, "--fst-case", "B.2.2"]
    killed = command(begun, tmp_path, FST_KILL_AT="13", FST_KILL_WITH="KILL")
    (run,) = (tmp_path / "evidence").iterdir()
    owed = [debt.target for debt in open_debts(read(run)) if debt.kind is DebtKind.FILE_CHANGED]
    left = rules.read_text()
    done = command([*PYTEST, *kept, "--fst-resume", run], tmp_path)
    seen = [str(e.fields["observed"]) for e in read(run) if e.type == "debt.paid"]

    assert killed.returncode == -9
    assert owed == [f"site1/{name}" for name in SERVERS]
    assert left == "fst-terminate"
    assert "1 passed" in done.stdout, done.stdout
    assert any(said.startswith(f"{rules} has SHA-256 e3b0c442") for said in seen)
    assert open_debts(read(run)) == ()


def test_stubs_of_a_resumed_lab_run_are_no_change(tmp_path: Path) -> None:
    """They live and die with the run's process: a resumed run has others; nothing is suspect."""
    site = write_site(tmp_path, 132)
    out, why = tmp_path / "evidence", ["--reason", "again"]
    command([*FST, "run", "--site", site, "--out", out, "--case", "B.3.1"], tmp_path)
    (run,) = out.iterdir()
    done = command([*FST, "run", "--resume", run, "--retest", "B.3.1@site1/enum1", *why], tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(facts_within(read(run), "B.3.1")) == 8
    assert suspects(run) == {}


@pytest.mark.parametrize(
    ("begins", "ends", "why"),
    [
        (-60, 10, "past the point of no return: 30 minutes are needed"),
        (-120, -10, "the change window ended at "),
        (10, 120, "the change window begins only at "),
    ],
    ids=["late", "over", "early"],
)
def test_outage_is_not_begun_outside_the_time_for_it(
    tmp_path: Path, begins: int, ends: int, why: str
) -> None:
    """It is parked with words, no service is stopped; what disturbs nothing is carried out."""
    site, now = (
        write_site(tmp_path, 133),
        datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, UTC),
    )
    times = [(now + timedelta(minutes=at)).isoformat() for at in (begins, ends)]
    window = f"[window]\nbegins = {times[0]}\nends = {times[1]}\n\n[judging]"
    site.write_text(site.read_text().replace("[judging]", window))
    out, asked = tmp_path / "evidence", ["--case", "B.3.1", "--case", "B.3.3"]
    done = command([*FST, "run", "--site", site, "--out", out, *asked], tmp_path)
    (run,) = out.iterdir()
    told = read(run)
    tried = {event.fields["step"] for event in told if event.type == "attempt.start"}
    kinds = {event.fields["kind"] for event in told if event.type == "debt.opened"}
    (comment,) = [event.fields for event in told if event.type == "comment"]

    assert done.returncode == 3, done.stderr
    assert f"-----  B.3.3 site1 parked: {why}" in done.stderr
    assert tried == {"B.3.1"}
    assert "service-stopped" not in kinds
    assert (comment["step"], comment["target"]) == ("B.3.3", "site1")
    assert str(comment["text"]).startswith(f"not begun: {why}")
