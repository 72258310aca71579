"""What each kind of client makes of a policy or a zone, and which terminates it would let through.

    policy ─▶ answers ─┐
                       ├─▶ one reading a client ─▶ decisions it can come to ─▶ verdict
    zone ────▶ names ──┘

Laws: pure, the files are read by `enumtest.commands.lint`; a terminate is let through when the
client
comes to no terminate at all, or tries a branch beside it; where a client's ways are not known and
it matters, the verdict is "unknown", never a guess.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from enumtest.naptr.naptr import NaptrRecord, enum_services, presentation
from enumtest.naptr.naptr_dialect import STRICT, USUAL_HOPS, NaptrDialect
from enumtest.naptr.reading import (
    Effect,
    Ended,
    Follow,
    Passed,
    RecordReading,
    Uri,
    Void,
    read_answer,
)
from enumtest.naptr.search import MAX_QUESTIONS
from enumtest.sbc.decision import DEFAULT_RULES, Decision, DecisionRule, classify, parse_target
from enumtest.stub.policy import Action, Policy, Ruling
from harness.number import MAX_DIGITS, PhoneNumber
from harness.regex import RegexEngine

SAMPLE = "16505550112"  # for rules that are for every number: from the range kept for fiction
_CALLERS_ONLY = ("anonymous", "absent")

Lookup = Callable[[str], tuple[NaptrRecord, ...] | None]  # None: the file does not say


class Verdict(StrEnum):
    """What becomes of a terminate in one client."""

    TERMINATES = "terminates"
    LETS_THROUGH = "lets-through"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer that a call can get."""

    name: str  # of the rule, or the owner name
    number: PhoneNumber
    records: tuple[NaptrRecord, ...]
    ordered: Decision
    uri: str = ""  # that the policy means, "" where only the records say
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one client makes of an entry."""

    client: str
    records: tuple[RecordReading, ...]
    decisions: tuple[Decision, ...]  # that it can come to
    why: tuple[str, ...]  # how it comes to each
    verdict: Verdict | None  # None: the entry is no terminate

    def event(self) -> dict[str, object]:
        """Return the prediction as JSON values."""
        return {
            "decisions": list(self.decisions),
            "why": list(self.why),
            "verdict": self.verdict,
            "records": [[effect.how for effect in each.effects] for each in self.records],
        }


@dataclass(frozen=True, slots=True)
class Linted:
    """An entry and what each client makes of it."""

    entry: Entry
    predictions: tuple[Prediction, ...]

    def with_verdict(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the clients of *verdict*."""
        return tuple(one.client for one in self.predictions if one.verdict is verdict)

    def event(self) -> dict[str, object]:
        """Return the entry and its predictions as JSON values."""
        entry = self.entry
        return {
            "name": entry.name,
            "number": str(entry.number),
            "ordered": entry.ordered,
            "records": [presentation(record) for record in entry.records],
            "remark": entry.remark,
            "clients": {one.client: one.event() for one in self.predictions},
        }


