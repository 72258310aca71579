"""A simulated SBC with both its sides on one wire: DNS to its servers, SIP to its neighbours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from enumtest.sbc.decision import Decision
from enumtest.sbc.sbc import CallDecided
from fst.observation import Mark, MarkKind, Observation, enum_endpoints
from fst.site import SbcTable, parse_site
from harness.number import PhoneNumber
from harness.packets.capture import parse
from harness.packets.frame import Endpoint
from probetest.sip.message import encode_request, encode_response
from tests.enum_wire import MS, START_NS, Script, Wire, allowing, sbc_config
from tests.sbc_defects import SOUND, Make

SITE_FILE, DIAL_PLAN = parse_site(
    (Path(__file__).parents[1] / "fixtures/sites/loopback.toml").read_text("utf-8")
)
SITE = SITE_FILE.sites[0]
TABLE = SITE.sbcs[0]
PLAIN = tuple(PhoneNumber.parse(number) for number in SITE.numbers.plain)  # type: ignore[union-attr]
CONFIG = sbc_config(
    enum_endpoints(SITE, TABLE, by_endpoint=False),
    timeout_ns=TABLE.timeout_ms * MS,
    hold_down_ns=TABLE.hold_down_ms * MS,
    source_code=TABLE.source_code,
)
CLIENT = Endpoint(TABLE.address, 40_000)
SIP, CALLER, NEXT_HOP = (
    Endpoint(TABLE.address, TABLE.sip_port),
    Endpoint("127.0.0.30", 15060),
    Endpoint.parse(TABLE.next_hop),
)
REDIRECT_HOP = Endpoint.parse(TABLE.redirect_hop or TABLE.next_hop)
SPACING_NS = 60 * MS


@dataclass(frozen=True, slots=True)
class Placed:
    """One call as the caller dialled it."""

    key: int
    number: PhoneNumber
    caller: str


End = Callable[[Wire, Placed, Decision], None]  # what SIP shows once the lookup is over


def sound(wire: Wire, call: Placed, decision: Decision) -> None:
    """Let the SBC do as it was told, and the callee take the call."""
    match decision:
        case Decision.TERMINATE:
            tell(wire, call, 603)
            return
        case Decision.REDIRECT:
            ring(wire, call, PhoneNumber.parse(str(SITE.redirected_to)), REDIRECT_HOP)
        case _:
            ring(wire, call, call.number, NEXT_HOP)
    tell(wire, call, 200)


def ring(
    wire: Wire, call: Placed, number: PhoneNumber, hop: Endpoint, *, joined: bool = True
) -> None:
    """Write the SBC's INVITE to *number* at *hop*, and the callee's 200."""
    key = call.key if joined else call.key + 100_000
    leg = f"out-{number}-{hop.address}"
    wire.note(SIP, hop, _invite(key, leg, number, call.caller))
    headers = _headers(key, leg, number, call.caller)
    wire.note(hop, SIP, encode_response(200, "x", headers))


def tell(wire: Wire, call: Placed, status: int) -> None:
    """Write the SBC's final response to the caller."""
    headers = _headers(call.key, "in", call.number, call.caller)
    wire.note(SIP, CALLER, encode_response(status, "x", headers))


def _none(key: int) -> bool:
    del key
    return False


@dataclass
class Bench:
    """A simulated SBC with both sides on one wire, and the marks of what was done."""

    wire: Wire
    marks: list[Mark] = field(default_factory=list)
    calls: int = 0
    table: SbcTable = TABLE
    end: End = sound
    bypasses: Callable[[int], bool] = _none  # calls that ask nobody
    _asking: list[Placed] = field(default_factory=list)

    def mark(self, at_ns: int, kind: MarkKind, *names: str) -> None:
        """Note a deed."""
        self.marks.append(Mark(START_NS + at_ns, kind, names))

    def place(
        self, count: int, *, from_ns: int = 0, numbers: tuple[PhoneNumber, ...] = PLAIN
    ) -> int:
        """Place calls at even spacing; return when the next would come."""
        for at in range(count):
            self._call(from_ns + at * SPACING_NS, numbers[at % len(numbers)])
        return from_ns + count * SPACING_NS

    def _call(self, at_ns: int, number: PhoneNumber) -> None:
        self.calls += 1
        call = Placed(self.calls, number, f"+1650555010{self.calls % 4}")
        payload = _invite(call.key, "in", number, call.caller)
        self.wire.at(at_ns, lambda: self.wire.note(CALLER, SIP, payload))
        if self.bypasses(call.key):
            self.wire.at(at_ns, lambda: self.end(self.wire, call, Decision.NO_INSTRUCTION))
            return
        self._asking.append(call)
        self.wire.call(at_ns, number, f"sip:{call.caller}@192.0.2.1")

    def finish(self, *, dropped: int | None = 0) -> Observation:
        """Let time go on to the end; return what was recorded, SIP of decided calls included."""
        self.wire.run()
        for event in self.wire.decided:
            self._ended(event)
        return Observation(
            exercise="test",
            site=SITE,
            sbc=self.table,
            judging=SITE_FILE.judging,
            dial_plan=DIAL_PLAN,
            capture=parse(self.wire.capture()),
            dropped=dropped,
            marks=tuple(self.marks),
        )

    def _ended(self, event: CallDecided) -> None:
        """Write what the SBC and the callee say once the lookup is over."""
        self.end(self.wire, self._asking[event.call - 1], event.decision)


def _headers(key: int, leg: str, number: PhoneNumber, caller: str) -> list[tuple[str, str]]:
    return [
        ("Via", f"SIP/2.0/UDP {CALLER};branch=z9hG4bK-{leg}-{key}"),
        ("From", f"<sip:{caller}@192.0.2.1>;tag=f"),
        ("To", f"<sip:{number}@192.0.2.2>"),
        ("Call-ID", f"{leg}-{key}"),
        ("CSeq", "1 INVITE"),
        ("Session-ID", f"{key:032x};remote={'0' * 32}"),
    ]


def _invite(key: int, leg: str, number: PhoneNumber, caller: str) -> bytes:
    uri = f"sip:{number}@192.0.2.2;user=phone"
    return encode_request("INVITE", uri, _headers(key, leg, number, caller))


def bench(make: Make = SOUND, script: Script = allowing) -> Bench:
    return Bench(Wire(make(CONFIG), script, client=CLIENT))
