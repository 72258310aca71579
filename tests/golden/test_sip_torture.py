"""Messages of RFC 4475, the SIP torture tests, and what its text says of each.

Written from the RFC; section numbers are its own. Bytes that cannot stand in this file are given
as escapes. The messages with telephone numbers outside the fiction ranges are left out.
"""

import pytest

from harness.errors import WireError
from probetest.sip.message import parse, uri_host, uri_user

SDP = """
v=0
o=mhandley 29739 7272939 IN IP4 192.0.2.3
s=-
c=IN IP4 192.0.2.4
t=0 0
m=audio 49217 RTP/AVP 0 12
m=video 3227 RTP/AVP 31
a=rtpmap:31 LPC
"""
WSINV = (
    r"""INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
"""
    + SDP
)
INTMETH = (
    "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,"
    "/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n"
    "Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n"
    'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" '
    "<sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n"
    "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
    ";fromParam''~+*_!.-%=\"\u0440\u0430\u0431\u043e\u0442\u0430\u044e\u0449\u0438\u0439\""
    ";tag=_token~1'+`*%!-.\n"
    "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\n"
    "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n"
    "Max-Forwards: 255\n"
    "extensionHeader-!.%*+_`'~:\ufeff\u5927\u505c\u96fb\n"
    "Content-Length: 0\n\n"
)
ESC01 = """INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0
To: sip:%75se%72@example.com
From: <sip:I%20have%20spaces@example.net>;tag=938
Max-Forwards: 87
i: esc01.239409asdfakjkn23onasd0-3234
CSeq: 234234 INVITE
Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw
C: application/sdp
Contact:
  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>
Content-Length: 0

"""
ESC02 = """RE%47IST%45R sip:registrar.example.com SIP/2.0
To: "%Z%45" <sip:resource@example.com>
From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23
Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf
Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234
CSeq: 29344 RE%47IST%45R
Max-Forwards: 70
Contact: <sip:alias1@host1.example.com>
C%6Fntact: <sip:alias2@host2.example.com>
Contact: <sip:alias3@host3.example.com>
l: 0

"""
DBLREQ = (
    """REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=43251j3j324
Max-Forwards: 8
I: dblreq.0ha0isndaksdj99sdfafnl3lk233412
Contact: sip:j.user@host.example.com
CSeq: 8 REGISTER
Via: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492
Content-Length: 0


INVITE sip:joe@example.com SIP/2.0
t: sip:joe@example.com
From: sip:caller@example.net;tag=141334
Max-Forwards: 8
Call-ID: dblreq.0ha0isnda977644900765@192.0.2.15
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234
Content-Type: application/sdp
Content-Length: 150
"""
    + SDP
)
SEMIURI = """OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Call-ID: semiuri.0ha0isndaksdj
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime,
        multipart/mixed, multipart/signed,
        message/sip, message/sipfrag
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw
l: 0

"""
UNREASON = """SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Call-ID: unreason.1234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 0
Contact: <sip:user@host198.example.com>

"""
LWSDISP = """OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: caller<sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID: lwsdisp.1234abcd@funky.example.com
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw
l: 0

"""
UNKSM2 = """REGISTER sip:example.com SIP/2.0
To: isbn:2983792873
From: <http://www.example.com>;tag=3234233
Call-ID: unksm2.daksdj@hyphenated-host.example.com
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKkdjuw
Contact: <name:John_Smith>
l: 0

"""
BADDN = """OPTIONS sip:t.watson@example.org SIP/2.0
Via:     SIP/2.0/UDP c.example.com:5060;branch=z9hG4bKkdjuw
Max-Forwards:      70
From:    Bell, Alexander <sip:a.g.bell@example.com>;tag=43
To:      Watson, Thomas < sip:t.watson@example.org >
Call-ID: baddn.31415@c.example.com
Accept: application/sdp
CSeq:    3923239 OPTIONS
l: 0

"""
PLAIN = """OPTIONS sip:user@example.com SIP/2.0
To: sip:j.user@example.com
From: sip:caller@example.net;tag=34525
Max-Forwards: 6
Call-ID: plain.dj0234sxdfl3
CSeq: 8 OPTIONS
Via: SIP/2.0/UDP host.example.com;branch=z9hG4bKkdjuw
l: 0

"""


def wire(text: str) -> bytes:
    """Return *text* as it is sent."""
    return text.replace("\n", "\r\n").encode()


