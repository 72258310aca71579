"""RTCP: what the two ends report of each other, beside what the tap saw itself.

Laws: a figure is taken only from a datagram whose packets fill it exactly, so that encrypted RTCP
(RFC 3711) gives none; what an end reports stays apart from what the tap measured; what is kept of a
session does not grow with its packets.

    round trip = when the report passed the tap - when the sender report that it names did - DLSR

That is the way from the tap to the end that reports, and back, not the whole way between the ends:
the report of the other end gives the rest.

Sources: RFC 3550 section 6.4 and A.2, RFC 3611, RFC 4585 section 6.1, RFC 5506, RFC 5761.
"""

import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from harness.packets.capture import Ints
from harness.packets.frame import Datagrams, Endpoint
from harness.packets.headers import Bools
from harness.records import RtcpRecord, legible
from probetest.media.announcements import Announcements, key_of

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = range(200, 208)
MAX_SESSIONS = 1 << 17  # reporting sources that are kept; of more, only packets are counted
_REPORT_BYTES = 24
_REMEMBERED = 8  # sender reports of a source: a report names one of the last
_TRIPS = 256
_CNAME, _VOIP_METRICS, _UNKNOWN = 1, 7, 127
_TURN, _HALF = 1 << 32, 1 << 31
_SECOND_NS = 1_000_000_000

Part = tuple[int, int, bytes]  # count or format, packet type, and what follows its first 4 bytes


@dataclass(frozen=True, slots=True)
class Far:
    """What a receiver says of one stream."""

    lost: int | None
    jitter: int | None  # in units of its timestamps
    round_trip_ms: float | None


@dataclass(slots=True)
class _Session:
    """What is known of one source that reports, in one direction."""

    at_ns: int
    frame: int
    end_ns: int = 0
    cname: str = ""
    kinds: Counter[int] = field(default_factory=Counter)
    malformed: int = 0
    about: int | None = None
    lost: int | None = None
    fraction: float | None = None
    jitter: int | None = None
    jitter_max: int = 0
    trips_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_TRIPS))
    r_factor: int | None = None
    mos: float | None = None
    sent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    first_ntp: int | None = None  # of a sender report, in 1/2**32 s
    last_ntp: int = 0
    last_timestamp: int = 0
    units: int = 0  # from the first sender report to the last, by its timestamps


class RtcpReader:
    """The reports of a device's captures."""

    def __init__(self, *, device: str = "") -> None:
        """Begin with none."""
        self._device = device
        self._sessions: dict[tuple[Endpoint, Endpoint, int], _Session] = {}
        self._senders: dict[int, deque[tuple[int, int]]] = {}  # sender reports by SSRC
        self._reports: dict[tuple[int, str], _Session] = {}  # by SSRC told of, and who tells
        self._reporters: dict[tuple[int, str], _Session] = {}  # by SSRC and address
        self.by_interface: Counter[int] = Counter()

    def add(self, datagrams: Datagrams, rows: Ints, copy: Bools, known: Announcements) -> None:
        """Take in *rows*, in order of time; those that are no RTCP are left out."""
        for row, is_copy in zip(rows.tolist(), copy.tolist(), strict=True):
            data = datagrams.payload(row)
            source, destination = datagrams.source(row), datagrams.destination(row)
            if not _is_rtcp(data):
                continue
            if data[1] not in (SR, RR) and not _is_known(source, destination, known):
                continue
            self.by_interface[int(datagrams.interface[row])] += 1
            if is_copy:
                continue
            key = source, destination, int.from_bytes(data[4:8])
            session = self._sessions.get(key)
            at_ns, frame = int(datagrams.at_ns[row]), int(datagrams.frame[row])
            if session is None:
                if len(self._sessions) >= MAX_SESSIONS:
                    continue
                session = self._sessions[key] = _Session(at_ns, frame)
                self._reporters[key[2], source.address] = session
            session.end_ns = at_ns
            self._read(session, key, data, at_ns)

    def far(self, ssrc: int, receiver: str) -> Far | None:
        """Return what the host at the address *receiver* says of a stream, None: nothing."""
        found = self._reports.get((ssrc, receiver))
        if found is None:
            return None
        trip = round(median(found.trips_ms), 3) if found.trips_ms else None
        return Far(found.lost, found.jitter, trip)

    def sender_rate_hz(self, ssrc: int, sender: str) -> float | None:
        """Return the timestamps a second of NTP that a sender reports, None: it does not."""
        found = self._reporters.get((ssrc, sender))
        if found is None or found.first_ntp is None:
            return None
        passed = (found.last_ntp - found.first_ntp) / _TURN
        return found.units / passed if passed > 1 and found.units > 0 else None

    def records(self) -> tuple[RtcpRecord, ...]:
        """Return what each source reported, by its first packet."""
        found = [self._record(key, one) for key, one in self._sessions.items()]
        return tuple(sorted(found, key=lambda one: (one.at_ns, one.frame, one.ssrc)))

    def _record(self, key: tuple[Endpoint, Endpoint, int], one: _Session) -> RtcpRecord:
        source, destination, ssrc = key
        kinds = one.kinds
        return RtcpRecord(
            at_ns=one.at_ns,
            end_ns=one.end_ns,
            device=self._device,
            source=str(source),
            destination=str(destination),
            ssrc=ssrc,
            cname=one.cname,
            packets=sum(kinds.values()),
            sender_reports=kinds[SR],
            receiver_reports=kinds[RR],
            byes=kinds[BYE],
            apps=kinds[APP],
            extended_reports=kinds[XR],
            feedback=kinds[RTPFB] + kinds[PSFB],
            malformed=one.malformed,
            about_ssrc=one.about,
            far_lost=one.lost,
            far_fraction_max=one.fraction,
            far_jitter=one.jitter,
            far_jitter_max=None if one.jitter is None else one.jitter_max,
            round_trip_ms=round(median(one.trips_ms), 3) if one.trips_ms else None,
            far_r=one.r_factor,
            far_mos=one.mos,
            frame=one.frame,
        )

    def _read(
        self, session: _Session, key: tuple[Endpoint, Endpoint, int], data: bytes, at_ns: int
    ) -> None:
        """Take in the packets of one datagram."""
        parts = tuple(_parts(data))
        if not parts:
            session.malformed += 1
            session.kinds[data[1]] += 1
            return
        for count, kind, body in parts:
            session.kinds[kind] += 1
            if kind == SR:
                self._sender(session, body, at_ns)
            if kind in (SR, RR):
                start = 24 if kind == SR else 4
                for at in range(start, start + _REPORT_BYTES * count, _REPORT_BYTES):
                    self._report(session, key, body[at : at + _REPORT_BYTES], at_ns)
            elif kind == SDES:
                session.cname = _cname(body) or session.cname
            elif kind == XR:
                _extended(session, body)

    def _sender(self, session: _Session, body: bytes, at_ns: int) -> None:
        """Take in what a sender report says of its clocks."""
        ssrc, ntp, timestamp = struct.unpack_from(">IQI", body)
        if not ntp:  # a sender without a wall clock (section 6.4.1)
            return
        if len(self._senders) < MAX_SESSIONS or ssrc in self._senders:
            sent = self._senders.setdefault(ssrc, session.sent)
            sent.append((ntp >> 16 & 0xFFFF_FFFF, at_ns))
        if session.first_ntp is None:
            session.first_ntp = ntp
        elif ntp <= session.last_ntp:
            return
        else:
            step = (timestamp - session.last_timestamp + _HALF) % _TURN - _HALF
            session.units += step
        session.last_ntp, session.last_timestamp = ntp, timestamp

    def _report(
        self, session: _Session, key: tuple[Endpoint, Endpoint, int], block: bytes, at_ns: int
    ) -> None:
        """Take in a report block."""
        about, loss, _, jitter, last, delay = struct.unpack(">IIIIII", block)
        session.fraction = max(session.fraction or 0.0, (loss >> 24) / 256)
        lost = loss & 0xFF_FFFF
        session.lost = lost - (1 << 24) if lost >> 23 else lost
        session.jitter, session.jitter_max = jitter, max(session.jitter_max, jitter)
        if len(self._reports) < MAX_SESSIONS or session.about is None:
            self._reports[about, key[0].address] = session
        session.about = about
        if not last:
            return
        for ntp, sent_ns in reversed(self._senders.get(about, ())):
            if ntp == last:
                trip_ns = at_ns - sent_ns - delay * _SECOND_NS // 65_536
                if 0 <= trip_ns < 60 * _SECOND_NS:
                    session.trips_ms.append(trip_ns / 1e6)
                return


