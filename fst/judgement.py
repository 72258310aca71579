"""From an observation to findings and measurements: one pure function a case.

The plan declares each measurement with its unit and limits; a judge here supplies the values by
name. A declared measurement that a judge does not supply stays unset, and an unset one can't PASS.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from enumtest.checks import (
    Agreed,
    calls_completed,
    every_call_asked,
    malformed_queries,
    meaning,
    missed,
    policy_answers,
    policy_calls,
    receipt,
)
from enumtest.dataset import records
from enumtest.decision import Decision
from enumtest.hold_down import MAX_CITED, NS, early_returns, episodes, readmission
from enumtest.lookups import Lookup
from enumtest.routing_judge import all_down, outage, rotation, shares
from fst.exercises import POLICY_ROUNDS
from fst.observation import MarkKind, Observation
from harness.analytics import average_cps, top
from harness.finding import Finding, Measurement, Outcome
from harness.records import CallOutcome, CallRecord, Direction, LookupRecord
from harness.regex import RegexEngine

Value = tuple[float | None, tuple[int, ...]]  # a number, and the frames that show it
DROPPED = "capture.complete"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge found; `values` are the measurements that the plan declares, by name."""

    findings: tuple[Finding, ...]
    values: Mapping[str, Value] = field(default_factory=dict)
    extra: tuple[Measurement, ...] = ()
    notes: tuple[str, ...] = ()  # tables for people, such as the top 10


def judge(step_id: str, host: str, seen: Observation, engine: RegexEngine) -> Judgement:
    """Return what the judge of step *step_id* finds (*host*: "" for a case of a whole site).

    A capture that is known to have lost packets decides nothing: all is OTHER, nothing is measured.
    """
    judged = JUDGES[step_id](seen, host, engine)
    if seen.dropped or seen.capture.cut is not None:
        doubtful = tuple(replace(one, outcome=Outcome.OTHER) for one in judged.findings)
        judged = replace(judged, findings=doubtful, values={})
    return replace(judged, findings=(*judged.findings, _complete(seen)))


def _complete(seen: Observation) -> Finding:
    """Judge that the capture lost nothing: without that no absence proves anything."""
    expected = "the capture holds every packet"
    if seen.capture.cut is not None:
        return Finding(DROPPED, Outcome.OTHER, expected, f"cut: {seen.capture.cut.why}", "packets")
    if seen.dropped is None:
        words = "the source can't say how many it lost"
        return Finding(DROPPED, Outcome.OTHER, expected, words, "packets")
    parts = seen.datagrams.fragments + int((~seen.datagrams.complete).sum())
    outcome = Outcome.OTHER if seen.dropped or parts else Outcome.PASS
    words = f"{len(seen.capture)} packets, {seen.dropped} lost, {parts} not whole"
    return Finding(DROPPED, outcome, expected, words, "packets")


def _count(found: Sequence[object]) -> Value:
    """Return how many there are; none at all is nothing seen, which is no number to judge."""
    return (len(found) or None, ())


def _agreed(seen: Observation) -> Agreed:
    sbc = seen.sbc
    return Agreed(sbc.apex, (sbc.address,), carries_source=bool(sbc.source_code))


def _minimum(seen: Observation) -> int:
    return seen.judging.rounds * len(seen.sbc.enum_servers)


def _window(seen: Observation) -> tuple[tuple[Lookup, ...], tuple[CallRecord, ...]]:
    return seen.own_between(*seen.window), seen.calls_between(*seen.window)


def _receipt(seen: Observation, host: str, _: RegexEngine) -> Judgement:
    lookups = seen.between(*seen.window)  # strangers too: the sender is judged
    findings = receipt(seen.traffic, lookups, host, _agreed(seen), minimum=_minimum(seen))
    hops = [hop for lookup in lookups for hop in lookup.hops if hop.server == host]
    frames = tuple(hop.sends[0].frame for hop in hops)[:MAX_CITED]
    return Judgement(findings, {"requests_seen": (len(hops), frames)})


def _rows(seen: Observation) -> tuple[LookupRecord, ...]:
    lookups, _ = _window(seen)
    return records(lookups, seen.sbc.apex, seen.dial_plan, seen.customer_numbers)


