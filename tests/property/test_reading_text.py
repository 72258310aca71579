"""What holds for every record in every client, and for every text of a zone or a client file."""

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enumtest.naptr.dialect_file import parse_client
from enumtest.naptr.lint import Entry, Verdict, lint
from enumtest.naptr.naptr import NaptrRecord
from enumtest.naptr.naptr_dialect import (
    STRICT,
    FlagReading,
    IFlag,
    NaptrDialect,
    RegexDialect,
    VoidMeaning,
)
from enumtest.naptr.reading import Passed, Uri, read_record
from enumtest.naptr.search import MAX_QUESTIONS, run, search
from enumtest.naptr.zone import parse_record, parse_zone, zone_entries
from enumtest.sbc.decision import Decision
from harness.errors import InputError
from harness.number import PhoneNumber
from harness.regex_worker import PosixRegex

AUS = "+16505550112"


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


# Dense in what has a meaning, so that most examples are nearly right.
regexps = st.builds(
    lambda d, ere, repl, flag: d.join(["", ere, repl, flag]),
    st.sampled_from("!!!!/.i1"),
    st.sampled_from(["^(.*)$", "^.*$", r"^\+1(650)(.*)$", "(", "a|b", "^+1", "", r"\!", "(?:x)"]),
    st.sampled_from(["sip:x@y", r"sip:\1@y", r"\0", r"sip:\2", "tel:+1", "", r"sip:\!", "data:,x"]),
    st.sampled_from(["", "", "i", "ii", "g", "!"]),
) | st.text(st.characters(max_codepoint=255), max_size=30)
SERVICES = "E2U+sip sip+E2U e2u+SIP E2u+sip E2U+voice:sip+sip E2U+void:http E2U+pstn:tel sip E2U"
services = st.sampled_from(SERVICES.split()) | st.text(alphabet="eE2uU+:sip-", max_size=12)
records = st.builds(
    NaptrRecord,
    order=st.integers(0, 2),
    preference=st.integers(0, 1),
    flags=st.sampled_from(["u", "U", "", "us", "s"]),
    services=services,
    regexp=regexps,
    replacement=st.sampled_from([".", ".", "a.", "b."]),
)
known = {
    "delimiters": st.sampled_from(["", "!", "!/"]),
    "flags": st.sampled_from(FlagReading),
    "i_flag": st.sampled_from(IFlag),
    "regex": st.sampled_from(RegexDialect),
    "back_references": st.sampled_from(["", "1", "0123456789", "123456789"]),
    "services": st.sampled_from([("sip",), ("sip", "pstn:tel"), ("voice:sip",)]),
    "max_hops": st.integers(0, 6),
    "void": st.sampled_from(VoidMeaning),
    "schemes": st.sampled_from([(), ("sip",)]),
}
dialects = st.fixed_dictionaries(
    {
        field.name: st.none() | known.get(field.name, st.booleans())
        for field in fields(NaptrDialect)
        if field.name not in ("new_form", "old_form")
    }
    | {"new_form": st.sampled_from([None, True]), "old_form": st.none() | st.booleans()}
).map(lambda found: NaptrDialect(**found))


@settings(deadline=None)
@given(record=records, dialect=dialects)
def test_every_record_has_an_effect_in_every_client(
    engine: PosixRegex, record: NaptrRecord, dialect: NaptrDialect
) -> None:
    """At least one, each once, each with words; one alone when nothing is unknown."""
    found = read_record(record, AUS, engine, dialect).effects

    assert found
    assert len(set(found)) == len(found)
    assert all(effect.how for effect in found)
    whole = replace(dialect, regex=RegexDialect.POSIX).completed()
    assert len(read_record(record, AUS, engine, whole).effects) == 1


@settings(deadline=None)
@given(record=records)
def test_a_strict_client_passes_over_what_has_an_objection(
    engine: PosixRegex, record: NaptrRecord
) -> None:
    """The record's own judgement and the strict reading never differ."""
    [effect] = read_record(record, AUS, engine, STRICT).effects
    if record.objection:
        assert effect == Passed(f"not usable: {record.objection}")


