"""The record of each stream, once all packets were read: joined to its call, and to the other way.

    found by
    SDP                  the place it goes to was announced before it began, or within 2 s
    SDP of its source    the place it comes from was: the other end sent no SDP, or sits behind NAT
    SDP, later           one of both was announced while it went on
    other direction      the stream between the same ports, the other way, is joined to a call
    sequence             nothing announced it: it counts up as RTP does

Law: a stream is told only when it was announced or counts up; what joins it to a call is told too.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.packets.capture import Ints
from harness.packets.headers import Bools
from harness.records import StreamRecord, WiresharkRecord
from probetest.media.announcements import SLACK_NS, Announcements
from probetest.media.events import Events
from probetest.media.meanings import Known, Meanings, announced_ports
from probetest.media.mos import ASSUMED_DELAY_MS, quality
from probetest.media.rtcp import RtcpReader
from probetest.media.rtp import Places
from probetest.media.stream_table import StreamTable
from probetest.media.wireshark import Wireshark

MIN_PACKETS = 8  # for a stream that nobody announced
MIN_IN_STEP = 0.75  # of its steps are +1; ids of DNS and text never are
_MS = 1_000_000
_DIGITS = 6  # of a millisecond: where a block ends changes what is behind them
_CLOCK_MS = 1000.0  # of steps, below which nothing is said of a clock
_SSRC = 0xFFFF_FFFF
_IPV4_BYTES = 4


@dataclass(slots=True)
class Facts:
    """All that is kept of the streams of a device."""

    device: str = ""
    delay_ms: float = ASSUMED_DELAY_MS
    places: Places = field(default_factory=Places)
    table: StreamTable = field(default_factory=StreamTable)
    meanings: Meanings = field(init=False)
    events: dict[int, Events] = field(default_factory=dict)
    wireshark: Wireshark | None = None

    def __post_init__(self) -> None:
        """Let what knows the codecs know the places."""
        self.meanings = Meanings(self.places)

    def renumber(self, number: Ints) -> None:
        """Give each stream its new *number*; those below 0 are gone."""
        self.meanings.renumber(number)
        self.events = {int(number[s]): one for s, one in self.events.items() if number[s] >= 0}


class _Rows:
    """The rows of the streams that are told, as lists: one of them is read field by field."""

    def __init__(self, facts: Facts, streams: Ints) -> None:
        """Take what is wanted out of the table."""
        table = facts.table
        self.facts, self.streams = facts, streams.tolist()
        self.columns = {name: _plain(column[streams]) for name, column in table.columns.items()}
        self.runs = table.runs[streams].tolist()
        self.addresses = table.addresses[streams].tolist()
        self.sessions = table.sessions[streams].tolist()
        steps = np.maximum(table.columns["steps"][streams], 1)
        mean = table.columns["jitter_total"][streams] / steps
        self.columns["jitter_mean"] = _plain(mean)
        self._by_ends: dict[tuple[int, int], list[int]] = {}  # places here, in order of time
        self.earlier: list[int] = []  # streams before one, of the same ends
        ports = (session >> 32 for session in self.sessions)
        for place, key in enumerate(zip(self.addresses, ports, strict=True)):
            own = self._by_ends.setdefault(key, [])
            self.earlier.append(len(own))
            own.append(place)

    def ends(self, place: int) -> tuple[str, int, str, int]:
        """Return address and port that a stream comes from and goes to."""
        source, destination = self.facts.places.ends(self.addresses[place])
        session = self.sessions[place]
        return _text(source), session >> 48, _text(destination), session >> 32 & 0xFFFF

    def other_way(self, place: int) -> list[int]:
        """Return the streams of the other direction, between the same ports."""
        turned = self.facts.places.turned(self.addresses[place])
        if turned is None:
            return []
        ports = self.sessions[place] >> 32
        return self._by_ends.get((turned, (ports & 0xFFFF) << 16 | ports >> 16), [])

    def joined(self, place: int) -> tuple[str, str]:
        """Return the Call-ID of a stream, and how both were found."""
        known = self.facts.meanings.known
        own = known.get(self.streams[place])
        if own is not None:
            return own.announcement.call_id, own.rule
        first, last = self.columns["first_ns"], self.columns["last_ns"]
        for other in self.other_way(place):
            there = known.get(self.streams[other])
            if there and first[other] <= last[place] and first[place] <= last[other]:
                return there.announcement.call_id, "other direction"
        return "", "sequence"

    def both_ways(self, place: int) -> bool:
        """Say whether a stream of the other direction has the same SSRC."""
        ssrc = self.sessions[place] & _SSRC
        return any(self.sessions[one] & _SSRC == ssrc for one in self.other_way(place))


def counts_up(table: StreamTable) -> Bools:
    """Say of each stream whether its numbers go up by one, packet by packet, most of the time."""
    state, size = table.columns, len(table)
    packets, ones = state["packets"][:size], state["in_step"][:size] - 1
    up: Bools = (packets >= MIN_PACKETS) & (ones >= MIN_IN_STEP * (packets - 1))
    return up


def records(
    facts: Facts, announced: Announcements, rtcp: RtcpReader
) -> tuple[Ints, tuple[StreamRecord, ...]]:
    """Return the streams that are told, by number and as records, in order of time."""
    table = facts.table
    facts.meanings.join_again(table, announced)
    wanted = counts_up(table)
    state, size = table.columns, len(table)
    lasted = state["last_ns"][:size] - state["first_ns"][:size] > SLACK_NS
    unknown = np.flatnonzero(lasted & ~state["announced"][:size])
    for stream in announced_ports(table, unknown, announced).tolist():
        if later := _later(facts, stream, announced):
            facts.meanings.known[stream] = later
    there = np.fromiter(facts.meanings.known, np.int64, len(facts.meanings.known))
    wanted[there] = True
    wanted &= state["packets"][:size] > 0
    streams = np.flatnonzero(wanted)
    order = np.lexsort((state["frame"][streams], state["first_ns"][streams]))
    streams = streams[order]
    rows = _Rows(facts, streams)
    return streams, tuple(_record(rows, place, rtcp) for place in range(len(streams)))


def _later(facts: Facts, stream: int, announced: Announcements) -> Known | None:
    """Return what was announced of a stream while it went on already."""
    state = facts.table.columns
    begin_ns, end_ns = int(state["first_ns"][stream]), int(state["last_ns"][stream])
    for key in facts.meanings.keys(facts.table, stream):
        if found := announced.between(key, begin_ns, end_ns):
            return Known(found, "SDP, later")
    return None


def _record(rows: _Rows, place: int, rtcp: RtcpReader) -> StreamRecord:
    """Return the record of one stream."""
    facts, state, stream = rows.facts, rows.columns, rows.streams[place]
    source, source_port, destination, destination_port = rows.ends(place)
    kind, meaning = facts.meanings.most(
        stream, state["type"][place], state["type_packets"][place], state["meaning"][place]
    )
    ssrc = rows.sessions[place] & _SSRC
    call_id, found_by = rows.joined(place)
    runs = tuple(rows.runs[place])
    keys = facts.events[stream].records() if stream in facts.events else ()
    has_sound, far = state["sounds"][place] > 0, rtcp.far(ssrc, destination)
    expected, missing = state["expected"][place], state["missing"][place]
    switched = state["switched"][place]
    heard = quality(
        meaning.name,
        expected=expected - switched,
        missing=missing,
        runs=sum(runs),
        delay_ms=facts.delay_ms,
    )
    far_jitter = None if far is None else far.jitter
    far_jitter_ms = None if far_jitter is None else far_jitter * 1e3 / meaning.clock_hz
    least_ms = state["least_ms"][place]
    sent_hz = rtcp.sender_rate_hz(ssrc, source)
    ratio = _ratio(state["sent_ms"][place], state["passed_ms"][place])
    return StreamRecord(
        at_ns=state["first_ns"][place],
        end_ns=state["last_ns"][place],
        device=facts.device,
        source=_place(source, source_port),
        destination=_place(destination, destination_port),
        ssrc=ssrc,
        payload_type=kind,
        codec=meaning.name,
        clock_hz=meaning.clock_hz,
        clock_rule=meaning.rule,
        found_by=found_by,
        call_id=call_id,
        packets=state["packets"][place],
        copies=state["copies"][place],
        expected=expected,
        lost=expected - state["received"][place],
        duplicates=state["duplicates"][place],
        reordered=state["reordered"][place],
        restarts=state["restarts"][place],
        odd=state["odd"][place],
        jitter_ms=state["jitter"][place] if has_sound else None,
        jitter_mean_ms=state["jitter_mean"][place] if has_sound else None,
        jitter_max_ms=state["jitter_highest"][place] if has_sound else None,
        gap_max_ms=state["gap_ns"][place] / _MS,
        digits="".join(one.key for one in keys),
        frame=state["frame"][place],
        missing=missing,
        switched=switched,
        loss_runs=runs,
        payload_bytes=state["bytes"][place],
        markers=state["markers"][place],
        packet_ms=least_ms if isfinite(least_ms) else None,
        type_changes=state["type_changes"][place],
        clock_jumps=state["clock_jumps"][place],
        clock_seen_hz=None if ratio is None else round(meaning.clock_hz * ratio, 1),
        skew_ppm=None if ratio is None else _ppm(ratio),
        earlier_sources=rows.earlier[place],
        both_ways=rows.both_ways(place),
        keys=keys,
        r_factor=heard.r,
        mos=heard.mos,
        mos_rule=heard.rule,
        far_lost=None if far is None else far.lost,
        far_jitter_ms=None if far_jitter_ms is None else round(far_jitter_ms, _DIGITS),
        round_trip_ms=None if far is None else far.round_trip_ms,
        sender_clock_ppm=None if sent_hz is None else _ppm(sent_hz / meaning.clock_hz),
        wireshark=_as_wireshark(facts, stream),
    )


def _ratio(sent_ms: float, passed_ms: float) -> float | None:
    """Return how fast the sender's clock runs against ours; jitter makes it unsure."""
    return sent_ms / passed_ms if passed_ms >= _CLOCK_MS else None


def _ppm(ratio: float) -> float:
    """Return how much a ratio is above 1."""
    return round((ratio - 1) * 1e6, 1)


def _plain(column: npt.NDArray[Any]) -> list[Any]:
    """Return a column as a list, figures to the digits that are told."""
    rounded = np.round(column, _DIGITS) if column.dtype.kind == "f" else column
    values: list[Any] = rounded.tolist()
    return values


def _as_wireshark(facts: Facts, stream: int) -> WiresharkRecord | None:
    """Return what Wireshark says of a stream."""
    if facts.wireshark is None:
        return None
    key = int(facts.table.addresses[stream]), int(facts.table.sessions[stream])
    return facts.wireshark.streams[key].record()


@lru_cache(maxsize=65_536)  # a capture has many streams and few hosts
def _text(address: bytes) -> str:
    """Return an address of 4 or 16 bytes."""
    if len(address) == _IPV4_BYTES:
        return "{}.{}.{}.{}".format(*address)
    return str(ip_address(address))


def _place(address: str, port: int) -> str:
    """Return address:port, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
