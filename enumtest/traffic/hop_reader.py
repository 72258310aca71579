"""From captures to the table of hops and lookups that judge and inference read.

    captures ─▶ messages ─▶ one clock ─▶ hops (retransmissions folded) ─▶ lookups (failovers joined)

Laws: the order in which captures are given changes nothing; a capture whose clock cannot be told is
unsure by a day, and nothing is joined across such clocks by chance alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from enumtest.dns.distinct_bytes import codes
from enumtest.dns.message_table import Bools, MessageTable, read_messages
from enumtest.judge.asking_ways import UNDECLARED_NS, Ways, has_one_id
from enumtest.profiles.profiles import Profile
from enumtest.traffic.clock_alignment import Clock, align
from enumtest.traffic.hop_fold import Folded, Waiting, fold
from enumtest.traffic.hop_table import (
    NOT_SEEN,
    OTHER_EDNS,
    OTHER_LETTERS,
    OTHER_SOURCE,
    Cite,
    HopTable,
    LookupTable,
    OddFrame,
    Watch,
)
from enumtest.traffic.lookup_join import SILENCE, Asked, join, measured_expire
from enumtest.traffic.probe_names import probes
from enumtest.traffic.refusals import Hops, Refusal, read_refusals, refused
from harness.errors import InputError
from harness.packets.capture import Capture, Ints
from harness.packets.frame import Endpoint, decode

MAX_ODD = 1000  # that are told one by one; a capture can hold millions
MOST_WHOLE = 0.8  # of the silent questions have to be sent as often as is declared
SURE_FAILOVERS = 3  # after the same time: it is the time-out, whatever is declared

_NOTHING: Mapping[str, int] = MappingProxyType({})


def read_lookups(
    captures: Sequence[Capture],
    servers: Mapping[Endpoint, str],
    profile: Profile | None,
    *,
    ahead_ns: Mapping[str, int] = _NOTHING,
) -> LookupTable:
    """Return what the *captures* show of the SBCs that asked *servers* (address to name).

    Names of servers are in the order of the SBC's list. Without a *profile* nothing is taken for
    declared. *ahead_ns* says of captures, by name, how far their clocks are ahead; the others are
    measured against the first where the packets allow it.

    Raises:
        InputError: *ahead_ns* names no capture, or a capture has frames of an unknown link type.
    """
    for name in ahead_ns:
        if name not in [capture.name for capture in captures]:
            raise InputError("no such capture", field="ahead_ns", value=name)
    captures = sorted(captures, key=lambda one: (one.name, len(one), int(one.at_ns.sum())))
    names = tuple(dict.fromkeys(servers.values()))
    datagrams = [decode(one) for one in captures]
    messages = read_messages(datagrams, servers, names)
    ways = Ways.of(profile)
    declared = [ahead_ns.get(one.name) for one in captures]
    spans = [_span(one) for one in captures]
    clocks = [Clock(0, 0)]
    if len(captures) > 1:
        clocks = align(messages, spans, declared, ways)
    elif declared and declared[0] is not None:
        clocks = [Clock(declared[0], 0)]
    watches = tuple(
        Watch(
            capture.name,
            tuple(names[at] for at in np.unique(messages.server[messages.watch == number])),
            span[0] - clock.ahead_ns,
            span[1] - clock.ahead_ns,
            clock.ahead_ns,
            clock.unsure_ns,
            capture.interface_drops,
            str(capture.cut or ""),
        )
        for number, (capture, span, clock) in enumerate(zip(captures, spans, clocks, strict=False))
    )
    ahead = [watch.ahead_ns for watch in watches]
    refusals = _Refused(read_refusals(datagrams, servers, ahead), servers)
    return _Reading(on_one_clock(messages, clocks), names, watches, ways, refusals).table()


def _span(capture: Capture) -> tuple[int, int]:
    """Return when a capture's first and last frame were seen; (0, 0) without any."""
    timed = capture.at_ns[capture.at_ns > 0]
    return (int(timed.min()), int(timed.max())) if len(timed) else (0, 0)


def on_one_clock(messages: MessageTable, clocks: Sequence[Clock]) -> MessageTable:
    """Return the messages in order of time, their times by the common clock."""
    ahead_ns = np.array([clock.ahead_ns for clock in clocks] or [0], np.int64)
    at_ns = messages.at_ns - ahead_ns[messages.watch]
    messages = replace(messages, at_ns=at_ns)
    if (np.diff(at_ns) >= 0).all() and (np.diff(messages.watch) == 0).all():
        return messages
    return messages.select(np.lexsort((messages.frame, messages.watch, at_ns)))


@dataclass(frozen=True, slots=True)
class _Refused:
    """What ICMP says of questions to the servers."""

    refusals: tuple[Refusal, ...]
    servers: Mapping[Endpoint, str]

    def columns(self, names: tuple[str, ...], hops: Hops) -> tuple[Ints, Ints]:
        """Return the two columns of the table."""
        return refused(self.refusals, self.servers, names, hops)


