"""What SBCs differ in beyond the timers: each reading is a value of the profile that has effect."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from enumtest.dns.message import Edns, encode_answer, parse_query
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import VoidMeaning
from enumtest.profiles.profile_groups import (
    AllDown,
    Event,
    IdScope,
    InFlight,
    Reaction,
    ReadmitBy,
    Scope,
    Selection,
    Share,
    Stage,
    Then,
)
from enumtest.profiles.profiles import Profile
from enumtest.sbc.decision import Decision
from enumtest.sbc.pool import ServerPool
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc, SbcConfig
from tests.enum_wire import (
    ALLOW,
    FIXED,
    MS,
    NUMBERS,
    SECOND,
    SOURCE,
    TERMINATE,
    at_will,
    endpoints,
    sbc,
)
from tests.sbc_asked import CALLED, ONE, THREE, TWO, call, reply, sends, silence

HOLD = 30 * SECOND
ALONE = {"schedule_ns": (0,), "expire_ns": 2 * SECOND}  # one send a server


def profile(**groups: Mapping[str, Any] | AllDown) -> Profile:
    """Return the plan's profile with fields of its groups changed; the sources are the test."""
    parts: dict[str, Any] = {}
    for name, values in groups.items():
        old = getattr(FIXED, name)
        if name == "reactions":
            parts[name] = {**old, **values}  # type: ignore[dict-item]
        elif isinstance(values, AllDown):
            parts[name] = values
        else:
            parts[name] = replace(old, **values)
    return at_will(FIXED, **parts)


