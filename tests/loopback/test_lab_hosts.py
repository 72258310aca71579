"""The lab's twelve hosts, for real on loopback: started, watched, judged, broken, ended."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fst.baseline import JUDGES, judge_host
from fst.ea_profile import profile
from fst.host_history import HostHistory, waits_ns
from fst.host_watch import Progress, watch
from fst.lab.cli import app
from fst.lab.hosts import LabHosts, run_bounded, stop_all
from fst.plan import HostRole, default_plan
from fst.roles import default_roles
from fst.site_reading import read_site_file
from harness.clock import SystemClock
from harness.errors import InputError, ToolError
from harness.finding import worst

SITE = Path(__file__).parents[2] / "fixtures/sites/two-site.toml"
SCALE = 300.0  # 10 and 30 minutes become 2 and 6 s
PERIOD_S = 2.0  # a round of twelve hosts takes 0.4 s alone, and may take three periods
PAIRED = {HostRole.MEDIATION, HostRole.DATABASE}


def moved(folder: Path, net: int) -> Path:
    """Return the two-site file, on addresses of its own."""
    text = SITE.read_text(encoding="utf-8")
    for own in (1, 2, 3):
        text = text.replace(f'"127.0.{own}.', f'"127.{net}.{own}.')
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def lab_of(folder: Path, net: int) -> LabHosts:
    file, _, _ = read_site_file(moved(folder, net))
    return LabHosts(file, folder / "state", sync_every_s=0.25)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture
def lab(tmp_path: Path, runner: asyncio.Runner) -> Iterator[LabHosts]:
    made = lab_of(tmp_path, 81)
    runner.run(made.start())
    yield made
    runner.run(made.stop())


def pids(lab: LabHosts) -> list[int]:
    """Return the ids of all processes that the lab started and that live."""
    files = [path for host in lab.hosts for path in (lab.state(host.target) / "run").glob("*.pid")]
    return [pid for path in files if alive(pid := int(path.read_text().split()[0]))]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def watched(
    lab: LabHosts,
    runner: asyncio.Runner,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
    on_round: Callable[[Progress], None] | None = None,
) -> HostHistory:
    """Return a watch of 6 s, during which *meanwhile* happens."""

    async def both() -> HostHistory:
        other = asyncio.ensure_future(meanwhile()) if meanwhile else None
        history = await watch(
            lab.accesses,
            lab.hosts,
            default_roles(),
            profile("guide"),
            waits_ns(default_plan(), SCALE),
            clock=SystemClock(),
            scale=SCALE,
            period_s=PERIOD_S,
            sync_every_s=lab.sync_every_s,
            on_round=on_round,
        )
        if other is not None:
            await other
        return history

    return runner.run(both())


def not_passed(history: HostHistory) -> dict[tuple[str, str], str]:
    found = {}
    for host in history.hosts:
        for step in JUDGES:
            if step.startswith("A.1") or host.role in PAIRED:
                judged = judge_host(step, history, host.target, default_roles(), profile("guide"))
                found[host.target, step] = worst(f.outcome for f in judged.findings).value
    return {box: word for box, word in found.items() if word != "PASS"}


def test_lab_is_up_once_it_has_started(tmp_path: Path, runner: asyncio.Runner) -> None:
    """Twelve hosts with 30 processes are up and connected when `start` returns."""
    made = lab_of(tmp_path, 82)
    try:
        runner.run(made.start())

        assert len(made.hosts) == 12
        assert len(pids(made)) == 23  # 19 of the service on the active hosts, 4 of cron
    finally:
        runner.run(made.stop())


def test_lab_as_it_should_be_passes(lab: LabHosts, runner: asyncio.Runner) -> None:
    """Both sites are watched for 6 s: every box is PASS, again so from the written record."""
    told: list[Progress] = []
    history = watched(lab, runner, on_round=told.append)

    assert not_passed(history) == {}
    assert told[-1].since_ns >= told[-1].longest_ns
    again = HostHistory.from_json(json.loads(json.dumps(history.to_json())))
    assert again == history
    assert not_passed(again) == {}


def test_broken_lab_shows_each_defect_in_its_box(lab: LabHosts, runner: asyncio.Runner) -> None:
    """Five things broken on five hosts during one watch: five boxes, and no other."""

    def log(target: str) -> Path:
        facts = json.loads((lab.state(target) / "host.json").read_text())
        return lab.state(target) / "root" / str(facts["log"]).lstrip("/")

    def pid(target: str, name: str) -> int:
        return int((lab.state(target) / "run" / f"{name}.pid").read_text().split()[0])

    seen = asyncio.Event()

    async def harm() -> None:
        (lab.state("site1/med") / "root/root/.ssh/authorized_keys").chmod(0o644)
        await seen.wait()  # all hosts were seen well
        os.kill(pid("site1/enum1", "ngp-upload"), signal.SIGKILL)
        os.kill(pid("site1/enum2", "ngp-upload"), signal.SIGTERM)
        await lab.access("site1/enum2").run("service", "ngp", "start")
        with log("site1/probe1").open("ab") as file:
            file.write(b"12:00 FATAL caf\xe9\n")
        with log("site1/probe2").open("ab") as file:
            file.write(b"12:00 ERROR lesser\n")
        log("site2/probe1").rename(f"{log('site2/probe1')}.1")  # rotated: no harm
        log("site2/probe1").touch()

    found = not_passed(watched(lab, runner, harm, lambda _: seen.set()))

    assert found == {
        ("site1/enum1", "A.1.2"): "FAIL",
        ("site1/enum2", "A.1.2"): "FAIL",
        ("site1/probe1", "A.1.3"): "FAIL",
        ("site1/probe2", "A.1.3"): "OTHER",
        ("site1/med", "A.2.1"): "FAIL",
    }


def test_stopped_cron_stops_the_copies(lab: LabHosts, runner: asyncio.Runner) -> None:
    """Without cron on the active database server: it is not running, and nothing is copied."""
    path = lab.state("site1/db") / "run/crond.pid"
    os.kill(int(path.read_text().split()[0]), signal.SIGKILL)

    found = not_passed(watched(lab, runner))

    assert found == {
        ("site1/db", "A.1.1"): "FAIL",
        ("site1/db", "A.1.2"): "OTHER",
        ("site1/db", "A.2.2"): "FAIL",
        ("site2/db", "A.2.2"): "FAIL",
    }


def test_service_command_keeps_to_its_exit_codes(lab: LabHosts, runner: asyncio.Runner) -> None:
    """0 running, 3 stopped, 1 dead; start and stop can be said twice."""
    access = lab.access("site1/probe1")

    def service(action: str) -> tuple[int | None, str]:
        done = runner.run(access.run("service", "ngp", action))
        return done.exit_code, done.text

    assert service("status")[0] == 0
    assert service("start") == (0, "")
    assert service("stop")[0] == 0
    assert service("status") == (3, "ngp-probe is stopped\nngp-upload is stopped\n")
    assert service("start")[0] == 0
    os.kill(int((lab.state("site1/probe1") / "run/ngp-probe.pid").read_text().split()[0]), 9)
    code, text = service("status")
    assert (code, "ngp-probe dead but pid file exists" in text) == (1, True)


def test_mediation_server_does_not_start_without_its_database(
    lab: LabHosts, runner: asyncio.Runner
) -> None:
    """It waits for its database, gives up, and says so; the command reports the failure."""
    runner.run(lab.access("site1/db").run("service", "ngp", "stop"))
    runner.run(lab.access("site1/med").run("service", "ngp", "stop"))
    state = lab.state("site1/med")
    facts = json.loads((state / "host.json").read_text())
    (state / "host.json").write_text(json.dumps({**facts, "start_limit_s": 0.3}))

    done = runner.run(lab.access("site1/med").run("service", "ngp", "start"))

    assert done.exit_code == 1
    assert "Starting ngp-app: [FAILED]" in done.text
    assert "FATAL" in (state / "root/opt/ngp/log/mediation.log").read_text()


def test_access_sees_its_own_host_only(lab: LabHosts, runner: asyncio.Runner) -> None:
    """Files are below the host's own root; what a host here has not gives 127."""
    access = lab.access("site1/enum1")

    shown = runner.run(access.run("env", "LC_ALL=C", "cat", "/opt/ngp/config/lab.conf"))
    none = runner.run(access.run("systemctl", "is-enabled", "ngp"))
    gone = runner.run(access.run("env", "LC_ALL=C", "cat", "/etc/hostname"))

    assert shown.text == "host = site1/enum1\n"
    assert none.exit_code == 127
    assert gone.complaint == "cat: exit code 1: cat: /etc/hostname: No such file or directory"


