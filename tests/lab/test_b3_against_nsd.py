"""The shipped cases against three real NSD servers, judged from tcpdump's files and nothing else.

Two ways to be out of service: the process ends (the port is closed, ICMP says so), and the process
hangs (the port is open, nothing comes back, and all of it is answered late when it goes on).
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from enumtest.traffic.lookups import Transaction, read_traffic
from harness.packets.capture import LINKTYPE_ETHERNET
from harness.packets.capture_file import read
from harness.packets.frame import Endpoint, decode
from tests.lab.peers import need, need_root
from tests.loopback.runs import AGAIN, LIMIT_S, ROOT, TIMEOUT_MS, CasesRun, run_cases, steady

pytestmark = pytest.mark.lab

PORT = 15353
ICMP = 1  # its protocol number in an IPv4 header
TIMEOUT_NS = TIMEOUT_MS * 1_000_000
OPTIONS = {  # by name of the run: its network (127.0.NET.x), and its options
    "stopped": (81, ()),
    "suspended": (82, ("--fst-case", "B.3", "--nsd-down", "suspended")),
    "drift": (83, ("--fst-case", "B.3", "--fst-set", "lab.sbc.drift_every=7")),
}
HOSTS = ("enum1", "enum2", "enum3")
B_3 = {("B.3.1", host) for host in HOSTS} | {(f"B.3.{at}", "") for at in range(2, 8)}
TURNS = frozenset({("B.3.2", ""), ("B.3.7", "")})  # what a rotation that slips must fail
Runs = dict[str, Future[CasesRun]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return all runs, started beside each other; each test waits for its own."""
    need_root()
    need("nsd", "nsd")
    need("tcpdump", "tcpdump")
    need("setpriv", "util-linux")
    with ThreadPoolExecutor(len(OPTIONS)) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # where the plugin is found
        started: Runs = {}
        for name, (net, options) in OPTIONS.items():
            once = partial(with_nsd, net, options)
            failed = TURNS if name == "drift" else frozenset()
            started[name] = pool.submit(steady, tmp_path_factory.mktemp(name), once, failed)
        yield started
        pool.shutdown(cancel_futures=True)


def with_nsd(net: int, options: tuple[str, ...], folder: Path) -> CasesRun:
    """Return one run with NSD servers, all of it in *folder*."""
    plugin = ("-p", "tests.lab.nsd_lab", "--nsd-folder", str(folder / "nsd"))
    (folder / "nsd").mkdir()
    return run_cases(folder, net, *plugin, *options)


def result(runs: Runs, name: str) -> CasesRun:
    """Return the finished run *name*."""
    return runs[name].result((1 + AGAIN) * LIMIT_S)


def asked_in_outage(run: CasesRun, net: int) -> list[Transaction]:
    """Return what enum1 was asked while it alone was down (case B.3.3)."""
    path = run.folder / "captures/site1-sbc1-one-down.pcap"
    servers = {Endpoint(f"127.0.{net}.{11 + at}", PORT): name for at, name in enumerate(HOSTS)}
    traffic = read_traffic(decode(read(path)), servers, timeout_ns=TIMEOUT_NS)
    return [hop for lookup in traffic.lookups for hop in lookup.hops if hop.server == "enum1"]


def refusals(run: CasesRun, net: int) -> int:
    """Return how many ICMP messages to the SBC the capture of case B.3.3 holds."""
    capture = read(run.folder / "captures/site1-sbc1-one-down.pcap")
    sbc = bytes([127, 0, net, 10])
    headers = [bytes(capture.data[at + 14 : at + 34]) for at in capture.offset_bytes]  # IPv4
    return sum(header[9] == ICMP and header[16:20] == sbc for header in headers)


def test_all_cases_pass_with_nsd_that_is_stopped(runs: Runs) -> None:
    """The whole of part B passes; policy rules reach the SBC through NSD's zone."""
    run = result(runs, "stopped")

    assert run.having("PASS") == set(run.verdicts), run.output
    assert len(run.verdicts) == 22
    assert set(run.verdicts) >= B_3
    assert run.code == 0


def test_routing_cases_pass_with_nsd_that_is_suspended(runs: Runs) -> None:
    """A server that hangs is given up, left alone and asked again like one that is gone.

    OTHER is taken for the machine's, and run again at most twice (`steady`), only where a late
    timer is the one thing found; a FAIL never.
    """
    run = result(runs, "suspended")

    assert run.having("PASS") == B_3, run.output
    assert set(run.verdicts) == B_3
    assert run.code == 0


def test_drifting_sbc_fails_the_cases_about_turns(runs: Runs) -> None:
    """With NSD too, a rotation that slips every 7 turns fails B.3.2 and B.3.7 alone."""
    run = result(runs, "drift")

    assert run.having("FAIL") == TURNS
    assert run.having("PASS") == B_3 - run.having("FAIL")
    assert run.code == 1


@pytest.mark.parametrize("name", list(OPTIONS))
def test_verdicts_rest_on_tcpdump_alone(runs: Runs, name: str) -> None:
    """Every capture of the run is tcpdump's, complete, and no packet was dropped."""
    run = result(runs, name)
    attached = [event.fields for event in run.events if event.type == "attachment"]
    captures = [read(path) for path in run.captures]

    assert {fields["captured_by"] for fields in attached} == {"tcpdump -i lo"}
    assert {fields["dropped"] for fields in attached} == {0}
    assert {int(link) for capture in captures for link in capture.linktype} == {LINKTYPE_ETHERNET}
    for path, capture in zip(run.captures, captures, strict=True):
        packets = {f["packets"] for f in attached if f["path"].endswith(path.name)}
        assert packets == {len(capture)}
    assert len({path.name for path in (run.folder / "captures").iterdir()}) == len(captures)


def test_suspended_nsd_is_silent_and_then_late(runs: Runs) -> None:
    """While it hangs nothing comes back, not even ICMP; its late answer makes nothing good."""
    run = result(runs, "suspended")
    asked = asked_in_outage(run, 82)

    assert refusals(run, 82) == 0
    assert [len(hop.sends) for hop in asked] == [2]  # one retransmission, and then left alone
    assert all(hop.failed and hop.answer is None for hop in asked)
    assert [len(hop.later_answers) for hop in asked] == [2]
    late_ns = asked[0].later_answers[0].at_ns - asked[0].sends[0].at_ns
    assert late_ns > 2 * TIMEOUT_NS


def test_stopped_nsd_is_a_closed_port(runs: Runs) -> None:
    """The host refuses each question by ICMP, and no answer ever comes."""
    run = result(runs, "stopped")
    asked = asked_in_outage(run, 81)

    assert [len(hop.sends) for hop in asked] == [2]
    assert all(hop.failed and not hop.later_answers for hop in asked)
    assert refusals(run, 81) == 2


def test_runs_keep_to_their_own_network(runs: Runs) -> None:
    """Runs beside each other do not see each other's packets, so neither can pass by them."""
    for name, (net, _) in OPTIONS.items():
        for path in result(runs, name).captures:
            datagrams = decode(read(path))
            ends = {datagrams.source(i).address for i in range(len(datagrams))}
            ends |= {datagrams.destination(i).address for i in range(len(datagrams))}
            others = {end for end in ends if ip_address(end).packed[2] != net}
            assert others <= {"127.0.0.1"}  # the lab's own questions: is the server up yet?
