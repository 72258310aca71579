"""One ENUM server as the SBC sees it: what it counts against the server, and until when it is held.

    healthy ──failures of a stage──▶ held ──time is up, or replies to probes──▶ healthy
       ▲                              │ ▲
       └──────────an answer───────────┘ └──more failures: a later stage, or the same one anew

Laws: nothing here reads a clock (`now_ns` comes in); what counts as a failure is decided before;
what a profile leaves open is a value of the profile, never a branch that is taken silently.
"""

from dataclasses import dataclass, field

from enumtest.profiles.profile_groups import HoldDown, Readmission, ReadmitBy, Share, Stage


@dataclass(frozen=True, slots=True)
class Held:
    """A hold-down in force."""

    stage: int  # its place in the profile
    until_ns: int | None  # None: probes end it, or its time waits for a call


@dataclass(slots=True)
class ServerHealth:
    """The state of one server under the rules of a profile."""

    hold_down: HoldDown
    readmission: Readmission
    _failures_ns: list[int] = field(default_factory=list)  # since the count last began
    _in_a_row: int = 0  # so many of them came after the last answer
    _stage: Stage | None = None  # the hold-down that was in force last; see `is_held`
    _since_ns: int | None = None  # from when its time runs; None: not yet
    _held_ns: int = 0  # when it began
    _replies: int = 0  # to probes, in a row
    _probe_ns: int | None = None  # when the next probe is due

    def is_held(self, now_ns: int) -> bool:
        """Say whether no call may be sent there at *now_ns*."""
        if self._stage is None:
            return False
        if self._by_probes or self._since_ns is None:
            return True
        if now_ns < self._since_ns + self._stage.length_ns:
            return True
        self._readmit()
        return False

    def held(self, now_ns: int) -> Held | None:
        """Return the hold-down in force, or None when there is none."""
        if not self.is_held(now_ns) or self._stage is None:
            return None
        until_ns = None
        if not self._by_probes and self._since_ns is not None:
            until_ns = self._since_ns + self._stage.length_ns
        return Held(self.hold_down.stages.index(self._stage), until_ns)

    def share(self, now_ns: int) -> Share:
        """Return who gets the calls whose turn is here, while the server is held."""
        held = self.is_held(now_ns)
        return self._stage.share if held and self._stage is not None else Share.NEXT

    def call_came(self, now_ns: int) -> None:
        """Note that a call looks for a server: a hold-down's time may have waited for one."""
        if self._stage is not None and self._since_ns is None:
            self._since_ns = now_ns

    def on_failure(self, now_ns: int) -> bool:
        """Count a failure; say whether a hold-down begins with it."""
        was_held = self.is_held(now_ns)  # first of all: the end of a hold-down can end the count
        self._failures_ns.append(now_ns)
        self._in_a_row += 1
        self._replies = 0  # two replies with a failure between them are not in a row
        reached = [stage for stage in self.hold_down.stages if self._reached(stage, now_ns)]
        keep = max((stage.failures for stage in self.hold_down.stages), default=0)
        del self._failures_ns[: max(0, len(self._failures_ns) - keep)]
        if not reached:
            return False
        self._stage, self._held_ns = reached[-1], now_ns
        self._since_ns = now_ns if self.hold_down.runs_while_idle else None
        interval_ns = self.readmission.interval_ns
        self._probe_ns = now_ns + interval_ns if self._by_probes and interval_ns else None
        return not was_held

    def on_answer(self, now_ns: int, *, late: bool = False) -> None:
        """Note that the server did its work, for a call that waited or for one that gave it up."""
        rules = self.hold_down
        if late and not rules.late_answer_ends:
            return
        if self.is_held(now_ns) and (late or rules.answer_ends):
            self._readmit()
        self._in_a_row = 0

    def next_probe_ns(self) -> int | None:
        """Return when a probe is due, or None when none is to come."""
        return self._probe_ns if self._stage is not None else None

    def on_probe_sent(self, now_ns: int) -> None:
        """Note a probe, and when the next one is due, if ever."""
        next_ns, limit_ns = now_ns + self.readmission.interval_ns, self.readmission.give_up_ns
        gives_up = bool(limit_ns) and next_ns > self._held_ns + limit_ns
        self._probe_ns = None if gives_up else next_ns

    def on_probe_reply(self) -> None:
        """Count a reply to a probe."""
        self._replies += 1
        if self._stage is not None and self._replies >= self.readmission.replies:
            self._readmit()

    def on_probe_lost(self) -> None:
        """Begin the count of replies again: they have to come in a row."""
        self._replies = 0

    @property
    def _by_probes(self) -> bool:
        return self.readmission.by is ReadmitBy.PROBES

    def _readmit(self) -> None:
        if self._stage is self.hold_down.stages[-1] and self.hold_down.end_resets:
            self._failures_ns.clear()
            self._in_a_row = 0
        self._stage, self._since_ns, self._probe_ns = None, None, None

    def _reached(self, stage: Stage, now_ns: int) -> bool:
        start = max(0, len(self._failures_ns) - self._in_a_row) if stage.consecutive else 0
        counted = self._failures_ns[start:]
        if stage.window_ns:
            counted = [at_ns for at_ns in counted if at_ns > now_ns - stage.window_ns]
        return len(counted) >= stage.failures
