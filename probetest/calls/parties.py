"""Who calls, and who is called: from the INVITE that opens the call, with the rule that said so.

    source        P-Asserted-Identity (its tel URI first), Remote-Party-ID, From
    destination   Request-URI, To

The first of them that holds a number decides; with none, the last of the source's and the first of
the destination's is shown as it is. A caller whose INVITE asks for privacy is `restricted`.

Sources: RFC 3325 sections 9.1 and 9.3 (asserted identity, Privacy: id), RFC 3323 section 4.2,
draft-ietf-sip-privacy-04 (Remote-Party-ID).
"""

from collections.abc import Iterator

from harness.dialplan import DialPlan, Network, direction, is_inside
from harness.party import Global, Local, Reading, Restricted
from harness.records import Direction
from probetest.sip.message import SipMessage

_PRIVATE = frozenset({"id", "user", "header"})  # values of Privacy that hide the caller
_RPID_PRIVATE = frozenset({"full", "name", "uri"})


def source(invite: SipMessage, plan: DialPlan, *, show_restricted: bool = False) -> Reading:
    """Return the calling party; *show_restricted* names one who asked not to be named."""
    every = [
        Reading(found.party, f"{header}: {found.rule}", found.raw)
        for header, value in _callers(invite)
        for found in (plan.reading(value, kind="uri"),)
    ]
    best = next((one for one in every if isinstance(one.party, Global | Local)), every[-1])
    if (why := _privacy(invite)) and not isinstance(best.party, Restricted):
        if show_restricted:
            return Reading(best.party, f"{best.rule} ({why})", best.raw)
        return Reading(Restricted(), f"{best.rule.partition(':')[0]}: restricted, {why}", best.raw)
    return best


def destination(invite: SipMessage, plan: DialPlan) -> Reading:
    """Return the party that was dialled; To speaks where the Request-URI is no number."""
    dialled = plan.reading(invite.request_uri, kind="uri")
    if not isinstance(dialled.party, Global | Local):
        to = plan.reading(invite.to_uri, kind="uri")
        if isinstance(to.party, Global | Local):
            return Reading(to.party, f"To: {to.rule}", to.raw)
    return Reading(dialled.party, f"Request-URI: {dialled.rule}", dialled.raw)


def way(
    ends: tuple[str, str],
    parties: tuple[Reading, Reading],
    *,
    inside: tuple[Network, ...],
    customer_numbers: tuple[str, ...],
) -> tuple[Direction, str]:
    """Return the direction of a call, and why.

    *ends* are the addresses that the INVITE came from and went to, *parties* source and
    destination. The networks decide when just one end is inside, else the numbers.
    """
    from_us, to_us = (bool(inside) and is_inside(address, inside) for address in ends)
    if from_us != to_us:
        found = Direction.OUTBOUND if from_us else Direction.INBOUND
        return found, f"the INVITE goes from {_side(from_us)} to {_side(to_us)} the networks given"
    if from_us and not customer_numbers:
        return Direction.INTERNAL, "the INVITE goes from inside to inside the networks given"
    known = from_us if inside else None
    bare = [Reading(one.party, one.rule.partition(": ")[2], one.raw) for one in parties]
    return direction(*bare, customer_numbers=customer_numbers, source_inside=known)


def _side(inside: bool) -> str:
    return "inside" if inside else "outside"


def _callers(invite: SipMessage) -> Iterator[tuple[str, str]]:
    """Yield header and value of every calling party, the most trusted first."""
    asserted = invite.all("P-Asserted-Identity")
    for value in sorted(asserted, key=lambda one: "tel:" not in one.lower()):
        yield "P-Asserted-Identity", value
    for value in invite.all("Remote-Party-ID"):
        if _parameter(value, "party") in ("", "calling"):
            yield "Remote-Party-ID", value
    yield "From", invite.from_uri


def _privacy(invite: SipMessage) -> str:
    """Say how the caller asked not to be shown, or ""."""
    asked = {word.strip().lower() for value in invite.all("Privacy") for word in value.split(";")}
    if hidden := sorted(asked & _PRIVATE):
        return f"Privacy: {hidden[0]}"
    for value in invite.all("Remote-Party-ID"):
        if (hides := _parameter(value, "privacy").partition("-")[0]) in _RPID_PRIVATE:
            return f"Remote-Party-ID privacy={hides}"
    return ""


def _parameter(value: str, name: str) -> str:
    """Return a parameter that stands after the address, in lower case; "" without."""
    for part in value.rpartition(">")[2].split(";"):
        key, _, text = part.partition("=")
        if key.strip().lower() == name:
            return text.strip().strip('"').lower()
    return ""
