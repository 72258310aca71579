"""What one client makes of the NAPTR records of one answer, step by step.

    record ─▶ flags ─▶ services ─▶ expression ─▶ match ─▶ URI
       └────────┴──────────┴───────────┴───────────┴────▶ passed over, with why

Laws: a record that cannot be used is passed over, and never the end of the search, unless the
client is known to give up; where the dialect says nothing, both readings are kept, the one with
the record first; what every client in the field understands (a "!" delimiter, flag u, E2U+sip) is
in doubt for nobody.

Sources: RFC 3402 section 3, RFC 3403 section 4.1, RFC 5483 sections 3 to 7, RFC 6116 section 3.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NoReturn

from enumtest.naptr.naptr import (
    NaptrError,
    NaptrRecord,
    ServicesDefect,
    SubstitutionExpression,
    enum_services,
)
from enumtest.naptr.naptr_dialect import (
    FlagReading,
    IFlag,
    NaptrDialect,
    RegexDialect,
    VoidMeaning,
)
from harness.regex import NoMatch, Refusal, RegexEngine

COMMON_DELIMITER = "!"  # RFC 5483 section 3.3: all that is seen in the field
_RFC_REFERENCES = "123456789"
# Where Perl's expressions and POSIX's read the same text in two ways, or one refuses it.
_PERL_DIFFERS = re.compile(rb"\(\?|[*+?}][?+]|\\[0-9A-Za-z]|\||\[[.=]|\^[*+?{]")


@dataclass(frozen=True, slots=True)
class Uri:
    """The record gives a URI."""

    text: str
    how: str
    services: tuple[str, ...] = ()  # of the record, without E2U; what is ordered may hang on them


@dataclass(frozen=True, slots=True)
class Follow:
    """The record leads to another domain, which is to be asked."""

    domain: str
    how: str


@dataclass(frozen=True, slots=True)
class Void:
    """The record says that nobody has this number: the call ends."""

    how: str


@dataclass(frozen=True, slots=True)
class Passed:
    """The client goes on as if the record were not there."""

    how: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The client gives the whole answer up because of this record."""

    how: str


Effect = Uri | Follow | Void | Passed | Ended


@dataclass(frozen=True, slots=True)
class RecordReading:
    """One record and what it can do: one effect, or several where the dialect is silent."""

    record: NaptrRecord
    effects: tuple[Effect, ...]
    steps: tuple[str, ...] = ()  # what was looked at, in words


class _Over(Exception):  # noqa: N818 - the end of one record's reading, not an error
    """The record is done with: *effect* is what becomes of it."""

    def __init__(self, effect: Effect) -> None:
        super().__init__()
        self.effect = effect


