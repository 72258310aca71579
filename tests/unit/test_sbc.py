"""The simulated SBC: what it sends when, whom it believes, and what it decides."""

from dataclasses import replace

import pytest

from enumtest.dns.message import parse_query
from enumtest.dns.source_uri import source_uri
from enumtest.naptr.naptr import NaptrRecord
from enumtest.profiles.profile_groups import Event, Selection, SelectionRules
from enumtest.profiles.profile_overrides import COUNTABLE
from enumtest.sbc.decision import Decision
from enumtest.sbc.open_call import Asked
from enumtest.sbc.sbc import CallDecided
from harness.errors import InputError
from tests.enum_wire import (
    ALLOW,
    MS,
    REDIRECT,
    SECOND,
    SOURCE,
    TERMINATE,
    changed,
    endpoints,
    sbc,
)
from tests.sbc_asked import (
    CALLED,
    CONFIG,
    ONE,
    SERVERS,
    THREE,
    TWO,
    answer,
    call,
    reply,
    sends,
    silence,
)


def test_query_asks_for_the_number_under_the_apex() -> None:
    """One NAPTR question, to the first server; nothing else is sent or decided."""
    box = sbc(changed(CONFIG, apex="enum.example.net"))
    query = call(box)
    parsed = parse_query(query.payload)

    assert (query.server, query.tcp) == (ONE, False)
    assert (parsed.qname, parsed.qtype) == (CALLED.enum_domain("enum.example.net"), "NAPTR")
    assert (parsed.edns, source_uri(parsed), box.next_event()) == (None, "", None)


def test_query_carries_the_calling_number_when_set_to() -> None:
    """The EDNS option holds the caller's URI, at every server asked."""
    box = sbc(changed(CONFIG, source_code=4))
    queries = [call(box)]
    box.handle_timer(CONFIG.profile.timeout_ns)
    queries += sends(box)

    assert [source_uri(parse_query(query.payload)) for query in queries] == [SOURCE, SOURCE]


def test_retransmissions_share_the_timeout_evenly() -> None:
    """4 s and three retransmissions: sent at 0, 1, 2 and 3 s, given up at 4 s."""
    box = sbc(CONFIG)
    first = call(box)
    sent = silence(box, 3_999 * MS)

    assert sent == [(1 * SECOND, ONE), (2 * SECOND, ONE), (3 * SECOND, ONE)]
    assert silence(box, 4 * SECOND) == [(4 * SECOND, TWO)]
    assert first.server == ONE


def test_retransmission_is_the_same_packet() -> None:
    """Same id and question: a server can see that it was asked already."""
    box = sbc(CONFIG)
    first = call(box)
    box.handle_timer(1 * SECOND)

    assert sends(box) == [first]


def test_without_retransmissions_there_is_one_send() -> None:
    """Zero is a count like any other."""
    box = sbc(changed(CONFIG, retransmissions=0))
    call(box)

    assert silence(box, 4 * SECOND) == [(4 * SECOND, TWO)]


def test_late_timer_sends_once_and_is_due_again_later() -> None:
    """A host that was busy for two gaps does not send a burst."""
    box = sbc(CONFIG)
    call(box)
    box.handle_timer(2_500 * MS)

    assert len(sends(box)) == 1
    assert box.next_timer() == 3 * SECOND


def test_early_timer_does_nothing() -> None:
    """A timer handled before it is due sends nothing and changes nothing."""
    box = sbc(CONFIG)
    call(box)
    box.handle_timer(1 * SECOND - 1)

    assert (sends(box), box.next_timer()) == ([], 1 * SECOND)


def test_silent_servers_are_asked_one_after_the_other_then_the_call_goes_on() -> None:
    """Each once, each for its time; the call that nobody answered is decided without ENUM."""
    box = sbc(changed(CONFIG, retransmissions=0))
    call(box)
    sent = silence(box, 60 * SECOND)
    decided = box.next_event()

    assert sent == [(4 * SECOND, TWO), (8 * SECOND, THREE)]
    assert decided == CallDecided(
        call=1,
        number=CALLED,
        decision=Decision.NO_SERVER,
        uri="",
        asked=tuple(Asked(name, "silence", 4 * SECOND) for name in SERVERS),
        delay_ns=12 * SECOND,
    )
    assert (box.next_event(), box.next_timer()) == (None, None)


def test_call_with_every_server_held_is_decided_at_once() -> None:
    """No query, no delay (plan B.3.6)."""
    box = sbc(CONFIG)
    call(box)
    silence(box, 12 * SECOND)
    box.next_event()
    box.place_call(CALLED, SOURCE, 13 * SECOND)
    decided = box.next_event()

    assert decided is not None
    assert (decided.decision, decided.asked, decided.delay_ns) == (Decision.NO_SERVER, (), 0)
    assert sends(box) == []


def test_silent_server_is_asked_again_when_its_hold_down_is_over() -> None:
    """30 s after it was given up, not after it was asked."""
    box = sbc(changed(CONFIG, servers=endpoints(1)))
    call(box)
    silence(box, 4 * SECOND)
    box.place_call(CALLED, SOURCE, 34 * SECOND - 1)
    held = sends(box)
    box.place_call(CALLED, SOURCE, 34 * SECOND)

    assert (held, len(sends(box))) == ([], 1)


