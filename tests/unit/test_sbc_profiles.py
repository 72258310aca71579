"""Each shipped profile keeps the schedule that its maker documents, or that was measured."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from enumtest.dns.message import encode_answer, parse_query
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import AllDown, CacheKey
from enumtest.sbc.decision import Decision
from enumtest.sbc.health import Held
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc, SbcConfig
from harness.packets.frame import Endpoint
from tests.enum_wire import (
    ALLOW,
    MS,
    NUMBERS,
    SECOND,
    SOURCE,
    WholeNumber,
    at_will,
    endpoints,
    ids,
    sbc,
)
from tests.sbc_asked import CALLED, ONE, SERVERS, THREE, TWO, call, reply, sends, silence

HOUR = 3_600 * SECOND
Respond = Callable[[Outgoing], bytes | None]


def box_of(name: str, size: int = 3) -> Sbc:
    """Return an SBC of the profile *name* that forgets answers: each call asks."""
    profile = shipped_profile(name)
    profile = replace(profile, cache=replace(profile.cache, positive=False))
    return sbc(SbcConfig(endpoints(size), profile))


def asked_at(box: Sbc, now_ns: int, respond: Respond) -> list[tuple[int, Endpoint]]:
    """Place one call; return when which server was asked, until it is decided."""
    box.place_call(CALLED, SOURCE, now_ns)
    found = []
    while True:
        while (outgoing := box.to_send()) is not None:
            found.append((now_ns, outgoing.server))
            if (payload := respond(outgoing)) is not None:
                box.receive(payload, outgoing.server, now_ns)
        if box.next_event() is not None:
            return found
        now_ns = max(now_ns, box.next_timer() or 0)
        box.handle_timer(now_ns)


def silent(*servers: Endpoint) -> Respond:
    """Return what answers for all but *servers*."""

    def respond(outgoing: Outgoing) -> bytes | None:
        return None if outgoing.server in servers else reply(outgoing, "NOERROR", ALLOW)

    return respond


WELL = silent()


@pytest.mark.parametrize("name", ["oracle-hunt", "oracle-round-robin"])
def test_oracle_sends_four_times_in_eleven_seconds(name: str) -> None:
    """0, 1, 3 and 7 s, given up at 11 s (GUID-142FAD3C, the default time-out)."""
    assert asked_at(box_of(name), 0, silent(ONE)) == [
        *((at_s * SECOND, ONE) for at_s in (0, 1, 3, 7)),
        (11 * SECOND, TWO),
    ]


def test_oracle_leaves_a_server_alone_for_thirty_seconds_after_one_failure() -> None:
    """Time Out: not contacted for 30 s from the failure, then in service again (GUID-81FE5C51)."""
    box = box_of("oracle-hunt")
    asked_at(box, 0, silent(ONE))

    assert asked_at(box, 41 * SECOND - 1, WELL) == [(41 * SECOND - 1, TWO)]
    assert asked_at(box, 41 * SECOND, WELL) == [(41 * SECOND, ONE)]


def test_oracle_takes_a_server_out_of_service_after_five_failures_in_a_row() -> None:
    """Four times 30 s, then 600 s, which a manual clock passes at once (GUID-81FE5C51)."""
    box, first = box_of("oracle-hunt"), []
    for at_s in (0, 11, 40, 41, 81, 82, 122, 123, 163, 164, 205, 500, 774, 775):
        asked = asked_at(box, at_s * SECOND, silent(ONE))
        first += [at_s] * (asked[0][1] == ONE)

    assert first == [0, 41, 82, 123, 164, 775]


def test_oracle_counts_failures_in_a_row_only() -> None:
    """One answer in between, and the five begin again."""
    box = box_of("oracle-hunt")
    for at_s in (0, 41, 82, 123):
        asked_at(box, at_s * SECOND, silent(ONE))
    asked_at(box, 164 * SECOND, WELL)
    asked_at(box, 165 * SECOND, silent(ONE))

    assert asked_at(box, (165 + 41) * SECOND, WELL)[0][1] == ONE


def test_oracle_moves_the_share_of_a_dead_server_to_the_first_live_one() -> None:
    """With the second of three out of service the first gets twice the calls of the third."""
    box = box_of("oracle-round-robin")
    asked_at(box, 0, WELL)
    asked_at(box, 0, silent(TWO))
    turns = [asked_at(box, 12 * SECOND, WELL)[0][1] for _ in range(12)]

    assert Counter(turns) == {ONE: 8, THREE: 4}


def test_oracle_with_all_servers_out_of_service_fails_the_call() -> None:
    """No lookup, no delay; the profile is fail-closed (GUID-81FE5C51)."""
    box = box_of("oracle-hunt")
    asked_at(box, 0, silent(*SERVERS.values()))
    box.place_call(CALLED, SOURCE, 33 * SECOND)
    event = box.next_event()

    assert event is not None
    assert (event.decision, event.asked) == (Decision.NO_SERVER, ())
    assert box.config.profile.all_down is AllDown.FAIL_CLOSED


def cached(now_ns: int, *, ttl_s: int = 86_400, used_ns: int = 0) -> bool:
    """Say whether an Oracle remembers at *now_ns* an answer of moment 0 that was used then."""
    box = sbc(SbcConfig(SERVERS, shipped_profile("oracle-hunt")))
    query = call(box)
    payload = encode_answer(parse_query(query.payload), "NOERROR", (ALLOW,), ttl_s=ttl_s)
    box.receive(payload, query.server, 0)
    assert _event(box).decision is Decision.ALLOW
    if used_ns:
        box.place_call(CALLED, SOURCE, used_ns)
        assert _event(box).cached
    box.place_call(CALLED, SOURCE, now_ns)
    return not sends(box) and _event(box).cached


def _event(box: Sbc) -> CallDecided:
    event = box.next_event()
    assert event is not None
    return event


def test_oracle_remembers_an_answer_for_an_hour_without_use() -> None:
    """cacheInactivityTimer, 3600 s; each use begins it anew, until the TTL."""
    assert cached(HOUR - 1)
    assert not cached(HOUR)
    assert cached(HOUR + HOUR // 2, used_ns=HOUR // 2 + 1)
    assert not cached(60 * SECOND, ttl_s=60)
    assert not cached(1, ttl_s=0)


@pytest.mark.parametrize("key", CacheKey)
def test_answer_is_remembered_for_its_caller_or_for_all(key: CacheKey) -> None:
    """The defect to find is a cache across callers; the profile says which one it is."""
    profile = shipped_profile("oracle-hunt")
    profile = replace(profile, cache=replace(profile.cache, key=key))
    box = sbc(SbcConfig(SERVERS, profile))
    query = call(box)
    payload = encode_answer(parse_query(query.payload), "NOERROR", (ALLOW,), ttl_s=60)
    box.receive(payload, query.server, 0)
    box.place_call(CALLED, "sip:+16505550103@192.0.2.1", 1)
    asked_for_another_caller = bool(sends(box))
    box.place_call(NUMBERS[1], SOURCE, 1)

    assert asked_for_another_caller == (key is CacheKey.NUMBER_AND_SOURCE)
    assert len(sends(box)) == 1


def failing(box: Sbc, *at_s: int) -> None:
    """Let every server fail once at each of those moments (2 s after it is asked)."""
    for at in at_s:
        asked_at(box, (at - 2) * SECOND, silent(ONE))


@pytest.mark.parametrize(
    ("at_s", "is_held"),
    [((2, 100, 181), True), ((2, 100, 182), False), ((2, 100), False), ((2, 100, 182, 200), True)],
)
def test_ribbon_blacklists_after_three_failures_in_180_seconds(
    at_s: tuple[int, ...], is_held: bool
) -> None:
    """BlackListing numberOfFailures 3, duration 180 s: a fourth failure can make it three."""
    box = box_of("ribbon", 1)
    failing(box, *at_s)
    box.place_call(CALLED, SOURCE, 300 * SECOND)

    assert bool(sends(box)) is not is_held


def probed(box: Sbc, until_ns: int, answers: Callable[[int], bool]) -> list[int]:
    """Answer probes as *answers* says for each in its turn; return when they were sent."""
    times_ns: list[int] = []
    while (due_ns := box.next_timer()) is not None and due_ns <= until_ns:
        box.handle_timer(due_ns)
        for outgoing in sends(box):
            if answers(len(times_ns)):
                box.receive(reply(outgoing), outgoing.server, due_ns + MS)
            times_ns.append(due_ns)
    return times_ns


def test_ribbon_comes_back_after_two_probe_replies_in_a_row() -> None:
    """WhiteListing numberOfResponses 2: one reply, one lost, and the two begin again."""
    box = box_of("ribbon", 1)
    failing(box, 2, 4, 6)
    script = [False, True, False, True, True]
    times_ns = probed(box, HOUR, lambda at: script[at])
    box.place_call(CALLED, SOURCE, HOUR)

    assert times_ns == [at_s * SECOND for at_s in (16, 26, 36, 46, 56)]
    assert [one.server for one in sends(box)] == [ONE]


def test_probe_can_ask_for_a_number() -> None:
    """Under the SBC's own apex, whatever that is."""
    ribbon = shipped_profile("ribbon")
    back = replace(ribbon.readmission, probe_name="+16505550199")
    profile = at_will(ribbon, readmission=back)
    box = Sbc(SbcConfig({"enum1": ONE}, profile, apex="x.example"), ids(), WholeNumber())
    failing(box, 2, 4, 6)
    box.handle_timer(16 * SECOND)
    names = [parse_query(one.payload).qname for one in sends(box)]

    assert names == ["9.9.1.0.5.5.5.0.5.6.1.x.example"]


