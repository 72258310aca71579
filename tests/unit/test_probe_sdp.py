"""SDP: where RTP is announced, and what is left out because it is not certain."""

import pytest

from harness.packets.frame import Endpoint
from probetest.sip.sdp import Description, Direction, Origin, describe, parse
from tests.sip_wire import sdp

PLACE = Endpoint("192.0.2.10", 40_000)


def test_audio_is_announced_with_codecs_and_clocks() -> None:
    """The map names dynamic types; static ones are known from RFC 3551."""
    (media,) = parse(sdp(PLACE, "101 telephone-event/8000", types="0 9 101 96"))

    assert (media.kind, media.place, media.rtcp) == ("audio", PLACE, Endpoint("192.0.2.10", 40_001))
    found = {number: (one.name, one.clock_hz, one.rule) for number, one in media.codecs.items()}
    assert found == {
        0: ("PCMU", 8000, "RFC 3551"),
        9: ("G722", 8000, "RFC 3551"),
        101: ("telephone-event", 8000, "SDP"),
        96: ("type 96", 8000, "assumed"),
    }


def test_each_section_has_its_own_address() -> None:
    """A c= line in a section wins over the session's; video has its clock."""
    text = sdp(PLACE) + b"m=video 40002 RTP/AVP 34\r\nc=IN IP6 2001:db8::5\r\na=rtcp-mux\r\n"
    audio, video = parse(text)

    assert audio.place == PLACE
    assert video.place == video.rtcp == Endpoint("2001:db8::5", 40_002)
    assert video.codecs[34].clock_hz == 90_000


@pytest.mark.parametrize(
    "line",
    ["a=rtcp:40007", "a=rtcp:40007 IN IP4 192.0.2.10"],
)
def test_rtcp_can_have_a_port_of_its_own(line: str) -> None:
    """RFC 3605."""
    (media,) = parse(sdp(PLACE) + f"{line}\r\n".encode())

    assert media.rtcp.port == 40_007


def test_sdp_is_found_in_a_multipart_body() -> None:
    """The part ends where its lines end."""
    body = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp(PLACE) + b"\r\n--x\r\nm=none\r\n"

    assert [media.place for media in parse(body)] == [PLACE]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"m=audio 1 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 phone.example.com\r\nm=audio 40000 RTP/AVP 0\r\n",
        b"v=0\r\nm=audio 40000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 99999 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=image 40000 udptl t38\r\n",
        b"v=0\r\nc=IN IP6 fe80::1%eth0\r\nm=audio 40000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio four RTP/AVP 0\r\n",
    ],
)
def test_what_is_not_certain_is_left_out(text: bytes) -> None:
    """No address, a name, a declined stream, a port that is none, T.38, a zone."""
    assert parse(text) == ()


def test_odd_maps_change_nothing() -> None:
    """A clock of 0, a type that was not offered and one above 127 are passed over."""
    (media,) = parse(sdp(PLACE, "8 X/0", "5 Y/9000", "300 Z/1", types="8 300 x"))

    assert {number: one.clock_hz for number, one in media.codecs.items()} == {8: 8000}


def described(text: str) -> Description:
    """Return what SDP says whose lines are given, ends of lines apart."""
    found = describe(b"v=0\r\n" + text.replace("\n", "\r\n").encode())
    assert found is not None
    return found


HEAD = "o=alice 2890844526 7 IN IP4 phone.example.com\ns=-\nc=IN IP4 192.0.2.10\nt=0 0\n"
NOWHERE = "0.0.0.0"  # noqa: S104 - nobody binds it
AUDIO = "m=audio 40000 RTP/AVP 8\n"


def test_the_origin_joins_the_legs_of_a_call() -> None:
    """The version counts up within a session; the rest stays, also through a B2BUA."""
    origin = described(HEAD + AUDIO).origin

    assert origin == Origin("alice", "2890844526", "7", "phone.example.com")
    assert origin.key == ("alice", "2890844526", "phone.example.com")
    assert described("s=-\n").origin is None


@pytest.mark.parametrize(
    ("lines", "direction", "is_held"),
    [
        ("", Direction.SENDRECV, False),
        ("a=sendonly\n", Direction.SENDONLY, True),
        ("a=recvonly\n", Direction.RECVONLY, False),
        ("a=inactive\n", Direction.INACTIVE, True),
    ],
)
def test_hold_is_a_direction(lines: str, direction: Direction, is_held: bool) -> None:
    """RFC 3264 section 8.4; said for the section, or for the session."""
    for text in (HEAD + AUDIO + lines, HEAD + lines + AUDIO):
        (media,) = described(text).media
        assert (media.direction, media.is_held) == (direction, is_held)


