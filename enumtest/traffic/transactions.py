"""From a capture to DNS transactions between an SBC and its servers, retransmissions folded.

    datagrams ─▶ messages ─▶ transactions

Laws: every DNS message to or from a known server is in a transaction, in `strays` or in
`malformed`, never silently dropped; nothing is guessed about an answer that is not in the capture.

Sources: RFC 1035 section 4.1 (id and question match a response), RFC 5452 section 9.1 (address and
port too).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from enumtest.dns.message import Answer, Query, parse_answer, parse_query
from enumtest.dns.source_uri import source_uri
from harness.errors import WireError
from harness.packets.frame import Datagrams, Endpoint
from harness.packets.tcp_stream import Stream, reassemble

TCP = 6
FAILURE_RCODES = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"})  # no work was done
LENGTH_BYTES = 2  # before each message over TCP (RFC 1035 section 4.2.2)


@dataclass(frozen=True, slots=True)
class Seen:
    """One message on the wire: where in the capture, and when (wall time)."""

    frame: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Message:
    """A DNS message between the SBC and a server, in capture order."""

    seen: Seen
    client: Endpoint
    server: Endpoint
    from_client: bool
    tcp: bool
    data: bytes
    whole: bool = True  # False: the capture has only its start


@dataclass(frozen=True, slots=True)
class OddMessage:
    """A message that is in no transaction, and why."""

    seen: Seen
    client: Endpoint
    server: str  # its name in the site file
    from_client: bool
    why: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """One question put to one server: all its sends, and the answer if one came."""

    client: Endpoint
    server: str  # its name in the site file
    query: Query
    source: str  # calling URI in an EDNS option, "" when there is none
    sends: tuple[Seen, ...]
    answer: Answer | None = None
    answered: Seen | None = None
    later_answers: tuple[Seen, ...] = ()  # more of them, too late, or only a part
    tcp: bool = False
    failures: frozenset[str] = FAILURE_RCODES  # rcodes that this SBC counts as failures

    @property
    def failed(self) -> bool:
        """True when no answer came, or one that the SBC counts as a failure of the server."""
        return self.answer is None or self.answer.rcode in self.failures

    @property
    def sick(self) -> bool:
        """True when the answer says that the server could not do its work, whoever counts it."""
        return self.answer is not None and self.answer.rcode in FAILURE_RCODES

    @property
    def frames(self) -> tuple[int, ...]:
        """Return the frames of its sends and of its answer."""
        answered = () if self.answered is None else (self.answered.frame,)
        return (*(seen.frame for seen in self.sends), *answered)


def messages(datagrams: Datagrams, servers: Mapping[Endpoint, str]) -> Iterator[Message]:
    """Yield the DNS messages to and from *servers*, in order of time."""
    found: list[Message] = []
    for i in range(len(datagrams)):
        if int(datagrams.protocol[i]) == TCP:
            continue
        source, to = datagrams.source(i), datagrams.destination(i)
        if to in servers or source in servers:
            seen = Seen(int(datagrams.frame[i]), int(datagrams.at_ns[i]))
            ends = (source, to, True) if to in servers else (to, source, False)
            data, whole = datagrams.payload(i), bool(datagrams.complete[i])
            found.append(Message(seen, *ends, tcp=False, data=data, whole=whole))
    for stream in reassemble(datagrams):
        source, to = stream.source, stream.destination
        if to not in servers and source not in servers:
            continue
        ends = (source, to, True) if to in servers else (to, source, False)
        found += _stream_messages(stream, *ends)
    yield from sorted(found, key=lambda message: (message.seen.at_ns, message.seen.frame))


def _stream_messages(
    stream: Stream, client: Endpoint, server: Endpoint, from_client: bool
) -> Iterator[Message]:
    """Yield the messages of a TCP stream; a stream without its start is one that is not whole."""
    at = 0
    while at < len(stream.data):
        piece, size = stream.piece(at), int.from_bytes(stream.data[at : at + LENGTH_BYTES])
        end = at + LENGTH_BYTES + size if stream.from_start else len(stream.data)
        # What is shorter than its length says is no message, even if it happens to parse.
        body = stream.data[at + LENGTH_BYTES : end] if end <= len(stream.data) else b""
        yield Message(
            Seen(piece.frame, piece.at_ns),
            client,
            server,
            from_client,
            tcp=True,
            data=body,
            whole=stream.from_start and (stream.gap is None or end <= len(stream.data)),
        )
        at = end


_Key = tuple[Endpoint, Endpoint, bool, int, str, str]  # ends, TCP, id, question


@dataclass(slots=True)
class _Folding:
    """Transactions under construction, by what makes an answer theirs (RFC 5452 section 9.1)."""

    servers: Mapping[Endpoint, str]
    timeout_ns: int
    failures: frozenset[str]
    done: list[Transaction]
    latest: dict[_Key, int]
    early: dict[_Key, tuple[OddMessage, Answer]]  # answers seen before their query
    malformed: list[OddMessage]
    strays: list[OddMessage]

    def query(self, message: Message) -> None:
        try:
            query = parse_query(message.data)
        except WireError as error:
            self.odd(message, error)
            return
        key = _key(message, query)
        at = self.latest.get(key)
        if at is not None and self._is_retransmission(self.done[at], message):
            known = self.done[at]
            self.done[at] = replace(known, sends=(*known.sends, message.seen))
            return
        self.latest[key] = len(self.done)
        name, source = self.servers[message.server], source_uri(query)
        made = Transaction(
            message.client,
            name,
            query,
            source,
            (message.seen,),
            tcp=message.tcp,
            failures=self.failures,
        )
        stray, answer = self.early.pop(key, (None, None))
        if stray is not None and message.seen.at_ns - stray.seen.at_ns <= self.timeout_ns:
            # Queues of one interface, or merged captures, can show an answer before its query.
            self.strays.remove(stray)
            made = replace(made, answer=answer, answered=stray.seen)
        self.done.append(made)

    def _is_retransmission(self, known: Transaction, message: Message) -> bool:
        """Same id and question from the same port, within the timeout.

        At a server one can cross the answer on its way, so it may come after that.
        """
        age_ns = message.seen.at_ns - known.sends[0].at_ns
        return age_ns <= self.timeout_ns * (2 if known.answer is None else 1)

    def answer(self, message: Message) -> None:
        try:
            answer = parse_answer(message.data)
        except WireError as error:
            self.odd(message, error)
            return
        key = _key(message, answer)
        at = self.latest.get(key)
        if at is None:
            stray = self.describe(message, "no query with this id, question and port")
            self.strays.append(stray)
            self.early[key] = (stray, answer)
            return
        known = self.done[at]
        age_ns = message.seen.at_ns - known.sends[0].at_ns
        if known.answer is None and age_ns <= longest_wait_ns(self.timeout_ns):
            self.done[at] = replace(known, answer=answer, answered=message.seen)
        else:
            self.done[at] = replace(known, later_answers=(*known.later_answers, message.seen))

    def odd(self, message: Message, error: WireError) -> None:
        """Note a message that does not parse; if only its start was captured, it proves nothing."""
        if message.whole:
            self.malformed.append(self.describe(message, error.why))
        else:
            self.strays.append(self.describe(message, f"not captured whole ({error.why})"))

    def describe(self, message: Message, why: str) -> OddMessage:
        """Return the note about a message that is in no transaction."""
        name = self.servers[message.server]
        return OddMessage(message.seen, message.client, name, message.from_client, why)


def _key(message: Message, said: Query | Answer) -> _Key:
    ends = (message.client, message.server, message.tcp)
    return (*ends, said.id, said.qname, said.qtype)


def longest_wait_ns(timeout_ns: int) -> int:
    """Return the longest time that an SBC set to *timeout_ns* can wait for one server."""
    return timeout_ns * 3 // 2


@dataclass(frozen=True, slots=True)
class Transactions:
    """All questions put to the named servers, whatever their type, and what is in none."""

    asked: tuple[Transaction, ...]
    malformed: tuple[OddMessage, ...]
    strays: tuple[OddMessage, ...]


def read_transactions(
    datagrams: Datagrams,
    servers: Mapping[Endpoint, str],
    *,
    timeout_ns: int,
    failures: frozenset[str] = FAILURE_RCODES,
) -> Transactions:
    """Return the questions that *datagrams* show at *servers* (address to name)."""
    folding = _Folding(servers, timeout_ns, failures, [], {}, {}, [], [])
    for message in messages(datagrams, servers):
        if message.from_client:
            folding.query(message)
        else:
            folding.answer(message)
    return Transactions(tuple(folding.done), tuple(folding.malformed), tuple(folding.strays))
