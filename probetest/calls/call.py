"""A call, and how the INVITEs of one Call-ID become calls.

    INVITE ─┬─ again after a challenge   higher CSeq, and 401 or 407 came for the one before
            ├─ more digits               higher CSeq, and the number dialled grew (RFC 3578)
            ├─ again after another       higher CSeq, another reason (3xx, 422, 484, no answer)
            ├─ another hop or branch     same Call-ID, From tag and CSeq: a proxy's, or a fork
            ├─ onward leg                same Call-ID from elsewhere, another From tag: a B2BUA's
            └─ a call

Where frames were swapped on their way to the tap the INVITE with the lowest CSeq, then the one with
the fewest Via, of those within 100 ms is the first.

Sources: RFC 3261 sections 12.1, 13.2.2.4 (several 2xx), 22.2; RFC 3578.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.records import CallEnd
from probetest.calls.joining import replaces, via_count
from probetest.calls.use import (
    FAILURE,
    FINAL,
    REDIRECTION,
    REORDER_NS,
    RINGING,
    Ended,
    Invite,
    Response,
    Use,
)
from probetest.calls.waterfall import Step

REQUEST_TERMINATED = 487  # RFC 3261 section 21.4.25: the caller gave up
AFTER_RINGING = 190  # 180 to 183 are in use (RFC 3261 section 21.1)
SAME_CALL_ID = "Call-ID"

Note = Callable[[Step, int, int], None]


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where something was seen, and a status or 0."""

    at_ns: int
    frame: int
    status: int = 0
    to: str = ""  # the address that a response went to


@dataclass(slots=True)
class Call:
    """One call: its first INVITE, and what followed from it."""

    first: Invite  # of a partial call what was seen first
    dialled: Invite  # whose Request-URI is the destination: the longest, of overlap dialling
    last_number: int  # of CSeq
    hops: list[Invite] = field(default_factory=list)  # further hops and branches
    attempts: list[Invite] = field(default_factory=list)  # with a higher CSeq, after the first
    legs: list["Call"] = field(default_factory=list)  # onward, joined by `joined_by` of each
    joined_by: str = ""  # of a leg: how it is known
    ringing: Moment | None = None  # the first 18x at the first hop
    final: Moment | None = None  # the last attempt's final response, at the first hop
    redirection: bytes = b""  # that response, when it is a 3xx
    far_ends: int = 0  # To tags in 18x and 2xx: more than one, it was forked
    cancel: Moment | None = None
    bye: Moment | None = None
    bye_by_caller: bool = False
    replaces: str = ""  # the dialog that this call takes over (RFC 3891)
    transfers: int = 0  # REFER requests seen
    partial: bool = False  # it began before the capture
    transactions: set[tuple[int, str]] = field(default_factory=set)  # of the first hop
    taken: set[tuple[int, str]] = field(default_factory=set)  # transactions with a 2xx, any hop's
    tags: set[str] = field(default_factory=set)  # of From

    @property
    def end(self) -> CallEnd:
        """Return how it ended, as far as it was seen."""
        status = 0 if self.final is None else self.final.status
        if REDIRECTION <= status < FAILURE:
            return CallEnd.REDIRECTED
        if status >= FAILURE:
            given_up = status == REQUEST_TERMINATED or self.cancel is not None
            return CallEnd.CANCELLED if given_up else CallEnd.FAILED
        if self.bye is not None:
            return CallEnd.CALLER if self.bye_by_caller else CallEnd.CALLEE
        return CallEnd.NOT_SEEN

    @property
    def ended_ns(self) -> int | None:
        """Return when that was, None when it was not seen."""
        if self.final is not None and self.final.status >= REDIRECTION:
            return self.final.at_ns
        return None if self.bye is None else self.bye.at_ns


