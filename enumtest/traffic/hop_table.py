"""What an SBC asked, as columns: one row a question to one server, and the calls made of them.

    captures ─▶ messages ─▶ hops (retransmissions folded) ─▶ lookups (failovers joined)

Laws: rows are in the order of their first sends, on one clock; a row's retransmissions are no rows;
nothing is guessed about an answer that is not in a capture; a probe is no call.

`enumtest.traffic.hop_reader` makes these tables; judge and inference read them. Columns are numpy
arrays,
so that a million packets cost seconds; `LookupTable.hops_of` gives one lookup's rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enumtest.profiles.profile_groups import Event
from harness.packets.capture import Ints

EVENTS: tuple[Event | None, ...] = (None, *Event)  # of `HopTable.event`; 0: an answer to act on
NOT_SEEN = -1  # in a column of times
OTHER_EDNS, OTHER_SOURCE, OTHER_LETTERS = 1, 2, 4  # in `HopTable.resend_differs`, added up


@dataclass(frozen=True, slots=True)
class Cite:
    """One frame of one capture, counted from 1 as tshark does."""

    capture: str  # the file's name
    frame: int


@dataclass(frozen=True, slots=True)
class Watch:
    """One capture: where it was taken from, and what it may have missed."""

    name: str
    servers: tuple[str, ...]  # whose traffic it shows
    begins_ns: int  # first and last frame, on the common clock
    ends_ns: int
    ahead_ns: int  # its clock, against the common one
    unsure_ns: int  # by how much that may be wrong, both ways; 0: it is the common clock
    dropped: int | None  # frames that the capturing host lost; None: it does not say
    cut: str  # why the file ends too early, "" when it does not


@dataclass(frozen=True, slots=True, eq=False)
class HopTable:
    """Every question put to the named servers; *n* rows, *m* sends."""

    servers: tuple[str, ...]  # the group, in the SBC's order
    clients: tuple[str, ...]  # addresses that asked
    questions: tuple[str, ...]  # owner names, lower case, no final dot
    sources: tuple[str, ...]  # calling URIs of EDNS options; the first is ""
    watches: tuple[Watch, ...]
    server: npt.NDArray[np.int16]  # places in the tuples above
    client: npt.NDArray[np.int32]
    question: npt.NDArray[np.int32]
    source: npt.NDArray[np.int32]
    watch: npt.NDArray[np.int16]
    qtype: npt.NDArray[np.int32]  # 35: NAPTR
    port: npt.NDArray[np.int32]  # of the client
    tcp: npt.NDArray[np.bool_]
    probe: npt.NDArray[np.bool_]  # a health query: no call's
    sends_from: Ints  # n + 1 places in the three columns of sends
    send_ns: Ints  # m, wall time
    send_frame: Ints
    send_id: npt.NDArray[np.int32]
    event: npt.NDArray[np.int8]  # place in EVENTS: what came of it; SILENCE: nothing in the capture
    answered_ns: Ints  # NOT_SEEN without an answer; one that does not parse (GARBLED) has a time
    answer_frame: Ints  # 0 without
    late_ns: Ints  # a further answer, or one after the server was given up; NOT_SEEN without
    late_frame: Ints
    late_event: npt.NDArray[np.int8]
    edns_bytes: npt.NDArray[np.int32]  # UDP payload size that the query offers; -1: no OPT record
    source_code: npt.NDArray[np.int32]  # EDNS option that carried the source; -1: none
    source_framing: npt.NDArray[np.int8]  # place in tuple(Framing); -1: none
    refused_ns: Ints  # ICMP said that the question did not arrive; NOT_SEEN without
    refused_frame: Ints  # 0 without
    ttl_s: Ints  # least of the NAPTR records of the answer; -1: none
    resend_differs: npt.NDArray[np.int8]  # what a later send has otherwise than the first; 0: none

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.server)

    @property
    def first_ns(self) -> Ints:
        """Return when each row's first send was."""
        return self.send_ns[self.sends_from[:-1]]

    def sends(self, row: int) -> slice:
        """Return where the sends of a row are."""
        return slice(int(self.sends_from[row]), int(self.sends_from[row + 1]))

    def cites(self, rows: Sequence[int]) -> tuple[Cite, ...]:
        """Return the first frame of each of these rows."""
        return tuple(
            Cite(
                self.watches[int(self.watch[row])].name, int(self.send_frame[self.sends_from[row]])
            )
            for row in rows
        )


@dataclass(frozen=True, slots=True)
class OddFrame:
    """A message that is in no row, and why."""

    cite: Cite
    at_ns: int
    client: str
    server: str
    from_client: bool
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """The calls: each one's rows of `hops` in order, the first server asked and then failovers."""

    hops: HopTable
    row: Ints  # all rows that are no probes, lookup after lookup
    rows_from: Ints  # one more than lookups: where each one's rows begin in `row`
    odd: tuple[OddFrame, ...]  # the first MAX_ODD of them; `odd_count` counts all
    odd_count: int

    def __len__(self) -> int:
        """Return the number of lookups."""
        return len(self.rows_from) - 1

    def hops_of(self, lookup: int) -> Ints:
        """Return the rows of one lookup."""
        return self.row[int(self.rows_from[lookup]) : int(self.rows_from[lookup + 1])]
