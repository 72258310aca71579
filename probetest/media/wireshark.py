"""The figures of Wireshark 4.0 (`tshark -q -z rtp,streams`), computed as it does: packet by packet.

Laws: this is its convention, not RFC 3550's, down to the order of its floating point operations;
it is worked out on request only, for it takes each packet by itself, the tap's copies included.
Where the two conventions differ is told in docs/media.md.

Source: Wireshark's ui/tap-rtp-common.c as its version 4.0 behaves, found by experiment.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.records import WiresharkRecord
from probetest.media.rtp import Packets

_NOISE = (13, 19)  # payload types of comfort noise
_TYPE, _LAST = 0x7F, 0xFFFF
_STAMPS, _HALF_STAMPS = 1 << 32, 1 << 31
_UNSET, _UNASKED = -1.0, -1  # Wireshark prints the first where it has no figure

ClockOf = Callable[[int, int, int], int]  # addresses, session, payload type: Hz, 0 not known


@dataclass(slots=True)
class _Stream:
    """What Wireshark keeps of a stream."""

    start: int  # number of the first packet, and of the last one
    stop: int
    kind: int
    first_stamp: int
    time_ms: float  # of the last packet that was not from before the first one
    nominal_ms: float = 0.0  # since the first packet, by the timestamp of the last one with a clock
    seen: int = 1
    clocks: dict[int, int] = field(default_factory=dict)  # by payload type
    cycles: int = 0
    under: bool = False
    jitter: float = 0.0
    delta: float = 0.0
    delta_min: float = _UNSET
    delta_mean: float = 0.0
    delta_max: float = 0.0
    jitter_min: float = _UNSET
    jitter_mean: float = 0.0
    jitter_max: float = 0.0

    def record(self) -> WiresharkRecord:
        """Return it as Wireshark prints it."""
        expected = self.stop + self.cycles * 65_536 - self.start + 1
        return WiresharkRecord(
            packets=self.seen,
            lost=expected - self.seen,
            delta_min_ms=self.delta_min,
            delta_mean_ms=self.delta_mean,
            delta_max_ms=self.delta_max,
            jitter_min_ms=self.jitter_min,
            jitter_mean_ms=self.jitter_mean,
            jitter_max_ms=self.jitter_max,
        )


class Wireshark:
    """Every stream as Wireshark sees it, by addresses and session."""

    def __init__(self) -> None:
        """Begin with none."""
        self.streams: dict[tuple[int, int], _Stream] = {}
        self._start_ns: int | None = None

    def add(self, found: Packets, clock_of: ClockOf) -> None:
        """Take in packets in order of time, copies included."""
        if self._start_ns is None and len(found):
            self._start_ns = int(found.at_ns[0])
        start_ns = self._start_ns or 0
        columns = (found.at_ns, found.addresses, found.session, found.sequence)
        rest = (found.timestamp, found.second)
        rows = zip(*(column.tolist() for column in (*columns, *rest)), strict=True)
        for at_ns, addresses, session, sequence, stamp, second in rows:
            seconds, part_ns = divmod(at_ns - start_ns, 1_000_000_000)
            now = seconds * 1000.0 + part_ns / 1_000_000
            key = addresses, session
            one = self.streams.get(key)
            if one is None:
                self.streams[key] = _Stream(sequence, sequence, second & _TYPE, stamp, now)
                continue
            clock_hz = one.clocks.get(second & _TYPE, _UNASKED)
            if clock_hz == _UNASKED:
                clock_hz = one.clocks[second & _TYPE] = clock_of(*key, second & _TYPE)
            _next(one, now, (sequence, stamp, second), clock_hz)


def _next(one: _Stream, now: float, header: tuple[int, int, int], clock_hz: int) -> None:
    """Do what Wireshark does with one more packet."""
    sequence, stamp, second = header
    kind = second & _TYPE
    regular = kind not in _NOISE and one.kind not in _NOISE and not second >> 7
    one.kind = kind
    units = (stamp - one.first_stamp + _HALF_STAMPS) % _STAMPS - _HALF_STAMPS
    if units >= 0:  # a packet from before the first one is counted, and nothing else
        _count_turns(one, sequence)
        one.delta = now - one.time_ms
        if clock_hz:
            nominal = units / (clock_hz // 1000)
            current = abs(now - (one.time_ms + (nominal - one.nominal_ms)))
            one.jitter = (15 * one.jitter + current) / 16
            one.nominal_ms = nominal
        if regular:
            _add_regular(one, has_clock=clock_hz > 0)
        one.time_ms = now
    one.stop = sequence
    one.seen += 1


def _count_turns(one: _Stream, sequence: int) -> None:
    """Guess where the numbers turned."""
    turned = sequence < one.start or (sequence == 0 and one.stop == _LAST)
    if turned and not one.under:
        one.cycles, one.under = one.cycles + 1, True
    elif sequence > one.start and one.under:
        one.under = False


def _add_regular(one: _Stream, *, has_clock: bool) -> None:
    """Take a packet into the least, mean and highest figures."""
    one.delta_max = max(one.delta_max, one.delta)
    one.delta_min = one.delta if one.delta_min == _UNSET else min(one.delta_min, one.delta)
    one.delta_mean = (one.delta_mean * (one.seen - 1) + one.delta) / one.seen
    if has_clock:
        one.jitter_max = max(one.jitter_max, one.jitter)
        one.jitter_min = one.jitter if one.jitter_min == _UNSET else min(one.jitter_min, one.jitter)
        one.jitter_mean = (one.jitter_mean * (one.seen - 1) + one.jitter) / one.seen
