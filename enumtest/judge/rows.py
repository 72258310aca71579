"""One SBC's questions as a judge walks them: who was asked in turn, and what came of it.

Laws: everything here is read off the table, nothing is guessed; a time that is not known exactly
is an interval; what may have been lost on the way is said, never assumed away.

A *turn* is a row for which the SBC had to choose a server: the first of a lookup, and each
failover. A question put to the same server again (over TCP, without EDNS) is none.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from enumtest.judge.joins import FEW, NS, OK, SILENT, TIMER_NS, UNKNOWN_WAIT_NS, Links, Tolerance
from enumtest.judge.ruling import Vantage
from enumtest.profiles.profile_groups import Event, ReadmitBy
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, HopTable, LookupTable
from harness.packets.capture import Ints


@dataclass(frozen=True, eq=False)
class Rows:
    """What one client address asked, next to the profile that it is held to."""

    table: LookupTable
    links: Links
    client: int
    profile: Profile
    vantage: Vantage
    tolerance: Tolerance

    @property
    def hops(self) -> HopTable:
        """Return the rows."""
        return self.table.hops

    @property
    def size(self) -> int:
        """Return the number of servers."""
        return len(self.hops.servers)

    @property
    def at_sbc(self) -> bool:
        """Say whether the capture shows what the SBC saw."""
        return self.vantage is Vantage.SBC

    def known(self, path: str) -> bool:
        """Say whether the profile knows the value at *path*."""
        return self.profile.source_of(path) is not None

    def open_under(self, *groups: str) -> bool:
        """Say whether the profile leaves open any value whose path begins so."""
        return any(
            one.source is None and one.path.startswith(groups) for one in self.profile.fields()
        )

    @cached_property
    def expire_ns(self) -> int | None:
        """Return how long a server is waited for; None: nobody knows."""
        known = self.known("retransmission.expire_ns")
        return self.profile.retransmission.expire_ns if known else None

    @property
    def soon_ns(self) -> int:
        """Return within what time "at once" is; the way to a tap may take some of it."""
        return TIMER_NS if self.at_sbc else 6 * TIMER_NS + self.unsure_ns

    @property
    def jitter_ns(self) -> int:
        """Return by how much two times of one watch may be off on their way to it."""
        return 0 if self.at_sbc else 6 * TIMER_NS

    @property
    def schedule_ns(self) -> tuple[int, ...]:
        """Return when one question is sent, from its first send on."""
        return self.profile.retransmission.schedule_ns

    def blur_ns(self, row: int) -> int:
        """Return by how much *row* may have begun before its first send was seen."""
        del row
        if self.at_sbc:
            return 0
        return self.profile.retransmission.schedule_ns[-1] + self.soon_ns

    def convicts(self, wrong: int, of: int) -> bool:
        """Say whether so many wrong ones are more than what packets lost behind a tap excuse."""
        return wrong > 0 and (self.at_sbc or (wrong >= FEW and wrong * 2 > of))

    @property
    def one_clock(self) -> bool:
        """Say whether times at different servers can be compared."""
        return self.unsure_ns <= NS

    @cached_property
    def first_ns(self) -> Ints:
        """Return the time of each row's first send."""
        return self.hops.first_ns

    @cached_property
    def last_ns(self) -> Ints:
        """Return the time of each row's last send."""
        return self.hops.send_ns[self.hops.sends_from[1:] - 1]

    @cached_property
    def sends(self) -> Ints:
        """Return how often each row was sent."""
        return np.diff(self.hops.sends_from)

    @cached_property
    def rows(self) -> Ints:
        """Return this client's rows that are no probes, in order of time."""
        return np.flatnonzero((self.hops.client == self.client) & ~self._probing)

    @cached_property
    def probes(self) -> Ints:
        """Return this client's probes, in order of time."""
        return np.flatnonzero((self.hops.client == self.client) & self._probing)

    @cached_property
    def _probing(self) -> npt.NDArray[np.bool_]:
        """Return which rows are probes; a profile that asks for the apex asks for no number."""
        found = self.links.lookup < 0
        readmission = self.profile.readmission
        if readmission.by is ReadmitBy.PROBES and not readmission.probe_name:
            numbers = np.array([name[:1].isdigit() for name in self.hops.questions], np.bool_)
            found = found | ~numbers[self.hops.question]
        return found

    @cached_property
    def turns(self) -> Ints:
        """Return the rows for which a server was chosen."""
        rows, before = self.rows, self.links.before[self.rows]
        chosen = (before < 0) | (self.hops.server[rows] != self.hops.server[before])
        turns: Ints = rows[chosen]
        return turns

    @cached_property
    def firsts(self) -> Ints:
        """Return the first row of each lookup."""
        return self.rows[self.links.before[self.rows] < 0]

    @cached_property
    def begins_ns(self) -> int:
        """Return when the captures begin; of several the last one to do so."""
        return max((watch.begins_ns for watch in self.hops.watches), default=0)

    @cached_property
    def ends_ns(self) -> int:
        """Return when they end; of several the first one to do so."""
        return min((watch.ends_ns for watch in self.hops.watches), default=0)

    @cached_property
    def unsure_ns(self) -> int:
        """Return how far two watches' clocks may be apart, at the worst."""
        sure = [watch.unsure_ns for watch in self.hops.watches]
        return max(sure, default=0) if len(sure) > 1 else 0

    @cached_property
    def gaps(self) -> str:
        """Return why frames may be missing, or ""."""
        for watch in self.hops.watches:
            if watch.dropped:
                return f"the capturing host lost {watch.dropped} frames of {watch.name or 'it'}"
            if watch.cut:
                return f"{watch.name or 'the capture'} is cut: {watch.cut}"
        return ""

    @cached_property
    def turn_rows(self) -> frozenset[int]:
        """Return the rows that are turns."""
        return frozenset(self.turns.tolist())

    def rows_at(self, server: int) -> Ints:
        """Return the rows that went to *server*."""
        return self._by_server[server]

    @cached_property
    def _by_server(self) -> tuple[Ints, ...]:
        asked = self.hops.server[self.rows]
        return tuple(self.rows[asked == server] for server in range(self.size))

    @cached_property
    def _turns_by_server(self) -> tuple[Ints, ...]:
        asked = self.hops.server[self.turns]
        return tuple(self.turns[asked == server] for server in range(self.size))

    def rows_of(self, row: int) -> Ints:
        """Return all rows of the lookup of *row*, in order."""
        first = row
        while (before := int(self.links.before[first])) >= 0:
            first = before
        found = [first]
        while (after := int(self.links.after[found[-1]])) >= 0:
            found.append(after)
        return np.array(found, np.int64)

    def turns_of(self, server: int) -> Ints:
        """Return the turns that went to *server*."""
        return self._turns_by_server[server]

    @cached_property
    def _by_question(self) -> tuple[Ints, Ints]:
        """Return all turns by question and time, and their questions."""
        order = np.lexsort((self.first_ns[self.turns], self.hops.question[self.turns]))
        rows = self.turns[order]
        return rows, self.hops.question[rows].astype(np.int64)

    def same_question(self, row: int) -> Ints:
        """Return the turns that ask what *row* asks, in order of time."""
        rows, questions = self._by_question
        low, high = np.searchsorted(
            questions, [self.hops.question[row], self.hops.question[row] + 1]
        )
        return rows[low:high]

    @cached_property
    def _rows_by_question(self) -> tuple[Ints, Ints]:
        order = np.lexsort((self.first_ns[self.rows], self.hops.question[self.rows]))
        rows = self.rows[order]
        return rows, self.hops.question[rows].astype(np.int64)

    def same_question_rows(self, row: int) -> Ints:
        """Return the rows, turns or not, that ask what *row* asks, in order of time."""
        rows, questions = self._rows_by_question
        low, high = np.searchsorted(
            questions, [self.hops.question[row], self.hops.question[row] + 1]
        )
        return rows[low:high]

    @cached_property
    def _continued(self) -> frozenset[int]:
        return frozenset(self.continued_rows().tolist())

    def continued_rows(self) -> Ints:
        """Return the rows that go on in another one: with the same id, from another port."""
        hops, rows = self.hops, self.rows
        first_id = hops.send_id[hops.sends_from[:-1]][rows]
        ids = first_id if self.known("retransmission.id_per") else np.zeros_like(first_id)
        order = np.lexsort((self.first_ns[rows], hops.server[rows], ids, hops.question[rows]))
        one, two = rows[order][:-1], rows[order][1:]
        same = (hops.question[one] == hops.question[two]) & (hops.server[one] == hops.server[two])
        same &= (np.diff(ids[order]) == 0) & (hops.event[one] == SILENT)
        moved = hops.port[one] != hops.port[two]
        same &= moved | ~np.bool_(self.known("retransmission.id_per"))
        wait_ns = self.expire_ns or UNKNOWN_WAIT_NS
        found: Ints = one[same & (self.first_ns[two] - self.first_ns[one] <= wait_ns)]
        return found

    def is_continued(self, row: int) -> bool:
        """Say whether *row* goes on in another one."""
        return row in self._continued

    def left_early(self, row: int) -> bool:
        """Say whether *row*, without an answer, may have ended before the wait was over."""
        if row in self._continued:
            return True
        if not self.known("retransmission.schedule_ns") or self.expire_ns is None:
            return False
        slack_ns = self.tolerance.timer_ns(self.schedule_ns[-1])
        sent_ns = int(self.last_ns[row] - self.first_ns[row])
        return self.at_sbc and sent_ns + slack_ns < self.schedule_ns[-1]

    def next_turn(self, row: int) -> int:
        """Return the failover of the same lookup after *row*, or -1."""
        at = int(self.links.after[row])
        while at >= 0 and self.hops.server[at] == self.hops.server[row]:
            at = int(self.links.after[at])
        return at

    def tried(self, row: int) -> list[int]:
        """Return the servers asked before *row* in its lookup, each turn once, in order."""
        found: list[int] = []
        at = int(self.links.before[row])
        while at >= 0:
            server = int(self.hops.server[at])
            if not found or found[-1] != server:
                found.append(server)
            at = int(self.links.before[at])
        return found[::-1]

    def event(self, row: int) -> Event | None:
        """Return what came of *row*."""
        return EVENTS[int(self.hops.event[row])]

    @cached_property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Return, for each row, whether an answer to act on came."""
        found: npt.NDArray[np.bool_] = (self.hops.event == OK) & (self.hops.answered_ns != NOT_SEEN)
        return found

    def seconds(self, at_ns: int) -> str:
        """Return a time in words, from the first frame on."""
        return f"{(at_ns - self.begins_ns) / NS:.3f} s"
