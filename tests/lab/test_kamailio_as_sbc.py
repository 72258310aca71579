"""Kamailio as the SBC: what its calls become, and what the judge makes of its DNS, from tcpdump.

What the C library does with `options timeout:N` and three name servers was measured here, and is in
no manual: the first is waited for N seconds, the second 2N/3, the third 4N/3 (whole seconds, and at
least one), in every round alike. So with timeout:1 all waits are one second, and with two servers
all are N. An answer that comes late is taken in the second round, when its server is asked again.
Turns that `rotate` takes are those of one process: Kamailio has one for each worker.
"""

import subprocess
from dataclasses import replace

import pytest

from enumtest.infer.inference import Inference
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Judgement, Vantage
from enumtest.profiles.profile_file import parse_profile, shipped_profile
from enumtest.profiles.profile_groups import Event, Selection, SelectionRules
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.profiles.profile_writer import write_profile
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.packets.frame import decode
from harness.packets.unreachable import unreachable
from harness.records import CallOutcome
from tests.enum_wire import at_will
from tests.lab.kamailio_net import CALLEE, LIMIT_S, SBC
from tests.lab.kamailio_story import (
    BLOCKED,
    MOVED,
    NUMBERS,
    OUTAGES,
    REACTIONS,
    TARGET,
    S,
    Story,
    tell_all,
)
from tests.lab.peers import need, need_root

pytestmark = pytest.mark.lab

OUTAGE_NAMES = [part.name for part in OUTAGES]
SHOWN = [*map(Event, REACTIONS), Event.NODATA, Event.SILENCE]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """Return what was seen in all labs."""
    need_root()
    for program, package in (("kamailio", "kamailio"), ("sipp", "sip-tester")):
        need(program, package)
    need("tcpdump", "tcpdump")
    return tell_all(tmp_path_factory.mktemp("kamailio"))


def test_policy_decides_what_becomes_of_a_call(stories: dict[str, Story]) -> None:
    """Allow reaches the callee, terminate is 603, a redirect reaches the callee as another."""
    calls = stories["plain"].calls("policy")

    assert [(call.destination, call.outcome, call.target, call.status) for call in calls] == [
        (NUMBERS[0], CallOutcome.ALLOWED, NUMBERS[0], 200),
        (BLOCKED, CallOutcome.TERMINATED, "", 603),
        (MOVED, CallOutcome.REDIRECTED, TARGET, 200),
    ]
    assert [call.target_endpoint for call in calls] == [str(CALLEE), "", str(CALLEE)]


def test_redirect_may_come_back_to_the_caller(stories: dict[str, Story]) -> None:
    """With 302 the new number is in Contact, and nobody rings."""
    [call] = stories["longer"].calls("policy")

    assert (call.outcome, call.target, call.status) == (CallOutcome.REDIRECTED, TARGET, 302)
    assert call.rang == ()


def test_uninstalled_rules_let_calls_through(stories: dict[str, Story]) -> None:
    """The numbers that were blocked and moved reach the callee as dialled."""
    calls = stories["plain"].calls("uninstalled")

    assert [(call.outcome, call.target) for call in calls] == [
        (CallOutcome.ALLOWED, BLOCKED),
        (CallOutcome.ALLOWED, MOVED),
    ]


@pytest.mark.parametrize("part", [*REACTIONS, "NODATA", *OUTAGE_NAMES, "failing"])
def test_calls_go_on_whatever_the_servers_do(stories: dict[str, Story], part: str) -> None:
    """Without an answer to act on, each call reaches the callee as dialled: fail-open."""
    calls = stories["plain"].calls(part)

    assert calls
    assert {(call.outcome, call.target == call.destination) for call in calls} == {
        (CallOutcome.ALLOWED, True)
    }


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        *(
            (name, ["enum1", "enum2"])
            for name in (
                "SERVFAIL",
                "REFUSED",
                "NOTIMP",
                "wrong-id",
                "late",
                "silent-1",
                "closed-1",
            )
        ),
        *((name, ["enum1"]) for name in ("FORMERR", "NXDOMAIN", "garbled", "other-rcode")),
        *((name, ["enum1"]) for name in ("NODATA", "truncated", "healthy", "recovered")),
        ("second-round", ["enum1", "enum2", "enum3", "enum1"]),
        *((name, ["enum1", "enum2", "enum3"]) for name in ("silent-2", "closed-2")),
        *((name, ["enum1", "enum2", "enum3"] * 2) for name in ("silent-3", "closed-3", "failing")),
    ],
)
def test_each_lookup_begins_at_the_first_server(
    stories: dict[str, Story], part: str, asked: list[str]
) -> None:
    """Who is asked depends on what comes back, and never on what came back to the call before."""
    found = stories["plain"].asked(part)

    assert found
    assert found == [asked] * len(found)


