"""Why one call was counted as it was: its messages, its parties, its legs, its media.

    first reading    all SIP: which calls has the Call-ID, and which other Call-IDs are their legs?
    second reading   everything: the messages of just these Call-IDs are kept, and their streams

Laws: only what belongs to the call is kept, so a large capture needs no more memory than
`analyse`; what is explained is what `analyse` counted, by the same code.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from harness.errors import InputError
from harness.packets.blocks import Block
from harness.packets.frame import Decoder
from harness.premises import Premises
from harness.records import CallRecord, StreamRecord, legible
from probetest.calls.call_row import call_record
from probetest.calls.dialogs import REORDER_NS, Call, Step, Tally
from probetest.calls.families import Families
from probetest.calls.joining import Joining
from probetest.calls.parties import PartyReader, hinted
from probetest.calls.party_decision import Parties, Rejected
from probetest.calls.waterfall import Steps
from probetest.dataset import TapReader
from probetest.duplicates import WINDOW_NS, find_copies
from probetest.sip.seen import Seen, SipReader

MAX_KNOWN = 100_000  # Call-IDs that are remembered, to name those that look like the one asked for
MAX_ALIKE = 5
MAX_COMPARED = 10_000  # letter by letter, which takes a second

THE_CALL = "THE CALL"
_COUNTED = {
    Step.COPY: "the tap's copy",
    Step.RETRANSMISSION: "retransmission",
    Step.RE_INVITE: "inside the dialog: re-INVITE",
    Step.AUTH_RETRY: "the call again, after 401 or 407",
    Step.OVERLAP: "the call again, with more digits",
    Step.OTHER_RETRY: "the call again, for another reason",
    Step.FURTHER_HOP: "the call at another hop or branch",
    Step.ONWARD_LEG: "the call's onward leg",
    Step.CALL: THE_CALL,
}

Reading = Callable[[], Iterable[Block]]  # of the whole capture, from its beginning


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a call."""

    seen: Seen
    counted: str  # as what: a step of the waterfall, or what it did; "": nothing of note

    @property
    def is_invite(self) -> bool:
        """Say whether it is an INVITE request."""
        gist = self.seen.gist
        return gist is not None and gist.method == "INVITE" and not gist.status

    @property
    def title(self) -> str:
        """Return its method, or status and method, and the number of its CSeq."""
        gist = self.seen.gist
        if gist is None:
            return "cannot be read"
        status = f"{gist.status} " if gist.status else ""
        return f"{status}{gist.method} {gist.number}"


@dataclass(frozen=True, slots=True)
class Leg:
    """An onward leg of a call."""

    call_id: str
    frame: int
    joined_by: str
    destination: str
    destination_rule: str
    status: int  # 0: none was seen


