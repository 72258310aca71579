"""An explanation as text for people, at most 100 columns wide, and as values for JSON.

Law: nothing of a caller who asked not to be shown is written, unless that was asked for; no text
of a peer can move the cursor.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from string import ascii_uppercase
from typing import Any

from harness.packets.frame import Endpoint
from harness.party import Restricted
from harness.records import CallEnd, CallRecord, StreamRecord, legible
from harness.views import moment
from probetest.calls.party_decision import Decision, Parties, Rejected
from probetest.explain import THE_CALL, Explained, Explanation, Message

SCHEMA = 1  # of the JSON
WIDTH = 100
_INDENT, _LABEL = 2, 13  # columns
_NOT_SHOWN = "(not shown: --show-restricted)"
S = 1_000_000_000


def as_text(found: Explanation, zone: str, *, show_restricted: bool = False) -> str:
    """Return *found* in lines."""
    lines: list[str] = []
    count = sum(not one.partial for one in found.calls)
    for number, call in enumerate(found.calls, 1):
        of = f" {number} of {len(found.calls)}" if len(found.calls) > 1 else ""
        lines += _headed(f"Call{of}: {found.call_id}", "=")
        lines += _call_lines(call, zone, show_restricted=show_restricted)
        lines.append("")
    if not found.calls:
        lines += _headed(f"No call: {found.call_id}", "=")
        lines.append("")
    if found.others:
        lines += ["Messages of no call", *_message_lines(found.others, zone), ""]
    uses = "call" if count == 1 else "calls"
    lines.append(f"{count} {uses} with this Call-ID.")
    return "\n".join(lines) + "\n"


def as_values(found: Explanation, zone: str, *, show_restricted: bool = False) -> dict[str, Any]:
    """Return *found* as values that JSON can hold."""
    return {
        "schema": SCHEMA,
        "call_id": found.call_id,
        "calls": [_values(call, zone, show_restricted=show_restricted) for call in found.calls],
        "messages_of_no_call": [_message_values(one, zone) for one in found.others],
        "losses": list(found.losses),
    }


def _call_lines(call: Explained, zone: str, *, show_restricted: bool) -> Iterator[str]:
    record, parties = call.record, call.parties
    if call.partial:
        yield from _field("Counted", "no call: it began before the capture")
    elif record is None:
        yield from _field("Counted", "a call whose INVITE cannot be read whole")
    else:
        yield from _field("Began", moment(record.at_ns, zone))
        yield from _field("Direction", f"{record.direction.value}: {record.direction_rule}")
        yield from _field("Outcome", _outcome(record))
        yield from _field("Counted", _counted(call))
    yield ""
    yield "Messages"
    yield from _message_lines(call.messages, zone)
    if parties is not None:
        hides = parties.calling.hidden and not show_restricted
        yield ""
        yield from _party("Source", parties.source, shows=show_restricted)
        yield from _rejected("source", (*parties.rejected, *call.hints), hides=bool(hides))
        yield ""
        yield from _party("Destination", parties.destination, shows=show_restricted)
        yield from _beside(parties)
        yield from _rejected("destination", parties.rejected)
        yield from _field("numbers by", parties.library)
        yield from _original(parties, shows=show_restricted)
    if call.legs:
        yield ""
        yield "Onward legs"
        for leg in call.legs:
            status = f", {leg.status}" if leg.status else ", no final response"
            yield from _field(f"frame {leg.frame}", f"to {leg.destination}{status}")
            yield from _field("", f"by {leg.destination_rule}")
            yield from _field("", f"joined by {leg.joined_by}; Call-ID {leg.call_id}")
    yield ""
    yield "Media" if call.streams else "Media: no stream was announced by this call and seen"
    for stream in call.streams:
        yield from _field(stream.codec, f"{stream.source} -> {stream.destination}")
        yield from _field("", _stream(stream))


def _is_shown(decision: Decision, *, shows: bool) -> bool:
    """Say whether a header's own words may be written."""
    return shows or not isinstance(decision.party, Restricted)


