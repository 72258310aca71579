"""The checks of plan parts B.1 (receipt) and B.2 (policy), as pure functions of what was recorded.

receipt.received      the server got requests: it answered one of them at least
receipt.sender        … from the SBC's address and no other
receipt.well-formed   … each one NAPTR question for a number under the agreed apex
receipt.expected      … that somebody dialled
policy.answer         every answer means what the installed policy orders
policy.call           the SBC did with every call what the answer ordered
calls.completed       no call was lost, whatever became of the servers
calls.asked           every call made one lookup
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enumtest.checks.hold_down import MAX_CITED, cited
from enumtest.naptr.search import resolve
from enumtest.sbc.decision import Decision, DecisionRule, decided_by
from enumtest.traffic.lookups import Lookup, Traffic
from enumtest.traffic.transactions import OddMessage, Transaction
from harness.finding import Finding, Outcome
from harness.number import PhoneNumber
from harness.records import CallOutcome, CallRecord
from harness.regex import RegexEngine

SERVICES = ("sip",)  # the enumservice that the plan's answers use
FAILURE_STATUS = 400  # RFC 3261 section 7.2: from here on a call was refused
CANCELLED = 487  # the caller hung up: a 2xx may have crossed it (RFC 3261 section 9.1)
TURNS_ENOUGH = 2  # lookups for each server; whoever was not asked by then is not in turn


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed between the SBC's engineer and the policy server's."""

    apex: str
    sbc_addresses: tuple[str, ...]
    carries_source: bool  # the calling number comes in an EDNS option


def receipt(
    traffic: Traffic, lookups: Sequence[Lookup], server: str, agreed: Agreed, *, minimum: int
) -> tuple[Finding, ...]:
    """Judge what one *server* received while test calls were made (plan B.1.1)."""
    hops = [hop for lookup in lookups for hop in lookup.hops if hop.server == server]
    broken = request_defects(traffic, lookups, server, agreed)
    arrived = received(lookups, server, minimum=minimum)
    if not hops and not broken:
        return (arrived,)
    frames = tuple(hop.sends[0].frame for hop in hops)[:MAX_CITED]
    foreign = [hop for hop in hops if hop.client.address not in agreed.sbc_addresses]
    sender = _rule(
        "receipt.sender",
        f"only {', '.join(agreed.sbc_addresses)} asks {server}",
        [(hop.sends[0].frame, f"asked by {hop.client.address}") for hop in foreign],
        f"{len(hops)} requests from there",
        frames,
    )
    formed = _rule(
        "receipt.well-formed",
        f"each request is one NAPTR question for a number under {agreed.apex}"
        + (", with the calling number" if agreed.carries_source else ""),
        broken,
        f"{len(hops)} well-formed requests",
        frames,
    )
    return arrived, sender, formed


def received(lookups: Sequence[Lookup], server: str, *, minimum: int) -> Finding:
    """Judge that *server* got requests, which only an answer of it proves."""
    rule, expected = (
        "receipt.received",
        f"{server} receives ENUM requests while test calls are made",
    )
    hops = [hop for lookup in lookups for hop in lookup.hops if hop.server == server]
    if not hops:
        words = f"none of {len(lookups)} lookups"
        enough = len(lookups) >= minimum
        needed = max(0, minimum - len(lookups))
        outcome = Outcome.FAIL if enough else Outcome.OTHER
        return Finding(rule, outcome, expected, words, "requests", cited(lookups), needed)
    frames = tuple(hop.sends[0].frame for hop in hops)[:MAX_CITED]
    answered = [hop for hop in hops if hop.answer is not None or hop.later_answers]
    if not answered:
        words = f"{len(hops)} requests sent to it, none answered: nothing shows that it got them"
        return Finding(rule, Outcome.OTHER, expected, words, "requests", frames)
    words = f"{len(hops)} requests, {len(answered)} answered"
    return Finding(rule, Outcome.PASS, expected, words, "requests", frames)