@dataclass(frozen=True, slots=True)
class Explained:
    """One call, and all that led to its row."""

    record: CallRecord | None  # None: it cannot be read whole
    parties: Parties | None
    hints: tuple[Rejected, ...]
    messages: tuple[Message, ...]
    legs: tuple[Leg, ...]
    streams: tuple[StreamRecord, ...]
    partial: bool  # it began before the capture, and counts as no call


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a capture shows of one Call-ID."""

    call_id: str
    calls: tuple[Explained, ...]
    others: tuple[Message, ...]  # messages with that Call-ID which belong to no call
    losses: tuple[str, ...]


@dataclass(slots=True)
class _Search:
    """What the first reading looks for."""

    asked: str
    ids: dict[str, set[str]] = field(default_factory=dict)  # the Call-IDs of a call, by each
    known: dict[str, None] = field(default_factory=dict)  # in order
    found: set[str] = field(default_factory=set)  # that begin with what was asked for

    def heard(self, seen: Seen) -> None:
        """Note a message's Call-ID."""
        if seen.gist is None:
            return
        call_id = seen.gist.call_id
        if legible(call_id).startswith(self.asked):
            self.found.add(call_id)
        if len(self.known) < MAX_KNOWN:
            self.known[call_id] = None

    def ended(self, calls: Iterable[Call]) -> None:
        """Note which Call-IDs are legs of one call, where one of them is asked for."""
        for call in calls:
            ids = {call.first.gist.call_id, *(leg.first.gist.call_id for leg in call.legs)}
            if any(legible(one).startswith(self.asked) for one in ids):
                for one in ids:
                    self.ids.setdefault(one, set()).update(ids)

    def chosen(self) -> tuple[str, frozenset[str]]:
        """Return the Call-ID that is meant, and those of all its legs.

        Raises:
            InputError: no such Call-ID, or several begin like that.
        """
        exact = [one for one in self.found if legible(one) == self.asked]
        matches = exact or sorted(self.found)
        if len(matches) == 1:
            chosen = matches[0]
            return chosen, frozenset(self.ids.get(chosen, {chosen}))
        if matches:
            some = ", ".join(legible(one) for one in matches[:MAX_ALIKE])
            more = f" and {len(matches) - MAX_ALIKE} more" if len(matches) > MAX_ALIKE else ""
            fix = f"give more of it: {some}{more}"
            raise InputError(
                f"{len(matches)} Call-IDs begin so", field="Call-ID", value=self.asked, fix=fix
            )
        alike = self._alike()
        fix = f"did you mean {', '.join(alike)}" if alike else "see --view calls of analyse"
        raise InputError("not in this capture", field="Call-ID", value=self.asked, fix=fix)

    def _alike(self) -> list[str]:
        """Return Call-IDs that hold what was asked for, else those that begin much like it."""
        shown = [legible(one) for one in self.known]
        if inside := [one for one in shown if self.asked in one]:
            return inside[:MAX_ALIKE]
        length = len(self.asked)
        heads = list(dict.fromkeys(one[:length] for one in shown[:MAX_COMPARED]))
        near = get_close_matches(self.asked, heads, MAX_ALIKE)
        return [one for one in shown if one[:length] in near][:MAX_ALIKE]


def explain(  # noqa: PLR0913 - the choices of `analyse`
    reading: Reading,
    call_id: str,
    premises: Premises,
    *,
    show_restricted: bool = False,
    window_ns: int = WINDOW_NS,
    joining: Joining | None = None,
) -> Explanation:
    """Return what a capture, read twice, shows of the calls with *call_id* or its only beginning.

    Raises:
        InputError: no such Call-ID, several, or a capture that is none.
    """
    search, joining = _Search(call_id), joining or Joining()
    _read_sip(reading(), search, window_ns, Tally(Families(joining)))
    chosen, ids = search.chosen()
    kept: list[Seen] = []

    def keep(seen: Seen) -> None:
        if seen.gist is not None and seen.gist.call_id in ids:
            kept.append(seen)

    reader = TapReader(
        premises,
        show_restricted=show_restricted,
        window_ns=window_ns,
        witness=keep,
        joining=joining,
    )
    for block in reading():
        reader.add(block)
    tap = reader.close()
    names = {legible(one) for one in ids}
    streams = [stream for stream in tap.streams if stream.call_id in names]
    parties = PartyReader(premises, show_restricted=show_restricted)
    tally = Tally(Families(joining), Steps(with_frames=True))
    calls, others = _explained(kept, streams, parties, tally)
    return Explanation(legible(chosen), calls, others, tap.losses)


def _read_sip(blocks: Iterable[Block], search: _Search, window_ns: int, tally: Tally) -> None:
    """Have *search* hear every message, and every call of *tally*."""
    decoder, sip = Decoder(), SipReader()

    def listen(messages: Iterable[Seen]) -> None:
        newest_ns = 0
        for seen in messages:
            tally.add(seen)
            search.heard(seen)
            newest_ns = seen.at_ns
        search.ended(tally.close_before(newest_ns))
        tally.take_partial()

    for block in blocks:
        datagrams = decoder.read(block)
        listen(sip.read(datagrams, find_copies(datagrams, window_ns=window_ns)))
    listen(sip.close())
    search.ended(tally.calls())


