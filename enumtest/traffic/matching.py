"""Which call made which lookup: one matcher for every case.

    calls, lookups ─▶ by dialled number ─▶ by calling number ─▶ by time ─▶ pairs, and what is left

Laws: a call has at most one lookup and a lookup at most one call; a lookup belongs to a call only
if it began while the call was being set up; what fits nobody is kept and named, never dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from enumtest.traffic.lookups import Lookup
from enumtest.traffic.transactions import Transaction
from harness.records import CallRecord

MS = 1_000_000
SLACK_NS = 50 * MS  # a capture made of two interfaces can show a lookup just before its call
LONGEST_SETUP_NS = 180_000 * MS  # RFC 3261 timer C: nobody waits longer for an answer
LATEST_FAILOVER = 10  # declared time-outs: an SBC that waits longer can't be told from a new call


@dataclass(frozen=True, slots=True)
class Matching:
    """Calls with their lookups, and what is left over on both sides."""

    pairs: tuple[tuple[CallRecord, Lookup], ...]
    unasked: tuple[CallRecord, ...]  # calls without a lookup
    spare: tuple[Lookup, ...]  # lookups without a call

    def claimed(self, within_ns: int, party: Callable[[str], str] = str) -> frozenset[int]:
        """Return the first frame of each lookup that a call explains beyond doubt.

        It began *within_ns* of the INVITE, and names the caller if it names anybody.
        """
        return frozenset(
            lookup.first.sends[0].frame
            for call, lookup in self.pairs
            if lookup.at_ns - call.at_ns <= within_ns
            and (not lookup.first.source or party(lookup.first.source) == call.source)
        )


def match(
    calls: Iterable[CallRecord],
    lookups: Iterable[Lookup],
    apex: str,
    party: Callable[[str], str] = str,
) -> Matching:
    """Return which of *lookups* each of *calls* made; *party* reads a source URI as a number."""
    waiting = sorted(calls, key=lambda call: call.at_ns)
    left = sorted(lookups, key=lambda lookup: lookup.at_ns)
    pairs: list[tuple[CallRecord, Lookup]] = []
    for same_source in (True, False):
        found = _paired(waiting, left, apex, party if same_source else None)
        pairs += found
        calls_done = {id(call) for call, _ in found}
        lookups_done = {id(lookup) for _, lookup in found}
        waiting = [call for call in waiting if id(call) not in calls_done]
        left = [lookup for lookup in left if id(lookup) not in lookups_done]
    return Matching(tuple(pairs), tuple(waiting), tuple(left))


def _paired(
    calls: Sequence[CallRecord],
    lookups: Sequence[Lookup],
    apex: str,
    party: Callable[[str], str] | None,
) -> list[tuple[CallRecord, Lookup]]:
    """Return the pairs of one pass; both sides come in order of time."""
    found: list[tuple[CallRecord, Lookup]] = []
    open_: dict[tuple[str, str], list[CallRecord]] = {}
    coming = iter([*calls, None])
    following = next(coming)
    for lookup in lookups:
        while following is not None and following.at_ns <= lookup.at_ns + SLACK_NS:
            source = "" if party is None else following.source
            open_.setdefault((following.destination, source), []).append(following)
            following = next(coming)
        source = "" if party is None else party(lookup.first.source)
        queue = open_.get((str(lookup.number(apex) or ""), source), [])
        queue[:] = [call for call in queue if _ends_ns(call) >= lookup.at_ns]
        if queue:
            call = min(queue, key=lambda one: abs(lookup.at_ns - one.at_ns))
            queue.remove(call)
            found.append((call, lookup))
    return found


def _ends_ns(call: CallRecord) -> int:
    """Return until when *call* may make a lookup."""
    until_ns = call.at_ns + LONGEST_SETUP_NS if call.final_ns is None else call.final_ns
    return until_ns + SLACK_NS


def rejoin(
    lookups: Sequence[Lookup], claimed: frozenset[int], timeout_ns: int
) -> tuple[Lookup, ...]:
    """Return *lookups* with each that no call explains joined to the one that it goes on from.

    An SBC that waits longer than its site file says repeats a question, or asks the next server,
    later than the reader expects. *claimed* are the first frames of lookups that calls explain;
    with none at all, no call was captured, and nothing can be said.
    """
    if not claimed:
        return tuple(lookups)
    kept: list[list[Transaction]] = []
    latest: dict[tuple[str, str, str], list[list[Transaction]]] = {}
    for lookup in sorted(lookups, key=lambda one: one.at_ns):
        new = lookup.first
        queue = latest.setdefault((new.client.address, new.query.qname, new.source), [])
        since_ns = lookup.at_ns - LATEST_FAILOVER * timeout_ns
        queue[:] = [chain for chain in queue if chain[-1].sends[0].at_ns >= since_ns]
        fits = [
            chain for chain in queue if new.sends[0].frame not in claimed and _goes_on(chain, new)
        ]
        if not fits:
            kept.append(list(lookup.hops))
            queue.append(kept[-1])
            continue
        chain, hops = fits[-1], list(lookup.hops)
        if new.server == chain[-1].server:
            again = hops.pop(0)
            chain[-1] = replace(again, sends=(*chain[-1].sends, *again.sends))
        chain += hops
    return tuple(Lookup(tuple(chain)) for chain in kept)


def _goes_on(chain: Sequence[Transaction], new: Transaction) -> bool:
    """Say whether *new* repeats the last question of *chain*, or asks the next server for it."""
    last = chain[-1]
    if last.answer is not None:
        return False
    if new.server == last.server:
        return (new.client, new.query.id) == (last.client, last.query.id)
    return all(hop.server != new.server for hop in chain)
