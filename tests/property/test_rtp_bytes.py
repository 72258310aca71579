"""Whatever the bytes: copies are those of a search by hand, and nothing raises."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.packets.capture import parse as parse_capture
from harness.packets.frame import decode
from harness.premises import Premises
from probetest.dataset import read_tap
from probetest.duplicates import find_copies
from probetest.flows import groups
from tests.sip_wire import CARRIER, PHONE, SBC, Leg, Tape, dialog, rtp

UNHURRIED = settings(deadline=None)  # a busy machine is not a bug


@UNHURRIED
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_groups_are_of_equal_rows(rows: list[tuple[int, int]]) -> None:
    """A group holds all rows that are alike, in their order, and no others."""
    words = [np.array(column, np.uint64) for column in zip(*rows, strict=True)]
    if not words:
        words = [np.zeros(0, np.uint64)]
    order, starts = groups(words)
    parts = np.split(order, starts[1:]) if len(starts) else []

    assert sorted(order.tolist()) == list(range(len(rows)))
    assert len(parts) == len(set(rows))
    for part in parts:
        assert len({rows[place] for place in part.tolist()}) == 1
        assert part.tolist() == sorted(part.tolist())


copied = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0, 1, 2]), st.binary(min_size=1, max_size=2)),
    max_size=30,
)


@UNHURRIED
@given(copied)
def test_copies_are_those_of_a_search_by_hand(frames: list[tuple[int, int, bytes]]) -> None:
    """A copy is a frame like an earlier one, 10 ms after the last such at most."""
    tape = Tape()
    frames.sort(key=lambda frame: frame[0])
    last: dict[tuple[int, bytes], tuple[int, int]] = {}
    expected = []
    for row, (at_ms, ip_id, payload) in enumerate(frames):
        tape.udp(at_ms, PHONE, SBC, payload * 20, ip_id=ip_id)
        before, original = last.get((ip_id, payload * 20), (-99, row))
        original = original if at_ms - before <= 10 else row
        last[ip_id, payload * 20] = (at_ms, original)
        expected.append(original)

    assert find_copies(decode(tape.capture())).original.tolist() == expected


def sample() -> bytes:
    """Return a small capture with a call, its sound, and a TCP stream."""
    tape = Tape()
    dialog(tape)
    for number in range(12):
        tape.udp(300 + 20 * number, CARRIER, PHONE, rtp(number, 160 * number))
    tape.tcp(600, PHONE, SBC, Leg(call_id="tcp").request(), at=0)
    return tape.data()


SAMPLE = sample()


@UNHURRIED
@given(st.integers(24, len(SAMPLE) - 1), st.binary(max_size=6), st.booleans())
def test_a_damaged_capture_gives_sums_or_a_refusal(at: int, junk: bytes, cut: bool) -> None:
    """Whatever is overwritten or cut off, the waterfall sums, or the input is refused."""
    data = SAMPLE[:at] + junk + (b"" if cut else SAMPLE[at + len(junk) :])
    try:
        tap = read_tap(parse_capture(data), Premises())
    except InputError:
        return

    assert len(tap.calls) == tap.waterfall.calls
    assert sum(port.frames for port in tap.ports) == tap.waterfall.frames
