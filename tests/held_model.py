"""When a server is held, read backwards from its whole history: a reference for the pool."""

from dataclasses import dataclass

from enumtest.profiles.profile_groups import ReadmitBy, Stage
from enumtest.profiles.profiles import Profile


@dataclass(frozen=True)
class Deed:
    """Something that the SBC learnt of one server."""

    at_ns: int
    server: str
    what: str  # "failed", "answered", "replied" to a probe, "lost" a probe


def held_in(history: list[Deed], server: str, profile: Profile, now_ns: int) -> bool:
    """Say from a server's whole history whether it is held: the law read backwards.

    It is held if the last hold-down that any failure began has neither run out nor been ended.
    """
    rules, deeds = profile.hold_down, [one for one in history if one.server == server]
    begun: list[tuple[int, int]] = []  # stage and time of each hold-down
    counted_from = 0  # deeds before it are forgotten
    for at, deed in enumerate(deeds):
        over_ns = _end_ns(begun, profile)
        forgets = rules.end_resets and begun and begun[-1][0] == len(rules.stages) - 1
        if over_ns is not None and deed.at_ns >= over_ns:
            counted_from, begun = (at if forgets else counted_from), []
        if deed.what == "failed":
            reached = [
                number
                for number, stage in enumerate(rules.stages)
                if _count(deeds[counted_from : at + 1], stage) >= stage.failures
            ]
            begun += [(max(reached), deed.at_ns)] if reached else []
        ended = deed.what == "answered" and rules.answer_ends
        replies = [one.what for one in deeds[: at + 1] if one.what != "answered"]
        wanted = profile.readmission.replies
        ended = ended or (wanted > 0 and replies[-wanted:] == ["replied"] * wanted)
        if begun and ended:
            counted_from, begun = (at + 1 if forgets else counted_from), []
    if not begun:
        return False
    over_ns = _end_ns(begun, profile)
    return over_ns is None or now_ns < over_ns


def _end_ns(begun: list[tuple[int, int]], profile: Profile) -> int | None:
    """Return when the last of *begun* runs out, or None: no time ends it, or there is none."""
    if not begun or profile.readmission.by is ReadmitBy.PROBES:
        return None
    number, at_ns = begun[-1]
    return at_ns + profile.hold_down.stages[number].length_ns


def _count(deeds: list[Deed], stage: Stage) -> int:
    """Return how many failures up to the last of *deeds* belong together."""
    found = 0
    for deed in reversed(deeds):
        if stage.consecutive and deed.what == "answered":
            break
        if stage.window_ns and deed.at_ns <= deeds[-1].at_ns - stage.window_ns:
            break
        found += deed.what == "failed"
    return found
