"""Calls out of SIP messages: every INVITE is a call's first, or is counted for what it is.

    messages ─▶ Use (one Call-ID until its end) ─▶ Call ─▶ joined with its onward legs

What an INVITE can be is told in `probetest.calls.waterfall`, by which rule in `probetest.calls.use`
(retransmission, replay in a loop), `probetest.calls.call` (retry, hop) and
`probetest.calls.families` (onward leg).

Laws: messages come in order of time; nothing is kept of a call that was handed out; when it is
handed out depends on the caller, what is in it does not.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from probetest.calls.call import SAME_CALL_ID, Call, Moment, calls_of
from probetest.calls.families import Families, members
from probetest.calls.use import (
    CHALLENGES,
    FAILURE,
    FINAL,
    OVER_NS,
    REDIRECTION,
    REORDER_NS,
    TRANSACTION_NS,
    Invite,
    Use,
)
from probetest.calls.waterfall import Step, Steps, Waterfall
from probetest.sip.brief import Brief
from probetest.sip.seen import Seen

__all__ = (
    "CHALLENGES",
    "FAILURE",
    "FINAL",
    "REDIRECTION",
    "REORDER_NS",
    "TRANSACTION_NS",
    "Call",
    "Invite",
    "Moment",
    "Step",
    "Tally",
    "Waterfall",
)

MOST_USES = 200_000  # Call-IDs at once; with more of them the quietest are closed
MOST_UNREADABLE = 1000  # that are named; all are counted
LATE_NS = 1_000_000_000  # a message may be that late: nothing younger is closed
_INSIDE = frozenset({"UPDATE", "PRACK", "INFO", "REFER"})  # show that a dialog is alive
_TRYING = 100


@dataclass(slots=True)
class Tally:
    """The messages of one tap while they are read."""

    families: Families = field(default_factory=Families)
    steps: Steps = field(default_factory=Steps)
    most_uses: int = MOST_USES
    messages: int = 0
    invites: int = 0
    unread: int = 0
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # frame, and why: the first
    partial: list[Call] = field(default_factory=list)  # began before the capture, until taken
    partial_calls: int = 0
    crowded_out: int = 0  # uses that were closed early for want of room
    _uses: dict[str, Use] = field(default_factory=dict)  # the quietest first
    _ready: list[Call] = field(default_factory=list)

    @property
    def open_uses(self) -> int:
        """Return of how many Call-IDs something is kept."""
        return len(self._uses)

    def add(self, seen: Seen) -> None:
        """Take in one message, in order of time."""
        self.messages += 1
        gist = seen.gist
        if gist is None:
            self.unread += 1
            if len(self.unreadable) < MOST_UNREADABLE:
                self.unreadable.append((seen.frame, seen.why))
        elif gist.status:
            if gist.method == "INVITE" and not seen.copy:
                self._add_response(seen, gist)
        elif gist.method == "INVITE":
            self.invites += 1
            if seen.copy:
                self.steps.note(Step.COPY, seen.at_ns, seen.frame)
            else:
                self._add_invite(seen, gist)
        elif not seen.copy:
            self._add_request(seen, gist)

    def close_before(self, at_ns: int) -> list[Call]:
        """Return the calls that nothing seen after *at_ns* can change; they are forgotten here."""
        quiet = []
        for use in self._uses.values():
            if at_ns - use.last_ns <= OVER_NS + LATE_NS:
                break  # those behind it were seen later
            if use.is_past(at_ns - LATE_NS):
                quiet.append(use)
        for use in quiet:
            self._close(use)
        self.families.forget_before(at_ns - LATE_NS)
        ready, self._ready = self._ready, []
        return ready

    def calls(self) -> tuple[Call, ...]:
        """Return all calls not yet handed out, in order of time; no message may follow."""
        for use in list(self._uses.values()):
            self._close(use)
        ready, self._ready = self._ready, []
        return tuple(sorted(ready, key=lambda call: call.first.place))

    def take_partial(self) -> list[Call]:
        """Return the calls that began before the capture; they are forgotten here."""
        taken, self.partial = self.partial, []
        return taken

    def waterfall(self, frames: int, calls: int | None = None) -> Waterfall:
        """Return the counts, once all calls are handed out; *calls*, when given, has to be theirs.

        Raises:
            ToolError: the steps do not sum up.
        """
        counts = self.steps.counts()
        return Waterfall(
            frames=frames,
            sip_messages=self.messages,
            unreadable=self.unread,
            other_messages=self.messages - self.unread - self.invites,
            invites=self.invites,
            partial_calls=self.partial_calls,
            **(counts if calls is None else counts | {Step.CALL.field: calls}),
        )

    def columns(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Return when each INVITE was seen, and what it was counted as (a `Step`)."""
        return self.steps.columns()

    def by_frame(self) -> Mapping[int, Step]:
        """Return what the INVITE in each frame was counted as, where `steps` keeps frames."""
        return self.steps.by_frame()

    def _add_invite(self, seen: Seen, gist: Brief) -> None:
        use = self._found(gist.call_id, seen.at_ns)
        if use is not None and not gist.to_tag and use.is_again(seen, gist):
            self._close(use)
            use = None
        if use is None:
            use = self._begin(gist.call_id, seen.at_ns)
        if not use.add_invite(seen, gist):
            self.steps.note(Step.RETRANSMISSION, seen.at_ns, seen.frame)
        elif gist.to_tag:
            self.steps.note(Step.RE_INVITE, seen.at_ns, seen.frame)
        else:
            self.families.note(use, use.invites[-1], self._uses)

    def _add_response(self, seen: Seen, gist: Brief) -> None:
        use = self._found(gist.call_id, seen.at_ns)
        if gist.status <= _TRYING:
            if use is not None:
                use.add_other(seen, "")
            return
        (use or self._begin(gist.call_id, seen.at_ns)).add_response(seen, gist)

    def _add_request(self, seen: Seen, gist: Brief) -> None:
        """Take in a request that is no INVITE."""
        method = gist.method
        if method not in _ADDS and method not in _INSIDE:
            return
        use = self._found(gist.call_id, seen.at_ns)
        if method in _INSIDE:
            if use is not None:
                use.add_other(seen, method)
            return
        _ADDS[method](use or self._begin(gist.call_id, seen.at_ns), seen, gist)

    def _found(self, call_id: str, at_ns: int) -> Use | None:
        """Return the use of a Call-ID that goes on at *at_ns*, now the one that was heard last."""
        use = self._uses.pop(call_id, None)
        if use is None:
            return None
        self._uses[call_id] = use
        if use.is_past(at_ns):
            self._close(use)
            return None
        return use

    def _begin(self, call_id: str, at_ns: int) -> Use:
        """Return a new use."""
        if len(self._uses) >= self.most_uses:
            quietest = list(self._uses.values())[: max(1, self.most_uses // 8)]
            self.crowded_out += sum(not one.is_past(at_ns) for one in quietest)
            for one in quietest:
                self._close(one)
        use = self._uses[call_id] = Use(call_id, at_ns, at_ns)
        return use

    def _close(self, use: Use) -> None:
        """End *use*; hand out its calls once all that it is joined to have ended."""
        use.is_closed = True
        if self._uses.get(use.call_id) is use:
            del self._uses[use.call_id]
        if use.family is None:
            self.families.forget(use)
            for call in calls_of(use, self.steps.note):
                self._hand_out(call)
            return
        family = members(use)
        if not all(one.is_closed for one in family):
            return
        groups = [calls_of(one, self.steps.note) for one in family]
        for one, found in zip(family, groups, strict=True):
            self.families.forget(one)
            if found and one.joined_by:
                found[0].joined_by = one.joined_by
        heads = _united([found.pop(0) for found in groups if found])
        for call in (*heads, *(call for found in groups for call in found)):
            self._hand_out(call)

    def _hand_out(self, call: Call) -> None:
        """Count a call, and its legs that another Call-ID opened."""
        if call.partial:
            self.partial_calls += 1
            self.partial.append(call)
            return
        seen = call.first.seen
        self.steps.note(Step.CALL, seen.at_ns, seen.frame)
        for leg in call.legs:
            if leg.joined_by != SAME_CALL_ID:  # those were counted when they were sorted out
                self.steps.note(Step.ONWARD_LEG, leg.first.at_ns, leg.first.seen.frame)
        self._ready.append(call)


_ADDS = {"ACK": Use.add_ack, "BYE": Use.add_bye, "CANCEL": Use.add_cancel}


def _united(heads: list[Call]) -> list[Call]:
    """Return one call of the first ones of a family; the others are its legs.

    Where two were swapped on the way to the tap, the one that leads to the other's sender is first.
    """
    if len(heads) < 2:  # noqa: PLR2004 - one is united
        return heads
    heads.sort(key=lambda call: call.first.place)
    root = heads[0]
    for call in heads[1:]:
        near = call.first.at_ns - root.first.at_ns <= REORDER_NS
        (source, to), (after, beyond) = call.first.ends, root.first.ends
        if near and to == after and source != beyond:
            root = call
    joined = Counter(call.joined_by for call in heads if call.joined_by)
    for leg in heads:
        if leg is not root:
            leg.joined_by = leg.joined_by or joined.most_common(1)[0][0]
            root.legs += (leg, *leg.legs)
            leg.legs = []
    root.joined_by = ""
    root.legs.sort(key=lambda call: call.first.place)
    return [root]
