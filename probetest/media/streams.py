"""RTP streams of a capture, with what a receiver at the tap would have measured.

    UDP ─▶ version 2, not RTCP ─▶ by addresses, ports, SSRC ─▶ announced in SDP, or counting up as
                                                               RTP does ─▶ figures

Laws: a stream is known by its announcement or by its own sequence numbers, never by its ports
alone; copies that the tap made are left out of every figure and counted beside it; telephone
events and comfort noise do not count for jitter, their timestamps stand still or jump.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import Datagrams
from harness.packets.headers import Bools
from harness.records import StreamRecord
from probetest.duplicates import Copies, in_order
from probetest.flows import flow_words, groups
from probetest.media.announcements import Announcement, Announcements
from probetest.media.rtp import (
    EVENT_BYTES,
    Counts,
    Floats,
    Packets,
    count,
    event_digits,
    headers,
    is_rtcp,
    jitter,
    lengths,
    steps,
    version_2,
)
from probetest.sip.sdp import EVENT, Codec, codec

MIN_PACKETS = 8  # for a stream that nobody announced
MIN_IN_STEP = 0.75  # of its steps are +1; ids of DNS and text never are
MAX_KEYS = 256  # pressed in one stream, that are kept
MS = 1_000_000
_QUIET = frozenset({EVENT, "cn"})  # names in lower case
_FIRST_DYNAMIC, _TYPES = 96, 128  # RFC 3551 section 3
_RTCP_BYTES, _RTCP_TYPES = 8, (200, 207)  # the least a packet has; SR to XR


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The streams of one capture, and the datagram rows that are RTP and RTCP, copies included."""

    streams: tuple[StreamRecord, ...]
    rtp_rows: Ints
    rtcp_rows: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Grouped:
    """Packets without copies, in order of stream and time; `stream` counts from 0."""

    packets: Packets
    stream: Ints
    starts: Ints
    copies: Ints  # left out, a row a stream


@dataclass(frozen=True, slots=True, eq=False)
class _Meanings:
    """What the packets of each stream carry, and how that is known."""

    announcements: list[Announcement | None]
    codecs: list[Codec]  # of most packets that carry sound
    payload_types: list[int]
    event: Bools  # a row a packet
    quiet: Bools  # events and comfort noise


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """What was measured, a row a stream."""

    counts: Counts
    measured: dict[int, int]  # stream to row of the next three; a stream can have no sound
    jitter_ms: Floats
    jitter_mean_ms: Floats
    jitter_max_ms: Floats
    gap_max_ms: Floats
    digits: defaultdict[int, str] = field(default_factory=lambda: defaultdict(str))


def read_streams(
    datagrams: Datagrams, copies: Copies, announced: Announcements, *, device: str = ""
) -> Reading:
    """Return every RTP stream, by its first packet, and which rows are RTP and RTCP."""
    rows, second = version_2(datagrams)
    packets = headers(datagrams, in_order(datagrams.at_ns, rows[~is_rtcp(second)]))
    words = (*flow_words(datagrams.select(packets.row)), packets.ssrc.astype(np.uint64))
    order, starts = groups(words)
    packets = packets.select(order)
    stream = np.repeat(np.arange(len(starts)), lengths(starts, len(order)))
    every = _grouped(packets, stream, copies.is_copy[packets.row])
    by_sdp = _announced(datagrams, every, announced)
    wanted = by_sdp | _counts_up(every)
    if not wanted.all():
        kept = wanted[stream]
        packets, stream = packets.select(kept), stream[kept]
        every = _grouped(packets, stream, copies.is_copy[packets.row])
    return Reading(
        streams=_records(datagrams, every, announced, by_sdp[wanted], device),
        rtp_rows=packets.row,
        rtcp_rows=_rtcp_rows(datagrams, announced),
    )


def _grouped(packets: Packets, stream: Ints, copy: Bools) -> _Grouped:
    """Return *packets* without copies; their streams, in order, are numbered anew from 0."""
    stream = np.cumsum(np.diff(stream, prepend=stream[:1]) != 0)
    inner = stream[~copy]
    return _Grouped(
        packets=packets.select(~copy) if copy.any() else packets,
        stream=inner,
        starts=np.flatnonzero(np.diff(inner, prepend=-1)),  # a copy's original is in its stream
        copies=np.bincount(stream[copy], minlength=int(stream[-1]) + 1 if len(stream) else 0),
    )


