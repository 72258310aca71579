"""From a capture to what the SBC did: transactions with servers, folded into one lookup a call.

    datagrams ─▶ messages ─▶ transactions (retransmissions folded) ─▶ lookups (failovers joined)

Laws: every DNS message to or from a known server is in a transaction, in `strays` or in
`malformed`, never silently dropped; a retransmission is not a turn; nothing is guessed about an
answer that is not in the capture; an answer that comes when the server was given up already (a
process that hung answers all it was asked, late), or of which only a part came, does not make the
transaction a success.

Sources: RFC 1035 section 4.1 (id and question match a response), RFC 5452 section 9.1 (address and
port too), RFC 6116 section 3 (owner name).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from enumtest.message import Answer, Query, number_from_qname, parse_answer, parse_query
from enumtest.source_uri import source_uri
from harness.errors import InputError, WireError
from harness.frame import Datagrams, Endpoint
from harness.number import PhoneNumber
from harness.tcp_stream import Stream, reassemble

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
    malformed: tuple[OddMessage, ...]  # from a client or a server; they do not parse
    strays: tuple[OddMessage, ...]  # answers that match no query; messages not captured whole
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
        made = Transaction(message.client, name, query, source, (message.seen,), tcp=message.tcp)
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
        if known.answer is None and age_ns <= _longest_wait_ns(self.timeout_ns):
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


def read_traffic(
    datagrams: Datagrams, servers: Mapping[Endpoint, str], *, timeout_ns: int
) -> Traffic:
    """Return the lookups that *datagrams* show at *servers* (address to name).

    *timeout_ns* is how long the SBC waits for one server: it bounds what may be a retransmission
    and what may be the failover of the same call.
    """
    folding = _Folding(servers, timeout_ns, [], {}, {}, [], [])
    for message in messages(datagrams, servers):
        if message.from_client:
            folding.query(message)
        else:
            folding.answer(message)
    enum = [t for t in folding.done if t.query.qtype == "NAPTR"]
    probes = tuple(t for t in folding.done if t.query.qtype != "NAPTR")
    return Traffic(_join(enum, timeout_ns), tuple(folding.malformed), tuple(folding.strays), probes)


def _join(transactions: list[Transaction], timeout_ns: int) -> tuple[Lookup, ...]:
    """Join each failover to the lookup that waited for it.

    Calls with the same parties can overlap, so what fits best is joined first: a failover after an
    error, then one when the time-out is just over, then one near it, then one far too early.
    """
    chains = [[transaction] for transaction in sorted(transactions, key=_first_send)]
    for fit in (_after_error, _on_time, _near, _early):
        chains = _merge(chains, fit, timeout_ns)
    return tuple(Lookup(_without_parts(chain)) for chain in chains)


def _first_send(transaction: Transaction) -> tuple[int, int]:
    return (transaction.sends[0].at_ns, transaction.sends[0].frame)


def _merge(
    chains: list[list[Transaction]], fit: "_Fit", timeout_ns: int
) -> list[list[Transaction]]:
    """Return the chains in order, with each appended to the earlier one that it fits best."""
    kept: list[list[Transaction]] = []
    waiting: dict[tuple[str, str, str], list[list[Transaction]]] = {}
    for chain in chains:
        new = chain[0]
        # What a failover repeats: the SBC's address, the question, the calling URI.
        queue = waiting.setdefault((new.client.address, new.query.qname, new.source), [])
        since_ns = new.sends[0].at_ns - _longest_wait_ns(timeout_ns)
        queue[:] = [one for one in queue if one[-1].sends[0].at_ns >= since_ns]
        fits = [
            (distance_ns, at)
            for at, one in enumerate(queue)
            if (distance_ns := fit(one, new, timeout_ns)) is not None
        ]
        if fits:
            whole = queue.pop(min(fits)[1])
            whole[-1] = _overtaken(whole[-1], new)
            whole += chain
        else:
            kept.append(whole := chain)
        queue.append(whole)
    return kept


_Fit = Callable[[list[Transaction], Transaction, int], int | None]  # smaller is better


def _after_error(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how soon *new* comes after an answer that is of no use, or half of one."""
    last = chain[-1]
    if last.answer is None or last.answered is None:
        return None
    since_ns = new.sends[0].at_ns - last.answered.at_ns
    over_tcp = new.tcp and not last.tcp and new.server == last.server
    useless = last.answer.truncated and (over_tcp or _is_elsewhere(chain, new))
    useless = useless or (last.failed and _is_elsewhere(chain, new))
    return since_ns if useless and 0 <= since_ns <= timeout_ns // 2 else None


def _on_time(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how far from the end of the time-out *new* comes, if that is within 5 %."""
    distance_ns = _near(chain, new, timeout_ns)
    return distance_ns if distance_ns is not None and distance_ns <= timeout_ns // 20 else None


def _near(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how far from the end of the time-out *new* comes, if that is within 50 %."""
    last = chain[-1]
    waited_ns = new.sends[0].at_ns - last.sends[0].at_ns
    if last.answered is not None and (
        last.answered.at_ns <= new.sends[0].at_ns
        or last.answered.at_ns - last.sends[0].at_ns <= timeout_ns
    ):
        return None  # it was answered: *new* is another call's
    distance_ns = abs(waited_ns - timeout_ns)
    return distance_ns if _is_elsewhere(chain, new) and distance_ns <= timeout_ns // 2 else None


def _early(chain: list[Transaction], new: Transaction, timeout_ns: int) -> int | None:
    """Say how soon *new* comes, as after an ICMP "port unreachable".

    The last server never answered, was not asked again, and nothing better followed it.
    """
    last = chain[-1]
    waited_ns = new.sends[0].at_ns - last.sends[0].at_ns
    silent = last.answer is None and not last.later_answers
    gave_way = silent and last.sends[-1].at_ns <= new.sends[0].at_ns
    fits = gave_way and _is_elsewhere(chain, new) and waited_ns < timeout_ns
    return waited_ns if fits else None


def _is_elsewhere(chain: list[Transaction], new: Transaction) -> bool:
    """Say whether *new* goes to a server that was not asked yet."""
    return all(hop.server != new.server for hop in chain)


def _longest_wait_ns(timeout_ns: int) -> int:
    """Return the longest time that an SBC set to *timeout_ns* can wait for one server."""
    return timeout_ns * 3 // 2


def _overtaken(last: Transaction, new: Transaction) -> Transaction:
    """Return *last* as a failure when its answer came after its failover."""
    if last.answered is None or last.answered.at_ns <= new.sends[0].at_ns:
        return last
    later = (last.answered, *last.later_answers)
    return replace(last, answer=None, answered=None, later_answers=later)


def _without_parts(chain: list[Transaction]) -> tuple[Transaction, ...]:
    """Return the hops; a truncated answer that was not asked for again over TCP counts as none."""
    hops: list[Transaction] = []
    for hop, following in zip(chain, [*chain[1:], None], strict=True):
        again = following is not None and following.server == hop.server
        if hop.answer is None or hop.answered is None or again or not hop.answer.truncated:
            hops.append(hop)
        else:
            later = (hop.answered, *hop.later_answers)
            hops.append(replace(hop, answer=None, answered=None, later_answers=later))
    return tuple(hops)
