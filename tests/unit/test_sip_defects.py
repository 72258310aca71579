"""What an observer makes of messages that a server would refuse: read, and the defect named."""

import re
from pathlib import Path

import pytest

from probetest.sip.brief import gist
from probetest.sip.defects import RULES, Defect, Severity
from probetest.sip.examine import examine
from probetest.sip.message import MAX_HEADERS, MAX_MESSAGE_BYTES, observe
from tests.sip_wire import Leg

INVITE = Leg().request(body=b"v=0\r\n")
HEAD, _, BODY = INVITE.partition(b"\r\n\r\n")


def test_every_defect_has_a_rule() -> None:
    """With its clause, or none where no document has one."""
    assert set(RULES) == set(Defect)
    assert [defect for defect, rule in RULES.items() if not rule.clause] == [Defect.INCOMPLETE]


def test_the_table_in_the_docs_is_the_rules() -> None:
    """Each defect with what it means, in order."""
    text = (Path(__file__).parents[2] / "docs" / "sip-reading.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \| (.*) \| (.*) \|$", text, re.MULTILINE)

    assert rows == [
        (defect.value, rule.severity.value, rule.meaning, rule.clause)
        for defect, rule in RULES.items()
    ]


@pytest.mark.parametrize(
    ("old", "new", "defect"),
    [
        (b"INVITE sip", b"INVITE  sip", Defect.START_LINE_SPACE),
        (b"SIP/2.0\r\nVia", b"SIP/2.0 \r\nVia", Defect.START_LINE_SPACE),
        (b"SIP/2.0\r\nVia", b"sip/2.0\r\nVia", Defect.VERSION_CASE),
        (b"INVITE sip:+16505550113@192.0.2.20", b"INVITE <sip:b@192.0.2.20>", Defect.REQUEST_URI),
        (b"INVITE sip:+16505550113", b"INVITE sip:+1650 5550113", Defect.REQUEST_URI),
        (b"\r\nVia", b"\r\nno colon\r\nVia", Defect.HEADER_LINE),
        (b"\r\nVia", b"\r\n: x\r\nVia", Defect.HEADER_LINE),
        (b"\r\nVia", b"\r\nSubject: a\rb\r\nVia", Defect.BARE_CR),
        (b"\r\nVia", b"\r\nSubject: \xff\r\nVia", Defect.NOT_UTF8),
        (b"\r\nVia", b"\r\nX: 1" * (MAX_HEADERS + 1) + b"\r\nVia", Defect.MANY_HEADERS),
        (b"\r\nCall-ID: 1@", b"\r\nCall-ID: 1@192.0.2.10\r\nCall-ID: 1@", Defect.DOUBLED_HEADER),
        (b"1 INVITE", b"2147483648 INVITE", Defect.CSEQ_RANGE),
        (b"1 INVITE", b"1 BYE", Defect.CSEQ_METHOD),
        (b"Via: SIP", b"X: SIP", Defect.MISSING_HEADER),
        (b"To: <sip", b'To: "Bob <sip', Defect.QUOTES),
        (b"To: <sip", b"To: <", Defect.ADDRESS),
        (b"Length: 5", b"Length: 9", Defect.LENGTH_LONG),
        (b"Length: 5", b"Length: five", Defect.LENGTH),
        (b"Length: 5", b"Length: 5\r\nl: 4", Defect.LENGTH),
        (b"Length: 5", b"Length: 2", Defect.TRAILING_BYTES),
        (b"\r\n\r\nv=0\r\n", b"\r\n", Defect.NO_EMPTY_LINE),
        (b"\r\n", b"\n", Defect.LINE_END),
        (b"\r\n", b"\r", Defect.BARE_CR),
    ],
)
def test_a_message_is_read_and_its_defect_named(old: bytes, new: bytes, defect: Defect) -> None:
    """Each flaw by itself, put into a sound INVITE."""
    assert old in INVITE
    data = INVITE.replace(old, new, 1 if len(old) > 2 else -1)
    observed = observe(data)

    assert observed.message is not None
    assert defect in observed.defects
    assert observed.message.call_id == "1@192.0.2.10"
    assert observed.message.method == "INVITE"
    assert gist(data).defects == observed.defects


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"", Defect.START_LINE),
        (INVITE.replace(b"SIP/2.0", b"SIP/3.0", 1), Defect.VERSION),
        (INVITE.replace(b"INVITE sip", b"INVITE", 1), Defect.START_LINE),
        (Leg().response(200).replace(b"200", b"099", 1), Defect.STATUS),
        (INVITE.replace(b"Call-ID", b"X"), Defect.CALL_ID),
        (INVITE.replace(b"1@192.0.2.10", b""), Defect.CALL_ID),
        (INVITE.replace(b"1 INVITE", b"INVITE"), Defect.CSEQ),
        (INVITE.replace(b"CSeq", b"X"), Defect.CSEQ),
        (INVITE.replace(b"\r\nCSeq", b"\r\nFrom: <sip:x@y>\r\nCSeq"), Defect.CONFLICT),
        (INVITE + b"x" * MAX_MESSAGE_BYTES, Defect.TOO_LONG),
    ],
)
def test_where_it_cannot_be_known_the_defect_stands_alone(data: bytes, defect: Defect) -> None:
    """Which call it belongs to, or what it is, is never guessed."""
    observed = observe(data)

    assert observed.message is None
    assert defect in observed.defects
    assert RULES[defect].severity is Severity.FATAL
    assert gist(data).brief is None
    assert gist(data).why


