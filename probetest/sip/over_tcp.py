"""SIP over TCP and WebSocket: which streams hold it, and when each of their messages was there.

Laws: a stream in which no start line of SIP comes within its first 64 KiB is let go, and so is one
that is encrypted: that is counted where it stands on a port of SIP. A message is there when its
last byte is, and all before it. What is kept is bounded: of a stream its unfinished message, of all
streams together a limit, above which the oldest are told as unfinished and let go.

Sources: RFC 3261 section 18.3, RFC 8446 section 5.1 (TLS records), RFC 7118.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.packets.frame import Datagrams
from harness.packets.tcp_stream import Delivery, Gap, StreamKey, TcpStreams
from probetest.sip.rows import SIP_PORTS
from probetest.sip.stream import NEXT_START, START, START_LINE_BYTES, Splitter
from probetest.sip.websocket import Frames, opens_websocket

SEARCHED_BYTES = 65_536  # of a stream, for a first start line: more than a body that was cut
ALL_KEPT_BYTES = 64 * 1024 * 1024
_TLS = range(20, 24)  # content types: change cipher spec, alert, handshake, application data
_TLS_MAJOR, _TLS_HEAD_BYTES = 3, 5


class Told(NamedTuple):
    """One message of a stream, or what is none, and when it was there."""

    at_ns: int
    frame: int
    interface: int
    stream: StreamKey
    data: bytes
    complaint: str  # "": a whole message


@dataclass(slots=True)
class _Conversation:
    """One direction of a connection, from its start or its last gap on."""

    unknown: bytearray | None  # what came before it was known to be SIP; None: it is
    splitter: Splitter
    frames: Frames | None = None  # of a WebSocket
    frame: int = 0  # the one that brought the last of what is there
    ready_ns: int = 0
    interface: int = 0
    searched: int = 0  # of what is unknown

    @property
    def kept_bytes(self) -> int:
        """Return how many bytes wait here."""
        more = 0 if self.frames is None else len(self.frames.kept)
        return len(self.splitter.kept) + len(self.unknown or b"") + more


@dataclass(slots=True)
class Conversations:
    """All TCP streams of a capture that hold SIP, or may yet."""

    opaque: Counter[str]
    streams: TcpStreams = field(default_factory=TcpStreams)
    kept_limit_bytes: int = ALL_KEPT_BYTES
    _open: dict[StreamKey, _Conversation] = field(default_factory=dict)
    _kept_bytes: int = 0
    _forgotten: set[StreamKey] = field(default_factory=set)  # of which deliveries are on their way

    def read(self, datagrams: Datagrams) -> Iterator[Told]:
        """Yield the messages that the fresh rows complete, by time."""
        self._forgotten.clear()
        return self._tell(self.streams.feed(datagrams))

    def close(self) -> Iterator[Told]:
        """Yield what waits for bytes that will not come."""
        return self._tell(self.streams.close())

    def _tell(self, deliveries: Iterable[Delivery]) -> Iterator[Told]:
        for delivery in deliveries:
            stream = delivery.stream
            if stream in self._forgotten:
                continue
            talk = self._open.get(stream)
            if talk is None:
                talk = _Conversation(bytearray(), Splitter(from_start=stream.from_start))
                self._open[stream] = talk
            before = talk.kept_bytes
            if delivery.gap is not None:
                yield from self._break(stream, talk, delivery.gap)
            if delivery.at_ns == delivery.ready_ns or delivery.frame > talk.frame:
                talk.frame, talk.interface = delivery.frame, delivery.interface
            talk.ready_ns = delivery.ready_ns
            if delivery.data:
                for data, complaint in self._take(stream, talk, delivery.data):
                    yield _told(stream, talk, data, complaint)
            self._kept_bytes += (talk.kept_bytes if stream in self._open else 0) - before
            if delivery.ended and stream in self._open:
                yield from self._let_go(stream, "")
            if self._kept_bytes > self.kept_limit_bytes:
                yield from self._make_room()

    def _take(
        self, stream: StreamKey, talk: _Conversation, data: bytes
    ) -> Iterator[tuple[bytes, str]]:
        """Yield the messages that end in *data*."""
        if talk.unknown is not None:
            talk.unknown += data
            known = self._recognise(stream, talk, talk.unknown)
            if known is None:
                return
            data, talk.unknown = known, None
        if talk.frames is not None:
            yield from talk.frames.feed(data)
            return
        for part in talk.splitter.feed(data):
            yield part.data, part.complaint

    def _recognise(self, stream: StreamKey, talk: _Conversation, data: bytearray) -> bytes | None:
        """Return what is to be read of *data*, None while it is not known to be SIP, or is not."""
        start = max(0, talk.searched - START_LINE_BYTES)  # else each segment costs all before it
        talk.searched = len(data)
        found = NEXT_START.search(data, start, SEARCHED_BYTES + START_LINE_BYTES)
        if found is not None or START.match(data):
            return bytes(data)
        if stream.from_start and (head := opens_websocket(bytes(data))) is not None:
            if not head:
                return None
            talk.frames = Frames()
            return bytes(data[head:])
        if _is_tls(data):
            if stream.source.port in SIP_PORTS or stream.destination.port in SIP_PORTS:
                self.opaque["TLS"] += 1
            self._forget(stream)
        elif len(data) > SEARCHED_BYTES + START_LINE_BYTES:
            self._forget(stream)
        return None

    def _break(self, stream: StreamKey, talk: _Conversation, gap: Gap) -> Iterator[Told]:
        """Yield what was begun and cannot be ended."""
        for part in talk.splitter.end():
            why = f"{part.complaint}: {gap.why}, frame {gap.frame}"
            yield _told(stream, talk, part.data, why)
        if talk.unknown is not None:
            talk.unknown.clear()
            talk.searched = 0
        if talk.frames is not None:  # where the next frame begins cannot be known
            self._forget(stream)

    def _let_go(self, stream: StreamKey, why: str) -> Iterator[Told]:
        """Yield what is left of a stream of which nothing more is read."""
        talk = self._open.pop(stream)
        self._kept_bytes -= talk.kept_bytes
        if talk.unknown is None and talk.frames is None:
            for part in talk.splitter.end():
                yield _told(stream, talk, part.data, part.complaint + why)

    def _forget(self, stream: StreamKey) -> None:
        """Let go of a stream that holds no SIP; what it kept is counted by whom it is read."""
        del self._open[stream]
        self._forgotten.add(stream)
        self.streams.forget(stream)

    def _make_room(self) -> Iterator[Told]:
        """Let go of the streams that were begun first, until half of the limit is free."""
        for stream in list(self._open):
            if self._kept_bytes * 2 <= self.kept_limit_bytes:
                break
            yield from self._let_go(stream, ": too much waits in other streams")
            self._forgotten.add(stream)
            self.streams.forget(stream)


def _told(stream: StreamKey, talk: _Conversation, data: bytes, complaint: str) -> Told:
    return Told(talk.ready_ns, talk.frame, talk.interface, stream, data, complaint)


def _is_tls(data: bytearray) -> bool:
    """Say whether a stream begins with the head of a TLS record."""
    return len(data) >= _TLS_HEAD_BYTES and data[0] in _TLS and data[1] == _TLS_MAJOR
