"""The SIP messages of the lab's phones and of the simulated SBC, as pure functions.

The SBC is a back-to-back user agent: the onward leg has a Call-ID of its own, and both legs carry
the same Session-ID (RFC 7989), by which they can be joined without guessing.
"""

import re
from dataclasses import dataclass

from harness.packets.frame import Endpoint
from probetest.sip.message import SipMessage, encode_request, encode_response

REASONS = {
    100: "Trying",
    200: "OK",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}
MAX_FORWARDS = "70"
DESCRIBED = (("Content-Type", "application/sdp"),)

_MEDIA = re.compile(
    r"^c=IN IP[46] (?P<address>[0-9A-Fa-f:.]{2,45})\r?$.*?^m=audio (?P<port>[0-9]{1,5}) ",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One dialog as its caller sees it."""

    call_id: str
    session_id: str
    source: str  # URI of the calling party
    target: str  # URI that is called
    local: Endpoint
    tag: str

    def request(self, method: str, sequence: int, *, to_tag: str = "", body: bytes = b"") -> bytes:
        """Return a request of this dialog; a *body* is a session description."""
        to = f"<{self.target}>" + (f";tag={to_tag}" if to_tag else "")
        branch = f"z9hG4bK-{self.call_id}-{method}-{sequence}"
        return encode_request(
            method,
            self.target,
            (
                ("Via", f"SIP/2.0/UDP {self.local};branch={branch}"),
                ("Max-Forwards", MAX_FORWARDS),
                ("From", f"<{self.source}>;tag={self.tag}"),
                ("To", to),
                ("Call-ID", self.call_id),
                ("CSeq", f"{sequence} {method}"),
                ("Contact", f"<sip:{self.local}>"),
                ("Session-ID", self.session_id),
                *(DESCRIBED if body else ()),
            ),
            body,
        )


def response(
    request: SipMessage, status: int, *, local: Endpoint, tag: str = "", body: bytes = b""
) -> bytes:
    """Return the response *status* to *request*, with the headers that must be copied.

    Source: RFC 3261 section 8.2.6.2.
    """
    to = request.first("To") or ""
    if tag and not request.to_tag:
        to += f";tag={tag}"
    headers = [("Via", via) for via in request.all("Via")]
    headers += [
        ("From", request.first("From") or ""),
        ("To", to),
        ("Call-ID", request.call_id),
        ("CSeq", request.first("CSeq") or ""),
        ("Contact", f"<sip:{local}>"),
    ]
    session = request.first("Session-ID")
    if session:
        headers.append(("Session-ID", session))
    headers += DESCRIBED if body else ()
    return encode_response(status, REASONS[status], headers, body)


def describe(media: Endpoint) -> bytes:
    """Return the description of a session with one G.711 stream at *media* (RFC 8866, RFC 3551)."""
    family = "IP6" if ":" in media.address else "IP4"
    lines = (
        "v=0",
        f"o=- 1 1 IN {family} {media.address}",
        "s=-",
        f"c=IN {family} {media.address}",
        "t=0 0",
        f"m=audio {media.port} RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def described(body: bytes) -> Endpoint | None:
    """Return where a session of ours wants its audio, or None when *body* does not say."""
    found = _MEDIA.search(body.decode("utf-8", "replace"))
    return None if found is None else Endpoint(found["address"], int(found["port"]))