@dataclass(slots=True)
class _Look:
    """One record under a dialect's eyes; what nobody knows of the dialect is a doubt."""

    record: NaptrRecord
    dialect: NaptrDialect
    aus: str
    engine: RegexEngine
    steps: list[str]
    doubts: list[str]
    others: list[Effect]
    services: tuple[str, ...] = ()  # that the record is for

    def effect(self) -> Effect:
        """Return what becomes of the record if every doubt is settled in its favour."""
        try:
            return self._effect()
        except _Over as over:
            return over.effect

    def _effect(self) -> Effect:
        record, dialect = self.record, self.dialect
        is_strict = dialect.exclusive and dialect.flags is FlagReading.WHOLE
        if is_strict and dialect.bad_record_ends is False and record.objection:
            self._bad(record.objection)
        if not self._is_terminal():
            return self._follow()
        if not record.regexp:
            self._bad("terminal, and no regexp to give a URI")
        if record.replacement != ".":
            self._known(not dialect.exclusive, dialect.exclusive, "a regexp and a replacement")
        self._services()
        expression, appended = self._expression()
        uri = self._applied(expression) + appended
        scheme = uri.partition(":")[0].lower()
        if dialect.schemes is None:
            self._known(scheme == "sip" or None, None, f"scheme {scheme}")
        elif dialect.schemes and scheme not in dialect.schemes:
            raise _Over(Passed(f"not routed: scheme {scheme} of {uri}"))
        how = f"chosen: {record.regexp} on {self.aus} gives {uri}"
        return Uri(uri, how, self.services)

    def _known(self, good: object, known: object, what: str) -> None:
        """Go on when *good*; with nothing *known* go on in doubt; else the record is passed."""
        if good:
            return
        if known is not None:
            raise _Over(Passed(f"not understood: {what}"))
        self.doubts.append(what)

    def _bad(self, why: str) -> NoReturn:
        """End with a record that does not parse, which some clients cannot get over."""
        passed = Passed(f"not usable: {why}")
        ends = self.dialect.bad_record_ends
        if ends is None:
            self.others.append(Ended(f"gives up: {why}"))
        raise _Over(Ended(f"gives up: {why}") if ends else passed)

    def _is_terminal(self) -> bool:
        flags, how = self.record.flags, self.dialect.flags
        shown = f"flags {flags!r}"
        if flags in ("u", "U"):
            self.steps.append(f"{shown}: terminal")
            return True
        if how is FlagReading.NOT_READ or (how is None and flags == "" and self.record.regexp):
            self._known(how, None, shown)
            self.steps.append(f"{shown}: not read, taken as terminal")
            return True
        if flags == "":
            self.steps.append(f"{shown}: not terminal")
            return False
        by_first = how is FlagReading.FIRST_LETTER and flags[:1] in ("u", "U")
        self._known(by_first, how, shown)
        self.steps.append(f"{shown}: taken as terminal")
        return True

    def _follow(self) -> Effect:
        target = self.record.replacement
        if self.record.regexp:
            self._bad("not terminal, and a regexp")
        if target == ".":
            self._bad("no regexp, no replacement (RFC 3403 section 4.1: exactly one)")
        hops = self.dialect.max_hops
        if hops == 0:
            raise _Over(Passed(f"not followed: not terminal, leads to {target}"))
        self._known(hops, None, "a record that is not terminal")
        return Follow(target, f"leads to {target}")

    def _services(self) -> None:
        text, dialect = self.record.services, self.dialect
        found = enum_services(text)
        shown = f"services {text}"
        if isinstance(found, ServicesDefect):
            raise _Over(Passed(f"not usable: services: {found.why}"))
        self.services = found
        is_new = text[:3].lower() == "e2u"
        token = text[:3] if is_new else text[-3:]
        usual = text == "+".join(["E2U", *found])
        if is_new:
            self._known(dialect.new_form is not False, dialect.new_form, f"{shown}: E2U first")
        else:
            self._known(dialect.old_form, dialect.old_form, f"{shown}: E2U last")
        if token not in ("E2U", "e2u") or not (usual or not is_new or dialect.mixed_case is False):
            self._known(dialect.mixed_case, dialect.mixed_case, f"{shown}: small and large letters")
        if len(found) > 1:
            self._known(dialect.compound, dialect.compound, f"{shown}: several in one record")
        wanted = dialect.services
        if set(found) & set(wanted or ("sip",)):
            self.steps.append(f"{shown}: wanted")
            return
        if {each.partition(":")[0] for each in found} & {"void", "unused"}:
            self._void(shown)
        listed = " ".join(wanted or ())
        if wanted is not None:
            raise _Over(Passed(f"not wanted: {shown}, accepted {listed}"))
        self.doubts.append(shown)

    def _void(self, shown: str) -> None:
        """End with a record that says that nobody has the number."""
        void, meaning = Void(f"{shown}: nobody has this number"), self.dialect.void
        if meaning is VoidMeaning.TERMINATE:
            raise _Over(void)
        if meaning is None:
            self.others.append(void)
        raise _Over(Passed(f"not wanted: {shown}"))

    def _expression(self) -> tuple[SubstitutionExpression, str]:
        """Return the expression, and what is put behind each URI by mistake."""
        text, dialect = self.record.regexp, self.dialect
        delimiter = text[:1]
        if delimiter != COMMON_DELIMITER:
            understood = dialect.delimiters == "" or delimiter in (dialect.delimiters or "")
            self._known(understood, dialect.delimiters, f"delimiter {delimiter}")
        if "\\" + delimiter in text:
            known = dialect.escaped_delimiter
            self._known(known, known, f"escaped delimiter \\{delimiter}")
        whole = "0" in (dialect.back_references or "0")
        end = text.rfind(delimiter) + 1
        try:
            if dialect.i_flag is IFlag.IGNORED:
                expression = SubstitutionExpression.parse(text[:end], whole=whole)
            else:
                expression = SubstitutionExpression.parse(text, whole=whole)
        except NaptrError as error:
            self._bad(str(error))
        self._references(expression)
        shown = expression.ere.decode("latin-1")
        self.steps.append(f"expression: delimiter {delimiter}, ERE {shown}")
        if dialect.i_flag is IFlag.IGNORED or not expression.ignore_case:
            return expression, ""
        return self._i_flag(expression, delimiter)

    def _references(self, expression: SubstitutionExpression) -> None:
        used = {str(part) for part in expression.replacement if isinstance(part, int)}
        known = self.dialect.back_references
        for digit in sorted(used - set(_RFC_REFERENCES if known is None else known)):
            self._known(good=False, known=known, what=f"back-reference \\{digit}")

    def _i_flag(
        self, expression: SubstitutionExpression, delimiter: str
    ) -> tuple[SubstitutionExpression, str]:
        """Return *expression*, whose flag i is set, as the dialect takes it."""
        how = self.dialect.i_flag
        exact = replace(expression, ignore_case=False)
        if how is IFlag.DELIMITER_KEPT:
            self.steps.append(f"flag i: {delimiter} stays behind the URI")
            return exact, delimiter
        self._known(how is IFlag.OBEYED, how, "flag i")
        if how is None:
            wrong = self._applied(exact) + delimiter
            how_so = f"flag i leaves the delimiter: {wrong}"
            self.others.append(Uri(wrong, how_so, self.services))
        return expression, ""

    def _applied(self, expression: SubstitutionExpression) -> str:
        """Return the URI that *expression* makes of the number."""
        text, how = self.record.regexp, self.dialect.regex
        if how is not RegexDialect.POSIX and _PERL_DIFFERS.search(expression.ere):
            self.doubts.append("an expression that Perl's and POSIX's languages read in two ways")
        outcome = expression.apply(self.aus, self.engine)
        if isinstance(outcome, NoMatch):
            raise _Over(Passed(f"no match: {text} on {self.aus}"))
        if isinstance(outcome, Refusal):
            self._bad(f"regexp: {outcome.why}")
        if not outcome:
            self._bad(f"{text} on {self.aus} gives an empty URI")
        self.steps.append(f"matches {self.aus}, gives {outcome}")
        return outcome


