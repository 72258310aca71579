"""Captures become the table of hops and lookups."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from enumtest.dns.message import Edns, encode_answer, encode_query, parse_query
from enumtest.dns.source_uri import Framing, SourceOption
from enumtest.naptr.naptr import NaptrRecord
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Event, IdScope, Reaction, Then
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import (
    EVENTS,
    NOT_SEEN,
    OTHER_EDNS,
    OTHER_LETTERS,
    OTHER_SOURCE,
    LookupTable,
)
from harness.errors import InputError
from harness.packets.capture import LINKTYPE_RAW, Capture, encode_file_header, encode_record, parse
from harness.packets.frame import ACK, PSH, SYN, Endpoint, encode_tcp, encode_udp
from tests.enum_wire import (
    ALLOW,
    CLIENT,
    MS,
    NUMBERS,
    SECOND,
    SOURCE,
    START_NS,
    Down,
    Reply,
    Wire,
    allowing,
    at_will,
    capture_bytes,
    changed,
    endpoints,
    question,
    sbc,
    sbc_config,
)

SERVERS = endpoints(3)
ONE, TWO, THREE = SERVERS.values()
NAMES = {endpoint: name for name, endpoint in SERVERS.items()}
CONFIG = sbc_config(SERVERS, timeout_ns=2 * SECOND, hold_down_ns=30 * SECOND)
PLAN = CONFIG.profile
Sent = tuple[float, Endpoint, Endpoint, bytes]  # ms, from, to, payload


def q(at_ms: float, server: Endpoint, message_id: int = 1, *, port: int = CLIENT.port) -> Sent:
    """Return a query for the first number."""
    return (at_ms, Endpoint(CLIENT.address, port), server, question(message_id=message_id))


def sourced(at_ms: float, server: Endpoint, message_id: int = 1, source: str = SOURCE) -> Sent:
    """Return a query for the first number with a calling URI."""
    option = SourceOption(source) if source else None
    payload = encode_query(message_id, NUMBERS[0].enum_domain(), source=option)
    return (at_ms, CLIENT, server, payload)


def a(  # noqa: PLR0913 - all that an answer can have wrong
    at_ms: float,
    server: Endpoint,
    message_id: int = 1,
    rcode: str = "NOERROR",
    *,
    cut: bool = False,
    port: int = CLIENT.port,
) -> Sent:
    """Return the answer to a query for the first number."""
    query = parse_query(question(message_id=message_id))
    records = (ALLOW,) if rcode == "NOERROR" and not cut else ()
    payload = encode_answer(query, rcode, records, truncated=cut)
    return (at_ms, server, Endpoint(CLIENT.address, port), payload)


def captured(*sent: Sent, name: str = "tap.pcap") -> Capture:
    """Return UDP packets as a capture."""
    frames = [(round(ms * MS), encode_udp(from_, to, payload)) for ms, from_, to, payload in sent]
    return parse(capture_bytes(frames), name=name)


def read(*sent: Sent, profile: Profile | None = PLAN) -> LookupTable:
    """Return what is read from UDP packets."""
    return read_lookups([captured(*sent)], NAMES, profile)


def servers(table: LookupTable) -> list[list[str]]:
    """Return the servers asked for each lookup, in order."""
    hops = table.hops
    return [
        [hops.servers[hops.server[row]] for row in table.hops_of(at)] for at in range(len(table))
    ]


def events(table: LookupTable) -> list[Event | None]:
    """Return what came of each hop."""
    return [EVENTS[event] for event in table.hops.event]


def frames(table: LookupTable, row: int = 0) -> list[int]:
    """Return the frames of a hop's sends, and of its answer."""
    hops = table.hops
    return [*hops.send_frame[hops.sends(row)].tolist(), int(hops.answer_frame[row])]


def whys(table: LookupTable) -> list[tuple[int, str]]:
    """Return frame and reason of each message in no row."""
    return [(odd.cite.frame, odd.why) for odd in table.odd]


def with_profile(**parts: object) -> Profile:
    """Return the plan's profile with other groups."""
    return at_will(PLAN, **parts)


def reacting(event: Event, then: Then, *, counts: bool = False) -> Profile:
    """Return the plan's profile with another reaction."""
    return with_profile(reactions={**PLAN.reactions, event: Reaction(then, counts)})


SENDING_NEW_IDS = with_profile(
    retransmission=PLAN.retransmission.__class__(
        (0, 500 * MS, 1500 * MS), 2 * SECOND, IdScope.SEND, IdScope.ALWAYS
    )
)
SENDING_ONE_ID = with_profile(
    retransmission=PLAN.retransmission.__class__(
        (0, 500 * MS), 2 * SECOND, IdScope.SERVER, IdScope.ALWAYS
    )
)


