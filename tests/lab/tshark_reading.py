"""What tshark reads in a capture: its INVITEs and its own table of RTP streams."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.lab.peers import need

_STREAM = re.compile(
    r"\s*\S+\s+\S+\s+(?P<source>\S+)\s+(?P<source_port>\d+)\s+(?P<to>\S+)\s+(?P<to_port>\d+)"
    r"\s+(?P<ssrc>0x\w+)\s+.*?\s(?P<packets>\d+)\s+(?P<lost>-?\d+) \(\S+%\)"
    r"\s+\S+\s+\S+\s+\S+\s+(?P<least>\S+)\s+(?P<mean>\S+)\s+(?P<most>\S+)"
)


@dataclass(frozen=True, slots=True)
class Invite:
    """One INVITE request, as often as it is in the file."""

    frame: int
    call_id: str
    users: tuple[str, str, str]  # of From, To and the Request-URI


@dataclass(frozen=True, slots=True)
class Stream:
    """One RTP stream."""

    packets: int  # with the tap's copies
    lost: int
    jitter_ms: tuple[float, float] | None  # mean and most of RFC 3550 A.8; None: nothing to measure


Streams = dict[tuple[str, str, str], Stream]  # by source, destination and SSRC


@cache  # two tests ask the same of each capture
def tshark(path: Path, *options: str) -> str:
    """Return what tshark says about the capture at *path*."""
    argv = [need("tshark", "tshark"), "-n", "-r", str(path), *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout


def their_invites(path: Path) -> Iterator[Invite]:
    """Yield every INVITE that tshark sees; those of one TCP segment one by one."""
    for packet in ET.fromstring(tshark(path, "-T", "pdml", "-Y", "sip")):  # noqa: S314 - tshark's
        frame = int(shown(packet, "frame.number"))
        for sip in packet.findall("proto[@name='sip']"):
            if shown(sip, "sip.Method") == "INVITE":
                users = (shown(sip, f"sip.{of}.user") for of in ("from", "to", "r-uri"))
                yield Invite(frame, shown(sip, "sip.Call-ID"), tuple(users))  # type: ignore[arg-type]


def shown(node: ET.Element, name: str) -> str:
    """Return the first field called *name* below *node*, "" without."""
    every = (field.get("show", "") for field in node.iter("field") if field.get("name") == name)
    return next(every, "")


def their_streams(path: Path, *options: str) -> Streams:
    """Return the streams of tshark's own table."""
    found: Streams = {}
    for line in tshark(path, *options, "-q", "-z", "rtp,streams").splitlines():
        if row := _STREAM.match(line):
            key = (place(row["source"], row["source_port"]), place(row["to"], row["to_port"]))
            # -1: no packet of it counted for jitter
            jitter = None if float(row["least"]) < 0 else (float(row["mean"]), float(row["most"]))
            found[*key, row["ssrc"]] = Stream(int(row["packets"]), int(row["lost"]), jitter)
    return found


def place(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
