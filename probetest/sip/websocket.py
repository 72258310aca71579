"""SIP over WebSocket: the messages in the frames of one direction of a connection (RFC 7118).

Laws: the pieces in which the bytes come make no difference; at the first thing that is no frame, or
is longer than a SIP message may be, nothing more is read, and that is told once.

Sources: RFC 6455 sections 5.2 (frames) and 5.3 (masks), RFC 7118 sections 4 and 5 (one message a
SIP message, subprotocol "sip").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from probetest.sip.message import MAX_MESSAGE_BYTES

HANDSHAKE_BYTES = 16_384  # of an HTTP head, at most
BROKEN = "no WebSocket frame"
_HEAD_END = b"\r\n\r\n"
_OPENS = re.compile(rb"GET \S+ HTTP/1\.1\r\n|HTTP/1\.1 101 ")
_SIP = re.compile(rb"\r\nsec-websocket-protocol:[^\r\n]*\bsip\b", re.IGNORECASE)
_CONTINUATION, _TEXT, _BINARY, _FIRST_CONTROL, _PONG = 0, 1, 2, 8, 10
_LENGTH16, _LENGTH64 = 126, 127
_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80


def opens_websocket(data: bytes) -> int | None:
    r"""Return how long the HTTP head before SIP over WebSocket is; 0: not all there; None: not it.

    >>> opens_websocket(b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: sip\r\n\r\n")
    47
    """
    if not _OPENS.match(data):
        return None
    end = data.find(_HEAD_END)
    if end < 0:
        return 0 if len(data) < HANDSHAKE_BYTES else None
    return end + len(_HEAD_END) if _SIP.search(data, 0, end) else None


@dataclass(slots=True)
class Frames:
    """What of one direction is not yet given."""

    kept: bytearray = field(default_factory=bytearray)
    _message: bytearray = field(default_factory=bytearray)  # its frames so far
    _is_open: bool = False  # a message whose last frame is to come
    _is_broken: bool = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield the messages that end in *data*; at last bytes that are none, with a complaint."""
        if self._is_broken:
            return
        self.kept += data
        while (size := self._frame_bytes()) is not None:
            if size == 0:
                self._is_broken = True
                yield bytes(self._message + self.kept), BROKEN
                self.kept.clear()
                self._message.clear()
                return
            if self._take(size):
                yield bytes(self._message), ""
                self._message.clear()

    def _frame_bytes(self) -> int | None:
        """Return how long the frame at the front is, None while it is not there, 0: it is none."""
        kept = self.kept
        if len(kept) < 2:  # noqa: PLR2004 - opcode and length
            return None
        code, length = kept[0] & 0x0F, kept[1] & 0x7F
        is_control = code >= _FIRST_CONTROL
        if kept[0] & _RESERVED or _BINARY < code < _FIRST_CONTROL or code > _PONG:
            return 0
        if not is_control and (code == _CONTINUATION) is not self._is_open:
            return 0
        head = 2 + {_LENGTH16: 2, _LENGTH64: 8}.get(length, 0)
        if len(kept) < head:
            return None
        if head > 2:  # noqa: PLR2004 - the length comes in a field of its own
            length = int.from_bytes(kept[2:head])
        size = head + (4 if kept[1] & _MASKED else 0) + length
        if size + len(self._message) > MAX_MESSAGE_BYTES:
            return 0
        return size if size <= len(kept) else None

    def _take(self, size: int) -> bool:
        """Take the frame at the front; say whether a message is whole with it."""
        frame = bytes(self.kept[:size])
        del self.kept[:size]
        if frame[0] & 0x0F >= _FIRST_CONTROL:
            return False
        at = 2 + {_LENGTH16: 2, _LENGTH64: 8}.get(frame[1] & 0x7F, 0)
        if frame[1] & _MASKED:
            mask, payload = frame[at : at + 4], frame[at + 4 :]
            repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
            number = int.from_bytes(payload) ^ int.from_bytes(repeated)
            self._message += number.to_bytes(len(payload))
        else:
            self._message += frame[at:]
        self._is_open = not frame[0] & _FINAL
        return not self._is_open
