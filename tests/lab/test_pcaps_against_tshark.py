"""Every capture in pcaps/ is read by our analyser as tshark reads it.

Where that is not so, `pcaps/DIFFERENCES.toml` says which clause makes it so; a difference that is
not listed fails, and so does one that is listed and no longer there.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.packets.capture_file import read
from harness.packets.frame import decode
from probetest.cli import main
from probetest.duplicates import find_copies
from probetest.sip.message import parse, uri_user
from probetest.sip.seen import Seen, read_messages
from tests.lab.tshark_reading import Invite, Stream, Streams, their_invites, their_streams, tshark

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
CASES = sorted(  # pcaps/enum-* hold DNS alone: tests/golden/test_enum_pcaps.py
    path.parent
    for path in (ROOT / "pcaps").glob("*/README.md")
    if not path.parent.name.startswith("enum-")
)
MOST = 15  # differences, all told: with more of them the second opinion is none
SAME_MS = 0.0006  # tshark prints three decimals
Difference = tuple[int, str]  # frame, and what differs there


def capture_of(case: Path) -> Path:
    """Return the only capture of *case*."""
    (found,) = case.glob("capture.pcap*")
    return found


def our_invites(path: Path) -> Iterator[Invite]:
    """Yield every INVITE that our reader sees, in order of time."""
    for seen in our_messages(path):
        message = parse(seen.data)
        if message.method == "INVITE":
            uris = (message.from_uri, message.to_uri, message.request_uri)
            users = tuple(uri_user(uri) for uri in uris)
            yield Invite(seen.frame, message.call_id, users)  # type: ignore[arg-type]


def our_messages(path: Path) -> Iterator[Seen]:
    """Return every SIP message that our reader sees, in order of time."""
    datagrams = decode(read(path))
    return read_messages(datagrams, find_copies(datagrams))


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
    call_ids = {id_ for one in want["calls"] for id_ in (one["call_id"], *one.get("legs", ()))}
    assert {one.call_id for one in invites} == call_ids


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
