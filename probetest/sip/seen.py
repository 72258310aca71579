"""Every SIP message of a capture, over UDP and TCP, on any port, in order of time.

Laws: a message is yielded once for each time it was seen, marked when it is the tap's copy; what
begins as SIP and does not read is yielded too, with the reason; keep-alives (RFC 5626 section
3.5.1) are no messages. Over TCP the length that a message declares ends it; where that cannot be
followed, reading goes on at the next start line, and what lies between is told.

Sources: RFC 3261 sections 7.5 and 18.3 (Content-Length frames a stream), RFC 5626.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

import numpy as np
import numpy.typing as npt

from harness.errors import InputError
from harness.packets.capture import Ints, at_every_byte
from harness.packets.frame import UDP, Datagrams, Endpoint
from harness.packets.headers import Bools
from harness.packets.tcp_stream import Stream, reassemble
from probetest.duplicates import Copies
from probetest.sip.brief import Brief, brief
from probetest.sip.message import MAX_MESSAGE_BYTES, looks_like_sip

MIN_BYTES = 20  # of a start line with the shortest URI
PREFIX_BYTES = 256  # enough of a start line to know it
_REST = rb" (?:sips?|tel|urn):[^\s]{1,512} SIP/2\.0\r?\n|SIP/2\.0 [1-6][0-9]{2} "
_START = re.compile(rb"[A-Z]{3,16}" + _REST)
_KNOWN = (  # methods that can be told from the letters before them, where a body has no last line
    rb"(?:INVITE|ACK|BYE|CANCEL|OPTIONS|REGISTER|PRACK|UPDATE|INFO|REFER|MESSAGE|PUBLISH"
    rb"|SUBSCRIBE|NOTIFY)"
)
_NEXT_START = re.compile(_KNOWN + _REST)
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)
_LINE_ENDS = (13, 10)
_HEAD_END = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class Seen:
    """One message, or what began as one, where and when it was seen."""

    at_ns: int
    frame: int  # that brought its first byte
    interface: int
    source: Endpoint
    destination: Endpoint
    tcp: bool
    copy: bool  # the tap has shown it already
    data: bytes
    gist: Brief | None  # None: it does not read
    why: str = ""


def udp_rows(datagrams: Datagrams) -> Ints:
    """Return the UDP rows whose first bytes are text, in order of time: SIP is among them."""
    long = (datagrams.protocol == UDP) & (datagrams.payload_bytes >= MIN_BYTES)
    rows = np.flatnonzero(long)
    words = at_every_byte(datagrams.data, ">u4")[datagrams.payload_offset[rows]]
    text = np.ones(len(rows), np.bool_)
    for shift in (0, 8, 16, 24):
        text &= _is_text(words >> np.uint32(shift) & np.uint32(0xFF))
    rows = rows[text]
    return rows[np.argsort(datagrams.at_ns[rows], kind="stable")]


def read_messages(datagrams: Datagrams, copies: Copies, rows: Ints) -> Iterator[Seen]:
    """Yield the messages in the UDP *rows* (see `udp_rows`) and in all TCP streams, by time."""
    over_tcp = sorted(_over_tcp(datagrams), key=_moment)
    yield from merge(_over_udp(datagrams, copies, rows), over_tcp, key=_moment)


def split(data: bytes, *, from_start: bool) -> Iterator[tuple[int, bytes, str]]:
    """Yield offset, bytes and complaint ("": a whole message) of what a stream of SIP holds.

    Without *from_start* what comes before the first start line belongs to a message that began
    before the capture, and is left out.
    """
    at, head_end = 0, -1
    while (at := _after_keep_alives(data, at)) < len(data):
        if at >= head_end:
            found = _HEAD_END.search(data, at)
            head_end = len(data) + 1 if found is None else found.end()
        end = _end(data, at, head_end) if _START.match(data, at) else None
        if end is not None:
            yield at, data[at:end], "" if end <= len(data) else "the stream ends inside it"
            at = end
            continue
        following = _NEXT_START.search(data, at + 1)
        following_at = len(data) if following is None else following.start()
        if at or from_start or looks_like_sip(data[at : at + PREFIX_BYTES]):
            yield at, data[at:following_at], "no message that ends where it says"
        at = following_at


def _after_keep_alives(data: bytes, at: int) -> int:
    """Return where the next message begins."""
    while data.startswith((b"\r", b"\n"), at):
        at += 1
    return at


def _end(data: bytes, start: int, head_end: int) -> int | None:
    """Return where the message at *start* ends, or None when it does not say."""
    if head_end > min(len(data), start + MAX_MESSAGE_BYTES):
        return None
    length = _LENGTH.search(data, start, head_end)
    return head_end + (0 if length is None else int(length[1]))


def _over_udp(datagrams: Datagrams, copies: Copies, rows: Ints) -> Iterator[Seen]:
    """Yield the messages in datagrams."""
    interface = datagrams.interface
    copied = copies.is_copy
    for row in rows.tolist():
        data = datagrams.payload(row)
        if not looks_like_sip(data[:PREFIX_BYTES]):
            continue
        frame = int(datagrams.frame[row])
        gist, why = _gist(data)
        if gist is None and not datagrams.complete[row]:
            why = f"not captured whole ({why})"
        yield Seen(
            at_ns=int(datagrams.at_ns[row]),
            frame=frame,
            interface=int(interface[row]),
            source=datagrams.source(row),
            destination=datagrams.destination(row),
            tcp=False,
            copy=bool(copied[row]),
            data=data,
            gist=gist,
            why=why,
        )


def _over_tcp(datagrams: Datagrams) -> Iterator[Seen]:
    """Yield the messages in TCP streams that hold a start line of SIP."""
    for stream in reassemble(datagrams):
        if _NEXT_START.search(stream.data) is None:
            continue
        for offset, data, complaint in split(stream.data, from_start=stream.from_start):
            yield _in_stream(stream, offset, data, complaint, datagrams)


def _in_stream(
    stream: Stream, offset: int, data: bytes, complaint: str, datagrams: Datagrams
) -> Seen:
    """Return one message of a stream."""
    piece = stream.piece(offset)
    gist, why = (None, complaint) if complaint else _gist(data)
    if complaint and stream.gap is not None:
        why = f"{complaint}: {stream.gap.why}, frame {stream.gap.frame}"
    return Seen(
        at_ns=piece.at_ns,
        frame=piece.frame,
        interface=int(datagrams.capture.interface[piece.frame - 1]),
        source=stream.source,
        destination=stream.destination,
        tcp=True,
        copy=False,
        data=data,
        gist=gist,
        why=why,
    )


def _gist(data: bytes) -> tuple[Brief | None, str]:
    """Return the gist of a message, or why there is none."""
    try:
        return brief(data), ""
    except InputError as error:
        return None, error.why


def _is_text(byte: npt.NDArray[np.uint32]) -> Bools:
    shown: Bools = ((byte >= ord(" ")) & (byte <= ord("~"))) | np.isin(byte, _LINE_ENDS)
    return shown


def _moment(seen: Seen) -> tuple[int, int]:
    return (seen.at_ns, seen.frame)
