"""An answer counts only if the SBC could still use it: a hung server answers everything, late."""

import pytest

from enumtest.checks.hold_down import Group, given_up
from enumtest.dns.message import encode_answer, encode_query, parse_query
from enumtest.traffic.lookups import Lookup, read_traffic
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import Endpoint, decode, encode_udp

MS = 1_000_000
T0 = 1_700_000_000 * 1000 * MS
TIMEOUT_MS = 200
SBC = Endpoint("192.0.2.10", 40_000)
SERVERS = {"enum1": Endpoint("192.0.2.11", 53), "enum2": Endpoint("192.0.2.12", 53)}
QNAME = "2.1.1.0.5.5.5.0.5.6.1.e164.arpa"
GROUP = Group(("enum1", "enum2"), TIMEOUT_MS * MS, 1500 * MS, 120 * MS)
QUERIES = {"enum1": encode_query(7, QNAME), "enum2": encode_query(8, QNAME)}


def lookups(*seen: tuple[int, str, str]) -> tuple[Lookup, ...]:
    """Return what is read from messages at (ms, "query" or "answer", server)."""
    data = encode_file_header(LINKTYPE_RAW)
    for at_ms, kind, name in seen:
        if kind == "query":
            frame = encode_udp(SBC, SERVERS[name], QUERIES[name])
        else:
            payload = encode_answer(parse_query(QUERIES[name]), "NXDOMAIN", ())
            frame = encode_udp(SERVERS[name], SBC, payload)
        data += encode_record(T0 + at_ms * MS, frame)
    by_place = {place: name for name, place in SERVERS.items()}
    return read_traffic(decode(parse(data)), by_place, timeout_ns=TIMEOUT_MS * MS).lookups


def test_answer_after_the_failover_leaves_the_server_given_up() -> None:
    """enum1 answers when enum2 was asked already: enum1 failed, its late answer is kept apart."""
    (found,) = lookups(
        (0, "query", "enum1"),
        (200, "query", "enum2"),
        (201, "answer", "enum2"),
        (210, "answer", "enum1"),
    )

    assert [(hop.server, hop.failed) for hop in found.hops] == [("enum1", True), ("enum2", False)]
    assert [seen.frame for seen in found.first.later_answers] == [4]
    assert [(one.server, one.at_ns - T0) for one in given_up([found], GROUP)] == [
        ("enum1", 200 * MS)
    ]


def test_answer_long_after_the_timeout_counts_for_nothing() -> None:
    """With nobody left to ask there is no failover: half a timeout of grace, then it is silence."""
    (found,) = lookups((0, "query", "enum1"), (301, "answer", "enum1"))

    assert found.first.failed
    assert [seen.frame for seen in found.first.later_answers] == [2]


@pytest.mark.parametrize("after_ms", [1, 199, 200, 300])
def test_answer_without_failover_counts_within_the_grace(after_ms: int) -> None:
    """The SBC's own clock decides near the timeout; without a failover it took the answer."""
    (found,) = lookups((0, "query", "enum1"), (after_ms, "answer", "enum1"))

    assert not found.first.failed
    assert found.first.later_answers == ()


def test_answer_in_time_is_no_failure_whatever_is_asked_next() -> None:
    """A question to enum2 before enum1's answer in time may be another call's: no failure."""
    found = lookups((0, "query", "enum1"), (110, "query", "enum2"), (120, "answer", "enum1"))

    assert not found[0].first.failed


def test_answer_that_came_in_parts_is_an_answer() -> None:
    """A long answer over UDP is put together, and it is seen when its last part is."""
    payload = encode_answer(parse_query(QUERIES["enum1"]), "NXDOMAIN", ())
    whole = encode_udp(SERVERS["enum1"], SBC, payload)
    head, body = whole[:20], whole[20:]
    cut = 24
    parts = [
        head[:2] + (20 + len(part)).to_bytes(2) + b"\x00\x09" + field + head[8:] + part
        for part, field in ((body[:cut], b"\x20\x00"), (body[cut:], (cut // 8).to_bytes(2)))
    ]
    question = encode_udp(SBC, SERVERS["enum1"], QUERIES["enum1"])
    data = encode_file_header(LINKTYPE_RAW)
    for at_ms, frame in ((0, question), (10, parts[1]), (11, parts[0])):
        data += encode_record(T0 + at_ms * MS, frame)
    places = {SERVERS["enum1"]: "enum1"}
    (found,) = read_traffic(decode(parse(data)), places, timeout_ns=TIMEOUT_MS * MS).lookups

    answered = found.first.answered
    assert answered is not None
    assert (answered.frame, answered.at_ns) == (3, T0 + 11 * MS)
