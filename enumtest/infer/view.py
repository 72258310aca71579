"""One SBC's part of a table as plain values: its calls, the servers asked for each, its probes.

Laws: all times are on the table's common clock; how far a time may be wrong comes along; nothing
is said of a query that is not in a capture.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from enumtest.dns.source_uri import Framing
from enumtest.profiles.profile_groups import Event
from enumtest.sbc.events import ANSWERS
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, Cite, HopTable, LookupTable, OddFrame

MAX_SHOWN = 64  # frames for one value
MAX_LOOKUPS = 100_000  # of one SBC; what an SBC does is seen in far fewer


@dataclass(frozen=True, slots=True)
class Hop:
    """One question to one server for one call, or a probe."""

    row: int
    server: int  # place in the group
    sends_ns: tuple[int, ...]
    ids: tuple[int, ...]
    port: int
    tcp: bool
    question: int
    has_source: bool
    edns_bytes: int  # -1: no OPT record
    source_code: int  # -1: none
    framing: Framing | None
    event: Event | None  # None: an answer to act on
    answered_ns: int | None
    late_ns: int | None
    late_event: Event | None
    unsure_ns: int  # of the time to a hop of another capture, one way
    watch: int  # which capture

    @property
    def asked_ns(self) -> int:
        """Return when it was first sent."""
        return self.sends_ns[0]


Call = tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """One server asked for one call, TCP and a second try without EDNS included."""

    call: int  # place in `View.calls`
    hops: tuple[Hop, ...]
    tried: tuple[int, ...]  # servers asked before for the call, in this round
    left_ns: int | None  # when the next server was asked for the call

    @property
    def server(self) -> int:
        """Return the place of the server."""
        return self.hops[0].server

    @property
    def at_ns(self) -> int:
        """Return when it was asked."""
        return self.hops[0].asked_ns

    @property
    def event(self) -> Event | None:
        """Return what came of it at last."""
        return self.hops[-1].event

    @property
    def served(self) -> bool:
        """Say whether the server did its work, as every SBC sees it."""
        return self.event in ANSWERS

    def over_ns(self, expire_ns: int) -> int:
        """Return when the SBC was done with it; it waits for *expire_ns*."""
        answered_ns = self.hops[-1].answered_ns
        if self.left_ns is not None:
            return self.left_ns
        return self.at_ns + expire_ns if answered_ns is None else answered_ns


@dataclass(frozen=True, slots=True)
class View:
    """One client's calls in the order of their first sends, and its probes."""

    hops: HopTable
    client: str
    servers: tuple[str, ...]
    calls: tuple[Call, ...]
    probes: tuple[Hop, ...]
    ends_ns: int  # the captures end
    left_out: int  # calls beyond the limit
    dropped: int  # frames that the capturing hosts say they lost
    odd: tuple[OddFrame, ...]  # messages of servers to it that answer no question
    starts: Mapping[int, tuple[int, ...]]  # question: when its calls began

    def cites(self, hops: Sequence[Hop]) -> tuple[Cite, ...]:
        """Return the first frame of each, as far as anybody would read them."""
        return self.hops.cites([hop.row for hop in hops[:MAX_SHOWN]])


