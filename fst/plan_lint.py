"""What is wrong with a plan that reads well: steps that could not be run, judged or told apart.

Each rule is a pure function from a plan to its flaws, and is tested by breaking the shipped plan.
A contradiction that a `Reading` already settles is not a flaw: it is listed beside them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from fst.plan import Mode, Outage, Plan, Reading, Step

_NUMBERED_SERVER = re.compile(r"\b(?:ENUM|server)s?(?: server)? ([0-9]{1,3})\b", re.IGNORECASE)
_DATASET = re.compile(r"\bdataset (\w+)", re.IGNORECASE)
_DURATION = re.compile(r"\b([0-9]{1,5}) (second|minute|hour)s?\b", re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that would go wrong on the day, the steps it concerns, and what to do."""

    rule: str
    where: tuple[str, ...]
    why: str
    fix: str

    def __str__(self) -> str:
        """Write it on one line, steps first."""
        return f"{', '.join(self.where)}: {self.why}; {self.fix} ({self.rule})"


def lint(plan: Plan) -> tuple[Flaw | Reading, ...]:
    """Return the readings in force, then every flaw that no reading settles."""
    return (*plan.readings, *flaws(plan))


def flaws(plan: Plan) -> tuple[Flaw, ...]:
    """Return what is wrong with *plan*, rule by rule in the order of its steps."""
    return tuple(flaw for rule in RULES for flaw in rule(plan))


def _same_text(plan: Plan) -> Iterator[Flaw]:
    """Two steps of one section that ask for the same thing: one of them was meant otherwise."""
    for one, other in combinations(plan.steps, 2):
        same = " ".join(one.text.lower().split()) == " ".join(other.text.lower().split())
        if same and one.section == other.section:
            why = "two steps of one section have the same text"
            yield Flaw("same-text", (one.id, other.id), why, "say what the second one is about")


def _no_expected(plan: Plan) -> Iterator[Flaw]:
    """A box that nothing decides."""
    for step in plan.steps:
        if not step.expected.strip():
            why = "no expected result, so no verdict can be given"
            yield Flaw("no-expected", (step.id,), why, "say what must be seen")


def _numbered_server(plan: Plan) -> Iterator[Flaw]:
    """A step that counts on more servers than it asks for cannot be run on a small site."""
    for step in plan.steps:
        found = _NUMBERED_SERVER.findall(f"{step.text} {step.expected}")
        most = max(map(int, found), default=0)
        if most > step.needs_servers:
            why = f"names server {most}, but needs_servers is {step.needs_servers}"
            yield Flaw("numbered-server", (step.id,), why, f"say needs_servers = {most}")


def _mixed_datasets(plan: Plan) -> Iterator[Flaw]:
    """Steps of one section look at one dataset; an odd one out is a slip of the pen."""
    for section in plan.sections:
        named = {
            step.id: found[1].upper()
            for step in plan.steps
            if step.section == section.id and (found := _DATASET.search(step.text))
        }
        if len(set(named.values())) > 1:
            why = f"one section, different datasets: {', '.join(named.values())}"
            yield Flaw("mixed-datasets", tuple(named), why, "name the same dataset in each")


def _unlike_wait(plan: Plan) -> Iterator[Flaw]:
    """The time in the words and the time that is kept must be the same."""
    for step in plan.steps:
        said = {int(n) * _SECONDS[unit.lower()] for n, unit in _DURATION.findall(step.text)}
        kept = {wait.seconds for wait in step.waits}
        if said != kept and (said or kept):
            why = f"the text says {_times(said)}, waits say {_times(kept)}"
            yield Flaw("unlike-wait", (step.id,), why, "make both the same")


def _times(seconds: set[int]) -> str:
    return " and ".join(f"{n} s" for n in sorted(seconds)) or "nothing"


def _nothing_measured(plan: Plan) -> Iterator[Flaw]:
    """PASS must be earned: a machine with no limits to hold against would pass on nothing."""
    for step in plan.steps:
        limits = [m for m in step.measurements if m.low is not None or m.high is not None]
        if step.mode is Mode.AUTOMATIC and not limits:
            why = "automatic, but no measurement has a limit"
            yield Flaw("nothing-measured", (step.id,), why, "declare one, or make it assisted")


def _left_down(plan: Plan) -> Iterator[Flaw]:
    """Whatever a section stops, it starts again before its end."""
    for section in plan.sections:
        down: Step | None = None
        for step in plan.steps:
            if step.section != section.id:
                continue
            if step.stops is not Outage.NONE and (down is None or _wider(step, down)):
                down = step
            if down and (step.restarts is Outage.ALL or step.restarts is down.stops):
                down = None
        if down:
            why = f"stops {down.stops} servers, and no later step of {section.id} starts them"
            yield Flaw("left-down", (down.id,), why, "add a step that restarts them")


def _wider(step: Step, other: Step) -> bool:
    order = tuple(Outage)
    return order.index(step.stops) > order.index(other.stops)


def _undeclared_disturbance(plan: Plan) -> Iterator[Flaw]:
    """Whoever gives the go-ahead must be told what stops or starts services."""
    for step in plan.steps:
        if {step.stops, step.restarts} != {Outage.NONE} and not step.disturbs:
            why = "stops or starts servers, but does not say that it disturbs"
            yield Flaw("undeclared-disturbance", (step.id,), why, "say disturbs = true")


RULES: tuple[Callable[[Plan], Iterator[Flaw]], ...] = (
    _same_text,
    _no_expected,
    _numbered_server,
    _mixed_datasets,
    _unlike_wait,
    _nothing_measured,
    _left_down,
    _undeclared_disturbance,
)
