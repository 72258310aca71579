"""The NAPTR record, its services, its substitution expression, and the choice among records."""

from collections.abc import Iterator
from typing import Any

import dns.rdata
import pytest
from dns.rdtypes.IN.NAPTR import NAPTR

from enumtest.naptr.naptr import (
    NaptrError,
    NaptrRecord,
    ServicesDefect,
    SubstitutionExpression,
    enum_services,
    presentation,
)
from enumtest.naptr.search import resolve
from harness.regex import Match, NoMatch, Refusal
from harness.regex_worker import PosixRegex

AUS = "+16505550112"
ALL = r"!^(.*)$!sip:\1@sbc.example.com!"


class Engine:
    """Answers every request with one outcome, and keeps the pattern it was asked."""

    def __init__(self, outcome: Match | NoMatch | Refusal) -> None:
        """Take the *outcome* to give."""
        self.outcome = outcome
        self.asked: list[tuple[bytes, bytes, bool]] = []

    def match(
        self, pattern: bytes, subject: bytes, *, ignore_case: bool = False
    ) -> Match | NoMatch | Refusal:
        """Return the outcome."""
        self.asked.append((pattern, subject, ignore_case))
        return self.outcome


def record(regexp: str = ALL, **fields: Any) -> NaptrRecord:  # noqa: ANN401 - as the record's own
    """Return a usable record, with *fields* in place of its own."""
    own: dict[str, Any] = {
        "order": 10,
        "preference": 20,
        "flags": "u",
        "services": "E2U+sip",
        "regexp": regexp,
    }
    return NaptrRecord(**(own | fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order", -1),
        ("order", 65536),
        ("preference", 65536),
        ("flags", "u" * 256),
        ("services", "x" * 256),
        ("regexp", "!" * 256),
        ("regexp", "!€!!"),
        ("replacement", ""),
        ("replacement", "example.com"),
        ("replacement", "a..example.com."),
        ("replacement", "x" * 64 + ".example.com."),
        ("replacement", "€.example.com."),
    ],
)
def test_record_is_refused_when_no_wire_could_carry_it(field: str, value: str | int) -> None:
    """A value beyond its field's width names the field."""
    fields: dict[str, Any] = {field: value}
    with pytest.raises(NaptrError, match=rf"^{field}"):
        record(**fields)


@pytest.mark.parametrize("field", ["flags", "services", "regexp"])
def test_record_holds_every_octet(field: str) -> None:
    """All 256 octets but one (255 at most fit) can stand in a character-string."""
    fields: dict[str, Any] = {field: bytes(range(255)).decode("latin-1")}
    assert getattr(record(**fields), field) == fields[field]


@pytest.mark.parametrize(("flags", "terminal"), [("u", True), ("U", True), ("", False)])
def test_terminal_follows_the_u_flag_in_either_case(flags: str, *, terminal: bool) -> None:
    """Flags are case-insensitive (RFC 3403 section 4.1)."""
    assert record(flags=flags).terminal is terminal


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"replacement": "next.example.com."}, "both a regexp and a replacement"),
        ({"regexp": ""}, "no regexp, no replacement"),
        ({"regexp": "", "replacement": "next.example.com."}, "no regexp to give a URI"),
        ({"flags": "us"}, "flags 'us'"),
        ({"flags": "s"}, "flags 's'"),
        ({"services": "sip"}, "services: 0 E2U tokens"),
        ({"regexp": "!x!y"}, "2 unescaped delimiters"),
    ],
)
def test_hostile_record_is_held_and_objected_to(fields: dict[str, Any], part: str) -> None:
    """What a client must not use can still be represented, and says why."""
    held = record(**fields)
    assert not held.is_usable
    assert part in held.objection


@pytest.mark.parametrize(
    "fields", [{}, {"flags": "U"}, {"flags": "", "regexp": "", "replacement": "n.example."}]
)
def test_good_record_has_no_objection(fields: dict[str, Any]) -> None:
    """Terminal with a regexp, and non-terminal with a replacement, are usable."""
    assert record(**fields).is_usable


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ("E2U+sip", ("sip",)),
        ("e2u+SIP", ("sip",)),
        ("E2u+pstn:tel", ("pstn:tel",)),
        ("E2U+voice:sip+sip", ("voice:sip", "sip")),
        ("sip+E2U", ("sip",)),
        ("E2U+x-lab:a:b", ("x-lab:a:b",)),
    ],
)
def test_services_are_read_in_new_and_old_order(text: str, services: tuple[str, ...]) -> None:
    """RFC 6116 and the obsolete RFC 2916 order are read, in any case."""
    assert enum_services(text) == services


@pytest.mark.parametrize(
    "text",
    ["", "E2U", "sip", "E2U+", "E2U+sip+", "E2U+sip+E2U", "a+E2U+b", "E2U+a:", "E2U+:a", "E2U a"],
)
def test_services_without_exactly_one_e2u_are_defective(text: str) -> None:
    """Anything else is a defect with words, not an exception."""
    assert isinstance(enum_services(text), ServicesDefect)