def view(table: LookupTable, client: str, *, limit: int = MAX_LOOKUPS) -> View:
    """Return what *client*, an address of the table, did."""
    hops, place = table.hops, table.hops.clients.index(client)
    first = table.row[table.rows_from[:-1]]
    mine = (hops.client[first] == place) & np.array(_numbers(hops), np.bool_)[hops.question[first]]
    chosen = np.flatnonzero(mine).tolist()
    rows = {at: table.hops_of(at).tolist() for at in chosen[:limit]}
    named = ~np.array(_numbers(hops), np.bool_)[hops.question]
    probes = np.flatnonzero((hops.probe | named) & (hops.client == place)).tolist()
    starts: dict[int, list[int]] = defaultdict(list)
    made = _hops(hops, sorted({*probes, *(row for one in rows.values() for row in one)}))
    calls = [tuple(made[row] for row in one) for one in rows.values() if one]
    for call in calls:
        starts[call[0].question].append(call[0].asked_ns)
    return View(
        hops,
        client,
        hops.servers,
        tuple(sorted(calls, key=lambda call: (call[0].asked_ns, call[0].row))),
        tuple(made[row] for row in probes),
        max((watch.ends_ns for watch in hops.watches), default=0),
        len(chosen) - len(rows),
        sum(watch.dropped or 0 for watch in hops.watches),
        tuple(one for one in table.odd if one.client == client and not one.from_client),
        {question: tuple(times) for question, times in starts.items()},
    )


def _numbers(hops: HopTable) -> list[bool]:
    """Say of each owner name whether it can be a number's: a digit stands first."""
    return [name[:1].isdigit() and name[1:2] == "." for name in hops.questions]


def asks(seen: View) -> tuple[Ask, ...]:
    """Return every server asked for every call, in the order of time."""
    found = [ask for at, call in enumerate(seen.calls) for ask in _asks(at, call, seen.servers)]
    return tuple(sorted(found, key=lambda ask: (ask.at_ns, ask.hops[0].row)))


def open_between(found: Sequence[Ask], from_ns: int, to_ns: int) -> Iterator[Ask]:
    """Yield the asks of *found*, which are in the order of time, that began in that time."""
    begin = bisect_left(found, from_ns, key=lambda ask: ask.at_ns)
    end = bisect_right(found, to_ns, key=lambda ask: ask.at_ns)
    yield from found[begin:end]


def _asks(at: int, call: Call, servers: Sequence[str]) -> list[Ask]:
    groups: list[list[Hop]] = []
    for hop in call:
        if groups and _goes_on(groups[-1][-1], hop):
            groups[-1].append(hop)
        else:
            groups.append([hop])
    found: list[Ask] = []
    tried: tuple[int, ...] = ()
    for place, group in enumerate(groups):
        if group[0].server in tried:  # the next round
            tried = ()
        behind = groups[place + 1 : place + 2]
        left_ns = behind[0][0].asked_ns if behind else None
        found.append(Ask(at, tuple(group), tried, left_ns))
        tried = (*tried, group[0].server)
        if len(tried) == len(servers):
            tried = ()
    return found


def _goes_on(one: Hop, two: Hop) -> bool:
    """Say whether *two* is *one* over TCP, or without EDNS."""
    over_tcp = two.tcp and not one.tcp
    plain = one.edns_bytes >= 0 > two.edns_bytes and one.answered_ns is not None
    return one.server == two.server and (over_tcp or plain)


def _hops(hops: HopTable, rows: list[int]) -> dict[int, Hop]:
    """Return each of *rows* as a value."""
    framings, unsure_ns = tuple(Framing), max(watch.unsure_ns for watch in hops.watches)

    def time(column: Any, row: int) -> int | None:  # noqa: ANN401 - a column of times
        at_ns = int(column[row])
        return None if at_ns == NOT_SEEN else at_ns

    found = {}
    for row in rows:
        sends = hops.sends(row)
        framing = int(hops.source_framing[row])
        found[row] = Hop(
            row,
            int(hops.server[row]),
            tuple(hops.send_ns[sends].tolist()),
            tuple(hops.send_id[sends].tolist()),
            int(hops.port[row]),
            bool(hops.tcp[row]),
            int(hops.question[row]),
            int(hops.source[row]) > 0,
            int(hops.edns_bytes[row]),
            int(hops.source_code[row]),
            framings[framing] if framing >= 0 else None,
            EVENTS[int(hops.event[row])],
            time(hops.answered_ns, row),
            time(hops.late_ns, row),
            EVENTS[int(hops.late_event[row])],
            unsure_ns,
            int(hops.watch[row]),
        )
    return found
