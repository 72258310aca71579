"""From messages to hops: retransmissions folded, each answer given to the question it answers.

Laws: a hop is one question put to one server, whatever its sends; an answer is of the latest hop
with its id, question, ends and transport (RFC 5452 section 9.1), seen before it or, where a tap
swapped the two, just after; what a tap or a network shows twice is one message.

A copy has the same octets within 20 ms, or 100 ms where IPv4's identification is the same as well
and not 0: no known SBC repeats a query before 200 ms.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from enumtest.dns.distinct_bytes import codes
from enumtest.dns.message_table import Bools, MessageTable
from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN
from enumtest.traffic.keyed_hops import KeyedHops
from harness.packets.capture import Ints

MS = 1_000_000
COPY_NS, SAME_PACKET_NS = 20 * MS, 100 * MS
CROSSING_NS = 100 * MS  # that a query and the answer to the one before it can pass each other
IDS, LEAST_EXPECTED = 65_536, 0.5  # of a message; so many pairs of calls with one id
GARBLED, SILENCE = EVENTS.index(Event.GARBLED), EVENTS.index(Event.SILENCE)
NOT_WHOLE = "not captured whole"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How an SBC repeats a question to one server, as far as it is known."""

    expire_ns: int  # when it gives the server up
    schedule_ns: tuple[int, ...] = ()  # of its sends; (): not known
    new_id: bool = False  # a retransmission has another id, or another port
    keeps_id: bool = False  # … another port, and the same id
    fixed_id: bool = False  # all questions have one id
    rounds: int = 1  # how often one call may come to a server
    garbled_ends: bool = False  # an answer that cannot be read is the end of waiting

    @property
    def longest_ns(self) -> int:
        """Return the longest that the SBC can have waited."""
        return self.expire_ns * 3 // 2


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """Hops in order of their first sends; places are rows of the messages."""

    sends_from: Ints
    send: Ints  # rows of queries, hop after hop
    answer: Ints  # row, or -1
    event: npt.NDArray[np.int8]  # as `HopTable.event`
    late: Ints  # row of a further answer, or -1
    late_event: npt.NDArray[np.int8]
    odd: Ints  # rows in no hop
    odd_why: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of hops."""
        return len(self.answer)

    @property
    def first(self) -> Ints:
        """Return the row of each hop's first send."""
        return self.send[self.sends_from[:-1]]


def fold(table: MessageTable, waiting: Waiting) -> Folded:
    """Return the hops in *table*, whose rows are in order of time."""
    return _Folding(table, waiting).fold()


