"""dnsdist as the client that the judge watches: held to a profile that describes it, and to turns.

dnsdist marks a server down when a health check fails, and up again when one succeeds. One counter
runs over the servers that are up, so the turn may jump when one comes or goes; the numbers of calls
here are those with which it does not (see `OUTAGE`). The question that a hung server got is not put
to another by dnsdist: its client sends it again, and that looks like a failover.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from enumtest.infer.inference import Inference, infer
from enumtest.infer.reading import read_unknown
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Judgement, Vantage
from enumtest.profiles.profile_file import parse_profile
from enumtest.sbc.decision import Decision
from enumtest.stub.faults import Silence
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.packets.capture_file import read
from tests.lab.dnsdist_lab import CALLS, MANY, Lab, Net, lab
from tests.lab.peers import need, need_root

pytestmark = pytest.mark.lab

CHECK_MS = 500  # a health check without an answer has failed; they come every second
# The counter stands at 30 when enum1 goes: 0 modulo 3, so that enum1 gets the next question, and
# 31, the client's repetition, is the turn of enum2 with three servers up; 33 is even where two are.
# At 36, which is 0 modulo 3 and even, both ways of counting are in step again.
BEFORE, OUTAGE, AFTER = 33, 7, 30
PROFILE = """
name = "dnsdist"
title = "dnsdist 1.7: turns over the servers that are up, health checks"
all_down = "ask-anyway"
unknown = [
    "all_down",
    "cache",
    "edns",
    "hold_down.answer_ends",
    "hold_down.in_flight",
    "hold_down.late_answer_ends",
    "hold_down.runs_while_idle",
    "hold_down.shared_between_interfaces",
    "reactions",
    "retransmission",
    "selection",
    "source_name",
]

[source]
"selection.method" = "dnsdist's manual, Loadbalancing and Server Policies: roundrobin"
"selection.weights" = "dnsdist's manual: only whashed, wrandom and chashed have weights"
"retransmission.expire_ms" = "the client of this lab: it sends the question again"
"reactions.silence" = "the client of this lab sends the question again; a check fails too"
"hold_down.stages" = "dnsdist's manual, newServer: maxCheckFailures=1"
"hold_down.end_resets" = "dnsdist's manual, newServer: rise=1"
"hold_down.scope" = "dnsdist's manual: the state is the server's"
"readmission" = "dnsdist's manual, newServer: checkInterval, checkName, checkType, rise"

[selection]
method = "round-robin"
failover_takes_turn = true
skipped_takes_turn = false
weights = []
rounds = 1

[retransmission]
schedule_ms = [0]
expire_ms = 2000
id_per = "send"
port_per = "send"

[reactions]
silence = { then = "next-server", counts = true }
SERVFAIL = { then = "final", counts = false }
REFUSED = { then = "final", counts = false }
NOTIMP = { then = "final", counts = false }
FORMERR = { then = "final", counts = false }
other-rcode = { then = "final", counts = false }
NXDOMAIN = { then = "final", counts = false }
NODATA = { then = "final", counts = false }
garbled = { then = "final", counts = false }
wrong-id = { then = "ignore", counts = false }
wrong-question = { then = "ignore", counts = false }
truncated = { then = "final", counts = false }
late = { then = "ignore", counts = false }

[hold_down]
answer_ends = false
late_answer_ends = false
end_resets = true
runs_while_idle = true
in_flight = "finish"
shared_between_interfaces = false
scope = "server"

[[hold_down.stages]]
failures = 1
consecutive = false
window_ms = 0
length_ms = 0
share = "next"

[readmission]
by = "probes"
replies = 1
interval_ms = 1000
give_up_ms = 0
probe_name = "health.e164.arpa"
probe_type = "A"

[cache]
positive = false
honours_ttl = true
inactivity_ms = 0
negative_ms = 0
key = "number"

