"""The lab's pair kept by hasync: asked in a whole watch, and broken at one place each time."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from fst.baseline import judge_host
from fst.ea_profile import profile
from fst.host_history import HostHistory
from fst.host_watch import watch
from fst.lab.hosts import LabHosts
from fst.roles import default_roles
from fst.site_reading import read_site_file
from harness.clock import SystemClock
from harness.finding import worst

ROOT = Path(__file__).parents[2]
SITE = ROOT / "fixtures/sites/two-site.toml"
HASYNC = profile("hasync")
PAIRS = ("site1/db", "site1/med", "site2/db", "site2/med")
WATCH_NS = 2_000_000_000
Break = Callable[[LabHosts], None]


def lab_of(folder: Path) -> LabHosts:
    """Return a lab on addresses of its own."""
    text = SITE.read_text(encoding="utf-8")
    for own in (1, 2, 3):
        text = text.replace(f'"127.0.{own}.', f'"127.86.{own}.')
    (folder / "site.toml").write_text(text, encoding="utf-8")
    file, _, _ = read_site_file(folder / "site.toml", ["standby.kept_by=hasync"])
    return LabHosts(file, folder / "state", chosen=HASYNC, sync_every_s=0.25)


async def watched(lab: LabHosts, *breaks: Break) -> list[HostHistory]:
    """Return a watch of the lab as it is, and one after each of *breaks*."""
    found = []
    await lab.start()
    try:
        for harm in (lambda _: None, *breaks):
            harm(lab)
            found.append(
                await watch(
                    lab.accesses,
                    [one for one in lab.hosts if one.target in PAIRS],
                    default_roles(),
                    HASYNC,
                    {"processes-stay-up": WATCH_NS},
                    clock=SystemClock(),
                    period_s=1.0,
                    sync_every_s=lab.sync_every_s,
                )
            )
    finally:
        await lab.stop()
    return found


def not_passed(history: HostHistory) -> dict[tuple[str, str], str]:
    found = {}
    for target in PAIRS:
        for step in ("A.2.1", "A.2.2"):
            judged = judge_host(step, history, target, default_roles(), HASYNC)
            word = worst(one.outcome for one in judged.findings).value
            if word != "PASS":
                found[target, step] = word
    return found


def role_of_the_standby(lab: LabHosts) -> None:
    path = lab.state("site2/med") / "root/var/lib/hasync/state/role.json"
    path.write_text(json.dumps({"role": "standby", "epoch": 9}))


def no_program(lab: LabHosts) -> None:
    (lab.state("site2/db") / "root/usr/local/bin/hasync").unlink()


def test_pair_is_asked_and_judged(tmp_path: Path) -> None:
    """In step it passes; an epoch of its own, and a program that is gone, each show where asked."""
    well, epoch, gone = asyncio.run(watched(lab_of(tmp_path), role_of_the_standby, no_program))
    read_again = HostHistory.from_json(json.loads(json.dumps(well.to_json())))

    assert not_passed(read_again) == not_passed(well) == {}
    med = {("site1/med", "A.2.1"): "FAIL", ("site2/med", "A.2.1"): "FAIL"}
    assert not_passed(epoch) == med
    database = {(f"site{n}/db", f"A.2.{step}"): "OTHER" for n in (1, 2) for step in (1, 2)}
    assert not_passed(gone) == med | database
