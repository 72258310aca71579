"""What a judge of part B gives back, and the window of an observation that it looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from enumtest.checks.calls import Agreed, calls_asked
from enumtest.checks.hold_down import all_held, episodes
from enumtest.traffic.lookups import Lookup
from fst.observation import Observation
from harness.finding import Finding, Measurement
from harness.records import CallRecord

Value = tuple[float | None, tuple[int, ...]]  # a number, and the frames that show it


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge found; `values` are the measurements that the plan declares, by name."""

    findings: tuple[Finding, ...]
    values: Mapping[str, Value] = field(default_factory=dict)
    extra: tuple[Measurement, ...] = ()
    notes: tuple[str, ...] = ()  # tables for people, such as the top 10


@dataclass(frozen=True, slots=True)
class Window:
    """The judged time of an exercise: the SBC's own lookups, the test calls, and what is odd."""

    lookups: tuple[Lookup, ...]
    calls: tuple[CallRecord, ...]
    unasked: tuple[CallRecord, ...]  # test calls without a lookup, while a server could be asked
    again: tuple[Lookup, ...]  # for a number that was dialled, but by no call
    undialled: tuple[Lookup, ...]  # for a number that nobody dialled

    @property
    def asked(self) -> Finding:
        """Return the finding on whether each call made its lookup."""
        return calls_asked(self.calls, self.unasked, self.again)


def window(seen: Observation) -> Window:
    """Return the judged window of *seen*.

    With every server held down there is nobody to ask: such a call needs no lookup.
    """
    lookups, calls = seen.own_between(*seen.window), seen.calls_between(*seen.window)
    without = {id(call) for call in seen.matching.unasked}
    before = seen.own_between(0, seen.window[1])
    held = {name: episodes(name, before, seen.group) for name in seen.group.servers}
    unasked = tuple(
        call for call in calls if id(call) in without and not all_held(call.at_ns, held, seen.group)
    )
    spare = {id(lookup) for lookup in seen.matching.spare}
    dialled = {call.destination for call in seen.calls}
    odd = [one for one in lookups if id(one) in spare]
    again = tuple(one for one in odd if str(one.number(seen.sbc.apex)) in dialled)
    undialled = tuple(one for one in odd if str(one.number(seen.sbc.apex)) not in dialled)
    return Window(lookups, calls, unasked, again, undialled)


def count(found: Sequence[object]) -> Value:
    """Return how many there are; none at all is nothing seen, which is no number to judge."""
    return (len(found) or None, ())


def agreed(seen: Observation) -> Agreed:
    """Return what the site file says of the SBC's requests."""
    sbc = seen.sbc
    return Agreed(sbc.apex, (sbc.address,), carries_source=bool(sbc.source_code))


def minimum(seen: Observation) -> int:
    """Return how many calls it takes before rotation, or a server without requests, is judged."""
    return seen.judging.rounds * len(seen.sbc.enum_servers)
