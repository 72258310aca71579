"""The SIP dataset: what one tap saw, as rows that the views are made of.

    capture ─▶ datagrams ─▶ copies ─▶ messages ─▶ calls ──▶ CallRecord
                              │          └▶ SDP ─┐
                              └──────▶ RTP ──────┴────────▶ StreamRecord

Law: SIP and RTP are counted apart, and each interface apart: a tap of which one side is dead, or
which lets only one of them through, must be seen.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.dialplan import DialPlan
from harness.errors import InputError
from harness.packets.capture import Capture, Ints
from harness.packets.frame import Datagrams, decode
from harness.premises import Premises
from harness.records import CallOutcome, CallRecord, PortRecord, StreamRecord, legible
from probetest.calls import parties
from probetest.calls.dialogs import FAILURE, REDIRECTION, Call, Tally, Waterfall
from probetest.duplicates import Copies, find_copies
from probetest.media.announcements import Announcement, Announcements
from probetest.media.streams import Reading, read_streams
from probetest.sip import sdp
from probetest.sip.message import parse
from probetest.sip.seen import Seen, read_messages, udp_rows

REQUEST_TERMINATED = 487  # RFC 3261 section 21.4.25: the caller gave up

Watch = Callable[[Iterator[Seen], int], Iterator[Seen]]  # messages pass through it, to be counted


@dataclass(frozen=True, slots=True)
class TapData:
    """Everything that one capture of one device says."""

    device: str
    from_ns: int  # of its first and last frame; both 0 without any
    to_ns: int
    waterfall: Waterfall
    calls: tuple[CallRecord, ...]
    streams: tuple[StreamRecord, ...]
    ports: tuple[PortRecord, ...]
    unreadable: tuple[tuple[int, str], ...]  # frame of what began as SIP, and why it does not read
    losses: tuple[str, ...]  # what was not captured or not read; empty: all of it is here


@dataclass(slots=True)
class _Heard:
    """What the messages of a capture say, taken down in one pass."""

    tally: Tally = field(default_factory=Tally)
    announced: Announcements = field(default_factory=Announcements)
    by_interface: Counter[int] = field(default_factory=Counter)

    def listen(self, messages: Iterator[Seen]) -> None:
        """Take down all *messages*."""
        for seen in messages:
            self.tally.add(seen)
            self.by_interface[seen.interface] += 1
            if seen.gist is not None and seen.gist.body and not seen.copy:
                for media in sdp.parse(seen.gist.body):
                    self.announced.add(Announcement(seen.at_ns, legible(seen.gist.call_id), media))


def read_tap(
    capture: Capture,
    premises: Premises,
    *,
    device: str = "",
    show_restricted: bool = False,
    watch: Watch | None = None,
) -> TapData:
    """Return what *capture* shows; *watch* sees the messages go by, and about how many will.

    Raises:
        InputError: a link type that is not read here.
    """
    datagrams = decode(capture)
    copies = find_copies(datagrams)
    rows, heard = udp_rows(datagrams), _Heard()
    messages = read_messages(datagrams, copies, rows)
    heard.listen(messages if watch is None else watch(messages, len(rows)))
    calls = heard.tally.calls()
    media = read_streams(datagrams, copies, heard.announced, device=device)
    timed = capture.at_ns[capture.at_ns > 0]
    return TapData(
        device=device,
        from_ns=int(timed.min()) if len(timed) else 0,
        to_ns=int(timed.max()) if len(timed) else 0,
        waterfall=heard.tally.waterfall(len(capture), len(calls)),
        calls=tuple(
            call_record(call, premises, device=device, show_restricted=show_restricted)
            for call in calls
        ),
        streams=media.streams,
        ports=_ports(datagrams, copies, media, heard.by_interface, device),
        unreadable=tuple(heard.tally.unreadable),
        losses=tuple(_losses(capture, datagrams)),
    )


def call_record(
    call: Call, premises: Premises, *, device: str = "", show_restricted: bool = False
) -> CallRecord:
    """Return the row of one call."""
    invite, plan = call.first.message, premises.plan
    if invite is None:  # a call is opened by an INVITE that was read whole
        raise InputError("no INVITE", field="call", value=call.first.gist.call_id)
    source = parties.source(invite, plan, show_restricted=show_restricted)
    dialled = parties.destination(invite, plan)
    seen, final = call.first.seen, call.final
    direction, rule = parties.way(
        (seen.source.address, seen.destination.address),
        (source, dialled),
        inside=premises.inside,
        customer_numbers=premises.numbers,
    )
    outcome, target = _outcome(call, plan, dialled.text)
    answered = final.at_ns if final is not None and final.status < REDIRECTION else None
    ended = call.bye.at_ns if call.bye is not None else None
    onward = (*(hop.seen.frame for hop in call.hops), *(leg.first.seen.frame for leg in call.legs))
    return CallRecord(
        at_ns=seen.at_ns,
        frame=seen.frame,
        call_id=legible(invite.call_id),
        source=source.text,
        source_rule=source.rule,
        destination=dialled.text,
        destination_rule=dialled.rule,
        direction=direction,
        direction_rule=rule,
        outcome=outcome,
        target=target,
        status=0 if final is None else final.status,
        frames=(seen.frame, *onward, *(() if final is None else (final.frame,))),
        device=device,
        client=seen.source.address,
        answered_ns=answered,
        duration_ns=None if answered is None or ended is None else max(0, ended - answered),
    )


def _outcome(call: Call, plan: DialPlan, dialled: str) -> tuple[CallOutcome, str]:
    """Return what became of *call*, and where it was sent ("": nowhere, or not seen)."""
    status = 0 if call.final is None else call.final.status
    if not status:
        return CallOutcome.NONE, ""
    if REDIRECTION <= status < FAILURE:
        contact = _contact(call.redirection)
        target = plan.reading(contact, kind="uri").text if contact else ""
        return (CallOutcome.REDIRECTED if target else CallOutcome.REFUSED), target
    if status >= FAILURE:
        given_up = status == REQUEST_TERMINATED
        return (CallOutcome.CANCELLED if given_up else CallOutcome.REFUSED), ""
    answered = [leg for leg in call.legs if leg.final and leg.final.status < REDIRECTION]
    messages = [leg.first.message for leg in answered or call.legs]
    targets = {parties.destination(one, plan).text for one in messages if one is not None}
    if len(targets) != 1:
        return CallOutcome.ANSWERED, ""
    target = targets.pop()
    return (CallOutcome.ALLOWED if target == dialled else CallOutcome.REDIRECTED), target


def _contact(response: bytes) -> str:
    """Return where a redirection leads, "" when that cannot be read."""
    try:
        return parse(response).first("Contact") or ""
    except InputError:
        return ""


def _ports(
    datagrams: Datagrams, copies: Copies, media: Reading, sip: Counter[int], device: str
) -> tuple[PortRecord, ...]:
    """Return what each interface of the capture delivered."""
    interface = datagrams.capture.interface
    of_row = datagrams.interface
    size = int(interface.max(initial=-1)) + 1

    def count(places: Ints) -> list[int]:
        found: list[int] = np.bincount(places, minlength=size).tolist()
        return found

    columns = (
        count(interface.astype(np.int64)),
        [sip[number] for number in range(size)],
        count(of_row[media.rtp_rows].astype(np.int64)),
        count(of_row[media.rtcp_rows].astype(np.int64)),
        count(of_row[copies.is_copy].astype(np.int64)),
    )
    return tuple(
        PortRecord(device, number, *row) for number, row in enumerate(zip(*columns, strict=True))
    )


def _losses(capture: Capture, datagrams: Datagrams) -> Iterator[str]:
    """Yield what the capture lacks, one sentence each."""
    if capture.cut is not None:
        yield f"damaged, read up to here: {capture.cut}"
    if capture.interface_drops:
        yield f"{capture.interface_drops} frames were lost by the host that captured them"
    if datagrams.fragments:
        yield f"{datagrams.fragments} frames hold parts of IP packets, which are not put together"
    if capture.untimed:
        yield f"{capture.untimed} frames have no time"
