"""The flat rows that analytics and checks work on: one ENUM lookup, or one SIP call, each."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Of a call, seen from the customer's network."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LookupRecord:
    """One ENUM lookup by an SBC: retransmissions and failovers are folded into it."""

    at_ns: int  # wall time of its first query
    device: str  # ENUM server that was asked first (the plan's "Device")
    client: str  # address of the SBC
    source: str  # calling party in normalised form, "" when the query carries none
    source_rule: str  # how that was decided
    destination: str  # called party in normalised form
    destination_rule: str
    direction: Direction
    direction_rule: str
    rcode: str  # of the answer acted on; "" when none came
    latency_ns: int | None  # from the first query to that answer
    frame: int  # of its first query


class CallOutcome(StrEnum):
    """What the SBC did with a call, as its SIP messages show."""

    ALLOWED = "allowed"  # answered by the party that was dialled
    REDIRECTED = "redirected"  # sent on to another number, or 3xx with one
    TERMINATED = "terminated"  # refused, and never sent on
    NONE = "none"  # no final response was seen


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call offered to the SBC: one dialog-making INVITE, retransmissions folded."""

    at_ns: int  # wall time of the INVITE
    frame: int
    call_id: str
    source: str  # calling party in normalised form
    source_rule: str
    destination: str  # dialled party in normalised form
    destination_rule: str
    direction: Direction
    direction_rule: str
    outcome: CallOutcome
    target: str  # where it was sent, in normalised form; "" when nowhere
    status: int  # final response to the caller; 0 when none was seen
    frames: tuple[int, ...]  # the INVITE, the onward INVITE, the final response