def test_a_short_tortuous_invite() -> None:
    """3.1.1.1: folding, white space, both name forms, and escaped quotes are one sound INVITE."""
    message = parse(wire(WSINV))

    assert message.method == "INVITE"
    assert message.request_uri == "sip:vivekg@chair-dnrc.example.com;unknownparam"
    assert (message.to_uri, message.to_tag) == ("sip:vivekg@chair-dnrc.example.com", "1918181833n")
    assert (message.from_uri, message.from_tag) == ("sip:jdrosen@example.com", "98asjd8")
    assert (message.cseq, message.call_id) == ((9, "INVITE"), "wsinv.ndaksdj@192.0.2.1")
    assert message.top_via_branch == "390skdjuw"
    assert len(message.all("Via")) == 3
    assert message.first("Subject") == ""
    assert message.first("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.first("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    assert len(message.all("m")) == 1
    assert message.body == wire(SDP[1:])
    assert len(message.body) == 150


def test_a_wide_range_of_valid_characters() -> None:
    """3.1.1.2: odd tokens, a quoted NUL and UTF-8 are all legal where they stand."""
    message = parse(wire(INTMETH))

    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert message.cseq == (139122385, message.method)
    assert uri_user(message.request_uri) == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri_host(message.request_uri) == "example.com"
    assert uri_user(message.to_uri) == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert (message.from_uri, message.from_tag) == ("sip:mundane@example.com", "_token~1'+`*%!-.")
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.top_via_branch == "z9hG4bK-.!%66*_+`'~"
    assert message.first("extensionHeader-!.%*+_`'~") == "\ufeff\u5927\u505c\u96fb"


def test_escapes_in_uris_stay() -> None:
    """3.1.1.3: an escaped "@" ends no user part; escapes are left for who reads the user."""
    message = parse(wire(ESC01))

    assert uri_user(message.request_uri) == "sips%3Auser%40example.com"
    assert uri_host(message.request_uri) == "example.net"
    assert uri_user(message.from_uri) == "I%20have%20spaces"


def test_percent_is_no_escape_in_names() -> None:
    """3.1.1.5: RE%47IST%45R is no REGISTER, and C%6Fntact is no Contact."""
    message = parse(wire(ESC02))

    assert message.method == "RE%47IST%45R"
    assert message.all("Contact") == (
        "<sip:alias1@host1.example.com>",
        "<sip:alias3@host3.example.com>",
    )


def test_octets_after_the_message_are_ignored() -> None:
    """3.1.1.8: a datagram with two requests holds the first only."""
    message = parse(wire(DBLREQ))

    assert (message.method, message.body) == ("REGISTER", b"")
    assert message.call_id == "dblreq.0ha0isndaksdj99sdfafnl3lk233412"


def test_a_semicolon_belongs_to_the_user() -> None:
    """3.1.1.9: the user part is "user;par=u@example.net"; lists fold over lines."""
    message = parse(wire(SEMIURI))

    assert uri_user(message.request_uri) == "user;par=u%40example.net"
    assert len(message.all("Accept")) == 6


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("200 = 2**3 * 5**2 \u043d\u043e", (200, "= 2**3 * 5**2 \u043d\u043e")),
        ("100 ", (100, "")),
    ],
)
def test_reason_phrases(reason: str, expected: tuple[int, str]) -> None:
    """3.1.1.12 and 3.1.1.13: a reason may be unusual or empty."""
    first, _, rest = UNREASON.partition("\n")
    message = parse(wire(f"SIP/2.0 {reason}\n{rest}"))

    assert first.startswith("SIP/2.0 200 =")
    assert (message.status, message.reason, message.method) == (*expected, None)


@pytest.mark.parametrize(
    ("text", "from_uri", "to_uri"),
    [
        pytest.param(
            LWSDISP, "sip:caller@example.com", "sip:user@example.com", id="3.1.1.6 lwsdisp"
        ),
        pytest.param(UNKSM2, "http://www.example.com", "isbn:2983792873", id="3.3.4 unksm2"),
        pytest.param(
            BADDN, "sip:a.g.bell@example.com", "sip:t.watson@example.org", id="3.1.2.14/15 baddn"
        ),
    ],
)
def test_addresses(text: str, from_uri: str, to_uri: str) -> None:
    """Names without white space, unknown schemes, and what the RFC lets a receiver forgive."""
    message = parse(wire(text))

    assert (message.from_uri, message.to_uri) == (from_uri, to_uri)


def test_unknown_schemes_and_zero_hops_are_sound() -> None:
    """3.3.2 unkscm and 3.3.11 zeromf: neither is malformed."""
    text = PLAIN.replace("sip:user@example.com", "nobodyKnowsThisScheme:totallyopaquecontent", 1)
    message = parse(wire(text.replace("Forwards: 6", "Forwards: 0")))

    assert message.request_uri == "nobodyKnowsThisScheme:totallyopaquecontent"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("l: 0", "Content-Length: 9999", id="3.1.2.2 clerr"),
        pytest.param("l: 0", "Content-Length: -999", id="3.1.2.3 ncl"),
        pytest.param("CSeq: 8", "CSeq: 36893488147419103232", id="3.1.2.4 scalar02"),
        pytest.param("CSeq: 8", "CSeq: 9292394834772304023312", id="3.1.2.5 scalarlg"),
        pytest.param("To: sip", 'To: "Mr. J. User <sip', id="3.1.2.6 quotbal"),
        pytest.param("sip:user@example.com", "<sip:user@example.com>", id="3.1.2.7 ltgtruri"),
        pytest.param("example.com SIP", "example.com; lr SIP", id="3.1.2.8 lwsruri"),
        pytest.param("OPTIONS sip", "OPTIONS  sip", id="3.1.2.9 lwsstart"),
        pytest.param("SIP/2.0\nTo", "SIP/2.0  \nTo", id="3.1.2.10 trws"),
        pytest.param("com SIP/2.0", "com SIP/7.0", id="3.1.2.16 badvers"),
        pytest.param("8 OPTIONS", "8 INVITE", id="3.1.2.17 mismatch01"),
        pytest.param("OPTIONS sip:user", "NEWMETHOD sip:user", id="3.1.2.18 mismatch02"),
        pytest.param(PLAIN[:36], "SIP/2.0 4294967301 better", id="3.1.2.19 bigcode"),
        pytest.param("Call-ID: plain.dj0234sxdfl3\n", "", id="3.3.1 insuf"),
        pytest.param("CSeq: 8", "CSeq: 59 OPTIONS\nCSeq: 8", id="3.3.8 multi01"),
        pytest.param("l: 0", "Content-Length: 0\nContent-Length: 5", id="3.3.9 mcl01"),
    ],
)
def test_malformed_messages_are_refused(old: str, new: str) -> None:
    """The one flaw of each message of sections 3.1.2 and 3.3, put into a sound one, refuses it."""
    assert parse(wire(PLAIN)).method == "OPTIONS"
    assert old in PLAIN

    with pytest.raises(WireError):
        parse(wire(PLAIN.replace(old, new, 1)))
