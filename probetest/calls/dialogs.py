"""Calls out of SIP messages: every INVITE is a call's first, or is counted for what it is.

    INVITE ─┬─ the tap's copy            marked by probetest.duplicates
            ├─ retransmission            same ends, CSeq and branch
            ├─ inside a dialog           it has a To tag: a re-INVITE
            ├─ again after a challenge   higher CSeq, and 401 or 407 came for the one before
            ├─ again after another       higher CSeq, another reason (3xx, 422, 484, no answer)
            ├─ another hop or branch     same Call-ID, From tag and CSeq: a proxy's, or a fork
            ├─ onward leg                other Call-ID, same Session-ID (RFC 7989): a B2BUA's
            └─ a call

Law: each INVITE is in exactly one row, so the rows sum up (`Waterfall` refuses to exist otherwise).
A Call-ID that is used again after its BYE is a new call, as in a capture replayed in a loop.

Sources: RFC 3261 sections 12.1, 17.1.1.2, 22.2; RFC 7989 sections 5 and 7.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.errors import InputError, ToolError
from harness.packets.frame import Endpoint
from probetest.sip.brief import Brief
from probetest.sip.message import SipMessage, parse
from probetest.sip.seen import Seen

FINAL, REDIRECTION, FAILURE = 200, 300, 400  # RFC 3261 section 7.2
CHALLENGES = frozenset({401, 407})
TRANSACTION_NS = 32_000_000_000  # 64 * T1: after it nothing is a retransmission (section 17.1.1.2)
REORDER_NS = 5_000_000  # two queues of a tap can show a response that much before its request
END_OF_TIME_NS = 2**63 - 1
_SESSION = re.compile(rb"\nsession-id[ \t]*:[ \t]*([0-9a-f]{32})", re.IGNORECASE)
_NIL = "0" * 32  # RFC 7989 section 5: "not known"


@dataclass(frozen=True, slots=True)
class Waterfall:
    """From frames to calls, every step counted."""

    frames: int
    sip_messages: int  # all that began as SIP
    unreadable: int
    other_messages: int  # responses, and requests that are no INVITE
    invites: int
    copies: int
    retransmissions: int
    re_invites: int
    auth_retries: int
    other_retries: int
    further_hops: int
    onward_legs: int
    calls: int

    def __post_init__(self) -> None:
        """Refuse sums that do not add up: then the counting is broken, not the traffic."""
        folded = self.copies + self.retransmissions + self.re_invites + self.auth_retries
        folded += self.other_retries + self.further_hops + self.onward_legs
        parts = self.unreadable + self.other_messages + self.invites
        if self.invites != folded + self.calls or self.sip_messages != parts:
            raise ToolError(f"the waterfall does not sum: {self!r}")


@dataclass(frozen=True, slots=True)
class Invite:
    """One INVITE request as it was seen."""

    seen: Seen
    gist: Brief
    message: SipMessage | None  # None: it has a To tag, or is a copy, and was not read whole

    @property
    def transaction(self) -> tuple[Endpoint, Endpoint, int, str]:
        """Return what its retransmissions share with it."""
        return self.seen.source, self.seen.destination, self.gist.number, self.gist.branch


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where something was seen, and a status or 0."""

    at_ns: int
    frame: int
    status: int = 0


