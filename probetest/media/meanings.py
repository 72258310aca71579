"""What the payload types of each stream mean: by SDP, else RFC 3551, else by how they look.

Laws: a payload type is decided at its first packet in a stream, and stays; what SDP says later than
2 s after that packet changes nothing any more. Most streams have one type, and then nothing is done
for their packets beyond looking at the type they had before.
"""

from dataclasses import dataclass

import numpy as np

from harness.packets.capture import Ints
from probetest.media.announcements import Announcement, Announcements, place_key
from probetest.media.in_order import Numbers, Runs
from probetest.media.rtp import EVENT_BYTES, Places
from probetest.media.stream_table import Columns, StreamTable
from probetest.sip.sdp import EVENT, Codec, codec

SOUND, NOISE, TELEPHONE_EVENT = 0, 1, 2
SDP = "SDP"  # of the place a stream goes to: the best rule
TYPES = 128
_FIRST_DYNAMIC = 96  # RFC 3551 section 3
_NOISE = "cn"  # comfort noise (RFC 3389), in lower case
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Known:
    """What SDP says of a stream, and how the two were joined."""

    announcement: Announcement
    rule: str


class Meanings:
    """The payload types of all streams."""

    def __init__(self, places: Places) -> None:
        """Begin with what RFC 3551 says."""
        self.known: dict[int, Known] = {}  # by stream
        self._places = places
        self._codecs = [codec(number) for number in range(TYPES)]
        self._index = {one: number for number, one in enumerate(self._codecs)}
        self._others: dict[int, dict[int, list[int]]] = {}  # of streams that had several types:
        # by stream and type its meaning, and its packets until it was left
        self.unit_ms = np.array([_MS / one.clock_hz for one in self._codecs])
        self.hz = np.array([one.clock_hz for one in self._codecs], np.int32)
        self.kind = np.array([_kind(one) for one in self._codecs], np.int8)

    def join(self, table: StreamTable, streams: Ints, announced: Announcements) -> None:
        """Look for what was announced where new streams go to, or come from."""
        streams = announced_ports(table, streams, announced)
        own = table.addresses[streams], table.sessions[streams], table.columns["first_ns"][streams]
        rows = zip(streams.tolist(), *(column.tolist() for column in own), strict=True)
        joined = []
        for stream, addresses, session, at_ns in rows:
            to, origin = self._keys(addresses, session)
            if found := announced.at(to, at_ns):
                self.known[stream] = Known(found, SDP)
            elif found := announced.at(origin, at_ns):
                self.known[stream] = Known(found, "SDP of its source")
            else:
                continue
            joined.append(stream)
        table.columns["announced"][joined] = True

    def join_again(self, table: StreamTable, announced: Announcements) -> None:
        """Look again, once all was announced: SDP over TCP waits for what is missing before it."""
        unsure = [stream for stream, known in self.known.items() if known.rule != SDP]
        unknown = np.flatnonzero(~table.columns["announced"][: len(table)])
        self.join(table, np.concatenate((np.array(unsure, np.int64), unknown)), announced)

    def keys(self, table: StreamTable, stream: int) -> tuple[int, int]:
        """Return the keys of the places a stream goes to and comes from."""
        return self._keys(int(table.addresses[stream]), int(table.sessions[stream]))

    def _keys(self, addresses: int, session: int) -> tuple[int, int]:
        source, destination = self._places.ends(addresses)
        return place_key(destination, session >> 32 & 0xFFFF), place_key(source, session >> 48)

    def of(self, table: StreamTable, runs: Runs, announced: Announcements) -> Numbers:
        """Return the number of the meaning of each run, and count its packets."""
        state = table.columns
        found = state["meaning"][runs.stream]
        again = state["type"][runs.stream] == runs.type
        alone = np.ones(len(runs.start), np.bool_)
        same = runs.stream[1:] == runs.stream[:-1]
        alone[1:] &= ~same
        alone[:-1] &= ~same
        quick = again & alone
        state["type_packets"][runs.stream[quick]] += runs.size[quick]
        fresh = alone & (state["type"][runs.stream] < 0)
        plain = fresh & ~state["announced"][runs.stream]
        plain &= (runs.type < _FIRST_DYNAMIC) | (runs.first_bytes != EVENT_BYTES)
        streams = runs.stream[plain]
        state["type"][streams] = state["meaning"][streams] = found[plain] = runs.type[plain]
        state["type_packets"][streams] = runs.size[plain]
        for run in np.flatnonzero(~quick & ~plain).tolist():
            found[run] = self._switch(table, runs, run, announced)
        return found

    def most(self, stream: int, last: int, packets: int, meaning: int) -> tuple[int, Codec]:
        """Return the payload type of most packets of a stream, with sound if it has any.

        *last* is the type of its last packet, with how many it had and what it means.
        """
        if stream not in self._others:
            return last, self._codecs[meaning]
        counts = {last: (packets, meaning)}
        for kind, (other, count) in self._others[stream].items():
            if kind != last:
                counts[kind] = count, other
        best = max(counts, key=lambda kind: self._rank(*counts[kind]))
        return best, self._codecs[counts[best][1]]

    def clock_hz(self, stream: int, kind: int, state: Columns) -> int:
        """Return the clock of a payload type that RFC 3551 or SDP gives; 0: neither does."""
        if kind == int(state["type"][stream]):
            meaning = int(state["meaning"][stream])
        else:
            meaning = self._others.get(stream, {}).get(kind, [kind])[0]
        found = self._codecs[meaning]
        assumed = found.rule not in ("RFC 3551", "SDP")
        return 0 if assumed or self.kind[meaning] == TELEPHONE_EVENT else found.clock_hz

    def renumber(self, number: Ints) -> None:
        """Give each stream its new *number*; those below 0 are gone."""
        self.known = {int(number[s]): one for s, one in self.known.items() if number[s] >= 0}
        self._others = {int(number[s]): one for s, one in self._others.items() if number[s] >= 0}

    def _rank(self, packets: int, meaning: int) -> int:
        return packets if self.kind[meaning] == SOUND else 0

    def _switch(self, table: StreamTable, runs: Runs, run: int, announced: Announcements) -> int:
        """Return the meaning of a run with another payload type than the one before."""
        state = table.columns
        stream, kind = int(runs.stream[run]), int(runs.type[run])
        before = int(state["type"][stream])
        if before == kind:
            state["type_packets"][stream] += runs.size[run]
            return int(state["meaning"][stream])
        others = self._others.setdefault(stream, {}) if before >= 0 else {}
        if before >= 0:
            others[before] = [int(state["meaning"][stream]), int(state["type_packets"][stream])]
        meaning, packets = others.get(kind, (-1, 0))
        if meaning < 0:
            meaning = self._decide(table, runs, run, announced)
        state["type"][stream], state["meaning"][stream] = kind, meaning
        state["type_packets"][stream] = packets + int(runs.size[run])
        return meaning

    def _decide(self, table: StreamTable, runs: Runs, run: int, announced: Announcements) -> int:
        """Return what a payload type means that its stream did not have before."""
        stream, kind = int(runs.stream[run]), int(runs.type[run])
        known = self.known.get(stream)
        found = None if known is None else known.announcement.media.codecs.get(kind)
        if known is not None and found is None:  # a re-INVITE may have brought it
            to, origin = self.keys(table, stream)
            later = announced.at(to if known.rule == SDP else origin, int(runs.at_ns[run]))
            found = None if later is None else later.media.codecs.get(kind)
        if found is None:
            found = self._codecs[kind]
            if kind >= _FIRST_DYNAMIC and runs.first_bytes[run] == EVENT_BYTES:
                found = Codec(EVENT, found.clock_hz, "4 bytes in its first packet")
        return self._number(found)

    def _number(self, found: Codec) -> int:
        """Return the number of a codec."""
        number = self._index.setdefault(found, len(self._codecs))
        if number == len(self._codecs):
            self._codecs.append(found)
            self.unit_ms = np.append(self.unit_ms, _MS / found.clock_hz)
            self.hz = np.append(self.hz, np.int32(found.clock_hz))
            self.kind = np.append(self.kind, np.int8(_kind(found)))
        return number


def announced_ports(table: StreamTable, streams: Ints, announced: Announcements) -> Ints:
    """Return those streams of which either port was announced, by whomever: few, in a flood."""
    if not len(streams):
        return streams
    ports = (table.sessions[streams] >> np.uint64(32)).astype(np.int64)
    there = announced.port_table()
    found: Ints = streams[(there[ports & 0xFFFF] | there[ports >> 16]) > 0]
    return found


def _kind(found: Codec) -> int:
    """Say whether a codec is sound, comfort noise or telephone events."""
    name = found.name.lower()
    return TELEPHONE_EVENT if name == EVENT else NOISE if name == _NOISE else SOUND
