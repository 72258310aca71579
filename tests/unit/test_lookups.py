"""Packets become transactions, and transactions the lookups of calls."""

from collections.abc import Iterable

import pytest

from enumtest.dns.message import encode_answer, encode_query, parse_query
from enumtest.dns.source_uri import SourceOption
from enumtest.profiles.profile_groups import Event
from enumtest.traffic.lookups import Lookup, Traffic
from harness.number import PhoneNumber
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import ACK, PSH, SYN, Endpoint, decode, encode_tcp, encode_udp
from tests.enum_wire import (
    ALLOW,
    CLIENT,
    MS,
    NUMBERS,
    SECOND,
    START_NS,
    Down,
    Reply,
    Wire,
    allowing,
    capture_bytes,
    changed,
    endpoints,
    question,
    sbc,
    sbc_config,
    traffic_of,
)

SERVERS = endpoints(3)
ONE, TWO, THREE = SERVERS.values()
NAMES = {endpoint: name for name, endpoint in SERVERS.items()}
TIMEOUT_NS = 2 * SECOND
CONFIG = sbc_config(SERVERS, timeout_ns=TIMEOUT_NS, hold_down_ns=30 * SECOND)
Sent = tuple[int, Endpoint, Endpoint, bytes]  # ms, from, to, payload


def q(at_ms: int, server: Endpoint, message_id: int = 1, *, client: Endpoint = CLIENT) -> Sent:
    """Return a query for the first number."""
    return (at_ms, client, server, question(message_id=message_id))


def a(
    at_ms: int, server: Endpoint, message_id: int = 1, rcode: str = "NOERROR", *, cut: bool = False
) -> Sent:
    """Return the answer to such a query."""
    query = parse_query(question(message_id=message_id))
    records = (ALLOW,) if rcode == "NOERROR" and not cut else ()
    return (at_ms, server, CLIENT, encode_answer(query, rcode, records, truncated=cut))


def tcp(source: Endpoint, to: Endpoint, payload: bytes) -> tuple[bytes, bytes]:
    """Return the segments that open a connection and carry *payload*."""
    opening = encode_tcp(source, to, b"", sequence=7, acknowledgement=0, flags=SYN)
    return opening, encode_tcp(source, to, payload, sequence=8, acknowledgement=1, flags=PSH | ACK)


def read(*sent: Sent) -> Traffic:
    """Return what is read from UDP packets."""
    frames = [(at_ms * MS, encode_udp(source, to, payload)) for at_ms, source, to, payload in sent]
    return traffic_of(capture_bytes(frames), NAMES, timeout_ns=TIMEOUT_NS)


def servers(lookups: Iterable[Lookup]) -> list[list[str]]:
    """Return the servers asked for each lookup, in order."""
    return [[hop.server for hop in lookup.hops] for lookup in lookups]


def test_query_and_answer_are_one_lookup() -> None:
    """Frames count from 1, times are those of the capture, the number is the one asked for."""
    (found,) = read(q(0, ONE), a(3, ONE)).lookups

    assert (found.first.server, found.first.failed, found.frames) == ("enum1", False, (1, 2))
    assert (found.at_ns, found.first.client) == (START_NS, CLIENT)
    assert found.number("e164.arpa") == NUMBERS[0]
    assert found.number("enum.example.net") is None


def test_retransmissions_are_folded() -> None:
    """Same id, question and ends: one turn, all its frames kept."""
    (found,) = read(q(0, ONE), q(1000, ONE), q(1500, ONE), a(1600, ONE)).lookups

    assert found.frames == (1, 2, 3, 4)
    assert [seen.frame for seen in found.first.sends] == [1, 2, 3]


def test_retransmission_that_crosses_the_answer_is_no_new_turn() -> None:
    """At the server's own interface the answer can leave just before the repeated query comes."""
    (found,) = read(q(0, ONE), a(999, ONE), q(1001, ONE), a(1002, ONE)).lookups

    assert [seen.frame for seen in found.first.sends] == [1, 3]
    assert [seen.frame for seen in found.first.later_answers] == [4]


def test_same_id_after_the_time_out_is_another_call() -> None:
    """Ids come round again."""
    found = read(q(0, ONE), a(3, ONE), q(2001, ONE), a(2004, ONE)).lookups

    assert servers(found) == [["enum1"], ["enum1"]]


@pytest.mark.parametrize(
    "second",
    [q(10, ONE, 2), q(10, ONE, client=Endpoint(CLIENT.address, 40_001))],
    ids=["another id", "another port"],
)
def test_another_query_is_another_lookup(second: Sent) -> None:
    """Two calls to one number at one server, at the same time."""
    assert servers(read(q(0, ONE), second).lookups) == [["enum1"], ["enum1"]]


