"""Judges of plan part B.3: which servers the SBC asks as they go down and come back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from enumtest.checks.calls import calls_completed, missed
from enumtest.checks.hold_down import (
    MAX_CITED,
    NS,
    Group,
    cited,
    early_returns,
    episodes,
    readmission,
)
from enumtest.checks.routing import all_down, outage, rotation, shares, timeouts, waits_longer
from enumtest.profiles.profile_groups import AllDown, ReadmitBy
from fst.judged import Judgement, Value, Window, count, minimum, window
from fst.observation import MarkKind, Observation
from harness.finding import Finding, Measurement, Outcome
from harness.records import CallRecord
from harness.regex import RegexEngine


def captured(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.1: the capture is there, holds packets of this server both ways, and lost none."""
    del engine
    hops = [hop for one in seen.traffic.lookups for hop in one.hops if hop.server == host]
    asked = tuple(hop.sends[0].frame for hop in hops)
    answered = [hop for hop in hops if hop.answered is not None]
    words = f"{len(hops)} requests, {len(answered)} answered"
    good = bool(hops and answered)
    needed = 0
    if not good and len(window(seen).lookups) < minimum(seen):
        needed = len(seen.sbc.enum_servers)
    elif not good:
        words += "; more calls would not change that"
    finding = Finding(
        "capture.sees-server",
        Outcome.PASS if good else Outcome.OTHER,
        f"the capture shows requests to {host} and its answers",
        words,
        "requests",
        asked[:MAX_CITED],
        needed,
    )
    values: dict[str, Value] = {
        "captures_started": (1 if len(seen.capture) else None, ()),
        "packets_dropped": (seen.dropped, ()),
    }
    return Judgement((finding,), values)


