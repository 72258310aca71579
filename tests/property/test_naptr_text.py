"""What holds for every text in a NAPTR record: a value or a `NaptrError`, and back again."""

from collections.abc import Iterator

import dns.rdata
import pytest
from dns.rdtypes.IN.NAPTR import NAPTR
from hypothesis import given
from hypothesis import strategies as st

from enumtest.naptr.naptr import (
    NaptrError,
    NaptrRecord,
    ServicesDefect,
    SubstitutionExpression,
    enum_services,
    presentation,
)
from enumtest.naptr.search import resolve
from harness.regex import MAX_OCTETS, Match, NoMatch, Refusal, group_count
from harness.regex_worker import PosixRegex

DELIMITERS = [bytes([octet]) for octet in range(1, 256) if octet not in b"0123456789i\\"]
OPERATORS = b".[]()*+?{}|^$"

octet_text = st.text(st.characters(max_codepoint=255), max_size=MAX_OCTETS)
# Dense in what the grammar gives meaning to, so that most examples are nearly right.
dense_text = st.text(alphabet=r"!!!\\\()[]^1209ia.:=", max_size=24)
delimiters = st.sampled_from(DELIMITERS)
literals = st.binary(min_size=1, max_size=20).map(lambda octets: octets.replace(b"\0", b"0"))


@pytest.fixture(scope="module")
def engine() -> Iterator[PosixRegex]:
    """Give the C library's engine."""
    with PosixRegex() as shared:
        yield shared


@given(text=octet_text | dense_text | dense_text.map(lambda text: f"!{text}!x!") | st.text())
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """Nothing but a `NaptrError` comes out, with its offset inside the text or right after it."""
    try:
        found: SubstitutionExpression | None = SubstitutionExpression.parse(text)
    except NaptrError as refused:
        offset_octets = refused.offset_octets
        found = None
    if found is None:
        assert -1 <= offset_octets <= len(text)
    else:
        assert SubstitutionExpression.parse(found.encode()) == found


@given(
    delimiter=delimiters,
    ere=st.text(alphabet=r"ab\()[]^.!", min_size=1, max_size=12).map(str.encode),
    replacement=st.lists(st.integers(0, 10) | st.binary(max_size=4), max_size=5).map(tuple),
    ignore_case=st.booleans(),
)
def test_what_can_be_made_is_read_back_the_same(
    delimiter: bytes, ere: bytes, replacement: tuple[bytes | int, ...], *, ignore_case: bool
) -> None:
    """Every expression that construction lets through survives `encode` and `parse`."""
    try:
        made = SubstitutionExpression(delimiter, ere, replacement, ignore_case)
    except NaptrError:
        return
    assert SubstitutionExpression.parse(made.encode()) == made


@given(delimiter=delimiters, literal=literals, reply=literals)
def test_any_delimiter_leaves_quoted_octets_literal(
    engine: PosixRegex, delimiter: bytes, literal: bytes, reply: bytes
) -> None:
    """Octets quoted for the ERE, and escaped where they delimit, match themselves and no edit."""
    special = OPERATORS + b"\\" + delimiter
    ere = b"".join(b"\\%c" % octet if octet in special else b"%c" % octet for octet in literal)
    quoted = b"".join(
        b"\\%c" % octet if octet in b"\\" + delimiter else b"%c" % octet for octet in reply
    )
    text = b"%s%s%s%s%s" % (delimiter, ere, delimiter, quoted, delimiter)
    found = SubstitutionExpression.parse(text.decode("latin-1"))
    assert engine.match(found.pattern, literal) == Match((literal,))
    assert found.apply(literal.decode("latin-1"), engine) == reply.decode("latin-1")


