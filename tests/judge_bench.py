"""A simulated SBC behind a network of ours, and taps on both its ends: captures for the judge.

    Sbc ─ tap "sbc" ─ relay (loses, doubles, delays, reorders) ─ tap "enum1" ─ scripted server

Laws: no socket and no clock; the same seed gives the same bytes; what a tap writes is what passed
it, with that tap's own clock; the relay alone decides what is lost.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from enumtest.dns.message import parse_query
from enumtest.dns.wire import HEADER_BYTES
from enumtest.judge.judge import judge
from enumtest.judge.ruling import Judgement, Ruling, Vantage
from enumtest.profiles.profile_groups import IdScope
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import Outgoing, Sbc, SbcConfig
from enumtest.traffic.hop_reader import read_lookups
from harness.errors import WireError
from harness.finding import Outcome
from harness.number import PhoneNumber
from harness.packets.capture import Capture, parse
from harness.packets.frame import ACK, PSH, SYN, Endpoint, encode_tcp, encode_udp
from tests.enum_wire import CLIENT, MS, Packet, Reply, Wire, capture_bytes, endpoints

AT_SBC = "sbc"
HELD_BACK_NS = 25 * MS  # by at most so much a packet is late that others overtake
FIRST_PORT, PORTS = 20_000, 20_000


@dataclass(frozen=True, slots=True)
class Relay:
    """The network between the SBC and its servers; shares are of all packets, both ways."""

    lost: float = 0.0
    doubled: float = 0.0
    overtaken: float = 0.0
    delay_ns: tuple[int, int] = (MS // 5, MS)

    def passes(self, dice: random.Random) -> tuple[int, ...]:
        """Return after how long each copy of a packet arrives; none when it is lost."""
        if dice.random() < self.lost:
            return ()
        copies = 2 if dice.random() < self.doubled else 1
        return tuple(self._delay(dice) for _ in range(copies))

    def _delay(self, dice: random.Random) -> int:
        late_ns = dice.randrange(HELD_BACK_NS) if dice.random() < self.overtaken else 0
        return dice.randrange(*self.delay_ns) + late_ns


CLEAN = Relay()


@dataclass(frozen=True, slots=True)
class Astray(Reply):
    """A reply that comes from another server's address."""

    sender: str = ""


@dataclass
class JudgeWire(Wire):
    """The wire of the other tests with a relay in it; *clocks* says how far each tap is ahead."""

    relay: Relay = CLEAN
    dice: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311
    clocks: Mapping[str, int] = field(default_factory=dict)
    taps: dict[str, list[Packet]] = field(default_factory=lambda: defaultdict(list))
    _ports: dict[object, tuple[int, int]] = field(default_factory=dict)

    def captured(self, tap: str) -> Capture:
        """Return the capture that was taken at *tap*."""
        ahead_ns = self.clocks.get(tap, 0)
        packets = sorted(self.taps[tap])
        data = capture_bytes((packet.at_ns + ahead_ns, packet.frame) for packet in packets)
        return parse(data, name=f"{tap}.pcap")

    def captures(self, vantage: Vantage) -> tuple[Capture, ...]:
        """Return what somebody has who captured there."""
        if vantage is Vantage.SBC:
            return (self.captured(AT_SBC),)
        return tuple(self.captured(name) for name in self.sbc.config.servers)

    def _send(self, outgoing: Outgoing) -> None:
        servers = self.sbc.config.servers
        name = next(one for one, at in servers.items() if at == outgoing.server)
        self.asked.append((self.now_ns, name))
        client = self._client(outgoing)
        frames = self._frames(client, outgoing.server, outgoing.payload, tcp=outgoing.tcp)
        self._tap(AT_SBC, frames)
        for delay_ns in self._passes(tcp=outgoing.tcp):
            self.at(self.now_ns + delay_ns, partial(self._arrives, name, client, outgoing, frames))

    def _arrives(
        self, name: str, client: Endpoint, asked: Outgoing, frames: tuple[bytes, ...]
    ) -> None:
        self._tap(name, frames)
        try:
            query = parse_query(asked.payload)
        except WireError:  # a server that cannot read it says nothing
            return
        for reply in self.script("tcp:" * asked.tcp + name, query, self.now_ns):
            deed = partial(self._replies, name, client, asked, reply)
            self.at(self.now_ns + reply.after_ns, deed)

    def _replies(self, name: str, client: Endpoint, asked: Outgoing, reply: Reply) -> None:
        if isinstance(reply, Astray):
            name = reply.sender
        server = self.sbc.config.servers[name]
        frames = self._frames(server, client, reply.payload, tcp=asked.tcp)
        self._tap(name, frames)
        for delay_ns in self._passes(tcp=asked.tcp):
            deed = partial(self._returns, server, reply.payload, frames)
            self.at(self.now_ns + delay_ns, deed)

    def _returns(self, server: Endpoint, payload: bytes, frames: tuple[bytes, ...]) -> None:
        self._tap(AT_SBC, frames)
        self.sbc.receive(payload, server, self.now_ns)

    def _passes(self, *, tcp: bool) -> tuple[int, ...]:
        """Return the delays of the copies; TCP mends losses by itself."""
        return (MS,) if tcp else self.relay.passes(self.dice)

    def _frames(
        self, source: Endpoint, to: Endpoint, payload: bytes, *, tcp: bool
    ) -> tuple[bytes, ...]:
        """Return the packets of a message; each has an IP id, and its copies have the same."""
        if tcp:
            return _tcp_frames(source, to, payload)
        return (_numbered(encode_udp(source, to, payload), self.dice.randrange(0x10000)),)

    def _tap(self, tap: str, frames: tuple[bytes, ...]) -> None:
        packets = self.taps[tap]
        packets += [Packet(self.now_ns, len(packets) + at, one) for at, one in enumerate(frames)]

    def _client(self, outgoing: Outgoing) -> Endpoint:
        """Return the SBC's address with the port that its profile keeps for this message."""
        rules = self.sbc.config.profile.retransmission
        if outgoing.tcp:
            return self._at_port(len(self.asked))
        if rules.port_per is IdScope.ALWAYS:
            return self.client
        if rules.port_per is IdScope.SEND:
            return self._at_port(self.dice.randrange(PORTS))
        key: tuple[object, ...] = (outgoing.payload[:2], outgoing.payload[HEADER_BYTES:])
        if rules.port_per is IdScope.SERVER:
            key = (*key, outgoing.server)
        port, since_ns = self._ports.get(key, (0, self.now_ns - rules.expire_ns))
        if self.now_ns >= since_ns + rules.expire_ns:
            port, since_ns = self.dice.randrange(PORTS), self.now_ns
            self._ports[key] = port, since_ns
        return self._at_port(port)

    def _at_port(self, number: int) -> Endpoint:
        return replace(self.client, port=FIRST_PORT + number % PORTS)