def test_a_method_in_small_letters_is_another_method() -> None:
    """RFC 3261 section 7.1: it is told, and the message is no INVITE."""
    found = gist(INVITE.replace(b"INVITE", b"invite"))

    assert found.brief is not None
    assert (found.brief.method, found.defects) == ("invite", (Defect.METHOD_CASE,))


@pytest.mark.parametrize("size", range(len(HEAD)))
def test_of_a_message_that_was_cut_only_whole_lines_count(size: int) -> None:
    """A tag that may go on, and a line that may be folded, say nothing."""
    found = gist(INVITE[:size], whole=False)

    assert Defect.INCOMPLETE in found.defects
    if found.brief is not None:
        assert (found.brief.call_id, found.brief.number) == ("1@192.0.2.10", 1)
        assert found.brief.from_tag == "a"
        assert found.brief.body == b""


def test_a_body_that_was_cut_is_left_out() -> None:
    """Its last line may be half of one."""
    found = gist(INVITE[:-2], whole=False)

    assert found.brief is not None
    assert (found.brief.body, found.defects) == (b"", (Defect.INCOMPLETE,))


@pytest.mark.parametrize(
    ("line", "defects"),
    [
        ("Contact: <sip:a@b>;expires=60", []),
        ("Contact: sip:a@b?x=y", [Defect.URI_BRACKETS]),
        ("Contact: <sip:a@b>;;x", [Defect.EMPTY_PARAMETER]),
        ("Contact: <sip:a@b>,,<sip:c@d>", [Defect.EMPTY_PARAMETER]),
        ("Contact: <sip:a@b>;expires=99999999999", [Defect.NUMBER]),
        ("Contact: Bob, Jr. <sip:a@b>", [Defect.URI_BRACKETS]),  # a list: two of them
        ("Referred-By: Bob, Jr. <sip:a@b>", [Defect.DISPLAY_NAME]),
        ("Route: < sip:a@b >", [Defect.URI_SPACE]),
        ('P-Asserted-Identity: "Bob <sip:a@b>', [Defect.QUOTES]),
        ("Max-Forwards: 256", [Defect.NUMBER]),
        ("Max-Forwards: seventy", [Defect.NUMBER]),
        ("Date: Sat, 13 Nov 2010 23:29:00 GMT", []),
        ("Date: Sat, 13 Nov 2010 23:29:00 CET", [Defect.DATE]),
        ("Supported:", []),
        ("Via: SIP/2.0/UDP 192.0.2.1;branch=Z9hG4bK", [Defect.BRANCH]),
    ],
)
def test_a_look_at_every_header(line: str, defects: list[Defect]) -> None:
    """What the grammar of a header does not allow has a name."""
    data = INVITE.replace(b"\r\nCSeq", f"\r\n{line}\r\nCSeq".encode())
    message = observe(data).message

    assert message is not None
    found = {one.defect for one in examine(message)}
    assert found - {Defect.URI_BRACKETS} == set(defects) - {Defect.URI_BRACKETS}