def calls_of(use: Use, note: Note) -> list[Call]:
    """Return the calls of *use*, the first of them with its legs of the same Call-ID.

    *note* is told what each INVITE is, but for those that open the calls returned.
    """
    if not use.invites:
        return [] if use.inside is None else [_partial(use, use.inside)]
    if len(use.responses) > 1:
        use.responses.sort()
    if len(use.byes) > 1:
        use.byes.sort()
    calls = _sorted_out(use, note) if len(use.invites) > 1 else [_opened(use.invites[0])]
    for call in calls:
        for one in (call, *call.legs):
            _finish(one, use, is_only=len(calls) == 1 and not call.legs)
    return calls


def _opened(invite: Invite) -> Call:
    """Return a new call."""
    gist = invite.gist
    call = Call(invite, invite, gist.number)
    call.transactions.add((gist.number, gist.branch))
    call.tags.add(gist.from_tag)
    return call


def _sorted_out(use: Use, note: Note) -> list[Call]:
    """Return the calls among the INVITEs, each transaction once; tell what the others are."""
    calls: list[Call] = []
    by_tag: dict[str, Call] = {}
    for invite in _in_order(use.invites):
        tag = invite.gist.from_tag
        call = by_tag.get(tag)
        if call is None:
            call, step = _of_new_tag(calls, invite, use)
            by_tag[tag] = call
        else:
            step = _fold(call, invite, use)
        if step is not Step.CALL:
            note(step, invite.at_ns, invite.seen.frame)
    return calls


def _in_order(invites: list[Invite]) -> list[Invite]:
    """Return *invites* in order of time, but for what was swapped before the first of them."""
    ordered = sorted(invites, key=lambda invite: invite.place)
    earliest = ordered[0]
    near = [
        invite
        for invite in ordered
        if invite.at_ns - earliest.at_ns <= REORDER_NS
        and invite.gist.from_tag == earliest.gist.from_tag
    ]
    if len(near) > 1:
        first = min(near, key=lambda one: (one.gist.number, via_count(one.seen.data), one.place))
        ordered.remove(first)
        ordered.insert(0, first)
    return ordered


def _of_new_tag(calls: list[Call], invite: Invite, use: Use) -> tuple[Call, Step]:
    """Return the call of an INVITE whose From tag is new with its Call-ID, and what that makes it.

    From elsewhere it is a B2BUA's leg; from the same caller, after a failure, another attempt.
    """
    call = _opened(invite)
    if not calls:
        calls.append(call)
        return call, Step.CALL
    first = calls[-1]
    if invite.ends[0] != first.first.ends[0]:
        call.joined_by = SAME_CALL_ID
        first.legs.append(call)
        return call, Step.ONWARD_LEG
    if first.last_number in use.refused and invite.gist.number > first.last_number:
        first.tags.add(invite.gist.from_tag)
        return first, _fold(first, invite, use)
    calls.append(call)
    return call, Step.CALL


def _fold(call: Call, invite: Invite, use: Use) -> Step:
    """Return what a further INVITE of *call* is, and note it there."""
    gist = invite.gist
    if invite.ends[0] == call.first.ends[0]:
        call.transactions.add((gist.number, gist.branch))
    if gist.number <= call.last_number:
        call.hops.append(invite)
        return Step.FURTHER_HOP
    before, call.last_number = call.last_number, gist.number
    call.attempts.append(invite)
    if before in use.challenged:
        if call.dialled.gist.number == before and _number(call.dialled) == _number(invite):
            call.dialled = invite  # the same once more
        return Step.AUTH_RETRY
    shorter, longer = _number(call.dialled), _number(invite)
    if shorter and longer.startswith(shorter) and len(longer) > len(shorter):
        if use.rang_ns is None or use.rang_ns >= invite.at_ns:
            call.dialled = invite
        return Step.OVERLAP
    return Step.OTHER_RETRY