def _counted(call: Explained) -> str:
    """Return how the INVITE requests of a call sum up to it."""
    steps = Counter(one.counted for one in call.messages if one.is_invite)
    count = sum(steps.values())
    if count <= 1:
        return "1 INVITE request, 1 call"
    rest = (
        step + (f" ({number} times)" if number > 1 else "")
        for step, number in steps.items()
        if step != THE_CALL
    )
    return f"{count} INVITE requests, 1 call; the others: {'; '.join(rest)}"


def _party(title: str, decision: Decision, *, shows: bool) -> Iterator[str]:
    yield f"{title}: {decision.text} ({decision.kind.value})"
    yield from _field("header", decision.header)
    yield from _field("value", decision.raw if _is_shown(decision, shows=shows) else _NOT_SHOWN)
    yield from _field("rule", decision.plan_rule)
    yield from _field("dial plan", decision.plan)


def _beside(parties: Parties) -> Iterator[str]:
    """Yield what stands beside the number that was dialled."""
    called = parties.called
    if parties.routing_number:
        yield from _field("routing", f"{parties.routing_number} (rn: it was not dialled)")
    if parties.npdi:
        yield from _field("npdi", "portability was looked up before")
    for name, value in called.number:
        if name not in ("rn", "npdi"):
            yield from _field(name, value or "set")
    for code in called.service_codes:
        yield from _field("service code", code)


def _rejected(role: str, every: Iterable[Rejected], *, hides: bool = False) -> Iterator[str]:
    """Yield the headers that did not decide."""
    for one in every:
        if one.role == role:
            yield from _field("not taken", f"{one.header}: {one.why}")
            yield from _field("", _NOT_SHOWN if hides else f"{one.text} ({one.plan_rule})")
            if not hides and one.raw.strip("<>") != one.text:
                yield from _field("", one.raw)


def _original(parties: Parties, *, shows: bool) -> Iterator[str]:
    """Yield who was dialled before the call was sent on."""
    called = parties.called
    if called.original is None:
        return
    yield ""
    yield from _party("First dialled", called.original, shows=shows)
    yield from _rejected(
        "original", called.rejected, hides=not _is_shown(called.original, shows=shows)
    )
    for one in called.diversions:
        yield from _field("sent on by", f"{one.text} ({one.rule})")


def _message_lines(messages: Iterable[Message], zone: str) -> Iterator[str]:
    """Yield a line a message; the endpoints have letters, named below."""
    names = dict[Endpoint, str]()
    rows = []
    for one in messages:
        seen = one.seen
        ends = [
            names.setdefault(end, _letters(len(names))) for end in (seen.source, seen.destination)
        ]
        way = f"{ends[0]}->{ends[1]}"
        time = moment(seen.at_ns, zone).partition("T")[2]
        rows.append((str(seen.frame), time, way, legible(one.title), one.counted))
    widths = [max((len(row[place]) for row in rows), default=0) for place in range(4)]
    for frame, time, way, title, counted in rows:
        head = f"  {frame:>{widths[0]}}  {time:<{widths[1]}}  {way:<{widths[2]}}  "
        title_width = min(widths[3], WIDTH - len(head) - 36)
        line = f"{head}{_cut(title, title_width):<{title_width}}  {counted}"
        yield line.rstrip()
    for end, letters in names.items():
        yield from _field(letters, str(end))


def _letters(place: int) -> str:
    """Return A for the first, then B, and after Z AA.

    >>> _letters(0), _letters(25), _letters(26)
    ('A', 'Z', 'AA')
    """
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, len(ascii_uppercase))
        letters = ascii_uppercase[rest] + letters
    return letters


def _outcome(record: CallRecord) -> str:
    """Return what became of a call, in words."""
    words = [record.outcome.value]
    if record.status:
        words.append(f"status {record.status}")
    if record.target:
        words.append(f"to {record.target}")
    if record.ringing_ns is not None:
        words.append(f"rang after {(record.ringing_ns - record.at_ns) / S:.3f} s")
    if record.answered_ns is not None:
        words.append(f"answered after {(record.answered_ns - record.at_ns) / S:.3f} s")
    if record.duration_ns is not None:
        words.append(f"lasted {record.duration_ns / S:.3f} s")
    if record.ended_by in (CallEnd.CALLER, CallEnd.CALLEE):
        words.append(f"the {record.ended_by.value} hung up")
    for what, count in (("transfer", record.transfers), ("far end", record.far_ends)):
        if count > (what == "far end"):
            words.append(f"{count} {what}{'s' if count > 1 else ''}")
    if record.replaces:
        words.append(f"replaces {record.replaces}")
    return ", ".join(words)


