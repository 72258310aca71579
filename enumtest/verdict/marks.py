"""What is drawn of an SBC's queries: one mark each, or one for all of a kind in a stretch of time.

Laws: no picture has more than about MAX_MARKS marks, however long the capture; a query is in one
mark and no other; what went wrong never shares a mark with what went well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from enumtest.profiles.profile_groups import Event
from enumtest.traffic.hop_table import EVENTS, NOT_SEEN, Cite, HopTable
from harness.packets.capture import Ints

MAX_MARKS = 4000  # of one picture: half a megabyte
MAX_OF_SERVER = 1000  # dots in one strip; more would be a line
MIN_BINS, MAX_BINS = 40, 280  # stretches of time; 3 pixels are the least that can be told apart
TICKS = 9
SECOND = 1_000_000_000
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


class Kind(IntEnum):
    """What came of a query."""

    ANSWERED = 0
    NO_NUMBER = 1
    TRUNCATED = 2
    SILENT = 3
    ERROR = 4
    UNREADABLE = 5
    LATE = 6
    PROBE_ANSWERED = 7
    PROBE_FAILED = 8
    AGAIN = 9  # a retransmission


_EVENT_KIND: Mapping[Event | None, Kind] = {
    None: Kind.ANSWERED,
    Event.NXDOMAIN: Kind.NO_NUMBER,
    Event.NODATA: Kind.NO_NUMBER,
    Event.TRUNCATED: Kind.TRUNCATED,
    Event.SILENCE: Kind.SILENT,
    **dict.fromkeys((Event.GARBLED, Event.WRONG_ID, Event.WRONG_QUESTION), Kind.UNREADABLE),
    Event.LATE: Kind.LATE,
}


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a picture shows."""

    from_ns: int
    until_ns: int

    def covers(self, at_ns: int) -> bool:
        """Say whether a moment is in it."""
        return self.from_ns <= at_ns <= self.until_ns


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What is drawn of the queries of one client, one row a mark."""

    row: Ints  # of the hop table; of a mark that stands for many, the first
    at_ns: Ints
    server: Ints
    kind: Ints
    many: Ints  # how many queries it stands for
    bin_ns: int  # the time that a mark stands for; 0: each is one query


def kinds_of(hops: HopTable) -> npt.NDArray[np.int8]:
    """Return the kind of each row."""
    by_event = np.array([_EVENT_KIND.get(event, Kind.ERROR) for event in EVENTS], np.int8)
    kinds = by_event[hops.event]
    late = (hops.late_ns != NOT_SEEN) & (kinds == Kind.SILENT)
    kinds = np.where(late, np.int8(Kind.LATE), kinds)
    well = (kinds == Kind.ANSWERED) | (kinds == Kind.NO_NUMBER)
    probe = np.where(well, np.int8(Kind.PROBE_ANSWERED), np.int8(Kind.PROBE_FAILED))
    return np.where(hops.probe, probe, kinds)


def marks_of(hops: HopTable, client: str, window: Window) -> Marks:
    """Return what is drawn: each query, or when they are too many, one mark for those of a time."""
    mine = hops.clients.index(client) if client in hops.clients else -1
    rows = np.flatnonzero(hops.client == mine)
    sends_of = np.diff(hops.sends_from)
    repeated = np.repeat(rows, np.maximum(sends_of[rows] - 1, 0))
    places = _further_sends(hops, rows)
    row = np.concatenate([rows, repeated])
    at_ns = np.concatenate([hops.first_ns[rows], hops.send_ns[places]])
    kind = np.concatenate([kinds_of(hops)[rows], np.full(len(repeated), Kind.AGAIN, np.int8)])
    inside = (at_ns >= window.from_ns) & (at_ns <= window.until_ns)
    row, at_ns, kind = row[inside], at_ns[inside], kind[inside].astype(np.int64)
    server = hops.server[row].astype(np.int64)
    if len(row) <= MAX_MARKS and int(np.bincount(server, minlength=1).max()) <= MAX_OF_SERVER:
        return Marks(row, at_ns, server, kind, np.ones(len(row), np.int64), 0)
    return _binned(Marks(row, at_ns, server, kind, row, 0), window)


def _further_sends(hops: HopTable, rows: Ints) -> Ints:
    """Return the places of the sends of *rows* behind each one's first."""
    is_first = np.zeros(len(hops.send_ns), np.bool_)
    is_first[hops.sends_from[:-1]] = True
    owner = np.repeat(np.arange(len(hops)), np.diff(hops.sends_from))
    wanted = np.zeros(len(hops), np.bool_)
    wanted[rows] = True
    return np.flatnonzero(~is_first & wanted[owner])


def _binned(marks: Marks, window: Window) -> Marks:
    """Return one mark for all of a kind and a server in one stretch of time."""
    groups = max(1, len(np.unique(marks.server * len(Kind) + marks.kind)))
    bins = max(MIN_BINS, min(MAX_BINS, MAX_MARKS // groups))
    bin_ns = max(1, -(-(window.until_ns - window.from_ns + 1) // bins))
    place = (marks.at_ns - window.from_ns) // bin_ns
    key = (marks.server * len(Kind) + marks.kind) * bins + place
    order = np.lexsort((marks.at_ns, key))  # so that the first of each is the earliest
    keys, first, many = np.unique(key[order], return_index=True, return_counts=True)
    rest, place = np.divmod(keys, bins)
    server, kind = np.divmod(rest, len(Kind))
    at_ns = window.from_ns + place * bin_ns + bin_ns // 2
    return Marks(marks.row[order][first], at_ns, server, kind, many.astype(np.int64), bin_ns)


def rows_of(hops: HopTable, cite: Cite) -> list[int]:
    """Return the rows that a frame is a send or an answer of."""
    watches = [at for at, one in enumerate(hops.watches) if one.name == cite.capture]
    sends = np.flatnonzero(hops.send_frame == cite.frame)
    rows = np.concatenate(
        [
            np.searchsorted(hops.sends_from, sends, side="right") - 1,
            np.flatnonzero(hops.answer_frame == cite.frame),
            np.flatnonzero(hops.late_frame == cite.frame),
        ]
    )
    return [int(row) for row in np.unique(rows) if int(hops.watch[row]) in watches]


def tick_ns(length_ns: int) -> int:
    """Return a round distance of ticks, so that about TICKS of them are in *length_ns*."""
    least = max(1, length_ns // TICKS)
    for step_s in _STEPS_S:
        if step_s * SECOND >= least >= SECOND // 2:
            return step_s * SECOND
    if least > SECOND:
        return -(-least // (_STEPS_S[-1] * SECOND)) * _STEPS_S[-1] * SECOND
    power = 1
    while power * 10 <= least:
        power *= 10
    return next(power * part for part in (1, 2, 5, 10) if power * part >= least)


def duration(length_ns: int, step_ns: int = SECOND) -> str:
    """Return a time as precisely as ticks so far apart need it.

    >>> [duration(at * SECOND) for at in (0, 90, 3661)]
    ['0 s', '1:30', '1:01:01']
    """
    if step_ns < SECOND:
        return f"{length_ns / SECOND:.9f}".rstrip("0").rstrip(".") + " s"
    seconds = length_ns // SECOND
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}" if minute else f"{second} s"
