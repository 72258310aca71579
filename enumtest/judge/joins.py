"""Which rows are one lookup, and which answers came in time: the table as a judge takes it.

Laws: what was joined and cannot be one call is taken apart again; an answer to a question that had
been given up is a late one, however the table has it.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from enumtest.profiles.profile_groups import Event, IdScope
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, HopTable, LookupTable
from harness.packets.capture import Ints

Bools = npt.NDArray[np.bool_]

NS = 1_000_000_000
MS_NS = 1_000_000
TIMER_NS = 50_000_000  # how late a timer may be on a busy machine, at the least
FOREVER_NS = 1 << 62
UNKNOWN_WAIT_NS = 30 * NS  # for a server, when nobody knows how long the SBC waits
FEW = 3  # wrong ones that losses can explain
OK = EVENTS.index(None)
SILENT = EVENTS.index(Event.SILENCE)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a time may be off before it is wrong."""

    hold_down: float = 0.08  # of its length, both ways

    def timer_ns(self, time_ns: int) -> int:
        """Return it for a timer of that length."""
        return max(time_ns // 5, TIMER_NS)

    def length_ns(self, length_ns: int) -> int:
        """Return it for a hold-down of that length."""
        return max(round(length_ns * self.hold_down), TIMER_NS)


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Which rows belong together: for each row of the hops its lookup and its neighbours in it."""

    lookup: Ints  # -1: of a probe
    before: Ints  # -1: none
    after: Ints


def links(table: LookupTable, profile: Profile, *, exact: bool) -> Links:
    """Return the links of all rows."""
    size, row = len(table.hops), table.row
    lookup, before, after = (np.full(size, -1, np.int64) for _ in range(3))
    owner = np.repeat(np.arange(len(table)), np.diff(table.rows_from))
    same = owner[1:] == owner[:-1]
    one, two = row[:-1][same], row[1:][same]
    # Where nothing is lost behind the tap, a failover comes when the timer says.
    expire_ns = profile.retransmission.expire_ns
    slack_ns = TIMER_NS + expire_ns // 25
    slack_ns = slack_ns if exact else 6 * TIMER_NS + Tolerance().timer_ns(expire_ns)
    timely = _timely(table.hops, profile, (one, two), slack_ns)
    before[two[timely]], after[one[timely]] = one[timely], two[timely]
    lookup[row] = np.cumsum(before[row] < 0) - 1
    return Links(lookup, before, after)


def _timely(hops: HopTable, profile: Profile, pair: tuple[Ints, Ints], slack_ns: int) -> Bools:
    """Say which neighbours in a lookup are that for certain.

    Another server is asked at once after an answer, or when the wait for the first is over. What
    comes at another time is another call to the same number, unless this SBC always does that.
    """
    one, two = pair
    waited_ns = hops.first_ns[two] - hops.first_ns[one]
    comparable = _comparable(hops, one, two)
    # ICMP says that nobody will answer; what has the id of the question before is the same call.
    answered_ns, refused_ns = hops.answered_ns[one], hops.refused_ns[one]
    said_ns = np.where(answered_ns != NOT_SEEN, answered_ns, refused_ns)
    said = said_ns != NOT_SEEN
    first_id = hops.send_id[hops.sends_from[:-1]]
    if profile.retransmission.id_per is not IdScope.ALWAYS:
        comparable &= first_id[one] != first_id[two]
    at_once = said & (np.abs(hops.first_ns[two] - said_ns) <= 6 * TIMER_NS)
    if profile.source_of("retransmission.expire_ns") is None:
        last_ns = hops.send_ns[hops.sends_from[one + 1] - 1]
        perhaps: Bools = ~said | at_once | (waited_ns >= last_ns - hops.first_ns[one])
        return perhaps
    expire_ns = profile.retransmission.expire_ns
    waited = np.abs(waited_ns - expire_ns) <= slack_ns
    silent = ~said & comparable
    early = waited_ns[silent & ~waited]
    # No person dials again after the same time twice.
    alike = len(early) > 1 and bool(np.ptp(early) <= 2 * TIMER_NS)
    always = (len(early) >= FEW or alike) and not (silent & waited).any()
    timely: Bools = at_once | waited | ~comparable | (~said & always)
    return timely


def _comparable(hops: HopTable, one: Ints, two: Ints) -> npt.NDArray[np.bool_]:
    """Say which pairs have times of clocks that are known against each other."""
    unsure = np.array([watch.unsure_ns > NS for watch in hops.watches], np.bool_)
    same = hops.watch[one] == hops.watch[two]
    known: Bools = same | ~(unsure[hops.watch[one]] | unsure[hops.watch[two]])
    return known


def given_up(table: LookupTable, profile: Profile) -> LookupTable:
    """Return *table* with the answers that came when the server had been given up as late ones."""
    hops, expire_ns = table.hops, profile.retransmission.expire_ns
    if profile.source_of("retransmission.expire_ns") is None:
        return table
    too_late = hops.answered_ns - hops.first_ns > expire_ns + max(expire_ns // 50, TIMER_NS)
    if not too_late.any():
        return table
    changed = replace(  # of several late answers the first one counts
        hops,
        event=np.where(too_late, SILENT, hops.event).astype(np.int8),
        late_ns=np.where(too_late, hops.answered_ns, hops.late_ns),
        late_frame=np.where(too_late, hops.answer_frame, hops.late_frame),
        late_event=np.where(too_late, hops.event, hops.late_event).astype(np.int8),
        answered_ns=np.where(too_late, NOT_SEEN, hops.answered_ns),
        answer_frame=np.where(too_late, 0, hops.answer_frame),
    )
    return replace(table, hops=changed)
