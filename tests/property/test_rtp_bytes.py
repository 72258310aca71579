"""Whatever the bytes: figures are those of a receiver that counts packet by packet (RFC 3550)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.packets.capture import parse as parse_capture
from harness.packets.frame import Endpoint, decode
from harness.premises import Premises
from probetest.dataset import read_tap
from probetest.duplicates import find_copies
from probetest.flows import groups
from probetest.media.rtp import count, jitter
from probetest.sip.brief import brief
from probetest.sip.message import parse
from probetest.sip.sdp import parse as parse_sdp
from probetest.sip.seen import split
from tests.sip_wire import CARRIER, PHONE, SBC, Leg, Tape, dialog, rtp, sdp

UNHURRIED = settings(deadline=None)  # a busy machine is not a bug
MAX_DROPOUT, MAX_MISORDER = 3000, 100


def receiver(sequence: list[int]) -> tuple[int, int, int, int]:
    """Return expected, received, duplicates and late of one stream, packet by packet (A.1)."""
    highest = base = sequence[0]
    extended, seen, twice, late = [base], {base}, 0, 0
    for number in sequence[1:]:
        step = (number - highest + 32_768) % 65_536 - 32_768
        place = highest + step
        extended.append(place)
        if place in seen:
            twice += 1
        elif place < highest:
            late += 1
        seen.add(place)
        highest = max(highest, place)
    return highest - base + 1, len(extended), twice, late


@st.composite
def plausible(draw: st.DrawFn) -> list[int]:
    """Return numbers of a stream with gaps, repetitions and late packets, but no restart."""
    place = draw(st.integers(0, 65_535))
    numbers = [place]
    for step in draw(st.lists(st.integers(-40, 60), max_size=60)):
        place = numbers[-1] + step
        numbers.append(place)
    return [number % 65_536 for number in numbers]


@UNHURRIED
@given(st.lists(plausible(), min_size=1, max_size=6))
def test_counts_are_those_of_a_receiver(streams: list[list[int]]) -> None:
    """Many streams at once give each what one receiver would have counted."""
    starts = np.cumsum([0, *map(len, streams[:-1])])
    found = count(starts, np.array([n for stream in streams for n in stream], np.int64))
    for number, stream in enumerate(streams):
        expected, received, twice, late = receiver(stream)
        names = ("expected", "received", "lost", "duplicates", "reordered")
        ours = tuple(int(getattr(found, name)[number]) for name in names)

        assert ours == (expected, received, expected - received, twice, late)
        assert (found.restarts[number], found.odd[number]) == (0, 0)


@UNHURRIED
@given(st.lists(st.lists(st.integers(0, 65_535), min_size=1, max_size=30), min_size=1, max_size=5))
def test_any_numbers_give_sane_counts(streams: list[list[int]]) -> None:
    """Every packet is received or odd, and no stream's figures depend on its neighbours."""
    starts = np.cumsum([0, *map(len, streams[:-1])])
    found = count(starts, np.array([n for stream in streams for n in stream], np.int64))
    for number, stream in enumerate(streams):
        alone = count(np.zeros(1, np.int64), np.array(stream, np.int64))
        assert found.received[number] + found.odd[number] == len(stream)
        assert found.lost[number] == alone.lost[0]
        assert found.duplicates[number] == alone.duplicates[0] >= 0
        assert found.reordered[number] == alone.reordered[0] >= 0


packets = st.lists(
    st.tuples(st.integers(-1000, 5000), st.integers(0, 2**32 - 1)), min_size=1, max_size=120
)


@UNHURRIED
@given(st.lists(packets, min_size=1, max_size=4))
def test_jitter_is_the_recurrence(streams: list[list[tuple[int, int]]]) -> None:
    """J += (|D| - J) / 16 one after the other, in each stream from 0 (A.8)."""
    at_ms, timestamp, expected = [], [], []
    for stream in streams:
        now, last, running, all_of_it = 0, None, 0.0, []
        for step, sent in stream:
            now += step
            if last is not None:
                units = (sent - last + 2**31) % 2**32 - 2**31
                running += (abs(step - units / 8) - running) / 16
            last = sent
            all_of_it.append(running)
            at_ms.append(now)
            timestamp.append(sent)
        expected.append((all_of_it[-1], max(all_of_it)))
    starts = np.cumsum([0, *map(len, streams[:-1])])
    at_ns = np.array(at_ms, np.int64) * 1_000_000
    clock, fresh = np.full(len(streams), 8000), np.zeros(len(at_ns), np.bool_)
    found = jitter(starts, at_ns, np.array(timestamp, np.int64), clock, fresh)

    for number, (last_ms, highest_ms) in enumerate(expected):
        assert found.last[number] == pytest.approx(last_ms, rel=1e-6, abs=1e-6)
        assert found.highest[number] == pytest.approx(highest_ms, rel=1e-6, abs=1e-6)


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


SAMPLES = (
    Leg().request(body=sdp(CARRIER)),
    Leg(to_tag="b", extra=(("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-x"),)).request("BYE"),
    Leg(caller=f'"A, B" <sip:+16505550112@{PHONE.address};user=phone>').response(200),
    Leg().request().replace(b"Call-ID", b"i").replace(b"From", b"f").replace(b"Via", b"v"),
    Leg().request().replace(b"CSeq: ", b"cseq :\t"),
    Leg().request().replace(b";tag=a", b" ; tag = a ;x"),
    Leg().request().replace(b"\r\nCSeq", b"\r\n more\r\nCSeq"),
)
PIECES = (b"\r\n", b" ", b"\t", b";", b'"', b"<", b">", b",", b"tag=", b":", b"\n", b"=", b"\xff")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a message with some bytes replaced, added or left out."""
    data = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.sampled_from(PIECES))
    return bytes(data)


@settings(UNHURRIED, max_examples=400)
@given(damaged())
def test_the_gist_of_a_message_is_what_parse_reads(data: bytes) -> None:
    """Where the whole message reads, the quick reading says the same."""
    try:
        whole = parse(data)
    except InputError:
        return
    gist = brief(data)

    assert gist.status == (whole.status or 0)
    assert (gist.number, gist.method) == whole.cseq
    assert (gist.call_id, gist.from_tag, gist.to_tag) == (
        *(whole.call_id, whole.from_tag, whole.to_tag),
    )
    assert (gist.branch, gist.body) == (whole.top_via_branch, whole.body)


@UNHURRIED
@given(st.lists(damaged(), max_size=4), st.booleans(), st.integers(0, 60))
def test_a_stream_is_split_into_parts_in_order(
    messages: list[bytes], from_start: bool, cut: int
) -> None:
    """Parts do not overlap, and each is where it says; a whole one reads as far as its length."""
    data = b"".join(messages)[cut:]
    end = 0
    for at, part, _ in split(data, from_start=from_start):
        assert at >= end
        assert data[at : at + len(part)] == part
        end = at + len(part)


@UNHURRIED
@given(st.binary(max_size=200) | st.sampled_from(SAMPLES))
def test_sdp_never_raises(data: bytes) -> None:
    """Any bytes give streams, or none."""
    for media in parse_sdp(b"v=0\r\n" + data):
        assert isinstance(media.place, Endpoint)


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