@dataclass(slots=True)
class _Walk:
    """One client on its way through an answer and the domains that it leads to."""

    aus: str
    engine: RegexEngine
    dialect: NaptrDialect
    lookup: Lookup
    ends: list[Effect] = field(default_factory=list)
    branches: list[tuple[Uri, bool]] = field(default_factory=list)  # and whether it is certain
    seen: list[str] = field(default_factory=list)

    def visit(self, readings: tuple[RecordReading, ...], hops: int) -> bool:
        """Take the readings in order; return whether the client can come out behind the last."""
        goes_on = True
        for reading in readings:
            if self.ends:
                certain = len(reading.effects) == 1 and self.dialect.larger_order is True
                uris = (effect for effect in reading.effects if isinstance(effect, Uri))
                self.branches += [(uri, certain) for uri in uris]
            if goes_on:
                steps = [self._step(effect, hops) for effect in reading.effects]
                goes_on = any(steps)
        return goes_on

    def _step(self, effect: Effect, hops: int) -> bool:
        """Note *effect*; return whether the client can go on with the next record."""
        match effect:
            case Passed():
                return True
            case Uri() | Void() | Ended():
                self.ends.append(effect)
                return False
            case Follow(domain=domain):
                return self._follow(domain, effect, hops)
        assert_never(effect)

    def _follow(self, domain: str, effect: Follow, hops: int) -> bool:
        name = domain.lower().rstrip(".")
        limit = self.dialect.max_hops
        too_far = hops >= (USUAL_HOPS if limit is None else limit)
        if name in self.seen or too_far or len(self.seen) >= MAX_QUESTIONS:
            return True
        records = self.lookup(name)
        if records is None:
            self.ends.append(effect)
            return True
        self.seen.append(name)
        return self.visit(read_answer(records, self.aus, self.engine, self.dialect), hops + 1)


def lint(
    entries: Iterable[Entry],
    clients: Mapping[str, NaptrDialect],
    engine: RegexEngine,
    lookup: Lookup = lambda _: None,
    rules: tuple[DecisionRule, ...] = DEFAULT_RULES,
) -> tuple[Linted, ...]:
    """Return what each of *clients* makes of each of *entries*, whose URIs mean what *rules* say.

    *lookup* gives the records of a domain, for those that are not terminal.
    """
    return tuple(
        Linted(
            entry,
            tuple(
                _predicted(entry, name, dialect, rules, engine, lookup)
                for name, dialect in clients.items()
            ),
        )
        for entry in entries
    )


def _predicted(  # noqa: PLR0913, PLR0917 - an entry, a client, and what both are read with
    entry: Entry,
    client: str,
    dialect: NaptrDialect,
    rules: tuple[DecisionRule, ...],
    engine: RegexEngine,
    lookup: Lookup,
) -> Prediction:
    """Return what one client makes of *entry*."""
    aus = str(entry.number)
    readings = read_answer(entry.records, aus, engine, dialect)
    walk = _Walk(aus, engine, dialect, lookup)
    if walk.visit(readings, 0):
        walk.ends.append(Passed(_nothing(readings)))
    ends = tuple(dict.fromkeys(walk.ends))
    decided = {end: _decision(end, entry, rules) for end in ends}
    if dialect.larger_order is False:
        walk.branches.clear()
    beside = [
        (uri, certain)
        for uri, certain in walk.branches
        if _decision(uri, entry, rules) is not Decision.TERMINATE
    ]
    verdict, why = None, [end.how for end in ends]
    if entry.ordered is Decision.TERMINATE:
        verdict = _verdict(set(decided.values()), beside)
        words = "is tried too" if dialect.larger_order else "may be tried too"
        why += [f"{uri.text} {words}" for uri, _ in beside]
    return Prediction(
        client,
        readings,
        tuple(dict.fromkeys(decided.values())),
        tuple(dict.fromkeys(why)),
        verdict,
    )


def _nothing(readings: tuple[RecordReading, ...]) -> str:
    """Return in words why no record gives a URI."""
    if not readings:
        return "no record"
    passed = (
        effect.how for each in readings for effect in each.effects if isinstance(effect, Passed)
    )
    return "; ".join(dict.fromkeys(passed)) or "no record gives a URI"


def _decision(end: Effect, entry: Entry, rules: tuple[DecisionRule, ...]) -> Decision:
    """Return what the client does with the call at *end*."""
    match end:
        case Uri(text=text, services=services):
            if entry.uri and text == entry.uri:
                return entry.ordered
            return classify(text, entry.number, rules, services)
        case Void():
            return Decision.TERMINATE
        case Follow():
            return Decision.UNCLASSIFIED  # what is there, this file does not say
        case Passed() | Ended():
            return Decision.NO_INSTRUCTION
    assert_never(end)


