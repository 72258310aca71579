"""Break each observation of part C once: exactly its boxes change."""

from array import array
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from fst.evidence import declared
from fst.plan import default_plan
from fst.probe_judgement import ProbeData, SpanSeen, judge_ports, judge_probe
from fst.verdict import propose
from harness.records import CallOutcome, CallRecord, Direction, PortRecord, StreamRecord
from probetest.calls.dialogs import Waterfall
from probetest.dataset import TapData
from probetest.invites import Invites
from probetest.taps.bond_state import parse_proc

SECOND_NS = 1_000_000_000
HOSTS = ("probe1", "probe2")
BOXES = [("C.1.2", host) for host in HOSTS] + [("C.2.1", host) for host in HOSTS]
BOXES += [("C.2.2", ""), ("C.2.3", "")]
NOTHING = Waterfall(*[0] * len(fields(Waterfall)))


def call(number: int) -> CallRecord:
    """Return the record of the call that is the *number*th."""
    return CallRecord(
        at_ns=number * SECOND_NS,
        frame=number,
        call_id=f"call-{number}",
        source=f"+1650555010{number}",
        source_rule="From: e164 plus",
        destination=f"+1212555011{number}",
        destination_rule="Request-URI: e164 plus",
        direction=Direction.INBOUND,
        direction_rule="to one of ours",
        outcome=CallOutcome.ANSWERED,
        target="",
        status=200,
        frames=(number,),
    )


STREAM = StreamRecord(
    at_ns=1, end_ns=2, device="", source="127.0.0.1:4000", destination="127.0.0.2:4000", ssrc=1,
    payload_type=0, codec="PCMU", clock_hz=8000, clock_rule="static", found_by="SDP",
    call_id="call-1", packets=10, copies=0, expected=10, lost=0, duplicates=0, reordered=0,
    restarts=0, odd=0, jitter_ms=0.1, jitter_mean_ms=0.1, jitter_max_ms=0.2, gap_max_ms=20.0,
    digits="", frame=5,
)  # fmt: skip
PORT = PortRecord(
    device="", interface=0, frames=90, sip_messages=30, rtp_packets=60, rtcp_packets=0, copies=0
)
CALLS = tuple(call(number) for number in (1, 2, 3))
SEEN = TapData(
    device="",
    from_ns=1,
    to_ns=4 * SECOND_NS,
    watched=((1, 4 * SECOND_NS),),
    waterfall=NOTHING,
    invites=Invites(array("q"), b""),
    calls=CALLS,
    streams=(STREAM,),
    rtcp=(),
    ports=(PORT,),
    unreadable=(),
    losses=(),
)
PROBE = ProbeData(SEEN, frames=90, dropped=0)
SOUND = SpanSeen(CALLS, 90, dict.fromkeys(HOSTS, PROBE), 0, 5 * SECOND_NS)


def verdicts(seen: SpanSeen) -> dict[tuple[str, str], str]:
    """Return the outcome of each box."""
    plan, found = default_plan(), {}
    for step_id, host in BOXES:
        judged = judge_probe(step_id, seen, host)
        outcome, _ = propose(judged.findings, declared(plan.step(step_id), judged), attachments=1)
        found[step_id, host] = outcome.value
    return found


def at_probe1(seen: SpanSeen, **changes: object) -> SpanSeen:
    """Return *seen* with the first probe's tap data changed."""
    probe = seen.probes["probe1"]
    data = replace(probe.data, **changes)  # type: ignore[arg-type]
    return replace(seen, probes={**seen.probes, "probe1": replace(probe, data=data)})


def everywhere(seen: SpanSeen, **changes: object) -> SpanSeen:
    """Return *seen* with the first call changed in every probe's data."""
    calls = (replace(CALLS[0], **changes), *CALLS[1:])  # type: ignore[arg-type]
    probes = {
        name: replace(probe, data=replace(probe.data, calls=calls))
        for name, probe in seen.probes.items()
    }
    return replace(seen, probes=probes)