def stage(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - a field of a stage
    """Return the hold-down with its one stage changed."""
    return {"stages": (replace(FIXED.hold_down.stages[0], **values),)}


def box_of(size: int = 3, **groups: Mapping[str, Any] | AllDown) -> Sbc:
    """Return an SBC with fields of the plan's profile changed."""
    return sbc(SbcConfig(endpoints(size), profile(**{"retransmission": ALONE} | groups)))


def event_of(box: Sbc) -> CallDecided:
    """Return the decision that is there."""
    event = box.next_event()
    assert event is not None
    return event


def give_up(box: Sbc, now_ns: int = 0) -> Outgoing:
    """Let the server whose turn it is fail, the next one answer; return the first query."""
    first = call(box, now_ns)
    box.handle_timer(now_ns + 2 * SECOND)
    (second,) = sends(box)
    box.receive(reply(second, "NOERROR", ALLOW), second.server, now_ns + 2 * SECOND)
    assert event_of(box).decision is Decision.ALLOW
    return first


def turns(box: Sbc, count: int, now_ns: int) -> list[int]:
    """Return the numbers of the servers that so many calls are sent to."""
    places = {endpoint: at for at, endpoint in enumerate(box.config.servers.values(), 1)}
    return [places[call(box, now_ns).server] for _ in range(count)]


@pytest.mark.parametrize(("takes", "expected"), [(True, [3, 2, 3]), (False, [2, 3, 2])])
def test_failover_takes_a_turn_or_not(takes: bool, expected: list[int]) -> None:
    """Server 1 is given up and 2 asked: the next call goes behind 2, or has the turn of 2."""
    box = box_of(selection={"failover_takes_turn": takes})
    give_up(box)

    assert turns(box, 3, 3 * SECOND) == expected


@pytest.mark.parametrize(
    ("takes", "share", "expected"),
    [
        (False, Share.NEXT, [3, 1, 3, 1, 3, 1]),
        (True, Share.NEXT, [3, 3, 1, 3, 3, 1]),
        (True, Share.FIRST_LIVE, [1, 3, 1, 1, 3, 1]),
    ],
)
def test_share_of_a_held_server(takes: bool, share: Share, expected: list[int]) -> None:
    """With 2 of 3 held and its turn due: evenly, to its neighbour, or to the first live one."""
    pool = ServerPool(
        ("1", "2", "3"),
        profile(selection={"skipped_takes_turn": takes}, hold_down=stage(share=share)),
    )
    pool.next_server(0)
    pool.on_failure("2", 0)

    assert [int(pool.next_server(1) or 0) for _ in range(6)] == expected


def test_proportional_choice_keeps_to_the_weights() -> None:
    """3 : 1, spread out; a held server's share goes to the others by their weights."""
    rules = {"method": Selection.PROPORTIONAL, "weights": (3, 1, 2)}
    pool = ServerPool(("a", "b", "c"), profile(selection=rules))
    whole = [pool.next_server(0) for _ in range(12)]
    pool.on_failure("c", 0)
    rest = [pool.next_server(1) for _ in range(40)]

    assert [whole.count(name) for name in "abc"] == [6, 2, 4]
    assert whole[:6] != sorted(whole[:6], key=str)
    assert [rest.count(name) for name in "abc"] == [30, 10, 0]


@pytest.mark.parametrize(("runs", "later_s", "is_held"), [(True, 0, False), (False, 0, True),
                                                          (False, 30, False)])  # fmt: skip
def test_hold_down_runs_while_idle_or_waits_for_a_call(
    runs: bool, later_s: int, is_held: bool
) -> None:
    """No call for an hour: the time is over, or it begins with the first call after it."""
    box = box_of(1, hold_down={"runs_while_idle": runs})
    call(box)
    silence(box, 2 * SECOND)
    hour = 3_600 * SECOND
    if later_s:
        box.place_call(CALLED, SOURCE, hour)
        assert sends(box) == []
    box.place_call(CALLED, SOURCE, hour + later_s * SECOND)

    assert bool(sends(box)) is not is_held


@pytest.mark.parametrize("in_flight", InFlight)
def test_queries_in_flight_are_finished_or_abandoned(in_flight: InFlight) -> None:
    """Two calls ask server 1; the first gives it up, and the other waits on or moves on."""
    box = box_of(selection={"method": Selection.HUNT}, hold_down={"in_flight": in_flight})
    call(box)
    call(box, SECOND)
    box.handle_timer(2 * SECOND)
    moved = [one.server for one in sends(box)]

    assert moved == ([TWO] if in_flight is InFlight.FINISH else [TWO, TWO])


@pytest.mark.parametrize(("ends", "turn"), [(True, 1), (False, 2)])
def test_answer_to_a_query_in_flight_ends_the_hold_down_or_not(ends: bool, turn: int) -> None:
    """It was sent before the hold-down began, and comes during it."""
    box = box_of(selection={"method": Selection.HUNT}, hold_down={"answer_ends": ends})
    call(box)
    open_query = call(box, SECOND)
    box.handle_timer(2 * SECOND)
    sends(box)
    box.receive(reply(open_query, "NOERROR", ALLOW), ONE, 2 * SECOND + MS)

    assert event_of(box).decision is Decision.ALLOW
    assert turns(box, 1, 3 * SECOND) == [turn]


@pytest.mark.parametrize(("ends", "turn"), [(True, 1), (False, 2)])
def test_late_answer_ends_the_hold_down_or_not(ends: bool, turn: int) -> None:
    """It changes no decided call whatever it says."""
    box = box_of(selection={"method": Selection.HUNT}, hold_down={"late_answer_ends": ends})
    first = give_up(box)
    box.receive(reply(first, "NOERROR", TERMINATE), ONE, 3 * SECOND)

    assert box.next_event() is None
    assert turns(box, 1, 4 * SECOND) == [turn]


@pytest.mark.parametrize("then", [Then.IGNORE, Then.FINAL])
def test_late_answer_is_taken_for_an_open_call_or_not(then: Then) -> None:
    """Server 1 answers while server 2 is asked."""
    box = box_of(reactions={Event.LATE: Reaction(then, counts=False)})
    first = call(box)
    box.handle_timer(2 * SECOND)
    box.receive(reply(first, "NOERROR", TERMINATE), ONE, 3 * SECOND)
    event = box.next_event()

    assert (event is None) == (then is Then.IGNORE)
    if event is not None:
        results = [(one.server, one.result) for one in event.asked]
        assert event.decision is Decision.TERMINATE
        assert results == [("enum1", "silence"), ("enum1", "NOERROR")]


@pytest.mark.parametrize(
    ("all_down", "asked"),
    [(AllDown.FAIL_OPEN, 0), (AllDown.FAIL_CLOSED, 0), (AllDown.ASK_ANYWAY, 1)],
)
def test_all_held_servers_are_asked_anyway_or_not(all_down: AllDown, asked: int) -> None:
    """The one value with which a held server is asked."""
    box = box_of(1, all_down=all_down)
    call(box)
    silence(box, 2 * SECOND)
    assert event_of(box).decision is Decision.NO_SERVER
    box.place_call(CALLED, SOURCE, 3 * SECOND)

    assert len(sends(box)) == asked


def test_call_asks_every_server_once_when_held_ones_are_asked_anyway() -> None:
    """It ends all the same."""
    box = box_of(3, all_down=AllDown.ASK_ANYWAY)
    call(box)
    silence(box, 6 * SECOND)
    event_of(box)
    box.place_call(CALLED, SOURCE, 7 * SECOND)
    asked = [one.server for one in sends(box)]
    asked += [server for _, server in silence(box, 60 * SECOND)]

    assert sorted(map(str, asked)) == sorted(map(str, (ONE, TWO, THREE)))
    assert event_of(box).decision is Decision.NO_SERVER


def test_failures_that_are_each_calls_own_hold_nobody() -> None:
    """The defect "per call instead of per server": the next call meets the dead server again."""
    box = box_of(selection={"method": Selection.HUNT}, hold_down={"scope": Scope.CALL})
    give_up(box)

    assert turns(box, 1, 3 * SECOND) == [1]


@pytest.mark.parametrize(("end_resets", "held_s"), [(True, 10), (False, 100)])
def test_count_begins_again_after_the_last_stage_or_goes_on(end_resets: bool, held_s: int) -> None:
    """Two in a row are 100 s; the third failure is the first of a new count, or one more."""
    short, long = (
        Stage(failures, consecutive=True, window_ns=0, length_ns=s * SECOND, share=Share.NEXT)
        for failures, s in ((1, 10), (2, 100))
    )
    pool = ServerPool(
        ("1",), profile(hold_down={"stages": (short, long), "end_resets": end_resets})
    )
    for at_s in (0, 10, 110):
        assert not pool.is_held("1", at_s * SECOND)
        pool.on_failure("1", at_s * SECOND)

    assert pool.is_held("1", (110 + held_s) * SECOND - 1)
    assert not pool.is_held("1", (110 + held_s) * SECOND)


def test_server_that_rejects_edns_is_asked_once_more_without() -> None:
    """FORMERR to a query with an OPT record; a second FORMERR is final (RFC 6891 section 7)."""
    box = box_of(
        edns={"udp_payload_bytes": 1232},
        reactions={Event.FORMERR: Reaction(Then.RETRY_WITHOUT_EDNS, counts=False)},
    )
    first = call(box)
    box.receive(reply(first, "FORMERR"), ONE, MS)
    (second,) = sends(box)
    box.receive(reply(second, "FORMERR"), ONE, 2 * MS)

    assert parse_query(first.payload).edns == Edns(1232)
    assert (second.server, parse_query(second.payload).edns) == (ONE, None)
    assert event_of(box).decision is Decision.NO_INSTRUCTION


@pytest.mark.parametrize(
    ("scope", "distinct"),
    [(IdScope.SEND, [1, 2, 3, 4]), (IdScope.SERVER, [1, 1, 2, 2]), (IdScope.CALL, [1, 1, 1, 1])],
)
def test_message_id_is_kept_for_a_send_a_server_or_a_call(
    scope: IdScope, distinct: list[int]
) -> None:
    """Two servers, two sends each; an answer to any send of the open query counts."""
    box = box_of(2, retransmission={"schedule_ns": (0, SECOND), "id_per": scope})
    queries = [call(box)]
    for at_s in (1, 2, 3):
        box.handle_timer(at_s * SECOND)
        queries += sends(box)
    ids = [parse_query(query.payload).id for query in queries]
    box.receive(reply(queries[2], "NOERROR", ALLOW), TWO, 3 * SECOND + MS)

    assert [sorted(set(ids), key=ids.index).index(one) + 1 for one in ids] == distinct
    assert event_of(box).decision is Decision.ALLOW


@pytest.mark.parametrize("event", [Event.GARBLED, Event.WRONG_ID, Event.WRONG_QUESTION])
@pytest.mark.parametrize("then", [Then.IGNORE, Then.FINAL, Then.NEXT_SERVER])
def test_message_with_something_wrong_is_ignored_final_or_a_failure(
    event: Event, then: Then
) -> None:
    """As the profile says; when it counts, the server is held."""
    counts = then is Then.NEXT_SERVER
    box = box_of(reactions={event: Reaction(then, counts=counts)})
    payload = bytearray(reply(query := call(box), "NOERROR", ALLOW))
    match event:
        case Event.GARBLED:
            payload[12:] = b"\xc0"
        case Event.WRONG_ID:
            payload[0] ^= 1
        case _:
            payload[13] = ord("x")
    box.receive(bytes(payload), query.server, MS)

    assert [one.server for one in sends(box)] == [TWO] * counts
    assert (box.next_event() is not None) == (then is Then.FINAL)
    assert box._pool.is_held("enum1", MS) is counts  # noqa: SLF001 - the state itself


@pytest.mark.parametrize("well", [True, False])
def test_probe_reply_that_is_a_failure_brings_nobody_back(well: bool) -> None:
    """A probe is its own question; SERVFAIL to it is no reply."""
    back = {"by": ReadmitBy.PROBES, "replies": 1, "interval_ns": 5 * SECOND,
            "probe_name": "health.example.net", "probe_type": "SOA"}  # fmt: skip
    counting = {Event.SERVFAIL: Reaction(Then.NEXT_SERVER, counts=True)}
    box = box_of(1, readmission=back, hold_down=stage(length_ns=0), reactions=counting)
    call(box)
    silence(box, 2 * SECOND)
    box.handle_timer(7 * SECOND)
    (probe,) = sends(box)
    asked = parse_query(probe.payload)
    box.receive(encode_answer(asked, "NXDOMAIN" if well else "SERVFAIL"), ONE, 7 * SECOND)
    box.place_call(NUMBERS[1], SOURCE, 8 * SECOND)

    assert (asked.qname, asked.qtype) == ("health.example.net", "SOA")
    assert bool(sends(box)) is well


def test_late_probe_reply_is_none() -> None:
    """It waits as long as a call does."""
    back = {"by": ReadmitBy.PROBES, "replies": 1, "interval_ns": 5 * SECOND}
    box = box_of(1, readmission=back, hold_down=stage(length_ns=0))
    call(box)
    silence(box, 2 * SECOND)
    box.handle_timer(7 * SECOND)
    (probe,) = sends(box)
    box.handle_timer(9 * SECOND)
    box.receive(reply(probe, "NXDOMAIN"), ONE, 9 * SECOND)
    box.place_call(CALLED, SOURCE, 10 * SECOND)

    assert sends(box) == []


def test_negative_answers_are_remembered_for_their_own_time() -> None:
    """NXDOMAIN for a minute, whatever the caller; then the server is asked again."""
    box = box_of(cache={"negative_ns": 60 * SECOND})
    query = call(box)
    box.receive(reply(query, "NXDOMAIN"), ONE, 0)
    event_of(box)
    box.place_call(CALLED, SOURCE, 60 * SECOND - 1)
    remembered = event_of(box)
    box.place_call(CALLED, SOURCE, 60 * SECOND)

    assert (remembered.decision, remembered.cached) == (Decision.NO_INSTRUCTION, True)
    assert len(sends(box)) == 1
    assert box.next_event() is None


@pytest.mark.parametrize(
    ("naming", "suffix"),
    [
        ({"label": "from"}, ".from.0.0.1.0.5.5.5.0.5.6.1.e164.arpa"),
        ({"roots": (("+1650", "west.example.net"),)}, ".west.example.net"),
        ({"roots": (("+1212", "east.example.net"),)}, ".e164.arpa"),
    ],
)
def test_name_that_is_asked_tells_the_caller(naming: dict[str, Any], suffix: str) -> None:
    """Behind a label, or by another root; the answer to that name is the call's."""
    box = box_of(source_name=naming)
    query = call(box)
    box.receive(reply(query, "NOERROR", TERMINATE), ONE, MS)

    assert parse_query(query.payload).qname.endswith(suffix)
    assert event_of(box).decision is Decision.TERMINATE


def led(query: Outgoing, *records: NaptrRecord) -> bytes:
    """Return the answer with *records* to *query*."""
    return reply(query, "NOERROR", *records)


LEADING = NaptrRecord(10, 10, "", "", "", "more.example.net.")


def test_non_terminal_record_is_followed_to_its_domain() -> None:
    """The next question is for the domain, to the server whose turn it is; both are one call."""
    box = box_of()
    first = call(box)
    box.receive(led(first, LEADING), ONE, MS)
    (second,) = sends(box)
    box.receive(led(second, TERMINATE), TWO, 2 * MS)
    event = event_of(box)

    assert parse_query(second.payload).qname == "more.example.net"
    assert second.server == TWO
    assert event.decision is Decision.TERMINATE
    assert [one.server for one in event.asked] == ["enum1", "enum2"]


def test_non_terminal_records_are_followed_five_times_and_no_more() -> None:
    """RFC 5483 section 6; the record behind them decides then."""
    box = box_of()
    box.place_call(CALLED, SOURCE, 0)
    names = []
    while (query := box.to_send()) is not None:
        names.append(parse_query(query.payload).qname)
        onward = replace(LEADING, replacement=f"hop{len(names)}.example.net.")
        box.receive(led(query, onward), query.server, MS)

    assert names[1:] == [f"hop{at}.example.net" for at in range(1, 6)]
    assert event_of(box).decision is Decision.NO_INSTRUCTION


def test_non_terminal_record_that_leads_nowhere_gives_way_to_the_next() -> None:
    """NXDOMAIN for its domain: then the record behind it."""
    box = box_of()
    query = call(box)
    box.receive(led(query, LEADING, replace(ALLOW, order=20)), ONE, MS)
    (second,) = sends(box)
    box.receive(reply(second, "NXDOMAIN"), TWO, 2 * MS)

    assert event_of(box).decision is Decision.ALLOW


def test_domain_that_nobody_answers_for_leaves_the_call_without_an_answer() -> None:
    """It is no instruction to go on: fail-open or fail-closed says what becomes of the call."""
    box = box_of()
    query = call(box)
    box.receive(led(query, LEADING), ONE, MS)
    silence(box, 60 * SECOND)

    assert event_of(box).decision is Decision.NO_SERVER
    assert box.next_timer() is None


def test_records_are_read_as_the_profiles_dialect_reads_them() -> None:
    """A void record ends the call only where the client knows it; libc's passes it over."""
    void = NaptrRecord(10, 10, "u", "E2U+void:http", "!^.*$!http://void.example.net!")
    decisions = []
    for meaning in VoidMeaning:
        box = box_of(naptr={"void": meaning})
        query = call(box)
        box.receive(led(query, void), ONE, MS)
        decisions.append(event_of(box).decision)

    assert decisions == [Decision.NO_INSTRUCTION, Decision.TERMINATE]