def test_ribbon_is_not_asked_by_calls_while_it_is_probed() -> None:
    """Not even after one reply; no time brings it back."""
    box = box_of("ribbon", 1)
    failing(box, 2, 4, 6)
    probed(box, 16 * SECOND, lambda _: True)
    box.place_call(CALLED, SOURCE, 17 * SECOND)

    assert sends(box) == []


def test_ribbon_gives_up_probing_after_a_day() -> None:
    """HighWaterMarkTimer 86400 s: then the server stays on the blacklist, for ever."""
    box = box_of("ribbon", 1)
    failing(box, 2, 4, 6)
    times_ns = probed(box, 240 * HOUR, lambda _: False)
    box.place_call(CALLED, SOURCE, 241 * HOUR)

    assert (len(times_ns), times_ns[-1]) == (8_640, (6 + 86_400) * SECOND)
    assert sends(box) == []


def rcode(name: str, *servers: Endpoint) -> Respond:
    """Return what answers *name* for *servers*, and well for the others."""

    def respond(outgoing: Outgoing) -> bytes | None:
        if outgoing.server not in servers:
            return reply(outgoing, "NOERROR", ALLOW)
        return reply(outgoing) if name == "NODATA" else reply(outgoing, name)

    return respond


def wrong(place: slice, octets: bytes) -> Respond:
    """Return what answers for server 1 with *octets* at *place*, and well for the others."""

    def respond(outgoing: Outgoing) -> bytes | None:
        payload = bytearray(reply(outgoing, "NOERROR", ALLOW))
        if outgoing.server == ONE:
            payload[place] = octets
        return bytes(payload)

    return respond


