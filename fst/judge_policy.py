"""Judges of plan part B.2: what the answers order, and what the SBC does with the calls."""

from collections.abc import Callable

from enumtest.checks.calls import calls_completed, meaning, missed, policy_answers, policy_calls
from enumtest.checks.hold_down import MAX_CITED, cited
from enumtest.sbc.decision import Decision
from enumtest.traffic.lookups import Lookup
from fst.exercises import CONTRAST, POLICY_ROUNDS
from fst.judged import Judgement, Value, count, window
from fst.observation import MarkKind, Observation
from harness.finding import Finding, Outcome
from harness.records import CallOutcome
from harness.regex import RegexEngine

AS_DIALLED = frozenset({Decision.ALLOW, Decision.NO_INSTRUCTION})
UNTIL = frozenset({MarkKind.INSTALLED, MarkKind.BEGIN})  # the contrast ends with one of them
RULED = frozenset({Decision.TERMINATE, Decision.REDIRECT})
Read = Callable[[Lookup], tuple[Decision, str]]


def _reading(seen: Observation, engine: RegexEngine) -> Read:
    """Return what reads the order in an answer."""

    def read(lookup: Lookup) -> tuple[Decision, str]:
        return meaning(lookup, seen.sbc.apex, seen.sbc.rules, engine)

    return read


def place(seen: Observation, outcome: CallOutcome) -> str:
    """Return where the SBC must send calls of that *outcome*: address:port, "" for nowhere."""
    match outcome:
        case CallOutcome.ALLOWED:
            return seen.sbc.next_hop
        case CallOutcome.REDIRECTED:
            return seen.sbc.redirect_hop or seen.sbc.next_hop
        case _:
            return ""


def policy(wanted: Decision, outcome: CallOutcome, bad: str) -> Callable[..., Judgement]:
    """Return the judge of B.2.1 to B.2.3: what the answers say, and what the SBC then did."""

    def judge_policy(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
        del host
        found, servers = window(seen), tuple(seen.sbc.enum_servers)
        to = str(seen.site.redirected_to) if wanted is Decision.REDIRECT else ""
        at, least = place(seen, outcome), POLICY_ROUNDS * len(servers)
        findings = [
            policy_answers(found.lookups, servers, frozenset({wanted}), _reading(seen, engine)),
            policy_calls(found.calls, outcome, target=to, place=at, minimum=least),
            found.asked,
        ]
        if wanted is Decision.ALLOW:
            findings.append(_contrast(seen, _reading(seen, engine)))
        left = missed(found.calls, outcome, to, at)
        value = left.value() if left.wrong or len(found.calls) >= least else (None, ())
        return Judgement(tuple(findings), {"calls_judged": count(found.calls), bad: value})

    return judge_policy


def _contrast(seen: Observation, read: Read) -> Finding:
    """Judge that the same calls were ended before the allow rule was put on top."""
    rule, expected = "policy.contrast", "without the allow rule every server ends the same calls"
    at_ns = [m.at_ns for m in seen.marks if m.kind is MarkKind.INSTALLED and CONTRAST in m.names]
    if not at_ns:
        words = "no rule was installed that the allow rule could overrule"
        return Finding(rule, Outcome.OTHER, expected, words, "answers")
    later = [m.at_ns for m in seen.marks if m.kind in UNTIL and CONTRAST not in m.names]
    before = seen.own_between(at_ns[0], min((at for at in later if at >= at_ns[0]), default=0))
    ended = [one for one in before if read(one)[0] is Decision.TERMINATE]
    silent = set(seen.sbc.enum_servers) - {one.last.server for one in ended}
    words = f"{len(ended)} of {len(before)} answers before it ordered that"
    if silent:
        words += f"; none of {', '.join(sorted(silent))}: nothing shows that the rule acts there"
    outcome = Outcome.OTHER if silent else Outcome.PASS
    return Finding(rule, outcome, expected, words, "answers", cited(ended or before))


def _installed(seen: Observation, read: Read) -> Finding:
    """Judge that the rules of B.2.4 and B.2.5 were in force before they were removed."""
    gone_ns = seen.at(MarkKind.UNINSTALLED)
    before = seen.own_between(seen.at(MarkKind.INSTALLED), gone_ns)
    ruled = [one for one in before if read(one)[0] in RULED]
    return Finding(
        "policy.installed",
        Outcome.PASS if ruled else Outcome.OTHER,
        "the test policies act before they are uninstalled",
        f"{len(ruled)} of {len(before)} answers showed them",
        "answers",
        tuple(one.last.sends[0].frame for one in ruled)[:MAX_CITED],
    )


def uninstalled(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.2.4: the rules were in force before, and no answer speaks of them afterwards."""
    del host
    read, found = _reading(seen, engine), window(seen)
    after, servers = found.lookups, tuple(seen.sbc.enum_servers)
    left = [one for one in after if read(one)[0] in RULED | {Decision.UNCLASSIFIED}]
    frames = tuple(one.last.sends[0].frame for one in left)[:MAX_CITED]
    enough = len(after) >= POLICY_ROUNDS * len(servers)
    value: Value = (len({one.qname for one in left}) if left or enough else None, frames)
    answers = policy_answers(after, servers, AS_DIALLED, read)
    return Judgement((_installed(seen, read), answers, found.asked), {"policies_left": value})


def not_acted_upon(seen: Observation, host: str, engine: RegexEngine) -> Judgement:
    """B.2.5: calls to the numbers of the removed rules go through as dialled."""
    del host
    found, at = window(seen), place(seen, CallOutcome.ALLOWED)
    least = POLICY_ROUNDS * len(seen.sbc.enum_servers)
    findings = (
        _installed(seen, _reading(seen, engine)),
        calls_completed(found.calls, place=at, minimum=least),
        found.asked,
    )
    left = missed(found.calls, place=at)
    value = left.value() if left.wrong or len(found.calls) >= least else (None, ())
    return Judgement(findings, {"calls_judged": count(found.calls), "calls_not_connected": value})