def undialled(wrong: Sequence[Lookup], apex: str, server: str = "") -> Finding:
    """Judge that the SBC asked for no number that nobody dialled (*wrong*: such lookups)."""
    hops = [hop for one in wrong for hop in one.hops if server in ("", hop.server)]
    numbers = {hop.sends[0].frame: str(one.number(apex)) for one in wrong for hop in one.hops}
    return _rule(
        "receipt.expected",
        "each request is for a number that was dialled",
        [
            (frame, f"asks for {numbers[frame]}, which nobody dialled")
            for frame in (hop.sends[0].frame for hop in hops)
        ],
        "no other request",
        (),
    )


def request_defects(
    traffic: Traffic, lookups: Sequence[Lookup], server: str, agreed: Agreed
) -> list[tuple[int, str]]:
    """Return frame and fault of each request to *server* that is not as it should be."""
    broken = [(odd.seen.frame, odd.why) for odd in malformed_queries(traffic, server, agreed)]
    for lookup in lookups:
        broken += [
            (hop.sends[0].frame, why)
            for hop in lookup.hops
            if hop.server == server and (why := _defect(hop, lookup.number(agreed.apex), agreed))
        ]
    # A health check asks for some name of its own; a test number is asked for with NAPTR alone.
    broken += [
        (probe.sends[0].frame, f"type {probe.query.qtype}, not NAPTR")
        for probe in traffic.probes
        if probe.server == server
        and probe.client.address in agreed.sbc_addresses
        and Lookup((probe,)).number(agreed.apex) is not None
    ]
    return sorted(broken)


def malformed_queries(traffic: Traffic, server: str, agreed: Agreed) -> tuple[OddMessage, ...]:
    """Return what the SBC sent to *server* that is no DNS query (strangers do not count)."""
    return tuple(
        odd
        for odd in traffic.malformed
        if odd.from_client and odd.server == server and odd.client.address in agreed.sbc_addresses
    )


def _defect(hop: Transaction, number: PhoneNumber | None, agreed: Agreed) -> str:
    """Say what is wrong with the question of *hop*, or "" when nothing is."""
    query = hop.query
    if query.qclass != "IN":
        return f"class {query.qclass}, not IN"
    if number is None:
        return f"{query.qname[:80]!r} is no number under {agreed.apex}"
    if agreed.carries_source and not hop.source:
        return "no calling number in its EDNS options"
    if query.trailing_bytes:
        return f"{query.trailing_bytes} bytes after the message"
    return ""


def meaning(
    lookup: Lookup, apex: str, rules: tuple[DecisionRule, ...], engine: RegexEngine
) -> tuple[Decision, str]:
    """Return what the answer of *lookup* orders, and the URI it yields ("" when none)."""
    answer, number = lookup.last.answer, lookup.number(apex)
    if answer is None or lookup.last.failed or lookup.last.sick or number is None:
        return Decision.NO_SERVER, ""
    resolution = resolve(answer.naptr, str(number), engine, SERVICES)
    return decided_by(resolution, number, rules)


def policy_answers(
    lookups: Sequence[Lookup],
    servers: Sequence[str],
    wanted: frozenset[Decision],
    read: Callable[[Lookup], tuple[Decision, str]],
) -> Finding:
    """Judge that every answer means one of *wanted*, and that every server gave one."""
    rule, words_wanted = "policy.answer", " or ".join(sorted(wanted))
    expected = f"every answer of {', '.join(servers)} means {words_wanted}"
    wrong = [(lookup, *got) for lookup in lookups if (got := read(lookup))[0] not in wanted]
    if wrong:
        lookup, decision, uri = wrong[0]
        words = (
            f"{len(wrong)} of {len(lookups)} answers do not; first: {lookup.last.server} said "
            f"{decision.value}" + (f" ({uri})" if uri else "")
        )
        frames = tuple(frame for bad, *_ in wrong for frame in bad.frames)[:MAX_CITED]
        return Finding(rule, Outcome.FAIL, expected, words, "answers", frames)
    silent = [name for name in servers if all(one.last.server != name for one in lookups)]
    if silent:
        words = f"no answer of {', '.join(silent)} in {len(lookups)} lookups"
        needed = len(silent)
        if len(lookups) >= TURNS_ENOUGH * len(servers):
            words, needed = f"{words}; more calls would not change that, it is never asked", 0
        frames = cited(lookups)
        return Finding(rule, Outcome.OTHER, expected, words, "answers", frames, needed)
    return Finding(
        rule, Outcome.PASS, expected, f"{len(lookups)} answers do", "answers", cited(lookups)
    )


