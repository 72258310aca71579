"""One call told in many ways (`probetest.script.variants`): what is read from it stays the same.

The plain capture is pcaps/golden-call; what is expected of it was written by hand. What a variant
changes is stated here, figure by figure; everything else is compared as it is.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError
from probetest.cli import main
from probetest.script.build import frames_of, parse_script
from probetest.script.container import Frame
from probetest.script.model import Script
from probetest.script.variants import VARIANTS, vary

ROOT = Path(__file__).parents[2]
CASE = ROOT / "pcaps/golden-call"
DIAL_PLAN = ROOT / "fixtures/dialplans/us-650.toml"
OF_A_CALL = (
    *("at", "source", "source_rule", "destination", "destination_rule"),
    *("outcome", "status", "duration_s", "call_id"),
)
OF_A_STREAM = (
    *("at", "source", "destination", "ssrc", "codec", "clock_rule", "found_by", "call_id"),
    *("packets", "lost", "reordered", "duplicates", "restarts", "odd", "copies", "digits"),
    *("jitter_ms", "jitter_mean_ms", "jitter_max_ms", "gap_max_ms"),
)
STEPS = (
    *("SIP messages", "cannot be read", "INVITE requests", "copies that the tap made"),
    *("retransmissions", "inside a dialog (re-INVITE)", "again after 401 or 407", "Calls"),
)
CUT = {"snaplen", "snaplen-body"}  # what they lack is told, with exit 3

Rows = list[dict[str, Any]]
Facts = dict[str, Any]


@cache
def script() -> Script:
    return parse_script((CASE / "script.toml").read_text(encoding="utf-8"))


@cache
def plain_frames() -> list[Frame]:
    return frames_of(script())


def frames(told: Script) -> list[Frame]:
    """Return the frames of *told*; those of the plain script are built once."""
    return plain_frames() if told is script() else frames_of(told)


KNOWN: dict[str, Facts] = {}  # by variant: the plain one is asked for by every test


@pytest.fixture
def told() -> list[str]:
    """Return what `probetest analyse` said to stderr, analysis by analysis."""
    return []


@pytest.fixture
def facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], told: list[str]
) -> Callable[[str], Facts]:
    """Return what gives the facts that `probetest analyse` finds in a variant."""

    def find(variant: str) -> Facts:
        if variant not in KNOWN:
            KNOWN[variant] = found(variant)
        return KNOWN[variant]

    def found(variant: str) -> Facts:
        path = tmp_path / variant
        path.write_bytes(vary(script(), variant, frames))

        def said_of(*view: str) -> Any:  # noqa: ANN401 - JSON
            argv = ["analyse", f"tap={path}", "--dial-plan", str(DIAL_PLAN), "--json", *view]
            code = main(argv)
            said = capsys.readouterr()
            assert (code == 3) == (variant in CUT), said.err
            told.append(said.err)
            return json.loads(said.out)

        steps = {row["step"]: row["tap"] for row in said_of()["waterfall"]}
        return {
            "steps": {name: steps[name] for name in STEPS},
            "calls": picked(said_of("--view", "calls")["calls"], OF_A_CALL),
            "streams": picked(said_of("--view", "streams")["streams"], OF_A_STREAM),
        }

    return find


def picked(rows: Rows, names: tuple[str, ...]) -> Rows:
    """Return some columns; times as they are, figures as far as they are exact."""
    return [
        {name: round(row[name], 9) if isinstance(row[name], float) else row[name] for name in names}
        for row in rows
    ]


def over_ipv6(plain: Facts) -> Facts:
    """Return the facts with the addresses that IPv6 gives the hosts."""
    text = json.dumps(plain["streams"])
    for last in ("10", "1"):
        text = text.replace(f'"192.0.2.{last}:', f'"[2001:db8::{last}]:')
    return plain | {"streams": json.loads(text)}


def doubled(plain: Facts) -> Facts:
    """Return the facts of a tap that shows every frame twice."""
    steps = plain["steps"]
    return plain | {
        "steps": steps
        | {
            "SIP messages": 2 * steps["SIP messages"],
            "INVITE requests": 2 * steps["INVITE requests"],
            "copies that the tap made": steps["INVITE requests"],
        },
        "streams": [row | {"copies": row["packets"]} for row in plain["streams"]],
    }


def sent_twice(plain: Facts) -> Facts:
    """Return the facts of SIP that was sent again after T1."""
    steps = plain["steps"]
    return plain | {
        "steps": steps
        | {
            "SIP messages": 2 * steps["SIP messages"],
            "INVITE requests": 2 * steps["INVITE requests"],
            "retransmissions": steps["INVITE requests"],
        }
    }


def later(plain: Facts) -> Facts:
    """Return the facts of a call whose first INVITE has the time of its response."""
    (call,) = plain["calls"]
    return plain | {"calls": [call | {"at": call["at"].replace(".000000", ".000500")}]}


CHANGED: dict[str, Callable[[Facts], Facts]] = {
    **dict.fromkeys((name for name in VARIANTS if name.startswith("ipv6")), over_ipv6),
    "mirrored": doubled,
    "routed": doubled,
    "retransmitted": sent_twice,
    "response-first": later,
}
APART = {"looped", *CUT}  # have tests of their own


def test_the_plain_call_is_what_a_person_says(facts: Callable[[str], Facts]) -> None:
    """One call and two streams: figures that stand in the script, or were computed by hand."""
    want = json.loads((CASE / "expected.json").read_text(encoding="utf-8"))
    found = facts("plain")
    keys = ("ssrc", "source", "packets", "copies", "lost", "reordered", "digits")

    assert found["steps"]["Calls"] == len(want["calls"]) == 1
    assert found["steps"]["INVITE requests"] == want["invite_messages"]
    assert [row["source"] for row in found["calls"]] == [want["calls"][0]["source"]]
    assert [[row[key] for key in keys] for row in found["streams"]] == [
        [row[key] for key in keys] for row in want["streams"]
    ]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in {"plain"} | APART])
def test_a_variant_says_the_same(name: str, facts: Callable[[str], Facts]) -> None:
    """Calls, parties, streams, digits, loss and jitter are those of the plain capture.

    Where they cannot be, the table says by how much, and both agree.
    """
    change = CHANGED.get(name, lambda plain: plain)

    assert facts(name) == change(facts("plain"))
    assert (name in CHANGED) == bool(VARIANTS[name].changes)


def test_a_looped_replay_is_a_call_each_time(facts: Callable[[str], Facts]) -> None:
    """A Call-ID that is used again after its BYE is a new call; its parties are the same."""
    plain, found = facts("plain"), facts("looped")
    apart = ("at",)

    assert found["steps"]["Calls"] == 3
    assert [one for one in found["calls"] if one["at"] == plain["calls"][0]["at"]] == plain["calls"]
    assert [without(one, apart) for one in found["calls"]] == [
        without(one, apart) for one in plain["calls"] * 3
    ]


def without(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in row if name not in names}


@pytest.mark.parametrize("name", sorted(CUT))
def test_what_a_snapshot_length_cut_is_told_and_not_guessed(
    name: str, facts: Callable[[str], Facts], told: list[str]
) -> None:
    """RTP has its headers within the first bytes: packets, loss and order are as before."""
    plain, found = facts("plain"), facts(name)
    keys = ("ssrc", "source", "destination", "packets", "lost", "reordered", "copies")

    assert [[row[key] for key in keys] for row in found["streams"]] == [
        [row[key] for key in keys] for row in plain["streams"]
    ]
    messages = plain["steps"]["SIP messages"]
    if name == "snaplen":  # not one has its Call-ID left
        assert (found["calls"], found["steps"]["cannot be read"]) == ([], messages)
    else:  # the headers are there, and say all but where the media went
        assert (found["calls"], found["steps"]) == (plain["calls"], plain["steps"])
        assert "5 SIP messages were cut by the snapshot length" in told[-1]


def test_a_variant_has_the_same_bytes_again() -> None:
    """Nothing is drawn by chance."""
    for name in ("vxlan", "fragments-both", "noise", "gzip"):
        assert vary(script(), name, frames) == vary(script(), name, frames)
    assert vary(script(), "tcp-halves", frames_of) == vary(script(), "tcp-halves", frames_of)


def test_an_unknown_variant_is_refused_with_those_there_are() -> None:
    """The error names the variants."""
    with pytest.raises(InputError, match=r"variant = 'vlam': no such variant; use plain, vlan"):
        vary(script(), "vlam", frames_of)
