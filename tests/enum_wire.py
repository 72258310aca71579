"""A simulated SBC against scripted servers on a clock of its own, written down as a capture.

No sockets: the packets of `Wire` are encoded as a tap would have seen them at the SBC, and read
back by the same reader that judges a customer's capture.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import count

from enumtest.checks.hold_down import Group
from enumtest.dns.message import Query, encode_answer, encode_query, parse_answer, parse_query
from enumtest.naptr.naptr import NaptrRecord
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_overrides import Overrides, laid_over
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc, SbcConfig
from enumtest.traffic.lookups import Lookup, Seen, Traffic, Transaction, read_traffic
from harness.number import PhoneNumber
from harness.packets.capture import LINKTYPE_RAW, encode_file_header, encode_record, parse
from harness.packets.frame import ACK, PSH, SYN, Endpoint, decode, encode_tcp, encode_udp
from harness.regex import Match, NoMatch, Refusal

MS = 1_000_000
SECOND = 1_000 * MS
START_NS = 1_700_000_000 * SECOND  # wall time of the moment 0 of every run
NAMES = ("enum1", "enum2", "enum3", "enum4", "enum5")
CLIENT = Endpoint("192.0.2.10", 40_000)
SOURCE = "sip:+16505550100@192.0.2.1;user=phone"
NUMBERS = tuple(PhoneNumber(f"1212555{line:04}") for line in range(110, 130))
ALLOW = NaptrRecord(100, 10, "u", "E2U+sip", r"!^(.*)$!sip:\1@sbc.example.net!")
TERMINATE = NaptrRecord(100, 10, "u", "E2U+sip", "!^.*$!sip:no@blocked.invalid!")
REDIRECT = NaptrRecord(100, 10, "u", "E2U+sip", "!^.*$!sip:+12125550150@sbc.example.net!")


FIXED = shipped_profile("fixed-hold-down")
_OVERRIDES = {one.name for one in fields(Overrides)}


def sbc_config(servers: Mapping[str, Endpoint], **values: object) -> SbcConfig:
    """Return a configuration: fields of `SbcConfig`, and of `Overrides` over the plan's profile."""
    return changed(SbcConfig(servers, FIXED), **values)


def changed(config: SbcConfig, **values: object) -> SbcConfig:
    """Return *config* with other values: fields of `SbcConfig`, and of `Overrides`."""
    own = {name: value for name, value in values.items() if name not in _OVERRIDES}
    config = replace(config, **own)  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in _OVERRIDES}
    profile = laid_over(config.profile, Overrides(**given), by="the test")  # type: ignore[arg-type]
    return replace(config, profile=profile)


def at_will(base: Profile, **parts: object) -> Profile:
    """Return *base* with other groups; the source of every value is the test."""
    source = dict.fromkeys({one.path.split(".")[0] for one in base.fields()}, "the test")
    return replace(base, **parts, source=source, unknown=frozenset())  # type: ignore[arg-type]


def endpoints(size: int, *, ipv6: bool = False) -> dict[str, Endpoint]:
    """Return *size* servers by name, at documentation addresses."""
    start = "2001:db8::1" if ipv6 else "198.51.100.1"
    return {name: Endpoint(f"{start}{at}", 53) for at, name in enumerate(NAMES[:size], 1)}


class WholeNumber:
    """An engine for the two patterns used here, `^(.*)$` and `^.*$`: no process is needed."""

    def match(
        self, pattern: bytes, subject: bytes, *, ignore_case: bool = False
    ) -> Match | NoMatch | Refusal:
        """Return all of *subject*."""
        del ignore_case
        if pattern not in (b"^(.*)$", b"^.*$"):
            return Refusal("not one of the two patterns of these tests")
        return Match((subject, subject) if b"(" in pattern else (subject,))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a scripted server sends, and how long after the query."""

    payload: bytes
    after_ns: int = 3 * MS


Script = Callable[[str, Query, int], Iterable[Reply]]  # server, query and time to replies


def allowing(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Answer every question at once: the call may go on as dialled."""
    del server, now_ns
    return (Reply(encode_answer(query, records=(ALLOW,))),)