def test_silence_then_the_next_server_is_one_lookup() -> None:
    """A failover repeats the question with another id to another server."""
    sent = (q(0, ONE), q(1000, ONE), q(2000, TWO, 2), q(4000, THREE, 3), a(4003, THREE, 3))
    (found,) = read(*sent).lookups

    assert servers([found]) == [["enum1", "enum2", "enum3"]]
    assert [hop.failed for hop in found.hops] == [True, True, False]
    assert (found.first.answer, found.last.answered is not None) == (None, True)


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_error_then_the_next_server_is_one_lookup(rcode: str) -> None:
    """After an error no time-out is waited for."""
    (found,) = read(q(0, ONE), a(3, ONE, 1, rcode), q(4, TWO, 2), a(8, TWO, 2)).lookups

    assert [hop.failed for hop in found.hops] == [True, False]


def test_refused_port_then_the_next_server_is_one_lookup() -> None:
    """An SBC that is told "port unreachable" asks the next server within a millisecond."""
    (found,) = read(q(0, ONE), q(1, TWO, 2), a(4, TWO, 2)).lookups

    assert servers([found]) == [["enum1", "enum2"]]


def test_next_server_while_the_first_is_still_asked_is_another_call() -> None:
    """The first query is sent again later: its call still waits."""
    found = read(q(0, ONE), q(20, TWO, 2), a(23, TWO, 2), q(1000, ONE), a(1003, ONE)).lookups

    assert servers(found) == [["enum1"], ["enum2"]]


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_next_server_after_a_good_answer_is_another_call(rcode: str) -> None:
    """Also when the call is to the same number: an answered lookup is at its end."""
    found = read(q(0, ONE), a(3, ONE, 1, rcode), q(2000, TWO, 2), a(2003, TWO, 2)).lookups

    assert servers(found) == [["enum1"], ["enum2"]]


def test_same_server_again_is_never_a_failover() -> None:
    """A call asks each server once; the second query is the next call's."""
    assert servers(read(q(0, ONE), q(2000, ONE, 2)).lookups) == [["enum1"], ["enum1"]]


def test_failover_comes_no_later_than_half_a_time_out_after_its_time() -> None:
    """Later it is the next call."""
    assert servers(read(q(0, ONE), q(3000, TWO, 2)).lookups) == [["enum1", "enum2"]]
    assert servers(read(q(0, ONE), q(3001, TWO, 2)).lookups) == [["enum1"], ["enum2"]]


def test_overlapping_calls_to_one_number_keep_their_own_failovers() -> None:
    """Two calls 300 ms apart, both to dead servers: what comes on time decides whose it is."""
    sent = (q(0, ONE, 1), q(300, TWO, 2), q(2000, THREE, 3), q(2300, ONE, 4), a(2303, ONE, 4))
    found = read(*sent).lookups

    assert servers(found) == [["enum1", "enum3"], ["enum2", "enum1"]]


def test_call_to_the_same_number_is_not_taken_for_a_failover_that_comes_later() -> None:
    """A second call 1.2 s after the first, whose own failover comes when its 2 s are over."""
    found = read(q(0, ONE, 1), q(1200, TWO, 2), a(1203, TWO, 2), q(2000, THREE, 3)).lookups

    assert servers(found) == [["enum1", "enum3"], ["enum2"]]


def test_slow_answer_in_time_ends_the_lookup() -> None:
    """What was asked elsewhere before it came is another call's."""
    found = read(q(0, ONE, 1), q(1200, TWO, 2), a(1203, TWO, 2), a(1900, ONE, 1)).lookups

    assert servers(found) == [["enum1"], ["enum2"]]
    assert not any(one.last.failed for one in found)


@pytest.mark.parametrize("change", ["number", "caller", "SBC"])
def test_failover_repeats_number_caller_and_sbc(change: str) -> None:
    """With any of them different it is another call."""
    number = NUMBERS[1] if change == "number" else NUMBERS[0]
    uri = f"sip:+1650555010{change == 'caller':d}@192.0.2.1"
    client = Endpoint("192.0.2.11", 40_000) if change == "SBC" else CLIENT

    def asked(message_id: int, number: PhoneNumber, uri: str) -> bytes:
        return encode_query(message_id, number.enum_domain(), source=SourceOption(uri))

    first = (0, CLIENT, ONE, asked(1, NUMBERS[0], "sip:+16505550100@192.0.2.1"))
    found = read(first, (2000, client, TWO, asked(2, number, uri))).lookups

    assert servers(found) == [["enum1"], ["enum2"]]
    assert found[0].first.source == "sip:+16505550100@192.0.2.1"