@pytest.mark.parametrize(
    ("lab", "part", "waits_s"),
    [
        ("plain", "silent-3", [1.0] * 5),
        ("plain", "closed-1", [0.0] * 5),
        ("longer", "silent-3", [2.0, 1.0, 2.0, 2.0, 1.0]),
        ("two", "silent-1", [5.0]),
        ("two", "silent-2", [5.0] * 3),
    ],
)
def test_c_library_waits_by_the_place_of_the_server(
    stories: dict[str, Story], lab: str, part: str, waits_s: list[float]
) -> None:
    """N, 2N/3 and 4N/3 seconds for three servers, N and N for two; no wait for a closed port."""
    found = stories[lab].waits_s(part)

    assert found == pytest.approx(waits_s, abs=0.3)


def libc(timeout_s: int, **values: object) -> Profile:
    """Return the shipped profile with the time-out of a resolv.conf."""
    given = Overrides(timeout_ns=timeout_s * S, **values)  # type: ignore[arg-type]
    return laid_over(shipped_profile("libc"), given, by="resolv.conf")


def judged(story: Story, profile: Profile, clocks: str = "") -> Judgement:
    """Return what the judge says of Kamailio, with the taps of `Story.seen_from`."""
    captures, ahead_ns = story.seen_from(clocks)
    table = read_lookups(captures, story.servers, profile, ahead_ns=ahead_ns)
    [only] = judge(table, profile, vantage=Vantage.SERVERS if clocks else Vantage.SBC)
    assert only.client == SBC.address
    return only


def rules(judgement: Judgement, outcome: Outcome) -> dict[str, str]:
    """Return the rules that came out so, with what was seen."""
    return {one.rule: one.observed for one in judgement.rulings if one.outcome is outcome}


@pytest.mark.parametrize("clocks", ["", "the same"], ids=["one tap", "three taps"])
@pytest.mark.parametrize(("lab", "timeout_s"), [("plain", 1), ("two", 5)])
def test_profile_of_the_c_library_is_kept(
    stories: dict[str, Story], lab: str, timeout_s: int, clocks: str
) -> None:
    """Nothing that Kamailio does breaks the profile that was written from it elsewhere."""
    found = judged(stories[lab], libc(timeout_s), clocks)

    assert rules(found, Outcome.FAIL) == {}
    assert set(rules(found, Outcome.PASS)) >= {
        *("rotation.order", "retransmission.expire", "retransmission.schedule", "reaction.silence")
    }


@pytest.mark.parametrize(("lab", "timeout_s"), [("plain", 1), ("two", 5)])
def test_unknown_clocks_are_no_false_alarm(
    stories: dict[str, Story], lab: str, timeout_s: int
) -> None:
    """With a tap at each server, and nothing declared of their clocks, no rule fails either."""
    found = judged(stories[lab], libc(timeout_s), "unknown")

    assert rules(found, Outcome.FAIL) == {}


def test_plan_of_turns_is_not_kept(stories: dict[str, Story]) -> None:
    """It is no round robin: with all servers up, and a hold-down shorter than that, it fails."""
    given = Overrides(timeout_ns=S, hold_down_ns=S)
    declared = laid_over(shipped_profile("fixed-hold-down"), given)
    found = rules(judged(stories["plain"], declared), Outcome.FAIL)

    assert "rotation.order" in found


@pytest.mark.parametrize("lab", ["plain", "turns"])
def test_hold_down_after_one_failure_is_not_kept(stories: dict[str, Story], lab: str) -> None:
    """The next call asks the server that failed, in a list and in turns: the judge says so."""
    given = Overrides(timeout_ns=S, hold_down_ns=S)
    declared = at_will(laid_over(shipped_profile("fixed-hold-down"), given))
    found = rules(judged(stories[lab], declared), Outcome.FAIL)

    assert "hold-down.kept" in found


def test_waits_that_differ_by_place_break_a_single_timer(stories: dict[str, Story]) -> None:
    """With timeout:2 the second of three servers is given up after one second."""
    found = rules(judged(stories["longer"], libc(2)), Outcome.FAIL)

    assert set(found) == {"retransmission.expire"}


