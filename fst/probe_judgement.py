"""Judges of part C: what each probe's own capture shows, against the calls that were placed.

Pure. The probes' captures and the SBC's come from different sockets; a call is the same call when
its Call-ID is.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fst.judgement import Judgement, Value
from harness.analytics import Side, average_cps, top
from harness.errors import InputError
from harness.finding import Finding, Outcome
from harness.records import CallRecord, Direction
from probetest.dataset import TapData
from probetest.taps.bond import judge as judge_bond
from probetest.taps.bond_state import BondState

SIDES: Mapping[str, Side] = {"C.2.2": "source", "C.2.3": "destination"}
MAX_CITED = 12  # frames in one finding; the count is always given in words


@dataclass(frozen=True, slots=True)
class ProbeData:
    """What one probe took, and what its tap lost."""

    data: TapData
    frames: int  # in its capture
    dropped: int | None


@dataclass(frozen=True, slots=True)
class SpanSeen:
    """One exercise with calls and audio, as the SBC's side and the probes' sides recorded it."""

    placed: tuple[CallRecord, ...]  # from the capture at the SBC
    mirrored: int | None  # frames that the span ports were given; None: not known
    probes: Mapping[str, ProbeData]  # by host name
    from_ns: int
    to_ns: int


def judge_ports(state: BondState | None, ports: tuple[str, ...]) -> Judgement:
    """C.1.1: the span ports form one bond. Recorded state is never a PASS."""
    findings = judge_bond(state, ports)
    missing: Value = (None, ())
    if state is not None and state.observed_live and ports:
        up = {slave.name for slave in state.slaves if slave.up}
        missing = (sum(port not in up for port in ports), ())
    return Judgement(findings, {"ports_missing": missing})


def judge_probe(step_id: str, seen: SpanSeen, host: str) -> Judgement:
    """Return the judgement of C.1.2 or C.2.1 to C.2.3 (*host*: "" for a case of the whole site).

    Raises:
        InputError: no such step.
    """
    if step_id == "C.1.2":
        return _arrives(seen, host)
    if step_id == "C.2.1":
        return _shown(seen, host)
    if step_id in SIDES:
        return _parties(seen, SIDES[step_id])
    raise InputError("no judge of probes", field="step", value=step_id)


def _arrives(seen: SpanSeen, host: str) -> Judgement:
    """C.1.2: SIP and RTP, each counted apart, and nothing lost on the way."""
    probe = seen.probes[host]
    ports = probe.data.ports
    sip = sum(port.sip_messages for port in ports)
    rtp = sum(port.rtp_packets for port in ports)
    findings = [
        _there("tap.sip", f"SIP arrives at {host}", sip, "messages", _frames(probe)),
        _there("tap.rtp", f"RTP arrives at {host}", rtp, "packets", _stream_frames(probe)),
        _complete(seen, host, probe),
    ]
    values: dict[str, Value] = {
        "sip_messages": (sip if probe.frames else None, _frames(probe)),
        "rtp_packets": (rtp if probe.frames else None, _stream_frames(probe)),
        "packets_dropped": (probe.dropped, ()),
    }
    notes = [
        f"interface {port.interface}: {port.frames} frames, {port.sip_messages} SIP messages, "
        f"{port.rtp_packets} RTP packets, {port.copies} copies"
        for port in ports
    ]
    notes += [
        f"stream {stream.source} to {stream.destination} {stream.codec}: {stream.packets} packets, "
        f"{stream.lost} lost"
        + ("" if stream.jitter_ms is None else f", jitter {stream.jitter_ms:.2f} ms")
        for stream in probe.data.streams[:MAX_CITED]
    ]
    return Judgement(tuple(findings), values, (), tuple(notes))


def _there(rule: str, expected: str, count: int, unit: str, frames: tuple[int, ...]) -> Finding:
    outcome = Outcome.PASS if count else Outcome.FAIL
    return Finding(rule, outcome, expected, f"{count}", unit, frames)


def _complete(seen: SpanSeen, host: str, probe: ProbeData) -> Finding:
    """Judge that the probe took every frame that the span ports were given."""
    rule, expected = "tap.complete", f"{host} takes every frame of the span ports"
    words = f"{probe.frames} of {seen.mirrored} frames, {probe.dropped} lost at the probe"
    lost = bool(probe.dropped) or probe.dropped is None or bool(probe.data.losses)
    if seen.mirrored is None or lost or probe.frames != seen.mirrored:
        return Finding(rule, Outcome.OTHER, expected, words, "frames")
    return Finding(rule, Outcome.PASS, expected, words, "frames")


def _shown(seen: SpanSeen, host: str) -> Judgement:
    """C.2.1: every call that was placed is in this probe's data, as a rate."""
    probe = seen.probes[host]
    placed = {call.call_id for call in seen.placed}
    own = _known(probe, placed)
    missing = [call for call in seen.placed if call.call_id not in {one.call_id for one in own}]
    expected = f"every call placed is in the data of {host}"
    words = f"{len(own)} of {len(placed)} calls"
    if not placed:
        finding = Finding("probe.calls", Outcome.OTHER, expected, "no call was placed", needed=1)
    else:
        outcome = Outcome.FAIL if missing else Outcome.PASS
        finding = Finding("probe.calls", outcome, expected, words, "calls", _frames(probe))
    values: dict[str, Value] = {
        "calls_seen": (len(own) if placed else None, _frames(probe)),
        "calls_missing": (len(missing) if placed else None, ()),
    }
    notes: tuple[str, ...] = ()
    if own:
        first = min(seen.from_ns, *(call.at_ns for call in own))
        last = max(seen.to_ns, *(call.at_ns for call in own)) + 1
        rows = average_cps(own, "hour", observed_from_ns=first, observed_to_ns=last)
        notes = tuple(
            f"{host} {row.bucket}: {row.calls} calls in {row.observed_seconds:.3f} s observed, "
            f"average {row.average_cps:.2f} calls/s"
            for row in rows
        )
    return Judgement((finding,), values, (), notes)


