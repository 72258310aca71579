"""Every capture in pcaps/ is read by our analyser as tshark reads it.

Where that is not so, `pcaps/DIFFERENCES.toml` says which clause makes it so; a difference that is
not listed fails, and so does one that is listed and no longer there.
"""

import json
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.packets.capture_file import read
from harness.packets.frame import decode
from probetest.cli import main
from probetest.duplicates import find_copies
from probetest.sip.message import parse, uri_user
from probetest.sip.seen import read_messages, udp_rows
from tests.lab.peers import need

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
CASES = sorted(  # pcaps/enum-* hold DNS alone: tests/golden/test_enum_pcaps.py
    path.parent
    for path in (ROOT / "pcaps").glob("*/README.md")
    if not path.parent.name.startswith("enum-")
)
MOST = 15  # differences, all told: with more of them the second opinion is none
SAME_MS = 0.0006  # tshark prints three decimals
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
Difference = tuple[int, str]  # frame, and what differs there


def capture_of(case: Path) -> Path:
    """Return the only capture of *case*."""
    (found,) = case.glob("capture.pcap*")
    return found


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


def our_invites(path: Path) -> Iterator[Invite]:
    """Yield every INVITE that our reader sees, in order of time."""
    datagrams = decode(read(path))
    for seen in read_messages(datagrams, find_copies(datagrams), udp_rows(datagrams)):
        message = parse(seen.data)
        if message.method == "INVITE":
            uris = (message.from_uri, message.to_uri, message.request_uri)
            users = tuple(uri_user(uri) for uri in uris)
            yield Invite(seen.frame, message.call_id, users)  # type: ignore[arg-type]


def their_streams(path: Path) -> Streams:
    """Return the streams of tshark's own table."""
    found: Streams = {}
    for line in tshark(path, "-q", "-z", "rtp,streams").splitlines():
        if row := _STREAM.match(line):
            key = (place(row["source"], row["source_port"]), place(row["to"], row["to_port"]))
            # -1: no packet of it counted for jitter
            jitter = None if float(row["least"]) < 0 else (float(row["mean"]), float(row["most"]))
            found[*key, row["ssrc"]] = Stream(int(row["packets"]), int(row["lost"]), jitter)
    return found


def place(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def our_streams(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Streams, Counter[Any]]:
    """Return the streams that `probetest analyse` reports, and the first frame of each."""
    main(["analyse", str(path), "--view", "streams", "--json"])
    found: Streams = {}
    frames: Counter[Any] = Counter()
    for row in json.loads(capsys.readouterr().out)["streams"]:
        key = (row["source"], row["destination"], row["ssrc"])
        mean, most = row["jitter_mean_ms"], row["jitter_max_ms"]
        jitter = None if mean is None else (mean, most)
        found[key] = Stream(row["packets"], row["lost"], jitter)
        frames[key] = row["frame"]
    return found, frames


def differing_invites(ours: list[Invite], theirs: list[Invite]) -> Iterator[Difference]:
    """Yield where the n-th INVITE of a call is on one side only, or has other users."""
    mine, other = numbered(ours), numbered(theirs)
    for key in mine.keys() ^ other.keys():
        yield (mine.get(key) or other[key]).frame, "invite"
    for key in mine.keys() & other.keys():
        if mine[key].users != other[key].users:
            yield mine[key].frame, "users"


def numbered(invites: list[Invite]) -> dict[tuple[str, int], Invite]:
    """Return the INVITEs by Call-ID and count within it."""
    found: dict[tuple[str, int], Invite] = {}
    seen: Counter[str] = Counter()
    for invite in invites:
        seen[invite.call_id] += 1
        found[invite.call_id, seen[invite.call_id]] = invite
    return found


def differing_streams(ours: Streams, theirs: Streams, frames: Counter[Any]) -> Iterator[Difference]:
    """Yield the streams that are on one side only (frame 0: not on ours), or differ in a figure."""
    for key in ours.keys() ^ theirs.keys():
        yield frames[key], "stream"
    for key in ours.keys() & theirs.keys():
        mine, other = ours[key], theirs[key]
        if mine.packets != other.packets:
            yield frames[key], "packets"
        if mine.lost != other.lost:
            yield frames[key], "lost"
        if not same_jitter(mine.jitter_ms, other.jitter_ms):
            yield frames[key], "jitter"


def same_jitter(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= SAME_MS for a, b in zip(one, other, strict=True))


def listed() -> list[dict[str, Any]]:
    """Return the differences that are meant."""
    text = (ROOT / "pcaps/DIFFERENCES.toml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = tomllib.loads(text)["differences"]
    return rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_our_reading_is_tsharks(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """INVITEs, Call-IDs, users, RTP packets, loss, jitter: all agree, but for what is listed."""
    path = capture_of(case)
    ours, frames = our_streams(path, capsys)
    found = {
        *differing_invites(list(our_invites(path)), list(their_invites(path))),
        *differing_streams(ours, their_streams(path), frames),
    }
    meant = {
        (row["frame"], what)
        for row in listed()
        if row["capture"] == case.name
        for what in row["what"]
    }

    assert found == meant


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tshark_sees_what_a_person_expects(case: Path) -> None:
    """The expected.json of each case, written by hand, holds for a program that is not ours."""
    want = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    path = capture_of(case)
    invites = list(their_invites(path))

    assert len(tshark(path).splitlines()) == want["frames"]
    assert len(invites) == want["invite_messages"]
    assert {one.call_id for one in invites} == {one["call_id"] for one in want["calls"]}


def test_differences_are_few_and_explained() -> None:
    """Each names a capture that is there, a clause, who is right, and a reason."""
    rows = listed()

    assert len(rows) <= MOST
    for row in rows:
        assert row.keys() == {"capture", "frame", "what", "clause", "right", "reason"}
        assert row["capture"] in {case.name for case in CASES}
        assert re.fullmatch(r"RFC \d+ (section|appendix) [A-Z\d.]+", row["clause"])
        assert row["right"] in ("us", "tshark")
        assert row["reason"]