def nxdomain(server: str, query: Query, now_ns: int) -> tuple[Reply, ...]:
    """Answer that no policy names the number."""
    del server, now_ns
    return (Reply(encode_answer(query, "NXDOMAIN")),)


@dataclass(frozen=True, slots=True)
class Down:
    """A script in which servers are silent at times: name to (from, until)."""

    times: Mapping[str, tuple[int, int]]
    else_: Script = allowing

    def __call__(self, server: str, query: Query, now_ns: int) -> Iterable[Reply]:
        """Answer as the script below, or not at all."""
        from_ns, until_ns = self.times.get(server, (0, 0))
        return () if from_ns <= now_ns < until_ns else self.else_(server, query, now_ns)


@dataclass(frozen=True, slots=True, order=True)
class Packet:
    """One packet as it passed the SBC."""

    at_ns: int
    number: int  # keeps the order of packets of one moment
    frame: bytes = field(compare=False)


@dataclass
class Wire:
    """Runs *sbc* against *script*, and keeps every packet and every decision."""

    sbc: Sbc
    script: Script = allowing
    client: Endpoint = CLIENT
    now_ns: int = 0
    packets: list[Packet] = field(default_factory=list)
    decided: list[CallDecided] = field(default_factory=list)
    asked: list[tuple[int, str]] = field(default_factory=list)  # time and server of each query
    _due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=count)

    def at(self, at_ns: int, deed: Callable[[], None]) -> None:
        """Do *deed* at that time."""
        heapq.heappush(self._due, (at_ns, next(self._count), deed))

    def call(self, at_ns: int, number: PhoneNumber = NUMBERS[0], source: str = SOURCE) -> None:
        """Place a call at that time."""
        self.at(at_ns, lambda: self._place(number, source))

    def calls(self, count: int, every_ns: int, *, numbers: int = len(NUMBERS)) -> None:
        """Place *count* calls at even spacing, to so many *numbers* in turn."""
        for at in range(count):
            self.call(at * every_ns, NUMBERS[at % numbers])

    def run(self) -> "Wire":
        """Let time go on until nothing is left to do; return itself."""
        while True:
            timer = self.sbc.next_timer()
            due = self._due[0][0] if self._due else None
            if timer is None and due is None:
                return self
            if due is not None and (timer is None or due <= timer):
                self.now_ns, _, deed = heapq.heappop(self._due)
                deed()
            elif timer is not None:
                self.now_ns = max(self.now_ns, timer)
                self.sbc.handle_timer(self.now_ns)
            self._pump()

    def note(self, source: Endpoint, to: Endpoint, payload: bytes, *, at_ns: int = -1) -> None:
        """Put a UDP packet into the capture (by default now)."""
        at_ns = self.now_ns if at_ns < 0 else at_ns
        self.packets.append(Packet(at_ns, len(self.packets), encode_udp(source, to, payload)))

    def capture(self) -> bytes:
        """Return the capture file."""
        return capture_bytes((p.at_ns, p.frame) for p in sorted(self.packets))

    def traffic(self, *, timeout_ns: int = 0) -> Traffic:
        """Return what the judge reads in the capture."""
        names = {endpoint: name for name, endpoint in self.sbc.config.servers.items()}
        timeout_ns = timeout_ns or self.sbc.config.profile.timeout_ns
        return traffic_of(self.capture(), names, timeout_ns=timeout_ns)

    def group(self, *, tolerance_ns: int = -1) -> Group:
        """Return what a site file would declare for this SBC (tolerance by default 8 %)."""
        config = self.sbc.config
        tolerance_ns = config.profile.hold_down_ns * 8 // 100 if tolerance_ns < 0 else tolerance_ns
        profile = config.profile
        return Group(tuple(config.servers), profile.timeout_ns, profile.hold_down_ns, tolerance_ns)

    def _place(self, number: PhoneNumber, source: str) -> None:
        self.sbc.place_call(number, source, self.now_ns)

    def _pump(self) -> None:
        while (outgoing := self.sbc.to_send()) is not None:
            self._send(outgoing)
        while (event := self.sbc.next_event()) is not None:
            self.decided.append(event)

    def _send(self, outgoing: Outgoing) -> None:
        server, query = outgoing.server, parse_query(outgoing.payload)
        name = next(n for n, e in self.sbc.config.servers.items() if e == server)
        self.asked.append((self.now_ns, name))
        client, sequence = self.client, 0
        if outgoing.tcp:
            client = Endpoint(self.client.address, 50_000 + len(self.packets))
            sequence = self._segment(client, server, outgoing.payload, 0, opening=True)
        else:
            self.note(client, server, outgoing.payload)
        for reply in self.script("tcp:" * outgoing.tcp + name, query, self.now_ns):
            self._expect(reply, client, server, sequence)

    def _expect(self, reply: Reply, client: Endpoint, server: Endpoint, tcp: int) -> None:
        def arrive() -> None:
            if tcp:
                self._segment(server, client, reply.payload, 0, opening=True)
            else:
                self.note(server, client, reply.payload)
            self.sbc.receive(reply.payload, server, self.now_ns)

        self.at(self.now_ns + reply.after_ns, arrive)

    def _segment(
        self, source: Endpoint, to: Endpoint, payload: bytes, sequence: int, *, opening: bool
    ) -> int:
        """Write a message over TCP; return the sequence number after it."""
        flags = [(SYN, b"")] if opening else []
        flags.append((PSH | ACK, len(payload).to_bytes(2) + payload))
        for flag, data in flags:
            frame = encode_tcp(source, to, data, sequence=sequence, acknowledgement=0, flags=flag)
            self.packets.append(Packet(self.now_ns, len(self.packets), frame))
            sequence += len(data) + bool(flag & SYN)
        return sequence


