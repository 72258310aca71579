"""What it takes to judge a capture of a million DNS packets, beside tshark reading the same file.

    python -m benchmarks.judge [--packets 1000000] [--rounds 3] [--json]

Claims: a million packets are judged in at most 5 s, from the file to the verdict, in less than
1.5 GB. Two captures: the same 100 numbers again and again, and a name of its own for each call.
The peer is `tshark -T fields -e dns.id -e dns.flags.rcode`, which judges nothing, in turn with the
judge; all are medians. Exit 1: a claim does not hold.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enumtest.dns.message import encode_answer, encode_query, parse_query
from enumtest.dns.source_uri import SourceOption
from enumtest.naptr.naptr import NaptrRecord
from harness.packets.capture import encode_file_header, encode_record
from harness.packets.frame import Endpoint, encode_udp

PACKETS, ROUNDS = 1_000_000, 3
LIMIT_S, LIMIT_MB = 5.0, 1500.0
EXITS = (0, 1, 3)  # of a judge that came to a verdict
CLIENT = Endpoint("192.0.2.10", 40_000)
SERVERS = tuple(Endpoint(f"198.51.100.{11 + at}", 53) for at in range(3))
NAPTR = NaptrRecord(100, 10, "u", "E2U+sip", r"!^(.*)$!sip:\1@sbc.example.net!")
SOURCE = SourceOption("sip:+16505550100@192.0.2.1;user=phone")
FIRST_S, EVERY_NS, ANSWER_NS = 1_700_000_000, 2_000_000, 1_500_000
RECORD_BYTES, IP_ID, ADDRESS, MESSAGE = 16, 4, 12, 28  # of a pcap record's header; of an IP packet
QNAME = MESSAGE + 12
DIGITS = 8  # of the label that makes a name its call's own


@dataclass(frozen=True, slots=True)
class Took:
    """One run of a program."""

    seconds: float
    megabytes: float


def write(path: Path, packets: int, *, own_names: bool) -> None:
    """Write calls in rotation, each with its answer; half as many as packets."""
    apex = f"x{'0' * DIGITS}.enum.example" if own_names else "e164.arpa"
    number = "0.0.1.0.5.5.5.0.5.6.1"
    query = encode_query(0, f"{number}.{apex}", source=SOURCE)
    answer = encode_answer(parse_query(query), records=(NAPTR,))
    frames = (encode_udp(CLIENT, SERVERS[0], query), encode_udp(SERVERS[0], CLIENT, answer))
    calls = np.arange(packets // 2)
    ids = np.random.default_rng(1).integers(0, 2**16, len(calls))
    table = np.concatenate([np.frombuffer(encode_record(0, frame), np.uint8) for frame in frames])
    table = np.tile(table, (len(calls), 1))
    begin = 0
    for way, frame in enumerate(frames):
        at_ns = FIRST_S * 10**9 + calls * EVERY_NS + way * ANSWER_NS
        put(table[:, begin : begin + 8], "<u4", at_ns // 10**9, at_ns % 10**9)
        packet = table[:, begin + RECORD_BYTES : begin + RECORD_BYTES + len(frame)]
        packet[:, ADDRESS + (3 if way else 7)] = 11 + calls % len(SERVERS)
        put(packet[:, IP_ID : IP_ID + 2], ">u2", calls + 1)
        put(packet[:, MESSAGE : MESSAGE + 2], ">u2", ids)
        packet[:, QNAME + 1] = ord("0") + calls % 10
        packet[:, QNAME + 3] = ord("0") + calls // 10 % 10
        for place in range(DIGITS if own_names else 0):
            digit = calls // 10 ** (DIGITS - 1 - place) % 10
            packet[:, QNAME + len(number) + 3 + place] = ord("0") + digit
        begin += RECORD_BYTES + len(frame)
    path.write_bytes(encode_file_header(101) + table.tobytes())


def put(columns: npt.NDArray[np.uint8], kind: str, *values: npt.NDArray[np.int64]) -> None:
    """Write numbers of one kind side by side."""
    octets = np.stack(values, axis=1).astype(kind).view(np.uint8)
    columns[:] = octets


def ran(argv: Sequence[str], good: Sequence[int]) -> Took:
    """Run a program to its end."""
    before = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        _, status, usage = os.wait4(child.pid, 0)
        took_s = time.perf_counter() - before
        child.returncode = os.waitstatus_to_exitcode(status)
        told = child.stderr.read() if child.stderr else b""
    if child.returncode not in good:
        raise SystemExit(f"{argv[0]}: exit {child.returncode}\n{told.decode()}")
    return Took(took_s, usage.ru_maxrss / 1024)


def main() -> int:
    """Measure, print, and return 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tshark = shutil.which("tshark")
    found: dict[str, dict[str, float | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("same names", "own names"):
            path = Path(folder) / f"{name.split()[0]}.pcap"
            write(path, given.packets, own_names=name == "own names")
            servers = ",".join(f"enum{at}={one}" for at, one in enumerate(SERVERS, 1))
            judge = [sys.executable, "-c", "from enumtest.cli import main; main()", "judge"]
            judge += [str(path), "--profile", "fixed-hold-down", "--servers", servers, "--json"]
            fields = ["-T", "fields", "-e", "dns.id", "-e", "dns.flags.rcode"]
            peer = [str(tshark), "-n", "-r", str(path), *fields]
            ours, theirs = [], []
            for _ in range(given.rounds):
                ours.append(ran(judge, EXITS))
                if tshark:
                    theirs.append(ran(peer, (0,)))
            path.unlink()
            took_s = statistics.median(one.seconds for one in ours)
            peer_s = statistics.median(one.seconds for one in theirs) if theirs else None
            found[name] = {
                "judge_s": round(took_s, 2),
                "judge_mb": round(max(one.megabytes for one in ours)),
                "tshark_s": round(peer_s, 2) if peer_s else None,
                "tshark_mb": round(max(one.megabytes for one in theirs)) if theirs else None,
                "times_tshark": round(peer_s / took_s, 1) if peer_s else None,
            }
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for name, values in found.items():
            sys.stdout.writelines(
                f"{name:12} {what:14} {value}\n" for what, value in values.items()
            )
    share = given.packets / PACKETS
    worst = (
        max(float(one[what] or 0) for one in found.values()) for what in ("judge_s", "judge_mb")
    )
    return int(
        any(one > limit * share for one, limit in zip(worst, (LIMIT_S, LIMIT_MB), strict=True))
    )


if __name__ == "__main__":
    sys.exit(main())