@pytest.mark.parametrize(
    ("records", "decision"),
    [
        ((ALLOW,), Decision.ALLOW),
        ((TERMINATE,), Decision.TERMINATE),
        ((REDIRECT,), Decision.REDIRECT),
        ((), Decision.NO_INSTRUCTION),
        ((replace(ALLOW, services="E2U+void:http"),), Decision.NO_INSTRUCTION),
        ((replace(ALLOW, regexp="!^(.*)$!nonsense!"),), Decision.UNCLASSIFIED),
        ((replace(TERMINATE, order=200), ALLOW), Decision.ALLOW),
    ],
)
def test_answer_decides_the_call(records: tuple[NaptrRecord, ...], decision: Decision) -> None:
    """The first usable record by order; none usable means as dialled."""
    box = sbc(CONFIG)
    query = call(box)
    decided = answer(box, query, reply(query, "NOERROR", *records))

    assert decided is not None
    assert decided.decision is decision
    assert (decided.asked, decided.delay_ns) == ((Asked("enum1", "NOERROR", MS),), MS)


def test_unknown_number_is_an_answer() -> None:
    """NXDOMAIN: the call goes on as dialled, nobody else is asked, the server stays healthy."""
    box = sbc(changed(CONFIG, failures=frozenset(COUNTABLE)))
    query = call(box)
    decided = answer(box, query, reply(query, "NXDOMAIN"))
    turns = [call(box, SECOND).server for _ in range(3)]

    assert decided is not None
    assert decided.decision is Decision.NO_INSTRUCTION
    assert turns == [TWO, THREE, ONE]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_error_that_counts_fails_over_at_once(rcode: str) -> None:
    """The next server is asked without waiting, and the first is held."""
    box = sbc(changed(CONFIG, failures=frozenset({Event(rcode)})))
    query = call(box)
    decided = answer(box, query, reply(query, rcode))
    (second,) = sends(box)
    turns = [call(box, SECOND).server for _ in range(3)]

    assert (decided, second.server) == (None, TWO)
    assert turns == [THREE, TWO, THREE]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_error_that_does_not_count_is_an_answer_without_instruction(rcode: str) -> None:
    """SBCs differ: this one was set to count silence only."""
    box = sbc(CONFIG)
    query = call(box)
    decided = answer(box, query, reply(query, rcode))

    assert decided is not None
    assert (decided.decision, decided.asked[0].result) == (Decision.NO_INSTRUCTION, rcode)
    assert sends(box) == []


def test_silence_that_does_not_count_fails_over_without_a_hold_down() -> None:
    """The next call is free to ask the silent server again."""
    box = sbc(changed(CONFIG, failures=frozenset(), retransmissions=0))
    call(box)
    silence(box, 12 * SECOND)

    assert call(box, 12 * SECOND).server == ONE


@pytest.mark.parametrize("selection", [Selection.ROUND_ROBIN, Selection.HUNT])
def test_without_a_hold_down_a_call_still_asks_each_server(selection: Selection) -> None:
    """A client with no memory between calls, as a C library resolver, fails over all the same."""
    box = sbc(changed(CONFIG, hold_down_ns=0, retransmissions=0, selection=selection))
    call(box)

    assert [server for _, server in silence(box, 12 * SECOND)] == [TWO, THREE]


def test_hunting_without_hold_down_begins_at_the_dead_server_again() -> None:
    """So does a resolver that forgets: every call pays the time-out."""
    box = sbc(changed(CONFIG, hold_down_ns=0, selection=Selection.HUNT))
    call(box)
    silence(box, 12 * SECOND)

    assert call(box, 13 * SECOND).server == ONE


def test_overlapping_calls_are_kept_apart() -> None:
    """Two calls to one number: each takes a turn, and each its own answer."""
    box = sbc(CONFIG)
    one, two = call(box), call(box)
    second = answer(box, two, reply(two, "NOERROR", TERMINATE))
    first = answer(box, one, reply(one, "NOERROR", ALLOW))

    assert (one.server, two.server) == (ONE, TWO)
    assert first is not None
    assert second is not None
    assert (second.call, second.decision) == (2, Decision.TERMINATE)
    assert (first.call, first.decision) == (1, Decision.ALLOW)


def test_pattern_that_is_refused_is_passed_over() -> None:
    """An engine that refuses one record's pattern lets the next record decide."""
    box = sbc(CONFIG)
    query = call(box)
    hostile = replace(TERMINATE, order=1, regexp="!(((a*)*)*)*!sip:x@blocked.invalid!")
    decided = answer(box, query, reply(query, "NOERROR", hostile, ALLOW))

    assert decided is not None
    assert decided.decision is Decision.ALLOW


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"servers": {}}, "servers", {}),
        ({"retransmissions": -1}, "retransmission.schedule_ns", ()),
        ({"timeout_ns": 3}, "retransmission.schedule_ns", (0, 0, 1, 2)),
        ({"hold_down_ns": -1}, "hold_down.stages.0.length_ns", -1),
    ],
)
def test_configuration_that_cannot_work_is_refused(
    given: dict[str, object], field: str, value: object
) -> None:
    """The field is named; with a time-out of 3 ns three retransmissions have no gap."""
    with pytest.raises(InputError) as caught:
        changed(CONFIG, **given)

    assert (caught.value.field, caught.value.value) == (field, value)


def test_weights_are_one_for_each_server() -> None:
    """A proportional choice among three servers needs three weights, or none."""
    selection = SelectionRules(
        Selection.PROPORTIONAL, failover_takes_turn=True, skipped_takes_turn=False, weights=(2, 1)
    )
    with pytest.raises(InputError) as caught:
        changed(CONFIG, profile=replace(CONFIG.profile, selection=selection))

    assert caught.value.field == "profile.selection.weights"