def test_answer_seen_just_before_its_query_is_its_answer() -> None:
    """Queues of an interface, or merged captures, can swap the two."""
    traffic = read(a(0, ONE), q(1, ONE))
    (found,) = traffic.lookups

    assert (found.first.failed, found.frames, traffic.strays) == (False, (2, 1), ())


def test_records_out_of_order_are_read_by_their_times() -> None:
    """A merged file need not be sorted."""
    first, second = read(q(10, TWO, 2), q(0, ONE), a(13, TWO, 2), a(3, ONE)).lookups

    assert (first.frames, second.frames) == ((2, 4), (1, 3))


def test_unanswered_query_is_a_failed_lookup() -> None:
    """Nothing is guessed about an answer that is not there."""
    (found,) = read(q(0, ONE)).lookups

    assert (found.first.failed, found.first.answer, found.frames) == (True, None, (1,))


@pytest.mark.parametrize(
    "stray",
    [
        a(3, ONE, 9),
        a(3, TWO),
        (3, ONE, Endpoint(CLIENT.address, 40_009), a(3, ONE)[3]),
        (3, ONE, CLIENT, encode_answer(parse_query(question(NUMBERS[1])), "NXDOMAIN")),
        (3, ONE, CLIENT, encode_answer(parse_query(question(qtype="TXT")), "NXDOMAIN")),
    ],
    ids=["id", "server", "port", "number", "type"],
)
def test_answer_that_matches_no_query_is_a_stray(stray: Sent) -> None:
    """Id, question, both addresses and both ports must be those of a query (RFC 5452 s9.1)."""
    traffic = read(q(0, ONE), stray)

    assert [odd.seen.frame for odd in traffic.strays] == [2]
    assert traffic.lookups[0].first.failed


def test_what_does_not_parse_is_malformed_with_its_place() -> None:
    """Whoever sent it, with frame, direction, server and reason."""
    traffic = read((0, CLIENT, ONE, b"\x00" * 5), (1, TWO, CLIENT, b"\xff" * 30))
    one, two = traffic.malformed

    assert (one.seen.frame, one.client, one.server, one.from_client) == (1, CLIENT, "enum1", True)
    assert (two.seen.frame, two.client, two.server, two.from_client) == (2, CLIENT, "enum2", False)
    assert one.why
    assert two.why


def test_packet_cut_by_the_capture_proves_nothing_against_its_sender() -> None:
    """A snapshot length is the tester's doing: not malformed, but told."""
    frame = encode_udp(CLIENT, ONE, question())
    record = bytearray(encode_record(START_NS, frame[:40]))
    record[12:16] = len(frame).to_bytes(4, "little")
    capture = encode_file_header(LINKTYPE_RAW) + bytes(record)
    traffic = traffic_of(capture, NAMES, timeout_ns=TIMEOUT_NS)

    assert (traffic.malformed, traffic.lookups) == ((), ())
    assert "not captured whole" in traffic.strays[0].why


def test_other_traffic_is_not_looked_at() -> None:
    """Other hosts, and other ports of a server, even with DNS in them."""
    stranger = Endpoint("203.0.113.9", 53)
    other_port = Endpoint(ONE.address, 5060)
    traffic = read((0, CLIENT, stranger, question()), (1, CLIENT, other_port, b"INVITE"))

    assert traffic == Traffic((), (), (), ())


def test_question_that_is_not_naptr_is_a_probe() -> None:
    """A health check takes no part in turns."""
    traffic = read((0, CLIENT, ONE, question(qtype="NS")), q(1, ONE, 2))

    assert servers(traffic.lookups) == [["enum1"]]
    assert [probe.query.qtype for probe in traffic.probes] == ["NS"]


def test_packet_seen_twice_is_one_turn() -> None:
    """A capture on all interfaces, or a mirror port, shows each packet twice."""
    (found,) = read(q(0, ONE), q(0, ONE), a(3, ONE), a(3, ONE)).lookups

    assert (len(found.first.sends), len(found.first.later_answers)) == (2, 1)


def truncating(server: str, query: object, now_ns: int) -> tuple[Reply, ...]:
    """Answer with "truncated" over UDP, and whole over TCP."""
    if server.startswith("tcp:"):
        return allowing(server, query, now_ns)  # type: ignore[arg-type]
    return (Reply(encode_answer(query, truncated=True)),)  # type: ignore[arg-type]