def policy_calls(
    calls: Sequence[CallRecord],
    wanted: CallOutcome,
    *,
    target: str = "",
    place: str = "",
    minimum: int,
) -> Finding:
    """Judge that the SBC did *wanted* with every call.

    *target* is where redirected calls go, *place* the next hop (address:port) that calls leave for.
    """
    where = f" to {target}" if target else ""
    at = f" at {place}" if place else ""
    expected = f"every call is {wanted.value}{where}{at}"
    left = missed(calls, wanted, target, place)
    return _calls("policy.call", expected, calls, left, minimum)


def calls_completed(calls: Sequence[CallRecord], *, place: str = "", minimum: int) -> Finding:
    """Judge that every call reached the party that was dialled, at the next hop *place*."""
    expected = "every call reaches the dialled party" + (f" at {place}" if place else "")
    return _calls("calls.completed", expected, calls, missed(calls, place=place), minimum)


@dataclass(frozen=True, slots=True)
class Missed:
    """Calls that did not end as wanted: certainly, and as far as can be told."""

    wrong: tuple[CallRecord, ...]
    unclear: tuple[CallRecord, ...]
    wanted: CallOutcome
    place: str  # address:port of the next hop; "": anywhere

    def value(self) -> tuple[float | None, tuple[int, ...]]:
        """Return their number, None when that is not known, and the frames that show it."""
        frames = tuple(call.frame for call in self.wrong or self.unclear)[:MAX_CITED]
        return (None if self.unclear and not self.wrong else len(self.wrong)), frames


def missed(
    calls: Sequence[CallRecord],
    wanted: CallOutcome = CallOutcome.ALLOWED,
    target: str = "",
    place: str = "",
) -> Missed:
    """Return the calls whose outcome is not *wanted* (*target*, *place*: where they must go)."""
    certain = [call for call in calls if _is_astray(call, wanted, target, place)]
    left = [
        call
        for call in calls
        if call in certain or call.outcome is not wanted or (target and call.target != target)
    ]
    unclear = tuple(c for c in left if c not in certain and _is_unclear(c, wanted, target))
    wrong = tuple(call for call in left if call not in unclear)
    return Missed(wrong, unclear, wanted, place)


def _is_astray(call: CallRecord, wanted: CallOutcome, target: str, place: str) -> bool:
    """Say whether the SBC certainly did something else with *call*, however it ended."""
    if wanted is CallOutcome.TERMINATED:
        return bool(call.rang)
    if wanted is CallOutcome.REDIRECTED and _rang_dialled(call, target):
        return True
    return _is_misplaced(call, place) or _is_denied(call)


def _rang_dialled(call: CallRecord, target: str = "") -> bool:
    return call.destination in call.rang and call.destination != target


def _is_misplaced(call: CallRecord, place: str) -> bool:
    return bool(place) and call.target_endpoint not in ("", place)


def _is_denied(call: CallRecord) -> bool:
    """Say whether somebody took *call*, and the SBC told the caller that nobody did."""
    return call.taken and call.status >= FAILURE_STATUS and call.status != CANCELLED


def _is_unclear(call: CallRecord, wanted: CallOutcome, target: str) -> bool:
    """Say whether *call* may have been treated as wanted: it ended, but who ended it is not known.

    A busy callee is not the SBC's doing; an answer whose onward leg was not captured, or has no
    Session-ID to join it by, says nothing of who gave it.
    """
    if call.outcome is not CallOutcome.NONE or not call.status:
        return False
    if wanted is CallOutcome.TERMINATED:
        return not call.target and call.status >= FAILURE_STATUS
    return call.target in ("", target or call.destination)