class _Folding:
    """The work; arrays named *query* and *reply* hold rows of the messages."""

    def __init__(self, table: MessageTable, waiting: Waiting) -> None:
        self.table, self.waiting = table, waiting
        times_ns = (*waiting.schedule_ns, waiting.expire_ns)
        gaps_ns = [two - one for one, two in pairwise(times_ns)]
        self.room_ns = min(gaps_ns, default=0) // 4  # around a time of the schedule
        good = (table.why == 0) & (table.question >= 0)
        self.query = np.flatnonzero(table.from_client & good)
        self.reply = np.flatnonzero(~table.from_client & good)
        self.odd: dict[int, str] = {}
        self.collide = False
        texts = tuple(table.whys)
        broken = np.flatnonzero(table.from_client & ~good)
        self.odd |= {row: texts[why] for row, why in _pairs(broken, table.why[broken])}

    def fold(self) -> Folded:
        """Return the hops."""
        table = self.table
        self.at_ns = table.at_ns
        ends = (table.client, table.port, table.server, table.tcp)
        which = (table.question + 1, table.qtype + 1)
        self.exact = codes(*ends, table.id + 1, *which)
        send, sends_from, key = self._runs()
        hops = KeyedHops.of(send[sends_from[:-1]], key[send[sends_from[:-1]]], len(table))
        reply, hop, event = self._replies(hops)
        if self.waiting.new_id and len(self.waiting.schedule_ns) > 1:
            send, sends_from, hop = self._joined(send, sends_from, reply, hop)
        return self._answered(send, sends_from, reply, hop, event)

    def _runs(self) -> tuple[Ints, Ints, Ints]:
        """Return the sends of each hop, hops in order of time, and the keys of all messages."""
        query = self.query
        order = query[np.argsort(self.exact[query], kind="stable")]
        key, at_ns = self.exact[order], self.at_ns[order]
        gap_ns = np.diff(at_ns, prepend=at_ns[:1])
        same = np.zeros(len(order), np.bool_)
        same[1:] = key[1:] == key[:-1]
        turn = self._turns()[order]
        same[1:] &= turn[1:] == turn[:-1]
        copy = same & self._copies(order, gap_ns)
        order, key, at_ns, turn = (one[~copy] for one in (order, key, at_ns, turn))
        new = np.ones(len(order), np.bool_)
        new[1:] = (key[1:] != key[:-1]) | (turn[1:] != turn[:-1])
        new[1:] |= np.diff(at_ns) > 2 * self.waiting.expire_ns
        self._split(order, new)
        begins = np.flatnonzero(new)
        size = np.diff(begins, append=len(order))
        by_time = np.argsort(order[begins], kind="stable")
        sends_from = np.concatenate(([0], np.cumsum(size[by_time]))).astype(np.int64)
        place = np.repeat(begins[by_time] - sends_from[:-1], size[by_time])
        return order[place + np.arange(len(order))], sends_from, self.exact

    def _turns(self) -> Ints:
        """Return a number for each query that changes when its call went to another server.

        A resolver that goes through its servers twice comes back with the same id: that is another
        hop. Two taps whose clocks are apart do not show such a thing.
        """
        table, query = self.table, self.query
        turns = np.zeros(len(table), np.int64)
        if self.waiting.rounds == 1 or self.waiting.fixed_id:
            return turns
        call = codes(
            table.client[query],
            table.id[query] + 1,
            table.question[query],
            table.qtype[query],
            table.watch[query],
            table.tcp[query],
        )
        order = np.argsort(call, kind="stable")
        server = table.server[query][order]
        moved = np.zeros(len(query), np.bool_)
        moved[1:] = (server[1:] != server[:-1]) | (np.diff(call[order]) != 0)
        turns[query[order]] = np.cumsum(moved)
        return turns

    def _copies(self, order: Ints, gap_ns: Ints) -> Bools:
        """Return which messages are the one before it in *order*, seen once more."""
        octets, ip_id = self.table.octets[order], self.table.ip_id[order]
        same = np.zeros(len(order), np.bool_)
        same[1:] = (octets[1:] == octets[:-1]) & (octets[1:] != 0) & (ip_id[1:] == ip_id[:-1])
        return same & (gap_ns <= np.where(ip_id > 0, SAME_PACKET_NS, COPY_NS))

    def _split(self, order: Ints, new: Bools) -> None:
        """Mark in *new* where a run of sends is another question with the same id."""
        begins = np.flatnonzero(new)
        ends = np.append(begins, len(order))[1:]
        at_ns, count = self.at_ns[order], len(self.table)
        replies = np.sort(self.exact[self.reply] * count + self.reply)
        key = self.exact[order[begins]] * count
        span = np.searchsorted(replies, (key + order[begins], key + order[ends - 1]))
        several = ends - begins > 1
        odd = several & (at_ns[ends - 1] - at_ns[begins] > self.waiting.expire_ns)
        answered = several & (span[0] < span[1])
        odd |= answered | (several & self.waiting.fixed_id)
        self.collide = self._collide(int(answered.sum()))
        for begin, end in zip(begins[odd].tolist(), ends[odd].tolist(), strict=True):
            key = self.exact[order[begin]] * count
            here = slice(*np.searchsorted(replies, (key, key + count)).tolist())
            answered_ns = self.at_ns[replies[here] - key]
            again = self._again(at_ns[begin:end].tolist(), answered_ns)
            new[begin:end] |= ~np.array(again)

    def _collide(self, repeated: int) -> bool:
        """Say whether ids that come round again explain so many questions after an answer.

        At hundreds of calls a second to few numbers two calls have one id now and then.
        """
        if not repeated:
            return False
        table, query = self.table, self.query
        ends = (table.client, table.port, table.server, table.tcp, table.question, table.qtype)
        key = codes(*(column[query] for column in ends)) * len(table)
        until = np.searchsorted(self.at_ns, self.at_ns[query] + self.waiting.expire_ns)
        whole = np.sort(key + query)
        pairs = np.searchsorted(whole, key + until) - np.searchsorted(whole, key + query) - 1
        expected = int(pairs.sum()) / IDS
        return expected >= LEAST_EXPECTED and repeated <= 3 * expected + 2

    def _again(self, sent_ns: list[int], answered_ns: Ints) -> list[bool]:
        """Say of each send whether it repeats the one before it.

        Unanswered, twice the time-out is waited for it: a tap can have missed one. After an answer
        only one that was on its way already, or whose answer was lost, is a repetition.
        """
        expire_ns, again, first_ns = self.waiting.expire_ns, [False], sent_ns[0]
        for at_ns in sent_ns[1:]:
            age_ns = at_ns - first_ns
            begin, end = np.searchsorted(answered_ns, (first_ns, at_ns)).tolist()
            if begin == end:
                repeats = age_ns <= 2 * expire_ns
                repeats &= not self.waiting.fixed_id or self._is_on_schedule(age_ns)
            else:
                crossing = at_ns - int(answered_ns[begin]) <= CROSSING_NS
                crossing &= not self.waiting.fixed_id
                lost = not self.collide and self._is_on_schedule(age_ns)
                repeats = age_ns <= expire_ns and (crossing or lost)
            again.append(repeats)
            first_ns = first_ns if repeats else at_ns
        return again

    def _is_on_schedule(self, age_ns: int) -> bool:
        """Say whether a send of this age is one of the SBC's retransmissions."""
        times_ns = self.waiting.schedule_ns
        return not times_ns or any(abs(age_ns - one) <= self.room_ns for one in times_ns[1:])

    def _replies(self, hops: KeyedHops) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
        """Return rows of answers, the hop and the event of each; what fits none is odd."""
        table, reply = self.table, self.reply
        hop = hops.latest(self.exact[reply], reply)
        early = np.flatnonzero((hop < 0) & (len(hops.first) > 0))
        later = hops.following(self.exact[reply[early]], reply[early])
        wait_ns = self.at_ns[hops.first[later]] - self.at_ns[reply[early]]
        hop[early] = np.where((later >= 0) & (wait_ns <= self.waiting.expire_ns), later, -1)
        self._unmatched(reply[hop < 0], hops)
        found = hop >= 0
        rows, hop, event = reply[found], hop[found], table.event[reply[found]]
        blank, blank_hop, blank_event = self._unreadable(hops)
        rows, hop = np.concatenate((rows, blank)), np.concatenate((hop, blank_hop))
        order = np.argsort(rows, kind="stable")
        return rows[order], hop[order], np.concatenate((event, blank_event))[order]

    def _unreadable(self, hops: KeyedHops) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
        """Return the answers with the right id and no question, or nothing that can be read."""
        table = self.table
        rows = np.flatnonzero(~table.from_client & ((table.why > 0) | (table.question < 0)))
        if not rows.size:
            return rows, rows, np.empty(0, np.int8)
        key = codes(table.client, table.port, table.server, table.tcp, table.id + 1)
        by_id = KeyedHops.of(hops.first, key[hops.first], len(table))
        hop = by_id.latest(key[rows], rows)
        age_ns = self.at_ns[rows] - self.at_ns[hops.first[hop]] if len(hops.first) else 0 * rows
        texts = tuple(table.whys)
        cut = np.array([text.startswith(NOT_WHOLE) for text in texts])[table.why[rows]]
        good = (hop >= 0) & (age_ns <= self.waiting.longest_ns) & (table.id[rows] >= 0) & ~cut
        for row, why in _pairs(rows[~good], table.why[rows[~good]]):
            self.odd[row] = texts[why] or "repeats no question, and no query has this id"
        event = np.where(table.why[rows] > 0, GARBLED, table.event[rows]).astype(np.int8)
        return rows[good], hop[good], event[good]

    def _unmatched(self, rows: Ints, hops: KeyedHops) -> None:
        """Say what is wrong with answers that are nobody's."""
        if not rows.size:
            return
        table = self.table
        ends = (table.client, table.port, table.server, table.tcp)
        what = {
            "wrong id": codes(*ends, table.question + 1, table.qtype + 1),
            "wrong question": codes(*ends, table.id + 1),
        }
        self.odd |= dict.fromkeys(rows.tolist(), "no query with this id, question and port")
        for why in reversed(what):
            hop = KeyedHops.of(hops.first, what[why][hops.first], len(table)).latest(
                what[why][rows], rows
            )
            age_ns = self.at_ns[rows] - self.at_ns[hops.first[hop]] if len(hops.first) else rows
            fits = (hop >= 0) & (age_ns <= self.waiting.longest_ns)
            self.odd |= dict.fromkeys(rows[fits].tolist(), why)

    def _joined(
        self, send: Ints, sends_from: Ints, reply: Ints, hop: Ints
    ) -> tuple[Ints, Ints, Ints]:
        """Join hops that are one: the same question again, unanswered, with another id."""
        first = send[sends_from[:-1]]
        heir = np.arange(len(first))
        for one, other in self._repeated(first, reply, hop):
            heir[other] = heir[one]
        of_send = np.repeat(heir, np.diff(sends_from))
        order = np.lexsort((send, of_send))
        kept, size = np.unique(of_send, return_counts=True)
        place = np.zeros(len(first), np.int64)
        place[kept] = np.arange(len(kept))
        sends_from = np.concatenate(([0], np.cumsum(size))).astype(np.int64)
        return send[order], sends_from, place[heir[hop]]

    def _repeated(self, first: Ints, reply: Ints, hop: Ints) -> Iterator[tuple[int, int]]:
        """Yield pairs of hops: one, and what repeats it; the first of a row of them stays."""
        table = self.table
        answered_ns = np.full(len(first), np.iinfo(np.int64).max)
        np.minimum.at(answered_ns, hop, self.at_ns[reply])
        same = codes(
            *(table.client[first], table.server[first], table.question[first]),
            *(table.qtype[first], table.source[first], table.tcp[first]),
            table.id[first] if self.waiting.keeps_id else np.zeros(len(first), np.int32),
        )
        order = np.argsort(same, kind="stable")
        at_ns, place = self.at_ns[first][order], np.arange(len(order))
        # Most are answered before they could be repeated, and nothing follows those.
        opens = answered_ns[order] - at_ns > self.waiting.schedule_ns[1] - self.room_ns
        latest = np.maximum.accumulate(np.where(opens, place, -1))
        near = (latest >= 0) & (same[order] == same[order[latest]])
        near &= at_ns - at_ns[latest] <= self.waiting.expire_ns
        open_: deque[tuple[int, int]] = deque(maxlen=MAX_OPEN)  # hops that may be repeated
        last = -1
        columns = (order[near], same[order[near]], at_ns[near])
        for one, which, now_ns in zip(*(column.tolist() for column in columns), strict=True):
            if which != last:
                open_.clear()
                last = which
            while open_ and now_ns - open_[0][1] > self.waiting.expire_ns:
                open_.popleft()
            fits = (
                each
                for each, sent_ns in reversed(open_)
                if answered_ns[each] > now_ns and self._is_on_schedule(now_ns - sent_ns)
            )
            if (known := next(fits, None)) is None:
                open_.append((one, now_ns))
            else:
                yield known, one
                answered_ns[known] = min(answered_ns[known], answered_ns[one])

    def _answered(
        self, send: Ints, sends_from: Ints, reply: Ints, hop: Ints, event: npt.NDArray[np.int8]
    ) -> Folded:
        """Choose each hop's answer: the first in time that can be read."""
        count, at_ns = len(sends_from) - 1, self.at_ns
        order = np.argsort(hop, kind="stable")
        reply, hop, event = reply[order], hop[order], event[order]
        gap_ns = np.diff(at_ns[reply], prepend=at_ns[reply[:1]])
        same = np.zeros(len(hop), np.bool_)
        same[1:] = (hop[1:] == hop[:-1]) & (self.table.id[reply[1:]] == self.table.id[reply[:-1]])
        copy = same & self._copies(reply, gap_ns)
        reply, hop, event = reply[~copy], hop[~copy], event[~copy]
        age_ns = at_ns[reply] - at_ns[send[sends_from[:-1]]][hop]
        worth = np.arange(len(reply)) + len(reply) * (event == GARBLED)
        if self.waiting.garbled_ends:
            worth = np.arange(len(reply))
        worth = np.where(age_ns <= self.waiting.longest_ns, worth, _NEVER)
        best = np.full(count, _NEVER)
        np.minimum.at(best, hop, worth)
        chosen = np.where(best < _NEVER, best % max(1, len(reply)), -1)
        later = np.where(np.arange(len(reply)) > chosen[hop], np.arange(len(reply)), _NEVER)
        further = np.full(count, _NEVER)
        np.minimum.at(further, hop, later)
        further = np.where(further < _NEVER, further, -1)
        passed = np.arange(len(reply)) < chosen[hop]
        texts = tuple(self.table.whys)
        for row, why in _pairs(reply[passed], self.table.why[reply[passed]]):
            self.odd[row] = texts[why]
        odd = sorted(self.odd)
        return Folded(
            sends_from=sends_from,
            send=send,
            answer=_taken(reply, chosen, NOT_SEEN),
            event=_taken(event, chosen, SILENCE).astype(np.int8),
            late=_taken(reply, further, NOT_SEEN),
            late_event=_taken(event, further, 0).astype(np.int8),
            odd=np.array(odd, np.int64),
            odd_why=tuple(self.odd[row] for row in odd),
        )


MAX_OPEN = 64  # unanswered hops of one question to one server that are looked through
_NEVER = np.iinfo(np.int64).max


def _taken(column: npt.NDArray[np.signedinteger], at: Ints, missing: int) -> Ints:
    """Return the items of *column* at these places; *missing* where the place is -1."""
    if not len(column):
        return np.full(len(at), missing, np.int64)
    return np.where(at >= 0, column[at], missing).astype(np.int64)


def _pairs(rows: Ints, values: npt.NDArray[np.signedinteger]) -> Iterator[tuple[int, int]]:
    return zip(rows.tolist(), values.tolist(), strict=True)
