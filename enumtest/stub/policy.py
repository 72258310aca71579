"""What the stub ENUM server orders for a call: ordered rules, the first that fits decides.

Laws: there is always an answer (a default is mandatory, so nothing is ever silently unmatched);
what each action puts on the wire is data of the policy; a policy is a value, and installing or
removing rules gives another one; with a calling number in the query the TTL is 0, because the
answer holds for that caller only (draft-kaplan-enum-source-uri-00 sections 5 and 6).
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from enumtest.dns.message import plain_rcode_value
from enumtest.dns.source_uri import ANONYMOUS
from enumtest.naptr.naptr import NaptrRecord
from enumtest.sbc.caller import caller_text, pattern_text
from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.number import MAX_DIGITS, PhoneNumber

ANY = "any"
ABSENT = "absent"
LONGEST = "+" + "9" * MAX_DIGITS  # the longest target a redirect can have
TO = "{to}"  # in a redirect's regexp: where the call goes, with its plus sign
HOST = "{host}"
MAX_RECORDS = 32  # of one action; the longest possible ones still fit in one message
MAX_TTL_S = 0x7FFFFFFF  # RFC 2181 section 8

_PATTERN = re.compile(rf"{ANY}|{ABSENT}|{ANONYMOUS}|\+?[0-9]{{1,{MAX_DIGITS}}}\*?|\+\*")


class Action(StrEnum):
    """The three orders that a call policy knows."""

    ALLOW = "allow"
    TERMINATE = "terminate"
    REDIRECT = "redirect"


DEFAULT_REGEXPS = MappingProxyType(
    {
        Action.ALLOW: r"!^(.*)$!sip:\1@{host}!",
        Action.TERMINATE: "!^.*$!sip:terminate@{host};cause=603!",
        Action.REDIRECT: "!^.*$!sip:{to}@{host}!",
    }
)
DEFAULT_HOSTS = MappingProxyType(
    {
        Action.ALLOW: "sbc.invalid",
        Action.TERMINATE: "blocked.invalid",
        Action.REDIRECT: "sbc.invalid",
    }
)


@dataclass(frozen=True, slots=True)
class Party:
    """Which callers or called numbers a rule is for.

    Each pattern is a number ("+16505550112"), a prefix ("+1650555*"), "any", "anonymous" (the
    query names no one) or "absent" (the query carries no source at all). A caller without plus
    sign is local: it fits only a pattern without one.
    """

    patterns: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse patterns that could never fit."""
        if not self.patterns:
            raise InputError("no pattern", field="party", fix=f'write "{ANY}" for all')
        for pattern in self.patterns:
            if not _PATTERN.fullmatch(pattern):
                fix = 'write "+16505550112", "+1650555*", "any", "anonymous" or "absent"'
                raise InputError("not a pattern for numbers", field="party", value=pattern, fix=fix)

    def fits(self, party: str | None) -> bool:
        """Say whether *party* is meant: a number as text, "anonymous", or None when absent."""
        if ANY in self.patterns:
            return True
        if party is None:
            return ABSENT in self.patterns
        return any(
            party.startswith(pattern[:-1]) if pattern.endswith("*") else party == pattern
            for pattern in self.patterns
        )