MUTANTS: dict[str, tuple[Callable[[SpanSeen], SpanSeen], dict[tuple[str, str], str]]] = {
    "no SIP at the first probe": (
        lambda seen: at_probe1(seen, calls=(), ports=(replace(PORT, sip_messages=0),)),
        {("C.1.2", "probe1"): "FAIL", ("C.2.1", "probe1"): "FAIL"},
    ),
    "no RTP at the first probe": (
        lambda seen: at_probe1(seen, streams=(), ports=(replace(PORT, rtp_packets=0),)),
        {("C.1.2", "probe1"): "FAIL"},
    ),
    "one call missing at the first probe": (
        lambda seen: at_probe1(seen, calls=CALLS[1:]),
        {("C.2.1", "probe1"): "FAIL"},
    ),
    "the first probe lost packets": (
        lambda seen: replace(
            seen, probes={**seen.probes, "probe1": replace(PROBE, frames=88, dropped=2)}
        ),
        {("C.1.2", "probe1"): "FAIL"},
    ),
    "frames got lost on the way to the first probe": (
        lambda seen: replace(seen, probes={**seen.probes, "probe1": replace(PROBE, frames=88)}),
        {("C.1.2", "probe1"): "OTHER"},
    ),
    "a source is another one": (
        lambda seen: everywhere(seen, source="+16505550199"),
        {("C.2.2", ""): "FAIL"},
    ),
    "a source is not normalised": (
        lambda seen: everywhere(seen, source="6505550101"),
        {("C.2.2", ""): "FAIL"},
    ),
    "a destination is another one": (
        lambda seen: everywhere(seen, destination="+12125550199"),
        {("C.2.3", ""): "FAIL"},
    ),
    "a direction is unknown": (
        lambda seen: everywhere(seen, direction=Direction.UNKNOWN),
        {("C.2.2", ""): "OTHER", ("C.2.3", ""): "OTHER"},
    ),
    "no call was placed": (
        lambda seen: replace(seen, placed=()),
        {
            ("C.2.1", "probe1"): "OTHER",
            ("C.2.1", "probe2"): "OTHER",
            ("C.2.2", ""): "OTHER",
            ("C.2.3", ""): "OTHER",
        },
    ),
}


def test_sound_observation_passes() -> None:
    """With nothing broken every box is a PASS."""
    assert set(verdicts(SOUND).values()) == {"PASS"}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_changes_exactly_its_boxes(name: str) -> None:
    """One thing broken changes the boxes that look at it, and no other."""
    breaks, expected = MUTANTS[name]

    found = verdicts(breaks(SOUND))

    assert {box: state for box, state in found.items() if state != "PASS"} == expected


BONDED = """\
Ethernet Channel Bonding Driver: v3.7.1 (April 27, 2011)

Bonding Mode: {mode}
MII Status: up
MII Polling Interval (ms): 100
Up Delay (ms): 0
Down Delay (ms): 0

Slave Interface: eth6
MII Status: up
Speed: 1000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:06
Slave queue ID: 0

Slave Interface: eth7
MII Status: {second}
Speed: 1000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:07
Slave queue ID: 0
"""


@pytest.mark.parametrize(
    ("mode", "second", "live", "outcome"),
    [
        ("load balancing (round-robin)", "up", True, "PASS"),
        ("load balancing (round-robin)", "up", False, "OTHER"),
        ("load balancing (round-robin)", "down", True, "FAIL"),
        ("load balancing (round-robin)", "down", False, "OTHER"),
    ],
)
def test_bond_passes_only_when_it_was_seen(
    mode: str, second: str, live: bool, outcome: str
) -> None:
    """A good bond seen in this run passes, a port down fails, a recorded text does neither."""
    text = BONDED.format(mode=mode, second=second)
    judged = judge_ports(parse_proc(text, "bond0", observed_live=live), ("eth6", "eth7"))
    plan = default_plan()

    found, _ = propose(judged.findings, declared(plan.step("C.1.1"), judged), attachments=1)

    assert found.value == outcome


def test_no_bond_fails() -> None:
    """A probe on which a live look finds no bond has no bonded ports."""
    judged = judge_ports(None, ("eth6", "eth7"))

    assert {finding.outcome.value for finding in judged.findings} == {"FAIL"}