def calls_asked(
    calls: Sequence[CallRecord], unasked: Sequence[CallRecord], again: Sequence[Lookup]
) -> Finding:
    """Judge that each call made one lookup: nothing was cached, left out, or asked twice.

    *unasked* are the calls without a lookup, *again* lookups beyond one a call. An answer kept from
    an earlier call, which no rule of the plan forbids, looks on the wire like a policy that was not
    asked for: never PASS, and for certain no FAIL. A person must look.
    """
    rule, expected = "calls.asked", "each call makes one lookup"
    if not calls:
        return Finding(rule, Outcome.OTHER, expected, "no call was seen", "calls", needed=1)
    frames = tuple(call.frame for call in calls)[:MAX_CITED]
    if not unasked and not again:
        return Finding(rule, Outcome.PASS, expected, f"{len(calls)} calls did", "calls", frames)
    words = []
    if unasked:
        numbers = ", ".join(sorted({call.destination for call in unasked})[:3])
        words.append(
            f"{len(unasked)} of {len(calls)} calls made none, such as to {numbers}: the SBC left "
            "it out, or has a cache"
        )
    if again:
        words.append(f"{len(again)} lookups more than calls")
    frames = (*(call.frame for call in unasked), *cited(again))[:MAX_CITED]
    return Finding(rule, Outcome.OTHER, expected, "; ".join(words), "calls", frames)


def _did(call: CallRecord, wanted: CallOutcome, place: str) -> str:
    if wanted is CallOutcome.REDIRECTED and _rang_dialled(call):
        also = "also " if call.outcome is CallOutcome.REDIRECTED or len(call.rang) > 1 else ""
        return f"{also}sent to the dialled party (status {call.status or 'none'})"
    if _is_denied(call):
        return f"taken by the called party, and the caller was told {call.status}"
    where = f" at {call.target_endpoint}" if _is_misplaced(call, place) else ""
    if call.outcome is CallOutcome.NONE:
        sent = f"sent on to {call.target}{where}, then " if call.target else ""
        return f"{sent}left without an outcome (status {call.status or 'none'})"
    return call.outcome.value + (
        f" to {call.target}{where}" if call.target else f" ({call.status})"
    )


def _calls(
    rule: str,
    expected: str,
    calls: Sequence[CallRecord],
    left: Missed,
    minimum: int,
) -> Finding:
    for some, outcome, verb in (
        (left.wrong, Outcome.FAIL, "were not"),
        (left.unclear, Outcome.OTHER, "can't be judged"),
    ):
        if some:
            first = f"call to {some[0].destination} was {_did(some[0], left.wanted, left.place)}"
            words = f"{len(some)} of {len(calls)} calls {verb}; first: {first}"
            frames = tuple(frame for call in some for frame in call.frames)[:MAX_CITED]
            return Finding(rule, outcome, expected, words, "calls", frames)
    if len(calls) < minimum:
        words, needed = f"{len(calls)} of {minimum} calls", minimum - len(calls)
        return Finding(rule, Outcome.OTHER, expected, words, "calls", needed=needed)
    frames = tuple(call.frame for call in calls)[:MAX_CITED]
    return Finding(rule, Outcome.PASS, expected, f"{len(calls)} calls", "calls", frames)


def _rule(
    rule: str,
    expected: str,
    wrong: Sequence[tuple[int, str]],
    right: str,
    frames: tuple[int, ...],
) -> Finding:
    """Return FAIL with the first of *wrong* (frame, why), or PASS with *right*."""
    if not wrong:
        return Finding(rule, Outcome.PASS, expected, right, "requests", frames)
    words = f"{len(wrong)} not; first: frame {wrong[0][0]}: {wrong[0][1]}"
    bad = tuple(frame for frame, _ in wrong)[:MAX_CITED]
    return Finding(rule, Outcome.FAIL, expected, words, "requests", bad)