def _rate(seen: Observation, host: str, _: RegexEngine) -> Judgement:
    """B.1.2: average calls a second, device by device, against the calls that were placed."""
    lookups, calls = _window(seen)
    rows = average_cps(
        _rows(seen),
        "hour",
        observed_from_ns=seen.window[0],
        observed_to_ns=seen.window[1] + 1,
        devices=seen.sbc.enum_servers,
    )
    own = [row for row in rows if row.device == host]
    count = sum(row.calls for row in own)
    malformed = [odd.seen.frame for odd in malformed_queries(seen.traffic, host, _agreed(seen))]
    total = sum(row.calls for row in rows)
    expected = "the devices' lookups add up to the calls placed"
    same = total == len(calls) > 0
    added = Finding(
        "rate.sum",
        Outcome.PASS if same else Outcome.OTHER,
        expected,
        f"{total} lookups at {len(seen.sbc.enum_servers)} devices, {len(calls)} calls",
        "calls",
    )
    seconds = (seen.window[1] - seen.window[0]) / NS
    notes = tuple(
        f"{row.device} {row.bucket}: {row.calls} calls in {row.observed_seconds:.3f} s observed, "
        f"average {row.average_cps:.2f} calls/s"
        for row in rows
    )
    rate = Measurement(
        f"average rate of {host}", round(count / seconds, 3) if seconds else None, "calls/s"
    )
    frames = tuple(
        lookup.first.sends[0].frame for lookup in lookups if lookup.first.server == host
    )[:MAX_CITED]
    values = {
        "requests_seen": (count, frames),
        "requests_malformed": (len(malformed), tuple(malformed[:MAX_CITED])),
    }
    return Judgement((added,), values, (rate,), notes)