ANYONE = Party((ANY,))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: calls from *source* to *destination* get *action*."""

    name: str
    action: Action
    source: Party = ANYONE
    destination: Party = ANYONE
    to: PhoneNumber | None = None  # where a redirect leads

    def __post_init__(self) -> None:
        """Refuse a redirect that leads nowhere, and a target for anything else."""
        if (self.action is Action.REDIRECT) != (self.to is not None):
            why = 'a redirect needs "to", and nothing else may have it'
            raise InputError(why, field=f"rule {self.name}", value=self.action.value)


@dataclass(frozen=True, slots=True)
class ActionAnswer:
    """What an action looks like on the wire; `{to}` in a regexp is still open."""

    records: tuple[NaptrRecord, ...]
    rcode: str = "NOERROR"
    ttl_s: int = 60

    def __post_init__(self) -> None:
        """Refuse what would not fit in one message."""
        plain_rcode_value(self.rcode)
        if len(self.records) > MAX_RECORDS:
            raise InputError(f"more than {MAX_RECORDS} records", field="records")

    def to(self, number: PhoneNumber | None) -> tuple[NaptrRecord, ...]:
        """Return the records with *number* as the target."""
        if number is None:
            return self.records
        return tuple(replace(r, regexp=r.regexp.replace(TO, str(number))) for r in self.records)


def default_answer(action: Action, host: str = "") -> ActionAnswer:
    """Return the usual answer for *action*: one terminal E2U+sip record."""
    regexp = DEFAULT_REGEXPS[action].replace(HOST, host or DEFAULT_HOSTS[action])
    return ActionAnswer((NaptrRecord(10, 100, "u", "E2U+sip", regexp),))


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy says about one call, and which rule says so."""

    action: Action
    rule: str  # "default" when no rule fits
    rcode: str
    records: tuple[NaptrRecord, ...]
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Ordered rules, an action for all other calls, and how each action is answered."""

    rules: tuple[Rule, ...]
    default: Action
    answers: Mapping[Action, ActionAnswer]
    plan: DialPlan | None = None  # how callers and patterns are written; None: as in the rules

    def __post_init__(self) -> None:
        """Refuse a policy that could leave a call without an answer or a rule without a name."""
        if self.plan is not None:
            object.__setattr__(self, "rules", tuple(self._planned(rule) for rule in self.rules))
        if self.default is Action.REDIRECT:
            why = "a redirect of every other call leads nowhere"
            raise InputError(why, field="default", value="redirect", fix="use allow or terminate")
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError("two rules have this name", field="rules", value=twice[0])
        if missing := [action.value for action in Action if action not in self.answers]:
            raise InputError("an action without an answer", field="actions", value=missing[0])
        for action, answer in self.answers.items():
            if action is not Action.REDIRECT and any(TO in r.regexp for r in answer.records):
                raise InputError(f"{TO} is for a redirect only", field=f"actions.{action}")

    def _planned(self, rule: Rule) -> Rule:
        """Return *rule* with its patterns as the dial plan reads them."""
        source, destination = (
            Party(tuple(pattern_text(pattern, self.plan) for pattern in party.patterns))
            for party in (rule.source, rule.destination)
        )
        return replace(rule, source=source, destination=destination)

    def caller(self, uri: str) -> str:
        """Return the party that the calling *uri* names, as the rules compare it."""
        return caller_text(uri, self.plan)

    def decide(self, source: str | None, destination: PhoneNumber) -> Ruling:
        """Return the ruling for a call from *source* (None: the query names none)."""
        called = str(destination)
        for rule in self.rules:
            if rule.source.fits(source) and rule.destination.fits(called):
                return self.ruling(rule.action, rule.name, source, rule.to)
        return self.ruling(self.default, "default", source)

    def ruling(
        self, action: Action, rule: str, source: str | None, to: PhoneNumber | None = None
    ) -> Ruling:
        """Return what *action* gives, whichever rule asked for it."""
        answer = self.answers[action]
        ttl_s = answer.ttl_s if source is None else 0
        return Ruling(action, rule, answer.rcode, answer.to(to), ttl_s)

    def with_rules(self, rules: Iterable[Rule]) -> "Policy":
        """Return this policy with *rules* on top; one of a known name takes the old one's place.

        Raises:
            InputError: two of *rules* have the same name.
        """
        fresh = tuple(rules)
        by_name = {rule.name: rule for rule in fresh}
        known = {rule.name for rule in self.rules}
        kept = tuple(by_name.get(rule.name, rule) for rule in self.rules)
        return replace(self, rules=tuple(r for r in fresh if r.name not in known) + kept)

    def without(self, names: Iterable[str]) -> "Policy":
        """Return this policy without the rules called *names*.

        Raises:
            InputError: there is no rule of that name.
        """
        gone = set(names)
        known = {rule.name for rule in self.rules}
        if unknown := sorted(gone - known):
            fix = f"installed: {', '.join(sorted(known)) or 'none'}"
            raise InputError("no such rule", field="uninstall", value=unknown[0], fix=fix)
        return replace(self, rules=tuple(r for r in self.rules if r.name not in gone))


class _Row(BaseModel):
    """A table of a policy file: no field beyond those named, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Action = Annotated[Action, Field(strict=False)]  # TOML has no enums, only their text


class _RuleRow(_Row):
    name: str = Field(min_length=1, max_length=80)
    action: _Action
    source: str | list[str] = ANY
    destination: str | list[str] = ANY
    to: str | None = None

    def rule(self) -> Rule:
        """Return the rule; what is wrong is an InputError."""
        to = None if self.to is None else PhoneNumber.parse(self.to)
        return Rule(self.name, self.action, _party(self.source), _party(self.destination), to)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _checked(self.rule)
        return self


