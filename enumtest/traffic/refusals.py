"""Questions that did not arrive: ICMP messages, each given to the hop that it is about.

Laws: a message is about the latest question from its client's port to its server; what is quoted
tells both, so that no time is guessed; the event of the hop stays silence: nobody answered.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enumtest.traffic.hop_table import NOT_SEEN
from harness.packets.capture import Ints
from harness.packets.frame import UDP, Datagrams, Endpoint
from harness.packets.unreachable import unreachable


@dataclass(frozen=True, slots=True)
class Refusal:
    """A datagram that did not arrive, and when its sender was told."""

    client: Endpoint
    server: Endpoint
    at_ns: int
    frame: int


@dataclass(frozen=True, slots=True, eq=False)
class Hops:
    """As much of the hops, in order of their first sends, as is needed here."""

    clients: tuple[str, ...]
    client: npt.NDArray[np.int32]
    port: npt.NDArray[np.int32]
    server: npt.NDArray[np.int16]
    first_ns: Ints


def read_refusals(
    captures: Sequence[Datagrams], servers: Mapping[Endpoint, str], ahead_ns: Sequence[int]
) -> tuple[Refusal, ...]:
    """Return what the captures say of questions to *servers*, in order of the common clock."""
    found = []
    for datagrams, ahead in zip(captures, ahead_ns, strict=True):
        told = unreachable(datagrams)
        quoted = told.quoted
        for row in np.flatnonzero(quoted.protocol == UDP).tolist():
            server = quoted.destination(row)
            if server in servers:
                at_ns = int(told.at_ns[row]) - ahead
                client = quoted.source(row)
                found.append(Refusal(client, server, at_ns, int(told.frame[row])))
    return tuple(sorted(found, key=lambda one: (one.at_ns, one.frame)))


def refused(
    refusals: Sequence[Refusal], servers: Mapping[Endpoint, str], names: tuple[str, ...], hops: Hops
) -> tuple[Ints, Ints]:
    """Return when each hop's sender was told, and the frames: NOT_SEEN and 0 without."""
    at_ns = np.full(len(hops.first_ns), NOT_SEEN, np.int64)
    frame = np.zeros(len(hops.first_ns), np.int64)
    ports = np.array(sorted({one.client.port for one in refusals}), np.int64)
    asked: dict[tuple[str, int, int], list[int]] = {}
    for hop in np.flatnonzero(np.isin(hops.port, ports)).tolist():
        place = (hops.clients[hops.client[hop]], int(hops.port[hop]), int(hops.server[hop]))
        asked.setdefault(place, []).append(hop)
    for one in refusals:
        place = (one.client.address, one.client.port, names.index(servers[one.server]))
        here = asked.get(place, [])
        latest = bisect_right(here, one.at_ns, key=lambda hop: int(hops.first_ns[hop])) - 1
        if latest >= 0 and at_ns[here[latest]] == NOT_SEEN:
            at_ns[here[latest]], frame[here[latest]] = one.at_ns, one.frame
    return at_ns, frame
