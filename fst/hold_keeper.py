"""Keeps a watch's holds: each sample is spooled, each beat journalled, each gap put to somebody.

Between the watch's thread and the run's: every method takes the lock. An event is in the journal
before anything is changed by it, so a program that goes on knows what this one knew.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fst.hold import GAP, Decide, Decision, Deed, Gap, Instant, Settled, Wanted
from fst.hold_panel import HoldView, MarkView
from fst.holds import Holds, by_rule
from fst.host_history import Sample
from fst.host_signs import Signs
from fst.sample_spool import SampleSpool
from fst.window import Window
from harness.journal import Event

if TYPE_CHECKING:
    from concurrent.futures import Future

MIN_S, NS = 60, 1_000_000_000
Append = Callable[..., Event]


class HoldKeeper:
    """A `fst.host_watch.Keeper`; `holds` are for reading only."""

    def __init__(  # noqa: PLR0913 - what it keeps together
        self,
        holds: Holds,
        signs: Signs,
        spool: SampleSpool,
        append: Append,
        *,
        now: Callable[[], Instant],
        wanted: Iterable[Wanted],
        period_ns: int,
        scale: float,
        decide: Decide | None,
        window: Window | None = None,
    ) -> None:
        """Keep the parts; without *decide* gaps are settled by rule."""
        self.holds, self._signs, self._spool, self._append = holds, signs, spool, append
        self._now, self._wanted, self._period_ns = now, tuple(wanted), period_ns
        self._scale, self._decide, self._window = scale, decide, window
        self._changed = threading.Condition(threading.RLock())
        self._begun = bool(holds.holds)
        self._ended = False
        self._sampled: set[str] = set()  # since all held hosts had their turn
        self._newest: dict[str, Sample] = {}  # by target, of this program
        self._beat_ns = holds.at_ns(now())
        self._to_put: list[Gap] = list(holds.undecided)  # an earlier program's too
        self._asked: list[Future[Settled]] = []
        self._answers: deque[tuple[Sequence[Gap], Settled]] = deque()
        for sample in (*spool.once, *spool.samples):
            signs.take(sample)

    # The watch's side ----------------------------------------------------------------------------

    def go_on(self) -> None:
        """Go on with what an earlier program began; begin what it did not come to any more."""
        with self._changed:
            self._write(self.holds.begin(self._wanted, self._period_ns, self._now()))

    def began(self, started_ns: int) -> None:
        """Begin all holds, at zero of the shared clock."""
        with self._changed:
            self._spool.began(started_ns)
            self._write(self.holds.begin(self._wanted, self._period_ns, self._now()))
            self._begun = True
            self._changed.notify_all()

    def took_once(self, sample: Sample) -> None:
        """Keep what is asked for once."""
        with self._changed:
            self._spool.add(sample, once=True)
            self._signs.take(sample)

    def took(self, sample: Sample) -> None:
        """Keep a sample; beat when each held host had its turn, or one of them is due."""
        with self._changed:
            self._spool.add(sample)
            self._signs.take(sample)
            self._newest[sample.host] = sample
            while self._answers:
                self._settled(*self._answers.popleft())
            self._sampled.add(sample.host)
            held, at_ns = self.holds.held, self.holds.at_ns(self._now())
            own = [hold.due_ns for hold in self.holds.open if hold.target == sample.host]
            is_due = any(sample.since_ns >= due_ns for due_ns in own)
            late = at_ns - self._beat_ns >= self._period_ns
            if held and (is_due or late or held <= self._sampled):
                self._beat(at_ns)
            self._sampled.add(sample.host)
            if held <= self._sampled:
                self._sampled.clear()
                self._put()

    def is_over(self, target: str, since_ns: int) -> bool:  # noqa: ARG002 - the holds know
        """Say whether no hold of the host goes on."""
        with self._changed:
            return target not in self.holds.held

    def _beat(self, at_ns: int) -> None:
        self._beat_ns = at_ns
        self._spool.sync()  # what a beat says was seen must be there afterwards
        signs = self._signs
        told = {"running": signs.running, "restarts": signs.restarts, "alarms": signs.alarms}
        deeds = self.holds.beat(self._now(), signs.reached_ns, told)
        self._write(deeds)
        names = [str(fields["gap"]) for kind, fields in deeds if kind == GAP]
        if names and not self._to_put:
            self._sampled.clear()  # who stood still lost all hosts: each is to have its turn first
        self._to_put += [self.holds.gaps[name] for name in names]
        self._changed.notify_all()

    def _put(self) -> None:
        """Put all gaps that came in this round to somebody, as one question."""
        gaps, self._to_put = self._to_put, []
        if gaps and self._decide is not None:
            asked = self._decide(gaps)
            self._asked.append(asked)
            asked.add_done_callback(lambda done: self._hear(gaps, done))
            return
        for decision in Decision:
            own = [gap for gap in gaps if by_rule(gap) is decision]
            self._settled(own, Settled(decision, "nobody could be asked", "fst", "rule"))

    def _hear(self, gaps: Sequence[Gap], done: "Future[Settled]") -> None:
        """Take an answer, in whatever thread it comes; it is written with the next sample.

        No lock is taken: who answers may hold one of its own.
        """
        if not done.cancelled() and done.exception() is None:  # else it stays undecided
            self._answers.append((gaps, done.result()))

    def _settled(self, gaps: Sequence[Gap], said: Settled) -> None:
        told = {"words": said.words, "who": said.who, "where": said.where}
        names = [gap.id for gap in gaps if gap.id in self.holds.gaps]
        self._write(self.holds.decide(names, said.decision, self._now(), told))

    def _write(self, deeds: Iterable[Deed]) -> None:
        for kind, fields in deeds:
            self._append(kind, **fields)
            self.holds.take(kind, fields)

    # The run's side ------------------------------------------------------------------------------

    def until_free(self, targets: frozenset[str]) -> None:
        """Return when none of *targets* is held, or the watch has ended."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or (self._begun and not self.holds.held & targets)
            )

    def ended(self) -> None:
        """Note that the watch has ended, however it did; withdraw what is still asked."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for asked in self._asked:
            asked.cancel()

    def newest(self, target: str) -> Sample | None:
        """Return the last look at a host; None: there was none, or nobody looks any more."""
        with self._changed:
            return None if self._ended else self._newest.get(target)

    def begins_ns(self) -> Mapping[str, Mapping[str, int]]:
        """Return the waits that were begun anew: target, wait, when on the shared clock."""
        found: dict[str, dict[str, int]] = {}
        with self._changed:
            for (target, wait), at_ns in self.holds.begins_ns.items():
                if at_ns:
                    found.setdefault(target, {})[wait] = at_ns
        return found

    def gap_words(self, target: str) -> tuple[str, ...]:
        """Return what became of each gap of a host, in words."""
        with self._changed:
            own = [gap for gap in self.holds.gaps.values() if gap.target == target]
            return tuple(
                f"{gap.id}: not seen from {gap.from_ns / NS:.1f} to {gap.to_ns / NS:.1f} s "
                f"({gap.why}): {'not decided' if gap.decision is None else gap.decision.value}"
                for gap in own
            )

    def view(self) -> HoldView | None:
        """Return what is to be shown now; None before the holds began."""
        with self._changed:
            if not self._begun:
                return None
            now, holds, signs = self._now(), self.holds, self._signs
            at_ns = holds.at_ns(now)
            behind, behind_ns = holds.behind(now)
            is_lost = behind_ns > holds.limit_ns
            marks = tuple(
                MarkView(
                    f"{mark.length_ns * self._scale / NS / MIN_S:g}-min",
                    mark.length_ns, mark.left_ns, mark.over, mark.hosts,
                ) for mark in holds.marks(now)
            )  # fmt: skip
            return HoldView(
                hosts=signs.hosts,
                running=signs.running,
                marks=marks,
                restarts=signs.restarts,
                alarms=signs.alarms,
                last_ns=at_ns - max(signs.reached_ns.values(), default=0),
                behind=behind if is_lost else "",
                behind_ns=behind_ns if is_lost else 0,
                undecided=holds.undecided,
                stepped_ns=holds.stepped_ns,
                window=None if self._window is None else self._window.left(now.wall_ns),
            )