@dataclass(slots=True)
class Call:
    """One call: its first INVITE, and what followed from it."""

    first: Invite
    last_number: int  # of CSeq, and when an INVITE with a new one, or at a new place, was seen
    last_ns: int
    hops: list[Invite] = field(default_factory=list)  # further hops and branches
    legs: list["Call"] = field(default_factory=list)  # onward, joined by Session-ID
    final: Moment | None = None  # the last attempt's first final response, at the first hop
    redirection: bytes = b""  # that response, when it is a 3xx
    bye: Moment | None = None
    transactions: set[tuple[int, str]] = field(default_factory=set)  # of the first hop
    known: set[tuple[Endpoint, Endpoint, int, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Final:
    """A final response to an INVITE."""

    at_ns: int
    frame: int
    number: int
    branch: str
    status: int
    data: bytes  # of a redirection, else empty


@dataclass(slots=True)
class _Dialogs:
    """What was seen with one Call-ID."""

    invites: dict[str, list[Invite]] = field(default_factory=dict)  # by From tag
    finals: dict[str, list[_Final]] = field(default_factory=dict)
    byes: list[tuple[Brief, Moment]] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """The messages of one capture while they are read."""

    messages: int = 0
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # frame, and why
    invites: int = 0
    folded: dict[str, int] = field(default_factory=dict)
    by_call_id: dict[str, _Dialogs] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Take in one message, in order of time."""
        self.messages += 1
        gist = seen.gist
        if gist is None:
            self.unreadable.append((seen.frame, seen.why))
        elif gist.method == "INVITE" and gist.is_request:
            self._add_invite(seen, gist)
        elif gist.method == "INVITE" and gist.status >= FINAL:
            kept = seen.data if REDIRECTION <= gist.status < FAILURE else b""
            final = _Final(seen.at_ns, seen.frame, gist.number, gist.branch, gist.status, kept)
            self._dialogs(gist).finals.setdefault(gist.from_tag, []).append(final)
        elif gist.method == "BYE" and gist.is_request:
            self._dialogs(gist).byes.append((gist, Moment(seen.at_ns, seen.frame)))

    def calls(self) -> tuple[Call, ...]:
        """Return the calls, in order of time; onward legs are in the call they belong to."""
        found = [
            call
            for dialogs in self.by_call_id.values()
            for tag, invites in dialogs.invites.items()
            for call in self._sorted_out(dialogs, tag, invites)
        ]
        found.sort(key=lambda call: (call.first.seen.at_ns, call.first.seen.frame))
        return tuple(self._joined(found))

    def waterfall(self, frames: int, calls: int) -> Waterfall:
        """Return the counts, once `calls` was called."""
        return Waterfall(
            frames=frames,
            sip_messages=self.messages,
            unreadable=len(self.unreadable),
            other_messages=self.messages - len(self.unreadable) - self.invites,
            invites=self.invites,
            calls=calls,
            **{name: self.folded.get(name, 0) for name in _FOLDED},
        )

    def _add_invite(self, seen: Seen, gist: Brief) -> None:
        message = None
        if not gist.to_tag and not seen.copy:
            try:
                message = parse(seen.data)
            except InputError as error:
                self.unreadable.append((seen.frame, error.why))
                return
        self.invites += 1
        found = Invite(seen, gist, message)
        self._dialogs(gist).invites.setdefault(gist.from_tag, []).append(found)

    def _dialogs(self, gist: Brief) -> _Dialogs:
        return self.by_call_id.setdefault(gist.call_id, _Dialogs())

    def _sorted_out(self, dialogs: _Dialogs, tag: str, invites: list[Invite]) -> Iterator[Call]:
        """Yield the calls among *invites*, all of one Call-ID and From tag; count the others."""
        finals = dialogs.finals.get(tag, [])
        byes = [at for gist, at in dialogs.byes if tag in (gist.from_tag, gist.to_tag)]
        challenged = {one.number for one in finals if one.status in CHALLENGES}
        call: Call | None = None
        for invite in invites:
            if invite.seen.copy:
                self._fold("copies")
            elif call is not None and not _is_over(call, invite, byes):
                self._fold(_kind(call, invite, challenged))
            elif invite.gist.to_tag:
                self._fold("re_invites")
            else:
                if call is not None:
                    yield _ended(call, finals, byes, invite.seen.at_ns)
                call = _opened(invite)
        if call is not None:
            yield _ended(call, finals, byes, END_OF_TIME_NS)

    def _fold(self, name: str) -> None:
        self.folded[name] = self.folded.get(name, 0) + 1

    def _joined(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Yield the calls, but for those that are an onward leg of an earlier one."""
        by_session: dict[str, Call] = {}
        for call in calls:
            session = _session(call.first.seen.data)
            known = by_session.get(session) if session else None
            if known is not None and known.first.gist.call_id != call.first.gist.call_id:
                known.legs.append(call)
                self._fold("onward_legs")
                continue
            if session:
                by_session[session] = call
            yield call


_FOLDED = (
    *("copies", "retransmissions", "re_invites", "auth_retries", "other_retries"),
    *("further_hops", "onward_legs"),
)


def _session(data: bytes) -> str:
    """Return the Session-ID's first half, which all legs of a call share, or ""."""
    found = _SESSION.search(data)
    session = "" if found is None else found[1].decode().lower()
    return "" if session == _NIL else session


def _opened(invite: Invite) -> Call:
    """Return a new call."""
    call = Call(invite, invite.gist.number, invite.seen.at_ns)
    call.transactions.add((invite.gist.number, invite.gist.branch))
    call.known.add(invite.transaction)
    return call


def _is_over(call: Call, invite: Invite, byes: list[Moment]) -> bool:
    """Say whether *call* had ended when *invite* was sent, which then cannot be part of it."""
    bye = _after(byes, call.first.seen.at_ns)
    if bye is not None and bye.at_ns < invite.seen.at_ns:
        return True
    late = invite.seen.at_ns - call.last_ns > TRANSACTION_NS
    return late and not invite.gist.to_tag and invite.gist.number <= call.last_number


def _kind(call: Call, invite: Invite, challenged: set[int]) -> str:
    """Return what an INVITE of a running call is, and note it there."""
    gist = invite.gist
    if invite.transaction in call.known:
        return "retransmissions"
    call.known.add(invite.transaction)
    if gist.to_tag:
        return "re_invites"
    call.last_ns = invite.seen.at_ns
    if gist.number <= call.last_number:
        call.hops.append(invite)
        return "further_hops"
    before, call.last_number = call.last_number, gist.number
    if invite.seen.source.address == call.first.seen.source.address:
        call.transactions.add((gist.number, gist.branch))
    return "auth_retries" if before in challenged else "other_retries"


def _after(byes: list[Moment], at_ns: int) -> Moment | None:
    """Return the first of *byes*, in order of time, after *at_ns*."""
    place = bisect_right(byes, at_ns, key=lambda bye: bye.at_ns)
    return byes[place] if place < len(byes) else None


def _ended(call: Call, finals: list[_Final], byes: list[Moment], until_ns: int) -> Call:
    """Return *call* with its final response and its end; *until_ns* the next one began."""
    since_ns = call.first.seen.at_ns
    start = bisect_right(finals, since_ns - REORDER_NS, key=lambda one: one.at_ns)
    stop = bisect_right(finals, until_ns, key=lambda one: one.at_ns)
    own = [one for one in finals[start:stop] if (one.number, one.branch) in call.transactions]
    last = max((one.number for one in own), default=0)
    for one in own:
        if one.number == last:
            call.final = Moment(one.at_ns, one.frame, one.status)
            call.redirection = one.data
            break
    if call.final is not None and call.final.status < REDIRECTION:
        call.bye = _after(byes, since_ns)
    return call
