"""The SIP side of a tap: messages become calls, and announcements of media.

datagrams ─▶ messages ─┬▶ calls ─▶ CallRecord
└▶ SDP ──▶ Announcement
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from harness.packets.capture import Capture
from harness.packets.frame import TCP, Datagrams
from harness.premises import Premises
from harness.records import CallRecord, legible
from probetest.calls.call import Call
from probetest.calls.call_row import call_record
from probetest.calls.dialogs import Tally
from probetest.calls.families import Families
from probetest.calls.joining import Joining
from probetest.calls.parties import PartyReader
from probetest.calls.waterfall import Waterfall
from probetest.duplicates import Copies
from probetest.invites import Invites
from probetest.media.announcements import Announcement
from probetest.sip import sdp
from probetest.sip.defects import Defect
from probetest.sip.rows import udp_rows
from probetest.sip.seen import Seen, SipReader

Witness = Callable[[Seen], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the SIP of a tap says."""

    calls: tuple[CallRecord, ...]  # in order of time
    waterfall: Waterfall
    invites: Invites
    unreadable: tuple[tuple[int, str], ...]  # the first of them: frame, and why
    by_interface: Counter[int]  # messages
    opaque: Counter[str]  # what cannot be read, such as TLS
    crowded_out: int  # calls that were closed early for want of room
    cut: int  # messages whose end a snapshot length took; what is there was read


class Listener:
    """What is known of a device's SIP while its captures are read."""

    def __init__(
        self,
        premises: Premises,
        *,
        device: str = "",
        show_restricted: bool = False,
        witness: Witness | None = None,
        joining: Joining | None = None,
    ) -> None:
        """Begin with nothing; *witness* is told each message, *joining* says what joins legs."""
        self._device, self._witness = device, witness
        self._parties = PartyReader(premises, show_restricted=show_restricted)
        self._tally, self._sip = Tally(Families(joining or Joining())), SipReader()
        self._by_interface: Counter[int] = Counter()
        self._calls: list[CallRecord] = []
        self._cut = 0

    def take(self, datagrams: Datagrams, copies: Copies, about_ns: int) -> list[Announcement]:
        """Take in the fresh rows of a block seen at *about_ns*; return what they announce."""
        announced = self._listen(self._sip.read(datagrams, copies))
        self._keep(self._tally.close_before(about_ns))
        self._tally.take_partial()  # they have no parties, and are counted
        return announced

    def finish(self) -> list[Announcement]:
        """Return what unfinished messages announce; no block may follow."""
        return self._listen(self._sip.close())

    def heard(self, frames: int) -> Heard:
        """Return everything, once finished; *frames* were read in all."""
        self._keep(self._tally.calls())
        self._calls.sort(key=lambda call: (call.at_ns, call.frame))
        return Heard(
            calls=tuple(self._calls),
            waterfall=self._tally.waterfall(frames, len(self._calls)),
            invites=Invites.of(*self._tally.columns()),
            unreadable=tuple(self._tally.unreadable),
            by_interface=self._by_interface,
            opaque=self._sip.opaque,
            crowded_out=self._tally.crowded_out,
            cut=self._cut,
        )

    def _listen(self, messages: Iterable[Seen]) -> list[Announcement]:
        """Take down what *messages* say."""
        announced = []
        for seen in messages:
            self._tally.add(seen)
            if self._witness is not None:
                self._witness(seen)
            self._by_interface[seen.interface] += 1
            gist = seen.gist
            if seen.defects:  # few have any
                self._cut += gist is not None and Defect.INCOMPLETE in seen.defects
            if gist is not None and gist.body and not seen.copy:
                call_id = legible(gist.call_id)
                announced += [
                    Announcement(seen.at_ns, call_id, one) for one in sdp.parse(gist.body)
                ]
        return announced

    def _keep(self, calls: Iterable[Call]) -> None:
        """Write the rows of *calls*, which have ended."""
        self._calls += (call_record(call, self._parties, device=self._device) for call in calls)


def only_sip(
    datagrams: Datagrams, copies: Copies, opaque: Counter[str]
) -> tuple[Datagrams, Copies]:
    """Return the fresh rows that may be SIP, with bytes of their own; count what is opaque.

    A listener makes the same of them as of all rows.
    """
    over_tcp = np.flatnonzero((datagrams.protocol == TCP) & datagrams.fresh)
    rows = np.sort(np.concatenate((udp_rows(datagrams, opaque), over_tcp)))
    some = datagrams.select(rows)
    starts, sizes = some.payload_offset, some.payload_bytes.astype(np.int64)
    view = datagrams.data.data
    ends = (starts + sizes).tolist()
    data = b"".join(view[start:end] for start, end in zip(starts.tolist(), ends, strict=True))
    some = replace(
        some,
        capture=_without_frames(datagrams.capture),
        data=np.frombuffer(data, np.uint8),
        payload_offset=np.cumsum(sizes) - sizes,
    )
    return some, Copies(copies.kind[rows], copies.original[rows])


def _without_frames(capture: Capture) -> Capture:
    """Return a capture with nothing in it."""
    names = ("at_ns", "offset_bytes", "captured_bytes", "original_bytes", "linktype", "interface")
    columns = {name: getattr(capture, name)[:0].copy() for name in names}
    return replace(capture, data=capture.data[:0].copy(), **columns)
