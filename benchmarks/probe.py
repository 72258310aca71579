"""What it takes to read a tap's capture of millions of packets, beside tshark on the same file.

    python -m benchmarks.probe [--packets 10000000] [--rounds 5] [--no-tshark] [--json]

Claims, on a capture of mixed SIP and RTP, the whole of `probetest analyse --view all --json`
(calls, parties, streams, analytics) against `tshark -q -z rtp,streams` and `tshark -T fields` with
six SIP fields: at least 5 and 15 times as fast in wall time; less private memory (RssAnon) than
either; ten times the packets in at most 10.5 times the time. Programs take turns, figures are
medians, memory is the most of any round, polled. Exit 1: a claim does not hold.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.probe_traffic import endless, write

PACKETS, ROUNDS, TENTH = 10_000_000, 5, 10
MIN_TIMES = {"rtp,streams": 5.0, "fields": 15.0}
MAX_GROWTH = 10.5
MAX_ENDLESS_MB = 2000.0
POLL_S = 0.02
OURS = "probetest"
_FIELDS = ("sip.Call-ID", "sip.CSeq", "sip.Method", "sip.Status-Code", "sip.from.user")
_LAST_FIELD = "sip.to.user"
_ALL = ("--view", "all", "--json")  # every analysis, and every call and stream as a row


@dataclass(frozen=True, slots=True)
class Took:
    """One run of a program."""

    seconds: float
    private_mb: float  # RssAnon: what no other process and no file shares
    resident_mb: float


def ran(argv: Sequence[str]) -> Took:
    """Run a program to its end, watching its memory."""
    before = time.perf_counter()
    private_kb = resident_kb = 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        while child.returncode is None:
            private, resident = _of_family(child.pid)
            private_kb, resident_kb = max(private_kb, private), max(resident_kb, resident)
            with suppress(subprocess.TimeoutExpired):
                child.wait(POLL_S)
        took_s = time.perf_counter() - before
        told = child.stderr.read() if child.stderr else b""
    if child.returncode:
        raise SystemExit(f"{argv[0]}: exit {child.returncode}\n{told.decode()}")
    return Took(took_s, private_kb / 1024, resident_kb / 1024)


def _of_family(pid: int) -> tuple[int, int]:
    """Return RssAnon and VmRSS of a process and its children, in kB."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        children = []
    found = [_memory_kb(Path(f"/proc/{one}/status")) for one in (pid, *children)]
    return sum(private for private, _ in found), sum(resident for _, resident in found)


