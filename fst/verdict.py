"""What an attempt and a run amount to: a verdict with words, and the exit code.

Laws: PASS is earned by checks that were made and that something recorded shows; a capture that
lost packets decides nothing; within one attempt a verdict only gets worse, and the first reason for
it is kept (as TTCN-3 does). The machine proposes; a person declares.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.finding import Finding, Measurement, Outcome, worst

NO_CHECK = "no check was made"
ENDED_EARLY = "not judged: the attempt ended early"

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_UNDECIDED = 3  # 2 is a wrong command line

_SHOWN_RANGES = 8  # of frames, in a sentence; the evidence lists all


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word of the form, and the sentence written beside it."""

    outcome: Outcome
    words: str

    def __or__(self, other: "Verdict") -> "Verdict":
        """Return the worse of the two; of equals the first, whose reason came first.

        >>> (Verdict(Outcome.FAIL, "first") | Verdict(Outcome.FAIL, "second")).words
        'first'
        """
        both = (self.outcome, other.outcome)
        return self if worst(both) is self.outcome else other


@dataclass(frozen=True, slots=True)
class Judged:
    """One box of the forms that was selected and applies, as the exit code sees it."""

    outcome: Outcome | None  # None: the box is empty
    waits_for_person: bool = False  # not an automatic box


def propose(
    findings: Iterable[Finding],
    measurements: Iterable[Measurement] = (),
    *,
    attachments: int | None = None,
    dropped_packets: int = 0,
) -> tuple[Outcome, str]:
    """Return the verdict that the checks of one attempt earned, and its words.

    Checks that point at no frame decide nothing unless one of *attachments* can show them; None
    says that the caller does not know how many there are, and leaves this to who does.

    >>> propose([])
    (<Outcome.OTHER: 'OTHER'>, 'no check was made')
    """
    found = tuple(findings)
    taken = tuple(m for m in measurements if _asserts(m))
    if not found and not taken:
        return Outcome.OTHER, NO_CHECK
    outcome = worst([*(f.outcome for f in found), *(m.outcome for m in taken)])
    words = _words(outcome, found, taken)
    if outcome is Outcome.OTHER:
        return outcome, words
    if dropped_packets:
        return Outcome.OTHER, f"the capture lost {dropped_packets} packets; as far as seen: {words}"
    if attachments == 0 and not _frames(found, taken):
        return Outcome.OTHER, f"nothing that was recorded shows it: {words}"
    return outcome, words


def exit_code(boxes: Iterable[Judged], *, complete: bool = False) -> int:
    """Return 0 (earned), 1 (a FAIL) or 3 (not decided) for the selected *boxes* that apply.

    Boxes that wait for a person count only when *complete* is asked for.

    >>> exit_code([Judged(Outcome.PASS), Judged(None, waits_for_person=True)])
    0
    >>> exit_code([Judged(None, waits_for_person=True)])
    3
    """
    every = tuple(boxes)
    run = [box.outcome for box in every if box.outcome is not None]
    if Outcome.FAIL in run:
        return EXIT_FAIL
    missing = any(box.outcome is None and (complete or not box.waits_for_person) for box in every)
    return EXIT_UNDECIDED if missing or worst(run) is not Outcome.PASS else EXIT_PASS


def ranges(frames: Iterable[int], most: int | None = None) -> str:
    """Return frame numbers in order as ranges, at most *most* of them in full.

    >>> ranges([7, 3, 4, 5, 4])
    '3-5, 7'
    >>> ranges([1, 3, 5, 7], most=2)
    '1, 3 and 2 more'
    """
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    shown = runs if most is None else runs[:most]
    text = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in shown)
    left = sum(b - a + 1 for a, b in runs[len(shown) :])
    return f"{text} and {left} more" if left else text


def limits(measurement: Measurement) -> str:
    """Return the limits in words, with the unit.

    >>> limits(Measurement("share", 33.0, "%", low=28.0, high=38.0))
    '28 to 38 %'
    """
    low, high, unit = measurement.low, measurement.high, measurement.unit
    match (low, high):
        case (None, None):
            text = ""
        case (None, _):
            text = f"at most {high:g} {unit}"
        case (_, None):
            text = f"at least {low:g} {unit}"
        case _:
            text = f"{low:g} to {high:g} {unit}"
    return text.rstrip()


def with_unit(text: str, unit: str) -> str:
    """Return a bare number with its unit; a phrase names its units itself.

    >>> with_unit("2", "queries"), with_unit("none after 1.5 s", "s")
    ('2 queries', 'none after 1.5 s')
    """
    bare = text.removeprefix("-").replace(".", "", 1).isdecimal()
    return f"{text} {unit}".rstrip() if bare else text


def _asserts(measurement: Measurement) -> bool:
    """Say whether it can decide: a number without limits is shown, but proves nothing."""
    limited = measurement.low is not None or measurement.high is not None
    return limited or measurement.value is None


def _frames(found: Sequence[Finding], taken: Sequence[Measurement]) -> set[int]:
    return {frame for lot in (found, taken) for each in lot for frame in each.frames}


def _words(outcome: Outcome, found: Sequence[Finding], taken: Sequence[Measurement]) -> str:
    if outcome is Outcome.PASS:
        return _counted(found, taken)
    decisive = [f for f in found if f.outcome is outcome]
    said = [_of_finding(f) for f in decisive]
    said += [_of_measurement(m) for m in taken if m.outcome is outcome]
    first, others = said[0], len(said) - 1
    if others:
        first += f"; and {others} more like it" if others > 1 else "; and 1 more like it"
    needed = max((f.needed for f in decisive), default=0)
    if outcome is Outcome.OTHER and needed:
        return f"cannot be judged yet: {first}; {_count(needed, 'more call')} needed"
    return f"cannot be judged: {first}" if outcome is Outcome.OTHER else first


def _counted(found: Sequence[Finding], taken: Sequence[Measurement]) -> str:
    """Say what was counted, so that a PASS on little evidence can be seen for what it is."""
    parts = []
    if found:
        rules = len({f.rule for f in found})
        parts.append(f"{_count(len(found), 'check')} of {_count(rules, 'rule')}")
    if taken:
        parts.append(f"{_count(len(taken), 'measurement')} within limits")
    frames = _frames(found, taken)
    shown = f", shown by {_count(len(frames), 'frame')}" if frames else ""
    return " and ".join(parts) + shown


def _of_finding(finding: Finding) -> str:
    expected = with_unit(finding.expected, finding.unit)
    observed = with_unit(finding.observed, finding.unit)
    found = f"{finding.rule}: expected {expected}, observed {observed}"
    return found + _in_frames(finding.frames)


def _of_measurement(measurement: Measurement) -> str:
    if measurement.value is None:
        return f"{measurement.name} was not measured{_in_frames(measurement.frames)}"
    value = f"{measurement.value:g} {measurement.unit}".rstrip()
    text = f"{measurement.name} is {value}, the limit {limits(measurement)}"
    return text + _in_frames(measurement.frames)


def _in_frames(frames: Sequence[int]) -> str:
    if not frames:
        return ""
    return f" (frame{'s' if len(set(frames)) > 1 else ''} {ranges(frames, _SHOWN_RANGES)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
