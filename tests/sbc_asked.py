"""The simulated SBC asked by hand: one call, its query, and what is answered when."""

from enumtest.dns.message import encode_answer, parse_query
from enumtest.naptr.naptr import NaptrRecord
from enumtest.sbc.sbc import CallDecided, Outgoing, Sbc
from harness.packets.frame import Endpoint
from tests.enum_wire import (
    MS,
    NUMBERS,
    SECOND,
    SOURCE,
    endpoints,
    sbc_config,
)

SERVERS = endpoints(3)
ONE, TWO, THREE = SERVERS.values()
CONFIG = sbc_config(SERVERS, timeout_ns=4 * SECOND, retransmissions=3, hold_down_ns=30 * SECOND)
CALLED = NUMBERS[0]


def sends(box: Sbc) -> list[Outgoing]:
    """Return all that *box* has to send."""
    found = []
    while (outgoing := box.to_send()) is not None:
        found.append(outgoing)
    return found


def call(box: Sbc, now_ns: int = 0) -> Outgoing:
    """Place a call; return its first query."""
    box.place_call(CALLED, SOURCE, now_ns)
    (query,) = sends(box)
    return query


def reply(
    query: Outgoing, rcode: str = "NOERROR", *records: NaptrRecord, truncated: bool = False
) -> bytes:
    """Return the answer to *query*."""
    return encode_answer(parse_query(query.payload), rcode, records, truncated=truncated)


def answer(box: Sbc, query: Outgoing, payload: bytes, now_ns: int = MS) -> CallDecided | None:
    """Give *box* an answer from the server that was asked; return the decision, if any."""
    box.receive(payload, query.server, now_ns)
    return box.next_event()


def silence(box: Sbc, until_ns: int) -> list[tuple[int, Endpoint]]:
    """Handle timers when they are due; return when what was sent to whom."""
    sent = []
    while (due_ns := box.next_timer()) is not None and due_ns <= until_ns:
        box.handle_timer(due_ns)
        sent += [(due_ns, outgoing.server) for outgoing in sends(box)]
    return sent