def _memory_kb(status: Path) -> tuple[int, int]:
    """Return RssAnon and VmRSS of a process; 0 of one that has ended."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    values = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    private, resident = values.get("RssAnon", ["0"]), values.get("VmRSS", ["0"])
    return int(private[0]), int(resident[0])


def programs(path: Path, tshark: str | None) -> dict[str, list[str]]:
    """Return what is run on a capture, by name."""
    main = "import sys; from probetest.cli import main; sys.exit(main())"
    found = {OURS: [sys.executable, "-c", main, "analyse", f"tap={path}", *_ALL]}
    if tshark is not None:
        fields = [part for name in (*_FIELDS, _LAST_FIELD) for part in ("-e", name)]
        found["rtp,streams"] = [tshark, "-n", "-r", str(path), "-q", "-z", "rtp,streams"]
        found["fields"] = [tshark, "-n", "-r", str(path), "-Y", "sip", "-T", "fields", *fields]
    return found


def medians(path: Path, tshark: str | None, rounds: int) -> dict[str, Took]:
    """Return what each program took, the programs in turn."""
    runs: dict[str, list[Took]] = {}
    for _ in range(rounds):
        for name, argv in programs(path, tshark).items():
            runs.setdefault(name, []).append(ran(argv))
    return {
        name: Took(
            statistics.median(one.seconds for one in took),
            max(one.private_mb for one in took),
            max(one.resident_mb for one in took),
        )
        for name, took in runs.items()
    }


def broken(took: dict[str, Took], growth: float) -> list[str]:
    """Return the claims that do not hold."""
    ours, found = took[OURS], []
    for name, least in MIN_TIMES.items():
        if name not in took:
            continue
        if (times := took[name].seconds / ours.seconds) < least:
            found.append(f"{times:.1f} times as fast as tshark {name}, not {least:g}")
        if ours.private_mb >= took[name].private_mb:
            found.append(f"{ours.private_mb:.0f} MB, not less than tshark {name}")
    if growth > MAX_GROWTH:
        found.append(f"ten times the packets took {growth:.2f} times as long, not {MAX_GROWTH:g}")
    return found


def read_endless(gigabytes: float, folder: Path) -> Took:
    """Return what it takes to read so much through a pipe; no file is written."""
    pipe = folder / "endless"
    os.mkfifo(pipe)
    main = "import sys; from probetest.cli import main; sys.exit(main())"
    argv = [sys.executable, "-c", main, "analyse", f"tap={pipe}", "--json"]
    left = round(gigabytes * 1e9)
    before, private_kb, resident_kb = time.perf_counter(), 0, 0
    with (
        subprocess.Popen(argv, stdout=subprocess.DEVNULL) as child,
        pipe.open("wb") as writer,
    ):
        for block in endless():
            writer.write(block)
            private, resident = _of_family(child.pid)
            private_kb, resident_kb = max(private_kb, private), max(resident_kb, resident)
            left -= len(block)
            if left <= 0:
                break
        writer.close()
        child.wait()
    pipe.unlink()
    if child.returncode:
        raise SystemExit(f"{OURS}: exit {child.returncode}")
    return Took(time.perf_counter() - before, private_kb / 1024, resident_kb / 1024)


def main() -> int:
    """Measure, print, and return 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-tshark", action="store_true")
    parser.add_argument("--folder", type=Path, help="for the captures: room for 250 bytes a packet")
    parser.add_argument("--endless-gb", type=float, help="only this: so much through a pipe")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tshark = None if given.no_tshark else shutil.which("tshark")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.endless_gb:
            one = read_endless(given.endless_gb, Path(folder))
            print(f"{given.endless_gb:g} GB: {one.seconds:.0f} s, RssAnon {one.private_mb:.0f} MB")
            return int(one.private_mb > MAX_ENDLESS_MB)
        large, small = Path(folder) / "large.pcap", Path(folder) / "small.pcap"
        packets = write(large, given.packets)
        tenth = write(small, given.packets // TENTH)
        took = medians(large, tshark, given.rounds)
        little = medians(small, None, given.rounds)[OURS]
    ours = took[OURS]
    growth = ours.seconds / little.seconds * tenth * TENTH / packets
    wrong = broken(took, growth)
    if given.json:
        figures = {
            name: {
                "seconds": round(one.seconds, 2),
                "packets_per_second": round(packets / one.seconds),
                "times_ours": round(one.seconds / ours.seconds, 2),
                "private_mb": round(one.private_mb),
                "resident_mb": round(one.resident_mb),
            }
            for name, one in took.items()
        }
        result = {"packets": packets, "growth": round(growth, 2), "wrong": wrong, **figures}
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        print(f"{packets} packets, median of {given.rounds}, {os.cpu_count()} cores\n")
        print("| program | seconds | packets/s | times ours | RssAnon MB | RSS MB |")
        print("|---|---|---|---|---|---|")
        for name, one in took.items():
            speed, times = packets / one.seconds, one.seconds / ours.seconds
            memory = f"{one.private_mb:.0f} | {one.resident_mb:.0f}"
            shown = name if name == OURS else f"tshark {name}"
            print(f"| {shown} | {one.seconds:.2f} | {speed:,.0f} | {times:.2f} | {memory} |")
        print(f"\n{tenth} packets: {little.seconds:.2f} s; ten times as many: {growth:.2f} times")
        print("\n".join(f"does not hold: {one}" for one in wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
