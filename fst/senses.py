"""What only people can tell of a step: what was heard in the call, what a screen showed.

Law: a sense is no verdict. It is held against what the packets show of the same thing (a named
measurement); where both speak and differ, that is a disagreement, and nothing passes over it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from harness.finding import Finding, Measurement, Outcome


class Sense(StrEnum):
    """By which sense; the names are those of an answers file."""

    HEARD = "heard"
    SEEN = "seen"


class Heard(StrEnum):
    """What a caller can hear become of a call."""

    CONNECTED = "connected"  # answered by the party that was dialled
    ELSEWHERE = "elsewhere"  # answered by somebody else
    ENDED = "ended"  # refused: a tone, an announcement, or the line is cut
    SILENCE = "silence"  # nothing at all


class Seen(StrEnum):
    """What can be seen of a server's data on the analytics client's screen."""

    SHOWN = "shown"  # complete, and as expected
    MISSING = "missing"  # nothing is shown
    WRONG = "wrong"  # something is shown, and it is not right


VALUES: Mapping[Sense, type[Heard] | type[Seen]] = MappingProxyType(
    {Sense.HEARD: Heard, Sense.SEEN: Seen}
)


@dataclass(frozen=True, slots=True)
class SenseSpec:
    """What is asked of people at one step."""

    sense: Sense
    question: str
    expected: Heard | Seen  # what fits the step's expected result
    measurement: str  # by which the packets show the same


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said; value is "" when it was said in words only."""

    sense: Sense
    value: str
    is_expected: bool | None  # None: it could not be told
    words: str
    who: str
    where: str


_CONNECTED = "Did each call reach the number that was dialled, as on any other day?"
_SCREEN = "Does the analytics client show what the step asks for?"
_DOWN = "Did each call go through as usual, for the caller's ear?"

SENSES: Mapping[str, SenseSpec] = MappingProxyType(
    {
        "B.1.1": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "requests_seen"),
        "B.1.2": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "requests_malformed"),
        "B.1.3": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "sources_wrong"),
        "B.1.4": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "destinations_wrong"),
        "B.2.1": SenseSpec(Sense.HEARD, _CONNECTED, Heard.CONNECTED, "calls_not_connected"),
        "B.2.2": SenseSpec(
            Sense.HEARD, "Had each call ended, for the caller's ear?", Heard.ENDED,
            "calls_let_through",
        ),
        "B.2.3": SenseSpec(
            Sense.HEARD, "Was each call answered at the extension that the rule names?",
            Heard.ELSEWHERE, "calls_not_redirected",
        ),
        "B.2.5": SenseSpec(Sense.HEARD, _CONNECTED, Heard.CONNECTED, "calls_not_connected"),
        "B.3.3": SenseSpec(Sense.HEARD, _DOWN, Heard.CONNECTED, "calls_failed"),
        "B.3.4": SenseSpec(Sense.HEARD, _DOWN, Heard.CONNECTED, "calls_failed"),
        "B.3.6": SenseSpec(Sense.HEARD, _DOWN, Heard.CONNECTED, "calls_failed"),
        "C.2.1": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "calls_missing"),
        "C.2.2": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "sources_wrong"),
        "C.2.3": SenseSpec(Sense.SEEN, _SCREEN, Seen.SHOWN, "destinations_wrong"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two witnesses of one thing that do not say the same: a person, and the packets."""

    sense: str
    said: str
    packets: str
    who: str
    where: str

    def text(self) -> str:
        """Return it in words, for the screen."""
        return f"DISAGREEMENT: {self.sense}: {self.who} says {self.said}; {self.packets}"

    def finding(self) -> Finding:
        """Return it as a finding: it can't be PASS while two witnesses contradict each other."""
        expected = "what people say and what the packets show agree"
        observed = f"{self.who} ({self.where}) says {self.said}; {self.packets}"
        return Finding(f"senses.{self.sense}", Outcome.OTHER, expected, observed)


def compare(
    spec: SenseSpec, said: Said, measurements: Iterable[Measurement]
) -> tuple[Disagreement, ...]:
    """Return where *said* contradicts the packets, one for each place that measured; often none.

    Who could not tell contradicts nobody; nor does a measurement that was never taken.
    """
    if said.is_expected is None:
        return ()
    shown = said.value or ("as expected" if said.is_expected else "not as expected")
    shown = f"{shown} ({said.words})" if said.words else shown
    found = []
    for taken in measurements:
        if taken.name != spec.measurement or taken.value is None:
            continue
        if (taken.outcome is Outcome.PASS) is not said.is_expected:
            value = f"{taken.value:g} {taken.unit}".rstrip()
            packets = f"the packets show {taken.name} = {value}, which is {taken.outcome.value}"
            found.append(Disagreement(said.sense.value, shown, packets, said.who, said.where))
    return tuple(found)