[edns]
udp_payload_bytes = 0
source_sent = false
source_code = 4
source_framing = "raw"
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge says of dnsdist, and what its callers got."""

    judgement: Judgement
    inference: Inference  # with nothing declared
    decisions: Sequence[Decision]

    def outcomes(self, outcome: Outcome) -> list[str]:
        """Return the rules that came out so, with what was seen."""
        return [
            f"{one.rule} {one.server}: {one.observed}"
            for one in self.judgement.rulings
            if one.outcome is outcome
        ]

    def states(self, server: str) -> list[str]:
        """Return the states that *server* went through, each once as long as it lasts."""
        found = [span.state for span in self.judgement.spans if span.server == server]
        return [one for at, one in enumerate(found) if found[at - 1 : at] != [one]]


def judged(folder: Path, net: Net, decisions: Sequence[Decision]) -> Judged:
    """Return what the judge says of the capture in *folder*."""
    profile = parse_profile(PROFILE)
    servers = {place: name for name, place in net.servers.items()}
    capture = read(folder / "all.pcap")
    [only] = judge(read_lookups([capture], servers, profile), profile, vantage=Vantage.SBC)
    assert only.client == net.dnsdist.address
    [inferred] = infer(read_unknown([capture], servers))
    return Judged(only, inferred, decisions)


async def outage(made: Lab) -> list[Decision]:
    """Return the decisions of calls before, while and after enum1 hangs."""
    found = await made.called(BEFORE, MANY)
    await made.stubs.set_faults("enum1", (Silence(),))
    found += await made.called(1, MANY)
    await made.marked("enum1", "down", 1)
    found += await made.called(OUTAGE, MANY)
    await made.stubs.set_faults("enum1", ())
    await made.marked("enum1", "up", 2)
    return found + await made.called(AFTER, MANY)


@pytest.fixture(scope="module")
def dnsdist(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Return what is said of dnsdist in turns, while enum1 hangs and comes back."""
    need_root()
    need("dnsdist", "dnsdist")
    need("tcpdump", "tcpdump")
    net, folder = Net(88), tmp_path_factory.mktemp("dnsdist")

    async def scenario() -> list[Decision]:
        place = lab(net, folder, "roundrobin", check_ms=CHECK_MS)
        async with place as made, made.watched("all"):
            return await outage(made)

    return judged(folder, net, asyncio.run(scenario()))


def test_rotation_that_is_known_to_be_good_does_not_fail(dnsdist: Judged) -> None:
    """Turns are passed; no rule that the profile has is broken; all calls were served."""
    passed = {one.rule for one in dnsdist.judgement.rulings if one.outcome is Outcome.PASS}

    assert dnsdist.outcomes(Outcome.FAIL) == []
    assert "rotation.order" in passed
    assert set(dnsdist.decisions) == {Decision.ALLOW}


def test_timeline_shows_the_hung_server_held_and_back(dnsdist: Judged) -> None:
    """In service, held from the lost question to the health check that succeeds, in service."""
    assert [one for one in dnsdist.states("enum1") if one != "maybe held"] == [
        "in service",
        "held",
        "in service",
    ]
    assert "held" not in dnsdist.states("enum2") + dnsdist.states("enum3")


def test_inference_finds_turns_and_health_checks(dnsdist: Judged) -> None:
    """What the configuration says of turns and checks is read off the packets alone."""
    found = dnsdist.inference
    interval_ns = found.value("readmission.interval_ns").value

    assert [
        found.value(path).value
        for path in ("selection.method", "readmission.probe_name", "readmission.probe_type")
    ] == ["round-robin", "health.e164.arpa", "A"]
    assert isinstance(interval_ns, int)
    assert 0.9 < interval_ns / 1e9 < 1.6  # a check that fails puts the next one off


@pytest.mark.parametrize(("policy", "net"), [("firstAvailable", 89), ("wrandom", 90)])
def test_other_policies_break_the_rule_of_turns(tmp_path: Path, policy: str, net: int) -> None:
    """A client that always asks the first server, or one at random, fails by that rule."""
    need_root()
    need("tcpdump", "tcpdump")
    place = Net(net)

    async def scenario() -> list[Decision]:
        async with lab(place, tmp_path, policy) as made, made.watched("all"):
            return await made.called(2 * CALLS)  # the first check says who is up

    found = judged(tmp_path, place, asyncio.run(scenario()))

    assert [one for one in found.outcomes(Outcome.FAIL) if one.startswith("rotation.order")]
