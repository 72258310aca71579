"""Sequence numbers by hand: what is lost, late, repeated, odd, and where a source restarts."""

import pytest

from harness.packets.frame import Endpoint, decode
from harness.records import StreamRecord
from probetest.duplicates import Copies
from probetest.media.announcements import Announcement, Announcements
from probetest.media.streams import StreamReader
from probetest.sip.sdp import parse
from tests.sip_wire import START_NS, Tape, rtp, sdp

HERE, THERE = Endpoint("192.0.2.10", 40_000), Endpoint("192.0.2.20", 50_000)


def one(*sequence: int) -> StreamRecord:
    """Return the record of one stream with these numbers."""
    tape, known = Tape(), Announcements()
    for place, number in enumerate(sequence):
        tape.udp(20 * place, HERE, THERE, rtp(number, 160 * place))
    (media,) = parse(sdp(THERE))
    known.add(Announcement(START_NS, "1", media))
    datagrams, reader = decode(tape.capture()), StreamReader()
    no_copies = Copies(datagrams.ip_id * 0, datagrams.frame - 1)
    reader.add(datagrams, no_copies, known)
    (stream,) = reader.finish(known).streams
    return stream


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ((7,), (1, 0, 0, 0, 0, 0)),
        ((1, 2, 3, 4), (4, 0, 0, 0, 0, 0)),
        ((1, 2, 5), (5, 2, 0, 0, 0, 0)),
        ((1, 3, 2, 4), (4, 0, 0, 1, 0, 0)),
        ((1, 2, 2, 3), (3, -1, 1, 0, 0, 0)),
        ((1, 3, 2, 2, 4), (4, -1, 1, 1, 0, 0)),
        ((65_534, 65_535, 0, 1), (4, 0, 0, 0, 0, 0)),
        ((65_535, 1), (3, 1, 0, 0, 0, 0)),
        ((1, 0, 65_535, 2), (2, -2, 0, 2, 0, 0)),
        ((1, 2, 40_000, 3, 4), (4, 0, 0, 0, 0, 1)),
        ((1, 2, 40_000), (2, 0, 0, 0, 0, 1)),
        ((1, 2, 40_000, 40_001, 40_003), (6, 1, 0, 0, 1, 0)),
        ((500, 501, 10, 11), (4, 0, 0, 0, 1, 0)),
        ((1, 3000), (3000, 2998, 0, 0, 0, 0)),
        ((1, 3001), (1, 0, 0, 0, 0, 1)),
        ((200, 101), (1, -1, 0, 1, 0, 0)),
        ((200, 100), (1, 0, 0, 0, 0, 1)),
    ],
)
def test_sequence_numbers_tell_loss(sequence: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Gaps, late packets, duplicates, the turn at 65536, restarts, and one odd packet."""
    found = one(*sequence)
    names = ("expected", "lost", "duplicates", "reordered", "restarts", "odd")

    assert tuple(getattr(found, name) for name in names) == expected


@pytest.mark.parametrize(
    ("left_out", "runs"),
    [
        (range(0), (0, 0, 0, 0, 0)),
        ((5,), (1, 0, 0, 0, 0)),
        ((5, 6, 9, 20, 21, 22, 23, 24), (1, 1, 1, 0, 0)),
        (range(30, 40), (0, 0, 0, 1, 0)),
        (range(30, 41), (0, 0, 0, 0, 1)),
    ],
)
def test_runs_of_loss_are_counted_by_length(
    left_out: tuple[int, ...], runs: tuple[int, ...]
) -> None:
    """One packet, two, three to five, six to ten, and more."""
    found = one(*(number for number in range(60) if number not in left_out))

    assert found.loss_runs == runs
    assert found.missing == found.lost == len(left_out)


def test_a_late_packet_splits_a_run() -> None:
    """Of five that were missing the third comes late: two runs of two are left."""
    assert one(1, 7, 4, 8).loss_runs == (0, 2, 0, 0, 0)