def _parties(seen: SpanSeen, side: Side) -> Judgement:
    """C.2.2, C.2.3: the parties in the probes' data are those of the calls, in E.164 form."""
    placed = {call.call_id for call in seen.placed}
    truth = {call.call_id: _party(call, side) for call in seen.placed}
    calls = {call.call_id: call for probe in seen.probes.values() for call in _known(probe, placed)}
    wrong = [c for c in calls.values() if _party(c, side) != truth[c.call_id]]
    raw = [c for c in calls.values() if not _party(c, side).startswith("+")]
    bad = tuple(call.frame for call in (*wrong, *raw))[:MAX_CITED]
    expected = f"the {side}s in the probes' data are those of the calls, in E.164 form"
    words = f"{len(calls)} calls, {len(wrong)} with another {side}, {len(raw)} not in E.164 form"
    outcome = Outcome.OTHER if not calls else Outcome.FAIL if bad else Outcome.PASS
    good = tuple(call.frame for call in calls.values())[:MAX_CITED]
    named = Finding(f"probe.{side}", outcome, expected, words, "calls", bad or good)
    undecided = [call.frame for call in calls.values() if call.direction is Direction.UNKNOWN]
    ways = Counter(f"{c.direction.value} ({c.direction_rule})" for c in calls.values())
    words = ", ".join(f"{count} {way}" for way, count in ways.most_common(3)) or "no calls"
    directed = Finding(
        "probe.direction",
        Outcome.OTHER if undecided or not calls else Outcome.PASS,
        "the direction of every call is decided",
        words,
        "calls",
        tuple(undecided[:MAX_CITED]) or good,
    )
    values: dict[str, Value] = {
        "calls_judged": (len(calls) or None, good),
        f"{side}s_wrong": (len({*wrong, *raw}) if calls else None, bad),
    }
    table = top(list(calls.values()), side, 10, group="hour") if calls else ()
    notes = tuple(
        f"{row.bucket} {row.party}: {row.calls} calls, {100 * row.share:.1f} %, {row.rule}"
        for row in table
    )
    return Judgement((named, directed), values, (), notes)


def _known(probe: ProbeData, placed: set[str]) -> list[CallRecord]:
    """Return the probe's calls that the run placed; others are the site's own."""
    return [call for call in probe.data.calls if call.call_id in placed]


def _party(call: CallRecord, side: str) -> str:
    return call.source if side == "source" else call.destination


def _frames(probe: ProbeData) -> tuple[int, ...]:
    return tuple(call.frame for call in probe.data.calls)[:MAX_CITED]


def _stream_frames(probe: ProbeData) -> tuple[int, ...]:
    return tuple(stream.frame for stream in probe.data.streams)[:MAX_CITED]
