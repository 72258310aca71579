"""One use of a Call-ID: what was seen with it until all that it was used for had ended.

    pending   an INVITE waits for its final response
    alive     answered with a 2xx, and no BYE of that dialog was seen
    over      neither

A use that is over and has been quiet for 32 s is closed, a pending one after 10 minutes (an hour,
once it rang), one that is alive after 4 hours; what comes later with the same Call-ID is a new use.
One whose last attempt was challenged waits 10 minutes too: a person may be asked for a password.
So is an INVITE without a To tag after the last BYE, and one that was sent before and acknowledged:
a capture that was replayed in a loop.

Law: all of this is decided by the messages before, in order of time, never by when it is asked.

Sources: RFC 3261 sections 12.1, 13.2.2.4, 16.6 (timer C: a proxy waits 3 minutes at least), 17.1.1.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from harness.packets.frame import Endpoint
from probetest.sip.brief import Brief
from probetest.sip.message import SipMessage
from probetest.sip.seen import Seen

RINGING, FINAL, REDIRECTION, FAILURE = 180, 200, 300, 400  # RFC 3261 sections 7.2, 21.1.2
CHALLENGES = frozenset({401, 407})
TRANSACTION_NS = 32_000_000_000  # 64 * T1: after it nothing is a retransmission (section 17.1.1.2)
REORDER_NS = 100_000_000  # two queues of a tap can show a response that much before its request
OVER_NS, PENDING_NS = TRANSACTION_NS, 600_000_000_000
RINGING_NS = 3_600_000_000_000  # in a queue, say; every minute something should be heard (13.3.1.1)
ALIVE_NS = 4 * 3_600_000_000_000  # a session timer (RFC 4028) would have shown it is there
MOST_TRANSACTIONS = 1000  # with one Call-ID; a device that tries for ever begins anew after them

Transaction = tuple[Endpoint, Endpoint, int, str]


class Invite:
    """One INVITE request as it was seen; of a call that began before the capture, what was seen."""

    __slots__ = ("_message", "gist", "seen")

    def __init__(self, seen: Seen, gist: Brief) -> None:
        """Take it; it is read whole when that is asked for."""
        self.seen, self.gist = seen, gist
        self._message: SipMessage | None = None

    @property
    def message(self) -> SipMessage | None:
        """Return all of it, or None when it cannot be read whole."""
        if self._message is None:
            self._message = self.seen.message
        return self._message

    @property
    def at_ns(self) -> int:
        """Return when it was seen."""
        return self.seen.at_ns

    @property
    def ends(self) -> tuple[str, str]:
        """Return the addresses between which it was seen."""
        return self.seen.source.address, self.seen.destination.address

    @property
    def place(self) -> tuple[int, int]:
        """Return what puts INVITEs in order of time."""
        return self.seen.at_ns, self.seen.frame


class Response(NamedTuple):
    """A response to an INVITE, but for 100."""

    at_ns: int
    frame: int
    number: int
    branch: str
    to_tag: str
    status: int
    data: bytes  # of a redirection, else empty
    to: str  # the address that it went to


class Ended(NamedTuple):
    """A BYE, or a CANCEL."""

    at_ns: int
    frame: int
    from_tag: str
    to_tag: str
    branch: str  # of a CANCEL: that of the INVITE it gives up


@dataclass(slots=True)
class Use:
    """What was seen with one Call-ID."""

    call_id: str
    first_ns: int
    last_ns: int
    invites: list[Invite] = field(default_factory=list)  # without a To tag, each transaction once
    inside: Invite | None = None  # the first message, where no INVITE opened it
    responses: list[Response] = field(default_factory=list)
    byes: list[Ended] = field(default_factory=list)
    cancels: list[Ended] = field(default_factory=list)
    refers: int = 0
    challenged: set[int] = field(default_factory=set)  # numbers of CSeq
    refused: set[int] = field(default_factory=set)  # with any failure
    rang_ns: int | None = None  # when it first rang, or was answered
    family: "Use | None" = None  # the use that leads those it is joined to; None: not joined
    joined: "list[Use]" = field(default_factory=list)  # of the leader: all, itself too
    joined_by: str = ""  # how it came to its family
    keys: list[tuple[str, str]] = field(default_factory=list)
    is_closed: bool = False
    bye_ns: int = 0  # when the last dialog ended, 0 while one may live
    _known: dict[Transaction, int] = field(default_factory=dict)  # and when it was last seen
    _heard: set[tuple[object, ...]] = field(default_factory=set)  # what need not be kept again
    _pending: set[tuple[int, str]] = field(default_factory=set)
    _alive: set[str] = field(default_factory=set)  # To tags
    _gone: set[str] = field(default_factory=set)
    _acked: dict[tuple[int, str], int] = field(default_factory=dict)

    @property
    def is_pending(self) -> bool:
        """Say whether an INVITE waits for its answer, and nobody has answered yet."""
        return bool(self._pending) and not self._alive

    @property
    def is_over(self) -> bool:
        """Say whether nothing waits and nothing lives."""
        return not self._pending and not self._alive

    @property
    def _is_challenged(self) -> bool:
        """Say whether the last attempt was challenged, so that another may follow (22.2)."""
        return bool(self.invites) and self.invites[-1].gist.number in self.challenged

    def is_past(self, at_ns: int) -> bool:
        """Say whether it was quiet for so long before *at_ns* that it is closed."""
        quiet_ns = at_ns - self.last_ns
        if quiet_ns <= OVER_NS:
            return False
        if self._alive:
            return quiet_ns > ALIVE_NS
        if self._pending:
            return quiet_ns > (RINGING_NS if self.responses else PENDING_NS)
        return not self._is_challenged or quiet_ns > PENDING_NS

    def is_again(self, seen: Seen, gist: Brief) -> bool:
        """Say whether an INVITE without a To tag cannot be part of this use any more."""
        last_ns = self._known.get((seen.source, seen.destination, gist.number, gist.branch))
        if self.bye_ns and (last_ns is not None or seen.at_ns - self.bye_ns > REORDER_NS):
            return True
        if last_ns is None:
            return len(self._known) >= MOST_TRANSACTIONS or self._is_late(seen, gist)
        if seen.at_ns - last_ns > TRANSACTION_NS:
            return True
        acked = self._acked.get((gist.number, gist.branch)) or self._acked.get((gist.number, ""))
        return acked is not None and seen.at_ns - acked > REORDER_NS

    def add_invite(self, seen: Seen, gist: Brief) -> bool:
        """Take in an INVITE; return whether it is new, and no retransmission."""
        self._stir(seen.at_ns)
        transaction = (seen.source, seen.destination, gist.number, gist.branch)
        is_new = transaction not in self._known
        key = (gist.number, gist.branch)
        if not is_new or len(self._known) < MOST_TRANSACTIONS:
            self._known[transaction] = seen.at_ns
            if key not in self._heard:
                self._pending.add(key)
        if is_new and not gist.to_tag:
            self.invites.append(Invite(seen, gist))
        elif gist.to_tag:
            self._begin_inside(seen, gist)
            if self.inside is not None:
                self._live(gist.to_tag)
        return is_new

    def add_response(self, seen: Seen, gist: Brief) -> None:
        """Take in a response to an INVITE."""
        self._stir(seen.at_ns)
        self._begin_inside(seen, gist)
        status, key = gist.status, (gist.number, gist.branch)
        if self._is_heard((*key, gist.to_tag, status)):
            return
        if status >= FINAL:
            self._heard.add(key)
            self._pending.discard(key)
        if RINGING <= status < REDIRECTION:
            self.rang_ns = min(seen.at_ns, self.rang_ns or seen.at_ns)
            if status >= FINAL:
                self._live(gist.to_tag)
        elif status >= REDIRECTION:
            self.refused.add(gist.number)
            if status in CHALLENGES:
                self.challenged.add(gist.number)
        kept = seen.data if REDIRECTION <= status < FAILURE else b""
        self.responses.append(
            Response(
                *(seen.at_ns, seen.frame, gist.number, gist.branch, gist.to_tag, status, kept),
                seen.destination.address,
            )
        )

    def add_ack(self, seen: Seen, gist: Brief) -> None:
        """Take in an ACK: after it an INVITE is not repeated."""
        self._stir(seen.at_ns)
        self._begin_inside(seen, gist)
        if len(self._acked) < MOST_TRANSACTIONS:
            self._acked.setdefault((gist.number, gist.branch), seen.at_ns)
        if self._alive:
            self._acked.setdefault((gist.number, ""), seen.at_ns)
        elif self.inside is not None and not self.responses:
            self._live(gist.to_tag)  # of what, nobody saw; it may go on

    def add_bye(self, seen: Seen, gist: Brief) -> None:
        """Take in a BYE."""
        self._stir(seen.at_ns)
        self._begin_inside(seen, gist)
        if not self._is_heard((gist.method, gist.from_tag, gist.to_tag)):
            ended = Ended(seen.at_ns, seen.frame, gist.from_tag, gist.to_tag, "")
            self.byes.append(ended)
        tags = {gist.from_tag, gist.to_tag}
        if self._alive & tags:
            self._gone |= self._alive & tags
            self._alive -= tags
        elif not self._gone & tags:
            self._alive.clear()
        if not self._alive:
            self._pending.clear()
            self.bye_ns = seen.at_ns

    def add_cancel(self, seen: Seen, gist: Brief) -> None:
        """Take in a CANCEL."""
        self._stir(seen.at_ns)
        self._begin_inside(seen, gist)
        if not self._is_heard((gist.method, gist.branch)):
            self.cancels.append(Ended(seen.at_ns, seen.frame, gist.from_tag, "", gist.branch))

    def add_other(self, seen: Seen, method: str) -> None:
        """Take in a request inside a dialog, which shows that it is alive."""
        self._stir(seen.at_ns)
        self.refers += method == "REFER"

    def _stir(self, at_ns: int) -> None:
        self.last_ns = max(self.last_ns, at_ns)

    def _live(self, to_tag: str) -> None:
        if to_tag not in self._gone:
            self._alive.add(to_tag)
            self.bye_ns = 0

    def _begin_inside(self, seen: Seen, gist: Brief) -> None:
        """Keep the first message, until an INVITE opens the dialog."""
        if self.inside is None and not self.invites:
            self.inside = Invite(seen, gist)

    def _is_heard(self, what: tuple[object, ...]) -> bool:
        """Say whether *what* was heard before, or too much was; else take it down."""
        if what in self._heard or len(self._heard) >= 4 * MOST_TRANSACTIONS:
            return True
        self._heard.add(what)
        return False

    def _is_late(self, seen: Seen, gist: Brief) -> bool:
        """Say whether a transaction that is new repeats a number of CSeq too late to be a hop."""
        if not self.invites or seen.at_ns - self.invites[-1].at_ns <= TRANSACTION_NS:
            return False
        for invite in reversed(self.invites):
            if invite.gist.from_tag == gist.from_tag and invite.gist.number >= gist.number:
                same = invite.ends == (seen.source.address, seen.destination.address)
                return self.is_over or (same and not self.responses)
        return False