@pytest.mark.parametrize(
    ("text", "pattern", "replacement"),
    [
        (r"!^\+1(.*)$!sip:\1@x!", rb"^\+1(.*)$", (b"sip:", 1, b"@x")),
        (r"/a/b/", rb"a", (b"b",)),
        (r"!a!!", rb"a", ()),
        (r"!(a)!\1\1!", rb"(a)", (1, 1)),
        (r"!(a)!\10!", rb"(a)", (1, b"0")),
        (r"!a\!b!c\!d!", rb"a!b", (b"c!d",)),
        (r"!a!b\\1!", rb"a", (b"b\\1",)),
        (r"!a!\d!", rb"a", (b"d",)),
        (r"![\!]!b!", rb"[!]", (b"b",)),
        (r".a\.b.c\.d.", rb"a\.b", (b"c.d",)),
        (r".[\.]a.b.", rb"[.]a", (b"b",)),
        (r"*a\*[\*].b*c*", rb"a\*[*].b", (b"c",)),
        (r"(a\([\(](b(", rb"a\([(]", (b"b",)),
        (r"^\^[\^a]^b^", rb"\^[[.^.]a]", (b"b",)),
        (r"-[a\-z]-b-", rb"[a[.-.]z]", (b"b",)),
        (r"w\w[\w]w\w!w", rb"w[w]", (b"w!",)),
        (r"]a\]]b]", rb"a]", (b"b",)),
        ("\xa3a\xa3b\xa3", b"a", (b"b",)),
    ],
)
def test_escaped_delimiter_is_the_literal_delimiter(
    text: str, pattern: bytes, replacement: tuple[bytes | int, ...]
) -> None:
    """Also where the delimiter is an operator of the ERE, and within brackets."""
    found = SubstitutionExpression.parse(text)
    assert (found.pattern, found.replacement) == (pattern, replacement)


@pytest.mark.parametrize(
    ("text", "offset_octets"),
    [
        ("", 0),
        ("1a1b1", 0),
        ("0a0b0", 0),
        ("iaibi", 0),
        ("\\a\\b\\", 0),
        ("\0a\0b\0", 0),
        ("!", 1),
        ("!a!b", 4),
        (r"!a!b\!", 6),
        ("!a!b!c!", 6),
        ("!a!b!g", 5),
        ("!a!b!iI", 6),
        ("!!b!", 1),
        ("!a!b\0!", 4),
        (r"!a!\1!", 3),
        (r"!(a)!x\2!", 6),
        (r"!(a)!\0!", 5),
        (r"!\(a)!\1!", 6),
        (r"![(]a!\1!", 6),
        (r"![](]a!\1!", 7),
        (r"![^](]a!\1!", 8),
        (r"![[.].](]a!\1!", 11),
        (r"![[:alpha:](]a!\1!", 15),
        ("!a!€!", 3),
    ],
)
def test_expression_is_refused_at_its_offset(text: str, offset_octets: int) -> None:
    """Each rule of RFC 3402 section 3.2 names the octet that breaks it."""
    with pytest.raises(NaptrError) as refused:
        SubstitutionExpression.parse(text)
    assert refused.value.offset_octets == offset_octets


@pytest.mark.parametrize("delimiter", [b"", b"!!", b"1", b"i", b"\\", b"\0"])
def test_expression_is_not_made_with_what_cannot_delimit(delimiter: bytes) -> None:
    """Construction checks what `parse` checks."""
    with pytest.raises(NaptrError, match="delimiter"):
        SubstitutionExpression(delimiter, b"a", (b"b",))


@pytest.mark.parametrize(
    ("ere", "replacement"),
    [
        (b"", ()),
        (b"a!b", ()),
        (b"a\\", ()),
        (b"a\0", ()),
        (b"a", (1,)),
        (b"(a)", (0,)),
        (b"(a)" * 10, (10,)),
        (b"a", (b"",)),
        (b"a", (b"b", b"c")),
        (b"a", (b"\0",)),
        (b"a", (b"!" * 200,)),
    ],
)
def test_expression_is_not_made_when_it_would_not_survive_encoding(
    ere: bytes, replacement: tuple[bytes | int, ...]
) -> None:
    """No expression exists that `parse` would not give back from its own `encode`."""
    with pytest.raises(NaptrError):
        SubstitutionExpression(b"!", ere, replacement)


def test_flags_repeated_are_written_once() -> None:
    """BIND reads "ii", and so does `parse`; `encode` writes one."""
    found = SubstitutionExpression.parse("!a!b!ii")
    assert found.ignore_case
    assert found.encode() == "!a!b!i"


def test_apply_gives_the_whole_uri_and_not_an_edited_number() -> None:
    """What the ERE did not match is not in the result (RFC 3402 section 3.2)."""
    engine = Engine(Match((b"555", b"5", None)))
    found = SubstitutionExpression.parse(r"!(5)55(x)?!sip:\1-\2!i").apply(AUS, engine)
    assert found == "sip:5-"
    assert engine.asked == [(b"(5)55(x)?", AUS.encode(), True)]