def turns(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.2 and B.3.7: strict turns; every call gets through."""
    del host, engine
    found, least = window(seen), minimum(seen)
    judged = rotation(found.lookups, seen.group, minimum=least, others=seen.others)
    counts = Counter(lookup.first.server for lookup in found.lookups)
    fewest = min(counts[name] for name in seen.group.servers)
    wrong = judged[0] if judged[0].outcome is Outcome.FAIL else None
    out: Value = (None, ())
    if judged[0].outcome is not Outcome.OTHER:
        out = (0, ()) if wrong is None else (int(wrong.observed.split()[0]), wrong.frames)
    enough = len(found.lookups) >= least
    values: dict[str, Value] = {
        "requests_at_least_used": (fewest if enough else None, cited(found.lookups)),
        "requests_out_of_turn": out,
    }
    completed = calls_completed(found.calls, place=seen.sbc.next_hop, minimum=least)
    findings = (*judged, found.asked, completed)
    extra = (*shares(found.lookups, seen.group), *delays(found.calls))
    return Judgement(findings, values, extra)


def some_down(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.3 and B.3.4: some servers down; the others serve, and no call is lost."""
    del host, engine
    found, down, least = window(seen), _down(seen), 2 * len(seen.group.servers)
    findings = outage(found.lookups, seen.group, down, minimum=least)
    return _in_outage(seen, found, down, findings)


def every_down(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.6: nobody answers; every call goes on to the next hop all the same."""
    del host, engine
    found = window(seen)
    judged = _in_outage(seen, found, _down(seen), all_down(found.lookups, seen.group))
    if seen.sbc.behaviour.all_down is not AllDown.FAIL_CLOSED:
        return judged
    return replace(judged, findings=tuple(map(_as_declared, judged.findings)))


def _as_declared(one: Finding) -> Finding:
    """Return *one* with the reason of an SBC that is made so: the plan asks for another."""
    if one.rule != "calls.completed" or one.outcome is not Outcome.FAIL:
        return one
    words = "the SBC's profile says so (all_down is fail-closed), the plan that calls go on"
    return replace(one, observed=f"{one.observed}; {words}")


def _down(seen: Observation) -> frozenset[str]:
    return frozenset(name for m in seen.marks if m.kind is MarkKind.DOWN for name in m.names)


def _in_outage(
    seen: Observation, found: Window, down: frozenset[str], findings: tuple[Finding, ...]
) -> Judgement:
    """Return *findings* on the servers together with what became of the calls."""
    least, calls = 2 * len(seen.group.servers), found.calls
    early = [one for name in down for one in early_returns(name, found.lookups, seen.group)[0]]
    blurred = waits_longer(found.lookups, seen.group, down)
    if blurred:  # a repeated question of one call may be read as the next call's
        findings = tuple(map(_doubted, findings))
    backs = tuple(one.back.sends[0].frame for one in early if one.back is not None)
    left = missed(calls, place=seen.sbc.next_hop)
    values: dict[str, Value] = {
        "calls_judged": count(calls),
        "calls_failed": left.value() if left.wrong or len(calls) >= least else (None, ()),
        "requests_to_stopped": (
            len(early) if not blurred and (early or len(calls) >= least) else None,
            backs[:MAX_CITED],
        ),
    }
    return Judgement(
        (
            *_judgeable(seen, down, findings),
            *timeouts(found.lookups, seen.group, down),
            found.asked,
            calls_completed(calls, place=seen.sbc.next_hop, minimum=least),
        ),
        values,
        (*delays(calls), *_took_over(seen, found, down)),
    )


def _took_over(seen: Observation, found: Window, down: frozenset[str]) -> tuple[Measurement, ...]:
    """Return who got the lookups once all of *down* were held: no limits, for people to see.

    Makers differ in who gets the share of a server that is held: the next one, or the first.
    """
    held = {
        name: [one.last.at_ns for one in episodes(name, found.lookups, seen.group)
               if one.term.is_certain]
        for name in down
    }  # fmt: skip
    if not held or not all(held.values()):
        return ()
    from_ns = max(min(times_ns) for times_ns in held.values())
    after = [one for one in found.lookups if one.at_ns >= from_ns]
    measured = shares(after, seen.group)
    return tuple(
        replace(one, name=f"{one.name} in the outage")
        for name, one in zip(seen.group.servers, measured, strict=True)
        if name not in down
    )


def _doubted(one: Finding) -> Finding:
    """Return *one* without its FAIL, when it rests on a time-out that does not hold."""
    if one.rule != "outage.avoided" or one.outcome is not Outcome.FAIL:
        return one
    words = f"{one.observed}, as far as can be told: the SBC waits longer than declared"
    return replace(one, outcome=Outcome.OTHER, observed=words)


def _judgeable(
    seen: Observation, down: frozenset[str], findings: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    """Return *findings*, with a word when the hold-down is too short to be seen.

    It must outlast the time in which the SBC gives up all of *down*, one after the other. Where
    that, or a server that is never asked, is the reason, no more calls are asked for.
    """
    unmet = any(
        one.rule == "outage.detected" and one.outcome is Outcome.OTHER and not one.needed
        for one in findings
    )
    if unmet:
        findings = tuple(replace(one, needed=0) for one in findings)
    group, profile = seen.group, seen.sbc.behaviour
    found_out_ns = len(down) * group.timeout_ns
    lasts = profile.hold_down.stages and profile.readmission.by is ReadmitBy.PROBES
    if lasts or group.hold_down_ns > found_out_ns:
        return findings
    words = "the SBC's profile has none; more calls would not change that"
    if profile.hold_down.stages:
        words = _too_short(group, len(down))
    expected = f"a hold-down that outlasts the {found_out_ns / NS:g} s until all are given up"
    short = Finding("outage.hold-down", Outcome.OTHER, expected, words)
    return (short, *(replace(one, needed=0) for one in findings))


def _too_short(group: Group, down: int) -> str:
    return (
        f"hold-down of {group.hold_down_ns / NS:g} s, {down} servers given up after "
        f"{group.timeout_ns / NS:g} s each; more calls would not change that"
    )


def back_in_service(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.3.5: left alone for the hold-down, asked again after it, and never a call lost."""
    del host, engine
    found, down = window(seen), _down(seen)
    least = 2 * len(seen.group.servers)
    findings, measured = readmission(found.lookups, seen.group, down)
    seen_back = [one for name in sorted(down) for one in episodes(name, found.lookups, seen.group)]
    ended = [one for one in seen_back if one.longest_ns and one.term.is_certain]
    shortest = min(ended, key=lambda one: one.longest_ns or 0, default=None)
    late = [one for one in findings if one.rule in ("readmission.after", "outage.detected")]
    failed = [one for one in late if one.outcome is Outcome.FAIL]
    open_ = not late or any(one.outcome is Outcome.OTHER for one in late)
    frames = tuple(frame for one in failed for frame in one.frames)[:MAX_CITED]
    length: Value = (None, ())
    if shortest is not None and shortest.back is not None:
        first, back = shortest.first.frames, shortest.back.sends[0].frame
        length = (round((shortest.longest_ns or 0) / NS, 3), (*first, back))
    values: dict[str, Value] = {
        "servers_not_asked": (None if open_ and not failed else len(failed), frames),
        "left_out_s": length,
    }
    completed = calls_completed(found.calls, place=seen.sbc.next_hop, minimum=least)
    judged = (*_judgeable(seen, down, findings), *timeouts(found.lookups, seen.group, down))
    extra = (*measured, *delays(found.calls))
    return Judgement((*judged, found.asked, completed), values, extra)


def delays(calls: Sequence[CallRecord]) -> tuple[Measurement, ...]:
    """Return how long the SBC kept calls before it sent them on, or ended them: no limits.

    The plan sets none, but a caller who hears nothing for seconds hangs up.
    """
    kept = sorted(
        ((call.routed_ns - call.at_ns) / NS, call.frame)
        for call in calls
        if call.routed_ns is not None
    )
    if not kept:
        return ()
    name, (longest_s, frame) = "post-dial delay at the SBC", kept[-1]
    middle_s = median(delay_s for delay_s, _ in kept)
    return (
        Measurement(f"{name}, median", round(middle_s, 3), "s"),
        Measurement(f"{name}, longest", round(longest_s, 3), "s", frames=(frame,)),
    )
