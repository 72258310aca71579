"""The SIP dataset: what one tap saw, as rows that the views are made of.

    capture ─▶ datagrams ─▶ copies ─▶ messages ─▶ calls ──▶ CallRecord
                              │          └▶ SDP ─┐
                              └──────▶ RTP ──────┴────────▶ StreamRecord

Law: SIP and RTP are counted apart, and each interface apart: a tap of which one side is dead, or
which lets only one of them through, must be seen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.packets.blocks import Block, whole
from harness.packets.capture import Capture
from harness.packets.frame import Datagrams, Decoder
from harness.premises import Premises
from harness.records import CallRecord, PortRecord, RtcpRecord, StreamRecord
from probetest.calls.joining import Joining
from probetest.calls.waterfall import Waterfall
from probetest.duplicates import WINDOW_NS, Copies, find_copies
from probetest.invites import Invites
from probetest.listening import Heard, Listener, Witness, only_sip
from probetest.media.announcements import Announcement, Announcements
from probetest.media.mos import ASSUMED_DELAY_MS
from probetest.media.streams import StreamReader
from probetest.watched import Ports, Watched

MAX_NAMED = 5  # single packets, in words


@dataclass(frozen=True, slots=True)
class TapData:
    """Everything that one capture of one device says."""

    device: str
    from_ns: int  # of its first and last frame; both 0 without any
    to_ns: int
    watched: tuple[tuple[int, int], ...]  # spans of time, the ends not included
    waterfall: Waterfall
    invites: Invites
    calls: tuple[CallRecord, ...]
    streams: tuple[StreamRecord, ...]
    rtcp: tuple[RtcpRecord, ...]
    ports: tuple[PortRecord, ...]
    unreadable: tuple[tuple[int, str], ...]  # frame of what began as SIP, and why it does not read
    losses: tuple[str, ...]  # what was not captured or not read; empty: all of it is here
    notes: tuple[str, ...] = ()  # what else is to be known of the figures


def read_tap(
    capture: Capture | Iterable[Block],
    premises: Premises,
    *,
    device: str = "",
    show_restricted: bool = False,
    window_ns: int = WINDOW_NS,
) -> TapData:
    """Return what a capture shows, given whole or in blocks, those of several files in a row.

    Raises:
        InputError: a link type that is not read here.
    """
    blocks = (whole(capture),) if isinstance(capture, Capture) else capture
    reader = TapReader(
        premises, device=device, show_restricted=show_restricted, window_ns=window_ns
    )
    for block in blocks:
        reader.add(block)
    return reader.close()


class Listening(Protocol):
    """A `Listener` here or elsewhere: what is sent is answered in order, a block at a time."""

    def send(self, datagrams: Datagrams, copies: Copies, about_ns: int) -> None:
        """Give it a block; the one before must have been received."""
        ...

    def receive(self) -> list[Announcement]:
        """Return what the block that was sent announces; after the last, what is unfinished."""
        ...

    def send_finish(self, frames: int) -> None:
        """Say that no block follows; *frames* were read in all."""
        ...

    def receive_heard(self) -> Heard:
        """Return everything."""
        ...


class ListeningHere:
    """A `Listener` in this process."""

    def __init__(self, listener: Listener) -> None:
        """Keep it."""
        self._listener, self._frames = listener, 0
        self._announced: list[Announcement] = []

    def send(self, datagrams: Datagrams, copies: Copies, about_ns: int) -> None:
        """Take in a block."""
        self._announced = self._listener.take(datagrams, copies, about_ns)

    def receive(self) -> list[Announcement]:
        """Return what was announced."""
        return self._announced

    def send_finish(self, frames: int) -> None:
        """Finish."""
        self._announced, self._frames = self._listener.finish(), frames

    def receive_heard(self) -> Heard:
        """Return everything."""
        return self._listener.heard(self._frames)


class TapReader:
    """What is known of a device while its captures are read.

    Nothing is kept of a block once the next one's SIP is under way, but for the packets that are
    still waited for: fragments, unfinished messages, and the RTP of two seconds, whose SDP may be
    late.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of who asks
        self,
        premises: Premises,
        *,
        device: str = "",
        show_restricted: bool = False,
        window_ns: int = WINDOW_NS,
        delay_ms: float = ASSUMED_DELAY_MS,
        wireshark: bool = False,
        witness: Witness | None = None,
        joining: Joining | None = None,
        listen: Callable[[Listener], Listening] = ListeningHere,
    ) -> None:
        """Begin; copies are looked for within *window_ns*, and *witness* is told each message.

        MOS assumes a delay of *delay_ms* one way, which no tap can know; *wireshark* asks for its
        figures of each stream beside ours. *joining* says what
        joins the legs of a call, *listen* where SIP is read.
        """
        self._device, self._window_ns = device, window_ns
        listener = Listener(
            premises,
            device=device,
            show_restricted=show_restricted,
            witness=witness,
            joining=joining,
        )
        self._listening = listen(listener)
        self._here = isinstance(self._listening, ListeningHere)
        self._opaque: Counter[str] = Counter()  # that was not sent to who listens elsewhere
        self._decoder, self._announced = Decoder(), Announcements()
        self._streams = StreamReader(device=device, delay_ms=delay_ms, wireshark=wireshark)
        self._ports, self._watched = Ports(device), Watched()
        self._held: tuple[Datagrams, Copies] | None = None  # whose SIP is under way

    @property
    def frames(self) -> int:
        """Return how many were taken in."""
        return self._watched.frames

    def add(self, block: Block) -> None:
        """Take in the next block; after a file's last one, the first of the device's next file.

        Raises:
            InputError: a link type that is not read here.
        """
        block = self._watched.add(block)
        datagrams = self._decoder.read(block)
        copies = find_copies(datagrams, window_ns=self._window_ns)
        self._ports.add(block, datagrams, copies)
        before = self._received()
        sip = (datagrams, copies)
        if not self._here:
            sip = only_sip(datagrams, copies, self._opaque)
        self._listening.send(*sip, self._watched.about_ns)
        if before is not None:
            self._streams.add(*before, self._announced)
        self._held = (datagrams, copies)

    def close(self) -> TapData:
        """Return everything; no block may follow."""
        self._decoder.assembly.close()
        before = self._received()
        self._listening.send_finish(self._watched.frames)
        self._announce()
        if before is not None:
            self._streams.add(*before, self._announced)
        del before
        media = self._streams.finish(self._announced)
        heard = self._listening.receive_heard()
        spans = self._watched.spans()
        return TapData(
            device=self._device,
            from_ns=spans[0][0] if spans else 0,
            to_ns=spans[-1][1] - 1 if spans else 0,
            watched=spans,
            waterfall=heard.waterfall,
            invites=heard.invites,
            calls=heard.calls,
            streams=media.streams,
            rtcp=media.rtcp,
            ports=tuple(
                self._ports.records(
                    heard.by_interface, media.rtp_by_interface, media.rtcp_by_interface
                )
            ),
            unreadable=heard.unreadable,
            losses=(*self._watched.losses, *self._not_read(heard)),
            notes=(*media.notes, *self._notes()),
        )

    def _received(self) -> tuple[Datagrams, Copies] | None:
        """Return the block before, once its SIP was read."""
        before, self._held = self._held, None
        if before is not None:
            self._announce()
        return before

    def _announce(self) -> None:
        """Note the announcements that are under way."""
        for one in self._listening.receive():
            self._announced.add(one)

    def _not_read(self, heard: Heard) -> Iterator[str]:
        """Yield what could not be put together or read, one sentence each."""
        assembly = self._decoder.assembly
        for one in assembly.named[:MAX_NAMED]:
            yield f"frame {one.frame}: part of a packet that was not put together: {one.why}"
        if (more := assembly.incomplete - MAX_NAMED) > 0:
            yield f"{more} more packets were not put together from their fragments"
        for what, count in sorted((heard.opaque + self._opaque).items()):
            yield f"{count} cannot be read: {what}"
        if heard.cut:
            yield f"{heard.cut} SIP messages were cut by the snapshot length of the capture"
        if heard.crowded_out:
            yield f"{heard.crowded_out} calls were closed early: too many Call-IDs at once"

    def _notes(self) -> Iterator[str]:
        """Yield what is well, but explains a figure."""
        if self._decoder.assembly.repeated:
            yield f"{self._decoder.assembly.repeated} fragments came twice: the tap's copies"
