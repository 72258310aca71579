"""From a capture to what the SBC did: transactions with servers, folded into one lookup a call.

    datagrams ─▶ messages ─▶ transactions (retransmissions folded) ─▶ lookups (failovers joined)

Laws: every DNS message to or from a known server is in a transaction, in `strays` or in
`malformed`, never silently dropped; a retransmission is not a turn; nothing is guessed about an
answer that is not in the capture; an answer that comes when the server was given up already (a
process that hung answers all it was asked, late) does not make the transaction a success.

Sources: RFC 1035 section 4.1 (id and question match a response), RFC 5452 section 9.1 (address and
port too), RFC 6116 section 3 (owner name).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from enumtest.message import Answer, Query, number_from_qname, parse_answer, parse_query
from enumtest.source_uri import source_uri
from harness.errors import InputError, WireError
from harness.frame import Datagrams, Endpoint
from harness.number import PhoneNumber
from harness.tcp_stream import reassemble

TCP = 6
FAILURE_RCODES = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"})
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
    later_answers: tuple[Seen, ...] = ()  # more of them, or too late to be of use

    @property
    def failed(self) -> bool:
        """True when no answer came, or one that says the server could not do its work."""
        return self.answer is None or self.answer.rcode in FAILURE_RCODES

    @property
    def frames(self) -> tuple[int, ...]:
        """Return the frames of its sends and of its answer."""
        answered = () if self.answered is None else (self.answered.frame,)
        return (*(seen.frame for seen in self.sends), *answered)


@dataclass(frozen=True, slots=True)
class Lookup:
    """One call's questions in order: the first server asked, then each failover."""

    hops: tuple[Transaction, ...]

    @property
    def at_ns(self) -> int:
        """Return when the first query was sent (wall time)."""
        return self.hops[0].sends[0].at_ns

    @property
    def qname(self) -> str:
        """Return the owner name that was asked, in lower case."""
        return self.hops[0].query.qname

    @property
    def first(self) -> Transaction:
        """Return the hop whose server had the turn."""
        return self.hops[0]

    @property
    def last(self) -> Transaction:
        """Return the last hop, whose answer (if any) decided the call."""
        return self.hops[-1]

    @property
    def frames(self) -> tuple[int, ...]:
        """Return all frames, in order of hops."""
        return tuple(frame for hop in self.hops for frame in hop.frames)

    def number(self, apex: str) -> PhoneNumber | None:
        """Return the number that was asked for under *apex*, or None when the name is not one."""
        try:
            return number_from_qname(self.qname, apex)
        except InputError:
            return None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything between SBCs and the named servers that a capture holds."""

    lookups: tuple[Lookup, ...]
    malformed: tuple[tuple[Seen, str], ...]  # from the SBC or a server, and why it does not parse
    strays: tuple[tuple[Seen, str], ...]  # answers that match no query, with the reason
    probes: tuple[Transaction, ...]  # questions that are not NAPTR (health checks and the like)


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
            found.append(Message(seen, *ends, tcp=False, data=datagrams.payload(i)))
    for stream in reassemble(datagrams):
        source, to = stream.source, stream.destination
        if to not in servers and source not in servers:
            continue
        ends = (source, to, True) if to in servers else (to, source, False)
        at = 0
        while at + LENGTH_BYTES <= len(stream.data):
            size = int.from_bytes(stream.data[at : at + LENGTH_BYTES])
            body = bytes(stream.data[at + LENGTH_BYTES : at + LENGTH_BYTES + size])
            piece = stream.piece(at)
            seen = Seen(piece.frame, piece.at_ns)
            found.append(Message(seen, *ends, tcp=True, data=body))
            at += LENGTH_BYTES + size
    yield from sorted(found, key=lambda message: (message.seen.at_ns, message.seen.frame))


@dataclass(slots=True)
class _Folding:
    """Transactions under construction, by what makes an answer theirs (RFC 5452 section 9.1)."""

    servers: Mapping[Endpoint, str]
    timeout_ns: int
    done: list[Transaction]
    latest: dict[tuple[Endpoint, Endpoint, int, str], int]
    malformed: list[tuple[Seen, str]]
    strays: list[tuple[Seen, str]]

    def query(self, message: Message) -> None:
        try:
            query = parse_query(message.data)
        except WireError as error:
            self.malformed.append((message.seen, f"query: {error.why}"))
            return
        key = (message.client, message.server, query.id, query.qname)
        at = self.latest.get(key)
        if at is not None and self._is_retransmission(self.done[at], message):
            known = self.done[at]
            self.done[at] = replace(known, sends=(*known.sends, message.seen))
            return
        self.latest[key] = len(self.done)
        name, source = self.servers[message.server], source_uri(query)
        self.done.append(Transaction(message.client, name, query, source, (message.seen,)))

    def _is_retransmission(self, known: Transaction, message: Message) -> bool:
        """Same id and question from the same port, not answered yet, and within the timeout."""
        age_ns = message.seen.at_ns - known.sends[0].at_ns
        return known.answer is None and age_ns <= 2 * self.timeout_ns

    def answer(self, message: Message) -> None:
        try:
            answer = parse_answer(message.data)
        except WireError as error:
            self.malformed.append((message.seen, f"answer: {error.why}"))
            return
        key = (message.client, message.server, answer.id, answer.qname)
        at = self.latest.get(key)
        if at is None:
            self.strays.append((message.seen, "no query with this id, question and port"))
            return
        known = self.done[at]
        age_ns = message.seen.at_ns - known.sends[0].at_ns
        if known.answer is None and age_ns <= _patience_ns(self.timeout_ns):
            self.done[at] = replace(known, answer=answer, answered=message.seen)
        else:
            self.done[at] = replace(known, later_answers=(*known.later_answers, message.seen))


def read_traffic(
    datagrams: Datagrams, servers: Mapping[Endpoint, str], *, timeout_ns: int
) -> Traffic:
    """Return the lookups that *datagrams* show at *servers* (address to name).

    *timeout_ns* is how long the SBC waits for one server: it bounds what may be a retransmission
    and what may be the failover of the same call.
    """
    folding = _Folding(servers, timeout_ns, [], {}, [], [])
    for message in messages(datagrams, servers):
        if message.from_client:
            folding.query(message)
        else:
            folding.answer(message)
    enum = [t for t in folding.done if t.query.qtype == "NAPTR"]
    probes = tuple(t for t in folding.done if t.query.qtype != "NAPTR")
    return Traffic(_join(enum, timeout_ns), tuple(folding.malformed), tuple(folding.strays), probes)


def _join(transactions: list[Transaction], timeout_ns: int) -> tuple[Lookup, ...]:
    """Join each failover to the lookup that still waits for it; the longest waiting goes first."""
    patience_ns = timeout_ns // 2  # no SBC gives up earlier; nearer is another call's query
    chains: list[list[Transaction]] = []
    waiting: dict[tuple[str, str, str], list[int]] = {}
    for transaction in sorted(transactions, key=lambda t: t.sends[0].frame):
        key = (transaction.client.address, transaction.query.qname, transaction.source)
        queue = waiting.setdefault(key, [])
        queue[:] = [at for at in queue if not _expired(chains[at], transaction, timeout_ns)]
        follows = next((at for at in queue if _follows(chains[at], transaction, patience_ns)), None)
        if follows is None:
            queue.append(len(chains))
            chains.append([transaction])
        else:
            chain = chains[follows]
            chain[-1] = _overtaken(chain[-1], transaction, timeout_ns)
            chain.append(transaction)
    return tuple(Lookup(tuple(chain)) for chain in chains)


def _patience_ns(timeout_ns: int) -> int:
    """Return the longest time that an SBC set to *timeout_ns* can wait for one server."""
    return timeout_ns * 3 // 2


def _overtaken(last: Transaction, new: Transaction, timeout_ns: int) -> Transaction:
    """Return *last* as a failure when its answer came after its time, and after its failover."""
    if last.answered is None or last.answered.at_ns <= new.sends[0].at_ns:
        return last
    if last.answered.at_ns - last.sends[0].at_ns <= timeout_ns:
        return last  # it came in time: *new* may be another call's, the wire can't tell
    later = (last.answered, *last.later_answers)
    return replace(last, answer=None, answered=None, later_answers=later)


def _expired(chain: list[Transaction], new: Transaction, timeout_ns: int) -> bool:
    """No failover comes later than half a timeout after the last server's time was up."""
    return new.sends[0].at_ns > chain[-1].sends[0].at_ns + _patience_ns(timeout_ns)


def _follows(chain: list[Transaction], new: Transaction, patience_ns: int) -> bool:
    """Say whether *new* is the next hop: another server (or TCP), after a failure of the last."""
    last = chain[-1]
    at_ns = new.sends[0].at_ns
    done = last.answered is not None and last.answered.at_ns <= at_ns
    if done and last.answer is not None and last.answer.truncated:
        return new.server == last.server and new.query.id == last.query.id
    if any(hop.server == new.server for hop in chain):
        return False
    if done:
        return last.failed
    return at_ns >= last.sends[0].at_ns + patience_ns
