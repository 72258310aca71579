"""Captures made by hand for tests of the probe: SIP calls and RTP streams, frame by frame."""

import struct
from dataclasses import dataclass, field

from harness.packets.capture import LINKTYPE_RAW, Capture, encode_file_header, encode_record, parse
from harness.packets.frame import Endpoint, encode_tcp, encode_udp
from probetest.sip.message import encode_request, encode_response

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
PHONE, SBC, CARRIER = (Endpoint(f"192.0.2.{n}", 5060) for n in (10, 20, 30))
ALICE, BOB, CAROL = "+16505550112", "+16505550113", "+442079460123"


@dataclass(frozen=True, slots=True)
class Leg:
    """What the messages of one call leg have in common."""

    call_id: str = "1@192.0.2.10"
    caller: str = f"<sip:{ALICE}@192.0.2.10>"
    called: str = f"sip:{BOB}@192.0.2.20"
    from_tag: str = "a"
    branch: str = "z9hG4bK-1"
    number: int = 1
    to_tag: str = ""
    extra: tuple[tuple[str, str], ...] = ()

    def _headers(self, method: str, to_tag: str) -> tuple[tuple[str, str], ...]:
        tag = to_tag or self.to_tag
        return (
            ("Via", f"SIP/2.0/UDP 192.0.2.10;branch={self.branch}"),
            ("From", f"{self.caller};tag={self.from_tag}"),
            ("To", f"<{self.called}>" + (f";tag={tag}" if tag else "")),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self.number} {method}"),
            *self.extra,
        )

    def request(self, method: str = "INVITE", body: bytes = b"") -> bytes:
        """Return a request of this leg."""
        return encode_request(method, self.called, self._headers(method, ""), body)

    def response(
        self,
        status: int,
        method: str = "INVITE",
        body: bytes = b"",
        extra: tuple[tuple[str, str], ...] = (),
    ) -> bytes:
        """Return a response to a request of this leg."""
        headers = (*self._headers(method, "b" if status > 100 else ""), *extra)
        return encode_response(status, "Reason", headers, body)


def sdp(place: Endpoint, *maps: str, types: str = "8 101") -> bytes:
    """Return SDP that announces audio at *place*."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {place.address}", "s=-", f"c=IN IP4 {place.address}", "t=0 0"]
    lines += [f"m=audio {place.port} RTP/AVP {types}", *(f"a=rtpmap:{one}" for one in maps)]
    return "".join(f"{line}\r\n" for line in lines).encode()


def rtp(  # noqa: PLR0913 - the fields of a header
    sequence: int,
    timestamp: int,
    *,
    ssrc: int = 0x1234,
    payload_type: int = 8,
    marker: bool = False,
    payload: bytes = b"\xd5" * 160,
) -> bytes:
    """Return an RTP packet."""
    second = marker << 7 | payload_type
    return struct.pack(">BBHII", 0x80, second, sequence % 2**16, timestamp % 2**32, ssrc) + payload


@dataclass(slots=True)
class Tape:
    """Frames in the order in which they are added, each with an IP id of its own."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    ip_id: int = 0

    def udp(  # noqa: PLR0913 - a frame is all of these
        self,
        at_ms: float,
        source: Endpoint,
        destination: Endpoint,
        payload: bytes,
        *,
        ip_id: int | None = None,
        ttl: int = 64,
    ) -> None:
        """Add a datagram, seen so long after the start."""
        self.ip_id += 1
        frame = encode_udp(source, destination, payload)
        self._add(at_ms, frame, self.ip_id if ip_id is None else ip_id, ttl)

    def tcp(
        self, at_ms: float, source: Endpoint, destination: Endpoint, payload: bytes, *, at: int
    ) -> None:
        """Add a segment whose first byte is number *at* of the stream; at 0 the SYN comes first."""
        numbers = {"acknowledgement": 0}
        if at == 0:
            syn = encode_tcp(source, destination, b"", sequence=99, flags=2, **numbers)
            self._add(at_ms, syn, 0, 64)
        frame = encode_tcp(source, destination, payload, sequence=100 + at, flags=24, **numbers)
        self._add(at_ms, frame, 0, 64)

    def data(self) -> bytes:
        """Return the capture file."""
        records = (encode_record(at_ns, frame) for at_ns, frame in self.frames)
        return encode_file_header(LINKTYPE_RAW) + b"".join(records)

    def capture(self) -> Capture:
        """Return the capture, read."""
        return parse(self.data())

    def _add(self, at_ms: float, frame: bytes, ip_id: int, ttl: int) -> None:
        if frame[0] >> 4 == 4:
            head = bytearray(frame[:20])
            head[4:6], head[8], head[10:12] = struct.pack(">H", ip_id), ttl, b"\0\0"
            total = sum(struct.unpack(">10H", head))
            total = (total & 0xFFFF) + (total >> 16)
            head[10:12] = struct.pack(">H", (total & 0xFFFF) + (total >> 16) ^ 0xFFFF)
            frame = bytes(head) + frame[20:]
        self.frames.append((START_NS + round(at_ms * MS), frame))


def dialog(tape: Tape, at_ms: float = 0, leg: Leg | None = None, *, seconds: float = 1) -> None:
    """Add a call from the phone to the SBC: INVITE, 100, 180, 200, ACK, BYE, 200."""
    leg = leg or Leg()
    inside = Leg(leg.call_id, leg.caller, leg.called, leg.from_tag, "z9hG4bK-bye", 2, "b")
    ends_ms = at_ms + 200 + seconds * 1000
    tape.udp(at_ms, PHONE, SBC, leg.request())
    tape.udp(at_ms + 5, SBC, PHONE, leg.response(100))
    tape.udp(at_ms + 100, SBC, PHONE, leg.response(180))
    tape.udp(at_ms + 200, SBC, PHONE, leg.response(200))
    tape.udp(at_ms + 205, PHONE, SBC, inside.request("ACK"))
    tape.udp(ends_ms, PHONE, SBC, inside.request("BYE"))
    tape.udp(ends_ms + 5, SBC, PHONE, inside.response(200, "BYE"))
