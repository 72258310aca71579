"""The table of hops against the objects that one capture is read into, and against its own laws."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enumtest.dns.message import Query, encode_answer, parse_query
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import SbcConfig
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import NOT_SEEN, LookupTable
from harness.packets.capture import Capture, parse
from tests.enum_wire import (
    ALLOW,
    MS,
    NUMBERS,
    SECOND,
    Reply,
    Wire,
    allowing,
    capture_bytes,
    endpoints,
    question,
    sbc,
    sbc_config,
)

SERVERS = endpoints(3)
NAMES = {endpoint: name for name, endpoint in SERVERS.items()}
PLAN = sbc_config(SERVERS, timeout_ns=2 * SECOND, hold_down_ns=30 * SECOND)
PROFILES = ("fixed-hold-down", "oracle-hunt", "oracle-round-robin", "ribbon", "libc")


def erratic(seed: int, *, errors: bool) -> Wire:
    """Return a wire whose servers are silent, slow, wrong or well, as the dice fall."""

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        dice = random.Random(f"{seed} {server} {now_ns // (4 * SECOND)}")  # noqa: S311 - a test
        fate = dice.random()
        if fate < 0.3:
            return ()
        if errors and fate < 0.4:
            return (Reply(encode_answer(query, dice.choice(["SERVFAIL", "NXDOMAIN"]))),)
        return tuple(
            replace(one, after_ns=dice.randrange(1, 40) * MS)
            for one in allowing(server, query, now_ns)
        )

    return Wire(sbc(PLAN, seed=seed), script)


def described(table: LookupTable) -> list[list[tuple[object, ...]]]:
    """Return the lookups in words: servers, times, frames, answers."""
    hops = table.hops
    return [
        [
            (
                hops.servers[hops.server[row]],
                hops.questions[hops.question[row]],
                hops.sources[hops.source[row]],
                tuple(hops.send_ns[hops.sends(row)].tolist()),
                tuple(hops.send_frame[hops.sends(row)].tolist()),
                int(hops.answered_ns[row]),
                int(hops.event[row]),
            )
            for row in table.hops_of(at).tolist()
        ]
        for at in range(len(table))
    ]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(200, 1500), st.booleans())
def test_table_holds_what_the_objects_hold(seed: int, every_ms: int, errors: bool) -> None:
    """Lookup by lookup and hop by hop, for simulated traffic with failures."""
    wire = erratic(seed, errors=errors)
    wire.calls(40, every_ms * MS)
    wire.run()
    table = read_lookups([parse(wire.capture())], NAMES, PLAN.profile)
    expected = [
        [
            (
                hop.server,
                hop.query.qname,
                hop.source,
                tuple(seen.at_ns for seen in hop.sends),
                tuple(seen.frame for seen in hop.sends),
                hop.answered.at_ns if hop.answered else NOT_SEEN,
            )
            for hop in lookup.hops
        ]
        for lookup in wire.traffic().lookups
    ]

    assert [[hop[:-1] for hop in lookup] for lookup in described(table)] == expected


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from(PROFILES))
def test_each_simulated_call_is_one_lookup(seed: int, name: str) -> None:
    """Whatever kind of SBC made it, and whatever became of it; with the profile or without."""
    config = SbcConfig(SERVERS, shipped_profile(name))
    down = random.Random(seed).choice(tuple(SERVERS))  # noqa: S311 - a test

    def script(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
        return (
            ()
            if (server, now_ns < 50 * SECOND) == (down, True)
            else tuple(allowing(server, query, now_ns))
        )

    wire = Wire(sbc(config, seed=seed), script)
    for at in range(20):
        wire.call(at * 3 * SECOND, NUMBERS[at % 20])
    wire.run()
    asked = [
        [one.server for one in call.asked]
        for call in sorted(wire.decided, key=lambda call: call.call)
        if call.asked
    ]
    for profile in (config.profile, None):
        table = read_lookups([parse(wire.capture())], NAMES, profile)
        assert [[hop[0] for hop in lookup] for lookup in described(table)] == asked


def split(wire: Wire) -> list[Capture]:
    """Return a capture a server, as three taps would have taken them."""
    found = []
    for name, endpoint in SERVERS.items():
        address = bytes(int(part) for part in endpoint.address.split("."))
        frames = [
            (packet.at_ns, packet.frame)
            for packet in sorted(wire.packets)
            if address in (packet.frame[12:16], packet.frame[16:20])
        ]
        found.append(parse(capture_bytes(frames), name=name))
    return found


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.permutations(range(3)))
def test_order_of_captures_changes_nothing(seed: int, order: list[int]) -> None:
    """A table is made of what they hold."""
    wire = erratic(seed, errors=True)
    wire.calls(30, 700 * MS)
    captures = split(wire.run())
    clocks = dict.fromkeys(SERVERS, 0)
    one = read_lookups(captures, NAMES, PLAN.profile, ahead_ns=clocks)
    two = read_lookups([captures[at] for at in order], NAMES, PLAN.profile, ahead_ns=clocks)

    assert described(one) == described(two)
    assert one.hops.watches == two.hops.watches
    assert one.odd == two.odd


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32), st.integers(-(10**15), 10**15))
def test_another_clock_changes_nothing_but_times(seed: int, shift_ns: int) -> None:
    """Every clock ahead by the same."""
    wire = erratic(seed, errors=True)
    wire.calls(30, 700 * MS)
    (capture,) = [parse(wire.run().capture())]
    moved = replace(capture, at_ns=capture.at_ns + shift_ns)
    one, two = (read_lookups([each], NAMES, PLAN.profile) for each in (capture, moved))

    assert np.array_equal(one.hops.send_ns + shift_ns, two.hops.send_ns)
    assert np.array_equal(one.row, two.row)
    assert np.array_equal(one.rows_from, two.rows_from)
    assert np.array_equal(one.hops.event, two.hops.event)


@pytest.mark.parametrize("profile", [PLAN.profile, None], ids=["declared", "not"])
@settings(deadline=None, max_examples=25)
@given(
    data=st.lists(
        st.tuples(
            st.integers(0, 2500),
            st.sampled_from([0, 1, 2]),
            st.booleans(),
            st.integers(0, 3),
            st.integers(0, 1),
            st.sampled_from(["NOERROR", "SERVFAIL", "NXDOMAIN"]),
        ),
        max_size=60,
    )
)
def test_any_packets_keep_the_laws(
    profile: Profile | None, data: list[tuple[int, int, bool, int, int, str]]
) -> None:
    """Rows in order of time, each call's row in one lookup, each message counted once at most."""
    wire = erratic(1, errors=False)
    places = tuple(SERVERS.values())
    client = wire.client
    for ms, server, asks, message_id, number, rcode in data:
        query = question(NUMBERS[number], message_id)
        if asks:
            wire.note(client, places[server], query, at_ns=ms * MS)
        else:
            records = (ALLOW,) if rcode == "NOERROR" else ()
            answer = encode_answer(parse_query(query), rcode, records)
            wire.note(places[server], client, answer, at_ns=ms * MS)
    table = read_lookups([parse(wire.capture())], NAMES, profile)
    hops = table.hops

    assert (np.diff(hops.first_ns) >= 0).all()
    assert sorted(table.row.tolist()) == np.flatnonzero(~hops.probe).tolist()
    firsts = hops.first_ns[table.row[table.rows_from[:-1]]]
    assert (np.diff(firsts) >= 0).all()
    used = [*hops.send_frame.tolist(), *(frame for frame in hops.answer_frame.tolist() if frame)]
    used += [frame for frame in hops.late_frame.tolist() if frame]
    used += [odd.cite.frame for odd in table.odd]
    assert len(set(used)) == len(used)
    assert (hops.sends_from[1:] > hops.sends_from[:-1]).all()