def _number(invite: Invite) -> bytes:
    """Return scheme and user of the Request-URI."""
    _, _, rest = invite.seen.data.partition(b" ")
    uri = rest.partition(b" ")[0]
    user, at, _ = uri.partition(b"@")
    return (user if at else uri).partition(b";")[0]


def _finish(call: Call, use: Use, *, is_only: bool) -> None:
    """Add to *call* what the other messages of its Call-ID say."""
    own = _own(call, use.responses)
    call.taken = {
        (one.number, one.branch) for one in use.responses if FINAL <= one.status < REDIRECTION
    }
    far_ends = set()
    for one in own:
        if one.status < REDIRECTION:
            if call.ringing is None and RINGING <= one.status < AFTER_RINGING:
                call.ringing = Moment(one.at_ns, one.frame, one.status)
            if one.to_tag:
                far_ends.add(one.to_tag)
    call.far_ends = len(far_ends)
    final = _final(own, call.last_number)
    if final is not None:
        call.final = Moment(final.at_ns, final.frame, final.status, final.to)
        call.redirection = final.data
    if use.cancels:
        call.cancel = _cancelled(use.cancels, call)
    if use.byes and (final is None or final.status < REDIRECTION):
        answered = {one.to_tag for one in own if FINAL <= one.status < REDIRECTION}
        tags = None if is_only else call.tags | far_ends
        bye = _bye(use.byes, answered, tags)
        if bye is not None:
            call.bye = Moment(bye.at_ns, bye.frame)
            call.bye_by_caller = bye.from_tag in call.tags
    call.replaces = replaces(call.first.seen.data)
    call.transfers = use.refers


def _own(call: Call, responses: list[Response]) -> list[Response]:
    """Return the responses at the first hop of *call*.

    Where a peer writes no branch (RFC 2543) the address tells one hop's from another's.
    """
    own = [one for one in responses if (one.number, one.branch) in call.transactions]
    caller = call.first.ends[0]
    if all(one.to != caller for one in own):
        return own
    return [one for one in own if one.to == caller]


def _final(own: list[Response], last_number: int) -> Response | None:
    """Return the final response that the caller acts on: the first to its last attempt.

    Where that has several branches a 2xx counts, else the last failure.
    """
    finals = [one for one in own if one.status >= FINAL and one.number == last_number]
    if len({one.branch for one in finals}) < 2:  # noqa: PLR2004 - several branches
        return finals[0] if finals else None
    return next((one for one in finals if one.status < REDIRECTION), finals[-1])


def _cancelled(cancels: list[Ended], call: Call) -> Moment | None:
    """Return the first CANCEL of *call* at its first hop."""
    branches = {branch for _, branch in call.transactions}
    own = [one for one in cancels if one.branch in branches]
    return Moment(min(own).at_ns, min(own).frame) if own else None


def _bye(byes: list[Ended], answered: set[str], tags: set[str] | None) -> Ended | None:
    """Return the BYE that ended a call; with several answers each of them has to be ended."""
    own = [one for one in byes if tags is None or one.from_tag in tags or one.to_tag in tags]
    if len(answered) <= 1 or not own:
        return own[0] if own else None
    last = own[0]
    for tag in answered:
        ends = [one for one in own if tag in (one.from_tag, one.to_tag)]
        if not ends:
            return None
        last = max(last, ends[0])
    return last


def _partial(use: Use, inside: Invite) -> Call:
    """Return the call of which the capture has no INVITE that opens it."""
    call = Call(inside, inside, inside.gist.number, partial=True, transfers=use.refers)
    if inside.gist.status:  # its INVITE was just missed
        call.transactions.add((inside.gist.number, inside.gist.branch))
        _finish(call, use, is_only=True)
        call.partial = True
    if use.byes and call.bye is None:
        bye = min(use.byes)
        call.bye = Moment(bye.at_ns, bye.frame)
        call.bye_by_caller = inside.gist.method != "BYE" and bye.from_tag == inside.gist.from_tag
    return call