def _tcp_frames(source: Endpoint, to: Endpoint, payload: bytes) -> tuple[bytes, ...]:
    """Return the two segments that carry a message."""
    parts = ((SYN, b""), (PSH | ACK, len(payload).to_bytes(2) + payload))
    return tuple(
        encode_tcp(source, to, data, sequence=at, acknowledgement=0, flags=flag)
        for at, (flag, data) in enumerate(parts)
    )


def _numbered(frame: bytes, ip_id: int) -> bytes:
    """Return the IPv4 packet *frame*, whose id is 0, with another id (checksum: RFC 1624)."""
    total = (0xFFFF ^ int.from_bytes(frame[10:12])) + ip_id
    checksum = 0xFFFF ^ ((total & 0xFFFF) + (total >> 16))
    return frame[:4] + ip_id.to_bytes(2) + frame[6:10] + checksum.to_bytes(2) + frame[12:]


@dataclass(frozen=True, slots=True)
class Placed:
    """One call of a run."""

    at_ns: int
    number: PhoneNumber
    source: str


def judged(
    wire: JudgeWire, profile: Profile, vantage: Vantage, *, clocks_told: bool = False
) -> tuple[Judgement, ...]:
    """Return what the judge says of the captures, held against *profile*."""
    servers = {endpoint: name for name, endpoint in wire.sbc.config.servers.items()}
    told = wire.clocks if clocks_told and vantage is Vantage.SERVERS else {}
    ahead_ns = {f"{tap}.pcap": tap_ns for tap, tap_ns in told.items()}
    table = read_lookups(wire.captures(vantage), servers, profile, ahead_ns=ahead_ns)
    return judge(table, profile, vantage=vantage)


def failed(judgements: Sequence[Judgement]) -> tuple[Ruling, ...]:
    """Return the rulings that are FAIL."""
    return tuple(
        ruling
        for judgement in judgements
        for ruling in judgement.rulings
        if ruling.outcome is Outcome.FAIL
    )


def wired(
    sbc: Sbc, script: object, *, relay: Relay = CLEAN, seed: int = 1, apart: bool = False
) -> JudgeWire:
    """Return the bench; the clocks of the servers' taps are *apart* by up to a minute."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be had again, no secret
    clocks = {name: dice.randrange(-60_000, 60_001) * MS for name in sbc.config.servers}
    wire = JudgeWire(sbc, script, CLIENT, relay=relay, dice=dice)  # type: ignore[arg-type]
    wire.clocks = clocks if apart else {}
    return wire


def config(profile: Profile, size: int = 3) -> SbcConfig:
    """Return an SBC with so many servers that follows *profile*."""
    return SbcConfig(endpoints(size), profile)


def wired_to(make: Callable[[SbcConfig], Sbc], plan: Any) -> JudgeWire:  # noqa: ANN401 - a Plan
    """Return the bench after *plan* was played to an SBC; the taps' clocks differ."""
    wire = wired(make(config(plan.profile, len(plan.servers))), plan.world, apart=True)
    plan.put_into(wire).run()
    return wire