def test_columns_say_what_was_asked_and_answered() -> None:
    """Every column of a query with a calling URI and its answer."""
    table = read(sourced(0, TWO, 77), a(3, TWO, 77))
    hops = table.hops

    assert (hops.servers, hops.clients) == (("enum1", "enum2", "enum3"), (CLIENT.address,))
    assert hops.questions == (NUMBERS[0].enum_domain(),)
    assert (hops.sources[0], hops.sources[hops.source[0]]) == ("", SOURCE)
    row = (hops.server[0], hops.watch[0], hops.qtype[0], hops.port[0], hops.tcp[0], hops.probe[0])
    assert row == (1, 0, 35, CLIENT.port, False, False)
    assert (hops.send_ns.tolist(), hops.send_frame.tolist()) == ([START_NS], [1])
    assert (hops.send_id.tolist(), events(table)) == ([77], [None])
    assert (hops.answered_ns.tolist(), hops.answer_frame.tolist()) == ([START_NS + 3 * MS], [2])
    assert (hops.late_ns.tolist(), hops.late_frame.tolist()) == ([NOT_SEEN], [0])
    assert (hops.edns_bytes[0], hops.source_code[0], hops.source_framing[0]) == (1220, 4, 0)
    assert (table.odd, len(table)) == ((), 1)


def test_watch_says_what_the_capture_is() -> None:
    """Its name, whose traffic it has, and from when to when."""
    (watch,) = read(q(0, ONE), a(3, ONE), q(10, THREE, 2)).hops.watches

    assert (watch.name, watch.servers) == ("tap.pcap", ("enum1", "enum3"))
    assert (watch.begins_ns, watch.ends_ns) == (START_NS, START_NS + 10 * MS)
    assert (watch.ahead_ns, watch.unsure_ns, watch.dropped, watch.cut) == (0, 0, None, "")


def test_capture_that_is_cut_says_so() -> None:
    """What was read before stays."""
    frame = encode_udp(CLIENT, ONE, question())
    data = encode_file_header(LINKTYPE_RAW) + encode_record(START_NS, frame)
    table = read_lookups([parse(data + b"\1" * 9, name="cut.pcap")], NAMES, PLAN)

    assert (len(table), "cut inside" in table.hops.watches[0].cut) == (1, True)


def test_nothing_gives_an_empty_table() -> None:
    """No capture, an empty one, and one of other traffic."""
    other = (0, CLIENT, Endpoint("203.0.113.9", 53), question())

    for table in (read_lookups([], NAMES, PLAN), read(), read(other), read(other, profile=None)):
        assert (len(table), len(table.hops), table.odd_count) == (0, 0, 0)


def test_retransmissions_are_one_hop() -> None:
    """Same id, question and ends."""
    table = read(q(0, ONE), q(1000, ONE), q(1500, ONE), a(1600, ONE))

    assert (servers(table), frames(table)) == ([["enum1"]], [1, 2, 3, 4])


def test_retransmission_that_crosses_the_answer_is_no_new_hop() -> None:
    """At the server's interface the answer can leave just before the repeated query comes."""
    table = read(q(0, ONE), a(999, ONE), q(1001, ONE), a(1102, ONE))

    assert (len(table), frames(table)) == (1, [1, 3, 2])
    assert table.hops.late_frame.tolist() == [4]


def test_same_id_after_the_time_out_is_another_call() -> None:
    """Ids come round again."""
    assert servers(read(q(0, ONE), a(3, ONE), q(2001, ONE), a(2004, ONE))) == [["enum1"]] * 2


def test_unanswered_question_is_repeated_for_twice_the_time_out() -> None:
    """Beyond, it is another call's, however often it comes."""
    table = read(*(q(at * 1500, ONE) for at in range(6)))

    assert [len(frames(table, row)) - 1 for row in range(len(table.hops))] == [3, 3]


@pytest.mark.parametrize("second", [q(10, ONE, 2), q(10, ONE, port=40_001)], ids=["id", "port"])
def test_another_query_is_another_lookup(second: Sent) -> None:
    """Two calls to one number at one server, at the same time."""
    assert servers(read(q(0, ONE), second)) == [["enum1"], ["enum1"]]


