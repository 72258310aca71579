"""From datagrams to calls: what was offered to an SBC, and what became of it.

A call is one that arrives at the SBC, as `probetest.calls.dialogs` counts calls. An onward leg is
an INVITE that the SBC itself sends with the same Call-ID or Session-ID (RFC 7989), or another
identifier that both carry: never guessed from number, time or SDP. But where an INVITE leaves the
SBC and belongs to no call, no call that was refused meanwhile is said to have stopped there: the
INVITE may be its own, to whatever number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from harness.dialplan import DialPlan, direction
from harness.errors import InputError
from harness.packets.frame import Datagrams, Endpoint
from harness.records import CallOutcome, CallRecord, legible
from probetest.calls.call import Call
from probetest.calls.dialogs import Tally
from probetest.calls.families import Families
from probetest.calls.joining import NIL_SESSION, Joining
from probetest.calls.use import CHALLENGES, FAILURE, FINAL, REDIRECTION, Invite
from probetest.duplicates import find_copies
from probetest.sip.message import SipMessage, parse, uri_user
from probetest.sip.seen import SipReader

__all__ = ("NIL_SESSION", "read_calls")


@dataclass(frozen=True, slots=True)
class _Leg:
    """An INVITE that the SBC sent."""

    invite: Invite
    taken: bool  # the party at its end answered with a 2xx

    @property
    def user(self) -> str:
        """Return whom it is for."""
        message = self.invite.message
        return "" if message is None else uri_user(message.request_uri)


@dataclass(frozen=True, slots=True)
class _Offered:
    """A call that arrived at the SBC."""

    call: Call
    invite: SipMessage
    legs: tuple[_Leg, ...]  # in order of time

    @property
    def decisive(self) -> Sequence[_Leg]:
        """Return the legs that say where it went: those answered, else the last one tried."""
        return [leg for leg in self.legs if leg.taken] or self.legs[-1:]


def read_calls(
    datagrams: Datagrams,
    sbcs: Iterable[Endpoint],
    plan: DialPlan,
    *,
    customer_numbers: Sequence[str] = (),
) -> tuple[CallRecord, ...]:
    """Return the calls offered to *sbcs*, in order of time."""
    own, offered, orphans = frozenset(sbcs), list[_Offered](), list[_Leg]()
    for call in _calls(datagrams, own):
        legs = tuple(sorted(_legs(call, own), key=lambda leg: leg.invite.place))
        message = call.first.message
        if call.first.seen.destination in own and message is not None:
            offered.append(_Offered(call, message, legs))
        else:
            orphans += legs
    return tuple(_record(one, orphans, plan, tuple(customer_numbers)) for one in offered)


def _calls(datagrams: Datagrams, own: frozenset[Endpoint]) -> tuple[Call, ...]:
    """Return the calls of which the SBC sent or received something."""
    tally, reader = Tally(Families(Joining(by_origin=False))), SipReader()
    for seen in chain(reader.read(datagrams, find_copies(datagrams)), reader.close()):
        if seen.source in own or seen.destination in own:
            tally.add(seen)
    return tally.calls()


def _legs(call: Call, own: frozenset[Endpoint]) -> Iterator[_Leg]:
    """Yield every INVITE of *call* that the SBC sent."""
    for part in (call, *call.legs):
        for invite in (part.first, *part.attempts, *part.hops):
            if invite.seen.source in own:
                yield _Leg(invite, (invite.gist.number, invite.gist.branch) in part.taken)


def _final(call: Call) -> tuple[int, int, int]:
    """Return status, time and frame of what the SBC answered its caller; 0 when it did not."""
    final = call.final
    if final is None or final.to != call.first.ends[0]:
        return 0, 0, 0
    return final.status, final.at_ns, final.frame


def _contact(call: Call) -> str:
    """Return where a redirection leads, "" when that cannot be read."""
    try:
        return parse(call.redirection).first("Contact") or ""
    except InputError:
        return ""


def _outcome(
    offered: _Offered, orphans: Sequence[_Leg], plan: DialPlan, dialled: str
) -> tuple[CallOutcome, str]:
    """Return what became of a call, and where it was sent ("": nowhere, or not known)."""
    status, final_ns, _ = _final(offered.call)
    redirected = REDIRECTION <= status < FAILURE
    targets = set(_parties(offered.decisive, plan))
    target = targets.pop() if len(targets) == 1 else ""
    if redirected:
        contact = _contact(offered.call)
        target = plan.reading(contact, kind="uri").text if contact else ""
    if FINAL <= status < FAILURE and target:
        return CallOutcome.ALLOWED if target == dialled else CallOutcome.REDIRECTED, target
    refused = status >= FAILURE and status not in CHALLENGES and not offered.legs
    from_ns = offered.call.first.at_ns
    suspects = any(from_ns <= leg.invite.at_ns <= final_ns for leg in orphans)
    return CallOutcome.TERMINATED if refused and not suspects else CallOutcome.NONE, target


def _parties(legs: Iterable[_Leg], plan: DialPlan) -> tuple[str, ...]:
    """Return who *legs* were for, each party once, in order."""
    return tuple(dict.fromkeys(plan.reading(leg.user, kind="user").text for leg in legs))


def _record(
    offered: _Offered, orphans: Sequence[_Leg], plan: DialPlan, customer_numbers: tuple[str, ...]
) -> CallRecord:
    """Return the row of one call."""
    invite, first, legs = offered.invite, offered.call.first, offered.legs
    asserted = invite.first("P-Asserted-Identity")
    header = "From" if asserted is None else "P-Asserted-Identity"
    source = plan.reading(asserted or invite.from_uri, kind="uri")
    dialled = plan.reading(invite.request_uri, kind="uri")
    way, rule = direction(source, dialled, customer_numbers=customer_numbers)
    outcome, target = _outcome(offered, orphans, plan, dialled.text)
    places = {str(leg.invite.seen.destination) for leg in offered.decisive}
    status, at_ns, frame = _final(offered.call)
    final_ns = at_ns if status else None
    return CallRecord(
        at_ns=first.at_ns,
        frame=first.seen.frame,
        call_id=legible(invite.call_id),
        source=source.text,
        source_rule=f"{header}: {source.rule}",
        destination=dialled.text,
        destination_rule=f"Request-URI: {dialled.rule}",
        direction=way,
        direction_rule=rule,
        outcome=outcome,
        target=target,
        status=status,
        frames=(
            first.seen.frame,
            *(leg.invite.seen.frame for leg in legs),
            *([frame] if status else []),
        ),
        client=first.ends[0],
        target_endpoint=places.pop() if len(places) == 1 else "",
        rang=_parties(legs, plan),
        taken=any(leg.taken for leg in legs),
        routed_ns=legs[0].invite.at_ns if legs else final_ns,
        final_ns=final_ns,
    )
