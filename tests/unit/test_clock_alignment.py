"""The clocks of several taps, told from what they captured."""

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from enumtest.traffic.clock_alignment import DAY_NS
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import LookupTable, Watch
from harness.packets.capture import Capture, parse
from tests.enum_wire import (
    MS,
    NUMBERS,
    SECOND,
    Down,
    Wire,
    capture_bytes,
    endpoints,
    sbc,
    sbc_config,
)

SERVERS = endpoints(3)
NAMES = {endpoint: name for name, endpoint in SERVERS.items()}
CONFIG = sbc_config(SERVERS, timeout_ns=2 * SECOND, hold_down_ns=8 * SECOND)
APART = {"enum1": 0, "enum2": 57 * SECOND + 123 * MS, "enum3": -31 * SECOND}


def traffic(*, seed: int = 1, minutes: int = 8, even: bool = False) -> Wire:
    """Return calls at random moments, the servers silent in turn for a while."""
    dice = random.Random(seed)  # noqa: S311 - a test
    down = {f"enum{at + 1}": (at * 120 * SECOND, (at * 120 + 100) * SECOND) for at in range(3)}
    wire, at_ns = Wire(sbc(CONFIG, seed=seed), Down(down)), 0
    for call in range(minutes * 60):
        at_ns += SECOND if even else round(dice.expovariate(1) * SECOND)
        wire.call(at_ns, NUMBERS[call % 20] if even else dice.choice(NUMBERS))
    return wire.run()


def taps(wire: Wire, apart: Mapping[str, int]) -> list[Capture]:
    """Return a capture a server, each by its own clock."""
    found = []
    for name, endpoint in SERVERS.items():
        address = bytes(int(part) for part in endpoint.address.split("."))
        frames = [
            (packet.at_ns, packet.frame)
            for packet in sorted(wire.packets)
            if address in (packet.frame[12:16], packet.frame[16:20])
        ]
        capture = parse(capture_bytes(frames), name=name)
        found.append(replace(capture, at_ns=capture.at_ns + apart[name]))
    return found


def read(captures: list[Capture], **ahead_ns: int) -> LookupTable:
    """Return the table."""
    return read_lookups(captures, NAMES, CONFIG.profile, ahead_ns=ahead_ns)


def clocks(table: LookupTable) -> dict[str, Watch]:
    """Return the watches by name."""
    return {watch.name: watch for watch in table.hops.watches}


def servers(table: LookupTable) -> list[list[int]]:
    """Return the servers asked for each lookup, in order."""
    return [table.hops.server[table.hops_of(at)].tolist() for at in range(len(table))]


@pytest.mark.parametrize("seed", range(3))
def test_failovers_tell_clocks_that_are_a_minute_apart(seed: int) -> None:
    """The error is within what is said to be unsure, and the lookups are those of one clock."""
    wire = traffic(seed=seed)
    table = read(taps(wire, APART))
    one_clock = read_lookups([parse(wire.capture())], NAMES, CONFIG.profile)

    for name, watch in clocks(table).items():
        assert abs(watch.ahead_ns - APART[name]) <= watch.unsure_ns + 5 * MS
        assert watch.unsure_ns <= 200 * MS
    assert servers(table) == servers(one_clock)


def test_calls_without_failovers_tell_nothing() -> None:
    """However regular the rotation."""
    wire = Wire(sbc(CONFIG))
    wire.calls(60, SECOND)
    watches = clocks(read(taps(wire.run(), APART)))

    assert [watches[name].unsure_ns for name in SERVERS] == [0, DAY_NS, DAY_NS]


def test_what_fits_two_clocks_is_no_evidence() -> None:
    """Calls at even spacing, each number in its turn: a second clock fits about as well."""
    watches = clocks(read(taps(traffic(even=True), APART)))

    for name, watch in watches.items():
        right = abs(watch.ahead_ns - APART[name]) <= watch.unsure_ns + 5 * MS
        assert watch.unsure_ns == DAY_NS or right


def test_declared_clocks_are_taken_as_they_are() -> None:
    """They are sure; the others are measured against them."""
    wire = traffic()
    watches = clocks(read(taps(wire, APART), enum2=APART["enum2"], enum3=APART["enum3"]))

    assert [watches[name].unsure_ns for name in ("enum2", "enum3")] == [0, 0]
    assert abs(watches["enum1"].ahead_ns) <= watches["enum1"].unsure_ns + 5 * MS


def test_packets_in_two_captures_tell_their_clocks() -> None:
    """A tap that sees one server, and one that sees all."""
    wire = traffic(minutes=1)
    whole = parse(wire.capture(), name="all")
    part = taps(wire, {**APART, "enum1": 7 * SECOND})[0]
    table = read([whole, part])

    assert clocks(table)["enum1"].ahead_ns == 7 * SECOND
    assert clocks(table)["enum1"].unsure_ns == 0
    one = read([whole])
    assert servers(table) == servers(one)
    assert table.odd_count == one.odd_count == 0


def test_files_of_one_tap_have_one_clock() -> None:
    """A question whose answer is in the next file is one hop."""
    wire = traffic(minutes=1)
    whole = parse(wire.capture())
    frames = [(packet.at_ns, packet.frame) for packet in sorted(wire.packets)]
    for middle in range(len(frames) // 2, len(frames) // 2 + 2):
        pieces = (frames[:middle], frames[middle:])
        files = [parse(capture_bytes(one), name=f"tap{at}") for at, one in enumerate(pieces)]
        table, one = read(files), read([whole])
        assert [watch.unsure_ns for watch in table.hops.watches] == [0, 0]
        assert servers(table) == servers(one)
        assert np.array_equal(table.hops.answered_ns, one.hops.answered_ns)


def test_clock_of_an_empty_capture_is_not_known() -> None:
    """A tap at the wrong interface."""
    capture = taps(traffic(minutes=1), APART)[0]
    empty = parse(capture_bytes([]), name="none")
    watches = clocks(read([capture, empty]))

    assert (watches["none"].servers, watches["none"].unsure_ns) == ((), DAY_NS)


def test_without_a_profile_only_what_is_seen_is_taken() -> None:
    """Silence tells nothing then: nobody knows how long it was waited for."""
    captures = taps(traffic(minutes=2), APART)
    table = read_lookups(captures, NAMES, None)

    assert {watch.unsure_ns for watch in table.hops.watches} == {0, DAY_NS}


def test_clocks_that_may_be_far_apart_join_nothing() -> None:
    """A question at the time-out's end, by a clock of which nothing is known, is nobody's."""
    wire = Wire(sbc(CONFIG), Down({"enum1": (0, 9 * SECOND)}))
    wire.call(0)
    captures = taps(wire.run(), dict.fromkeys(SERVERS, 0))

    assert servers(read(captures)) == [[0], [1]]
    assert servers(read(captures, enum1=0, enum2=0, enum3=0)) == [[0, 1]]
