"""The strip chart's data: a dot a query, a row a server, with what was done and seen behind it."""

from typing import Any

from enumtest.checks.hold_down import episodes
from enumtest.traffic.lookups import Transaction
from fst.observation import MarkKind, Observation

MAX_DOTS = 3000  # a chart is for the eye; the capture has them all
MS = 1_000_000


def strip(seen: Observation) -> dict[str, Any]:
    """Return the `strip` event of one observation; times are ms from its first packet."""
    names = seen.group.servers
    start_ns = int(seen.capture.at_ns[0]) if len(seen.capture) else seen.at(MarkKind.BEGIN)
    rows = {name: row for row, name in enumerate(names)}
    dots: list[tuple[float, int, str, int]] = []
    for lookup in seen.traffic.lookups:
        for hop in lookup.hops:
            row = rows[hop.server]
            first, *again = hop.sends
            dots.append((_ms(first.at_ns, start_ns), row, _kind(hop), first.frame))
            dots += [(_ms(s.at_ns, start_ns), row, "retransmission", s.frame) for s in again]
            dots += [(_ms(s.at_ns, start_ns), row, "late", s.frame) for s in hop.later_answers]
    for probe in seen.traffic.probes:
        first = probe.sends[0]
        dots.append((_ms(first.at_ns, start_ns), rows[probe.server], "other", first.frame))
    dots.sort()
    calls = [(_ms(call.at_ns, start_ns), call.outcome.value) for call in seen.calls]
    return {
        "servers": list(names),
        "dots": [list(dot) for dot in dots[:MAX_DOTS]],
        "dropped_dots": max(0, len(dots) - MAX_DOTS),
        "spans": _spans(seen, rows, start_ns),
        "marks": [
            [_ms(mark.at_ns, start_ns), " ".join((mark.kind.value, *mark.names))]
            for mark in seen.marks
        ],
        "calls": [list(call) for call in calls[:MAX_DOTS]],
    }


def _ms(at_ns: int, start_ns: int) -> float:
    return round((at_ns - start_ns) / MS, 3)


def _kind(hop: Transaction) -> str:
    if hop.answer is None:
        return "unanswered"
    return "failure" if hop.failed else "answered"


def _spans(seen: Observation, rows: dict[str, int], start_ns: int) -> list[list[Any]]:
    """Return when each server was down (what the run did), and held (what the SBC must do)."""
    last_ns = int(seen.capture.at_ns[-1]) if len(seen.capture) else start_ns
    spans: list[list[Any]] = []
    since: dict[str, int] = {}
    for mark in seen.marks:
        for name in mark.names:
            if mark.kind is MarkKind.DOWN and name in rows:
                since[name] = mark.at_ns
            elif mark.kind is MarkKind.UP and name in since:
                span = (since.pop(name), mark.at_ns)
                spans.append([rows[name], *(_ms(at, start_ns) for at in span), "down"])
    spans += [
        [rows[name], _ms(at, start_ns), _ms(max(at, last_ns), start_ns), "down"]
        for name, at in since.items()
    ]
    calls = [one for one in seen.traffic.lookups if one.number(seen.sbc.apex) is not None]
    for name, row in rows.items():
        for one in episodes(name, calls, seen.group):
            if not one.term.is_certain:
                continue
            end_ns = one.last.at_ns + one.term.least_ns
            if one.term.by_probes:
                end_ns = last_ns if one.back is None else one.back.sends[0].at_ns
            ends = (_ms(one.first.at_ns, start_ns), _ms(end_ns, start_ns))
            spans.append([row, *ends, "held"])
    return spans
