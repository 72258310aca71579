"""Judges of plan part B.1: what the ENUM servers received, and from and for whom."""

import re
from collections import Counter
from collections.abc import Sequence

from enumtest.checks.calls import receipt, received, request_defects, undialled
from enumtest.checks.hold_down import MAX_CITED, NS, cited
from enumtest.traffic.dataset import records
from enumtest.traffic.lookups import Lookup
from fst.judged import Judgement, Value, Window, agreed, count, minimum, window
from fst.observation import Observation
from harness.analytics import average_cps, top
from harness.finding import Finding, Measurement, Outcome
from harness.records import Direction, LookupRecord
from harness.regex import RegexEngine
from probetest.sip.message import uri_user

E164 = re.compile(r"\+[1-9][0-9]{1,14}")  # as it must stand in a request already


def arrived(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.1.1: requests of the SBC, and of nobody else, each for a call that was placed."""
    del engine
    lookups = seen.between(*seen.window)  # strangers too: the sender is judged
    found = window(seen)
    every = (*lookups, *(one for one in found.undialled if one not in lookups))
    findings = receipt(seen.traffic, every, host, agreed(seen), minimum=minimum(seen))
    expected = undialled(found.undialled, seen.sbc.apex, host)
    return Judgement((*findings, expected), {"requests_seen": _seen(seen, host, every)})


def _seen(seen: Observation, host: str, lookups: Sequence[Lookup]) -> Value:
    """Return how many requests *host* got; None when none was answered, or too few were sent."""
    hops = [hop for lookup in lookups for hop in lookup.hops if hop.server == host]
    frames = tuple(hop.sends[0].frame for hop in hops)[:MAX_CITED]
    if not hops:
        return (0 if len(lookups) >= minimum(seen) else None, cited(lookups))
    proved = any(hop.answer is not None or hop.later_answers for hop in hops)
    return (len(hops) if proved else None, frames)


def _rows(seen: Observation, found: Window) -> tuple[LookupRecord, ...]:
    return records(found.lookups, seen.sbc.apex, seen.dial_plan, seen.customer_numbers)


def rate(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.1.2: average calls a second, device by device, against the calls that were placed."""
    del engine
    found = window(seen)
    rows = average_cps(
        _rows(seen, found),
        "hour",
        observed_from_ns=seen.window[0],
        observed_to_ns=seen.window[1] + 1,
        devices=seen.sbc.enum_servers,
    )
    nameless = (one for one in seen.others if one.number(seen.sbc.apex) is None)
    asked = (*found.lookups, *nameless)
    broken = request_defects(seen.traffic, asked, host, agreed(seen))
    own = sum(row.calls for row in rows if row.device == host)
    seconds = (seen.window[1] - seen.window[0]) / NS
    notes = tuple(
        f"{row.device} {row.bucket}: {row.calls} calls in {row.observed_seconds:.3f} s observed, "
        f"average {row.average_cps:.2f} calls/s"
        for row in rows
    )
    value = round(own / seconds, 3) if seconds else None
    measured = Measurement(f"average rate of {host}", value, "calls/s")
    told = tuple(frame for frame, _ in broken)[:MAX_CITED]
    enough = len(found.lookups) + len(broken) >= minimum(seen)
    values: dict[str, Value] = {
        "requests_seen": _seen(seen, host, found.lookups),
        "requests_malformed": (len(broken) if broken or enough else None, told),
    }
    arrived_ = received(found.lookups, host, minimum=minimum(seen))
    findings = (_added(seen, found, sum(row.calls for row in rows)), arrived_)
    return Judgement(findings, values, (measured,), notes)


def _added(seen: Observation, found: Window, total: int) -> Finding:
    """Judge that no lookup and no call is missing from the rates."""
    whole = not (found.unasked or found.again or found.undialled)
    same = whole and total == len(found.calls) > 0
    words = f"{total} lookups at {len(seen.sbc.enum_servers)} devices, {len(found.calls)} calls"
    frames = cited(found.lookups)
    if not whole:
        odd = (*cited(found.again), *cited(found.undialled))
        frames = (*(call.frame for call in found.unasked), *odd)[:MAX_CITED]
        words += f"; {len(found.unasked)} calls without, {len(odd)} lookups of no call"
    return Finding(
        "rate.sum",
        Outcome.PASS if same else Outcome.OTHER,
        "the devices' lookups add up to the calls placed",
        words,
        "calls",
        frames,
    )


def top_sources(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.1.3: the calling numbers, in E.164 form on the wire already."""
    del host, engine
    if not seen.sbc.source_code:
        words = "the SBC is not set to send the calling number in its requests"
        finding = Finding("top.source", Outcome.OTHER, "sources are shown", words)
        return Judgement((finding,))
    found = window(seen)
    rows = _rows(seen, found)
    raw = [
        row.frame
        for row, lookup in zip(rows, found.lookups, strict=True)
        if not E164.fullmatch(uri_user(lookup.first.source).partition(";")[0])
    ]
    placed = {id(lookup): call.source for call, lookup in seen.matching.pairs}
    wrong = [
        row.frame
        for row, lookup in zip(rows, found.lookups, strict=True)
        if row.source != placed.get(id(lookup), row.source)
    ]
    return _parties(seen, found, rows, raw=raw, wrong=wrong, side="source")


def top_destinations(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.1.4: the called numbers."""
    del host, engine
    found = window(seen)
    rows = _rows(seen, found)
    raw = [row.frame for row in rows if not row.destination.startswith("+")]
    wrong = [lookup.first.sends[0].frame for lookup in found.undialled]
    return _parties(seen, found, rows, raw=raw, wrong=wrong, side="destination")


def _parties(  # noqa: PLR0913 - both sides of a comparison, and its name
    seen: Observation,
    found: Window,
    rows: Sequence[LookupRecord],
    *,
    raw: Sequence[int],
    wrong: Sequence[int],
    side: str,
) -> Judgement:
    """Judge that the requests name the parties of the SIP calls (*raw*, *wrong*: frames if not)."""
    bad = tuple(dict.fromkeys((*wrong, *raw)))
    words = f"{len(rows)} lookups; {len(wrong)} differ from the SIP calls, {len(raw)} are raw"
    compared = Finding(
        f"top.{side}",
        Outcome.FAIL if bad else Outcome.PASS if rows else Outcome.OTHER,
        f"the {side}s in the ENUM requests are those of the calls, in +E.164 form",
        words,
        "calls",
        bad[:MAX_CITED] or tuple(row.frame for row in rows)[:MAX_CITED],
    )
    enough = bool(bad) or len(rows) >= minimum(seen)
    values: dict[str, Value] = {
        "calls_judged": count(rows),
        f"{side}s_wrong": (len(bad) if enough else None, bad[:MAX_CITED]),
    }
    table = top(rows, "source" if side == "source" else "destination", 10, group="hour")
    notes = tuple(
        f"{row.bucket} {row.party}: {row.calls} calls, {100 * row.share:.1f} %, {row.rule}"
        for row in table
    )
    return Judgement((compared, _directed(rows), found.asked), values, (), notes)


def _directed(rows: Sequence[LookupRecord]) -> Finding:
    undecided = [row.frame for row in rows if row.direction is Direction.UNKNOWN]
    ways = Counter(f"{row.direction.value} ({row.direction_rule})" for row in rows)
    words = ", ".join(f"{times} {way}" for way, times in ways.most_common(3)) or "no lookups"
    return Finding(
        "top.direction",
        Outcome.OTHER if undecided or not rows else Outcome.PASS,
        "the direction of every call is decided",
        words,
        "calls",
        tuple(undecided[:MAX_CITED]),
    )