def _verdict(decisions: set[Decision], beside: list[tuple[Uri, bool]]) -> Verdict:
    """Return what becomes of a terminate whose client can come to *decisions*."""
    if decisions == {Decision.TERMINATE}:
        if any(certain for _, certain in beside):
            return Verdict.LETS_THROUGH
        return Verdict.UNKNOWN if beside else Verdict.TERMINATES
    if decisions & {Decision.TERMINATE, Decision.UNCLASSIFIED}:
        return Verdict.UNKNOWN
    return Verdict.LETS_THROUGH


def policy_entries(policy: Policy, engine: RegexEngine) -> tuple[Entry, ...]:
    """Return each answer of *policy* with a number that gets it: one a rule, and the default."""
    found = [_ruled(policy.ruling(policy.default, "default", None), "any", engine)]
    for rule in policy.rules:
        ruling = policy.ruling(rule.action, rule.name, None, rule.to)
        found += [_ruled(ruling, pattern, engine) for pattern in rule.destination.patterns]
    return tuple(dict.fromkeys(entry for entry in found if entry is not None))


def policy_hosts(policy: Policy, engine: RegexEngine) -> tuple[str, ...]:
    """Return the hosts that mean terminate in *policy*, and nothing else there."""
    hosts: dict[Action, set[str]] = {}
    number = PhoneNumber(SAMPLE)
    for action in Action:
        to = number if action is Action.REDIRECT else None
        uri = _strict_uri(policy.ruling(action, "", None, to).records, number, engine)
        target = parse_target(uri)
        hosts[action] = set() if target is None else {target.host}
    others = hosts[Action.ALLOW] | hosts[Action.REDIRECT]
    return tuple(sorted(hosts[Action.TERMINATE] - others - {""}))


def _ruled(ruling: Ruling, pattern: str, engine: RegexEngine) -> Entry | None:
    """Return the entry of a rule for a number that *pattern* fits, or None when none does."""
    number = sample(pattern)
    if number is None:
        return None
    ordered = Decision(ruling.action.value)
    uri = _strict_uri(ruling.records, number, engine)
    remark = "" if ruling.rcode == "NOERROR" else f"answered with {ruling.rcode} and no record"
    return Entry(ruling.rule, number, ruling.records, ordered, uri, remark)


def _strict_uri(records: tuple[NaptrRecord, ...], number: PhoneNumber, engine: RegexEngine) -> str:
    """Return the URI that the RFCs give, or "" when none."""
    for reading in read_answer(records, str(number), engine, STRICT):
        match reading.effects[0]:
            case Uri(text=text):
                return text
            case _:
                continue
    return ""


def sample(pattern: str) -> PhoneNumber | None:
    """Return a number that the destination *pattern* of a rule fits, or None.

    >>> sample("+4420*"), sample("1001"), sample("any")
    (PhoneNumber(digits='44201234567'), None, PhoneNumber(digits='16505550112'))
    """
    if pattern in _CALLERS_ONLY:
        return None
    if pattern in ("any", "+*"):
        return PhoneNumber(SAMPLE)
    if not pattern.startswith("+"):
        return None  # a destination always has its plus sign
    digits = pattern[1:].removesuffix("*")
    if pattern.endswith("*") and len(digits) < MAX_DIGITS:
        digits += "1234567890"[: max(len(SAMPLE) - len(digits), 1)]
    return None if digits.startswith("0") else PhoneNumber(digits)


def means_terminate(records: Iterable[NaptrRecord], hosts: Iterable[str]) -> bool:
    """Say whether *records*, usable or not, name one of *hosts* or say that nobody is there."""
    known = tuple(hosts)
    for record in records:
        found = enum_services(record.services)
        named = {each.partition(":")[0] for each in found} if isinstance(found, tuple) else set()
        if named & {"void", "unused"} or any(host in record.regexp.lower() for host in known):
            return True
    return False
