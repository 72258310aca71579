"""The flat rows that analytics count: one ENUM lookup each (SIP calls come with the probe)."""

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
