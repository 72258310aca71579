"""Messages made from the grammar of RFC 3261 section 25.1, sound and damaged, in any pieces."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.packets.frame import decode
from probetest.duplicates import Copies
from probetest.sip import sdp
from probetest.sip.brief import gist, in_brief, plain
from probetest.sip.defects import Severity
from probetest.sip.examine import examine
from probetest.sip.message import MAX_MESSAGE_BYTES, observe, parse
from probetest.sip.seen import Seen, SipReader
from probetest.sip.stream import Part, Splitter, split
from probetest.sip.websocket import Frames
from tests.sip_torture import messages as torture
from tests.sip_wire import PHONE, SBC, Leg, Tape, rtp
from tests.sip_wire import sdp as sdp_body

UNHURRIED = settings(deadline=None)  # a busy machine is not a bug

token = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
space = st.sampled_from(["", " ", "\t", "\r\n ", " \r\n\t "])
some_space = st.sampled_from([" ", "\t", "\r\n ", " \r\n\t "])
quoted = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
host = st.sampled_from(["192.0.2.1", "[2001:db8::1]", "pbx.example.com", "192.0.2.1:5070"])
user = st.sampled_from(["+16505550112", "alice", "a%40b", "1001;phone-context=example.com", "u:pw"])
parameter = st.tuples(token, st.none() | token | quoted).map(
    lambda pair: pair[0] if pair[1] is None else f"{pair[0]}={pair[1]}"
)
METHODS = ("INVITE", "ACK", "BYE", "OPTIONS", "CANCEL", "NOTIFY")


@st.composite
def uri(draw: st.DrawFn) -> str:
    """Return a sip, sips or tel URI."""
    if draw(st.booleans()):
        return f"tel:+4420794601{draw(st.integers(10, 99))}"
    more = "".join(f";{draw(token)}" for _ in range(draw(st.integers(0, 2))))
    return f"{draw(st.sampled_from(['sip', 'SIPS']))}:{draw(user)}@{draw(host)}{more}"


@st.composite
def name_addr(draw: st.DrawFn, tag: str) -> str:
    """Return a From or To value."""
    name = draw(st.just("") | quoted | token)
    more = [draw(parameter) for _ in range(draw(st.integers(0, 2)))]
    more = [one for one in more if not one.lower().startswith("tag")]
    if tag:
        more.insert(draw(st.integers(0, len(more))), f"tag{draw(space)}={draw(space)}{tag}")
    tail = "".join(f"{draw(space)};{draw(space)}{one}" for one in more)
    return f"{name}{draw(space)}<{draw(uri())}>{tail}"


@st.composite
def named(draw: st.DrawFn, long: str, short: str) -> str:
    """Return a header's name in one of its spellings, and the colon."""
    name = draw(st.sampled_from([long, long.lower(), long.upper(), short, short.upper()]))
    return f"{name}{draw(st.sampled_from(['', ' ', chr(9)]))}:"


Made = tuple[bytes, dict[str, object]]


@st.composite
def made(draw: st.DrawFn) -> Made:
    """Return a sound message, and what it says."""
    method, number = draw(st.sampled_from(METHODS)), draw(st.integers(0, 2**31 - 1))
    status = draw(st.sampled_from([0, 0, 100, 180, 200, 302, 486]))
    from_tag, to_tag, branch = draw(token), draw(st.just("") | token), draw(token)
    call_id, body = draw(token) + "@" + draw(token), draw(st.binary(max_size=30))
    start = f"SIP/2.0 {status} Reason" if status else f"{method} {draw(uri())} SIP/2.0"
    via = f"SIP/2.0/UDP {draw(host)};branch={branch}{draw(st.sampled_from(['', ';rport']))}"
    if draw(st.booleans()):
        via += f",{draw(space)}SIP/2.0/TCP {draw(host)};branch=z9hG4bK-under"
    lines = [
        f"{draw(named('Via', 'v'))}{draw(space)}{via}",
        f"{draw(named('From', 'f'))}{draw(space)}{draw(name_addr(from_tag))}",
        f"{draw(named('To', 't'))}{draw(space)}{draw(name_addr(to_tag))}",
        f"{draw(named('Call-ID', 'i'))}{draw(space)}{call_id}",
        f"CSeq:{draw(space)}{number}{draw(some_space)}{method}",
        f"{draw(named('Content-Length', 'l'))} {len(body)}",
        *(f"X-{draw(token)}: {draw(token)}" for _ in range(draw(st.integers(0, 3)))),
    ]
    lines = draw(st.permutations(lines))
    data = "\r\n".join([start, *lines, "", ""]).encode() + body
    says: dict[str, object] = {
        "method": method,
        "status": status,
        "number": number,
        "call_id": call_id,
        "from_tag": from_tag,
        "to_tag": to_tag,
        "branch": branch,
        "body": body,
    }
    return data, says


