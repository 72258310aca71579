"""What a capture holds that a figure can be made of: every INVITE, and what it was counted as.

    blocks ─▶ datagrams ─▶ those that are read (`View`) ─▶ copies ─▶ messages ─▶ steps ─▶ Evidence

Law: a view that reads less is read from the packets on, so what it does not see changes everything
behind it as it would in a probe that does not see it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from harness.dialled import taken_apart
from harness.packets.blocks import Block
from harness.packets.frame import Datagrams, Decoder
from harness.premises import DialledBy, Premises
from harness.records import legible
from probetest.calls.call import Call
from probetest.calls.dialogs import Tally
from probetest.calls.families import Families
from probetest.calls.joining import Joining
from probetest.calls.parties import PartyReader
from probetest.calls.waterfall import Step, Steps
from probetest.compare.way import ALL, Blind, View, hidden
from probetest.duplicates import WINDOW_NS, find_copies
from probetest.sip.message import SipMessage
from probetest.sip.seen import Seen, SipReader
from probetest.watched import Watched

OPENING = ("REGISTER", "INVITE", "SUBSCRIBE", "NOTIFY", "OPTIONS", "PUBLISH", "MESSAGE")


class Said(NamedTuple):
    """The parties of an INVITE, each as it can be read."""

    source: str
    source_from: str  # by From alone
    destination: str  # as the site says
    by_uri: str
    by_to: str
    source_sent: str  # as the following ones: the user part, as it was sent
    source_from_sent: str
    destination_sent: str
    by_uri_sent: str
    by_to_sent: str


@dataclass(frozen=True, slots=True)
class Invite:
    """One INVITE as it was seen, or the first request of another dialog."""

    at_ns: int
    frame: int
    call_id: str
    step: Step | None  # None: no INVITE
    payload: int  # equal where the message is
    said: Said
    status: int = 0  # the call's final response; 0: none was seen
    duration_ns: int | None = None  # from its answer to its end


@dataclass(frozen=True, slots=True)
class Evidence:
    """All INVITEs of a capture, in order of time."""

    invites: tuple[Invite, ...]
    others: tuple[Invite, ...]  # the first request of each Call-ID that no INVITE opened
    blind: frozenset[Blind]  # what can be overlooked here
    interfaces: tuple[int, ...]  # that brought SIP


@dataclass(slots=True)
class _Reading:
    """What is kept while a capture is read."""

    parties: PartyReader
    by_uri: PartyReader
    by_to: PartyReader
    tally: Tally
    seen: list[tuple[Seen, Said]] = field(default_factory=list)  # INVITEs; without their bytes
    others: dict[str, Invite] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)  # Call-IDs
    calls: dict[int, tuple[Said, int, int | None]] = field(default_factory=dict)
    status: dict[str, tuple[int, int | None]] = field(default_factory=dict)  # by Call-ID
    interfaces: set[int] = field(default_factory=set)
    number: int = 0

    def listen(self, messages: Iterable[Seen]) -> None:
        """Take in *messages*."""
        newest_ns = 0
        for seen in messages:
            # Numbered one by one: a TCP segment can bring two of them in one frame.
            self.number += 1
            self.tally.add(seen._replace(frame=self.number))
            self.interfaces.add(seen.interface)
            newest_ns = max(newest_ns, seen.at_ns)
            if seen.gist is not None and not seen.gist.status:
                self._request(seen, seen.gist.method, seen.gist.call_id)
        self.ended(self.tally.close_before(newest_ns))
        self.tally.take_partial()

    def ended(self, calls: Iterable[Call]) -> None:
        """Keep what became of *calls*."""
        for call in calls:
            first = call.first.message
            if first is None or first.method is None:
                continue
            final = call.final
            status = 0 if final is None else final.status
            answered = final is not None and final.status < 300  # noqa: PLR2004 - a 2xx
            lasted = None
            if final is not None and answered and call.bye is not None:
                lasted = max(0, call.bye.at_ns - final.at_ns)
            client = call.first.seen.source.address
            said = self._said(first, client, call.dialled.message)
            self.calls[call.first.seen.frame] = (said, status, lasted)
            for one in (call, *call.legs):
                self.status.setdefault(one.first.gist.call_id, (status, lasted))

    def _request(self, seen: Seen, method: str, call_id: str) -> None:
        if method == "INVITE":
            message = seen.message
            said = _NOBODY
            if message is not None:
                said = self._said(message, seen.source.address)
            gist = None if seen.gist is None else seen.gist._replace(body=b"")
            kept = seen._replace(frame=self.number, data=b"", gist=gist, row=seen.frame)
            self.seen.append((kept._replace(link=hash(seen.data)), said))
        elif method in OPENING and call_id not in self.known:
            self.others[call_id] = Invite(
                seen.at_ns, seen.frame, legible(call_id), None, hash(seen.data), _NOBODY
            )
        self.known.add(call_id)

    def _said(self, first: SipMessage, client: str, longest: SipMessage | None = None) -> Said:
        """Return the parties of an INVITE, in every way."""
        found = self.parties.decide(first, client, longest)
        by_uri = self.by_uri.decide(first, client, longest).destination
        by_to = self.by_to.decide(first, client, longest).destination
        sender = self.parties.premises.plan.reading(first.from_uri, kind="uri")
        last = longest or first
        source, destination = found.source, found.destination
        hidden_one = source.text == "restricted"
        return Said(
            source.text,
            sender.text,
            destination.text,
            by_uri.text,
            by_to.text,
            source.text if hidden_one else taken_apart(source.raw).user,
            taken_apart(first.from_uri).user,
            taken_apart(destination.raw).user,
            taken_apart(last.request_uri).user,
            taken_apart(last.to_uri).user,
        )

    def invites(self) -> tuple[Invite, ...]:
        """Return all of them, once everything was read."""
        steps = self.tally.by_frame()
        found = []
        for seen, own in self.seen:
            step = steps.get(seen.frame)
            gist = seen.gist
            if step is None or gist is None:
                continue
            said = own
            status, lasted = self.status.get(gist.call_id, (0, None))
            if step is Step.CALL:
                said, status, lasted = self.calls.get(seen.frame, (said, status, lasted))
            found.append(
                Invite(
                    at_ns=seen.at_ns,
                    frame=seen.row,
                    call_id=legible(gist.call_id),
                    step=step,
                    payload=seen.link,
                    said=said,
                    status=status,
                    duration_ns=lasted,
                )
            )
        return tuple(found)


_NOBODY = Said("", "", "", "", "", "", "", "", "", "")


def read_evidence(
    blocks: Iterable[Block],
    premises: Premises,
    *,
    view: View = ALL,
    window_ns: int = WINDOW_NS,
    joining: Joining | None = None,
) -> Evidence:
    """Return every INVITE of a capture, as far as *view* reads it.

    Raises:
        InputError: a link type that is not read here.
    """
    decoder, sip, watched = Decoder(), SipReader(), Watched()
    reading = _Reading(
        PartyReader(premises),
        PartyReader(replace(premises, dialled=DialledBy.RURI)),
        PartyReader(replace(premises, dialled=DialledBy.TO)),
        Tally(Families(joining or Joining()), Steps(with_frames=True)),
    )
    blind: set[Blind] = set()
    for block in blocks:
        datagrams = decoder.read(watched.add(block))
        blind |= {one for one in Blind if one not in blind and hidden(one, datagrams).any()}
        reading.listen(_messages(sip, datagrams, view, window_ns))
    reading.listen(sip.close())
    reading.ended(reading.tally.calls())
    return Evidence(
        invites=reading.invites(),
        others=tuple(one for name, one in reading.others.items()),
        blind=frozenset(blind),
        interfaces=tuple(sorted(reading.interfaces)),
    )


def _messages(sip: SipReader, datagrams: Datagrams, view: View, window_ns: int) -> Iterable[Seen]:
    """Return the messages of a block that *view* reads."""
    if view != ALL:
        datagrams = datagrams.select(view.rows(datagrams))
    return sip.read(datagrams, find_copies(datagrams, window_ns=window_ns))
