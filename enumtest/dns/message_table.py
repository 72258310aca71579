"""DNS messages between SBCs and the named servers as columns, one row each, in order of time.

    captures ─▶ datagrams ─▶ messages

Laws: every message to or from a named server is a row, whether it can be read or not; messages of
the usual shape are read in lock-step (`enumtest.dns.message_columns`), every other by
`enumtest.dns.message`; each distinct message is read once.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import dns.rcode
import dns.rdatatype
import numpy as np
import numpy.typing as npt

from enumtest.dns.distinct_bytes import codes, distinct, grouped
from enumtest.dns.message import Edns, parse_answer, parse_query
from enumtest.dns.message_columns import FRAMINGS, ColumnReader, Contents, Texts, capitals
from enumtest.dns.source_uri import decode as decode_source
from enumtest.dns.wire import HEADER_BYTES, Header, Reader, name_text, parse_header
from enumtest.profiles.profile_groups import Event
from enumtest.sbc.events import event_of
from enumtest.traffic.hop_table import EVENTS
from enumtest.traffic.transactions import Message, messages
from harness.errors import InputError, WireError
from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import TCP, UDP, Datagrams, Endpoint

ID_BYTES = 2
IPV6_BYTES = 16
NO_ID = -1
_IPV4_MAPPED = b"\0" * 10 + b"\xff\xff"
_TC, _RCODE = 0x0200, 0xF
_OF_RCODES = {event.value: event for event in Event if event.value.isupper()}
_NOT_WHOLE = 2  # added to the direction: what was cut off is read in another way

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class MessageTable:
    """The messages; columns are equally long."""

    names: Texts  # owner names asked for
    sources: Texts  # calling URIs; the first is ""
    clients: Texts  # addresses
    whys: Texts  # why a message cannot be read; the first is ""
    watch: npt.NDArray[np.int16]
    frame: Ints
    at_ns: Ints
    client: npt.NDArray[np.int32]
    port: npt.NDArray[np.int32]
    server: npt.NDArray[np.int16]
    tcp: Bools
    from_client: Bools
    id: npt.NDArray[np.int32]  # NO_ID: it ends before
    ip_id: npt.NDArray[np.int32]
    octets: npt.NDArray[np.uint64]  # equal for messages that differ at most in their ids; 0: TCP
    question: Ints  # as in `Contents`, from here on
    qtype: npt.NDArray[np.int32]
    event: npt.NDArray[np.int8]
    source: npt.NDArray[np.int32]
    edns_bytes: npt.NDArray[np.int32]
    source_code: npt.NDArray[np.int32]
    source_framing: npt.NDArray[np.int8]
    capitals: Ints
    ttl_s: Ints
    why: npt.NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    def select(self, rows: Bools | Ints) -> "MessageTable":
        """Return some rows: a mask, or their numbers."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **columns)


COLUMNS: dict[str, npt.DTypeLike] = {
    "watch": np.int16,
    "frame": np.int64,
    "at_ns": np.int64,
    "client": np.int32,
    "port": np.int32,
    "server": np.int16,
    "tcp": np.bool_,
    "from_client": np.bool_,
    "id": np.int32,
    "ip_id": np.int32,
    "octets": np.uint64,
    "question": np.int64,
    "qtype": np.int32,
    "event": np.int8,
    "source": np.int32,
    "edns_bytes": np.int32,
    "source_code": np.int32,
    "source_framing": np.int8,
    "capitals": np.int64,
    "ttl_s": np.int64,
    "why": np.int32,
}


def read_messages(
    watched: Sequence[Datagrams], servers: Mapping[Endpoint, str], names: Sequence[str]
) -> MessageTable:
    """Return the messages to and from *servers* in all captures, each by its own clock.

    *names* are the servers' in the order of their numbers; rows are those of one capture after the
    other.
    """
    reading = _Reading(servers, names, *(Texts() for _ in range(4)))
    reading.sources.place("")
    reading.whys.place("")
    parts = [part for at, one in enumerate(watched) for part in reading.parts(one, at)]
    empty = reading.table({}, 0)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(empty, name), *(getattr(part, name) for part in parts)])
        for name in COLUMNS
    }
    return replace(empty, **columns)


