"""Whatever comes: a stream's figures are those of a receiver that takes packet by packet."""

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from harness.packets.frame import Datagrams, Endpoint, decode
from harness.records import StreamRecord
from probetest.duplicates import Copies, find_copies
from probetest.media.announcements import Announcement, Announcements
from probetest.media.streams import Reading, StreamReader
from probetest.sip.sdp import parse as parse_sdp
from tests.rfc3550 import Receiver
from tests.sip_wire import SBC, START_NS, Tape, rtp, sdp

MANY = settings(
    deadline=None,  # a busy machine is not a bug
    max_examples=10_000 if os.environ.get("PROBE_SOAK") else 200,
    phases=(Phase.explicit, Phase.generate),
)
STEP = (160, 20_000)
AGAIN_AFTER_RESTART = [(0, 1, *STEP), (0, 64_999, *STEP), (0, 65_000, *STEP), (0, 64_999, *STEP)]
HERE, THERE = Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000)
CLASSES = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 10**9))

Packet = tuple[int, int, int, int]  # stream, number, timestamp, microseconds since the last one


@st.composite
def traffic(draw: st.DrawFn) -> list[Packet]:
    """Return packets of a few streams: gaps, late and repeated ones, leaps, restarts, any times."""
    streams = draw(st.integers(1, 4))
    number = [
        draw(st.integers(0, 65_535) | st.sampled_from((0, 1, 65_530))) for _ in range(streams)
    ]
    stamp = [draw(st.integers(0, 2**32 - 1)) for _ in range(streams)]
    steps = st.one_of(
        st.just(1), st.just(1), st.integers(-12, 12), st.integers(-130, 130),
        st.sampled_from((2999, 3000, -99, -100, 0)), st.integers(-32_768, 32_767),
    )  # fmt: skip
    packets = []
    for stream, step, ticks, micros in draw(
        st.lists(
            st.tuples(
                st.integers(0, streams - 1), steps, st.integers(-400, 400) | st.just(160),
                st.integers(0, 60_000) | st.just(20_000),
            ),
            max_size=60,
        )
    ):  # fmt: skip
        number[stream] = (number[stream] + step) % 65_536
        stamp[stream] = (stamp[stream] + ticks) % 2**32
        packets.append((stream, number[stream], stamp[stream], micros))
    return packets


def tape_of(packets: list[Packet]) -> Tape:
    """Return the packets as they came by, each stream from its own port and source."""
    tape, at_us = Tape(), 0
    for stream, number, stamp, micros in packets:
        at_us += micros
        source = Endpoint(HERE.address, HERE.port + 2 * stream)
        tape.udp(at_us / 1000, source, THERE, rtp(number, stamp, ssrc=stream, payload=b"\xd5" * 20))
    return tape


def announced() -> Announcements:
    """Return what makes every stream to THERE count, however few packets it has."""
    known = Announcements()
    for media in parse_sdp(sdp(THERE)):
        known.add(Announcement(START_NS, "1@192.0.2.10", media))
    return known


def read(datagrams: Datagrams, copies: Copies, cuts: list[int], **options: int) -> Reading:
    """Return the reading of blocks that end at *cuts*."""
    reader, known = StreamReader(**options), announced()  # type: ignore[arg-type]
    edges = [0, *sorted({cut for cut in cuts if cut < len(datagrams)}), len(datagrams)]
    for start, stop in pairwise(edges):
        rows = np.arange(start, stop)
        part = Copies(copies.kind[rows], copies.original[rows])
        reader.add(datagrams.select(rows), part, known)
    return reader.finish(known)


def receivers(packets: list[Packet]) -> dict[int, Receiver]:
    """Return a receiver a stream, all packets given to it."""
    found: dict[int, Receiver] = {}
    at_us = 0
    for stream, number, stamp, micros in packets:
        at_us += micros
        one = found.setdefault(stream, Receiver.start(number))
        one.packet(number, at_us * 1000, stamp)
    for one in found.values():
        one.close()
    return found


def held(ours: StreamRecord, theirs: Receiver) -> None:
    """Hold one record to what a receiver counted."""
    assert (ours.expected, ours.lost) == (theirs.before, theirs.before - theirs.total)
    assert (ours.odd, ours.restarts) == (theirs.odd, theirs.restarts)
    assert (ours.duplicates, ours.reordered) == (theirs.doubles, theirs.late)
    runs = tuple(sum(a <= run <= b for run in theirs.lost_runs) for a, b in CLASSES)
    assert (ours.missing, ours.loss_runs) == (sum(theirs.lost_runs), runs)
    assert ours.jitter_ms == pytest.approx(theirs.jitter, abs=2e-6)
    assert ours.jitter_max_ms == pytest.approx(max(theirs.jitters, default=0), abs=2e-6)
    mean = sum(theirs.jitters) / max(1, len(theirs.jitters))
    assert ours.jitter_mean_ms == pytest.approx(mean, abs=2e-6)


@MANY
@example(AGAIN_AFTER_RESTART)
@given(traffic())
def test_every_figure_is_that_of_a_receiver(packets: list[Packet]) -> None:
    """Loss, runs of it, late, repeated and odd packets, restarts and jitter (A.1, A.3, A.8)."""
    datagrams = decode(tape_of(packets).capture())
    untouched = Copies(np.zeros(len(datagrams), np.int64), np.arange(len(datagrams)))
    found = {one.ssrc: one for one in read(datagrams, untouched, []).streams}
    theirs = receivers(packets)

    assert found.keys() == theirs.keys()
    for stream, receiver in theirs.items():
        held(found[stream], receiver)


@MANY
@given(traffic(), st.lists(st.integers(1, 60), max_size=12))
def test_where_a_block_ends_changes_nothing(packets: list[Packet], cuts: list[int]) -> None:
    """Blocks of one packet or of all: the same records, copies and interfaces included."""
    tape = tape_of(packets)
    datagrams = decode(tape.capture())
    copies = find_copies(datagrams)
    whole, parts = read(datagrams, copies, []), read(datagrams, copies, cuts)

    assert parts == whole


def test_a_block_that_is_read_again_is_taken_once() -> None:
    """Rows that are not fresh are there for the copies only."""
    packets = [(0, number, 160 * number, 20_000) for number in range(20)]
    datagrams = decode(tape_of(packets).capture())
    copies, known = find_copies(datagrams), announced()
    reader = StreamReader()
    reader.add(datagrams, copies, known)
    again = replace(datagrams, fresh=np.zeros(20, np.bool_))
    reader.add(again, copies, known)

    assert [one.packets for one in reader.finish(known).streams] == [20]


def test_what_does_not_count_up_is_let_go() -> None:
    """Of a flood of sources with one packet each only some are kept, and it is said."""
    tape = Tape()
    for number in range(300):
        tape.udp(number, SBC, HERE, rtp(number, 0, ssrc=number))
    for number in range(20):
        tape.udp(400 + number, HERE, THERE, rtp(number, 160 * number, ssrc=999))
    datagrams = decode(tape.capture())
    found = read(datagrams, find_copies(datagrams), [100, 200, 310], max_candidates=50)

    assert [(one.ssrc, one.packets) for one in found.streams] == [(999, 20)]
    assert "let go" in found.notes[0]
