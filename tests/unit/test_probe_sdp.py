"""SDP: where RTP is announced, and what is left out because it is not certain."""

import pytest

from harness.packets.frame import Endpoint
from probetest.sip.sdp import parse
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