def test_command_that_does_not_end_is_ended(runner: asyncio.Runner) -> None:
    """A command past its time has no exit code, and leaves no process."""
    done = runner.run(run_bounded(("sleep", "60"), {}, SystemClock(), limit_s=0.2))

    assert done.exit_code is None
    assert not done.whole


def test_lab_on_other_addresses_is_refused(tmp_path: Path) -> None:
    """Only loopback: a lab must not claim a real host's address."""
    text = SITE.read_text().replace('"127.0.1.1"', '"192.0.2.1"')
    (tmp_path / "site.toml").write_text(text)
    file, _, _ = read_site_file(tmp_path / "site.toml")

    with pytest.raises(InputError, match="not loopback"):
        LabHosts(file, tmp_path)


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path, runner: asyncio.Runner) -> None:
    """A folder without the mark of a lab is never removed."""
    made = lab_of(tmp_path, 83)
    own = made.state("site1/med")
    own.mkdir(parents=True)
    (own / "thesis.txt").write_text("dear")

    with pytest.raises(ToolError, match="no host of a lab"):
        runner.run(made.start())

    assert (own / "thesis.txt").read_text() == "dear"


def test_lab_command_leaves_no_process(tmp_path: Path) -> None:
    """`fst lab up` returns with a lab that stays; `fst lab down` ends all of it."""
    site, state = str(moved(tmp_path, 84)), str(tmp_path / "state")
    made = lab_of(tmp_path, 84)
    cli = CliRunner()
    try:
        assert cli.invoke(app, ["up", "--site", site, "--state", state]).exit_code == 0
        running = pids(made)
        assert len(running) == 23
        status = cli.invoke(app, ["status", "--state", state, "--json"])
        assert status.exit_code == 0
        assert len(json.loads(status.stdout)) == 12
        assert cli.invoke(app, ["down", "--state", state]).exit_code == 0
        assert [pid for pid in running if alive(pid)] == []
        assert cli.invoke(app, ["status", "--state", state]).exit_code == 3
    finally:
        asyncio.run(stop_all(tmp_path / "state"))


def test_lab_command_without_a_lab_is_refused(tmp_path: Path) -> None:
    """There is nothing to end where no lab is."""
    done = CliRunner().invoke(app, ["down", "--state", str(tmp_path)])

    assert isinstance(done.exception, InputError)