def test_rotate_takes_turns_with_one_worker(stories: dict[str, Story]) -> None:
    """Strict turns, no memory of failures; a failover takes no turn."""
    turning = replace(
        libc(1),
        selection=SelectionRules(Selection.ROUND_ROBIN, False, False, rounds=2),
    )
    found = judged(stories["turns"], turning)

    assert rules(found, Outcome.FAIL) == {}
    assert "rotation.order" in rules(found, Outcome.PASS)


def test_rotate_takes_no_turns_with_four_workers(stories: dict[str, Story]) -> None:
    """Each worker has turns of its own, and together they are in no order."""
    declared = laid_over(shipped_profile("fixed-hold-down"), Overrides(hold_down_ns=S // 10))
    found = rules(judged(stories["crowd"], declared), Outcome.FAIL)

    assert "rotation.order" in found


@pytest.mark.parametrize(
    ("lab", "expire_s"), [("plain", (1, 1)), ("turns", (1, 1)), ("two", (5, 5)), ("longer", (1, 2))]
)
def test_inferred_time_out_is_that_of_resolv_conf(
    stories: dict[str, Story], lab: str, expire_s: tuple[int, int]
) -> None:
    """Value and interval are those of `options timeout:N`."""
    found = stories[lab].inferred().value("retransmission.expire_ns")

    assert found.known
    assert isinstance(found.value, int)
    assert found.value in [each * S for each in expire_s]
    assert (found.low or 0) <= found.value <= (found.high or 0)


def test_inferred_reactions_are_those_of_the_shipped_profile(stories: dict[str, Story]) -> None:
    """What the file says was measured elsewhere: this is the second measurement."""
    found, shipped = stories["plain"].inferred(), shipped_profile("libc").reactions
    then = {event: found.value(f"reactions.{event}.then").value for event in SHOWN}

    assert then == {event: shipped[event].then for event in SHOWN}


def test_inferred_law_has_no_hold_down(stories: dict[str, Story]) -> None:
    """A list in order, two rounds, one send, one id and a port a server, no memory, no cache."""
    found = stories["plain"].inferred()
    paths = (
        *("selection.method", "selection.rounds", "retransmission.schedule_ns"),
        *("retransmission.id_per", "retransmission.port_per", "hold_down.stages"),
        *("edns.udp_payload_bytes", "edns.source_sent"),
    )

    assert [found.value(path).value for path in paths] == [
        *("list-order", 2, (0,), "call", "server", (), 0, False)
    ]


@pytest.mark.parametrize("lab", ["plain", "two", "longer", "turns", "crowd"])
def test_taps_at_the_servers_tell_the_same(stories: dict[str, Story], lab: str) -> None:
    """With clocks that are the same, value for value; where nobody knows them, nothing wrong."""
    whole, same, unknown = (stories[lab].inferred(clocks) for clocks in ("", "the same", "unknown"))

    assert _known(same) == _known(whole)
    assert _known(unknown).items() <= _known(whole).items()


def _known(found: Inference) -> dict[str, str]:
    return {one.path: str(one.value) for one in found.values if one.known}


def test_inferred_profile_is_accepted_by_the_judge(stories: dict[str, Story]) -> None:
    """What was measured of Kamailio, held against Kamailio, breaks no rule."""
    profile = parse_profile(write_profile(stories["plain"].inferred()))
    found = judged(stories["plain"], profile)

    assert rules(found, Outcome.FAIL) == {}


def test_packets_that_did_not_arrive_are_those_of_tshark(stories: dict[str, Story]) -> None:
    """ICMP messages, and the ends of the packets that they quote, are read as tshark reads them."""
    capture = stories["plain"].capture
    found = unreachable(decode(capture))
    argv = [need("tshark", "tshark"), "-n", "-r", capture.name, "-Y", "icmp.type == 3"]
    argv += ["-T", "fields", "-E", "occurrence=l", "-E", "separator=|"]
    for name in ("frame.number", "ip.src", "udp.srcport", "ip.dst", "udp.dstport"):
        argv += ["-e", name]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, check=True)

    quoted = found.quoted
    ends = [(quoted.source(row), quoted.destination(row)) for row in range(len(found))]
    assert found.frame.tolist()
    assert told.stdout.splitlines() == [
        f"{frame}|{one.address}|{one.port}|{two.address}|{two.port}"
        for frame, (one, two) in zip(found.frame.tolist(), ends, strict=True)
    ]