class _Reading:
    """The messages of all captures on their way to the table."""

    def __init__(
        self,
        messages: MessageTable,
        names: tuple[str, ...],
        watches: tuple[Watch, ...],
        ways: Ways,
        refusals: _Refused,
    ) -> None:
        self.refusals = refusals
        self.messages, self.names, self.watches, self.ways = messages, names, watches, ways
        self.expire_ns = ways.expire_ns or UNDECLARED_NS
        # Hops seen by clocks that may be far apart are never one lookup's.
        self.clock = np.array(
            [
                0 if watch.unsure_ns <= self.expire_ns // 2 else number
                for number, watch in enumerate(watches, 1)
            ],
            np.int64,
        )

    def table(self) -> LookupTable:
        """Return the table."""
        folded, is_probe = self._folded()
        calls = np.flatnonzero(~is_probe)
        asked = self._asked(folded, calls)
        head = calls[join(asked, self.ways.following(self.expire_ns))]
        order = np.lexsort((calls, head))
        row, head = calls[order], head[order]
        begins = np.ones(len(row), np.bool_)
        begins[1:] = head[1:] != head[:-1]
        folded = self._overtaken(folded, row, begins)
        rows_from = np.append(np.flatnonzero(begins), len(row)).astype(np.int64)
        odd = tuple(self._odd(folded))
        return LookupTable(self._hops(folded, is_probe), row, rows_from, odd, len(folded.odd))

    def _folded(self) -> tuple[Folded, Bools]:
        """Return the hops, folded as far as profile and packets tell how."""
        ways, messages = self.ways, self.messages
        fixed_id = has_one_id(messages) if ways.fixed_id is None else ways.fixed_id
        new_id = bool(ways.new_id)
        waiting = ways.waiting(self.expire_ns, new_id=new_id, fixed_id=fixed_id)
        folded = fold(messages, waiting)
        is_probe = probes(messages, folded, ways)
        calls = np.flatnonzero(~is_probe)
        asked = self._asked(folded, calls)
        found_ns, count = measured_expire(asked, ways.expire_ns)
        least = 1 if ways.expire_ns is None else SURE_FAILOVERS
        again = count >= least and abs(found_ns - self.expire_ns) * 10 > self.expire_ns
        if again:
            self.expire_ns = found_ns
            waiting = replace(waiting, expire_ns=found_ns)
            folded = fold(messages, waiting)
        if ways.new_id is None and len(ways.schedule_ns) > 1 and not fixed_id:
            folded = self._with_new_ids(folded, waiting)
        return folded, probes(messages, folded, ways)

    def _with_new_ids(self, folded: Folded, waiting: Waiting) -> Folded:
        """Return the hops, those of many ids joined if that gives the schedule of the profile.

        Where nothing is declared of ids, one id to each send shows in questions that seem to be
        sent once, and come at the times of the schedule, all of them. If those of one id, from
        other ports, do so by themselves, what has another id is another call's.
        """
        sends = self._silent_sends(folded)
        if not sends.size or (sends > 1).any():
            return folded
        for keeps_id in (True, False):
            joined = fold(self.messages, replace(waiting, new_id=True, keeps_id=keeps_id))
            whole = self._silent_sends(joined) == len(waiting.schedule_ns)
            if whole.size and whole.mean() >= MOST_WHOLE:
                return joined
        return folded

    def _silent_sends(self, folded: Folded) -> Ints:
        """Return how often each call's question was sent that nobody answered."""
        silent = (folded.event == SILENCE) & ~probes(self.messages, folded, self.ways)
        sends: Ints = np.diff(folded.sends_from)[silent]
        return sends

    def _asked(self, folded: Folded, hops: Ints) -> Asked:
        """Return *hops* as joining and measuring need them."""
        messages, first = self.messages, folded.first[hops]
        clock = self.clock[messages.watch[first]]
        bare = codes(messages.client[first], messages.question[first], clock)
        return Asked(
            server=messages.server[first],
            tcp=messages.tcp[first],
            event=folded.event[hops],
            has_edns=messages.edns_bytes[first] >= 0,
            first_ns=messages.at_ns[first],
            last_ns=messages.at_ns[folded.send[folded.sends_from[1:] - 1]][hops],
            answered_ns=_seen(messages.at_ns, folded.answer[hops], NOT_SEEN),
            has_late=folded.late[hops] >= 0,
            id=messages.id[first],
            call=codes(bare, messages.source[first]),
            bare=bare,
            has_source=messages.source[first] > 0,
        )

    def _overtaken(self, folded: Folded, row: Ints, begins: Bools) -> Folded:
        """Return the hops; an answer that came when the next server was asked already is late."""
        at_ns, first = self.messages.at_ns, folded.first
        follows = np.flatnonzero(~begins)
        last, new = row[follows - 1], row[follows]
        answered = folded.answer[last]
        over = (answered >= 0) & (at_ns[answered] > at_ns[first[new]])
        hops = last[over]
        if not len(hops):
            return folded
        answer, event = folded.answer.copy(), folded.event.copy()
        late, late_event = folded.late.copy(), folded.late_event.copy()
        late[hops], late_event[hops] = answer[hops], event[hops]
        answer[hops], event[hops] = -1, SILENCE
        return replace(folded, answer=answer, event=event, late=late, late_event=late_event)

    def _odd(self, folded: Folded) -> list[OddFrame]:
        """Return the first messages that are in no hop."""
        messages, clients = self.messages, tuple(self.messages.clients)
        return [
            OddFrame(
                Cite(self.watches[int(messages.watch[row])].name, int(messages.frame[row])),
                int(messages.at_ns[row]),
                clients[int(messages.client[row])],
                self.names[int(messages.server[row])],
                bool(messages.from_client[row]),
                why,
            )
            for row, why in zip(folded.odd[:MAX_ODD].tolist(), folded.odd_why, strict=False)
        ]

    def _hops(self, folded: Folded, is_probe: Bools) -> HopTable:
        """Return the columns, texts numbered as they come."""
        messages, first = self.messages, folded.first
        clients, client = _renumbered(tuple(messages.clients), messages.client[first])
        questions, question = _renumbered(tuple(messages.names), messages.question[first])
        sources, source = _renumbered(tuple(messages.sources), messages.source[first], head=1)
        begun_ns, port, server = messages.at_ns[first], messages.port[first], messages.server[first]
        asked = Hops(clients, client, port, server, begun_ns)
        refused_ns, refused_frame = self.refusals.columns(self.names, asked)
        return HopTable(
            servers=self.names,
            clients=clients,
            questions=questions,
            sources=sources,
            watches=self.watches,
            server=server,
            client=client,
            question=question,
            source=source,
            watch=messages.watch[first],
            qtype=messages.qtype[first],
            port=port,
            tcp=messages.tcp[first],
            probe=is_probe,
            sends_from=folded.sends_from,
            send_ns=messages.at_ns[folded.send],
            send_frame=messages.frame[folded.send],
            send_id=messages.id[folded.send],
            event=folded.event,
            answered_ns=_seen(messages.at_ns, folded.answer, NOT_SEEN),
            answer_frame=_seen(messages.frame, folded.answer, 0),
            late_ns=_seen(messages.at_ns, folded.late, NOT_SEEN),
            late_frame=_seen(messages.frame, folded.late, 0),
            late_event=folded.late_event,
            edns_bytes=messages.edns_bytes[first],
            source_code=messages.source_code[first],
            source_framing=messages.source_framing[first],
            refused_ns=refused_ns,
            refused_frame=refused_frame,
            ttl_s=_seen(messages.ttl_s, folded.answer, -1),
            resend_differs=_differing(messages, folded),
        )


