"""What a judge says of one rule of a profile, with the frames that show it.

Laws: no evidence is no PASS; a rule whose value nobody knows, or that was not put to the test, is
OTHER with the reason and with how many more calls would let it be judged; what one reading of the
packets could excuse is never FAIL.
"""

from dataclasses import dataclass
from enum import StrEnum

from enumtest.traffic.hop_table import Cite
from harness.finding import Finding, Outcome

MAX_CITED = 12  # frames in one ruling; the count is always given in words


class Vantage(StrEnum):
    """Where the packets were captured."""

    SBC = "sbc"  # what is there is what the SBC sent and got
    SERVERS = "servers"  # between tap and SBC packets may be lost; each tap may have its own clock


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule applied to one SBC's packets."""

    rule: str  # stable id, such as "hold-down.kept"
    outcome: Outcome
    expected: str
    observed: str
    server: str = ""  # that it is about; "": all of them
    cites: tuple[Cite, ...] = ()  # the first one is the first violating frame
    at_ns: int = 0  # of that frame, common clock
    needed: int = 0  # how many more calls would let the rule be judged (OTHER only)

    def finding(self) -> Finding:
        """Return it in the words that every case uses; frames without their files."""
        frames = tuple(cite.frame for cite in self.cites)
        expected = f"{self.server}: {self.expected}" if self.server else self.expected
        return Finding(self.rule, self.outcome, expected, self.observed, "", frames, self.needed)


@dataclass(frozen=True, slots=True)
class Note(Ruling):
    """What the SBC did where the profile knows nothing: no rule demands it, none is broken."""


@dataclass(frozen=True, slots=True)
class Span:
    """One server's state for a while."""

    server: str
    state: str  # "in service", "held", "maybe held"
    from_ns: int
    until_ns: int
    because: tuple[Cite, ...] = ()  # the failures that began it


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its interval, and where it was taken."""

    name: str  # such as "hold-down of enum2"
    unit: str
    low: float | None  # None: never seen
    high: float | None
    samples: int
    cites: tuple[Cite, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that was found about one SBC against one profile."""

    profile: str
    client: str
    rulings: tuple[Ruling, ...]
    spans: tuple[Span, ...]
    measured: tuple[Measured, ...]
    notes: tuple[Ruling, ...] = ()  # what the profile does not know; no part of the verdict