def read_record(
    record: NaptrRecord, aus: str, engine: RegexEngine, dialect: NaptrDialect
) -> RecordReading:
    """Return what *record* can do for the number *aus* in a client that speaks *dialect*."""
    look = _Look(record, dialect, aus, engine, [], [], [])
    effect = look.effect()
    effects = [effect]
    if look.doubts and not isinstance(effect, Passed):
        effects.append(Passed(f"unknown: {'; '.join(look.doubts)}"))
    effects += look.others
    steps = tuple(dict.fromkeys(look.steps))
    return RecordReading(record, tuple(dict.fromkeys(effects)), steps)


def read_behind(
    before: NaptrRecord | None,
    record: NaptrRecord,
    aus: str,
    engine: RegexEngine,
    dialect: NaptrDialect,
) -> RecordReading:
    """Return what *record* can do where the client came to *before* just before it.

    Of equal order and preference, some clients read no other than the first.
    """
    ways = dialect.first_of_equals
    if ways is False or before is None or rank(before) != rank(record):
        return read_record(record, aus, engine, dialect)
    why = f"not read: order {record.order}, preference {record.preference} came before"
    if ways:
        return RecordReading(record, (Passed(why),))
    reading = read_record(record, aus, engine, dialect)
    return replace(reading, effects=tuple(dict.fromkeys((*reading.effects, Passed(why)))))


def read_answer(
    records: Iterable[NaptrRecord], aus: str, engine: RegexEngine, dialect: NaptrDialect
) -> tuple[RecordReading, ...]:
    """Return what each of *records* can do, in the order in which the client comes to them."""
    held = sorted(records, key=rank)
    pairs = zip([None, *held], held, strict=False)
    return tuple(read_behind(before, record, aus, engine, dialect) for before, record in pairs)


def rank(record: NaptrRecord) -> tuple[int, int]:
    """Return what a client sorts by (RFC 3403 section 4.1)."""
    return record.order, record.preference
