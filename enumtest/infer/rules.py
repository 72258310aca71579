"""One way of holding servers down, and how it fits what happened: its replay.

Laws: a server that was passed over was held, one that was asked was not; what a rule cannot explain
is counted, never put right; the length of a hold-down lies above the last time it was passed over
and not above the first time it was asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from enumtest.infer.inferred import MS
from enumtest.infer.moments import NEAR_NS, Moment, Story, What
from enumtest.profiles.profile_groups import Event

SLACK_NS = 100 * MS  # by which two holds of one length may differ, or one part in 50
SLACK_SHARE = 50
FOREVER_NS = 10**19

Rows = tuple[int, int]  # the failure, and the question that shows the bound


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of holding servers down."""

    stages: tuple[int, ...]  # failures that each needs
    counted: frozenset[Event]
    consecutive: bool
    end_resets: bool
    idle: bool  # time runs while nobody calls
    answer_ends: bool
    late_ends: bool
    by_probes: bool
    within_ns: int = FOREVER_NS  # in which the failures have to come; a sample of its class

    @property
    def is_windowed(self) -> bool:
        """Say whether the failures have to come within a time."""
        return self.within_ns < FOREVER_NS


@dataclass(slots=True)
class Bounds:
    """What is known of one number: above *low*, not above *high*."""

    low: int = 0
    high: int = FOREVER_NS
    low_rows: Rows = (-1, -1)
    high_rows: Rows = (-1, -1)
    samples: int = 0
    most_failures: int = 0  # that were counted when the time ran out

    def above(self, value: int, rows: Rows) -> None:
        """Note that it is more than *value*."""
        if value > self.low:
            self.low, self.low_rows = value, rows

    def at_most(self, value: int, rows: Rows) -> None:
        """Note that it is *value* or less."""
        self.samples += 1
        if value < self.high:
            self.high, self.high_rows = value, rows

    @property
    def is_possible(self) -> bool:
        """Say whether there is such a number, timers being what they are."""
        return self.low <= self.high + max(SLACK_NS, self.high // SLACK_SHARE)


@dataclass(slots=True)
class Replay:
    """What came of one rule."""

    rule: Rule
    contradictions: int = 0
    complete: bool = True  # all other rules were tried
    lengths: list[Bounds] = field(default_factory=list)  # one a stage
    replies: Bounds = field(default_factory=Bounds)
    begun: list[Moment] = field(default_factory=list)  # failures that began a hold, and it showed
    forced_ns: list[tuple[int, Rows]] = field(default_factory=list)  # asked all the same, after

    @property
    def wrong(self) -> int:
        """Return how much of what happened the rule cannot explain."""
        lengths = [] if self.rule.by_probes else self.lengths
        replies = self.replies
        probes = self.rule.by_probes and replies.low >= replies.high
        return self.contradictions + probes + sum(not one.is_possible for one in lengths)

    @property
    def is_proof(self) -> bool:
        """Say whether it explains everything, and every other rule was tried."""
        return not self.wrong and self.complete

    @property
    def is_strained(self) -> bool:
        """Say whether it fits only if timers are taken to be inexact."""
        lengths = [] if self.rule.by_probes else self.lengths
        return any(one.low >= one.high for one in lengths)


@dataclass(slots=True)
class _Server:
    """One server under a rule."""

    replay: Replay
    failures_ns: list[int] = field(default_factory=list)
    in_a_row: int = 0
    stage: int | None = None
    first: Moment | None = None  # failure of the hold that is on
    last: Moment | None = None
    replies: int = 0
    shown: bool = False

    def take(self, one: Moment) -> None:
        match one.what:
            case What.FAILED:
                self._failed(one)
            case What.GOOD:
                self._good(one)
            case What.LATE if self.replay.rule.late_ends:
                self._end()
                self.in_a_row = 0
            case What.REPLY:
                self.replies += 1
            case What.NO_REPLY:
                self.replies = 0
            case What.PASSED:
                self._passed(one)
            case What.ASKED:
                self._asked(one)
            case _:
                pass

    def _failed(self, one: Moment) -> None:
        rule = self.replay.rule
        if one.event not in rule.counted:
            if one.ended:
                self._good(one)
            return
        self.failures_ns.append(one.at_ns)
        self.in_a_row += 1
        start = max(0, len(self.failures_ns) - self.in_a_row) if rule.consecutive else 0
        own = self.failures_ns[start:]
        if rule.is_windowed:
            own = [at_ns for at_ns in own if at_ns > one.at_ns - rule.within_ns]
        reached = [at for at, failures in enumerate(rule.stages) if len(own) >= failures]
        if not reached:
            return
        if self.stage is None:
            self.first, self.shown = one, False
        self.stage, self.last, self.replies = reached[-1], one, 0

    def _good(self, one: Moment) -> None:
        in_flight = self.last is not None and one.asked_ns < self.last.at_ns
        if self.stage is not None and (not in_flight or self.replay.rule.answer_ends):
            self._end()
        self.in_a_row = 0

    def _since_ns(self, failure: Moment) -> int:
        return failure.at_ns if self.replay.rule.idle else failure.next_call_ns

    def _unsure_ns(self, failure: Moment, one: Moment) -> int:
        """Return by how much the time from *failure* to *one* may be wrong, both ways."""
        one_clock = self.replay.rule.idle and one.watch == failure.watch >= 0
        return 0 if one_clock else one.unsure_ns + failure.unsure_ns

    def _passed(self, one: Moment) -> None:
        if self.stage is None or self.last is None or self.first is None:
            self.replay.contradictions += 1
            return
        if not self.shown:
            self.replay.begun.append(self.first)
            self.shown = True
        rows = self.last.row, one.row
        unsure_ns = self._unsure_ns(self.last, one)
        length_ns = one.at_ns - self._since_ns(self.last) - unsure_ns
        self.replay.lengths[self.stage].above(length_ns, rows)
        if self.replay.rule.by_probes:
            self.replay.replies.above(self.replies, rows)

    def _asked(self, one: Moment) -> None:
        if self.stage is None or self.first is None or self.last is None:
            return
        if one.at_ns <= self.last.at_ns + NEAR_NS:  # which came first cannot be told
            return
        rows = self.first.row, one.row
        unsure_ns = self._unsure_ns(self.first, one)
        length_ns = one.at_ns - self._since_ns(self.first) + unsure_ns
        if one.watch == self.first.watch >= 0:  # one clock; a time that waits for a call is shorter
            length_ns = min(length_ns, one.at_ns - self.first.at_ns)
        if one.forced:
            self.replay.forced_ns.append((length_ns, rows))
            return
        if self.replay.rule.by_probes:
            self.replay.replies.at_most(self.replies, rows)
        else:
            bounds = self.replay.lengths[self.stage]
            bounds.at_most(length_ns, rows)
            bounds.most_failures = max(bounds.most_failures, self.in_a_row)
        self._end()

    def _end(self) -> None:
        if self.stage == len(self.replay.rule.stages) - 1 and self.replay.rule.end_resets:
            self.failures_ns.clear()
            self.in_a_row = 0
        self.stage = self.first = self.last = None


def replay(
    rule: Rule, told: Sequence[Story], *, most: int, work: list[int] | None = None
) -> Replay:
    """Return how *rule* fits; more than *most* contradictions end it early.

    What that took is taken off the one number in *work*.
    """
    found = Replay(rule, lengths=[Bounds() for _ in rule.stages])
    spent = [0] if work is None else work
    for story in told:
        server = _Server(found)
        for one in story.moments:
            spent[0] -= 1
            server.take(one)
            if found.contradictions > most:
                return found
    return found
