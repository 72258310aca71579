"""Servers that are gone, not silent: the network says so, and nobody has to wait."""

from collections.abc import Iterator

import pytest

from enumtest.dns.message import encode_answer, encode_query, parse_query
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_file import shipped_profile
from enumtest.traffic.hop_reader import read_lookups
from harness.finding import Outcome
from harness.number import PhoneNumber
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import Endpoint, encode_udp
from tests.enum_wire import ALLOW
from tests.unit.test_unreachable import icmp

MS, US = 1_000_000, 1000
START_NS = 1_700_000_000_000_000_000
LIBC = shipped_profile("libc")
SERVERS = {Endpoint(f"198.51.100.{at}", 53): f"enum{at}" for at in (1, 2, 3)}
CALLS, EVERY_NS = 12, 30_000 * MS

Timed = tuple[int, bytes]


def asked(call: int, server: int, at_ns: int) -> Timed:
    """Return the question of a call to one of the servers; all of a call have one id."""
    return at_ns, encode_udp(_client(call, server), list(SERVERS)[server], _question(call))


def answered(call: int, server: int, at_ns: int) -> Timed:
    """Return the answer to it."""
    answer = encode_answer(parse_query(_question(call)), records=(ALLOW,))
    return at_ns, encode_udp(list(SERVERS)[server], _client(call, server), answer)


def _question(call: int) -> bytes:
    return encode_query(1000 + call, PhoneNumber(f"1212555{110 + call:04}").enum_domain())


def _client(call: int, server: int) -> Endpoint:
    return Endpoint("192.0.2.1", 40_000 + 10 * call + server)


def refused_at_once(call: int, *, told: bool) -> Iterator[Timed]:
    """Yield a call whose first server is gone; *told*: an ICMP message says so."""
    at_ns = call * EVERY_NS
    question = asked(call, 0, at_ns)
    yield question
    if told:
        yield at_ns + 20 * US, icmp(question[1][:28])
    yield asked(call, 1, at_ns + 40 * US)
    yield answered(call, 1, at_ns + 900 * US)


def nobody_there(call: int) -> Iterator[Timed]:
    """Yield a call that goes through three servers twice, and all of them are gone."""
    for hop in range(6):
        question = asked(call, hop % 3, call * EVERY_NS + hop * 40 * US)
        yield question
        yield question[0] + 20 * US, icmp(question[1][:28])


def failed(frames: Iterator[Timed]) -> set[str]:
    """Return the rules that the C library's profile sees broken in *frames*."""
    records = b"".join(encode_record(START_NS + at_ns, frame) for at_ns, frame in frames)
    capture = parse(encode_file_header(LINKTYPE_RAW) + records, name="closed")
    [found] = judge(read_lookups([capture], SERVERS, LIBC), LIBC, vantage=Vantage.SBC)
    assert any(one.rule == "rotation.order" for one in found.rulings)
    return {one.rule for one in found.rulings if one.outcome is Outcome.FAIL}


def test_closed_port_is_left_at_once() -> None:
    """Where ICMP says that nobody is there, no time-out has to pass."""
    assert failed(one for call in range(CALLS) for one in refused_at_once(call, told=True)) == set()


def test_silent_server_is_not_left_at_once() -> None:
    """The same questions, and no word from the network: the server was not waited for."""
    found = failed(one for call in range(CALLS) for one in refused_at_once(call, told=False))

    assert found & {"retransmission.expire", "failover.all-at-once"}


@pytest.mark.parametrize("calls", [1, CALLS])
def test_second_round_begins_at_the_first_server(calls: int) -> None:
    """With all ports closed the list is gone through twice, and each turn is the right one."""
    assert failed(one for call in range(calls) for one in nobody_there(call)) == set()
