"""Captures of an unknown SBC to a table: what is measured at first sight joins the calls.

    captures ─▶ table without a profile ─▶ waits at first sight ─▶ table by those waits

Whether two questions are one call's depends on how long the SBC waits for a server, which is to be
measured. So the waits between a silent server and the next one asked the same are taken first, and
the calls are joined by what most of them say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from enumtest.infer.timers import APART, LATE_NS, LIKELY_NS
from enumtest.profiles.profile_file import shipped_profile
from enumtest.profiles.profile_groups import Event, IdScope, Retransmission
from enumtest.profiles.profiles import Profile
from enumtest.traffic.hop_reader import read_lookups
from enumtest.traffic.hop_table import EVENTS, HopTable, LookupTable
from enumtest.traffic.lookup_join import is_redial, redials
from harness.packets.capture import Capture, Ints
from harness.packets.frame import Endpoint

LONGEST_NS = 120 * 10**9  # that an SBC is thought to wait for one server
MAX_ROUNDS = 2  # of an unknown SBC through its servers, in one call
BASE = "fixed-hold-down"
_SILENCE = EVENTS.index(Event.SILENCE)


def read_unknown(
    captures: Sequence[Capture],
    servers: Mapping[Endpoint, str],
    *,
    ahead_ns: Mapping[str, int] | None = None,
) -> LookupTable:
    """Return the calls in *captures* of SBCs of which nothing is known."""
    table = read_lookups(captures, servers, None, ahead_ns=ahead_ns or {})
    # A wait between two clocks that nobody knows is none; taken for one, it would set the clocks.
    if any(watch.unsure_ns for watch in table.hops.watches):
        return table
    profile = at_first_sight(table.hops)
    if profile is None:
        return table
    return read_lookups(captures, servers, profile, ahead_ns=ahead_ns or {})


@dataclass(frozen=True, slots=True)
class _Wait:
    """One silent server left for another one: rows of the same question to it."""

    gap_ns: int
    rows: tuple[int, ...]  # more than one: another id for each send, or another call


def at_first_sight(hops: HopTable) -> Profile | None:
    """Return a profile with the waits that *hops* show, or None when they show none."""
    clusters: list[list[_Wait]] = []
    for one in sorted(_waits(hops), key=lambda wait: (wait.gap_ns, wait.rows)):
        if clusters and one.gap_ns <= clusters[-1][0].gap_ns * APART + LATE_NS:
            clusters[-1].append(one)
        else:
            clusters.append([one])
    # Calls that died with all servers down look left for the next call of the same number.
    gaps_ns = _redials(hops)
    clusters = [
        one for one in clusters if not is_redial(gaps_ns, one[0].gap_ns, one[-1].gap_ns, len(one))
    ]
    if not clusters:
        return None
    own = max(clusters, key=lambda cluster: (len(cluster), cluster[0].gap_ns))
    again = [one for one in own if len(one.rows) > 1]
    new_id = 2 * len(again) > len(own)
    chosen = (again if new_id else own)[0]
    sends = np.concatenate([hops.send_ns[hops.sends(row)] for row in chosen.rows])
    times_ns = tuple(dict.fromkeys((sends - sends[0]).tolist()))
    base = shipped_profile(BASE)
    waits = Retransmission(
        tuple(at_ns for at_ns in times_ns if at_ns < chosen.gap_ns),
        chosen.gap_ns,
        IdScope.SEND if new_id else IdScope.SERVER,
        base.retransmission.port_per,
    )
    return replace(base, retransmission=waits, selection=replace(base.selection, rounds=MAX_ROUNDS))


def _redials(hops: HopTable) -> Ints:
    order = np.lexsort((hops.first_ns, hops.source, hops.question, hops.client))
    keys = np.stack([hops.client, hops.question, hops.source])[:, order]
    same = (np.diff(keys, axis=1) == 0).all(axis=0)
    call = np.concatenate([np.zeros(1, np.int64), np.cumsum(~same)])
    return redials(call, hops.event[order], hops.first_ns[order])


def _waits(hops: HopTable) -> Iterator[_Wait]:
    """Yield each time that a question met silence, and another server was asked it."""
    first_ns, servers, events = hops.first_ns.tolist(), hops.server.tolist(), hops.event.tolist()
    columns = (hops.client.tolist(), hops.question.tolist(), hops.source.tolist())
    runs: dict[tuple[int, int, int], list[int]] = {}
    for row, key in enumerate(zip(*columns, strict=True)):
        run = runs.setdefault(key, [])
        if run and events[run[-1]] == _SILENCE:
            gap_ns = first_ns[row] - first_ns[run[0]]
            if gap_ns <= LONGEST_NS and servers[run[-1]] == servers[row]:
                run.append(row)
                continue
            if LIKELY_NS <= gap_ns <= LONGEST_NS:
                yield _Wait(gap_ns, tuple(run))
        runs[key] = [row]
