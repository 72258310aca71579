"""When an unknown SBC holds a server down: every rule that people set is tried on what happened.

    stories of the servers ─▶ one replay a rule ─▶ rules that nothing contradicts ─▶ intervals

Laws: of rules that all fit, what they do not agree on is unknown; a rule with fewer stages is taken
before one with more, and one without a window before one with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations, pairwise, product

from enumtest.infer.moments import Story, What
from enumtest.infer.rules import FOREVER_NS, Replay, Rule, replay
from enumtest.profiles.profile_groups import Event

MAX_FAILURES = 40  # of a stage; the highest that a maker documents is 32
MAX_WINDOWS = 24
MAX_WORK = 4_000_000  # moments replayed: what is left untried then leaves all of it unsure
MAX_WRONG = 10**6

_How = tuple[bool, bool, bool, bool, bool, bool]
_Misfit = tuple[int, int, bool]  # contradictions, stages, whether it is strained
_NOTHING: _Misfit = (MAX_WRONG, 0, True)


def fits(told: Sequence[Story]) -> tuple[Replay, ...]:
    """Return the rules that explain most of *told*, of those with the fewest stages.

    Nothing when no server was ever passed over.
    """
    usable = usable_of(told)
    if not any(map(has_pass, usable)):
        return ()
    kinds = {one.event for story in usable for one in story.moments if one.event is not None}
    counted = frozenset({Event.SILENCE} & kinds or kinds)
    work = [MAX_WORK]
    best = _of(usable, counted, _NOTHING, work)
    while True:  # one kind more, or one less, until no other choice explains more
        toggled = [other for kind in sorted(kinds) if (other := counted ^ {kind})]
        others = [_of(usable, other, _misfit(best), work) for other in toggled]
        better = min(others, key=_misfit, default=())
        if _misfit(better) >= _misfit(best):
            break
        best, counted = better, better[0].rule.counted
    same = [one for other in others if _misfit(other) == _misfit(best) for one in other]
    found = (*best, *same)
    for one in found:
        one.complete = work[0] > 0
    return found


def has_pass(story: Story) -> bool:
    """Say whether the server was ever passed over."""
    return any(one.what is What.PASSED for one in story.moments)


def usable_of(told: Sequence[Story]) -> list[Story]:
    """Return the stories whose counts of failures are known from the start, or all of them.

    Without such a story the counts are not known, and the lengths of hold-downs are all the same.
    """
    sure = [story for story in told if story.from_good]
    return sure if any(map(has_pass, sure)) else list(told)


def _misfit(best: Sequence[Replay]) -> _Misfit:
    if not best:
        return _NOTHING
    return best[0].wrong, len(best[0].rule.stages), best[0].is_strained


def _of(
    told: Sequence[Story], counted: frozenset[Event], known: _Misfit, work: list[int]
) -> tuple[Replay, ...]:
    """Return the rules that explain most if the events of *counted* are failures.

    Rules that explain less than what is *known* to be possible may be left out.
    """
    most, stages, _ = known
    one = _best(chain(_rules(told, counted, 1), _windowed(told, counted)), told, most, work)
    if (one and not one[0].wrong and not one[0].is_strained) or (most, stages) == (0, 1):
        return one
    two = _best(_rules(told, counted, 2), told, most, work)
    if one and two and one[0].wrong == two[0].wrong:
        return (*one, *two) if not two[0].is_strained else one
    return min((one, two), key=_misfit)


def _best(
    rules: Iterator[Rule], told: Sequence[Story], most: int, work: list[int]
) -> tuple[Replay, ...]:
    """Return the rules that explain most; of those, the ones that need no excuse if there are."""
    least, best = most, list[Replay]()
    for rule in rules:
        if work[0] <= 0:
            break
        one = replay(rule, told, most=least, work=work)
        if one.wrong < least:
            least, best = one.wrong, [one]
        elif one.wrong == least:
            best.append(one)
    plain = [one for one in best if not one.is_strained and not one.rule.is_windowed]
    plain = plain or [one for one in best if not one.is_strained]
    return tuple(plain or best)


def _rules(told: Sequence[Story], counted: frozenset[Event], stages: int) -> Iterator[Rule]:
    """Yield the rules of so many stages without a window."""
    most, first = _most_failures(told), _first_hold(told)
    for failures in combinations(range(1, most + 1), stages):
        for how in _ways(told) if failures[0] <= first else ():
            yield Rule(failures, counted, *how)


def _windowed(told: Sequence[Story], counted: frozenset[Event]) -> Iterator[Rule]:
    """Yield the rules of one stage whose failures have to come in a certain time."""
    for failures in range(2, _first_hold(told) + 1):
        for within_ns in windows(told, failures, counted)[:MAX_WINDOWS]:
            for how in _ways(told):
                yield Rule((failures,), counted, *how, within_ns)


def window_bounds(found: Replay, told: Sequence[Story], spans: Sequence[int]) -> tuple[int, int]:
    """Return what the window of a rule that fits is above of, and what it is not above of.

    *spans* are times between failures: a window that would turn one of them over is contradicted.
    """
    usable = usable_of(told)

    def fits_with(within_ns: int) -> bool:
        rule = replace(found.rule, within_ns=within_ns)
        return replay(rule, usable, most=found.wrong).wrong <= found.wrong

    within_ns = found.rule.within_ns
    above = [span for span in sorted(spans) if span >= within_ns]
    below = [span for span in sorted(spans, reverse=True) if span < within_ns]
    high_ns = next((span for span in above if not fits_with(span + 1)), FOREVER_NS)
    low_ns = next((span for span in below if not fits_with(span)), 0)
    return low_ns, high_ns


def windows(told: Sequence[Story], failures: int, counted: frozenset[Event]) -> list[int]:
    """Return one window of each class that *told* can tell apart, the shortest first.

    Only a failure behind which the server was passed over can have been the last within a window.
    """
    spans, held = set[int](), set[int]()
    for story in told:
        own: list[int] = []
        for at, one in enumerate(story.moments):
            if one.what is not What.FAILED or one.event not in counted:
                continue
            own.append(one.at_ns)
            if len(own) >= failures:
                span_ns = own[-1] - own[-failures]
                spans.add(span_ns)
                later = (x.what for x in story.moments[at + 1 :])
                if next((x for x in later if x in _SHOWING), None) is What.PASSED:
                    held.add(span_ns)
    ordered = sorted(spans)
    return [(one + two + 1) // 2 for one, two in pairwise(ordered) if one in held]


_SHOWING = (What.FAILED, What.PASSED, What.ASKED)


def _ways(told: Sequence[Story]) -> Iterator[_How]:
    """Yield what else can differ, as far as anything in *told* could show it."""
    moments = [one for story in told for one in story.moments]
    late, answers = any(one.what is What.LATE for one in moments), answers_in_flight(told)
    probes = any(one.what is What.REPLY for one in moments)
    both, no = (True, False), (False,)
    yield from product(
        both, both, both, both if answers else no, both if late else no, both if probes else no
    )


def answers_in_flight(told: Sequence[Story]) -> bool:
    """Say whether a question that was open at a failure was answered after it."""
    for story in told:
        failed_ns = 0
        for one in story.moments:
            failed_ns = one.at_ns if one.what is What.FAILED else failed_ns
            if one.what is What.GOOD and one.asked_ns < failed_ns:
                return True
    return False


def _first_hold(told: Sequence[Story]) -> int:
    """Return after how many failures a server was first passed over, of all of them the least."""
    least = MAX_FAILURES
    for story in told:
        kinds = [one.what for one in story.moments]
        if What.PASSED in kinds:
            before = kinds[: kinds.index(What.PASSED)].count(What.FAILED)
            least = min(least, max(1, before))
    return least


def _most_failures(told: Sequence[Story]) -> int:
    """Return how many failures of one server were seen at most."""
    counts = (sum(one.what is What.FAILED for one in story.moments) for story in told)
    return min(MAX_FAILURES, max(counts, default=0))