def _top_sources(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    del host, engine
    if not seen.sbc.source_code:
        words = "the SBC is not set to send the calling number in its requests"
        finding = Finding("top.source", Outcome.OTHER, "sources are shown", words)
        return Judgement((finding,))
    rows = _rows(seen)
    return _parties(seen, rows, [row.source for row in rows], "source")


def _top_destinations(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    del host, engine
    rows = _rows(seen)
    return _parties(seen, rows, [row.destination for row in rows], "destination")


def _parties(
    seen: Observation,
    rows: Sequence[LookupRecord],
    parties: Sequence[str],
    side: str,
) -> Judgement:
    """Compare the parties that the ENUM requests name with those of the SIP calls themselves."""
    _, calls = _window(seen)
    placed = Counter(call.source if side == "source" else call.destination for call in calls)
    named = Counter(parties)
    raw = [row.frame for row, party in zip(rows, parties, strict=True) if not party.startswith("+")]
    differ = sum((named - placed).values()) + sum((placed - named).values())
    expected = f"the {side}s in the ENUM requests are those of the calls, in E.164 form"
    words = f"{len(named)} {side}s in {len(rows)} lookups; {differ} differ from the SIP calls"
    good = rows and not differ and not raw
    compared = Finding(
        f"top.{side}",
        Outcome.PASS if good else Outcome.FAIL if rows else Outcome.OTHER,
        expected,
        words,
        "calls",
        tuple(raw[:MAX_CITED]) or tuple(row.frame for row in rows)[:MAX_CITED],
    )
    undecided = [row.frame for row in rows if row.direction is Direction.UNKNOWN]
    ways = Counter(f"{row.direction.value} ({row.direction_rule})" for row in rows)
    words = ", ".join(f"{count} {way}" for way, count in ways.most_common(3)) or "no lookups"
    directed = Finding(
        "top.direction",
        Outcome.OTHER if undecided or not rows else Outcome.PASS,
        "the direction of every call is decided",
        words,
        "calls",
        tuple(undecided[:MAX_CITED]),
    )
    value = (float(max(differ, len(raw))), tuple(raw[:MAX_CITED]))
    values: dict[str, Value] = {
        "calls_judged": _count(rows),
        f"{side}s_wrong": value,
    }
    table = top(rows, "source" if side == "source" else "destination", 10, group="hour")
    notes = tuple(
        f"{row.bucket} {row.party}: {row.calls} calls, {100 * row.share:.1f} %, {row.rule}"
        for row in table
    )
    return Judgement((compared, directed), values, (), notes)


def _policy(wanted: Decision, outcome: CallOutcome, bad: str) -> Callable[..., Judgement]:
    """Return the judge of B.2.1 to B.2.3: what the answers say, and what the SBC then did."""

    def judge_policy(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
        del host
        lookups, calls = _window(seen)
        servers = tuple(seen.sbc.enum_servers)
        to = str(seen.site.redirected_to) if wanted is Decision.REDIRECT else ""

        def read(lookup: Lookup) -> tuple[Decision, str]:
            return meaning(lookup, seen.sbc.apex, seen.sbc.rules, engine)

        findings = (
            policy_answers(lookups, servers, frozenset({wanted}), read),
            policy_calls(calls, outcome, target=to, minimum=POLICY_ROUNDS * len(servers)),
            every_call_asked(calls, lookups),
        )
        left = missed(calls, outcome, to).value()
        return Judgement(findings, {"calls_judged": _count(calls), bad: left})

    return judge_policy


AS_DIALLED = frozenset({Decision.ALLOW, Decision.NO_INSTRUCTION})


def _uninstalled(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.2.4: the rules were in force before, and no answer speaks of them afterwards."""
    del host
    gone_ns = seen.at(MarkKind.UNINSTALLED)
    before = seen.between(seen.at(MarkKind.INSTALLED), gone_ns)

    def read(lookup: Lookup) -> tuple[Decision, str]:
        return meaning(lookup, seen.sbc.apex, seen.sbc.rules, engine)

    ruled = [one for one in before if read(one)[0] in (Decision.TERMINATE, Decision.REDIRECT)]
    expected = "the test policies act before they are uninstalled"
    words = f"{len(ruled)} of {len(before)} answers showed them"
    acted = Finding(
        "policy.installed",
        Outcome.PASS if ruled else Outcome.OTHER,
        expected,
        words,
        "answers",
        tuple(one.last.sends[0].frame for one in ruled)[:MAX_CITED],
    )
    after, _ = _window(seen)
    servers = tuple(seen.sbc.enum_servers)
    left = [(one, got[1]) for one in after if (got := read(one))[0] not in AS_DIALLED]
    frames = tuple(one.last.sends[0].frame for one, _ in left)[:MAX_CITED]
    count = len({one.qname for one, _ in left})
    value: Value = (count if after else None, frames)
    answers = policy_answers(after, servers, AS_DIALLED, read)
    return Judgement((acted, answers), {"policies_left": value})


def _not_acted_upon(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.2.5: calls to the numbers of the removed rules go through as dialled."""
    del host, engine
    _, calls = _window(seen)
    minimum = POLICY_ROUNDS * len(seen.sbc.enum_servers)
    values: dict[str, Value] = {
        "calls_judged": _count(calls),
        "calls_not_connected": missed(calls).value(),
    }
    return Judgement((calls_completed(calls, minimum=minimum),), values)


def _captured(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.1: the capture is there, holds packets of this server both ways, and lost none."""
    del engine
    hops = [hop for one in seen.traffic.lookups for hop in one.hops if hop.server == host]
    asked = tuple(hop.sends[0].frame for hop in hops)
    answered = [hop for hop in hops if hop.answered is not None]
    expected = f"the capture shows requests to {host} and its answers"
    words = f"{len(hops)} requests, {len(answered)} answered"
    good = bool(hops and answered)
    finding = Finding(
        "capture.sees-server",
        Outcome.PASS if good else Outcome.OTHER,
        expected,
        words,
        "requests",
        asked[:MAX_CITED],
        0 if good else len(seen.sbc.enum_servers),
    )
    values: dict[str, Value] = {
        "captures_started": (1 if len(seen.capture) else None, ()),
        "packets_dropped": (seen.dropped, ()),
    }
    return Judgement((finding,), values)


def _rotation(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.2 and B.3.7: strict turns; every call gets through."""
    del host, engine
    lookups, calls = _window(seen)
    minimum = _minimum(seen)
    judged = rotation(lookups, seen.group, minimum=minimum, others=seen.others)
    counts = Counter(lookup.first.server for lookup in lookups)
    least = min(seen.group.servers, key=lambda name: counts[name])
    wrong = judged[0] if judged[0].outcome is Outcome.FAIL else None
    turns: Value = (None, ())
    if judged[0].outcome is not Outcome.OTHER:
        turns = (0, ()) if wrong is None else (int(wrong.observed.split()[0]), wrong.frames)
    values: dict[str, Value] = {
        "requests_at_least_used": (counts[least] if len(lookups) >= minimum else None, ()),
        "requests_out_of_turn": turns,
    }
    asked = every_call_asked(calls, lookups)
    findings = (*judged, asked, calls_completed(calls, minimum=minimum))
    return Judgement(findings, values, shares(lookups, seen.group))


def _outage(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.3 and B.3.4: some servers down; the others serve, and no call is lost."""
    del host, engine
    lookups, calls = _window(seen)
    down = _down(seen)
    minimum = 2 * len(seen.group.servers)
    findings = (
        *outage(lookups, seen.group, down, minimum=minimum),
        calls_completed(calls, minimum=minimum),
    )
    return Judgement(findings, _outage_values(seen, lookups, calls, down))


def _all_down(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.6: nobody answers; every call goes on to the next hop all the same."""
    del host, engine
    lookups, calls = _window(seen)
    minimum = 2 * len(seen.group.servers)
    findings = (*all_down(lookups, seen.group), calls_completed(calls, minimum=minimum))
    return Judgement(findings, _outage_values(seen, lookups, calls, _down(seen)))


def _down(seen: Observation) -> frozenset[str]:
    return frozenset(name for m in seen.marks if m.kind is MarkKind.DOWN for name in m.names)


def _outage_values(
    seen: Observation,
    lookups: Sequence[Lookup],
    calls: Sequence[CallRecord],
    down: frozenset[str],
) -> dict[str, Value]:
    early = [one for name in down for one in early_returns(name, lookups, seen.group)[0]]
    backs = tuple(one.back.sends[0].frame for one in early if one.back is not None)
    return {
        "calls_judged": _count(calls),
        "calls_failed": missed(calls).value(),
        "requests_to_stopped": (len(early), backs[:MAX_CITED]),
    }


def _back_in_service(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.5: left alone for the hold-down, asked again after it, and never a call lost."""
    del host, engine
    lookups, calls = _window(seen)
    down = _down(seen)
    findings, measured = readmission(lookups, seen.group, down)
    completed = calls_completed(calls, minimum=2 * len(seen.group.servers))
    seen_back = {name: episodes(name, lookups, seen.group) for name in sorted(down)}
    lengths = [one.longest_ns for own in seen_back.values() for one in own if one.longest_ns]
    late = [f.outcome for f in findings if f.rule in ("readmission.after", "outage.detected")]
    failed = late.count(Outcome.FAIL)
    values: dict[str, Value] = {
        "servers_not_asked": (failed if failed or Outcome.OTHER not in late else None, ()),
        "left_out_s": (round(min(lengths) / NS, 3) if lengths else None, ()),
    }
    return Judgement((*findings, completed), values, measured)


JUDGES: Mapping[str, Callable[[Observation, str, RegexEngine], Judgement]] = {
    "B.1.1": _receipt,
    "B.1.2": _rate,
    "B.1.3": _top_sources,
    "B.1.4": _top_destinations,
    "B.2.1": _policy(Decision.ALLOW, CallOutcome.ALLOWED, "calls_not_connected"),
    "B.2.2": _policy(Decision.TERMINATE, CallOutcome.TERMINATED, "calls_let_through"),
    "B.2.3": _policy(Decision.REDIRECT, CallOutcome.REDIRECTED, "calls_not_redirected"),
    "B.2.4": _uninstalled,
    "B.2.5": _not_acted_upon,
    "B.3.1": _captured,
    "B.3.2": _rotation,
    "B.3.3": _outage,
    "B.3.4": _outage,
    "B.3.5": _back_in_service,
    "B.3.6": _all_down,
    "B.3.7": _rotation,
}
