"""From datagrams to calls: what was offered to an SBC, and what became of it.

A call is one dialog-making INVITE (no To tag) that arrives at the SBC; its retransmissions are
folded. The onward leg is the INVITE that the SBC itself sends with the same Session-ID (RFC 7989)
or the same Call-ID: never guessed from time and number.

Sources: RFC 3261 sections 12.1 (dialog) and 17.1.1 (retransmission).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.dialplan import DialPlan, direction
from harness.errors import InputError
from harness.frame import Datagrams, Endpoint
from harness.records import CallOutcome, CallRecord
from probetest.sip import SipMessage, looks_like_sip, parse, uri_user

PREFIX_BYTES = 64  # enough of a payload to see a SIP method or status line
FINAL, REDIRECTION, FAILURE = 200, 300, 400  # RFC 3261 section 7.2: response classes


@dataclass(slots=True)
class _Call:
    """One call under construction."""

    invite: SipMessage
    caller: Endpoint
    at_ns: int
    frame: int
    onward: tuple[int, str] | None = None  # frame and user of the INVITE sent on
    status: int = 0
    contact: str = ""
    frames: list[int] = field(default_factory=list)


def read_calls(
    datagrams: Datagrams,
    sbcs: Iterable[Endpoint],
    plan: DialPlan,
    *,
    customer_numbers: Sequence[str] = (),
) -> tuple[CallRecord, ...]:
    """Return the calls offered to *sbcs*, in order of time."""
    own = frozenset(sbcs)
    by_call_id: dict[str, _Call] = {}
    by_session: dict[str, _Call] = {}
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
                call = _Call(message, source, at_ns, frame)
                if by_call_id.setdefault(message.call_id, call) is call:
                    by_session[message.first("Session-ID") or message.call_id] = call
            else:
                _send_on(message, frame, by_call_id, by_session)
        elif message.status is not None and source in own:
            _final(message, to, frame, by_call_id)
    return tuple(_record(call, plan, tuple(customer_numbers)) for call in by_call_id.values())


def _message(payload: bytes) -> SipMessage | None:
    if not looks_like_sip(payload[:PREFIX_BYTES]):
        return None
    try:
        return parse(payload)
    except InputError:
        return None


def _send_on(
    message: SipMessage, frame: int, by_call_id: dict[str, _Call], by_session: dict[str, _Call]
) -> None:
    """Note the first INVITE that leaves the SBC for a call it took in."""
    session = message.first("Session-ID") or message.call_id
    call = by_session.get(session) or by_call_id.get(message.call_id)
    if call is not None and call.onward is None:
        call.onward = (frame, uri_user(message.request_uri))


def _final(message: SipMessage, to: Endpoint, frame: int, by_call_id: dict[str, _Call]) -> None:
    """Note the first final response that the SBC gives the caller."""
    call = by_call_id.get(message.call_id)
    status = message.status or 0
    if call is None or to != call.caller or message.cseq[1] != "INVITE":
        return
    if status >= FINAL and not call.status:
        call.status, call.contact = status, message.first("Contact") or ""
        call.frames.append(frame)


def _record(call: _Call, plan: DialPlan, customer_numbers: tuple[str, ...]) -> CallRecord:
    asserted = call.invite.first("P-Asserted-Identity")
    header = "From" if asserted is None else "P-Asserted-Identity"
    source = plan.reading(asserted or call.invite.from_uri, kind="uri")
    dialled = plan.reading(call.invite.request_uri, kind="uri")
    way, rule = direction(source, dialled, customer_numbers=customer_numbers)
    outcome, target = CallOutcome.NONE, ""
    if call.onward is not None:
        target = plan.reading(call.onward[1], kind="user").text
    elif REDIRECTION <= call.status < FAILURE:
        target = plan.reading(call.contact, kind="uri").text
    if FINAL <= call.status < FAILURE and target:
        same = target == dialled.text
        outcome = CallOutcome.ALLOWED if same else CallOutcome.REDIRECTED
    elif call.status >= FAILURE and call.onward is None:
        outcome = CallOutcome.TERMINATED
    onward = () if call.onward is None else (call.onward[0],)
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
        frames=(call.frame, *onward, *call.frames),
    )
