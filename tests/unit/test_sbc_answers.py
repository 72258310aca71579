"""Whom the simulated SBC believes: answers that count, come late, or are no answers."""

from dataclasses import replace

import pytest

from enumtest.dns.message import encode_answer, encode_query, encode_refusal, parse_query
from enumtest.dns.wire import parse_header
from enumtest.profiles.profile_overrides import COUNTABLE
from enumtest.sbc.decision import Decision
from harness.packets.frame import Endpoint
from tests.enum_wire import (
    ALLOW,
    MS,
    NUMBERS,
    SECOND,
    SOURCE,
    TERMINATE,
    changed,
    endpoints,
    question,
    sbc,
)
from tests.sbc_asked import (
    CALLED,
    CONFIG,
    ONE,
    TWO,
    answer,
    call,
    reply,
    sends,
    silence,
)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        encode_answer(parse_query(question(message_id=0)), "NXDOMAIN"),
        question(),
        encode_refusal(parse_header(question()), "FORMERR"),
    ],
)
def test_what_answers_no_open_query_is_ignored(payload: bytes) -> None:
    """Octets, another id, a query, an answer without a question: the SBC goes on waiting."""
    box = sbc(changed(CONFIG, failures=frozenset(COUNTABLE)))
    query = call(box)
    good = reply(query, "NOERROR", ALLOW)

    assert answer(box, query, payload) is None
    assert (sends(box), box.next_timer()) == ([], 1 * SECOND)
    assert answer(box, query, good) is not None


@pytest.mark.parametrize(
    ("number", "qtype"), [(CALLED, "TXT"), (NUMBERS[1], "NAPTR"), (CALLED, "A")]
)
def test_answer_to_another_question_is_ignored(number: object, qtype: str) -> None:
    """The right id is not enough: name and type must be those asked for."""
    box = sbc(CONFIG)
    query = call(box)
    message_id = parse_query(query.payload).id
    other = encode_query(message_id, number.enum_domain(), qtype=qtype)  # type: ignore[attr-defined]

    assert answer(box, query, encode_answer(parse_query(other), "NXDOMAIN")) is None


@pytest.mark.parametrize("server", [TWO, Endpoint(ONE.address, 5353), Endpoint("192.0.2.9", 53)])
def test_answer_from_elsewhere_is_ignored(server: Endpoint) -> None:
    """Address and port are those of the server asked."""
    box = sbc(CONFIG)
    query = call(box)
    box.receive(reply(query, "NXDOMAIN"), server, MS)

    assert box.next_event() is None


def test_case_of_the_name_does_not_matter() -> None:
    """DNS names are compared without case; the apex may be written either way, with a dot."""
    box = sbc(changed(CONFIG, apex="E164.ARPA."))
    query = call(box)
    payload = reply(query, "NXDOMAIN").replace(b"E164", b"e164").replace(b"ARPA", b"Arpa")

    assert answer(box, query, payload) is not None


def test_second_answer_is_ignored() -> None:
    """A decided call stays decided."""
    box = sbc(CONFIG)
    query = call(box)
    answer(box, query, reply(query, "NOERROR", ALLOW))

    assert answer(box, query, reply(query, "NOERROR", TERMINATE)) is None


def test_late_answer_does_not_count() -> None:
    """After the failover only the second server's answer decides."""
    box = sbc(changed(CONFIG, retransmissions=0))
    first = call(box)
    box.handle_timer(4 * SECOND)
    (second,) = sends(box)

    assert answer(box, first, reply(first, "NOERROR", TERMINATE), 5 * SECOND) is None
    decided = answer(box, second, reply(second, "NOERROR", ALLOW), 5 * SECOND)
    assert decided is not None
    assert decided.decision is Decision.ALLOW
    assert [asked.result for asked in decided.asked] == ["silence", "NOERROR"]


def test_late_answer_does_not_end_the_hold_down() -> None:
    """A server that answers too slowly is no use to the next call either."""
    box = sbc(changed(CONFIG, servers=endpoints(1)))
    query = call(box)
    silence(box, 4 * SECOND)
    answer(box, query, reply(query), 5 * SECOND)
    box.place_call(CALLED, SOURCE, 6 * SECOND)

    assert sends(box) == []


def test_answer_to_another_open_call_ends_the_hold_down() -> None:
    """The server gave one call up to silence and answered the next: it lives."""
    box = sbc(changed(CONFIG, servers=endpoints(1)))
    call(box)
    second = call(box, 3_900 * MS)
    box.handle_timer(4 * SECOND)
    box.next_event()
    answer(box, second, reply(second), 4_100 * MS)

    assert call(box, 5 * SECOND).server == ONE


def test_truncated_answer_is_asked_for_again_over_tcp() -> None:
    """The same query to the same server, no retransmission over UDP, and one time-out for both."""
    box = sbc(CONFIG)
    query = call(box)
    decided = answer(box, query, reply(query, truncated=True), 500 * MS)

    assert (decided, sends(box)) == (None, [replace(query, tcp=True)])
    assert silence(box, 3_999 * MS) == []
    assert box.next_timer() == 4 * SECOND
    decided = answer(box, query, reply(query, "NOERROR", ALLOW), SECOND)
    assert decided is not None
    assert [asked.server for asked in decided.asked] == ["enum1"]


def test_silence_over_tcp_fails_over() -> None:
    """A server that says "truncated" and has no TCP is given up like a silent one."""
    box = sbc(CONFIG)
    query = call(box)
    answer(box, query, reply(query, truncated=True))
    sends(box)

    assert silence(box, 4 * SECOND) == [(4 * SECOND, TWO)]


def test_truncated_again_over_tcp_is_no_reason_to_ask_a_third_time() -> None:
    """A server that truncates everything can't keep the SBC busy."""
    box = sbc(CONFIG)
    query = call(box)
    for _ in range(3):
        answer(box, query, reply(query, truncated=True))

    assert len(sends(box)) == 1


def test_truncation_is_forgotten_at_the_next_server() -> None:
    """Each server may send a truncated answer once."""
    box = sbc(CONFIG)
    query = call(box)
    answer(box, query, reply(query, truncated=True))
    box.handle_timer(4 * SECOND)
    second = sends(box)[-1]
    answer(box, second, reply(second, truncated=True), 5 * SECOND)

    assert sends(box) == [replace(second, tcp=True)]
