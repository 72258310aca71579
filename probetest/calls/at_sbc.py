"""From datagrams to calls: what was offered to an SBC, and what became of it.

A call is one dialog-making INVITE (no To tag) that arrives at the SBC; its retransmissions, and its
repetition after a challenge, are folded. An onward leg is an INVITE that the SBC itself sends with
the same Session-ID (RFC 7989) or the same Call-ID: never guessed from time and number. But where
an INVITE leaves the SBC and belongs to no call, no call that was refused meanwhile is said to have
stopped there: the INVITE may be its own, to whatever number.

Sources: RFC 3261 sections 12.1 (dialog), 17.1.1 (retransmission), 17.1.3 (branch), 22 (challenge).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.dialplan import DialPlan, direction
from harness.errors import InputError
from harness.packets.frame import Datagrams, Endpoint
from harness.records import CallOutcome, CallRecord
from probetest.sip.message import SipMessage, looks_like_sip, parse, uri_user

PREFIX_BYTES = 64  # enough of a payload to see a SIP method or status line
FINAL, REDIRECTION, FAILURE = 200, 300, 400  # RFC 3261 section 7.2: response classes
CHALLENGES = frozenset({401, 407})  # not the end: the caller may come again with credentials
NIL_SESSION = "0" * 32  # RFC 7989 section 5: "not known"


@dataclass(frozen=True, slots=True)
class _Leg:
    """An INVITE that the SBC sent."""

    at_ns: int
    frame: int
    user: str
    branch: str
    to: Endpoint


@dataclass(slots=True)
class _Call:
    """One call under construction."""

    invite: SipMessage
    caller: Endpoint
    at_ns: int
    frame: int
    cseq: int
    legs: list[_Leg] = field(default_factory=list)
    answered: list[_Leg] = field(default_factory=list)  # those that gave a 2xx
    status: int = 0
    final_ns: int = 0
    contact: str = ""
    frames: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """The calls seen so far, by what makes a message theirs."""

    by_call_id: dict[str, _Call] = field(default_factory=dict)
    by_session: dict[str, _Call] = field(default_factory=dict)
    by_branch: dict[str, tuple[_Call, _Leg]] = field(default_factory=dict)
    orphans: list[_Leg] = field(default_factory=list)

    def offered(self, message: SipMessage, caller: Endpoint, at_ns: int, frame: int) -> None:
        """Note an INVITE that arrives at the SBC."""
        number = message.cseq[0]
        known = self.by_call_id.get(message.call_id)
        if known is None:
            call = _Call(message, caller, at_ns, frame, number)
            self.by_call_id[message.call_id] = self.by_session[_session(message)] = call
        elif number > known.cseq:
            known.cseq = number
            if known.status in CHALLENGES:
                known.status = 0

    def sent_on(self, message: SipMessage, to: Endpoint, at_ns: int, frame: int) -> None:
        """Note an INVITE that leaves the SBC."""
        leg = _Leg(at_ns, frame, uri_user(message.request_uri), message.top_via_branch, to)
        if leg.branch in self.by_branch:
            return  # a retransmission
        call = self.by_session.get(_session(message)) or self.by_call_id.get(message.call_id)
        if call is None:
            self.orphans.append(leg)
            return
        call.legs.append(leg)
        if leg.branch:
            self.by_branch[leg.branch] = (call, leg)

    def answered(self, message: SipMessage) -> None:
        """Note the 2xx of an onward leg: the party at its end took the call."""
        call, leg = self.by_branch.get(message.top_via_branch, (None, None))
        good = FINAL <= (message.status or 0) < REDIRECTION and message.cseq[1] == "INVITE"
        if call is not None and leg is not None and good:
            call.answered.append(leg)

    def final(self, message: SipMessage, to: Endpoint, at_ns: int, frame: int) -> None:
        """Note the first final response that the SBC gives the caller."""
        call = self.by_call_id.get(message.call_id)
        status = message.status or 0
        # The port is that of the caller's Via, which may not be the one it sent from.
        if call is None or to.address != call.caller.address or message.cseq[1] != "INVITE":
            return
        if status >= FINAL and not call.status and message.cseq[0] == call.cseq:
            call.status, call.final_ns = status, at_ns
            call.contact = message.first("Contact") or ""
            call.frames.append(frame)


def read_calls(
    datagrams: Datagrams,
    sbcs: Iterable[Endpoint],
    plan: DialPlan,
    *,
    customer_numbers: Sequence[str] = (),
) -> tuple[CallRecord, ...]:
    """Return the calls offered to *sbcs*, in order of time."""
    own, reader = frozenset(sbcs), _Reader()
    for row in range(len(datagrams)):
        source, to = datagrams.source(row), datagrams.destination(row)
        if source not in own and to not in own:
            continue
        message = _message(datagrams.payload(row))
        if message is None:
            continue
        frame, at_ns = int(datagrams.frame[row]), int(datagrams.at_ns[row])
        if message.method == "INVITE" and not message.to_tag:
            if to in own:
                reader.offered(message, source, at_ns, frame)
            else:
                reader.sent_on(message, to, at_ns, frame)
        elif message.status is not None and source in own:
            reader.final(message, to, at_ns, frame)
        elif message.status is not None:
            reader.answered(message)
    every = reader.by_call_id.values()
    return tuple(_record(call, reader.orphans, plan, tuple(customer_numbers)) for call in every)


def _message(payload: bytes) -> SipMessage | None:
    if not looks_like_sip(payload[:PREFIX_BYTES]):
        return None
    try:
        return parse(payload)
    except InputError:
        return None


def _session(message: SipMessage) -> str:
    """Return the identifier that both legs of a B2BUA share, else the Call-ID."""
    session = (message.first("Session-ID") or "").partition(";")[0].strip().lower()
    return message.call_id if session in ("", NIL_SESSION) else session


def _outcome(
    call: _Call, orphans: Sequence[_Leg], plan: DialPlan, dialled: str
) -> tuple[CallOutcome, str]:
    """Return what became of *call*, and where it was sent ("": nowhere, or not known)."""
    redirected = REDIRECTION <= call.status < FAILURE
    targets = set(_parties(_decisive(call), plan))
    target = targets.pop() if len(targets) == 1 else ""
    if redirected:
        target = plan.reading(call.contact, kind="uri").text if call.contact else ""
    if FINAL <= call.status < FAILURE and target:
        return CallOutcome.ALLOWED if target == dialled else CallOutcome.REDIRECTED, target
    refused = call.status >= FAILURE and call.status not in CHALLENGES and not call.legs
    suspects = [leg for leg in orphans if call.at_ns <= leg.at_ns <= call.final_ns]
    return CallOutcome.TERMINATED if refused and not suspects else CallOutcome.NONE, target


def _decisive(call: _Call) -> list[_Leg]:
    """Return the legs that say where *call* went: those answered, else the last one tried."""
    return call.answered or call.legs[-1:]


def _parties(legs: Iterable[_Leg], plan: DialPlan) -> tuple[str, ...]:
    """Return who *legs* were for, each party once, in order."""
    return tuple(dict.fromkeys(plan.reading(leg.user, kind="user").text for leg in legs))


def _record(
    call: _Call, orphans: Sequence[_Leg], plan: DialPlan, customer_numbers: tuple[str, ...]
) -> CallRecord:
    asserted = call.invite.first("P-Asserted-Identity")
    header = "From" if asserted is None else "P-Asserted-Identity"
    source = plan.reading(asserted or call.invite.from_uri, kind="uri")
    dialled = plan.reading(call.invite.request_uri, kind="uri")
    way, rule = direction(source, dialled, customer_numbers=customer_numbers)
    outcome, target = _outcome(call, orphans, plan, dialled.text)
    places = {str(leg.to) for leg in _decisive(call)}
    final_ns = call.final_ns if call.status else None
    return CallRecord(
        at_ns=call.at_ns,
        frame=call.frame,
        call_id=call.invite.call_id,
        source=source.text,
        source_rule=f"{header}: {source.rule}",
        destination=dialled.text,
        destination_rule=f"Request-URI: {dialled.rule}",
        direction=way,
        direction_rule=rule,
        outcome=outcome,
        target=target,
        status=call.status,
        frames=(call.frame, *(leg.frame for leg in call.legs), *call.frames),
        client=call.caller.address,
        target_endpoint=places.pop() if len(places) == 1 else "",
        rang=_parties(call.legs, plan),
        taken=bool(call.answered),
        routed_ns=call.legs[0].at_ns if call.legs else final_ns,
        final_ns=final_ns,
    )
