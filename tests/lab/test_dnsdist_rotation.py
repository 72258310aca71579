"""A client that really takes turns: dnsdist in front of three stub servers, judged from packets.

    simulated SBC ──▶ dnsdist (round robin, health checks) ──▶ enum1, enum2, enum3

dnsdist is not an SBC, and these tests do not say how one behaves. It differs in this:

- it finds an outage by health checks, not by a call's question that stays unanswered; so no lookup
  meets the outage once it is found, and our rules for outages rightly cannot judge it (OTHER);
- it never asks another server by itself: the question to a dead one is lost, and what looks like a
  failover on the wire is the retransmission of its client;
- a server is back as soon as a check succeeds: there is no hold-down;
- one counter runs over the servers that are up, so the turn jumps when one comes or goes.

What it has in common with an SBC in round robin is what is judged here: strict turns while the set
of servers stays the same.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from enumtest.checks.hold_down import Group
from enumtest.checks.routing import outage, rotation
from enumtest.sbc.decision import Decision
from enumtest.stub.faults import PortClosed, Silence
from enumtest.traffic.lookups import Traffic, read_traffic
from harness.finding import Outcome
from harness.packets.capture_file import read
from harness.packets.frame import decode
from tests.lab.dnsdist_lab import CALLS, MS, NUMBERS, RETRANSMIT_NS, TIMEOUT_NS, Net, lab
from tests.lab.peers import need, need_root

pytestmark = pytest.mark.lab


def traffic(folder: Path, name: str, net: Net) -> Traffic:
    """Return what the capture *name* in *folder* shows at the stub servers."""
    datagrams = decode(read(folder / f"{name}.pcap"))
    by_place = {place: server for server, place in net.servers.items()}
    return read_traffic(datagrams, by_place, timeout_ns=TIMEOUT_NS)


def group(servers: Iterable[str]) -> Group:
    """Return *servers* as the judge is told of them."""
    return Group(tuple(servers), TIMEOUT_NS, 30_000 * MS, 2_400 * MS)


@dataclass(frozen=True, slots=True)
class Story:
    """What was recorded while servers went away and came back."""

    net: Net
    folder: Path
    decisions: dict[str, list[Decision]]

    def traffic(self, name: str) -> Traffic:
        """Return what the capture *name* shows at the stub servers."""
        return traffic(self.folder, name, self.net)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return captures of: all up, enum1 hung and not noticed, enum1 gone, enum1 back."""
    need_root()
    need("dnsdist", "dnsdist")
    need("tcpdump", "tcpdump")
    net, folder = Net(85), tmp_path_factory.mktemp("dnsdist")
    return Story(net, folder, asyncio.run(recorded_story(net, folder)))


async def recorded_story(net: Net, folder: Path) -> dict[str, list[Decision]]:
    """Return the decisions of each part; the captures are in *folder*."""
    found = {}
    async with lab(net, folder, "roundrobin") as made:
        found["healthy"] = await made.recorded("healthy")
        await made.stubs.set_faults("enum1", (Silence(),))
        found["hung"] = await made.recorded("hung", 3)  # a check takes 5 s to fail
        await made.stubs.set_faults("enum1", (PortClosed(),))
        await made.marked("enum1", "down", 1)
        found["gone"] = await made.recorded("gone")
        await made.stubs.set_faults("enum1", ())
        await made.marked("enum1", "up", 2)
        found["back"] = await made.recorded("back")
    return found


def asked(found: Traffic) -> Sequence[str]:
    """Return the server that each lookup went to first, in order."""
    return [lookup.first.server for lookup in found.lookups]


@pytest.mark.parametrize("part", ["healthy", "back"])
def test_round_robin_is_strict_with_all_servers_up(story: Story, part: str) -> None:
    """Our rule passes a client that takes turns, and counts its lookups only."""
    found = story.traffic(part)
    judged = rotation(found.lookups, group(story.net.servers), minimum=CALLS)

    assert [finding.outcome for finding in judged] == [Outcome.PASS]
    assert len(found.lookups) == CALLS
    assert {hop.client.address for lookup in found.lookups for hop in lookup.hops} == {
        story.net.dnsdist.address
    }
    assert story.decisions[part] == [Decision.ALLOW] * CALLS


@pytest.mark.parametrize("part", ["healthy", "gone", "back"])
def test_health_checks_are_set_apart(story: Story, part: str) -> None:
    """Each live server is probed by dnsdist meanwhile, and no probe is taken for a lookup."""
    found = story.traffic(part)
    live = [probe for probe in found.probes if probe.answer is not None]

    assert {probe.query.qtype for probe in found.probes} == {"A"}
    assert {probe.query.qname for probe in found.probes} == {"health.e164.arpa"}
    assert {probe.server for probe in live} >= {"enum2", "enum3"}
    assert {lookup.qname for lookup in found.lookups} == {n.enum_domain() for n in NUMBERS}
    assert (found.malformed, found.strays) == ((), ())


def test_server_that_is_gone_is_left_out(story: Story) -> None:
    """The other two are asked in strict turn, every call is served, and enum1 is only probed."""
    found = story.traffic("gone")
    two = group(("enum2", "enum3"))

    assert [one.outcome for one in rotation(found.lookups, two, minimum=CALLS)] == [Outcome.PASS]
    assert story.decisions["gone"] == [Decision.ALLOW] * CALLS
    assert all(probe.failed for probe in found.probes if probe.server == "enum1")
    assert "enum1" in {probe.server for probe in found.probes}


def test_outage_found_by_health_checks_is_not_judged_as_an_sbc_is(story: Story) -> None:
    """No lookup met the outage, so the rules about it say OTHER: nothing was shown."""
    found = story.traffic("gone")
    judged = outage(found.lookups, group(story.net.servers), frozenset({"enum1"}), minimum=6)

    assert {finding.rule: finding.outcome for finding in judged} == {
        "outage.detected": Outcome.OTHER,
        "outage.avoided": Outcome.OTHER,
        "outage.served": Outcome.OTHER,
    }


def test_question_to_a_hung_server_is_saved_by_the_clients_retransmission(story: Story) -> None:
    """Before a check fails the question is lost at enum1; sent again, it goes to another."""
    found = story.traffic("hung")
    met = [lookup for lookup in found.lookups if lookup.first.server == "enum1"]
    after_ns = [lookup.last.sends[0].at_ns - lookup.at_ns for lookup in met]

    assert met
    assert all(lookup.first.failed and not lookup.last.failed for lookup in met)
    assert all(each > RETRANSMIT_NS // 2 for each in after_ns)
    assert story.decisions["hung"] == [Decision.ALLOW] * 3


@pytest.mark.parametrize(("policy", "net"), [("firstAvailable", 86), ("wrandom", 87)])
def test_other_policies_of_dnsdist_fail(tmp_path: Path, policy: str, net: int) -> None:
    """A client that always asks the first server, or one at random, is not in turn."""
    need_root()
    need("tcpdump", "tcpdump")
    place = Net(net)

    async def scenario() -> None:
        async with lab(place, tmp_path, policy) as made:
            await made.recorded("calls")

    asyncio.run(scenario())
    found = traffic(tmp_path, "calls", place)
    judged = rotation(found.lookups, group(place.servers), minimum=CALLS)

    assert [finding.outcome for finding in judged] == [Outcome.FAIL]
    assert len(set(asked(found))) == (1 if policy == "firstAvailable" else 3)
