"""Frames that a mirror port gave twice: marked, never removed, so that both counts can be shown.

A row is a copy when an earlier row, at most the window before, has the same addresses, ports, IP id
and payload (of TCP the sequence number and flags too). A repetition that the sender made has a new
IP id, and over UDP comes 500 ms later (timer T1 of RFC 3261), so it is never taken for a copy.

    IP id  TTL     kind
    same   same    mirrored: one point of the network was tapped twice
    same   other   routed: tapped before and behind a router

Where the IP id is always 0 (allowed with "don't fragment", RFC 6864) or absent (IPv6) the payload
and the window decide alone.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from harness.packets.capture import Bytes, Ints, at_every_byte
from harness.packets.frame import Datagrams
from harness.packets.headers import Bools
from probetest.flows import Words, flow_words, groups

WINDOW_NS = 10_000_000  # copies in public captures lie 1.5 ms apart at most; T1 is 500 ms
_SAMPLE_BYTES = 16  # of a payload, to find what may be alike
_BLOCK_BYTES = 1024 * 1024  # compared together
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads neighbouring values
_SEED = 1  # of the payload hash: the same in every run


class Copy(IntEnum):
    """Whether a row is the first of its kind."""

    NONE = 0
    MIRRORED = 1
    ROUTED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """What each row of some datagrams is, and of which row it is a copy."""

    kind: Ints  # a `Copy` each
    original: Ints  # its row; of what is no copy, the row itself

    @property
    def is_copy(self) -> Bools:
        """Return a mask of the rows that are copies."""
        found: Bools = self.kind != Copy.NONE
        return found


def find_copies(datagrams: Datagrams, *, window_ns: int = WINDOW_NS) -> Copies:
    """Return which rows are copies of earlier ones; each lies within *window_ns* of the last.

    Rows without a payload, and rows without a time, are left as they are.
    """
    kind = np.zeros(len(datagrams), np.int64)
    original = np.arange(len(datagrams), dtype=np.int64)
    rows = np.flatnonzero((datagrams.payload_bytes > 0) & (datagrams.at_ns > 0))
    rows = in_order(datagrams.at_ns, rows)
    rows = _near(datagrams, rows, window_ns)
    if not len(rows):
        return Copies(kind, original)
    words = (*_outside(datagrams, rows), _payload_hash(datagrams, rows))
    order, starts = groups(words)
    ordered = rows[order]
    first = np.zeros(len(ordered), np.bool_)
    first[starts] = True
    later, before = ordered[1:], ordered[:-1]
    pairs = ~first[1:] & (datagrams.at_ns[later] - datagrams.at_ns[before] <= window_ns)
    places = np.flatnonzero(pairs)
    places = places[_same_payload(datagrams, later[places], before[places])]
    for place in places.tolist():
        original[later[place]] = original[before[place]]
    copies = later[places]
    routed = datagrams.ttl[copies] != datagrams.ttl[original[copies]]
    kind[copies] = np.where(routed, Copy.ROUTED, Copy.MIRRORED)
    return Copies(kind, original)


def in_order(at_ns: Ints, rows: Ints) -> Ints:
    """Return *rows* in order of time, those of one time as they are."""
    times = at_ns[rows]
    return rows if (times[1:] >= times[:-1]).all() else rows[np.argsort(times, kind="stable")]


def _near(datagrams: Datagrams, rows: Ints, window_ns: int) -> Ints:
    """Return, in order of time, those rows that may have a copy: most are done with here."""
    if not len(rows):
        return rows
    order, starts = groups((_sample(datagrams, rows),))
    first = np.zeros(len(order) + 1, np.bool_)
    first[starts] = first[-1] = True
    at_ns = datagrams.at_ns[rows[order]]
    close = np.zeros(len(order) + 1, np.bool_)
    close[1:-1] = ~first[1:-1] & (np.diff(at_ns) <= window_ns)
    return rows[np.sort(order[close[1:] | close[:-1]])]


def _sample(datagrams: Datagrams, rows: Ints) -> Words:
    """Return a word that copies share, and that few others do: payload, IP id and ports in one."""
    ports = datagrams.source_port[rows].astype(np.uint64) << np.uint64(16)
    ports |= datagrams.destination_port[rows].astype(np.uint64)
    word = datagrams.ip_id[rows].astype(np.uint64) << np.uint64(32) ^ ports
    starts = datagrams.payload_offset[rows]
    long = np.flatnonzero(datagrams.payload_bytes[rows] >= _SAMPLE_BYTES)
    eight = at_every_byte(datagrams.data, "<u8")
    for place in range(0, _SAMPLE_BYTES, 8):
        word[long] = (word[long] ^ eight[starts[long] + place]) * _ODD
    return word


def _outside(datagrams: Datagrams, rows: Ints) -> tuple[Words, ...]:
    """Return the words that copies share, but for the payload."""
    some = datagrams.select(rows)
    return (
        *flow_words(some),
        some.ip_id.astype(np.uint64) << np.uint64(32) | some.payload_bytes.astype(np.uint64),
        some.tcp_sequence.astype(np.uint64) << np.uint64(8) | some.tcp_flags.astype(np.uint64),
    )


def _payload_hash(datagrams: Datagrams, rows: Ints) -> Words:
    """Return a number a row that equal payloads share."""
    sizes = datagrams.payload_bytes[rows]
    found = np.zeros(len(rows), np.uint64)
    dice = np.random.default_rng(_SEED)
    factors = dice.integers(1, 2**63, int(sizes.max()), dtype=np.uint64)
    for size in np.unique(sizes).tolist():
        places = np.flatnonzero(sizes == size)
        for some in _blocks(places, size):
            payloads = _octets(datagrams, rows[some], size)
            found[some] = payloads.astype(np.uint64) @ factors[:size]
    return found


def _same_payload(datagrams: Datagrams, one: Ints, other: Ints) -> Bools:
    """Say of each pair of rows, equally long, whether every byte is equal."""
    same = np.zeros(len(one), np.bool_)
    sizes = datagrams.payload_bytes[one]
    for size in np.unique(sizes).tolist():
        for some in _blocks(np.flatnonzero(sizes == size), size):
            pair = (_octets(datagrams, rows[some], size) for rows in (one, other))
            same[some] = np.equal(*pair).all(axis=1)
    return same


def _blocks(places: Ints, size: int) -> list[Ints]:
    """Return *places* in parts whose payloads, *size* bytes each, fit into a cache."""
    each = max(1, _BLOCK_BYTES // size)
    return [places[start : start + each] for start in range(0, len(places), each)]


def _octets(datagrams: Datagrams, rows: Ints, size: int) -> Bytes:
    """Return the payloads of *rows*, all *size* bytes long."""
    whole = at_every_byte(datagrams.data, f"V{size}")[datagrams.payload_offset[rows]]
    return np.frombuffer(whole.tobytes(), np.uint8).reshape(-1, size)
