"""RTP streams of a capture, with what a receiver at the tap would have measured.

    UDP ─▶ version 2, not RTCP ─▶ by addresses, ports, SSRC ─▶ announced in SDP, or counting up as
                                                               RTP does ─▶ figures

Laws: a stream is known by its announcement or by its own sequence numbers, never by its ports
alone; copies that the tap made are left out of every figure and counted beside it; what is kept of
a stream does not grow with its packets, and no figure depends on where a block of packets ends.
Packets wait until the SIP of the 2 s after them was read, for SDP may come after its RTP.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from harness.packets.capture import Ints
from harness.packets.frame import Datagrams
from harness.records import RtcpRecord, StreamRecord
from probetest.duplicates import Copies, in_order
from probetest.media.announcements import SLACK_NS, Announcements
from probetest.media.counting import add_changes, add_keys, add_times, begin, elsewhere, sounds
from probetest.media.gaps import OpenGaps
from probetest.media.in_order import put_in_order
from probetest.media.meanings import SOUND, TELEPHONE_EVENT
from probetest.media.mos import ASSUMED_DELAY_MS
from probetest.media.others import Others
from probetest.media.rtcp import RtcpReader
from probetest.media.rtp import HEADER_BYTES, Packets, is_rtcp, packets, version_2
from probetest.media.sequence import follow
from probetest.media.sound import measure
from probetest.media.stream_records import Facts, counts_up, records
from probetest.media.wireshark import Wireshark

RTCP_BYTES = 8  # the least that a packet of it has
SLICE_PACKETS = 1 << 16  # taken in together: what is between stays in the cache
MAX_CANDIDATES = 1 << 18  # streams that nothing proves to be RTP, and that are kept all the same


@dataclass(frozen=True, slots=True)
class Reading:
    """The streams of one device, and how many RTP and RTCP packets each interface gave."""

    streams: tuple[StreamRecord, ...]
    rtcp: tuple[RtcpRecord, ...]
    rtp_by_interface: Counter[int]  # copies included
    rtcp_by_interface: Counter[int]
    notes: tuple[str, ...]  # what could not be kept, a sentence each


class StreamReader:
    """The streams of a device while its captures are read."""

    def __init__(
        self,
        *,
        device: str = "",
        delay_ms: float = ASSUMED_DELAY_MS,
        wireshark: bool = False,
        max_candidates: int = MAX_CANDIDATES,
    ) -> None:
        """Begin; *delay_ms* is assumed for MOS, *wireshark* asks for its figures too."""
        self._facts = Facts(device=device, delay_ms=delay_ms)
        self._max_candidates = max_candidates
        self._places = self._facts.places
        self._table, self._gaps = self._facts.table, OpenGaps()
        self._meanings = self._facts.meanings
        self._wireshark = Wireshark() if wireshark else None
        self._facts.wireshark = self._wireshark
        self._rtcp = RtcpReader(device=device)
        self._others = Others(self._places, self._gaps.others)
        self._interfaces: Counter[tuple[int, int]] = Counter()  # packets of a stream elsewhere
        self._waiting: list[Packets] = []
        self._newest_ns = 0
        self._forgotten = 0

    def add(self, datagrams: Datagrams, copies: Copies, announced: Announcements) -> None:
        """Take in the fresh rows of a block; *announced* knows the SDP of at least this block."""
        rows, second, others = version_2(datagrams, at_least_bytes=RTCP_BYTES)
        newest_ns = datagrams.at_ns
        if not datagrams.fresh.all():
            fresh = datagrams.fresh[rows]
            rows, second = rows[fresh], second[fresh]
            others, newest_ns = others[datagrams.fresh[others]], newest_ns[datagrams.fresh]
        self._others.add(datagrams, others, announced)
        control = is_rtcp(second)
        is_copy = copies.is_copy
        if control.any():
            some = in_order(datagrams.at_ns, rows[control])
            self._rtcp.add(datagrams, some, is_copy[some], announced)
            rows = rows[~control]
        rows = rows[datagrams.payload_bytes[rows] >= HEADER_BYTES]
        rows = in_order(datagrams.at_ns, rows)
        if len(rows):
            self._waiting.append(packets(datagrams, rows, is_copy[rows], self._places))
        self._newest_ns = max(self._newest_ns, int(newest_ns.max(initial=0)))
        self._take(announced, self._newest_ns - SLACK_NS)

    def finish(self, announced: Announcements) -> Reading:
        """Return everything, once all blocks were given."""
        self._take(announced, None)
        self._gaps.close(self._table, every=True)
        wanted, streams = records(self._facts, announced, self._rtcp)
        return Reading(
            streams=streams,
            rtcp=self._rtcp.records(),
            rtp_by_interface=self._by_interface(wanted),
            rtcp_by_interface=self._rtcp.by_interface,
            notes=self._notes(),
        )

    def _by_interface(self, wanted: Ints) -> Counter[int]:
        """Return how many packets of the *wanted* streams each interface gave."""
        by_interface: Counter[int] = Counter()
        state = self._table.columns
        for interface in np.unique(state["interface"][wanted]).tolist():
            own = wanted[state["interface"][wanted] == interface]
            by_interface[interface] += int((state["packets"][own] + state["copies"][own]).sum())
        there = np.zeros(len(self._table), np.bool_)
        there[wanted] = True
        for (stream, interface), count in self._interfaces.items():
            if there[stream]:
                by_interface[interface] += count
                by_interface[int(state["interface"][stream])] -= count
        return by_interface

    def _notes(self) -> tuple[str, ...]:
        """Return what could not be kept."""
        if not self._forgotten:
            return ()
        note = (
            f"{self._forgotten} runs of UDP packets that begin as RTP does, but that nothing proves"
        )
        note += f" to be RTP, were let go: more than {self._max_candidates} at once"
        return (note,)

    def _take(self, announced: Announcements, until_ns: int | None) -> None:
        """Take in what has waited long enough; None: all of it."""
        if not self._waiting:
            return
        waiting = Packets.join(self._waiting)
        if (waiting.at_ns[1:] < waiting.at_ns[:-1]).any():  # files of which one began too early
            waiting = waiting.select(np.argsort(waiting.at_ns, kind="stable"))
        stop = len(waiting)
        if until_ns is not None:
            stop = int(np.searchsorted(waiting.at_ns, until_ns, side="right"))
        for start in range(0, stop, SLICE_PACKETS):
            some = waiting.select(slice(start, min(start + SLICE_PACKETS, stop)))
            self._slice(some, announced)
        self._waiting = [waiting.select(slice(stop, None))] if stop < len(waiting) else []

    def _slice(self, found: Packets, announced: Announcements) -> None:
        """Take in some packets, copies among them."""
        firsts = found
        if found.copy.any():
            firsts = found.select(~found.copy)
        if len(firsts):
            self._originals(firsts, announced)
        if len(firsts) < len(found):
            self._copies(found.select(found.copy))
        if self._wireshark is not None:
            self._wireshark.add(found, self._clock_hz)
        if len(self._table) > self._max_candidates:
            self._let_go()

    def _originals(self, found: Packets, announced: Announcements) -> None:
        """Take in packets without copies."""
        table, known = self._table, self._meanings
        packets = put_in_order(found, table)
        begin(table, packets)
        add_times(table, packets)
        self._interfaces.update(elsewhere(table, packets))
        known.join(table, packets.grouped.streams[packets.grouped.new], announced)
        taken = follow(table, self._gaps, packets.grouped, packets.sequence, packets.at_ns)
        self._gaps.close(table)
        runs = packets.runs()
        meaning = known.of(table, runs, announced)
        kind = known.kind[meaning]
        add_changes(table, runs, kind == SOUND)
        some = sounds(packets, runs, kind == SOUND, known.unit_ms[meaning], taken)
        if len(some.starts):
            measure(table, some)
        if (kind == TELEPHONE_EVENT).any():
            clock_hz = np.where(kind == TELEPHONE_EVENT, known.hz[meaning], 0)
            add_keys(self._facts.events, packets, runs, clock_hz, taken)

    def _copies(self, copies: Packets) -> None:
        """Count copies in their streams."""
        packets = put_in_order(copies, self._table)
        begin(self._table, packets)
        self._table.columns["copies"][packets.grouped.streams] += packets.grouped.size
        self._interfaces.update(elsewhere(self._table, packets))

    def _clock_hz(self, addresses: int, session: int, kind: int) -> int:
        """Return the clock of a payload type as Wireshark knows it; 0: it does not."""
        words = np.array([addresses], np.uint64), np.array([session], np.uint64)
        streams, _ = self._table.rows(*words)
        return self._meanings.clock_hz(int(streams[0]), kind, self._table.columns)

    def _let_go(self) -> None:
        """Forget what does not count up as RTP does, when there is too much of it: the oldest."""
        table = self._table
        kept = counts_up(table)
        candidates = np.flatnonzero(~kept)
        if len(candidates) <= self._max_candidates:
            return
        state = table.columns
        order = np.lexsort((state["last_ns"][candidates], state["announced"][candidates]))
        kept[candidates[order[len(order) - self._max_candidates // 2 :]]] = True
        self._forgotten += int((~kept).sum())
        number = table.keep(kept)
        self._gaps.renumber(number)
        self._facts.renumber(number)
        self._interfaces = Counter(
            {
                (int(number[stream]), interface): count
                for (stream, interface), count in self._interfaces.items()
                if number[stream] >= 0
            }
        )