def test_truncated_answer_and_its_repetition_over_tcp_are_one_lookup() -> None:
    """The same server twice, the second time over TCP: no failover, no failure, no new turn."""
    wire = Wire(sbc(CONFIG), truncating)
    wire.calls(3, SECOND)
    found = wire.run().traffic().lookups

    assert servers(found) == [["enum1"] * 2, ["enum2"] * 2, ["enum3"] * 2]
    assert [hop.tcp for hop in found[0].hops] == [False, True]
    assert not any(hop.failed for lookup in found for hop in lookup.hops)


def test_repetition_over_tcp_may_have_a_new_id() -> None:
    """Some resolvers draw one."""
    payload = question(message_id=9)
    frames = [
        (0, encode_udp(CLIENT, ONE, question())),
        (3 * MS, encode_udp(ONE, CLIENT, a(0, ONE, cut=True)[3])),
        *((4 * MS, frame) for frame in tcp(CLIENT, ONE, len(payload).to_bytes(2) + payload)),
    ]
    traffic = traffic_of(capture_bytes(frames), NAMES, timeout_ns=TIMEOUT_NS)

    assert servers(traffic.lookups) == [["enum1", "enum1"]]


def test_truncated_answer_that_is_not_asked_for_again_is_none() -> None:
    """Its records are a part of the truth: nothing was ordered by it."""
    (found,) = read(q(0, ONE), a(3, ONE, cut=True)).lookups

    assert found.last.failed
    assert [seen.frame for seen in found.last.later_answers] == [2]


def test_truncated_answer_then_another_server_is_a_failover() -> None:
    """TCP may be closed there: nothing but the opening segment is seen."""
    (found,) = read(q(0, ONE), a(3, ONE, cut=True), q(5, TWO, 2), a(8, TWO, 2)).lookups

    assert [hop.failed for hop in found.hops] == [True, False]


def test_message_over_tcp_that_is_cut_short_is_malformed() -> None:
    """Also a single octet of a length that never came to an end."""
    frames = [(0, frame) for frame in tcp(CLIENT, ONE, b"\x00")]
    frames += [(1, frame) for frame in tcp(CLIENT, TWO, b"\x00\x40" + question())]
    traffic = traffic_of(capture_bytes(frames), NAMES, timeout_ns=TIMEOUT_NS)

    assert {odd.server for odd in (*traffic.malformed, *traffic.strays)} == {"enum1", "enum2"}
    assert traffic.lookups == ()


def test_connection_whose_start_was_not_captured_proves_nothing() -> None:
    """Without the opening segment nobody knows where a message begins."""
    frame = encode_tcp(CLIENT, ONE, b"\x01\x02\x03", sequence=99, acknowledgement=1, flags=ACK)
    traffic = traffic_of(capture_bytes([(0, frame)]), NAMES, timeout_ns=TIMEOUT_NS)

    assert (traffic.malformed, len(traffic.strays)) == ((), 1)


def test_servers_may_have_ipv6_addresses() -> None:
    """The whole way: packets, matching, failover."""
    config = changed(CONFIG, servers=endpoints(2, ipv6=True))
    wire = Wire(
        sbc(config), Down({"enum1": (0, 3 * SECOND)}), client=Endpoint("2001:db8::10", 4000)
    )
    wire.calls(2, SECOND)
    found = wire.run().traffic().lookups

    assert servers(found) == [["enum1", "enum2"], ["enum2"]]
    assert found[0].first.client.address == "2001:db8::10"


def test_error_answers_of_the_simulated_sbc_are_failovers_too() -> None:
    """What an SBC set to count SERVFAIL does is read as one lookup a call."""

    def broken(server: str, query: object, now_ns: int) -> tuple[Reply, ...]:
        if server == "enum1":
            return (Reply(encode_answer(query, "SERVFAIL")),)  # type: ignore[arg-type]
        return allowing(server, query, now_ns)  # type: ignore[arg-type]

    wire = Wire(sbc(changed(CONFIG, failures=frozenset({Event.SERVFAIL}))), broken)
    wire.calls(4, 10 * MS)
    found = wire.run().traffic().lookups

    assert servers(found) == [["enum1", "enum2"], ["enum3"], ["enum2"], ["enum3"]]


def test_capture_is_read_once_and_gives_the_same_again() -> None:
    """The reader keeps nothing between captures."""
    wire = Wire(sbc(CONFIG), Down({"enum2": (0, 5 * SECOND)}))
    wire.calls(6, 700 * MS)
    wire.run()

    assert wire.traffic() == wire.traffic()
    assert len(decode(parse(wire.capture()))) == len(wire.packets)
