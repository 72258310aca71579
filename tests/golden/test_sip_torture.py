"""The 49 messages of RFC 4475, the SIP torture tests: each reads as its text says."""

import pytest

from harness.errors import WireError
from probetest.sip.brief import gist, in_brief
from probetest.sip.defects import RULES, Defect, Severity
from probetest.sip.examine import examine
from probetest.sip.message import SipMessage, observe, parse, uri_host, uri_user
from probetest.sip.sdp import describe
from probetest.sip.stream import split
from tests.sip_torture import Torture, messages

EVERY = {one.name: one for one in messages()}
COUNT = 49
TELLING_THEIR_END = [  # inv2543 has no Content-Length, which TCP asks for
    one.name
    for one in EVERY.values()
    if one.read and {"length", "length-long", "trailing-bytes"}.isdisjoint(one.defects)
    if one.name != "inv2543"
]
each = pytest.mark.parametrize("torture", EVERY.values(), ids=list(EVERY))


def summed_up(message: SipMessage | None) -> str:
    """Return a message as the table writes it."""
    if message is None:
        return ""
    first = f"{message.status or message.method} {message.reason or message.request_uri}"
    parts = (
        *(first, f"{message.from_uri} {message.from_tag}", f"{message.to_uri} {message.to_tag}"),
        *(message.top_via_branch, "{} {}".format(*message.cseq), str(len(message.body))),
    )
    return " | ".join(part.strip() for part in parts).replace("|  |", "| |")


def test_all_of_them_are_there() -> None:
    """Sections 3.1.1.1 to 3.4.1, in order."""
    sections = [tuple(map(int, one.section.split("."))) for one in EVERY.values()]

    assert len(EVERY) == COUNT
    assert sections == sorted(sections)


@each
def test_a_message_reads_as_its_text_says(torture: Torture) -> None:
    """Start line, addresses, tags, branch, CSeq and body; or the defect in its place."""
    observed = observe(torture.data)

    assert summed_up(observed.message) == torture.read
    assert observed.defects == torture.defects
    fatal = [one for one in observed.complaints if one.severity is Severity.FATAL]
    assert (observed.message is None) is bool(fatal)


@each
def test_a_look_at_every_header_finds_what_its_text_names(torture: Torture) -> None:
    """Whatever section 3.1.2 calls invalid has a name here, and nothing of 3.1.1 has."""
    message = observe(torture.data).message
    deep = () if message is None else examine(message)

    assert tuple(dict.fromkeys(one.defect for one in deep)) == torture.deep
    if torture.section.startswith("3.1.2."):
        assert torture.defects or torture.deep
    if torture.section.startswith("3.1.1."):
        named = (*torture.defects, *torture.deep)
        assert all(RULES[Defect(name)].severity is Severity.NOTED for name in named)


@each
def test_the_quick_reading_is_the_same(torture: Torture) -> None:
    """Of each of them."""
    message, found = observe(torture.data).message, gist(torture.data)

    assert found.brief == (None if message is None else in_brief(message))
    assert found.defects == torture.defects
    assert bool(found.why) is (message is None)


@each
def test_strict_reading_refuses_what_has_a_defect(torture: Torture) -> None:
    """A phone or a server in a test goes by what a server would refuse."""
    severities = {RULES[Defect(name)].severity for name in torture.defects}
    if severities <= {Severity.NOTED}:
        assert summed_up(parse(torture.data)) == torture.read
    else:
        with pytest.raises(WireError):
            parse(torture.data)


@pytest.mark.parametrize("name", TELLING_THEIR_END)
def test_over_tcp_a_message_ends_where_it_says(name: str) -> None:
    """Whole ones that tell their length, by themselves and one after the other."""
    torture, plain = EVERY[name], EVERY["semiuri"].data
    found = list(split(torture.data + plain, from_start=True))

    assert [(data, complaint) for _, data, complaint in found] == [(torture.data, ""), (plain, "")]


def test_two_requests_in_a_stream_are_two() -> None:
    """3.1.1.8 as it would be over TCP: the second is a message of its own."""
    first, second, rest = split(EVERY["dblreq"].data, from_start=True)

    assert [parse(part[1]).method for part in (first, second)] == ["REGISTER", "INVITE"]
    assert rest[1] == b"C\r\n"  # its Content-Length is 3 too short


def test_values_of_a_short_tortuous_invite() -> None:
    """3.1.1.1: folding, white space, both name forms, and escaped quotes."""
    message = parse(EVERY["wsinv"].data)

    assert message.call_id == "wsinv.ndaksdj@192.0.2.1"
    assert len(message.all("Via")) == 3
    assert message.first("Subject") == ""
    assert message.first("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.first("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert len(message.all("m")) == 1


def test_values_of_a_wide_range_of_characters() -> None:
    """3.1.1.2: odd tokens, a quoted NUL and UTF-8 are all legal where they stand."""
    message = parse(EVERY["intmeth"].data)

    assert uri_user(message.request_uri) == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri_host(message.request_uri) == "example.com"
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.first("extensionHeader-!.%*+_`'~") == "\ufeff\u5927\u505c\u96fb"


def test_escapes_in_uris_stay() -> None:
    """3.1.1.3: an escaped "@" ends no user part; escapes are left for who reads the user."""
    message = parse(EVERY["esc01"].data)

    assert uri_user(message.request_uri) == "sips%3Auser%40example.com"
    assert uri_host(message.request_uri) == "example.net"


def test_percent_is_no_escape_in_names() -> None:
    """3.1.1.5: RE%47IST%45R is no REGISTER, and C%6Fntact is no Contact."""
    assert parse(EVERY["esc02"].data).all("Contact") == (
        "<sip:alias1@host1.example.com>",
        "<sip:alias3@host3.example.com>",
    )


def test_a_semicolon_belongs_to_the_user() -> None:
    """3.1.1.9: the user part is "user;par=u@example.net"; lists fold over lines."""
    message = parse(EVERY["semiuri"].data)

    assert uri_user(message.request_uri) == "user;par=u%40example.net"
    assert len(message.all("Accept")) == 6


def test_the_session_of_most_of_them() -> None:
    """Their SDP has two streams; 3.1.1.8 has one, since "m =video" is no line of SDP."""
    sessions = [describe(one.data) for one in EVERY.values() if b"\r\nv=0\r\n" in one.data]

    assert {session.origin.session for session in sessions if session and session.origin} == {
        "29739"
    }
    assert [len(session.media) for session in sessions if session].count(2) == len(sessions) - 2
