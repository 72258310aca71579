"""The ENUM dataset: one row a lookup, as a probe or an analytics client would show it."""

from collections.abc import Iterable

from enumtest.traffic.lookups import Lookup
from harness.dialplan import DialPlan, direction
from harness.records import Direction, LookupRecord


def records(
    lookups: Iterable[Lookup], apex: str, plan: DialPlan, customer_numbers: tuple[str, ...]
) -> tuple[LookupRecord, ...]:
    """Return the row of each lookup; the device is the server that had the turn."""
    rows = []
    for lookup in lookups:
        number, answered = lookup.number(apex), lookup.last.answered
        called = plan.reading(lookup.qname if number is None else str(number), kind="number")
        source, source_rule, way, rule = "", "no calling number in the query", None, ""
        if lookup.first.source:
            calling = plan.reading(lookup.first.source, kind="uri")
            source, source_rule = calling.text, f"EDNS source: {calling.rule}"
            way, rule = direction(calling, called, customer_numbers=customer_numbers)
        rows.append(
            LookupRecord(
                at_ns=lookup.at_ns,
                device=lookup.first.server,
                client=lookup.first.client.address,
                source=source,
                source_rule=source_rule,
                destination=called.text,
                destination_rule=f"query name: {called.rule}",
                direction=way or Direction.UNKNOWN,
                direction_rule=rule or source_rule,
                rcode="" if lookup.last.answer is None else lookup.last.answer.rcode,
                latency_ns=None if answered is None else max(0, answered.at_ns - lookup.at_ns),
                frame=lookup.first.sends[0].frame,
            )
        )
    return tuple(rows)