def capture_bytes(frames: Iterable[tuple[int, bytes]]) -> bytes:
    """Return a pcap of *frames* in the order given (times from the start of the run)."""
    records = [encode_record(START_NS + at_ns, frame) for at_ns, frame in frames]
    return encode_file_header(LINKTYPE_RAW) + b"".join(records)


def traffic_of(capture: bytes, servers: Mapping[Endpoint, str], *, timeout_ns: int) -> Traffic:
    """Return the DNS traffic that the reader finds in *capture*."""
    return read_traffic(decode(parse(capture)), servers, timeout_ns=timeout_ns)


def ids(seed: int = 1) -> Iterator[int]:
    """Yield message ids, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - ids of a simulation, not secrets
    while True:
        yield dice.randrange(0x10000)


def sbc(config: SbcConfig, *, seed: int = 1) -> Sbc:
    """Return a simulated SBC with seeded ids and an engine without a process."""
    return Sbc(config, ids(seed), WholeNumber())


def question(
    number: PhoneNumber = NUMBERS[0], message_id: int = 1, *, qtype: str = "NAPTR"
) -> bytes:
    """Return a bare query for *number*."""
    return encode_query(message_id, number.enum_domain(), qtype=qtype)


QUERY = parse_query(question())
Hop = tuple[float, str, float | None] | tuple[float, str, float | None, str]


def lookup(*hops: Hop) -> Lookup:
    """Return a lookup of hops (asked at s, server, answered at s or None, rcode)."""
    return Lookup(tuple(transaction(*hop) for hop in hops))


def transaction(
    asked_s: float, server: str, answered_s: float | None, rcode: str = "NOERROR"
) -> Transaction:
    """Return one question; its frame is the number of its tenth of a second."""
    sends = (Seen(round(asked_s * 10), round(asked_s * SECOND)),)
    if answered_s is None:
        return Transaction(CLIENT, server, QUERY, "", sends)
    answer = parse_answer(encode_answer(QUERY, rcode))
    seen = Seen(round(answered_s * 10), round(answered_s * SECOND))
    return Transaction(CLIENT, server, QUERY, "", sends, answer, seen)


def good(at_s: float, server: str) -> Lookup:
    """Return a lookup that was answered at once."""
    return lookup((at_s, server, at_s + 0.01))
