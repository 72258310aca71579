"""Which way a call goes, seen from the customer: by the networks given, else by the numbers."""

from harness.dialplan import direction, is_inside
from harness.premises import Premises
from harness.records import Direction
from probetest.calls.party_decision import Parties


def way(ends: tuple[str, str], found: Parties, premises: Premises) -> tuple[Direction, str]:
    """Return the direction of the call of the parties *found*, and why.

    *ends* are the addresses that the INVITE came from and went to. The networks decide when just
    one end is inside, else the numbers.
    """
    inside, numbers = premises.inside, premises.numbers
    from_us, to_us = (bool(inside) and is_inside(address, inside) for address in ends)
    if from_us != to_us:
        one_way = Direction.OUTBOUND if from_us else Direction.INBOUND
        return (
            one_way,
            f"the INVITE goes from {_side(from_us)} to {_side(to_us)} the networks given",
        )
    if from_us and not numbers:
        return Direction.INTERNAL, "the INVITE goes from inside to inside the networks given"
    known = from_us if inside else None
    source, destination = found.source.reading, found.destination.reading
    return direction(source, destination, customer_numbers=numbers, source_inside=known)


def _side(inside: bool) -> str:
    return "inside" if inside else "outside"
