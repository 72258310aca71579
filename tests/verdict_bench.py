"""A report without a judge: real packets of a simulated SBC, rulings written by hand."""

from collections.abc import Mapping
from dataclasses import replace

from enumtest.judge.ruling import Judgement, Measured, Ruling, Span, Vantage
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profiles import Profile
from enumtest.sbc.sbc import SbcConfig
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import Cite, LookupTable
from enumtest.verdict.report import Doubt, Report
from harness.finding import Outcome
from harness.packets.capture import Capture, parse
from harness.packets.frame import Endpoint
from tests.enum_wire import MS, SECOND, START_NS, Down, Script, Wire, endpoints, sbc

SERVERS = endpoints(3)
PROFILE = shipped_profile("fixed-hold-down")
ONE, TWO, THREE = SERVERS
DOWN = Down({TWO: (8 * SECOND, 25 * SECOND)})
FAIL, OTHER, PASS = Outcome.FAIL, Outcome.OTHER, Outcome.PASS


def run(
    script: Script = DOWN,
    *,
    calls: int = 120,
    every_ns: int = 500 * MS,
    profile: Profile = PROFILE,
    servers: Mapping[str, Endpoint] = SERVERS,
) -> bytes:
    """Return the capture of a simulated SBC that places calls."""
    wire = Wire(sbc(SbcConfig(servers, profile)), script)
    wire.calls(calls, every_ns)
    return wire.run().capture()


def table_of(
    data: bytes, name: str = "sbc.pcap", servers: Mapping[str, Endpoint] = SERVERS
) -> LookupTable:
    """Return what the reader finds in a capture."""
    return read_lookups([capture(data, name)], {at: one for one, at in servers.items()}, PROFILE)


def capture(data: bytes, name: str = "sbc.pcap") -> Capture:
    return parse(data, name=name)


def at(second: float) -> int:
    """Return a moment of the run as wall time."""
    return START_NS + round(second * SECOND)


def cites(*frames: int, name: str = "sbc.pcap") -> tuple[Cite, ...]:
    return tuple(Cite(name, frame) for frame in frames)


def ruling(rule: str = "hold-down.kept", outcome: Outcome = PASS, **values: object) -> Ruling:
    """Return a ruling with whatever is not given."""
    words = {"expected": "not asked while it is held down", "observed": "it was left alone"}
    return Ruling(rule, outcome, **(words | values))  # type: ignore[arg-type]


RULINGS = (
    ruling("rotation.next-in-turn", observed="118 of 118 turns", cites=cites(1)),
    ruling(
        "hold-down.kept",
        FAIL,
        server=TWO,
        observed="asked 12.3 s after it was given up, 30 s are declared",
        cites=cites(58, 61),
        at_ns=at(14.0),
    ),
    ruling(
        "readmission.in-time",
        OTHER,
        server=TWO,
        expected="asked again within one round",
        observed="the capture ends before",
        needed=12,
    ),
)
SPANS = (
    Span(ONE, "in service", at(0), at(60)),
    Span(TWO, "in service", at(0), at(10)),
    Span(TWO, "held", at(10), at(40), cites(40)),
    Span(TWO, "maybe held", at(40), at(42)),
    Span(TWO, "in service", at(42), at(60)),
    Span(THREE, "in service", at(0), at(60)),
)
MEASURED = (
    Measured("hold-down of enum2", "s", 29.9, 30.1, 1, cites(40)),
    Measured("time-out of a server", "s", None, None, 0),
)
JUDGEMENT = Judgement("fixed-hold-down", "192.0.2.10", RULINGS, SPANS, MEASURED)


def report(
    table: LookupTable | None = None, *judgements: Judgement, doubts: tuple[Doubt, ...] = ()
) -> Report:
    """Return the report on *table* (by default, one outage of one server)."""
    return Report(
        command="enumtest judge sbc.pcap --profile fixed-hold-down",
        version="0",
        profile=PROFILE,
        vantage=Vantage.SBC,
        vantage_said=True,
        servers=SERVERS,
        table=table_of(run()) if table is None else table,
        judgements=judgements or (JUDGEMENT,),
        doubts=doubts,
    )


def with_rulings(*rulings: Ruling) -> Judgement:
    return replace(JUDGEMENT, rulings=rulings)