def _announced(datagrams: Datagrams, every: _Grouped, announced: Announcements) -> Bools:
    """Say of each stream whether SDP announced the place where it went."""
    found = np.zeros(len(every.starts), np.bool_)
    first = every.packets.row[every.starts]
    ports = np.array(sorted(set(announced.ports())), np.int64)
    for number in np.flatnonzero(np.isin(datagrams.destination_port[first], ports)).tolist():
        row = int(first[number])
        place, at_ns = datagrams.destination(row), int(datagrams.at_ns[row])
        found[number] = announced.find(place, at_ns) is not None
    return found


def _counts_up(every: _Grouped) -> Bools:
    """Say of each stream whether its numbers go up by one, packet by packet, most of the time."""
    sequence = every.packets.sequence
    size = lengths(every.starts, len(sequence))
    ones = np.bincount(every.stream[steps(every.starts, sequence) == 1], minlength=len(size))
    up: Bools = (size >= MIN_PACKETS) & (ones >= MIN_IN_STEP * (size - 1))
    return up


def _rtcp_rows(datagrams: Datagrams, announced: Announcements) -> Ints:
    """Return the rows that hold RTCP: a known packet type, and a length that fits (section 6.4)."""
    rows, second = version_2(datagrams, at_least_bytes=_RTCP_BYTES)
    some = (second >= _RTCP_TYPES[0]) & (second <= _RTCP_TYPES[1])
    rows = rows[some]
    words = at_every_byte(datagrams.data, ">u2")[datagrams.payload_offset[rows] + 2]
    fits = 4 * (words.astype(np.int64) + 1) <= datagrams.payload_bytes[rows]
    ports = np.array(sorted({place.port for place in announced.rtcp_places}), np.int64)
    known = np.isin(datagrams.destination_port[rows], ports) | (second[some] <= _RTCP_TYPES[0] + 1)
    return rows[fits & known]


def _records(
    datagrams: Datagrams, found: _Grouped, announced: Announcements, by_sdp: Bools, device: str
) -> tuple[StreamRecord, ...]:
    """Return the record of each stream, by its first packet."""
    meanings = _meanings(datagrams, found, announced)
    figures = _figures(datagrams, found, meanings)
    ends = found.starts + lengths(found.starts, len(found.stream)) - 1
    records = []
    for number, (start, end) in enumerate(zip(found.starts.tolist(), ends.tolist(), strict=True)):
        row, known = int(found.packets.row[start]), meanings.announcements[number]
        counts, place = figures.counts, figures.measured.get(number)
        records.append(
            StreamRecord(
                at_ns=int(found.packets.at_ns[start]),
                end_ns=int(found.packets.at_ns[end]),
                device=device,
                source=str(datagrams.source(row)),
                destination=str(datagrams.destination(row)),
                ssrc=int(found.packets.ssrc[start]),
                payload_type=meanings.payload_types[number],
                codec=meanings.codecs[number].name,
                clock_hz=meanings.codecs[number].clock_hz,
                clock_rule=meanings.codecs[number].rule,
                found_by="SDP" if by_sdp[number] else "sequence",
                call_id="" if known is None else known.call_id,
                packets=end - start + 1,
                copies=int(found.copies[number]),
                expected=int(counts.expected[number]),
                lost=int(counts.lost[number]),
                duplicates=int(counts.duplicates[number]),
                reordered=int(counts.reordered[number]),
                restarts=int(counts.restarts[number]),
                odd=int(counts.odd[number]),
                jitter_ms=None if place is None else float(figures.jitter_ms[place]),
                jitter_mean_ms=None if place is None else float(figures.jitter_mean_ms[place]),
                jitter_max_ms=None if place is None else float(figures.jitter_max_ms[place]),
                gap_max_ms=float(figures.gap_max_ms[number]),
                digits=figures.digits[number],
                frame=int(datagrams.frame[row]),
            )
        )
    return tuple(sorted(records, key=lambda one: (one.at_ns, one.frame)))