def test_hold_by_an_address_of_zeros_has_no_place() -> None:
    """As RFC 2543 had it; nothing can arrive there."""
    found = described(HEAD.replace("192.0.2.10", NOWHERE) + AUDIO)

    assert (found.media, found.left_out) == ((), (f"on hold: {NOWHERE}",))


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("m=audio 0 RTP/AVP 8\n", "declined: port 0"),
        ("m=audio 40000 RTP/AVP 8\nc=IN IP4 pbx.example.com\n", "no address: pbx.example.com"),
        ("m=audio 70000 RTP/AVP 8\n", "port 70000"),
        ("m=audio\n", "no port and protocol"),
        ("m=\n", "no port and protocol"),
    ],
)
def test_a_stream_that_is_left_out_has_a_reason(section: str, why: str) -> None:
    """The others are there."""
    found = described(HEAD + section + AUDIO)

    assert [media.place for media in found.media] == [PLACE]
    assert found.left_out == (why,)


def test_fax_is_no_rtp() -> None:
    """T.38 over UDPTL is described, and is no stream of RTP."""
    text = HEAD + AUDIO + "m=image 40010 udptl t38\na=T38FaxVersion:0\n"
    audio, fax = described(text).media

    assert (audio.is_rtp, fax.is_rtp, fax.place.port) == (True, False, 40_010)
    assert len(parse(b"v=0\n" + text.encode())) == 1


@pytest.mark.parametrize(
    "section",
    [
        "m=audio 40000 RTP/SAVP 8\n",
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111\n",
        AUDIO
        + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n",
        AUDIO + "a=fingerprint:SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\n",
    ],
)
def test_encryption_is_told(section: str) -> None:
    """SRTP by its profile, or by its keys beside the plain one."""
    assert [media.is_encrypted for media in described(HEAD + section + "").media] == [True]
    assert [media.is_encrypted for media in described(HEAD + AUDIO).media] == [False]


CANDIDATES = (
    "a=candidate:1 1 UDP 2130706431 198.51.100.1 40100 typ host\n"
    "a=candidate:1 2 UDP 2130706430 198.51.100.1 40101 typ host\n"
    "a=candidate:2 1 TCP 1694498815 198.51.100.1 9 typ host tcptype active\n"
    "a=candidate:3 1 udp 1694498815 203.0.113.3 45664 typ srflx raddr 198.51.100.1 rport 40100\n"
    "a=candidate:4 1 UDP 1 d2b4.local 40102 typ host\n"
)


def test_candidates_are_other_places() -> None:
    """Of RTP, over UDP, with an address; where SDP has none yet, the first is the place."""
    host, reflexive = Endpoint("198.51.100.1", 40_100), Endpoint("203.0.113.3", 45_664)
    (media,) = described(HEAD + AUDIO + CANDIDATES).media
    assert (media.place, media.candidates) == (PLACE, (host, reflexive))

    unknown = HEAD.replace("192.0.2.10", NOWHERE) + "m=audio 9 RTP/AVP 8\n" + CANDIDATES
    (media,) = described(unknown).media
    assert (media.place, media.candidates) == (host, (reflexive,))


def test_bundled_streams_share_a_place() -> None:
    """RFC 9143: a section that is only there in the bundle has port 0, and arrives at the first."""
    bundle = HEAD + "a=group:BUNDLE a v\n" + AUDIO + "a=mid:a\na=rtcp-mux\n"
    bundle += "m=video 0 RTP/AVP 96\na=mid:v\na=bundle-only\na=rtpmap:96 VP8/90000\na=rtcp-mux\n"
    audio, video = described(bundle).media

    assert audio.place == video.place == video.rtcp == PLACE
    assert video.codecs[96].name == "VP8"


def test_parameters_and_packet_length_are_kept() -> None:
    """The digits that events may hold, and 30 ms."""
    text = "m=audio 40000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000\n"
    (media,) = described(HEAD + text + "a=fmtp:101 0-15\na=ptime:30\n").media

    assert (media.codecs[101].parameters, media.packet_ms) == ("0-15", 30)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\r\n", " \r\n", "\n\n"])
def test_lines_may_end_in_any_way(end: str) -> None:
    """CRLF, LF, CR, and what some devices make of them."""
    text = ("v=0\n" + HEAD + AUDIO + "a=sendonly\n").replace("\n", end)
    found = describe(text.encode())

    assert found is not None
    assert [(media.place, media.direction) for media in found.media] == [
        (PLACE, Direction.SENDONLY)
    ]


def test_the_part_before_sdp_may_be_binary() -> None:
    """ISUP comes as bytes (RFC 3204)."""
    isup = b"--x\r\nContent-Type: application/isup\r\n\r\n\x01\x00\x49\xff\x0d\x0a\x9a\r\n"
    part = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp(PLACE) + b"--x--\r\n"

    assert [media.place for media in parse(isup + part)] == [PLACE]