TOKENS = (
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b'"', b"<", b">", b"\\", b";", b",", b":", b"\xff"),
    *(b"\0", b"SIP/2.0", b"tag=", b"l: 0\r\n", b"\r\n\r\n", b"Call-ID: x\r\n", b"From:", b"="),
)
INVITE = Leg().request(body=sdp_body(PHONE))
USUAL = (
    INVITE,
    Leg(to_tag="b", extra=(("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-x"),)).request("BYE"),
    Leg(caller=f'"A, B" <sip:+16505550112@{PHONE.address};user=phone>').response(200),
    INVITE.replace(b"Call-ID", b"i").replace(b"From", b"f").replace(b"Via", b"v"),
    INVITE.replace(b"CSeq: ", b"cseq :\t").replace(b";tag=a", b" ; tag = a ;x"),
)
WHOLE = tuple(one.data for one in torture())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a message of the grammar or of RFC 4475 with pieces replaced, added or left out."""
    sound = st.sampled_from(USUAL) | made().map(lambda pair: pair[0]) | st.sampled_from(WHOLE)
    data = bytearray(draw(sound))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.sampled_from(TOKENS))
    return bytes(data)


@settings(UNHURRIED, max_examples=100)
@given(made())
def test_what_the_grammar_allows_is_read(pair: Made) -> None:
    """Each part as it was put in, without a defect, and nothing is wrong with its headers."""
    data, says = pair
    observed, found = observe(data), gist(data)

    assert found.brief is not None
    assert found.brief._asdict() == says
    assert observed.defects == found.defects == ()
    assert observed.message is not None
    assert examine(observed.message) == ()


@settings(UNHURRIED, max_examples=200)
@given(damaged() | st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_message_or_a_defect(data: bytes, whole: bool) -> None:
    """Never neither, never an exception; the quick reading says what the full one says."""
    observed, found = observe(data, whole=whole), gist(data, whole=whole)

    assert found.defects == observed.defects
    assert len(set(found.defects)) == len(found.defects)
    if observed.message is None:
        assert found.brief is None
        assert found.why
        assert any(one.severity is Severity.FATAL for one in observed.complaints)
    else:
        assert found.brief == in_brief(observed.message)
        assert observed.message.defects == observed.defects
        assert all(one.offset_bytes <= len(data) for one in observed.complaints)
        examine(observed.message)
        sdp.describe(observed.message.body)


@settings(UNHURRIED, max_examples=100)
@given(damaged())
def test_what_is_read_quickly_has_no_defect(data: bytes) -> None:
    """The one expression that knows every line gives nothing away for its speed."""
    quick = plain(data)
    if quick is not None:
        observed = observe(data)
        assert observed.message is not None
        assert (in_brief(observed.message), observed.defects) == (quick, ())


NAMES = ("Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq", "Content-Length", "l", "X")
VALUES = ("x", "1 INVITE", "5", "", "<sip:a@b>;tag=c", "SIP/2.0/UDP b;branch=c", "a@b", ";branch")


@settings(UNHURRIED, max_examples=300)
@given(
    st.sampled_from(USUAL),
    st.integers(1, 6),
    st.sampled_from(NAMES),
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(VALUES),
    st.booleans(),
)
def test_a_line_more_is_seen(  # noqa: PLR0913, PLR0917 - what a line is made of
    data: bytes, place: int, name: str, blank: str, value: str, instead: bool
) -> None:
    """A header that matters, once more or in place of another line, is not passed over."""
    lines = data.split(b"\r\n")
    lines[place : place + instead] = [f"{name.swapcase()}{blank}:{blank}{value}".encode()]
    changed = b"\r\n".join(lines)
    observed, found = observe(changed), gist(changed)

    assert found.defects == observed.defects
    assert found.brief == (None if observed.message is None else in_brief(observed.message))


@settings(UNHURRIED, max_examples=100)
@given(made(), st.integers(0, 600))
def test_what_a_snapshot_length_cut_is_not_guessed(pair: Made, size: int) -> None:
    """A value that is there is the one that was sent; the body is left out."""
    data, says = pair
    message = observe(data[:size], whole=False).message
    if message is not None:
        brief = in_brief(message)
        assert brief.body == b""
        for name, value in says.items():
            if name not in ("body", "from_tag", "to_tag", "branch"):
                assert getattr(brief, name) == value
        for name in ("from_tag", "to_tag", "branch"):  # a header that is not there says nothing
            assert getattr(brief, name) in ("", says[name])


pieces = st.lists(st.integers(1, 400), max_size=40)
junk = st.sampled_from([b"", b"\r\n\r\n", b"\r\n", b"junk", b"INVITE sip:", b"\n\n", b"BYE tel:1 "])


@settings(UNHURRIED, max_examples=60)
@given(st.lists(damaged() | junk, max_size=5), pieces, st.booleans(), st.integers(0, 60))
def test_pieces_make_no_difference(
    parts: list[bytes], sizes: list[int], from_start: bool, cut: int
) -> None:
    """A stream gives the same messages whole, in any pieces, and byte by byte."""
    data = b"".join(parts)[cut:]
    expected = list(split(data, from_start=from_start))
    for each in ((*sizes, len(data)), (1,) * len(data)):
        splitter, at, found = Splitter(from_start=from_start), 0, list[Part]()
        for size in each:
            found += splitter.feed(data[at : at + size])
            at += size
        found += splitter.end()
        assert [(part.offset_bytes, part.data, part.complaint) for part in found] == expected
    end = 0
    for at, part, _ in expected:
        assert at >= end
        assert data[at : at + len(part)] == part
        end = at + len(part)


@settings(UNHURRIED, max_examples=50)
@given(st.lists(made(), min_size=1, max_size=4), st.lists(junk, min_size=5, max_size=5))
def test_sound_messages_are_found_in_a_stream(pairs: list[Made], between: list[bytes]) -> None:
    """With keep-alives between them and a tail behind, each is whole."""
    sent = [data for data, _ in pairs]
    alive = [one if not one.strip() else b"" for one in between]
    data = b"".join(a + b for a, b in zip(alive, sent, strict=False)) + between[-1]
    found = [part for _, part, complaint in split(data, from_start=True) if not complaint]

    assert found == sent


SDP_PIECES = (
    *(b"v=0", b"o=- 1 1 IN IP4 192.0.2.1", b"c=IN IP4 192.0.2.1", b"c=IN IP6 ::", b"m=", b"\xff"),
    *(b"m=audio 9 RTP/SAVP 0 8 101", b"m=image 4000 udptl t38", b"m=audio 99999 RTP/AVP 1", b""),
    *(b"a=rtpmap:101 x/0", b"a=rtpmap:8 PCMA/8000", b"a=fmtp:8 x", b"a=rtcp:1 IN IP4 x", b"m=x"),
    *(b"a=group:BUNDLE a b", b"m=video 0 RTP/AVP 31", b"c=IN IP4 fe80::1%1", b"a=rtcp:99999"),
    *(b"a=candidate:1 1 UDP 1 192.0.2.1 70000 typ x", b"a=ptime:20", b"a=sendonly", b"--x", b" "),
    *(b"a=mid:a", b"a=mid:b", b"a=candidate:1 1 UDP 1 192.0.2.1 4000 typ x"),
)


@settings(UNHURRIED, max_examples=200)
@given(
    st.lists(st.sampled_from(SDP_PIECES) | st.binary(max_size=20), max_size=12),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
def test_any_bytes_are_a_session_or_none(lines: list[bytes], end: bytes) -> None:
    """Nothing is raised, and every stream has a place that packets can be sent to."""
    body = end.join([b"v=0", *lines, b""])
    found = sdp.describe(body)

    assert found is not None
    for media in found.media:
        assert media.place.address not in ("0.0.0.0", "::")  # noqa: S104 - nobody binds it
        assert 0 < media.place.port <= 65_535
    assert sdp.parse(body) == tuple(media for media in found.media if media.is_rtp)


def frame_of(payload: bytes, *, final: bool, first: bool, mask: bytes) -> bytes:
    """Return a WebSocket frame."""
    head = bytes([(0x80 if final else 0) | (1 if first else 0)])
    length = len(payload)
    flag = 0x80 if mask else 0
    if length < 126:
        head += bytes([flag | length])
    else:
        head += bytes([flag | 126]) + length.to_bytes(2)
    if mask:
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head + mask + payload


@settings(UNHURRIED, max_examples=100)
@given(
    st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=3), max_size=3),
    st.sampled_from([b"", b"\x01\x02\x03\x04"]),
    pieces,
)
def test_websocket_messages_are_what_was_framed(
    sent: list[list[bytes]], mask: bytes, sizes: list[int]
) -> None:
    """Masked or not, in one frame or several, with a ping between, in any pieces."""
    data = b""
    for message in sent:
        for place, payload in enumerate(message):
            data += b"\x89\x00"
            final = place == len(message) - 1
            data += frame_of(payload, final=final, first=not place, mask=mask)
    frames, at, found = Frames(), 0, list[tuple[bytes, str]]()
    for size in (*sizes, len(data)):
        found += frames.feed(data[at : at + size])
        at += size

    assert found == [(b"".join(message), "") for message in sent]


@settings(UNHURRIED, max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_none(data: bytes) -> None:
    """At most one complaint, and then silence."""
    frames = Frames()
    found = [complaint for _, complaint in (*frames.feed(data), *frames.feed(data))]

    assert sum(map(bool, found)) <= 1


def read_in(tape: Tape, sizes: list[int]) -> list[tuple[object, ...]]:
    """Return what a reader sees when the rows come in blocks of *sizes*, and then the rest."""
    whole = decode(tape.capture())
    reader, start, found = SipReader(), 0, list[Seen]()
    for size in (*sizes, len(whole)):
        rows = np.arange(start, min(start + size, len(whole)))
        start += len(rows)
        copies = Copies(np.zeros(len(rows), np.int64), np.arange(len(rows)))
        found += reader.read(whole.select(rows), copies)
    found += reader.close()
    return [seen._replace(row=0)[:] for seen in found]


NUMBERS = (st.integers(0, 3), st.integers(1, 300))


@settings(UNHURRIED, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("utr"), *NUMBERS), max_size=12),
    st.lists(st.integers(0, 6), max_size=8),
)
def test_blocks_make_no_difference(events: list[tuple[str, int, int]], sizes: list[int]) -> None:
    """UDP, and a TCP stream in segments that come late or twice, are read alike in any blocks."""
    tape, stream, at = Tape(), b"".join(Leg(number=n).request("OPTIONS") for n in range(1, 9)), 0
    for place, (kind, step, size) in enumerate(events):
        if kind == "u":
            tape.udp(10 * place, PHONE, SBC, Leg(number=place + 1).request("BYE"))
        elif kind == "r":
            tape.udp(10 * place, SBC, PHONE, rtp(place, place))
        else:
            at = max(0, at - step * 20)  # some of it again
            tape.tcp(10 * place, PHONE, SBC, stream[at : at + size], at=at)
            at += size

    assert read_in(tape, sizes) == read_in(tape, [])


SOUND = parse(Leg().request())
HOSTILE = {
    "no end": b"INVITE sip:a@b SIP/2.0\r\n" + b"X: " + b"a" * 1_000_000,
    "quotes": b'INVITE sip:a@b SIP/2.0\r\nFrom: "' + b'\\"' * 30_000 + b"\r\n\r\n",
    "brackets": b"INVITE sip:a@b SIP/2.0\r\nContact: " + b"<" * 60_000 + b"\r\n\r\n",
    "commas": b"INVITE sip:a@b SIP/2.0\r\nVia: " + b"," * 60_000 + b"\r\n\r\n",
    "semicolons": b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>" + b";" * 60_000 + b"\r\n\r\n",
    "lines": b"INVITE sip:a@b SIP/2.0\r\n" + b"a:\r\n" * 15_000 + b"\r\n",
    "folds": b"INVITE sip:a@b SIP/2.0\r\nTo:" + b"\r\n " * 20_000 + b"\r\n\r\n",
    "starts": b"INVITE sip:a@b SIP/2.0\r\n" * 40_000,
    "statuses": b"SIP/2.0 200 " * 80_000,
    "methods": b"INVITE sip:" * 90_000,
    "line ends": b"\r\n" * 500_000,
    "zeros": b"INVITE sip:a@b SIP/2.0\r\nCSeq: " + b"0" * 60_000 + b" x\r\n\r\n",
    "spaces": b"INVITE" + b" " * 60_000 + b"sip:a@b SIP/2.0\r\n\r\n",
    "candidates": b"v=0\r\nm=audio 9 RTP/AVP 0\r\n" + b"a=candidate:1 1 UDP 1 a 1 typ\r\n" * 30_000,
    "attributes": b"v=0\r\nm=audio 9 RTP/AVP 0\r\na=" + b" " * 1_000_000,
}
READERS: dict[str, Callable[[bytes], object]] = {
    "gist": lambda data: gist(data[:MAX_MESSAGE_BYTES]),
    "examine": lambda data: examine(observe(data[:MAX_MESSAGE_BYTES]).message or SOUND),
    "split": lambda data: list(split(data, from_start=True)),
    "joined": lambda data: list(split(data, from_start=False)),
    "describe": sdp.describe,
}
LIMIT_S = 2.0  # of this process; it takes a tenth of that, and a reading that is not linear minutes


@pytest.mark.parametrize("reader", READERS.values(), ids=list(READERS))
@pytest.mark.parametrize("data", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_input_is_read_in_linear_time(
    data: bytes, reader: Callable[[bytes], object]
) -> None:
    """A megabyte of anything takes no longer than a second on a machine that is not busy."""
    before_s = time.process_time()
    reader(data)

    assert time.process_time() - before_s < LIMIT_S
