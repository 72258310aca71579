"""The whole plan in the two-site lab: each of the 128 boxes has an observation made in this run."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "fixtures/sites/two-site.toml"
FST = Path(sys.executable).with_name("fst")
LIMIT_S = 900
AGAIN = 2
MOST = 110  # boxes that pass even on a machine that stalls
MAY_BE_OTHER = frozenset({"C.1.1", "A.1.1", "A.1.2", "A.1.3", "A.2.2"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return results.json of one whole run, with its exit code and folder.

    It is made again, at most twice, where a stall of this machine left too much OTHER: never FAIL.
    """
    for _ in range(AGAIN + 1):
        found = whole(tmp_path_factory.mktemp("two-site"))
        states = Counter(box["state"] for box in boxes(found))
        other = {box["step"] for box in boxes(found) if box["state"] == "OTHER"}
        if states["FAIL"] or (states["PASS"] >= MOST and other <= MAY_BE_OTHER):
            break
    return found


def whole(out: Path) -> dict[str, Any]:
    """Return what one run below *out* left."""
    done = subprocess.run(
        [FST, "run", "--site", SITE, "--out", out],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=out,
    )  # fmt: skip
    folders = list(out.iterdir())
    assert len(folders) == 1, done.stderr
    results: dict[str, Any] = json.loads((folders[0] / "results.json").read_bytes())
    return results | {"code": done.returncode, "folder": folders[0], "talk": done.stderr}


def boxes(run: dict[str, Any]) -> list[dict[str, Any]]:
    return [box for form in run["forms"] for box in form["boxes"] if box["state"] != "N/A"]


def test_every_box_is_judged(run: dict[str, Any]) -> None:
    """128 boxes on 20 forms, none empty; what this machine can't show is OTHER and says so.

    On a machine that stalls, samples of the hosts get holes, and then part A must be OTHER too.
    """
    states = Counter(box["state"] for box in boxes(run))
    other = {(box["step"], box["words"]) for box in boxes(run) if box["state"] == "OTHER"}
    bonds = {words for step, words in other if step == "C.1.1"}

    assert len(run["forms"]) == 20
    assert sum(states.values()) == 128
    assert states["PASS"] + states["OTHER"] == 128, [(b["step"], b["words"]) for b in boxes(run)]
    assert states["PASS"] >= MOST, other
    assert {step for step, _ in other} <= MAY_BE_OTHER
    assert bonds
    assert all("recorded, not seen in this run" in words for words in bonds)
    assert run["code"] == 3


def test_every_box_rests_on_an_observation_of_this_run(run: dict[str, Any]) -> None:
    """Behind each box are findings and a file in the run's folder, made while it ran."""
    journal = (run["folder"] / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in journal]
    start_ns = events[0]["at_ns"]
    for box in boxes(run):
        own = [
            e for e in events if (e.get("step"), e.get("target")) == (box["step"], box["target"])
        ]
        files = {e["path"]: e for e in own if e["type"] == "attachment"}
        assert any(e["type"] == "finding" for e in own), box
        assert files, box
        for path in files:
            made_ns = (run["folder"] / path).stat().st_mtime_ns
            assert made_ns >= start_ns, path


def test_parts_look_at_what_is_theirs(run: dict[str, Any]) -> None:
    """Part A rests on the hosts' history, part B on the SBC's packets, C.1.2 on the probe's own."""
    events = [
        json.loads(line)
        for line in (run["folder"] / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    paths: dict[str, set[str]] = {}
    for event in events:
        if event["type"] == "attachment":
            paths.setdefault(f"{event['step']} {event['target']}", set()).add(event["path"])

    assert paths["A.1.2 site2/probe2"] == {"hosts.json"}
    assert paths["B.3.5 site2"] == {"captures/site2-sbc2-back-in-service.pcap"}
    assert "captures/site1-probe1-span.pcap" in paths["C.1.2 site1/probe1"]
    assert "captures/site1-probe2-span.pcap" not in paths["C.1.2 site1/probe1"]