class _RecordRow(_Row):
    order: int = 10
    preference: int = 100
    flags: str = "u"
    services: str = "E2U+sip"
    regexp: str = ""
    replacement: str = "."
    unchecked: bool = False  # for tests of clients: emit it although no client should use it

    def record(self, regexp: str) -> NaptrRecord:
        """Return the record with *regexp*; one that no client could use is an InputError."""
        record = NaptrRecord(
            self.order, self.preference, self.flags, self.services, regexp, self.replacement
        )
        filled = replace(record, regexp=regexp.replace(TO, LONGEST))
        if filled.objection and not self.unchecked:
            fix = "unchecked = true emits it all the same"
            raise InputError(filled.objection, field="record", value=regexp, fix=fix)
        return record


class _ActionRow(_RecordRow):
    host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._:\[\]-]{1,200}$")
    rcode: str = "NOERROR"
    ttl_s: int = Field(default=60, ge=0, le=MAX_TTL_S)
    records: list[_RecordRow] | None = None

    def answer(self, action: Action) -> ActionAnswer:
        """Return what *action* looks like on the wire."""
        host = self.host or DEFAULT_HOSTS[action]
        rows: list[_RecordRow] = [self] if self.records is None else self.records
        if self.rcode != "NOERROR":
            rows = []
        default = DEFAULT_REGEXPS[action] if self.records is None else ""
        records = tuple(row.record((row.regexp or default).replace(HOST, host)) for row in rows)
        return ActionAnswer(records, self.rcode, self.ttl_s)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        of_records = self.model_fields_set - {"host", "rcode", "ttl_s"}
        if self.rcode != "NOERROR" and of_records:
            raise ValueError(f"rcode {self.rcode} goes without {min(of_records)}")
        if self.records is not None and of_records != {"records"}:
            raise ValueError("either records, or the fields of one record")
        for action in Action:
            _checked(partial(self.answer, action))
        return self


class _PolicyRow(_Row):
    default: _Action
    actions: dict[_Action, _ActionRow] = {}
    rules: list[_RuleRow] = []
    dial_plan: dict[str, Any] | None = None

    def policy(self) -> Policy:
        """Return the policy; what is wrong is an InputError."""
        table = self.dial_plan
        plan = None if table is None else DialPlan.from_table(table, field="dial_plan")
        rows = {action: self.actions.get(action) for action in Action}
        answers = {a: default_answer(a) if r is None else r.answer(a) for a, r in rows.items()}
        rules = tuple(row.rule() for row in self.rules)
        return Policy(rules, self.default, MappingProxyType(answers), plan)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _checked(self.policy)
        return self


def _party(patterns: str | list[str]) -> Party:
    """Return the party of one pattern or several; spaces people type in numbers are dropped."""
    listed = [patterns] if isinstance(patterns, str) else patterns
    return Party(tuple(pattern.replace(" ", "") for pattern in listed))


def _checked(build: Callable[[], object]) -> None:
    """Give an InputError of *build* to pydantic, which collects it with the others."""
    try:
        build()
    except InputError as error:
        raise ValueError(str(error)) from error


def input_error(error: ValidationError, file: str) -> InputError:
    """Return everything that pydantic found wrong in *file* as one error."""
    found = []
    for one in error.errors(include_url=False):
        field = ".".join(str(part) for part in one["loc"])
        value = None if isinstance(one["input"], dict) else one["input"]
        found.append(InputError(one["msg"].removeprefix("Value error, "), field=field, value=value))
    if len(found) == 1:
        return InputError(found[0].why, file=file, field=found[0].field, value=found[0].value)
    return InputError("; ".join(map(str, found)), file=file, field=f"{len(found)} fields")


def parse_toml(text: str, file: str) -> dict[str, object]:
    """Return the tables of the TOML *text*.

    Raises:
        InputError: not TOML; names the line.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", file=file) from error


def parse_policy(text: str, file: str = "") -> Policy:
    """Return the policy in the TOML *text* (docs/policy-file.md).

    Raises:
        InputError: not TOML, or wrong fields: all of them in one error.
    """
    try:
        return _PolicyRow.model_validate(parse_toml(text, file)).policy()
    except ValidationError as error:
        raise input_error(error, file) from error


def parse_rules(rows: object, file: str = "") -> tuple[Rule, ...]:
    """Return rules from data of the same shape as `[[rules]]` in a policy file.

    Raises:
        InputError: wrong fields, all of them in one error.
    """
    try:
        found = _RulesRow.model_validate({"rules": rows})
    except ValidationError as error:
        raise input_error(error, file) from error
    return tuple(row.rule() for row in found.rules)


class _RulesRow(_Row):
    rules: list[_RuleRow]
