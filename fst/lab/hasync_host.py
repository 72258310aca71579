"""What a host of the lab does instead of hasync: sets that are made, sent, and told of.

    python -m fst.lab.hasync_host STATE PROGRAM     as PROGRAM prints it for `status --json`

The sets are folders with a manifest and nothing to restore; what is imitated is what hasync tells.
Standard library only, and nothing of this project, as in `fst.lab.hostd`, whose cron runs
`synchronise`.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

BASE = "var/lib/hasync"
NOT_FOUND = 127
TREND = 14
Job = dict[str, Any]  # of host.json: cron.hasync
Row = dict[str, Any]


def main(argv: list[str]) -> int:
    """Print the status; return the exit code."""
    state, program = Path(argv[0]), argv[1]
    host = json.loads((state / "host.json").read_text(encoding="utf-8"))
    job: Job | None = (host["cron"] or {}).get("hasync")
    if job is None or not (state / "root" / program.lstrip("/")).exists():
        said = f"timeout: failed to run command '{program}': No such file or directory"
        print(said, file=sys.stderr)  # noqa: T201 - this program's only voice
        return NOT_FOUND
    found = status(state / "root", job)
    answer = {"program": "hasync", "exit_code": 0, "why": "", "attention": [], "status": found}
    print(json.dumps(answer))  # noqa: T201 - this program's only voice
    return 0


def wall_ns() -> int:
    """Return the time of this "host"."""
    return time.time_ns()  # noqa: TID251 - a host has a clock of its own


# What cron does -----------------------------------------------------------------------------------


def synchronise(root: Path, cron: Row, *, active: bool) -> str:
    """Do one run, and put it on record; return in words what it did."""
    began_ns, name = wall_ns(), ""
    job: Job = cron["hasync"]
    if active:
        name = _publish(root / BASE, job)
        if job["peer_root"]:
            _send(root / BASE, Path(job["peer_root"]) / BASE, name, job)
    for old in _folders(root / BASE, job)[: -cron["keep"]]:
        shutil.rmtree(old, ignore_errors=True)
    run = {"command": job["command"], "running": False, "pid": os.getpid(), "took_s": 0.01}
    run |= {"began_at_ns": began_ns, "ended_at_ns": wall_ns(), "exit_code": 0, "why": ""}
    run |= {"before": 0, "failures": 0, "last_ok_at_ns": wall_ns()}
    _write(root / BASE / "state/status.json", {"schema": 1, "runs": {job["command"]: run}})
    return f"made and sent {name}" if name else "nothing to do on a standby"


def _publish(base: Path, job: Job) -> str:
    known = _sets(base, job)
    at_ns, set_id = wall_ns(), os.urandom(16).hex()
    sequence = int(known[-1]["name"][9:17]) + 1 if known else 1
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_ns // 10**9))
    epoch = _role(base)["epoch"]
    name = f"e{epoch:06d}-s{sequence:08d}-{utc}-{set_id[:8]}"
    row = {"id": set_id, "name": name, "kind": job["kind"], "site": job["site"]}
    row |= {"state": "verified", "snapshot_at_ns": at_ns, "size_bytes": 1000, "rows": sequence}
    _write(_place(base, job) / name / "manifest.json", row)
    return name


def _send(base: Path, to: Path, name: str, job: Job) -> None:
    """Bring a set to the peer, whose restore of it takes no time here."""
    row = json.loads((_place(base, job) / name / "manifest.json").read_text(encoding="utf-8"))
    restored = {"state": "restored", "restore_s": 0.01} if job["kind"] == "db" else {}
    _write(_place(to, _turned(job)) / name / "manifest.json", row | restored)


def _turned(job: Job) -> Job:
    """Return the job as the peer has it."""
    return job | {"site": job["peer"], "peer": job["site"]}


def _write(path: Path, value: Row) -> None:
    """Write a file that is whole whenever it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(value), encoding="utf-8")
    part.rename(path)


def _place(base: Path, job: Job) -> Path:
    site = job["site"] if _role(base)["role"] == "active" else job["peer"]
    return base / "sets" / str(job["kind"]) / str(site)


def _folders(base: Path, job: Job) -> list[Path]:
    return sorted(_place(base, job).glob("e*"))


def _sets(base: Path, job: Job) -> list[Row]:
    found = []
    for folder in _folders(base, job):
        try:
            found.append(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue  # it goes, or comes, at this moment
    return found


# What is told -------------------------------------------------------------------------------------


def status(root: Path, job: Job) -> Row:
    """Return what `hasync status --json` has under `status`."""
    base, at_ns = root / BASE, wall_ns()
    role, sets = _role(base), _sets(base, job)
    peer_base = Path(job["peer_root"]) / BASE if job["peer_root"] else None
    theirs = _sets(peer_base, _turned(job)) if peer_base else []
    proved = theirs if role["role"] == "active" else sets
    newest = sets[-1] if sets else None
    is_database = job["kind"] == "db"
    live = newest if is_database and role["role"] == "standby" else None
    age_s = (at_ns - proved[-1]["snapshot_at_ns"]) / 1e9 if proved else None
    return {
        "site": job["site"],
        "at_ns": at_ns,
        "role": role["role"],
        "epoch": role["epoch"],
        "role_why": "laid down by the lab",
        "service": "active" if role["role"] == "active" else "inactive",
        "newest": _shown(newest),
        "restored": _shown(live),
        "proven_rpo_s": age_s,
        "ages_s": {job["kind"]: age_s},
        "measured_rto_s": live["restore_s"] if live else None,
        "sets": {"new": 0, "verified": len(sets), "restored": 0, "failed": 0, "corrupt": 0},
        "trend": [_point(one) for one in sets[-TREND:]],
        "peer": _peer(peer_base, job, theirs, at_ns) if peer_base else None,
        "conflict": "",
        "running": False,
        "died": [],
        "unfinished": [],
        "runs": _runs(base),
        "free_bytes": {},
        "logins_without_password": [],
        "problems": [],
    }


def _peer(base: Path, job: Job, theirs: list[Row], at_ns: int) -> Row:
    role = _role(base)
    restored = theirs[-1]["id"] if theirs and job["kind"] == "db" else None
    found = {"site": job["peer"], "role": role["role"], "epoch": role["epoch"]}
    found |= {"restored": restored if role["role"] == "standby" else None, "exit_code": 0}
    return found | {"failures": 0, "asked_at_ns": at_ns, "skew_s": 0.0}


def _role(base: Path) -> Row:
    found: Row = json.loads((base / "state/role.json").read_text(encoding="utf-8"))
    return found


def _runs(base: Path) -> Row:
    try:
        found: Row = json.loads((base / "state/status.json").read_text(encoding="utf-8"))["runs"]
    except OSError:
        return {}  # nothing has run yet
    return found


def _shown(row: Row | None) -> Row | None:
    if row is None:
        return None
    return {name: value for name, value in row.items() if name != "restore_s"}


def _point(row: Row) -> Row:
    found = {"name": row["name"], "at_ns": row["snapshot_at_ns"], "rows": row["rows"]}
    return found | {"size_bytes": row["size_bytes"], "restore_s": row.get("restore_s")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