@dataclass(slots=True)
class _Reading:
    """What is known of texts while captures are read."""

    servers: Mapping[Endpoint, str]
    server_names: Sequence[str]
    names: Texts
    sources: Texts
    clients: Texts
    whys: Texts

    def parts(self, datagrams: Datagrams, watch: int) -> tuple[MessageTable, ...]:
        """Return the messages of one capture: those over UDP, and those over TCP."""
        udp = self._over_udp(datagrams, watch)
        streams = np.flatnonzero(datagrams.protocol == TCP)
        if not streams.size:
            return (udp,)
        tcp = datagrams.select(streams)
        to, from_ = self._ends(tcp)
        return udp, self._over_tcp(tcp.select((to >= 0) | (from_ >= 0)), watch)

    def table(self, columns: Mapping[str, npt.NDArray[Any]], count: int) -> MessageTable:
        """Return a table of *columns*; those not given are full of zeros."""
        texts = (self.names, self.sources, self.clients, self.whys)
        whole: dict[str, Any] = {
            name: np.asarray(columns.get(name, np.zeros(count)), kind)
            for name, kind in COLUMNS.items()
        }
        return MessageTable(*texts, **whole)

    def _over_udp(self, datagrams: Datagrams, watch: int) -> MessageTable:
        rows, server, from_client = self._ours(datagrams)
        start = datagrams.payload_offset[rows]
        end = start + datagrams.payload_bytes[rows]
        data = datagrams.data
        has_id = end - start >= ID_BYTES
        ids = np.full(len(rows), NO_ID, np.int32)
        ids[has_id] = at_every_byte(data, ">u2")[start[has_id]]
        whole = datagrams.complete[rows]
        after_id = np.minimum(start + ID_BYTES, end)
        kind = from_client + _NOT_WHOLE * ~whole
        same = distinct(data, after_id, end - after_id, kind)
        first = same.first
        found = self._contents(datagrams, rows[first], from_client[first], whole[first])
        return self.table(
            {
                "watch": np.full(len(rows), watch, np.int16),
                "frame": datagrams.frame[rows],
                "at_ns": datagrams.at_ns[rows],
                "client": self._clients(datagrams, rows, from_client),
                "port": np.where(
                    from_client, datagrams.source_port[rows], datagrams.destination_port[rows]
                ),
                "server": server,
                "tcp": np.zeros(len(rows), np.bool_),
                "from_client": from_client,
                "id": ids,
                "ip_id": datagrams.ip_id[rows],
                "octets": same.hashes,
                **{one.name: getattr(found, one.name)[same.group] for one in fields(found)},
            },
            len(rows),
        )

    def _ours(self, datagrams: Datagrams) -> tuple[Ints, npt.NDArray[np.int16], Bools]:
        """Return the datagrams to and from servers, the servers' places, and who sent each."""
        to, from_ = self._ends(datagrams)
        rows = np.flatnonzero((datagrams.protocol == UDP) & ((to >= 0) | (from_ >= 0)))
        asked = to[rows] >= 0
        return rows, np.where(asked, to[rows], from_[rows]), asked

    def _ends(self, datagrams: Datagrams) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        """Return which server each datagram went to, and came from; -1: none of them."""
        to, from_ = (np.full(len(datagrams), -1, np.int16) for _ in range(2))
        ends = (
            (to, datagrams.destination_address, datagrams.destination_port),
            (from_, datagrams.source_address, datagrams.source_port),
        )
        for endpoint, name in self.servers.items():
            wanted = _packed(endpoint.address).view(np.uint64)
            for column, address, port in ends:
                halves = address.view(np.uint64)
                here = (port == endpoint.port) & (halves[:, 1] == wanted[1])
                here &= halves[:, 0] == wanted[0]
                column[here] = self.server_names.index(name)
        return to, from_

    def _clients(
        self, datagrams: Datagrams, rows: Ints, from_client: Bools
    ) -> npt.NDArray[np.int32]:
        """Return the places of the clients' addresses."""
        halves = [
            np.where(
                from_client,
                datagrams.source_address.view(np.uint64)[rows, half],
                datagrams.destination_address.view(np.uint64)[rows, half],
            )
            for half in (0, 1)
        ]
        upper, lower = (grouped(half)[1] for half in halves)
        firsts, group = grouped(codes(upper, lower))
        places = []
        for first in firsts.tolist():
            row, asks = int(rows[first]), bool(from_client[first])
            end = datagrams.source(row) if asks else datagrams.destination(row)
            places.append(self.clients.place(end.address))
        return np.array(places, np.int32)[group]

    def _contents(
        self, datagrams: Datagrams, rows: Ints, from_client: Bools, whole: Bools
    ) -> Contents:
        """Return what these datagrams say."""
        start = datagrams.payload_offset[rows]
        end = start + datagrams.payload_bytes[rows]
        found = Contents.of(len(rows))
        data = datagrams.data
        reader = ColumnReader(data, start, end, from_client, self.names, self.sources, found)
        for row in np.flatnonzero(~reader.read()).tolist():
            payload = datagrams.payload(int(rows[row]))
            self._read(found, row, payload, asks=bool(from_client[row]), whole=bool(whole[row]))
        return found

    def _over_tcp(self, datagrams: Datagrams, watch: int) -> MessageTable:
        seen = list(messages(datagrams, self.servers))
        found = Contents.of(len(seen))
        for row, one in enumerate(seen):
            self._read(found, row, one.data, asks=one.from_client, whole=one.whole)
        columns = {field.name: getattr(found, field.name) for field in fields(found)}
        told: dict[str, list[Any]] = {
            "watch": [watch] * len(seen),
            "frame": [one.seen.frame for one in seen],
            "at_ns": [one.seen.at_ns for one in seen],
            "client": [self.clients.place(one.client.address) for one in seen],
            "port": [one.client.port for one in seen],
            "server": [self.server_names.index(self.servers[one.server]) for one in seen],
            "tcp": [True] * len(seen),
            "from_client": [one.from_client for one in seen],
            "id": [_id(one) for one in seen],
            "ip_id": [0] * len(seen),
        }
        columns |= {name: np.array(values) for name, values in told.items()}
        return self.table(columns, len(seen))

    def _read(self, found: Contents, row: int, data: bytes, *, asks: bool, whole: bool) -> None:
        """Note what the message *data* says, whatever its shape."""
        found.source[row], found.source_code[row], found.source_framing[row] = 0, -1, -1
        found.edns_bytes[row], found.capitals[row], found.ttl_s[row] = -1, 0, -1
        try:
            if asks:
                query = parse_query(data)
                self._note(found, row, query.qname, query.qtype)
                found.capitals[row] = capitals(query.labels)
                self._note_edns(found, row, query.edns)
            else:
                answer = parse_answer(data)
                event = event_of(answer)
                found.event[row] = EVENTS.index(event)
                found.ttl_s[row] = min((one.ttl_s for one in answer.records), default=-1)
                if answer.qtype:
                    self._note(found, row, answer.qname, answer.qtype)
        except WireError as error:
            if whole or asks or not self._read_start(found, row, data):
                why = error.why if whole else f"not captured whole ({error.why})"
                found.why[row] = self.whys.place(why)

    def _note(self, found: Contents, row: int, qname: str, qtype: str) -> None:
        found.question[row] = self.names.place(qname)
        found.qtype[row] = int(dns.rdatatype.from_text(qtype))

    def _note_edns(self, found: Contents, row: int, edns: Edns | None) -> None:
        if edns is None:
            return
        found.edns_bytes[row] = edns.udp_payload_bytes
        try:
            option = decode_source(edns.options)
        except InputError:
            return
        if option is not None:
            found.source[row] = self.sources.place(option.uri)
            found.source_code[row] = option.code
            found.source_framing[row] = FRAMINGS.index(option.framing)

    def _read_start(self, found: Contents, row: int, data: bytes) -> bool:
        """Note what the start of an answer says, if that is enough: the capture has no more of it.

        The records are not there to be read, but their number is.
        """
        try:
            header, reader = parse_header(data), Reader(data, HEADER_BYTES)
            name, qtype = reader.name(), reader.number(2)
        except WireError:
            return False
        if not header.is_response or header.counts[0] != 1:
            return False
        found.question[row], found.qtype[row] = self.names.place(name_text(name)), qtype
        found.event[row] = EVENTS.index(_event_of_header(header))
        return True


def _event_of_header(header: Header) -> Event | None:
    """Return what an answer is to an SBC as far as its header tells."""
    if header.flags & _TC:
        return Event.TRUNCATED
    rcode = header.flags & _RCODE
    if rcode:
        return _OF_RCODES.get(dns.rcode.to_text(dns.rcode.Rcode.make(rcode)), Event.OTHER_RCODE)
    return None if header.counts[1] else Event.NODATA


def _packed(address: str) -> npt.NDArray[np.uint8]:
    """Return an address as `Datagrams` has it."""
    octets = ipaddress.ip_address(address).packed
    return np.frombuffer(octets if len(octets) == IPV6_BYTES else _IPV4_MAPPED + octets, np.uint8)


def _id(message: Message) -> int:
    return int.from_bytes(message.data[:ID_BYTES]) if len(message.data) >= ID_BYTES else NO_ID
