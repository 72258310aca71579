"""The checks of plan parts B.1 (receipt) and B.2 (policy), as pure functions of what was recorded.

receipt.received      the server got requests from the SBC
receipt.sender        … from the SBC's address and no other
receipt.well-formed   … each one NAPTR question for a number under the agreed apex
policy.answer         every answer means what the installed policy orders
policy.call           the SBC did with every call what the answer ordered
calls.completed       no call was lost, whatever became of the servers
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enumtest.decision import Decision, DecisionRule, classify
from enumtest.hold_down import MAX_CITED, cited
from enumtest.lookups import Lookup, OddMessage, Traffic, Transaction
from enumtest.naptr import resolve
from harness.finding import Finding, Outcome
from harness.number import PhoneNumber
from harness.records import CallOutcome, CallRecord
from harness.regex import RegexEngine

SERVICES = ("sip",)  # the enumservice that the plan's answers use
FAILURE_STATUS = 400  # RFC 3261 section 7.2: from here on a call was refused


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
    expected = f"{server} receives ENUM requests while test calls are made"
    if not hops:
        words = f"none of {len(lookups)} lookups"
        outcome = Outcome.FAIL if len(lookups) >= minimum else Outcome.OTHER
        needed = max(0, minimum - len(lookups))
        return (Finding("receipt.received", outcome, expected, words, "requests", needed=needed),)
    frames = tuple(hop.sends[0].frame for hop in hops)[:MAX_CITED]
    words = f"{len(hops)} requests"
    received = Finding("receipt.received", Outcome.PASS, expected, words, "requests", frames)
    foreign = [hop for hop in hops if hop.client.address not in agreed.sbc_addresses]
    sender = _rule(
        "receipt.sender",
        f"only {', '.join(agreed.sbc_addresses)} asks {server}",
        [(hop.sends[0].frame, f"asked by {hop.client.address}") for hop in foreign],
        f"{len(hops)} requests from there",
        frames,
    )
    broken = [(odd.seen.frame, odd.why) for odd in malformed_queries(traffic, server, agreed)]
    for lookup in lookups:
        broken += [
            (hop.sends[0].frame, why)
            for hop in lookup.hops
            if hop.server == server and (why := _defect(hop, lookup.number(agreed.apex), agreed))
        ]
    formed = _rule(
        "receipt.well-formed",
        f"each request is one NAPTR question for a number under {agreed.apex}"
        + (", with the calling number" if agreed.carries_source else ""),
        broken,
        f"{len(hops)} well-formed requests",
        frames,
    )
    return received, sender, formed


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
    if answer is None or lookup.last.failed or number is None:
        return Decision.NO_SERVER, ""
    resolution = resolve(answer.naptr, str(number), engine, SERVICES)
    if resolution.uri is None:
        return Decision.NO_INSTRUCTION, ""
    return classify(resolution.uri, number, rules), resolution.uri


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
        return Finding(rule, Outcome.OTHER, expected, words, "answers", needed=len(silent))
    return Finding(
        rule, Outcome.PASS, expected, f"{len(lookups)} answers do", "answers", cited(lookups)
    )


def policy_calls(
    calls: Sequence[CallRecord], wanted: CallOutcome, *, target: str = "", minimum: int
) -> Finding:
    """Judge that the SBC did *wanted* with every call (*target*: where redirected calls go)."""
    where = f" to {target}" if target else ""
    expected = f"every call is {wanted.value}{where}"
    return _calls("policy.call", expected, calls, missed(calls, wanted, target), minimum)


def calls_completed(calls: Sequence[CallRecord], *, minimum: int) -> Finding:
    """Judge that every call reached the party that was dialled."""
    expected = "every call reaches the dialled party"
    return _calls("calls.completed", expected, calls, missed(calls), minimum)


@dataclass(frozen=True, slots=True)
class Missed:
    """Calls that did not end as wanted: certainly, and as far as can be told."""

    wrong: tuple[CallRecord, ...]
    unclear: tuple[CallRecord, ...]

    def value(self) -> tuple[float | None, tuple[int, ...]]:
        """Return their number, None when that is not known, and the frames that show it."""
        frames = tuple(call.frame for call in self.wrong or self.unclear)[:MAX_CITED]
        return (None if self.unclear and not self.wrong else len(self.wrong)), frames


def missed(
    calls: Sequence[CallRecord], wanted: CallOutcome = CallOutcome.ALLOWED, target: str = ""
) -> Missed:
    """Return the calls whose outcome is not *wanted* (*target*: where redirected calls go)."""
    left = [
        call for call in calls if call.outcome is not wanted or (target and call.target != target)
    ]
    unclear = tuple(call for call in left if _is_unclear(call, wanted, target))
    return Missed(tuple(call for call in left if call not in unclear), unclear)


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


def every_call_asked(calls: Sequence[CallRecord], lookups: Sequence[Lookup]) -> Finding:
    """Judge that there are as many lookups as calls: nothing was cached, nothing left out."""
    rule, expected = "policy.asked", "each call makes one lookup"
    words = f"{len(calls)} calls, {len(lookups)} lookups"
    if not calls:
        return Finding(rule, Outcome.OTHER, expected, "no call was seen", "calls", needed=1)
    same = len(calls) == len(lookups)
    # Fewer lookups can be the SBC's cache, which no rule of the plan forbids: a person must look.
    outcome = Outcome.PASS if same else Outcome.OTHER
    return Finding(rule, outcome, expected, words, "lookups", needed=0)


def _did(call: CallRecord) -> str:
    if call.outcome is CallOutcome.NONE:
        sent = f"sent on to {call.target}, then " if call.target else ""
        return f"{sent}left without an outcome (status {call.status or 'none'})"
    return call.outcome.value + (f" to {call.target}" if call.target else f" ({call.status})")


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
            first = f"call to {some[0].destination} was {_did(some[0])}"
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