def _stream(stream: StreamRecord) -> str:
    """Return the figures of a stream."""
    jitter = "-" if stream.jitter_max_ms is None else f"{stream.jitter_max_ms:.3f} ms"
    words = [f"{stream.packets} packets", f"{stream.lost} lost", f"jitter at most {jitter}"]
    if stream.digits:
        words.append(f"digits {stream.digits}")
    if stream.mos is not None:
        words.append(f"MOS {stream.mos:.2f}")
    words += [f"SSRC 0x{stream.ssrc:08x}", f"frame {stream.frame}"]
    return ", ".join(words)


def _field(label: str, value: str) -> Iterator[str]:
    """Yield a label and its value, in as many lines as it needs."""
    head = " " * _INDENT + f"{label:<{_LABEL}} "
    room = WIDTH - len(head)
    parts = textwrap.wrap(
        legible(value), room, break_on_hyphens=False, replace_whitespace=False
    ) or [""]
    yield (head + parts[0]).rstrip()
    for part in parts[1:]:
        yield " " * len(head) + part


def _headed(text: str, under: str) -> list[str]:
    parts = textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    return [*parts, under * max(map(len, parts))]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _values(call: Explained, zone: str, *, show_restricted: bool) -> dict[str, Any]:
    """Return one call as values."""
    record, parties = call.record, call.parties
    values: dict[str, Any] = {"counted": "partial" if call.partial else "call"}
    if record is not None:
        values |= {
            "began": moment(record.at_ns, zone),
            "frame": record.frame,
            "direction": record.direction.value,
            "direction_rule": record.direction_rule,
            "outcome": record.outcome.value,
            "status": record.status,
            "target": record.target,
            "duration_ns": record.duration_ns,
        }
    values["messages"] = [_message_values(one, zone) for one in call.messages]
    if parties is not None:
        rejected, original = (*parties.rejected, *call.hints), parties.called.original
        hidden = {"source"} if parties.calling.hidden and not show_restricted else set()
        if original is not None and not _is_shown(original, shows=show_restricted):
            hidden.add("original")
        values |= {
            "source": _decision_values(parties.source, shows=show_restricted),
            "destination": _decision_values(parties.destination, shows=show_restricted),
            "original": original and _decision_values(original, shows=show_restricted),
            "diversions": [
                _decision_values(one, shows=show_restricted) for one in parties.called.diversions
            ],
            "rejected": [_rejected_values(one, hides=one.role in hidden) for one in rejected],
            "beside_number": dict(parties.called.number),
            "routing_number": parties.routing_number,
            "npdi": parties.npdi,
            "service_codes": list(parties.called.service_codes),
            "library": parties.library,
        }
    values["legs"] = [asdict(leg) for leg in call.legs]
    values["streams"] = [asdict(one) for one in call.streams]  # the keys pressed in them too
    return values


def _message_values(message: Message, zone: str) -> dict[str, Any]:
    seen = message.seen
    return {
        "frame": seen.frame,
        "at": moment(seen.at_ns, zone),
        "source": str(seen.source),
        "destination": str(seen.destination),
        "message": legible(message.title),
        "counted_as": message.counted,
    }


def _decision_values(decision: Decision, *, shows: bool) -> dict[str, Any]:
    return {
        "party": decision.text,
        "kind": decision.kind.value,
        "header": decision.header,
        "value": legible(decision.raw) if _is_shown(decision, shows=shows) else None,
        "rule": decision.plan_rule,
        "dial_plan": decision.plan,
    }


def _rejected_values(one: Rejected, *, hides: bool) -> dict[str, Any]:
    return {
        "of": one.role,
        "header": one.header,
        "value": None if hides else legible(one.raw),
        "party": None if hides else one.text,
        "rule": one.plan_rule,
        "why": one.why,
    }