@pytest.mark.parametrize("outcome", [NoMatch(), Refusal("Unmatched ( or \\(")])
def test_apply_hands_on_what_the_engine_says(outcome: NoMatch | Refusal) -> None:
    """No match and refusal stay apart: one says nothing of the other."""
    assert SubstitutionExpression.parse("!a!b!").apply(AUS, Engine(outcome)) == outcome


def test_apply_refuses_when_the_engine_counts_fewer_groups() -> None:
    """An engine that disagrees about groups gives a refusal, not a wrong URI."""
    found = SubstitutionExpression.parse(r"!(a)!\1!").apply(AUS, Engine(Match((b"a",))))
    assert found == Refusal("the engine knows no group 1")


def test_apply_refuses_a_subject_that_is_no_octets() -> None:
    """A character beyond U+00FF never reaches the engine."""
    engine = Engine(NoMatch())
    assert isinstance(SubstitutionExpression.parse("!a!b!").apply("€", engine), Refusal)
    assert engine.asked == []


@pytest.fixture(scope="module")
def posix() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as engine:
        yield engine


@pytest.mark.parametrize(
    ("regexp", "uri"),
    [
        (ALL, "sip:+16505550112@sbc.example.com"),
        (r"!^\+1(650)(.*)$!sip:\2;area=\1@x!", "sip:5550112;area=650@x"),
        (r".^\\+1.sip:a@b\.example.", None),
        (r".^\+1650[0-9]*$.sip:a@b\.example.", "sip:a@b.example"),
        (r"+^\+1650+sip:\+1@x+", "sip:+1@x"),
        (r"*^[+\*]1650*sip:\**", "sip:*"),
        (r"!^\+44!sip:x!", None),
        (r"!^+1!sip:x!", None),
    ],
)
def test_expression_is_applied_by_the_c_library(
    posix: PosixRegex, regexp: str, uri: str | None
) -> None:
    """Whole expressions give the URI that POSIX says, delimiters that are operators included."""
    found = resolve([record(regexp)], AUS, posix, ("sip",))
    assert found.uri == uri, found.steps


def test_resolve_takes_order_before_preference_and_keeps_every_step(posix: PosixRegex) -> None:
    """The first usable match by order ends the search; each record says what became of it."""
    records = [
        record("!^.*$!sip:late@x!", order=20, preference=1),
        record("!^.*$!sip:second@x!", order=10, preference=30),
        record("!^.*$!sip:first@x!", order=10, preference=20),
        record("!^\\+44!sip:uk@x!", order=10, preference=10),
        record("!^.*$!tel:1!", order=1, services="E2U+pstn:tel"),
        record("!(!sip:broken@x!", order=2),
        record("!x!sip:broken@x", order=3),
        record("", order=4, flags="", replacement="next.example.com."),
        record("!^.*$!!", order=5),
    ]
    found = resolve(records, AUS, posix, ("SIP",))
    assert found.uri == "sip:first@x"
    assert [(step.record.order, step.verdict.split(":")[0]) for step in found.steps] == [
        (1, "not wanted"),
        (2, "not usable"),
        (3, "not usable"),
        (4, "not followed"),
        (5, "not usable"),
        (10, "no match"),
        (10, "chosen"),
        (10, "not tried"),
        (20, "not considered"),
    ]


def test_resolve_gives_none_when_nothing_is_there() -> None:
    """No records: no URI and no steps."""
    found = resolve([], AUS, Engine(NoMatch()), ("sip",))
    assert (found.uri, found.steps) == (None, ())


def test_resolve_keeps_the_answers_order_among_equals() -> None:
    """Equal order and preference is undefined (RFC 5483 section 5.4): the first received wins."""
    found = resolve(
        [record("!.!sip:a!"), record("!.!sip:b!")], AUS, Engine(Match((b"+",))), ("sip",)
    )
    assert found.uri == "sip:a"


@pytest.mark.parametrize(
    "held",
    [
        record(r"!^\+1(.*)$!sip:\1@x!"),
        record('!"!\\\\ \x00\x7f\xff!', services="", flags=""),
        record("", replacement=r"a\.b.\000.example.com."),
        record(bytes(range(255)).decode("latin-1")),
    ],
)
def test_presentation_is_read_back_by_dnspython_as_the_same_octets(held: NaptrRecord) -> None:
    """Zone text has two backslashes where the wire has one (RFC 5483 section 3.4)."""
    found = dns.rdata.from_text("IN", "NAPTR", presentation(held))
    assert isinstance(found, NAPTR)
    assert (found.order, found.preference) == (held.order, held.preference)
    strings = (found.flags, found.service, found.regexp)
    assert strings == tuple(
        text.encode("latin-1") for text in (held.flags, held.services, held.regexp)
    )
    assert found.replacement.to_text() == held.replacement