@settings(deadline=None)
@given(record=records, dialect=dialects, name=st.sampled_from([f.name for f in fields(STRICT)]))
def test_what_becomes_known_only_takes_readings_away(
    engine: PosixRegex, record: NaptrRecord, dialect: NaptrDialect, name: str
) -> None:
    """A URI that a client gives once a field is known was possible while it was not."""
    unknown = replace(dialect, **{name: None})
    before = {
        e.text for e in read_record(record, AUS, engine, unknown).effects if isinstance(e, Uri)
    }
    after = {
        e.text for e in read_record(record, AUS, engine, dialect).effects if isinstance(e, Uri)
    }

    assert after <= before


@settings(deadline=None)
@given(held=st.lists(records, max_size=5), dialect=dialects)
def test_a_terminate_has_one_verdict_and_a_known_client_no_doubt(
    engine: PosixRegex, held: list[NaptrRecord], dialect: NaptrDialect
) -> None:
    """The verdict of a client of whom all is known is never "unknown", referrals aside."""
    entry = Entry("x", PhoneNumber("16505550112"), tuple(held), Decision.TERMINATE)
    whole = replace(dialect.completed(), max_hops=0, regex=RegexDialect.POSIX)
    clients = {"some": dialect, "whole": whole}
    [found] = lint([entry], clients, engine)

    assert all(one.verdict is not None for one in found.predictions)
    if Decision.UNCLASSIFIED not in found.predictions[1].decisions:
        assert found.predictions[1].verdict is not Verdict.UNKNOWN
    json_values = found.event()
    assert json_values["name"] == "x"


@settings(deadline=None)
@given(
    zone=st.dictionaries(st.sampled_from("abc"), st.lists(records, max_size=5)), dialect=dialects
)
def test_a_search_ends_whatever_it_is_told(
    engine: PosixRegex, zone: dict[str, list[NaptrRecord]], dialect: NaptrDialect
) -> None:
    """So many questions at most, and each record of each domain has a step."""
    found = run(search("a", AUS, engine, dialect), lambda name: zone.get(name.rstrip("."), []))

    assert len(found.asked) <= MAX_QUESTIONS
    assert [len(one.steps) for one in found.asked] == [
        len(zone.get(one.domain.rstrip("."), [])) for one in found.asked
    ]


# What zone files are made of, a piece a line.
PIECES = r"""
$ORIGIN x.
$ORIGIN
$TTL 1
$INCLUDE a
$GENERATE 1-9 $ A 1.1.1.1
1.2
1
99999999999
NAPTR
10 10
"u" "E2U+sip" "!.!sip:x!" .
CNAME y
DNAME z
SOA a. b. 1 1 1 1 1
IN
@
*
(
)
;
"
\
\400
é
"""
pieces = st.sampled_from([*PIECES.split("\n"), "\n", "\n", "\x00"])


@settings(deadline=None, max_examples=300)
@given(text=st.lists(pieces, max_size=14).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_zone_or_refused(engine: PosixRegex, text: str) -> None:
    """A value or an InputError, never else; and what is read can be linted."""
    try:
        zone = parse_zone(text, "zone", "e164.arpa")
    except InputError:
        return
    lint(zone_entries(zone, engine), {"strict": STRICT}, engine, zone.lookup)


@given(text=st.lists(pieces, max_size=6).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    """A value or an InputError, never else."""
    try:
        parse_record(text)
    except InputError:
        return


ROWS = """
name = "a"
title = "b"
[naptr]
[source]
delimiters = "!"
max_hops = 5
max_hops = 1e9
services = [1]
services = ["sip"]
new_form = 1979-05-27
x
"""


@given(text=st.lists(st.sampled_from(ROWS.split("\n")), max_size=8).map("\n".join))
def test_any_text_is_a_client_or_refused(text: str) -> None:
    """A value or an InputError, never else."""
    try:
        parse_client(text, "c.toml")
    except InputError:
        return