def _meanings(datagrams: Datagrams, found: _Grouped, announced: Announcements) -> _Meanings:
    """Return what each stream carries: what SDP says, else RFC 3551, else what it looks like."""
    packets = found.packets
    pairs, place = _distinct(found.stream * _TYPES + packets.payload_type)
    sizes = np.bincount(place, minlength=len(pairs))
    other_size = np.bincount(place[packets.size != EVENT_BYTES], minlength=len(pairs))
    known = [_announcement(datagrams, int(row), announced) for row in packets.row[found.starts]]
    best: dict[int, tuple[int, int, Codec]] = {}
    is_event, is_quiet = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.bool_)
    for pair, (key, size, other) in enumerate(
        zip(pairs.tolist(), sizes.tolist(), other_size.tolist(), strict=True)
    ):
        number, payload_type = divmod(key, _TYPES)
        meaning = _codec(known[number], payload_type, only_four_bytes=not other)
        name = meaning.name.lower()
        is_event[pair], is_quiet[pair] = name == EVENT, name in _QUIET
        rank = 0 if name in _QUIET else size
        if number not in best or rank > best[number][0]:
            best[number] = (rank, payload_type, meaning)
    chosen = [best[number] for number in range(len(known))]
    return _Meanings(
        announcements=known,
        codecs=[meaning for _, _, meaning in chosen],
        payload_types=[payload_type for _, payload_type, _ in chosen],
        event=is_event[place],
        quiet=is_quiet[place],
    )


def _distinct(keys: Ints) -> tuple[Ints, Ints]:
    """Return the distinct *keys*, sorted, and the place of each; most are as the one before."""
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    distinct, place = np.unique(keys[begins], return_inverse=True)
    return distinct, np.repeat(place, lengths(begins, len(keys)))


def _announcement(datagrams: Datagrams, row: int, announced: Announcements) -> Announcement | None:
    """Return what was announced for the place a stream went to, else for that it came from."""
    at_ns = int(datagrams.at_ns[row])
    known = announced.find(datagrams.destination(row), at_ns)
    return known or announced.find(datagrams.source(row), at_ns)


def _codec(known: Announcement | None, payload_type: int, *, only_four_bytes: bool) -> Codec:
    """Return what a payload type means in a stream."""
    if known is not None and payload_type in known.media.codecs:
        return known.media.codecs[payload_type]
    meaning = codec(payload_type)
    if payload_type >= _FIRST_DYNAMIC and only_four_bytes:  # no codec's packets are so short
        return Codec(EVENT, meaning.clock_hz, "4 bytes in every packet")
    return meaning


def _figures(datagrams: Datagrams, found: _Grouped, meanings: _Meanings) -> _Figures:
    """Return what was measured of each stream."""
    packets = found.packets
    counts = count(found.starts, packets.sequence)
    sound = np.flatnonzero(~meanings.quiet)
    streams, starts = np.unique(found.stream[sound], return_index=True)
    clocks = np.array([one.clock_hz for one in meanings.codecs], np.int64)
    measured = jitter(
        starts.astype(np.int64),
        packets.at_ns[sound],
        packets.timestamp[sound],
        clocks[streams],
        counts.fresh[sound],
    )
    gap = np.diff(packets.at_ns, prepend=0)
    gap[found.starts] = 0
    figures = _Figures(
        counts=counts,
        measured={stream: place for place, stream in enumerate(streams.tolist())},
        jitter_ms=measured.last,
        jitter_mean_ms=measured.mean,
        jitter_max_ms=measured.highest,
        gap_max_ms=np.maximum.reduceat(gap, found.starts) / MS if len(gap) else np.zeros(0),
    )
    figures.digits.update(_digits(datagrams, found, meanings.event))
    return figures


def _digits(datagrams: Datagrams, found: _Grouped, is_event: Bools) -> dict[int, str]:
    """Return the keys pressed in each stream, in order; all packets of one have one timestamp."""
    packets = found.packets
    rows = np.flatnonzero(is_event & (packets.size >= EVENT_BYTES))
    event = datagrams.data[packets.offset[rows]].astype(np.int64)
    keys = np.column_stack((found.stream[rows], packets.timestamp[rows], event))
    _, first = np.unique(keys, axis=0, return_index=True)
    first.sort()
    pressed: dict[int, str] = {}
    for number in np.unique(found.stream[rows]).tolist():
        own = first[found.stream[rows[first]] == number][:MAX_KEYS]
        pressed[number] = event_digits(event[own])
    return pressed
