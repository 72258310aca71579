"""What a profile may mean: every law of hold-down that its unknown values leave open.

Laws: a known value has one reading; an unknown one has all of them, as far as they can be listed;
a number that cannot be listed makes the law unknown, and then nobody is held to it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product

from enumtest.profiles.profile_groups import Event, HoldDown, Scope, Share, Stage
from enumtest.profiles.profiles import Profile

MAX_READINGS = 512  # more of them would tell nothing apart
FAILURES = (1, 2, 3, 5, 10)  # that makers ask for
_SWITCHES = ("answer_ends", "late_answer_ends", "end_resets", "runs_while_idle")


@dataclass(frozen=True, slots=True)
class Reading:
    """One law of hold-down that the profile may mean."""

    hold_down: HoldDown
    counted: frozenset[Event]  # of the events that were seen


@dataclass(frozen=True, slots=True)
class Seen:
    """What the packets show that makes unknown values matter."""

    events: frozenset[Event]
    late_answers: bool
    answers_in_flight: bool  # to questions that were open when another one failed


def holds_calls(profile: Profile) -> bool:
    """Say whether the profile leaves servers alone at all."""
    return bool(profile.hold_down.stages) and profile.hold_down.scope is Scope.SERVER


def readings(profile: Profile, seen: Seen) -> tuple[Reading, ...] | None:
    """Return the readings of the hold-down, or None when nobody knows its law."""
    hold_down = profile.hold_down
    stages = [list(_stages(profile, at, stage)) for at, stage in enumerate(hold_down.stages)]
    if not all(stages):
        return None
    several = any(stage.failures > 1 for choice in stages for stage in choice)
    matters = {
        "answer_ends": seen.answers_in_flight,
        "late_answer_ends": seen.late_answers,
        "end_resets": several,
        "runs_while_idle": True,
    }
    switches = [
        (False, True)
        if matters[name] and profile.source_of(f"hold_down.{name}") is None
        else (getattr(hold_down, name),)
        for name in _SWITCHES
    ]
    counted = list(_counted(profile, seen.events))
    found: dict[Reading, None] = {}
    for chosen in product(*stages):
        if any(one.failures >= two.failures for one, two in pairwise(chosen)):
            continue
        for values in product(*switches):
            law = replace(hold_down, stages=chosen, **dict(zip(_SWITCHES, values, strict=True)))
            found.update(dict.fromkeys(Reading(law, events) for events in counted))
            if len(found) > MAX_READINGS:
                return None
    return tuple(found)


def _stages(profile: Profile, at: int, stage: Stage) -> Iterator[Stage]:
    """Yield what a stage may be; nothing when its times cannot be listed."""
    place = f"hold_down.stages.{at}"

    def known(field: str) -> bool:
        return profile.source_of(f"{place}.{field}") is not None

    if not known("length_ns") or (stage.window_ns and not known("window_ns")):
        return
    failures = (stage.failures,) if known("failures") else sorted({stage.failures, *FAILURES})
    for number in failures:
        rows = (stage.consecutive,) if known("consecutive") or number == 1 else (False, True)
        for consecutive in rows:
            yield replace(stage, failures=number, consecutive=consecutive)


def _counted(profile: Profile, events: Collection[Event]) -> Iterator[frozenset[Event]]:
    """Yield which of *events* may count as failures."""
    choices = []
    for event in sorted(events):
        known = profile.source_of(f"reactions.{event}.counts") is not None
        counts = profile.reactions[event].counts
        choices.append((counts,) if known else (False, True))
    for values in product(*choices):
        yield frozenset(
            event for event, counts in zip(sorted(events), values, strict=True) if counts
        )


def shares(profile: Profile) -> frozenset[Share]:
    """Return who may get the calls of a held server, whichever stage is in force."""
    found: set[Share] = set()
    for at, stage in enumerate(profile.hold_down.stages):
        known = profile.source_of(f"hold_down.stages.{at}.share") is not None
        found |= {stage.share} if known else set(Share)
    return frozenset(found) or frozenset({Share.NEXT})