def _explained(
    messages: list[Seen], streams: list[StreamRecord], parties: PartyReader, tally: Tally
) -> tuple[tuple[Explained, ...], tuple[Message, ...]]:
    """Return the calls that an empty *tally* finds in *messages*, and what belongs to none."""
    for seen in messages:
        tally.add(seen)
    whole = tally.calls()
    calls = sorted((*whole, *tally.take_partial()), key=lambda call: call.first.place)
    steps = tally.by_frame()
    own: list[list[Seen]] = [[] for _ in calls]
    media: list[list[StreamRecord]] = [[] for _ in calls]
    others: list[Seen] = []
    for seen in messages:
        place = _place(calls, "" if seen.gist is None else seen.gist.call_id, seen.at_ns)
        (others if place is None else own[place]).append(seen)
    for stream in streams:
        place = _place(calls, stream.call_id, stream.at_ns)
        if place is not None:
            media[place].append(stream)
    found = (
        _one(call, list(_counted(call, seen, steps)), tuple(heard), parties)
        for call, seen, heard in zip(calls, own, media, strict=True)
    )
    return tuple(found), tuple(Message(seen, "") for seen in others)


def _place(calls: list[Call], call_id: str, at_ns: int) -> int | None:
    """Return which of *calls*, in order of time, a message or stream belongs to."""
    found = None
    for place, call in enumerate(calls):
        every = (call, *call.legs)
        ids = {one.first.gist.call_id for one in every}
        if call_id in ids or call_id in map(legible, ids):
            begins_ns = min(one.first.at_ns for one in every) - REORDER_NS
            if found is None or begins_ns <= at_ns:
                found = place
    return found


def _counted(call: Call, messages: Iterable[Seen], steps: Mapping[int, Step]) -> Iterator[Message]:
    """Yield the messages of *call*, each with what it was counted as."""
    marks = {call.first.seen.frame: "began before the capture"} if call.partial else {}
    for moment, words in (
        (call.ringing, "it rings"),
        (call.final, "the answer" if _is_answered(call) else "the final response"),
        (call.cancel, "the caller gives up"),
        (call.bye, f"the end: {'caller' if call.bye_by_caller else 'callee'} hangs up"),
    ):
        if moment is not None:
            marks.setdefault(moment.frame, words)
    for seen in messages:
        if Message(seen, "").is_invite:
            step = Step.COPY if seen.copy else steps.get(seen.frame)
            yield Message(seen, marks.get(seen.frame, "") if step is None else _COUNTED[step])
        else:
            yield Message(seen, _COUNTED[Step.COPY] if seen.copy else marks.get(seen.frame, ""))


def _is_answered(call: Call) -> bool:
    return call.final is not None and call.final.status < 300  # noqa: PLR2004 - a 2xx


def _one(
    call: Call,
    messages: list[Message],
    streams: tuple[StreamRecord, ...],
    parties: PartyReader,
) -> Explained:
    """Return all about one call."""
    invite = call.first.message
    record = found = None
    hints: tuple[Rejected, ...] = ()
    if invite is not None and invite.method == "INVITE" and not call.partial:
        record = call_record(call, parties)
        found = parties.decide(invite, call.first.seen.source.address, call.dialled.message)
        hints = hinted(invite, parties.premises.plan)
    legs = tuple(_leg(leg, parties) for leg in call.legs)
    return Explained(record, found, hints, tuple(messages), legs, streams, call.partial)


def _leg(leg: Call, parties: PartyReader) -> Leg:
    """Return an onward leg."""
    message = leg.first.message
    dialled = None if message is None else parties.decide(message).destination
    return Leg(
        call_id=legible(leg.first.gist.call_id),
        frame=leg.first.seen.frame,
        joined_by=leg.joined_by,
        destination="" if dialled is None else dialled.text,
        destination_rule="" if dialled is None else dialled.rule,
        status=0 if leg.final is None else leg.final.status,
    )