@pytest.mark.parametrize("delimiter", [d for d in DELIMITERS if d not in b"[]"])
@pytest.mark.parametrize("head", [b"", b"^"])
def test_escaped_delimiter_is_one_member_of_a_bracket(
    engine: PosixRegex, delimiter: bytes, head: bytes
) -> None:
    """It is neither a range, nor a negation, nor is the backslash a member beside it."""
    if head == delimiter:
        head = b""
    members = b"1\\" + delimiter + b"3"  # digits, which no delimiter is
    text = delimiter + b"[" + head + members + b"]" + delimiter + b"9" + delimiter
    pattern = SubstitutionExpression.parse(text.decode("latin-1")).pattern
    matched = {
        octet for octet in range(1, 256) if isinstance(engine.match(pattern, bytes([octet])), Match)
    }
    expected = set(b"13" + delimiter)
    assert matched == (set(range(1, 256)) - expected if head else expected)


@given(pattern=st.text(alphabet=r"ab()[]^\.:=*|", max_size=16).map(str.encode))
def test_groups_are_counted_as_the_c_library_counts_them(
    engine: PosixRegex, pattern: bytes
) -> None:
    """For every pattern that compiles and matches, both numbers are one."""
    outcome = engine.match(pattern, b"ab")
    if isinstance(outcome, Match):
        assert group_count(pattern) == len(outcome.groups) - 1


@given(
    record=st.builds(
        NaptrRecord,
        order=st.integers(0, 65535),
        preference=st.integers(0, 65535),
        flags=octet_text,
        services=octet_text,
        regexp=octet_text,
        replacement=st.sampled_from([".", "next.example.com.", r"a\.b.\255.example.com."]),
    )
)
def test_any_record_survives_zone_text(record: NaptrRecord) -> None:
    """An independent reader (dnspython) finds the same octets in what `presentation` writes."""
    found = dns.rdata.from_text("IN", "NAPTR", presentation(record))
    assert isinstance(found, NAPTR)
    flags, services, regexp = (
        text.decode("latin-1") for text in (found.flags, found.service, found.regexp)
    )
    assert record == NaptrRecord(
        found.order, found.preference, flags, services, regexp, found.replacement.to_text()
    )


@given(
    records=st.lists(
        st.builds(
            NaptrRecord,
            order=st.integers(0, 2),
            preference=st.integers(0, 2),
            flags=st.sampled_from(["u", "U", "", "s"]),
            services=st.sampled_from(["E2U+sip", "sip+E2U", "E2U+pstn:tel", "sip"]),
            regexp=dense_text.map(lambda text: f"!{text}!sip:x!") | st.just("!^.*$!sip:y!"),
        ),
        max_size=6,
    )
)
def test_resolve_explains_every_record_and_chooses_at_most_one(
    engine: PosixRegex, records: list[NaptrRecord]
) -> None:
    """Each record has one step; there is a URI exactly when one step chose."""
    found = resolve(records, "+442079460123", engine, ("sip",))
    assert sorted(map(repr, records)) == sorted(repr(step.record) for step in found.steps)
    chosen = [step for step in found.steps if step.verdict.startswith("chosen")]
    assert len(chosen) == (found.uri is not None)
    orders = [step.record.order for step in found.steps]
    assert orders == sorted(orders)


@given(text=octet_text | st.text(alphabet="eE2uU+:sip-", max_size=20))
def test_any_services_text_is_read_or_defective(text: str) -> None:
    """A tuple of lower-case enumservices, never empty, or a defect in words."""
    found = enum_services(text)
    if isinstance(found, ServicesDefect):
        assert found.why
    else:
        assert found
        assert all(service == service.lower() for service in found)


@given(pattern=st.binary(max_size=40), subject=st.binary(max_size=40), case=st.booleans())
def test_any_octets_get_one_of_three_answers(
    engine: PosixRegex, pattern: bytes, subject: bytes, *, case: bool
) -> None:
    """The engine never raises for what it is asked."""
    outcome = engine.match(pattern, subject, ignore_case=case)
    assert isinstance(outcome, Match | NoMatch | Refusal)
    if isinstance(outcome, Match):
        whole = outcome.groups[0]
        assert whole is not None
        assert subject[outcome.start :].startswith(whole)