def _is_rtcp(data: bytes) -> bool:
    """Say whether the first packet is of a known type and fits (section 6.4, A.2)."""
    return SR <= data[1] <= XR and 4 * (int.from_bytes(data[2:4]) + 1) <= len(data)


def _is_known(source: Endpoint, destination: Endpoint, known: Announcements) -> bool:
    """Say whether SDP announced RTCP at either end."""
    places = known.rtcp_places
    return key_of(destination) in places or key_of(source) in places


def _parts(data: bytes) -> Iterator[Part]:
    """Yield the packets of a datagram; none at all when they do not fill it exactly."""
    found, at = [], 0
    while at + 4 <= len(data):
        first, kind, words = struct.unpack_from(">BBH", data, at)
        end = at + 4 * (words + 1)
        if first >> 6 != 2 or not SR <= kind <= XR or end > len(data):  # noqa: PLR2004 - version
            return
        body = data[at + 4 : end]
        if first >> 5 & 1:  # padding, of the last packet only
            pad = body[-1] if body else 0
            if end != len(data) or not 0 < pad <= len(body):
                return
            body = body[:-pad]
        if not _holds(kind, first & 31, body):
            return
        found.append((first & 31, kind, body))
        at = end
    if at == len(data):
        yield from found


def _holds(kind: int, count: int, body: bytes) -> bool:
    """Say whether a packet is as long as its count asks for."""
    least = {SR: 24 + _REPORT_BYTES * count, RR: 4 + _REPORT_BYTES * count, BYE: 4 * count}
    least |= {SDES: 4 * count, APP: 8, RTPFB: 8, PSFB: 8, XR: 4}
    return len(body) >= least[kind]


def _cname(body: bytes) -> str:
    """Return the first CNAME of an SDES packet, "" without one."""
    at = 4
    while at + 2 <= len(body) and body[at]:
        kind, size = body[at], body[at + 1]
        if kind == _CNAME:
            return legible(body[at + 2 : at + 2 + size].decode("utf-8", "replace"))
        at += 2 + size
    return ""


def _extended(session: _Session, body: bytes) -> None:
    """Take in the VoIP metrics of an extended report (RFC 3611 section 4.7)."""
    at = 4
    while at + 4 <= len(body):
        kind, words = body[at], int.from_bytes(body[at + 2 : at + 4])
        block = body[at + 4 : at + 4 + 4 * words]
        if kind == _VOIP_METRICS and len(block) == 32:  # noqa: PLR2004 - always so long
            session.r_factor = None if block[20] == _UNKNOWN else block[20]
            session.mos = None if block[22] == _UNKNOWN else block[22] / 10
        at += 4 + 4 * words
