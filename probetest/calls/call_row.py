"""The row of a call: who called whom, what became of it, and how that is known."""

from harness.errors import InputError
from harness.records import CallOutcome, CallRecord, legible
from probetest.calls.call import Call
from probetest.calls.parties import PartyReader
from probetest.calls.party_headers import asked_in
from probetest.calls.use import FAILURE, REDIRECTION
from probetest.calls.way import way
from probetest.sip.message import parse

REQUEST_TERMINATED = 487  # RFC 3261 section 21.4.25: the caller gave up


def call_record(call: Call, parties: PartyReader, *, device: str = "") -> CallRecord:
    """Return the row of one call.

    Raises:
        InputError: a call without the INVITE that opened it (`partial`) has no parties.
    """
    first, seen, final = call.first, call.first.seen, call.final
    said = asked_in(seen)
    if said is None:
        raise InputError("no INVITE", field="call", value=first.gist.call_id)
    client = seen.source.address
    longest = None if call.dialled is first else asked_in(call.dialled.seen)
    found = parties.decide_asked(said, client, longest)
    source, dialled, original = found.source, found.destination, found.called.original
    direction, rule = way((client, seen.destination.address), found, parties.premises)
    outcome, target = _outcome(call, parties, dialled.text)
    answered = final.at_ns if final is not None and final.status < REDIRECTION else None
    frames = [seen.frame]
    frames += [hop.seen.frame for hop in call.hops]
    frames += [leg.first.seen.frame for leg in call.legs]
    if final is not None:
        frames.append(final.frame)
    return CallRecord(
        at_ns=seen.at_ns,
        frame=seen.frame,
        call_id=legible(first.gist.call_id),
        source=source.text,
        source_rule=source.rule,
        destination=dialled.text,
        destination_rule=dialled.rule,
        direction=direction,
        direction_rule=rule,
        outcome=outcome,
        target=target,
        status=0 if final is None else final.status,
        frames=tuple(frames),
        device=device,
        client=client,
        answered_ns=answered,
        duration_ns=_duration(call, answered),
        final_ns=None if final is None else final.at_ns,
        ringing_ns=None if call.ringing is None else call.ringing.at_ns,
        ended_ns=call.ended_ns,
        ended_by=call.end,
        legs=1 + len(call.legs),
        hops=1 + len(call.hops) + sum(1 + len(leg.hops) for leg in call.legs),
        joined_by="; ".join(sorted({leg.joined_by for leg in call.legs if leg.joined_by})),
        far_ends=call.far_ends,
        transfers=call.transfers,
        replaces=legible(call.replaces),
        first_dialled="" if original is None else original.text,
        first_dialled_rule="" if original is None else original.rule,
        routing_number=legible(found.routing_number),
    )


def _duration(call: Call, answered_ns: int | None) -> int | None:
    """Return how long it lasted, None when it was not answered or its end was not seen."""
    if answered_ns is None or call.bye is None:
        return None
    return max(0, call.bye.at_ns - answered_ns)


def _outcome(call: Call, parties: PartyReader, dialled: str) -> tuple[CallOutcome, str]:
    """Return what became of *call*, and where it was sent ("": nowhere, or not seen)."""
    status = 0 if call.final is None else call.final.status
    if not status:
        return CallOutcome.NONE, ""
    if REDIRECTION <= status < FAILURE:
        contact = _contact(call.redirection)
        target = parties.premises.plan.reading(contact, kind="uri").text if contact else ""
        return (CallOutcome.REDIRECTED if target else CallOutcome.REFUSED), target
    if status >= FAILURE:
        given_up = status == REQUEST_TERMINATED
        return (CallOutcome.CANCELLED if given_up else CallOutcome.REFUSED), ""
    if not call.legs:
        return CallOutcome.ANSWERED, ""
    answered = [leg for leg in call.legs if leg.final and leg.final.status < REDIRECTION]
    messages = [asked_in(leg.first.seen) for leg in answered or call.legs]
    every = (parties.decide_asked(one) for one in messages if one is not None)
    targets = {one.destination.text for one in every}
    if len(targets) != 1:
        return CallOutcome.ANSWERED, ""
    target = targets.pop()
    return (CallOutcome.ALLOWED if target == dialled else CallOutcome.REDIRECTED), target


def _contact(response: bytes) -> str:
    """Return where a redirection leads, "" when that cannot be read."""
    try:
        return parse(response).first("Contact") or ""
    except InputError:
        return ""