def test_new_id_for_each_send_is_one_hop_where_the_profile_says_so() -> None:
    """An answer to any of the sends is the hop's."""
    sent = (q(0, ONE), q(510, ONE, 2), a(515, ONE, 1), q(9000, ONE, 3), a(9001, ONE, 3))
    table = read(*sent, profile=SENDING_NEW_IDS)

    assert (servers(table), frames(table)) == ([["enum1"], ["enum1"]], [1, 2, 3])
    assert table.hops.send_id.tolist() == [1, 2, 3]


def test_new_id_off_the_schedule_is_another_call() -> None:
    """As is one after the answer."""
    table = read(q(0, ONE), q(250, ONE, 2), profile=SENDING_NEW_IDS)
    answered = read(q(0, ONE), a(3, ONE), q(500, ONE, 2), profile=SENDING_NEW_IDS)

    assert servers(table) == servers(answered) == [["enum1"], ["enum1"]]


def test_one_id_for_everything_is_told_by_schedule_and_answers() -> None:
    """The same octets again: a retransmission is due then, another call is not."""
    rules = PLAN.retransmission.__class__((0, 500 * MS), SECOND, IdScope.ALWAYS, IdScope.ALWAYS)
    sent = (q(0, ONE), a(3, ONE), q(200, ONE), q(700, ONE), a(703, ONE))
    table = read(*sent, profile=with_profile(retransmission=rules))

    assert servers(table) == [["enum1"], ["enum1"]]
    assert [frames(table, 0), frames(table, 1)] == [[1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("second_ms", "sends"), [(0.004, 1), (19, 1), (21, 2)], ids=["at once", "soon", "not soon"]
)
def test_packet_seen_twice_is_sent_once(second_ms: float, sends: int) -> None:
    """A capture on all interfaces shows each packet twice; a network can double one."""
    table = read(q(0, ONE), q(second_ms, ONE), a(30, ONE), a(30 + second_ms, ONE))

    assert len(frames(table)) - 1 == sends
    assert (table.hops.late_ns[0] == NOT_SEEN) == (sends == 1)


def test_packet_with_the_same_ip_id_may_be_doubled_later() -> None:
    """Another id of IP is another packet, however soon."""
    frame = bytearray(encode_udp(CLIENT, ONE, question()))
    packets = []
    for ms, ip_id in ((0, 7), (1, 8), (90, 8)):
        frame[4:6] = ip_id.to_bytes(2)
        packets.append((ms * MS, bytes(frame)))
    table = read_lookups([parse(capture_bytes(packets))], NAMES, PLAN)

    assert frames(table) == [1, 2, 0]


def test_answer_seen_just_before_its_query_is_its_answer() -> None:
    """Queues of an interface, or merged captures, can swap the two."""
    table = read(a(0, ONE), q(1, ONE))

    assert (events(table), frames(table), table.odd) == ([None], [2, 1], ())


def test_records_out_of_order_are_read_by_their_times() -> None:
    """A merged file need not be sorted."""
    table = read(q(10, TWO, 2), q(0, ONE), a(13, TWO, 2), a(3, ONE))

    assert [frames(table, 0), frames(table, 1)] == [[2, 4], [1, 3]]


@pytest.mark.parametrize(
    ("rcode", "event"),
    [
        ("NXDOMAIN", Event.NXDOMAIN),
        ("SERVFAIL", Event.SERVFAIL),
        ("REFUSED", Event.REFUSED),
        ("FORMERR", Event.FORMERR),
        ("NOTIMP", Event.NOTIMP),
        ("NOTAUTH", Event.OTHER_RCODE),
    ],
)
def test_event_is_the_return_code(rcode: str, event: Event) -> None:
    """What the answer is to an SBC."""
    assert events(read(q(0, ONE), a(3, ONE, 1, rcode))) == [event]


def test_event_of_no_records_and_of_truncation() -> None:
    """No error without a record, and an answer that says that it is cut."""
    empty = (3, ONE, CLIENT, encode_answer(parse_query(question())))

    assert events(read(q(0, ONE), empty)) == [Event.NODATA]
    assert events(read(q(0, ONE), a(3, ONE, cut=True))) == [Event.TRUNCATED]


def garbled(at_ms: float, server: Endpoint, message_id: int = 1) -> Sent:
    """Return an answer of which only the id can be read."""
    return (at_ms, server, CLIENT, message_id.to_bytes(2) + b"\xff" * 20)


def test_garbled_answer_is_an_event_with_a_time() -> None:
    """It has the right id, and then nothing that can be read."""
    table = read(q(0, ONE), garbled(3, ONE))

    assert (events(table), frames(table)) == ([Event.GARBLED], [1, 2])
    assert table.hops.answered_ns.tolist() == [START_NS + 3 * MS]


def test_answer_after_a_garbled_one_counts_where_waiting_goes_on() -> None:
    """The garbled one is told apart."""
    sent = (q(0, ONE), garbled(3, ONE), q(1000, ONE), a(1003, ONE))
    waits = read(*sent, profile=reacting(Event.GARBLED, Then.IGNORE))
    ends = read(*sent, profile=reacting(Event.GARBLED, Then.FINAL))

    assert (events(waits), frames(waits)) == ([None], [1, 3, 4])
    assert [frame for frame, _ in whys(waits)] == [2]
    assert (events(ends), ends.hops.late_frame.tolist()) == ([Event.GARBLED], [4])


@pytest.mark.parametrize(
    ("stray", "why"),
    [
        (a(3, ONE, 9), "wrong id"),
        (a(3, TWO), "no query with this id, question and port"),
        (a(3, ONE, port=40_009), "no query with this id, question and port"),
        (
            (3, ONE, CLIENT, encode_answer(parse_query(question(NUMBERS[1])), "NXDOMAIN")),
            "wrong question",
        ),
        (
            (3, ONE, CLIENT, encode_answer(parse_query(question(qtype="TXT")), "NXDOMAIN")),
            "wrong question",
        ),
    ],
    ids=["id", "server", "port", "number", "type"],
)
def test_answer_that_matches_no_query_is_odd(stray: Sent, why: str) -> None:
    """Id, question, both addresses and both ports must be those of a query (RFC 5452 s9.1)."""
    table = read(q(0, ONE), stray)

    assert (events(table), whys(table)) == ([Event.SILENCE], [(2, why)])


def test_event_stays_what_came_after_a_wrong_answer() -> None:
    """The wrong one is noted, the right one counts."""
    table = read(q(0, ONE), a(3, ONE, 9), a(5, ONE))

    assert (events(table), whys(table)) == ([None], [(2, "wrong id")])


def test_error_that_repeats_no_question_is_matched_by_its_id() -> None:
    """A FORMERR may be a header alone."""
    refusal = (3, ONE, CLIENT, bytes((0, 1, 0x80, 1)) + bytes(8))

    assert events(read(q(0, ONE), refusal)) == [Event.FORMERR]


def test_what_cannot_be_read_is_odd() -> None:
    """Whoever sent it, with frame, direction, server and reason."""
    table = read((0, CLIENT, ONE, b"\0" * 5), (1, TWO, CLIENT, b"\xff" * 30), (2, ONE, CLIENT, b""))
    one, two, three = table.odd

    assert (one.cite.frame, one.client, one.server, one.from_client) == (
        1,
        CLIENT.address,
        "enum1",
        True,
    )
    assert (two.cite.frame, two.server, two.from_client, three.from_client) == (
        2,
        "enum2",
        False,
        False,
    )
    assert all(odd.why for odd in table.odd)


def cut_to(frame: bytes, size: int) -> bytes:
    """Return a record with the start of a frame, as a snapshot length leaves it."""
    record = bytearray(encode_record(START_NS + 3 * MS, frame[:size]))
    record[12:16] = len(frame).to_bytes(4, "little")
    return bytes(record)


def test_answer_cut_by_the_capture_says_what_its_header_says() -> None:
    """A snapshot length is the tester's doing; without the question nothing is said."""
    head = encode_file_header(LINKTYPE_RAW) + encode_record(START_NS, encode_udp(*q(0, ONE)[1:]))
    answer = encode_udp(*a(3, ONE)[1:])
    part = read_lookups([parse(head + cut_to(answer, 90))], NAMES, PLAN)
    less = read_lookups([parse(head + cut_to(answer, 45))], NAMES, PLAN)

    assert (events(part), part.odd) == ([None], ())
    assert events(less) == [Event.SILENCE]
    assert "not captured whole" in less.odd[0].why


def test_question_that_is_not_naptr_is_a_probe() -> None:
    """A health check is in no lookup."""
    table = read((0, CLIENT, ONE, question(qtype="NS")), q(1, ONE, 2))

    assert (table.hops.probe.tolist(), servers(table)) == ([True, False], [["enum1"]])


def test_name_that_the_profile_probes_with_is_a_probe() -> None:
    """A fixed number, and nobody's call."""
    name = NUMBERS[0].enum_domain()
    rules = PLAN.readmission.__class__(
        PLAN.readmission.by, 0, 10 * SECOND, 0, name.upper() + ".", "NAPTR"
    )
    table = read(q(0, ONE), profile=with_profile(readmission=rules))

    assert (table.hops.probe.tolist(), len(table)) == ([True], 0)


def test_number_that_the_profile_probes_with_is_a_probe_under_any_apex() -> None:
    """A profile does not know whose apex it is asked under."""
    rules = PLAN.readmission.__class__(
        PLAN.readmission.by, 0, 10 * SECOND, 0, str(NUMBERS[0]), "NAPTR"
    )
    table = read(q(0, ONE), profile=with_profile(readmission=rules))

    assert (table.hops.probe.tolist(), len(table)) == ([True], 0)


def test_apex_is_a_probe_of_an_sbc_that_probes() -> None:
    """Ribbon asks for the domain itself."""
    probe = (0, CLIENT, ONE, encode_query(9, "e164.arpa"))
    table = read(probe, q(5, ONE), profile=shipped_profile("ribbon"))

    assert (table.hops.probe.tolist(), len(table)) == ([True, False], 1)


def test_name_that_recurs_at_a_fixed_interval_is_a_probe_when_nothing_is_declared() -> None:
    """One that comes at any time is none."""
    probes = [(at * 1000, CLIENT, ONE, encode_query(at, "alive.example")) for at in range(5)]
    calls = [(at * at * 900, CLIENT, ONE, encode_query(at, "b.example")) for at in range(5)]
    table = read(*probes, *calls, profile=None)

    assert table.hops.probe.sum() == 5
    assert len(table) == 5


def test_silence_then_the_next_server_is_one_lookup() -> None:
    """A failover repeats the question with another id to another server."""
    sent = (q(0, ONE), q(1000, ONE), q(2000, TWO, 2), q(4000, THREE, 3), a(4003, THREE, 3))
    table = read(*sent)

    assert servers(table) == [["enum1", "enum2", "enum3"]]
    assert events(table) == [Event.SILENCE, Event.SILENCE, None]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NXDOMAIN"])
def test_error_that_should_be_final_and_is_not_is_one_lookup(rcode: str) -> None:
    """An SBC that asks on within a millisecond does it of its own accord."""
    sent = [
        one
        for at in range(3)
        for one in (
            q(at * 5000, ONE, at),
            a(at * 5000 + 3, ONE, at, rcode),
            q(at * 5000 + 4, TWO, 100 + at),
            a(at * 5000 + 8, TWO, 100 + at),
        )
    ]

    assert servers(read(*sent)) == servers(read(*sent, profile=None)) == [["enum1", "enum2"]] * 3


def test_one_call_after_not_found_is_another_call() -> None:
    """Once is a coincidence."""
    assert len(read(q(0, ONE), a(3, ONE, 1, "NXDOMAIN"), q(4, TWO, 2))) == 2


def test_refused_port_then_the_next_server_is_one_lookup() -> None:
    """An SBC that is told "port unreachable" asks the next server within a millisecond."""
    assert servers(read(q(0, ONE), q(1, TWO, 2), a(4, TWO, 2))) == [["enum1", "enum2"]]


def test_next_server_while_the_first_is_still_asked_is_another_call() -> None:
    """The first query is sent again later: its call still waits."""
    sent = (q(0, ONE), q(20, TWO, 2), a(23, TWO, 2), q(1000, ONE), a(1003, ONE))

    assert servers(read(*sent)) == [["enum1"], ["enum2"]]


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_next_server_after_a_good_answer_is_another_call(rcode: str) -> None:
    """Also when the call is to the same number: an answered lookup is at its end."""
    sent = (q(0, ONE), a(3, ONE, 1, rcode), q(2000, TWO, 2), a(2003, TWO, 2))

    assert servers(read(*sent)) == [["enum1"], ["enum2"]]


def test_same_server_again_is_never_a_failover() -> None:
    """A call asks each server once; the second query is the next call's."""
    assert servers(read(q(0, ONE), q(2000, ONE, 2))) == [["enum1"], ["enum1"]]


def test_overlapping_calls_to_one_number_keep_their_own_failovers() -> None:
    """Two calls 300 ms apart, both to dead servers: what comes on time decides whose it is."""
    sent = (q(0, ONE, 1), q(300, TWO, 2), q(2000, THREE, 3), q(2300, ONE, 4), a(2303, ONE, 4))

    assert servers(read(*sent)) == [["enum1", "enum3"], ["enum2", "enum1"]]


def test_late_answer_leaves_the_server_silent() -> None:
    """It came when the next server was asked already."""
    table = read(q(0, ONE), q(2000, TWO, 2), a(2001, TWO, 2), a(2010, ONE, 1, "NXDOMAIN"))

    assert events(table) == [Event.SILENCE, None]
    assert table.hops.late_frame.tolist() == [4, 0]
    assert EVENTS[table.hops.late_event[0]] is Event.NXDOMAIN
    assert table.hops.answered_ns[0] == NOT_SEEN


def test_answer_long_after_the_time_out_is_late() -> None:
    """Half a time-out of grace: the SBC's own clock decides."""
    late, good = read(q(0, ONE), a(3001, ONE)), read(q(0, ONE), a(3000, ONE))

    assert (events(late), events(good)) == ([Event.SILENCE], [None])


def test_source_dropped_on_the_retry_is_the_same_lookup() -> None:
    """With a calling URI of somebody else it is another call."""
    dropped = read(sourced(0, ONE), sourced(2000, TWO, 2, source=""), a(2003, TWO, 2))
    other = sourced(2000, TWO, 2, source="sip:+16505550111@192.0.2.1")

    assert servers(dropped) == [["enum1", "enum2"]]
    assert servers(read(sourced(0, ONE), other)) == [["enum1"], ["enum2"]]


def test_source_that_fits_goes_before_one_that_was_dropped() -> None:
    """A call without a source at the same time is its own."""
    sent = (sourced(0, ONE), sourced(2000, TWO, 2, source=""), sourced(2001, TWO, 3))
    table = read(*sent)

    assert servers(table) == [["enum1", "enum2"], ["enum2"]]
    assert table.hops.send_id[table.hops_of(0)].tolist() == [1, 3]


def test_error_then_the_same_server_without_edns_is_one_lookup() -> None:
    """RFC 6891 section 7: FORMERR can mean that the server knows no EDNS."""
    profile = reacting(Event.FORMERR, Then.RETRY_WITHOUT_EDNS)
    sent = (sourced(0, ONE), a(3, ONE, 1, "FORMERR"), sourced(4, ONE, 2, ""), a(7, ONE, 2))

    assert servers(read(*sent, profile=profile)) == [["enum1", "enum1"]]


def libc(at: int, server: Endpoint, message_id: int = 7) -> Sent:
    """Return one of the queries of a resolver that keeps its id."""
    return q(at, server, message_id)


@pytest.mark.parametrize("profile", [shipped_profile("libc"), None], ids=["declared", "not"])
def test_second_round_with_the_same_id_is_four_hops(profile: Profile | None) -> None:
    """A resolver of the C library goes through its servers twice; silent, or with errors."""
    two = {ONE: "enum1", TWO: "enum2"}
    silent = [libc(at * 5000, (ONE, TWO)[at % 2]) for at in range(4)]
    errors = [
        one
        for at in range(4)
        for one in (
            libc(at * 2, (ONE, TWO)[at % 2]),
            a(at * 2 + 1, (ONE, TWO)[at % 2], 7, "SERVFAIL"),
        )
    ]
    for sent in (silent, errors):
        table = read_lookups([captured(*sent)], two, profile)
        assert servers(table) == [["enum1", "enum2"] * 2]


def tcp(source: Endpoint, to: Endpoint, payload: bytes) -> tuple[bytes, bytes]:
    """Return the segments that open a connection and carry *payload*."""
    opening = encode_tcp(source, to, b"", sequence=7, acknowledgement=0, flags=SYN)
    message = len(payload).to_bytes(2) + payload
    return opening, encode_tcp(source, to, message, sequence=8, acknowledgement=1, flags=PSH | ACK)


def truncating(server: str, query: object, now_ns: int) -> tuple[Reply, ...]:
    """Answer with "truncated" over UDP, and whole over TCP."""
    if server.startswith("tcp:"):
        return tuple(allowing(server, query, now_ns))  # type: ignore[arg-type]
    return (Reply(encode_answer(query, truncated=True)),)  # type: ignore[arg-type]


def test_truncated_answer_and_its_repetition_over_tcp_are_one_lookup() -> None:
    """The same server twice, the second time over TCP."""
    wire = Wire(sbc(CONFIG), truncating)
    wire.calls(3, SECOND)
    table = read_lookups([parse(wire.run().capture())], NAMES, PLAN)

    assert servers(table) == [["enum1"] * 2, ["enum2"] * 2, ["enum3"] * 2]
    assert table.hops.tcp[table.hops_of(0)].tolist() == [False, True]
    assert events(table)[:2] == [Event.TRUNCATED, None]


def test_repetition_over_tcp_may_have_a_new_id() -> None:
    """Some resolvers draw one."""
    packets = [
        (0, encode_udp(CLIENT, ONE, question())),
        (3 * MS, encode_udp(*a(3, ONE, cut=True)[1:])),
        *((4 * MS, frame) for frame in tcp(CLIENT, ONE, question(message_id=9))),
    ]
    table = read_lookups([parse(capture_bytes(packets))], NAMES, PLAN)

    assert servers(table) == [["enum1", "enum1"]]


def test_servers_may_have_ipv6_addresses() -> None:
    """The whole way: packets, matching, failover."""
    config = changed(CONFIG, servers=endpoints(2, ipv6=True))
    wire = Wire(
        sbc(config), Down({"enum1": (0, 3 * SECOND)}), client=Endpoint("2001:db8::10", 4000)
    )
    wire.calls(2, SECOND)
    names = {endpoint: name for name, endpoint in config.servers.items()}
    table = read_lookups([parse(wire.run().capture())], names, config.profile)

    assert servers(table) == [["enum1", "enum2"], ["enum2"]]
    assert table.hops.clients == ("2001:db8::10",)


def test_time_out_is_measured_where_none_is_declared() -> None:
    """Failovers that agree tell it, also against what is declared."""
    sent = [
        one
        for at in range(4)
        for one in (
            q(at * 40_000, ONE, at),
            q(at * 40_000 + 12_000, TWO, 50 + at),
            a(at * 40_000 + 12_003, TWO, 50 + at),
        )
    ]

    assert servers(read(*sent, profile=None)) == servers(read(*sent)) == [["enum1", "enum2"]] * 4


def test_letter_case_of_a_question_is_not_looked_at() -> None:
    """RFC 4343; a client may draw it at random (0x20)."""
    name = NUMBERS[0].enum_domain()
    query = encode_query(1, name.replace("e164.arpa", "E164.aRpA"))
    table = read((0, CLIENT, ONE, query), a(3, ONE))

    assert (events(table), table.hops.questions) == ([None], (name,))


def test_unusual_messages_are_read_all_the_same() -> None:
    """Options, trailing octets, records with a replacement: what is not quick is not lost."""
    name = NUMBERS[0].enum_domain()
    option = (10, b"12345678"), (4, SOURCE.encode())
    query = encode_query(1, name, edns=Edns(4096, options=option)) + b"\0"
    replaced = NaptrRecord(100, 10, "", "", "", "elsewhere.example.")
    answer = encode_answer(parse_query(query), records=(replaced,)) + b"\0\0"
    table = read((0, CLIENT, ONE, query), (2, ONE, CLIENT, answer))
    hops = table.hops

    assert (events(table), hops.sources[hops.source[0]], hops.edns_bytes[0]) == (
        [None],
        SOURCE,
        4096,
    )
    assert (hops.source_code[0], tuple(Framing)[hops.source_framing[0]]) == (4, Framing.RAW)


@pytest.mark.parametrize("behind", [b"", b"\0"], ids=["usual", "left to the slow reader"])
def test_time_to_live_is_the_least_of_an_answers_records(behind: bytes) -> None:
    """NAPTR records alone; an answer without any has none, and neither has silence."""
    query = question()
    many = [encode_answer(parse_query(query), records=(ALLOW,) * 2, ttl_s=one) for one in (60, 7)]
    tail = len(encode_answer(parse_query(query), records=(ALLOW,), ttl_s=7)) - len(query)
    mixed = many[0][:-tail] + many[1][-tail:]
    sent: list[Sent] = [q(0, ONE), (2, ONE, CLIENT, mixed + behind), q(9000, ONE, 2)]
    sent += [a(9002, ONE, 2, "NXDOMAIN"), q(20_000, TWO, 3)]

    assert read(*sent).hops.ttl_s.tolist() == [7, -1, -1]


@pytest.mark.parametrize("behind", [b"", b"\0"], ids=["usual", "left to the slow reader"])
def test_what_a_retransmission_has_otherwise_is_told(behind: bytes) -> None:
    """OPT record, caller, and letters of the name; what is the same is no difference."""
    name = NUMBERS[0].enum_domain()
    option, other = SourceOption(SOURCE), SourceOption("sip:+16505550101@192.0.2.1")
    first = encode_query(1, name, source=option, udp_payload_bytes=1220)
    sends = {
        0: first,
        OTHER_EDNS: encode_query(1, name, source=option, udp_payload_bytes=4096),
        OTHER_SOURCE: encode_query(1, name, source=other, udp_payload_bytes=1220),
        OTHER_EDNS | OTHER_SOURCE: encode_query(1, name),
        OTHER_LETTERS: first.replace(b"\4arpa", b"\4aRpa"),
    }
    for differs, again in sends.items():
        table = read((0, CLIENT, ONE, first + behind), (1000, CLIENT, ONE, again + behind))
        assert table.hops.resend_differs.tolist() == [differs]


def test_declared_clock_of_a_capture_is_taken() -> None:
    """And a name that is none of the captures' is refused."""
    capture = captured(q(0, ONE))
    table = read_lookups([capture], NAMES, PLAN, ahead_ns={"tap.pcap": 5 * SECOND})

    assert table.hops.send_ns.tolist() == [START_NS - 5 * SECOND]
    assert table.hops.watches[0].ahead_ns == 5 * SECOND
    with pytest.raises(InputError, match="no such capture"):
        read_lookups([capture], NAMES, PLAN, ahead_ns={"other.pcap": 1})


def hostile(count: int, kind: str) -> Iterable[Sent]:
    """Return many messages of one question."""
    query, answer = question()[2:], a(0, ONE)[3][2:]
    for at in range(count):
        ms, id_ = at / 1000, (at % 65_536).to_bytes(2)
        client = Endpoint(CLIENT.address, at % 65_536)
        match kind:
            case "one id":
                yield (ms, CLIENT, ONE, b"\0\1" + query)
            case "ports":
                yield (ms, client, (ONE, TWO, THREE)[at % 3], b"\0\1" + query)
            case "answers first":
                said = (
                    (ONE, CLIENT, id_ + answer) if at < count // 2 else (CLIENT, ONE, id_ + query)
                )
                yield (ms, *said)
            case _:
                yield (ms, ONE, CLIENT, at.to_bytes(4) + b"\xff" * 12)


@pytest.mark.parametrize("kind", ["one id", "ports", "answers first", "garbage"])
def test_hostile_captures_are_read_in_a_bounded_time(kind: str) -> None:
    """Work grows with the packets, not with their pairs."""
    sent = list(hostile(6000, kind))
    for profile in (PLAN, None):
        table = read(*sent, profile=profile)
        told = len(table.hops.send_ns) + np.count_nonzero(table.hops.answer_frame)
        assert told + table.odd_count <= 6000


@pytest.mark.parametrize(
    ("schedule_ms", "hops"), [((0, 500, 1500), 1), ((0, 250, 500), 3)], ids=["kept", "not kept"]
)
def test_undeclared_ids_are_joined_where_that_gives_the_schedule(
    schedule_ms: tuple[int, ...], hops: int
) -> None:
    """Half a schedule may be as many calls."""
    rules = PLAN.retransmission.__class__(
        tuple(ms * MS for ms in schedule_ms), 2 * SECOND, IdScope.SERVER, IdScope.ALWAYS
    )
    profile = replace(
        at_will(PLAN, retransmission=rules),
        unknown=frozenset({"retransmission.id_per"}),
        source={
            "selection": "t",
            "reactions": "t",
            "hold_down": "t",
            "readmission": "t",
            "all_down": "t",
            "cache": "t",
            "edns": "t",
            "source_name": "t",
            "naptr": "t",
            "retransmission.schedule_ns": "t",
            "retransmission.expire_ns": "t",
            "retransmission.port_per": "t",
        },
    )
    table = read(q(0, ONE), q(500, ONE, 2), q(1500, ONE, 3), profile=profile)

    assert len(table.hops) == hops


def test_ids_that_come_round_again_are_calls_where_there_are_many() -> None:
    """Some of 60 000 pairs of calls to one number within the time-out have one id."""
    query, answer = question()[2:], a(0, ONE)[3][2:]
    sent: list[Sent] = []
    for call in range(3000):
        ms, id_ = call * 25.0, (call if call % 500 != 20 else call - 20).to_bytes(2)
        sent += [(ms, CLIENT, ONE, id_ + query), (ms + 1, ONE, CLIENT, id_ + answer)]
    table = read(*sent, profile=SENDING_ONE_ID)

    assert len(table) == 3000


def test_question_again_after_an_answer_that_was_lost_is_one_hop() -> None:
    """Seen at the server, on schedule, and with few calls about."""
    table = read(q(0, ONE), a(1, ONE), q(500, ONE), a(501, ONE), profile=SENDING_ONE_ID)

    assert (len(table), frames(table)) == (1, [1, 3, 2])