LIBC_ROWS: dict[str, tuple[Respond, list[tuple[int, Endpoint]]]] = {
    "NXDOMAIN": (rcode("NXDOMAIN", ONE), [(0, ONE)]),
    "NODATA": (rcode("NODATA", ONE), [(0, ONE)]),
    "SERVFAIL": (rcode("SERVFAIL", ONE), [(0, ONE), (0, TWO)]),
    "REFUSED": (rcode("REFUSED", ONE), [(0, ONE), (0, TWO)]),
    "NOTIMP": (rcode("NOTIMP", ONE), [(0, ONE), (0, TWO)]),
    "SERVFAIL on both": (rcode("SERVFAIL", ONE, TWO), [(0, ONE), (0, TWO), (0, ONE), (0, TWO)]),
    "FORMERR": (rcode("FORMERR", ONE), [(0, ONE)]),
    "garbled": (wrong(slice(12, None), b"\xc0"), [(0, ONE)]),
    "wrong id": (wrong(slice(0, 2), b"\xff\xfe"), [(0, ONE), (5, TWO)]),
    "wrong question": (wrong(slice(13, 14), b"x"), [(0, ONE), (5, TWO)]),
    "silent": (silent(ONE), [(0, ONE), (5, TWO)]),
    "both silent": (silent(ONE, TWO), [(0, ONE), (5, TWO), (10, ONE), (15, TWO)]),
}


@pytest.mark.parametrize("row", LIBC_ROWS)
def test_libc_does_as_kamailio_was_measured_to_do(row: str) -> None:
    """Kamailio 5.6.3 with two servers in resolv.conf: who is asked when (seconds)."""
    respond, expected = LIBC_ROWS[row]

    assert asked_at(box_of("libc", 2), 0, respond) == [(at * SECOND, to) for at, to in expected]


def test_libc_gives_both_silent_servers_up_after_twenty_seconds() -> None:
    """5+5+5+5 s, then the call goes on without ENUM; every datagram has the same id."""
    box = box_of("libc", 2)
    ids = {parse_query(call(box).payload).id}
    while (due_ns := box.next_timer()) is not None:
        box.handle_timer(due_ns)
        ids |= {parse_query(one.payload).id for one in sends(box)}
    event = _event(box)

    assert (event.decision, event.delay_ns, len(ids)) == (Decision.NO_SERVER, 20 * SECOND, 1)


def test_libc_starts_each_call_at_the_dead_server_again() -> None:
    """No memory between calls."""
    box = box_of("libc", 2)
    asked = [asked_at(box, at * HOUR, silent(ONE))[0][1] for at in range(3)]

    assert asked == [ONE, ONE, ONE]


def test_libc_asks_the_same_server_over_tcp_after_a_truncated_answer() -> None:
    """TC=1: TCP to the same server, with the same query."""
    box = box_of("libc", 2)
    query = call(box)
    box.receive(reply(query, truncated=True), ONE, MS)

    assert sends(box) == [replace(query, tcp=True)]
    assert silence(box, 5 * SECOND) == [(5 * SECOND, TWO)]


def test_sbc_tells_whom_it_holds_and_until_when() -> None:
    """By stage and time (asked at 9 s, given up at 20 s); where probes end it, none is known."""
    oracle, ribbon = box_of("oracle-hunt", 1), box_of("ribbon", 1)
    for box, at_s in ((oracle, (11,)), (ribbon, (2, 4, 6))):
        assert box.held(0) == {}
        failing(box, *at_s)

    assert oracle.held(20 * SECOND) == {"enum1": Held(0, 50 * SECOND)}
    assert oracle.held(50 * SECOND) == {}
    assert ribbon.held(HOUR) == {"enum1": Held(0, None)}