def _differing(messages: MessageTable, folded: Folded) -> npt.NDArray[np.int8]:
    """Return what the later sends of each hop have otherwise than its first."""
    found = np.zeros(len(folded), np.int8)
    sends = np.diff(folded.sends_from)
    hop = np.repeat(np.arange(len(folded)), sends)
    later = np.ones(len(hop), np.bool_)
    later[folded.sends_from[:-1]] = False
    hop, send = hop[later], folded.send[later]
    first = folded.first[hop]
    columns = (
        (messages.edns_bytes, OTHER_EDNS),
        (messages.source, OTHER_SOURCE),
        (messages.capitals, OTHER_LETTERS),
    )
    for column, bit in columns:
        found[np.unique(hop[column[send] != column[first]])] |= bit
    return found


def _seen(column: Ints, row: Ints, missing: int) -> Ints:
    """Return the column at these rows; *missing* where there is none."""
    if not len(column):
        return np.full(len(row), missing, np.int64)
    return np.where(row >= 0, column[row], missing)


def _renumbered(
    texts: tuple[str, ...], places: npt.NDArray[Any], head: int = 0
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Return the texts in use in order of appearance, the first *head* of them always, and places.

    So that a table tells what was seen, and not in which order it was read.
    """
    first = np.full(len(texts), len(places), np.int64)
    first[places[::-1]] = np.arange(len(places))[::-1]
    first[:head] = np.arange(-head, 0)
    order = np.argsort(first, kind="stable")
    order = order[first[order] < len(places)]
    if len(order) == len(texts) and (np.diff(order) == 1).all():
        return texts, places.astype(np.int32)
    number = np.zeros(len(texts), np.int32)
    number[order] = np.arange(len(order))
    return tuple(texts[at] for at in order.tolist()), number[places]
